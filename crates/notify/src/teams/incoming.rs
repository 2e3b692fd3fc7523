//! What people did in Teams, read out of an activity whose token is good: a button of a card
//! (<https://learn.microsoft.com/adaptive-cards/authoring-cards/universal-action-model>), and how that is answered.

use serde::Deserialize;
use serde_json::{Value, json};

use super::card::{APPROVE, DENY, KIND, NOTE};
use crate::slack::blocks::About;

/// What Teams is called as a channel.
pub const CHANNEL: &str = "msteams";
/// The word with which somebody asks.
pub const ASK: &str = "ask";
/// The longest note that is taken.
const LONGEST: usize = 3_000;

/// An activity that says nothing that can be acted on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no activity that the gate knows: {0}")]
pub struct Unreadable(&'static str);

/// What every activity says of itself; nothing of it is true before its token is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// By what it is known.
    #[serde(default)]
    pub id: String,
    /// When it happened.
    #[serde(default)]
    pub timestamp: Option<String>,
    /// Through which channel.
    #[serde(default)]
    pub channel_id: String,
    /// Which service sends it, and is to be answered.
    #[serde(default)]
    pub service_url: String,
    /// Where.
    #[serde(default)]
    pub conversation: Conversation,
}

/// A conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Conversation {
    /// By what it is known.
    pub id: String,
    /// Of which tenant.
    pub tenant_id: Option<String>,
}

/// Who did it, by Microsoft's own ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Of which tenant.
    pub tenant: String,
    /// Their object in the tenant's directory.
    pub object: String,
    /// How they are called there.
    pub name: String,
}

/// What they did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Say yes or no.
    Decide {
        /// About what.
        about: About,
        /// Whether it is a no.
        deny: bool,
        /// What they wrote.
        note: Option<String>,
    },
    /// Ask: what they wrote behind the word [`ASK`].
    Ask(String),
    /// Something that needs no answer: somebody joined, wrote, reacted.
    Nothing,
}

/// An activity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// By whom; `None` where nothing was done by somebody.
    pub person: Option<Person>,
    /// What.
    pub act: Act,
    /// In which conversation.
    pub conversation: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Activity {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    from: From,
    #[serde(default)]
    conversation: Conversation,
    #[serde(default)]
    channel_data: ChannelData,
    #[serde(default)]
    value: Value,
    #[serde(default)]
    text: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct From {
    name: String,
    aad_object_id: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ChannelData {
    tenant: Option<Tenant>,
}

#[derive(Deserialize)]
struct Tenant {
    id: String,
}

/// Reads what an activity says of itself.
///
/// # Errors
/// If it is none.
pub fn envelope(body: &[u8]) -> Result<Envelope, Unreadable> {
    serde_json::from_slice(body).map_err(|_| Unreadable("it is no JSON of an activity"))
}

/// Reads an activity.
///
/// # Errors
/// If it is none, or a button's that is not the gate's.
pub fn activity(body: &[u8]) -> Result<Incoming, Unreadable> {
    let activity: Activity = serde_json::from_slice(body).map_err(|_| Unreadable("it is no JSON of an activity"))?;
    let conversation = activity.conversation.id.clone();
    let asks = asked(&activity.text).filter(|_| activity.kind == "message");
    if activity.kind != "invoke" && asks.is_none() {
        return Ok(Incoming { person: None, act: Act::Nothing, conversation });
    }
    if asks.is_none() && activity.name != "adaptiveCard/action" {
        return Err(Unreadable("it invokes something else than a card's button"));
    }
    // Two places name the tenant; where both do, they have to agree.
    let tenant = match (activity.channel_data.tenant.map(|tenant| tenant.id), activity.conversation.tenant_id) {
        (Some(one), Some(other)) if one != other => return Err(Unreadable("it names two tenants")),
        (Some(tenant), _) | (None, Some(tenant)) => tenant,
        (None, None) => return Err(Unreadable("it names no tenant")),
    };
    // Guests and bots have none, and are nobody here.
    let object = activity.from.aad_object_id.filter(|id| !id.is_empty()).ok_or(Unreadable("who did it has no id of the directory"))?;
    let person = Person { tenant, object, name: activity.from.name };
    if let Some(text) = asks {
        return Ok(Incoming { person: Some(person), act: Act::Ask(text), conversation });
    }
    let action = activity.value.get("action").ok_or(Unreadable("its action is missing"))?;
    if action.get("type").and_then(Value::as_str) != Some("Action.Execute") {
        return Err(Unreadable("its action is none that the gate's cards have"));
    }
    let deny = match action.get("verb").and_then(Value::as_str) {
        Some(APPROVE) => false,
        Some(DENY) => true,
        _ => return Err(Unreadable("its button is not the gate's")),
    };
    let data = action.get("data").ok_or(Unreadable("its button says nothing"))?;
    let about: About =
        data.get("about").and_then(|about| About::deserialize(about).ok()).ok_or(Unreadable("its button does not say what it is about"))?;
    let note = data.get(NOTE).and_then(Value::as_str).map(str::trim).filter(|note| !note.is_empty());
    let note = note.map(|note| note.chars().take(LONGEST).collect());
    Ok(Incoming { person: Some(person), act: Act::Decide { about, deny, note }, conversation })
}

/// What is asked in a message, behind who it is said to: in a channel `<at>Tidegate</at> ask …`, alone with the bot `ask …`.
fn asked(text: &str) -> Option<String> {
    let spoken = match text.trim_start().strip_prefix("<at>") {
        Some(named) => named.split_once("</at>")?.1,
        None => text,
    };
    // What people paste has spaces that are none.
    let spoken = spoken.replace("&nbsp;", " ").replace('\u{a0}', " ");
    let spoken = spoken.trim();
    let (word, rest) = spoken.split_once(char::is_whitespace).unwrap_or((spoken, ""));
    word.eq_ignore_ascii_case(ASK).then(|| rest.trim().chars().take(LONGEST).collect())
}

/// The answer to a button: the card as it is to be shown to who pressed it.
#[must_use]
pub fn with_card(card: &Value) -> Value {
    json!({ "statusCode": 200, "type": KIND, "value": card })
}

/// The answer to a button: a sentence.
#[must_use]
pub fn with_message(text: &str) -> Value {
    json!({ "statusCode": 200, "type": "application/vnd.microsoft.activity.message", "value": text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressed(verb: &str, data: &Value) -> Value {
        json!({
            "type": "invoke", "id": "f:622749630322482883", "timestamp": "2026-03-02T12:00:00.1234567Z", "name": "adaptiveCard/action",
            "channelId": "msteams", "serviceUrl": "https://smba.trafficmanager.net/emea/",
            "from": { "id": "29:1XJKJMvc5GBtc2JwZq0oj8tHZmzrQgFmB25ATiQWA85gQtHieVkKilBZ9XHoq9j7Zaqt7CZ-NJWi7me2kHTL3Bw", "name": "Ben", "aadObjectId": "ad2f4e6a-0000-4000-8000-000000000002" },
            "conversation": { "isGroup": true, "conversationType": "channel", "tenantId": "72f988bf-0000-4000-8000-000000000001", "id": "19:x@thread.tacv2;messageid=1" },
            "recipient": { "id": "28:app", "name": "Tidegate" },
            "channelData": { "tenant": { "id": "72f988bf-0000-4000-8000-000000000001" } },
            "value": { "action": { "type": "Action.Execute", "title": "Approve", "verb": verb, "data": data }, "trigger": "manual" },
        })
    }

    fn read(value: &Value) -> Result<Incoming, Unreadable> {
        activity(value.to_string().as_bytes())
    }

    #[test]
    fn a_button_says_who_and_what() {
        let about = json!({ "request": "req_1", "revision": 2 });
        let denied = read(&pressed(DENY, &json!({ "about": about, "tide_note": " not today " }))).unwrap();
        let person = denied.person.unwrap();
        assert_eq!((person.object.as_str(), person.name.as_str()), ("ad2f4e6a-0000-4000-8000-000000000002", "Ben"));
        assert!(matches!(denied.act, Act::Decide { deny: true, note: Some(note), about } if note == "not today" && about.revision == 2));
        let approved = read(&pressed(APPROVE, &json!({ "about": about, "tide_note": "" }))).unwrap();
        assert!(matches!(approved.act, Act::Decide { deny: false, note: None, .. }));
        let said = envelope(pressed(APPROVE, &json!({})).to_string().as_bytes()).unwrap();
        assert_eq!((said.channel_id.as_str(), said.service_url.as_str()), (CHANNEL, "https://smba.trafficmanager.net/emea/"));
        assert_eq!(read(&json!({ "type": "conversationUpdate" })).unwrap().act, Act::Nothing);
    }

    #[test]
    fn a_message_asks_if_it_says_so_first() {
        let said = |text: &str| {
            let mut message = pressed(APPROVE, &json!({}));
            message["type"] = "message".into();
            message["text"] = text.into();
            read(&message)
        };
        for text in [
            "ask db-1+debug for 1h slow",
            "<at>Tidegate</at>&nbsp;Ask  db-1+debug for 1h slow\n",
            " <at>Tide gate</at> ask\u{a0}db-1+debug for 1h slow ",
        ] {
            let asks = said(text).unwrap();
            assert_eq!(
                (asks.act, asks.person.map(|person| person.name)),
                (Act::Ask("db-1+debug for 1h slow".into()), Some("Ben".into())),
                "{text}"
            );
        }
        assert_eq!(said("ask").unwrap().act, Act::Ask(String::new()));
        for text in ["", "please ask db-1", "asking db-1", "<at>Tidegate ask db-1", "hello"] {
            assert_eq!(said(text).unwrap().act, Act::Nothing, "{text}");
        }
        let mut nobody = pressed(APPROVE, &json!({}));
        (nobody["type"], nobody["text"], nobody["from"]["aadObjectId"]) = ("message".into(), "ask db-1".into(), Value::Null);
        assert!(read(&nobody).is_err());
    }

    #[test]
    fn what_is_not_the_gates_is_nothing() {
        let good = pressed(APPROVE, &json!({ "about": { "request": "req_1", "revision": 2 } }));
        assert!(read(&good).is_ok());
        let with = |pointer: &str, value: Value| {
            let mut changed = good.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            changed
        };
        for wrong in [
            with("/name", json!("composeExtension/query")),
            with("/from/aadObjectId", Value::Null),
            with("/from/aadObjectId", json!("")),
            with("/channelData/tenant/id", json!("another")),
            with("/value/action/type", json!("Action.Submit")),
            with("/value/action/verb", json!("other")),
            with("/value/action/data", json!({})),
            with("/value/action/data/about", json!({ "request": "req_1", "revision": 2, "decision": "approve" })),
            with("/value", Value::Null),
        ] {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
        assert!(activity(b"[]").is_err() && envelope(b"{").is_err());
    }
}
