//! What is said to proxies, and what is read.

use super::*;

/// Talks of one thread write into the same buffer, if they do not have to wait.
#[tokio::test]
async fn a_stream_that_takes_a_byte_at_a_time_gets_all_of_it_whoever_else_talks() {
    let talk = async |name: &str| {
        let (mut io, mut proxy) = duplex(1);
        let offer = Offer::password(Credentials::new(name, "secret").unwrap());
        let says = connect(&mut io, offer, target("example.com:80"));
        let hears = async {
            let mut heard = [0; 64];
            let mut hear = async |len: usize, answer: &[u8]| {
                proxy.read_exact(&mut heard[..len]).await.unwrap();
                proxy.write_all(answer).await.unwrap();
                heard[..len].to_vec()
            };
            let password = [b"\x01\x03", name.as_bytes(), b"\x06secret"].concat();
            assert_eq!(hear(3, b"\x05\x02").await, b"\x05\x01\x02");
            assert_eq!(hear(12, b"\x01\x00").await, password);
            assert_eq!(hear(ASKED.len(), GRANTED).await, ASKED);
        };
        tokio::join!(says, hears).0.unwrap();
    };
    tokio::join!(talk("joe"), talk("ann"), talk("bob"));
}

/// Its timer needs a runtime, and is not made before somebody waits.
#[test]
fn a_connection_may_be_asked_for_outside_of_a_runtime() {
    let inner = proxy(|script| {
        script.write(GREETED).read(b"\x05\x00");
        script.write(ASKED).read(GRANTED);
    });
    let mut connector = Socks5Connector::new(target(PROXY), inner);
    let connecting = connector.call(to("example.com:80"));
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(connecting).unwrap();
}

#[tokio::test]
async fn a_name_goes_to_the_proxy_and_the_target_s_first_bytes_stay() {
    let inner = proxy(|script| {
        script.write(GREETED).read(b"\x05\x00");
        script.write(ASKED).read(&[GRANTED, b"hello"].concat());
    });
    let connector = Socks5Connector::new(target(PROXY), inner);
    let upstream = connector.run(to("example.com:80")).await.unwrap();
    assert_eq!(rest(upstream).await, b"hello");
}

#[tokio::test]
async fn all_methods_are_offered_at_once() {
    struct Magic;
    #[async_trait::async_trait]
    impl ClientMethod for Magic {
        fn code(&self) -> Method {
            Method(0x80)
        }
        async fn authenticate(
            &self,
            proxy: &mut ProxyNegotiation<'_>,
        ) -> Result<Authenticated, BoxError> {
            let challenge = proxy.read_u8().await?;
            proxy.write_all(&[challenge + 1]).await?;
            match proxy.read_u8().await? {
                0 => Ok(Authenticated::new()),
                _ => Err("no".into()),
            }
        }
    }
    fn connector<C: Connector<Request>>(inner: C) -> Socks5Connector<Boxed<C>> {
        let connector = Socks5Connector::new(target(PROXY), inner);
        connector.with_credentials(joe()).with_method(Magic)
    }
    let greeting = b"\x05\x03\x80\x02\x00";

    let with_password = proxy(|script| {
        script.write(greeting).read(b"\x05\x02");
        script.write(b"\x01\x03joe\x06secret").read(b"\x01\x00");
        script.write(ASKED).read(GRANTED).read(b"hello");
    });
    let upstream = connector(with_password).run(to("example.com:80")).await;
    assert_eq!(rest(upstream.unwrap()).await, b"hello");

    // The challenge comes with the choice.
    let with_magic = proxy(|script| {
        script.write(greeting).read(b"\x05\x80\x06");
        script.write(b"\x07").read(b"\x00");
        script.write(ASKED).read(GRANTED).read(b"hello");
    });
    let upstream = connector(with_magic).run(to("example.com:80")).await;
    assert_eq!(rest(upstream.unwrap()).await, b"hello");

    let without = proxy(|script| {
        script.write(greeting).read(b"\x05\x00");
        script.write(ASKED).read(GRANTED).read(b"hello");
    });
    let upstream = connector(without).run(to("example.com:80")).await;
    assert_eq!(rest(upstream.unwrap()).await, b"hello");

    let not_let_in = proxy(|script| {
        script.write(greeting).read(b"\x05\x80\x06");
        script.write(b"\x07").read(b"\x01");
    });
    let error = connector(not_let_in).call(to("example.com:80")).await;
    assert_eq!(failure(&error.unwrap_err()), UpstreamFailure::RefusedUs);
}

#[tokio::test]
async fn one_flight_sends_all_at_once() {
    let inner = proxy(|script| {
        let flight = [b"\x05\x01\x02\x01\x03joe\x06secret", ASKED].concat();
        script.write(&flight);
        script.read(&[b"\x05\x02\x01\x00", GRANTED, b"hello"].concat());
    });
    let connector = Socks5Connector::new(target(PROXY), inner)
        .with_credentials(joe())
        .with_one_flight();
    let upstream = connector.run(to("example.com:80")).await.unwrap();
    assert_eq!(rest(upstream).await, b"hello");
}

#[tokio::test]
async fn socks4_is_told_addresses_and_socks4a_names() {
    let user = socks_core::v4::UserId::new(b"joe").unwrap();
    let granted = b"\x00\x5a\x00\x00\x00\x00\x00\x00hello";
    for (wanted, asked) in [
        (
            "example.com:80",
            &b"\x04\x01\x00\x50\x00\x00\x00\x01joe\x00example.com\x00"[..],
        ),
        ("192.0.2.7:80", b"\x04\x01\x00\x50\xc0\x00\x02\x07joe\x00"),
        (
            "[::ffff:192.0.2.7]:80",
            b"\x04\x01\x00\x50\xc0\x00\x02\x07joe\x00",
        ),
    ] {
        let inner = proxy(move |script| {
            script.write(asked).read(granted);
        });
        let connector = Socks4Connector::new(target(PROXY), inner).with_user_id(user.clone());
        let upstream = connector.run(to(wanted)).await.unwrap();
        assert_eq!(rest(upstream).await, b"hello");
    }
}

#[tokio::test]
async fn of_what_was_looked_up_the_proxy_is_told_the_first_that_it_has_words_for() {
    let addrs = ["[2001:db8::1]:80", "192.0.2.7:80"].map(|addr| addr.parse().unwrap());
    let pinned = || to("example.com:80").with_target(Pinned::new(target("example.com:80"), addrs));

    let socks4 = proxy(|script| {
        let asked = b"\x04\x01\x00\x50\xc0\x00\x02\x07\x00";
        script
            .write(asked)
            .read(b"\x00\x5a\x00\x00\x00\x00\x00\x00");
    });
    let connector = Socks4Connector::new(target(PROXY), socks4);
    connector.run(pinned()).await.unwrap();

    let socks5 = proxy(|script| {
        let ip = b"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01";
        let asked = [b"\x05\x01\x00\x04", &ip[..], b"\x00\x50"].concat();
        script.write(GREETED).read(b"\x05\x00");
        script.write(&asked).read(GRANTED);
    });
    let connector = Socks5Connector::new(target(PROXY), socks5);
    connector.run(pinned()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_several_addresses_one_that_the_proxy_reaches_is_found() {
    let tried = |code: u8, count: u8| async move {
        let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = asked.clone();
        let inner = service_fn(move |_: Request| {
            let (near, mut far) = duplex(64);
            let seen = seen.clone();
            tokio::spawn(async move {
                let mut heard = [0; 10];
                far.read_exact(&mut heard[..3]).await.unwrap();
                far.write_all(b"\x05\x00").await.unwrap();
                far.read_exact(&mut heard).await.unwrap();
                seen.lock().unwrap().push(heard[7]);
                let code = if heard[7] == 3 { 0 } else { code };
                far.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0])
                    .await
                    .unwrap();
            });
            async move { Ok::<_, Infallible>(near) }
        });
        let addrs = (1..=count).map(|last| ([192, 0, 2, last], 80).into());
        let pinned = Pinned::new(target("example.com:80"), addrs);
        let connector = Socks5Connector::new(target(PROXY), inner);
        let connected = connector.run(to("a:1").with_target(pinned)).await;
        let asked = asked.lock().unwrap().clone();
        (connected.is_ok(), asked)
    };
    assert_eq!(tried(4, 5).await, (true, vec![1, 2, 3]));
    assert_eq!(tried(5, 2).await, (false, vec![1, 2]));
    // A rule of the proxy's is an answer.
    assert_eq!(tried(2, 5).await, (false, vec![1]));
}

#[tokio::test]
async fn the_longest_names_and_passwords_fit() {
    let name = ["a".repeat(63).as_str(); 4].join(".");
    assert_eq!(name.len(), 255);
    let long = "x".repeat(255);
    let credentials = Credentials::new(&long, &long).unwrap();
    let password = [b"\x01\xff", long.as_bytes(), b"\xff", long.as_bytes()].concat();
    let asked = [b"\x05\x01\x00\x03\xff", name.as_bytes(), b"\x00\x50"].concat();
    let inner = proxy(move |script| {
        script.write(b"\x05\x02\x02\x00").read(b"\x05\x02");
        script.write(&password).read(b"\x01\x00");
        script.write(&asked).read(GRANTED).read(b"hello");
    });
    let connector = Socks5Connector::new(target(PROXY), inner).with_credentials(credentials);
    let upstream = connector.run(to(&format!("{name}:80"))).await.unwrap();
    assert_eq!(rest(upstream).await, b"hello");
}

#[tokio::test]
async fn bnd_addr_may_be_anything() {
    let long = [b"\x05\x00\x00\x03\xff", &[b'a'; 255][..], b"\x00\x50"].concat();
    for bound in [
        &b"\x05\x00\x00\x03\x00\x00\x50"[..],
        b"\x05\x00\x00\x03\x01a\x00\x50",
        b"\x05\x00\x00\x03\x02ab\x00\x50",
        b"\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\x05\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x50",
        &long,
    ] {
        let answer = [bound, b"hello"].concat();
        let inner = proxy(move |script| {
            script.write(GREETED).read(b"\x05\x00");
            script.write(ASKED).read(&answer);
        });
        let connector = Socks5Connector::new(target(PROXY), inner);
        let upstream = connector.run(to("example.com:80")).await.unwrap();
        assert_eq!(rest(upstream).await, b"hello", "{}", bound.escape_ascii());
    }
}

#[tokio::test]
async fn a_stream_s_address_and_guard_pass_through() {
    let inner = service_fn(|request: Request| async move {
        let io = proxy(|script| {
            script
                .write(GREETED)
                .read(b"\x05\x00")
                .write(ASKED)
                .read(GRANTED);
        });
        let io = io.run(request).await?.into_outbound().io;
        let local = "192.0.2.9:7".parse().unwrap();
        Ok::<_, BoxError>(Outbound::new(io).with_local_addr(local).with_guard(7))
    });
    let connector = Socks5Connector::new(target(PROXY), inner);
    let upstream = connector.run(to("example.com:80")).await.unwrap();
    assert_eq!(upstream.local_addr(), Some("192.0.2.9:7".parse().unwrap()));
    assert!(upstream.guard.is_some());
}

#[tokio::test]
async fn a_url_is_a_connector_that_looks_up_what_it_says() {
    let asked_by_name = proxy(|script| {
        script.write(b"\x05\x02\x02\x00").read(b"\x05\x00");
        script
            .write(b"\x05\x01\x00\x03\x09localhost\x00\x50")
            .read(GRANTED);
    });
    let url = "socks5h://joe:secret@proxy.example".parse().unwrap();
    let connector = ProxyConnector::new(url, asked_by_name);
    connector.run(to("localhost:80")).await.unwrap();

    let asked_by_address = proxy(|script| {
        script
            .write(b"\x04\x01\x00\x50\x7f\x00\x00\x01joe\x00")
            .read(b"\x00\x5a\x00\x00\x00\x00\x00\x00");
    });
    let url = "socks4://joe@proxy.example".parse().unwrap();
    let connector = ProxyConnector::new(url, asked_by_address);
    connector.run(to("localhost:80")).await.unwrap();
}
