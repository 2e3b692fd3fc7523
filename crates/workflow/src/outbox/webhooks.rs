//! An event as an endpoint is told it: the audit entry, with who did it by name.

use access::entry::Entry;
use access::event::Actor;
use access::reason::Refusal;
use notify::outcome::Outcome;
use notify::webhook::SigningKey;
use serde_json::{Map, Value, json};
use store::OutboxRow;

use super::{KeptSecret, Webhook};
use crate::gate::{Gate, unavailable};

impl Gate {
    pub(super) async fn send_event(&self, webhook: &Webhook, row: &OutboxRow) -> Result<Outcome<()>, Refusal> {
        let Some(logged) = self.store.entry(row.entry).await.map_err(unavailable)? else {
            return Ok(Outcome::Never { why: format!("there is no entry {}", row.entry) });
        };
        let mut keys = Vec::new();
        for secret in std::iter::once(&webhook.secret).chain(&webhook.old_secret) {
            match self.signing_key(secret).await? {
                Ok(key) => keys.push(key),
                Err(why) => return Ok(Outcome::Later { why, after: None }),
            }
        }
        let actor = match logged.entry.actor {
            Actor::Principal(id) => Some(self.called(id).await),
            Actor::Gate | Actor::Unknown => None,
        };
        let body = event_body(&logged.entry, actor).to_string().into_bytes();
        Ok(webhook.endpoint.send(&keys, &row.id.to_string(), self.now(), body).await)
    }

    async fn signing_key(&self, secret: &KeptSecret) -> Result<Result<SigningKey, String>, Refusal> {
        let text = self.kept_secret(secret).await?;
        Ok(text.expose().parse::<SigningKey>().map_err(|error| error.to_string()))
    }
}

/// The body: `type`, `timestamp` and `data`, as Standard Webhooks asks for. Made of the entry alone, so that it is the same each
/// time; texts that were erased meanwhile are not in it.
fn event_body(entry: &Entry, actor_name: Option<String>) -> Value {
    let mut data = match serde_json::to_value(&entry.event) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    data.remove("event");
    // Of no use to anybody else, and nobody else's to have.
    data.remove("row_digest");
    data.insert("entry".to_owned(), entry.id.to_string().into());
    data.insert("actor".to_owned(), json!({ "id": entry.actor.to_string(), "name": actor_name }));
    data.insert("door".to_owned(), entry.door.code().into());
    if !entry.texts.is_empty() {
        let texts: Map<String, Value> = entry.texts.iter().map(|(name, text)| (name.clone(), text.text.clone().into())).collect();
        data.insert("texts".to_owned(), texts.into());
    }
    json!({ "type": entry.event.name(), "timestamp": entry.at.to_string(), "data": data })
}
