//! Whether somebody may do something to something, and what they may see.

use access::claims::JobClaims;
use access::event::Event;
use access::grant::GrantRow;
use access::identity::Scope;
use access::ids::PrincipalId;
use access::names::{ResourceName, RoleName};
use access::reason::{Reason, Refusal};
use access::request::RequestRow;
use access::session::SessionRow;
use policy::{About, Act, Bundle, Noun, Object, Ruling, Situation};
use store::Change;

use crate::Caller;
use crate::activate::is_for;
use crate::approve::all_stages;
use crate::gate::{Gate, refused, unavailable};

impl Gate {
    /// Lets the caller act, by policy and by the scope of what they signed in with, or refuses and says so in the log.
    ///
    /// # Errors
    /// What policy says, as [`Reason::NotAllowed`], [`Reason::Forbidden`] or [`Reason::PolicyError`]; or [`Reason::ScopeMissing`].
    pub async fn authorize(&self, caller: &Caller, act: Act, on: &Object) -> Result<(), Refusal> {
        match self.allowed(caller, act, on).await {
            Ok(()) => Ok(()),
            Err(refusal) => Err(self.enter_action_refused(caller, &act.to_string(), named(on), refusal).await),
        }
    }

    /// As [`Gate::authorize`], but leaves no entry: for deciding what a list shows.
    ///
    /// # Errors
    /// As [`Gate::authorize`].
    pub async fn allowed(&self, caller: &Caller, act: Act, on: &Object) -> Result<(), Refusal> {
        let scope = scope_of(act);
        if !caller.who.may(scope) {
            return Err(Refusal::because(Reason::ScopeMissing, format!("the token lacks the scope `{scope}`")));
        }
        let situation = self.circumstances(&caller.who).await?;
        self.refuse_if_person_locked(caller.who.id()).await?;
        self.refuse_if_network_locked(caller.who.from()).await?;
        let bundle = self.bundle();
        said(&bundle, bundle.may(&situation, act, on))
    }

    pub(crate) async fn enter_action_refused(&self, caller: &Caller, action: &str, object: String, refusal: Refusal) -> Refusal {
        let event = Event::ActionRefused {
            action: action.to_owned(),
            object,
            reason: refusal.reason,
            bundle: refusal.bundle(),
            policies: refusal.policies(),
        };
        let draft = self.draft(caller, event).text("detail", refusal.detail.clone());
        match self.commit(Change::new(draft)).await {
            Ok(_) => refusal,
            Err(error) => refused(error),
        }
    }

    /// What policy has to know of whose access to what something is about.
    pub(crate) async fn about(
        &self,
        person: PrincipalId,
        resource: &ResourceName,
        role: &RoleName,
        break_glass: bool,
        claims: Option<JobClaims>,
    ) -> Result<About, Refusal> {
        let row = self.store.person(person).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        let owner = match row.owner {
            Some(owner) => self.store.person(owner.into()).await.map_err(unavailable)?.map(|owner| owner.username),
            None => None,
        };
        Ok(About { person, username: row.username, owner, resource: resource.clone(), role: role.clone(), break_glass, claims })
    }

    pub(crate) async fn about_request(&self, row: &RequestRow) -> Result<About, Refusal> {
        self.about(row.person, &row.resource, &row.role, row.break_glass, row.claims.clone()).await
    }

    pub(crate) async fn about_grant(&self, row: &GrantRow) -> Result<About, Refusal> {
        self.about(row.person, &row.resource, &row.role, row.break_glass, row.frozen.claims.clone()).await
    }

    pub(crate) async fn about_session(&self, row: &SessionRow) -> Result<About, Refusal> {
        let grant = self.store.grant(row.grant).await.map_err(unavailable)?;
        let break_glass = grant.as_ref().is_some_and(|grant| grant.break_glass);
        self.about(row.person, &row.resource, &row.role, break_glass, grant.and_then(|grant| grant.frozen.claims)).await
    }

    /// Whether any of these acts is the caller's right.
    async fn any(&self, situation: &Situation, acts: &[(Act, Object)]) -> bool {
        let bundle = self.bundle();
        acts.iter().any(|(act, on)| bundle.may(situation, *act, on).allowed)
    }

    /// Whether what something is about is the caller's own: they are that person, and the same job of that workload, or the human who
    /// answers for it.
    fn is_own(caller: &Caller, about: &About, situation: &Situation) -> bool {
        let theirs = about.person == caller.who.id() && about.claims.as_ref() == caller.who.claims();
        theirs || about.owner.as_ref() == Some(&situation.username)
    }

    /// Whether a session is the caller's own; to a job, one on a grant that it was given, and no other job of the same workload.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn is_own_session(&self, caller: &Caller, row: &SessionRow) -> Result<bool, Refusal> {
        // People are no jobs.
        if row.person != caller.who.id() || matches!(row.person, PrincipalId::User(_)) {
            return Ok(row.person == caller.who.id());
        }
        Ok(self.store.grant(row.grant).await.map_err(unavailable)?.is_some_and(|grant| is_for(&grant, caller)))
    }

    /// A request, if the caller may see it: their own, one they could decide, or by policy.
    ///
    /// # Errors
    /// [`Reason::NotFound`] if there is none, or none for them.
    pub async fn visible_request(&self, caller: &Caller, row: Option<RequestRow>) -> Result<RequestRow, Refusal> {
        let row = row.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        let situation = self.circumstances(&caller.who).await?;
        if self.may_see_request(caller, &situation, &row).await? { Ok(row) } else { Err(Refusal::of(Reason::NotFound)) }
    }

    pub(crate) async fn may_see_request(&self, caller: &Caller, situation: &Situation, row: &RequestRow) -> Result<bool, Refusal> {
        let about = self.about_request(row).await?;
        if Self::is_own(caller, &about, situation) {
            return Ok(true);
        }
        let bundle = self.bundle();
        let on = Object::Request(about);
        let seated = all_stages(row).any(|stage| stage.seats.iter().chain(&stage.escalate_to).any(|seat| bundle.seated(situation, seat)));
        Ok((seated && bundle.may(situation, Act::Approve, &on).allowed)
            || self
                .any(
                    situation,
                    &[(Act::Read, on), (Act::Administer(Noun::Request), Object::Nothing), (Act::Administer(Noun::Audit), Object::Nothing)],
                )
                .await)
    }

    /// A grant, if the caller may see it: their own, or by policy.
    ///
    /// # Errors
    /// [`Reason::NotFound`] if there is none, or none for them.
    pub async fn visible_grant(&self, caller: &Caller, row: Option<GrantRow>) -> Result<GrantRow, Refusal> {
        let row = row.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        let situation = self.circumstances(&caller.who).await?;
        let about = self.about_grant(&row).await?;
        let seen = Self::is_own(caller, &about, &situation)
            || self
                .any(
                    &situation,
                    &[
                        (Act::Read, Object::Request(about.clone())),
                        (Act::Terminate, Object::Session(about)),
                        (Act::Administer(Noun::Grant), Object::Nothing),
                        (Act::Administer(Noun::Audit), Object::Nothing),
                    ],
                )
                .await;
        if seen { Ok(row) } else { Err(Refusal::of(Reason::NotFound)) }
    }

    /// A session, if the caller may see it: their own, or one they may watch, end or read, or by policy.
    ///
    /// # Errors
    /// [`Reason::NotFound`] if there is none, or none for them.
    pub async fn visible_session(&self, caller: &Caller, row: Option<SessionRow>) -> Result<SessionRow, Refusal> {
        let row = row.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        let situation = self.circumstances(&caller.who).await?;
        let about = self.about_session(&row).await?;
        let own = Self::is_own(caller, &about, &situation);
        let on = Object::Session(about);
        let seen = own
            || self
                .any(
                    &situation,
                    &[
                        (Act::Watch, on.clone()),
                        (Act::Terminate, on.clone()),
                        (Act::Read, on),
                        (Act::Administer(Noun::Session), Object::Nothing),
                        (Act::Administer(Noun::Audit), Object::Nothing),
                    ],
                )
                .await;
        if seen { Ok(row) } else { Err(Refusal::of(Reason::NotFound)) }
    }
}

/// What policy said, with the policies that said it.
pub(crate) fn said(bundle: &Bundle, ruling: Ruling) -> Result<(), Refusal> {
    let policies = ruling.policies.clone();
    ruling.ok().map_err(|refusal| refusal.ruled_by(bundle.digest(), policies))
}

/// The token scope that an act needs besides the policy.
fn scope_of(act: Act) -> Scope {
    match act {
        Act::Approve | Act::Review => Scope::Approve,
        Act::Watch | Act::Read | Act::ReadInput | Act::Export | Act::Administer(Noun::Audit) => Scope::Read,
        Act::Terminate | Act::Administer(_) => Scope::Administer,
    }
}

/// What an act was tried on, for an entry.
fn named(on: &Object) -> String {
    let of = |noun: &str, about: &About| format!("{noun} of {} to {} as {}", about.person, about.resource, about.role);
    match on {
        Object::Request(about) => of("request", about),
        Object::Session(about) => of("session", about),
        Object::Recording(about) => of("recording", about),
        Object::Review { about, .. } => of("review", about),
        Object::Nothing => "gate".to_owned(),
    }
}
