//! Both ways through a real proxy: who is spliced, and what the client hears.

use std::{fs, net::SocketAddr};

use routes_two_streams::connector;
use socks_tower::{
    BoxError, ReplyCode, Rules, Server, Socks5, Stream, Target, UpstreamError,
    works::upstream::{Offer, connect},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener},
};
use tower::layer::layer_fn;

const BULK: usize = 8 << 20;

/// How many ends of pipes this process has open.
fn pipes() -> std::io::Result<usize> {
    let links = fs::read_dir("/proc/self/fd")?.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    Ok(links
        .filter(|link| link.to_string_lossy().starts_with("pipe:"))
        .count())
}

/// Sends bulk, and hangs up.
async fn send(mut io: impl Stream) -> std::io::Result<()> {
    io.write_all(&vec![7; BULK]).await?;
    io.shutdown().await
}

/// Asks for `target`, and hears all that it sends: BND.ADDR, and how many ends of pipes there
/// were at most.
async fn ask(proxy: SocketAddr, target: Target) -> Result<(Target, usize), BoxError> {
    let mut client = TcpStream::connect(proxy).await?;
    let bound = connect(&mut client, Offer::none(), target).await?;
    let (mut most, mut left, mut buf) = (0, BULK, vec![0; 64 << 10]);
    while left > 0 {
        left -= match client.read(&mut buf).await? {
            0 => return Err("cut short".into()),
            read => read,
        };
        most = most.max(pipes()?);
    }
    Ok((bound, most))
}

#[tokio::test]
async fn tcp_is_spliced_and_unix_is_not() -> Result<(), BoxError> {
    let path = std::env::temp_dir().join(format!("two-streams-{}", std::process::id()));
    let socket = path.clone();
    let proxy = Socks5::new()
        .with_rules(Rules::new().permit_special("127.0.0.0/8".parse()?))
        .with_connect_layer(layer_fn(|direct| connector(socket.clone(), direct)));
    let server = Server::bind("127.0.0.1:0").await?;
    let addr = server.local_addr();
    tokio::spawn(server.serve(proxy));
    let before = pipes()?;
    let internal: Target = "db.internal:5432".parse()?;

    // A socket where nobody listens refuses.
    drop(UnixListener::bind(&path)?);
    let error = ask(addr, internal.clone()).await.unwrap_err();
    let code = error.downcast_ref().and_then(UpstreamError::code);
    assert_eq!(code, Some(ReplyCode::CONNECTION_REFUSED));
    fs::remove_file(&path)?;

    let listener = UnixListener::bind(&path)?;
    let serve = async { send(listener.accept().await?.0).await };
    let (served, heard) = tokio::join!(serve, ask(addr, internal));
    fs::remove_file(&path)?;
    served?;
    assert_eq!(heard?, (Target::UNSPECIFIED, before));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let target = listener.local_addr()?.into();
    let serve = async {
        let (io, from) = listener.accept().await?;
        send(io).await.map(|()| from)
    };
    let (from, heard) = tokio::join!(serve, ask(addr, target));
    let (bound, most) = heard?;
    assert_eq!(bound, from?.into());
    assert!(most >= before + 2, "no pipe: {before} before, {most} then");
    Ok(())
}
