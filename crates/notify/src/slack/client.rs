//! What the gate asks of Slack's Web API (<https://docs.slack.dev/apis/web-api/>).

use std::net::IpAddr;
use std::time::Duration;

use access::secret::Secret;
use jiff::Timestamp;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::{Caller, Reach, ReachError};
use crate::outcome::Outcome;

/// Where Slack's methods are.
pub const API: &str = "https://slack.com/api/";
/// Where the addresses that it gives to answer at begin.
pub const HOOKS: &str = "https://hooks.slack.com/";

/// What the configuration says of Slack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlackSettings {
    /// The one workspace whose people may act here, `T…`.
    pub team: String,
    /// Where requests are posted, `C…`.
    pub channel: String,
    /// The slash command, for what the gate says of itself.
    pub command: String,
    /// Where the methods are; [`API`] but for clouds of their own.
    pub api: String,
    /// Where answers may be sent; [`HOOKS`] but for clouds of their own.
    pub hooks: String,
    /// Addresses inside that may be called all the same.
    pub addresses: Vec<IpAddr>,
}

/// Asks Slack.
#[derive(Debug, Clone)]
pub struct SlackClient {
    caller: Caller,
    api: Url,
    hooks: String,
}

/// Where a message stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The channel.
    pub channel: String,
    /// The message in it.
    pub ts: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.channel, self.ts)
    }
}

impl std::str::FromStr for Place {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (channel, ts) = text.split_once(' ').ok_or(())?;
        Ok(Self { channel: channel.to_owned(), ts: ts.to_owned() })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    ok: bool,
    error: Option<String>,
    channel: Option<Value>,
    ts: Option<String>,
    messages: Vec<Value>,
}

impl SlackClient {
    /// A client of the workspace's API.
    ///
    /// # Errors
    /// If an address may not be called, or TLS can't be set up.
    pub fn new(settings: &SlackSettings, roots: Option<Vec<u8>>) -> Result<Self, ReachError> {
        let caller = Caller::new(&Reach { addresses: settings.addresses.clone(), roots })?;
        let with_slash = |text: &str| if text.ends_with('/') { text.to_owned() } else { format!("{text}/") };
        let api = caller.url(&with_slash(&settings.api))?;
        let hooks = caller.url(&with_slash(&settings.hooks))?.to_string();
        Ok(Self { caller, api, hooks })
    }

    /// Posts a message; `id` stays the same however often it is tried, and stands in the message's metadata.
    pub async fn post(&self, token: &Secret<String>, channel: &str, id: &str, text: &str, blocks: Value) -> Outcome<Place> {
        let body = json!({
            "channel": channel, "text": text, "blocks": blocks, "unfurl_links": false, "unfurl_media": false, "parse": "none",
            "metadata": { "event_type": "tidegate_message", "event_payload": { "id": id } },
        });
        self.call(token, "chat.postMessage", &body).await.map(|said| placed(&said, channel))
    }

    /// Where the message with this id stands, if it was posted since then: what was posted and not answered is not posted twice.
    /// `Taken(None)`: it is not there, or the app may not look (`channels:history`).
    pub async fn find(&self, token: &Secret<String>, channel: &str, id: &str, since: Timestamp) -> Outcome<Option<Place>> {
        let oldest = since.as_second().to_string();
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("channel", channel), ("oldest", &oldest), ("include_all_metadata", "true"), ("limit", "200")])
            .finish();
        let said = self.send(token, "conversations.history", "application/x-www-form-urlencoded", form.into_bytes()).await;
        let found = |said: Said| {
            let own =
                said.messages.into_iter().find(|message| message.pointer("/metadata/event_payload/id").and_then(Value::as_str) == Some(id));
            let ts = own.as_ref().and_then(|message| message.get("ts")).and_then(Value::as_str);
            ts.map(|ts| Place { channel: channel.to_owned(), ts: ts.to_owned() })
        };
        match said {
            Outcome::Later { why, .. } | Outcome::Never { why } if why.contains("missing_scope") || why.contains("not_in_channel") => {
                Outcome::Taken(None)
            }
            other => other.map(found),
        }
    }

    /// Changes a message. `Taken(false)`: it is no longer there.
    pub async fn update(&self, token: &Secret<String>, place: &Place, id: &str, text: &str, blocks: Value) -> Outcome<bool> {
        let body = json!({
            "channel": place.channel, "ts": place.ts, "text": text, "blocks": blocks, "parse": "none",
            "metadata": { "event_type": "tidegate_message", "event_payload": { "id": id } },
        });
        match self.call(token, "chat.update", &body).await {
            Outcome::Never { why } if why.contains("message_not_found") => Outcome::Taken(false),
            other => other.map(|_| true),
        }
    }

    /// Opens a window for who clicked, within three seconds of that.
    pub async fn open_window(&self, token: &Secret<String>, trigger: &str, view: Value) -> Outcome<()> {
        self.call(token, "views.open", &json!({ "trigger_id": trigger, "view": view })).await.map(drop)
    }

    /// Says something that only one person sees.
    pub async fn whisper(&self, token: &Secret<String>, channel: &str, user: &str, text: &str, blocks: Value) -> Outcome<()> {
        let body = json!({ "channel": channel, "user": user, "text": text, "blocks": blocks, "parse": "none" });
        self.call(token, "chat.postEphemeral", &body).await.map(drop)
    }

    /// Answers at an address that Slack gave with what somebody did; only they see it.
    pub async fn answer(&self, url: &str, text: &str, blocks: Value) -> Outcome<()> {
        // What is signed is Slack's word; still, nothing is sent anywhere but to Slack.
        let url = match self.caller.url(url) {
            Ok(parsed) if parsed.as_str().starts_with(&self.hooks) => parsed,
            _ => return Outcome::Never { why: "the address to answer at is not Slack's".to_owned() },
        };
        let body = json!({ "response_type": "ephemeral", "replace_original": false, "text": text, "blocks": blocks });
        match self.caller.post(&url, &[("content-type", "application/json; charset=utf-8")], body.to_string().into_bytes()).await {
            Ok(answer) if answer.status == 200 => Outcome::Taken(()),
            Ok(answer) => answer.refused(),
            Err(why) => Outcome::later(why),
        }
    }

    async fn call(&self, token: &Secret<String>, method: &str, body: &Value) -> Outcome<Said> {
        self.send(token, method, "application/json; charset=utf-8", body.to_string().into_bytes()).await
    }

    async fn send(&self, token: &Secret<String>, method: &str, kind: &str, body: Vec<u8>) -> Outcome<Said> {
        let Ok(url) = self.api.join(method) else { return Outcome::Never { why: "its address cannot be written".to_owned() } };
        let bearer = Secret::new(format!("Bearer {}", token.expose().trim()));
        let headers = [("content-type", kind), ("authorization", bearer.expose().as_str())];
        let answer = match self.caller.post(&url, &headers, body).await {
            Ok(answer) if answer.status == 200 => answer,
            Ok(answer) => return answer.refused(),
            Err(why) => return Outcome::later(why),
        };
        let Ok(said) = serde_json::from_slice::<Said>(&answer.body) else {
            return Outcome::later(format!("`{method}` was answered with something that is no answer of Slack"));
        };
        if said.ok {
            return Outcome::Taken(said);
        }
        let error: String = said.error.unwrap_or_default().chars().filter(|c| c.is_ascii_graphic()).take(100).collect();
        let why = format!("Slack refused `{method}`: {error}");
        match error.as_str() {
            // What is wrong with the message itself stays wrong; all else somebody can put right, there or here.
            "invalid_blocks"
            | "invalid_blocks_format"
            | "msg_too_long"
            | "msg_blocks_too_long"
            | "no_text"
            | "invalid_arguments"
            | "message_not_found"
            | "cant_update_message"
            | "edit_window_closed"
            | "expired_trigger_id"
            | "invalid_trigger_id"
            | "trigger_exchanged"
            | "exchanged_trigger_id"
            | "user_not_in_channel" => Outcome::Never { why },
            "ratelimited" | "rate_limited" => Outcome::Later { why, after: answer.retry_after.or(Some(Duration::from_secs(30))) },
            _ => Outcome::Later { why, after: None },
        }
    }
}

fn placed(said: &Said, asked: &str) -> Place {
    let channel = said.channel.as_ref().and_then(Value::as_str).unwrap_or(asked);
    Place { channel: channel.to_owned(), ts: said.ts.clone().unwrap_or_default() }
}
