//! The token by which a directory speaks, and how far it has come: for administrators.

use std::collections::BTreeSet;

use access::event::{Actor, Event};
use access::identity::{Mfa, Scope};
use access::ids::{PrincipalId, WorkloadId};
use access::names::Username;
use access::reason::{Reason, Refusal};
use access::time::Span;
use identity::scim::Directory;
use policy::{Act, Noun, Object};
use store::{Change, DirectoryCounts, EntryFilter, LoggedEntry, TokenRow};

use super::TOKEN;
use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::people::LONGEST_NAME;
use crate::submit::fits;
use crate::tokens::{IssuedToken, TOKEN_LONGEST};

/// How far a directory has come.
#[derive(Debug, Clone)]
pub struct DirectoryStatus {
    /// As it is configured.
    pub directory: Directory,
    /// What it has brought.
    pub counts: DirectoryCounts,
    /// Its tokens, revoked ones too, newest first.
    pub tokens: Vec<TokenRow>,
    /// Who answers for it; `None`: it has no token yet.
    pub owner: Option<PrincipalId>,
    /// Whether who answers for it may sign in. It goes on if not: the first who left would else be the last it tells of.
    pub owner_is_active: bool,
}

impl Gate {
    /// Makes a token by which a directory speaks; the first time it makes the machine known that has it, and who makes it answers for that.
    ///
    /// # Errors
    /// If the caller may not, no such directory is configured, its name is a person's, or the token would last too long.
    pub async fn issue_directory_token(
        &self,
        caller: &Caller,
        name: &Username,
        valid: Span,
        label: Option<String>,
    ) -> Result<IssuedToken, Refusal> {
        self.authorize(caller, Act::Administer(Noun::Directory), &Object::Nothing).await?;
        if self.directories().all(|directory| directory.name != *name) {
            return Err(Refusal::because(Reason::NotFound, format!("the gate's configuration names no directory `{name}`")));
        }
        if valid == Span::default() || valid > TOKEN_LONGEST {
            return Err(Refusal::because(Reason::Invalid, format!("a token has a life of at most {TOKEN_LONGEST}")));
        }
        fits("a label", label.as_deref(), LONGEST_NAME)?;
        let known = self.store.person_named(name).await.map_err(unavailable)?;
        let (person, created) = match (known, caller.who.id()) {
            (Some(row), _) if matches!(row.id, PrincipalId::Workload(_)) => (row.id, None),
            (Some(_), _) => {
                return Err(Refusal::because(
                    Reason::Invalid,
                    format!("`{name}` is a person; give the directory another name in the configuration"),
                ));
            }
            (None, PrincipalId::User(owner)) => {
                let person = PrincipalId::Workload(WorkloadId::generate(self.now()));
                let created = Event::PersonCreated { person, username: name.clone(), owner: Some(owner), groups: Vec::new() };
                (person, Some(self.draft(caller, created).text("display_name", Some(format!("directory {name}")))))
            }
            (None, PrincipalId::Workload(_)) => {
                return Err(Refusal::because(Reason::NotAllowed, "a human makes a directory's first token, and answers for it"));
            }
        };
        let (row, token) = self.new_token(person, vec![Scope::Directory], None, valid, Mfa::None, label);
        let row = TokenRow { made_by: caller.who.id(), ..row };
        let issued = self.token_issued(caller, &row)?;
        let change = match created {
            Some(created) => Change::new(created).and(issued),
            None => Change::new(issued),
        };
        self.commit(change.put_token(&row)).await.map_err(refused)?;
        Ok(IssuedToken { row, token })
    }

    /// Whether a directory brought somebody, linked an account to them or put them into a group by a token that `maker` made.
    pub(crate) async fn brought_by_token_of(&self, maker: PrincipalId, person: PrincipalId) -> Result<bool, Refusal> {
        let Some(row) = self.store.directory_user(person).await.map_err(unavailable)? else { return Ok(false) };
        let Some(machine) = self.store.person_named(&row.directory).await.map_err(unavailable)? else { return Ok(false) };
        let made: BTreeSet<String> = self.tokens_made_by(maker, machine.id).await?.into_iter().map(|row| row.id.to_string()).collect();
        if made.is_empty() {
            return Ok(false);
        }
        for name in ["directory.user_added", "identity.linked", "directory.group_added", "directory.group_changed"] {
            let with_it = |logged: &LoggedEntry| {
                let about_them = match &logged.entry.event {
                    Event::DirectoryUserAdded { person: whom, .. } | Event::IdentityLinked { person: whom, .. } => *whom == person,
                    Event::DirectoryGroupAdded { members: come, .. } | Event::DirectoryGroupChanged { added: come, .. } => {
                        come.contains(&person)
                    }
                    _ => false,
                };
                // An erased text excuses nobody.
                about_them && logged.entry.text(TOKEN).is_none_or(|token| made.contains(token))
            };
            if self.any_entry(by(machine.id, person, name), with_it).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether somebody made a token, good still or not, by which a directory speaks.
    pub(crate) async fn connected_directory(&self, maker: PrincipalId, directory: &Username) -> Result<bool, Refusal> {
        let Some(machine) = self.store.person_named(directory).await.map_err(unavailable)? else { return Ok(false) };
        Ok(!self.tokens_made_by(maker, machine.id).await?.is_empty())
    }

    async fn tokens_made_by(&self, maker: PrincipalId, machine: PrincipalId) -> Result<Vec<TokenRow>, Refusal> {
        let all = self.store.tokens_of(machine).await.map_err(unavailable)?;
        Ok(all.into_iter().filter(|row| row.made_by == maker && row.scopes.0.contains(&Scope::Directory)).collect())
    }

    /// How far every directory has come.
    ///
    /// # Errors
    /// If the caller may not, or the store can't be read.
    pub async fn directory_status(&self, caller: &Caller) -> Result<Vec<DirectoryStatus>, Refusal> {
        self.authorize(caller, Act::Administer(Noun::Directory), &Object::Nothing).await?;
        let mut all = Vec::new();
        for directory in self.directories() {
            let counts = self.store.directory_counts(&directory.name).await.map_err(unavailable)?;
            let machine = self.store.person_named(&directory.name).await.map_err(unavailable)?;
            let machine = machine.filter(|row| matches!(row.id, PrincipalId::Workload(_)));
            let (mut tokens, mut owner, mut owner_is_active) = (Vec::new(), None, false);
            if let Some(machine) = machine {
                tokens = self.store.tokens_of(machine.id).await.map_err(unavailable)?;
                tokens.retain(|token| token.scopes.0.contains(&Scope::Directory));
                owner = machine.owner.map(PrincipalId::User);
                if let Some(owner) = owner {
                    let row = self.store.person(owner).await.map_err(unavailable)?;
                    owner_is_active = row.is_some_and(|row| row.state == access::identity::PersonState::Active);
                }
            }
            all.push(DirectoryStatus { directory: directory.clone(), counts, tokens, owner, owner_is_active });
        }
        Ok(all)
    }
}

/// What somebody did to another, by the name of the event.
fn by(actor: PrincipalId, whom: PrincipalId, name: &str) -> EntryFilter {
    EntryFilter {
        mentions: Some(whom.to_string()),
        actor: Some(Actor::Principal(actor)),
        name: Some(name.to_owned()),
        ..EntryFilter::default()
    }
}
