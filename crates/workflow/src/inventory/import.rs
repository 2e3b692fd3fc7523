//! A list of ways is read, and what it says compared with what it said before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use access::event::{EntryDraft, Event};
use access::ids::{PathId, PrincipalId};
use access::inventory::{Issuance, PathRow, PathState, Reach, SourceKind, SourceRow};
use access::names::{GroupName, Username};
use access::reason::{Reason, Refusal};
use inventory::{About, Found};
use policy::Kind;
use sha2::{Digest as _, Sha256};
use store::Change;

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};

/// How long a list may be read.
const READ_WITHIN: Duration = Duration::from_secs(20);

/// Says that it takes too long, also if nobody waits any more.
struct SetWhenDropped(Arc<AtomicBool>);

impl Drop for SetWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A list that somebody brings.
#[derive(Debug, Clone)]
pub struct List {
    /// What it is.
    pub kind: SourceKind,
    /// What it is called here; absent: by its kind, and by whose it is or where it was found.
    pub source: Option<GroupName>,
    /// What is known of it besides.
    pub about: About,
    /// Its bytes.
    pub content: Vec<u8>,
    /// What the file was called.
    pub file: Option<String>,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// What the list is called.
    pub source: GroupName,
    /// Whether it is to the byte what was read before; then nothing was done.
    pub same: bool,
    /// How many ways it names.
    pub paths: u64,
    /// How many of them are new.
    pub found: u64,
    /// How many are different from what they were.
    pub changed: u64,
    /// How many were closed or gone, and are there again.
    pub back: u64,
    /// How many it does not name any more.
    pub gone: u64,
    /// How many are inside now: a resource of the bundle covers them, or they pass the gate.
    pub taken_in: u64,
    /// How many of its entries name no way.
    pub skipped: u64,
    /// What whoever imports it should know.
    pub notes: Vec<String>,
}

impl Gate {
    /// Somebody imports a list of ways: all of it, or nothing.
    ///
    /// # Errors
    /// If they may not keep the inventory, or the list cannot be read; says where.
    pub async fn import_inventory(&self, caller: &Caller, mut list: List) -> Result<Imported, Refusal> {
        self.may_keep_inventory(caller).await?;
        // 1. Read it. What the gate issues is told apart.
        list.about.gate_keys = self.own_authorities();
        list.about.gate_accounts = match (list.kind, list.about.on.as_deref()) {
            (SourceKind::PostgresRoles, Some(on)) => self.accounts_made_on(Kind::Postgres, Reach::Postgres, on).await?,
            (SourceKind::MysqlUsers, Some(on)) => self.accounts_made_on(Kind::Mysql, Reach::Mysql, on).await?,
            _ => Vec::new(),
        };
        let (kind, about, content) = (list.kind, list.about.clone(), std::mem::take(&mut list.content));
        let digest = digest(kind, &about, &content);
        let reading = self.read_list(kind, content, about).await?;
        // 2. What did it say before?
        let source = source_name(&list)?;
        let before = self.store.inventory_source(&source).await.map_err(unavailable)?;
        if let Some(row) = before.as_ref().filter(|row| row.kind != kind) {
            let why = format!("`{source}` is a list of the kind `{}`; give this one another name with `--source`", row.kind);
            return Err(Refusal::because(Reason::Invalid, why));
        }
        let paths = u64::try_from(reading.found.len()).unwrap_or(u64::MAX);
        let mut done = Imported {
            source: source.clone(),
            same: false,
            paths,
            found: 0,
            changed: 0,
            back: 0,
            gone: 0,
            taken_in: 0,
            skipped: reading.skipped,
            notes: reading.notes,
        };
        if before.as_ref().is_some_and(|row| row.digest == digest) {
            return Ok(Imported { same: true, ..done });
        }
        // 3. Enter the difference, in one change.
        let drafts = self.differences(caller, &source, &reading.found, &mut done).await?;
        let event = Event::InventoryImported { source, kind, digest, paths };
        let first = self.draft(caller, event).text("file", list.file.map(|file| inventory::clean(&file)));
        let mut change = Change::new(first).and_all(drafts);
        if let Some(row) = &before {
            change = change.expect::<SourceRow>(row);
        }
        self.commit(change).await.map_err(refused)?;
        Ok(done)
    }

    /// Reads a list, one at a time and not for ever: it may be somebody else's file, made to be read for hours.
    async fn read_list(&self, kind: SourceKind, content: Vec<u8>, about: About) -> Result<inventory::Reading, Refusal> {
        // Kept by who reads, so that whoever hangs up makes no room for another one meanwhile.
        let alone = Arc::clone(&self.importing).lock_owned().await;
        let too_long = SetWhenDropped(Arc::default());
        let asked = Arc::clone(&too_long.0);
        let mut reading = tokio::task::spawn_blocking(move || {
            let _alone = alone;
            inventory::read_unless(kind, &content, &about, &asked)
        });
        let read = match tokio::time::timeout(READ_WITHIN, &mut reading).await {
            Ok(read) => read,
            Err(_) => {
                drop(too_long);
                reading.await
            }
        };
        read.map_err(|_| Refusal::of(Reason::Internal))?.map_err(|error| Refusal::because(Reason::Invalid, error.to_string()))
    }

    async fn differences(
        &self,
        caller: &Caller,
        source: &GroupName,
        found: &[Found],
        done: &mut Imported,
    ) -> Result<Vec<EntryDraft>, Refusal> {
        let there = self.store.inventory_paths_from(source).await.map_err(unavailable)?;
        let there: BTreeMap<&str, &PathRow> = there.iter().map(|row| (row.key.as_str(), row)).collect();
        let (bundle, now) = (self.bundle(), self.now());
        let (mut drafts, mut named, mut people) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
        for way in found {
            let key = way.key();
            let person = self.person_of(way, &mut people).await?;
            let (path, mut state, resource) = match there.get(key.as_str()) {
                None => {
                    let path = PathId::generate(now);
                    drafts.push(self.found_draft_of(caller, path, source, way, person));
                    done.found += 1;
                    (path, PathState::Open, None)
                }
                Some(row) => {
                    if differs(row, way, person) {
                        let event = Event::PathChanged { path: row.id, person, issuance: way.issuance, attribution: way.attribution };
                        drafts.push(with_texts(self.draft(caller, event), way));
                        done.changed += 1;
                    }
                    (row.id, row.state, row.resource.as_ref())
                }
            };
            // Somebody said that it is closed, and a later list says that it is not.
            if matches!(state, PathState::Gone | PathState::Closed) {
                drafts.push(self.draft(caller, Event::PathReopened { path }));
                done.back += 1;
                state = PathState::Open;
            }
            let placed = self.placed(&bundle, path, state, resource, &way.reach, &way.target, way.fingerprint.as_deref(), way.issuance);
            if let Some(placed) = placed {
                if matches!(placed.event, Event::PathTakenIn { .. }) {
                    done.taken_in += 1;
                }
                drafts.push(placed);
            }
            named.insert(key);
        }
        for row in there.values().filter(|row| row.state != PathState::Gone && !named.contains(&row.key)) {
            drafts.push(self.draft(caller, Event::PathGone { path: row.id }));
            done.gone += 1;
        }
        Ok(drafts)
    }

    pub(crate) async fn found_draft(&self, caller: &Caller, path: PathId, source: &GroupName, way: &Found) -> Result<EntryDraft, Refusal> {
        let person = self.person_of(way, &mut BTreeMap::new()).await?;
        Ok(self.found_draft_of(caller, path, source, way, person))
    }

    fn found_draft_of(&self, caller: &Caller, path: PathId, source: &GroupName, way: &Found, person: Option<PrincipalId>) -> EntryDraft {
        let (issuance, attribution) = (way.issuance, way.attribution);
        let event = Event::PathFound { path, source: source.clone(), key: way.key(), reach: way.reach, person, issuance, attribution };
        with_texts(self.draft(caller, event), way)
    }

    /// Who a way belongs to: whose key it is, else who is called just as the list says.
    async fn person_of(&self, way: &Found, known: &mut BTreeMap<String, Option<PrincipalId>>) -> Result<Option<PrincipalId>, Refusal> {
        if let Some(fingerprint) = &way.fingerprint
            && let Some(key) = self.store.active_key(fingerprint).await.map_err(unavailable)?
        {
            return Ok(Some(key.person));
        }
        let Some(holder) = &way.holder else { return Ok(None) };
        if let Some(person) = known.get(holder) {
            return Ok(*person);
        }
        let person = match holder.parse::<Username>() {
            Ok(username) => self.store.person_named(&username).await.map_err(unavailable)?.map(|person| person.id),
            Err(_) => None,
        };
        known.insert(holder.clone(), person);
        Ok(person)
    }

    async fn accounts_made_on(&self, kind: Kind, reach: Reach, on: &str) -> Result<Vec<String>, Refusal> {
        let made = self.accounts_made_at(&self.bundle(), kind, &inventory::target(reach, on)).await?;
        Ok(made.into_iter().collect())
    }

    /// Fingerprints of the authorities by which the gate opens SSH targets.
    pub(crate) fn own_authorities(&self) -> Vec<String> {
        let keys = self.keyring().target_cas(self.now());
        keys.into_iter().filter_map(|key| inventory::fingerprint(key.public.as_deref()?)).collect()
    }
}

fn with_texts(draft: EntryDraft, way: &Found) -> EntryDraft {
    let detail = details(way);
    draft
        .text("target", Some(way.target.clone()))
        .text("account", way.account.clone())
        .text("holder", way.holder.clone())
        .text("detail", (!detail.is_empty()).then_some(detail))
}

/// What else is known of a way: one thing per line, the fingerprint first.
fn details(way: &Found) -> String {
    way.fingerprint.iter().chain(&way.detail).map(String::as_str).collect::<Vec<_>>().join("\n")
}

/// Whether a list says something else of a way than before.
fn differs(row: &PathRow, way: &Found, person: Option<PrincipalId>) -> bool {
    let said: (Option<&str>, Issuance) = (row.detail.as_deref(), row.issuance);
    let detail = details(way);
    said != ((!detail.is_empty()).then_some(detail.as_str()), way.issuance)
        || row.attribution != way.attribution
        || row.person != person
        || row.target.as_deref() != Some(&way.target)
        || row.account != way.account
        || row.holder != way.holder
}

fn digest(kind: SourceKind, about: &About, content: &[u8]) -> String {
    let mut digest = Sha256::new();
    for part in [Some(kind.code()), about.on.as_deref(), about.account.as_deref(), about.of.as_deref()] {
        digest.update(part.unwrap_or_default().as_bytes());
        digest.update([0]);
    }
    digest.update(content);
    hex::encode(digest.finalize())
}

/// The list of what was entered by hand.
pub(super) fn entered() -> Option<GroupName> {
    SourceKind::Entered.code().parse().ok()
}

/// What a list is called: as was said, else its kind and whose it is, or where it was found.
fn source_name(list: &List) -> Result<GroupName, Refusal> {
    if let Some(name) = &list.source {
        if Some(name) == entered().as_ref() {
            return Err(Refusal::because(Reason::Invalid, "`entered` is the list of what is entered by hand; give this one another name"));
        }
        return Ok(name.clone());
    }
    let about = [&list.about.of, &list.about.on, &list.about.account].into_iter().flatten();
    let name = std::iter::once(list.kind.code()).chain(about.map(String::as_str)).collect::<Vec<_>>().join(".").to_ascii_lowercase();
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).take(63).collect();
    name.parse().map_err(|_| Refusal::because(Reason::Invalid, "give the list a name with `--source`"))
}
