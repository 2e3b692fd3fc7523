//! Signing in over HTTP with a registered SSH key: the gate gives a challenge, `ssh-keygen -Y sign` answers it.
//!
//! Format: OpenSSH's `PROTOCOL.sshsig`. What is signed names the gate's own address, so that an answer given to one gate is
//! worth nothing at another, and stands in a namespace of its own, so that no other signature of the key is ever an answer.

use std::net::IpAddr;

use access::reason::{Reason, Refusal};
use access::time::Span;
use jiff::Timestamp;
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, PublicKey, SshSig};

use crate::opaque::{self, Verifier};
use crate::ssh_key::{KeyProof, LONGEST_LINE, Presence};
use crate::waiting::Waiting;

/// The namespace of the signature, as in `ssh-keygen -Y sign -n login@tidegate`.
pub const NAMESPACE: &str = "login@tidegate";
/// For so long a challenge may be answered: time to touch a security key.
pub const VALID_FOR: Span = Span::minutes(2);
/// At most so many challenges are open …
const ROOM: usize = 4096;
/// … and so many from one source.
const EACH: usize = 256;
const PREFIX: &str = "tg_cha_";

/// The text that is signed. `gate` is the address that the client dialled and the gate has, like `https://gate.example`.
#[must_use]
pub fn text(gate: &str, nonce: &str) -> String {
    format!("Sign in to Tidegate at {gate}\n{nonce}\n")
}

/// Whether a text is a nonce of a challenge, and so nothing that means anything elsewhere.
#[must_use]
pub fn is_nonce(text: &str) -> bool {
    text.strip_prefix(PREFIX).is_some_and(opaque::is_body)
}

/// The challenges that wait for an answer. In memory: losing them costs a second try.
#[derive(Debug)]
pub struct Challenges(Waiting<(Verifier, Timestamp)>);

impl Default for Challenges {
    fn default() -> Self {
        Self(Waiting::new(ROOM, EACH))
    }
}

impl Challenges {
    /// A new nonce for somebody at this address.
    pub fn issue(&mut self, from: IpAddr, now: Timestamp) -> String {
        let issued = opaque::issue(PREFIX);
        self.0.push(from, (issued.verifier, VALID_FOR.after(now)));
        issued.secret.expose().clone()
    }

    /// Whose key signed the challenge with this nonce. A nonce is gone with the first answer, right or wrong.
    ///
    /// The proof is to be looked up by its fingerprint and given to [`crate::ssh_key::verify_key`].
    ///
    /// # Errors
    /// [`Reason::CodeInvalid`] when the nonce was never given out, was answered before or is too old;
    /// [`Reason::NotSignedIn`] when the signature is not one over just this text in just this namespace.
    pub fn answered(&mut self, gate: &str, nonce: &str, signature: &str, now: Timestamp) -> Result<KeyProof, Refusal> {
        let presented = Verifier::of(nonce);
        match self.0.take(|(kept, _)| presented.matches(kept.as_str())) {
            Some((_, end)) if now < end => {}
            _ => return Err(Reason::CodeInvalid.into()),
        }
        signer(&text(gate, nonce), signature)
            .ok_or_else(|| Refusal::because(Reason::NotSignedIn, "the signature is not one over this challenge"))
    }
}

/// The key that signed, if the signature is right.
fn signer(text: &str, signature: &str) -> Option<KeyProof> {
    if signature.len() > LONGEST_LINE {
        return None;
    }
    let signature = SshSig::from_pem(signature.trim()).ok()?;
    if signature.algorithm() == (Algorithm::Rsa { hash: None }) {
        // SHA-1, which `PROTOCOL.sshsig` rules out.
        return None;
    }
    let key = PublicKey::new(signature.public_key().clone(), "");
    key.verify(NAMESPACE, text.as_bytes(), &signature).ok()?;
    let presence = match key.key_data() {
        // `PROTOCOL.u2f`: the signature ends with a byte of flags and a counter of four.
        KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_) => {
            let flags = *signature.signature_bytes().iter().rev().nth(4)?;
            Presence::SecurityKey { touched: flags & 0x01 != 0, verified: flags & 0x04 != 0 }
        }
        _ => Presence::Unknown,
    };
    Some(KeyProof::signature_verified(key, presence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Account;
    use crate::account::people::*;
    use crate::ssh_key::tests::{keygen, row, touchable};
    use crate::ssh_key::verify_key;
    use access::identity::{KeyKind, Mfa};
    use sha2::{Digest as _, Sha256};
    use ssh_key::private::Ed25519Keypair;
    use ssh_key::{HashAlg, LineEnding, Signature};
    use std::process::Command;

    const GATE: &str = "https://gate.example";

    /// What Debian's `ssh-keygen` signs.
    fn sign(private: &str, namespace: &str, text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let (key, message) = (dir.path().join("key"), dir.path().join("message"));
        std::fs::write(&key, private).unwrap();
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(&message, text).unwrap();
        let signed = Command::new("ssh-keygen").args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(&key).arg(&message).output().unwrap();
        assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
        std::fs::read_to_string(message.with_extension("sig")).unwrap()
    }

    #[test]
    fn what_ssh_keygen_signs_signs_in() {
        let ana = person("ana");
        for arguments in
            [&["-t", "ed25519"][..], &["-t", "ecdsa", "-b", "256"], &["-t", "ecdsa", "-b", "521"], &["-t", "rsa", "-b", "3072"]]
        {
            let (private, public) = keygen(arguments);
            let key = row(&ana, &PublicKey::from_openssh(&public).unwrap(), KeyKind::Registered);
            let mut challenges = Challenges::default();
            let nonce = challenges.issue(desk(), noon());
            let signature = sign(&private, NAMESPACE, &text(GATE, &nonce));
            let proof = challenges.answered(GATE, &nonce, &signature, noon()).unwrap();
            assert_eq!(proof.fingerprint(), key.fingerprint, "{arguments:?}");
            let who = verify_key(&proof, &key, Account::human(&ana), desk(), noon()).unwrap();
            assert_eq!((who.id(), who.mfa()), (ana.id, Mfa::None));
        }
    }

    // covers: A9, D8 (ssh)
    #[test]
    fn a_challenge_is_answered_once_in_time_at_this_gate_or_not_at_all() {
        let (private, _) = keygen(&["-t", "ed25519"]);
        let mut challenges = Challenges::default();
        let mut nonce = || challenges.issue(desk(), noon());
        let (good, late, other_gate, other_use, other_text) = (nonce(), nonce(), nonce(), nonce(), nonce());
        let answer = |nonce: &str| sign(&private, NAMESPACE, &text(GATE, nonce));
        let mut reason = |nonce: &str, signature: &str, at| challenges.answered(GATE, nonce, signature, at).map(drop).map_err(|r| r.reason);

        let signature = answer(&good);
        assert_eq!(reason(&good, &signature, noon()), Ok(()));
        assert_eq!(reason(&good, &signature, noon()), Err(Reason::CodeInvalid), "twice");
        assert_eq!(reason(&late, &answer(&late), VALID_FOR.after(noon())), Err(Reason::CodeInvalid));
        let foreign = sign(&private, NAMESPACE, &text("https://elsewhere.example", &other_gate));
        assert_eq!(reason(&other_gate, &foreign, noon()), Err(Reason::NotSignedIn));
        assert_eq!(reason(&other_gate, &answer(&other_gate), noon()), Err(Reason::CodeInvalid), "a wrong answer is an answer");
        assert_eq!(reason(&other_use, &sign(&private, "git", &text(GATE, &other_use)), noon()), Err(Reason::NotSignedIn));
        assert_eq!(reason(&other_text, &signature, noon()), Err(Reason::NotSignedIn));
        assert_eq!(reason("tg_cha_00000000000000000000000000000000", &signature, noon()), Err(Reason::CodeInvalid));
    }

    // covers: A5 (ssh)
    #[test]
    fn a_security_keys_answer_says_whether_it_was_touched() {
        let ana = person("ana");
        let key = row(&ana, &touchable(1), KeyKind::Registered);
        let pair = Ed25519Keypair::from_seed(&[1; 32]);
        let mut challenges = Challenges::default();
        let mut mfa = |flags: u8| {
            let nonce = challenges.issue(desk(), noon());
            let signed = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, text(GATE, &nonce).as_bytes()).unwrap();
            let trailer = [flags, 0, 0, 0, 7];
            let data = [Sha256::digest("ssh:").as_slice(), &trailer, Sha256::digest(&signed).as_slice()].concat();
            let raw = ssh_key::PrivateKey::from(pair.clone());
            let raw = ed25519(&raw, &data);
            let signature = Signature::new(Algorithm::SkEd25519, [raw.as_slice(), &trailer].concat()).unwrap();
            let signature = SshSig::new(touchable(1).key_data().clone(), NAMESPACE, HashAlg::Sha512, signature).unwrap();
            let proof = challenges.answered(GATE, &nonce, &signature.to_pem(LineEnding::LF).unwrap(), noon()).unwrap();
            verify_key(&proof, &key, Account::human(&ana), desk(), noon()).map(|who| who.mfa()).map_err(|r| r.reason)
        };
        assert_eq!(mfa(0x01), Ok(Mfa::KeyWithTouch));
        assert_eq!(mfa(0x05), Ok(Mfa::Verified));
        assert_eq!(mfa(0x00), Err(Reason::NotSignedIn));
        assert_eq!(mfa(0x04), Err(Reason::NotSignedIn));
    }

    fn ed25519<S: ssh_key::SigningKey>(key: &S, bytes: &[u8]) -> Vec<u8> {
        key.try_sign(bytes).unwrap().as_bytes().to_vec()
    }

    // covers: E7
    #[test]
    fn whoever_asks_for_many_pushes_out_nobody_elses() {
        let (private, _) = keygen(&["-t", "ed25519"]);
        let mut challenges = Challenges::default();
        let nonce = challenges.issue(desk(), noon());
        for n in 0..2 * u32::try_from(ROOM).unwrap() {
            challenges.issue(IpAddr::from(std::net::Ipv4Addr::from(0xC633_6400 + n % 32)), noon());
        }
        assert_eq!(challenges.0.iter().count(), ROOM);
        assert!(challenges.answered(GATE, &nonce, &sign(&private, NAMESPACE, &text(GATE, &nonce)), noon()).is_ok());
    }
}
