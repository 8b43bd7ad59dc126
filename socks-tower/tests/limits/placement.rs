//! Where limits stand.

use socks_tower::{
    Accepted, Session, Socks,
    middleware::{LiveLimitLayer, Rate, RateLimitLayer},
};
use tower::{ServiceBuilder, ServiceExt};

#[tokio::test]
async fn a_limit_per_identity_before_authentication_fails_every_session() {
    // It would count all as one: nobody can have an identity yet.
    let live = ServiceBuilder::new()
        .layer(LiveLimitLayer::per_identity(1))
        .service(Socks::new());
    let rate = ServiceBuilder::new()
        .layer(RateLimitLayer::per_identity(Rate::per_second(1)))
        .service(Socks::new());
    let accepted = || Accepted::new(tokio::io::duplex(1).0, Session::new());
    for error in [
        live.oneshot(accepted()).await.unwrap_err(),
        rate.oneshot(accepted()).await.unwrap_err(),
    ] {
        assert!(
            error
                .get_ref()
                .unwrap()
                .to_string()
                .contains("before authentication")
        );
    }
}

#[tokio::test]
async fn a_limit_stands_around_a_proxy_or_not_as_an_option_says() {
    for limit in [None, Some(LiveLimitLayer::per_client(1))] {
        let proxy = ServiceBuilder::new()
            .option_layer(limit)
            .service(Socks::new());
        let accepted = Accepted::new(tokio::io::duplex(1).0, Session::new());
        let error: socks_tower::Error = proxy.oneshot(accepted).await.unwrap_err();
        assert_eq!(error.kind(), socks_tower::ErrorKind::ClientGone);
    }
}
