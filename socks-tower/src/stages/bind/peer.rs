//! Who may come.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::BindError;
use crate::{
    server::{Listener, Retry, TcpAcceptor},
    session::{Judge, Pinned, Request},
};

/// The peers that a client expects.
pub(super) struct Expected<'a, J> {
    pub(super) judge: J,
    /// What the client asked for.
    pub(super) request: &'a Request,
    /// Whom the judge permitted. An unspecified address is anybody.
    pub(super) peers: Pinned,
}

impl<J> Expected<'_, J>
where
    J: Judge,
{
    /// Waits for one of them. Others are hung up on, which ends SOCKS4's BIND.
    pub(super) async fn accept(
        mut self,
        mut listener: TcpAcceptor,
    ) -> Result<(TcpStream, SocketAddr), BindError> {
        let mut retry = Retry::default();
        loop {
            let accepted = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    retry.after(error).await.map_err(BindError::Accept)?;
                    continue;
                }
            };
            // Of a TCP connection it is always known.
            let Some(peer) = accepted.session.client_addr else {
                continue;
            };
            match self.ask_about(peer).await {
                Ok(()) => return Ok((accepted.io, peer)),
                Err(error) if self.is_socks4() => return Err(error),
                Err(error) => tracing::debug!(%error, "peer not let in"),
            }
        }
    }

    /// Ports are not compared: a client does not know the one that its peer
    /// will come from.
    pub(super) async fn ask_about(&mut self, peer: SocketAddr) -> Result<(), BindError> {
        let ip = peer.ip();
        let mut expected = self.peers.addrs().iter().map(SocketAddr::ip);
        if expected.clone().any(|expected| expected == ip) {
            return Ok(());
        }
        if !expected.any(|expected| expected.is_unspecified()) {
            return Err(BindError::WrongPeer(peer));
        }
        let about = self.request.for_work().with_target(peer.into());
        let permitted = self.judge.clone().run(about).await;
        let permitted = permitted.map_err(|source| BindError::NotPermitted { peer, source })?;
        // An authorizer may also narrow the addresses to none.
        let mut permitted = permitted.target.addrs().iter().map(SocketAddr::ip);
        match permitted.any(|permitted| permitted == ip) {
            true => Ok(()),
            false => Err(BindError::WrongPeer(peer)),
        }
    }

    fn is_socks4(&self) -> bool {
        self.request.session.is_socks4()
    }
}
