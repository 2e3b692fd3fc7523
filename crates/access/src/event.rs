//! Everything that can happen.
//!
//! One enum, `noun.past`: its fields are ids, codes, times and digests. The entry that says it happened is
//! [`crate::entry::Entry`].

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::approval::{Decision, VoteSignature};
use crate::chat::ChatService;
use crate::claims::JobClaims;
pub use crate::entry::{Actor, Entry, EntryDraft, LeafError, SaltedText, Texts};
use crate::grant::Frozen;
use crate::identity::{KeyKind, Mfa, PasskeyUse, Scope, Via};
use crate::ids::{
    AccountId, BundleId, DeliveryId, DirectoryGroupId, EntryId, GrantId, KeyId, LockId, PasskeyId, PrincipalId, RecordingId, RequestId,
    ReviewId, SessionId, TokenId, UserId, VoteId, WebSessionId,
};
use crate::limits::Limits;
use crate::lock::LockScope;
use crate::names::{GroupName, ResourceName, RoleName, SecretName, Username};
use crate::on_call::OnDuty;
use crate::reason::Reason;
use crate::request::{Asked, Door};
use crate::review::{ReviewKind, ReviewOutcome};
use crate::session::{EndReason, Protocol};
use crate::time::Span;
use crate::verdict::{RecordLevel, Terms};

/// Progress of one recording: how many whole chunks, and the digest that stands at the chain's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Which.
    pub recording: RecordingId,
    /// Whole chunks.
    pub chunks: u64,
    /// SHA-256, hex.
    pub digest: String,
}

/// What happened. The name is `noun.past`; the fields are ids, codes, times and digests, never free text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event")]
pub enum Event {
    /// The log's first entry.
    #[serde(rename = "log.started")]
    LogStarted {
        /// The node.
        node: String,
    },
    /// A node of the gate began to serve.
    #[serde(rename = "node.started")]
    NodeStarted {
        /// The node.
        node: String,
        /// The release.
        version: String,
    },
    /// A node of the gate stopped in order.
    #[serde(rename = "node.stopped")]
    NodeStopped {
        /// The node.
        node: String,
    },
    /// The wall clock was found behind the log's newest time; nothing opens until it is right.
    #[serde(rename = "clock.behind")]
    ClockBehind {
        /// The wall clock.
        wall: Timestamp,
        /// The newest time in the log.
        mark: Timestamp,
    },
    /// Somebody became known. Text: `display_name`.
    #[serde(rename = "person.created")]
    PersonCreated {
        /// Who.
        person: PrincipalId,
        /// Under which name.
        username: Username,
        /// The human who answers for a workload.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<UserId>,
        /// Groups the store itself gives.
        groups: Vec<GroupName>,
    },
    /// Somebody is called differently; the name they sign in with stays. Text: `display_name`.
    #[serde(rename = "person.renamed")]
    PersonRenamed {
        /// Who.
        person: PrincipalId,
    },
    /// Somebody may no longer sign in. Text: `reason`.
    #[serde(rename = "person.disabled")]
    PersonDisabled {
        /// Who.
        person: PrincipalId,
    },
    /// Somebody may sign in again.
    #[serde(rename = "person.enabled")]
    PersonEnabled {
        /// Who.
        person: PrincipalId,
    },
    /// A single-use way to sign in for the first time was made.
    #[serde(rename = "invitation.issued")]
    InvitationIssued {
        /// Who.
        person: PrincipalId,
        /// Until when.
        expires_at: Timestamp,
        /// Keyed digest of the row as it stands now.
        row_digest: String,
    },
    /// It was used.
    #[serde(rename = "invitation.used")]
    InvitationUsed {
        /// Who.
        person: PrincipalId,
        /// Keyed digest of the row as it stands now.
        row_digest: String,
    },
    /// Whoever is this at an identity provider is this person here from now on. Text: `subject`.
    #[serde(rename = "identity.linked")]
    IdentityLinked {
        /// SHA-256 over issuer and subject, hex.
        identity: String,
        /// Who.
        person: PrincipalId,
        /// The provider's issuer.
        issuer: String,
    },
    /// They signed in at the provider. Text: `from`.
    #[serde(rename = "identity.proved")]
    IdentityProved {
        /// SHA-256 over issuer and subject, hex.
        identity: String,
        /// Who.
        person: PrincipalId,
        /// The local groups that what it said of them means.
        groups: Vec<GroupName>,
    },
    /// An identity provider signed them out: what was opened by that sign-in is over.
    #[serde(rename = "identity.signed_out")]
    IdentitySignedOut {
        /// SHA-256 over issuer and subject, hex.
        identity: String,
        /// Who.
        person: PrincipalId,
    },
    /// Somebody said in the portal that an account at a chat service is theirs: what is done with it there counts as theirs. Text: `from`.
    #[serde(rename = "chat_account.linked")]
    ChatAccountLinked {
        /// Which account: [`crate::chat::key`].
        chat_account: String,
        /// Who.
        person: PrincipalId,
        /// Where.
        service: ChatService,
        /// Of which workspace, by the service's own id.
        team: String,
        /// Who there, by the service's own id.
        account: String,
    },
    /// It is nobody's any more.
    #[serde(rename = "chat_account.removed")]
    ChatAccountRemoved {
        /// Which account.
        chat_account: String,
        /// Whose it was.
        person: PrincipalId,
    },
    /// A message to the outside was given up. Text: `detail`.
    #[serde(rename = "delivery.abandoned")]
    DeliveryAbandoned {
        /// Which message.
        delivery: DeliveryId,
        /// Where it was to go.
        destination: String,
    },
    /// Somebody had a message sent again.
    #[serde(rename = "delivery.replayed")]
    DeliveryReplayed {
        /// Which message.
        delivery: DeliveryId,
        /// Where it goes.
        destination: String,
    },
    /// A person in a browser said whether a device, or a connection of `ssh`, is theirs and is let in. Texts: `from`, `detail` (what asked, from
    /// where, for what).
    #[serde(rename = "device.answered")]
    DeviceAnswered {
        /// The browser.
        browser: WebSessionId,
        /// Whether they agreed.
        agreed: bool,
    },
    /// A directory brought somebody, for the first time or again. Texts: `user_name`, `external_id`, `profile`.
    #[serde(rename = "directory.user_added")]
    DirectoryUserAdded {
        /// Which directory.
        directory: Username,
        /// Who that is here.
        person: PrincipalId,
        /// Digest of what they are called there.
        user_name_key: String,
        /// Digest of what the directory itself calls them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        external_id_key: Option<String>,
        /// Whether the directory lets them sign in.
        active: bool,
        /// Whether they are disabled because it does not.
        shut: bool,
    },
    /// A directory says something else of somebody. Texts: `user_name`, `external_id`, `profile`.
    #[serde(rename = "directory.user_changed")]
    DirectoryUserChanged {
        /// Who that is here.
        person: PrincipalId,
        /// Digest of what they are called there.
        user_name_key: String,
        /// Digest of what the directory itself calls them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        external_id_key: Option<String>,
        /// Whether the directory lets them sign in.
        active: bool,
        /// Whether they are disabled because it does not.
        shut: bool,
    },
    /// A directory has them no more.
    #[serde(rename = "directory.user_removed")]
    DirectoryUserRemoved {
        /// Who that is here.
        person: PrincipalId,
        /// Whether they are disabled because of that, or were because of the directory before.
        shut: bool,
        /// The groups they were in there, and are not any more.
        groups: Vec<DirectoryGroupId>,
    },
    /// An administrator disabled somebody whom a directory had shut out: it alone does not let them in again. Text: `reason`.
    #[serde(rename = "directory.user_held")]
    DirectoryUserHeld {
        /// Who that is here.
        person: PrincipalId,
    },
    /// A directory has a group. Texts: `display_name`, `external_id`.
    #[serde(rename = "directory.group_added")]
    DirectoryGroupAdded {
        /// Which directory.
        directory: Username,
        /// Which group.
        group: DirectoryGroupId,
        /// Digest of what it is called there.
        name_key: String,
        /// Digest of what the directory itself calls it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        external_id_key: Option<String>,
        /// Who is in it.
        members: Vec<PrincipalId>,
    },
    /// A group of a directory changed. Texts, where it is called otherwise now: `display_name`, `external_id`.
    #[serde(rename = "directory.group_changed")]
    DirectoryGroupChanged {
        /// Which group.
        group: DirectoryGroupId,
        /// Digest of what it is called there; left out: what it is called stays as it is, all of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name_key: Option<String>,
        /// Digest of what the directory itself calls it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        external_id_key: Option<String>,
        /// Who is in it now and was not.
        added: Vec<PrincipalId>,
        /// Who was in it and is not.
        removed: Vec<PrincipalId>,
    },
    /// A directory has it no more; nobody is in it.
    #[serde(rename = "directory.group_removed")]
    DirectoryGroupRemoved {
        /// Which group.
        group: DirectoryGroupId,
    },
    /// Somebody at the machine itself invited an administrator, because none could sign in any more. Text: `by`.
    #[serde(rename = "administrator.recovered")]
    AdministratorRecovered {
        /// Who.
        person: PrincipalId,
    },
    /// A key signs somebody in from now on. Text: `label`.
    #[serde(rename = "key.added")]
    KeyAdded {
        /// Which key.
        key: KeyId,
        /// Who.
        person: PrincipalId,
        /// Of which kind.
        kind: KeyKind,
        /// `SHA256:…`.
        fingerprint: String,
        /// OpenSSH format, without comment.
        public_key: String,
        /// Until when.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
        /// What its owner was signed in with when they asked for this certificate: it ends with that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        with: Option<Via>,
        /// The job that has it, if it is a job's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        claims: Option<JobClaims>,
    },
    /// A key no longer signs anybody in.
    #[serde(rename = "key.removed")]
    KeyRemoved {
        /// Which key.
        key: KeyId,
    },
    /// A passkey signs somebody in from now on. Text: `label`.
    #[serde(rename = "passkey.added")]
    PasskeyAdded {
        /// Which passkey.
        passkey: PasskeyId,
        /// Who.
        person: PrincipalId,
        /// SHA-256 of its public key (COSE_Key), hex: by it a signed approval is known as theirs without the gate.
        public_key: String,
        /// Keyed digest of the row as it stands now.
        row_digest: String,
    },
    /// A passkey was used. Text: `from`.
    #[serde(rename = "passkey.used")]
    PasskeyUsed {
        /// Which passkey.
        passkey: PasskeyId,
        /// Who.
        person: PrincipalId,
        /// What for.
        purpose: PasskeyUse,
        /// Keyed digest of the row as it stands now.
        row_digest: String,
    },
    /// A passkey is called differently. Text: `label`.
    #[serde(rename = "passkey.renamed")]
    PasskeyRenamed {
        /// Which passkey.
        passkey: PasskeyId,
        /// Keyed digest of the row as it stands now.
        row_digest: String,
    },
    /// A passkey no longer signs anybody in.
    #[serde(rename = "passkey.removed")]
    PasskeyRemoved {
        /// Which passkey.
        passkey: PasskeyId,
        /// Who.
        person: PrincipalId,
        /// Keyed digest of the row as it stands now.
        row_digest: String,
    },
    /// A bearer token was made. Text: `label`.
    #[serde(rename = "token.issued")]
    TokenIssued {
        /// Which token.
        token: TokenId,
        /// Who.
        person: PrincipalId,
        /// For what.
        scopes: Vec<Scope>,
        /// The one grant that it opens connections on, and with which it ends; absent: it is no connect token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grant: Option<GrantId>,
        /// Until when, at most.
        expires_at: Timestamp,
        /// Keyed digest of the row as it stands now.
        row_digest: String,
    },
    /// A job of a CI system signed in with the token that its issuer gave it. Texts: `from`, `run` (what set it off, as the issuer says).
    #[serde(rename = "workload.signed_in")]
    WorkloadSignedIn {
        /// Which workload it is.
        person: PrincipalId,
        /// By which claims.
        claims: JobClaims,
        /// SHA-256, hex, of what the issuer's token is known by: it does once.
        assertion: String,
        /// The token that it was given for it.
        token: TokenId,
        /// The bundle that says whose jobs are whose.
        bundle: String,
    },
    /// Somebody else answers for a workload from now on, as `workloads.toml` says.
    #[serde(rename = "workload.handed_over")]
    WorkloadHandedOver {
        /// Which workload.
        person: PrincipalId,
        /// The human who answers for it.
        owner: UserId,
    },
    /// A bearer token no longer works.
    #[serde(rename = "token.revoked")]
    TokenRevoked {
        /// Which token.
        token: TokenId,
        /// Keyed digest of the row as it stands now.
        row_digest: String,
    },
    /// Somebody was not let in. Texts: `from`, `user`.
    #[serde(rename = "signin.refused")]
    SigninRefused {
        /// At which door.
        door: Door,
        /// Why.
        reason: Reason,
    },
    /// Somebody asked. Texts: `reason`, `ticket`, `from`.
    #[serde(rename = "request.submitted")]
    RequestSubmitted {
        /// Which request.
        request: RequestId,
        /// Who.
        person: PrincipalId,
        /// Where.
        resource: ResourceName,
        /// As what.
        role: RoleName,
        /// For how long.
        asked: Asked,
        /// What the asker renounced.
        limits: Limits,
        /// Whether it is an emergency.
        break_glass: bool,
        /// The grant it would make longer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        extends: Option<GrantId>,
        /// How strongly the asker had proved who they are.
        mfa: Mfa,
        /// The job that asked, if it was a job.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        claims: Option<JobClaims>,
        /// What the path costs.
        terms: Terms,
        /// The bundle that decided.
        bundle: String,
        /// The policy whose path was chosen.
        policy: String,
        /// Until when.
        expires_at: Timestamp,
    },
    /// The asker changed it; approvals are void. Texts: `reason`, `ticket`.
    #[serde(rename = "request.edited")]
    RequestEdited {
        /// Which request.
        request: RequestId,
        /// For how long.
        asked: Asked,
        /// What the asker renounced.
        limits: Limits,
        /// How strongly the asker had proved who they are.
        mfa: Mfa,
        /// What the path costs.
        terms: Terms,
        /// The bundle that decided.
        bundle: String,
        /// The policy whose path was chosen.
        policy: String,
        /// Until when.
        expires_at: Timestamp,
    },
    /// Somebody asked and policy said no at once. Texts: `reason`, `from`, `detail`.
    #[serde(rename = "request.refused")]
    RequestRefused {
        /// Who.
        person: PrincipalId,
        /// Where.
        resource: ResourceName,
        /// As what.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<RoleName>,
        /// The bundle that decided.
        bundle: String,
        /// The policies that decided.
        policies: Vec<String>,
        /// Why.
        reason: Reason,
    },
    /// Somebody decided for themselves. Text: `note`.
    #[serde(rename = "request.voted")]
    RequestVoted {
        /// Which request.
        request: RequestId,
        /// Which vote.
        vote: VoteId,
        /// Of which revision.
        revision: i64,
        /// Whose.
        voter: PrincipalId,
        /// Yes or no.
        decision: Decision,
        /// The stages the voter could fill.
        stages: Vec<usize>,
        /// The voter's passkey over the exact request, if it was signed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<Box<VoteSignature>>,
    },
    /// Somebody tried to decide who may not. Text: `note`.
    #[serde(rename = "vote.refused")]
    VoteRefused {
        /// Which request.
        request: RequestId,
        /// Whose.
        voter: PrincipalId,
        /// Why.
        reason: Reason,
    },
    /// All that was needed agreed.
    #[serde(rename = "request.approved")]
    RequestApproved {
        /// Which request.
        request: RequestId,
        /// Who agreed.
        approvers: Vec<PrincipalId>,
    },
    /// It was denied: by a person, or because policy changed. Text: `detail`.
    #[serde(rename = "request.denied")]
    RequestDenied {
        /// Which request.
        request: RequestId,
        /// Why.
        reason: Reason,
    },
    /// The asker took it back.
    #[serde(rename = "request.cancelled")]
    RequestCancelled {
        /// Which request.
        request: RequestId,
    },
    /// Nobody answered in time.
    #[serde(rename = "request.expired")]
    RequestExpired {
        /// Which request.
        request: RequestId,
    },
    /// A bounded right exists.
    #[serde(rename = "grant.created")]
    GrantCreated {
        /// Which grant.
        grant: GrantId,
        /// Which request.
        request: RequestId,
        /// Who.
        person: PrincipalId,
        /// Where.
        resource: ResourceName,
        /// As what.
        role: RoleName,
        /// What the asker renounced.
        limits: Limits,
        /// What the path costs.
        terms: Terms,
        /// How long; none: standing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        length: Option<Span>,
        /// Whether it is an emergency.
        break_glass: bool,
        /// The bundle that decided.
        bundle: String,
        /// The policy whose path was chosen.
        policy: String,
        /// Who agreed.
        approvers: Vec<PrincipalId>,
        /// What was true.
        frozen: Frozen,
        /// Until when its clock must start.
        activate_by: Timestamp,
    },
    /// Its clock started.
    #[serde(rename = "grant.activated")]
    GrantActivated {
        /// Which grant.
        grant: GrantId,
        /// From when.
        starts_at: Timestamp,
        /// Until when; none: standing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ends_at: Option<Timestamp>,
    },
    /// Its end moved, by a decision of its own.
    #[serde(rename = "grant.extended")]
    GrantExtended {
        /// Which grant.
        grant: GrantId,
        /// Which request.
        request: RequestId,
        /// Until when; none: standing.
        ends_at: Timestamp,
    },
    /// Its time was up.
    #[serde(rename = "grant.expired")]
    GrantExpired {
        /// Which grant.
        grant: GrantId,
    },
    /// Somebody who may took it away. Text: `reason`.
    #[serde(rename = "grant.revoked")]
    GrantRevoked {
        /// Which grant.
        grant: GrantId,
        /// What else still opens the same door to the same person.
        still_open: Vec<GrantId>,
    },
    /// Its holder gave it back.
    #[serde(rename = "grant.returned")]
    GrantReturned {
        /// Which grant.
        grant: GrantId,
    },
    /// No path that was paid for is left. Text: `detail`.
    #[serde(rename = "grant.withdrawn")]
    GrantWithdrawn {
        /// Which grant.
        grant: GrantId,
        /// Why.
        reason: Reason,
        /// The bundle that decided.
        bundle: String,
    },
    /// It was not used in time.
    #[serde(rename = "grant.lapsed")]
    GrantLapsed {
        /// Which grant.
        grant: GrantId,
    },
    /// Nobody used it for its idle time.
    #[serde(rename = "grant.idled")]
    GrantIdled {
        /// Which grant.
        grant: GrantId,
    },
    /// A session may begin. Text: `from`.
    #[serde(rename = "session.opened")]
    SessionOpened {
        /// Which session.
        session: SessionId,
        /// Which grant.
        grant: GrantId,
        /// Who.
        person: PrincipalId,
        /// Where.
        resource: ResourceName,
        /// As what.
        role: RoleName,
        /// In which protocol.
        protocol: Protocol,
        /// Its recording.
        recording: RecordingId,
        /// SHA-256 over the recording's header, hex: where its chain starts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recording_header: Option<String>,
        /// What is kept.
        level: RecordLevel,
        /// The node.
        node: String,
        /// The bundle that decided.
        bundle: String,
        /// Until when; none: standing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ends_at: Option<Timestamp>,
    },
    /// It is over.
    #[serde(rename = "session.ended")]
    SessionEnded {
        /// Which session.
        session: SessionId,
        /// Why.
        reason: EndReason,
        /// Whether the target's end was seen to close.
        confirmed: bool,
        /// Bytes from the client.
        bytes_up: i64,
        /// Bytes from the target.
        bytes_down: i64,
        /// Whole chunks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recording_chunks: Option<i64>,
        /// What closes the recording's chain.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recording_digest: Option<String>,
    },
    /// Its target was not seen to close when it ended; now the gate looked there again, and nothing of it is left.
    #[serde(rename = "session.confirmed")]
    SessionConfirmed {
        /// Which session.
        session: SessionId,
    },
    /// It stands on another grant of the same person, role and resource now.
    #[serde(rename = "session.rehomed")]
    SessionRehomed {
        /// Which session.
        session: SessionId,
        /// The grant that ended.
        from_grant: GrantId,
        /// The grant it stands on now.
        to_grant: GrantId,
    },
    /// It was opened from the machine on which another one, that is named too, lived then.
    #[serde(rename = "session.stepped")]
    SessionStepped {
        /// Which session.
        session: SessionId,
        /// From which.
        from_session: SessionId,
    },
    /// Somebody knocked and was not let through. Texts: `from`, `detail`.
    #[serde(rename = "session.refused")]
    SessionRefused {
        /// Who.
        person: PrincipalId,
        /// Where.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resource: Option<ResourceName>,
        /// As what.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<RoleName>,
        /// At which door.
        door: Door,
        /// Why.
        reason: Reason,
    },
    /// Somebody tried inside a session what their role does not include. Text: `detail`.
    #[serde(rename = "session.denied")]
    SessionDenied {
        /// Which session.
        session: SessionId,
        /// What was tried.
        action: String,
        /// Why.
        reason: Reason,
    },
    /// Somebody watched it live.
    #[serde(rename = "session.watched")]
    SessionWatched {
        /// Which session.
        session: SessionId,
    },
    /// Somebody joined it, by a session of their own to the same resource.
    #[serde(rename = "session.joined")]
    SessionJoined {
        /// Which session was joined.
        session: SessionId,
        /// By which.
        by: SessionId,
    },
    /// Somebody ended it by hand. Text: `reason`.
    #[serde(rename = "session.killed")]
    SessionKilled {
        /// Which session.
        session: SessionId,
    },
    /// How far the recordings of a node have come.
    #[serde(rename = "recording.progress")]
    RecordingProgress {
        /// The node.
        node: String,
        /// Those that moved.
        recordings: Vec<Progress>,
    },
    /// Somebody read a recording.
    #[serde(rename = "recording.read")]
    RecordingRead {
        /// Its recording.
        recording: RecordingId,
        /// Which session.
        session: SessionId,
        /// Whether what was typed was read too.
        input: bool,
    },
    /// Somebody looked for a text in recordings that they may read. Text: `text`.
    #[serde(rename = "recordings.searched")]
    RecordingsSearched {
        /// How many were looked into.
        looked_into: u64,
        /// The sessions in whose recordings it was found.
        found: Vec<SessionId>,
    },
    /// Somebody took evidence away.
    #[serde(rename = "evidence.exported")]
    EvidenceExported {
        /// Which sessions.
        sessions: Vec<SessionId>,
        /// SHA-256, hex.
        digest: String,
    },
    /// A policy bundle is in force. Texts: `diff`, and `by` if it was put back at the machine itself.
    #[serde(rename = "bundle.activated")]
    BundleActivated {
        /// The bundle that decided.
        bundle: BundleId,
        /// SHA-256, hex.
        digest: String,
        /// The one before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<String>,
    },
    /// A policy directory was not taken; the one before stays in force. Text: `errors`.
    #[serde(rename = "bundle.rejected")]
    BundleRejected {
        /// SHA-256, hex.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
    },
    /// Something is kept shut. Text: `reason`.
    #[serde(rename = "lock.set")]
    LockSet {
        /// Which lock.
        lock: LockId,
        /// What is locked.
        scope: LockScope,
        /// Until when by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// It no longer is.
    #[serde(rename = "lock.lifted")]
    LockLifted {
        /// Which lock.
        lock: LockId,
    },
    /// An account is about to be made in a database.
    #[serde(rename = "account.created")]
    AccountCreated {
        /// Which account.
        account: AccountId,
        /// For which grant.
        grant: GrantId,
        /// Where.
        resource: ResourceName,
        /// By which node.
        node: String,
    },
    /// It is gone from there.
    #[serde(rename = "account.dropped")]
    AccountDropped {
        /// Which account.
        account: AccountId,
    },
    /// Somebody owes an answer.
    #[serde(rename = "review.opened")]
    ReviewOpened {
        /// Which review.
        review: ReviewId,
        /// Of which kind.
        kind: ReviewKind,
        /// Which grant.
        grant: GrantId,
        /// Which session on it; absent: all of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<SessionId>,
        /// Who.
        person: PrincipalId,
        /// Who owes it.
        reviewers: GroupName,
        /// By when.
        due_at: Timestamp,
    },
    /// It is due soon: those who owe it were reminded.
    #[serde(rename = "review.reminded")]
    ReviewReminded {
        /// Which review.
        review: ReviewId,
    },
    /// It is overdue, and others may answer it too.
    #[serde(rename = "review.escalated")]
    ReviewEscalated {
        /// Which review.
        review: ReviewId,
        /// Who.
        to: GroupName,
    },
    /// It was answered. Texts: `note`, `follow_ups`.
    #[serde(rename = "review.completed")]
    ReviewCompleted {
        /// Which review.
        review: ReviewId,
        /// With what.
        outcome: ReviewOutcome,
    },
    /// A sealed secret was set.
    #[serde(rename = "secret.set")]
    SecretSet {
        /// Which secret.
        secret: SecretName,
        /// Keyed digest of the row as it stands now.
        row_digest: String,
    },
    /// A sealed secret was removed.
    #[serde(rename = "secret.removed")]
    SecretRemoved {
        /// Which secret.
        secret: SecretName,
    },
    /// A key of the gate that is to take the place of one was made, so that others learn it before it is used.
    #[serde(rename = "keys.announced")]
    KeysAnnounced {
        /// Which key.
        key: String,
        /// The id of the one that is in use still.
        old: String,
        /// The new id.
        new: String,
        /// The half of the new one that may be known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        public: Option<String>,
    },
    /// A key of the gate is replaced; the old one still verifies what it signed.
    #[serde(rename = "keys.rotated")]
    KeysRotated {
        /// Which key.
        key: String,
        /// The old id.
        old: String,
        /// The new id.
        new: String,
        /// The half of the new one that may be known; of `audit` the key that verifies checkpoints from here on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        public: Option<String>,
        /// Until when targets are to go on trusting the old one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trusted_until: Option<Timestamp>,
    },
    /// A free or personal text was erased; its digest stays, and the log verifies. Text: `reason`.
    #[serde(rename = "text.erased")]
    TextErased {
        /// Of which entry.
        entry: EntryId,
        /// Which of its texts.
        name: String,
    },
    /// A recording's keys were destroyed: nobody reads it any more, and that it was still verifies. Text: `reason`.
    #[serde(rename = "recording.destroyed")]
    RecordingDestroyed {
        /// Which recording.
        recording: RecordingId,
        /// Of which session.
        session: SessionId,
    },
    /// What the gate believes of who is on call changed, for a service of a source outside of it. Text: `detail` (why it is not known).
    #[serde(rename = "oncall.changed")]
    OnCallChanged {
        /// The source.
        source: GroupName,
        /// Its service.
        service: GroupName,
        /// Whether it is known; if not, nobody counts as on call.
        known: bool,
        /// Who is on call.
        people: Vec<OnDuty>,
    },
    /// A target's host key was seen for the first time and is the only one trusted from now on.
    #[serde(rename = "host_key.learned")]
    HostKeyLearned {
        /// Where.
        resource: ResourceName,
        /// `SHA256:…`.
        fingerprint: String,
    },
    /// Somebody tried an action they have no right to.
    #[serde(rename = "action.refused")]
    ActionRefused {
        /// What was tried.
        action: String,
        /// On what.
        object: String,
        /// Why.
        reason: Reason,
    },
}

impl Event {
    /// `noun.past`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::LogStarted { .. } => "log.started",
            Self::NodeStarted { .. } => "node.started",
            Self::NodeStopped { .. } => "node.stopped",
            Self::ClockBehind { .. } => "clock.behind",
            Self::PersonCreated { .. } => "person.created",
            Self::PersonRenamed { .. } => "person.renamed",
            Self::PersonDisabled { .. } => "person.disabled",
            Self::PersonEnabled { .. } => "person.enabled",
            Self::InvitationIssued { .. } => "invitation.issued",
            Self::InvitationUsed { .. } => "invitation.used",
            Self::IdentityLinked { .. } => "identity.linked",
            Self::IdentityProved { .. } => "identity.proved",
            Self::IdentitySignedOut { .. } => "identity.signed_out",
            Self::ChatAccountLinked { .. } => "chat_account.linked",
            Self::ChatAccountRemoved { .. } => "chat_account.removed",
            Self::DeliveryAbandoned { .. } => "delivery.abandoned",
            Self::DeliveryReplayed { .. } => "delivery.replayed",
            Self::DeviceAnswered { .. } => "device.answered",
            Self::DirectoryUserAdded { .. } => "directory.user_added",
            Self::DirectoryUserChanged { .. } => "directory.user_changed",
            Self::DirectoryUserRemoved { .. } => "directory.user_removed",
            Self::DirectoryUserHeld { .. } => "directory.user_held",
            Self::DirectoryGroupAdded { .. } => "directory.group_added",
            Self::DirectoryGroupChanged { .. } => "directory.group_changed",
            Self::DirectoryGroupRemoved { .. } => "directory.group_removed",
            Self::AdministratorRecovered { .. } => "administrator.recovered",
            Self::KeyAdded { .. } => "key.added",
            Self::KeyRemoved { .. } => "key.removed",
            Self::PasskeyAdded { .. } => "passkey.added",
            Self::PasskeyUsed { .. } => "passkey.used",
            Self::PasskeyRenamed { .. } => "passkey.renamed",
            Self::PasskeyRemoved { .. } => "passkey.removed",
            Self::TokenIssued { .. } => "token.issued",
            Self::WorkloadSignedIn { .. } => "workload.signed_in",
            Self::WorkloadHandedOver { .. } => "workload.handed_over",
            Self::TokenRevoked { .. } => "token.revoked",
            Self::SigninRefused { .. } => "signin.refused",
            Self::RequestSubmitted { .. } => "request.submitted",
            Self::RequestEdited { .. } => "request.edited",
            Self::RequestRefused { .. } => "request.refused",
            Self::RequestVoted { .. } => "request.voted",
            Self::VoteRefused { .. } => "vote.refused",
            Self::RequestApproved { .. } => "request.approved",
            Self::RequestDenied { .. } => "request.denied",
            Self::RequestCancelled { .. } => "request.cancelled",
            Self::RequestExpired { .. } => "request.expired",
            Self::GrantCreated { .. } => "grant.created",
            Self::GrantActivated { .. } => "grant.activated",
            Self::GrantExtended { .. } => "grant.extended",
            Self::GrantExpired { .. } => "grant.expired",
            Self::GrantRevoked { .. } => "grant.revoked",
            Self::GrantReturned { .. } => "grant.returned",
            Self::GrantWithdrawn { .. } => "grant.withdrawn",
            Self::GrantLapsed { .. } => "grant.lapsed",
            Self::GrantIdled { .. } => "grant.idled",
            Self::SessionOpened { .. } => "session.opened",
            Self::SessionEnded { .. } => "session.ended",
            Self::SessionConfirmed { .. } => "session.confirmed",
            Self::SessionRehomed { .. } => "session.rehomed",
            Self::SessionStepped { .. } => "session.stepped",
            Self::SessionRefused { .. } => "session.refused",
            Self::SessionDenied { .. } => "session.denied",
            Self::SessionWatched { .. } => "session.watched",
            Self::SessionJoined { .. } => "session.joined",
            Self::SessionKilled { .. } => "session.killed",
            Self::RecordingProgress { .. } => "recording.progress",
            Self::RecordingRead { .. } => "recording.read",
            Self::RecordingsSearched { .. } => "recordings.searched",
            Self::EvidenceExported { .. } => "evidence.exported",
            Self::BundleActivated { .. } => "bundle.activated",
            Self::BundleRejected { .. } => "bundle.rejected",
            Self::LockSet { .. } => "lock.set",
            Self::LockLifted { .. } => "lock.lifted",
            Self::AccountCreated { .. } => "account.created",
            Self::AccountDropped { .. } => "account.dropped",
            Self::ReviewOpened { .. } => "review.opened",
            Self::ReviewReminded { .. } => "review.reminded",
            Self::ReviewEscalated { .. } => "review.escalated",
            Self::ReviewCompleted { .. } => "review.completed",
            Self::SecretSet { .. } => "secret.set",
            Self::SecretRemoved { .. } => "secret.removed",
            Self::KeysAnnounced { .. } => "keys.announced",
            Self::KeysRotated { .. } => "keys.rotated",
            Self::TextErased { .. } => "text.erased",
            Self::RecordingDestroyed { .. } => "recording.destroyed",
            Self::OnCallChanged { .. } => "oncall.changed",
            Self::HostKeyLearned { .. } => "host_key.learned",
            Self::ActionRefused { .. } => "action.refused",
        }
    }
}
