//! Client certificates: what a person shows while TLS begins, at the doors of databases.
//!
//! Format: X.509 (RFC 5280) over a P-256 key, signed by the gate's own CA, good for signing clients in and nothing else. The subject's
//! common name is the person's id, its serial number the id of the key's row. Only the certificates whose digest stands in that row count.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use access::identity::{KeyKind, KeyRow, KeyState, Mfa, VerifiedIdentity, Via};
use access::ids::{KeyId, PrincipalId};
use access::reason::{Reason, Refusal};
use access::secret::Secret;
use access::time::Span;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use jiff::Timestamp;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SubjectPublicKeyInfo};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use sha2::{Digest, Sha256};
use ssh_key::PublicKey;
use ssh_key::public::{EcdsaPublicKey, KeyData};

use crate::account::{Account, Proven};
use crate::login_ca::LONGEST;

/// Certificates begin this much before they are made, for clocks that are a little behind.
const BACKDATED: Span = Span::seconds(60);
/// The longest text that is looked at as a public key, in bytes.
const LONGEST_PEM: usize = 4096;

/// The CA that signs and verifies client certificates.
pub struct ClientCa {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// Why a client certificate is not signed.
#[derive(Debug, thiserror::Error)]
pub enum ClientCaProblem {
    /// The CA's own certificate or key is unusable.
    #[error("the gate's CA cannot be used for client certificates; restore its certificate and key from a backup")]
    Ca(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Not a public key as it is wanted.
    #[error(
        "this is no public key on the curve P-256 in PEM; `openssl ecparam -name prime256v1 -genkey` makes one, `openssl ec -pubout` shows it"
    )]
    Key,
    /// Too long, or no time at all.
    #[error("a client certificate is valid for at least 1s and at most {LONGEST}, not {0}")]
    Validity(Span),
    /// The clock is out of range.
    #[error("cannot sign a client certificate for the time {0}; set the clock of the gate's machine right")]
    Clock(Timestamp),
    /// The signature failed.
    #[error("cannot sign the client certificate")]
    Sign(#[source] rcgen::Error),
}

impl fmt::Debug for ClientCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCa").finish_non_exhaustive()
    }
}

/// A certificate just signed, with what is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedClient {
    /// PEM.
    pub pem: String,
    /// `SHA256:…` of the whole certificate: what its row is found by.
    pub fingerprint: String,
    /// Its public key, in OpenSSH's format.
    pub public_key: String,
}

impl ClientCa {
    /// Takes the gate's own CA.
    ///
    /// # Errors
    /// If certificate and key can't be read.
    pub fn new(certificate_pem: &str, key_pem: &Secret<String>) -> Result<Self, ClientCaProblem> {
        let unusable = |error: Box<dyn std::error::Error + Send + Sync>| ClientCaProblem::Ca(error);
        let key = KeyPair::from_pem(key_pem.expose()).map_err(|e| unusable(e.into()))?;
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key).map_err(|e| unusable(e.into()))?;
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(|e| unusable(format!("{e:?}").into()))?;
        roots.add(root).map_err(|e| unusable(e.into()))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(|e| unusable(e.into()))?;
        Ok(Self { pem: certificate_pem.to_owned(), issuer, verifier })
    }

    /// Its own certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.pem
    }

    /// Signs that who holds this public key (PEM, `SubjectPublicKeyInfo`) is a person, until `valid_for` from now.
    ///
    /// # Errors
    /// When the key is of another kind, or the time too long.
    pub fn sign(
        &self,
        person: PrincipalId,
        key: KeyId,
        public_key_pem: &str,
        valid_for: Span,
        now: Timestamp,
    ) -> Result<SignedClient, ClientCaProblem> {
        if valid_for == Span::default() || valid_for > LONGEST {
            return Err(ClientCaProblem::Validity(valid_for));
        }
        let subject = Some(public_key_pem)
            .filter(|pem| pem.len() <= LONGEST_PEM && pem.contains("BEGIN PUBLIC KEY"))
            .and_then(|pem| SubjectPublicKeyInfo::from_pem(pem).ok())
            .filter(|key| key.algorithm() == &rcgen::PKCS_ECDSA_P256_SHA256)
            .ok_or(ClientCaProblem::Key)?;
        let openssh = openssh(subject.der_bytes()).ok_or(ClientCaProblem::Key)?;
        let mut params = CertificateParams::new(Vec::<String>::new()).map_err(ClientCaProblem::Sign)?;
        let clock = |at: Timestamp| time::OffsetDateTime::from_unix_timestamp(at.as_second()).map_err(|_| ClientCaProblem::Clock(now));
        params.not_before = clock(now.checked_sub(BACKDATED.as_std()).map_err(|_| ClientCaProblem::Clock(now))?)?;
        params.not_after = clock(valid_for.after(now))?;
        params.distinguished_name.push(DnType::CommonName, person.to_string());
        params.distinguished_name.push(DnType::CustomDnType(SERIAL_NUMBER.to_vec()), key.to_string());
        params.use_authority_key_identifier_extension = true;
        params.key_usages.push(KeyUsagePurpose::DigitalSignature);
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        let signed = params.signed_by(&subject, &self.issuer).map_err(ClientCaProblem::Sign)?;
        Ok(SignedClient { pem: signed.pem(), fingerprint: fingerprint(signed.der()), public_key: openssh })
    }

    /// Says who holds a client certificate. `key` is the row with its [`fingerprint`].
    ///
    /// # Errors
    /// [`Reason::NotSignedIn`] unless this CA signed it, it is valid now and its row still stands; [`Reason::Disabled`] when the account
    /// may not sign in.
    pub fn verify(
        &self,
        proof: &ClientCertificateProof,
        key: &KeyRow,
        account: Account<'_>,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<VerifiedIdentity, Refusal> {
        let no = |detail: &str| Err(Refusal::because(Reason::NotSignedIn, detail));
        if key.kind != KeyKind::ClientCertificate || key.fingerprint != fingerprint(&proof.0) || key.person != account.person.id {
            return no("this is no client certificate of this gate");
        }
        if key.state != KeyState::Active {
            return no("this client certificate was withdrawn; sign in again with `tidegate login`");
        }
        if key.expires_at.is_none_or(|end| end <= now) {
            return no("this client certificate has run out; sign in again with `tidegate login`");
        }
        let Ok(seconds) = u64::try_from(now.as_second()) else { return no("the clock of the gate's machine is wrong") };
        let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        if self.verifier.verify_client_cert(&CertificateDer::from(proof.0.as_slice()), &[], at).is_err() {
            return no(
                "this client certificate is not signed by the CA of this gate, or not valid now; sign in again with `tidegate login`",
            );
        }
        // A key in a file says nothing about a person being there.
        account.proven(Proven::in_person(Mfa::None, Via::ClientCertificate(key.id)).by_job(key.claims.as_ref()), Some(from), now)
    }
}

/// `serialNumber` of a subject (X.520, 2.5.4.5).
const SERIAL_NUMBER: [u64; 4] = [2, 5, 4, 5];

/// A certificate whose key has signed, in the TLS handshake of this very connection.
#[derive(Clone)]
pub struct ClientCertificateProof(Vec<u8>);

impl ClientCertificateProof {
    /// To be said only where the handshake's signature (RFC 8446 §4.4.3, RFC 5246 §7.4.8) *was verified* with the key of this
    /// certificate (DER). What the certificate itself says is not believed yet.
    #[must_use]
    pub fn signature_verified(der: Vec<u8>) -> Self {
        Self(der)
    }

    /// What its row is found by.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.0)
    }
}

impl fmt::Debug for ClientCertificateProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientCertificateProof({})", self.fingerprint())
    }
}

/// `SHA256:…` of a whole certificate, DER.
#[must_use]
pub fn fingerprint(der: &[u8]) -> String {
    format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(Sha256::digest(der)))
}

fn openssh(point: &[u8]) -> Option<String> {
    let key = EcdsaPublicKey::from_sec1_bytes(point).ok()?;
    PublicKey::from(KeyData::Ecdsa(key)).to_openssh().ok()
}

#[cfg(test)]
#[path = "client_ca_tests.rs"]
mod tests;
