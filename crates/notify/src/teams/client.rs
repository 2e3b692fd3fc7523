//! What the gate asks of the Bot Connector (<https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference>),
//! with a token of its own by client credentials; and where it reads what the Connector signs with.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use access::secret::Secret;
use access::time::Span;
use jiff::Timestamp;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use super::card::KIND;
use super::token::{ISSUER, Keys, METADATA, Metadata, TokenError, key_id};
use crate::http::{Caller, Reach, ReachError};
use crate::outcome::Outcome;

/// Where tokens are given.
pub const LOGIN: &str = "https://login.microsoftonline.com/";
/// Where the Connector is, until an activity says otherwise.
pub const SERVICE: &str = "https://smba.trafficmanager.net/teams/";
/// What a token of the gate's is for.
const SCOPE: &str = "https://api.botframework.com/.default";
/// How long keys are believed; then, and when one is named that is not known, they are read anew.
const KEYS_KEPT: Span = Span::hours(24);
/// Not more often than this.
const KEYS_AGAIN: Span = Span::minutes(1);
/// So long before its end a token is not used any more.
const SPARE: Span = Span::minutes(2);
/// How much of an answer is read.
const LARGEST: usize = 256 * 1024;

/// What the configuration says of Teams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamsSettings {
    /// The one tenant whose people may act here.
    pub tenant: String,
    /// The bot.
    pub app: String,
    /// The channel where requests are posted, `19:…@thread.tacv2`.
    pub channel: String,
    /// Where tokens are given; [`LOGIN`] but for clouds of their own.
    pub login: String,
    /// Where the Connector is; [`SERVICE`] but for clouds of their own.
    pub service: String,
    /// Where the Connector says what it signs with; [`METADATA`] but for clouds of their own.
    pub metadata: String,
    /// Who signs; [`ISSUER`] but for clouds of their own.
    pub issuer: String,
    /// Addresses inside that may be called all the same.
    pub addresses: Vec<IpAddr>,
}

impl TeamsSettings {
    /// As Microsoft's own cloud has it.
    #[must_use]
    pub fn usual(tenant: &str, app: &str, channel: &str) -> Self {
        Self {
            tenant: tenant.to_owned(),
            app: app.to_owned(),
            channel: channel.to_owned(),
            login: LOGIN.to_owned(),
            service: SERVICE.to_owned(),
            metadata: METADATA.to_owned(),
            issuer: ISSUER.to_owned(),
            addresses: Vec::new(),
        }
    }
}

/// Where a message stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The conversation.
    pub conversation: String,
    /// The message in it.
    pub activity: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.conversation, self.activity)
    }
}

impl std::str::FromStr for Place {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (conversation, activity) = text.split_once(' ').ok_or(())?;
        Ok(Self { conversation: conversation.to_owned(), activity: activity.to_owned() })
    }
}

/// Asks the Connector.
#[derive(Debug)]
pub struct TeamsClient {
    settings: TeamsSettings,
    caller: Caller,
    login: Url,
    service: Url,
    metadata: Url,
    token: Mutex<Option<(Secret<String>, Timestamp)>>,
    keys: Mutex<Looked>,
    looking: tokio::sync::Mutex<()>,
}

/// What came of looking for keys.
#[derive(Debug, Default)]
struct Looked {
    /// The keys, and when they were read.
    keys: Option<(Keys, Timestamp)>,
    /// Why they could not be read after that, and when.
    failed: Option<(String, Timestamp)>,
}

#[derive(Clone, Copy)]
enum Method {
    Post,
    Put,
}

#[derive(Deserialize)]
struct Given {
    access_token: String,
    expires_in: u64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Made {
    id: String,
    activity_id: Option<String>,
}

impl TeamsClient {
    /// A client of the Connector.
    ///
    /// # Errors
    /// If an address may not be called, or TLS can't be set up.
    pub fn new(settings: &TeamsSettings, roots: Option<Vec<u8>>) -> Result<Self, ReachError> {
        let caller = Caller::new(&Reach { addresses: settings.addresses.clone(), roots })?;
        let with_slash = |text: &str| if text.ends_with('/') { text.to_owned() } else { format!("{text}/") };
        let login = caller.url(&format!("{}{}/oauth2/v2.0/token", with_slash(&settings.login), settings.tenant))?;
        let service = caller.url(&with_slash(&settings.service))?;
        let metadata = caller.url(&settings.metadata)?;
        Ok(Self {
            settings: settings.clone(),
            caller,
            login,
            service,
            metadata,
            token: Mutex::new(None),
            keys: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        })
    }

    /// The keys that a token may be signed with: those that are known, or, if its own is not among them, as they are now.
    ///
    /// # Errors
    /// Why they cannot be read, as a sentence; or that the token names none.
    pub async fn keys_for(&self, token: &str, now: Timestamp) -> Result<Keys, KeysError> {
        let kid = key_id(token)?;
        if let Some(known) = self.known_keys(&kid, now) {
            return known;
        }
        // However many call at once, one look is enough for all of them.
        let _looking = self.looking.lock().await;
        if let Some(known) = self.known_keys(&kid, now) {
            return known;
        }
        let published = self.published().await;
        let mut looked = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        match published {
            Ok(keys) => {
                *looked = Looked { keys: Some((keys.clone(), now)), failed: None };
                Ok(keys)
            }
            Err(why) => {
                looked.failed = Some((why.clone(), now));
                Err(KeysError::Unread(why))
            }
        }
    }

    /// What is known without looking; `None`: it is time to look. Who names keys that do not exist, or calls while they cannot be read, does
    /// not make the gate ask for each call.
    fn known_keys(&self, kid: &str, now: Timestamp) -> Option<Result<Keys, KeysError>> {
        let looked = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((keys, at)) = &looked.keys
            && ((keys.knows(kid) && now < KEYS_KEPT.after(*at)) || now < KEYS_AGAIN.after(*at))
        {
            return Some(Ok(keys.clone()));
        }
        let (why, at) = looked.failed.as_ref()?;
        (now < KEYS_AGAIN.after(*at)).then(|| Err(KeysError::Unread(why.clone())))
    }

    /// Whether the gate gets a token for itself, and reads the keys by which it tells the Bot Connector from others. Posts nothing.
    ///
    /// # Errors
    /// What does not work, as a sentence without a full stop.
    pub async fn look(&self, password: &Secret<String>, now: Timestamp) -> Result<(), String> {
        self.published().await?;
        match self.own_token::<()>(password, now).await {
            Ok(_) => Ok(()),
            Err(Outcome::Later { why, .. } | Outcome::Never { why }) => Err(why),
            Err(Outcome::Taken(())) => Err("Microsoft gives the gate no token".to_owned()),
        }
    }

    async fn published(&self) -> Result<Keys, String> {
        let metadata: Metadata = self.read(&self.metadata).await?;
        if metadata.issuer != self.settings.issuer {
            return Err("the Bot Connector's metadata names another issuer".to_owned());
        }
        let keys = self.caller.url(&metadata.jwks_uri).map_err(|error| error.to_string())?;
        self.read(&keys).await
    }

    async fn read<T: for<'de> Deserialize<'de>>(&self, url: &Url) -> Result<T, String> {
        let answer = self.caller.get(url, &[("accept", "application/json")], LARGEST).await?;
        if answer.status != 200 {
            return Err(format!("the Bot Connector's keys: it answered with HTTP {}", answer.status));
        }
        serde_json::from_slice(&answer.body).map_err(|_| "the Bot Connector's keys cannot be read".to_owned())
    }

    /// Posts a card as a thread of its own in the channel.
    pub async fn post(&self, password: &Secret<String>, card: &Value, line: &str, now: Timestamp) -> Outcome<Place> {
        let body = json!({
            "isGroup": true,
            "bot": { "id": format!("28:{}", self.settings.app) },
            "tenantId": self.settings.tenant,
            "channelData": { "channel": { "id": self.settings.channel }, "tenant": { "id": self.settings.tenant } },
            "activity": message(card, line),
        });
        self.call(password, Method::Post, "v3/conversations", &body, now).await.map(|made| {
            let activity = made.activity_id.unwrap_or_else(|| made.id.rsplit("messageid=").next().unwrap_or_default().to_owned());
            Place { conversation: made.id, activity }
        })
    }

    /// Changes a card. `Taken(false)`: it is no longer there.
    pub async fn update(&self, password: &Secret<String>, place: &Place, card: &Value, line: &str, now: Timestamp) -> Outcome<bool> {
        let mut body = message(card, line);
        if let Some(body) = body.as_object_mut() {
            body.insert("id".to_owned(), place.activity.clone().into());
        }
        let path = format!("v3/conversations/{}/activities/{}", escaped(&place.conversation), escaped(&place.activity));
        match self.call(password, Method::Put, &path, &body, now).await {
            Outcome::Never { why } if why.contains("HTTP 404") => Outcome::Taken(false),
            other => other.map(|_| true),
        }
    }

    /// Says something to one person alone.
    pub async fn tell(&self, password: &Secret<String>, object: &str, card: &Value, line: &str, now: Timestamp) -> Outcome<()> {
        let body = json!({
            "isGroup": false,
            "bot": { "id": format!("28:{}", self.settings.app) },
            "members": [{ "id": object }],
            "tenantId": self.settings.tenant,
            "channelData": { "tenant": { "id": self.settings.tenant } },
        });
        let made = match self.call(password, Method::Post, "v3/conversations", &body, now).await {
            Outcome::Taken(made) => made,
            Outcome::Later { why, after } => return Outcome::Later { why, after },
            Outcome::Never { why } => return Outcome::Never { why },
        };
        let path = format!("v3/conversations/{}/activities", escaped(&made.id));
        self.call(password, Method::Post, &path, &message(card, line), now).await.map(drop)
    }

    async fn call(&self, password: &Secret<String>, method: Method, path: &str, body: &Value, now: Timestamp) -> Outcome<Made> {
        let Ok(url) = self.service.join(path) else { return Outcome::Never { why: "its address cannot be written".to_owned() } };
        let token = match self.own_token(password, now).await {
            Ok(token) => token,
            Err(outcome) => return outcome,
        };
        let bearer = Secret::new(format!("Bearer {}", token.expose()));
        let headers = [("content-type", "application/json; charset=utf-8"), ("authorization", bearer.expose().as_str())];
        let body = body.to_string().into_bytes();
        let answered = match method {
            Method::Post => self.caller.post(&url, &headers, body).await,
            Method::Put => self.caller.put(&url, &headers, body).await,
        };
        let answer = match answered {
            Ok(answer) => answer,
            Err(why) => return Outcome::later(why),
        };
        match answer.status {
            200..=299 => Outcome::Taken(serde_json::from_slice(&answer.body).unwrap_or_default()),
            // The token was taken back: another is asked for next time.
            401 => {
                *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
                answer.refused()
            }
            // What is wrong with the message itself stays wrong.
            400 | 404 | 413 => Outcome::Never { why: format!("Teams refused it with HTTP {}", answer.status) },
            _ => answer.refused(),
        }
    }

    /// The gate's own token, as long as it is good.
    async fn own_token<T>(&self, password: &Secret<String>, now: Timestamp) -> Result<Secret<String>, Outcome<T>> {
        let kept = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((token, _)) = kept.filter(|(_, until)| now < *until) {
            return Ok(token);
        }
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", &self.settings.app)
            .append_pair("client_secret", password.expose().trim())
            .append_pair("scope", SCOPE)
            .finish();
        let form = Secret::new(form);
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let answer = match self.caller.post(&self.login, &headers, form.expose().clone().into_bytes()).await {
            Ok(answer) if answer.status == 200 => answer,
            Ok(answer) => {
                let why = format!("Microsoft gives the gate no token: HTTP {}; is the app's secret right?", answer.status);
                return Err(Outcome::Later { why, after: answer.retry_after });
            }
            Err(why) => return Err(Outcome::later(why)),
        };
        let Ok(given) = serde_json::from_slice::<Given>(&answer.body) else {
            return Err(Outcome::later("Microsoft answered with something that is no token"));
        };
        let token = Secret::new(given.access_token);
        let until = Span::seconds(given.expires_in.saturating_sub(SPARE.as_seconds())).after(now);
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some((token.clone(), until));
        Ok(token)
    }
}

/// Why a token's keys cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// The token names none.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// They cannot be read.
    #[error("{0}")]
    Unread(String),
}

fn message(card: &Value, line: &str) -> Value {
    json!({ "type": "message", "summary": line, "attachments": [{ "contentType": KIND, "content": card }] })
}

/// One piece of a path: `19:…;messageid=…` has characters that mean something there.
fn escaped(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}
