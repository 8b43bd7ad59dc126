//! Write your own authentication: from a closure to a method that wraps the stream.
//!
//! Who a client is, a *verifier* says: a tower service of an
//! [`Attempt`](crate::Attempt), which answers with an [`Identity`](crate::Identity). A
//! *method* is what is spoken on the wire. Most need a verifier alone; each step here
//! goes a little further than the one before it.
//!
//! # A closure
//!
//! Username and password (RFC 1929) come as an `Attempt`, with the
//! [`Session`](crate::Session) that says where the client is:
//!
//! ```
//! use socks_tower::{Attempt, AuthenticateLayer, Identity, WrongCredentials};
//! use tower::service_fn;
//!
//! let verifier = service_fn(|attempt: Attempt| async move {
//!     let name = attempt.credentials.username.to_str();
//!     match (name, attempt.credentials.password.as_bytes()) {
//!         (Some("joe"), b"secret") => Ok(Identity::new("joe")),
//!         _ => Err(WrongCredentials::new()),
//!     }
//! });
//! # let ask = async |name, password| {
//! #     let attempt = Attempt::new(socks_tower::Session::new(), socks_tower::Credentials::new(name, password).unwrap());
//! #     socks_tower::Work::run(verifier, attempt).await.is_ok()
//! # };
//! # assert!(tokio_test::block_on(async { ask("joe", "secret").await && !ask("joe", "").await }));
//!
//! let layer = AuthenticateLayer::password(verifier);
//! ```
//!
//! What a real one does besides: it compares in constant time, and takes as long for
//! somebody who is not there. [`Users`](crate::Users) do both, and two
//! [`Password`](crate::Password)s compare so. Neither name nor password need be UTF-8, nor
//! longer than nothing.
//!
//! # More than a name
//!
//! What else the verifier knows goes along with an [`Admitted`](crate::Admitted), by type.
//! Rules, limits, routes and layers of yours find it in the session's `extensions`; an
//! [`Egress`](crate::Egress) there is taken as it is, and chooses the address that the
//! user's connections come from.
//!
//! ```
//! use std::net::Ipv4Addr;
//! use socks_tower::{
//!     Admitted, Attempt, AuthenticateLayer, Egress, Identity, Match, Rules, WrongCredentials,
//! };
//! use tower::service_fn;
//!
//! #[derive(Clone, PartialEq)]
//! enum Plan { Free, Gold }
//!
//! let verifier = service_fn(|attempt: Attempt| async move {
//!     match attempt.credentials.username.to_str() {
//!         Some("ann") => Ok(Admitted::from(Identity::new("ann"))
//!             .with_extension(Plan::Gold)
//!             .with_extension(Egress::from(Ipv4Addr::new(192, 0, 2, 7)))),
//!         Some(name) => Ok(Admitted::from(Identity::new(name)).with_extension(Plan::Free)),
//!         None => Err(WrongCredentials::new()),
//!     }
//! });
//! let rules = Rules::new()
//!     .deny(Match::any().port(25).extension(|plan: &Plan| *plan == Plan::Free));
//! # let attempt = Attempt::new(socks_tower::Session::new(), socks_tower::Credentials::new("ann", "x")?);
//! # let admitted = tokio_test::block_on(socks_tower::Work::run(verifier, attempt))?;
//! # assert!(admitted.extensions().get() == Some(&Plan::Gold));
//! # let _ = rules;
//!
//! let layer = AuthenticateLayer::password(verifier);
//! # Ok::<(), socks_tower::BoxError>(())
//! ```
//!
//! `examples/policy` has one that says of each user how many connections it may have, what
//! it may reach, which way, and from which address.
//!
//! # A question to somebody else
//!
//! A type that is a `Service` keeps what it needs: a pool of connections, a file. Two kinds
//! of errors are to be told apart. A no is the client's: `WrongCredentials`, or any error. A
//! back end in trouble is nobody's guess, and an [`io::Error`](std::io::Error), a time-out
//! or overload says so ([`is_outage`](crate::session::is_outage)). What stands around it
//! goes by that:
//!
//! ```
//! use std::{future::Future, io, pin::Pin, task::{Context, Poll}, time::Duration};
//! use socks_tower::{
//!     Attempt, AuthenticateLayer, BoxError, Identity, WrongCredentials,
//!     middleware::LockoutLayer, stages::authenticate::cache::AuthCacheLayer,
//! };
//! use tower::{Service, ServiceBuilder};
//!
//! #[derive(Clone)]
//! struct Directory { /* a client of it, which is cheap to clone */ }
//!
//! impl Directory {
//!     async fn knows(&self, attempt: &Attempt) -> io::Result<Option<String>> {
//! #       if attempt.credentials.username.to_str() == Some("down") { return Err(io::ErrorKind::ConnectionRefused.into()); }
//!         // ...
//!         Ok(None)
//!     }
//! }
//!
//! impl Service<Attempt> for Directory {
//!     type Response = Identity;
//!     type Error = BoxError;
//!     type Future = Pin<Box<dyn Future<Output = Result<Identity, BoxError>> + Send>>;
//!
//!     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
//!         Poll::Ready(Ok(()))
//!     }
//!
//!     fn call(&mut self, attempt: Attempt) -> Self::Future {
//!         let directory = self.clone();
//!         Box::pin(async move {
//!             match directory.knows(&attempt).await? {
//!                 Some(name) => Ok(Identity::new(name)),
//!                 None => Err(WrongCredentials::new().into()),
//!             }
//!         })
//!     }
//! }
//!
//! let verifier = ServiceBuilder::new()
//!     .layer(LockoutLayer::new()) // counts what is a no, and no outage
//!     .layer(
//!         AuthCacheLayer::new(Duration::from_secs(60)) // SOCKS asks for each connection
//!             .with_stale(Duration::from_secs(60 * 60)), // and if the directory is down
//!     )
//!     .concurrency_limit(64)
//!     .timeout(Duration::from_secs(2))
//!     .service(Directory {});
//! # use socks_tower::{Credentials, Session, Work, session::is_outage};
//! # let ask = async |name| {
//! #     let attempt = Attempt::new(Session::new(), Credentials::new(name, "x").unwrap());
//! #     verifier.clone().run(attempt).await.unwrap_err()
//! # };
//! # let (down, no) = tokio_test::block_on(async { (ask("down").await, ask("joe").await) });
//! # assert!(is_outage(&*down) && !is_outage(&*no));
//!
//! let layer = AuthenticateLayer::password(verifier);
//! ```
//!
//! `examples/auth-http`, `auth-program` and `custom-auth` are such verifiers, whole: an
//! HTTP endpoint, PAM, a table in SQLite. What blocks, a hash or a C library, runs off the
//! runtime's threads.
//!
//! # Who may come how
//!
//! Methods stand in the order in which you prefer them, each for the clients that you say.
//! A SOCKS4 client claims a name and proves nothing: let its host vouch for it, or the
//! network that it comes from.
//!
//! ```
//! use socks_tower::{
//!     AuthMethod, AuthenticateLayer, IpNet, NoAuth, UsernamePassword, Users,
//!     stages::authenticate::Ident,
//! };
//!
//! let lab: IpNet = "192.0.2.0/24".parse()?;
//! let from_here = NoAuth.offered_if(|session| {
//!     session.client_addr.is_some_and(|addr| addr.ip().is_loopback())
//! });
//! let users = Users::new().with("joe", "secret")?;
//!
//! let layer = AuthenticateLayer::new(from_here)
//!     .or(UsernamePassword::new(users))
//!     .with_user_ids(Ident::new([lab])); // RFC 1413
//! # Ok::<(), socks_tower::BoxError>(())
//! ```
//!
//! A certificate that a client shows TLS names it before all this
//! (`front::tls::TlsLayer::with_identity`); with [`NoAuth`](crate::NoAuth) it keeps that
//! name.
//!
//! # A method of your own
//!
//! Another proof than a password is another method: an [`AuthMethod`](crate::AuthMethod),
//! with a code of the private range. Let it read messages, each with a longest length, and
//! leave the verdict to a service of an `Attempt` of *its* claim: then all that stands
//! around other verifiers stands around this one, too.
//!
//! ```
//! use std::convert::Infallible;
//! use socks_tower::{
//!     Admitted, Attempt, AuthMethod, AuthenticateLayer, BoxError, Decode, Decoded, Identity,
//!     Method, Negotiation, Work, WrongCredentials, async_trait,
//! };
//! use tokio::io::AsyncWriteExt;
//! use tower::service_fn;
//!
//! /// What the client sends: eight bytes that it was given when it was enrolled.
//! struct Token([u8; 8]);
//!
//! impl Decode for Token {
//!     type Error = Infallible;
//!     const MIN_LEN: usize = 8;
//!     const MAX_LEN: usize = 8;
//!
//!     fn decode(input: &[u8]) -> Result<Decoded<Self>, Infallible> {
//!         Ok(match input.first_chunk() {
//!             Some(token) => Decoded::Complete { message: Self(*token), consumed: 8 },
//!             None => Decoded::Incomplete { needed: 8 - input.len() },
//!         })
//!     }
//! }
//!
//! struct ByToken<V>(V);
//!
//! #[async_trait]
//! impl<V> AuthMethod for ByToken<V>
//! where
//!     V: Work<Attempt<Token>, Response = Identity> + Sync,
//! {
//!     fn code(&self) -> Method {
//!         Method(0x80)
//!     }
//!
//!     async fn authenticate(&self, client: &mut Negotiation<'_>) -> Result<Admitted, BoxError> {
//!         // What the client sent behind it, its request perhaps, stays for the next stage.
//!         let token = client.read_message::<Token>().await?;
//!         let attempt = Attempt::new(client.session().clone(), token);
//!         let verdict = self.0.clone().run(attempt).await;
//!         // What the client hears is the method's to say, a refusal too.
//!         client.write_all(&[u8::from(verdict.is_err())]).await?;
//!         Ok(verdict?.into())
//!     }
//! }
//!
//! let tokens = service_fn(|attempt: Attempt<Token>| async move {
//!     match &attempt.credentials.0 {
//!         b"8 bytes!" => Ok(Identity::new("joe")),
//!         _ => Err(WrongCredentials::new()),
//!     }
//! });
//! let method = ByToken(tokens);
//!
//! // A client of it, without a proxy: it hears a byte.
//! # let test = async {
//! let mut client = tokio_test::io::Builder::new().read(b"8 bytes!").write(&[0]).build();
//! let (session, mut early) = (socks_tower::Session::new(), Vec::new());
//! let mut negotiation = Negotiation::new(&session, &mut early, &mut client);
//! let admitted = method.authenticate(&mut negotiation).await?;
//! assert_eq!(admitted.identity(), Some(&Identity::new("joe")));
//! # Ok::<(), BoxError>(())
//! # };
//! # tokio_test::block_on(test)?;
//!
//! let layer = AuthenticateLayer::new(method);
//! # Ok::<(), BoxError>(())
//! ```
//!
//! The negotiation has a deadline, and ends when the client hangs up: a method needs
//! neither. `examples/chap` is a method with challenges in both directions, and its
//! client's side, a [`ClientMethod`](crate::works::upstream::ClientMethod).
//!
//! # One that wraps the stream
//!
//! A method that encapsulates, encapsulates all that follows (RFC 1928 section 3): the
//! request, the replies, the data. [`Admitted::with_wrap`](crate::Admitted::with_wrap) is
//! given the client's stream once the method is done, and gives the stream to go on with.
//! Here both sides agree on a byte, and add it to all others; yours is a cipher's stream.
//!
//! ```
//! use std::{io, pin::Pin, task::{Context, Poll}};
//! use socks_tower::{
//!     Admitted, AuthMethod, AuthenticateLayer, BoxError, BoxStream, Identity, Method,
//!     Negotiation, Socks5, Socks5Connector, async_trait,
//!     works::upstream::{Authenticated, ClientMethod, ProxyNegotiation, direct},
//! };
//! use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
//!
//! const ROT: Method = Method(0x81);
//!
//! struct Rot(u8);
//!
//! #[async_trait]
//! impl AuthMethod for Rot {
//!     fn code(&self) -> Method {
//!         ROT
//!     }
//!
//!     async fn authenticate(&self, client: &mut Negotiation<'_>) -> Result<Admitted, BoxError> {
//!         let theirs = client.read_u8().await?;
//!         client.write_all(&[self.0]).await?;
//!         // In clear up to here, and nothing behind it.
//!         let key = theirs.wrapping_add(self.0);
//!         Ok(Admitted::from(Identity::new("rot")).with_wrap(move |io| Rotated { io, key }))
//!     }
//! }
//!
//! #[async_trait]
//! impl ClientMethod for Rot {
//!     fn code(&self) -> Method {
//!         ROT
//!     }
//!
//!     async fn authenticate(&self, proxy: &mut ProxyNegotiation<'_>) -> Result<Authenticated, BoxError> {
//!         proxy.write_all(&[self.0]).await?;
//!         let key = proxy.read_u8().await?.wrapping_add(self.0);
//!         Ok(Authenticated::new().with_wrap(move |io| Rotated { io, key }))
//!     }
//! }
//!
//! struct Rotated { io: BoxStream, key: u8 }
//!
//! impl AsyncRead for Rotated {
//!     fn poll_read(
//!         mut self: Pin<&mut Self>,
//!         cx: &mut Context<'_>,
//!         buf: &mut ReadBuf<'_>,
//!     ) -> Poll<io::Result<()>> {
//!         let (before, key) = (buf.filled().len(), self.key);
//!         let read = Pin::new(&mut self.io).poll_read(cx, buf);
//!         for byte in buf.filled_mut().iter_mut().skip(before) {
//!             *byte = byte.wrapping_sub(key);
//!         }
//!         read
//!     }
//! }
//!
//! impl AsyncWrite for Rotated {
//!     fn poll_write(
//!         mut self: Pin<&mut Self>,
//!         cx: &mut Context<'_>,
//!         buf: &[u8],
//!     ) -> Poll<io::Result<usize>> {
//!         let key = self.key;
//!         let rotated: Vec<u8> = buf.iter().map(|byte| byte.wrapping_add(key)).collect();
//!         // As much of `buf` is written as of what it became.
//!         Pin::new(&mut self.io).poll_write(cx, &rotated)
//!     }
//!
//!     fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
//!         Pin::new(&mut self.io).poll_flush(cx)
//!     }
//!
//!     fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
//!         Pin::new(&mut self.io).poll_shutdown(cx)
//!     }
//! }
//!
//! let proxy = Socks5::new().with_auth(AuthenticateLayer::new(Rot(7)));
//! # let test = async {
//! # let rules = socks_tower::Rules::new().permit_special("127.0.0.0/8".parse()?);
//! # let proxy = proxy.with_rules(rules);
//! # let server = socks_tower::Server::bind("127.0.0.1:0").await?;
//! # let addr = server.local_addr();
//! # let serving = tokio::spawn(server.serve(proxy));
//! let client = Socks5Connector::new(addr.into(), direct()).with_method(Rot(42));
//! # let target = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let host = socks_tower::Target::from(target.local_addr()?);
//! # let request = socks_tower::Request::new(socks_tower::Session::new(), socks_tower::Command::CONNECT, host);
//! # let mut stream = tower::ServiceExt::oneshot(client, request).await?.io;
//! # let (mut peer, _) = target.accept().await?;
//! # stream.write_all(b"hello").await?;
//! # let mut heard = [0; 5];
//! # peer.read_exact(&mut heard).await?;
//! # assert_eq!(&heard, b"hello");
//! # serving.abort();
//! # Ok::<(), BoxError>(())
//! # };
//! # tokio::runtime::Runtime::new()?.block_on(test)?;
//! # Ok::<(), BoxError>(())
//! ```
//!
//! What the client sent too early is not lost: it comes first on the stream that `wrap` is
//! given. A stream that is wrapped is copied by the relay, and not spliced. The datagrams
//! of an association are wrapped by a [`DatagramWrapper`](crate::session::DatagramWrapper),
//! whose page has both.
//!
//! # Before you serve it
//!
//! - Send it bytes one at a time, too many, none, and hang up amid each message.
//! - Have it take as long for a name that is not there as for a wrong password.
//! - Look for the secret in the log at its most talkative: what a type prints is its
//!   `Debug`, and errors are logged with all their causes.
//! - Stop what it asks, and see who is let in.
