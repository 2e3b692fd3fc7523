//! Everything else one may or may not do: approve, review, watch, end, export, read, administer.

use std::fmt;

use access::claims::JobClaims;
use access::ids::PrincipalId;
use access::names::{GroupName, ResourceName, RoleName, Username};
use access::reason::{Reason, Refusal};
use cedar_policy::Effect;
use serde::Serialize;

use crate::bundle::Bundle;
use crate::engine::Said;
use crate::situation::Situation;
use crate::words::Target;

macro_rules! nouns {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// What is administered. `administer:audit` and `administer:evidence` are the rights to read and export the whole.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Noun { $($(#[$doc])* $name,)* }

        impl Noun {
            /// Every one there is.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// What stands after `administer:`.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code),* }
            }
        }
    };
}

nouns! {
    /// People and workloads: invite, disable, see all.
    Person = "person",
    /// Others' sign-in keys.
    Key = "key",
    /// Others' tokens.
    Token = "token",
    /// Directories of people and groups: connect, and see how far they have come. Whoever connects one can bring people, and put anybody
    /// it brought into every group that is mapped.
    Directory = "directory",
    /// Locks: set and lift.
    Lock = "lock",
    /// Containment of people and resources: order and lift.
    Containment = "containment",
    /// Sealed secrets: set and remove.
    Secret = "secret",
    /// Policy bundles: push and roll back.
    Bundle = "bundle",
    /// Others' requests: see all.
    Request = "request",
    /// Others' grants: see all, revoke.
    Grant = "grant",
    /// Sessions: see all that run or ran.
    Session = "session",
    /// Reviews: see all that are owed.
    Review = "review",
    /// The audit log: read.
    Audit = "audit",
    /// Evidence: export for periods and people.
    Evidence = "evidence",
    /// Free and personal texts of entries: erase.
    Text = "text",
    /// Recordings: destroy.
    Recording = "recording",
    /// Legal holds: set and lift.
    Hold = "hold",
    /// The gate's own keys: rotate, retire.
    Keys = "keys",
    /// Nodes of the gate: see, drain.
    Node = "node",
    /// Ways beside the gate, and what targets hold that it did not put there: import, look, close, accept.
    Inventory = "inventory",
}

/// A literal act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    /// Administer a noun; on [`Object::Nothing`].
    Administer(Noun),
    /// Say yes or no to a request. A seat of its plan is needed too: [`Bundle::seated`].
    Approve,
    /// Answer a review.
    Review,
    /// Watch a live session.
    Watch,
    /// End a session by hand.
    Terminate,
    /// Take a recording out of the gate.
    Export,
    /// Look at a request, session, recording or review.
    Read,
    /// Look at what was typed.
    ReadInput,
}

impl Act {
    /// Every act there is.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let acts = [Self::Approve, Self::Review, Self::Watch, Self::Terminate, Self::Export, Self::Read, Self::ReadInput];
        acts.into_iter().chain(Noun::ALL.iter().copied().map(Self::Administer)).collect()
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self {
            Self::Administer(noun) => format!("administer:{}", noun.code()),
            Self::Approve => "approve".to_owned(),
            Self::Review => "review".to_owned(),
            Self::Watch => "watch".to_owned(),
            Self::Terminate => "terminate".to_owned(),
            Self::Export => "export".to_owned(),
            Self::Read => "read".to_owned(),
            Self::ReadInput => "read-input".to_owned(),
        })
    }
}

/// Whose access to what something is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Whose.
    pub person: PrincipalId,
    /// How they sign in.
    pub username: Username,
    /// The human who answers for a machine.
    pub owner: Option<Username>,
    /// Where to.
    pub resource: ResourceName,
    /// As what.
    pub role: RoleName,
    /// Whether it is an emergency.
    pub break_glass: bool,
    /// The job it was given to, if a job of a workload asked for it.
    pub claims: Option<JobClaims>,
}

/// What an act is done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A request.
    Request(About),
    /// A session, live or ended.
    Session(About),
    /// A recording.
    Recording(About),
    /// A review owed by a group.
    Review {
        /// About whose access.
        about: About,
        /// Who owes it.
        reviewers: GroupName,
    },
    /// Nothing but the gate itself.
    Nothing,
}

impl Object {
    fn about(&self) -> Option<&About> {
        match self {
            Self::Request(about) | Self::Session(about) | Self::Recording(about) | Self::Review { about, .. } => Some(about),
            Self::Nothing => None,
        }
    }

    fn noun(&self) -> &'static str {
        match self {
            Self::Request(_) => "a request",
            Self::Session(_) => "a session",
            Self::Recording(_) => "a recording",
            Self::Review { .. } => "a review",
            Self::Nothing => "nothing",
        }
    }
}

/// The answer to [`Bundle::may`].
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ruling {
    /// Whether they may.
    pub allowed: bool,
    /// The policies that made it: those that permit, those that forbid, or those that could not be evaluated.
    pub policies: Vec<String>,
    /// Policies that could not be evaluated; one is enough for a no.
    pub errors: Vec<String>,
    /// Why not; `None` if they may.
    pub refusal: Option<Refusal>,
}

impl Ruling {
    fn no(reason: Reason, detail: impl Into<String>) -> Self {
        Self { allowed: false, policies: Vec::new(), errors: Vec::new(), refusal: Some(Refusal::because(reason, detail)) }
    }

    /// As a result.
    ///
    /// # Errors
    /// Why they may not.
    pub fn ok(self) -> Result<(), Refusal> {
        match self.refusal {
            None if self.allowed => Ok(()),
            None => Err(Refusal::of(Reason::NotAllowed)),
            Some(refusal) => Err(refusal),
        }
    }
}

impl Bundle {
    /// Whether somebody may do this to that.
    ///
    /// Nobody decides on their own request or reviews their own emergency, whatever policy says: not as the machine
    /// they answer for, nor through it. Nor does a job of a workload do anything to what another job of it has.
    pub fn may(&self, who: &Situation, act: Act, on: &Object) -> Ruling {
        if let Some(contract) = self.contract_ended(who) {
            return Ruling::no(Reason::NotAllowed, format!("the contract of `{}` ended at {}", contract.name, contract.ends_at));
        }
        if let Some(about) = on.about() {
            let own = about.person == who.id || about.owner.as_ref().unwrap_or(&about.username) == who.answers();
            if own && matches!(act, Act::Approve | Act::Review) {
                return Ruling::no(Reason::SelfApproval, format!("`{}` answers for it", who.answers()));
            }
            // INVARIANT: what one job of a workload has, no other job of it sees or ends, whatever policy says of the workload.
            if about.person == who.id && about.claims != who.claims {
                return Ruling::no(Reason::NotAllowed, format!("it is another job's of `{}`, and jobs share nothing", who.username));
            }
            // To a contractor there is nothing but what they were given.
            if !own && self.contract(who).is_some_and(|c| !c.resources.contains(&about.resource)) {
                return Ruling::no(Reason::NotFound, format!("`{}` is none of the resources `{}` was given", about.resource, who.username));
            }
        }
        let target = match self.target(act, on) {
            Ok(Some(target)) => target,
            Ok(None) => return Ruling::no(Reason::Invalid, format!("`{act}` cannot be done to {}", on.noun())),
            Err(error) => return Ruling { errors: vec![error.clone()], ..Ruling::no(Reason::PolicyError, error) },
        };
        self.rule(who, act, &target)
            .unwrap_or_else(|error| Ruling { errors: vec![error.clone()], ..Ruling::no(Reason::PolicyError, error) })
    }

    fn target(&self, act: Act, on: &Object) -> Result<Option<Target>, String> {
        let words = &self.engine.words;
        let trace = |kind, about: &About, reviewers| words.trace(kind, about, reviewers, self.resource(&about.resource)).map(Some);
        match (act, on) {
            (Act::Administer(_), Object::Nothing) => Ok(Some(words.the_gate())),
            (Act::Approve | Act::Read, Object::Request(about)) => trace(&words.request, about, None),
            (Act::Review | Act::Read, Object::Review { about, reviewers }) => trace(&words.review, about, Some(reviewers)),
            (Act::Watch | Act::Terminate | Act::Export | Act::Read | Act::ReadInput, Object::Session(about)) => {
                trace(&words.session, about, None)
            }
            (Act::Export | Act::Read | Act::ReadInput, Object::Recording(about)) => trace(&words.recording, about, None),
            _ => Ok(None),
        }
    }

    fn rule(&self, who: &Situation, act: Act, target: &Target) -> Result<Ruling, String> {
        let subject = self.subject(who)?;
        let action = act.to_string();
        let rules = self.engine.about_for(&action, target, &subject);
        let (mut permits, mut forbids, mut failed, mut errors) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        if rules.iter().all(|r| r.effect == Effect::Forbid) {
            let refusal = Refusal::because(Reason::NotAllowed, format!("no policy lets `{}` do `{action}`", who.username));
            return Ok(Ruling { allowed: false, policies: Vec::new(), errors, refusal: Some(refusal) });
        }
        let scene = self.engine.scene(&subject, target)?;
        let question = self.engine.question(&scene, &action, self.circumstances(who)?)?;
        for rule in rules {
            match (self.engine.ask(rule, &question), rule.effect) {
                (Said::Applies, Effect::Permit) => permits.push(rule),
                (Said::Applies, Effect::Forbid) => forbids.push(rule),
                (Said::Failed(error), _) => {
                    errors.push(format!("`{}` ({}): {error}", rule.id, rule.place));
                    failed.push(rule);
                }
                (Said::Silent, _) => {}
            }
        }
        let ids = |rules: &[&crate::engine::Rule]| rules.iter().map(|r| r.id.clone()).collect();
        if !errors.is_empty() {
            let refusal = Refusal::because(Reason::PolicyError, errors.join("; "));
            return Ok(Ruling { allowed: false, policies: ids(&failed), errors, refusal: Some(refusal) });
        }
        // What forbids is named only where it is all that stands in the way.
        if permits.is_empty() {
            let refusal = Refusal::because(Reason::NotAllowed, format!("no policy lets `{}` do `{action}`", who.username));
            return Ok(Ruling { allowed: false, policies: Vec::new(), errors, refusal: Some(refusal) });
        }
        if let Some(first) = forbids.first() {
            let why = first.reason.as_deref().unwrap_or("it closes this").trim_end_matches('.').to_owned();
            let refusal = Refusal::because(Reason::Forbidden, format!("`{}`: {why}", first.id));
            return Ok(Ruling { allowed: false, policies: ids(&forbids), errors, refusal: Some(refusal) });
        }
        Ok(Ruling { allowed: true, policies: ids(&permits), errors, refusal: None })
    }
}
