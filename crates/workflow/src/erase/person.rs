//! All that is kept of somebody who has gone is erased in one act: what they gave as reasons, what was said of them, from where they came,
//! and what was recorded of them.
//!
//! What stays is what the signed log cannot lose: that there was somebody with this id and user name, and the codes, times and digests of what
//! they did. So does what they said of others' rights, which is about those others, and what a legal hold keeps.

use std::sync::PoisonError;

use access::entry::Entry;
use access::event::{Actor, Event};
use access::hold::HoldScope;
use access::identity::PersonState;
use access::ids::PrincipalId;
use access::reason::{Reason, Refusal};
use access::session::{SessionRow, SessionState};
use policy::{Act, Noun, Object};
use store::{Change, LoggedEntry, Page, SessionFilter, TokenRow};

use super::{BATCH, DESTROYED_ALREADY, need_reason};
use crate::Caller;
use crate::export::Selection;
use crate::gate::{Gate, refused, unavailable};
use crate::hold::held;

/// Texts that describe the gate, a policy or a right, and nobody.
const OF_NOBODY: [&str; 6] = ["diff", "errors", "limits", "selection", "target", "token"];
/// The text that says from where somebody did something: of who did it.
const FROM: &str = "from";
/// What one has to be allowed who erases somebody.
const ERASES: [Act; 2] = [Act::Administer(Noun::Text), Act::Administer(Noun::Recording)];
/// Entries whose texts one transaction erases at most.
const IN_ONE_CHANGE: usize = 50;

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErasedPerson {
    /// Texts that are erased.
    pub texts: u64,
    /// Recordings that are destroyed.
    pub recordings: u64,
    /// Entries and recordings that a legal hold on a resource or session keeps.
    pub held: u64,
}

/// Somebody is being erased for as long as this is there.
struct Erasing<'g> {
    gate: &'g Gate,
    person: PrincipalId,
}

impl<'g> Erasing<'g> {
    fn begin(gate: &'g Gate, person: PrincipalId) -> Result<Self, Refusal> {
        if gate.erasing.lock().unwrap_or_else(PoisonError::into_inner).insert(person) {
            return Ok(Self { gate, person });
        }
        Err(Refusal::because(Reason::AlreadyDecided, "somebody is erasing them just now; look again when that is done"))
    }
}

impl Drop for Erasing<'_> {
    fn drop(&mut self) {
        self.gate.erasing.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.person);
    }
}

impl Gate {
    /// Erases every text of and about somebody who may not sign in any more, destroys every recording of theirs, takes the labels off their
    /// passkeys and tokens, and forgets their saved searches and pins. Done again it does what is left: what a hold kept, or what a fault did not let
    /// it come to.
    ///
    /// # Errors
    /// If the caller may not, gives no reason, there is nobody by that id, they may sign in, a session of theirs lives, a hold keeps
    /// everything of theirs, or somebody is erasing them already. If a recording could not be destroyed: all else is done then. If the
    /// caller may not any more while it goes on: what was done until then stays done.
    pub async fn erase_person(&self, caller: &Caller, person: PrincipalId, reason: &str) -> Result<ErasedPerson, Refusal> {
        // 1. May they?
        for act in ERASES {
            self.authorize(caller, act, &Object::Nothing).await?;
        }
        need_reason(reason)?;
        let row = self.store.person(person).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        let _erasing = Erasing::begin(self, person)?;
        // 2. Are they gone, and does nobody have to keep it?
        if row.state == PersonState::Active {
            let why = format!("`{0}` may sign in, and what they do is kept; `tidegate user disable {0}` first", row.username);
            return Err(Refusal::because(Reason::Invalid, why));
        }
        let holds = self.store.holds_now().await.map_err(unavailable)?;
        if let Some(hold) = holds.set.iter().find(|hold| hold.scope == HoldScope::Person(person)) {
            return Err(held(hold));
        }
        let sessions = self.sessions_of(person).await?;
        if let Some(live) = sessions.iter().find(|row| row.state == SessionState::Live) {
            return Err(Refusal::because(Reason::Invalid, format!("{} is not over yet; try again in a moment", live.id)));
        }
        // 3. What was recorded of them.
        let (mut erased, mut failed) = (ErasedPerson::default(), None);
        for row in &sessions {
            self.refuse_unless_still_erasing(caller).await?;
            match self.see_destroyed(caller, row, reason).await {
                Ok(now) => erased.recordings += u64::from(now),
                Err(no) if no.reason == Reason::OnHold => erased.held += 1,
                Err(no) if no.reason == Reason::StoreUnavailable => return Err(no),
                // One that cannot be destroyed keeps nothing else; it is said at the end.
                Err(no) => failed = failed.or(Some(no)),
            }
        }
        // 4. What was written of them. Everything up to now gets its place, so that nothing is too new to be found.
        self.checkpoint().await?;
        let mut theirs = Vec::new();
        for logged in self.entries_of(&Selection::Person(person), &sessions).await?.into_values() {
            let names = self.texts_of(&logged.entry, person).await?;
            if !names.is_empty() {
                theirs.push((logged, names));
            }
        }
        for part in theirs.chunks(IN_ONE_CHANGE) {
            self.refuse_unless_still_erasing(caller).await?;
            self.erase_together(caller, part, reason, &mut erased).await?;
        }
        // 5. What they kept for themselves.
        self.refuse_unless_still_erasing(caller).await?;
        for search in self.store.saved_searches(person).await.map_err(unavailable)? {
            self.store.forget_search(person, search.id).await.map_err(unavailable)?;
        }
        self.store.forget_pins(person).await.map_err(unavailable)?;
        for passkey in self.store.passkeys_of(person).await.map_err(unavailable)? {
            if passkey.label.is_some() {
                self.label_passkey(caller, passkey, None).await?;
            }
        }
        for token in self.store.tokens_of(person).await.map_err(unavailable)? {
            if token.label.is_some() {
                self.unlabel_token(caller, token).await?;
            }
        }
        self.store.scrub().await.map_err(unavailable)?;
        failed.map_or(Ok(erased), Err)
    }

    /// It may take long: who was locked, lost the right or was signed out since it began goes no further.
    async fn refuse_unless_still_erasing(&self, caller: &Caller) -> Result<(), Refusal> {
        self.refuse_if_sign_in_ended(caller).await?;
        for act in ERASES {
            self.authorize(caller, act, &Object::Nothing).await?;
        }
        Ok(())
    }

    /// Destroys a recording, or what is left of one that went before: by age, or by somebody's hand. Says whether there was anything to do.
    async fn see_destroyed(&self, caller: &Caller, row: &SessionRow, reason: &str) -> Result<bool, Refusal> {
        if self.was_let_go(row.recording).await? {
            return self.finish_destruction(row.recording, row.id).await;
        }
        match self.destroy(caller, row, reason).await {
            Ok(_) => Ok(true),
            Err(no) if no.detail.as_deref() == Some(DESTROYED_ALREADY) => Ok(false),
            Err(no) => Err(no),
        }
    }

    /// Takes the label off a token; what it opens stays as it is.
    async fn unlabel_token(&self, caller: &Caller, row: TokenRow) -> Result<(), Refusal> {
        let row = TokenRow { label: None, ..row };
        let row_digest = self.row_digest(&store::digestible(&row))?;
        let event = Event::TokenRenamed { token: row.id, person: row.person, row_digest };
        self.commit(Change::new(self.draft(caller, event)).rename_token(&row)).await.map_err(refused)?;
        Ok(())
    }

    async fn sessions_of(&self, person: PrincipalId) -> Result<Vec<SessionRow>, Refusal> {
        let filter = SessionFilter { person: Some(person), ..SessionFilter::default() };
        let (mut all, mut page) = (Vec::new(), Page::first(BATCH));
        loop {
            let rows = self.store.sessions(&filter, &page).await.map_err(unavailable)?;
            let Some(last) = rows.last() else { return Ok(all) };
            page = page.after(last.id);
            all.extend(rows);
        }
    }

    /// Those of an entry's texts that are of somebody.
    async fn texts_of(&self, entry: &Entry, person: PrincipalId) -> Result<Vec<String>, Refusal> {
        // Why something is kept or gone is said of the keeping; a group has more members than one, and its name is theirs all.
        let of_others = matches!(
            entry.event,
            Event::TextErased { .. }
                | Event::RecordingDestroyed { .. }
                | Event::RecordingExpired { .. }
                | Event::HoldSet { .. }
                | Event::HoldLifted { .. }
                | Event::EvidenceExported { .. }
                | Event::DirectoryGroupAdded { .. }
        );
        let did_it = entry.actor == Actor::Principal(person);
        // Whom these are about nothing says but who did it.
        let own = did_it
            && matches!(
                entry.event,
                Event::PasskeyRenamed { .. }
                    | Event::DeviceAnswered { .. }
                    | Event::RecordingsSearched { .. }
                    | Event::SessionRefused { resource: None, .. }
                    | Event::ActionRefused { .. }
            );
        let is_theirs = !entry.texts.is_empty() && !of_others && (own || self.is_of(&entry.event, person).await?);
        let theirs = |name: &&String| match name.as_str() {
            FROM => did_it,
            name => is_theirs && !OF_NOBODY.contains(&name),
        };
        Ok(entry.texts.keys().filter(theirs).cloned().collect())
    }

    /// Erases the texts of several entries in one transaction, but for those that a hold keeps.
    async fn erase_together(
        &self,
        caller: &Caller,
        entries: &[(LoggedEntry, Vec<String>)],
        reason: &str,
        erased: &mut ErasedPerson,
    ) -> Result<(), Refusal> {
        let _keeping = self.keeping().await;
        let holds = self.store.holds_now().await.map_err(unavailable)?;
        let (mut drafts, mut free) = (Vec::new(), Vec::new());
        for (logged, names) in entries {
            if self.hold_on(&holds, &logged.entry).await?.is_some() {
                erased.held += 1;
                continue;
            }
            for name in names {
                let event = Event::TextErased { entry: logged.entry.id, name: name.clone() };
                drafts.push(self.draft(caller, event).text("reason", Some(reason)));
            }
            free.push((logged, names));
        }
        let texts = drafts.len() as u64;
        let mut drafts = drafts.into_iter();
        let Some(first) = drafts.next() else { return Ok(()) };
        let change = Change::new(first).and_all(drafts).held_as(&holds);
        let change = free.into_iter().fold(change, |change, (logged, names)| change.erase_texts(logged, names));
        self.commit(change).await.map_err(refused)?;
        erased.texts += texts;
        Ok(())
    }
}
