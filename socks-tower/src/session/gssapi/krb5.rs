//! Kerberos 5 by the system's library.
//!
//! Three things are not there in its safe interface, and are done in other ways: whether a
//! message was encrypted is read from its token; how much fits a message is found by asking
//! how long its token would be; and a message is unwrapped as a buffer that may be written
//! to, since the library decrypts where it reads.

use std::time::Duration;

use libgssapi::{
    context::{ClientCtx, CtxFlags, SecurityContext, ServerCtx},
    credential::{Cred, CredUsage},
    error::Error,
    name::Name,
    oid::{GSS_MECH_KRB5, GSS_NT_HOSTBASED_SERVICE, OidSet},
    util::{Buf, GssIov, GssIovFake, GssIovType},
};
use socks_core::v5::gssapi::Token;

use super::{Acceptor, Context, Facts, GssApiError, Initiator, Step, Unwrapped, Wanted, ap_req};

/// It says why a thing failed to the thread that it failed on alone: so the words are
/// taken at once.
impl From<Error> for GssApiError {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

/// Accepts with the keys of a service.
pub(crate) struct Krb5Acceptor(Cred);

impl Krb5Acceptor {
    /// `service`, or `service@host`.
    pub(crate) fn new(service: &str) -> Result<Self, GssApiError> {
        let name = Name::new(service.as_bytes(), Some(GSS_NT_HOSTBASED_SERVICE))?;
        // Of this mechanism alone: what negotiates others finds no key.
        let mechanism = OidSet::singleton(GSS_MECH_KRB5)?;
        let cred = Cred::acquire(Some(&name), None, CredUsage::Accept, Some(&mechanism))?;
        Ok(Self(cred))
    }
}

impl Acceptor for Krb5Acceptor {
    fn context(&self) -> Box<dyn Context> {
        Box::new(Krb5(ServerCtx::new(Some(self.0.clone()))))
    }

    fn unique<'t>(&self, token: &'t [u8]) -> Option<&'t [u8]> {
        ap_req::authenticator(token)
    }
}

/// Begins contexts with a service, by the tickets that there are when it does.
pub(crate) struct Krb5Initiator(Name);

impl Krb5Initiator {
    /// With `service@host`.
    pub(crate) fn new(service: &str) -> Result<Self, GssApiError> {
        let name = Name::new(service.as_bytes(), Some(GSS_NT_HOSTBASED_SERVICE))?;
        Ok(Self(name))
    }
}

impl Initiator for Krb5Initiator {
    fn context(&self, wanted: Wanted) -> Result<Box<dyn Context>, GssApiError> {
        let mut flags = CtxFlags::GSS_C_MUTUAL_FLAG
            | CtxFlags::GSS_C_REPLAY_FLAG
            | CtxFlags::GSS_C_CONF_FLAG
            | CtxFlags::GSS_C_INTEG_FLAG;
        flags.set(CtxFlags::GSS_C_SEQUENCE_FLAG, wanted.sequence);
        flags.set(CtxFlags::GSS_C_DELEG_FLAG, wanted.delegation);
        let name = self.0.duplicate()?;
        let context = ClientCtx::new(None, name, flags, Some(GSS_MECH_KRB5));
        Ok(Box::new(Krb5(context)))
    }
}

trait Side: SecurityContext + Send + 'static {
    fn advance(&mut self, token: &[u8]) -> Result<Option<Buf>, Error>;
}

impl Side for ServerCtx {
    fn advance(&mut self, token: &[u8]) -> Result<Option<Buf>, Error> {
        let token = self.step(token, None);
        // A ticket that was handed to us is nothing that we want.
        drop(self.take_delegated_cred());
        token
    }
}

impl Side for ClientCtx {
    fn advance(&mut self, token: &[u8]) -> Result<Option<Buf>, Error> {
        self.step((!token.is_empty()).then_some(token), None)
    }
}

struct Krb5<C>(C);

/// What stands around the data of a token.
struct Around {
    header: usize,
    padding: usize,
    trailer: usize,
}

impl Around {
    fn len(&self) -> usize {
        self.header + self.padding + self.trailer
    }
}

impl<C: Side> Krb5<C> {
    fn around(&mut self, encrypt: bool, data: &mut [u8]) -> Result<Around, GssApiError> {
        let mut parts = [
            GssIovFake::new(GssIovType::Header),
            GssIov::new(GssIovType::Data, data).as_fake(),
            GssIovFake::new(GssIovType::Padding),
            GssIovFake::new(GssIovType::Trailer),
        ];
        self.0.wrap_iov_length(encrypt, &mut parts)?;
        let [header, _, padding, trailer] = &parts;
        Ok(Around {
            header: header.len(),
            padding: padding.len(),
            trailer: trailer.len(),
        })
    }
}

impl<C: Side> Context for Krb5<C> {
    fn step(&mut self, token: &[u8]) -> Result<Step, GssApiError> {
        let token = self.0.advance(token)?;
        Ok(Step {
            token: token.map(|token| token.to_vec()).unwrap_or_default(),
            is_complete: self.0.is_complete(),
        })
    }

    fn facts(&self) -> Result<Facts, GssApiError> {
        let flags = self.0.flags()?;
        let name = self.0.source_name()?.display_name()?;
        let name = std::str::from_utf8(&name).map_err(|_other| "the name is not UTF-8")?;
        let lifetime = self.0.lifetime()?;
        let indefinite = Duration::from_secs(u32::MAX.into());
        Ok(Facts {
            initiator: name.to_owned(),
            anonymous: flags.contains(CtxFlags::GSS_C_ANON_FLAG),
            mutual: flags.contains(CtxFlags::GSS_C_MUTUAL_FLAG),
            replay: flags.contains(CtxFlags::GSS_C_REPLAY_FLAG),
            sequence: flags.contains(CtxFlags::GSS_C_SEQUENCE_FLAG),
            lifetime: (lifetime < indefinite).then_some(lifetime),
        })
    }

    fn most(&mut self, encrypt: bool) -> Result<usize, GssApiError> {
        let mut data = vec![0; Token::MAX_LEN];
        let around = self.around(encrypt, &mut data)?.len();
        let mut most = Token::MAX_LEN.saturating_sub(around);
        // Where there is padding, it depends on the length.
        loop {
            let data = data.get_mut(..most).unwrap_or_default();
            if most + self.around(encrypt, data)?.len() <= Token::MAX_LEN || most == 0 {
                return Ok(most);
            }
            most -= 1;
        }
    }

    fn wrap(&mut self, encrypt: bool, plain: &[u8], out: &mut Vec<u8>) -> Result<(), GssApiError> {
        let start = out.len();
        out.extend_from_slice(plain);
        let data = out.get_mut(start..).unwrap_or_default();
        let around = self.around(encrypt, data)?;
        out.resize(start + around.len() + plain.len(), 0);
        let token = out.get_mut(start..).unwrap_or_default();
        token.copy_within(..plain.len(), around.header);

        let (header, rest) = token.split_at_mut(around.header);
        let (data, rest) = rest.split_at_mut(plain.len());
        let (padding, trailer) = rest.split_at_mut(around.padding);
        let mut parts = [
            GssIov::new(GssIovType::Header, header),
            GssIov::new(GssIovType::Data, data),
            GssIov::new(GssIovType::Padding, padding),
            GssIov::new(GssIovType::Trailer, trailer),
        ];
        self.0.wrap_iov(encrypt, &mut parts)?;
        let [header, _, padding, trailer] = &parts;
        let is_as_told = header.len() == around.header
            && padding.len() == around.padding
            && trailer.len() == around.trailer;
        is_as_told
            .then_some(())
            .ok_or_else(|| "the token is of another length than foretold".into())
    }

    fn unwrap(&mut self, token: &mut [u8]) -> Result<Unwrapped, GssApiError> {
        let encrypted = is_encrypted(token).ok_or("not a token of a message")?;
        let mut parts = [
            GssIov::new(GssIovType::Stream, token),
            GssIov::new(GssIovType::Data, &mut []),
        ];
        self.0.unwrap_iov(&mut parts)?;
        let [stream, data] = &parts;
        let start = match data.len() {
            0 => 0,
            _ => stream.header_length(data).ok_or("it lies nowhere")?,
        };
        Ok(Unwrapped {
            range: start..start + data.len(),
            encrypted,
        })
    }
}

/// Whether a message's token is encrypted: of RFC 4121 (section 4.2.2), its flag
/// `Sealed`; of RFC 1964 (section 1.2.2), that it names an algorithm. Both are among what
/// its checksum is over.
fn is_encrypted(token: &[u8]) -> Option<bool> {
    match token {
        [5, 4, flags, ..] => Some(flags & 2 != 0),
        [0x60, len, rest @ ..] => {
            let more = if *len < 0x80 { 0 } else { len & 0x7f };
            // The mechanism's OID is of eleven bytes, then come the token's kind and the
            // algorithm of its checksum.
            let seal = rest.get(usize::from(more) + 11 + 4..)?.first_chunk()?;
            Some(*seal != [0xff, 0xff])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_whether_it_is_encrypted() {
        assert_eq!(is_encrypted(b"\x05\x04\x03\xff"), Some(true));
        assert_eq!(is_encrypted(b"\x05\x04\x01\xff"), Some(false));
        let oid = b"\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02";
        let old =
            |length: &[u8], seal: &[u8]| [b"\x60", length, oid, b"\x02\x01\x11\x00", seal].concat();
        for length in [&b"\x30"[..], b"\x81\x90", b"\x82\x01\x00"] {
            assert_eq!(is_encrypted(&old(length, b"\x10\x00")), Some(true));
            assert_eq!(is_encrypted(&old(length, b"\xff\xff")), Some(false));
            assert_eq!(is_encrypted(&old(length, b"\xff")), None);
        }
        assert_eq!(is_encrypted(b""), None);
        assert_eq!(is_encrypted(b"\x05\x05\x03\xff"), None);
    }
}
