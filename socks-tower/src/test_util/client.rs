use base64ct::{Base64, Encoding};
use socks_core::{
    Credentials, Decoded, Target,
    client::{Client as Machine, Error as Refused, Event, FailureCode, TargetError},
    v4::{self, UserId},
    v5::{Command, ReplyCode},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tower::ServiceExt;

use super::replies::status;
use crate::{
    server::Proxy,
    session::{Accepted, Error, Session, Transfer},
};

/// A client in memory, which asks for a target, says something to it, and
/// listens. See the [module's page](super).
#[derive(Clone, Debug)]
pub struct Client {
    speaks: Speaks,
    command: Command,
    target: Target,
    credentials: Option<Credentials>,
    data: Vec<u8>,
    session: Session,
}

#[derive(Clone, Copy, Debug)]
enum Speaks {
    Socks5,
    Socks4,
    Http,
}

/// What a [`Client`] has heard.
#[derive(Debug)]
#[non_exhaustive]
pub struct Heard {
    /// The reply's code: SOCKS5's, of which 0 is success (RFC 1928 section 6),
    /// SOCKS4's, of which 90 is, or HTTP's status. None if there was none: the
    /// connection was closed, or a method refused the client.
    pub reply: Option<u16>,
    /// What came behind the reply: what the target said, or HTTP's words about a
    /// refusal.
    pub data: Vec<u8>,
    /// All of it, the methods' negotiation included.
    pub bytes: Vec<u8>,
    /// What the session came to.
    pub ended: Result<Transfer, Error>,
}

impl Client {
    /// A client of SOCKS5.
    #[must_use]
    pub fn socks5(target: Target) -> Self {
        Self::new(Speaks::Socks5, target)
    }

    /// A client of SOCKS4, or of SOCKS4a if the target is a name.
    ///
    /// # Errors
    ///
    /// If the target is an IPv6 address, of which SOCKS4 knows none.
    pub fn socks4(target: Target) -> Result<Self, TargetError> {
        Machine::v4a(UserId::default(), Command::CONNECT, target.clone())?;
        Ok(Self::new(Speaks::Socks4, target))
    }

    /// A client of HTTP CONNECT.
    #[must_use]
    pub fn http(target: Target) -> Self {
        Self::new(Speaks::Http, target)
    }

    fn new(speaks: Speaks, target: Target) -> Self {
        Self {
            speaks,
            command: Command::CONNECT,
            target,
            credentials: None,
            data: Vec::new(),
            session: Session::new(),
        }
    }

    /// Gives a name and a password, and in SOCKS5 offers no other method. SOCKS4
    /// knows none.
    #[must_use]
    pub fn with_password(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Asks for something else than CONNECT, of which HTTP knows nothing.
    #[must_use]
    pub fn with_command(mut self, command: Command) -> Self {
        self.command = command;
        self
    }

    /// Says this to the target, without waiting for the reply.
    #[must_use]
    pub fn with_data(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.data = data.into();
        self
    }

    /// What is known of it at accept: its address, for instance. By default,
    /// nothing.
    #[must_use]
    pub fn with_session(mut self, session: Session) -> Self {
        self.session = session;
        self
    }

    /// Says to `proxy` all that it has to say, hangs up its sending side, and
    /// hears all that comes, until the session has ended and closed its stream.
    ///
    /// That is never, if the target neither hangs up nor follows when the client
    /// does, and no time-out ends the tunnel.
    pub async fn ask<P: Proxy<DuplexStream>>(self, proxy: P) -> Heard {
        let (near, far) = duplex(64 * 1024);
        let (mut incoming, mut outgoing) = split(near);
        let (script, machine) = self.script();
        let granted = match self.speaks {
            Speaks::Socks4 => v4::ReplyCode::GRANTED.0,
            Speaks::Socks5 | Speaks::Http => ReplyCode::SUCCEEDED.0,
        };
        let saying = async {
            // Whoever does not want to hear it is heard in turn.
            let _ = outgoing.write_all(&script).await;
            let _ = outgoing.shutdown().await;
        };
        let hearing = async {
            let mut bytes = Vec::new();
            let _ = incoming.read_to_end(&mut bytes).await;
            bytes
        };
        let session = proxy.oneshot(Accepted::new(far, self.session));
        let (ended, (), bytes) = tokio::join!(session, saying, hearing);
        let (reply, at) = match machine {
            Some(machine) => socks(machine, granted, &bytes),
            None => http(&bytes),
        };
        Heard {
            reply,
            data: bytes.get(at..).unwrap_or_default().to_vec(),
            bytes,
            ended: ended.map_err(|error| Error::from_box(error.into())),
        }
    }

    /// All that it says, and who knows the answer to it; nobody, if that is HTTP.
    fn script(&self) -> (Vec<u8>, Option<Machine>) {
        let (command, target) = (self.command, self.target.clone());
        let mut machine = match self.speaks {
            Speaks::Socks5 => {
                let credentials = self.credentials.clone();
                Some(Machine::v5_in_one_flight(credentials, command, target))
            }
            Speaks::Socks4 => Machine::v4a(UserId::default(), command, target).ok(),
            Speaks::Http => None,
        };
        let mut script = Vec::new();
        match &mut machine {
            // It has not begun before.
            Some(machine) => drop(machine.start(&mut script)),
            None => script = self.connect().into_bytes(),
        }
        script.extend_from_slice(&self.data);
        (script, machine)
    }

    /// RFC 9110 section 9.3.6, and Basic of RFC 7617.
    fn connect(&self) -> String {
        let target = &self.target;
        let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(Credentials {
            username, password, ..
        }) = &self.credentials
        {
            let claimed = [username.as_bytes(), b":", password.as_bytes()].concat();
            head += "Proxy-Authorization: Basic ";
            head += &Base64::encode_string(&claimed);
            head += "\r\n";
        }
        head + "\r\n"
    }
}

/// The code of a reply in SOCKS, and where what follows it begins.
fn socks(mut machine: Machine, granted: u8, bytes: &[u8]) -> (Option<u16>, usize) {
    let mut at = 0;
    let code = loop {
        let rest = bytes.get(at..).unwrap_or_default();
        match machine.receive(rest, &mut Vec::new()) {
            Ok(Decoded::Complete { message, consumed }) => {
                at += consumed;
                if let Event::Granted(_) = message {
                    return (Some(granted.into()), at);
                }
            }
            Err(Refused::Refused(FailureCode::V5(code))) => break Some(code.0),
            Err(Refused::Refused(FailureCode::V4(code))) => break Some(code.0),
            _ => break None,
        }
    };
    (code.map(u16::from), bytes.len())
}

/// The same in HTTP.
fn http(bytes: &[u8]) -> (Option<u16>, usize) {
    const END: &[u8] = b"\r\n\r\n";
    let head = bytes.windows(END.len()).position(|end| end == END);
    let at = head.map_or(bytes.len(), |head| head + END.len());
    (status(bytes), at)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::io::{copy, split};
    use tower::{ServiceBuilder, service_fn};

    use super::*;
    use crate::{
        session::{ErrorKind, Request},
        stages::{
            authenticate::{AuthenticateLayer, NoAuth, Users},
            connect::ConnectLayer,
            handshake::HandshakeLayer,
            http_connect::HttpConnectLayer,
            relay::Relay,
        },
    };

    /// Says everything again, to joe and whoever needs no name.
    fn echo() -> impl Proxy<DuplexStream> + Clone {
        let connector = service_fn(|_: Request| async {
            let (near, far) = duplex(1024);
            tokio::spawn(async {
                let (mut read, mut write) = split(far);
                copy(&mut read, &mut write).await?;
                write.shutdown().await
            });
            Ok::<_, Infallible>(near)
        });
        let users = Users::new().with("joe", "secret").unwrap();
        let socks = AuthenticateLayer::password(users.clone()).or(NoAuth);
        let http = HttpConnectLayer::password(users);
        ServiceBuilder::new()
            .layer(http.or((HandshakeLayer::new(), socks)))
            .layer(ConnectLayer::new(connector))
            .service(Relay::new())
    }

    fn target() -> Target {
        "[2001:db8::1]:80".parse().unwrap()
    }

    fn password(password: &str) -> Credentials {
        Credentials::new("joe", password).unwrap()
    }

    #[tokio::test]
    async fn a_client_hears_its_reply_and_its_target_in_each_protocol() {
        let v4 = "192.0.2.1:80".parse().unwrap();
        for (client, granted) in [
            (Client::socks5(target()), 0),
            (
                Client::socks5(target()).with_password(password("secret")),
                0,
            ),
            (Client::socks4(v4).unwrap(), 90),
            (
                Client::http(target()).with_password(password("secret")),
                200,
            ),
        ] {
            let said = vec![7; 100_000];
            let heard = client.with_data(said.clone()).ask(echo()).await;
            assert_eq!(heard.reply, Some(granted));
            assert!(heard.data == said && heard.bytes.ends_with(&said));
            assert_eq!(heard.ended.unwrap().up, 100_000);
        }
    }

    #[tokio::test]
    async fn a_client_that_is_not_let_in_hears_so() {
        for (client, reply, bytes) in [
            (Client::socks5(target()), None, &b"\x05\x02\x01\x01"[..]),
            (Client::http(target()), Some(407), b"HTTP/1.1 407 "),
        ] {
            let heard = client.with_password(password("guess")).ask(echo()).await;
            assert_eq!(heard.reply, reply);
            assert!(heard.bytes.starts_with(bytes), "{heard:?}");
            let error = heard.ended.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Authentication);
        }
    }

    #[tokio::test]
    async fn a_command_that_is_not_served_is_refused() {
        let client = Client::socks5(target()).with_command(Command::BIND);
        let heard = client.ask(echo()).await;
        assert_eq!((heard.reply, heard.data), (Some(7), vec![]));
    }

    #[test]
    fn socks4_has_no_ipv6() {
        assert!(Client::socks4(target()).is_err());
    }
}
