use std::{fmt, pin::Pin};

use tokio_rustls::{rustls::ServerConnection, server};

use crate::session::{Rewind, Stream, by_pin};

/// A client's stream within TLS.
pub struct TlsStream<Io> {
    inner: server::TlsStream<Rewind<Io>>,
}

impl<Io> TlsStream<Io> {
    pub(super) fn new(inner: server::TlsStream<Rewind<Io>>) -> Self {
        Self { inner }
    }

    /// The stream beneath.
    pub fn get_ref(&self) -> &Io {
        self.inner.get_ref().0.get_ref()
    }

    /// The name that the client asked for (SNI).
    pub fn server_name(&self) -> Option<&str> {
        self.connection().server_name()
    }

    /// The protocol that was agreed on (ALPN).
    pub fn alpn_protocol(&self) -> Option<&[u8]> {
        self.connection().alpn_protocol()
    }

    /// All that [rustls](super::rustls) knows of the connection.
    pub fn connection(&self) -> &ServerConnection {
        self.inner.get_ref().1
    }
}

impl<Io: Stream> TlsStream<Io> {
    fn pin(&mut self) -> Pin<&mut dyn Stream> {
        Pin::new(&mut self.inner)
    }

    fn is_vectored(&self) -> bool {
        tokio::io::AsyncWrite::is_write_vectored(&self.inner)
    }
}

by_pin!(TlsStream<Io>);

impl<Io> fmt::Debug for TlsStream<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsStream(..)")
    }
}
