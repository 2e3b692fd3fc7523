//! Anything that answers JSON at an address made of a ticket's id.

use serde_json::Value;

use super::{Ticket, Tracker, Wrong, all_of};

/// One of the beginnings, and up to 40 letters, digits and dashes behind it.
pub(super) fn read(text: &str, beginnings: &[String]) -> Option<String> {
    let of = |beginning: &String| {
        text.strip_prefix(beginning.as_str()).is_some_and(|rest| all_of(rest, 1..=40, |b| b.is_ascii_alphanumeric() || b == b'-'))
    };
    beginnings.iter().any(of).then(|| text.to_owned())
}

pub(super) fn headers(token: Option<&str>) -> Vec<(&'static str, String)> {
    let mut headers = vec![("accept", "application/json".to_owned())];
    headers.extend(token.map(|token| ("authorization", format!("Bearer {token}"))));
    headers
}

pub(super) fn ticket(body: &[u8], tracker: &Tracker, asked: &str) -> Result<Ticket, Wrong> {
    let answer: Value = serde_json::from_slice(body).map_err(|error| Wrong::Unreadable(error.to_string()))?;
    if let Some(pointer) = &tracker.id_pointer {
        let said = match answer.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => return Err(Wrong::Unreadable(format!("there is no id at `{pointer}`"))),
        };
        // INVARIANT: an answer about another ticket says nothing of this one.
        if !said.eq_ignore_ascii_case(asked) {
            return Err(Wrong::Other("the tracker answered for another ticket".to_owned()));
        }
    }
    let state = match answer.pointer(&tracker.pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(other @ (Value::Bool(_) | Value::Number(_))) => other.to_string(),
        _ => return Err(Wrong::Unreadable(format!("there is no state at `{}`", tracker.pointer))),
    };
    let open = tracker.open.contains(&state);
    Ok(Ticket { states: vec![state], open })
}
