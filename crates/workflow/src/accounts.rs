//! Accounts made in databases for grants.
//!
//! *Takes* a session that is about to open under a role whose grants have accounts of their own. *Proves* that an account with just the
//! grant's rights is at the target, entered in the log before it was made. *Hands to* the permit its name and password; once its last session has left, or
//! after a crash, to the sweep, which drops it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use access::account::{AccountRow, login_of};
use access::event::Event;
use access::grant::GrantRow;
use access::ids::{AccountId, GrantId, SessionId};
use access::reason::{Reason, Refusal};
use access::rights::{DatabaseRights, Rights};
use access::secret::Secret;
use access::session::{DatabaseCredential, SessionFacts};
use access::time::Span;
use credentials::database::{AccountError, Engine, NewAccount, Server, random_password};
use jiff::Timestamp;
use policy::{AccountMaker, Bundle, Kind, Resource};
use store::Change;
use tokio::sync::OnceCell;

use crate::gate::{Gate, refused, unavailable};

/// How many connections one account may have at once: a session's end at the server takes one of its own, and all of them may be ended at
/// the same moment.
const CONNECTIONS: u32 = 2 * SESSIONS + 16;
/// How many sessions share one account.
const SESSIONS: u32 = 48;
/// How much longer than its grant an account opens, for sessions that were about to.
const SLACK: Span = Span::minutes(1);
/// The longest pause between tries to drop an account whose server does not answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// An account that is in use, or being made.
#[derive(Debug)]
struct Held {
    grant: GrantId,
    rights: DatabaseRights,
    /// The login whose rights it has, if it is not just those.
    member_of: Option<String>,
    until: Option<Timestamp>,
    /// Until when it has to open since its grant was extended, if the server does not know that yet.
    wanted: Option<Timestamp>,
    password: Secret<String>,
    sessions: BTreeSet<SessionId>,
    /// Set once it is at the target.
    made: Arc<OnceCell<()>>,
}

/// The accounts that sessions of this node use. Its lock is held for a few loads and stores, never across input or output.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    held: Mutex<HashMap<AccountId, Held>>,
    /// Accounts whose dropping failed: when to try again, and how long to wait after that.
    failing: Mutex<HashMap<AccountId, (std::time::Instant, Duration)>>,
}

/// What an opening session needs of an account.
struct Joined {
    id: AccountId,
    member_of: Option<String>,
    password: Secret<String>,
    made: Arc<OnceCell<()>>,
    until: Option<Timestamp>,
}

impl Accounts {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<AccountId, Held>) -> T) -> T {
        f(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Joins an account of the grant with the same rights that lasts as long, or begins one.
    fn join(
        &self,
        facts: &SessionFacts,
        rights: &DatabaseRights,
        member_of: Option<String>,
        now: Timestamp,
    ) -> Result<Joined, AccountError> {
        let fresh = random_password()?;
        Ok(self.with(|all| {
            let lasts = |held: &Held| match (held.until, facts.ends_at) {
                (None, _) => true,
                (Some(until), Some(end)) => end <= until,
                (Some(_), None) => false,
            };
            let same = |held: &Held| held.grant == facts.grant && held.rights == *rights && held.member_of == member_of;
            let found = all.iter_mut().find(|(_, held)| same(held) && lasts(held) && held.sessions.len() < SESSIONS as usize);
            if let Some((id, held)) = found {
                held.sessions.insert(facts.session);
                return Joined { id: *id, member_of, password: held.password.clone(), made: Arc::clone(&held.made), until: held.until };
            }
            let (id, until, made) = (AccountId::generate(now), facts.ends_at.map(|end| SLACK.after(end)), Arc::new(OnceCell::new()));
            let sessions = BTreeSet::from([facts.session]);
            let (grant, rights, password) = (facts.grant, rights.clone(), fresh.clone());
            let held =
                Held { grant, rights, member_of: member_of.clone(), until, wanted: None, password, sessions, made: Arc::clone(&made) };
            all.insert(id, held);
            Joined { id, member_of, password: fresh, made, until }
        }))
    }

    /// A grant ends later. Its sessions go on, and to end one at its server its account has to open until then.
    pub(crate) fn extended(&self, grant: GrantId, ends_at: Option<Timestamp>) {
        let wanted = ends_at.map(|end| SLACK.after(end));
        self.with(|all| {
            for held in all.values_mut().filter(|held| held.grant == grant && held.until.is_some() && held.until < wanted) {
                held.wanted = wanted;
            }
        });
    }

    /// The accounts whose server does not know of their later end.
    fn behind(&self) -> Vec<(AccountId, Timestamp)> {
        self.with(|all| all.iter().filter_map(|(id, held)| Some((*id, held.wanted.filter(|_| held.made.initialized())?))).collect())
    }

    fn prolonged(&self, id: AccountId, until: Timestamp) {
        self.with(|all| {
            if let Some(held) = all.get_mut(&id) {
                held.until = Some(until);
                held.wanted = held.wanted.filter(|wanted| *wanted != until);
            }
        });
    }

    /// A session is over, or never opened.
    pub(crate) fn release(&self, session: SessionId) {
        self.with(|all| {
            for held in all.values_mut() {
                held.sessions.remove(&session);
            }
        });
    }

    /// Whether some session uses the account; if none does, nobody will from now on.
    fn is_used(&self, id: AccountId) -> bool {
        self.with(|all| match all.get(&id) {
            Some(held) if !held.sessions.is_empty() => true,
            Some(_) => {
                all.remove(&id);
                false
            }
            None => false,
        })
    }

    fn is_due(&self, id: AccountId) -> bool {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.get(&id).is_none_or(|(next, _)| *next <= std::time::Instant::now())
    }

    fn failed(&self, id: AccountId) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = failing.get(&id).map_or(Duration::from_secs(1), |(_, pause)| (*pause * 2).min(LONGEST_PAUSE));
        failing.insert(id, (std::time::Instant::now() + pause, pause));
    }

    fn succeeded(&self, id: AccountId) {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

impl Gate {
    /// What opens a database for a session: the account that is there already, or one of the grant's own if the role says so or is
    /// restricted.
    pub(crate) async fn database_credential(
        &self,
        resource: &Resource,
        facts: &SessionFacts,
        row: &GrantRow,
        whole: &Rights,
        login: String,
    ) -> Result<DatabaseCredential, Refusal> {
        match row.limits.narrow(whole.clone()) {
            Rights::Database(rights) if rights.has_own_account() => self.own_account(resource, facts, &rights, login).await,
            _ => self.stored_account(resource, login).await,
        }
    }

    async fn own_account(
        &self,
        resource: &Resource,
        facts: &SessionFacts,
        rights: &DatabaseRights,
        login: String,
    ) -> Result<DatabaseCredential, Refusal> {
        // INVARIANT: an account is a member of nothing where statements are judged.
        let member_of = rights.unrestricted.then_some(login);
        let joined = self.accounts.join(facts, rights, member_of, self.now()).map_err(account_trouble)?;
        let made = async {
            if !joined.made.initialized() {
                // Before anybody waits for anybody: a vault that is slow holds up each of them once.
                let server = self.account_server(resource).await?;
                joined.made.get_or_try_init(|| self.make_account(&server, resource, facts, rights, &joined)).await?;
            }
            Ok::<(), Refusal>(())
        }
        .await;
        match made {
            Ok(()) => Ok(DatabaseCredential::Account { user: login_of(joined.id), password: joined.password }),
            Err(refusal) => {
                self.accounts.release(facts.session);
                Err(refusal)
            }
        }
    }

    async fn make_account(
        &self,
        server: &Server,
        resource: &Resource,
        facts: &SessionFacts,
        rights: &DatabaseRights,
        joined: &Joined,
    ) -> Result<(), Refusal> {
        // INVARIANT: entered before it is made, so that whatever a crash leaves behind is found and dropped.
        let created = Event::AccountCreated {
            account: joined.id,
            grant: facts.grant,
            resource: resource.name.clone(),
            node: self.settings.node.clone(),
        };
        self.commit(Change::new(self.own_draft(created))).await.map_err(refused)?;
        let account = NewAccount {
            name: login_of(joined.id),
            password: joined.password.clone(),
            until: joined.until,
            connections: CONNECTIONS,
            member_of: joined.member_of.clone(),
        };
        server.make(&account, rights).await.map_err(account_trouble)
    }

    /// The server of a resource, with the account that makes others there.
    async fn account_server(&self, resource: &Resource) -> Result<Server, Refusal> {
        let Some(AccountMaker { secret, .. }) = &resource.accounts else {
            let why = format!("`{}` has no `accounts` in its policy, so nobody can make the account that its role needs", resource.name);
            return Err(Refusal::because(Reason::TargetRefused, why));
        };
        if resource.kind == Kind::Postgres && resource.database.is_none() {
            let why = format!("`{}` names no `database`, and the rights of a restricted role are in one", resource.name);
            return Err(Refusal::because(Reason::TargetRefused, why));
        }
        let password = self.opener(secret).await?;
        let none = || Refusal::because(Reason::Internal, format!("a resource of kind {} has no accounts", resource.kind));
        server(resource, password).ok_or_else(none)
    }

    /// The names of the accounts that the gate has made at a server and not dropped, whichever resource of the policy they were made for.
    pub(crate) async fn accounts_made_at(&self, bundle: &Bundle, kind: Kind, address: &str) -> Result<BTreeSet<String>, Refusal> {
        let mut made = BTreeSet::new();
        let same = |other: &&Resource| other.kind == kind && other.address.to_string().eq_ignore_ascii_case(address);
        for resource in bundle.resources().filter(same) {
            let rows = self.store.made_accounts_on(&resource.name).await.map_err(unavailable)?;
            made.extend(rows.into_iter().map(|row| login_of(row.id)));
        }
        Ok(made)
    }

    /// The accounts and rights of a database, as the account that makes others sees them.
    pub(crate) async fn survey_database(&self, resource: &Resource) -> Result<credentials::database::Survey, Refusal> {
        self.account_server(resource).await?.survey().await.map_err(account_trouble)
    }

    async fn prolong_accounts(&self, made: &[AccountRow]) {
        for (id, until) in self.accounts.behind() {
            let Some(row) = made.iter().find(|row| row.id == id).filter(|_| self.accounts.is_due(id)) else { continue };
            let prolonged = async { self.server_of(row).await?.prolong(&login_of(id), until).await.map_err(account_trouble) };
            match prolonged.await {
                Ok(()) => {
                    self.accounts.succeeded(id);
                    self.accounts.prolonged(id, until);
                }
                Err(error) => {
                    self.accounts.failed(id);
                    tracing::warn!(%error, account = %id, resource = %row.resource, "an account could not be prolonged; it is tried again");
                }
            }
        }
    }

    /// Drops every account that no session of this node uses: those whose last session has left, and those a crash left behind. The others
    /// open as long as their grants do.
    pub async fn drop_unused_accounts(&self) {
        let made = match self.store.made_accounts(&self.settings.node).await {
            Ok(made) => made,
            Err(error) => return tracing::debug!(%error, "the accounts cannot be read; the next sweep looks again"),
        };
        self.prolong_accounts(&made).await;
        let unused = made.into_iter().filter(|row| !self.accounts.is_used(row.id) && self.accounts.is_due(row.id));
        futures::future::join_all(unused.map(|row| self.drop_account(row))).await;
    }

    async fn drop_account(&self, row: AccountRow) {
        match self.try_drop(&row).await {
            Ok(()) => {
                self.accounts.succeeded(row.id);
                let dropped = self.own_draft(Event::AccountDropped { account: row.id });
                if let Err(error) = self.commit(Change::new(dropped).expect(&row)).await {
                    tracing::debug!(%error, "an account is gone and that could not be entered; the next sweep does");
                }
            }
            Err(error) => {
                self.accounts.failed(row.id);
                tracing::warn!(%error, account = %row.id, resource = %row.resource, "an account could not be dropped; it is tried again");
            }
        }
    }

    async fn try_drop(&self, row: &AccountRow) -> Result<(), Refusal> {
        self.server_of(row).await?.drop(&login_of(row.id)).await.map_err(account_trouble)
    }

    /// The server that an account is at. A resource that left the policy, or names nobody any more who makes accounts, is reached as the
    /// policy said when the account's grant was made: what is left there has to go all the same.
    async fn server_of(&self, row: &AccountRow) -> Result<Server, Refusal> {
        let bundle = self.bundle();
        if let Some(resource) = bundle.resource(&row.resource).filter(|resource| resource.accounts.is_some()) {
            return self.account_server(resource).await;
        }
        let grant = self.store.grant(row.grant).await.map_err(unavailable)?;
        let before = match &grant {
            Some(grant) => self.kept_bundle(&grant.bundle).await?.ok(),
            None => None,
        };
        let resource = before.as_ref().and_then(|before| before.resource(&row.resource)).ok_or_else(|| {
            let why = format!(
                "`{}` is no longer in the policy, nor was it when the grant was made; drop its account there by hand",
                row.resource
            );
            Refusal::because(Reason::UnknownResource, why)
        })?;
        self.account_server(resource).await
    }

    /// Every account that may still be at a target.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn open_accounts(&self) -> Result<Vec<AccountRow>, Refusal> {
        self.store.made_accounts(&self.settings.node).await.map_err(unavailable)
    }
}

/// The server of a resource, with the account that makes others there; `None`: it is no database, or names no such account.
#[must_use]
pub fn server(resource: &Resource, password: Secret<String>) -> Option<Server> {
    let engine = match resource.kind {
        Kind::Postgres => Engine::Postgres,
        Kind::Mysql => Engine::MariaDb,
        Kind::Ssh => return None,
    };
    Some(Server {
        engine,
        host: resource.address.host.clone(),
        port: resource.address.port,
        database: resource.database.clone(),
        tls: resource.tls.clone(),
        guarded_allowed: access::rights::is_guarded(&resource.address.host),
        user: resource.accounts.as_ref()?.login.clone(),
        password,
    })
}

fn account_trouble(error: AccountError) -> Refusal {
    tracing::error!(error = &error as &dyn std::error::Error, "an account in a database");
    Refusal::because(Reason::TargetRefused, error.to_string())
}
