//! Client certificates at the doors that speak TLS: asked for, never demanded.
//!
//! The handshake proves that a client holds the key of the certificate it shows, and nothing more: who that is, and whether the gate
//! signed it, is for the [`Gatekeeper`](crate::gatekeeper::Gatekeeper) to say, as of any other proof. A certificate of somebody else's
//! (many clients show whatever they find) is therefore no reason to break off: its holder is asked for a token.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConnection, SignatureScheme};

/// The largest certificate that is looked at, in bytes.
const LARGEST: usize = 16 * 1024;

/// Asks each client for a certificate, and takes note of whichever it proves to hold the key of.
#[derive(Debug)]
struct Offered {
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// For a listener's TLS: clients are asked for a certificate of this CA (DER).
///
/// # Errors
/// If the CA's certificate is none.
pub fn asked_for(ca: CertificateDer<'static>) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let hinting = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let hints = hinting.build().map_err(|error| Error::General(error.to_string()))?.root_hint_subjects().to_vec();
    Ok(Arc::new(Offered { hints, algorithms }))
}

/// The certificate (DER) whose key the client has proven to hold in this handshake.
#[must_use]
pub fn shown(connection: &ServerConnection) -> Option<Vec<u8>> {
    let certificate = connection.peer_certificates()?.first()?;
    (certificate.len() <= LARGEST).then(|| certificate.to_vec())
}

impl ClientCertVerifier for Offered {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    // Who signed it is judged afterwards, by the gatekeeper.
    fn verify_client_cert(&self, _: &CertificateDer<'_>, _: &[CertificateDer<'_>], _: UnixTime) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    // INVARIANT: what `shown` gives was used in a signature over this very handshake.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
