//! What the gate keeps: keys, policy, store, and the clock against its own log.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use access::entry::Entry;
use access::time::Span;
use credentials::keyring::Keyring;
use credentials::sealing::SealingSource;
use jiff::Timestamp;
use policy::Bundle;
use store::{EntryFilter, EntryPage, Store, StoreError, StoreOptions, StoreUrl};

use crate::config::Config;
use crate::output::time::now;
use crate::policy_dir::{self, Head};

use super::Finding;

/// So far may the wall clock be behind the log before nothing opens.
const BEHIND: Span = Span::seconds(5);
/// So many entries are read at once.
const BATCH: u32 = 1_000;

pub(super) fn sealing_key(config: &Config) -> Vec<Finding> {
    const CHECK: &str = "sealing key";
    let path = match &config.sealing {
        SealingSource::Descriptor(number) => return vec![Finding::ok(CHECK, format!("handed over on descriptor {number} at each start"))],
        SealingSource::File(path) => path,
    };
    let shown = path.display();
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return vec![match has_keys(config) {
                false => Finding::ok(CHECK, format!("{shown} is not there yet; the first start makes it")),
                true => {
                    let advice = "bring it back from where you keep a copy: without it no key can be opened, and no recording read";
                    Finding::fail(CHECK, format!("{shown} is not there, but keys that it sealed are"), advice)
                }
            }];
        }
        Err(error) => return vec![Finding::fail(CHECK, format!("{shown} cannot be looked at: {error}"), "correct its permissions")],
    };
    if found.mode() & 0o077 != 0 {
        let says = format!("others can read {shown} (mode {:03o})", found.mode() & 0o777);
        return vec![Finding::fail(CHECK, says, format!("run `chmod 600 {shown}`, and find out who could read it until now"))];
    }
    if path.starts_with(&config.data_dir) {
        let advice =
            "keep it elsewhere and name it by TIDEGATE_SEALING_KEY_FILE, so that a copy of the data directory alone is worth nothing";
        return vec![Finding::warn(CHECK, format!("{shown} lies beside what it seals"), advice)];
    }
    vec![Finding::ok(CHECK, format!("{shown} is the gate's alone"))]
}

/// Whether there is a file of a key; the sealing key may lie beside them.
pub(crate) fn has_keys(config: &Config) -> bool {
    let is_key = |path: &Path| path.extension().is_some_and(|e| e == "key") && Some(path) != config.sealing.path();
    fs::read_dir(config.data_dir.join("keys"))
        .is_ok_and(|entries| entries.flatten().any(|entry| is_key(&entry.path()) || entry.file_name() == "keyring.json"))
}

/// Whether a gate ran here: it left a store or a log.
fn was_started(config: &Config) -> bool {
    let store = match &config.store {
        StoreUrl::Sqlite(path) => path.exists(),
        StoreUrl::Postgres(_) => false,
    };
    store || fs::read_dir(config.data_dir.join("audit")).is_ok_and(|mut entries| entries.next().is_some())
}

/// The keys as they are, and what is to be said of them. Nothing is made.
pub(super) fn keys(config: &Config) -> (Option<Keyring>, Finding) {
    const CHECK: &str = "keys";
    let dir = config.data_dir.join("keys");
    if !has_keys(config) {
        return (
            None,
            match was_started(config) {
                false => Finding::ok(CHECK, "none yet; the first start makes them"),
                true => {
                    let advice = "restore it from the backup of the same moment; the gate does not start, and new keys would open nothing that these sealed";
                    Finding::fail(CHECK, format!("{} holds no keys, and the gate ran here before: they are gone", dir.display()), advice)
                }
            },
        );
    }
    match Keyring::open(&dir, &config.sealing) {
        Ok(ring) => {
            let found = described(&ring);
            (Some(ring), found)
        }
        Err(error) => (None, Finding::fail(CHECK, error.to_string(), "the gate does not start until its keys open")),
    }
}

fn described(ring: &Keyring) -> Finding {
    const CHECK: &str = "keys";
    match ring.ssh_host() {
        Ok(host) => {
            let fingerprint = host.fingerprint(ssh_key::HashAlg::Sha256);
            Finding::ok(CHECK, format!("{} keys open; the SSH host key is {fingerprint}", ring.describe().len()))
        }
        Err(error) => Finding::fail(CHECK, error.to_string(), "the gate does not start without a host key"),
    }
}

/// The digest of the policy directory, if it is sound.
pub(super) fn policy(config: &Config, findings: &mut Vec<Finding>) -> Option<String> {
    const CHECK: &str = "policy";
    match Bundle::load(&config.policy_dir) {
        Ok(bundle) => {
            let short = bundle.digest().get(..12).unwrap_or_default();
            findings.push(Finding::ok(CHECK, format!("{} is sound, bundle {short}", config.policy_dir.display())));
            for warning in bundle.warnings() {
                findings.push(Finding::warn(CHECK, warning.to_string(), "look at it; `tidegate policy explain` says what follows"));
            }
            Some(bundle.digest().to_owned())
        }
        Err(problems) => {
            let advice = format!("correct it; `tidegate policy check {}` says the same", config.policy_dir.display());
            findings.extend(problems.iter().map(|problem| Finding::fail(CHECK, problem.to_string(), advice.clone())));
            None
        }
    }
}

/// Where the policy directory is a Git work tree: whether it is what was committed, as far as this user is told.
pub(super) async fn committed(config: &Config) -> Option<Finding> {
    const CHECK: &str = "policy";
    let dir = &config.policy_dir;
    let head = policy_dir::head(dir).await;
    let says = head.says(dir);
    match head {
        Head::Equal => None,
        Head::Differs(_) => Some(Finding::warn(CHECK, says, "the gate takes it once it is committed, or at SIGHUP as it is")),
        Head::Untold(_) => {
            let advice =
                "look as the user that the gate runs as: `git status` in that directory; until it answers, only SIGHUP takes what changed";
            Some(Finding::warn(CHECK, says, advice))
        }
    }
}

pub(super) async fn store(config: &Config, bundle: Option<&str>) -> Vec<Finding> {
    const CHECK: &str = "store";
    if let StoreUrl::Sqlite(path) = &config.store {
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return vec![Finding::ok(CHECK, format!("{} is not there yet; the first start makes it", path.display()))];
            }
            Ok(found) if found.mode() & 0o077 != 0 && !path.starts_with(&config.data_dir) => {
                let says = format!("others can read {} (mode {:03o})", path.display(), found.mode() & 0o777);
                return vec![Finding::fail(CHECK, says, format!("run `chmod 600 {}`", path.display()))];
            }
            _ => {}
        }
    }
    let options = StoreOptions { connections: 2, ..StoreOptions::default() };
    let store = match Store::open(&config.store, options).await {
        Ok(store) => store,
        Err(error) => return vec![Finding::fail(CHECK, error.to_string(), "nothing opens while the store does not answer")],
    };
    let mut findings = vec![Finding::ok(CHECK, format!("{} answers, and its schema is this release's", config.store))];
    match store.high_water().await {
        Ok(mark) => findings.push(clock(now(), mark)),
        Err(error) => findings.push(Finding::fail(CHECK, error.to_string(), "look at the log: `tidegate audit replay`")),
    }
    if let (Ok(Some(row)), Some(digest)) = (store.newest_bundle().await, bundle)
        && row.digest != digest
    {
        let says = format!("the directory is not the bundle in force ({})", row.digest.get(..12).unwrap_or_default());
        let advice = match policy_dir::was_put_out_of_force(&store, digest).await {
            Ok(true) => "somebody replaced it by a push or a rollback, so it waits until it changes; as it is, SIGHUP takes it",
            _ => "a gate that runs takes it within seconds, another at its start; if it does not, its log says why",
        };
        findings.push(Finding::warn("policy", says, advice));
    }
    match failed_policies(&store, now()).await {
        Ok(failed) => findings.extend(failed),
        Err(error) => findings.push(Finding::fail(CHECK, error.to_string(), "look at the log: `tidegate audit replay`")),
    }
    findings
}

/// The policies that could not be evaluated within the last day, as the refusals tell that they led to.
async fn failed_policies(store: &Store, now: Timestamp) -> Result<Vec<Finding>, StoreError> {
    let filter = |name: &str| EntryFilter {
        name: Some(name.to_owned()),
        from: now.checked_sub(Span::hours(24).as_std()).ok(),
        ..EntryFilter::default()
    };
    let mut failed = Failed::new();
    for name in ["request.refused", "request.denied", "vote.refused", "session.refused", "action.refused", "grant.withdrawn"] {
        let mut page = EntryPage { limit: BATCH, after: None, newest_first: true };
        loop {
            let entries = store.entries(&filter(name), page).await?;
            for logged in &entries {
                count_failed(&mut failed, &logged.entry);
            }
            match entries.last() {
                Some(last) if entries.len() == BATCH as usize => page.after = Some(last.seq),
                _ => break,
            }
        }
    }
    Ok(said_of_failed(failed))
}

/// How often a policy could not be evaluated, when last, and why then. Without a name: a question could not be put at all.
pub(super) type Failed = BTreeMap<String, (u64, Timestamp, String)>;

/// Counts what an entry tells to have failed, if anything.
pub(super) fn count_failed(failed: &mut Failed, entry: &Entry) {
    let Some(policies) = entry.event.failed_policies() else { return };
    let unnamed = [String::new()];
    let policies = if policies.is_empty() { unnamed.as_slice() } else { policies };
    for policy in policies {
        let (times, last, why) = failed.entry(policy.clone()).or_default();
        *times += 1;
        if entry.at > *last {
            (*last, *why) = (entry.at, entry.text("detail").unwrap_or_default().to_owned());
        }
    }
}

pub(super) fn said_of_failed(failed: Failed) -> Vec<Finding> {
    let finding = |(policy, (times, last, why)): (String, (u64, Timestamp, String))| {
        let often = if times == 1 { "once".to_owned() } else { format!("{times} times") };
        let what = match policy.as_str() {
            "" => "a question could not be put to the policy at all".to_owned(),
            id => format!("`{id}` could not be evaluated"),
        };
        let says = format!("{what}, {often} within a day and last at {last}; an error is a no: {why}");
        Finding::warn("policy", says, "correct it, and try it with a case under `tests/` and `tidegate policy test`")
    };
    failed.into_iter().map(finding).collect()
}

/// The wall clock against the newest time in the log.
pub(super) fn clock(now: Timestamp, mark: Option<Timestamp>) -> Finding {
    const CHECK: &str = "clock";
    let Some(mark) = mark else { return Finding::ok(CHECK, "nothing is logged yet") };
    let behind = Span::between(now, mark);
    if behind > BEHIND {
        let says = format!("this machine's clock is {behind} behind the gate's own log, so nothing opens");
        return Finding::fail(
            CHECK,
            says,
            "set the clock right (`timedatectl`); if it is right, it ran ahead once: `tidegate clock accept`. Open sessions still end in time",
        );
    }
    Finding::ok(CHECK, "not behind the log")
}
