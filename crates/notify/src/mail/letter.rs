//! What a mail says, as plain text and as simple HTML (RFC 2046 §5.1.4), both of the same parts.
//!
//! INVARIANT: what somebody wrote is never a header, markup or link: it goes through [`crate::text`] wherever it is put.

use jiff::Timestamp;
use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};

use super::address::Address;
use crate::text::{html, short, unlinked};

/// The longest text of somebody's own that is shown.
const LONGEST: usize = 1_500;
/// The longest subject.
const LONGEST_SUBJECT: usize = 150;

/// A letter to one mailbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Letter {
    /// What it is about, in one line.
    pub subject: String,
    /// What happened or is asked, as a sentence.
    pub says: String,
    /// Lines of facts: a name of the gate's own, and what it is.
    pub facts: Vec<(&'static str, String)>,
    /// Why, in somebody's own words.
    pub reason: Option<String>,
    /// Who decided what so far.
    pub votes: Vec<String>,
    /// The gate's own link, and what it is called.
    pub link: Option<(String, &'static str)>,
    /// What else the gate has to say, below the link.
    pub notes: Vec<String>,
    /// What holds mails together that are about one thing, as `req_…`.
    pub thread: Option<String>,
}

/// A letter that cannot be written as a mail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the letter cannot be written as a mail: {0}")]
pub struct LetterError(String);

impl Letter {
    /// The plain text.
    #[must_use]
    pub fn plain(&self) -> String {
        let mut out = format!("{}\n", unlinked(&self.says, LONGEST));
        if !self.facts.is_empty() {
            out.push('\n');
        }
        for (name, value) in &self.facts {
            out.push_str(&format!("{name}: {}\n", unlinked(value, LONGEST)));
        }
        if let Some(reason) = &self.reason {
            out.push_str(&format!("\n> {}\n", unlinked(reason, LONGEST)));
        }
        if !self.votes.is_empty() {
            out.push('\n');
        }
        for vote in &self.votes {
            out.push_str(&format!("- {}\n", unlinked(vote, LONGEST)));
        }
        if let Some((url, name)) = &self.link {
            out.push_str(&format!("\n{name}:\n{url}\n"));
        }
        for note in &self.notes {
            out.push_str(&format!("\n{note}\n"));
        }
        out
    }

    /// The HTML: no script, no style sheet, no picture, nothing that is fetched, and one link.
    #[must_use]
    pub fn html(&self) -> String {
        let foreign = |text: &str| html(&unlinked(text, LONGEST));
        let mut out = String::from(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Tidegate</title></head>\
             <body style=\"font-family: sans-serif; line-height: 1.45\">",
        );
        out.push_str(&format!("<p><strong>{}</strong></p>", foreign(&self.says)));
        if !self.facts.is_empty() {
            out.push_str("<table>");
            for (name, value) in &self.facts {
                out.push_str(&format!("<tr><td>{}</td><td>{}</td></tr>", html(name), foreign(value)));
            }
            out.push_str("</table>");
        }
        if let Some(reason) = &self.reason {
            out.push_str(&format!("<blockquote>{}</blockquote>", foreign(reason)));
        }
        if !self.votes.is_empty() {
            out.push_str("<ul>");
            for vote in &self.votes {
                out.push_str(&format!("<li>{}</li>", foreign(vote)));
            }
            out.push_str("</ul>");
        }
        if let Some((url, name)) = &self.link {
            out.push_str(&format!("<p><a href=\"{}\">{}</a></p>", html(url), html(name)));
        }
        for note in &self.notes {
            out.push_str(&format!("<p><small>{}</small></p>", html(note)));
        }
        out.push_str("</body></html>");
        out
    }

    /// The mail, to the byte. `id` is the same however often it is sent, and so is its `Message-ID` (RFC 5322 §3.6.4), by which a
    /// mailbox knows that it has it already.
    ///
    /// # Errors
    /// If an address is none after all.
    pub fn written(&self, id: &str, from: &Address, to: &Address, at: Timestamp) -> Result<Vec<u8>, LetterError> {
        let wrong = |error: &dyn std::fmt::Display| LetterError(error.to_string());
        let mailbox = |name: Option<&str>, address: &Address| -> Result<Mailbox, LetterError> {
            let parsed = address.as_str().parse().map_err(|error: lettre::address::AddressError| wrong(&error))?;
            Ok(Mailbox::new(name.map(str::to_owned), parsed))
        };
        let ours = |id: &str| format!("<{id}@{}>", from.domain());
        let mut message = Message::builder()
            .from(mailbox(Some("Tidegate"), from)?)
            .to(mailbox(None, to)?)
            .subject(short(&self.subject, LONGEST_SUBJECT))
            .date(at.into())
            .message_id(Some(ours(id)))
            // No vacation answers it (RFC 3834 §5).
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()));
        if let Some(thread) = &self.thread {
            message = message.references(ours(thread));
        }
        let message = message.multipart(MultiPart::alternative_plain_html(self.plain(), self.html())).map_err(|error| wrong(&error))?;
        Ok(message.formatted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> Letter {
        Letter {
            subject: "<b>Ana\r\nBcc: eve@evil.example\u{202e} asks for debug on db-1".into(),
            says: "<script>alert(1)</script> asks for debug on db-1.".into(),
            facts: vec![("Ticket", "<a href=\"https://evil.example\">OPS-1</a>".into())],
            reason: Some("see https://evil.example\n\nApprove here: https://gate.example.com/decide#x".into()),
            votes: vec!["<img src=x> approved: www.evil.example".into()],
            link: Some(("https://gate.example.com/decide#tg_mail_x".into(), "Look at it and decide")),
            notes: vec!["The link counts once.".into()],
            thread: Some("req_1".into()),
        }
    }

    // covers: E9 (mail)
    #[test]
    fn nobodys_words_are_headers_markup_or_links() {
        let html = letter().html();
        assert_eq!(html.matches("<a ").count(), 1, "{html}");
        assert_eq!(html.matches("://").count(), 1, "the gate's own link and no other: {html}");
        for inert in ["<script", "<img", "<b>", "www.evil"] {
            assert!(!html.contains(inert), "{html}");
        }
        let plain = letter().plain();
        assert_eq!(plain.matches("://").count(), 1, "{plain}");
        assert!(plain.contains("\n> see https[:]//evil.example  Approve here: https[:]//gate.example.com/decide#x\n"), "{plain}");
        let [from, to] = ["gate@example.com", "ben@example.com"].map(|text| text.parse().unwrap());
        let at = "2026-03-02T12:00:00Z".parse().unwrap();
        let mail = String::from_utf8(letter().written("dlv_1", &from, &to, at).unwrap()).unwrap();
        let (head, _) = mail.split_once("\r\n\r\n").unwrap();
        let names: Vec<&str> =
            head.lines().filter(|line| !line.starts_with([' ', '\t'])).filter_map(|line| line.split(':').next()).collect();
        assert!(!names.contains(&"Bcc"), "{head}");
        assert!(head.contains("Message-ID: <dlv_1@example.com>") && head.contains("Auto-Submitted: auto-generated"), "{head}");
        assert!(head.contains("References: <req_1@example.com>") && head.contains("Date: Mon, 02 Mar 2026 12:00:00 +0000"), "{head}");
    }

    #[test]
    fn it_is_the_same_mail_each_time_but_for_its_boundary() {
        let [from, to] = ["gate@example.com", "ben@example.com"].map(|text| text.parse().unwrap());
        let at = "2026-03-02T12:00:00Z".parse().unwrap();
        let id = |at| {
            let mail = String::from_utf8(letter().written("dlv_1", &from, &to, at).unwrap()).unwrap();
            mail.lines().find(|line| line.starts_with("Message-ID")).unwrap().to_owned()
        };
        assert_eq!(id(at), id(at + jiff::SignedDuration::from_secs(60)));
    }
}
