//! An upstream proxy that datagrams go through.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use socks_core::{Target, v5::Command};
use tokio::io::{AsyncRead, ReadBuf};

use super::associate::AssociateError;
use crate::{
    session::{
        AnyConnector, BoxStream, DropReason, Error, ErrorKind, Inbound, Outbound, Pinned, Request,
        Stream, Work, canonical,
        udp::{
            batch::Batch,
            header::{self, Parts},
        },
    },
    works::upstream::Relay,
};

/// An association at an upstream.
#[derive(Debug)]
pub(super) struct Upstream {
    /// Where it takes datagrams, and sends them from.
    pub(super) relay: Relay,
    control: Outbound<BoxStream>,
}

impl Upstream {
    /// Has `connector` open one for the client, unless that hangs up.
    pub(super) async fn open<Io: Stream>(
        connector: &AnyConnector,
        client: &mut Inbound<Io>,
        request: &Request,
    ) -> Result<Box<Self>, Error> {
        // What the client has declared is between it and us.
        let asked = request.for_work().with_target(Target::UNSPECIFIED);
        let answer = client.watch_open(connector.clone().run(asked)).await?;
        let mut control = answer.map_err(|error| Error::of_work(ErrorKind::Connect, error))?;
        if control.bound().is_none() {
            // It has not looked at the command.
            return Err(Error::bare(ErrorKind::Command));
        }
        let relay = Relay::take(&mut control).map_err(AssociateError::Upstream)?;
        Ok(Box::new(Self { relay, control }))
    }

    /// How many bytes of the datagram at `at` are data for the client.
    pub(super) fn take(&self, batch: &mut Batch, at: usize) -> Result<usize, DropReason> {
        let from = batch.datagram(at).map(|(_, from)| canonical(from));
        if from != Some(self.relay.addr) {
            return Err(DropReason::Unsolicited);
        }
        if let Some(wrapper) = &self.relay.wrapper
            && !batch.unwrap(at, wrapper)
        {
            return Err(DropReason::Unprotected);
        }
        let datagram = batch
            .datagram(at)
            .and_then(|(datagram, _)| Parts::split(datagram));
        let parts = datagram.ok_or(DropReason::Malformed)?;
        match parts.fragment.is_standalone() {
            true => Ok(parts.data.len()),
            false => Err(DropReason::Fragment),
        }
    }

    /// Ready once the upstream has hung up: that is the end of the association. What it
    /// says means nothing.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut space = [MaybeUninit::uninit(); 64];
        loop {
            let mut said = ReadBuf::uninit(&mut space);
            let read: io::Result<()> =
                ready!(Pin::new(&mut self.control.io).poll_read(cx, &mut said));
            if read.is_err() || said.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }
}

/// The headers that lead an upstream to what is permitted, the best first.
pub(super) fn headers(permitted: &Pinned) -> impl Iterator<Item = Vec<u8>> {
    let addrs = permitted.addrs();
    let by_name = addrs.is_empty().then(|| permitted.target().clone());
    let by_addr = addrs.iter().copied().map(Target::from);
    by_name.into_iter().chain(by_addr).map(header::towards)
}

/// Whether `request` is for an association at all.
pub(super) fn is_served(request: &Request) -> bool {
    // SOCKS4 has no command 3.
    request.command == Command::UDP_ASSOCIATE && !request.session.is_socks4()
}
