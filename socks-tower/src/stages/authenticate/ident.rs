use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use socks_core::v4::UserId;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpSocket,
};
use tower_service::Service;

use super::Attempt;
use crate::session::{BoxError, BoxWork, Identity, always_ready, opaque_future, timeout};

/// A verifier of SOCKS4's user ids: asks the client's host whose connection it is
/// (ident, RFC 1413).
///
/// It comes with the feature `ident`. An answer is worth what the host is: whoever runs
/// it can say anything. So only hosts of the networks that are given are asked, and
/// clients from elsewhere are refused; give those whose administrators you trust, on a
/// wire that nobody else can speak on.
///
/// The name that the host says is the identity. A user id that the client claims must
/// be the same, unless it is empty. `OTHER`, by which a host says that its name is no
/// user's, is refused, and so is a host that hides its users.
///
/// ```
/// use socks_tower::{AuthenticateLayer, Users, stages::authenticate::Ident};
///
/// let users = Users::new().with("joe", "secret")?;
/// let layer = AuthenticateLayer::password(users)
///     .with_user_ids(Ident::new(["192.0.2.0/24".parse()?]));
/// # Ok::<(), socks_tower::BoxError>(())
/// ```
///
/// The question leaves from the address that the client reached us at, by which the host
/// finds the connection: behind a load balancer that speaks the PROXY protocol there is
/// none to be found, and the client is refused.
#[derive(Clone, Debug)]
pub struct Ident {
    hosts: Arc<[IpNet]>,
    port: u16,
    timeout: Duration,
}

/// Why a client's host does not vouch for it. That it could not be asked is an
/// [`io::Error`], or a time-out.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentError {
    /// The client is not of a network whose hosts are asked.
    #[error("not of a network whose ident is trusted")]
    NotTrusted,
    /// The host does not say: `NO-USER`, `HIDDEN-USER` and the like.
    #[error("ident says {0:?}")]
    NoUser(String),
    /// The connection is another user's.
    #[error("the client says that it is {claimed:?}, and ident that it is {name:?}")]
    Another {
        /// What the client claims.
        claimed: UserId,
        /// What its host says.
        name: String,
    },
    /// What came is no answer to what was asked.
    #[error("ident's answer is malformed")]
    Malformed,
}

impl Ident {
    /// The port of ident.
    const PORT: u16 = 113;

    /// The longest answer (RFC 1413 section 4: lines of 1,000 characters).
    const MAX_LINE: u64 = 1000;

    /// Asks hosts of these networks. None means that every client is refused.
    #[must_use]
    pub fn new(hosts: impl IntoIterator<Item = IpNet>) -> Self {
        Self {
            hosts: hosts.into_iter().collect(),
            port: Self::PORT,
            timeout: Duration::from_secs(3),
        }
    }

    /// How long a host has to answer, 3 seconds unless set.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Where hosts listen, 113 unless set.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        self.hosts.iter().any(|net| net.contains(&ip))
    }

    async fn verify(self, attempt: Attempt<UserId>) -> Result<Identity, BoxError> {
        let session = &attempt.session;
        let (Some(client), Some(local)) = (session.client_addr, session.local_addr) else {
            return Err(IdentError::NotTrusted.into());
        };
        if !self.trusts(client.ip()) {
            return Err(IdentError::NotTrusted.into());
        }
        let asking = async {
            let socket = match client {
                SocketAddr::V4(_) => TcpSocket::new_v4(),
                SocketAddr::V6(_) => TcpSocket::new_v6(),
            }?;
            socket.bind(SocketAddr::new(local.ip(), 0))?;
            let mut identd = client;
            identd.set_port(self.port);
            let mut stream = socket.connect(identd).await?;
            ask(&mut stream, (client.port(), local.port())).await
        };
        let name = timeout(self.timeout, asking).await??;
        let claimed = attempt.credentials;
        if !claimed.as_bytes().is_empty() && claimed.as_bytes() != name.as_bytes() {
            return Err(IdentError::Another { claimed, name }.into());
        }
        Ok(Identity::new(name))
    }
}

/// Asks whose connection it is that goes from the one port, at the host asked, to the
/// other, at ours.
async fn ask<Io>(stream: &mut Io, ports: (u16, u16)) -> Result<String, BoxError>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let question = format!("{}, {}\r\n", ports.0, ports.1);
    stream.write_all(question.as_bytes()).await?;
    stream.flush().await?;
    let mut line = Vec::new();
    let mut answer = stream.take(Ident::MAX_LINE);
    while !line.ends_with(b"\n") {
        if answer.read_buf(&mut line).await? == 0 {
            return Err(match answer.limit() {
                0 => IdentError::Malformed.into(),
                _ => io::Error::from(io::ErrorKind::UnexpectedEof).into(),
            });
        }
    }
    Ok(user(&line, ports)?)
}

/// The user of an answer (RFC 1413 section 6), which is one line.
fn user(line: &[u8], ports: (u16, u16)) -> Result<String, IdentError> {
    const BLANK: [char; 2] = [' ', '\t'];
    let line = std::str::from_utf8(line).ok();
    let line = line.and_then(|it| it.strip_suffix('\n'));
    let line = line.map(|it| it.strip_suffix('\r').unwrap_or(it));
    let line = line.filter(|it| !it.contains(|c: char| c.is_control() && c != '\t'));
    // A user's name may have colons in it.
    let mut fields = line.ok_or(IdentError::Malformed)?.splitn(4, ':');
    let mut field = || {
        let field = fields.next().ok_or(IdentError::Malformed)?;
        Ok(field.trim_matches(BLANK))
    };
    let pair = field()?.split_once(',').ok_or(IdentError::Malformed)?;
    let port = |text: &str| {
        let text = text.trim_matches(BLANK);
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| is_number)
    };
    if (port(pair.0), port(pair.1)) != (Some(ports.0), Some(ports.1)) {
        return Err(IdentError::Malformed);
    }
    match field()? {
        "USERID" => {}
        "ERROR" => return Err(IdentError::NoUser(field()?.to_owned())),
        _ => return Err(IdentError::Malformed),
    }
    let system = field()?.split(',').next().unwrap_or_default();
    let name = field()?;
    match system.trim_matches(BLANK) {
        "OTHER" => Err(IdentError::NoUser("OTHER".to_owned())),
        "" => Err(IdentError::Malformed),
        _ if name.is_empty() || name.len() > UserId::MAX_LEN => Err(IdentError::Malformed),
        _ => Ok(name.to_owned()),
    }
}

opaque_future! {
    /// The future of [`Ident`].
    IdentFuture<> -> Result<Identity, BoxError> = BoxWork<Identity>
}

impl Service<Attempt<UserId>> for Ident {
    type Response = Identity;
    type Error = BoxError;
    type Future = IdentFuture;

    always_ready!();

    fn call(&mut self, attempt: Attempt<UserId>) -> Self::Future {
        IdentFuture::new(Box::pin(self.clone().verify(attempt)))
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::io::Builder;
    use tower::ServiceExt;

    use super::*;
    use crate::session::{Session, is_outage};

    const PORTS: (u16, u16) = (6193, 23);

    fn said(line: &str) -> Result<String, IdentError> {
        user(line.as_bytes(), PORTS)
    }

    #[test]
    fn answers_are_read_as_rfc_1413_writes_them() {
        for line in [
            "6193, 23 : USERID : UNIX : stjohns\r\n",
            "6193,23:USERID:UNIX:stjohns\n",
            " 6193 ,\t23 : USERID : UNIX , US-ASCII : stjohns \r\n",
        ] {
            assert_eq!(said(line), Ok("stjohns".to_owned()), "{line:?}");
        }
        let name = said("6193,23 : USERID : UNIX : a:b c\r\n");
        assert_eq!(name, Ok("a:b c".to_owned()));
        for (line, reason) in [
            ("6193, 23 : ERROR : NO-USER\r\n", "NO-USER"),
            ("6193, 23 : ERROR : HIDDEN-USER : x\r\n", "HIDDEN-USER"),
            ("6193, 23 : USERID : OTHER : 42\r\n", "OTHER"),
        ] {
            let refused = Err(IdentError::NoUser(reason.to_owned()));
            assert_eq!(said(line), refused, "{line:?}");
        }
    }

    #[test]
    fn what_is_no_answer_to_the_question_names_nobody() {
        let long = format!("6193, 23 : USERID : UNIX : {}\r\n", "x".repeat(256));
        for line in [
            "",
            "\n",
            "6193, 23 : USERID : UNIX : joe",
            "6193, 24 : USERID : UNIX : joe\r\n",
            "23, 6193 : USERID : UNIX : joe\r\n",
            "+6193, 23 : USERID : UNIX : joe\r\n",
            "71729, 23 : USERID : UNIX : joe\r\n",
            "6193 : USERID : UNIX : joe\r\n",
            "6193, 23 : USERID : UNIX\r\n",
            "6193, 23 : USERID : : joe\r\n",
            "6193, 23 : USERID : UNIX : \r\n",
            "6193, 23 : USERID : UNIX : jo\u{1}e\r\n",
            "6193, 23 : userid : UNIX : joe\r\n",
            "6193, 23 : USERID : UNIX : ann\r\n6193, 23 : USERID : UNIX : joe\r\n",
            &long,
        ] {
            assert_eq!(said(line), Err(IdentError::Malformed), "{line:?}");
        }
        let latin = user(b"6193, 23 : USERID : UNIX : jo\xe9\r\n", PORTS);
        assert_eq!(latin, Err(IdentError::Malformed));
    }

    #[tokio::test]
    async fn an_answer_may_come_byte_by_byte_and_is_bounded() {
        let mut io = Builder::new();
        io.write(b"6193, 23\r\n");
        for byte in b"6193, 23 : USERID : UNIX : joe\r\n" {
            io.read(&[*byte]);
        }
        assert_eq!(ask(&mut io.build(), PORTS).await.unwrap(), "joe");

        let mut endless = Builder::new();
        endless.write(b"6193, 23\r\n").read(&[b' '; 1000]);
        let error = ask(&mut endless.build(), PORTS).await.unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&IdentError::Malformed));

        let mut cut = Builder::new();
        cut.write(b"6193, 23\r\n")
            .read(b"6193, 23 : USERID : UNIX : joe");
        let error = ask(&mut cut.build(), PORTS).await.unwrap_err();
        assert!(is_outage(&*error), "{error}");
    }

    #[tokio::test]
    async fn hosts_that_nobody_trusts_are_not_asked() {
        let ident = Ident::new(["192.0.2.0/24".parse().unwrap()]);
        let known = Session::new().with_client_addr("198.51.100.1:6193".parse().unwrap());
        let known = known.with_local_addr("198.51.100.2:23".parse().unwrap());
        for session in [Session::new(), known] {
            let attempt = Attempt::new(session, UserId::default());
            let error = ident.clone().oneshot(attempt).await.unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&IdentError::NotTrusted));
        }
    }
}
