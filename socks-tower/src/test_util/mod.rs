//! For your tests: a client in memory, and what clients hear of an error. No
//! socket is opened, and with Tokio's paused time no time-out is waited for.
//!
//! # A layer around a work
//!
//! A work is a tower service, and so is a layer around it: call it with a
//! [`Request`](crate::Request), or, if it checks passwords, with an
//! [`Attempt`](crate::Attempt). [`replies`](fn@replies) says what a client hears of its error.
//!
//! ```
//! use std::convert::Infallible;
//! use socks_tower::{
//!     Command, ErrorKind, Refusal, Request, Session, test_util::replies,
//! };
//! use tokio::io::duplex;
//! use tower::{BoxError, ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let no_mail = |request: Request| match request.target.port {
//!     25 => Err(Refusal::not_allowed("no mail from here")),
//!     _ => Ok(request),
//! };
//! let layered = ServiceBuilder::new()
//!     .filter(no_mail)
//!     .service_fn(|_: Request| async { Ok::<_, Infallible>(duplex(1).0) });
//!
//! let asked = |target: &str| {
//!     let target = target.parse()?;
//!     Ok::<_, BoxError>(Request::new(Session::new(), Command::CONNECT, target))
//! };
//! assert!(layered.clone().oneshot(asked("192.0.2.1:443")?).await.is_ok());
//!
//! let error = layered.oneshot(asked("192.0.2.1:25")?).await.unwrap_err();
//! assert_eq!(replies(ErrorKind::Connect, error), [2, 91, 403]);
//! # Ok(())
//! # }
//! ```
//!
//! tower's [`mock`](https://docs.rs/tower-test) makes a work that a test answers by
//! hand: a [`Request`](crate::Request) is equal to another that asks the same for
//! the same session.
//!
//! # A whole stack
//!
//! A [`Client`] speaks to any [`Proxy`](crate::Proxy), in each protocol, and has
//! [`Heard`] its reply and what the target said.
//!
//! ```
//! use socks_tower::{
//!     AuthenticateLayer, ConnectLayer, Credentials, HandshakeLayer, HttpConnectLayer, Relay,
//!     Request, Users, test_util::Client,
//! };
//! use tokio::io::{AsyncWriteExt, duplex};
//! use tower::{ServiceBuilder, service_fn};
//!
//! // The target greets, and hangs up.
//! let connector = service_fn(|_: Request| async {
//!     let (mut target, near) = duplex(64);
//!     target.write_all(b"220 ready\r\n").await?;
//!     Ok::<_, std::io::Error>(near)
//! });
//! # async fn test(connector: impl socks_tower::Connector<Request>) -> Result<(), socks_tower::BoxError> {
//! let users = Users::new().with("joe", "secret")?;
//! let socks = (HandshakeLayer::new(), AuthenticateLayer::password(users.clone()));
//! let proxy = ServiceBuilder::new()
//!     .layer(HttpConnectLayer::password(users).or(socks))
//!     .layer(ConnectLayer::new(connector))
//!     .service(Relay::new());
//!
//! let joe = Credentials::new("joe", "secret")?;
//! let client = Client::socks5("mail.example:25".parse()?).with_password(joe.clone());
//! let heard = client.ask(proxy.clone()).await;
//! assert_eq!(heard.reply, Some(0)); // succeeded
//! assert_eq!(heard.data, b"220 ready\r\n");
//! assert_eq!(heard.ended?.down, 11);
//!
//! let client = Client::http("mail.example:25".parse()?).with_password(joe);
//! assert_eq!(client.ask(proxy.clone()).await.reply, Some(200));
//!
//! // SOCKS4 knows no password.
//! let client = Client::socks4("mail.example:25".parse()?)?;
//! let heard = client.ask(proxy).await;
//! assert_eq!(heard.reply, Some(91)); // refused
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(test(connector))?;
//! # Ok::<(), socks_tower::BoxError>(())
//! ```
//!
//! [`Client::ask`] listens until the target hangs up: spawned, it is a tunnel that
//! lives for as long as the test keeps the target's end. A stack that is returned as
//! `impl Proxy<Io, Error = Error> + Clone` can be spawned so; without `Error = Error`
//! the compiler does not know that its error is `Send`.
//!
//! UDP ASSOCIATE and BIND need real sockets. Over those,
//! [`upstream::connect`](crate::works::upstream::connect) is a client in one line, which
//! says BND.ADDR and the code of a refusal.
//!
//! A client that does more than to ask, say something and listen is a
//! [`duplex`](tokio::io::duplex) of yours. Spawn its session as it is, and not from
//! within an `async` block: there the compiler finds that an implementation of
//! `From` "is not general enough", if a work fails with a
//! [`BoxError`](crate::BoxError).
//!
//! ```
//! use socks_tower::{Accepted, Session, Socks};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut client, io) = duplex(1024);
//! let session = tokio::spawn(Socks::new().oneshot(Accepted::new(io, Session::new())));
//!
//! client.write_all(b"\x05\x01\x02").await?; // offers passwords alone
//! let mut heard = Vec::new();
//! client.read_to_end(&mut heard).await?;
//! assert_eq!(heard, b"\x05\xff"); // no acceptable method
//! drop(client);
//! assert!(session.await?.is_err());
//! # Ok(())
//! # }
//! ```
//!
//! # A layer between the stages
//!
//! It is called with what it stands behind: [`Accepted::new`](crate::Accepted::new),
//! [`Greeted::offering`](crate::Greeted::offering),
//! [`Requested::new`](crate::Requested::new) or
//! [`Connected::new`](crate::Connected::new).

mod client;
mod replies;

pub use client::{Client, Heard};
pub use replies::replies;
