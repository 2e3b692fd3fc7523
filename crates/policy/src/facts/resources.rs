//! `resources.toml` and `resources/*.toml`: what stands behind the gate.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use access::names::{GroupName, ResourceName, RoleName, TierName};
use access::session::TargetTls;
use access::vault::{SecretSource, SourceError};
use serde::{Serialize, Serializer};

use super::named;
use crate::document::{At, Table};
use crate::problem::{Place, Sink, shown};

/// The longest name of a resource.
const LONGEST_NAME: usize = 63;

/// What a resource speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A machine reached over SSH.
    Ssh,
    /// A PostgreSQL server, or one database of it.
    Postgres,
    /// A MySQL or MariaDB server, or one database of it.
    Mysql,
}

impl Kind {
    /// Every one there is, in order.
    pub const ALL: &'static [Self] = &[Self::Ssh, Self::Postgres, Self::Mysql];

    /// As it is written in a policy directory, and in policies as `Tide::Kind::"…"`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl FromStr for Kind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|kind| kind.code() == text).ok_or_else(|| {
            let all: Vec<&str> = Self::ALL.iter().map(|kind| kind.code()).collect();
            format!("`{}` is no kind of resource; it is one of {}", shown(text), all.join(", "))
        })
    }
}

/// Where a target listens: a host name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A host name or IP address, without brackets.
    pub host: String,
    /// A TCP port.
    pub port: u16,
}

impl FromStr for Address {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{}` is no address; write it like `db-1.internal:22`, `10.0.0.7:22` or `[fd00::7]:22`", shown(text));
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        if host.is_empty()
            || (bare.is_none() && host.contains(':'))
            || !host.chars().all(|c| c.is_ascii_alphanumeric() || "-._:%".contains(c))
        {
            return Err(bad());
        }
        let port = port.parse().ok().filter(|p| *p != 0).ok_or_else(bad)?;
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') { write!(f, "[{}]:{}", self.host, self.port) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// What to write where a certificate opens nothing.
const WRITE_A_SECRET: &str = "write `credential = \"secret:NAME\"` or `credential = \"vault:NAME/PATH#FIELD\"`";

/// What opens the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A short certificate of the target CA; written `target-ca`.
    TargetCa,
    /// A private key or password: sealed in the store (`secret:NAME`), or fetched from a vault (`vault:NAME/PATH#FIELD`).
    Secret(SecretSource),
}

impl FromStr for Credential {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<SecretSource>() {
            _ if text == "target-ca" => Ok(Self::TargetCa),
            Ok(source) => Ok(Self::Secret(source)),
            Err(SourceError::NoSource(shown)) => {
                Err(format!("`{shown}` is no credential; write `target-ca`, `secret:NAME` or `vault:NAME/PATH#FIELD`"))
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TargetCa => f.write_str("target-ca"),
            Self::Secret(source) => source.fmt(f),
        }
    }
}

impl Serialize for Credential {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// Something behind the gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resource {
    /// Its name.
    pub name: ResourceName,
    /// In plain words, what it is.
    pub description: Option<String>,
    /// What it speaks.
    pub kind: Kind,
    /// Where it listens.
    pub address: Address,
    /// Its tier; without one every request is denied.
    pub tier: Option<TierName>,
    /// The environment it belongs to, in the words of the house.
    pub environment: Option<String>,
    /// Words policies can speak of.
    pub tags: BTreeSet<String>,
    /// The group that answers for it.
    pub owner: Option<GroupName>,
    /// The schedule of those who are on call for it.
    pub on_call: Option<GroupName>,
    /// Its host keys, as `ssh-keyscan` prints them without the host: `ssh-ed25519 AAAA…`; `@cert-authority KEY` trusts those that a host CA signed.
    pub host_keys: Vec<String>,
    /// What opens it.
    pub credential: Credential,
    /// The role that is meant when none is named.
    pub default_role: Option<RoleName>,
    /// The account to use here instead of the role's.
    pub login: Option<String>,
    /// Whom the target CA's certificates name here; `None`: the account.
    pub principal: Option<Principal>,
    /// The account that the gate looks at an SSH target with, for what it did not put there; `None`: that of a role.
    pub look_as: Option<String>,
    /// Who makes the accounts that restricted roles have for each grant, if it is a database.
    pub accounts: Option<AccountMaker>,
    /// The database, if it is one of them; else the client names it.
    pub database: Option<String>,
    /// How a database server proves to be the right one.
    pub tls: TargetTls,
}

impl Resource {
    /// Whom a certificate of the target CA has to name for this account here.
    #[must_use]
    pub fn principal(&self, login: &str) -> String {
        self.principal.as_ref().map_or_else(|| login.to_owned(), |principal| principal.of(login, &self.name))
    }
}

/// Whom certificates name instead of the account, so that targets which trust the same CA tell theirs from others': a text
/// with `{login}` in it, and `{resource}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Principal(String);

impl Principal {
    /// The most that stands in a certificate.
    const LONGEST: usize = 128;

    /// As it stands in the certificate.
    #[must_use]
    pub fn of(&self, login: &str, resource: &ResourceName) -> String {
        self.0.replace("{resource}", resource.as_str()).replace("{login}", login)
    }
}

impl FromStr for Principal {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let around = text.replace("{login}", "").replace("{resource}", "");
        let plain = around.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@".contains(c));
        let begins = text.starts_with(|c: char| c == '{' || c == '_' || c.is_ascii_alphanumeric());
        let longest = text.replace("{login}", &"l".repeat(Login::LONGEST)).replace("{resource}", &"r".repeat(LONGEST_NAME)).len();
        if plain && begins && text.contains("{login}") && longest <= Self::LONGEST {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "`{}` is no principal; write one like `{{login}}@{{resource}}`: `{{login}}` has to be in it, and beside that at most a few letters, \
                 digits and `-_.@`",
                shown(text)
            ))
        }
    }
}

/// The administrative account of a database, that makes and drops others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountMaker {
    /// Its name.
    pub login: String,
    /// Where its password is.
    pub secret: SecretSource,
}

/// A resource and the places of the names it uses.
pub(crate) struct ResourceSource {
    pub(crate) resource: Resource,
    pub(crate) tier: Option<Place>,
    pub(crate) owner: Option<Place>,
    pub(crate) on_call: Option<Place>,
    pub(crate) default_role: Option<Place>,
}

/// A word: letters, digits, `.`, `-`, `_`, `:` and `/`.
pub(crate) struct Word(pub(crate) String);

impl FromStr for Word {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let ok = (1..=63).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:/".contains(c));
        if ok { Ok(Self(text.to_owned())) } else { Err(format!("`{}` is no word of 1 to 63 letters, digits and `.-_:/`", shown(text))) }
    }
}

/// An account name on a target.
pub(crate) struct Login(pub(crate) String);

impl Login {
    const LONGEST: usize = 32;
}

impl FromStr for Login {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut chars = text.chars();
        let first = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if first && text.len() <= Self::LONGEST && chars.all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{}` is no account name; one starts with a letter or `_`, followed by letters, digits and `-_.`", shown(text)))
        }
    }
}

/// An OpenSSH public key line, or `@cert-authority` and the key of a CA that signs host keys.
struct HostKey(String);

impl FromStr for HostKey {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        const AUTHORITY: &str = "@cert-authority ";
        let (marker, key) = text.strip_prefix(AUTHORITY).map_or(("", text), |key| (AUTHORITY, key));
        let mut words = key.split_whitespace();
        let (Some(kind), Some(data)) = (words.next(), words.next()) else { return Err(bad_key(text)) };
        let known = kind.starts_with("ssh-") || kind.starts_with("ecdsa-sha2-") || kind.starts_with("sk-");
        // RFC 4253 §6.6: the blob begins with the length and the letters of its own kind.
        let length = u8::try_from(kind.len()).map_err(|_| bad_key(text))?;
        let mut head = vec![0, 0, 0, length];
        head.extend_from_slice(kind.as_bytes());
        if known && base64_prefix(data, head.len()).is_some_and(|found| found == head) {
            Ok(Self(format!("{marker}{kind} {data}")))
        } else {
            Err(bad_key(text))
        }
    }
}

fn bad_key(text: &str) -> String {
    format!("`{}` is no OpenSSH public key; write it like `ssh-ed25519 AAAA…`, as `ssh-keyscan` prints it after the host", shown(text))
}

/// The first `want` bytes of a base64 text (RFC 4648 §4); `None` if any letter is wrong or there are fewer.
fn base64_prefix(text: &str, want: usize) -> Option<Vec<u8>> {
    let letters = text.trim_end_matches('=');
    let mut out = Vec::new();
    let (mut bits, mut count) = (0u32, 0u32);
    for c in letters.bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    // A key is longer than the name of its kind.
    if out.len() <= want + 4 {
        return None;
    }
    out.truncate(want);
    Some(out)
}

/// The name of a database (PostgreSQL: at most 63 bytes); anything but control characters.
struct Database(String);

impl FromStr for Database {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if (1..=63).contains(&text.len()) && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{}` is no database; its name has 1 to 63 bytes and no control characters", shown(text)))
        }
    }
}

/// SHA-256 of a certificate, hex, with or without colons.
struct Pin(String);

impl FromStr for Pin {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text).replace(':', "").to_ascii_lowercase();
        if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(hex))
        } else {
            Err(format!("`{}` is no certificate; write the SHA-256 that `openssl x509 -fingerprint -sha256` prints", shown(text)))
        }
    }
}

/// `tls = "verify-full"` (if nothing is said) or `"plain"`; `tls_ca`, a PEM text, and `tls_pins` say what is trusted.
fn read_tls(table: &Table<'_>) -> TargetTls {
    let mode = table.text("tls");
    let authority = table.text("tls_ca");
    let pins: Vec<String> = table.read_list::<Pin>("tls_pins").into_iter().map(|p| p.value.0).collect();
    if let Some(authority) = &authority
        && !authority.value.contains("-----BEGIN CERTIFICATE-----")
    {
        table
            .sink()
            .error(authority.place.clone(), "`tls_ca` is the PEM text of a certificate, between `-----BEGIN CERTIFICATE-----` and its end");
    }
    match mode.as_ref().map_or("verify-full", |m| m.value.as_str()) {
        "verify-full" => {}
        "plain" => return TargetTls::Plain,
        other => {
            let says = format!("`tls` is `verify-full` or `plain`, not `{}`", shown(other));
            table.sink().error(mode.map_or_else(|| table.place(), |m| m.place), says);
        }
    }
    match authority {
        _ if !pins.is_empty() => TargetTls::Pinned(pins),
        Some(authority) => TargetTls::Authority(authority.value),
        None => TargetTls::Public,
    }
}

/// `accounts = { login = "…", credential = "secret:NAME" }`, or a secret of a vault.
fn read_accounts(table: Table<'_>) -> Option<AccountMaker> {
    let login: Option<At<Login>> = table.required("login");
    let credential: Option<At<Credential>> = table.required("credential");
    let maker = match (login, credential.as_ref().map(|c| &c.value)) {
        (Some(login), Some(Credential::Secret(secret))) => Some(AccountMaker { login: login.value.0, secret: secret.clone() }),
        (_, Some(Credential::TargetCa)) => {
            table.sink().error(table.place(), format!("the account that makes others is opened by a password; {WRITE_A_SECRET}"));
            None
        }
        _ => None,
    };
    table.finish();
    maker
}

pub(crate) fn load(files: &[(&str, &[u8])], sink: &Sink) -> BTreeMap<ResourceName, (ResourceSource, Place)> {
    named(files, "resource", sink, read)
}

fn read(table: &Table<'_>) -> Option<(At<ResourceName>, ResourceSource)> {
    let name: Option<At<ResourceName>> = table.required("name");
    let kind: Option<At<Kind>> = table.required("kind");
    let address: Option<At<Address>> = table.required("address");
    let tier: Option<At<TierName>> = table.read("tier");
    let owner: Option<At<GroupName>> = table.read("owner");
    let on_call: Option<At<GroupName>> = table.read("on_call");
    let default_role: Option<At<RoleName>> = table.read("default_role");
    let description = table.text("description").map(|t| t.value);
    let environment = table.read::<Word>("environment").map(|w| w.value.0);
    let tags = table.read_list::<Word>("tags").into_iter().map(|w| w.value.0).collect();
    let host_keys = table.read_list::<HostKey>("host_keys").into_iter().map(|k| k.value.0).collect();
    let credential = table.or("credential", Credential::TargetCa);
    let credential_place = table.text("credential").map(|t| t.place);
    let database = table.read::<Database>("database").map(|d| d.value.0);
    let tls = read_tls(table);
    let login = table.read::<Login>("login").map(|l| l.value.0);
    let principal: Option<At<Principal>> = table.read("principal");
    let look_as = table.read::<Login>("look_as").map(|l| l.value.0);
    let accounts = table.table("accounts").if_there().and_then(read_accounts);
    let name = name?;
    let kind = kind?.value;
    if kind == Kind::Ssh && table.has("accounts") {
        table.sink().error(table.place(), "`accounts` says who makes accounts in a database; a machine has none");
    }
    if kind != Kind::Ssh && look_as.is_some() {
        table.sink().error(table.place(), "`look_as` is an account of a machine; a database is looked at by the one in `accounts`");
    }
    if let Some(principal) = &principal
        && (kind != Kind::Ssh || credential != Credential::TargetCa)
    {
        let says = "`principal` is whom certificates of the target CA name; where a sealed secret opens the target there are none";
        table.sink().error(principal.place.clone(), says);
    }
    if kind != Kind::Ssh && credential == Credential::TargetCa {
        let place = credential_place.unwrap_or_else(|| table.place());
        table.sink().error(place, format!("a database is opened by a password; {WRITE_A_SECRET}"));
    }
    let resource = Resource {
        name: name.value.clone(),
        description,
        kind,
        address: address?.value,
        tier: tier.as_ref().map(|t| t.value.clone()),
        environment,
        tags,
        owner: owner.as_ref().map(|o| o.value.clone()),
        on_call: on_call.as_ref().map(|o| o.value.clone()),
        host_keys,
        credential,
        default_role: default_role.as_ref().map(|r| r.value.clone()),
        login,
        principal: principal.map(|p| p.value),
        look_as,
        accounts,
        database,
        tls,
    };
    let source = ResourceSource {
        resource,
        tier: tier.map(|t| t.place),
        owner: owner.map(|o| o.place),
        on_call: on_call.map(|o| o.place),
        default_role: default_role.map(|r| r.place),
    };
    Some((name, source))
}
