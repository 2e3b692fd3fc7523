//! Why the gate's keys can't be opened, kept or replaced, and what to do about it.

use std::path::PathBuf;

use access::ids::KeyId;

use crate::keyring::KeyKind;

/// Why keys can't be opened, kept or replaced.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The system refused.
    #[error("cannot {act} `{path}`")]
    Io {
        /// What was to be done.
        act: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others may read a file of keys.
    #[error("`{path}` may be read by others (mode {mode:o}); if nobody has copied it, run `chmod 600 {path}`")]
    Shared {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Others may write into the directory of keys.
    #[error("others may write into `{path}` (mode {mode:o}); run `chmod 700 {path}` and look at what is in it")]
    SharedDirectory {
        /// Which directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file of keys belongs to somebody else.
    #[error("`{path}` belongs to the user with number {owner}, who could change it; `chown` it to the user that the gate runs as")]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// Its owner's number.
        owner: u32,
    },
    /// A directory, socket or device where a file should be.
    #[error("`{0}` is no file; name the file that holds the key")]
    NotAFile(PathBuf),
    /// What is given as the sealing key is none.
    #[error("{0} holds no sealing key: one is 64 hex digits; restore it from where it is kept safe")]
    SealingKey(String),
    /// The sealing key is gone.
    #[error("there is no sealing key in {0}, but `{1}` holds keys that were sealed with one; restore it, they cannot be opened without")]
    NoSealingKey(String, PathBuf),
    /// The file was written with another sealing key.
    #[error("`{path}` is sealed by sealing key {by}, but the one given is {have}; give that one")]
    OtherSealingKey {
        /// Which file.
        path: PathBuf,
        /// By which sealing keys.
        by: String,
        /// Which one was given.
        have: String,
    },
    /// The file can't be read as a key.
    #[error("`{0}` is damaged or no file of a key; restore it from a backup")]
    Malformed(PathBuf),
    /// The file was changed.
    #[error("`{0}` was altered since the gate wrote it; restore it from a backup and find out who did")]
    Altered(PathBuf),
    /// A newer Tidegate wrote the file.
    #[error("`{0}` holds a kind of key that this version does not know; start the version that wrote it")]
    Newer(PathBuf),
    /// A key that was there is gone.
    #[error("the {0} key is missing from `{1}`; restore it from a backup")]
    Missing(KeyKind, PathBuf),
    /// There is no such kind.
    #[error("`{0}` is no kind of key; the kinds are {kinds}", kinds = KeyKind::ALL.map(KeyKind::code).join(", "))]
    NoSuchKind(String),
    /// There is no such key.
    #[error("there is no key {0}; `tidegate keys list` shows those there are")]
    NoSuchKey(KeyId),
    /// The key is needed still.
    #[error("key {0} is in use or still needed for what it signed or sealed; it can't be removed")]
    Needed(KeyId),
    /// A key of this kind is announced already.
    #[error("a new {0} key ({1}) is announced already; activate it with `tidegate keys activate {0}` before making another")]
    Announced(KeyKind, KeyId),
    /// None is announced.
    #[error("no new {0} key is announced; make one with `tidegate keys rotate {0}`")]
    NotAnnounced(KeyKind),
    /// The gate can't put a new sealing key where the old one came from.
    #[error(
        "the sealing key comes from {0}, where the gate cannot put another; start the gate once with the key in a file \
         (`sealing_key_file`), replace it, and hand the new one over again"
    )]
    NotInAFile(String),
    /// The system's cryptography failed.
    #[error("cannot {0}: the system's cryptography failed")]
    Crypto(&'static str),
}
