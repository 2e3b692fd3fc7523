//! A workspace of Slack, as far as the gate sees it: methods that check what the originals check and refuse what they refuse, and
//! people who press buttons, under the workspace's signature.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::web::{Call, Reply, hmac_sha256, serve};

/// The workspace.
pub const TEAM: &str = "T0TIDE";
/// The channel where requests are posted.
pub const CHANNEL: &str = "C0ACCESS";
/// The app's token.
pub const BOT_TOKEN: &str = "xoxb-1-tide";
/// What signs calls.
pub const SIGNING_SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
/// For so long a trigger opens a window.
const TRIGGER: Duration = Duration::from_secs(3);

/// A message that stands in a channel.
#[derive(Debug, Clone)]
pub struct Message {
    /// The channel, or the person whom it was sent to.
    pub channel: String,
    /// By what it is known there.
    pub ts: String,
    /// Its fallback text.
    pub text: String,
    /// Its blocks.
    pub blocks: Value,
    /// The id of the delivery that wrote it last.
    pub id: String,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    messages: Vec<Message>,
    whispers: Vec<(String, String, Value)>,
    windows: Vec<Value>,
    triggers: BTreeMap<String, Instant>,
    used: BTreeSet<String>,
    refused: Vec<String>,
    /// Answers to give before anything is taken again.
    trouble: Vec<Reply>,
    /// How many answers get lost, of what was done all the same.
    lost: usize,
    down: bool,
}

/// A workspace.
#[derive(Debug, Clone)]
pub struct Slack {
    state: Arc<Mutex<State>>,
    base: String,
}

impl Slack {
    /// A workspace with one channel, and nothing in it.
    ///
    /// # Errors
    /// If nothing can be listened on.
    pub fn start() -> std::io::Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let own = Arc::clone(&state);
        let address = serve(move |call| own.lock().unwrap_or_else(PoisonError::into_inner).answer(&call))?;
        Ok(Self { state, base: format!("http://{address}") })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where its methods are.
    #[must_use]
    pub fn api(&self) -> String {
        format!("{}/api/", self.base)
    }

    /// Where it wants to be answered.
    #[must_use]
    pub fn hooks(&self) -> String {
        format!("{}/hooks/", self.base)
    }

    /// It answers nothing any more, or again.
    pub fn down(&self, down: bool) {
        self.state().down = down;
    }

    /// The next calls get these answers, whatever they say.
    pub fn troubled(&self, replies: Vec<Reply>) {
        self.state().trouble = replies;
    }

    /// The next calls are done, and their answers lost.
    pub fn lose_answers(&self, count: usize) {
        self.state().lost = count;
    }

    /// The messages of a channel, or to a person.
    #[must_use]
    pub fn messages(&self, channel: &str) -> Vec<Message> {
        self.state().messages.iter().filter(|message| message.channel == channel).cloned().collect()
    }

    /// What only one person saw.
    #[must_use]
    pub fn whispers(&self, user: &str) -> Vec<Value> {
        self.state().whispers.iter().filter(|(to, ..)| to == user).map(|(_, _, said)| said.clone()).collect()
    }

    /// The windows that were opened.
    #[must_use]
    pub fn windows(&self) -> Vec<Value> {
        self.state().windows.clone()
    }

    /// What it refused.
    #[must_use]
    pub fn refused(&self) -> Vec<String> {
        self.state().refused.clone()
    }

    /// Somebody deletes a message.
    pub fn delete(&self, ts: &str) {
        self.state().messages.retain(|message| message.ts != ts);
    }

    /// A trigger that is as old as this.
    #[must_use]
    pub fn trigger(&self, age: Duration) -> String {
        let mut state = self.state();
        state.next += 1;
        let id = format!("trigger.{}", state.next);
        if let Some(at) = Instant::now().checked_sub(age) {
            state.triggers.insert(id.clone(), at);
        }
        id
    }

    /// Somebody presses a button of a message: the call's body.
    ///
    /// # Panics
    /// If the message has no such button.
    #[must_use]
    pub fn press(&self, user: &str, action: &str, message: &Message) -> String {
        self.pressed(user, action, message, Duration::ZERO)
    }

    /// The same, so long ago.
    ///
    /// # Panics
    /// If the message has no such button.
    #[must_use]
    #[expect(clippy::panic, reason = "a test that presses what is not there is wrong")]
    pub fn pressed(&self, user: &str, action: &str, message: &Message, age: Duration) -> String {
        let buttons = message.blocks.as_array().into_iter().flatten().filter(|block| block["type"] == "actions");
        let button = buttons.flat_map(|block| block["elements"].as_array().cloned().unwrap_or_default()).find(|b| b["action_id"] == action);
        let Some(button) = button else { panic!("no button {action} in {}", message.blocks) };
        let trigger = self.trigger(age);
        let payload = json!({
            "type": "block_actions", "api_app_id": "A1", "user": { "id": user, "username": user.to_lowercase(), "team_id": TEAM },
            "team": { "id": TEAM, "domain": "tide" }, "channel": { "id": message.channel, "name": "access" },
            "container": { "type": "message", "message_ts": message.ts, "channel_id": message.channel },
            "trigger_id": trigger, "response_url": format!("{}{user}", self.hooks()), "message": { "ts": message.ts },
            "actions": [{ "action_id": action, "block_id": "tide_decide", "type": "button", "value": button["value"], "action_ts": trigger }],
        });
        form(&[("payload", &payload.to_string())])
    }

    /// Somebody sends a window off with a note: the call's body.
    #[must_use]
    pub fn submit(&self, user: &str, window: &Value, note: Option<&str>) -> String {
        let payload = json!({
            "type": "view_submission", "user": { "id": user, "username": user.to_lowercase(), "team_id": TEAM }, "team": { "id": TEAM },
            "view": {
                "id": "V1", "type": "modal", "callback_id": window["callback_id"], "private_metadata": window["private_metadata"],
                "state": { "values": { "note": { "note": { "type": "plain_text_input", "value": note } } } },
            },
            "trigger_id": self.trigger(Duration::ZERO), "response_urls": [],
        });
        form(&[("payload", &payload.to_string())])
    }

    /// Somebody types a command: the call's body.
    #[must_use]
    pub fn command(&self, user: &str, command: &str, text: &str) -> String {
        let trigger = self.trigger(Duration::ZERO);
        let back = format!("{}{user}", self.hooks());
        form(&[
            ("token", "gIkuvaNzQIHg97ATvDxqgjtO"),
            ("team_id", TEAM),
            ("channel_id", CHANNEL),
            ("user_id", user),
            ("user_name", &user.to_lowercase()),
            ("command", command),
            ("text", text),
            ("response_url", &back),
            ("trigger_id", &trigger),
        ])
    }
}

/// The two headers under which Slack sends a body.
#[must_use]
pub fn signed(secret: &str, at: i64, body: &str) -> (String, String) {
    let mac = hmac_sha256(secret.as_bytes(), format!("v0:{at}:{body}").as_bytes());
    (at.to_string(), format!("v0={}", mac.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

fn form(pairs: &[(&str, &str)]) -> String {
    let encoded = |text: &str| {
        text.bytes().fold(String::new(), |out, byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => out + &char::from(byte).to_string(),
            b' ' => out + "+",
            _ => out + &format!("%{byte:02X}"),
        })
    };
    pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}

impl State {
    fn answer(&mut self, call: &Call) -> Reply {
        if self.down {
            return Reply::status(503);
        }
        if !self.trouble.is_empty() {
            return self.trouble.remove(0);
        }
        let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
        if let Some(user) = call.path.strip_prefix("/hooks/") {
            self.whispers.push((user.to_owned(), "hook".to_owned(), body));
            return Reply { body: "ok".to_owned(), ..Reply::status(200) };
        }
        let method = call.path.trim_start_matches("/api/").to_owned();
        let said = if call.headers.get("authorization").map(String::as_str) != Some(&format!("Bearer {BOT_TOKEN}")) {
            Err("invalid_auth")
        } else if method == "conversations.history" {
            self.history(call)
        } else if !call.headers.get("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
            Err("invalid_post_type")
        } else {
            self.method(&method, &body)
        };
        if self.lost > 0 {
            self.lost -= 1;
            return Reply::status(504);
        }
        match said {
            Ok(mut said) => {
                said["ok"] = true.into();
                Reply::json(&said)
            }
            Err(error) => {
                self.refused.push(format!("{method}: {error}"));
                Reply::json(&json!({ "ok": false, "error": error }))
            }
        }
    }

    fn history(&self, call: &Call) -> Result<Value, &'static str> {
        let form = String::from_utf8_lossy(&call.body).into_owned();
        let has = |pair: &str| form.split('&').any(|one| one == pair);
        if call.headers.get("content-type").is_none_or(|kind| kind != "application/x-www-form-urlencoded") {
            return Err("invalid_form_data");
        }
        if !has(&format!("channel={CHANNEL}")) {
            return Err("channel_not_found");
        }
        let all = self.messages.iter().filter(|message| message.channel == CHANNEL).map(|message| {
            let mut shown = json!({ "type": "message", "ts": message.ts, "text": message.text });
            if has("include_all_metadata=true") {
                shown["metadata"] = json!({ "event_type": "tidegate_message", "event_payload": { "id": message.id } });
            }
            shown
        });
        Ok(json!({ "messages": all.collect::<Vec<_>>(), "has_more": false }))
    }

    fn method(&mut self, method: &str, body: &Value) -> Result<Value, &'static str> {
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        match method {
            "chat.postMessage" | "chat.update" | "chat.postEphemeral" => {
                let channel = text("channel");
                if channel != CHANNEL && !channel.starts_with('U') {
                    return Err("channel_not_found");
                }
                if text("text").is_empty() {
                    return Err("no_text");
                }
                check_blocks(&body["blocks"])?;
                let id = body["metadata"]["event_payload"]["id"].as_str().unwrap_or_default().to_owned();
                if method == "chat.postEphemeral" {
                    self.whispers.push((text("user"), channel, body.clone()));
                    return Ok(json!({ "message_ts": "1" }));
                }
                if method == "chat.update" {
                    let ts = text("ts");
                    let message = self.messages.iter_mut().find(|m| m.ts == ts && m.channel == channel).ok_or("message_not_found")?;
                    (message.text, message.blocks, message.id) = (text("text"), body["blocks"].clone(), id);
                    return Ok(json!({ "channel": channel, "ts": ts }));
                }
                self.next += 1;
                let ts = format!("1700000000.{:06}", self.next);
                self.messages.push(Message {
                    channel: channel.clone(),
                    ts: ts.clone(),
                    text: text("text"),
                    blocks: body["blocks"].clone(),
                    id,
                });
                Ok(json!({ "channel": channel, "ts": ts }))
            }
            "views.open" => {
                let trigger = text("trigger_id");
                let begun = self.triggers.get(&trigger).copied().ok_or("invalid_trigger_id")?;
                if begun.elapsed() > TRIGGER {
                    return Err("expired_trigger_id");
                }
                if !self.used.insert(trigger) {
                    return Err("exchanged_trigger_id");
                }
                let view = &body["view"];
                let title = view["title"]["text"].as_str().unwrap_or_default().chars().count();
                if view["type"] != "modal"
                    || !(1..=24).contains(&title)
                    || view["private_metadata"].as_str().is_some_and(|m| m.len() > 3000)
                {
                    return Err("invalid_arguments");
                }
                check_blocks(&view["blocks"])?;
                self.windows.push(view.clone());
                Ok(json!({ "view": { "id": "V1" } }))
            }
            _ => Err("unknown_method"),
        }
    }
}

/// What Block Kit's reference says of the blocks that are used here.
fn check_blocks(blocks: &Value) -> Result<(), &'static str> {
    let blocks = blocks.as_array().filter(|blocks| (1..=50).contains(&blocks.len())).ok_or("invalid_blocks")?;
    for block in blocks {
        let kind = block["type"].as_str().unwrap_or_default();
        let fits = |text: &Value, longest: usize| text["text"].as_str().is_some_and(|t| (1..=longest).contains(&t.chars().count()));
        let good = match kind {
            "header" => block["text"]["type"] == "plain_text" && fits(&block["text"], 150),
            "section" => fits(&block["text"], 3000),
            "context" => block["elements"].as_array().is_some_and(|all| (1..=10).contains(&all.len()) && all.iter().all(|e| fits(e, 2000))),
            "rich_text" => block["elements"].as_array().is_some_and(|all| {
                all.iter().all(|part| {
                    matches!(part["type"].as_str(), Some("rich_text_section" | "rich_text_quote"))
                        && part["elements"].as_array().is_some_and(|texts| texts.iter().all(|t| t["type"] == "text" && fits(t, 3000)))
                })
            }),
            "actions" => block["elements"].as_array().is_some_and(|all| {
                (1..=25).contains(&all.len())
                    && all.iter().all(|b| {
                        b["type"] == "button"
                            && fits(&b["text"], 75)
                            && b["value"].as_str().is_some_and(|v| (1..=2000).contains(&v.len()))
                            && matches!(b["style"].as_str(), None | Some("primary" | "danger"))
                    })
            }),
            "input" => fits(&block["label"], 2000) && block["element"]["type"] == "plain_text_input",
            _ => false,
        };
        if !good {
            return Err("invalid_blocks");
        }
    }
    Ok(())
}
