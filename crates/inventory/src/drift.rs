//! What a target holds that the gate did not put there: the answer of an SSH target to the gate's look, read.
//!
//! The look prints lines: `P` an account as `passwd` has it, `K` a line of somebody's `authorized_keys`, `C` one of `TrustedUserCAKeys`, `S` a
//! setting of the server as `sshd -T` prints it, `U` something it could not see, and `E` at its end. A target may say what it wants here:
//! whatever is no such line is dropped, and everything is bounded.

use std::collections::BTreeSet;

use access::inventory::FindingKind;
use sha2::{Digest as _, Sha256};

use crate::clean;
use crate::ssh::{AuthorizedKey, authorized_key_lines, fingerprint};

/// How many findings one target may have.
pub const MOST_FINDINGS: usize = 2_000;

/// Something on a target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Observed {
    /// What.
    pub kind: FindingKind,
    /// Which one.
    pub subject: String,
    /// What it is, in words.
    pub detail: String,
    /// What tells it from others of the same subject; the detail may change.
    pub mark: String,
}

impl Observed {
    /// One thing, known again by its kind, its subject and this mark.
    #[must_use]
    pub fn new(kind: FindingKind, subject: &str, detail: &str, mark: &str) -> Self {
        Self { kind, subject: clean(subject), detail: clean(detail), mark: mark.to_owned() }
    }

    /// By what it is known again.
    #[must_use]
    pub fn key(&self) -> String {
        let mut digest = Sha256::new();
        for part in [self.kind.code(), &self.subject, &self.mark] {
            digest.update(part.as_bytes());
            digest.update([0]);
        }
        hex::encode(digest.finalize())
    }
}

/// What the gate has put on a target, or is told of.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Fingerprints of authorities and keys of the gate's own.
    pub keys: BTreeSet<String>,
    /// Accounts that roles and the gate sign in to.
    pub accounts: BTreeSet<String>,
}

/// Settings of an SSH server that open ways beside the gate, with the values that do not.
const SETTINGS: &[(&str, &[&str], &str)] = &[
    ("passwordauthentication", &["no"], "whoever knows a password gets in"),
    ("kbdinteractiveauthentication", &["no"], "whoever knows a password gets in"),
    ("challengeresponseauthentication", &["no"], "whoever knows a password gets in"),
    ("permitemptypasswords", &["no"], "accounts without a password are open to everybody"),
    ("hostbasedauthentication", &["no"], "machines vouch for people"),
    ("gssapiauthentication", &["no"], "Kerberos tickets are let in"),
    ("authorizedkeyscommand", &["none"], "a program says whose keys are let in"),
    ("authorizedprincipalscommand", &["none"], "a program says which certificates are let in"),
];

/// What says that a target holds more than is listed.
pub const THE_REST: &str = "the rest";
/// Of an SSH server whose settings nobody could read, what it goes by is not known either.
const NO_SETTINGS: &str = "settings of the SSH server";

/// That a target holds more than is listed.
#[must_use]
pub fn the_rest() -> Observed {
    Observed::new(FindingKind::Unseen, THE_REST, "there is more than the gate lists; mend some, and look again", "")
}

/// Whether something that was known may still be there, though a look does not show it: something was not seen that could hold it.
///
/// INVARIANT: what is not known to hide something else hides everything.
#[must_use]
pub fn may_hide(unseen: &str, kind: FindingKind, subject: &str) -> bool {
    if kind == FindingKind::Unseen {
        return unseen == THE_REST;
    }
    match unseen.split_once(' ') {
        // Read from its files instead, or of a part of the connections alone: each is a finding of its own.
        Some(("settings", "of the SSH server as they take effect" | "in Match blocks")) => false,
        Some(_) if unseen == NO_SETTINGS => {
            matches!(kind, FindingKind::ServerSetting | FindingKind::AuthorizedKey | FindingKind::TrustedAuthority)
        }
        Some(("keys", rest)) => {
            let whose = rest.strip_prefix("of ").map(|whose| if whose == "*" { "everybody" } else { whose });
            kind == FindingKind::AuthorizedKey && whose.is_none_or(|whose| whose == subject)
        }
        Some(("authorities", _)) => kind == FindingKind::TrustedAuthority,
        _ => true,
    }
}

/// What ends a look that was told whole.
pub const END: &str = "E";

/// Reads what a target said. `None`: it did not say all of it.
#[must_use]
pub fn on_ssh_target(said: &str, told: &Told) -> Option<Vec<Observed>> {
    let mut lines: Vec<&str> = said.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    if lines.pop() != Some(END) {
        return None;
    }
    let mut out = BTreeSet::new();
    for line in lines {
        let Some((what, rest)) = line.split_once(' ') else { continue };
        out.extend(match what {
            "P" => account(rest, told),
            "K" => rest.split_once(' ').and_then(|(account, line)| key(account, line, told)),
            "C" => authority(rest, told),
            "S" => setting(rest),
            "U" if rest == THE_REST => Some(the_rest()),
            "U" => Some(Observed::new(FindingKind::Unseen, rest, "the gate's account on the target may not read it, or not all of it", "")),
            _ => None,
        });
        if out.len() >= MOST_FINDINGS {
            out.insert(the_rest());
            break;
        }
    }
    Some(out.into_iter().collect())
}

fn account(line: &str, told: &Told) -> Option<Observed> {
    const CLOSED: &[&str] = &["nologin", "false", "sync", "halt", "shutdown", ""];
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, _, _, _, shell] = fields.as_slice() else { return None };
    let closed = CLOSED.contains(&shell.rsplit('/').next().unwrap_or_default());
    if closed || told.accounts.contains(*name) {
        return None;
    }
    let root = if *uid == "0" { ", with all rights of root" } else { "" };
    Some(Observed::new(FindingKind::LocalAccount, name, &format!("signs in to {shell}{root}"), uid))
}

fn key(account: &str, line: &str, told: &Told) -> Option<Observed> {
    let whose = if account == "*" { "everybody" } else { account };
    match authorized_key_lines(line).next()? {
        Ok(AuthorizedKey { fingerprint, .. }) if told.keys.contains(&fingerprint) => None,
        Ok(key) => {
            let comment = key.comment.map(|comment| format!(", called {comment}")).unwrap_or_default();
            let what = if key.authority { "whatever this authority signs is let in" } else { "this key is let in" };
            let detail = format!("{what}: {} {}{comment}", key.kind, key.fingerprint);
            Some(Observed::new(FindingKind::AuthorizedKey, whose, &detail, &key.fingerprint))
        }
        Err(_) => {
            let digest = hex::encode(Sha256::digest(line.as_bytes()));
            Some(Observed::new(FindingKind::AuthorizedKey, whose, "a line that is no key this gate can read", &digest))
        }
    }
}

fn authority(line: &str, told: &Told) -> Option<Observed> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let found = fingerprint(line);
    if found.as_ref().is_some_and(|found| told.keys.contains(found)) {
        return None;
    }
    let mark = found.clone().unwrap_or_else(|| hex::encode(Sha256::digest(line.as_bytes())));
    let called = found.unwrap_or_else(|| "a line that is no key this gate can read".to_owned());
    Some(Observed::new(FindingKind::TrustedAuthority, &called, "whatever this authority signs is let in", &mark))
}

fn setting(line: &str) -> Option<Observed> {
    let (name, value) = line.trim().split_once(char::is_whitespace)?;
    let (name, value) = (name.to_ascii_lowercase(), value.trim());
    let (name, _, says) =
        SETTINGS.iter().find(|(known, safe, _)| *known == name && !safe.contains(&value.to_ascii_lowercase().as_str()))?;
    Some(Observed::new(FindingKind::ServerSetting, name, &format!("{value}: {says}"), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIILVuHvSEZnVnFZHgp0wBJrIyIbmO0Mg0nSrb4B7L8AD";

    // covers: BACK-4 (ssh)
    #[test]
    fn what_the_gate_put_there_is_no_finding_and_the_rest_is() {
        let said = format!(
            "P root:x:0:0:root:/root:/bin/bash\nP daemon:x:1:1::/:/usr/sbin/nologin\nP deploy:x:1000:1000::/home/deploy:/bin/sh\n\
             K deploy {KEY} ana@laptop\nK * cert-authority {KEY}\nC {KEY}\nS passwordauthentication yes\nS hostbasedauthentication no\n\
             S authorizedkeyscommand none\nU keys of ben\nX what\nE\n"
        );
        let seen =
            |told: &Told| on_ssh_target(&said, told).unwrap().iter().map(|one| format!("{} {}", one.kind, one.subject)).collect::<Vec<_>>();
        let print = fingerprint(KEY).unwrap();
        assert_eq!(
            seen(&Told::default()),
            [
                "authorized_key deploy".to_owned(),
                "authorized_key everybody".into(),
                "local_account deploy".into(),
                "local_account root".into(),
                format!("trusted_authority {print}"),
                "server_setting passwordauthentication".into(),
                "unseen keys of ben".into(),
            ]
        );
        let told = Told { keys: [print].into(), accounts: ["root".to_owned()].into() };
        assert_eq!(seen(&told), ["local_account deploy", "server_setting passwordauthentication", "unseen keys of ben"]);
    }

    // covers: BACK-4 (ssh)
    #[test]
    fn what_could_not_be_seen_may_hide_what_was_known() {
        use FindingKind::{AuthorizedKey, DatabaseGrant, LocalAccount, ServerSetting, TrustedAuthority, Unseen};
        for (unseen, kind, subject, hidden) in [
            ("keys of ben", AuthorizedKey, "ben", true),
            ("keys of ben", AuthorizedKey, "ana", false),
            ("keys of ben", LocalAccount, "ben", false),
            ("keys of *", AuthorizedKey, "everybody", true),
            ("authorities in /etc/ssh/ca.pub", TrustedAuthority, "SHA256:x", true),
            ("authorities in /etc/ssh/ca.pub", AuthorizedKey, "ben", false),
            ("settings of the SSH server", ServerSetting, "passwordauthentication", true),
            ("settings of the SSH server", AuthorizedKey, "ben", true),
            ("settings of the SSH server as they take effect", ServerSetting, "passwordauthentication", false),
            ("the rest", DatabaseGrant, "eve on schema public", true),
            ("the rest", Unseen, "keys of ben", true),
            ("keys of ben", Unseen, "keys of ana", false),
            ("something new", LocalAccount, "ben", true),
        ] {
            assert_eq!(may_hide(unseen, kind, subject), hidden, "{unseen}: {kind} {subject}");
        }
    }

    // covers: BACK-4 (ssh)
    #[test]
    fn half_an_answer_is_none_and_a_flood_is_bounded() {
        assert_eq!(on_ssh_target("P root:x:0:0:root:/root:/bin/bash\n", &Told::default()), None);
        assert_eq!(on_ssh_target("E\n", &Told::default()), Some(Vec::new()));
        let flood: String = (0..10_000).map(|n| format!("P u{n}:x:{n}:1::/:/bin/sh\n")).collect();
        let seen = on_ssh_target(&format!("{flood}E"), &Told::default()).unwrap();
        assert_eq!(seen.len(), MOST_FINDINGS + 1);
        assert!(seen.iter().any(|one| one.kind == FindingKind::Unseen));
    }
}
