//! Microsoft's side of Teams, as far as the gate sees it: a login that gives tokens, a Bot Connector that checks them and refuses what the
//! original refuses, the keys it signs with, and people who press buttons, under its signature.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::web::{Call, Reply, serve};

/// The tenant.
pub const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
/// The bot.
pub const APP: &str = "11111111-2222-3333-4444-555555555555";
/// Its secret.
pub const APP_PASSWORD: &str = "Jv8Q~tide.example";
/// The channel where requests are posted.
pub const CHANNEL: &str = "19:access@thread.tacv2";
/// Where activities come from.
pub const SERVICE: &str = "https://smba.trafficmanager.net/emea/";
/// Who signs.
pub const ISSUER: &str = "https://api.botframework.com";
/// How many activities a conversation takes until it wants to be left alone.
const RATE: usize = 50;

/// A card that stands in a conversation.
#[derive(Debug, Clone)]
pub struct Posted {
    /// The conversation.
    pub conversation: String,
    /// By what it is known there.
    pub activity: String,
    /// Its card.
    pub card: Value,
    /// Its one line.
    pub summary: String,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    cards: Vec<Posted>,
    /// Conversations with one person, and who that is.
    alone: Vec<(String, String)>,
    tokens: Vec<String>,
    refused: Vec<String>,
    trouble: Vec<Reply>,
    calls: usize,
    kid: String,
    endorsements: Vec<String>,
    keys_down: bool,
    down: bool,
}

/// A tenant of Teams.
#[derive(Clone)]
pub struct Teams {
    state: Arc<Mutex<State>>,
    key: Arc<KeyPair>,
    base: String,
}

impl std::fmt::Debug for Teams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Teams").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Teams {
    /// A tenant with one channel, and nothing in it.
    ///
    /// # Errors
    /// If nothing can be listened on, or no key can be made.
    pub fn start() -> anyhow::Result<Self> {
        let key = Arc::new(KeyPair::generate(KeySize::Rsa2048).map_err(|_| anyhow::anyhow!("no key can be made"))?);
        let state = State { kid: "k1".to_owned(), endorsements: vec!["msteams".to_owned(), "webchat".to_owned()], ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let (own, signs) = (Arc::clone(&state), Arc::clone(&key));
        let address = serve(move |call| own.lock().unwrap_or_else(PoisonError::into_inner).answer(&call, &signs))?;
        Ok(Self { state, key, base: format!("http://{address}") })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where tokens are given.
    #[must_use]
    pub fn login(&self) -> String {
        format!("{}/login/", self.base)
    }

    /// Where the Connector is.
    #[must_use]
    pub fn service(&self) -> String {
        format!("{}/teams/", self.base)
    }

    /// Where it says what it signs with.
    #[must_use]
    pub fn metadata(&self) -> String {
        format!("{}/v1/.well-known/openidconfiguration", self.base)
    }

    /// The cards of a conversation: the channel's threads, or what one person was told.
    #[must_use]
    pub fn cards(&self, whose: &str) -> Vec<Posted> {
        let state = self.state();
        let alone: Vec<&str> = state.alone.iter().filter(|(_, who)| who == whose).map(|(id, _)| id.as_str()).collect();
        state
            .cards
            .iter()
            .filter(|card| card.conversation.starts_with(whose) || alone.contains(&card.conversation.as_str()))
            .cloned()
            .collect()
    }

    /// What was refused.
    #[must_use]
    pub fn refused(&self) -> Vec<String> {
        self.state().refused.clone()
    }

    /// It answers nothing any more, or again.
    pub fn down(&self, down: bool) {
        self.state().down = down;
    }

    /// Its keys cannot be read, or again.
    pub fn keys_down(&self, down: bool) {
        self.state().keys_down = down;
    }

    /// The next calls to the Connector get these answers.
    pub fn troubled(&self, replies: Vec<Reply>) {
        self.state().trouble = replies;
    }

    /// The tokens it gave are good no more.
    pub fn revoke_tokens(&self) {
        self.state().tokens.clear();
    }

    /// It signs under another key's name from now on, which speaks for these channels.
    pub fn rotate(&self, kid: &str, endorsements: &[&str]) {
        let mut state = self.state();
        kid.clone_into(&mut state.kid);
        state.endorsements = endorsements.iter().map(|&channel| channel.to_owned()).collect();
    }

    /// Somebody deletes a card.
    pub fn delete(&self, activity: &str) {
        self.state().cards.retain(|card| card.activity != activity);
    }

    /// The claims of a good token.
    #[must_use]
    pub fn claims(now: i64) -> Value {
        json!({ "serviceurl": SERVICE, "nbf": now - 60, "exp": now + 3_600, "iss": ISSUER, "aud": APP })
    }

    /// `Authorization` with a token that says this, signed.
    #[must_use]
    pub fn authorization(&self, claims: &Value) -> String {
        let header = json!({ "typ": "JWT", "alg": "RS256", "kid": self.state().kid, "x5t": self.state().kid });
        let text = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", text(&header), text(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        // A signature that could not be made is refused, and the test says so.
        let _made = self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature);
        format!("Bearer {signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    /// Somebody writes to the bot, alone with it: the activity.
    pub fn write(&self, object: &str, text: &str, at: jiff::Timestamp) -> Value {
        let mut state = self.state();
        state.next += 1;
        json!({
            "type": "message", "id": format!("m:{}", state.next), "timestamp": at.to_string(), "text": text, "textFormat": "plain",
            "channelId": "msteams", "serviceUrl": SERVICE,
            "from": { "id": format!("29:{object}"), "name": object, "aadObjectId": object },
            "conversation": { "conversationType": "personal", "tenantId": TENANT, "id": format!("a:{object}") },
            "recipient": { "id": format!("28:{APP}"), "name": "Tidegate" },
            "channelData": { "tenant": { "id": TENANT } },
        })
    }

    /// Somebody presses a button of a card: the activity.
    ///
    /// # Panics
    /// If the card has no such button.
    #[must_use]
    #[expect(clippy::panic, reason = "a test that presses what is not there is wrong")]
    pub fn press(&self, object: &str, verb: &str, card: &Posted, note: Option<&str>, at: jiff::Timestamp) -> Value {
        let button = card.card["actions"].as_array().into_iter().flatten().find(|action| action["verb"] == verb);
        let Some(button) = button else { panic!("no button {verb} in {}", card.card) };
        let mut data = button["data"].clone();
        data["tide_note"] = note.unwrap_or_default().into();
        let mut state = self.state();
        state.next += 1;
        json!({
            "type": "invoke", "id": format!("f:{}", state.next), "timestamp": at.to_string(), "name": "adaptiveCard/action",
            "channelId": "msteams", "serviceUrl": SERVICE,
            "from": { "id": format!("29:{object}"), "name": object, "aadObjectId": object },
            "conversation": { "isGroup": true, "conversationType": "channel", "tenantId": TENANT, "id": card.conversation },
            "recipient": { "id": format!("28:{APP}"), "name": "Tidegate" },
            "channelData": { "tenant": { "id": TENANT } }, "replyToId": card.activity,
            "value": { "action": { "type": "Action.Execute", "title": button["title"], "verb": verb, "data": data }, "trigger": "manual" },
        })
    }
}

impl State {
    fn answer(&mut self, call: &Call, key: &KeyPair) -> Reply {
        if call.path == "/v1/.well-known/openidconfiguration" || call.path == "/v1/.well-known/keys" {
            return self.published(call, key);
        }
        if self.down {
            return Reply::status(503);
        }
        if call.path.starts_with("/login/") {
            return self.give_token(call);
        }
        self.calls += 1;
        if !self.trouble.is_empty() {
            return self.trouble.remove(0);
        }
        if self.calls > RATE {
            return Reply::status(429).with("retry-after", 1);
        }
        let token = call.headers.get("authorization").and_then(|text| text.strip_prefix("Bearer "));
        if !token.is_some_and(|token| self.tokens.iter().any(|given| given == token)) {
            return self.no(401, "a token that was not given");
        }
        let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
        let path = call.path.trim_start_matches("/teams/v3/conversations").replace("%3A", ":").replace("%3B", ";").replace("%3D", "=");
        let path = path.replace("%40", "@");
        match (call.method.as_str(), path.trim_start_matches('/').split('/').collect::<Vec<_>>().as_slice()) {
            ("POST", [""]) => self.create(&body),
            ("POST", [conversation, "activities"]) => self.send(conversation, &body),
            ("PUT", [conversation, "activities", activity]) => self.change(conversation, activity, &body),
            (method, _) => self.no(404, &format!("{method} {path}")),
        }
    }

    fn published(&self, call: &Call, key: &KeyPair) -> Reply {
        if self.keys_down {
            return Reply::status(503);
        }
        let base = format!("http://{}", call.headers.get("host").cloned().unwrap_or_default());
        if call.path.ends_with("openidconfiguration") {
            return Reply::json(&json!({
                "issuer": ISSUER, "authorization_endpoint": "https://invalid.botframework.com",
                "jwks_uri": format!("{base}/v1/.well-known/keys"), "id_token_signing_alg_values_supported": ["RS256"],
            }));
        }
        let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let n = text(key.public_key().modulus().big_endian_without_leading_zero());
        let e = text(key.public_key().exponent().big_endian_without_leading_zero());
        Reply::json(&json!({ "keys": [
            { "kty": "RSA", "use": "sig", "kid": self.kid, "x5t": self.kid, "n": n, "e": e, "endorsements": self.endorsements },
        ] }))
    }

    fn give_token(&mut self, call: &Call) -> Reply {
        let form = String::from_utf8_lossy(&call.body).into_owned();
        let has = |pair: &str| form.split('&').any(|one| one == pair);
        let password = APP_PASSWORD.replace('~', "%7E");
        let good = call.path == format!("/login/{TENANT}/oauth2/v2.0/token")
            && has("grant_type=client_credentials")
            && has(&format!("client_id={APP}"))
            && has("scope=https%3A%2F%2Fapi.botframework.com%2F.default");
        if !good {
            return self.no(400, "a token was asked for in another way");
        }
        if !has(&format!("client_secret={password}")) {
            return self.no(401, "invalid_client");
        }
        self.next += 1;
        let token = format!("token-{}", self.next);
        self.tokens.push(token.clone());
        Reply::json(&json!({ "token_type": "Bearer", "expires_in": 3600, "ext_expires_in": 3600, "access_token": token }))
    }

    fn no(&mut self, status: u16, why: &str) -> Reply {
        self.refused.push(format!("{status} {why}"));
        Reply { status, ..Reply::json(&json!({ "error": { "code": "BadArgument", "message": why } })) }
    }

    fn create(&mut self, body: &Value) -> Reply {
        if body["tenantId"] != TENANT || body["bot"]["id"] != format!("28:{APP}") {
            return self.no(400, "another tenant or bot");
        }
        self.next += 1;
        if body["isGroup"] == false {
            let Some(member) = body["members"][0]["id"].as_str() else { return self.no(400, "nobody to talk to") };
            let id = format!("a:{}", self.next);
            self.alone.push((id.clone(), member.to_owned()));
            return Reply { status: 201, ..Reply::json(&json!({ "id": id })) };
        }
        if body["channelData"]["channel"]["id"] != CHANNEL {
            return self.no(404, "no such channel");
        }
        if let Err(why) = check(&body["activity"]) {
            return self.no(400, why);
        }
        let activity = format!("17000000{:05}", self.next);
        let conversation = format!("{CHANNEL};messageid={activity}");
        self.keep(&conversation, &activity, &body["activity"]);
        Reply { status: 201, ..Reply::json(&json!({ "id": conversation, "activityId": activity })) }
    }

    fn send(&mut self, conversation: &str, body: &Value) -> Reply {
        if !self.alone.iter().any(|(id, _)| id == conversation) {
            return self.no(404, "no such conversation");
        }
        if let Err(why) = check(body) {
            return self.no(400, why);
        }
        self.next += 1;
        let activity = format!("17000000{:05}", self.next);
        self.keep(conversation, &activity, body);
        Reply { status: 201, ..Reply::json(&json!({ "id": activity })) }
    }

    fn change(&mut self, conversation: &str, activity: &str, body: &Value) -> Reply {
        if let Err(why) = check(body) {
            return self.no(400, why);
        }
        let found = self.cards.iter_mut().find(|card| card.conversation == conversation && card.activity == activity);
        let Some(card) = found else { return self.no(404, "no such activity") };
        card.card = body["attachments"][0]["content"].clone();
        card.summary = body["summary"].as_str().unwrap_or_default().to_owned();
        Reply::json(&json!({ "id": activity }))
    }

    fn keep(&mut self, conversation: &str, activity: &str, body: &Value) {
        self.cards.push(Posted {
            conversation: conversation.to_owned(),
            activity: activity.to_owned(),
            card: body["attachments"][0]["content"].clone(),
            summary: body["summary"].as_str().unwrap_or_default().to_owned(),
        });
    }
}

/// What Teams says of the cards that are used here.
fn check(activity: &Value) -> Result<(), &'static str> {
    let attachment = &activity["attachments"][0];
    let card = &attachment["content"];
    if activity["type"] != "message" || attachment["contentType"] != "application/vnd.microsoft.card.adaptive" {
        return Err("no card");
    }
    if card["type"] != "AdaptiveCard" || card["version"] != "1.4" || activity.to_string().len() > 28 * 1024 {
        return Err("a card that is none, or too large");
    }
    let known = |item: &Value| matches!(item["type"].as_str(), Some("RichTextBlock" | "Container" | "Input.Text"));
    let acts = |action: &Value| match action["type"].as_str() {
        Some("Action.Execute") => action["verb"].is_string() && action["data"].is_object(),
        Some("Action.OpenUrl") => {
            action["url"].as_str().is_some_and(|url| url.starts_with("https://") || url.starts_with("http://127.0.0.1:"))
        }
        _ => false,
    };
    let all = |list: &Value, good: &dyn Fn(&Value) -> bool| list.as_array().is_some_and(|list| list.iter().all(good));
    if all(&card["body"], &known) && all(&card["actions"], &acts) { Ok(()) } else { Err("an element that cards do not have") }
}
