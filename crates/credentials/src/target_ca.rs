//! The target CA: a key pair and a certificate made for one session, which open one login on targets that trust this CA.
//!
//! Format: OpenSSH's `PROTOCOL.certkeys`. The private key exists only inside the gate, for as long as dialling takes. The
//! certificate is good for minutes and from the gate's addresses only: it opens, the permit keeps open.

use std::fmt;
use std::net::IpAddr;

use access::ids::SessionId;
use access::rights::SshRights;
use access::secret::Secret;
use access::session::SshCredential;
use access::time::Span;
use jiff::Timestamp;
use ssh_key::certificate::{Builder, CertType};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{Algorithm, Certificate, HashAlg, LineEnding, PrivateKey, PublicKey};

use crate::login::{Login, LoginError};
use crate::sealing;

/// For so long a certificate opens.
pub const VALID_FOR: Span = Span::minutes(5);
/// It begins this much before it is made, for targets whose clock is a little behind.
pub const BACKDATED: Span = Span::seconds(30);

/// What the target's sshd lets a certificate's holder do beyond running commands; all else stays off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extensions {
    /// `permit-pty`.
    pub pty: bool,
    /// `permit-port-forwarding`.
    pub port_forwarding: bool,
    /// `permit-agent-forwarding`.
    pub agent_forwarding: bool,
}

impl From<&SshRights> for Extensions {
    fn from(rights: &SshRights) -> Self {
        Self { pty: rights.pty, port_forwarding: rights.forwards(), agent_forwarding: rights.agent_forward }
    }
}

/// Why the target CA does not sign.
#[derive(Debug, thiserror::Error)]
pub enum TargetCaError {
    /// The CA has the wrong kind of key.
    #[error("the target CA's key is not an Ed25519 key; restore the gate's keys from a backup")]
    CaKey,
    /// The login may not stand in a certificate.
    #[error("cannot make a certificate for this login")]
    Login(#[from] LoginError),
    /// The clock is out of range.
    #[error("cannot make a certificate for the time {0}; set the clock of the gate's machine right")]
    Clock(Timestamp),
    /// The system gives no randomness.
    #[error("cannot make a key for the session: the system gives no random bytes")]
    Random,
    /// Signing or writing failed.
    #[error("cannot make a certificate for the session")]
    Sign(#[source] ssh_key::Error),
}

/// The target CA's private key.
pub struct TargetCa(PrivateKey);

impl fmt::Debug for TargetCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TargetCa({})", self.public().fingerprint(HashAlg::Sha256))
    }
}

impl TargetCa {
    /// Takes the key the keyring keeps.
    ///
    /// # Errors
    /// When it is not an Ed25519 key.
    pub fn new(key: PrivateKey) -> Result<Self, TargetCaError> {
        if key.algorithm() == Algorithm::Ed25519 && !key.is_encrypted() { Ok(Self(key)) } else { Err(TargetCaError::CaKey) }
    }

    /// The half that targets trust.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        self.0.public_key()
    }

    /// The line for the file that `TrustedUserCAKeys` names in a target's `sshd_config`.
    ///
    /// # Errors
    /// When the key can't be written in OpenSSH's format.
    pub fn authorized_line(&self) -> Result<String, TargetCaError> {
        authorized_line(self.public())
    }

    /// What opens a target to `login`, its account or the principal that it wants for that account, for one session, from any of the gate's
    /// addresses; from anywhere if none is given.
    ///
    /// # Errors
    /// When the login may not stand in a certificate, or signing fails.
    pub fn permit_credential(
        &self,
        session: SessionId,
        login: &str,
        gate_addresses: &[IpAddr],
        extensions: Extensions,
        now: Timestamp,
    ) -> Result<SshCredential, TargetCaError> {
        let login: Login = login.parse()?;
        let seed = sealing::random().map_err(|_| TargetCaError::Random)?;
        let pair = PrivateKey::from(Ed25519Keypair::from_seed(seed.expose()));
        let mut private_key = pair.to_openssh(LineEnding::LF).map_err(TargetCaError::Sign)?;
        let certificate = self.certify(pair.public_key(), session, &login, gate_addresses, extensions, now)?;
        Ok(SshCredential::Certificate {
            private_key: Secret::new(std::mem::take(&mut *private_key)),
            certificate: certificate.to_openssh().map_err(TargetCaError::Sign)?,
        })
    }

    fn certify(
        &self,
        key: &PublicKey,
        session: SessionId,
        login: &Login,
        gate_addresses: &[IpAddr],
        extensions: Extensions,
        now: Timestamp,
    ) -> Result<Certificate, TargetCaError> {
        let unix = |at: Timestamp| u64::try_from(at.as_second()).ok().ok_or(TargetCaError::Clock(now));
        let start = unix(now)?.checked_sub(BACKDATED.as_seconds()).ok_or(TargetCaError::Clock(now))?;
        let end = unix(VALID_FOR.after(now))?;
        let nonce = sealing::random().map_err(|_| TargetCaError::Random)?;
        let build = || -> Result<Certificate, ssh_key::Error> {
            let mut builder = Builder::new(nonce.expose().as_slice(), key, start, end)?;
            builder.cert_type(CertType::User)?;
            builder.key_id(session.to_string())?;
            builder.valid_principal(login.as_str())?;
            if !gate_addresses.is_empty() {
                let list: Vec<String> = gate_addresses.iter().map(|ip| ip.to_canonical().to_string()).collect();
                builder.critical_option("source-address", list.join(","))?;
            }
            for (name, wanted) in [
                ("permit-agent-forwarding", extensions.agent_forwarding),
                ("permit-port-forwarding", extensions.port_forwarding),
                ("permit-pty", extensions.pty),
            ] {
                if wanted {
                    builder.extension(name, "")?;
                }
            }
            builder.sign(&self.0)
        };
        build().map_err(TargetCaError::Sign)
    }
}

/// The line for the file that `TrustedUserCAKeys` names, for any target CA, the retired ones included.
///
/// # Errors
/// When the key can't be written in OpenSSH's format.
pub fn authorized_line(ca: &PublicKey) -> Result<String, TargetCaError> {
    PublicKey::new(ca.key_data().clone(), "tidegate target CA").to_openssh().map_err(TargetCaError::Sign)
}

#[cfg(test)]
#[path = "target_ca_tests.rs"]
mod tests;
