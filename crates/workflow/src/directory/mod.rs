//! Joiners and leavers follow a directory (SCIM 2.0).
//!
//! *Takes* what a directory says of people and groups, from whoever holds its token. *Proves* that the token is that directory's, and that
//! it speaks of nobody but its own. *Hands to* live sessions the cut of who left, and to policy the groups of who is there.
//!
//! INVARIANT: a directory decides over those whom it brought, and over nobody else; it makes nobody somebody else; and what its groups
//! mean here stands in the gate's configuration, never in what it sends.

mod after;
mod groups;
mod tokens;
mod users;

use std::sync::OnceLock;

use access::directory::{DirectoryGroupRow, DirectoryUserRow, key};
use access::event::{EntryDraft, Event};
use access::identity::{Scope, Via};
use access::ids::PrincipalId;
use access::names::{GroupName, Username};
use access::reason::{Reason, Refusal};
use identity::scim::{Directory, ScimError, ScimType};
use store::{CommitError, Unique};

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};

pub use tokens::DirectoryStatus;

/// How often a change that raced another is tried again.
const TRIES: usize = 10;
/// How many people one entry names at most: a leaf of the log holds no more than 65,535 bytes.
const IN_ONE_ENTRY: usize = 1000;
/// The text of an entry that says by which token a directory spoke.
const TOKEN: &str = "token";

/// The directories of a gate.
#[derive(Debug, Default)]
pub(crate) struct Directories {
    all: OnceLock<Vec<Directory>>,
}

/// Which version of a user or group a directory has seen: any, or just this.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeenVersion(pub Option<i64>);

impl SeenVersion {
    fn is(self, version: i64) -> Result<(), ScimError> {
        match self.0 {
            Some(seen) if seen != version => {
                Err(ScimError::plain(412, format!("it is version W/\"{version}\" now; read it again before you change it")))
            }
            _ => Ok(()),
        }
    }
}

impl Gate {
    /// Says which directories bring people. Once; a second time changes nothing.
    pub fn serve_directories(&self, directories: Vec<Directory>) {
        let _before = self.directories.all.set(directories);
    }

    /// The directories, in the order they are configured.
    pub fn directories(&self) -> impl Iterator<Item = &Directory> {
        self.directories.all.get().into_iter().flatten()
    }

    fn directory_named(&self, name: &Username) -> Option<&Directory> {
        self.directories().find(|directory| directory.name == *name)
    }

    /// The directory that somebody speaks for.
    ///
    /// # Errors
    /// If what they signed in with is no directory's, or it is configured no more.
    pub fn directory_of(&self, caller: &Caller) -> Result<&Directory, ScimError> {
        if !caller.who.may(Scope::Directory) || !matches!(caller.who.id(), PrincipalId::Workload(_)) {
            let why = "only a directory's own token is good here; make one with `tidegate directory token`";
            return Err(Refusal::because(Reason::ScopeMissing, why).into());
        }
        self.directory_named(caller.who.username()).ok_or_else(|| {
            let why = format!("the gate's configuration names no directory `{}`", caller.who.username());
            Refusal::because(Reason::NotAllowed, why).into()
        })
    }

    /// Somebody of this directory who is there.
    ///
    /// # Errors
    /// As if there were nobody, if they are another directory's or none's.
    pub async fn directory_user(&self, directory: &Directory, id: &str) -> Result<DirectoryUserRow, ScimError> {
        let nobody = || ScimError::not_found(format!("this directory has no user `{}`", identity::scim::error::quoted(id)));
        let id: PrincipalId = id.parse().map_err(|_| nobody())?;
        let row = self.store.directory_user(id).await.map_err(away)?;
        row.filter(|row| row.directory == directory.name && row.is_there()).ok_or_else(nobody)
    }

    /// A group of this directory that is there.
    ///
    /// # Errors
    /// As if there were none, if it is another directory's.
    pub async fn directory_group(&self, directory: &Directory, id: &str) -> Result<DirectoryGroupRow, ScimError> {
        let none = || ScimError::not_found(format!("this directory has no group `{}`", identity::scim::error::quoted(id)));
        let id = id.parse().map_err(|_| none())?;
        let row = self.store.directory_group(id).await.map_err(away)?;
        row.filter(|row| row.directory == directory.name && row.removed_at.is_none()).ok_or_else(none)
    }

    /// Somebody under a `userName`, if this directory has them.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn directory_user_named(&self, directory: &Directory, user_name: &str) -> Result<Option<DirectoryUserRow>, ScimError> {
        self.store.directory_user_named(&directory.name, &name_key(directory, user_name)).await.map_err(away)
    }

    /// Somebody under an `externalId`, if this directory has them.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn directory_user_called(&self, directory: &Directory, external_id: &str) -> Result<Option<DirectoryUserRow>, ScimError> {
        let rows = self.store.directory_users_called(&directory.name, &external_key(directory, external_id)).await.map_err(away)?;
        Ok(rows.into_iter().find(DirectoryUserRow::is_there))
    }

    /// A group under a name, if this directory has it.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn directory_group_named(&self, directory: &Directory, name: &str) -> Result<Option<DirectoryGroupRow>, ScimError> {
        self.store.directory_group_named(&directory.name, &group_key(directory, name)).await.map_err(away)
    }

    /// A draft of an entry of what a directory said: it names the token, as one directory has several, made by different people.
    fn said(&self, caller: &Caller, event: Event) -> EntryDraft {
        let token = match caller.who.via() {
            Via::Token(token) => Some(token.to_string()),
            _ => None,
        };
        self.draft(caller, event).text(TOKEN, token)
    }

    /// Enters that a directory tried to touch somebody who is not its own, or to make one somebody else. What it merely wrote wrong is told to
    /// it alone.
    async fn enter_refused_directory(&self, caller: &Caller, action: &str, object: String, error: ScimError) -> ScimError {
        if !matches!(error.status, 403 | 409) && error.kind != Some(ScimType::Mutability) {
            return error;
        }
        // What it is told in words may name somebody of whom the entry does not know, and would outlast them there.
        let refusal = self.enter_action_refused(caller, action, object, Refusal::of(Reason::NotAllowed)).await;
        if refusal.reason == Reason::NotAllowed { error } else { refusal.into() }
    }

    /// Whether somebody may sign in now, whoever says so: what a directory is told as `active`.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn is_active(&self, row: &DirectoryUserRow) -> Result<bool, ScimError> {
        let person = self.store.person(row.id).await.map_err(away)?;
        Ok(row.active && person.is_some_and(|person| person.state == access::identity::PersonState::Active))
    }

    /// The groups somebody has because a directory that brought them says so; `None`: none brought them, so others may say.
    ///
    /// INVARIANT: of whom a directory brought, no claim of an identity provider gives a group: what it said at a sign-in hours ago would
    /// outlast what the directory takes away now.
    pub(crate) async fn groups_from_directory(&self, person: PrincipalId) -> Result<Option<Vec<GroupName>>, Refusal> {
        if self.directories().next().is_none() {
            return Ok(None);
        }
        let Some(row) = self.store.directory_user(person).await.map_err(unavailable)? else { return Ok(None) };
        let Some(directory) = self.directory_named(&row.directory) else { return Ok(None) };
        if !row.is_there() || !row.active {
            return Ok(Some(Vec::new()));
        }
        let groups = self.store.directory_groups_of(person).await.map_err(unavailable)?;
        let groups = meant(directory, &groups);
        // INVARIANT: whoever can speak as a directory puts themselves into no group by it.
        if !groups.is_empty() && self.connected_directory(person, &directory.name).await? {
            return Ok(Some(Vec::new()));
        }
        Ok(Some(groups))
    }

    /// The directory that brought somebody, if it is configured still.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn directory_that_brought(&self, person: PrincipalId) -> Result<Option<Username>, Refusal> {
        if self.directories().next().is_none() {
            return Ok(None);
        }
        let row = self.store.directory_user(person).await.map_err(unavailable)?;
        Ok(row.map(|row| row.directory).filter(|name| self.directory_named(name).is_some()))
    }

    /// The directory that says that somebody may not sign in, if it is configured still; whoever else says so too.
    pub(crate) async fn shut_by_directory(&self, person: PrincipalId) -> Result<Option<Username>, Refusal> {
        let row = self.store.directory_user(person).await.map_err(unavailable)?.filter(|row| row.shut || !row.active);
        Ok(row.map(|row| row.directory).filter(|name| self.directory_named(name).is_some()))
    }

    /// What a directory has, or had, of somebody whom it could let in again, as it alone disabled them.
    pub(crate) async fn shut_by_directory_alone(&self, person: PrincipalId) -> Result<Option<DirectoryUserRow>, Refusal> {
        Ok(self.store.directory_user(person).await.map_err(unavailable)?.filter(|row| row.shut))
    }

    /// The same of rows as they were once.
    pub(crate) fn groups_from_directory_then(&self, person: PrincipalId, then: &access::fold::Tables) -> Option<Vec<GroupName>> {
        let row = then.directory_users.get(&person.to_string())?;
        let directory = self.directory_named(&row.directory)?;
        if !row.is_there() || !row.active {
            return Some(Vec::new());
        }
        let theirs = then.directory_members.values().filter(|member| member.person == person && member.member);
        let groups: Vec<DirectoryGroupRow> = theirs
            .filter_map(|member| then.directory_groups.get(&member.group.to_string()))
            .filter(|group| group.removed_at.is_none())
            .cloned()
            .collect();
        Some(meant(directory, &groups))
    }
}

/// The local groups that these of a directory mean, each once, in order.
fn meant(directory: &Directory, groups: &[DirectoryGroupRow]) -> Vec<GroupName> {
    let of_it = groups.iter().filter(|group| group.directory == directory.name);
    let mut all: Vec<GroupName> = of_it.filter_map(|group| directory.means(group.display_name.as_deref()).cloned()).collect();
    all.sort();
    all.dedup();
    all
}

/// RFC 7643 §4.1.1: `userName` does not differ by case.
fn name_key(directory: &Directory, user_name: &str) -> String {
    key(&directory.name, "userName", &user_name.to_lowercase())
}

fn external_key(directory: &Directory, external_id: &str) -> String {
    key(&directory.name, "externalId", external_id)
}

fn group_key(directory: &Directory, name: &str) -> String {
    key(&directory.name, "displayName", name)
}

fn group_external_key(directory: &Directory, external_id: &str) -> String {
    key(&directory.name, "group externalId", external_id)
}

fn away(error: store::StoreError) -> ScimError {
    unavailable(error).into()
}

/// A change that was not kept, as the directory is told; `None`: somebody was faster, and it is worth another try.
fn not_kept(error: CommitError) -> Option<ScimError> {
    match error {
        CommitError::Duplicate { what: Unique::DirectoryUser } => {
            Some(ScimError::taken("this directory has somebody with this userName or externalId already"))
        }
        CommitError::Duplicate { what: Unique::DirectoryGroup } => {
            Some(ScimError::taken("this directory has a group with this displayName or externalId already"))
        }
        CommitError::Duplicate { what: Unique::Username } => {
            Some(ScimError::taken("somebody at the gate is or was called this already; names are never given twice"))
        }
        CommitError::Conflict { .. } | CommitError::Illegal(_) | CommitError::Duplicate { .. } => None,
        unavailable @ CommitError::Unavailable(_) => Some(refused(unavailable).into()),
    }
}

fn raced() -> ScimError {
    ScimError { status: 409, kind: None::<ScimType>, detail: "it is being changed by others at this very moment; send it again".to_owned() }
}
