//! Which certificate of a server is believed: one for its name under trusted roots (libpq's `verify-full`), or exactly this one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use access::reason::{Reason, Refusal};
use access::session::TargetTls;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};

/// Ways of verifying servers that are kept, at most: to make one means to read certificates.
const KEPT: usize = 256;

/// A way of verifying servers, and what it was made of.
type Made = (TargetTls, Vec<Vec<u8>>, Arc<ClientConfig>);

/// How to verify a server. `alpn` names the protocol, where one has a name. Not for [`TargetTls::Plain`].
pub(crate) fn config(trusted: &TargetTls, alpn: Vec<Vec<u8>>) -> Result<Arc<ClientConfig>, Refusal> {
    // Those used last stand first.
    static MADE: Mutex<VecDeque<Made>> = Mutex::new(VecDeque::new());
    let lock = || MADE.lock().unwrap_or_else(PoisonError::into_inner);
    {
        let mut made = lock();
        if let Some(at) = made.iter().position(|(of, names, _)| of == trusted && *names == alpn)
            && let Some(found) = made.remove(at)
        {
            let config = found.2.clone();
            made.push_front(found);
            return Ok(config);
        }
    }
    let config = make(trusted, alpn.clone())?;
    let mut made = lock();
    made.push_front((trusted.clone(), alpn, config.clone()));
    made.truncate(KEPT);
    Ok(config)
}

fn make(trusted: &TargetTls, alpn: Vec<Vec<u8>>) -> Result<Arc<ClientConfig>, Refusal> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| Refusal::because(Reason::Internal, format!("TLS cannot be set up: {e}")))?;
    let mut config = match trusted {
        TargetTls::Pinned(pins) => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Pinned { pins: pins.clone(), provider })).with_no_client_auth()
        }
        TargetTls::Authority(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|e| bad_authority(&e.to_string()))?;
                roots.add(certificate).map_err(|e| bad_authority(&e.to_string()))?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        TargetTls::Public | TargetTls::Plain => builder.with_root_certificates(machine_roots()).with_no_client_auth(),
    };
    config.alpn_protocols = alpn;
    // Each session verifies its server anew.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn bad_authority(why: &str) -> Refusal {
    Refusal::because(Reason::TargetUnreachable, format!("`tls_ca` of its resource is no certificate: {why}"))
}

/// The roots this machine trusts, read once.
fn machine_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a trusted root of this machine cannot be read");
        }
        roots.add_parsable_certificates(found.certs);
        Arc::new(roots)
    });
    roots.clone()
}

/// Believes exactly these certificates, whatever their names and dates.
#[derive(Debug)]
struct Pinned {
    pins: Vec<String>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = crate::hex(&Sha256::digest(end_entity.as_ref()));
        if self.pins.contains(&shown) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_of_verifying_is_made_once_and_anew_when_anything_of_it_changes() {
        let pinned = |pin: &str| TargetTls::Pinned(vec![pin.to_owned()]);
        let names = || vec![b"postgresql".to_vec()];
        let first = config(&pinned("a"), names()).unwrap();
        assert!(Arc::ptr_eq(&first, &config(&pinned("a"), names()).unwrap()));
        assert!(!Arc::ptr_eq(&first, &config(&pinned("b"), names()).unwrap()));
        let unnamed = config(&pinned("a"), Vec::new()).unwrap();
        assert!(!Arc::ptr_eq(&first, &unnamed) && unnamed.alpn_protocols.is_empty() && first.alpn_protocols == names());
        assert!(config(&TargetTls::Authority("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----".to_owned()), names()).is_err());
    }
}
