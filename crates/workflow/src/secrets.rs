//! What opens targets: secrets, sealed here or fetched from a vault, and the credentials of a session.
//!
//! INVARIANT: what opens a target is had before anything is tried there, and kept by nobody: the next session has it anew.

use access::event::Event;
use access::grant::GrantRow;
use access::ids::SessionId;
use access::names::{ResourceName, SecretName};
use access::reason::{Reason, Refusal};
use access::rights::Rights;
use access::secret::Secret;
use access::session::{DatabaseCredential, DatabaseDial, Dial, SessionFacts, SshDial};
use access::vault::SecretSource;
use access::verdict::HostKeyRule;
use credentials::secrets::ssh_credential;
use credentials::target_ca::{Extensions, TargetCa};
use credentials::vault::Vaults;
use policy::{Act, Credential, Noun, Object, Resource};
use store::{Change, SecretRow};

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};

impl Gate {
    /// Says which vaults secrets of targets are fetched from. Once; a second time changes nothing.
    pub fn serve_vaults(&self, vaults: Vaults) {
        let _before = self.vaults.set(vaults);
    }

    /// Somebody sets a sealed secret. It is never read back.
    ///
    /// # Errors
    /// If they may not, or it is too large.
    pub async fn set_secret(&self, caller: &Caller, name: SecretName, value: Secret<String>) -> Result<(), Refusal> {
        self.authorize(caller, Act::Administer(Noun::Secret), &Object::Nothing).await?;
        let sealed = self.keyring().seal_secret(&name, &value).map_err(|problem| Refusal::because(Reason::Invalid, problem.to_string()))?;
        let row = SecretRow { name: name.clone(), sealed: sealed.to_string(), key_id: sealed.key().to_string(), set_at: self.now() };
        let event = Event::SecretSet { secret: name, row_digest: self.row_digest(&store::digestible(&row))? };
        self.commit(Change::new(self.draft(caller, event)).put_secret(&row)).await.map_err(refused)?;
        Ok(())
    }

    /// Somebody removes a sealed secret.
    ///
    /// # Errors
    /// If they may not, or there is none.
    pub async fn remove_secret(&self, caller: &Caller, name: SecretName) -> Result<(), Refusal> {
        self.authorize(caller, Act::Administer(Noun::Secret), &Object::Nothing).await?;
        self.store.secret(&name).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        let event = Event::SecretRemoved { secret: name.clone() };
        self.commit(Change::new(self.draft(caller, event)).delete_secret(&name)).await.map_err(refused)?;
        Ok(())
    }

    /// How to reach a resource for one session, with the credential that opens it.
    pub(crate) async fn dial(&self, resource: &Resource, facts: &SessionFacts, row: &GrantRow, whole: &Rights) -> Result<Dial, Refusal> {
        let login =
            self.bundle.load().login(&facts.role, &resource.name).map(str::to_owned).ok_or_else(|| Refusal::of(Reason::UnknownRole))?;
        let rights = match &facts.rights {
            Rights::Ssh(rights) => rights,
            Rights::Database(_) => {
                let credential = Box::pin(self.database_credential(resource, facts, row, whole, login)).await?;
                let dial = database_dial(resource, credential);
                return Ok(if resource.kind == policy::Kind::Mysql { Dial::Mysql(dial) } else { Dial::Postgres(dial) });
            }
        };
        let extensions = Extensions { pty: rights.pty, port_forwarding: rights.forwards(), agent_forwarding: rights.agent_forward };
        self.ssh_dial(resource, facts.session, login, extensions).await.map(Dial::Ssh)
    }

    /// How to reach an SSH target as one of its accounts.
    pub(crate) async fn ssh_dial(
        &self,
        resource: &Resource,
        session: SessionId,
        login: String,
        extensions: Extensions,
    ) -> Result<SshDial, Refusal> {
        let credential = match &resource.credential {
            Credential::TargetCa => {
                let ca = TargetCa::new(self.keyring().target_ca().map_err(key_trouble)?).map_err(key_trouble)?;
                let principal = resource.principal(&login);
                ca.permit_credential(session, &principal, &self.settings.addresses, extensions, self.now()).map_err(key_trouble)?
            }
            Credential::Secret(source) => ssh_credential(self.opener(source).await?),
        };
        let mut host_keys = resource.host_keys.clone();
        let mut host_key_rule = self.host_key_rule(resource);
        // A key learned at first use counts only while the bundle names none and still trusts first use.
        if !host_keys.is_empty() {
            host_key_rule = HostKeyRule::Pinned;
        } else if host_key_rule == HostKeyRule::FirstUse
            && let Some(learned) = self.host_key(&resource.name).await?
        {
            host_keys.push(learned);
            host_key_rule = HostKeyRule::Pinned;
        }
        Ok(SshDial {
            host: resource.address.host.clone(),
            port: resource.address.port,
            login,
            host_keys,
            host_key_rule,
            credential,
            guarded_allowed: access::rights::is_guarded(&resource.address.host),
        })
    }

    /// The account of a database that is there already.
    pub(crate) async fn stored_account(&self, resource: &Resource, user: String) -> Result<DatabaseCredential, Refusal> {
        let Credential::Secret(source) = &resource.credential else {
            return Err(Refusal::because(Reason::TargetRefused, "a database is opened by a password, and its resource names none"));
        };
        Ok(DatabaseCredential::Account { user, password: self.opener(source).await? })
    }

    /// The password or key that opens a target, wherever it is.
    pub(crate) async fn opener(&self, source: &SecretSource) -> Result<Secret<String>, Refusal> {
        match source {
            SecretSource::Sealed(name) => self.unsealed(name).await,
            SecretSource::Fetched(secret) => {
                let vaults = self.vaults.get_or_init(Vaults::default);
                vaults.fetch(secret).await.map_err(|error| {
                    tracing::warn!(%error, %secret, "a secret could not be fetched");
                    Refusal::because(Reason::SecretUnavailable, error.to_string())
                })
            }
        }
    }

    /// A sealed secret.
    pub(crate) async fn unsealed(&self, name: &SecretName) -> Result<Secret<String>, Refusal> {
        let row = self.store.secret(name).await.map_err(unavailable)?;
        let row = row.ok_or_else(|| Refusal::because(Reason::SecretUnavailable, format!("the secret `{name}` is not set")))?;
        let sealed = row.sealed.parse().map_err(key_trouble)?;
        self.keyring().open_secret(name, &sealed).map_err(key_trouble)
    }

    fn host_key_rule(&self, resource: &Resource) -> HostKeyRule {
        let bundle = self.bundle.load();
        resource.tier.as_ref().and_then(|tier| bundle.tier(tier)).map_or(HostKeyRule::Pinned, |tier| tier.host_keys)
    }

    async fn host_key(&self, resource: &ResourceName) -> Result<Option<String>, Refusal> {
        Ok(self.store.host_key(resource).await.map_err(unavailable)?.map(|row| row.public_key))
    }

    /// A target without known host keys showed one, and its tier trusts the first: whether it is, or becomes, that one.
    pub async fn trust_first_host_key(&self, resource: &ResourceName, public_key: String, fingerprint: String) -> bool {
        let bundle = self.bundle();
        let Some(known) = bundle.resource(resource) else { return false };
        if !known.host_keys.is_empty() || self.host_key_rule(known) != HostKeyRule::FirstUse {
            return false;
        }
        match self.store.host_key(resource).await {
            Ok(Some(row)) => return row.public_key == public_key,
            Ok(None) => {}
            Err(_) => return false,
        }
        let row = store::HostKeyRow { resource: resource.clone(), public_key, fingerprint: fingerprint.clone(), learned_at: self.now() };
        let event = Event::HostKeyLearned { resource: resource.clone(), fingerprint };
        if self.commit(Change::new(self.own_draft(event)).learn_host_key(&row)).await.is_ok() {
            return true;
        }
        // Two first connections at the same moment: one of them learned it, and the other compares.
        matches!(self.store.host_key(resource).await, Ok(Some(learned)) if learned.public_key == row.public_key)
    }
}

/// How to reach a database.
fn database_dial(resource: &Resource, credential: DatabaseCredential) -> DatabaseDial {
    DatabaseDial {
        host: resource.address.host.clone(),
        port: resource.address.port,
        database: resource.database.clone(),
        tls: resource.tls.clone(),
        credential,
        guarded_allowed: access::rights::is_guarded(&resource.address.host),
    }
}

/// A key of the gate can't be used.
pub(crate) fn key_trouble(error: impl std::error::Error + 'static) -> Refusal {
    tracing::error!(error = &error as &dyn std::error::Error, "a key of the gate cannot be used");
    Refusal::because(Reason::Internal, "a key of the gate cannot be used; `tidegate doctor` says which")
}
