//! What the sections that speak to something outside have in common: of which kind it is, by what secret it is asked, and whether it may be
//! reached at all.

use std::net::IpAddr;
use std::path::Path;

use access::names::SecretName;
use notify::http::permitted;
use notify::oncall::TokenFrom;
use policy::document::{At, Document, Table};
use policy::problem::{nearest, shown};
use workflow::outbox::KeptSecret;

/// A secret by its name in the store, or by its file.
#[derive(Debug)]
pub(super) struct RawSecret {
    sealed: Option<At<SecretName>>,
    file: Option<At<String>>,
}

impl RawSecret {
    /// Reads the two keys that may say where it is.
    pub(super) fn read(table: &Table<'_>, name: &'static str, file: &'static str) -> Self {
        Self { sealed: table.read(name), file: table.text(file) }
    }

    /// Whether one of them does.
    pub(super) fn is_there(&self) -> bool {
        self.sealed.is_some() || self.file.is_some()
    }

    /// Where it is, if anywhere. `what` is how a mistake names it; a file is below `base`.
    pub(super) fn check(self, what: &str, document: &Document<'_>, base: &Path) -> Option<KeptSecret> {
        if let (Some(_), Some(file)) = (&self.sealed, &self.file) {
            document.reject(file, format!("`{what}`: name the secret or its file, not both"));
        }
        let sealed = self.sealed.map(|sealed| KeptSecret::Sealed(sealed.value));
        sealed.or_else(|| self.file.map(|file| KeptSecret::File(base.join(file.value))))
    }

    /// The same, of what may be asked without one.
    pub(super) fn token(self, what: &str, document: &Document<'_>, base: &Path) -> TokenFrom {
        match self.check(what, document, base) {
            Some(KeptSecret::Sealed(name)) => TokenFrom::Sealed(name),
            Some(KeptSecret::File(path)) => TokenFrom::File(path),
            None => TokenFrom::Nowhere,
        }
    }
}

/// Which of the kinds there are somebody means; `what` is how a mistake names the key, `noun` what is of that kind.
pub(super) fn kind<K: Copy>(at: &At<String>, all: &[(&'static str, K)], what: &str, noun: &str, document: &Document<'_>) -> Option<K> {
    if let Some((_, kind)) = all.iter().find(|(code, _)| *code == at.value) {
        return Some(*kind);
    }
    let codes = || all.iter().map(|(code, _)| *code);
    let hint = match nearest(&at.value, codes()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("kinds are {}", codes().collect::<Vec<_>>().join(", ")),
    };
    document.reject(at, format!("`{what}`: `{}` is no kind of {noun}; {hint}", shown(&at.value)));
    None
}

/// Whether an address may be called; if not, that is a mistake.
pub(super) fn may_be_called(url: &At<String>, what: &str, addresses: &[IpAddr], document: &Document<'_>) -> bool {
    match permitted(&url.value, addresses) {
        Ok(_) => true,
        Err(error) => {
            document.reject(url, format!("`{what}`: {error}"));
            false
        }
    }
}
