//! Who may do what, as the policy directory says it: asked of the policy itself, without the gate.

use access::approval::Seat;
use access::identity::Scope;
use access::ids::PrincipalId;
use access::verdict::Answer;
use policy::{About, Act, Ask, Bundle, Noun, Object, Situation};

use super::STRANGER;
use super::things::Thing;
use crate::served::Served;

/// Whoever may do something.
#[derive(Debug, Clone)]
pub(super) enum Who {
    /// Whoever comes, signed in or not.
    Anyone,
    /// Whoever signed in, whatever their sign-in may be used for.
    SignedIn,
    /// Whose sign-in may be used for this.
    Scoped(Scope),
    /// This person.
    Named(&'static str),
    /// Whose it is, or who answers for the machine whose it is.
    Owner,
    /// Whom policy permits it on what it is done to; not what their sign-in may be used for.
    Permitted(Act),
    /// Who has a seat among those that decide on it.
    Seated(Seat),
    /// Who gets in there as that, at once or when people agree.
    GetsIn(&'static str, &'static str),
    /// In an emergency.
    BreaksGlass(&'static str, &'static str),
    /// Who is no contractor.
    Staff,
    /// To whom a path leads there.
    Led(&'static str),
    /// All of these hold.
    All(Vec<Who>),
    /// One of these holds.
    Any(Vec<Who>),
}

/// Who has the right to it, with a sign-in that may be used for that.
pub(super) fn right(act: Act) -> Who {
    let scope = match act {
        Act::Approve | Act::Review => Scope::Approve,
        Act::Watch | Act::Read | Act::ReadInput | Act::Export | Act::Administer(Noun::Audit) => Scope::Read,
        Act::Terminate | Act::Administer(_) => Scope::Administer,
    };
    Who::All(vec![Who::Scoped(scope), Who::Permitted(act)])
}

/// Who administers something.
pub(super) fn administers(noun: Noun) -> Who {
    right(Act::Administer(noun))
}

/// Everybody whose sign-in may be used to look.
pub(super) fn readers() -> Who {
    Who::Scoped(Scope::Read)
}

/// Whose it is, with a sign-in that may be used for this.
pub(super) fn owner(scope: Scope) -> Who {
    Who::All(vec![Who::Scoped(scope), Who::Owner])
}

/// Who may look, if one of these holds too.
pub(super) fn sees(any: impl IntoIterator<Item = Who>) -> Who {
    Who::All(vec![readers(), Who::Any(any.into_iter().collect())])
}

/// The policy, and everybody as it knows them.
pub(super) struct Policy {
    bundle: Bundle,
    people: Vec<(String, Situation)>,
    scopes: Vec<(String, Vec<Scope>)>,
}

impl Policy {
    /// The one that a gate has in force.
    pub(super) fn of(gate: &Served) -> Self {
        let bundle = Bundle::load(&gate.dir().join("policy")).unwrap_or_else(|problems| panic!("{problems}"));
        #[expect(clippy::disallowed_methods, reason = "the gate runs for real, by the machine's clock")]
        let now = jiff::Timestamp::now();
        let names = super::EVERYBODY.iter().filter(|name| **name != STRANGER);
        let person = |name: &&str| {
            let id: PrincipalId = gate.id(name).parse().unwrap();
            let mut situation = Situation::new(id, name.parse().unwrap(), now);
            situation.owner = matches!(id, PrincipalId::Workload(_)).then(|| "dan".parse().unwrap());
            ((*name).to_owned(), situation)
        };
        let scopes = |name: &&str| {
            let me = gate.get(name, "/api/v1/me");
            ((*name).to_owned(), serde_json::from_value(me["scopes"].clone()).unwrap())
        };
        Self { people: names.clone().map(person).collect(), scopes: names.map(scopes).collect(), bundle }
    }

    fn situation(&self, person: &str) -> &Situation {
        &self.people.iter().find(|(name, _)| name == person).unwrap().1
    }

    /// Whether somebody is among them.
    pub(super) fn allows(&self, who: &Who, person: &str, on: Thing) -> bool {
        if person == STRANGER {
            return matches!(who, Who::Anyone);
        }
        let situation = self.situation(person);
        match who {
            Who::Anyone | Who::SignedIn => true,
            Who::Scoped(scope) => self.scopes.iter().any(|(name, scopes)| name == person && scopes.contains(scope)),
            Who::Named(name) => *name == person,
            Who::Owner => on.owner() == person || self.situation(on.owner()).owner.as_ref() == Some(&situation.username),
            Who::Permitted(act) => self.bundle.may(situation, *act, &self.object(*act, on)).allowed,
            Who::Seated(seat) => self.bundle.seated(situation, seat),
            Who::GetsIn(resource, role) => self.gets_in(situation, resource, role, false),
            Who::BreaksGlass(resource, role) => self.gets_in(situation, resource, role, true),
            Who::Staff => !self.bundle.people().contractors.contains_key(&situation.username),
            Who::Led(resource) => self.bundle.leads_to(situation, &resource.parse().unwrap()),
            Who::All(all) => all.iter().all(|who| self.allows(who, person, on)),
            Who::Any(any) => any.iter().any(|who| self.allows(who, person, on)),
        }
    }

    fn gets_in(&self, situation: &Situation, resource: &str, role: &str, break_glass: bool) -> bool {
        let ask = Ask { break_glass, ..Ask::plain(resource.parse().unwrap(), role.parse().unwrap()) };
        matches!(self.bundle.decide(situation, &ask).answer(), Answer::Permit { .. } | Answer::NeedsApproval { .. })
    }

    /// What an act is done to: the gate itself, or something of its owner's.
    fn object(&self, act: Act, on: Thing) -> Object {
        let Some((resource, role)) = on.place() else { return Object::Nothing };
        let owner = self.situation(on.owner());
        let about = About {
            person: owner.id,
            username: owner.username.clone(),
            owner: owner.owner.clone(),
            resource: resource.parse().unwrap(),
            role: role.parse().unwrap(),
            break_glass: matches!(on, Thing::Review),
            claims: None,
        };
        match (act, on) {
            (Act::Administer(_), _) => Object::Nothing,
            (Act::Review, _) => Object::Review { about, reviewers: "security".parse().unwrap() },
            (Act::Watch | Act::Terminate, _) => Object::Session(about),
            (Act::Approve | Act::Read, Thing::Request | Thing::Grant | Thing::Active) => Object::Request(about),
            _ => Object::Recording(about),
        }
    }
}
