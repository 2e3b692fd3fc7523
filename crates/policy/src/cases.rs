//! `tests/*.toml`: who asks what when, and what the answer has to be. `policy test` runs them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use access::claims::JobClaims;
use access::identity::Mfa;
use access::names::{GroupName, PlanName, Selector, Username};
use access::reason::Reason;
use access::request::Asked;
use access::risk::{Known, Risk, Signal};
use access::time::Span;
use access::verdict::Answer;
use jiff::Timestamp;
use serde::Serialize;

use crate::Bundle;
use crate::document::{At, Document, Table};
use crate::may::{About, Act, Object};
use crate::problem::{Place, Sink, shown};
use crate::rights::actions_of;
use crate::situation::{Ask, Situation};

/// One case: a question and the answer it must get.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// Where it stands.
    pub at: Place,
    who: Username,
    owner: Option<Username>,
    claims: Option<BTreeMap<String, String>>,
    groups: Vec<GroupName>,
    mfa: Mfa,
    mfa_age: Span,
    network: Option<IpAddr>,
    when: Option<Timestamp>,
    on_call: Option<Vec<At<GroupName>>>,
    risk: BTreeSet<Signal>,
    question: Question,
    expect: Expect,
}

#[derive(Debug, Clone)]
enum Question {
    Ask { access: Selector, asked: Asked, reason: bool, ticket: Option<String>, break_glass: bool },
    Act { act: Act, of: Option<Username>, access: Option<Selector>, on: Option<String>, reviewers: Option<GroupName> },
}

#[derive(Debug, Clone, Default)]
struct Expect {
    answer: String,
    because: Option<String>,
    policy: Option<String>,
    approvals: Option<BTreeSet<PlanName>>,
    max: Option<Span>,
    needs: Option<BTreeSet<String>>,
    may: Vec<String>,
    may_not: Vec<String>,
}

/// What became of one case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// What it shows.
    pub name: String,
    /// Where it stands.
    pub at: Place,
    /// What was expected and what came instead; empty if it passed.
    pub wrong: Vec<String>,
}

/// What became of all cases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// One per case.
    pub outcomes: Vec<Outcome>,
}

impl Report {
    /// Whether every case passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.outcomes.iter().all(|o| o.wrong.is_empty())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for outcome in self.outcomes.iter().filter(|o| !o.wrong.is_empty()) {
            writeln!(f, "{}: {}", outcome.at, outcome.name)?;
            outcome.wrong.iter().try_for_each(|w| writeln!(f, "  {w}"))?;
        }
        let failed = self.outcomes.iter().filter(|o| !o.wrong.is_empty()).count();
        write!(f, "{} of {} cases passed", self.outcomes.len() - failed, self.outcomes.len())
    }
}

/// Runs every case of a bundle. `now` is the time for cases that name none.
#[must_use]
pub fn run(bundle: &Bundle, now: Timestamp) -> Report {
    Report {
        outcomes: bundle.cases().iter().map(|c| Outcome { name: c.name.clone(), at: c.at.clone(), wrong: c.check(bundle, now) }).collect(),
    }
}

impl Case {
    /// The schedules that it supposes somebody to be on call for.
    pub(crate) fn duties(&self) -> impl Iterator<Item = &At<GroupName>> {
        self.on_call.iter().flatten()
    }

    fn check(&self, bundle: &Bundle, now: Timestamp) -> Vec<String> {
        let now = self.when.unwrap_or(now);
        let Some(someone) = bundle.imagine(&self.who, now) else { return vec![format!("`{}` cannot be imagined", self.who)] };
        let back = jiff::SignedDuration::from_secs(i64::try_from(self.mfa_age.as_seconds()).unwrap_or(i64::MAX));
        let job = match self.job(bundle, &someone) {
            Ok(job) => job,
            Err(stranger) => return self.expect.check_stranger(&stranger),
        };
        let who = Situation {
            owner: self.owner.clone().or_else(|| someone.owner.clone()),
            claims: job,
            store_groups: self.groups.clone(),
            mfa: self.mfa,
            mfa_at: now.checked_sub(back).unwrap_or(Timestamp::MIN),
            network: self.network,
            risk: Some(Known::Then(Risk::with(&self.risk))),
            on_call: self.on_call.as_ref().map(|duties| duties.iter().map(|duty| duty.value.clone()).collect()),
            ..someone
        };
        match &self.question {
            Question::Ask { access, asked, reason, ticket, break_glass } => {
                let Some(role) = access.role.clone() else { return vec!["the case names no role".to_owned()] };
                let ask = Ask {
                    asked: *asked,
                    reason_given: *reason,
                    ticket: ticket.clone(),
                    break_glass: *break_glass,
                    ..Ask::plain(access.resource.clone(), role)
                };
                self.expect.check_ask(bundle, &who, &ask)
            }
            Question::Act { act, of, access, on, reviewers } => {
                match object(bundle, *act, of.as_ref(), access.as_ref(), on.as_deref(), reviewers.as_ref(), &who) {
                    Some(object) => self.expect.check_act(bundle, &who, *act, &object),
                    None => vec![format!("`{act}` needs `of` and `ask`, and maybe `on` and `reviewers`, to say what it is done to")],
                }
            }
        }
    }
}

impl Case {
    /// What the CI system says of the job in this case: what `workloads.toml` wants of it, and over that what the case says.
    ///
    /// # Errors
    /// If by these claims it is not this workload: it would not be signed in.
    fn job(&self, bundle: &Bundle, someone: &Situation) -> Result<Option<JobClaims>, String> {
        let Some(said) = &self.claims else { return Ok(someone.claims.clone()) };
        let Some(usual) = &someone.claims else {
            return Err(format!("`{}` is no workload of `workloads.toml`, so no `claims` make it anybody", self.who));
        };
        let mut claims = usual.claims.clone();
        claims.extend(said.clone());
        let job = JobClaims { issuer: usual.issuer.clone(), claims };
        bundle.workloads().trust(&self.who, &job)?;
        Ok(Some(job))
    }
}

fn object(
    bundle: &Bundle,
    act: Act,
    of: Option<&Username>,
    access: Option<&Selector>,
    on: Option<&str>,
    reviewers: Option<&GroupName>,
    who: &Situation,
) -> Option<Object> {
    if matches!(act, Act::Administer(_)) {
        return Some(Object::Nothing);
    }
    let (of, access) = (of?, access?);
    let whose = bundle.imagine(of, who.now)?;
    let about = About {
        person: whose.id,
        username: of.clone(),
        owner: None,
        resource: access.resource.clone(),
        role: access.role.clone()?,
        break_glass: reviewers.is_some(),
        // One's own is the same job's.
        claims: if whose.id == who.id { who.claims.clone() } else { whose.claims },
    };
    let usual = match act {
        Act::Approve => "request",
        Act::Review => "review",
        Act::Watch | Act::Terminate => "session",
        _ => "recording",
    };
    match on.unwrap_or(usual) {
        "request" => Some(Object::Request(about)),
        "session" => Some(Object::Session(about)),
        "recording" => Some(Object::Recording(about)),
        "review" => Some(Object::Review { about, reviewers: reviewers?.clone() }),
        _ => None,
    }
}

impl Expect {
    fn check_ask(&self, bundle: &Bundle, who: &Situation, ask: &Ask) -> Vec<String> {
        let verdict = bundle.decide(who, ask);
        let mut wrong = Vec::new();
        let mut expect = |what: &str, wanted: String, found: String| {
            if wanted != found {
                wrong.push(format!("expected {what} `{wanted}`, got `{found}`"));
            }
        };
        let code = verdict.answer().code();
        let detail = match verdict.answer() {
            Answer::Deny { reason, detail } => format!(" ({reason}: {detail})"),
            _ => String::new(),
        };
        if self.answer != code {
            expect("the answer", self.answer.clone(), format!("{code}{detail}"));
        }
        if let Some(policy) = &self.policy {
            expect("the path", policy.clone(), verdict.policies().join(","));
        }
        let (terms, needs) = match verdict.answer() {
            Answer::Permit { terms } | Answer::NeedsApproval { terms } => (Some(terms), None),
            Answer::StepUp { terms, needs } => (Some(terms), Some(needs)),
            Answer::Deny { reason, .. } => {
                if let Some(because) = &self.because {
                    expect("the reason", because.clone(), reason.code().to_owned());
                }
                (None, None)
            }
        };
        if let (Some(plans), Some(terms)) = (&self.approvals, terms) {
            let found: BTreeSet<&PlanName> = terms.approvals.iter().map(|p| &p.name).collect();
            expect("the plans", join(plans), join(found));
        }
        if let (Some(max), Some(terms)) = (self.max, terms) {
            expect("the maximum", max.to_string(), terms.max.to_string());
        }
        if let Some(wanted) = &self.needs {
            let mut found = BTreeSet::new();
            if needs.is_some_and(|n| n.mfa.is_some()) {
                found.insert("mfa");
            }
            if needs.is_some_and(|n| n.ticket) {
                found.insert("ticket");
            }
            expect("to be needed", join(wanted), join(found));
        }
        let rights = bundle.rights(who, &ask.role, &ask.resource).map(|r| actions_of(&r)).unwrap_or_default();
        wrong.extend(
            self.may.iter().filter(|a| !rights.contains(&a.as_str())).map(|a| format!("expected `{a}` to be allowed inside, it isn't")),
        );
        wrong.extend(
            self.may_not.iter().filter(|a| rights.contains(&a.as_str())).map(|a| format!("expected `{a}` not to be allowed inside, it is")),
        );
        wrong
    }

    /// A job that is nobody here is refused before anything is asked.
    fn check_stranger(&self, why: &str) -> Vec<String> {
        let because = self.because.as_deref().unwrap_or(Reason::NotSignedIn.code());
        if self.answer == "deny" && because == Reason::NotSignedIn.code() {
            return Vec::new();
        }
        vec![format!("expected the answer `{}`, got `deny` ({}: {why})", self.answer, Reason::NotSignedIn)]
    }

    fn check_act(&self, bundle: &Bundle, who: &Situation, act: Act, on: &Object) -> Vec<String> {
        let ruling = bundle.may(who, act, on);
        let found = if ruling.allowed { "allow" } else { "deny" };
        let mut wrong = Vec::new();
        if self.answer != found {
            let why = ruling.refusal.as_ref().map_or_else(|| ruling.policies.join(", "), ToString::to_string);
            wrong.push(format!("expected the answer `{}`, got `{found}` ({why})", self.answer));
        }
        if let (Some(because), Some(refusal)) = (&self.because, &ruling.refusal)
            && because != refusal.reason.code()
        {
            wrong.push(format!("expected the reason `{because}`, got `{}`", refusal.reason));
        }
        if let Some(policy) = &self.policy
            && !ruling.policies.contains(policy)
        {
            wrong.push(format!("expected the policy `{policy}`, got `{}`", ruling.policies.join(", ")));
        }
        wrong
    }
}

fn join<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|i| i.to_string()).collect::<Vec<_>>().join(",")
}

impl FromStr for Act {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::all().into_iter().find(|a| a.to_string() == text).ok_or_else(|| {
            let all: Vec<String> = Self::all().iter().map(ToString::to_string).collect();
            let near = crate::problem::nearest(text, all.iter().map(String::as_str));
            match near {
                Some(near) => format!("`{}` is no act; did you mean `{near}`?", shown(text)),
                None => format!("`{}` is no act; acts are {}", shown(text), all.join(", ")),
            }
        })
    }
}

pub(crate) fn load(files: &[(&str, &[u8])], sink: &Sink) -> Vec<Case> {
    let mut cases = Vec::new();
    for (file, bytes) in files {
        let Some(doc) = Document::open(file, bytes, sink) else { continue };
        let root = doc.root();
        for table in root.tables("case") {
            cases.extend(read(&table));
            table.finish();
        }
        root.finish();
    }
    cases
}

fn read(table: &Table<'_>) -> Option<Case> {
    let name: Option<At<String>> = table.required("name");
    let who: Option<At<Username>> = table.required("who");
    let access: Option<At<Selector>> = table.read("ask");
    let act: Option<At<Act>> = table.read("act");
    let of = table.read("of").map(|o| o.value);
    let on = table.text("on").map(|o| o.value);
    let reviewers = table.read("reviewers").map(|r| r.value);
    let asked = table.or("for", Asked::Default);
    let reason = table.flag_or("reason", true);
    let ticket = table.text("ticket").map(|t| t.value);
    let break_glass = table.flag_or("break_glass", false);
    if let Some(access) = &access
        && access.value.role.is_none()
    {
        table.sink().error(access.place.clone(), "a case names the role too, as in `ask = \"web-1+shell\"`");
    }
    let expect = Expect {
        answer: expected(table, act.is_some()),
        because: table.read::<access::reason::Reason>("because").map(|b| b.value.code().to_owned()),
        policy: table.text("policy").map(|p| p.value),
        approvals: table.has("approvals").then(|| table.read_list("approvals").into_iter().map(|p| p.value).collect()),
        max: table.read("max").map(|m| m.value),
        needs: table.has("needs").then(|| table.read_list("needs").into_iter().map(|n| n.value).collect()),
        may: table.read_list("may").into_iter().map(|m| m.value).collect(),
        may_not: table.read_list("may_not").into_iter().map(|m| m.value).collect(),
    };
    let case = Case {
        at: table.place(),
        owner: table.read("owner").map(|o| o.value),
        claims: table.table("claims").if_there().map(|claims| {
            let one = |(name, values): (At<String>, Vec<At<String>>)| Some((name.value, values.into_iter().next()?.value));
            claims.entries::<String>().into_iter().filter_map(one).collect()
        }),
        groups: table.read_list("groups").into_iter().map(|g| g.value).collect(),
        mfa: table.or("mfa", Mfa::None),
        mfa_age: table.or("mfa_age", Span::default()),
        network: table.read("network").map(|n| n.value),
        when: table.read("at").map(|t| t.value),
        risk: table.read_list("risk").into_iter().map(|signal| signal.value).collect(),
        on_call: table.has("on_call").then(|| table.read_list("on_call")),
        name: name?.value,
        who: who?.value,
        question: match (act, access) {
            (Some(act), access) => Question::Act { act: act.value, of, access: access.map(|a| a.value), on, reviewers },
            (None, Some(access)) => Question::Ask { access: access.value, asked, reason, ticket, break_glass },
            (None, None) => {
                table
                    .sink()
                    .error(table.place(), "`ask` is missing here, as in `ask = \"web-1+shell\"`; or `act`, as in `act = \"watch\"`");
                return None;
            }
        },
        expect,
    };
    Some(case)
}

fn expected(table: &Table<'_>, act: bool) -> String {
    let known: &[&str] = if act { &["allow", "deny"] } else { &["permit", "needs_approval", "step_up", "deny"] };
    match table.required::<String>("expect") {
        Some(word) if known.contains(&word.value.as_str()) => word.value,
        Some(word) => {
            table.sink().unknown(word.place, "answer", &word.value, known.iter().copied());
            word.value
        }
        None => String::new(),
    }
}
