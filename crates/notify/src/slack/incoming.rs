//! What people did in Slack, read out of a call whose signature is good: a button, a window sent off, a command
//! (<https://docs.slack.dev/reference/interaction-payloads/>).

use serde::Deserialize;
use serde_json::Value;

use super::blocks::{APPROVE, APPROVE_NOTE, About, DENY, NOTE};

/// The longest text that is taken.
const LONGEST: usize = 3_000;

/// A payload that says nothing that can be acted on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no call that the gate knows: {0}")]
pub struct Unreadable(&'static str);

/// Who did it, by Slack's own ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Of which workspace.
    pub team: String,
    /// Who.
    pub user: String,
    /// How they are called there; they choose that themselves.
    pub name: String,
}

/// What they did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Approve, at once.
    Approve(About),
    /// Ask for the window, to approve or deny with a note. `trigger` opens it, within three seconds.
    Window {
        /// About what.
        about: About,
        /// Whether it is to deny.
        deny: bool,
        /// What opens it.
        trigger: String,
    },
    /// Send the window off.
    Decide {
        /// About what.
        about: About,
        /// Whether it is a no.
        deny: bool,
        /// What they wrote.
        note: Option<String>,
    },
    /// Type the command, with this behind it.
    Command(String),
}

/// Where to answer them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Back {
    /// An address for this one answer, if Slack gave one.
    pub url: Option<String>,
    /// The channel they did it in.
    pub channel: Option<String>,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// By whom.
    pub person: Person,
    /// What.
    pub act: Act,
    /// Where to answer.
    pub back: Back,
}

/// What a window remembers while it is open. It comes back under Slack's signature.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deciding {
    /// About what.
    pub about: About,
    /// Whether it is to deny.
    pub deny: bool,
    /// The channel where the button was.
    pub channel: Option<String>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "type")]
    kind: String,
    user: User,
    #[serde(default)]
    team: Option<Team>,
    #[serde(default)]
    channel: Option<Channel>,
    #[serde(default)]
    response_url: Option<String>,
    #[serde(default)]
    trigger_id: Option<String>,
    #[serde(default)]
    actions: Vec<Pressed>,
    #[serde(default)]
    view: Option<View>,
}

#[derive(Deserialize)]
struct User {
    id: String,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    team_id: Option<String>,
}

#[derive(Deserialize)]
struct Team {
    id: String,
}

#[derive(Deserialize)]
struct Channel {
    id: String,
}

#[derive(Deserialize)]
struct Pressed {
    action_id: String,
    #[serde(default)]
    value: Option<String>,
}

#[derive(Deserialize)]
struct View {
    callback_id: String,
    #[serde(default)]
    private_metadata: String,
    #[serde(default)]
    state: Value,
}

/// Reads a button or a window that was sent off.
///
/// # Errors
/// If it is neither, or not one of the gate's.
pub fn interaction(body: &[u8]) -> Result<Incoming, Unreadable> {
    let payload = field(body, "payload").ok_or(Unreadable("there is no `payload`"))?;
    let payload: Payload = serde_json::from_str(&payload).map_err(|_| Unreadable("its `payload` cannot be read"))?;
    let team = payload.user.team_id.or(payload.team.map(|team| team.id)).ok_or(Unreadable("it names no workspace"))?;
    let name = payload.user.username.or(payload.user.name).unwrap_or_default();
    let person = Person { team, user: payload.user.id, name };
    let mut back = Back { url: payload.response_url, channel: payload.channel.map(|channel| channel.id) };
    let act = match payload.kind.as_str() {
        "block_actions" => {
            let [pressed] = payload.actions.as_slice() else { return Err(Unreadable("it is not one button")) };
            let about = pressed.value.as_deref().and_then(|value| serde_json::from_str::<About>(value).ok());
            let about = about.ok_or(Unreadable("its button is not one of the gate's"))?;
            let trigger = payload.trigger_id.ok_or(Unreadable("it has no trigger"));
            match pressed.action_id.as_str() {
                APPROVE => Act::Approve(about),
                APPROVE_NOTE => Act::Window { about, deny: false, trigger: trigger? },
                DENY => Act::Window { about, deny: true, trigger: trigger? },
                _ => return Err(Unreadable("its button is not one of the gate's")),
            }
        }
        "view_submission" => {
            let view = payload.view.filter(|view| view.callback_id == NOTE).ok_or(Unreadable("its window is not the gate's"))?;
            let deciding: Deciding =
                serde_json::from_str(&view.private_metadata).map_err(|_| Unreadable("its window is not the gate's"))?;
            let note = view.state.pointer("/values/note/note/value").and_then(Value::as_str).map(str::trim).filter(|n| !n.is_empty());
            if deciding.deny && note.is_none() {
                return Err(Unreadable("a no needs its reason"));
            }
            back.channel = deciding.channel;
            Act::Decide { about: deciding.about, deny: deciding.deny, note: note.map(|note| note.chars().take(LONGEST).collect()) }
        }
        _ => return Err(Unreadable("it is neither a button nor a window")),
    };
    Ok(Incoming { person, act, back })
}

/// Reads a slash command (<https://docs.slack.dev/interactivity/implementing-slash-commands>).
///
/// # Errors
/// If it is none, or not the gate's.
pub fn command(body: &[u8], own: &str) -> Result<Incoming, Unreadable> {
    let wanted = |name| field(body, name).ok_or(Unreadable("a field of a command is missing"));
    if wanted("command")? != own {
        return Err(Unreadable("it is another command"));
    }
    let person = Person { team: wanted("team_id")?, user: wanted("user_id")?, name: field(body, "user_name").unwrap_or_default() };
    let text = field(body, "text").unwrap_or_default().chars().take(LONGEST).collect();
    Ok(Incoming { person, act: Act::Command(text), back: Back { url: field(body, "response_url"), channel: field(body, "channel_id") } })
}

/// Whether Slack only asks if somebody listens (`ssl_check=1`).
#[must_use]
pub fn is_check(body: &[u8]) -> bool {
    field(body, "ssl_check").is_some_and(|value| value == "1")
}

/// One field of a form; `None` if it is not there, or twice.
fn field(body: &[u8], name: &str) -> Option<String> {
    let mut found = form_urlencoded::parse(body).filter(|(key, _)| key == name);
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Some(value.into_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form(pairs: &[(&str, &str)]) -> Vec<u8> {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().into_bytes()
    }

    fn pressed(action: &str, value: &str) -> Value {
        json!({
            "type": "block_actions", "user": { "id": "U1", "username": "ben", "team_id": "T1" }, "team": { "id": "T1", "domain": "x" },
            "channel": { "id": "C1" }, "trigger_id": "1.2.3", "response_url": "https://hooks.slack.com/actions/1",
            "message": { "ts": "1.1" }, "actions": [{ "action_id": action, "block_id": "tide_decide", "value": value, "type": "button" }],
        })
    }

    fn read(payload: &Value) -> Result<Incoming, Unreadable> {
        interaction(&form(&[("payload", &payload.to_string())]))
    }

    const ABOUT: &str = r#"{"request":"req_1","revision":2}"#;

    #[test]
    fn buttons_say_who_what_and_where_to_answer() {
        let about = About { request: "req_1".into(), revision: 2 };
        let approve = read(&pressed(APPROVE, ABOUT)).unwrap();
        assert_eq!(approve.person, Person { team: "T1".into(), user: "U1".into(), name: "ben".into() });
        assert_eq!(approve.act, Act::Approve(about.clone()));
        assert_eq!(approve.back, Back { url: Some("https://hooks.slack.com/actions/1".into()), channel: Some("C1".into()) });
        let deny = read(&pressed(DENY, ABOUT)).unwrap();
        assert_eq!(deny.act, Act::Window { about, deny: true, trigger: "1.2.3".into() });
    }

    #[test]
    fn a_window_says_what_it_was_opened_for_and_a_no_needs_its_reason() {
        let sent = |deny: bool, note: Value| {
            let deciding = Deciding { about: About { request: "req_1".into(), revision: 2 }, deny, channel: Some("C1".into()) };
            read(&json!({
                "type": "view_submission", "user": { "id": "U1", "name": "ben", "team_id": "T1" }, "team": null,
                "view": { "callback_id": NOTE, "private_metadata": serde_json::to_string(&deciding).unwrap(),
                    "state": { "values": { "note": { "note": { "type": "plain_text_input", "value": note } } } } },
            }))
        };
        let denied = sent(true, json!(" not today ")).unwrap();
        assert!(matches!(&denied.act, Act::Decide { deny: true, note: Some(note), .. } if note == "not today"));
        assert_eq!(denied.back.channel.as_deref(), Some("C1"));
        assert!(matches!(sent(false, Value::Null).unwrap().act, Act::Decide { deny: false, note: None, .. }));
        assert!(sent(true, Value::Null).is_err() && sent(true, json!("  ")).is_err());
    }

    #[test]
    fn a_command_is_the_gates_own_or_none() {
        let fields =
            [("command", "/tidegate"), ("team_id", "T1"), ("user_id", "U1"), ("user_name", "ana"), ("text", "db-1+debug slow query")];
        let read = command(&form(&fields), "/tidegate").unwrap();
        assert_eq!(read.act, Act::Command("db-1+debug slow query".into()));
        assert!(command(&form(&fields), "/gate").is_err());
        for missing in 0..3 {
            let fewer: Vec<_> = fields.iter().enumerate().filter(|(n, _)| *n != missing).map(|(_, pair)| *pair).collect();
            assert!(command(&form(&fewer), "/tidegate").is_err(), "{missing}");
        }
        let twice = [fields.as_slice(), &[("user_id", "U2")]].concat();
        assert!(command(&form(&twice), "/tidegate").is_err(), "two people at once are none");
    }

    #[test]
    fn what_is_not_the_gates_is_nothing() {
        assert!(read(&pressed(APPROVE, ABOUT)).is_ok());
        let two = json!({ "actions": [pressed(APPROVE, ABOUT)["actions"][0], pressed(DENY, ABOUT)["actions"][0]] });
        let mut both = pressed(APPROVE, ABOUT);
        both["actions"] = two["actions"].clone();
        for wrong in [
            pressed("other_button", ABOUT),
            pressed(APPROVE, "req_1"),
            pressed(APPROVE, r#"{"request":"req_1","revision":2,"decision":"approve"}"#),
            pressed(APPROVE, r#"{"request":"req_1"}"#),
            json!({ "type": "shortcut", "user": { "id": "U1", "team_id": "T1" } }),
            json!({ "type": "block_actions" }),
            both,
        ] {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
        assert!(interaction(b"payload=%7B").is_err() && interaction(b"").is_err());
        assert!(is_check(b"ssl_check=1&token=x") && !is_check(b"payload=%7B%7D"));
    }
}
