//! Answering a gate's challenge with a registered SSH key.
//!
//! Whoever is asked decides what is signed: the text is made here from the address that was dialled, and the namespace is the one of
//! signing in. So a server that hands on another gate's challenge, a commit or a document to sign gets no signature.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use api::types::users::Challenge;
use identity::challenge::{NAMESPACE, is_nonce, text};
use reqwest::Url;

/// What `ssh-keygen -Y sign` makes of the challenge of the gate at `dialled`; it asks for a passphrase or a touch itself.
///
/// # Errors
/// If the challenge is not one of that gate's, or the key can't sign.
pub(super) fn answer(key: &Path, dialled: &Url, challenge: &Challenge) -> anyhow::Result<String> {
    let signed_text = to_sign(dialled, challenge)?;
    let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
    let file = dir.path().join("challenge");
    fs::write(&file, signed_text)?;
    let signed = std::process::Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", NAMESPACE, "-f"])
        .arg(key)
        .arg(&file)
        .status()
        .context("cannot run `ssh-keygen`; install OpenSSH's client")?;
    if !signed.success() {
        bail!("`ssh-keygen` could not sign with `{}`", key.display());
    }
    fs::read_to_string(file.with_extension("sig")).context("`ssh-keygen` left no signature")
}

/// The text to sign: it names the gate that was dialled and nothing but it.
fn to_sign(dialled: &Url, challenge: &Challenge) -> anyhow::Result<String> {
    if !is_nonce(&challenge.nonce) || challenge.namespace != NAMESPACE {
        bail!("what `{dialled}` wants signed is no challenge of a gate; nothing was signed, and you should find out who answers there");
    }
    // The gate writes its address in its own way, so it is compared as an address and signed as the gate has it.
    let named = challenge.text.strip_prefix("Sign in to Tidegate at ").and_then(|rest| rest.split('\n').next()).unwrap_or_default();
    if challenge.text != text(named, &challenge.nonce) {
        bail!("what `{dialled}` wants signed is no challenge of a gate; nothing was signed, and you should find out who answers there");
    }
    match Url::parse(named) {
        Ok(named) if named == *dialled => Ok(challenge.text.clone()),
        Ok(named) => bail!(
            "`{dialled}` wants a sign-in at `{named}`, so nothing was signed; if that is the gate you mean, dial it by this address: `--url {named}`"
        ),
        Err(_) => bail!("what answers at `{dialled}` does not say which gate it is, so nothing was signed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "tg_cha_0123456789abcdefghjkmnpqrstvwxyz";

    fn challenge(text: String) -> Challenge {
        Challenge { nonce: NONCE.into(), text, namespace: NAMESPACE.into() }
    }

    // covers: A9 (cli)
    #[test]
    fn only_the_challenge_of_the_gate_that_was_dialled_is_signed() {
        let dialled = Url::parse("https://gate.example").unwrap();
        for address in ["https://gate.example", "https://gate.example/", "https://GATE.example:443"] {
            let good = challenge(text(address, NONCE));
            assert_eq!(to_sign(&dialled, &good).unwrap(), good.text);
        }
        let refused = |challenge: &Challenge| to_sign(&dialled, challenge).unwrap_err().to_string();
        let other = challenge(text("https://gate.example.org", NONCE));
        assert!(refused(&other).contains("--url https://gate.example.org"), "{}", refused(&other));
        for address in ["http://gate.example", "https://gate.example:8443", "https://gate.example/other", ""] {
            refused(&challenge(text(address, NONCE)));
        }
        // Anything else that somebody would like to have signed.
        let good = challenge(text("https://gate.example", NONCE));
        for text in ["I owe Mallory everything.\n".to_owned(), format!("{}and more\n", good.text), format!(" {}", good.text)] {
            refused(&challenge(text));
        }
        refused(&Challenge { namespace: "git".into(), ..good.clone() });
        let two_lines = "https://gate.example\nI owe Mallory everything.";
        refused(&Challenge { nonce: two_lines.into(), text: text("https://gate.example", two_lines), ..good });
    }
}
