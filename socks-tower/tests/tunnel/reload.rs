//! Rules are replaced while tunnels live.

use socks_tower::{Match, ReloadRules, Rules, TcpConnector};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    proxy::{Proxy, socks},
    speaks::Speaks,
    streams::{accept, patiently, target},
};

async fn carries(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"still here").await.unwrap();
    let mut heard = [0; 10];
    patiently("hear", to.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"still here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_rules_refuse_new_tunnels_and_leave_the_old_ones_alone() {
    let open = || Rules::new().permit_all_special();
    for speaks in Speaks::ALL {
        let rules = ReloadRules::new(open());
        let stack = socks(TcpConnector::new()).with_rules(rules.clone());
        let proxy = Proxy::of(stack).await;
        let listener = target().await;
        let words = speaks.connect(listener.local_addr().unwrap());
        let connect = async || {
            let mut client = proxy.client().await;
            client.write_all(&words).await.unwrap();
            let target = accept(&listener).await;
            speaks.hears_that_it_is_granted(&mut client).await;
            (client, target)
        };
        let (mut client, mut origin) = connect().await;
        carries(&mut client, &mut origin).await;

        rules.replace(open().deny(Match::any().network("127.0.0.0/8".parse().unwrap())));

        let mut late = proxy.client().await;
        late.write_all(&words).await.unwrap();
        let mut heard = Vec::new();
        patiently("refuse", late.read_to_end(&mut heard))
            .await
            .unwrap();
        // 02 in SOCKS5, 91 in SOCKS4.
        assert_eq!(heard, speaks.refusal(2), "{speaks:?}");
        carries(&mut client, &mut origin).await;
        carries(&mut origin, &mut client).await;

        rules.replace(open());
        let (mut again, mut origin) = connect().await;
        carries(&mut again, &mut origin).await;
    }
}
