//! The login CA: short-lived SSH certificates that sign a person in at the gate, and nowhere else.
//!
//! Format: OpenSSH's `PROTOCOL.certkeys`. The key id is `usr_…/key_…`, the one principal exactly the person's id. Only
//! the gate trusts this CA; targets trust another one, so a login certificate opens none of them.

use std::fmt;
use std::net::IpAddr;

use access::identity::{KeyKind, KeyRow, KeyState, VerifiedIdentity, Via};
use access::ids::{KeyId, PrincipalId};
use access::reason::{Reason, Refusal};
use access::time::Span;
use jiff::Timestamp;
use ssh_key::certificate::{Builder, CertType};
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, Certificate, HashAlg, PrivateKey, PublicKey};

use crate::account::{Account, Proven};
use crate::ssh_key::{self as keys, KeyProblem, Presence};

/// The longest a login certificate may be valid.
pub const LONGEST: Span = Span::hours(12);
/// Certificates begin this much before they are made, for clocks that are a little behind.
const BACKDATED: Span = Span::seconds(60);

/// The login CA's private key.
pub struct LoginCa(PrivateKey);

impl LoginCa {
    /// Takes the key the keyring keeps.
    ///
    /// # Errors
    /// When it is not an Ed25519 key.
    pub fn new(key: PrivateKey) -> Result<Self, IssueProblem> {
        if key.algorithm() == Algorithm::Ed25519 && !key.is_encrypted() { Ok(Self(key)) } else { Err(IssueProblem::CaKey) }
    }

    /// The half that verifies.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        self.0.public_key()
    }
}

impl fmt::Debug for LoginCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoginCa({})", self.public().fingerprint(HashAlg::Sha256))
    }
}

/// A login CA whose certificates are accepted. One that is in no list any more is revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedCa {
    /// Its public key.
    pub key: PublicKey,
    /// When another took over. What it signed until then stays good, at most for [`LONGEST`].
    pub retired_at: Option<Timestamp>,
}

/// Why the login CA does not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueProblem {
    /// The CA has the wrong kind of key.
    #[error("the login CA's key is not an Ed25519 key; restore the gate's keys from a backup")]
    CaKey,
    /// The key to be certified is not accepted.
    #[error("cannot certify this key")]
    Key(#[from] KeyProblem),
    /// Too long, or no time at all.
    #[error("a login certificate is valid for at least 1s and at most {LONGEST}, not {0}")]
    Validity(Span),
    /// The clock is out of range.
    #[error("cannot sign a login certificate for the time {0}; set the clock of the gate's machine right")]
    Clock(Timestamp),
    /// The signature failed.
    #[error("cannot sign the login certificate")]
    Sign(#[source] ssh_key::Error),
}

/// Signs that `subject` belongs to a person until `valid_for` from now. The row of `key` says the same, and ends it earlier.
///
/// With `source_addresses` it is good only from there. It carries no extensions: the gate asks policy what may be done.
///
/// # Errors
/// When the key is not accepted (a certificate, a short RSA key …) or the time too long.
pub fn issue(
    ca: &LoginCa,
    person: PrincipalId,
    key: KeyId,
    subject: &PublicKey,
    valid_for: Span,
    source_addresses: &[IpAddr],
    now: Timestamp,
) -> Result<Certificate, IssueProblem> {
    keys::accept(subject.key_data())?;
    if valid_for == Span::default() || valid_for > LONGEST {
        return Err(IssueProblem::Validity(valid_for));
    }
    let start = unix(now).and_then(|s| s.checked_sub(BACKDATED.as_seconds())).ok_or(IssueProblem::Clock(now))?;
    let end = unix(valid_for.after(now)).ok_or(IssueProblem::Clock(now))?;
    // A principal is never free text: the type admits 26 base32 digits and a prefix, so neither comma nor `*` nor a
    // look-alike letter can stand in it.
    sign(ca, person, key, subject.key_data(), (start, end), source_addresses).map_err(IssueProblem::Sign)
}

fn sign(
    ca: &LoginCa,
    person: PrincipalId,
    key: KeyId,
    subject: &KeyData,
    (start, end): (u64, u64),
    source_addresses: &[IpAddr],
) -> Result<Certificate, ssh_key::Error> {
    let nonce: [u8; 32] = rand::random();
    let mut builder = Builder::new(nonce, subject.clone(), start, end)?;
    builder.cert_type(CertType::User)?;
    builder.key_id(key_id(person, key))?;
    builder.valid_principal(person.to_string())?;
    if !source_addresses.is_empty() {
        let list: Vec<String> = source_addresses.iter().map(|ip| ip.to_canonical().to_string()).collect();
        builder.critical_option("source-address", list.join(","))?;
    }
    builder.sign(&ca.0)
}

fn key_id(person: PrincipalId, key: KeyId) -> String {
    format!("{person}/{key}")
}

fn unix(at: Timestamp) -> Option<u64> {
    u64::try_from(at.as_second()).ok()
}

/// Whose certificate it claims to be, to look up the rows by. Proves nothing.
#[must_use]
pub fn claims(certificate: &Certificate) -> Option<(PrincipalId, KeyId)> {
    let (person, key) = certificate.key_id().split_once('/')?;
    Some((person.parse().ok()?, key.parse().ok()?))
}

/// A certificate whose key has signed, over this very connection.
#[derive(Debug, Clone)]
pub struct CertificateProof {
    certificate: Certificate,
    presence: Presence,
}

impl CertificateProof {
    /// To be said only where the signature over the session's exchange hash (RFC 4252 §7) *was verified* with the key that
    /// this certificate certifies. What the certificate itself says is not believed yet.
    #[must_use]
    pub fn signature_verified(certificate: Certificate, presence: Presence) -> Self {
        Self { certificate, presence }
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

/// Says who holds a login certificate.
///
/// `key` is the row that [`issue`] was for, looked up by [`claims`].
///
/// # Errors
/// [`Reason::NotSignedIn`] unless a CA in `trusted` signed this user certificate for exactly this person and key, it is
/// valid now and from here, carries no critical option that the gate does not enforce, and the row still stands;
/// [`Reason::Disabled`] when the account may not sign in.
pub fn verify_certificate(
    proof: &CertificateProof,
    trusted: &[TrustedCa],
    key: &KeyRow,
    account: Account<'_>,
    from: IpAddr,
    now: Timestamp,
) -> Result<VerifiedIdentity, Refusal> {
    let certificate = &proof.certificate;
    let person = account.person.id;
    signed_by_us(certificate, trusted, now)?;
    if !certificate.cert_type().is_user() {
        return no("this is a host certificate");
    }
    if keys::accept(certificate.public_key()).is_err() {
        return no("the certificate is over a key of a kind that is not accepted");
    }
    if certificate.valid_principals() != [person.to_string()] || certificate.key_id() != key_id(person, key.id) {
        return no("the certificate is not made out to this person and key");
    }
    let row_stands = key.kind == KeyKind::Certificate
        && key.person == person
        && key.state == KeyState::Active
        && key.expires_at.is_some_and(|end| now < end)
        && keys::is_kept(certificate.public_key(), key);
    if !row_stands {
        return no("this certificate was withdrawn; sign in again with `tidegate login`");
    }
    let mfa = proof.presence.worth(certificate.public_key())?;
    for (name, value) in certificate.critical_options().iter() {
        enforce(name, value, proof.presence, from)?;
    }
    account.proven(Proven::in_person(mfa, Via::LoginCertificate(key.id)).by_job(key.claims.as_ref()), Some(from), now)
}

fn no<T>(detail: &str) -> Result<T, Refusal> {
    Err(Refusal::because(Reason::NotSignedIn, detail))
}

/// Whether one of our CAs signed it, in its time, for a time that it may give, and that time is now.
fn signed_by_us(certificate: &Certificate, trusted: &[TrustedCa], now: Timestamp) -> Result<(), Refusal> {
    // Compared whole and not by fingerprint; a certificate in the place of a CA key (a nested one) is never equal.
    let ca = trusted.iter().find(|ca| ca.key.key_data() == certificate.signature_key());
    let Some(ca) = ca.filter(|ca| matches!(ca.key.key_data(), KeyData::Ed25519(_))) else {
        return no("the certificate is of a CA that is not trusted here");
    };
    let (start, end) = (certificate.valid_after(), certificate.valid_before());
    let Some(now_seconds) = unix(now) else { return no("the clock of the gate's machine is wrong") };
    if now_seconds < start {
        return no("the certificate is not valid yet; compare the clocks");
    }
    if now_seconds >= end {
        return no("the certificate has run out; sign in again with `tidegate login`");
    }
    if end - start > LONGEST.as_seconds() + BACKDATED.as_seconds() {
        return no("the certificate is valid for longer than a login certificate may be");
    }
    if ca.retired_at.is_some_and(|retired| now >= LONGEST.after(retired) || unix(retired).is_none_or(|r| start >= r)) {
        return no("the certificate is of a CA that was retired; sign in again with `tidegate login`");
    }
    if certificate.validate_at(now_seconds, &[ca.key.fingerprint(HashAlg::Sha256)]).is_err() {
        return no("the certificate's signature is wrong");
    }
    Ok(())
}

/// Holds a restriction that the certificate carries. One that the gate can't hold closes the door.
fn enforce(name: &str, value: &str, presence: Presence, from: IpAddr) -> Result<(), Refusal> {
    match name {
        "source-address" if covers(value, from) => Ok(()),
        "source-address" => no("the certificate is not good from this address"),
        "verify-required" if matches!(presence, Presence::SecurityKey { touched: true, verified: true }) => Ok(()),
        "verify-required" => no("the certificate demands a security key that checks PIN or fingerprint"),
        _ => no("the certificate carries a restriction that the gate cannot enforce"),
    }
}

/// Whether a list of addresses and CIDR networks, as in OpenSSH's `source-address`, covers an address. A list with anything else in it covers nothing.
fn covers(list: &str, from: IpAddr) -> bool {
    let networks: Option<Vec<(IpAddr, u8)>> = list.split(',').map(network).collect();
    networks.is_some_and(|networks| networks.iter().any(|(base, length)| in_network(*base, *length, from.to_canonical())))
}

fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) if length.bytes().all(|b| b.is_ascii_digit()) => (address, Some(length.parse().ok()?)),
        Some(_) => return None,
        None => (text, None),
    };
    let base: IpAddr = address.parse().ok()?;
    let most = if base.is_ipv4() { 32 } else { 128 };
    let length = length.unwrap_or(most);
    (length <= most).then_some((base, length))
}

fn in_network(base: IpAddr, length: u8, ip: IpAddr) -> bool {
    match (base, ip) {
        (IpAddr::V4(base), IpAddr::V4(ip)) => (base.to_bits() ^ ip.to_bits()).checked_shr(32 - u32::from(length)).unwrap_or(0) == 0,
        (IpAddr::V6(base), IpAddr::V6(ip)) => (base.to_bits() ^ ip.to_bits()).checked_shr(128 - u32::from(length)).unwrap_or(0) == 0,
        _ => false,
    }
}

#[cfg(test)]
#[path = "login_ca_tests.rs"]
mod tests;
