//! What a mailbox proves: that somebody read it. Links in mails are signed, and name the one person, request and revision they are for.
//!
//! Others read mailboxes too: who forwards a mail, who holds a phone, whoever keeps the server. So what is done by such a link is worth
//! no more than [`Mfa::None`], decides and does nothing else, and whoever calls [`verify_mail_link`] asks for more where more is needed.
//! This module reads and writes links; the key that signs them, and that each counts once, are its callers' business.

use std::net::IpAddr;

use access::chat::{ChatAccountRow, ChatService};
use access::identity::{Mfa, Scope, VerifiedIdentity, Via};
use access::ids::{DeliveryId, EntryId, PrincipalId, RequestId};
use access::reason::{Reason, Refusal};
use access::secret::Secret;
use access::time::Span;
use jiff::Timestamp;

use crate::account::{Account, Proven};

/// What links that decide begin with.
const DECIDES: &str = "tg_mail_";
/// What links begin with that say whose a mailbox is.
const CONFIRMS: &str = "tg_mailbox_";
/// How long a link that says whose a mailbox is is good.
pub const CONFIRM_WITHIN: Span = Span::hours(24);
/// The longest link that is looked at.
const LONGEST: usize = 512;

/// A link by which one person decides on one revision of one request, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailLink {
    /// The mail it stands in: what counts once.
    pub delivery: DeliveryId,
    /// Who may use it.
    pub person: PrincipalId,
    /// On which request.
    pub request: RequestId,
    /// In which revision.
    pub revision: i64,
    /// Since when the mailbox it was sent to is theirs: another one that is theirs later is another.
    pub linked_at: Timestamp,
    /// Until when, to the second.
    pub expires_at: Timestamp,
}

/// A link by which somebody who is signed in shows that they read a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxLink {
    /// The entry in which they named it.
    pub entry: EntryId,
    /// Who did.
    pub person: PrincipalId,
    /// Until when, to the second.
    pub expires_at: Timestamp,
}

/// A link as it came: nothing of it is true until its signature is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed<L> {
    /// What it says.
    pub link: L,
    /// By what it claims to be the gate's own.
    pub signature: String,
}

/// Something that a link says, in one line that has no other reading.
pub trait Link: Sized {
    /// What the text of such a link begins with.
    const PREFIX: &'static str;
    /// The fields, in order.
    fn fields(&self) -> Vec<String>;
    /// From its fields; `None` if they are not such.
    fn of(fields: &[&str]) -> Option<Self>;

    /// The bytes to be signed. No two kinds of links, and nothing else the gate signs, have the same.
    fn signed(&self) -> Vec<u8> {
        format!("tidegate link\0{}{}", Self::PREFIX, self.fields().join(".")).into_bytes()
    }

    /// The link with its signature, as it stands in a mail.
    fn written(&self, signature: &str) -> Secret<String> {
        Secret::new(format!("{}{}.{signature}", Self::PREFIX, self.fields().join(".")))
    }

    /// Reads a link.
    ///
    /// # Errors
    /// [`Reason::CodeInvalid`] if it is none of this kind.
    fn read(text: &str) -> Result<Claimed<Self>, Refusal> {
        let wrong = || Refusal::because(Reason::CodeInvalid, "this is no link of the gate's, or part of it is missing");
        let text = text.trim();
        if text.len() > LONGEST {
            return Err(wrong());
        }
        let rest = text.strip_prefix(Self::PREFIX).ok_or_else(wrong)?;
        let parts: Vec<&str> = rest.split('.').collect();
        // A signature is a key's id and a digest.
        let (fields, signature) = parts.split_at_checked(parts.len().saturating_sub(2)).ok_or_else(wrong)?;
        let link = Self::of(fields).ok_or_else(wrong)?;
        // One text for each link: what reads the same in two ways could be used twice.
        if link.fields() != fields {
            return Err(wrong());
        }
        Ok(Claimed { link, signature: signature.join(".") })
    }
}

impl Link for MailLink {
    const PREFIX: &'static str = DECIDES;

    fn fields(&self) -> Vec<String> {
        let (linked, until) = (self.linked_at.as_microsecond().to_string(), self.expires_at.as_second().to_string());
        vec![self.delivery.to_string(), self.person.to_string(), self.request.to_string(), self.revision.to_string(), linked, until]
    }

    fn of(fields: &[&str]) -> Option<Self> {
        let [delivery, person, request, revision, linked, until] = fields else { return None };
        Some(Self {
            delivery: delivery.parse().ok()?,
            person: person.parse().ok()?,
            request: request.parse().ok()?,
            revision: revision.parse().ok()?,
            linked_at: Timestamp::from_microsecond(linked.parse().ok()?).ok()?,
            expires_at: Timestamp::from_second(until.parse().ok()?).ok()?,
        })
    }
}

impl Link for MailboxLink {
    const PREFIX: &'static str = CONFIRMS;

    fn fields(&self) -> Vec<String> {
        vec![self.entry.to_string(), self.person.to_string(), self.expires_at.as_second().to_string()]
    }

    fn of(fields: &[&str]) -> Option<Self> {
        let [entry, person, until] = fields else { return None };
        Some(Self {
            entry: entry.parse().ok()?,
            person: person.parse().ok()?,
            expires_at: Timestamp::from_second(until.parse().ok()?).ok()?,
        })
    }
}

/// Who a link speaks for whose signature is good: whoever reads the mailbox it was sent to, which is its owner's.
///
/// # Errors
/// If it is too late, the mailbox is not theirs any more, or they may not sign in.
pub fn verify_mail_link(
    link: &MailLink,
    mailbox: &ChatAccountRow,
    account: Account<'_>,
    from: Option<IpAddr>,
    now: Timestamp,
) -> Result<VerifiedIdentity, Refusal> {
    if link.expires_at <= now {
        return Err(Refusal::because(Reason::CodeInvalid, "this link is too old; look for the request in the portal"));
    }
    let theirs = mailbox.person == link.person && mailbox.linked_at == link.linked_at && mailbox.counts();
    let theirs = theirs && mailbox.service == ChatService::Mail;
    if !theirs || account.person.id != link.person {
        return Err(Refusal::because(Reason::NotSignedIn, "the mailbox this link was sent to is nobody's here any more"));
    }
    let via = Via::MailLink { delivery: link.delivery, request: link.request };
    account.proven(Proven { mfa: Mfa::None, via, scopes: vec![Scope::Read, Scope::Approve], claims: None }, from, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::people::*;
    use access::chat::{Told, mailbox_key};
    use access::identity::{PersonRow, PersonState};

    fn link(person: &PersonRow) -> MailLink {
        MailLink {
            delivery: DeliveryId::generate(noon()),
            person: person.id,
            request: RequestId::generate(noon()),
            revision: 2,
            linked_at: noon(),
            expires_at: Span::hours(1).after(noon()),
        }
    }

    fn mailbox(person: &PersonRow) -> ChatAccountRow {
        ChatAccountRow {
            id: mailbox_key(person.id),
            person: person.id,
            service: ChatService::Mail,
            team: String::new(),
            account: String::new(),
            address: Some("ben@example.com".into()),
            told: Told::All,
            linked_at: noon(),
            removed_at: None,
            version: 1,
        }
    }

    const SIGNATURE: &str = "key_00000000000000000000000001.00ff";

    // covers: C4 (mail)
    #[test]
    fn a_link_has_one_reading_and_says_what_was_signed() {
        let ben = person("ben");
        let link = link(&ben);
        let text = link.written(SIGNATURE);
        let read = MailLink::read(text.expose()).unwrap();
        assert_eq!((&read.link, read.signature.as_str()), (&link, SIGNATURE));
        let whole = text.expose();
        for wrong in [
            String::new(),
            "tg_mail_".to_owned(),
            whole.replacen("tg_mail_", "tg_mailbox_", 1),
            whole.replacen(".2.", ".+2.", 1),
            whole.replacen(".2.", ".02.", 1),
            whole.replacen("usr_", "req_", 1),
            format!("{whole}.x"),
            whole.get(..60).unwrap().to_owned(),
            format!("{whole}{}", "0".repeat(512)),
        ] {
            assert!(MailLink::read(&wrong).is_err(), "{wrong}");
        }
        let confirms = MailboxLink { entry: EntryId::generate(noon()), person: ben.id, expires_at: noon() };
        assert_eq!(MailboxLink::read(confirms.written(SIGNATURE).expose()).unwrap().link, confirms);
        assert_ne!(confirms.signed(), link.signed());
        let other = MailLink { revision: 3, ..link.clone() };
        assert_ne!(other.signed(), link.signed());
    }

    // covers: C4 (mail)
    #[test]
    fn it_speaks_for_its_mailboxs_owner_for_a_time_and_for_nothing_stronger() {
        let (ben, eve) = (person("ben"), person("eve"));
        let link = link(&ben);
        let who = verify_mail_link(&link, &mailbox(&ben), Account::human(&ben), Some(desk()), noon()).unwrap();
        assert_eq!((who.id(), who.mfa()), (ben.id, Mfa::None));
        assert!(who.may(Scope::Approve) && !who.may(Scope::Ask) && !who.may(Scope::Administer));
        let refused = |mailbox: &ChatAccountRow, person: &PersonRow, at| {
            verify_mail_link(&link, mailbox, Account::human(person), Some(desk()), at).unwrap_err().reason
        };
        assert_eq!(refused(&mailbox(&ben), &ben, link.expires_at), Reason::CodeInvalid);
        assert_eq!(refused(&mailbox(&eve), &eve, noon()), Reason::NotSignedIn);
        assert_eq!(refused(&mailbox(&ben), &eve, noon()), Reason::NotSignedIn);
        let removed = ChatAccountRow { removed_at: Some(noon()), ..mailbox(&ben) };
        assert_eq!(refused(&removed, &ben, noon()), Reason::NotSignedIn);
        let erased = ChatAccountRow { address: None, ..mailbox(&ben) };
        assert_eq!(refused(&erased, &ben, noon()), Reason::NotSignedIn);
        let another = ChatAccountRow { linked_at: Span::minutes(1).after(noon()), ..mailbox(&ben) };
        assert_eq!(refused(&another, &ben, noon()), Reason::NotSignedIn, "the mailbox they named after that");
        let slack = ChatAccountRow { service: ChatService::Slack, ..mailbox(&ben) };
        assert_eq!(refused(&slack, &ben, noon()), Reason::NotSignedIn);
        let gone = PersonRow { state: PersonState::Disabled, ..ben.clone() };
        assert_eq!(refused(&mailbox(&ben), &gone, noon()), Reason::Disabled);
    }
}
