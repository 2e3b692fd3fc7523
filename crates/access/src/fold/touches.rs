//! Which rows an event is about: one list of all events, so that a new one says it or does not compile.

use crate::account::AccountRow;
use crate::approval::VoteRow;
use crate::bundle::BundleRow;
use crate::chat::ChatAccountRow;
use crate::directory::{DirectoryGroupRow, DirectoryMemberRow, DirectoryUserRow, member_id};
use crate::event::Event;
use crate::grant::GrantRow;
use crate::hold::HoldRow;
use crate::identity::{IdentityRow, KeyRow, PersonRow};
use crate::ids::{DirectoryGroupId, PrincipalId};
use crate::inventory::{FindingRow, LookRow, PathRow, SourceRow};
use crate::lock::LockRow;
use crate::request::RequestRow;
use crate::review::ReviewRow;
use crate::session::SessionRow;

use super::tables::{RowKey, key_of};

/// The rows an event changes or makes.
#[must_use]
pub fn touches(event: &Event) -> Vec<RowKey> {
    use Event as E;
    match event {
        E::PersonCreated { person, .. }
        | E::PersonRenamed { person }
        | E::PersonDisabled { person }
        | E::PersonEnabled { person }
        | E::WorkloadHandedOver { person, .. } => vec![key_of::<PersonRow>(person)],
        E::IdentityLinked { identity, .. } | E::IdentityProved { identity, .. } | E::IdentityUnlinked { identity, .. } => {
            vec![key_of::<IdentityRow>(identity)]
        }
        E::DirectoryUserAdded { person, .. } | E::DirectoryUserChanged { person, .. } | E::DirectoryUserHeld { person } => {
            vec![key_of::<DirectoryUserRow>(person)]
        }
        E::DirectoryUserRemoved { person, groups, .. } => std::iter::once(key_of::<DirectoryUserRow>(person))
            .chain(groups.iter().map(|group| key_of::<DirectoryMemberRow>(member_id(*group, *person))))
            .collect(),
        E::DirectoryGroupAdded { group, members, .. } => group_and_members(*group, members, &[]),
        E::DirectoryGroupChanged { group, added, removed, .. } => group_and_members(*group, added, removed),
        E::DirectoryGroupRemoved { group } => vec![key_of::<DirectoryGroupRow>(group)],
        E::ChatAccountLinked { chat_account, .. }
        | E::ChatAccountTold { chat_account, .. }
        | E::ChatAccountRemoved { chat_account, .. } => {
            vec![key_of::<ChatAccountRow>(chat_account)]
        }
        E::KeyAdded { key, .. } | E::KeyRemoved { key } => vec![key_of::<KeyRow>(key)],
        E::RequestSubmitted { request, .. }
        | E::RequestEdited { request, .. }
        | E::RequestApproved { request, .. }
        | E::RequestDenied { request, .. }
        | E::RequestCancelled { request }
        | E::RequestExpired { request } => vec![key_of::<RequestRow>(request)],
        E::RequestVoted { request, vote, .. } => vec![key_of::<RequestRow>(request), key_of::<VoteRow>(vote)],
        E::GrantCreated { grant, .. }
        | E::GrantActivated { grant, .. }
        | E::GrantExtended { grant, .. }
        | E::GrantExpired { grant }
        | E::GrantRevoked { grant, .. }
        | E::GrantReturned { grant }
        | E::GrantWithdrawn { grant, .. }
        | E::GrantLapsed { grant }
        | E::GrantIdled { grant } => vec![key_of::<GrantRow>(grant)],
        E::SessionOpened { session, .. }
        | E::SessionEnded { session, .. }
        | E::SessionConfirmed { session }
        | E::SessionRehomed { session, .. }
        | E::SessionStepped { from_session: session, .. }
        | E::SessionOnward { session, .. }
        | E::SessionAlerted { session, .. } => {
            vec![key_of::<SessionRow>(session)]
        }
        E::AccountCreated { account, .. } | E::AccountDropped { account } => vec![key_of::<AccountRow>(account)],
        E::LockSet { lock, .. } | E::LockLifted { lock } => vec![key_of::<LockRow>(lock)],
        E::HoldSet { hold, .. } | E::HoldLifted { hold } => vec![key_of::<HoldRow>(hold)],
        E::ReviewOpened { review, .. }
        | E::ReviewReminded { review }
        | E::ReviewEscalated { review, .. }
        | E::ReviewCompleted { review, .. } => vec![key_of::<ReviewRow>(review)],
        E::BundleActivated { bundle, .. } => vec![key_of::<BundleRow>(bundle)],
        E::InventoryImported { source, .. } => vec![key_of::<SourceRow>(source)],
        E::PathFound { path, .. }
        | E::PathChanged { path, .. }
        | E::PathTakenIn { path, .. }
        | E::PathReopened { path }
        | E::PathAccepted { path, .. }
        | E::PathClosed { path }
        | E::PathGone { path } => vec![key_of::<PathRow>(path)],
        E::DriftLooked { resource, .. } | E::DriftFailed { resource, .. } => vec![key_of::<LookRow>(resource)],
        E::FindingOpened { finding, .. }
        | E::FindingReopened { finding }
        | E::FindingAccepted { finding, .. }
        | E::FindingMended { finding } => vec![key_of::<FindingRow>(finding)],
        // These leave no journaled row.
        E::DriftBegun { .. }
        | E::LogStarted { .. }
        | E::NodeStarted { .. }
        | E::NodeStopped { .. }
        | E::ClockBehind { .. }
        | E::ClockAccepted { .. }
        | E::InvitationIssued { .. }
        | E::InvitationUsed { .. }
        | E::InvitationVoided { .. }
        | E::IdentitySignedOut { .. }
        | E::DeliveryAbandoned { .. }
        | E::DeliveryReplayed { .. }
        | E::SignalHeard { .. }
        | E::SignalRefused { .. }
        | E::DeviceAnswered { .. }
        | E::MailboxNamed { .. }
        | E::AdministratorRecovered { .. }
        | E::PasskeyAdded { .. }
        | E::PasskeyUsed { .. }
        | E::PasskeyRenamed { .. }
        | E::PasskeyRemoved { .. }
        | E::TokenIssued { .. }
        | E::TokenRenamed { .. }
        | E::TokenRevoked { .. }
        | E::WorkloadSignedIn { .. }
        | E::SigninRefused { .. }
        | E::RequestRefused { .. }
        | E::VoteRefused { .. }
        | E::ContainmentReached { .. }
        | E::SessionRefused { .. }
        | E::SessionObserved { .. }
        | E::SessionDenied { .. }
        | E::SessionWatched { .. }
        | E::SessionJoined { .. }
        | E::SessionKilled { .. }
        | E::RecordingProgress { .. }
        | E::RecordingRead { .. }
        | E::RecordingsSearched { .. }
        | E::EvidenceExported { .. }
        | E::BundleRejected { .. }
        | E::SecretSet { .. }
        | E::SecretRemoved { .. }
        | E::KeysAnnounced { .. }
        | E::KeysRotated { .. }
        | E::TextErased { .. }
        | E::RecordingDestroyed { .. }
        | E::RecordingExpired { .. }
        | E::RetentionStopped { .. }
        | E::OnCallChanged { .. }
        | E::HostKeyLearned { .. }
        | E::ActionRefused { .. } => Vec::new(),
    }
}

fn group_and_members(group: DirectoryGroupId, some: &[PrincipalId], more: &[PrincipalId]) -> Vec<RowKey> {
    let member = |person: &PrincipalId| key_of::<DirectoryMemberRow>(member_id(group, *person));
    std::iter::once(key_of::<DirectoryGroupRow>(group)).chain(some.iter().chain(more).map(member)).collect()
}
