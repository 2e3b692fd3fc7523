//! Joining a gate, and fresh certificates: what a person does before `ssh`, `psql` and `mysql` work.
//!
//! Key pairs are made here and their private halves stay here: one for the SSH certificate, one for the client certificate that the
//! doors of databases take. Each sign-in makes new pairs, so that nothing that is worth anything for longer than a certificate lies on
//! a laptop.

mod browser;
mod challenge;

use std::fs;
use std::path::{Path, PathBuf};

use access::reason::Reason;
use access::secret::Secret;
use access::time::Span;
use anyhow::{Context as _, bail};
use api::types::keys::{IssuedCertificate, NewCertificate};
use api::types::users::{AcceptInvitation, Accepted, AnswerChallenge, Challenge};
use clap::Args;
use serde_json::Value;
use ssh_key::private::Ed25519Keypair;
use ssh_key::{Certificate, LineEnding, PrivateKey};

use crate::cli::Context;
use crate::cli::exit::Exit;
use crate::cli::step_up::may_wait;
use crate::client::settings::{self, Settings, write_private};
use crate::client::{Client, ClientError, Reply};
use crate::output::{Tone, note};

/// Marks a key that was made here.
const COMMENT: &str = "tidegate login";

/// Where the key pair and certificate are.
#[derive(Debug, Clone, Args)]
pub struct SshFiles {
    /// Where your SSH files are
    #[arg(long = "ssh-dir", value_name = "DIR", env = "TIDEGATE_SSH_DIR", hide_env_values = true)]
    dir: Option<PathBuf>,
}

impl SshFiles {
    /// The directory.
    ///
    /// # Errors
    /// If nothing says where.
    pub fn dir(&self) -> anyhow::Result<PathBuf> {
        let home = || std::env::var_os("HOME").filter(|v| !v.is_empty()).map(|home| PathBuf::from(home).join(".ssh"));
        let dir =
            self.dir.clone().or_else(home).context("HOME does not say where your SSH files are; name the directory with `--ssh-dir`")?;
        std::path::absolute(&dir).with_context(|| format!("`{}` is no directory", dir.display()))
    }

    /// The private key.
    ///
    /// # Errors
    /// If nothing says where.
    pub fn key(&self) -> anyhow::Result<PathBuf> {
        Ok(self.dir()?.join("tidegate"))
    }

    /// The certificate beside a private key, as `ssh` expects it.
    #[must_use]
    pub fn certificate(key: &Path) -> PathBuf {
        beside(key, "-cert.pub")
    }
}

/// The client certificate that belongs to a private SSH key of [`SshFiles::key`], and its own private key.
#[must_use]
pub fn client_files(key: &Path) -> (PathBuf, PathBuf) {
    (beside(key, "-client.crt"), beside(key, "-client.key"))
}

fn beside(key: &Path, ending: &str) -> PathBuf {
    let mut name = key.file_name().unwrap_or_default().to_os_string();
    name.push(ending);
    key.with_file_name(name)
}

/// Joining.
#[derive(Debug, Args)]
pub struct Join {
    /// The gate's address
    #[arg(value_name = "URL")]
    url: String,
    /// The code you were given; it works once
    #[arg(value_name = "CODE")]
    code: String,
    #[command(flatten)]
    files: SshFiles,
}

/// Renewing.
#[derive(Debug, Args)]
pub struct Login {
    /// For how long; the gate may give less
    #[arg(long = "for", value_name = "TIME")]
    length: Option<Span>,
    /// Sign in anew with this SSH key, which you registered before, when your token has run out
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Sign in anew in a browser, here or on another machine, though your token still works
    #[arg(long, conflicts_with = "key")]
    browser: bool,
    #[command(flatten)]
    files: SshFiles,
}

impl Join {
    /// Spends the invitation, keeps the token, and gets the first certificate.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let file = settings::default_file()?;
        let mut given = context.given();
        given.url = Some(self.url);
        given.token = None;
        given.ca_file = given.ca_file.map(|path| std::path::absolute(&path).unwrap_or(path));
        let mut settings = Settings::resolve(&given, None)?;
        let client = Client::new(&settings)?;
        // The code works once, so that its token can be kept is made sure of before.
        settings::probe(&file)?;
        let accepted: Reply<Accepted> = client.post("/invitations/accept", &AcceptInvitation { code: self.code }).await?;
        let token = Secret::new(accepted.value.token.secret.clone());
        settings.token = Some(token.clone());
        settings.keep(&file)?;
        note(format!("You are {}. Your token is in {}.", accepted.value.user.username, file.display()));
        let key = self.files.key()?;
        let certificate = certify(&client.with_token(token), &key, None).await?;
        say_ready(context, &key, &certificate)
    }
}

impl Login {
    /// Gets a fresh key and certificate.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = match &self.key {
            Some(_) => self.sign_in(context).await?,
            None if self.browser || (may_wait() && needs_sign_in(context).await?) => self.sign_in(context).await?,
            None => context.client()?,
        };
        let key = self.files.key()?;
        let certificate = certify(&client, &key, self.length).await?;
        say_ready(context, &key, &certificate)
    }

    /// Signs in anew, with a registered key by its agent or its file, or else in a browser; and keeps the token.
    async fn sign_in(&self, context: &Context) -> anyhow::Result<Client> {
        let file = settings::default_file()?;
        let mut given = context.given();
        given.token = None;
        let mut settings = Settings::resolve(&given, Some(&file))?;
        settings.token = None;
        let client = Client::new(&settings)?;
        settings::probe(&file)?;
        let accepted = match &self.key {
            Some(key) => with_key(&client, &settings, key).await?,
            None => browser::sign_in(&client).await?,
        };
        let token = Secret::new(accepted.token.secret.clone());
        settings.token = Some(token.clone());
        settings.keep(&file)?;
        note(format!("You are {}. Your token is in {}.", accepted.user.username, file.display()));
        if context.given().token.is_some() {
            note("TIDEGATE_TOKEN is set, and wins over that file: unset it, or every other command goes on with the token in it.");
        }
        Ok(client.with_token(token))
    }
}

/// Whether there is no token that still works. One that the environment gives is somebody else's care.
async fn needs_sign_in(context: &Context) -> anyhow::Result<bool> {
    if context.given().token.is_some() {
        return Ok(false);
    }
    let settings = context.settings()?;
    if settings.token.is_none() {
        return Ok(true);
    }
    match Client::new(&settings)?.get::<Value>("/me", &()).await {
        Ok(_) => Ok(false),
        Err(ClientError::Refused(problem)) if problem.code == Reason::NotSignedIn => Ok(true),
        Err(error) => Err(error.into()),
    }
}

async fn with_key(client: &Client, settings: &Settings, key: &Path) -> anyhow::Result<Accepted> {
    let given: Reply<Challenge> = client.post("/sign-in/challenge", &serde_json::json!({})).await?;
    let answer = AnswerChallenge { signature: challenge::answer(key, &settings.url, &given.value)?, nonce: given.value.nonce };
    Ok(client.post::<Accepted>("/sign-in", &answer).await?.value)
}

fn say_ready(context: &Context, key: &Path, reply: &Reply<IssuedCertificate>) -> anyhow::Result<Exit> {
    context.print(reply, |output, issued| {
        let until = output.maybe_at(issued.key.expires_at);
        output.toned(format!("Signed in until {until}: {}", SshFiles::certificate(key).display()), Tone::Good)?;
        if issued.client.is_some() {
            output.line(format!("For databases:       {}", client_files(key).0.display()))?;
        }
        Ok(())
    })?;
    note("`tidegate ssh-config --write` makes `ssh NAME.tide` work; `tidegate resource list` shows the names.");
    Ok(Exit::Done)
}

/// Makes a new key pair, has its public half signed, and puts both in the place of those before.
pub(crate) async fn certify(client: &Client, key: &Path, duration: Option<Span>) -> anyhow::Result<Reply<IssuedCertificate>> {
    refuse_foreign(key)?;
    let private = make_pair();
    let client_key = rcgen::KeyPair::generate().context("cannot make a key for the client certificate")?;
    let wanted = NewCertificate { public_key: private.public_key().to_openssh()?, duration, client_key: Some(client_key.public_key_pem()) };
    let reply: Reply<IssuedCertificate> = client.post("/certificates", &wanted).await?;
    // What a gate sends is written to where `ssh` reads it, so it has to be a certificate of this key and nothing else.
    let certificate = Certificate::from_openssh(&reply.value.certificate).context("the gate sent something that is no certificate")?;
    if certificate.public_key() != private.public_key().key_data() {
        bail!("the gate sent a certificate of another key; tell its administrator");
    }
    write_private(key, private.to_openssh(LineEnding::LF)?.as_bytes())?;
    write_private(&beside(key, ".pub"), format!("{}\n", private.public_key().to_openssh()?).as_bytes())?;
    write_private(&SshFiles::certificate(key), format!("{}\n", certificate.to_openssh()?).as_bytes())?;
    if let Some(client) = &reply.value.client {
        let certificate = one_certificate(&client.certificate).context("the gate sent something that is no client certificate")?;
        let (certificate_file, key_file) = client_files(key);
        write_private(&key_file, Secret::new(client_key.serialize_pem()).expose().as_bytes())?;
        write_private(&certificate_file, certificate.as_bytes())?;
    }
    Ok(reply)
}

/// The text, if it is one certificate in PEM and nothing else.
fn one_certificate(pem: &str) -> Option<String> {
    let body = pem.trim().strip_prefix("-----BEGIN CERTIFICATE-----")?.strip_suffix("-----END CERTIFICATE-----")?;
    let plain = body.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=\r\n".contains(&b));
    (plain && body.len() > 100).then(|| format!("{}\n", pem.trim()))
}

/// A key that was not made here is never overwritten.
fn refuse_foreign(key: &Path) -> anyhow::Result<()> {
    let text = match fs::read_to_string(key) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot read `{}`", key.display())),
    };
    match PrivateKey::from_openssh(&text) {
        Ok(private) if private.comment().as_bytes() == COMMENT.as_bytes() => Ok(()),
        _ => bail!("`{}` is not a key that `tidegate login` made; move it away, or name another directory with `--ssh-dir`", key.display()),
    }
}

fn make_pair() -> PrivateKey {
    let seed = Secret::new(rand::random::<[u8; 32]>());
    let mut private = PrivateKey::from(Ed25519Keypair::from_seed(seed.expose()));
    private.set_comment(COMMENT);
    private
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_not_made_here_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("tidegate");
        refuse_foreign(&key).unwrap();
        let mut pair = make_pair();
        fs::write(&key, pair.to_openssh(LineEnding::LF).unwrap()).unwrap();
        refuse_foreign(&key).unwrap();
        pair.set_comment("ana's own");
        fs::write(&key, pair.to_openssh(LineEnding::LF).unwrap()).unwrap();
        assert!(refuse_foreign(&key).unwrap_err().to_string().contains("move it away"));
    }

    #[test]
    fn one_certificate_is_written_and_nothing_beside_it() {
        let good = rcgen::generate_simple_self_signed(["ana".to_owned()]).unwrap().cert.pem();
        assert_eq!(one_certificate(&good).unwrap(), format!("{}\n", good.trim()));
        assert_eq!(one_certificate(&format!("{good}{good}")), None);
        assert_eq!(one_certificate(&format!("{good}# more")), None);
        assert_eq!(one_certificate("ssh-ed25519 AAAA"), None);
    }

    #[test]
    fn each_sign_in_has_a_key_of_its_own() {
        assert_ne!(make_pair().public_key().key_data(), make_pair().public_key().key_data());
    }
}
