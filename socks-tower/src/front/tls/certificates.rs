use std::{fmt, sync::Arc};

use tokio_rustls::rustls::pki_types::CertificateDer;

/// The certificates that a client showed, and that its verifier let through. In
/// the session's `extensions`.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerCertificates(Arc<[CertificateDer<'static>]>);

impl PeerCertificates {
    /// Certificates in DER, the client's own first: to test what goes by them.
    pub fn new(chain: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self(chain.into_iter().map(CertificateDer::from).collect())
    }

    pub(super) fn shown(chain: &[CertificateDer<'static>]) -> Self {
        Self(chain.into())
    }

    /// The client's own certificate, in DER.
    #[must_use]
    pub fn leaf(&self) -> &[u8] {
        self.0.first().map_or(&[], |leaf| leaf)
    }

    /// All of them, in DER: the client's own first, then what it showed to
    /// back that.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|certificate| &**certificate)
    }
}

impl fmt::Debug for PeerCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerCertificates({})", self.0.len())
    }
}
