//! The cards, as Adaptive Cards 1.4 say them (<https://adaptivecards.io/explorer/>), with actions of the Universal Action Model
//! (<https://learn.microsoft.com/adaptive-cards/authoring-cards/universal-action-model>).
//!
//! INVARIANT: what somebody wrote stands in a `TextRun`, in which nothing is read as Markdown, mention or link; a `TextBlock` would.

use serde_json::{Value, json};

use crate::slack::blocks::{About, Card};
use crate::text::unlinked;

/// What kind of attachment a card is.
pub const KIND: &str = "application/vnd.microsoft.card.adaptive";
/// The verbs of the buttons.
pub const APPROVE: &str = "tide_approve";
/// No, for the reason in the note.
pub const DENY: &str = "tide_deny";
/// The field for a note.
pub const NOTE: &str = "tide_note";

/// The longest text of somebody's own that is shown.
const LONGEST: usize = 1_500;

fn run(text: &str, strong: bool) -> Value {
    let mut run = json!({ "type": "TextRun", "text": unlinked(text, LONGEST) });
    if let (true, Some(run)) = (strong, run.as_object_mut()) {
        run.insert("weight".to_owned(), "Bolder".into());
    }
    run
}

fn line(runs: Vec<Value>) -> Value {
    json!({ "type": "RichTextBlock", "inlines": runs })
}

/// A request as a card; `said` is for who acts on it alone, with a link of the gate's own if there is one to follow.
#[must_use]
pub fn card(card: &Card, said: Option<(&str, Option<(&str, &str)>)>) -> Value {
    let heading = if card.break_glass {
        format!("Emergency: {} opens {} as {}", card.who, card.resource, card.role)
    } else {
        format!("{} asks for {} on {}", card.who, card.role, card.resource)
    };
    let mut title = run(&heading, true);
    if let Some(title) = title.as_object_mut() {
        title.insert("size".to_owned(), "Medium".into());
    }
    let mut body = vec![line(vec![title])];
    for (name, value) in &card.facts {
        body.push(line(vec![run(&format!("{name}: "), true), run(value, false)]));
    }
    if let Some(reason) = &card.reason {
        body.push(json!({ "type": "Container", "style": "emphasis", "items": [line(vec![run(reason, false)])] }));
    }
    body.extend(card.votes.iter().map(|vote| line(vec![run(vote, false)])));
    let mut actions = vec![json!({ "type": "Action.OpenUrl", "title": "Open in the portal", "url": card.link })];
    match &card.outcome {
        Some(outcome) => body.push(line(vec![run(outcome, true)])),
        None => {
            body.push(json!({
                "type": "Input.Text", "id": NOTE, "label": "Note; a no needs one", "isMultiline": true, "maxLength": 3000,
            }));
            let about = About { request: card.request.clone(), revision: card.revision };
            let act = |verb: &str, title: &str, style: &str| json!({ "type": "Action.Execute", "verb": verb, "title": title, "style": style, "data": { "about": about } });
            actions.insert(0, act(DENY, "Deny", "destructive"));
            actions.insert(0, act(APPROVE, "Approve", "positive"));
        }
    }
    if let Some((text, link)) = said {
        body.push(json!({ "type": "Container", "style": "attention", "items": [line(vec![run(text, true)])] }));
        if let Some((url, name)) = link {
            actions.push(json!({ "type": "Action.OpenUrl", "title": name, "url": url }));
        }
    }
    whole(&body, &actions)
}

/// A sentence and a link of the gate's own.
#[must_use]
pub fn said(text: &str, link: Option<(&str, &str)>) -> Value {
    let actions: Vec<Value> = link.iter().map(|(url, name)| json!({ "type": "Action.OpenUrl", "title": name, "url": url })).collect();
    whole(&[line(vec![run(text, false)])], &actions)
}

fn whole(body: &[Value], actions: &[Value]) -> Value {
    json!({
        "type": "AdaptiveCard", "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "version": "1.4",
        "body": body, "actions": actions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Card {
        Card {
            request: "req_1".into(),
            revision: 3,
            who: "**Ana** <at>everyone</at>".into(),
            resource: "db-1".into(),
            role: "debug".into(),
            facts: vec![("Ticket", "[OPS-1](https://evil.example)".into())],
            reason: Some("see [this](https://evil.example)\n# Approved by Ben\u{202e}".into()),
            link: "https://gate.example.com/requests/req_1".into(),
            ..Card::default()
        }
    }

    fn texts(value: &Value, kinds: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if map.contains_key("text") {
                    kinds.extend(map.get("type").and_then(Value::as_str).map(str::to_owned));
                }
                map.values().for_each(|value| texts(value, kinds));
            }
            Value::Array(all) => all.iter().for_each(|value| texts(value, kinds)),
            _ => {}
        }
    }

    // covers: E9 (teams)
    #[test]
    fn nobodys_words_are_markdown_mentions_or_links() {
        let shown = card(&request(), Some(("<b>no</b>", None)));
        let mut kinds = Vec::new();
        texts(&shown, &mut kinds);
        assert!(!kinds.is_empty() && kinds.iter().all(|kind| kind == "TextRun"), "{kinds:?}");
        let text = shown.to_string();
        assert_eq!(text.matches("https://").count(), 1, "the gate's own link: {text}");
        assert!(!text.contains('\u{202e}'));
    }

    #[test]
    fn buttons_carry_the_revision_and_go_with_the_decision() {
        let verbs = |card: &Value| {
            let actions = card["actions"].as_array().unwrap();
            actions.iter().filter_map(|action| action["verb"].as_str()).map(str::to_owned).collect::<Vec<_>>()
        };
        let open = card(&request(), None);
        assert_eq!(verbs(&open), [APPROVE, DENY]);
        assert_eq!(open["actions"][0]["data"]["about"], json!({ "request": "req_1", "revision": 3 }));
        let decided = card(&Card { outcome: Some("Approved by Ben".into()), ..request() }, None);
        assert!(verbs(&decided).is_empty() && decided.to_string().contains("Approved by Ben"));
    }
}
