//! Whom and what an entry is about, so that a legal hold knows what it keeps.
//!
//! *Takes* an event and the rows that it names. *Hands to* the hold people, resources and sessions, or that this cannot be told: then every
//! hold keeps the entry. Which event names what is said for each of them; a new one does not compile without an answer.

use access::event::Event;
use access::hold::HoldScope;
use access::ids::{FindingId, GrantId, HoldId, LockId, PathId, PrincipalId, RequestId, ReviewId, SessionId};
use access::lock::LockScope;
use access::names::ResourceName;
use access::reason::Refusal;
use access::session::SessionRow;

use crate::gate::{Gate, unavailable};

/// Whom and what an entry is about.
#[derive(Debug, Default)]
pub(super) struct About {
    people: Vec<PrincipalId>,
    resources: Vec<ResourceName>,
    sessions: Vec<SessionId>,
    /// Whose, and where to, each grant and request is.
    rights: Vec<(PrincipalId, ResourceName)>,
    /// It may be about anybody.
    anybody: bool,
    /// It may be about any resource.
    anywhere: bool,
    /// It may be about any session.
    any_session: bool,
}

/// What an event names.
enum Named {
    Person(PrincipalId),
    Resource(ResourceName),
    Session(SessionId),
    Grant(GrantId),
    Request(RequestId),
    Review(ReviewId),
    Lock(LockId),
    LockScope(LockScope),
    Hold(HoldId),
    HoldScope(HoldScope),
    Path(PathId),
    Finding(FindingId),
    /// Nothing by which it can be told whom it is about.
    Unknown,
}

fn people(ids: &[PrincipalId]) -> Vec<Named> {
    ids.iter().copied().map(Named::Person).collect()
}

fn sessions(ids: &[SessionId]) -> Vec<Named> {
    ids.iter().copied().map(Named::Session).collect()
}

#[expect(clippy::too_many_lines, reason = "one match over every event there is")]
fn named(event: &Event) -> Vec<Named> {
    use Named::{Finding, Grant, Hold, Lock, Path, Person, Request, Resource, Review, Session, Unknown};
    match event {
        Event::PersonCreated { person, .. }
        | Event::PersonRenamed { person }
        | Event::PersonDisabled { person }
        | Event::PersonEnabled { person }
        | Event::InvitationIssued { person, .. }
        | Event::InvitationUsed { person, .. }
        | Event::InvitationVoided { person, .. }
        | Event::AdministratorRecovered { person }
        | Event::WorkloadSignedIn { person, .. }
        | Event::IdentityLinked { person, .. }
        | Event::IdentityProved { person, .. }
        | Event::IdentityUnlinked { person, .. }
        | Event::IdentitySignedOut { person, .. }
        | Event::MailboxNamed { person }
        | Event::ChatAccountLinked { person, .. }
        | Event::ChatAccountTold { person, .. }
        | Event::ChatAccountRemoved { person, .. }
        | Event::DirectoryUserAdded { person, .. }
        | Event::DirectoryUserChanged { person, .. }
        | Event::DirectoryUserRemoved { person, .. }
        | Event::DirectoryUserHeld { person }
        | Event::SignalHeard { person: Some(person), .. }
        | Event::KeyAdded { person, .. }
        | Event::PasskeyAdded { person, .. }
        | Event::PasskeyUsed { person, .. }
        | Event::PasskeyRemoved { person, .. }
        | Event::TokenIssued { person, .. }
        | Event::TokenRenamed { person, .. } => vec![Person(*person)],
        Event::WorkloadHandedOver { person, owner } => vec![Person(*person), Person(PrincipalId::User(*owner))],
        Event::DirectoryGroupAdded { members, .. } => people(members),
        Event::RequestSubmitted { request, person, resource, .. } => {
            vec![Request(*request), Person(*person), Resource(resource.clone())]
        }
        Event::RequestEdited { request, .. }
        | Event::RequestDenied { request, .. }
        | Event::RequestCancelled { request }
        | Event::RequestExpired { request } => vec![Request(*request)],
        Event::RequestVoted { request, voter, .. } | Event::VoteRefused { request, voter, .. } => vec![Request(*request), Person(*voter)],
        Event::RequestApproved { request, approvers } => people(approvers).into_iter().chain([Request(*request)]).collect(),
        Event::RequestRefused { person, resource, .. } => vec![Person(*person), Resource(resource.clone())],
        Event::GrantCreated { grant, approvers, .. } => people(approvers).into_iter().chain([Grant(*grant)]).collect(),
        Event::GrantExtended { grant, request, .. } => vec![Grant(*grant), Request(*request)],
        Event::GrantActivated { grant, .. }
        | Event::GrantExpired { grant }
        | Event::GrantRevoked { grant, .. }
        | Event::GrantReturned { grant }
        | Event::GrantWithdrawn { grant, .. }
        | Event::GrantLapsed { grant }
        | Event::GrantIdled { grant }
        | Event::AccountCreated { grant, .. } => vec![Grant(*grant)],
        Event::SessionStepped { session, from_session: other } | Event::SessionJoined { session, by: other } => {
            vec![Session(*session), Session(*other)]
        }
        Event::SessionOpened { session, .. }
        | Event::SessionEnded { session, .. }
        | Event::SessionConfirmed { session }
        | Event::SessionRehomed { session, .. }
        | Event::SessionObserved { session, .. }
        | Event::SessionOnward { session, .. }
        | Event::SessionAlerted { session, .. }
        | Event::SessionDenied { session, .. }
        | Event::SessionWatched { session }
        | Event::SessionKilled { session }
        | Event::RecordingRead { session, .. }
        | Event::RecordingDestroyed { session, .. }
        | Event::RecordingExpired { session, .. } => vec![Session(*session)],
        Event::SessionRefused { person, resource: Some(resource), .. } => vec![Person(*person), Resource(resource.clone())],
        Event::EvidenceExported { sessions: taken, .. } => sessions(taken),
        Event::HoldSet { scope, .. } => vec![Named::HoldScope(scope.clone())],
        Event::HoldLifted { hold } => vec![Hold(*hold)],
        Event::LockSet { scope, .. } => vec![Named::LockScope(scope.clone())],
        Event::ContainmentReached { lock, .. } | Event::LockLifted { lock } => vec![Lock(*lock)],
        Event::ReviewOpened { review, .. }
        | Event::ReviewReminded { review }
        | Event::ReviewEscalated { review, .. }
        | Event::ReviewCompleted { review, .. } => vec![Review(*review)],
        Event::HostKeyLearned { resource, .. } => vec![Resource(resource.clone())],
        Event::PathFound { path, .. }
        | Event::PathChanged { path, .. }
        | Event::PathTakenIn { path, .. }
        | Event::PathReopened { path }
        | Event::PathAccepted { path, .. }
        | Event::PathClosed { path }
        | Event::PathGone { path } => vec![Path(*path)],
        Event::FindingOpened { finding, .. }
        | Event::FindingReopened { finding }
        | Event::FindingAccepted { finding, .. }
        | Event::FindingMended { finding } => vec![Finding(*finding)],
        // Their texts name whom they like, or their rows may be gone.
        Event::LogStarted { .. }
        | Event::NodeStarted { .. }
        | Event::NodeStopped { .. }
        | Event::ClockBehind { .. }
        | Event::ClockAccepted { .. }
        | Event::ActionRefused { .. }
        | Event::DeviceAnswered { .. }
        | Event::SignalHeard { person: None, .. }
        | Event::SignalRefused { .. }
        | Event::SigninRefused { .. }
        | Event::DirectoryGroupChanged { .. }
        | Event::DirectoryGroupRemoved { .. }
        | Event::KeyRemoved { .. }
        | Event::PasskeyRenamed { .. }
        | Event::TokenRevoked { .. }
        | Event::SessionRefused { resource: None, .. }
        | Event::RecordingProgress { .. }
        | Event::RecordingsSearched { .. }
        | Event::RetentionStopped { .. }
        | Event::TextErased { .. }
        | Event::BundleActivated { .. }
        | Event::BundleRejected { .. }
        | Event::AccountDropped { .. }
        | Event::SecretSet { .. }
        | Event::SecretRemoved { .. }
        | Event::KeysAnnounced { .. }
        | Event::KeysRotated { .. }
        | Event::DeliveryAbandoned { .. }
        | Event::DeliveryReplayed { .. }
        | Event::OnCallChanged { .. }
        | Event::InventoryImported { .. }
        | Event::DriftBegun { .. }
        | Event::DriftLooked { .. }
        | Event::DriftFailed { .. } => vec![Unknown],
    }
}

impl About {
    fn unknown(&mut self) {
        (self.anybody, self.anywhere, self.any_session) = (true, true, true);
    }

    fn person(&mut self, id: PrincipalId) {
        self.people.push(id);
    }

    fn right(&mut self, person: PrincipalId, resource: ResourceName) {
        self.people.push(person);
        self.resources.push(resource.clone());
        self.rights.push((person, resource));
    }

    fn session(&mut self, row: Option<SessionRow>) {
        let Some(row) = row else { return self.unknown() };
        self.sessions.push(row.id);
        self.people.push(row.person);
        self.resources.push(row.resource);
    }

    fn lock(&mut self, scope: LockScope) {
        match scope {
            LockScope::Person(id) => self.person(id),
            LockScope::Resource(name) => self.resources.push(name),
            LockScope::Role(_) | LockScope::Network(_) => self.unknown(),
        }
    }

    /// Whether it is of this person: where it is about rights, about one of theirs.
    pub(super) fn is_of(&self, person: PrincipalId) -> bool {
        if self.rights.is_empty() { self.people.contains(&person) } else { self.rights.iter().any(|(whose, _)| *whose == person) }
    }

    /// Whether a hold keeps it; `session` is the row of the session that is held, if it is one.
    pub(super) fn is_kept_by(&self, scope: &HoldScope, session: Option<&SessionRow>) -> bool {
        match scope {
            HoldScope::Person(id) => self.anybody || self.people.contains(id),
            HoldScope::Resource(name) => self.anywhere || self.resources.contains(name),
            HoldScope::Session(id) => {
                let right = |row: &SessionRow| self.rights.iter().any(|(person, at)| *person == row.person && *at == row.resource);
                self.any_session || self.sessions.contains(id) || session.is_none_or(right)
            }
        }
    }
}

impl Gate {
    /// Whom and what an event is about, and whoever did it.
    pub(super) async fn is_about(&self, event: &Event, actor: Option<PrincipalId>) -> Result<About, Refusal> {
        let mut about = About { people: actor.into_iter().collect(), ..About::default() };
        for named in named(event) {
            match named {
                Named::Person(id) => about.person(id),
                Named::Resource(name) => about.resources.push(name),
                Named::Session(id) => about.session(self.store.session(id).await.map_err(unavailable)?),
                Named::Grant(id) => self.name_grant(&mut about, id).await?,
                Named::Request(id) => match self.store.request(id).await.map_err(unavailable)? {
                    Some(row) => about.right(row.person, row.resource),
                    None => about.unknown(),
                },
                Named::Review(id) => match self.store.review(id).await.map_err(unavailable)? {
                    Some(row) => {
                        about.person(row.person);
                        about.sessions.extend(row.session);
                        self.name_grant(&mut about, row.grant).await?;
                    }
                    None => about.unknown(),
                },
                Named::LockScope(scope) => about.lock(scope),
                Named::Lock(id) => match self.store.lock(id).await.map_err(unavailable)? {
                    Some(row) => about.lock(row.scope),
                    None => about.unknown(),
                },
                Named::HoldScope(scope) => self.name_hold(&mut about, scope).await?,
                Named::Hold(id) => match self.store.hold(id).await.map_err(unavailable)? {
                    Some(row) => self.name_hold(&mut about, row.scope).await?,
                    None => about.unknown(),
                },
                Named::Path(id) => match self.store.inventory_path(id).await.map_err(unavailable)? {
                    Some(row) => {
                        about.anybody |= row.person.is_none();
                        about.anywhere |= row.resource.is_none();
                        about.people.extend(row.person);
                        about.resources.extend(row.resource);
                    }
                    None => about.unknown(),
                },
                Named::Finding(id) => match self.store.finding(id).await.map_err(unavailable)? {
                    Some(row) => {
                        // Whose it is, its texts alone say.
                        about.anybody = true;
                        about.resources.push(row.resource);
                    }
                    None => about.unknown(),
                },
                Named::Unknown => about.unknown(),
            }
        }
        Ok(about)
    }

    async fn name_grant(&self, about: &mut About, id: GrantId) -> Result<(), Refusal> {
        match self.store.grant(id).await.map_err(unavailable)? {
            Some(row) => about.right(row.person, row.resource),
            None => about.unknown(),
        }
        Ok(())
    }

    async fn name_hold(&self, about: &mut About, scope: HoldScope) -> Result<(), Refusal> {
        match scope {
            HoldScope::Person(id) => about.person(id),
            HoldScope::Resource(name) => about.resources.push(name),
            HoldScope::Session(id) => about.session(self.store.session(id).await.map_err(unavailable)?),
        }
        Ok(())
    }
}
