//! A connector that reaches `.internal` over a Unix socket, and everything else over TCP.

use std::path::PathBuf;

use socks_tower::{BoxError, Connector, DialError, Host, IntoOutbound, Outbound, Request};
use tokio::net::UnixStream;
use tower::service_fn;

/// Connects to what listens at `socket`, whatever the target in `.internal`; `direct` does the
/// rest. Boxed, plain TCP stays plain TCP: it is spliced, and its address is known.
pub fn connector(socket: PathBuf, direct: impl Connector<Request>) -> impl Connector<Request> {
    service_fn(move |request: Request| {
        let (socket, direct) = (socket.clone(), direct.clone());
        async move {
            Ok::<_, BoxError>(match &request.target.host {
                Host::Name(name) if name.is_within("internal") => {
                    let dialled = UnixStream::connect(socket).await;
                    Outbound::new(dialled.map_err(DialError::from)?).boxed()
                }
                _ => direct.run(request).await?.into_outbound().boxed(),
            })
        }
    })
}
