//! The fold: how each event changes rows. The store applies it to commit, `audit replay` applies it to the whole log,
//! and both must arrive at the same rows, column by column.

use std::collections::BTreeMap;

use crate::account::{AccountRow, AccountState};
use crate::approval::{StageIndexes, VoteRow};
use crate::bundle::BundleRow;
use crate::chat::ChatAccountRow;
use crate::directory::{DirectoryGroupRow, DirectoryMemberRow, DirectoryUserRow, member_id};
use crate::event::{Entry, Event};
use crate::grant::{Approvers, GrantEnd, GrantRow, GrantState};
use crate::identity::{Groups, IdentityRow, KeyRow, KeyState, PersonRow, PersonState};
use crate::ids::{DirectoryGroupId, GrantId, PrincipalId};
use crate::lock::{LockRow, LockState};
use crate::request::{RequestRow, RequestState};
use crate::review::{ReviewRow, ReviewState};
use crate::row::{Column, ColumnError, Row};
use crate::session::{SessionRow, SessionState};
use crate::transition::is_legal;

/// Which row: its table and key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// The table.
    pub table: &'static str,
    /// The key as text.
    pub key: String,
}

/// An event that doesn't fit the rows it finds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// It speaks of a row that isn't there.
    #[error("there is no {table} row `{key}`")]
    Missing {
        /// The table.
        table: &'static str,
        /// The key.
        key: String,
    },
    /// It makes a row that is already there.
    #[error("the {table} row `{key}` exists already")]
    Exists {
        /// The table.
        table: &'static str,
        /// The key.
        key: String,
    },
    /// It makes a step that doesn't exist.
    #[error("the {table} row `{key}` is {from} and cannot become {to}")]
    Illegal {
        /// The table.
        table: &'static str,
        /// The key.
        key: String,
        /// From which state.
        from: &'static str,
        /// To which.
        to: &'static str,
    },
}

macro_rules! tables {
    ($($field:ident: $row:ident,)*) => {
        /// Rows of every journaled noun, or the few that one event touches.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct Tables {
            $(
                #[doc = concat!("`", stringify!($field), "` by key.")]
                pub $field: BTreeMap<String, $row>,
            )*
        }

        impl Tables {
            /// Every journaled table and its columns.
            pub const SHAPES: &'static [(&'static str, &'static [&'static str])] = &[$(($row::TABLE, $row::COLUMNS)),*];

            /// Puts a row in from its columns.
            ///
            /// # Errors
            /// If a column doesn't hold what it should.
            pub fn load(&mut self, table: &str, columns: &[Column]) -> Result<(), ColumnError> {
                $(if table == $row::TABLE {
                    let row = $row::from_columns(columns)?;
                    self.$field.insert(row.key(), row);
                })*
                Ok(())
            }

            /// One row's columns.
            #[must_use]
            pub fn columns(&self, key: &RowKey) -> Option<Vec<Column>> {
                $(if key.table == $row::TABLE {
                    return self.$field.get(&key.key).map(Row::to_columns);
                })*
                None
            }

            /// Every row there is.
            #[must_use]
            pub fn keys(&self) -> Vec<RowKey> {
                let mut keys = Vec::new();
                $(keys.extend(self.$field.keys().map(|key| RowKey { table: $row::TABLE, key: key.clone() }));)*
                keys
            }
        }

        $(impl Slot for $row {
            fn slot(tables: &mut Tables) -> &mut BTreeMap<String, Self> {
                &mut tables.$field
            }
        })*
    };
}

trait Slot: Row {
    fn slot(tables: &mut Tables) -> &mut BTreeMap<String, Self>;
}

tables! {
    people: PersonRow,
    keys: KeyRow,
    identities: IdentityRow,
    chat_accounts: ChatAccountRow,
    requests: RequestRow,
    votes: VoteRow,
    grants: GrantRow,
    sessions: SessionRow,
    locks: LockRow,
    reviews: ReviewRow,
    bundles: BundleRow,
    accounts: AccountRow,
    directory_users: DirectoryUserRow,
    directory_groups: DirectoryGroupRow,
    directory_members: DirectoryMemberRow,
}

fn get<R: Slot>(tables: &mut Tables, key: impl ToString) -> Result<&mut R, FoldError> {
    let key = key.to_string();
    R::slot(tables).get_mut(&key).ok_or(FoldError::Missing { table: R::TABLE, key })
}

fn add<R: Slot>(tables: &mut Tables, row: R) -> Result<(), FoldError> {
    let key = row.key();
    if R::slot(tables).contains_key(&key) {
        return Err(FoldError::Exists { table: R::TABLE, key });
    }
    R::slot(tables).insert(key, row);
    Ok(())
}

fn step(table: &'static str, key: &impl ToString, from: &'static str, to: &'static str) -> Result<(), FoldError> {
    if is_legal(table, from, to) { Ok(()) } else { Err(FoldError::Illegal { table, key: key.to_string(), from, to }) }
}

fn key_of<R: Row>(key: impl ToString) -> RowKey {
    RowKey { table: R::TABLE, key: key.to_string() }
}

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
        E::IdentityLinked { identity, .. } | E::IdentityProved { identity, .. } => vec![key_of::<IdentityRow>(identity)],
        E::DirectoryUserAdded { person, .. } | E::DirectoryUserChanged { person, .. } | E::DirectoryUserHeld { person } => {
            vec![key_of::<DirectoryUserRow>(person)]
        }
        E::DirectoryUserRemoved { person, groups, .. } => std::iter::once(key_of::<DirectoryUserRow>(person))
            .chain(groups.iter().map(|group| key_of::<DirectoryMemberRow>(member_id(*group, *person))))
            .collect(),
        E::DirectoryGroupAdded { group, members, .. } => group_and_members(*group, members, &[]),
        E::DirectoryGroupChanged { group, added, removed, .. } => group_and_members(*group, added, removed),
        E::DirectoryGroupRemoved { group } => vec![key_of::<DirectoryGroupRow>(group)],
        E::ChatAccountLinked { chat_account, .. } | E::ChatAccountRemoved { chat_account, .. } => {
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
        | E::SessionRehomed { session, .. } => {
            vec![key_of::<SessionRow>(session)]
        }
        E::AccountCreated { account, .. } | E::AccountDropped { account } => vec![key_of::<AccountRow>(account)],
        E::LockSet { lock, .. } | E::LockLifted { lock } => vec![key_of::<LockRow>(lock)],
        E::ReviewOpened { review, .. }
        | E::ReviewReminded { review }
        | E::ReviewEscalated { review, .. }
        | E::ReviewCompleted { review, .. } => vec![key_of::<ReviewRow>(review)],
        E::BundleActivated { bundle, .. } => vec![key_of::<BundleRow>(bundle)],
        // These leave no journaled row.
        E::LogStarted { .. }
        | E::NodeStarted { .. }
        | E::NodeStopped { .. }
        | E::ClockBehind { .. }
        | E::InvitationIssued { .. }
        | E::InvitationUsed { .. }
        | E::IdentitySignedOut { .. }
        | E::DeliveryAbandoned { .. }
        | E::DeliveryReplayed { .. }
        | E::DeviceAnswered { .. }
        | E::AdministratorRecovered { .. }
        | E::PasskeyAdded { .. }
        | E::PasskeyUsed { .. }
        | E::PasskeyRenamed { .. }
        | E::PasskeyRemoved { .. }
        | E::TokenIssued { .. }
        | E::TokenRevoked { .. }
        | E::WorkloadSignedIn { .. }
        | E::SigninRefused { .. }
        | E::RequestRefused { .. }
        | E::VoteRefused { .. }
        | E::SessionStepped { .. }
        | E::SessionRefused { .. }
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
        | E::OnCallChanged { .. }
        | E::HostKeyLearned { .. }
        | E::ActionRefused { .. } => Vec::new(),
    }
}

fn group_and_members(group: DirectoryGroupId, some: &[PrincipalId], more: &[PrincipalId]) -> Vec<RowKey> {
    let member = |person: &PrincipalId| key_of::<DirectoryMemberRow>(member_id(group, *person));
    std::iter::once(key_of::<DirectoryGroupRow>(group)).chain(some.iter().chain(more).map(member)).collect()
}

/// Changes the rows as the entry says.
///
/// # Errors
/// If the entry doesn't fit the rows; then nothing of it is applied to the row it failed at.
#[expect(clippy::too_many_lines, reason = "one arm per event, each a few lines; cutting it up would hide that it is complete")]
pub fn apply(tables: &mut Tables, entry: &Entry) -> Result<(), FoldError> {
    use Event as E;
    let at = entry.at;
    let text = |name: &str| entry.text(name).map(str::to_owned);
    let network = || entry.text("from").and_then(|address| address.parse().ok());
    match entry.event.clone() {
        E::PersonCreated { person, username, owner, groups } => add(
            tables,
            PersonRow {
                id: person,
                username,
                display_name: text("display_name"),
                owner,
                groups: Groups(groups),
                state: PersonState::Active,
                created_at: at,
                version: 1,
            },
        ),
        E::WorkloadHandedOver { person, owner } => {
            let row: &mut PersonRow = get(tables, person)?;
            row.owner = Some(owner);
            row.version += 1;
            Ok(())
        }
        E::PersonRenamed { person } => {
            let row: &mut PersonRow = get(tables, person)?;
            row.display_name = text("display_name");
            row.version += 1;
            Ok(())
        }
        E::PersonDisabled { person } => person_state(tables, person, PersonState::Disabled),
        E::PersonEnabled { person } => person_state(tables, person, PersonState::Active),
        E::IdentityLinked { identity, person, issuer } => {
            // Linked before to somebody else: whoever they are now, the provider has not said anything of them as that.
            if let Ok(row) = get::<IdentityRow>(tables, &identity) {
                row.person = person;
                row.groups = Groups::default();
                row.proved_at = None;
                row.linked_at = at;
                row.version += 1;
                return Ok(());
            }
            let subject = text("subject");
            let groups = Groups::default();
            add(tables, IdentityRow { id: identity, person, issuer, subject, groups, proved_at: None, linked_at: at, version: 1 })
        }
        E::IdentityProved { identity, groups, .. } => {
            let row: &mut IdentityRow = get(tables, identity)?;
            row.groups = Groups(groups);
            row.proved_at = Some(at);
            row.version += 1;
            Ok(())
        }
        E::DirectoryUserAdded { directory, person, user_name_key, external_id_key, active, shut } => {
            let mut new = DirectoryUserRow {
                id: person,
                directory,
                user_name: text("user_name"),
                user_name_key,
                external_id: text("external_id"),
                external_id_key,
                profile: text("profile"),
                active,
                shut,
                created_at: at,
                changed_at: at,
                removed_at: None,
                version: 1,
            };
            // Whom a directory took out it can bring again.
            if let Ok(row) = get::<DirectoryUserRow>(tables, person)
                && !row.is_there()
            {
                new.version = row.version + 1;
                *row = new;
                return Ok(());
            }
            add(tables, new)
        }
        E::DirectoryUserChanged { person, user_name_key, external_id_key, active, shut } => {
            let row: &mut DirectoryUserRow = get(tables, person)?;
            there(DirectoryUserRow::TABLE, &person, row.removed_at)?;
            row.user_name = text("user_name");
            row.user_name_key = user_name_key;
            row.external_id = text("external_id");
            row.external_id_key = external_id_key;
            row.profile = text("profile");
            row.active = active;
            row.shut = shut;
            row.changed_at = at;
            row.version += 1;
            Ok(())
        }
        E::DirectoryUserRemoved { person, shut, groups } => {
            let row: &mut DirectoryUserRow = get(tables, person)?;
            there(DirectoryUserRow::TABLE, &person, row.removed_at)?;
            row.active = false;
            row.shut = shut;
            row.changed_at = at;
            row.removed_at = Some(at);
            row.version += 1;
            groups.into_iter().try_for_each(|group| membership(tables, group, person, false, at))
        }
        E::DirectoryUserHeld { person } => {
            let row: &mut DirectoryUserRow = get(tables, person)?;
            row.shut = false;
            row.version += 1;
            Ok(())
        }
        E::DirectoryGroupAdded { directory, group, name_key, external_id_key, members } => {
            add(
                tables,
                DirectoryGroupRow {
                    id: group,
                    directory,
                    display_name: text("display_name"),
                    name_key,
                    external_id: text("external_id"),
                    external_id_key,
                    created_at: at,
                    changed_at: at,
                    removed_at: None,
                    version: 1,
                },
            )?;
            members.into_iter().try_for_each(|person| membership(tables, group, person, true, at))
        }
        E::DirectoryGroupChanged { group, name_key, external_id_key, added, removed } => {
            let row: &mut DirectoryGroupRow = get(tables, group)?;
            there(DirectoryGroupRow::TABLE, &group, row.removed_at)?;
            // Who only comes or goes leaves a name that it was given meanwhile.
            if let Some(name_key) = name_key {
                row.display_name = text("display_name");
                row.name_key = name_key;
                row.external_id = text("external_id");
                row.external_id_key = external_id_key;
            }
            row.changed_at = at;
            row.version += 1;
            added.into_iter().try_for_each(|person| membership(tables, group, person, true, at))?;
            removed.into_iter().try_for_each(|person| membership(tables, group, person, false, at))
        }
        E::DirectoryGroupRemoved { group } => {
            let row: &mut DirectoryGroupRow = get(tables, group)?;
            there(DirectoryGroupRow::TABLE, &group, row.removed_at)?;
            row.changed_at = at;
            row.removed_at = Some(at);
            row.version += 1;
            Ok(())
        }
        E::ChatAccountLinked { chat_account, person, service, team, account } => {
            // Somebody's before: they gave it up, or it is theirs again.
            if let Ok(row) = get::<ChatAccountRow>(tables, &chat_account) {
                row.person = person;
                row.linked_at = at;
                row.removed_at = None;
                row.version += 1;
                return Ok(());
            }
            add(tables, ChatAccountRow { id: chat_account, person, service, team, account, linked_at: at, removed_at: None, version: 1 })
        }
        E::ChatAccountRemoved { chat_account, .. } => {
            let row: &mut ChatAccountRow = get(tables, chat_account)?;
            row.removed_at = Some(at);
            row.version += 1;
            Ok(())
        }
        E::KeyAdded { key, person, kind, fingerprint, public_key, expires_at, with: _, claims } => add(
            tables,
            KeyRow {
                id: key,
                person,
                kind,
                fingerprint,
                public_key,
                label: text("label"),
                state: KeyState::Active,
                added_at: at,
                expires_at,
                claims,
                version: 1,
            },
        ),
        E::KeyRemoved { key } => {
            let row: &mut KeyRow = get(tables, key)?;
            step(KeyRow::TABLE, &key, row.state.code(), KeyState::Removed.code())?;
            row.state = KeyState::Removed;
            row.version += 1;
            Ok(())
        }
        E::RequestSubmitted {
            request,
            person,
            resource,
            role,
            asked,
            limits,
            break_glass,
            extends,
            mfa,
            claims,
            terms,
            bundle,
            policy,
            expires_at,
        } => add(
            tables,
            RequestRow {
                id: request,
                person,
                resource,
                role,
                asked,
                reason: text("reason"),
                ticket: text("ticket"),
                limits,
                break_glass,
                extends,
                door: entry.door,
                network: network(),
                mfa,
                claims,
                terms,
                bundle,
                policy,
                state: RequestState::Pending,
                revision: 1,
                submitted_at: at,
                expires_at,
                decided_at: None,
                version: 1,
            },
        ),
        E::RequestEdited { request, asked, limits, mfa, terms, bundle, policy, expires_at } => {
            let row: &mut RequestRow = get(tables, request)?;
            if row.state != RequestState::Pending {
                return Err(FoldError::Illegal {
                    table: RequestRow::TABLE,
                    key: request.to_string(),
                    from: row.state.code(),
                    to: "edited",
                });
            }
            row.asked = asked;
            row.reason = text("reason");
            row.ticket = text("ticket");
            row.limits = limits;
            row.network = network();
            row.mfa = mfa;
            row.terms = terms;
            row.bundle = bundle;
            row.policy = policy;
            row.expires_at = expires_at;
            row.revision += 1;
            row.version += 1;
            Ok(())
        }
        E::RequestVoted { request, vote, revision, voter, decision, stages, signature } => {
            let row: &mut RequestRow = get(tables, request)?;
            if row.state != RequestState::Pending {
                return Err(FoldError::Illegal { table: RequestRow::TABLE, key: request.to_string(), from: row.state.code(), to: "voted" });
            }
            row.version += 1;
            let (stages, signature) = (StageIndexes(stages), signature.map(|signature| *signature));
            add(tables, VoteRow { id: vote, request, revision, voter, decision, stages, signature, note: text("note"), at })
        }
        E::RequestApproved { request, .. } => request_state(tables, request, RequestState::Approved, at),
        E::RequestDenied { request, .. } => request_state(tables, request, RequestState::Denied, at),
        E::RequestCancelled { request } => request_state(tables, request, RequestState::Cancelled, at),
        E::RequestExpired { request } => request_state(tables, request, RequestState::Expired, at),
        E::GrantCreated {
            grant,
            request,
            person,
            resource,
            role,
            limits,
            terms,
            length,
            break_glass,
            bundle,
            policy,
            approvers,
            frozen,
            activate_by,
        } => add(
            tables,
            GrantRow {
                id: grant,
                request,
                person,
                resource,
                role,
                limits,
                terms,
                length,
                break_glass,
                bundle,
                policy,
                approvers: Approvers(approvers),
                frozen,
                state: GrantState::Ready,
                created_at: at,
                activate_by,
                starts_at: None,
                ends_at: None,
                ended_at: None,
                end: None,
                version: 1,
            },
        ),
        E::GrantActivated { grant, starts_at, ends_at } => {
            let row: &mut GrantRow = get(tables, grant)?;
            step(GrantRow::TABLE, &grant, row.state.code(), GrantState::Active.code())?;
            row.state = GrantState::Active;
            row.starts_at = Some(starts_at);
            row.ends_at = ends_at;
            row.version += 1;
            Ok(())
        }
        E::GrantExtended { grant, ends_at, .. } => {
            let row: &mut GrantRow = get(tables, grant)?;
            if row.state != GrantState::Active {
                return Err(FoldError::Illegal { table: GrantRow::TABLE, key: grant.to_string(), from: row.state.code(), to: "extended" });
            }
            row.ends_at = Some(ends_at);
            row.version += 1;
            Ok(())
        }
        E::GrantExpired { grant } => grant_end(tables, grant, GrantEnd::Expired, at),
        E::GrantRevoked { grant, .. } => grant_end(tables, grant, GrantEnd::Revoked, at),
        E::GrantReturned { grant } => grant_end(tables, grant, GrantEnd::Returned, at),
        E::GrantWithdrawn { grant, .. } => grant_end(tables, grant, GrantEnd::Withdrawn, at),
        E::GrantLapsed { grant } => grant_end(tables, grant, GrantEnd::Lapsed, at),
        E::GrantIdled { grant } => grant_end(tables, grant, GrantEnd::Idle, at),
        E::SessionOpened { session, grant, person, resource, role, protocol, recording, node, .. } => add(
            tables,
            SessionRow {
                id: session,
                grant,
                person,
                resource,
                role,
                protocol,
                recording,
                node,
                state: SessionState::Live,
                opened_at: at,
                ended_at: None,
                end: None,
                confirmed: None,
                bytes_up: 0,
                bytes_down: 0,
                recording_chunks: None,
                recording_digest: None,
                version: 1,
            },
        ),
        E::SessionEnded { session, reason, confirmed, bytes_up, bytes_down, recording_chunks, recording_digest } => {
            let row: &mut SessionRow = get(tables, session)?;
            step(SessionRow::TABLE, &session, row.state.code(), SessionState::Ended.code())?;
            row.state = SessionState::Ended;
            row.ended_at = Some(at);
            row.end = Some(reason);
            row.confirmed = Some(confirmed);
            row.bytes_up = bytes_up;
            row.bytes_down = bytes_down;
            row.recording_chunks = recording_chunks;
            row.recording_digest = recording_digest;
            row.version += 1;
            Ok(())
        }
        E::SessionConfirmed { session } => {
            let row: &mut SessionRow = get(tables, session)?;
            if row.state != SessionState::Ended {
                return Err(FoldError::Illegal {
                    table: SessionRow::TABLE,
                    key: session.to_string(),
                    from: row.state.code(),
                    to: "confirmed",
                });
            }
            row.confirmed = Some(true);
            row.version += 1;
            Ok(())
        }
        E::SessionRehomed { session, to_grant, .. } => {
            let row: &mut SessionRow = get(tables, session)?;
            if row.state != SessionState::Live {
                return Err(FoldError::Illegal {
                    table: SessionRow::TABLE,
                    key: session.to_string(),
                    from: row.state.code(),
                    to: "rehomed",
                });
            }
            row.grant = to_grant;
            row.version += 1;
            Ok(())
        }
        E::AccountCreated { account, grant, resource, node } => add(
            tables,
            AccountRow { id: account, grant, resource, node, state: AccountState::Made, created_at: at, dropped_at: None, version: 1 },
        ),
        E::AccountDropped { account } => {
            let row: &mut AccountRow = get(tables, account)?;
            step(AccountRow::TABLE, &account, row.state.code(), AccountState::Dropped.code())?;
            row.state = AccountState::Dropped;
            row.dropped_at = Some(at);
            row.version += 1;
            Ok(())
        }
        E::LockSet { lock, scope, until } => add(
            tables,
            LockRow { id: lock, scope, reason: text("reason"), state: LockState::Set, set_at: at, until, lifted_at: None, version: 1 },
        ),
        E::LockLifted { lock } => {
            let row: &mut LockRow = get(tables, lock)?;
            step(LockRow::TABLE, &lock, row.state.code(), LockState::Lifted.code())?;
            row.state = LockState::Lifted;
            row.lifted_at = Some(at);
            row.version += 1;
            Ok(())
        }
        E::ReviewOpened { review, kind, grant, session, person, reviewers, due_at } => add(
            tables,
            ReviewRow {
                id: review,
                kind,
                grant,
                session,
                person,
                reviewers,
                due_at,
                state: ReviewState::Open,
                outcome: None,
                done_by: None,
                note: None,
                follow_ups: None,
                reminded_at: None,
                escalated_to: None,
                opened_at: at,
                done_at: None,
                version: 1,
            },
        ),
        E::ReviewReminded { review } => {
            open_review(tables, review, "reminded")?.reminded_at = Some(at);
            Ok(())
        }
        E::ReviewEscalated { review, to } => {
            open_review(tables, review, "escalated")?.escalated_to = Some(to);
            Ok(())
        }
        E::ReviewCompleted { review, outcome } => {
            let done_by = match entry.actor {
                crate::event::Actor::Principal(id) => Some(id),
                _ => None,
            };
            let row: &mut ReviewRow = get(tables, review)?;
            step(ReviewRow::TABLE, &review, row.state.code(), ReviewState::Done.code())?;
            row.state = ReviewState::Done;
            row.outcome = Some(outcome);
            row.done_by = done_by;
            row.note = text("note");
            row.follow_ups = text("follow_ups");
            row.done_at = Some(at);
            row.version += 1;
            Ok(())
        }
        E::BundleActivated { bundle, digest, previous } => add(tables, BundleRow { id: bundle, digest, previous, activated_at: at }),
        other => {
            debug_assert!(touches(&other).is_empty(), "an event that touches rows has an arm above");
            Ok(())
        }
    }
}

/// What a directory took out it can't change any more.
fn there(table: &'static str, key: &impl ToString, removed_at: Option<jiff::Timestamp>) -> Result<(), FoldError> {
    match removed_at {
        None => Ok(()),
        Some(_) => Err(FoldError::Illegal { table, key: key.to_string(), from: "removed", to: "changed" }),
    }
}

fn membership(
    tables: &mut Tables,
    group: DirectoryGroupId,
    person: PrincipalId,
    member: bool,
    at: jiff::Timestamp,
) -> Result<(), FoldError> {
    let id = member_id(group, person);
    if let Ok(row) = get::<DirectoryMemberRow>(tables, &id) {
        row.member = member;
        row.since = at;
        row.version += 1;
        return Ok(());
    }
    add(tables, DirectoryMemberRow { id, group, person, member, since: at, version: 1 })
}

/// A review that something happens to while it is open; counts the change.
fn open_review<'t>(tables: &'t mut Tables, review: crate::ids::ReviewId, to: &'static str) -> Result<&'t mut ReviewRow, FoldError> {
    let row: &mut ReviewRow = get(tables, review)?;
    if row.state != ReviewState::Open {
        return Err(FoldError::Illegal { table: ReviewRow::TABLE, key: review.to_string(), from: row.state.code(), to });
    }
    row.version += 1;
    Ok(row)
}

fn person_state(tables: &mut Tables, person: crate::ids::PrincipalId, to: PersonState) -> Result<(), FoldError> {
    let row: &mut PersonRow = get(tables, person)?;
    step(PersonRow::TABLE, &person, row.state.code(), to.code())?;
    row.state = to;
    row.version += 1;
    Ok(())
}

fn request_state(tables: &mut Tables, request: crate::ids::RequestId, to: RequestState, at: jiff::Timestamp) -> Result<(), FoldError> {
    let row: &mut RequestRow = get(tables, request)?;
    step(RequestRow::TABLE, &request, row.state.code(), to.code())?;
    row.state = to;
    row.decided_at = Some(at);
    row.version += 1;
    Ok(())
}

fn grant_end(tables: &mut Tables, grant: GrantId, end: GrantEnd, at: jiff::Timestamp) -> Result<(), FoldError> {
    let row: &mut GrantRow = get(tables, grant)?;
    step(GrantRow::TABLE, &grant, row.state.code(), GrantState::Ended.code())?;
    row.state = GrantState::Ended;
    row.end = Some(end);
    row.ended_at = Some(at);
    row.version += 1;
    Ok(())
}
