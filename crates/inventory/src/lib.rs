//! Ways to production that stand outside the gate, read from the files that give them away: SSH configurations, lists of keys, kubeconfigs,
//! dumps of database accounts, lists of CI secrets and VPN profiles, Terraform states.
//!
//! Pure: bytes in, [`Found`] out. A file is read whole or not at all, within bounds, and what is wrong is said with its line. INVARIANT: no
//! secret leaves here. Of a private key, a password or a token only that there is one, and of what kind; of public keys the fingerprint.

mod database;
pub mod drift;
mod kube;
mod listed;
mod names;
mod ssh;
mod table;
mod terraform;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use access::inventory::{Attribution, Issuance, Reach, SourceKind};
use sha2::{Digest as _, Sha256};

pub use names::target;
pub use ssh::{AuthorizedKey, authorized_key_lines, fingerprint};

/// What stands for the target of a host that `known_hosts` names only by a hash.
pub const HASHED: &str = "a hashed host";
/// The largest file, in bytes.
pub const MOST_BYTES: usize = 6 << 20;
/// How many ways one file may name.
pub const MOST_PATHS: usize = 5_000;
/// How many mistakes are told of one file.
const MOST_MISTAKES: usize = 20;
/// After so many mistakes a file is not read on.
const MOST_WRONG: usize = 1_000;
/// How often one file may name a way, those that it names again counted too.
const MOST_NAMED: usize = MOST_PATHS * 20;

/// What is known of a file besides its bytes.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The target it was found on, as `host` or `host:port`: of lists of keys and accounts.
    pub on: Option<String>,
    /// The account it was found in there: of lists of keys.
    pub account: Option<String>,
    /// Whose file it is: of configurations on laptops.
    pub of: Option<String>,
    /// Host names and addresses of the gate: what goes through these is inside.
    pub gate_hosts: Vec<String>,
    /// Fingerprints of the gate's own authority for targets.
    pub gate_keys: Vec<String>,
    /// Names of the accounts that the gate has made where the list was taken, and not dropped.
    pub gate_accounts: Vec<String>,
}

/// One way to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where in the file, from 1; 0 where the format has no lines.
    pub line: u64,
    /// What it speaks.
    pub reach: Reach,
    /// What it leads to: `host:port`, or a name.
    pub target: String,
    /// The account there.
    pub account: Option<String>,
    /// Who can use it, in the words of the file.
    pub holder: Option<String>,
    /// `SHA256:…` of the public key that opens it, or that the target shows.
    pub fingerprint: Option<String>,
    /// How its credentials come about.
    pub issuance: Issuance,
    /// Whether what is done over it is one person's.
    pub attribution: Attribution,
    /// What else is worth knowing, one thing each.
    pub detail: Vec<String>,
}

impl Found {
    /// By what it is known again in another version of the same list.
    #[must_use]
    pub fn key(&self) -> String {
        let mut digest = Sha256::new();
        for part in [
            Some(self.reach.code()),
            Some(self.target.as_str()),
            self.account.as_deref(),
            self.holder.as_deref(),
            self.fingerprint.as_deref(),
        ] {
            digest.update(part.unwrap_or("\u{1}").as_bytes());
            digest.update([0]);
        }
        hex::encode(digest.finalize())
    }
}

/// A file, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// The ways, in the order of the file; none twice.
    pub found: Vec<Found>,
    /// Entries that name no way.
    pub skipped: u64,
    /// What whoever imports it should know, as sentences.
    pub notes: Vec<String>,
}

/// One thing wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where, from 1; 0 where that cannot be said.
    pub line: u64,
    /// What.
    pub says: String,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.line == 0 { f.write_str(&self.says) } else { write!(f, "line {}: {}", self.line, self.says) }
    }
}

/// Why a file was not taken. Nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is too large.
    #[error("the file has {bytes} bytes, and at most {MOST_BYTES} are read; split it, and give each part a `--source` of its own")]
    TooLarge {
        /// So large.
        bytes: usize,
    },
    /// It names too many ways.
    #[error(
        "the file names more than {MOST_PATHS} ways, the most that are taken from one; split it, and give each part a `--source` of its own"
    )]
    TooMany,
    /// Whoever reads it was told to stop.
    #[error("reading the file took too long; nothing of it was taken; split it, and give each part a `--source` of its own")]
    TooLong,
    /// It is no text.
    #[error("the file is no UTF-8 text; nothing of it was taken")]
    NoText,
    /// Something has to be said besides the file.
    #[error("{0}")]
    Missing(&'static str),
    /// It is not what it was taken for.
    #[error("nothing was taken: {}", told(.0))]
    Wrong(Vec<Mistake>),
}

fn told(mistakes: &[Mistake]) -> String {
    let shown: Vec<String> = mistakes.iter().take(MOST_MISTAKES).map(ToString::to_string).collect();
    let more = mistakes.len().saturating_sub(MOST_MISTAKES);
    if more == 0 { shown.join("; ") } else { format!("{}; and {more} more", shown.join("; ")) }
}

/// Reads a list.
///
/// # Errors
/// Says what is wrong, with line numbers; then nothing of it is to be taken.
pub fn read(kind: SourceKind, bytes: &[u8], about: &About) -> Result<Reading, ReadError> {
    read_unless(kind, bytes, about, &Arc::default())
}

/// As [`read`], but for as long as nobody has said that it takes too long.
///
/// # Errors
/// As [`read`].
pub fn read_unless(kind: SourceKind, bytes: &[u8], about: &About, too_long: &Arc<AtomicBool>) -> Result<Reading, ReadError> {
    if bytes.len() > MOST_BYTES {
        return Err(ReadError::TooLarge { bytes: bytes.len() });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| ReadError::NoText)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut sink = Sink { too_long: Arc::clone(too_long), ..Sink::default() };
    match kind {
        SourceKind::SshConfig => ssh::config(text, about, &mut sink),
        SourceKind::KnownHosts => ssh::known_hosts(text, about, &mut sink),
        SourceKind::AuthorizedKeys => ssh::authorized_keys(text, about, &mut sink)?,
        SourceKind::Kubeconfig => kube::config(text, about, &mut sink),
        SourceKind::PostgresRoles => database::postgres(text, about, &mut sink)?,
        SourceKind::MysqlUsers => database::mysql(text, about, &mut sink)?,
        SourceKind::CiSecrets => listed::ci_secrets(text, about, &mut sink),
        SourceKind::Vpn => listed::vpn(text, about, &mut sink),
        SourceKind::Terraform => terraform::state(text, &mut sink),
        SourceKind::Csv => listed::plain(text, &mut sink),
        SourceKind::Entered => return Err(ReadError::Missing("what is entered by hand comes from no file; use `tidegate inventory add`")),
    }
    sink.done()
}

/// What a reader puts what it finds into.
#[derive(Debug, Default)]
struct Sink {
    found: Vec<Found>,
    places: BTreeMap<String, usize>,
    skipped: u64,
    notes: Vec<String>,
    mistakes: Vec<Mistake>,
    /// How often a way was named.
    named: usize,
    /// Whether it names more ways than are taken.
    too_many: bool,
    /// Set by somebody else when it takes too long.
    too_long: Arc<AtomicBool>,
}

impl Sink {
    /// A way; one that was found before in the same file only adds what else is said of it.
    fn put(&mut self, mut found: Found) {
        self.named += 1;
        self.too_many |= self.named > MOST_NAMED;
        if self.is_full() {
            return;
        }
        found.target = clean(&found.target);
        for text in [&mut found.account, &mut found.holder].into_iter().flatten() {
            *text = clean(text);
        }
        for text in &mut found.detail {
            *text = clean(text);
        }
        if found.target.is_empty() {
            self.wrong(found.line, "this names no target");
            return;
        }
        let key = found.key();
        if let Some(before) = self.places.get(&key).and_then(|place| self.found.get_mut(*place)) {
            for detail in found.detail {
                if !before.detail.contains(&detail) && before.detail.len() < 16 {
                    before.detail.push(detail);
                }
            }
            return;
        }
        if self.found.len() == MOST_PATHS {
            self.too_many = true;
            return;
        }
        self.places.insert(key, self.found.len());
        self.found.push(found);
    }

    fn wrong(&mut self, line: u64, says: impl Into<String>) {
        if self.mistakes.len() < MOST_WRONG {
            self.mistakes.push(Mistake { line, says: says.into() });
        }
    }

    /// Whether it is known already that nothing of the file is taken, so that reading on would tell nobody more.
    fn is_full(&self) -> bool {
        self.too_many || self.mistakes.len() >= MOST_WRONG || self.too_long.load(Ordering::Relaxed)
    }

    fn skip(&mut self) {
        self.skipped += 1;
    }

    fn note(&mut self, says: impl Into<String>) {
        let says = says.into();
        if self.notes.len() < MOST_MISTAKES && !self.notes.contains(&says) {
            self.notes.push(says);
        }
    }

    fn done(self) -> Result<Reading, ReadError> {
        if self.too_long.load(Ordering::Relaxed) {
            return Err(ReadError::TooLong);
        }
        if !self.mistakes.is_empty() {
            return Err(ReadError::Wrong(self.mistakes));
        }
        if self.too_many {
            return Err(ReadError::TooMany);
        }
        Ok(Reading { found: self.found, skipped: self.skipped, notes: self.notes })
    }
}

/// A text as it may be kept: without control characters, and not longer than 256 characters.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut out = String::new();
    for c in text.trim().chars().take(256) {
        if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}'..='\u{200f}' | '\u{feff}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}
