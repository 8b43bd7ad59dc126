use socks_core::server::{Event, Server};
use tower_service::Service;

use super::HandshakeLayer;
use crate::session::{
    Accepted, Error, ErrorKind, Greeted, Offer, Protocol, ReceiveError, Session, Stage,
    StageFuture, Stream, always_ready, dismiss, opaque_future, receive, timeout_at, trace,
    watch::StageKind,
};

/// Reads the client's greeting, then goes on to `S`. See the
/// [module's page](crate::stages::handshake).
#[derive(Clone, Debug)]
pub struct Handshake<S> {
    pub(super) config: HandshakeLayer,
    pub(super) inner: S,
}

opaque_future! {
    /// The future of [`Handshake`].
    HandshakeFuture<F> = StageFuture<F>
}

impl<Io, S> Service<Accepted<Io>> for Handshake<S>
where
    Io: Stream,
    S: Stage<Greeted<Io>>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = HandshakeFuture<S::Future>;

    always_ready!();

    fn call(&mut self, mut accepted: Accepted<Io>) -> Self::Future {
        accepted.session.speaks(Protocol::Socks);
        let stage = trace::stage(StageKind::Handshake, &accepted.session);
        let config = self.config.clone();
        // What is captured is used where it lies: moved into a variable, it
        // would take its room twice.
        let own = async move {
            let deadline = accepted.deadline(config.timeout);
            let mut server = Server::new(config.versions);
            let received = receive(&mut accepted.io, &mut accepted.buffered, |input| {
                server.receive(input)
            });
            let offer = match timeout_at(deadline, received).await {
                Ok(Ok(event)) => offer(event, &mut accepted.session)?,
                Ok(Err(ReceiveError::Io(error))) => return Err(Error::client(error)),
                Ok(Err(ReceiveError::Invalid(error))) => {
                    let mut answer = Vec::new();
                    server.answer(&error, &mut answer);
                    dismiss(&mut accepted.io, &answer).await;
                    return Err(Error::new(ErrorKind::Protocol, error));
                }
                Err(elapsed) => return Err(Error::new(ErrorKind::Deadline, elapsed)),
            };
            accepted.session.watch.learn(&accepted.session);
            Ok(Greeted {
                io: accepted.io,
                session: accepted.session,
                buffered: accepted.buffered,
                server,
                offer,
                deadline,
                hook: config.hook,
            })
        };
        HandshakeFuture::new(StageFuture::new(stage.run(own), self.inner.clone()))
    }
}

/// What the client has said, and what that tells of it.
fn offer(event: Event, session: &mut Session) -> Result<Offer, Error> {
    match event {
        Event::Greeting(greeting) => {
            session.protocol = Some(Protocol::Socks5);
            Ok(Offer::Methods(greeting))
        }
        Event::Request(mut request) => {
            session.protocol = Some(request.version.into());
            session.user_id = request.user_id.take();
            Ok(Offer::Request(request))
        }
        other => Err(unexpected(&other)),
    }
}

/// The core may learn events that this stage does not know.
pub(crate) fn unexpected(event: &Event) -> Error {
    Error::new(ErrorKind::Protocol, format!("unexpected {event:?}"))
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use socks_core::server::Versions;
    use tokio::{
        io::{AsyncWriteExt, duplex},
        time::Instant,
    };
    use tower_layer::Layer;
    use tower_service::Service;

    use crate::{
        session::{ErrorKind, Greeted, HasSession, Offer, Protocol},
        stages::handshake::HandshakeLayer,
        test_support::{HELLO, Stop, accepted, greet, script},
    };

    #[tokio::test]
    async fn a_greeting_is_handed_on_with_what_follows_it() {
        let io = script().read(b"\x05\x02\x00\x02surplus").build();

        let greeted = greet(HandshakeLayer::new(), io).await.unwrap();

        assert!(
            matches!(greeted.offer, Offer::Methods(ref greeting) if greeting.methods().count() == 2)
        );
        assert_eq!(greeted.session().protocol, Some(Protocol::Socks5));
        assert_eq!(greeted.buffered, b"surplus");
    }

    #[tokio::test]
    async fn a_greeting_may_come_byte_by_byte() {
        let mut io = script();
        for byte in b"\x05\x02\x00\x02" {
            io.read(&[*byte]);
        }

        let greeted = greet(HandshakeLayer::new(), io.build()).await.unwrap();

        assert!(greeted.buffered.is_empty());
    }

    #[tokio::test]
    async fn bytes_that_a_layer_read_before_come_first() {
        let mut accepted = accepted(script().read(b"\x00").build());
        accepted.buffered = b"\x05\x01".to_vec();

        let mut stack = HandshakeLayer::new().layer(Stop);
        let greeted: Greeted<_> = stack.call(accepted).await.unwrap();

        assert!(matches!(greeted.offer, Offer::Methods(_)));
    }

    #[tokio::test]
    async fn a_socks4_request_is_handed_on_whole() {
        let io = script()
            .read(b"\x04\x01\x00\x50\x7f\x00\x00\x01joe\x00GET")
            .build();

        let greeted = greet(HandshakeLayer::new(), io).await.unwrap();

        let Offer::Request(request) = &greeted.offer else {
            panic!("{:?}", greeted.offer)
        };
        assert_eq!(request.target.to_string(), "127.0.0.1:80");
        assert_eq!(greeted.session.user_id.as_ref().unwrap().as_bytes(), b"joe");
        assert_eq!(greeted.buffered, b"GET");
    }

    #[tokio::test]
    async fn a_version_that_is_not_served_is_told_so() {
        let only = |versions| HandshakeLayer::new().with_versions(versions);

        let io = script().read(HELLO).write(b"\x05\xff").build();
        let error = greet(only(Versions::SOCKS4), io).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);

        let io = script()
            .read(b"\x04\x01")
            .write(b"\x00\x5b\0\0\0\0\0\0")
            .build();
        let error = greet(only(Versions::SOCKS5), io).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
    }

    #[tokio::test]
    async fn tls_and_ssh_are_turned_away_at_their_first_byte() {
        for first in [b"\x16\x03\x01\x02\x00\x01", b"SSH-2."] {
            let error = greet(HandshakeLayer::new(), script().read(first).build())
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
        }
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_amid_its_greeting_is_gone() {
        let io = script().read(b"\x05\x02\x00").build();

        let error = greet(HandshakeLayer::new(), io).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::ClientGone);
    }

    #[tokio::test]
    async fn a_client_that_resets_is_gone() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let io = script().read(b"\x05").read_error(reset).build();

        let error = greet(HandshakeLayer::new(), io).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::ClientGone);
    }

    #[tokio::test]
    async fn a_deadline_may_lie_past_the_end_of_time() {
        let layer = HandshakeLayer::new().with_timeout(Duration::MAX);

        // Adding it to the time of accept used to panic.
        let greeted = greet(layer, script().read(HELLO).build()).await;

        assert!(greeted.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_counts_from_accept_not_from_the_last_byte() {
        let (mut client, io) = duplex(64);
        tokio::spawn(async move {
            for byte in *b"\x05\xff\x00\x00\x00\x00\x00\x00" {
                tokio::time::sleep(Duration::from_secs(2)).await;
                client.write_all(&[byte]).await.unwrap();
            }
        });
        let layer = HandshakeLayer::new().with_timeout(Duration::from_secs(7));
        let began = Instant::now();

        let error = layer.layer(Stop).call(accepted(io)).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Deadline);
        assert_eq!(began.elapsed(), Duration::from_secs(7));
    }
}
