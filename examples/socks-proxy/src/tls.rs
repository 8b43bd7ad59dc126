//! TLS in front of listeners that are said as `tls://…`: certificates from files, which a
//! reload reads again.

use std::{error::Error, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use socks_tower::{Identity, front::tls::TlsLayer};

use crate::{config::Config, listen};

/// None if no listener speaks it.
pub fn layer(config: &Config) -> Result<Option<TlsLayer>, Box<dyn Error>> {
    if !listen::any_tls(config) {
        return match &config.tls_cert {
            None => Ok(None),
            Some(_) => {
                let key = config.said.at("tls-cert");
                Err(
                    format!("{key}: nobody listens with TLS: say listen = [\"tls://ADDR:PORT\"]")
                        .into(),
                )
            }
        };
    }
    let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else {
        let key = config.said.at("listen");
        return Err(
            format!("{key}: tls:// wants a certificate: add --tls-cert and --tls-key").into(),
        );
    };
    let told = |key: &str, file: &Path, error: &dyn Error| {
        format!("{}: {}: {error}", config.said.at(key), file.display())
    };
    let chain = certificates(cert).map_err(|error| told("tls-cert", cert, &*error))?;
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|error| told("tls-key", key, &error))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match &config.tls_client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            let told = |error: &dyn Error| told("tls-client-ca", file, error);
            for root in certificates(file).map_err(|error| told(&*error))? {
                roots.add(root).map_err(|error| told(&error))?;
            }
            let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(clients.build().map_err(|error| told(&error))?)
        }
    };
    let tls = builder
        .with_single_cert(chain, private)
        .map_err(|error| told("tls-key", key, &error))?;
    let layer = TlsLayer::new(Arc::new(tls)).with_timeout(config.handshake_timeout.duration());
    Ok(Some(layer.with_identity(|shown, _| {
        let name = shown
            .common_name()
            .ok_or("the certificate has no common name")?;
        Ok::<_, &str>(Identity::new(name))
    })))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Box<dyn Error>> {
    let all = CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() {
        return Err("no certificate is in it".into());
    }
    Ok(all)
}

/// Believes whom the system believes, for `what` wants TLS.
pub fn trusting(what: &str) -> Result<Arc<ClientConfig>, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(format!("{what} wants TLS, and this system trusts no certificate").into());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
