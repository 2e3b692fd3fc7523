//! A batch as one message of Standard Webhooks: `log.batch`, with the events as they are in `data.events`.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::json;

use super::Batch;
use crate::outcome::Outcome;
use crate::webhook::{Endpoint, SigningKey};

/// What a message with lines of the log is called.
pub const EVENT: &str = "log.batch";

/// Sends a batch, signed with each key. Its `webhook-id` follows from what it says, so that the same batch has the same one.
pub async fn send(endpoint: &Endpoint, keys: &[SigningKey], batch: &Batch<'_>) -> Outcome<()> {
    let body = body(batch);
    let id = format!("batch_{}", &hex::encode(digest(&SHA256, &body))[..32]);
    match endpoint.send(keys, &id, batch.now, body).await {
        // A stream goes on until somebody takes it out of the configuration.
        Outcome::Never { why } => Outcome::Later { why, after: None },
        other => other,
    }
}

fn body(batch: &Batch<'_>) -> Vec<u8> {
    let head = json!({ "stream": batch.stream, "node": batch.node, "first": { "entry": batch.first.0, "line": batch.first.1 } });
    let events: Vec<&str> = batch.lines.iter().map(|line| line.json.as_str()).collect();
    // The lines are JSON already; between the brackets they stand as they are.
    let head = head.to_string();
    let (at, open) = (batch.ends(), head.strip_suffix('}').unwrap_or(&head));
    format!("{{\"type\":\"{EVENT}\",\"timestamp\":\"{at}\",\"data\":{open},\"events\":[{}]}}}}", events.join(",")).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::{example, example_line};
    use super::*;

    #[test]
    fn a_batch_is_a_message_with_its_events_as_they_are() {
        let lines = [example_line("session.opened", 1, "{\"a\":1}"), example_line("session.ended", 3, "{\"b\":\"\\\"]\"}")];
        let said: serde_json::Value = serde_json::from_slice(&body(&example(&lines))).unwrap();
        assert_eq!(
            said,
            json!({
                "type": "log.batch",
                "timestamp": "2026-03-02T12:00:00.123456Z",
                "data": { "stream": "siem", "node": "gate-1", "first": { "entry": 41, "line": 2 }, "events": [{ "a": 1 }, { "b": "\"]" }] },
            })
        );
    }
}
