//! Mails: what is asked of whom, how it ended, and that a review is owed.
//!
//! Whom a request concerns is found out when it is told, not when it happens: a message that tells of it first becomes one for each
//! person ([`Gate::write_mail`]), whose id follows from the entry and the person. So nobody gets two mails about one thing, however
//! often the gate dies in between, and one mailbox that refuses a mail holds up nobody else's.
//!
//! Who is on call may not be known when it is looked, or be somebody else later: whenever that changes, it is looked again for every
//! request that waits for somebody on call ([`Gate::find_who_came_on_duty`]); where policy keeps the schedule, at the time it says itself. A mail that is made and waits while it is not known waits on.

use access::chat::{ChatAccountRow, Told, mailbox_key};
use access::event::Event;
use access::ids::{DeliveryId, PrincipalId};
use access::outbox::OutboxState;
use access::reason::Refusal;
use access::request::{Door, RequestRow, RequestState};
use access::time::Span;
use identity::mail::{CONFIRM_WITHIN, MailLink, MailboxLink, verify_mail_link};
use jiff::Timestamp;
use notify::mail::address::Address;
use notify::mail::client::{MailClient, MailSettings};
use notify::mail::letter::Letter;
use notify::outcome::Outcome;
use sha2::{Digest as _, Sha256};
use store::{Change, OutboxRow, Telling};

use super::failing::{self, FAILING};
use super::reviews::{self, AboutReview, REVIEW};
use super::{Happened, KeptSecret, Outbox};
use crate::Caller;
use crate::approve::all_stages;
use crate::gate::{Gate, unavailable};

/// What mail is called as a destination.
pub(super) const MAIL: &str = "mail";
/// What is written: who is asked, how it ended, that there is an emergency, whether a mailbox is somebody's.
const ASK: &str = "ask";
const OUTCOME: &str = "outcome";
const ALERT: &str = "alert";
const CONFIRM: &str = "confirm";
/// Whoever is on call now is to be asked what waits for them.
const DUTY: &str = "duty";

/// A mail server.
#[derive(Debug, Clone)]
pub struct Mail {
    /// What the configuration says of it.
    pub settings: MailSettings,
    /// What speaks to it.
    pub client: MailClient,
    /// By what the gate signs in there.
    pub password: Option<KeptSecret>,
}

impl Outbox {
    pub(crate) fn mail(&self) -> Option<&Mail> {
        self.destinations.get().and_then(|all| all.mail.as_ref())
    }

    /// What is to be written about a change.
    pub(super) fn told_by_mail(change: &Change, happened: &Happened) -> Vec<(usize, Telling)> {
        let mut tellings = Vec::new();
        for (place, draft) in change.drafts().iter().enumerate() {
            let telling = |task: &str, lane: Option<String>| Telling {
                id: DeliveryId::generate(draft.at),
                destination: MAIL.to_owned(),
                task: task.to_owned(),
                lane,
            };
            tellings.extend(failing::told_by(&draft.event).map(|lane| (place, telling(FAILING, Some(lane)))));
            match &draft.event {
                Event::MailboxNamed { person } => tellings.push((place, telling(CONFIRM, Some(format!("mailbox {person}"))))),
                Event::OnCallChanged { source, service, known: true, .. } => {
                    tellings.push((place, telling(DUTY, Some(format!("duty {source} {service}")))));
                }
                Event::RequestSubmitted { request, break_glass: true, .. } => {
                    tellings.push((place, telling(ALERT, Some(format!("about {request}")))));
                }
                Event::RequestSubmitted { request, .. } | Event::RequestEdited { request, .. } if !happened.is_over(*request) => {
                    tellings.push((place, telling(ASK, Some(format!("about {request}")))));
                }
                Event::RequestApproved { request, .. }
                | Event::RequestDenied { request, .. }
                | Event::RequestExpired { request }
                | Event::RequestCancelled { request }
                    if !happened.has_begun(*request) =>
                {
                    tellings.push((place, telling(OUTCOME, Some(format!("about {request}")))));
                }
                // Its schedules may be others.
                Event::BundleActivated { .. } => tellings.push((place, telling(DUTY, Some("duty policy".to_owned())))),
                event => tellings.extend(reviews::told_by(event).map(|lane| (place, telling(REVIEW, Some(lane))))),
            }
        }
        tellings
    }
}

impl Gate {
    /// Writes one mail, or finds out whom to write to.
    pub(super) async fn write_mail(&self, mail: &Mail, row: &OutboxRow) -> Result<Outcome<()>, Refusal> {
        let (task, to) = row.task.split_once(' ').unwrap_or((&row.task, ""));
        if task == CONFIRM {
            return self.write_confirmation(mail, row).await;
        }
        if task == DUTY {
            return self.find_who_came_on_duty().await;
        }
        if task == REVIEW {
            return self.write_about_review(mail, row, to).await;
        }
        if task == FAILING {
            return self.write_of_failing(mail, row, to).await;
        }
        let Some(request) = self.request_told_of(row).await? else {
            return Ok(Outcome::Never { why: "there is no such request".to_owned() });
        };
        match (task, to) {
            (ASK, "") => self.find_who_is_asked(row, &request).await,
            (OUTCOME, "") => self.find_who_is_told(row, &request).await,
            (ALERT, "") => self.find_who_is_alarmed(mail, row, &request).await,
            (ASK, person) => self.write_ask(mail, row, &request, person).await,
            (OUTCOME, person) => self.write_outcome(mail, row, &request, person).await,
            (ALERT, address) => self.write_alert(mail, row, &request, address).await,
            _ => Ok(Outcome::Never { why: format!("nobody knows what `{task}` is to say") }),
        }
    }

    /// Everybody with a mailbox who could decide now; and when others join them, they are looked for again.
    async fn find_who_is_asked(&self, row: &OutboxRow, request: &RequestRow) -> Result<Outcome<()>, Refusal> {
        let now = self.now();
        if request.state != RequestState::Pending || request.expires_at <= now {
            return Ok(Outcome::Taken(()));
        }
        // It was changed meanwhile: who is to be asked about it now is found out for that.
        let newest = self.store.newest_message(MAIL, &format!("about {}", request.id)).await.map_err(unavailable)?;
        if newest.is_some_and(|newest| newest.task == ASK && newest.entry != row.entry) {
            return Ok(Outcome::Taken(()));
        }
        let mut rows = Vec::new();
        for mailbox in self.store.mailboxes().await.map_err(unavailable)? {
            if mailbox.told.asks() && self.could_decide(row, &mailbox, request).await? {
                rows.push(message(row, &format!("{ASK} {}", mailbox.person), format!("{} {}", request.id, mailbox.person), now));
            }
        }
        let since = Span::between(request.asked_since(), now);
        let later = all_stages(request).filter(|stage| stage.escalate_to.is_some()).filter_map(|stage| stage.timeout);
        if let Some(next) = later.filter(|timeout| *timeout > since).min() {
            // In a lane of its own: nothing else waits for it.
            rows.push(message(row, ASK, format!("later {} {}", request.id, next.as_seconds()), next.after(request.asked_since())));
        }
        if let Some(next) = crate::on_call::next_change(&self.bundle(), request, now).filter(|next| *next < request.expires_at) {
            rows.push(message(row, ASK, format!("duty {} {}", request.id, next.as_second()), next));
        }
        self.store.add_messages(&rows).await.map_err(unavailable)?;
        Ok(Outcome::Taken(()))
    }

    /// Whom to ask, again, about every request that waits for somebody on call.
    async fn find_who_came_on_duty(&self) -> Result<Outcome<()>, Refusal> {
        // What the log says is believed, and a policy in force, once whoever entered it lets go.
        self.on_call.settled().await;
        drop(self.redeciding.lock().await);
        for request in self.store.pending_requests().await.map_err(unavailable)? {
            if !crate::on_call::is_waited_for(&request) {
                continue;
            }
            // As the newest telling of it, so that whoever has that mail gets no second one.
            let told = self.store.newest_message(MAIL, &format!("about {}", request.id)).await.map_err(unavailable)?;
            if let Some(told) = told.filter(|told| told.task == ASK) {
                self.find_who_is_asked(&told, &request).await?;
            }
        }
        Ok(Outcome::Taken(()))
    }

    /// The asker, and whoever was asked.
    async fn find_who_is_told(&self, row: &OutboxRow, request: &RequestRow) -> Result<Outcome<()>, Refusal> {
        let begin = format!("{} ", request.id);
        let asked = self.store.outbox_lanes(MAIL, &begin).await.map_err(unavailable)?;
        let asked = asked.iter().filter_map(|lane| lane.strip_prefix(&begin)?.parse::<PrincipalId>().ok());
        let now = self.now();
        let people: std::collections::BTreeSet<PrincipalId> = std::iter::once(request.person).chain(asked).collect();
        let rows: Vec<OutboxRow> =
            people.iter().map(|person| message(row, &format!("{OUTCOME} {person}"), format!("{begin}{person}"), now)).collect();
        self.store.add_messages(&rows).await.map_err(unavailable)?;
        Ok(Outcome::Taken(()))
    }

    async fn find_who_is_alarmed(&self, mail: &Mail, row: &OutboxRow, request: &RequestRow) -> Result<Outcome<()>, Refusal> {
        let now = self.now();
        let to = mail.settings.alerts.iter();
        let rows: Vec<OutboxRow> = to.map(|to| message(row, &format!("{ALERT} {to}"), format!("alert {} {to}", request.id), now)).collect();
        self.store.add_messages(&rows).await.map_err(unavailable)?;
        Ok(Outcome::Taken(()))
    }

    async fn write_ask(&self, mail: &Mail, row: &OutboxRow, request: &RequestRow, person: &str) -> Result<Outcome<()>, Refusal> {
        let Some((mailbox, to)) = self.mailbox_of(person, Told::asks).await? else { return Ok(Outcome::Taken(())) };
        // What was decided meanwhile, or is no longer theirs to decide, is nothing to write about.
        if !self.could_decide(row, &mailbox, request).await? {
            let waits = request.state == RequestState::Pending && request.expires_at > self.now();
            // Whether it is theirs may not be known just now.
            return Ok(match self.why_nobody_is_on_call(&self.bundle(), request).filter(|_| waits) {
                Some(why) => Outcome::Later { why, after: None },
                None => Outcome::Taken(()),
            });
        }
        let link = link_in(row, &mailbox, request);
        let code = self.signed_link(&link)?;
        let card = self.card(request).await?;
        let mut notes = vec![format!(
            "The link is yours alone and decides once, until {}. Opening it decides nothing. Do not forward this mail: whoever has the link could \
             decide as you.",
            minute(link.expires_at)
        )];
        if let Some(why) = needs_more(request) {
            notes.push(format!("Approving this one takes more than a mailbox: {why}. Sign in and decide in the portal."));
        }
        let letter = Letter {
            subject: format!("{} asks for {} on {}", card.who, card.role, card.resource),
            says: format!("{} asks for {} on {}.", card.who, card.role, card.resource),
            facts: card.facts,
            reason: card.reason,
            votes: card.votes,
            link: Some((format!("{}/decide#{}", self.outbox.portal(), code.expose()), "Look at it and decide")),
            notes,
            thread: Some(request.id.to_string()),
        };
        self.hand_over(mail, row, &to, &letter).await
    }

    async fn write_outcome(&self, mail: &Mail, row: &OutboxRow, request: &RequestRow, person: &str) -> Result<Outcome<()>, Refusal> {
        let own = person == request.person.to_string();
        let wanted: fn(Told) -> bool = if own { Told::own } else { |told| told == Told::All };
        let Some((_, to)) = self.mailbox_of(person, wanted).await? else { return Ok(Outcome::Taken(())) };
        let card = self.card(request).await?;
        let Some(outcome) = card.outcome else { return Ok(Outcome::Taken(())) };
        let whose = if own { String::new() } else { format!(" for {}", card.who) };
        let letter = Letter {
            subject: format!("{} on {}{whose}: {outcome}", card.role, card.resource),
            says: format!("{} on {}{whose}: {outcome}.", card.role, card.resource),
            facts: card.facts,
            reason: card.reason,
            votes: card.votes,
            link: Some((card.link, "Open in the portal")),
            notes: Vec::new(),
            thread: Some(request.id.to_string()),
        };
        self.hand_over(mail, row, &to, &letter).await
    }

    async fn write_alert(&self, mail: &Mail, row: &OutboxRow, request: &RequestRow, address: &str) -> Result<Outcome<()>, Refusal> {
        let Ok(to) = address.parse::<Address>() else {
            return Ok(Outcome::Never { why: "it goes to no address".to_owned() });
        };
        let card = self.card(request).await?;
        let letter = Letter {
            subject: format!("Emergency: {} opens {} as {}", card.who, card.resource, card.role),
            says: format!("Emergency: {} opens {} as {}. It is to be reviewed.", card.who, card.resource, card.role),
            facts: card.facts,
            reason: card.reason,
            votes: Vec::new(),
            link: Some((card.link, "Open in the portal")),
            notes: Vec::new(),
            thread: Some(request.id.to_string()),
        };
        self.hand_over(mail, row, &to, &letter).await
    }

    /// To those who owe a review, while they do; `to` is one of them, or nobody yet.
    async fn write_about_review(&self, mail: &Mail, row: &OutboxRow, to: &str) -> Result<Outcome<()>, Refusal> {
        let about = self.review_told_of(row).await?.filter(AboutReview::is_owed);
        let Some(about) = about else { return Ok(Outcome::Taken(())) };
        if to.is_empty() {
            let mailboxes = self.store.mailboxes().await.map_err(unavailable)?;
            let rows = self.each_who_owes(row, &about.review, mailboxes, |mailbox| mailbox.person.to_string()).await?;
            self.store.add_messages(&rows).await.map_err(unavailable)?;
            return Ok(Outcome::Taken(()));
        }
        let Some((mailbox, to)) = self.mailbox_of(to, Told::asks).await? else { return Ok(Outcome::Taken(())) };
        if !self.owes(mailbox.person, &about.review).await? {
            return Ok(Outcome::Taken(()));
        }
        let AboutReview { review, grant, .. } = &about;
        let letter = Letter {
            subject: format!("Review: {}, {} on {}", self.called(review.person).await, grant.role, grant.resource),
            says: self.says_of_review(&about).await,
            facts: vec![("Review", review.id.to_string()), ("Due", minute(review.due_at))],
            link: Some((format!("{}/inbox", self.outbox.portal()), "Open in the portal")),
            thread: Some(review.id.to_string()),
            ..Letter::default()
        };
        self.hand_over(mail, row, &to, &letter).await
    }

    /// To a mailbox that somebody named: the link that they open where they are signed in.
    async fn write_confirmation(&self, mail: &Mail, row: &OutboxRow) -> Result<Outcome<()>, Refusal> {
        let Some(logged) = self.store.entry(row.entry).await.map_err(unavailable)? else {
            return Ok(Outcome::Never { why: format!("there is no entry {}", row.entry) });
        };
        let Event::MailboxNamed { person } = logged.entry.event else {
            return Ok(Outcome::Never { why: "it tells of no mailbox".to_owned() });
        };
        // Erased meanwhile.
        let Some(to) = logged.entry.text("address").and_then(|text| text.parse::<Address>().ok()) else { return Ok(Outcome::Taken(())) };
        let link = MailboxLink { entry: row.entry, person, expires_at: CONFIRM_WITHIN.after(logged.entry.at) };
        if link.expires_at <= self.now() {
            return Ok(Outcome::Taken(()));
        }
        let code = self.signed_link(&link)?;
        let who = self.called(person).await;
        let letter = Letter {
            subject: "Is this your mailbox?".to_owned(),
            says: format!("{who} says that this mailbox is theirs, and wants to be asked here for approvals."),
            link: Some((format!("{}/mailbox#{}", self.outbox.portal(), code.expose()), "Yes, it is mine")),
            notes: vec![
                format!("Open the link where you are signed in to the portal, until {}.", minute(link.expires_at)),
                "If you did not ask for this, do nothing: without the link nobody is asked here.".to_owned(),
            ],
            ..Letter::default()
        };
        self.hand_over(mail, row, &to, &letter).await
    }

    pub(super) async fn hand_over(&self, mail: &Mail, row: &OutboxRow, to: &Address, letter: &Letter) -> Result<Outcome<()>, Refusal> {
        let password = match &mail.password {
            Some(secret) => Some(self.kept_secret(secret).await?),
            None => None,
        };
        // The time it tells of, so that a mail that comes late says when it was meant.
        let written = match letter.written(&row.id.to_string(), &mail.settings.from, to, row.created_at) {
            Ok(written) => written,
            Err(error) => return Ok(Outcome::Never { why: error.to_string() }),
        };
        Ok(mail.client.send(password.as_ref(), to, &written).await)
    }

    /// A person's mailbox, if they have one and want to be told this.
    async fn mailbox_of(&self, person: &str, wanted: impl Fn(Told) -> bool) -> Result<Option<(ChatAccountRow, Address)>, Refusal> {
        let Ok(person) = person.parse::<PrincipalId>() else { return Ok(None) };
        let mailbox = self.store.chat_account(&mailbox_key(person)).await.map_err(unavailable)?;
        let Some(mailbox) = mailbox.filter(|row| row.counts() && row.person == person && wanted(row.told)) else { return Ok(None) };
        let address = mailbox.address.as_ref().and_then(|text| text.parse::<Address>().ok());
        Ok(address.map(|address| (mailbox, address)))
    }

    /// Whether a mailbox's owner could say yes or no now, if need be after they proved more than that they read it.
    async fn could_decide(&self, row: &OutboxRow, mailbox: &ChatAccountRow, request: &RequestRow) -> Result<bool, Refusal> {
        let link = link_in(row, mailbox, request);
        let known = self.known(mailbox.person).await?;
        let Ok(who) = verify_mail_link(&link, mailbox, known.account(), None, self.now()) else { return Ok(false) };
        self.can_decide(&Caller { who, door: Door::Mail }, request).await
    }
}

/// Why a mailbox is too little to approve a request; `None`: it is enough.
pub(crate) fn needs_more(request: &RequestRow) -> Option<&'static str> {
    if all_stages(request).any(|stage| stage.signed) {
        Some("it has to be signed with your passkey")
    } else if request.terms.mfa > access::identity::Mfa::None {
        Some("who asks for it has to prove more than that, and so has who agrees")
    } else {
        None
    }
}

fn link_in(row: &OutboxRow, mailbox: &ChatAccountRow, request: &RequestRow) -> MailLink {
    let expires_at = Timestamp::from_second(request.expires_at.as_second()).unwrap_or(request.expires_at);
    MailLink {
        delivery: row.id,
        person: mailbox.person,
        request: request.id,
        revision: request.revision,
        linked_at: mailbox.linked_at,
        expires_at,
    }
}

/// A message that follows from another: about the same entry, with an id that follows from that, from where it goes and what it is for.
pub(super) fn message(from: &OutboxRow, task: &str, lane: String, due_at: Timestamp) -> OutboxRow {
    OutboxRow {
        id: follows(from, &format!("{} {} {task} {lane}", from.destination, from.entry)),
        task: task.to_owned(),
        lane,
        state: OutboxState::Waiting,
        attempts: 0,
        due_at,
        since: due_at,
        claimed_by: None,
        claimed_until: None,
        error: None,
        created_at: from.created_at,
        done_at: None,
        ..from.clone()
    }
}

/// An id with the time of another, and in place of chance 60 bits of a digest.
fn follows(from: &OutboxRow, what: &str) -> DeliveryId {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let text = from.id.to_string();
    let digest = Sha256::digest(what.as_bytes());
    let digits = digest.iter().take(12).map(|byte| char::from(DIGITS[usize::from(byte & 31)]));
    let begin = text.get(..text.len().saturating_sub(12)).unwrap_or_default();
    begin.chars().chain(digits).collect::<String>().parse().unwrap_or(from.id)
}

/// A time as people read it, in UTC.
pub(super) fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use access::ids::EntryId;

    use super::*;

    #[test]
    fn what_follows_from_a_message_is_the_same_however_often_it_does() {
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let row = OutboxRow {
            id: DeliveryId::generate(at),
            destination: MAIL.into(),
            task: ASK.into(),
            lane: "about req_1".into(),
            entry: EntryId::generate(at),
            event: "request.submitted".into(),
            state: OutboxState::Delivered,
            attempts: 3,
            due_at: at,
            since: at,
            claimed_by: Some("one".into()),
            claimed_until: Some(at),
            error: Some("HTTP 500".into()),
            created_at: at,
            done_at: Some(at),
        };
        let ben = message(&row, "ask usr_1", "req_1 usr_1".into(), at);
        assert_eq!(ben, message(&row, "ask usr_1", "req_1 usr_1".into(), at));
        let carla = message(&row, "ask usr_2", "req_1 usr_2".into(), at);
        assert!(ben.id != carla.id && ben.id != row.id);
        assert_eq!((ben.state, ben.attempts, ben.claimed_by.as_deref(), ben.entry), (OutboxState::Waiting, 0, None, row.entry));
        // Looked for again, under another id: who was found before is not found anew.
        let later = message(&row, ASK, "later req_1 600".into(), at);
        assert_eq!(message(&later, "ask usr_1", "req_1 usr_1".into(), at).id, ben.id);
    }
}
