//! The program lets in who has the certificate that it wrote, and nobody else.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

/// What a client hears that asks for a target which the rules deny.
fn hears(addr: &str, dir: &Path, is_joe: bool) -> io::Result<String> {
    let mut roots = RootCertStore::empty();
    let proxy = CertificateDer::from_pem_file(dir.join("proxy.pem")).unwrap();
    roots.add(proxy).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = if is_joe {
        let joe = dir.join("joe.pem");
        let certificate = CertificateDer::from_pem_file(&joe).unwrap();
        let key = PrivateKeyDer::from_pem_file(&joe).unwrap();
        config
            .with_client_auth_cert(vec![certificate], key)
            .unwrap()
    } else {
        config.with_no_client_auth()
    };
    let name = ServerName::try_from("localhost").unwrap();
    let tls = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(tls, TcpStream::connect(addr).unwrap());
    stream.write_all(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n")?;
    let mut heard = String::new();
    stream.read_to_string(&mut heard)?;
    Ok(heard)
}

#[test]
fn joe_is_known_by_his_certificate_and_nobody_comes_without() {
    let dir = std::env::temp_dir().join(format!("tls.{}", std::process::id()));
    let mut proxy = Command::new(env!("CARGO_BIN_EXE_tls"))
        .arg(&dir)
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(proxy.stdout.take().unwrap()).lines();
    let mut line = || said.next().unwrap().unwrap();
    let listening = line();
    let addr = listening.strip_prefix("listening on ").unwrap();
    let (_curl, _command) = (line(), line());

    let heard = hears(addr, &dir, true).unwrap();
    assert!(heard.starts_with("HTTP/1.1 403 "), "{heard}");
    assert_eq!(line(), "joe has come");
    let refused = hears(addr, &dir, false).unwrap_err().to_string();
    assert!(refused.contains("CertificateRequired"), "{refused}");

    proxy.kill().unwrap();
    proxy.wait().unwrap();
    fs::remove_dir_all(&dir).unwrap();
}
