//! What targets hold that the gate did not put there.
//!
//! *Takes* a resource of the bundle. *Proves* what its target lets in beside the gate, by the gate's own access to it. *Hands to* the log each
//! finding once, when it appears and when it is gone; to people the list, to mend or to accept with a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use access::event::{Actor, EntryDraft, Event};
use access::ids::{FindingId, GrantId, RecordingId, SessionId, UserId};
use access::inventory::{FindingKind, FindingRow, FindingState, LookRow};
use access::limits::Limits;
use access::names::ResourceName;
use access::reason::{Reason, Refusal};
use access::request::Door;
use access::rights::{ExecRights, Rights, SftpRights, SshRights};
use access::session::{Dial, Protocol, RecordingTerms, SessionFacts, SessionPermit};
use access::time::Span;
use access::verdict::{Durability, RecordLevel};
use credentials::database::Held;
use credentials::target_ca::Extensions;
use futures::future::BoxFuture;
use inventory::drift::{Observed, Told};
use jiff::Timestamp;
use policy::{Bundle, Credential, Kind, Resource};
use store::Change;

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::inventory::{check_until, said};
use crate::seen::AsSeen;

/// How many targets are looked at at once, when it is time.
const AT_ONCE: usize = 4;

/// What looks at SSH targets: the door that dials them.
pub trait Surveyor: Send + Sync {
    /// What a target says of what it lets in.
    fn survey(&self, permit: SessionPermit) -> BoxFuture<'_, Result<String, Refusal>>;
}

/// Who looks, when, and at what just now.
#[derive(Default)]
pub(crate) struct Drift {
    surveyor: OnceLock<Arc<dyn Surveyor>>,
    every: OnceLock<Span>,
    under_way: Mutex<BTreeSet<ResourceName>>,
}

/// A target that nobody else looks at meanwhile.
struct Looking<'d> {
    drift: &'d Drift,
    resource: ResourceName,
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.drift.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.resource);
    }
}

impl Drift {
    fn begin(&self, resource: &ResourceName) -> Option<Looking<'_>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.insert(resource.clone()).then(|| Looking { drift: self, resource: resource.clone() })
    }
}

/// What a look found.
#[derive(Debug, Clone, PartialEq)]
pub struct Looked {
    /// The look as it is kept.
    pub look: LookRow,
    /// How many findings are new or back.
    pub new: u64,
    /// How many are not there any more.
    pub mended: u64,
    /// Every finding that is there.
    pub findings: Vec<FindingRow>,
}

impl Gate {
    /// Says what looks at SSH targets, and how often every target is looked at by itself; `None`: only when somebody asks.
    pub fn serve_drift(&self, surveyor: Arc<dyn Surveyor>, every: Option<Span>) {
        // Only the first time counts: a node says it once.
        let _set = self.drift.surveyor.set(surveyor);
        if let Some(every) = every {
            let _set = self.drift.every.set(every);
        }
    }

    /// How often every target is looked at by itself.
    #[must_use]
    pub fn drift_every(&self) -> Option<Span> {
        self.drift.every.get().copied()
    }

    /// Somebody has a target looked at.
    ///
    /// # Errors
    /// If they may not keep the inventory, there is no such resource, or its target can't be looked at; that is entered.
    pub async fn look_for_drift(&self, caller: &Caller, resource: &ResourceName) -> Result<Looked, Refusal> {
        self.may_keep_inventory(caller).await?;
        self.look_around(resource, caller.actor(), caller.door).await
    }

    async fn look_around(&self, name: &ResourceName, actor: Actor, door: Door) -> Result<Looked, Refusal> {
        let bundle = self.bundle();
        let resource = bundle.resource(name).ok_or_else(|| Refusal::because(Reason::UnknownResource, format!("`{name}`")))?;
        let looking = self.drift.begin(name);
        let _looking = looking.ok_or_else(|| Refusal::because(Reason::TooMany, format!("`{name}` is being looked at just now")))?;
        let by = |event| EntryDraft::new(self.now(), actor, door, event);
        let seen = match self.refuse_if_resource_locked(name).await.and_then(|()| looks_as(&bundle, resource)) {
            Ok(account) => {
                // INVARIANT: that the gate goes there stands in the log before it does.
                let begun = by(Event::DriftBegun { resource: name.clone() }).text("detail", Some(format!("as {account}")));
                self.commit(Change::new(begun)).await.map_err(refused)?;
                self.observe(&bundle, resource, account).await
            }
            Err(refusal) => Err(refusal),
        };
        match seen {
            Ok(seen) => self.enter_look(name, seen, by).await,
            Err(refusal) => {
                let failed =
                    by(Event::DriftFailed { resource: name.clone(), reason: refusal.reason }).text("detail", refusal.detail.clone());
                let before = self.store.drift_look(name).await.map_err(unavailable)?;
                self.commit(expecting(Change::new(failed), before.as_ref())).await.map_err(refused)?;
                Err(refusal)
            }
        }
    }

    /// What a target holds that the gate did not put there.
    async fn observe(&self, bundle: &Bundle, resource: &Resource, account: String) -> Result<Vec<Observed>, Refusal> {
        let told = self.told(bundle, resource).await?;
        if resource.kind == Kind::Ssh {
            let said = self.survey_ssh(bundle, resource, account).await?;
            return inventory::drift::on_ssh_target(&said, &told)
                .ok_or_else(|| Refusal::because(Reason::TargetUnreachable, "it did not say all of what it lets in"));
        }
        // Asked before and after the look: an account that comes or goes meanwhile is the gate's in one of them.
        let address = resource.address.to_string();
        let mut made = self.accounts_made_at(bundle, resource.kind, &address).await?;
        let credentials::database::Survey { held, cut } = self.survey_database(resource).await?;
        made.extend(self.accounts_made_at(bundle, resource.kind, &address).await?);
        let several = several_hosts(&held);
        let others = held.iter().filter(|held| !is_told(held, &told, &made, &several));
        let seen = others.map(|held| match &held.on {
            None => Observed::new(FindingKind::DatabaseAccount, &held.account, &held.may, &held.may),
            Some(on) => Observed::new(FindingKind::DatabaseGrant, &format!("{} on {on}", held.account), &held.may, &held.may),
        });
        // Of those that are told of only what no role needs.
        let keepers: BTreeSet<&str> =
            resource.look_as.iter().chain(resource.accounts.as_ref().map(|maker| &maker.login)).map(String::as_str).collect();
        let mighty: BTreeSet<&str> = held.iter().filter(|held| powers(held).is_some()).map(|held| held.account.as_str()).collect();
        let told_of = held.iter().filter(|held| is_told(held, &told, &made, &several));
        let told_of = told_of.filter(|held| !held.looked && held.user.as_deref().is_none_or(|user| !keepers.contains(user)));
        let grown = told_of.filter_map(|held| {
            let may = beyond(held, &mighty)?;
            Some(Observed::new(FindingKind::DatabaseGrant, &format!("{} on the whole server", held.account), &may, &may))
        });
        let mut found: Vec<Observed> = grown.chain(seen).collect();
        if cut || found.len() > inventory::drift::MOST_FINDINGS {
            found.truncate(inventory::drift::MOST_FINDINGS);
            found.push(inventory::drift::the_rest());
        }
        Ok(found)
    }

    /// What the gate has put there, or is told of: its authority and keys, the accounts that roles sign in to, and the one that makes others.
    async fn told(&self, bundle: &Bundle, resource: &Resource) -> Result<Told, Refusal> {
        let mut told = Told { keys: self.own_authorities().into_iter().collect(), accounts: BTreeSet::new() };
        told.accounts.extend(bundle.roles().filter_map(|role| bundle.login(&role.name, &resource.name)).map(str::to_owned));
        told.accounts.extend(resource.look_as.clone());
        told.accounts.extend(resource.accounts.as_ref().map(|maker| maker.login.clone()));
        if let (Kind::Ssh, Credential::Secret(source)) = (resource.kind, &resource.credential) {
            let secret = self.opener(source).await?;
            let key = ssh_key::PrivateKey::from_openssh(secret.expose().as_bytes()).ok();
            told.keys.extend(key.map(|key| key.fingerprint(ssh_key::HashAlg::Sha256).to_string()));
        }
        Ok(told)
    }

    async fn survey_ssh(&self, bundle: &Bundle, resource: &Resource, login: String) -> Result<String, Refusal> {
        let surveyor =
            self.drift.surveyor.get().ok_or_else(|| Refusal::because(Reason::Internal, "no door of this node reaches SSH targets"))?;
        // Nobody's session: it has no right but to run the gate's own command, and ids that stand for nothing else.
        let now = self.now();
        let nobody = SessionFacts {
            session: SessionId::generate(now),
            grant: GrantId::generate(now),
            person: UserId::generate(now).into(),
            username: "gate".parse().map_err(|_| Refusal::of(Reason::Internal))?,
            resource: resource.name.clone(),
            role: "drift".parse().map_err(|_| Refusal::of(Reason::Internal))?,
            tier: resource.tier.clone().ok_or_else(|| Refusal::of(Reason::NoTier))?,
            protocol: Protocol::Ssh,
            rights: Rights::Ssh(SshRights::default()),
            limits: Limits::default(),
            recording: RecordingTerms { id: RecordingId::generate(now), level: RecordLevel::Events, durability: Durability::Flush },
            idle: None,
            opened_at: now,
            ends_at: None,
            bundle: bundle.digest().to_owned(),
        };
        let dial = self.ssh_dial(resource, nobody.session, login, Extensions::default()).await?;
        #[expect(clippy::disallowed_methods, reason = "`workflow` is the one maker of session permits")]
        let permit = access::mint::session_permit(nobody, Dial::Ssh(dial));
        surveyor.survey(permit).await
    }

    /// What was seen against what is known: new findings are opened, those that are gone are mended.
    ///
    /// INVARIANT: what is not shown because it could not be seen is not gone.
    async fn enter_look(&self, name: &ResourceName, seen: Vec<Observed>, by: impl Fn(Event) -> EntryDraft) -> Result<Looked, Refusal> {
        let before = self.store.drift_look(name).await.map_err(unavailable)?;
        let known = self.store.findings_on(name).await.map_err(unavailable)?;
        let mut by_key: BTreeMap<&str, &FindingRow> = known.iter().map(|row| (row.key.as_str(), row)).collect();
        let (now, mut drafts, mut new, mut mended) = (self.now(), Vec::new(), 0, 0);
        let blind: Vec<&str> = seen.iter().filter(|one| one.kind == FindingKind::Unseen).map(|one| one.subject.as_str()).collect();
        let detail = (!blind.is_empty()).then(|| format!("not seen: {}", blind.join(", ")));
        let findings = u64::try_from(seen.len()).unwrap_or(u64::MAX);
        let first = by(Event::DriftLooked { resource: name.clone(), findings }).text("detail", detail);
        for one in &seen {
            match by_key.remove(one.key().as_str()) {
                None => {
                    let event =
                        Event::FindingOpened { finding: FindingId::generate(now), resource: name.clone(), kind: one.kind, key: one.key() };
                    drafts.push(by(event).text("subject", Some(one.subject.clone())).text("detail", Some(one.detail.clone())));
                    new += 1;
                }
                Some(row) if row.state == FindingState::Mended => {
                    drafts.push(by(Event::FindingReopened { finding: row.id }));
                    new += 1;
                }
                Some(_) => {}
            }
        }
        let hidden = |row: &FindingRow| {
            let subject = row.subject.as_deref();
            // One whose subject was erased could be anybody's.
            blind.iter().any(|unseen| subject.is_none_or(|subject| inventory::drift::may_hide(unseen, row.kind, subject)))
        };
        for row in by_key.into_values().filter(|row| row.state != FindingState::Mended && !hidden(row)) {
            drafts.push(by(Event::FindingMended { finding: row.id }));
            mended += 1;
        }
        let change = expecting(Change::new(first).and_all(drafts), before.as_ref());
        self.commit(change).await.map_err(refused)?;
        let look = self.store.drift_look(name).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::Internal))?;
        let mut findings = self.store.findings_on(name).await.map_err(unavailable)?;
        findings.retain(|row| row.state != FindingState::Mended);
        Ok(Looked { look, new, mended, findings })
    }

    /// Somebody says why a finding may stay.
    ///
    /// # Errors
    /// If they may not keep the inventory, give no reason or a date that will not do, or it is not there any more.
    pub async fn accept_finding(
        &self,
        caller: &Caller,
        finding: impl Into<AsSeen<FindingId>>,
        until: Option<Timestamp>,
        reason: &str,
    ) -> Result<FindingRow, Refusal> {
        self.may_keep_inventory(caller).await?;
        let AsSeen { id, seen } = finding.into();
        let reason = said(reason)?;
        if let Some(until) = until {
            check_until(until, self.now())?;
        }
        let row = self.store.finding(id).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        seen.is(row.version)?;
        if row.state == FindingState::Mended {
            return Err(Refusal::because(Reason::AlreadyDecided, "it is not there any more"));
        }
        let draft = self.draft(caller, Event::FindingAccepted { finding: id, until }).text("reason", Some(reason));
        let committed = self.commit_seen(Change::new(draft).expect(&row), &row, &seen).await?;
        committed.rows.findings.into_values().next().ok_or_else(|| Refusal::of(Reason::NotFound))
    }

    /// Opens again what was accepted until a time that is over.
    pub(crate) async fn look_after_findings(&self, now: Timestamp) {
        let filter = store::FindingFilter { state: Some(FindingState::Accepted), ..store::FindingFilter::default() };
        let Ok(accepted) = self.store.findings(&filter, &store::Page::first(10_000)).await else { return };
        for row in accepted.into_iter().filter(|row| row.acceptance_is_over(now)) {
            let change = Change::new(self.own_draft(Event::FindingReopened { finding: row.id })).expect(&row);
            if let Err(error) = self.commit(change).await {
                tracing::debug!(%error, finding = %row.id, "a finding could not be opened again; it is tried again");
            }
        }
    }

    /// Looks at every target that was not looked at for as long as the configuration says.
    pub async fn look_for_drift_where_due(&self) {
        let Some(every) = self.drift_every() else { return };
        let (bundle, now) = (self.bundle(), self.now());
        let looks = match self.store.drift_looks().await {
            Ok(looks) => looks,
            Err(error) => return tracing::debug!(%error, "it is not known when targets were looked at; the next time it is asked again"),
        };
        let tried: BTreeMap<ResourceName, Timestamp> = looks.into_iter().map(|look| (look.id, look.tried_at)).collect();
        let can = |resource: &&Resource| resource.kind == Kind::Ssh || resource.accounts.is_some();
        let due = |resource: &&Resource| tried.get(&resource.name).is_none_or(|at| every.after(*at) <= now || *at > now);
        let due: Vec<ResourceName> = bundle.resources().filter(can).filter(due).map(|resource| resource.name.clone()).collect();
        for few in due.chunks(AT_ONCE) {
            let looks = few.iter().map(|name| async move {
                if let Err(refusal) = self.look_around(name, Actor::Gate, Door::Gate).await {
                    tracing::warn!(resource = %name, %refusal, "a target could not be looked at for what the gate did not put there");
                }
            });
            futures::future::join_all(looks).await;
        }
    }
}

/// The account that nobody is made by default: who wants the gate to look with it says so.
const ROOT: &str = "root";

/// As whom the gate looks at a target: as it is told to, else as the login of the role that may do least there, and never as root.
fn looks_as(bundle: &Bundle, resource: &Resource) -> Result<String, Refusal> {
    if resource.kind != Kind::Ssh {
        let none = || {
            let why = format!("`{}` is looked at by the account in its `accounts`, and names none", resource.name);
            Refusal::because(Reason::Invalid, why)
        };
        return resource.accounts.as_ref().map(|maker| maker.login.clone()).ok_or_else(none);
    }
    if let Some(told) = &resource.look_as {
        return Ok(told.clone());
    }
    let logins = bundle.roles().filter_map(|role| Some((reach(&role.rights), bundle.login(&role.name, &resource.name)?)));
    let (others, root): (Vec<_>, Vec<_>) = logins.partition(|(_, login)| *login != ROOT);
    others.into_iter().min().map(|(_, login)| login.to_owned()).ok_or_else(|| {
        let has = if root.is_empty() { "no role has an account there" } else { "its roles sign in there as root alone" };
        let why = format!(
            "{has}, and the gate does not look at `{0}` as root unasked; write `look_as` at `{0}` in `resources.toml`, with an account that may \
             read what is to be seen",
            resource.name
        );
        Refusal::because(Reason::Invalid, why)
    })
}

/// How much a role may do on a machine, to tell which one may do least.
fn reach(rights: &Rights) -> usize {
    let Rights::Ssh(ssh) = rights else { return usize::MAX };
    let may = [
        ssh.shell,
        ssh.exec == ExecRights::Any,
        ssh.sftp == SftpRights::Write,
        !ssh.local_forward.is_empty(),
        !ssh.remote_forward.is_empty(),
        ssh.agent_forward,
    ];
    may.into_iter().filter(|may| *may).count()
}

/// Names of MariaDB that stand for more than one account.
fn several_hosts(held: &[Held]) -> BTreeSet<&str> {
    let mut hosts: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for one in held {
        if let (Some(user), Some(host)) = (&one.user, &one.host) {
            hosts.entry(user).or_default().insert(host);
        }
    }
    hosts.into_iter().filter(|(_, hosts)| hosts.len() > 1).map(|(user, _)| user).collect()
}

/// Whether an account of a database is the gate's own, or one that it is told of.
///
/// INVARIANT: names are compared whole. An account of the gate's is one that the log says was made there and not dropped, which in MariaDB
/// is for any host. Of several accounts of MariaDB that are called as a role's login, which one it is nobody says, so each is shown; the one
/// that looked is known.
fn is_told(held: &Held, told: &Told, made: &BTreeSet<String>, several: &BTreeSet<&str>) -> bool {
    let Some(user) = &held.user else { return false };
    let ours = made.contains(user) && held.host.as_deref().is_none_or(|host| host == "%");
    ours || (told.accounts.contains(user) && (held.looked || !several.contains(user.as_str())))
}

/// What makes an account more than any role's: with one of these it gives itself the rest.
const POWERS: &[&str] =
    &["superuser", "makes roles", "replicates", "passes row security", "SUPER", "makes accounts", "gives on what it has"];
/// Roles that come with PostgreSQL and reach beyond the databases it keeps, or into all of them.
const REACHING: &[&str] = &[
    "pg_execute_server_program",
    "pg_read_server_files",
    "pg_write_server_files",
    "pg_read_all_data",
    "pg_write_all_data",
    "pg_database_owner",
    "pg_create_subscription",
];

/// The powers that an account has by itself.
fn powers(held: &Held) -> Option<String> {
    let found: Vec<&str> = held.may.split(", ").filter(|may| held.on.is_none() && POWERS.contains(may)).collect();
    (!found.is_empty()).then(|| found.join(", "))
}

/// What an account that roles sign in to may do, and none of them needs: somebody gave it that beside the gate.
fn beyond(held: &Held, mighty: &BTreeSet<&str>) -> Option<String> {
    let group = held.on.as_deref().and_then(|on| on.strip_prefix("member of "));
    let group = group.filter(|group| REACHING.contains(group) || mighty.contains(group));
    group.map(|group| format!("is a member of {group}")).or_else(|| powers(held))
}

/// Only if nobody looked meanwhile.
fn expecting(change: Change, before: Option<&LookRow>) -> Change {
    match before {
        Some(row) => change.expect(row),
        None => change,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// As whom the gate looks at a machine of the example, or why it does not.
    fn at_web_1(line: &str) -> Result<String, String> {
        let example = Bundle::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policy")).unwrap();
        let mut files = example.files().clone();
        let resources = String::from_utf8(files["resources.toml"].clone()).unwrap();
        files.insert(
            "resources.toml".into(),
            resources.replacen("name = \"web-1\"\n", &format!("name = \"web-1\"\n{line}"), 1).into_bytes(),
        );
        let bundle = Bundle::from_files(files).unwrap();
        let web = bundle.resource(&"web-1".parse().unwrap()).unwrap();
        looks_as(&bundle, web).map_err(|refusal| refusal.to_string())
    }

    // covers: BACK-4 (ssh)
    #[test]
    fn the_gate_looks_as_it_is_told_else_as_whoever_may_do_least_and_as_root_only_when_told() {
        // `admin` is root, `deploy` writes files; `logs` reads a log, as `app`.
        assert_eq!(at_web_1(""), Ok("app".to_owned()));
        assert_eq!(at_web_1("default_role = \"admin\"\n"), Ok("app".to_owned()), "what people take most is nothing to go by");
        assert_eq!(at_web_1("login = \"web\"\n"), Ok("web".to_owned()));
        assert_eq!(at_web_1("login = \"root\"\nlook_as = \"root\"\n"), Ok("root".to_owned()));
        let refused = at_web_1("login = \"root\"\n").unwrap_err();
        assert!(refused.contains("as root alone") && refused.contains("write `look_as` at `web-1`"), "{refused}");
    }
}
