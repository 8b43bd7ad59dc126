//! What a GiB costs a proxy: in clear, within TLS, and wrapped by GSS-API.
//!
//! ```sh
//! tests/gssapi/realm cargo run --release --manifest-path tests/gssapi/Cargo.toml --example bulk
//! ```
//!
//! Each proxy is a process of its own, whose CPU time is read from `/proc`: user and
//! system. Client and target are in this process, and are not counted.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use socks_tower::{
    AuthenticateLayer, BoxError, Connector, GssApi, GssApiClient, IntoOutbound, NoAuth, Protection,
    Request, Rules, Server, Session, Socks5, Socks5Connector, Stream, Target, Work,
    front::tls::{TlsLayer, rustls},
    works::upstream::direct,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsConnector;
use tower::{ServiceBuilder, service_fn};

const BYTES: usize = 1 << 30;
const ROUNDS: usize = 5;
const KINDS: [&str; 4] = ["in clear", "TLS", "level 1", "level 2"];

fn of_realm(name: &str) -> PathBuf {
    PathBuf::from(env::var_os("SOCKS_TESTS_REALM").expect("to be run by tests/gssapi/realm"))
        .join(name)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    match env::args().nth(1) {
        Some(kind) => serve(&kind).await,
        None => measure().await,
    }
}

/// A proxy, until its parent kills it. It says where it listens.
async fn serve(kind: &str) -> Result<(), BoxError> {
    let server = Server::bind("127.0.0.1:0").await?;
    println!("{}", server.local_addr());
    let socks = |auth| {
        let socks = Socks5::new().with_rules(Rules::new().permit_all_special());
        socks.with_auth(auth)
    };
    match kind {
        "in clear" => server.serve(socks(AuthenticateLayer::new(NoAuth))).await?,
        "TLS" => {
            let key = rustls::pki_types::PrivateKeyDer::try_from(fs::read(of_realm("key"))?)?;
            let config = rustls::ServerConfig::builder()
                .with_no_client_auth()
                .with_single_cert(vec![fs::read(of_realm("certificate"))?.into()], key)?;
            let stack = ServiceBuilder::new()
                .layer(TlsLayer::new(Arc::new(config)))
                .service(socks(AuthenticateLayer::new(NoAuth)));
            server.serve(stack).await?;
        }
        _ => {
            server
                .serve(socks(AuthenticateLayer::new(GssApi::new("socks")?)))
                .await?
        }
    }
    Ok(())
}

/// A proxy's process.
struct Proxy {
    child: Child,
    addr: SocketAddr,
}

impl Proxy {
    fn start(kind: &str) -> Result<Self, BoxError> {
        let mut command = Command::new(env::current_exe()?);
        let mut child = command.arg(kind).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("piped");
        BufReader::new(stdout).read_line(&mut line)?;
        let addr = line.trim().parse()?;
        Ok(Self { child, addr })
    }

    /// Its CPU time until now, in seconds.
    fn cpu(&self) -> Result<f64, BoxError> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(')').ok_or("no such fields")?;
        let ticks: f64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<f64>().unwrap_or(f64::NAN))
            .sum();
        Ok(ticks / 100.0) // USER_HZ, which is 100 wherever Linux runs.
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU seconds of a proxy of that kind for a GiB to the target, and for one from it.
async fn run(kind: &str) -> Result<[f64; 2], BoxError> {
    let proxy = Proxy::start(kind)?;
    let connector = Socks5Connector::new(proxy.addr.into(), direct());
    let level = |protection| {
        let method = GssApiClient::new("socks@proxy.test")?.with_protection(protection);
        Ok::<_, BoxError>(connector.clone().with_method(method))
    };
    match kind {
        "in clear" => carry(&proxy, connector).await,
        "TLS" => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(fs::read(of_realm("certificate"))?.into())?;
            let config = rustls::ClientConfig::builder()
                .with_root_certificates(roots)
                .with_no_client_auth();
            let tls = TlsConnector::from(Arc::new(config));
            let within = service_fn(move |request: Request| {
                let tls = tls.clone();
                async move {
                    let tcp = direct().run(request).await?.into_outbound().io;
                    let name = "proxy.test".try_into()?;
                    Ok::<_, BoxError>(tls.connect(name, tcp).await?)
                }
            });
            carry(&proxy, Socks5Connector::new(proxy.addr.into(), within)).await
        }
        "level 1" => carry(&proxy, level(Protection::Integrity)?).await,
        _ => carry(&proxy, level(Protection::Confidentiality)?).await,
    }
}

async fn carry<C: Connector<Request>>(proxy: &Proxy, connector: C) -> Result<[f64; 2], BoxError> {
    let target = TcpListener::bind("127.0.0.1:0").await?;
    let request = Request::new(
        Session::new(),
        socks_tower::Command::CONNECT,
        Target::from(target.local_addr()?),
    );
    let mut near = connector.run(request).await?.into_outbound().io;
    let (mut far, _) = target.accept().await?;
    let mut spent = [0.0; 2];
    let before = proxy.cpu()?;
    tokio::try_join!(send(&mut near), receive(&mut far))?;
    let between = proxy.cpu()?;
    spent[0] = between - before;
    tokio::try_join!(send(&mut far), receive(&mut near))?;
    spent[1] = proxy.cpu()? - between;
    Ok(spent)
}

async fn send(io: &mut impl Stream) -> Result<(), BoxError> {
    let chunk = vec![7; 1 << 18];
    for _ in 0..BYTES / chunk.len() {
        io.write_all(&chunk).await?;
    }
    Ok(io.flush().await?)
}

async fn receive(io: &mut impl Stream) -> Result<(), BoxError> {
    let mut chunk = vec![0; 1 << 18];
    let mut left = BYTES;
    while left > 0 {
        match io.read(&mut chunk).await? {
            0 => return Err("cut short".into()),
            read => left -= read,
        }
    }
    Ok(())
}

async fn measure() -> Result<(), BoxError> {
    let own = rcgen::generate_simple_self_signed(["proxy.test".into()])?;
    fs::write(of_realm("certificate"), own.cert.der())?;
    fs::write(of_realm("key"), own.signing_key.serialize_der())?;
    // Side by side, so that the machine's mood is that of all.
    let mut spent = KINDS.map(|_| [const { Vec::new() }; 2]);
    for _ in 0..ROUNDS {
        for (kind, spent) in KINDS.iter().zip(&mut spent) {
            for (spent, now) in spent.iter_mut().zip(run(kind).await?) {
                spent.push(now);
            }
        }
    }
    let median = spent.map(|both| {
        both.map(|mut all| {
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        })
    });
    let tls = median[1];
    println!("CPU seconds of the proxy for a GiB, median of {ROUNDS}, and times TLS's:");
    println!("{:10} {:>16} {:>16}", "", "to the target", "from it");
    for (kind, [up, down]) in KINDS.iter().zip(median) {
        println!(
            "{kind:10} {up:9.2} {:6.2} {down:9.2} {:6.2}",
            up / tls[0],
            down / tls[1]
        );
    }
    Ok(())
}
