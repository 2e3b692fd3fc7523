//! `*.cedar`: reads policies, their typed annotations and the names they use, and holds them against the schema.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cedar_policy::{Effect, EntityUid, Policy, PolicySet, ValidationMode, Validator};
use miette::Diagnostic;
use serde_json::Value;

use crate::cost::{PATH_ANNOTATIONS, PathCost};
use crate::engine::{Rule, actions};
use crate::problem::{Place, Sink, nearest, shown};
use crate::words::{IN_SESSION, Words};

/// The names that policies may use.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) groups: BTreeSet<String>,
    pub(crate) teams: BTreeSet<String>,
    pub(crate) on_call: BTreeSet<String>,
    pub(crate) tiers: BTreeSet<String>,
    pub(crate) environments: BTreeSet<String>,
    pub(crate) kinds: BTreeSet<String>,
    pub(crate) resources: BTreeSet<String>,
    pub(crate) roles: BTreeSet<String>,
    pub(crate) accesses: BTreeSet<String>,
    pub(crate) plans: BTreeSet<String>,
    pub(crate) windows: BTreeSet<String>,
}

/// Reads every Cedar file; mistakes go to `sink`.
pub(crate) fn load(files: &[(&str, &[u8])], words: &Words, names: &Names, sink: &Sink) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut ids: BTreeMap<String, Place> = BTreeMap::new();
    for (file, bytes) in files {
        let reader = match std::str::from_utf8(bytes) {
            Ok(text) => Reader { file: (*file).into(), text, names, sink },
            Err(error) => {
                sink.error(Place::file(file), format!("the file is not UTF-8 text from byte {} on", error.valid_up_to()));
                continue;
            }
        };
        for rule in reader.read(words) {
            match ids.get(&rule.id) {
                Some(first) => sink.error(rule.place.clone(), format!("the policy id `{}` is already used in {first}", rule.id)),
                None => {
                    ids.insert(rule.id.clone(), rule.place.clone());
                    rules.push(rule);
                }
            }
        }
    }
    rules
}

struct Reader<'a> {
    file: Arc<str>,
    text: &'a str,
    names: &'a Names,
    sink: &'a Sink,
}

/// One policy and where its text begins.
struct Found<'p> {
    policy: &'p Policy,
    text: String,
    start: usize,
}

impl Reader<'_> {
    fn read(&self, words: &Words) -> Vec<Rule> {
        let set: PolicySet = match self.text.parse() {
            Ok(set) => set,
            Err(errors) => {
                let errors: cedar_policy::ParseErrors = errors;
                errors.iter().for_each(|e| self.diagnostic(e, true));
                return Vec::new();
            }
        };
        for template in set.templates() {
            let at = self.text.find('?').unwrap_or(0);
            self.sink.error(
                self.place(at),
                format!("the policy {} has slots (`?principal`); policies here stand for themselves", template.id()),
            );
        }
        let verdict = Validator::new(words.schema.clone()).validate(&set, ValidationMode::Strict);
        verdict.validation_errors().for_each(|e| self.diagnostic(e, true));
        verdict.validation_warnings().for_each(|w| self.diagnostic(w, false));

        let mut policies: Vec<&Policy> = set.policies().collect();
        policies.sort_by_key(|p| p.id().to_string().trim_start_matches("policy").parse::<usize>().unwrap_or(usize::MAX));
        let mut from = 0;
        let mut rules = Vec::new();
        for (number, policy) in policies.into_iter().enumerate() {
            let text = policy.to_cedar().unwrap_or_else(|| policy.to_string());
            let start = self.text.get(from..).and_then(|rest| rest.find(&text)).map_or(from, |n| from + n);
            from = start + text.len();
            let found = Found { policy, text, start };
            let id = self.id(&found, number);
            let cost = self.path_cost(&found);
            self.check_scope(&found);
            self.check_names(&found);
            rules.extend(Rule::new(id, self.place(found.start), policy, cost));
        }
        rules
    }

    fn place(&self, offset: usize) -> Place {
        Place::at(&self.file, self.text, offset)
    }

    fn within(&self, found: &Found<'_>, needle: &str) -> Place {
        self.place(found.start + found.text.find(needle).unwrap_or(0))
    }

    fn diagnostic(&self, error: &dyn Diagnostic, wrong: bool) {
        let at = error.labels().and_then(|mut labels| labels.next()).map_or_else(|| Place::file(&self.file), |l| self.place(l.offset()));
        let mut says = error.to_string();
        // The policy's number says less than the place does.
        if let Some((head, rest)) = says.split_once(", ")
            && head.starts_with("for policy `")
        {
            says = rest.to_owned();
        }
        let hint = error.help().map(|h| h.to_string());
        if wrong {
            self.sink.hinted(at, says, hint);
        } else {
            self.sink.warn(at, says);
        }
    }

    fn id(&self, found: &Found<'_>, number: usize) -> String {
        match found.policy.annotation("id") {
            None => format!("{}#{}", self.file, number + 1),
            Some(id) if !id.is_empty() && id.len() <= 120 && !id.chars().any(char::is_control) => id.to_owned(),
            Some(id) => {
                self.sink.error(self.within(found, "@id"), format!("`{}` is no policy id; one has 1 to 120 visible letters", shown(id)));
                format!("{}#{}", self.file, number + 1)
            }
        }
    }

    /// Reads the annotations. Only a `permit` on `request` has a cost.
    fn path_cost(&self, found: &Found<'_>) -> Option<PathCost> {
        let names = actions(found.policy);
        let is_path = found.policy.effect() == Effect::Permit && names.as_deref().is_some_and(|n| n.iter().any(|a| a == "request"));
        let mut cost = PathCost::default();
        for (name, value) in found.policy.annotations() {
            let place = self.within(found, &format!("@{name}"));
            match name {
                "id" => {}
                "reason" if found.policy.effect() == Effect::Forbid => {}
                "reason" => self.sink.error(place, "`@reason` is what somebody is told whom a `forbid` stops; a `permit` has none"),
                _ if is_path => {
                    if let Err((says, hint)) = cost.read(name, value) {
                        self.sink.hinted(place, says, hint);
                    }
                }
                _ if PATH_ANNOTATIONS.contains(&name) => {
                    self.sink.error(place, format!("`@{name}` says what a path costs; only a `permit` on `request` is one"));
                }
                _ => {
                    let hint = nearest(name, ["id", "reason"]).map(|near| format!("did you mean `@{near}`?"));
                    self.sink.hinted(place, format!("`@{}` means nothing here", shown(name)), hint);
                }
            }
        }
        if !is_path {
            return None;
        }
        for plan in &cost.approvals {
            if !self.names.plans.contains(plan.as_str()) {
                self.sink.unknown(
                    self.within(found, "@approval"),
                    "approval plan",
                    plan.as_str(),
                    self.names.plans.iter().map(String::as_str),
                );
            }
        }
        if let Some(window) = &cost.window
            && !self.names.windows.contains(window.as_str())
        {
            self.sink.unknown(self.within(found, "@window"), "window", window.as_str(), self.names.windows.iter().map(String::as_str));
        }
        if let Some(terms) = &cost.break_glass
            && !self.names.groups.contains(terms.reviewers.as_str())
        {
            let groups = self.names.groups.iter().map(String::as_str);
            self.sink.unknown(self.within(found, "@breakglass"), "group", terms.reviewers.as_str(), groups);
        }
        Some(cost)
    }

    /// A `permit` says for which action, a path is for `request` alone, and only `roles.toml` permits inside a session.
    fn check_scope(&self, found: &Found<'_>) {
        if found.policy.effect() == Effect::Forbid {
            return;
        }
        let place = self.within(found, "permit");
        match actions(found.policy) {
            None => {
                let says = "a `permit` has to say for which action; without one it would also give rights inside sessions";
                self.sink.hinted(place, says, Some("write `action == Tide::Action::\"request\"`".to_owned()));
            }
            Some(names) => {
                if let Some(inside) = names.iter().find(|n| IN_SESSION.contains(&n.as_str())) {
                    let says =
                        format!("`{inside}` is a right inside a session; `roles.toml` alone gives these, policies may only `forbid` them");
                    self.sink.error(place, says);
                } else if names.len() > 1 && names.iter().any(|n| n == "request") {
                    self.sink.error(place, "a path is a `permit` on `request` alone; write the other actions as a policy of their own");
                }
            }
        }
    }

    /// Every name in a policy has to be one that the directory defines.
    fn check_names(&self, found: &Found<'_>) {
        for uid in found.policy.entity_literals() {
            self.check_entity(found, &uid);
        }
        if let Ok(json) = found.policy.to_json() {
            let mut used = Vec::new();
            windows_in(&json, &mut used);
            for name in used {
                if !self.names.windows.contains(&name) {
                    let place = self.within(found, &format!("\"{name}\""));
                    self.sink.unknown(place, "window", &name, self.names.windows.iter().map(String::as_str));
                }
            }
        }
    }

    fn check_entity(&self, found: &Found<'_>, uid: &EntityUid) {
        let id = uid.id().unescaped();
        let (noun, known) = match uid.type_name().basename() {
            "Group" => ("group", &self.names.groups),
            "Team" => ("team", &self.names.teams),
            "OnCall" => ("on-call schedule", &self.names.on_call),
            "Tier" => ("tier", &self.names.tiers),
            "Environment" => ("environment", &self.names.environments),
            "Kind" => ("kind of resource", &self.names.kinds),
            "Resource" => ("resource", &self.names.resources),
            "Role" => ("role", &self.names.roles),
            "Access" => ("role on a resource named", &self.names.accesses),
            "User" | "Workload" => {
                if let Err(error) = id.parse::<access::names::Username>() {
                    self.sink.error(self.within(found, &format!("\"{id}\"")), error.to_string());
                }
                return;
            }
            _ => return,
        };
        if !known.contains(id) {
            self.sink.unknown(self.within(found, &format!("\"{id}\"")), noun, id, known.iter().map(String::as_str));
        }
    }
}

/// The texts that a policy looks for in `context.windows`.
fn windows_in(json: &Value, out: &mut Vec<String>) {
    match json {
        Value::Object(map) => {
            for key in ["contains", "containsAll", "containsAny"] {
                if let Some(call) = map.get(key)
                    && call.pointer("/left/./attr").and_then(Value::as_str) == Some("windows")
                {
                    texts_in(call.get("right").unwrap_or(&Value::Null), out);
                }
            }
            map.values().for_each(|v| windows_in(v, out));
        }
        Value::Array(items) => items.iter().for_each(|v| windows_in(v, out)),
        _ => {}
    }
}

fn texts_in(json: &Value, out: &mut Vec<String>) {
    match json {
        Value::Object(map) => {
            if let Some(Value::String(text)) = map.get("Value") {
                out.push(text.clone());
            }
            map.values().for_each(|v| texts_in(v, out));
        }
        Value::Array(items) => items.iter().for_each(|v| texts_in(v, out)),
        _ => {}
    }
}
