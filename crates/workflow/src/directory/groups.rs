//! Groups of a directory: brought, changed step by step, taken out; and whoever stood on one is decided anew.

use std::collections::BTreeSet;

use access::directory::DirectoryGroupRow;
use access::event::{EntryDraft, Event};
use access::ids::{DirectoryGroupId, PrincipalId};
use access::reason::{Reason, Refusal};
use identity::scim::group::{Group, Step, member_shown};
use identity::scim::schema::{Found, GROUP};
use identity::scim::{Directory, ScimError};
use store::Change;

use super::{IN_ONE_ENTRY, SeenVersion, TRIES, away, group_external_key, group_key, not_kept, raced};
use crate::Caller;
use crate::gate::Gate;

/// What a group is to be, and who comes and goes.
struct Next {
    name: String,
    external_id: Option<String>,
    /// Whether it is called otherwise then.
    renamed: bool,
    added: Vec<PrincipalId>,
    removed: Vec<PrincipalId>,
}

impl Gate {
    /// A directory brings a group.
    ///
    /// # Errors
    /// If it has one by that name, or somebody in it is no user of this directory. Then nothing is kept.
    pub async fn bring_group(&self, caller: &Caller, group: &Group) -> Result<DirectoryGroupRow, ScimError> {
        let directory = self.directory_of(caller)?;
        self.refuse_strangers(directory, &group.members).await?;
        let id = DirectoryGroupId::generate(self.now());
        let next = Next {
            name: group.display_name.clone(),
            external_id: group.external_id.clone(),
            renamed: false,
            added: group.members.clone(),
            removed: Vec::new(),
        };
        let (first, later) = next.added.split_at(next.added.len().min(IN_ONE_ENTRY));
        let added = Event::DirectoryGroupAdded {
            directory: directory.name.clone(),
            group: id,
            name_key: group_key(directory, &next.name),
            external_id_key: next.external_id.as_deref().map(|id| group_external_key(directory, id)),
            members: first.to_vec(),
        };
        let later = if later.is_empty() { Vec::new() } else { self.group_entries(caller, directory, id, &next, later, &[]) };
        let change = Change::new(with_texts(self.said(caller, added), &next)).and_all(later);
        let committed = self.commit(change).await.map_err(|error| not_kept(error).unwrap_or_else(raced))?;
        if directory.means(Some(&next.name)).is_some() {
            self.redecide_people(&next.added.iter().copied().collect()).await;
        }
        committed.rows.directory_groups.into_values().next().ok_or_else(fault)
    }

    /// A directory changes a group of its own, all steps or none.
    ///
    /// # Errors
    /// If it is not this directory's, was changed since it was seen, or a step can't be done.
    pub async fn change_group(&self, caller: &Caller, id: &str, seen: SeenVersion, steps: &[Step]) -> Result<DirectoryGroupRow, ScimError> {
        let directory = self.directory_of(caller)?;
        for _ in 0..TRIES {
            let row = self.directory_group(directory, id).await?;
            seen.is(row.version)?;
            let next = self.after_steps(directory, &row, steps).await?;
            if !next.renamed && next.added.is_empty() && next.removed.is_empty() {
                return Ok(row);
            }
            let mut entries = self.group_entries(caller, directory, row.id, &next, &next.added, &next.removed).into_iter();
            let mut change = Change::new(entries.next().ok_or_else(fault)?).and_all(entries);
            // Who only comes or goes does so whatever else of the group changes at the same time.
            let whole = steps.iter().any(|step| !matches!(step, Step::Add(_) | Step::Remove(_)));
            if whole || seen.0.is_some() {
                change = change.expect(&row);
            }
            // INVARIANT: those whom another name takes a right from are known before it is kept.
            let mut about: BTreeSet<PrincipalId> = next.added.iter().chain(&next.removed).copied().collect();
            let meant = directory.means(row.display_name.as_deref());
            if meant != directory.means(Some(&next.name)) {
                about.extend(self.store.directory_members(row.id).await.map_err(away)?);
            }
            match self.commit(change).await {
                Ok(committed) => {
                    let kept = committed.rows.directory_groups.into_values().next().ok_or_else(fault)?;
                    // It may have been given another name since it was read.
                    if meant.is_some() || directory.means(kept.display_name.as_deref()).is_some() {
                        self.redecide_people(&about).await;
                    }
                    return Ok(kept);
                }
                Err(error) => not_kept(error).map_or(Ok(()), Err)?,
            }
        }
        Err(raced())
    }

    /// A directory has a group no more; nobody is in it.
    ///
    /// # Errors
    /// If it is not this directory's, or was changed since it was seen.
    pub async fn take_out_group(&self, caller: &Caller, id: &str, seen: SeenVersion) -> Result<(), ScimError> {
        let directory = self.directory_of(caller)?;
        for _ in 0..TRIES {
            let row = self.directory_group(directory, id).await?;
            seen.is(row.version)?;
            let members = self.store.directory_members(row.id).await.map_err(away)?;
            let change = Change::new(self.said(caller, Event::DirectoryGroupRemoved { group: row.id })).expect(&row);
            match self.commit(change).await {
                Ok(_) => {
                    if directory.means(row.display_name.as_deref()).is_some() {
                        self.redecide_people(&members.into_iter().collect()).await;
                    }
                    return Ok(());
                }
                Err(error) => not_kept(error).map_or(Ok(()), Err)?,
            }
        }
        Err(raced())
    }

    /// What a group is after these steps. All its members are read only where a step speaks of all.
    async fn after_steps(&self, directory: &Directory, row: &DirectoryGroupRow, steps: &[Step]) -> Result<Next, ScimError> {
        let mut named = Vec::new();
        let mut all = false;
        for step in steps {
            match step {
                Step::Add(people) | Step::Remove(people) => named.extend(people.iter().copied()),
                Step::Replace(_) | Step::RemoveWhere(_) => all = true,
                Step::Name(_) | Step::ExternalId(_) => {}
            }
        }
        let before: BTreeSet<PrincipalId> = if all {
            self.store.directory_members(row.id).await.map_err(away)?.into_iter().collect()
        } else {
            self.store.directory_members_among(row.id, &named).await.map_err(away)?
        };
        let mut now = before.clone();
        let called = row.display_name.clone().unwrap_or_else(|| row.id.to_string());
        let (mut name, mut external_id) = (called.clone(), row.external_id.clone());
        for step in steps {
            match step {
                Step::Name(new) => name.clone_from(new),
                Step::ExternalId(new) => external_id.clone_from(new),
                Step::Add(people) => now.extend(people),
                Step::Remove(people) => {
                    for person in people {
                        now.remove(person);
                    }
                }
                Step::Replace(people) => now = people.iter().copied().collect(),
                Step::RemoveWhere(filter) => {
                    let Found::Attribute(members) = GROUP.find(None, "members") else { return Err(fault()) };
                    now.retain(|person| !filter.matches_value(&GROUP, members, &member_shown(*person, "")));
                }
            }
        }
        let added: Vec<PrincipalId> = now.difference(&before).copied().collect();
        let removed: Vec<PrincipalId> = before.difference(&now).copied().collect();
        self.refuse_strangers(directory, &added).await?;
        let renamed = name != called || external_id != row.external_id;
        Ok(Next { name, external_id, renamed, added, removed })
    }

    /// Refused if anybody of these is no user of this directory: half a group is none.
    async fn refuse_strangers(&self, directory: &Directory, people: &[PrincipalId]) -> Result<(), ScimError> {
        let known = self.store.known_to_directory(&directory.name, people).await.map_err(away)?;
        match people.iter().find(|person| !known.contains(person)) {
            Some(stranger) => Err(ScimError::value(format!("members: `{stranger}` is no user of this directory"))),
            None => Ok(()),
        }
    }

    /// The entries that say that a group changed, none longer than a leaf of the log may be.
    fn group_entries(
        &self,
        caller: &Caller,
        directory: &Directory,
        group: DirectoryGroupId,
        next: &Next,
        mut added: &[PrincipalId],
        mut removed: &[PrincipalId],
    ) -> Vec<EntryDraft> {
        let mut entries = Vec::new();
        loop {
            let (some, later) = added.split_at(added.len().min(IN_ONE_ENTRY));
            let (less, later_less) = removed.split_at(removed.len().min(IN_ONE_ENTRY - some.len()));
            // INVARIANT: an entry that does not rename a group says nothing of its name: another change may have given it a new one.
            let renames = next.renamed && entries.is_empty();
            let name_key = renames.then(|| group_key(directory, &next.name));
            let external_id = next.external_id.as_deref().filter(|_| renames);
            let external_id_key = external_id.map(|id| group_external_key(directory, id));
            let (come, gone) = (some.to_vec(), less.to_vec());
            let changed = Event::DirectoryGroupChanged { group, name_key, external_id_key, added: come, removed: gone };
            let draft = self.said(caller, changed);
            entries.push(if renames { with_texts(draft, next) } else { draft });
            (added, removed) = (later, later_less);
            if added.is_empty() && removed.is_empty() {
                return entries;
            }
        }
    }
}

fn with_texts(draft: EntryDraft, next: &Next) -> EntryDraft {
    draft.text("display_name", Some(next.name.clone())).text("external_id", next.external_id.clone())
}

fn fault() -> ScimError {
    Refusal::of(Reason::Internal).into()
}
