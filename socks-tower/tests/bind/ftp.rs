//! What BIND is for: FTP in active mode, where the server opens the connection
//! for the data. The control connection goes by CONNECT, the data by BIND.

use std::net::SocketAddr;

use socks_tower::ListenAddrs;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::{TcpListener, TcpStream},
};
use tokio_socks::{
    TargetAddr,
    tcp::{
        socks4::{Socks4Listener, Socks4Stream},
        socks5::{Socks5Listener, Socks5Stream},
    },
};

use crate::proxy;

const FILE: &[u8] = b"What the file says.\n";

/// As much of an FTP server as one file takes.
async fn ftp_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (control, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(control));
        }
    });
    addr
}

async fn serve(control: TcpStream) {
    let (read, mut write) = control.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut data_addr = None;
    write.write_all(b"220 Ready\r\n").await.unwrap();
    while let Ok(Some(line)) = lines.next_line().await {
        let reply = match line.split_once(' ') {
            Some(("PORT", numbers)) => {
                let numbers: Vec<u8> = numbers.split(',').map(|n| n.parse().unwrap()).collect();
                let [a, b, c, d, high, low] = numbers.try_into().unwrap();
                data_addr = Some(SocketAddr::from((
                    [a, b, c, d],
                    u16::from_be_bytes([high, low]),
                )));
                "200 Will connect there\r\n"
            }
            Some(("RETR", _)) => {
                let mut data = TcpStream::connect(data_addr.unwrap()).await.unwrap();
                data.write_all(FILE).await.unwrap();
                "226 Sent\r\n"
            }
            _ => "502 Not known\r\n",
        };
        write.write_all(reply.as_bytes()).await.unwrap();
    }
}

/// The client's end of the control connection.
struct Control<W, R> {
    write: W,
    lines: Lines<BufReader<R>>,
}

impl<W: AsyncWriteExt + Unpin, R: tokio::io::AsyncRead + Unpin> Control<W, R> {
    async fn expect(&mut self, code: &str) {
        let line = self.lines.next_line().await.unwrap().unwrap();
        assert!(line.starts_with(code), "{line}");
    }

    async fn say(&mut self, command: &str) {
        let line = format!("{command}\r\n");
        self.write.write_all(line.as_bytes()).await.unwrap();
    }

    /// Announces where the data shall go.
    async fn port(&mut self, addr: &TargetAddr<'_>) {
        let TargetAddr::Ip(SocketAddr::V4(addr)) = addr else {
            panic!("{addr:?}");
        };
        let [a, b, c, d] = addr.ip().octets();
        let [high, low] = addr.port().to_be_bytes();
        self.say(&format!("PORT {a},{b},{c},{d},{high},{low}"))
            .await;
        self.expect("200").await;
    }
}

fn control<S>(stream: S) -> Control<tokio::io::WriteHalf<S>, tokio::io::ReadHalf<S>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite,
{
    let (read, write) = tokio::io::split(stream);
    let lines = BufReader::new(read).lines();
    Control { write, lines }
}

#[tokio::test]
async fn a_file_comes_in_active_mode_over_socks5() {
    let proxy = proxy("127.0.0.1", ListenAddrs::new()).await;
    let server = ftp_server().await;
    let mut control = control(Socks5Stream::connect(proxy, server).await.unwrap());
    control.expect("220").await;
    // Each transfer has a connection of its own.
    for _ in 0..2 {
        let listener = Socks5Listener::bind(proxy, server).await.unwrap();
        control.port(&listener.bind_addr()).await;
        control.say("RETR file").await;
        let mut data = listener.accept().await.unwrap();

        let mut file = Vec::new();
        data.read_to_end(&mut file).await.unwrap();

        assert_eq!(file, FILE);
        control.expect("226").await;
    }
}

#[tokio::test]
async fn a_file_comes_in_active_mode_over_socks4() {
    let proxy = proxy("127.0.0.1", ListenAddrs::new()).await;
    let server = ftp_server().await;
    let mut control = control(Socks4Stream::connect(proxy, server).await.unwrap());
    control.expect("220").await;
    let listener = Socks4Listener::bind(proxy, server).await.unwrap();
    control.port(&listener.bind_addr()).await;
    control.say("RETR file").await;
    let mut data = listener.accept().await.unwrap();

    let mut file = Vec::new();
    data.read_to_end(&mut file).await.unwrap();

    assert_eq!(file, FILE);
    control.expect("226").await;
}
