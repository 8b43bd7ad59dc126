//! A minimal proxy on rama, without logs, as its users would write it.
//!
//! ```sh
//! peer-rama 127.0.0.1:1080 [NAME:PASSWORD]
//! ```

use std::env;

use rama::{
    error::BoxError, net::user::credentials::Basic, proxy::socks5::Socks5Acceptor, rt::Executor,
    tcp::server::TcpListener,
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut args = env::args().skip(1);
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:1080".to_owned());
    let listener = TcpListener::bind_address(addr.as_str(), Executor::default()).await?;
    let acceptor = Socks5Acceptor::default().with_default_udp_associator();
    match args.next() {
        None => listener.serve(acceptor).await,
        Some(user) => {
            let user = Basic::try_from(user.as_str())?;
            listener
                .serve(acceptor.with_authorizer(user.into_authorizer()))
                .await;
        }
    }
    Ok(())
}
