//! Which gate, and as whom: flags, environment, then `~/.config/tidegate/client.toml`.
//!
//! The stored token goes to the gate it was made by and to no other; and nothing leaves this machine without TLS: an invitation or a
//! signed challenge is worth a token, and the answer to it is one.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use access::secret::Secret;
use reqwest::Url;
use serde::{Deserialize, Serialize};

/// Why it is not known which gate to speak to, or as whom.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Nothing names a gate.
    #[error("no gate is known here; join one with `tidegate join URL CODE`, or name it with `--url` or TIDEGATE_URL")]
    NoGate,
    /// Not a URL.
    #[error("`{0}` is not the address of a gate; it looks like `https://gate.example.com`")]
    Url(String),
    /// A token, or what is worth one, would travel in clear.
    #[error("`{0}` is not on this machine and has no TLS, so nothing is sent there; use its `https` address")]
    Clear(String),
    /// A file can't be read or written.
    #[error("cannot {act} `{path}`")]
    File {
        /// What was tried.
        act: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others can read the token.
    #[error("others than you can read `{0}`, which holds your token; run `chmod 600` on it, and make a new token if that went on for long")]
    Readable(PathBuf),
    /// Not what it should be.
    #[error("`{path}` is not understood: {why}; correct it, or join again with `tidegate join URL CODE`")]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Nowhere to keep it.
    #[error("neither HOME nor XDG_CONFIG_HOME says where your settings are")]
    NoHome,
}

/// What flags and environment say.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// `--url`, `TIDEGATE_URL`.
    pub url: Option<String>,
    /// `TIDEGATE_TOKEN`.
    pub token: Option<Secret<String>>,
    /// `--ca-file`, `TIDEGATE_CA_FILE`.
    pub ca_file: Option<PathBuf>,
}

/// Which gate, and as whom.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it is.
    pub url: Url,
    /// As whom.
    pub token: Option<Secret<String>>,
    /// The certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// What is kept between two commands.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,
}

impl Settings {
    /// What is given, completed by what is kept in `file`.
    ///
    /// # Errors
    /// If no gate is named, it can only be reached in clear, or the file can't be used.
    pub fn resolve(given: &Given, file: Option<&Path>) -> Result<Self, SettingsError> {
        let kept = match file {
            Some(file) => read(file)?,
            None => Kept::default(),
        };
        let kept_url = kept.url.as_deref().map(parse).transpose()?;
        let given_url = given.url.as_deref().map(parse).transpose()?;
        // INVARIANT: what was kept for one gate is never used for another.
        let same = given_url.is_none() || given_url == kept_url;
        let url = given_url.or(kept_url).ok_or(SettingsError::NoGate)?;
        let token = given.token.clone().or_else(|| kept.token.filter(|_| same).map(Secret::new));
        let ca_file = given.ca_file.clone().or_else(|| kept.ca_file.filter(|_| same));
        if !is_private(&url) {
            return Err(SettingsError::Clear(url.to_string()));
        }
        Ok(Self { url, token, ca_file })
    }

    /// The certificates to trust, PEM; `None`: the system's.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn certificates(&self) -> Result<Option<Vec<u8>>, SettingsError> {
        let read = |path: &PathBuf| fs::read(path).map_err(|source| SettingsError::File { act: "read", path: path.clone(), source });
        self.ca_file.as_ref().map(read).transpose()
    }

    /// Keeps it in `file`, readable by its owner alone.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn keep(&self, file: &Path) -> Result<(), SettingsError> {
        let kept = Kept {
            url: Some(self.url.as_str().trim_end_matches('/').to_owned()),
            token: self.token.as_ref().map(|t| t.expose().clone()),
            ca_file: self.ca_file.clone(),
        };
        let text = toml::to_string(&kept).map_err(|e| SettingsError::Content { path: file.to_path_buf(), why: e.to_string() })?;
        write_private(file, text.as_bytes())
    }
}

/// Where the settings are kept.
///
/// # Errors
/// If nothing says where.
pub fn default_file() -> Result<PathBuf, SettingsError> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    config.map(|dir| dir.join("tidegate").join("client.toml")).ok_or(SettingsError::NoHome)
}

/// Writes a file that only its owner may read, whole or not at all.
///
/// # Errors
/// If it can't be written.
pub fn write_private(file: &Path, content: &[u8]) -> Result<(), SettingsError> {
    let failed = |act: &'static str, path: &Path| {
        let path = path.to_path_buf();
        move |source| SettingsError::File { act, path, source }
    };
    let parent = file.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed("make the directory", parent))?;
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.new", std::process::id()));
    let fresh = file.with_file_name(name);
    let write = || {
        let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        out.set_permissions(fs::Permissions::from_mode(0o600))?;
        out.write_all(content)?;
        out.sync_all()?;
        fs::rename(&fresh, file)
    };
    write().map_err(|source| {
        // Best effort: the error below is what matters.
        let _ = fs::remove_file(&fresh);
        failed("write", file)(source)
    })
}

/// Makes sure that `file` can be written, and leaves it as it is.
///
/// # Errors
/// If it can't.
pub fn probe(file: &Path) -> Result<(), SettingsError> {
    let beside = file.with_extension("probe");
    write_private(&beside, b"")?;
    fs::remove_file(&beside).map_err(|source| SettingsError::File { act: "remove", path: beside, source })
}

fn read(file: &Path) -> Result<Kept, SettingsError> {
    let failed = |source| SettingsError::File { act: "read", path: file.to_path_buf(), source };
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
        Err(error) => return Err(failed(error)),
    };
    let kept: Kept =
        toml::from_str(&text).map_err(|e| SettingsError::Content { path: file.to_path_buf(), why: e.message().replace('\n', "; ") })?;
    let mode = fs::metadata(file).map_err(failed)?.permissions().mode();
    if kept.token.is_some() && mode & 0o077 != 0 {
        return Err(SettingsError::Readable(file.to_path_buf()));
    }
    Ok(kept)
}

fn parse(text: &str) -> Result<Url, SettingsError> {
    let url = Url::parse(text.trim_end_matches('/')).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty() && url.password().is_none())
        .ok_or_else(|| SettingsError::Url(text.to_owned()))
}

/// Whether nobody between here and there can listen.
fn is_private(url: &Url) -> bool {
    let local = match url.host_str() {
        Some("localhost") => true,
        Some(host) => host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        None => false,
    };
    url.scheme() == "https" || local
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(url: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tidegate").join("client.toml");
        let token = Some(Secret::new("tg_pat_x".to_owned()));
        Settings { url: parse(url).unwrap(), token, ca_file: Some("/ca.pem".into()) }.keep(&file).unwrap();
        (dir, file)
    }

    #[test]
    fn what_is_kept_is_for_its_owner_alone() {
        let (_dir, file) = kept("https://gate.example.com");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Settings::resolve(&Given::default(), Some(&file)).unwrap().token.is_some());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Settings::resolve(&Given::default(), Some(&file)), Err(SettingsError::Readable(_))));
    }

    #[test]
    fn a_token_goes_to_its_own_gate_alone() {
        let (_dir, file) = kept("https://gate.example.com");
        let same = Given { url: Some("https://gate.example.com/".into()), ..Given::default() };
        assert!(Settings::resolve(&same, Some(&file)).unwrap().token.is_some());
        let other = Given { url: Some("https://gate.example.org".into()), ..Given::default() };
        let settings = Settings::resolve(&other, Some(&file)).unwrap();
        assert!(settings.token.is_none() && settings.ca_file.is_none());
    }

    // covers: G3 (cli)
    #[test]
    fn neither_a_token_nor_what_is_worth_one_travels_in_clear() {
        for token in [Some(Secret::new("tg_pat_x".to_owned())), None] {
            let given = |url: &str| Given { url: Some(url.to_owned()), token: token.clone(), ca_file: None };
            for local in ["http://127.0.0.1:3143", "http://[::1]:3143", "http://localhost:1", "https://gate.example.com"] {
                Settings::resolve(&given(local), None).unwrap();
            }
            let refused = Settings::resolve(&given("http://gate.example.com"), None);
            assert!(matches!(refused, Err(SettingsError::Clear(_))), "join and login send their codes without a token: {refused:?}");
        }
    }

    #[test]
    fn without_a_gate_one_is_told_how_to_get_one() {
        let error = Settings::resolve(&Given::default(), None).unwrap_err();
        insta::assert_snapshot!(error, @"no gate is known here; join one with `tidegate join URL CODE`, or name it with `--url` or TIDEGATE_URL");
    }
}
