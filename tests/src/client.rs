//! A client that does as little as it can, for tests that are not about
//! clients: it says what it is told to, byte by byte if need be.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

/// A name and a password.
pub type Login<'a> = (&'a str, &'a str);

/// Why there is no tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The proxy accepts none of the methods on offer.
    Method,
    /// It does not accept the password.
    Password,
    /// Its reply to the request: SOCKS5's REP, SOCKS4's CD.
    Request(u8),
    /// It hung up without a word.
    HungUp,
}

impl From<io::Error> for Refused {
    fn from(_: io::Error) -> Self {
        Self::HungUp
    }
}

/// Asks `proxy` for a tunnel to `target` by SOCKS5, offering a password if
/// there is a `login`, else nothing.
///
/// # Errors
///
/// [`Refused`], if the proxy does not oblige.
pub async fn socks5(
    proxy: SocketAddr,
    login: Option<Login<'_>>,
    target: SocketAddr,
) -> Result<TcpStream, Refused> {
    ask_socks5(TcpStream::connect(proxy).await?, login, target).await
}

/// As [`socks5`], from an address of this machine.
///
/// # Errors
///
/// [`Refused`], if the proxy does not oblige.
pub async fn socks5_from(
    from: IpAddr,
    proxy: SocketAddr,
    login: Option<Login<'_>>,
    target: SocketAddr,
) -> Result<TcpStream, Refused> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    ask_socks5(socket.connect(proxy).await?, login, target).await
}

async fn ask_socks5(
    mut stream: TcpStream,
    login: Option<Login<'_>>,
    target: SocketAddr,
) -> Result<TcpStream, Refused> {
    let method = if login.is_some() { 2 } else { 0 };
    stream.write_all(&[5, 1, method]).await?;
    match read(&mut stream).await? {
        [5, chosen] if chosen == method => {}
        choice => {
            assert_eq!(choice, [5, 0xff]);
            return Err(Refused::Method);
        }
    }
    if let Some((name, password)) = login {
        let mut message = vec![1];
        for field in [name, password] {
            message.push(field.len().try_into().unwrap());
            message.extend_from_slice(field.as_bytes());
        }
        stream.write_all(&message).await?;
        let [version, status] = read(&mut stream).await?;
        assert_eq!(version, 1);
        if status != 0 {
            return Err(Refused::Password);
        }
    }
    let mut request = vec![5, 1, 0];
    match target {
        SocketAddr::V4(addr) => {
            request.push(1);
            request.extend_from_slice(&addr.ip().octets());
        }
        SocketAddr::V6(addr) => {
            request.push(4);
            request.extend_from_slice(&addr.ip().octets());
        }
    }
    request.extend_from_slice(&target.port().to_be_bytes());
    stream.write_all(&request).await?;
    let [version, code, reserved, kind] = read(&mut stream).await?;
    assert_eq!([version, reserved], [5, 0]);
    match kind {
        1 => drop(read::<6>(&mut stream).await?),
        4 => drop(read::<18>(&mut stream).await?),
        kind => panic!("BND.ADDR of type {kind}"),
    }
    match code {
        0 => Ok(stream),
        code => Err(Refused::Request(code)),
    }
}

/// Asks `proxy` for a tunnel to `target` by SOCKS4, which knows IPv4 alone.
///
/// # Errors
///
/// [`Refused`], if the proxy does not oblige.
pub async fn socks4(proxy: SocketAddr, target: SocketAddr) -> Result<TcpStream, Refused> {
    let SocketAddr::V4(target) = target else {
        panic!("SOCKS4 cannot say {target}");
    };
    let mut stream = TcpStream::connect(proxy).await?;
    let mut request = vec![4, 1];
    request.extend_from_slice(&target.port().to_be_bytes());
    request.extend_from_slice(&target.ip().octets());
    request.extend_from_slice(b"joe\0");
    stream.write_all(&request).await?;
    let [version, code, ..]: [u8; 8] = read(&mut stream).await?;
    assert_eq!(version, 0);
    match code {
        90 => Ok(stream),
        code => Err(Refused::Request(code)),
    }
}

/// Asks `proxy`, on IPv4, for a UDP association; gives the connection that it
/// lives as long as, and where datagrams are to be sent.
///
/// # Errors
///
/// [`Refused`], if the proxy does not oblige.
pub async fn associate(proxy: SocketAddr) -> Result<(TcpStream, SocketAddr), Refused> {
    let mut stream = TcpStream::connect(proxy).await?;
    stream.write_all(&[5, 1, 0]).await?;
    assert_eq!(read(&mut stream).await?, [5, 0]);
    stream.write_all(&[5, 3, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    match read(&mut stream).await? {
        [5, 0, 0, 1, a, b, c, d, high, low] => {
            let port = u16::from_be_bytes([high, low]);
            Ok((stream, ([a, b, c, d], port).into()))
        }
        [_, code, ..] => Err(Refused::Request(code)),
    }
}

/// A datagram of `data` as an association wants it, for `target`, on IPv4.
#[must_use]
pub fn datagram(target: SocketAddr, data: &[u8]) -> Vec<u8> {
    let SocketAddr::V4(target) = target else {
        panic!("{target} has a longer header");
    };
    let mut bytes = vec![0, 0, 0, 1];
    bytes.extend_from_slice(&target.ip().octets());
    bytes.extend_from_slice(&target.port().to_be_bytes());
    bytes.extend_from_slice(data);
    bytes
}

/// Sends `message` and gets it back: the other end is an echo.
pub async fn assert_echoes(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), message: &[u8]) {
    stream.write_all(message).await.expect("the tunnel is up");
    let mut echo = vec![0; message.len()];
    stream
        .read_exact(&mut echo)
        .await
        .expect("the tunnel is up");
    assert_eq!(echo, message);
}

/// Reads until the other end closes, in order or by a reset; says what came.
pub async fn read_to_the_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    match stream.read_to_end(&mut read).await {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
    read
}

async fn read<const N: usize>(stream: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}
