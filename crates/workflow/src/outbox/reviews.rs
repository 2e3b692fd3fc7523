//! Reviews that are owed: who is told, by mail and where people chat, and in which words.
//!
//! Who owes one is found out when it is told, as with requests. Each of them is told alone; the channel of a chat hears of emergencies,
//! and an emergency's own message says how far its review has come.

use access::approval::Seat;
use access::chat::{ChatAccountRow, key};
use access::event::Event;
use access::grant::GrantRow;
use access::ids::PrincipalId;
use access::reason::{Reason, Refusal};
use access::request::RequestRow;
use access::review::{ReviewKind, ReviewOutcome, ReviewRow, ReviewState};
use notify::outcome::Outcome;
use store::OutboxRow;

use super::REQUEST;
use super::chats::Chat;
use super::letters::{message, minute};
use crate::gate::{Gate, unavailable};

/// What is said: that a review is owed, and when it is reminded of, overdue, answered.
pub(super) const REVIEW: &str = "review";
/// For the channel of a chat, and nobody alone.
const CHANNEL: &str = "channel";

/// What an entry tells of a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// That it is owed.
    Owed,
    /// That it is still.
    Still,
    /// That it should have been answered by now.
    Overdue,
    /// That it was answered.
    Answered,
}

/// A review that a message tells of.
#[derive(Debug, Clone)]
pub(super) struct AboutReview {
    pub(super) review: ReviewRow,
    pub(super) grant: GrantRow,
    told: Told,
}

impl AboutReview {
    /// Whether somebody owes it still, and is to be told so.
    pub(super) fn is_owed(&self) -> bool {
        self.review.state == ReviewState::Open && self.told != Told::Answered
    }
}

/// What is told of an event to those who owe a review: of emergencies at once, of all others when they are due soon, or overdue.
pub(super) fn told_by(event: &Event) -> Option<String> {
    match event {
        Event::ReviewOpened { review, kind: ReviewKind::BreakGlass, .. }
        | Event::ReviewReminded { review }
        | Event::ReviewEscalated { review, .. } => Some(format!("review {review}")),
        _ => None,
    }
}

/// The same where people chat: there an emergency's message also changes with the answer.
pub(super) fn told_in_chat_by(event: &Event) -> Option<String> {
    match event {
        Event::ReviewCompleted { review, .. } => Some(format!("review {review}")),
        other => told_by(other),
    }
}

impl Gate {
    pub(super) async fn review_told_of(&self, row: &OutboxRow) -> Result<Option<AboutReview>, Refusal> {
        let Some(logged) = self.store.entry(row.entry).await.map_err(unavailable)? else { return Ok(None) };
        let (review, told) = match logged.entry.event {
            Event::ReviewOpened { review, .. } => (review, Told::Owed),
            Event::ReviewReminded { review } => (review, Told::Still),
            Event::ReviewEscalated { review, .. } => (review, Told::Overdue),
            Event::ReviewCompleted { review, .. } => (review, Told::Answered),
            _ => return Ok(None),
        };
        let Some(review) = self.store.review(review).await.map_err(unavailable)? else { return Ok(None) };
        let grant = self.store.grant(review.grant).await.map_err(unavailable)?;
        Ok(grant.map(|grant| AboutReview { review, grant, told }))
    }

    /// A message for each of these accounts whose owner owes a review now and wants to be told; `to` says how it is found again.
    pub(super) async fn each_who_owes(
        &self,
        row: &OutboxRow,
        review: &ReviewRow,
        accounts: Vec<ChatAccountRow>,
        to: impl Fn(&ChatAccountRow) -> String,
    ) -> Result<Vec<OutboxRow>, Refusal> {
        let mut rows = Vec::new();
        for account in accounts {
            if account.told.asks() && self.owes(account.person, review).await? {
                let to = to(&account);
                rows.push(message(row, &format!("{REVIEW} {to}"), format!("review {} {to}", review.id), self.now()));
            }
        }
        Ok(rows)
    }

    /// Whether somebody is among those who owe a review now.
    pub(super) async fn owes(&self, person: PrincipalId, review: &ReviewRow) -> Result<bool, Refusal> {
        if person == review.person {
            return Ok(false);
        }
        let situation = match self.situation_of(person).await {
            Ok(situation) => situation,
            Err(refusal) if refusal.reason == Reason::StoreUnavailable => return Err(refusal),
            Err(_) => return Ok(false),
        };
        let bundle = self.bundle();
        let mut groups = [Some(&review.reviewers), review.escalated_to.as_ref()].into_iter().flatten();
        Ok(groups.any(|group| bundle.seated(&situation, &Seat::Group(group.clone()))))
    }

    /// A review that is owed, in a sentence or two.
    pub(super) async fn says_of_review(&self, about: &AboutReview) -> String {
        let AboutReview { review, grant, told } = about;
        let (who, due) = (self.called(review.person).await, minute(review.due_at));
        let what = match review.kind {
            ReviewKind::BreakGlass => "An emergency",
            ReviewKind::Sampled => "A session that was drawn",
            ReviewKind::Standing => "A right without an end",
        };
        let says = match told {
            Told::Owed => "is to be reviewed: it is",
            Told::Still => "is to be reviewed still: it is",
            Told::Overdue | Told::Answered => "should have been reviewed by now: it was",
        };
        let mut text = format!("{what} of {who}, {} on {}, {says} due at {due}.", grant.role, grant.resource);
        if *told == Told::Overdue && review.kind == ReviewKind::BreakGlass {
            let blocks_team = grant.terms.break_glass.as_ref().is_some_and(|terms| terms.blocks_team);
            let whom =
                if blocks_team { "neither they nor their team declare another emergency" } else { "they declare no other emergency" };
            text.push_str(&format!(" Until somebody answers, {whom}."));
        }
        text
    }

    /// Tells of a review in a chat: finds out whom, or tells one of them; `to` is an account there, the channel, or nobody yet.
    pub(super) async fn say_of_review(&self, chat: Chat<'_>, row: &OutboxRow, to: &str) -> Result<Outcome<()>, Refusal> {
        let Some(about) = self.review_told_of(row).await? else { return Ok(Outcome::Taken(())) };
        if to.is_empty() {
            let rows = self.whom_to_tell(chat, row, &about).await?;
            self.store.add_messages(&rows).await.map_err(unavailable)?;
            return Ok(Outcome::Taken(()));
        }
        if !about.is_owed() {
            return Ok(Outcome::Taken(()));
        }
        let mut text = self.says_of_review(&about).await;
        let link = format!("{}/inbox", self.outbox.portal());
        if to == CHANNEL {
            text.push_str(&format!(" It is for {} to answer.", owed_by(&about.review)));
            return self.say_in(chat, row, None, &text, &link).await;
        }
        let (service, team) = chat.at();
        let account = self.store.chat_account(&key(service, team, to)).await.map_err(unavailable)?;
        let Some(account) = account.filter(|account| account.counts() && account.told.asks()) else { return Ok(Outcome::Taken(())) };
        if !self.owes(account.person, &about.review).await? {
            return Ok(Outcome::Taken(()));
        }
        self.say_in(chat, row, Some(&account.account), &text, &link).await
    }

    /// Everybody who owes it; of an emergency that is not news any more also the channel, where its message changes, too.
    async fn whom_to_tell(&self, chat: Chat<'_>, row: &OutboxRow, about: &AboutReview) -> Result<Vec<OutboxRow>, Refusal> {
        let (review, now) = (&about.review, self.now());
        let is_old = review.kind == ReviewKind::BreakGlass && about.told != Told::Owed;
        let mut rows = Vec::new();
        if is_old {
            rows.push(message(row, REQUEST, about.grant.request.to_string(), now));
        }
        if about.is_owed() {
            if is_old {
                rows.push(message(row, &format!("{REVIEW} {CHANNEL}"), format!("review {} {CHANNEL}", review.id), now));
            }
            let (service, team) = chat.at();
            let accounts = self.store.chat_accounts_at(service, team).await.map_err(unavailable)?;
            rows.extend(self.each_who_owes(row, review, accounts, |account| account.account.clone()).await?);
        }
        Ok(rows)
    }

    /// How far the review of an emergency has come; `None`: the request is none, or was not granted.
    pub(super) async fn review_of_request(&self, request: &RequestRow) -> Result<Option<String>, Refusal> {
        if !request.break_glass {
            return Ok(None);
        }
        let Some(grant) = self.store.grant_of(request.id).await.map_err(unavailable)? else { return Ok(None) };
        let Some(review) = self.store.review_of_emergency(grant.id).await.map_err(unavailable)? else { return Ok(None) };
        let due = minute(review.due_at);
        Ok(Some(match (review.outcome, review.done_by) {
            (Some(outcome), by) => {
                let found = if outcome == ReviewOutcome::NotJustified { "not justified" } else { "justified" };
                match by {
                    Some(person) => format!("{found}, says {}", self.called(person).await),
                    None => found.to_owned(),
                }
            }
            (None, _) if review.escalated_to.is_some() => format!("overdue since {due}; for {} to answer", owed_by(&review)),
            (None, _) => format!("due at {due}; for {} to answer", owed_by(&review)),
        }))
    }
}

/// Who may answer it, in words.
fn owed_by(review: &ReviewRow) -> String {
    let groups = std::iter::once(&review.reviewers).chain(review.escalated_to.iter().filter(|group| **group != review.reviewers));
    groups.map(|group| format!("`{group}`")).collect::<Vec<_>>().join(" or ")
}
