//! A job of a CI system exchanges the token that its issuer gave it for one of the gate's (RFC 8693).
//!
//! *Takes* the issuer's token. *Proves*, by the issuer's keys and by what `workloads.toml` wants of the claims, which workload the job
//! is. *Hands to* every other verb a caller that carries its claims: what it is given is this pipeline's alone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use access::claims::JobClaims;
use access::event::Event;
use access::identity::{Groups, Mfa, PersonRow, PersonState, Scope};
use access::ids::{PrincipalId, UserId, WorkloadId};
use access::reason::{Reason, Refusal};
use access::request::Door;
use identity::account::Account;
use identity::oidc::job_token::{self, Expected, JobToken};
use identity::oidc::{OidcError, ProviderClient};
use jiff::Timestamp;
use policy::{Bundle, Job, TrustedIssuer, Workload, several_workloads};
use store::{Change, CommitError, TokenRow, Unique};

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::key_cache::KeyCache;
use crate::tokens::IssuedToken;

/// How often an exchange is tried that raced another one.
const TRIES: usize = 3;

/// The CI systems that were asked for their keys.
#[derive(Debug, Default)]
pub(crate) struct Issuers(Mutex<BTreeMap<String, Arc<Known>>>);

/// One of them.
#[derive(Debug)]
struct Known {
    client: ProviderClient,
    roots: Option<String>,
    keys: KeyCache,
}

impl Issuers {
    fn known(&self, issuer: &TrustedIssuer) -> Result<Arc<Known>, OidcError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&issuer.url).filter(|known| known.roots == issuer.roots) {
            return Ok(Arc::clone(known));
        }
        let client = ProviderClient::new(issuer.roots.as_deref().map(str::as_bytes))?;
        let known = Arc::new(Known { client, roots: issuer.roots.clone(), keys: KeyCache::default() });
        all.insert(issuer.url.clone(), Arc::clone(&known));
        Ok(known)
    }
}

impl Known {
    /// What a token says; with a fresh look at the issuer's keys if it was signed by one that is not known.
    async fn verified(&self, expected: Expected<'_>, token: &str, now: Timestamp) -> Result<JobToken, OidcError> {
        let keys = self.keys.keys(now, None, self.client.issuer_keys(expected.issuer)).await?;
        match job_token::verify(expected, &keys, token, now) {
            Err(OidcError::UnknownKey) => {
                let newer = self.keys.keys(now, Some(&keys), self.client.issuer_keys(expected.issuer)).await?;
                job_token::verify(expected, &newer, token, now)
            }
            other => other,
        }
    }
}

impl Gate {
    /// A job shows its issuer's token and gets one of the gate's, bound to the workload that it is and to its claims. Each of the
    /// issuer's tokens does once.
    ///
    /// # Errors
    /// [`Reason::NotSignedIn`] if the token proves nothing, or is nobody's here; [`Reason::CodeInvalid`] if it was used before;
    /// [`Reason::TargetUnreachable`] if its issuer can't be asked for its keys; [`Reason::Disabled`] and [`Reason::Locked`].
    pub async fn exchange(&self, token: &str, scopes: &[Scope], from: IpAddr) -> Result<(Caller, IssuedToken), Refusal> {
        let mut tried = 0;
        loop {
            tried += 1;
            match self.try_exchange(token, scopes, from).await {
                Ok(signed_in) => return Ok(signed_in),
                // Another job of the same workload was the first ever, or its owner changed just now.
                Err(refusal) if refusal.reason == Reason::AlreadyDecided && tried < TRIES => {}
                Err(refusal) => {
                    let _entered = self.entered(Err(refusal.clone()), from, Door::Api).await;
                    return Err(refusal);
                }
            }
        }
    }

    async fn try_exchange(&self, token: &str, scopes: &[Scope], from: IpAddr) -> Result<(Caller, IssuedToken), Refusal> {
        // 1. Whose keys? Only issuers that policy names are ever asked.
        let bundle = self.bundle();
        let url = job_token::issuer_of(token)?;
        let issuer = bundle.workloads().issuer(&url).ok_or_else(|| {
            let detail = "the token's issuer is not one that `workloads.toml` trusts; compare its `iss` with `url` there, letter by letter";
            Refusal::because(Reason::NotSignedIn, detail)
        })?;
        // 2. Did it sign this, for this gate, for now?
        let kept: BTreeSet<&str> =
            bundle.workloads().all.values().flat_map(|workload| workload.claims.keys().map(String::as_str)).collect();
        let expected = Expected { issuer: &issuer.url, audience: &issuer.audience, algorithms: &issuer.algorithms, kept: &kept };
        let known = self.issuers.known(issuer)?;
        let job = known.verified(expected, token, self.now()).await.map_err(|error| match error {
            OidcError::Unreachable(_) | OidcError::Answer(_) => Refusal::because(Reason::IssuerUnreachable, error.to_string()),
            other => other.into(),
        })?;
        // 3. Which workload is it?
        let workload = which(&bundle, &job.claims)?;
        let (person, owner, first) = self.workload_of(workload).await?;
        // INVARIANT: who comes from a locked network gets nothing there that is good elsewhere.
        self.refuse_if_network_locked(Some(from)).await?;
        for one in [person.id, owner.id] {
            self.refuse_if_person_locked(one).await?;
        }
        let who = job_token::sign_in(&job, Account::workload(&person, &owner), from, self.now())?;
        // 4. A token of ours, with the entry of why; the issuer's is spent with it.
        let caller = Caller { who, door: Door::Api };
        let valid = workload.max_token.min(issuer.max_token);
        let label = format!("job of {}", job.claims);
        let (row, secret) = self.new_token(person.id, scopes.to_vec(), None, valid, Mfa::None, Some(label.chars().take(200).collect()));
        let row = TokenRow { claims: Some(job.claims.clone()), assertion: Some(job.assertion.clone()), ..row };
        let signed_in = Event::WorkloadSignedIn {
            person: person.id,
            claims: job.claims,
            assertion: job.assertion,
            token: row.id,
            bundle: bundle.digest().to_owned(),
        };
        let signed_in =
            self.draft(&caller, signed_in).text("from", Some(from.to_string())).text("run", Some(job.run).filter(|run| !run.is_empty()));
        let handed_over = matches!(first, Some(Event::WorkloadHandedOver { .. }));
        let change = match first {
            Some(event) => Change::new(self.own_draft(event)).and(signed_in),
            None => Change::new(signed_in),
        };
        let change = change.and(self.token_issued(&caller, &row)?).put_token(&row);
        self.commit(change).await.map_err(|error| match error {
            CommitError::Duplicate { what: Unique::Assertion } => {
                Refusal::because(Reason::CodeInvalid, "this token was exchanged before; a CI system gives a new one for each use")
            }
            other => refused(other),
        })?;
        if handed_over {
            // What its owner may not, it may not either.
            self.redecide_all().await;
        }
        Ok((caller, IssuedToken { row, token: secret }))
    }

    /// The rows of a workload and its owner as policy names them, and what makes them so if they are not yet.
    async fn workload_of(&self, workload: &Workload) -> Result<(PersonRow, PersonRow, Option<Event>), Refusal> {
        let disabled = |why: String| Refusal::because(Reason::Disabled, why);
        let owner = self.store.person_named(&workload.owner).await.map_err(unavailable)?;
        let owner =
            owner.ok_or_else(|| disabled(format!("`{}`, who answers for `{}`, is not known here", workload.owner, workload.name)))?;
        let PrincipalId::User(answers) = owner.id else {
            return Err(disabled(format!("`{}`, who should answer for `{}`, is a machine", workload.owner, workload.name)));
        };
        if owner.state != PersonState::Active {
            return Err(disabled(format!(
                "`{}`, who answers for `{}`, is disabled; name somebody else in `workloads.toml`",
                owner.username, workload.name
            )));
        }
        let known = self.store.person_named(&workload.name).await.map_err(unavailable)?;
        let Some(person) = known else {
            let now = self.now();
            let id = PrincipalId::Workload(WorkloadId::generate(now));
            let created = Event::PersonCreated { person: id, username: workload.name.clone(), owner: Some(answers), groups: Vec::new() };
            return Ok((new_row(id, workload, answers, now), owner, Some(created)));
        };
        if !matches!(person.id, PrincipalId::Workload(_)) {
            return Err(disabled(format!(
                "`{}` is a person here, and a job is nobody's namesake; call the workload otherwise",
                workload.name
            )));
        }
        if person.owner == Some(answers) {
            return Ok((person, owner, None));
        }
        let handed = Event::WorkloadHandedOver { person: person.id, owner: answers };
        Ok((PersonRow { owner: Some(answers), ..person }, owner, Some(handed)))
    }
}

fn new_row(id: PrincipalId, workload: &Workload, owner: UserId, now: Timestamp) -> PersonRow {
    PersonRow {
        id,
        username: workload.name.clone(),
        display_name: None,
        owner: Some(owner),
        groups: Groups::default(),
        state: PersonState::Active,
        created_at: now,
        version: 1,
    }
}

/// The workload that a job is. A job of a repository that policy knows is told what is missing; anybody else only that they are nobody.
fn which<'b>(bundle: &'b Bundle, claims: &JobClaims) -> Result<&'b Workload, Refusal> {
    let no = |why: String| Refusal::because(Reason::NotSignedIn, why);
    match bundle.workloads().who_is(claims) {
        Job::Is(workload) => Ok(workload),
        Job::Several(names) => Err(no(several_workloads(&names))),
        Job::Nobody { own, .. } if !own.is_empty() => Err(no(own.join("; "))),
        Job::Nobody { misfits, .. } => {
            tracing::info!(job = %claims, why = misfits.join("; "), "a job fits no workload");
            Err(no(format!("no workload here is a job with {claims}")))
        }
    }
}
