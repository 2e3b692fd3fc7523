//! People of a directory: brought, changed, let in and shut out, taken out.

use access::directory::DirectoryUserRow;
use access::event::{EntryDraft, Event};
use access::identity::{IdentityRow, KeyState, PersonRow, PersonState};
use access::ids::{PrincipalId, UserId};
use access::names::Username;
use access::reason::{Reason, Refusal};
use identity::oidc::account::key as identity_key;
use identity::scim::user::User;
use identity::scim::{Directory, ScimError, Subject};
use store::{Change, PasskeyRow, TokenRow};

use super::{SeenVersion, TRIES, away, external_key, name_key, not_kept, raced};
use crate::Caller;
use crate::gate::Gate;

/// Who a user of a directory will be here.
struct Joined {
    /// Their row, if they are known here.
    person: Option<PersonRow>,
    /// What the directory had of them before.
    before: Option<DirectoryUserRow>,
    /// Who they are at the identity provider, and whose that is here now.
    identity: Option<(String, String, String, Option<IdentityRow>)>,
    /// How they are called here, if they are new.
    username: Username,
}

impl Gate {
    /// A directory brings somebody: new, or known here by the account they sign in with, or taken out before under the same `externalId`.
    ///
    /// # Errors
    /// If they are half a user, another has what only one can have, or they are somebody whom this directory may not touch.
    pub async fn bring_user(&self, caller: &Caller, user: &User) -> Result<DirectoryUserRow, ScimError> {
        let directory = self.directory_of(caller)?;
        for _ in 0..TRIES {
            let joined = match self.joined(directory, user).await {
                Ok(joined) => joined,
                Err(error) => return Err(self.enter_refused_directory(caller, "bring_user", directory.name.to_string(), error).await),
            };
            let active = user.active.unwrap_or(true);
            let now = self.now();
            let known = joined.person.as_ref();
            let id = known.map_or_else(|| PrincipalId::User(UserId::generate(now)), |person| person.id);
            let mut drafts = Vec::new();
            if known.is_none() {
                let created = Event::PersonCreated { person: id, username: joined.username.clone(), owner: None, groups: Vec::new() };
                drafts.push(self.said(caller, created).text("display_name", user.profile.called()));
            }
            if let Some((identity, issuer, subject, None)) = &joined.identity {
                let linked = Event::IdentityLinked { identity: identity.clone(), person: id, issuer: issuer.clone() };
                drafts.push(self.said(caller, linked).text("subject", Some(subject.clone())));
            }
            let state = known.map_or(PersonState::Active, |person| person.state);
            let was_shut = joined.before.as_ref().is_some_and(|before| before.shut);
            let shut = self.as_directory_says(caller, &mut drafts, (id, state), was_shut, active, !active || was_shut);
            let added = Event::DirectoryUserAdded {
                directory: directory.name.clone(),
                person: id,
                user_name_key: name_key(directory, &user.user_name),
                external_id_key: user.external_id.as_deref().map(|id| external_key(directory, id)),
                active,
                shut,
            };
            drafts.push(with_texts(self.said(caller, added), Some(&user.user_name), user));
            let mut drafts = drafts.into_iter();
            let Some(first) = drafts.next() else { break };
            let mut change = Change::new(first).and_all(drafts);
            if let Some(before) = &joined.before {
                change = change.expect(before);
            }
            if let Some(person) = known {
                change = change.expect(person);
            }
            match self.commit(change).await {
                Ok(committed) => {
                    if !active && known.is_some() {
                        self.shut_out(id).await;
                    } else if known.is_some() {
                        // From here on their groups are the directory's to say.
                        self.redecide_people(&[id].into()).await;
                    }
                    return committed.rows.directory_users.into_values().next().ok_or_else(fault);
                }
                Err(error) => not_kept(error).map_or(Ok(()), Err)?,
            }
        }
        Err(raced())
    }

    /// Who somebody will be here.
    async fn joined(&self, directory: &Directory, user: &User) -> Result<Joined, ScimError> {
        let username = directory.username(&user.user_name)?;
        if self.directory_user_named(directory, &user.user_name).await?.is_some() {
            return Err(ScimError::taken(format!("this directory has somebody with the userName `{}` already", user.user_name)));
        }
        // 1. By what the directory itself calls them.
        let mut before = None;
        if let Some(external_id) = &user.external_id {
            let rows = self.store.directory_users_called(&directory.name, &external_key(directory, external_id)).await.map_err(away)?;
            if rows.iter().any(DirectoryUserRow::is_there) {
                return Err(ScimError::taken("this directory has somebody with this externalId already"));
            }
            before = rows.into_iter().next();
        }
        // 2. By the account they sign in with: issuer and subject, never an address.
        let identity = self.identity_in(directory, user).await?;
        let mut person = match &before {
            Some(before) => self.store.person(before.id).await.map_err(away)?,
            None => None,
        };
        if let Some((_, _, _, Some(row))) = &identity {
            if before.as_ref().is_some_and(|before| before.id != row.person) {
                return Err(ScimError::taken(
                    "the account they sign in with is somebody else's here than they were; an administrator links it",
                ));
            }
            if before.is_none() {
                before = self.store.directory_user(row.person).await.map_err(away)?;
                if before.as_ref().is_some_and(|before| before.is_there() || before.directory != directory.name) {
                    return Err(ScimError::taken("the account they sign in with is that of somebody whom a directory has already"));
                }
            }
            person = self.store.person(row.person).await.map_err(away)?;
        } else if before.is_some() && identity.is_some() {
            // INVARIANT: what a directory calls somebody it can give to another; nobody gets another account by coming back.
            return Err(ScimError::taken(
                "whom this directory had under this externalId signed in with another account; if it is them, an administrator links this one \
                 (`tidegate user link`), else give them another externalId",
            ));
        }
        // What somebody is called here never changes; that of another must not seem to be theirs.
        if let Some(person) = &person
            && self.store.person_named(&username).await.map_err(away)?.is_some_and(|other| other.id != person.id)
        {
            return Err(ScimError::taken(format!("`{username}` is or was somebody else at the gate; nobody becomes somebody else")));
        }
        // 3. Else they are new, and their name must be nobody's.
        if person.is_none() {
            if self.store.person_named(&username).await.map_err(away)?.is_some() {
                return Err(ScimError::taken(format!(
                    "`{username}` is or was somebody at the gate whom this directory did not bring; if it is them, an administrator links the \
                     account they sign in with (`tidegate user link`), else give them another userName"
                )));
            }
            // INVARIANT: a name that a directory gives opens nothing that policy keeps for it, unless the configuration says that it may.
            if !directory.brings_named && self.bundle().names_person(&username) {
                return Err(Refusal::because(
                    Reason::NotAllowed,
                    format!("the policy names `{username}`, and `brings_named` does not let this directory say who that is; an administrator invites them"),
                )
                .into());
            }
        }
        Ok(Joined { person, before, identity, username })
    }

    /// Who somebody is at the identity provider that goes with a directory, if one does: digest, issuer, subject, and whose that is here.
    async fn identity_in(
        &self,
        directory: &Directory,
        user: &User,
    ) -> Result<Option<(String, String, String, Option<IdentityRow>)>, ScimError> {
        let Some((issuer, subject)) = &directory.signs_in else { return Ok(None) };
        let text = match subject {
            Subject::ExternalId => user.external_id.clone(),
            Subject::UserName => Some(user.user_name.clone()),
        };
        let text = text.ok_or_else(|| {
            ScimError::value(
                "externalId is missing: it says by which account they sign in; map what the identity provider calls them to it",
            )
        })?;
        let identity = identity_key(issuer, &text);
        let row = self.store.identity(&identity).await.map_err(away)?;
        Ok(Some((identity, issuer.clone(), text, row)))
    }

    /// Enters whether somebody may sign in, as the directory says; whether they are disabled because of it now.
    fn as_directory_says(
        &self,
        caller: &Caller,
        drafts: &mut Vec<EntryDraft>,
        (person, state): (PrincipalId, PersonState),
        was_shut: bool,
        active: bool,
        news: bool,
    ) -> bool {
        match (active, state) {
            (false, PersonState::Active) => {
                let event = Event::PersonDisabled { person };
                drafts.push(self.said(caller, event).text("reason", Some("the directory says that they may not sign in")));
                true
            }
            // INVARIANT: whom an administrator disabled, a directory does not let in again.
            (true, PersonState::Disabled) if was_shut && news => {
                drafts.push(self.said(caller, Event::PersonEnabled { person }));
                false
            }
            (false, PersonState::Disabled) => was_shut,
            (true, PersonState::Disabled) => was_shut && !news,
            (true, PersonState::Active) => false,
        }
    }

    /// A directory says something of somebody it has: `change` makes of what is kept what is to be. Nothing is entered if that is the same.
    ///
    /// # Errors
    /// If they are not this directory's, were changed since they were seen, or what is said cannot be.
    pub async fn change_user(
        &self,
        caller: &Caller,
        id: &str,
        seen: SeenVersion,
        change: impl Fn(&User) -> Result<User, ScimError>,
    ) -> Result<DirectoryUserRow, ScimError> {
        let directory = self.directory_of(caller)?;
        for _ in 0..TRIES {
            let row = self.directory_user(directory, id).await?;
            seen.is(row.version)?;
            let old = User::kept(&row);
            let mut new = change(&old)?;
            let active = *new.active.get_or_insert(row.active);
            let person = self.store.person(row.id).await.map_err(away)?.ok_or_else(fault)?;
            let mut drafts = match self.renamed(caller, directory, (&row, &person), (&old, &new)).await {
                Ok(drafts) => drafts,
                Err(error) => return Err(self.enter_refused_directory(caller, "change_user", row.id.to_string(), error).await),
            };
            let shut = self.as_directory_says(caller, &mut drafts, (row.id, person.state), row.shut, active, active && !row.active);
            if drafts.is_empty() && new == old && shut == row.shut {
                return Ok(row);
            }
            // What was erased and is not said anew stays erased, and they are found by it as before.
            let said = (!unsaid(&row, &new)).then_some(&new.user_name);
            let (user_name_key, external_id_key) = keys(directory, &row, &new);
            let changed = Event::DirectoryUserChanged { person: row.id, user_name_key, external_id_key, active, shut };
            let changed = with_texts(self.said(caller, changed), said, &new);
            let kept = Change::new(changed).and_all(drafts).expect(&row).expect(&person);
            match self.commit(kept).await {
                Ok(committed) => {
                    if !active {
                        self.shut_out(row.id).await;
                    }
                    return committed.rows.directory_users.into_values().next().ok_or_else(fault);
                }
                Err(error) => not_kept(error).map_or(Ok(()), Err)?,
            }
        }
        Err(raced())
    }

    /// What of somebody's names is to be entered besides; refused where another name would make them somebody else.
    async fn renamed(
        &self,
        caller: &Caller,
        directory: &Directory,
        (row, person): (&DirectoryUserRow, &PersonRow),
        (old, new): (&User, &User),
    ) -> Result<Vec<EntryDraft>, ScimError> {
        let mut drafts = Vec::new();
        let (user_name_key, external_id_key) = keys(directory, row, new);
        let renamed = user_name_key != row.user_name_key;
        if renamed {
            if let Some(other) = self.directory_user_named(directory, &new.user_name).await?
                && other.id != row.id
            {
                return Err(ScimError::taken(format!("this directory has somebody else with the userName `{}`", new.user_name)));
            }
            // What somebody is called here never changes; that of another must not seem to be theirs.
            if let Ok(username) = directory.username(&new.user_name)
                && self.store.person_named(&username).await.map_err(away)?.is_some_and(|other| other.id != row.id)
            {
                return Err(ScimError::taken(format!("`{username}` is or was somebody else at the gate; nobody becomes somebody else")));
            }
        }
        let recalled = external_id_key != row.external_id_key;
        if recalled && let Some(external_id) = &new.external_id {
            let others = self.store.directory_users_called(&directory.name, &external_key(directory, external_id)).await.map_err(away)?;
            if others.iter().any(|other| other.id != row.id) {
                return Err(ScimError::taken("this externalId is or was somebody else's in this directory"));
            }
        }
        // INVARIANT: by whom they sign in with, people are known; who would get another's account would be another.
        let changes_account = match directory.subject() {
            Some(Subject::ExternalId) => recalled,
            Some(Subject::UserName) => renamed,
            None => false,
        };
        if changes_account {
            if directory.subject() == Some(Subject::UserName) || row.external_id_key.is_some() {
                let attribute = directory.subject().map_or("", Subject::attribute);
                return Err(ScimError::mutability(format!(
                    "{attribute} says by which account they sign in, and stays; take them out and bring them again if they are somebody else"
                )));
            }
            match self.identity_in(directory, new).await? {
                Some((_, _, _, Some(other))) if other.person != row.id => {
                    return Err(ScimError::taken("the account that this externalId names is somebody else's at the gate"));
                }
                Some((identity, issuer, subject, None)) => {
                    let linked = Event::IdentityLinked { identity, person: row.id, issuer };
                    drafts.push(self.said(caller, linked).text("subject", Some(subject)));
                }
                _ => {}
            }
        }
        let called = new.profile.called();
        if called != old.profile.called() && called != person.display_name {
            drafts.push(self.said(caller, Event::PersonRenamed { person: row.id }).text("display_name", called));
        }
        Ok(drafts)
    }

    /// A directory has somebody no more: they are shut out, and in none of its groups.
    ///
    /// # Errors
    /// If they are not this directory's, or were changed since they were seen.
    pub async fn take_out_user(&self, caller: &Caller, id: &str, seen: SeenVersion) -> Result<(), ScimError> {
        let directory = self.directory_of(caller)?;
        for _ in 0..TRIES {
            let row = self.directory_user(directory, id).await?;
            seen.is(row.version)?;
            let person = self.store.person(row.id).await.map_err(away)?.ok_or_else(fault)?;
            let groups = self.store.directory_groups_of(row.id).await.map_err(away)?.into_iter().map(|group| group.id).collect();
            let mut drafts = Vec::new();
            let shut = self.as_directory_says(caller, &mut drafts, (row.id, person.state), row.shut, false, false);
            let removed = Event::DirectoryUserRemoved { person: row.id, shut, groups };
            let change = Change::new(self.said(caller, removed)).and_all(drafts).expect(&row).expect(&person);
            // INVARIANT: who is brought again signs in anew; no key or token of before waits for them.
            let change = self.without_ways_in(caller, row.id, change).await?;
            match self.commit(change).await {
                Ok(_) => {
                    self.shut_out(row.id).await;
                    return Ok(());
                }
                Err(error) => not_kept(error).map_or(Ok(()), Err)?,
            }
        }
        Err(raced())
    }

    /// With every key, token and passkey of somebody taken away.
    async fn without_ways_in(&self, caller: &Caller, person: PrincipalId, mut change: Change) -> Result<Change, ScimError> {
        for key in self.store.keys_of(person).await.map_err(away)? {
            if key.state == KeyState::Active {
                change = change.and(self.said(caller, Event::KeyRemoved { key: key.id }));
            }
        }
        for row in self.store.tokens_of(person).await.map_err(away)? {
            if row.revoked_at.is_none() && row.expires_at > self.now() {
                let row = TokenRow { revoked_at: Some(self.now()), ..row };
                let row_digest = self.row_digest(&store::digestible(&row))?;
                change = change.and(self.said(caller, Event::TokenRevoked { token: row.id, row_digest })).revoke_token(&row);
            }
        }
        for row in self.store.passkeys_of(person).await.map_err(away)? {
            if row.removed_at.is_none() {
                let row = PasskeyRow { removed_at: Some(self.now()), version: row.version + 1, ..row };
                let row_digest = self.row_digest(&store::digestible(&row))?;
                let removed = Event::PasskeyRemoved { passkey: row.id, person, row_digest };
                change = change.and(self.said(caller, removed)).remove_passkey(&row);
            }
        }
        Ok(change)
    }
}

/// Whether somebody's `userName` was erased, and is not said anew.
fn unsaid(row: &DirectoryUserRow, new: &User) -> bool {
    row.user_name.is_none() && new.user_name == User::kept(row).user_name
}

/// By what they will be found: as before, where what it is made of was erased and is not said anew.
fn keys(directory: &Directory, row: &DirectoryUserRow, new: &User) -> (String, Option<String>) {
    let user_name = if unsaid(row, new) { row.user_name_key.clone() } else { name_key(directory, &new.user_name) };
    let external_id = match &new.external_id {
        None if row.external_id.is_none() => row.external_id_key.clone(),
        said => said.as_deref().map(|id| external_key(directory, id)),
    };
    (user_name, external_id)
}

fn with_texts(draft: EntryDraft, user_name: Option<&String>, user: &User) -> EntryDraft {
    let profile = serde_json::to_string(&user.profile).ok();
    draft.text("user_name", user_name.cloned()).text("external_id", user.external_id.clone()).text("profile", profile)
}

fn fault() -> ScimError {
    Refusal::of(Reason::Internal).into()
}
