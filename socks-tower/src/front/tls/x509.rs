//! What a certificate says.

use std::fmt::Write;

use x509_cert::{
    Certificate,
    attr::AttributeTypeAndValue,
    der::{Decode, asn1::ObjectIdentifier},
    ext::pkix::name::DirectoryString,
};

/// id-at-commonName (X.520, RFC 5280 appendix A.1).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

pub(super) fn serial(der: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(der).ok()?;
    let serial = certificate.tbs_certificate().serial_number().as_bytes();
    // A zero in front says that it is positive.
    let zeros = match serial {
        [0, rest @ ..] if !rest.is_empty() => 1,
        _ => 0,
    };
    let mut text = String::new();
    for byte in serial.iter().skip(zeros) {
        write!(text, "{byte:02X}").ok()?;
    }
    Some(text)
}

pub(super) fn common_name(der: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(der).ok()?;
    let attributes = certificate.tbs_certificate().subject().iter();
    let mut names = attributes.filter(|attribute| attribute.oid == COMMON_NAME);
    let (name, None) = (text(names.next()?)?, names.next()) else {
        return None;
    };
    (!name.contains(char::is_control)).then_some(name)
}

fn text(attribute: &AttributeTypeAndValue) -> Option<String> {
    let text: DirectoryString = attribute.value.decode_as().ok()?;
    Some(text.value().into_owned())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SerialNumber};

    use super::super::PeerCertificates;

    fn certificate(serial: &[u8], names: &[&str]) -> PeerCertificates {
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(serial));
        params.distinguished_name = DistinguishedName::new();
        for name in names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        let key = KeyPair::generate().unwrap();
        PeerCertificates::new([params.self_signed(&key).unwrap().der().to_vec()])
    }

    #[test]
    fn a_serial_number_is_as_openssl_prints_it() {
        for (serial, expected) in [
            (&[1][..], "01"),
            (&[0x0a, 0x1b], "0A1B"),
            // DER has a zero in front of it.
            (&[0xfe, 0xdc], "FEDC"),
        ] {
            let shown = certificate(serial, &["joe"]);
            assert_eq!(shown.serial().as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_common_name_has_one_reading_or_none() {
        let name = |names: &[&str]| certificate(&[1], names).common_name();
        assert_eq!(name(&["joe"]).as_deref(), Some("joe"));
        assert_eq!(name(&["J\u{f6}rg M."]).as_deref(), Some("J\u{f6}rg M."));
        assert_eq!(name(&[]), None);
        assert_eq!(name(&["joe\0.example"]), None);
    }

    #[test]
    fn two_common_names_are_none() {
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "joe");
        name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "ann");
        params.distinguished_name = name;
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let shown = PeerCertificates::new([certificate.der().to_vec()]);
        assert!(shown.serial().is_some());
        assert_eq!(shown.common_name(), None);
    }

    #[test]
    fn what_is_no_certificate_says_nothing() {
        for shown in [vec![], vec![b"joe".to_vec()]] {
            let shown = PeerCertificates::new(shown);
            assert_eq!((shown.serial(), shown.common_name()), (None, None));
        }
    }
}
