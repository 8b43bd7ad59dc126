//! No password is in a log, an access log, a metric, an error or what Debug prints, with
//! all layers at the most talkative level.
//!
//! All passwords here, right ones and wrong ones, begin with `hunter2-`.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::{
    error::Error as StdError,
    fmt::Debug,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    set_default_local_recorder,
};
use socks_tower::{
    Accepted, Attempt, AuthenticateLayer, BoxError, ByCommand, Command, ConnectLayer, Credentials,
    HandshakeLayer, HashedUsers, HttpConnectLayer, Permit, Proxy, ProxyConnector, ProxyUrl, Relay,
    Request, ResolveLayer, Session, SystemResolver, TorResolve, UdpAssociate, VerifyPasswords,
    middleware::{
        AccessLogLayer, BandwidthLayer, ByteRate, LiveLimitLayer, LockoutLayer, MemoryQuota,
        MetricsLayer, ObserveLayer, Observer, QuotaLayer, Rate, RateLimitLayer, RegisterLayer,
        Sessions,
        observe::{Record, StageReport, Summary},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::yield_now,
};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tracing::{Level, subscriber::set_default};
use tracing_subscriber::fmt::{MakeWriter, format::FmtSpan};

/// Of "hunter2-hashed", by `htpasswd -nbB -C 4`.
const HASH: &str = "$2y$04$ykAv8j25hVOv6nLpIusgt.cGepxNg5ST/eijmE8hnpN0TqCySMz8G";

/// How one might get into a log: as it is, as Base64 behind a name of three letters and a
/// colon, as bytes in decimal, and in hexadecimal. And a hash.
const NEEDLES: [&str; 5] = [
    "hunter2-",
    "bnRlcjIt",
    "110, 116, 101, 114, 50",
    "6e74657232",
    "$2y$04$",
];

/// All that is written anywhere.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn add(&self, text: &str) {
        let mut all = self.0.lock().unwrap();
        all.extend(text.as_bytes());
        all.push(b'\n');
    }

    fn print(&self, value: &dyn Debug) {
        self.add(&format!("{value:?}"));
    }

    fn error(&self, error: &(dyn StdError + 'static)) {
        self.print(&error);
        let mut cause = Some(error);
        while let Some(error) = cause {
            self.add(&error.to_string());
            cause = error.source();
        }
    }

    fn sink(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let written = self.clone();
        move |line| written.add(line)
    }

    fn take(&self) -> String {
        let all = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(all).unwrap()
    }
}

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Written {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Recorder for Written {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.print(key);
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.print(key);
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.print(key);
        Histogram::noop()
    }
}

impl Observer for Written {
    fn ended(&self, summary: &Summary<'_>) {
        self.print(summary);
    }

    fn stage(&self, record: &Record, report: &StageReport) {
        self.print(&(record, report));
    }
}

/// A proxy that the upstream refuses: our password is wrong.
async fn refuses(_: Request) -> Result<DuplexStream, BoxError> {
    let (near, mut far) = duplex(1024);
    tokio::spawn(async move {
        let mut read = [0; 256];
        for answer in [b"\x05\x02", b"\x01\x01"] {
            let _ = far.read(&mut read).await;
            far.write_all(answer).await.ok();
        }
    });
    Ok(near)
}

/// Every layer that there is in front of a password, and behind one.
fn stack(written: &Written) -> impl Proxy<DuplexStream> + Clone + use<> {
    const GENEROUS: ByteRate = ByteRate::per_second(1 << 30);

    let lockout = LockoutLayer::new();
    let users = HashedUsers::new().with_hash("ann", HASH).unwrap();
    let users = users.with_password("joe", "hunter2-right").unwrap();
    let users = VerifyPasswords::new(users).unwrap();
    written.print(&users);
    let users = lockout.layer(users);

    let upstream: ProxyUrl = "socks5h://joe:hunter2-up@127.0.0.1:1".parse().unwrap();
    written.print(&upstream);
    written.add(&upstream.to_string());
    let through = ProxyConnector::new(upstream, service_fn(refuses));
    written.print(&through);
    let permit = ServiceBuilder::new()
        .layer(ResolveLayer::new(SystemResolver::new()))
        .service(Permit::new());

    let socks = (
        HandshakeLayer::new(),
        AuthenticateLayer::password(users.clone()),
    );
    ServiceBuilder::new()
        .layer(ObserveLayer::new(written.clone()))
        .layer(MetricsLayer::new())
        .layer(AccessLogLayer::three_proxy(written.sink()))
        .layer(AccessLogLayer::json(written.sink()))
        .layer(RateLimitLayer::per_client(Rate::per_second(10_000)))
        .layer(LiveLimitLayer::per_client(10_000))
        .layer(lockout.gate())
        .layer(HttpConnectLayer::password(users).or(socks))
        .layer(BandwidthLayer::per_identity(GENEROUS))
        .layer(QuotaLayer::per_identity(MemoryQuota::new(
            u64::MAX,
            Duration::from_secs(3600),
        )))
        .layer(RegisterLayer::new(Sessions::new()))
        .service(
            ByCommand::new()
                .connect(ConnectLayer::new(through).layer(Relay::new()))
                .udp_associate(UdpAssociate::new(permit.clone()))
                .on(Command::RESOLVE, TorResolve::new(permit)),
        )
}

/// Sends `message` in two parts, and hears what comes of it.
async fn say(stack: impl Proxy<DuplexStream> + Clone, written: &Written, parts: [&[u8]; 2]) {
    let (mut client, server) = duplex(4096);
    let session = Session::new().with_client_addr(([127, 0, 0, 1], 1).into());
    let accepted = Accepted::new(server, session);
    written.print(&accepted);
    let saying = async {
        for part in parts {
            let _ = client.write_all(part).await;
            for _ in 0..5 {
                yield_now().await;
            }
        }
        let _ = client.shutdown().await;
        let _ = client.read_to_end(&mut Vec::new()).await;
    };
    let (served, ()) = tokio::join!(stack.oneshot(accepted), saying);
    match served {
        Ok(_) => {}
        Err(error) => {
            let error: BoxError = error.into();
            written.error(&*error);
        }
    }
}

fn messages() -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    for login in [
        &b"\x03joe\x0dhunter2-right"[..],
        b"\x03ann\x0ehunter2-hashed",
        b"\x03joe\x0dhunter2-wrong",
        b"\x03eve\x0dhunter2-wrong",
        b"\x03joe\xffhunter2-wrong",
    ] {
        for request in [
            &b"\x05\x01\x00\x03\x09a.example\x00\x50"[..],
            b"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00",
            b"\x05\xf0\x00\x03\x07invalid\x00\x00",
            b"\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50",
            b"hunter2-wrong",
        ] {
            messages.push([b"\x05\x01\x02\x01", login, request].concat());
        }
    }
    for message in [
        &b"\x05\x01\x02\x02\x03joe\x0dhunter2-wrong"[..],
        b"\x05\x01\x00hunter2-wrong",
        b"hunter2-wrong\r\n\r\n",
    ] {
        messages.push(message.to_vec());
    }
    for field in [
        "Basic am9lOmh1bnRlcjItcmlnaHQ=",
        "Basic am9lOmh1bnRlcjItd3Jvbmc=",
        "Basic am9lOmh1bnRlcjItd3Jvbm",
        "Basic joe:hunter2-wrong",
        "Bearer hunter2-wrong",
        "hunter2-wrong\u{1}",
    ] {
        let field = format!("Proxy-Authorization: {field}\r\n");
        for fields in [field.clone(), field.repeat(2)] {
            let head = format!("CONNECT a.example:1 HTTP/1.1\r\n{fields}\r\n");
            messages.push(head.into());
        }
    }
    messages.push(b"CONNECT joe:hunter2-wrong@a.example:1 HTTP/1.1\r\n\r\n".to_vec());
    messages
}

#[tokio::test]
async fn no_password_is_written_anywhere() {
    for is_json in [false, true] {
        let written = Written::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .with_span_events(FmtSpan::FULL)
            .with_writer(written.clone());
        let _subscriber = match is_json {
            true => set_default(subscriber.json().finish()),
            false => set_default(subscriber.finish()),
        };
        let _recorder = set_default_local_recorder(&written);
        let stack = stack(&written);
        for message in messages() {
            // Before the password, within it, and behind it.
            for cut in [0, 4, 12, 21, message.len()] {
                let (first, second) = message.split_at(cut.min(message.len()));
                say(stack.clone(), &written, [first, second]).await;
            }
        }
        let credentials = Credentials::new("joe", "hunter2-wrong").unwrap();
        written.print(&Attempt::new(Session::new(), credentials));
        let url = "ftp://joe:hunter2-up@127.0.0.1".parse::<ProxyUrl>();
        written.error(&url.unwrap_err());

        let all = written.take();
        // The spans, the metrics, an access log in JSON, and what observers are told.
        for told in ["close", "socks_bytes_total", r#""seconds""#, "Summary {"] {
            assert!(all.contains(told), "no {told} in {}", &all[..4000]);
        }
        for needle in NEEDLES {
            let leaks: Vec<_> = all.lines().filter(|line| line.contains(needle)).collect();
            assert!(leaks.is_empty(), "{leaks:#?}");
        }
    }
}
