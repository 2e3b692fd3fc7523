//! What people and machines outside are told of.
//!
//! *Takes* a change about to be committed. *Proves* nothing; it adds to the change a message for each destination that wants to
//! know, so that both are kept or neither is. *Hands to* `tell` each message when it is due, again and again until it is taken or
//! given up.
//!
//! INVARIANT: nothing waits for a message. A destination that is away delays and refuses nothing here.

mod cards;
mod chats;
mod failing;
mod letters;
mod reviews;
mod teams;
mod webhooks;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use access::event::Event;
use access::ids::{DeliveryId, RequestId};
use access::names::SecretName;
use access::outbox::OutboxState;
use access::reason::{Reason, Refusal};
use access::secret::Secret;
use access::time::Span;
use jiff::Timestamp;
use notify::outcome::Outcome;
use notify::slack::client::{SlackClient, SlackSettings};
use notify::webhook::{Endpoint, Pattern};
use policy::{Act, Noun, Object};
use store::{Attempted, Change, OutboxRow, Telling};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::sweep::again;

pub use letters::Mail;
pub(crate) use letters::needs_more;
pub use teams::Teams;
pub(crate) use teams::subject;

use chats::Chat;
use failing::FAILING;
use letters::MAIL;
use reviews::REVIEW;
use teams::TEAMS;

/// For so long nobody else delivers what one took to deliver.
const CLAIMED: Span = Span::minutes(1);
/// How many messages of one destination are on their way at once.
const AT_ONCE: u32 = 8;
/// The first wait after a failure, and the longest.
const WAITS: (Span, Span) = (Span::seconds(5), Span::hours(1));
/// After so long a message is given up.
const GIVEN_UP: Span = Span::hours(72);
/// How long what was delivered, and what was given up, is kept.
const KEPT: (Span, Span) = (Span::hours(7 * 24), Span::hours(90 * 24));
/// How often a destination is looked after if nothing new comes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often what is too old is forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(600);
/// The longest secret in a file.
const LONGEST_SECRET: u64 = 4096;

/// Where a secret of a destination is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptSecret {
    /// Sealed in the store: `tidegate secret set`.
    Sealed(SecretName),
    /// In a file, read at each use.
    File(PathBuf),
}

/// An endpoint of somebody else's that is told of events.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Its name.
    pub name: String,
    /// What it wants to know.
    pub events: Vec<Pattern>,
    /// What signs.
    pub secret: KeptSecret,
    /// What signs too, while the receiver changes from it to the other.
    pub old_secret: Option<KeptSecret>,
    /// Where it is.
    pub endpoint: Endpoint,
}

/// A workspace of Slack.
#[derive(Debug, Clone)]
pub struct Slack {
    /// What the configuration says of it.
    pub settings: SlackSettings,
    /// What asks it.
    pub client: SlackClient,
    /// By what the gate is the app there, `xoxb-…`.
    pub bot_token: KeptSecret,
    /// What signs its calls.
    pub signing_secret: KeptSecret,
}

/// Everybody outside who is told.
#[derive(Debug, Clone, Default)]
pub struct Destinations {
    /// Endpoints.
    pub webhooks: Vec<Webhook>,
    /// Slack.
    pub slack: Option<Slack>,
    /// Microsoft Teams.
    pub teams: Option<Teams>,
    /// A mail server.
    pub mail: Option<Mail>,
    /// The portal's URL, without a slash at its end.
    pub portal: String,
}

/// What the gate knows of who is told.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(crate) destinations: OnceLock<Destinations>,
    /// Whether what is decided is written to tickets.
    pub(crate) tickets: AtomicBool,
    /// Counts changes with messages, to wake who delivers.
    news: watch::Sender<u64>,
}

impl Default for Outbox {
    fn default() -> Self {
        Self { destinations: OnceLock::new(), tickets: AtomicBool::new(false), news: watch::channel(0).0 }
    }
}

/// What Slack is called as a destination.
const SLACK: &str = "slack";
/// What the trackers of tickets are called, as one.
const TICKETS: &str = "tickets";
/// What is said: all of an event, how a request stands, how it ended.
const EVENT: &str = "event";
const REQUEST: &str = "request";
const OUTCOME: &str = "outcome";

impl Outbox {
    pub(crate) fn slack(&self) -> Option<&Slack> {
        self.destinations.get().and_then(|all| all.slack.as_ref())
    }

    pub(crate) fn portal(&self) -> &str {
        self.destinations.get().map_or("", |all| &all.portal)
    }

    fn webhook(&self, destination: &str) -> Option<&Webhook> {
        let name = destination.strip_prefix("webhook:")?;
        self.destinations.get()?.webhooks.iter().find(|webhook| webhook.name == name)
    }

    fn names(&self) -> Vec<String> {
        let Some(all) = self.destinations.get() else { return Vec::new() };
        let slack = all.slack.iter().map(|_| SLACK.to_owned());
        let teams = all.teams.iter().map(|_| TEAMS.to_owned());
        let mail = all.mail.iter().map(|_| MAIL.to_owned());
        let tickets = self.tickets.load(Ordering::Relaxed).then(|| TICKETS.to_owned());
        all.webhooks
            .iter()
            .map(|webhook| format!("webhook:{}", webhook.name))
            .chain(slack)
            .chain(teams)
            .chain(mail)
            .chain(tickets)
            .collect()
    }

    /// Adds to a change what is to be told of it.
    pub(crate) fn tell(&self, change: Change) -> Change {
        let Some(all) = self.destinations.get() else { return change };
        let mut tellings = Vec::new();
        for (place, draft) in change.drafts().iter().enumerate() {
            let event = draft.event.name();
            // What is told of telling would never end.
            if event.starts_with("delivery.") {
                continue;
            }
            for webhook in all.webhooks.iter().filter(|webhook| webhook.events.iter().any(|pattern| pattern.covers(event))) {
                let id = DeliveryId::generate(draft.at);
                let destination = format!("webhook:{}", webhook.name);
                tellings.push((place, Telling { id, destination, task: EVENT.to_owned(), lane: None }));
            }
        }
        let happened = Happened::of(&change);
        for chat in all.slack.iter().map(|_| SLACK).chain(all.teams.iter().map(|_| TEAMS)) {
            tellings.extend(told_in_chat(&change, &happened, chat));
        }
        if all.mail.is_some() {
            tellings.extend(Self::told_by_mail(&change, &happened));
        }
        if self.tickets.load(Ordering::Relaxed) {
            tellings.extend(change.drafts().iter().enumerate().filter_map(|(place, draft)| {
                let lane = Some(crate::tickets::told_of(&draft.event)?);
                let id = DeliveryId::generate(draft.at);
                Some((place, Telling { id, destination: TICKETS.to_owned(), task: OUTCOME.to_owned(), lane }))
            }));
        }
        tellings.into_iter().fold(change, |change, (place, telling)| change.tell(place, telling))
    }

    /// Wakes who delivers.
    pub(crate) fn wake(&self) {
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// What a change does to requests.
#[derive(Debug, Default)]
struct Happened {
    /// What is to be shown anew, and the entry that says so.
    shown: BTreeMap<RequestId, usize>,
    /// What ended, and the entry that says so.
    over: BTreeMap<RequestId, usize>,
    begun: Vec<RequestId>,
    emergencies: Vec<RequestId>,
}

impl Happened {
    fn of(change: &Change) -> Self {
        let mut all = Self::default();
        for (place, draft) in change.drafts().iter().enumerate() {
            let Some(request) = request_of(&draft.event) else { continue };
            all.shown.insert(request, place);
            match &draft.event {
                Event::RequestSubmitted { break_glass, .. } => {
                    all.begun.push(request);
                    if *break_glass {
                        all.emergencies.push(request);
                    }
                }
                Event::RequestApproved { .. } | Event::RequestDenied { .. } | Event::RequestExpired { .. } => {
                    all.over.insert(request, place);
                }
                _ => {}
            }
        }
        all
    }

    fn has_begun(&self, request: RequestId) -> bool {
        self.begun.contains(&request)
    }

    fn is_over(&self, request: RequestId) -> bool {
        self.over.contains_key(&request)
    }

    /// What nobody has to agree to is news to nobody; an emergency is, to everybody.
    fn is_news(&self, request: RequestId) -> bool {
        !self.has_begun(request) || !self.is_over(request) || self.emergencies.contains(&request)
    }
}

/// A request's message changes once with each change of the request, its asker is told how it ended, and who owes a review that they do;
/// the channel hears which policies fail.
fn told_in_chat(change: &Change, happened: &Happened, chat: &str) -> Vec<(usize, Telling)> {
    let at = |place: usize| change.drafts().get(place).map_or(Timestamp::UNIX_EPOCH, |draft| draft.at);
    let telling = |task: &str, lane: String, place: usize| Telling {
        id: DeliveryId::generate(at(place)),
        destination: chat.to_owned(),
        task: task.to_owned(),
        lane: Some(lane),
    };
    let shown = happened.shown.iter().filter(|(request, _)| happened.is_news(**request));
    let messages = shown.map(|(request, place)| (*place, telling(REQUEST, request.to_string(), *place)));
    let over = happened.over.iter().filter(|(request, _)| !happened.has_begun(**request));
    let over = over.map(|(request, place)| (*place, telling(OUTCOME, format!("outcome {request}"), *place)));
    let reviews = change.drafts().iter().enumerate();
    let reviews = reviews.filter_map(|(place, draft)| Some((place, telling(REVIEW, reviews::told_in_chat_by(&draft.event)?, place))));
    let failing = change.drafts().iter().enumerate();
    let failing = failing.filter_map(|(place, draft)| Some((place, telling(FAILING, failing::told_by(&draft.event)?, place))));
    messages.chain(over).chain(reviews).chain(failing).collect()
}

/// The request that an event is about.
fn request_of(event: &Event) -> Option<RequestId> {
    match event {
        Event::RequestSubmitted { request, .. }
        | Event::RequestEdited { request, .. }
        | Event::RequestVoted { request, .. }
        | Event::RequestApproved { request, .. }
        | Event::RequestDenied { request, .. }
        | Event::RequestCancelled { request }
        | Event::RequestExpired { request } => Some(*request),
        _ => None,
    }
}

/// When a message that was not taken is tried again: after half the time it is tried already, or when its receiver says. `None`: never.
fn next_try(since: Timestamp, asked: Option<Duration>, now: Timestamp) -> Option<Timestamp> {
    let tried = Span::between(since, now);
    if tried >= GIVEN_UP {
        return None;
    }
    let own = Span::seconds(tried.as_seconds() / 2).clamp(WAITS.0, WAITS.1);
    let asked = asked.map_or(Span::default(), |asked| Span::seconds(asked.as_secs()));
    Some(own.max(asked).after(now))
}

impl Gate {
    /// Says who outside is told of what happens. Once; a second time changes nothing.
    pub fn serve_outbox(&self, destinations: Destinations) {
        let _before = self.outbox.destinations.set(destinations);
    }

    /// Delivers until told to stop. Each destination by itself, so that none waits for another.
    pub async fn deliver_forever(self: Arc<Self>, stop: CancellationToken) {
        let mut deliverers: Vec<_> = self
            .outbox
            .names()
            .into_iter()
            .map(|destination| {
                let (gate, news) = (Arc::clone(&self), self.outbox.news.subscribe());
                tokio::spawn(again(stop.clone(), Duration::ZERO, "messages to the outside", move || {
                    let (gate, mut news, destination) = (Arc::clone(&gate), news.clone(), destination.clone());
                    async move {
                        news.mark_unchanged();
                        gate.deliver(&destination).await;
                        let _either = tokio::time::timeout(LOOK_EVERY, news.changed()).await;
                    }
                }))
            })
            .collect();
        let gate = Arc::clone(&self);
        deliverers.push(tokio::spawn(again(stop, FORGET_EVERY, "messages that are too old", move || {
            let gate = Arc::clone(&gate);
            async move { gate.forget_messages().await }
        })));
        futures::future::join_all(deliverers).await;
    }

    /// Delivers what is due, to everybody.
    pub async fn deliver_all(&self) {
        for destination in self.outbox.names() {
            self.deliver(&destination).await;
        }
        self.try_those_who_are_gone().await;
    }

    async fn deliver(&self, destination: &str) {
        loop {
            let now = self.now();
            match self.store.outbox_is_due(destination, now).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return tracing::warn!(%error, destination, "what is to be delivered cannot be read"),
            }
            // Nobody else's claim is ever taken for this one's.
            let by = format!("{} {}", self.settings.node, DeliveryId::generate(now));
            match self.store.claim_outbox(destination, &by, now, CLAIMED.after(now), AT_ONCE).await {
                Ok(rows) if rows.is_empty() => return,
                Ok(rows) => drop(futures::future::join_all(rows.iter().map(|row| self.attempt(row))).await),
                Err(error) => return tracing::warn!(%error, destination, "what is to be delivered cannot be taken"),
            }
        }
    }

    /// One attempt at one message, and what came of it.
    async fn attempt(&self, row: &OutboxRow) {
        let outcome = match self.say(row).await {
            Ok(outcome) => outcome,
            Err(refusal) => Outcome::Later { why: refusal.to_string(), after: None },
        };
        let now = self.now();
        let what = match outcome {
            Outcome::Taken(()) => Attempted::Delivered,
            Outcome::Never { why } => Attempted::Dead(why),
            Outcome::Later { why, after } => match next_try(row.since, after, now) {
                Some(due) => Attempted::Again(due, why),
                None => Attempted::Dead(why),
            },
        };
        let kept = if let Attempted::Dead(why) = &what {
            tracing::warn!(message = %row.id, destination = row.destination, why, "a message was given up; `tidegate outbox replay` sends it again");
            let event = Event::DeliveryAbandoned { delivery: row.id, destination: row.destination.clone() };
            let draft = self.own_draft(event).text("detail", Some(why.clone()));
            self.commit(Change::new(draft).end_message(row, &what, now)).await.map(drop).map_err(|error| error.to_string())
        } else {
            self.store.attempted(row, &what, now).await.map(drop).map_err(|error| error.to_string())
        };
        if let Err(error) = kept {
            tracing::warn!(error, message = %row.id, "what came of a message could not be kept; it is sent again under the same id");
        }
    }

    async fn say(&self, row: &OutboxRow) -> Result<Outcome<()>, Refusal> {
        let gone = || Outcome::Later { why: format!("`{}` is not in the configuration", row.destination), after: None };
        let chat = match row.destination.as_str() {
            SLACK => Some(self.outbox.slack().map(Chat::Slack)),
            TEAMS => Some(self.outbox.teams().map(Chat::Teams)),
            _ => None,
        };
        if let Some(chat) = chat {
            let Some(chat) = chat else { return Ok(gone()) };
            return Box::pin(self.say_in_chat(chat, row)).await;
        }
        if row.destination == TICKETS {
            return self.write_to_ticket(row).await;
        }
        if row.destination == MAIL {
            let Some(mail) = self.outbox.mail() else { return Ok(gone()) };
            return Box::pin(self.write_mail(mail, row)).await;
        }
        match self.outbox.webhook(&row.destination) {
            Some(webhook) => self.send_event(webhook, row).await,
            None => Ok(gone()),
        }
    }

    /// What waits for a destination that is not configured any more is tried like all else, and given up like all else.
    async fn try_those_who_are_gone(&self) {
        let names = self.outbox.names();
        for counted in self.store.outbox_counts().await.unwrap_or_default() {
            if counted.state == OutboxState::Waiting && !names.contains(&counted.destination) {
                self.deliver(&counted.destination).await;
            }
        }
    }

    async fn forget_messages(&self) {
        self.try_those_who_are_gone().await;
        let now = self.now();
        let before = |span: Span| now.checked_sub(span.as_std()).unwrap_or(Timestamp::MIN);
        let forgotten = self.store.forget_outbox(before(KEPT.0), before(KEPT.1)).await;
        let forgotten = forgotten.and(self.store.forget_posted(before(KEPT.1)).await).and(self.store.forget_taken(now).await);
        if let Err(error) = forgotten {
            tracing::warn!(%error, "messages that are too old could not be forgotten");
        }
    }

    /// A secret of a destination.
    pub(crate) async fn kept_secret(&self, secret: &KeptSecret) -> Result<Secret<String>, Refusal> {
        match secret {
            KeptSecret::Sealed(name) => {
                let unset = || Refusal::because(Reason::NotFound, format!("the secret `{name}` is not set; `tidegate secret set {name}`"));
                self.store.secret(name).await.map_err(unavailable)?.ok_or_else(unset)?;
                self.unsealed(name).await
            }
            KeptSecret::File(path) => {
                let unread =
                    |why: String| Refusal::because(Reason::NotFound, format!("the secret in `{}` cannot be read: {why}", path.display()));
                let facts = tokio::fs::metadata(path).await.map_err(|error| unread(error.to_string()))?;
                if facts.len() > LONGEST_SECRET {
                    return Err(unread("it is too long for a secret".to_owned()));
                }
                let text = tokio::fs::read_to_string(path).await.map_err(|error| unread(error.to_string()))?;
                Ok(Secret::new(text.trim().to_owned()))
            }
        }
    }

    /// Whether somebody may look at messages to the outside, and send them again.
    ///
    /// # Errors
    /// If they may not; that is entered.
    pub async fn may_see_outbox(&self, caller: &Caller) -> Result<(), Refusal> {
        self.authorize(caller, Act::Administer(Noun::Node), &Object::Nothing).await
    }

    /// Somebody sends a message again, under the id it has: one that was given up, or one that its receiver lost.
    ///
    /// # Errors
    /// If they may not, there is none, or it waits anyway.
    pub async fn replay_message(&self, caller: &Caller, id: DeliveryId) -> Result<OutboxRow, Refusal> {
        self.may_see_outbox(caller).await?;
        let find = async || self.store.outbox_message(id).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound));
        let row = find().await?;
        if row.state == OutboxState::Waiting {
            return Err(Refusal::because(Reason::AlreadyDecided, "it waits to be delivered anyway"));
        }
        let event = Event::DeliveryReplayed { delivery: id, destination: row.destination };
        self.commit(Change::new(self.draft(caller, event)).replay_message(id, self.now())).await.map_err(refused)?;
        self.outbox.wake();
        find().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_tried_less_and_less_often_and_given_up_after_three_days() {
        let begun = Timestamp::from_second(1_800_000_000).unwrap();
        let after = |seconds: u64| Span::seconds(seconds).after(begun);
        let wait = |seconds: u64| next_try(begun, None, after(seconds)).map(|due| Span::between(after(seconds), due).as_seconds());
        assert_eq!([wait(0), wait(10), wait(60), wait(3_600), wait(100_000)], [Some(5), Some(5), Some(30), Some(1_800), Some(3_600)]);
        assert_eq!(wait(72 * 3_600), None);
        let asked = next_try(begun, Some(Duration::from_secs(120)), after(0));
        assert_eq!(asked, Some(after(120)), "who says when is not asked before");
    }
}
