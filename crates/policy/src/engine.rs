//! Cedar, and the index that finds the few policies a question is about.
//!
//! Each policy stands in a set of its own, so that the answer says of each one whether it applied, and an error in one
//! (which Cedar would skip) is seen and denies.

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use access::names::TierName;
use cedar_policy::{
    ActionConstraint, Authorizer, Context, Effect, Entities, EntityTypeName, EntityUid, Policy, PolicySet, PrincipalConstraint, Request,
    ResourceConstraint, Schema,
};
use serde_json::Value;

use crate::cost::PathCost;
use crate::problem::Place;
use crate::words::{Subject, Target, Words, uid};

/// One policy, ready to be asked.
pub(crate) struct Rule {
    /// Its `@id`, else file name and number.
    pub(crate) id: String,
    pub(crate) place: Place,
    pub(crate) text: String,
    pub(crate) effect: Effect,
    /// What it costs, if it is a path.
    pub(crate) cost: Option<PathCost>,
    /// `@reason` of a `forbid`.
    pub(crate) reason: Option<String>,
    /// The actions it speaks about; `None`: all.
    pub(crate) actions: Option<Vec<String>>,
    /// Whether it has conditions.
    pub(crate) conditional: bool,
    /// Whether circumstances, such as a proof or a ticket, can change what it says: the word is in it.
    pub(crate) circumstantial: bool,
    principal: Scope,
    resource: Scope,
    set: PolicySet,
    /// Every text in it, once somebody asks; `None`: it can't be looked into.
    texts: OnceLock<Option<BTreeSet<String>>>,
}

#[derive(Debug, Clone)]
enum Scope {
    Any,
    Is(EntityTypeName),
    Eq(EntityUid),
    In(EntityUid),
    IsIn(EntityTypeName, EntityUid),
}

impl Scope {
    fn holds(&self, own: &EntityUid, above: &std::collections::HashSet<EntityUid>) -> bool {
        let within = |uid: &EntityUid| uid == own || above.contains(uid);
        match self {
            Self::Any => true,
            Self::Is(kind) => own.type_name() == kind,
            Self::Eq(uid) => uid == own,
            Self::In(uid) => within(uid),
            Self::IsIn(kind, uid) => own.type_name() == kind && within(uid),
        }
    }

    fn key(&self) -> Option<&EntityUid> {
        match self {
            Self::Any | Self::Is(_) => None,
            Self::Eq(uid) | Self::In(uid) | Self::IsIn(_, uid) => Some(uid),
        }
    }
}

impl Rule {
    /// A policy made ready; `None` if Cedar won't have it alone (it does, for any policy without slots).
    pub(crate) fn new(id: String, place: Place, policy: &Policy, cost: Option<PathCost>) -> Option<Self> {
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any => Scope::Any,
            PrincipalConstraint::Is(kind) => Scope::Is(kind),
            PrincipalConstraint::Eq(uid) => Scope::Eq(uid),
            PrincipalConstraint::In(uid) => Scope::In(uid),
            PrincipalConstraint::IsIn(kind, uid) => Scope::IsIn(kind, uid),
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::Any => Scope::Any,
            ResourceConstraint::Is(kind) => Scope::Is(kind),
            ResourceConstraint::Eq(uid) => Scope::Eq(uid),
            ResourceConstraint::In(uid) => Scope::In(uid),
            ResourceConstraint::IsIn(kind, uid) => Scope::IsIn(kind, uid),
        };
        Some(Self {
            id,
            place,
            text: policy.to_string(),
            effect: policy.effect(),
            cost,
            reason: policy.annotation("reason").map(str::to_owned),
            actions: actions(policy),
            conditional: policy.has_non_scope_constraint(),
            circumstantial: policy.to_string().contains("context"),
            principal,
            resource,
            set: PolicySet::from_policies([policy.clone()]).ok()?,
            texts: OnceLock::new(),
        })
    }

    /// Whom it is for, in words.
    pub(crate) fn audience(&self) -> String {
        let named = |uid: &EntityUid| {
            let id = uid.id().unescaped();
            match uid.type_name().basename() {
                "OnCall" => format!("those on call for `{id}`"),
                "User" | "Workload" => format!("`{id}`"),
                "Team" => format!("the team `{id}`"),
                _ => format!("members of `{id}`"),
            }
        };
        match &self.principal {
            Scope::Any => "everybody".to_owned(),
            Scope::Is(kind) if kind.basename() == "Workload" => "machines".to_owned(),
            Scope::Is(_) => "people".to_owned(),
            Scope::Eq(uid) | Scope::In(uid) => named(uid),
            Scope::IsIn(kind, uid) if kind.basename() == "Workload" => format!("machines among {}", named(uid)),
            Scope::IsIn(_, uid) => format!("people among {}", named(uid)),
        }
    }

    /// Whether it names something by exactly this text, wherever it stands and however it is escaped. Looked into once: a directory asks for
    /// each of thousands.
    pub(crate) fn names(&self, text: &str) -> bool {
        fn gather(value: &Value, texts: &mut BTreeSet<String>) {
            match value {
                Value::String(found) => {
                    texts.insert(found.clone());
                }
                Value::Array(items) => items.iter().for_each(|item| gather(item, texts)),
                Value::Object(fields) => fields.values().for_each(|field| gather(field, texts)),
                _ => {}
            }
        }
        let texts = self.texts.get_or_init(|| {
            let mut texts = BTreeSet::new();
            for policy in self.set.policies() {
                gather(&policy.to_json().ok()?, &mut texts);
            }
            Some(texts)
        });
        // What can't be looked into may name anybody.
        texts.as_ref().is_none_or(|texts| texts.contains(text))
    }

    /// Whether it may be about something in a tier.
    pub(crate) fn may_be_in(&self, tier: &TierName) -> bool {
        self.resource.key().is_none_or(|uid| uid.type_name().basename() != "Tier" || uid.id().unescaped() == tier.as_str())
    }

    /// What of the circumstances it reads that comparing two policies does not go through, by name; `context` if it is not known which. Whether
    /// it is an emergency, whether an end is wanted, and which windows are open is gone through.
    pub(crate) fn reads(&self) -> BTreeSet<String> {
        fn gather(value: &Value, read: &mut BTreeSet<String>) {
            match value {
                Value::Object(fields) => {
                    for (operator, operands) in fields {
                        let on_context = (operator == "." || operator == "has")
                            && operands.pointer("/left/Var").and_then(Value::as_str) == Some("context");
                        match operands.get("attr").and_then(Value::as_str).filter(|_| on_context) {
                            Some(attribute) => {
                                read.insert(attribute.to_owned());
                            }
                            None if operator == "Var" && operands == "context" => {
                                read.insert("context".to_owned());
                            }
                            None => gather(operands, read),
                        }
                    }
                }
                Value::Array(items) => items.iter().for_each(|item| gather(item, read)),
                _ => {}
            }
        }
        let mut read = BTreeSet::new();
        if !self.text.contains("context") {
            return read;
        }
        for policy in self.set.policies() {
            match policy.to_json() {
                Ok(json) => gather(json.get("conditions").unwrap_or(&json), &mut read),
                // What can't be looked into may read anything.
                Err(_) => read.extend(["context".to_owned()]),
            }
        }
        read.retain(|name| !["break_glass", "standing", "windows"].contains(&name.as_str()));
        read
    }

    /// Whether it is for some and not for others by who they are, or by the groups that they are in.
    pub(crate) fn names_people(&self) -> bool {
        self.principal.key().is_some()
    }

    /// What it says, whatever it is called.
    pub(crate) fn body(&self) -> String {
        let mut body = String::new();
        for policy in self.set.policies() {
            match policy.to_json() {
                Ok(Value::Object(mut fields)) => {
                    fields.remove("annotations");
                    body.push_str(&Value::Object(fields).to_string());
                }
                _ => body.push_str(&self.text),
            }
        }
        format!("{body} {:?}", self.cost)
    }

    pub(crate) fn is_for(&self, subject: &Subject) -> bool {
        self.principal.holds(&subject.uid, &subject.ancestors)
    }
}

/// The ids of the actions a policy is about; `None`: all.
pub(crate) fn actions(policy: &Policy) -> Option<Vec<String>> {
    let name = |uid: &EntityUid| uid.id().unescaped().to_owned();
    match policy.action_constraint() {
        ActionConstraint::Any => None,
        ActionConstraint::Eq(uid) => Some(vec![name(&uid)]),
        ActionConstraint::In(uids) => Some(uids.iter().map(name).collect()),
    }
}

#[cfg(test)]
thread_local! {
    /// How many questions were put on this thread.
    pub(crate) static QUESTIONS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// What one policy said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// It applies.
    Applies,
    /// It doesn't.
    Silent,
    /// It could not be evaluated.
    Failed(String),
}

#[derive(Default)]
struct ByResource {
    anywhere: Vec<usize>,
    at: HashMap<EntityUid, Vec<usize>>,
}

/// All policies of a bundle, indexed by action and by what they are about.
pub(crate) struct Engine {
    pub(crate) words: Words,
    pub(crate) rules: Vec<Rule>,
    by_action: HashMap<String, ByResource>,
    /// Rules about every action.
    any_action: ByResource,
    /// Whether one may speak of what is unusual: the word is in it.
    pub(crate) asks_for_risk: bool,
    authorizer: Authorizer,
}

/// Who and what some questions are about.
pub(crate) struct Scene {
    principal: EntityUid,
    resource: EntityUid,
    entities: Entities,
}

/// One question put to some policies.
pub(crate) struct Question<'s> {
    request: Request,
    entities: &'s Entities,
}

impl Engine {
    pub(crate) fn new(words: Words, mut rules: Vec<Rule>) -> Self {
        rules.sort_by(|a, b| a.id.cmp(&b.id));
        let mut by_action: HashMap<String, ByResource> = HashMap::new();
        let mut any_action = ByResource::default();
        for (index, rule) in rules.iter().enumerate() {
            let put = |slot: &mut ByResource| match rule.resource.key() {
                None => slot.anywhere.push(index),
                Some(key) => slot.at.entry(key.clone()).or_default().push(index),
            };
            match &rule.actions {
                None => put(&mut any_action),
                Some(names) => names.iter().for_each(|name| put(by_action.entry(name.clone()).or_default())),
            }
        }
        let asks_for_risk = rules.iter().any(|rule| rule.text.contains("risk"));
        Self { words, rules, by_action, any_action, asks_for_risk, authorizer: Authorizer::new() }
    }

    /// The rules whose action and resource scope cover a question, in the order of their ids.
    pub(crate) fn about(&self, action: &str, target: &Target) -> Vec<&Rule> {
        let slots = [self.by_action.get(action), Some(&self.any_action)];
        let keys = || std::iter::once(&target.uid).chain(&target.ancestors);
        let mut found: Vec<usize> = Vec::new();
        for slot in slots.into_iter().flatten() {
            found.extend(&slot.anywhere);
            found.extend(keys().filter_map(|key| slot.at.get(key)).flatten());
        }
        found.sort_unstable();
        found.dedup();
        found.into_iter().filter_map(|i| self.rules.get(i)).filter(|r| r.resource.holds(&target.uid, &target.ancestors)).collect()
    }

    /// Of these, the ones about an action and a target whose principal scope covers somebody.
    pub(crate) fn about_for(&self, action: &str, target: &Target, subject: &Subject) -> Vec<&Rule> {
        self.about(action, target).into_iter().filter(|r| r.is_for(subject)).collect()
    }

    /// Who and what a question is about, ready to be asked about several times.
    ///
    /// # Errors
    /// If Cedar does not take it, which is a fault of ours: the answer is then no.
    pub(crate) fn scene(&self, subject: &Subject, target: &Target) -> Result<Scene, String> {
        let entities = subject.entities.iter().chain(&target.entities).cloned();
        let entities = Entities::from_entities(entities, self.checked()).map_err(|e| e.to_string())?;
        Ok(Scene { principal: subject.uid.clone(), resource: target.uid.clone(), entities })
    }

    /// One question about them.
    ///
    /// # Errors
    /// If Cedar does not take it, which is a fault of ours: the answer is then no.
    pub(crate) fn question<'s>(&self, scene: &'s Scene, action: &str, context: Context) -> Result<Question<'s>, String> {
        #[cfg(test)]
        QUESTIONS.set(QUESTIONS.get() + 1);
        let action = uid(&self.words.action, action);
        let request =
            Request::new(scene.principal.clone(), action, scene.resource.clone(), context, self.checked()).map_err(|e| e.to_string())?;
        Ok(Question { request, entities: &scene.entities })
    }

    /// This crate's own tests hold every question against the schema; policies are, at load.
    fn checked(&self) -> Option<&Schema> {
        cfg!(test).then_some(&self.words.schema)
    }

    /// What one rule says to a question.
    pub(crate) fn ask(&self, rule: &Rule, question: &Question<'_>) -> Said {
        let response = self.authorizer.is_authorized(&question.request, &rule.set, question.entities);
        let diagnostics = response.diagnostics();
        if let Some(error) = diagnostics.errors().next() {
            return Said::Failed(error.to_string());
        }
        if diagnostics.reason().next().is_some() { Said::Applies } else { Said::Silent }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use access::names::Username;

    use crate::{Bundle, matrix};

    // In this build every question is held against the schema: what we tell Cedar is what policies were validated for.
    #[test]
    fn every_question_of_the_example_fits_the_schema() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policy");
        let bundle = Bundle::load(&dir).unwrap();
        let people: Vec<Username> = ["ana", "ben", "dan", "frank", "deploy-bot"].iter().map(|n| n.parse().unwrap()).collect();
        let paper = matrix::print(&bundle, &people, &["2026-11-23T09:00:00Z".parse().unwrap()]);
        assert!(paper.contains("at once"));
        assert!(!paper.contains("policy_error"), "{paper}");
    }
}
