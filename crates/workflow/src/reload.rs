//! A policy bundle comes into force, whole or not at all, and everything that stood on the old one is decided anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use access::event::{Actor, EntryDraft, Event};
use access::identity::PersonState;
use access::ids::{BundleId, GrantId};
use access::reason::{Reason, Refusal};
use access::request::Door;
use identity::local::LocalPeer;
use jiff::Timestamp;
use policy::diff::Whom;
use policy::{Act, Bundle, Noun, Object, Problems};
use store::{Change, Page};

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::redecide::LOOKED_UP;
use crate::seen::{AsSeen, Seen};

/// How long two policies are compared before the new one comes into force.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// What an activation did.
#[derive(Debug, Clone)]
pub struct Activated {
    /// The bundle in force now.
    pub digest: String,
    /// Whether anything changed.
    pub changed: bool,
    /// Who gains and who loses which access, in words; the last line says so where there was no time to compare everything.
    pub diff: String,
    /// Grants that no path covers any more; their sessions are cut.
    pub withdrawn: Vec<GrantId>,
}

/// By whom, and through which door.
struct Activator {
    actor: Actor,
    door: Door,
    /// At the machine itself: which of its users.
    by: Option<String>,
}

impl Gate {
    /// Somebody pushes a policy directory.
    ///
    /// # Errors
    /// If they may not, another bundle is in force than the one they have seen, or it has mistakes (then all are named, and the
    /// old one stays in force).
    pub async fn push_bundle(&self, caller: &Caller, files: impl Into<AsSeen<BTreeMap<String, Vec<u8>>>>) -> Result<Activated, Refusal> {
        let AsSeen { id: files, seen } = files.into();
        self.authorize(caller, Act::Administer(Noun::Bundle), &Object::Nothing).await?;
        let by = Activator { actor: caller.actor(), door: caller.door, by: None };
        Box::pin(self.activate_bundle(by, &seen, read(files).await?)).await
    }

    /// The gate takes the policy directory it was configured with, as it was read, at SIGHUP or because it changed.
    ///
    /// # Errors
    /// [`Reason::Invalid`] if it has mistakes: the old one stays in force. Anything else: it was not tried, and has to be again.
    pub async fn take_directory(&self, loaded: Result<Bundle, Problems>) -> Result<Activated, Refusal> {
        let by = Activator { actor: Actor::Gate, door: Door::Gate, by: None };
        self.activate_bundle(by, &Seen::default(), loaded).await
    }

    /// Somebody at the machine itself puts a policy back that was in force once: the one before, or that of a named activation.
    ///
    /// # Errors
    /// If there is none, or what was kept of it is not what its digest says or does not load any more; the one in force stays.
    pub async fn roll_back_bundle(&self, peer: &LocalPeer, to: Option<BundleId>) -> Result<Activated, Refusal> {
        let digest = match to {
            Some(id) => self.store.bundle(id).await.map_err(unavailable)?.map(|row| row.digest),
            None => self.store.newest_bundle().await.map_err(unavailable)?.and_then(|row| row.previous),
        };
        let digest = digest.ok_or_else(|| Refusal::because(Reason::NotFound, "no such policy was in force before"))?;
        let kept = self.kept_bundle(&digest).await?;
        let by = Activator { actor: Actor::Gate, door: Door::Socket, by: Some(peer.to_string()) };
        let activated = self.activate_bundle(by, &Seen::default(), kept).await?;
        tracing::error!(digest = activated.digest, by = %peer, "the policy was put back at the machine itself");
        Ok(activated)
    }

    async fn activate_bundle(
        &self,
        Activator { actor, door, by }: Activator,
        seen: &Seen,
        loaded: Result<Bundle, Problems>,
    ) -> Result<Activated, Refusal> {
        let next = match loaded {
            Ok(next) => next,
            Err(problems) => {
                let text = problems.to_string();
                let draft =
                    EntryDraft::new(self.now(), actor, door, Event::BundleRejected { digest: None }).text("errors", Some(text.clone()));
                self.commit(Change::new(draft)).await.map_err(refused)?;
                return Err(Refusal::because(Reason::Invalid, text));
            }
        };
        let (digest, next) = (next.digest().to_owned(), Arc::new(next));
        let everybody = self.everybody().await?;
        let mut in_force = self.bundle();
        let diff = loop {
            seen.is(in_force.digest())?;
            if digest == in_force.digest() {
                return Ok(Activated { digest, changed: false, diff: String::new(), withdrawn: Vec::new() });
            }
            // Nobody else's change waits for this.
            let diff = told(&in_force, &next, &everybody, self.now()).await?;
            let _one_at_a_time = self.redeciding.lock().await;
            // What was compared with, and is entered as the one before, is what is in force until this one is.
            let now_in_force = self.bundle();
            if now_in_force.digest() != in_force.digest() {
                in_force = now_in_force;
                continue;
            }
            let event = Event::BundleActivated {
                bundle: BundleId::generate(self.now()),
                digest: digest.clone(),
                previous: Some(in_force.digest().to_owned()),
            };
            let draft = EntryDraft::new(self.now(), actor, door, event).text("diff", Some(diff.clone())).text("by", by);
            self.commit(Change::new(draft).put_bundle_files(&files_of(&next))).await.map_err(refused)?;
            self.bundle.store(next);
            break diff;
        };
        let withdrawn = self.redecide_all().await;
        self.look_after_inventory().await;
        Ok(Activated { digest, changed: true, diff, withdrawn })
    }
}

impl Gate {
    /// A policy that was in force once, as it is kept; what is wrong with it, if it does not load any more.
    pub(crate) async fn kept_bundle(&self, digest: &str) -> Result<Result<Bundle, Problems>, Refusal> {
        let files = self.store.bundle_files(digest).await.map_err(unavailable)?;
        read(files.into_iter().map(|file| (file.path, file.content.into_bytes())).collect()).await
    }

    /// Everybody who may sign in, with the groups that policy does not know of by itself: whom two policies are compared for.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn everybody(&self) -> Result<Vec<Whom>, Refusal> {
        let mut all = Vec::new();
        let mut page = Page::first(1_000);
        loop {
            let people = self.store.people(Some(PersonState::Active), &page).await.map_err(unavailable)?;
            let Some(last) = people.last() else { return Ok(all) };
            page = page.after(last.id);
            for few in people.chunks(LOOKED_UP) {
                let groups = futures::future::join_all(few.iter().map(|person| self.stored_groups(person))).await;
                for (person, groups) in few.iter().zip(groups) {
                    all.push(Whom { groups: groups?, ..Whom::from(person.username.clone()) });
                }
            }
        }
    }
}

/// Who gains and who loses by a policy, in words. A policy that withdraws something does not wait longer for them than [`TOLD_WITHIN`].
async fn told(old: &Arc<Bundle>, new: &Arc<Bundle>, everybody: &[Whom], now: Timestamp) -> Result<String, Refusal> {
    let (old, new) = (Arc::clone(old), Arc::clone(new));
    let everybody: Vec<Whom> = everybody.iter().cloned().chain(Whom::on_call([&*old, &*new])).collect();
    let compared = tokio::task::spawn_blocking(move || {
        let since = Instant::now();
        policy::diff::diff_while(&old, &new, &everybody, now, || since.elapsed() < TOLD_WITHIN).to_string()
    });
    compared.await.map_err(|_| Refusal::of(Reason::Internal))
}

/// Reads the files of a policy, not on a thread that others wait for.
async fn read(files: BTreeMap<String, Vec<u8>>) -> Result<Result<Bundle, Problems>, Refusal> {
    tokio::task::spawn_blocking(move || Bundle::from_files(files)).await.map_err(|_| Refusal::of(Reason::Internal))
}

/// A bundle's files as the store keeps them.
pub(crate) fn files_of(bundle: &Bundle) -> Vec<store::BundleFile> {
    let file = |(path, content): (&String, &Vec<u8>)| store::BundleFile {
        digest: bundle.digest().to_owned(),
        path: path.clone(),
        content: String::from_utf8_lossy(content).into_owned(),
    };
    bundle.files().iter().map(file).collect()
}
