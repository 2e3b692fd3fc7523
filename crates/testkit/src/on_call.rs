//! PagerDuty and Opsgenie, as far as the gate asks them who is on call: they check what the originals check and refuse what they
//! refuse. And a server of calendars.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::web::{Call, Reply, serve};

/// What each of them is asked with.
pub const TOKEN: &str = "y_NbAkKc66ryYTWUXYEu";

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    PagerDuty,
    Opsgenie,
    Calendar,
}

#[derive(Debug, Default)]
struct State {
    /// PagerDuty: on-calls. Opsgenie: schedules by name.
    entries: Vec<Value>,
    calendar: String,
    /// Answers to give before anything else.
    trouble: Vec<Reply>,
    down: bool,
    calls: Vec<String>,
}

/// A source of on-call schedules.
#[derive(Debug, Clone)]
pub struct OnCallServer {
    state: Arc<Mutex<State>>,
    /// Where it is.
    pub url: String,
}

impl OnCallServer {
    /// PagerDuty without anybody on call.
    ///
    /// # Errors
    /// If nothing can be listened on.
    pub fn pagerduty() -> std::io::Result<Self> {
        Self::start(Kind::PagerDuty)
    }

    /// Opsgenie without a schedule.
    ///
    /// # Errors
    /// If nothing can be listened on.
    pub fn opsgenie() -> std::io::Result<Self> {
        Self::start(Kind::Opsgenie)
    }

    /// A calendar at every path, for whoever has the token.
    ///
    /// # Errors
    /// If nothing can be listened on.
    pub fn calendar() -> std::io::Result<Self> {
        Self::start(Kind::Calendar)
    }

    fn start(kind: Kind) -> std::io::Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let inside = Arc::clone(&state);
        let address = serve(move |call| answer(kind, &inside, &call))?;
        Ok(Self { state, url: format!("http://{address}") })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// PagerDuty: who is on call for escalation policies, as `(policy, level, user, e-mail)`, from now on.
    pub fn on_call(&self, all: &[(&str, u32, &str, &str)]) {
        self.state().entries = all.iter().map(|(policy, level, user, email)| pagerduty_on_call(policy, *level, user, email)).collect();
    }

    /// PagerDuty: further on-calls, as they are.
    pub fn add(&self, entries: impl IntoIterator<Item = Value>) {
        self.state().entries.extend(entries);
    }

    /// Opsgenie: a schedule and those on call for it, as they are, from now on.
    pub fn schedule(&self, name: &str, enabled: bool, participants: &Value) {
        let mut state = self.state();
        state.entries.retain(|entry| entry["_parent"]["name"] != name);
        state.entries.push(json!({
            "_parent": { "id": "d875e654-9b4e-4219-a803-0c26936d18de", "name": name, "enabled": enabled },
            "onCallParticipants": participants,
        }));
    }

    /// The calendar from now on.
    pub fn publish(&self, calendar: &str) {
        self.state().calendar = calendar.replace('\n', "\r\n");
    }

    /// The next calls get these answers, in order.
    pub fn trouble(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state().trouble.extend(replies);
    }

    /// Whether it answers nothing but failures from now on.
    pub fn down(&self, down: bool) {
        self.state().down = down;
    }

    /// The paths it was asked for so far, with their queries.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }
}

/// One entry of PagerDuty's `/oncalls`, as its documentation shows it.
#[must_use]
pub fn pagerduty_on_call(policy: &str, level: u32, user: &str, email: &str) -> Value {
    json!({
        "user": {
            "id": user, "type": "user", "summary": email, "name": email, "email": email, "role": "user",
            "self": format!("https://api.pagerduty.com/users/{user}"), "html_url": format!("https://subdomain.pagerduty.com/users/{user}"),
        },
        "schedule": { "id": "PI7DH85", "type": "schedule_reference", "summary": "Daily Engineering Rotation", "self": null, "html_url": null },
        "escalation_policy": { "id": policy, "type": "escalation_policy_reference", "summary": "Engineering", "self": null, "html_url": null },
        "escalation_level": level,
        "start": "2015-03-06T15:28:51-05:00",
        "end": null,
    })
}

fn answer(kind: Kind, state: &Mutex<State>, call: &Call) -> Reply {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.calls.push(call.path.clone());
    if !state.trouble.is_empty() {
        return state.trouble.remove(0);
    }
    if state.down {
        return Reply::status(500);
    }
    if call.method != "GET" {
        return Reply::status(405);
    }
    let (path, query) = call.path.split_once('?').unwrap_or((&call.path, ""));
    let said = |name: &str| call.headers.get(name).map_or("", String::as_str);
    match kind {
        Kind::PagerDuty => pagerduty(&state, path, query, said("authorization"), said("accept")),
        Kind::Opsgenie => opsgenie(&state, path, query, said("authorization")),
        Kind::Calendar if said("authorization") == format!("Bearer {TOKEN}") => {
            Reply { status: 200, headers: vec![("content-type", "text/calendar; charset=utf-8".to_owned())], body: state.calendar.clone() }
        }
        Kind::Calendar => Reply::status(401),
    }
}

fn pagerduty(state: &State, path: &str, query: &str, authorization: &str, accept: &str) -> Reply {
    let refused = |status: u16, code: u32, message: &str| Reply {
        status,
        ..Reply::json(&json!({ "error": { "message": message, "code": code, "errors": [message] } }))
    };
    if authorization != format!("Token token={TOKEN}") {
        return refused(401, 2006, "Invalid API Key");
    }
    if accept != "application/vnd.pagerduty+json;version=2" {
        return refused(400, 2001, "The version of the API has to be named");
    }
    if path != "/oncalls" {
        return refused(404, 2100, "Not Found");
    }
    let (mut limit, mut offset, mut policies, mut schedules, mut users) = (25usize, 0usize, Vec::new(), Vec::new(), false);
    for (key, value) in pairs(query) {
        match (key.as_str(), value.as_str()) {
            ("limit", n) => limit = n.parse().unwrap_or(0),
            ("offset", n) => offset = n.parse().unwrap_or(usize::MAX),
            ("escalation_policy_ids[]", id) => policies.push(id.to_owned()),
            ("schedule_ids[]", id) => schedules.push(id.to_owned()),
            ("include[]", "users") => users = true,
            ("time_zone", "UTC") => {}
            _ => return refused(400, 2001, "Invalid Input Provided"),
        }
    }
    if !(1..=100).contains(&limit) || offset.saturating_add(limit) > 10_000 {
        return refused(400, 2001, "Limit and offset are out of bounds");
    }
    let wanted = |all: &[String], id: &Value| all.is_empty() || id.as_str().is_some_and(|id| all.iter().any(|one| one == id));
    let found: Vec<&Value> = state
        .entries
        .iter()
        .filter(|entry| wanted(&policies, &entry["escalation_policy"]["id"]) && wanted(&schedules, &entry["schedule"]["id"]))
        .collect();
    let page: Vec<Value> = found.iter().skip(offset).take(limit).map(|entry| shortened(entry, users)).collect();
    Reply::json(&json!({
        "oncalls": page, "limit": limit, "offset": offset, "more": offset.saturating_add(limit) < found.len(), "total": null,
    }))
}

/// Without `include[]=users` a user is a reference, which has no address.
fn shortened(entry: &Value, users: bool) -> Value {
    let mut entry = entry.clone();
    if !users && let Some(user) = entry["user"].as_object_mut() {
        user.remove("email");
        user.insert("type".to_owned(), json!("user_reference"));
    }
    entry
}

fn opsgenie(state: &State, path: &str, query: &str, authorization: &str) -> Reply {
    let refused = |status: u16, message: &str| Reply {
        status,
        ..Reply::json(&json!({ "message": message, "took": 0.001, "requestId": "43a29c5c-3dbf-4fa4-9c26-f4f71023e120" }))
    };
    if authorization != format!("GenieKey {TOKEN}") {
        return refused(if authorization.is_empty() { 401 } else { 403 }, "Key format is not valid!");
    }
    let Some(name) = path.strip_prefix("/v2/schedules/").and_then(|rest| rest.strip_suffix("/on-calls")) else {
        return refused(404, "Not Found");
    };
    let name = decoded(name);
    let (mut by, mut flat) = ("id".to_owned(), false);
    for (key, value) in pairs(query) {
        match key.as_str() {
            "scheduleIdentifierType" => by = value,
            "flat" => flat = value == "true",
            _ => return refused(422, "Request body is not processable. Please check the errors."),
        }
    }
    let found = state.entries.iter().find(|entry| entry["_parent"][by.as_str()] == name.as_str());
    match found {
        Some(_) if flat => refused(422, "the flat form is not what the gate reads"),
        Some(data) => Reply::json(&json!({ "data": data, "took": 0.011, "requestId": "8dd79f3a-1d95-4d9f-8f15-a2e4a8e1b2a7" })),
        None => refused(404, &format!("No schedule exists with {by} [{name}]")),
    }
}

fn pairs(query: &str) -> Vec<(String, String)> {
    query.split('&').filter_map(|pair| pair.split_once('=')).map(|(key, value)| (decoded(key), decoded(value))).collect()
}

/// Percent and plus as in a query (application/x-www-form-urlencoded).
fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let hex: Vec<u8> = bytes.by_ref().take(2).collect();
                let value = std::str::from_utf8(&hex).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
                out.push(value.unwrap_or(b'?'));
            }
            b'+' => out.push(b' '),
            byte => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
