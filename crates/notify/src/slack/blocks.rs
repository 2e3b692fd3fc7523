//! The messages and windows, as Block Kit says them (<https://docs.slack.dev/reference/block-kit/blocks>).
//!
//! INVARIANT: what somebody wrote stands in `rich_text` or `plain_text` elements, where nothing is read as markup, mention or link;
//! where it cannot be avoided elsewhere, it is [`escaped`].

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::text::{inert, short};

/// The longest text of somebody's own that is shown.
const LONGEST: usize = 1_500;
/// The longest name in a heading, which has room for 150 characters.
const LONGEST_NAME: usize = 40;

/// The buttons' names.
pub const APPROVE: &str = "tide_approve";
/// Approve, with a note.
pub const APPROVE_NOTE: &str = "tide_approve_note";
/// Deny, with a reason.
pub const DENY: &str = "tide_deny";
/// The name of the window that asks for a note.
pub const NOTE: &str = "tide_note";

/// What a button or a window is about: it counts for this revision of the request alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// `req_…`.
    pub request: String,
    /// The revision that was shown.
    pub revision: i64,
}

/// A request as it is shown.
#[derive(Debug, Clone, Default)]
pub struct Card {
    /// What its buttons are about.
    pub request: String,
    /// The revision that is shown.
    pub revision: i64,
    /// Who asks.
    pub who: String,
    /// Where to.
    pub resource: String,
    /// As what.
    pub role: String,
    /// Whether it is an emergency.
    pub break_glass: bool,
    /// Lines of facts: a name, and what it is.
    pub facts: Vec<(&'static str, String)>,
    /// Why, in their own words.
    pub reason: Option<String>,
    /// Who decided what so far.
    pub votes: Vec<String>,
    /// How it stands, once nobody is asked any more.
    pub outcome: Option<String>,
    /// Where it stands in the portal.
    pub link: String,
}

/// Text in which `&`, `<` and `>` stand for themselves, and nothing hides, turns or breaks the line.
#[must_use]
pub fn escaped(text: &str) -> String {
    inert(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn plain(text: &str) -> Value {
    json!({ "type": "plain_text", "text": text, "emoji": false })
}

/// A line of facts: the gate's own word in bold, then what is foreign, both literal.
fn fact(name: &str, value: &str) -> Value {
    json!({ "type": "rich_text_section", "elements": [
        { "type": "text", "text": format!("{name}: "), "style": { "bold": true } },
        { "type": "text", "text": format!("{}\n", short(value, LONGEST)) },
    ] })
}

fn button(action: &str, text: &str, style: Option<&str>, about: &str) -> Value {
    let mut button = json!({ "type": "button", "action_id": action, "text": plain(text), "value": about });
    if let (Some(style), Some(button)) = (style, button.as_object_mut()) {
        button.insert("style".to_owned(), style.into());
    }
    button
}

impl Card {
    /// One line, for where blocks are not shown: notifications, screen readers.
    #[must_use]
    pub fn line(&self) -> String {
        escaped(&self.plain_line())
    }

    /// The same, where nothing is read as markup.
    #[must_use]
    pub fn plain_line(&self) -> String {
        let (who, role, resource) = (short(&self.who, LONGEST_NAME), &self.role, &self.resource);
        let line = if self.break_glass {
            format!("Emergency: {who} opens {resource} as {role}")
        } else {
            format!("{who} asks for {role} on {resource}")
        };
        match &self.outcome {
            Some(outcome) => inert(&format!("{line}: {outcome}")),
            None => inert(&line),
        }
    }

    /// The blocks: what is asked, by whom, why, who decided, and buttons while it can be decided.
    #[must_use]
    pub fn blocks(&self) -> Value {
        let (who, role, resource) = (short(&self.who, LONGEST_NAME), short(&self.role, LONGEST_NAME), short(&self.resource, LONGEST_NAME));
        let heading = if self.break_glass {
            format!("Emergency: {who} opens {resource} as {role}")
        } else {
            format!("{who} asks for {role} on {resource}")
        };
        let mut elements: Vec<Value> = self.facts.iter().map(|(name, value)| fact(name, value)).collect();
        // An empty element is refused there.
        if let Some(reason) = self.reason.as_ref().filter(|reason| !inert(reason).trim().is_empty()) {
            elements.push(json!({ "type": "rich_text_quote", "elements": [{ "type": "text", "text": short(reason, LONGEST) }] }));
        }
        for vote in &self.votes {
            elements.push(
                json!({ "type": "rich_text_section", "elements": [{ "type": "text", "text": format!("{}\n", short(vote, LONGEST)) }] }),
            );
        }
        if let Some(outcome) = &self.outcome {
            elements.push(json!({ "type": "rich_text_section", "elements": [
                { "type": "text", "text": short(outcome, LONGEST), "style": { "bold": true } },
            ] }));
        }
        let mut blocks = vec![json!({ "type": "header", "text": plain(&heading) })];
        if !elements.is_empty() {
            blocks.push(json!({ "type": "rich_text", "elements": elements }));
        }
        if self.outcome.is_none() {
            let about = About { request: self.request.clone(), revision: self.revision };
            let about = serde_json::to_string(&about).unwrap_or_default();
            blocks.push(json!({ "type": "actions", "block_id": "tide_decide", "elements": [
                button(APPROVE, "Approve", Some("primary"), &about),
                button(APPROVE_NOTE, "Approve with a note…", None, &about),
                button(DENY, "Deny…", Some("danger"), &about),
            ] }));
        }
        blocks.push(json!({ "type": "context", "elements": [
            { "type": "mrkdwn", "text": format!("<{}|Open in the portal> · {}", self.link, escaped(&self.request)), "verbatim": true },
        ] }));
        Value::Array(blocks)
    }
}

/// The window that asks for a note or a reason. `deciding` comes back as it is.
#[must_use]
pub fn note_window(deny: bool, what: &str, deciding: &str) -> Value {
    let (title, submit, label) = if deny { ("Deny", "Deny", "Why not?") } else { ("Approve", "Approve", "Note") };
    json!({
        "type": "modal",
        "callback_id": NOTE,
        "private_metadata": deciding,
        "title": plain(title),
        "submit": plain(submit),
        "close": plain("Back"),
        "blocks": [
            { "type": "section", "text": plain(&short(what, LONGEST)) },
            {
                "type": "input", "block_id": "note", "optional": !deny, "label": plain(label),
                "element": { "type": "plain_text_input", "action_id": "note", "multiline": true, "max_length": 3000 },
            },
        ],
    })
}

/// What only one person sees: a sentence, and a link of the gate's own if there is one to follow.
#[must_use]
pub fn said(text: &str, link: Option<(&str, &str)>) -> Value {
    let mut blocks = vec![json!({ "type": "section", "text": plain(&short(text, LONGEST)) })];
    if let Some((url, name)) = link {
        blocks.push(
            json!({ "type": "section", "text": { "type": "mrkdwn", "text": format!("<{url}|{}>", escaped(name)), "verbatim": true } }),
        );
    }
    Value::Array(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> Card {
        Card {
            request: "req_1".into(),
            revision: 3,
            who: "<!channel> Ana".into(),
            resource: "db-1".into(),
            role: "debug".into(),
            facts: vec![("Tier", "production".into()), ("Ticket", "<https://evil.example|OPS-1>".into())],
            reason: Some("see <@U1> & *approved by Ben*\n> quote\u{202e}\u{200b} https://evil.example".into()),
            link: "https://gate.example.com/requests/req_1".into(),
            ..Card::default()
        }
    }

    /// All texts in which Slack reads markup.
    fn marked_up(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if map.get("type").and_then(Value::as_str) == Some("mrkdwn") {
                    found.extend(map.get("text").and_then(Value::as_str).map(str::to_owned));
                    assert_eq!(map.get("verbatim"), Some(&Value::Bool(true)));
                }
                map.values().for_each(|value| marked_up(value, found));
            }
            Value::Array(all) => all.iter().for_each(|value| marked_up(value, found)),
            _ => {}
        }
    }

    // covers: E9 (chat)
    #[test]
    fn nobodys_words_mention_link_or_look_like_the_gates() {
        let blocks = card().blocks();
        let mut found = Vec::new();
        marked_up(&blocks, &mut found);
        assert_eq!(found, ["<https://gate.example.com/requests/req_1|Open in the portal> · req_1"]);
        let text = blocks.to_string();
        assert!(text.contains("see <@U1> & *approved by Ben* > quote https://evil.example"), "literal, on one line: {text}");
        assert!(!text.contains('\u{202e}') && !text.contains('\u{200b}'));
        assert_eq!(card().line(), "&lt;!channel&gt; Ana asks for debug on db-1");
        let window = note_window(true, "<!here> *x*", "{}");
        let mut found = Vec::new();
        marked_up(&window, &mut found);
        assert!(found.is_empty());
        assert_eq!(escaped("a&b<c>\u{7}\u{2066}"), "a&amp;b&lt;c&gt;");
    }

    #[test]
    fn buttons_carry_the_revision_and_go_with_the_decision() {
        let about = |card: &Card| {
            let blocks = card.blocks();
            let actions = blocks.as_array().unwrap().iter().find(|block| block["type"] == "actions").cloned();
            actions.map(|actions| serde_json::from_str::<About>(actions["elements"][0]["value"].as_str().unwrap()).unwrap())
        };
        assert_eq!(about(&card()), Some(About { request: "req_1".into(), revision: 3 }));
        let decided = Card { outcome: Some("Approved by Ben".into()), ..card() };
        assert_eq!(about(&decided), None);
        assert!(decided.line().ends_with(": Approved by Ben"));
    }

    #[test]
    fn nothing_is_longer_than_slack_takes() {
        let long = "x".repeat(10_000);
        let card = Card { who: long.clone(), role: long.clone(), resource: long.clone(), reason: Some(long), ..card() };
        let blocks = card.blocks();
        assert!(blocks[0]["text"]["text"].as_str().unwrap().chars().count() <= 150);
        assert!(blocks.to_string().len() < 16_000);
    }
}
