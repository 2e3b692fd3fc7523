//! People and workloads, and what signs them in: invitations, keys, certificates.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use access::event::{Actor, EntryDraft, Event};
use access::identity::{KeyKind, KeyRow, KeyState, Mfa, PersonRow, PersonState, Scope, VerifiedIdentity, Via};
use access::ids::{KeyId, PrincipalId, SessionId, UserId, WorkloadId};
use access::names::{GroupName, Username};
use access::reason::{Reason, Refusal};
use access::request::Door;
use access::secret::Secret;
use access::session::EndReason;
use access::time::Span;
use identity::account::Account;
use identity::invitation::{self, InvitationFacts};
use identity::{login_ca, ssh_key as keys};
use jiff::Timestamp;
use policy::{Act, Noun, Object};
use store::{Change, EntryFilter, EntryPage, InvitationRow};

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::live::Gone;
use crate::revoke::{Cut, confirm};
use crate::secrets::key_trouble;
use crate::seen::AsSeen;
use crate::submit::{LONGEST_TEXT, fits};
use crate::tokens::IssuedToken;

/// How long an invitation can be used.
pub const INVITATION_VALID: Span = Span::hours(24);
/// How long the first administrator's link can be used.
pub const BOOTSTRAP_VALID: Span = Span::hours(1);
/// How long a login certificate is valid if nothing shorter is asked.
pub const LOGIN_VALID: Span = Span::hours(8);
/// Characters of what somebody or something is called, at most.
pub(crate) const LONGEST_NAME: usize = 200;

/// A person and the single-use code by which they sign in for the first time.
#[derive(Debug)]
pub struct Invited {
    /// Who.
    pub person: PersonRow,
    /// The code; shown once.
    pub code: Secret<String>,
    /// Until when it can be used.
    pub expires_at: Timestamp,
}

/// An invitation that is about to be kept.
pub(crate) struct Invitation {
    pub(crate) row: InvitationRow,
    pub(crate) event: Event,
    pub(crate) code: Secret<String>,
    pub(crate) expires_at: Timestamp,
}

impl Gate {
    /// Makes a person known and invites them.
    ///
    /// # Errors
    /// If the caller may not, or the name was ever used.
    pub async fn invite(&self, caller: &Caller, username: Username, display_name: Option<String>) -> Result<Invited, Refusal> {
        self.authorize(caller, Act::Administer(Noun::Person), &Object::Nothing).await?;
        fits("a name", display_name.as_deref(), LONGEST_NAME)?;
        self.create_invited(caller.actor(), caller.door, username, display_name, Vec::new(), INVITATION_VALID).await
    }

    /// Makes a workload known, with the human who answers for it.
    ///
    /// # Errors
    /// If the caller may not, the owner is unknown or disabled, or the name was ever used.
    pub async fn add_workload(
        &self,
        caller: &Caller,
        username: Username,
        owner: UserId,
        display_name: Option<String>,
    ) -> Result<PersonRow, Refusal> {
        self.authorize(caller, Act::Administer(Noun::Person), &Object::Nothing).await?;
        fits("a name", display_name.as_deref(), LONGEST_NAME)?;
        self.situation_of(owner.into()).await?;
        let person = PrincipalId::Workload(WorkloadId::generate(self.now()));
        let event = Event::PersonCreated { person, username, owner: Some(owner), groups: Vec::new() };
        let committed = self.commit(Change::new(self.draft(caller, event).text("display_name", display_name))).await.map_err(name_taken)?;
        committed.rows.people.into_values().next().ok_or_else(|| Refusal::of(Reason::Internal))
    }

    pub(crate) async fn create_invited(
        &self,
        actor: Actor,
        door: Door,
        username: Username,
        display_name: Option<String>,
        groups: Vec<GroupName>,
        valid: Span,
    ) -> Result<Invited, Refusal> {
        let now = self.now();
        let id = PrincipalId::User(UserId::generate(now));
        let created = EntryDraft::new(now, actor, door, Event::PersonCreated { person: id, username, owner: None, groups })
            .text("display_name", display_name);
        let Invitation { row, event, code, expires_at } = self.new_invitation(id, valid)?;
        let change = Change::new(created).and(EntryDraft::new(now, actor, door, event)).put_invitation(&row);
        let committed = self.commit(change).await.map_err(name_taken)?;
        let person = committed.rows.people.into_values().next().ok_or_else(|| Refusal::of(Reason::Internal))?;
        Ok(Invited { person, code, expires_at })
    }

    /// An invitation, before it is kept.
    pub(crate) fn new_invitation(&self, person: PrincipalId, valid: Span) -> Result<Invitation, Refusal> {
        let issued = invitation::generate();
        let expires_at = valid.after(self.now());
        let verifier = issued.verifier.as_str().to_owned();
        let row = InvitationRow { id: verifier.clone(), verifier, person, expires_at, used_at: None };
        let event = Event::InvitationIssued { person, expires_at, row_digest: self.row_digest(&store::digestible(&row))? };
        Ok(Invitation { row, event, code: issued.secret, expires_at })
    }

    /// A new invitation for somebody who lost theirs, or their keys.
    ///
    /// # Errors
    /// If the caller may not, or there is nobody by that id.
    pub async fn invite_again(&self, caller: &Caller, person: PrincipalId) -> Result<Invited, Refusal> {
        self.authorize(caller, Act::Administer(Noun::Person), &Object::Nothing).await?;
        let known = self.store.person(person).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        let Invitation { row, event, code, expires_at } = self.new_invitation(person, INVITATION_VALID)?;
        self.commit(Change::new(self.draft(caller, event)).put_invitation(&row)).await.map_err(refused)?;
        Ok(Invited { person: known, code, expires_at })
    }

    /// Somebody uses an invitation: it is spent, and they get a first token. Exactly one of two at the same instant succeeds.
    ///
    /// # Errors
    /// [`Reason::CodeInvalid`] without saying what is wrong with the code.
    pub async fn accept_invitation(&self, code: &str, from: IpAddr) -> Result<(VerifiedIdentity, IssuedToken), Refusal> {
        let (caller, spent) = self.spend_invitation(code, from).await?;
        let (row, token) =
            self.new_token(caller.who.id(), Scope::OF_PEOPLE.to_vec(), None, LOGIN_VALID, Mfa::None, Some("first sign-in".to_owned()));
        let change = spent.and(self.token_issued(&caller, &row)?).put_token(&row);
        self.commit(change).await.map_err(|_| Refusal::of(Reason::CodeInvalid))?;
        Ok((caller.who, IssuedToken { row, token }))
    }

    /// Who holds an invitation, and the change that spends it; nothing is spent before that is committed.
    pub(crate) async fn spend_invitation(&self, code: &str, from: IpAddr) -> Result<(Caller, Change), Refusal> {
        let verifier = invitation::parse(code)?;
        let row = self.store.invitation_by_verifier(verifier.as_str()).await.map_err(unavailable)?;
        let row = row.ok_or_else(|| Refusal::of(Reason::CodeInvalid))?;
        let person = self.store.person(row.person).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::CodeInvalid))?;
        self.refuse_if_invited_again(&row).await?;
        let facts =
            InvitationFacts { person: row.person, verifier: &row.verifier, expires_at: row.expires_at, used: row.used_at.is_some() };
        let who = invitation::verify_invitation(&verifier, &facts, Account::human(&person), from, self.now())?;
        let who = self.entered(Ok(who), from, Door::Api).await?;
        let used = InvitationRow { used_at: Some(self.now()), ..row };
        let event = Event::InvitationUsed { person: used.person, row_digest: self.row_digest(&store::digestible(&used))? };
        let caller = Caller { who, door: Door::Api };
        let spent = Change::new(self.draft(&caller, event)).use_invitation(&used);
        Ok((caller, spent))
    }

    /// Whoever was invited anew lost something: what they were invited with before lets nobody in any more.
    async fn refuse_if_invited_again(&self, row: &InvitationRow) -> Result<(), Refusal> {
        let filter =
            EntryFilter { mentions: Some(row.person.to_string()), name: Some("invitation.issued".to_owned()), ..EntryFilter::default() };
        // Its digest was that of a row that nobody had used.
        let issued = store::digestible(&InvitationRow { used_at: None, ..row.clone() });
        let mut page = EntryPage { limit: 100, after: None, newest_first: true };
        loop {
            let entries = self.store.entries(&filter, page).await.map_err(unavailable)?;
            // Those that they issued to others mention them too.
            let theirs = entries.iter().find_map(|logged| match &logged.entry.event {
                Event::InvitationIssued { person, row_digest, .. } if *person == row.person => Some(row_digest),
                _ => None,
            });
            match (theirs, entries.last()) {
                (Some(newest), _) if self.keyring().is_row_digest(&issued, newest) => return Ok(()),
                (None, Some(last)) => page.after = Some(last.seq),
                _ => return Err(Refusal::of(Reason::CodeInvalid)),
            }
        }
    }

    /// Somebody registers a key of their own, or an administrator one for a workload.
    ///
    /// # Errors
    /// If the line is no acceptable public key, the label is too long, the key signs somebody in already, or the caller may not.
    pub async fn add_key(&self, caller: &Caller, person: PrincipalId, line: &str, label: Option<String>) -> Result<KeyRow, Refusal> {
        refuse_job(caller)?;
        if person != caller.who.id() {
            self.authorize(caller, Act::Administer(Noun::Key), &Object::Nothing).await?;
            self.store.person(person).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
            // INVARIANT: an administrator can't sign in as another human by giving them a key.
            if matches!(person, PrincipalId::User(_)) {
                return Err(Refusal::because(
                    Reason::NotAllowed,
                    "people register their own keys; invite them anew with `tidegate user invite`",
                ));
            }
        }
        fits("a label", label.as_deref(), LONGEST_NAME)?;
        let parsed = keys::register(line).map_err(|problem| Refusal::because(Reason::Invalid, problem.to_string()))?;
        let event = Event::KeyAdded {
            key: KeyId::generate(self.now()),
            person,
            kind: KeyKind::Registered,
            fingerprint: parsed.fingerprint,
            public_key: parsed.openssh,
            expires_at: None,
            with: None,
            claims: None,
        };
        let committed = self.commit(Change::new(self.draft(caller, event).text("label", label))).await.map_err(|error| match error {
            store::CommitError::Duplicate { .. } => Refusal::because(Reason::Invalid, "this key signs somebody in already"),
            other => refused(other),
        })?;
        committed.rows.keys.into_values().next().ok_or_else(|| Refusal::of(Reason::Internal))
    }

    /// A key no longer signs anybody in.
    ///
    /// # Errors
    /// If there is none, or it is not the caller's and they may not.
    pub async fn remove_key(&self, caller: &Caller, key: impl Into<AsSeen<KeyId>>) -> Result<KeyRow, Refusal> {
        let AsSeen { id: key, seen } = key.into();
        let row = self.store.key(key).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        // INVARIANT: a certificate of one job of a workload is no other job's.
        if row.person != caller.who.id() || row.claims.as_ref() != caller.who.claims() {
            self.authorize(caller, Act::Administer(Noun::Key), &Object::Nothing).await.map_err(unseen)?;
        }
        seen.is(row.version)?;
        if row.state == KeyState::Removed {
            return Err(Refusal::of(Reason::AlreadyDecided));
        }
        let change = Change::new(self.draft(caller, Event::KeyRemoved { key })).expect(&row);
        let committed = self.commit_seen(change, &row, &seen).await?;
        let with_it = |via: &Via| matches!(via, Via::SshKey(id) | Via::LoginCertificate(id) | Via::ClientCertificate(id) if *id == key);
        confirm(self.live.cut(EndReason::Revoked, |live| with_it(&live.via))).await;
        committed.rows.keys.into_values().next().ok_or_else(|| Refusal::of(Reason::Internal))
    }

    /// Signs a key for a short time: what `tidegate login` leaves on a laptop.
    ///
    /// # Errors
    /// If the line is no acceptable public key, or the time too long.
    pub async fn issue_certificate(&self, caller: &Caller, line: &str, valid: Option<Span>) -> Result<(KeyRow, String), Refusal> {
        let parsed = keys::register(line).map_err(|problem| Refusal::because(Reason::Invalid, problem.to_string()))?;
        let subject =
            ssh_key::PublicKey::from_openssh(&parsed.openssh).map_err(|problem| Refusal::because(Reason::Invalid, problem.to_string()))?;
        let now = self.now();
        let valid = self.certificate_life(caller, valid).await?;
        let key = KeyId::generate(now);
        let person = caller.who.id();
        let ca = self.keyring().login_ca().map_err(key_trouble)?;
        let ca = login_ca::LoginCa::new(ca).map_err(key_trouble)?;
        let certificate =
            login_ca::issue(&ca, person, key, &subject, valid, &[], now).map_err(|p| Refusal::because(Reason::Invalid, p.to_string()))?;
        let text = certificate.to_openssh().map_err(|p| Refusal::because(Reason::Internal, p.to_string()))?;
        let fingerprint = parsed.fingerprint.clone();
        let event = Event::KeyAdded {
            key,
            person,
            kind: KeyKind::Certificate,
            fingerprint: parsed.fingerprint,
            public_key: parsed.openssh,
            expires_at: Some(valid.after(now)),
            with: Some(caller.who.via().clone()),
            claims: caller.who.claims().cloned(),
        };
        // A certificate renewed over the same key takes the place of the one before.
        let before = self.store.active_key(&fingerprint).await.map_err(unavailable)?;
        let change = match before {
            Some(row) if row.person == person && row.kind == KeyKind::Certificate => {
                Change::new(self.draft(caller, Event::KeyRemoved { key: row.id })).and(self.draft(caller, event)).expect(&row)
            }
            Some(_) => {
                return Err(Refusal::because(Reason::Invalid, "this key signs somebody in already; make a new one for the certificate"));
            }
            None => Change::new(self.draft(caller, event)),
        };
        let committed = self.commit(change).await.map_err(refused)?;
        let row = committed.rows.keys.get(&key.to_string()).cloned().ok_or_else(|| Refusal::of(Reason::Internal))?;
        Ok((row, text))
    }

    /// The certificates of somebody that were asked for with this sign-in of theirs and still work.
    pub(crate) async fn certificates_made_with(&self, person: PrincipalId, sign_in: &Via) -> Result<Vec<KeyId>, Refusal> {
        let mentions = match sign_in {
            Via::Token(id) => Some(id.to_string()),
            Via::WebSession(id) => Some(id.to_string()),
            _ => return Ok(Vec::new()),
        };
        let filter =
            EntryFilter { mentions, actor: Some(Actor::Principal(person)), name: Some("key.added".to_owned()), ..EntryFilter::default() };
        let mut page = EntryPage { limit: 200, after: None, newest_first: true };
        let mut made = Vec::new();
        loop {
            let entries = self.store.entries(&filter, page).await.map_err(unavailable)?;
            made.extend(entries.iter().filter_map(|logged| match &logged.entry.event {
                Event::KeyAdded { key, with: Some(with), .. } if with == sign_in => Some(*key),
                _ => None,
            }));
            match entries.last() {
                Some(last) if entries.len() == page.limit as usize => page.after = Some(last.seq),
                _ => break,
            }
        }
        let keys = self.store.keys_of(person).await.map_err(unavailable)?;
        Ok(keys.into_iter().filter(|key| key.state == KeyState::Active && made.contains(&key.id)).map(|key| key.id).collect())
    }

    /// How long a certificate may be good for: no longer than what it was asked for with.
    pub(crate) async fn certificate_life(&self, caller: &Caller, valid: Option<Span>) -> Result<Span, Refusal> {
        let now = self.now();
        let mut valid = valid.unwrap_or(LOGIN_VALID);
        if let Via::Token(token) | Via::ConnectToken { token, .. } = caller.who.via() {
            // A certificate outlives no token that it was asked for with.
            let token = self.store.token(*token).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotSignedIn))?;
            valid = valid.min(Span::between(now, token.expires_at));
        }
        if let Via::WebSession(session) = caller.who.via() {
            // Nor the sign-in of the browser it was asked for in.
            let session = self.store.web_session(*session).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotSignedIn))?;
            valid = valid.min(Span::between(now, session.ends_at));
        }
        Ok(valid)
    }

    /// Somebody may no longer sign in: all that is open of theirs, and of workloads they own, is cut and withdrawn.
    ///
    /// # Errors
    /// If the caller may not, or somebody else changed it at that very moment.
    pub async fn disable(
        &self,
        caller: &Caller,
        person: impl Into<AsSeen<PrincipalId>>,
        reason: Option<String>,
    ) -> Result<(PersonRow, Cut), Refusal> {
        let as_seen = person.into();
        let person = as_seen.id;
        let row = match self.change_person(caller, as_seen, PersonState::Disabled, reason).await {
            Ok(row) => row,
            // Disabled before: then this makes sure that nothing of theirs is open, and says so.
            Err(refusal) if refusal.reason == Reason::AlreadyDecided => {
                let row = self.store.person(person).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
                // INVARIANT: nobody is told that somebody is disabled whom another lets in again.
                if row.state != PersonState::Disabled || self.shut_by_directory_alone(person).await?.is_some() {
                    return Err(Refusal::because(Reason::Stale, "somebody changed it at this very moment; disable them again"));
                }
                row
            }
            Err(refusal) => return Err(refusal),
        };
        let cut = self.cut_person(person, EndReason::Locked).await;
        self.redecide_all().await;
        Ok((row, cut))
    }

    /// Cuts everything of a person at once, from memory, and then of the workloads they answer for; waits, for a bounded time, until all of
    /// it is gone.
    pub(crate) async fn cut_person(&self, person: PrincipalId, end: EndReason) -> Cut {
        confirm(self.cut_person_at_once(person, end).await).await
    }

    /// The same without waiting for targets.
    pub(crate) async fn cut_person_at_once(&self, person: PrincipalId, end: EndReason) -> Vec<(SessionId, Gone)> {
        let mut gone = self.live.cut(end, |live| live.person == person);
        if let PrincipalId::User(owner) = person {
            match self.store.workloads_of(owner).await {
                Ok(workloads) => gone.extend(self.live.cut(end, |live| workloads.iter().any(|w| w.id == live.person))),
                Err(error) => {
                    tracing::error!(%error, "whose workloads are to be cut cannot be read; the sweep decides them anew");
                    self.redecide_due.store(true, Ordering::Relaxed);
                }
            }
        }
        self.forget_web_sessions(person).await;
        gone
    }

    /// Somebody may sign in again. What was withdrawn stays withdrawn.
    ///
    /// # Errors
    /// If the caller may not, or they are active already.
    pub async fn enable(&self, caller: &Caller, person: impl Into<AsSeen<PrincipalId>>) -> Result<PersonRow, Refusal> {
        let as_seen = person.into();
        if let Some(directory) = self.shut_by_directory(as_seen.id).await? {
            self.authorize(caller, Act::Administer(Noun::Person), &Object::Nothing).await?;
            let why = format!("the directory `{directory}` says that they may not sign in; let them in there");
            return Err(Refusal::because(Reason::NotAllowed, why));
        }
        self.change_person(caller, as_seen, PersonState::Active, None).await
    }

    async fn change_person(
        &self,
        caller: &Caller,
        AsSeen { id: person, seen }: AsSeen<PrincipalId>,
        to: PersonState,
        reason: Option<String>,
    ) -> Result<PersonRow, Refusal> {
        self.authorize(caller, Act::Administer(Noun::Person), &Object::Nothing).await?;
        fits("a reason", reason.as_deref(), LONGEST_TEXT)?;
        let row = self.store.person(person).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        seen.is(row.version)?;
        // INVARIANT: whom an administrator disabled, no directory lets in again, also if it shut them out first.
        let shut = match to {
            PersonState::Disabled => self.shut_by_directory_alone(person).await?,
            PersonState::Active => None,
        };
        let held = shut.map(|shut| (shut, self.draft(caller, Event::DirectoryUserHeld { person })));
        if row.state == to {
            let Some((shut, held)) = held else {
                return Err(Refusal::because(Reason::AlreadyDecided, format!("`{}` is {to} already", row.username)));
            };
            self.commit_seen(Change::new(held.text("reason", reason)).expect(&shut).expect(&row), &row, &seen).await?;
            return Ok(row);
        }
        let event = match to {
            PersonState::Disabled => Event::PersonDisabled { person },
            PersonState::Active => Event::PersonEnabled { person },
        };
        let mut change = Change::new(self.draft(caller, event).text("reason", reason)).expect(&row);
        if let Some((shut, held)) = held {
            change = change.and(held).expect(&shut);
        }
        let committed = self.commit_seen(change, &row, &seen).await?;
        committed.rows.people.into_values().next().ok_or_else(|| Refusal::of(Reason::Internal))
    }

    /// The keyed digest by which the log knows a row that it doesn't hold.
    pub(crate) fn row_digest(&self, bytes: &[u8]) -> Result<String, Refusal> {
        self.keyring().row_digest(bytes).map_err(key_trouble)
    }
}

/// Who may not administer what is another's is told the same as if it did not exist. The log knows better.
pub(crate) fn unseen(refusal: Refusal) -> Refusal {
    match refusal.reason {
        Reason::NotAllowed | Reason::Forbidden | Reason::ScopeMissing | Reason::Locked | Reason::PolicyError => {
            Refusal::of(Reason::NotFound)
        }
        _ => refusal,
    }
}

fn name_taken(error: store::CommitError) -> Refusal {
    match error {
        store::CommitError::Duplicate { .. } => {
            Refusal::because(Reason::Invalid, "this name is or was somebody's; names are never given twice")
        }
        other => refused(other),
    }
}

/// INVARIANT: a job leaves nothing behind by which it, or who watched it, signs in again.
pub(crate) fn refuse_job(caller: &Caller) -> Result<(), Refusal> {
    match caller.who.claims() {
        None => Ok(()),
        Some(_) => Err(Refusal::because(
            Reason::NotAllowed,
            "a job signs in with the token that its CI system gives it, and makes no key or token that lasts longer",
        )),
    }
}
