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

    /// The serial number of the client's own certificate, as OpenSSL prints it:
    /// `0A1B`, in upper-case hexadecimal of whole bytes. None if there is no
    /// certificate that can be read, which none is that a verifier let through.
    ///
    /// It is unique among the certificates of one authority.
    #[cfg(feature = "x509")]
    #[must_use]
    pub fn serial(&self) -> Option<String> {
        super::x509::serial(self.leaf())
    }

    /// The common name (CN) in the subject of the client's own certificate.
    ///
    /// None if there is none, if there are several, or if it has control
    /// characters: what is read in two ways names nobody.
    #[cfg(feature = "x509")]
    #[must_use]
    pub fn common_name(&self) -> Option<String> {
        super::x509::common_name(self.leaf())
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
