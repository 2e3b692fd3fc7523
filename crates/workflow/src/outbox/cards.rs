//! A request as it is shown where people chat: always as it stands when it is told, not as it was when something happened to it, so
//! that a message that comes late or twice is right all the same.

use access::approval::{Decision, VoteRow};
use access::ids::PrincipalId;
use access::reason::Refusal;
use access::request::{Asked, RequestRow, RequestState};
use notify::outcome::Outcome;
use notify::slack::blocks::Card;
use notify::slack::client::Place;
use store::OutboxRow;

use super::{Slack, request_of};
use crate::approve::all_stages;
use crate::gate::{Gate, unavailable};
use crate::submit::length_of;

impl Gate {
    /// Posts a request's message, or changes the one that is there.
    pub(super) async fn show_request(&self, slack: &Slack, row: &OutboxRow) -> Result<Outcome<()>, Refusal> {
        let Some(request) = self.request_told_of(row).await? else {
            return Ok(Outcome::Never { why: "there is no such request".to_owned() });
        };
        let token = self.kept_secret(&slack.bot_token).await?;
        let card = self.card(&request).await?;
        let (id, subject) = (row.id.to_string(), format!("slack.{}", request.id));
        let mut place = self.store.posted(&subject).await.map_err(unavailable)?.and_then(|text| text.parse::<Place>().ok());
        // Tried before, and nobody knows whether it was posted then: Slack does, by the id in it.
        if place.is_none() && row.attempts > 1 {
            match slack.client.find(&token, &slack.settings.channel, &id, row.created_at).await {
                Outcome::Taken(found) => place = found,
                other => return Ok(other.map(drop)),
            }
            if let Some(place) = &place {
                self.store.put_posted(&subject, &place.to_string(), self.now()).await.map_err(unavailable)?;
            }
        }
        if let Some(place) = place {
            match slack.client.update(&token, &place, &id, &card.line(), card.blocks()).await {
                // Somebody deleted it: it is posted anew.
                Outcome::Taken(false) => {}
                other => return Ok(other.map(drop)),
            }
        }
        match slack.client.post(&token, &slack.settings.channel, &id, &card.line(), card.blocks()).await {
            Outcome::Taken(place) => {
                self.store.put_posted(&subject, &place.to_string(), self.now()).await.map_err(unavailable)?;
                Ok(Outcome::Taken(()))
            }
            other => Ok(other.map(drop)),
        }
    }

    pub(super) async fn request_told_of(&self, row: &OutboxRow) -> Result<Option<RequestRow>, Refusal> {
        let Some(logged) = self.store.entry(row.entry).await.map_err(unavailable)? else { return Ok(None) };
        let request = match request_of(&logged.entry.event) {
            Some(request) => Some(request),
            // A review is about the request that led to it.
            None => self.review_told_of(row).await?.map(|about| about.grant.request),
        };
        match request {
            Some(request) => self.store.request(request).await.map_err(unavailable),
            None => Ok(None),
        }
    }

    /// A request as a card.
    pub(crate) async fn card(&self, row: &RequestRow) -> Result<Card, Refusal> {
        let bundle = self.bundle();
        let mut facts = Vec::new();
        if let Some(tier) = bundle.resource(&row.resource).and_then(|resource| resource.tier.as_ref()) {
            facts.push(("Tier", tier.to_string()));
        }
        let length = match (row.asked, length_of(row.asked, &row.terms)) {
            (Asked::Standing, _) | (_, None) => "without an end".to_owned(),
            (_, Some(length)) => length.to_string(),
        };
        facts.push((if row.extends.is_some() { "Longer by" } else { "For" }, length));
        if !row.limits.is_empty() {
            facts.push(("Limited to", row.limits.to_string()));
        }
        if let Some(ticket) = &row.ticket {
            facts.push(("Ticket", ticket.clone()));
        }
        if !row.break_glass {
            let stages = all_stages(row).map(|stage| {
                let seats = stage.seats.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
                let signed = if stage.signed { ", signed in the portal" } else { "" };
                format!("{} of {seats}{signed}", stage.count)
            });
            let stages = stages.collect::<Vec<_>>().join(" and ");
            if !stages.is_empty() {
                facts.push(("Needs", stages));
            }
        }
        if let Some(risk) = row.risk.as_ref().filter(|risk| risk.level != access::risk::Level::Low) {
            let says = row.risk_says.clone().unwrap_or_else(|| risk.set().map(|signal| signal.to_string()).collect::<Vec<_>>().join(", "));
            facts.push(("Unusual", format!("{}: {}", risk.level, says.replace('\n', " "))));
        }
        if let Some(review) = self.review_of_request(row).await? {
            facts.push(("Review", review));
        }
        let all = self.store.votes(row.id).await.map_err(unavailable)?;
        let mut votes = Vec::new();
        for vote in all.iter().filter(|vote| vote.revision == row.revision) {
            votes.push(self.vote_line(row.person, vote).await?);
        }
        Ok(Card {
            request: row.id.to_string(),
            revision: row.revision,
            who: self.called(row.person).await,
            resource: row.resource.to_string(),
            role: row.role.to_string(),
            break_glass: row.break_glass,
            facts,
            reason: row.reason.clone(),
            votes,
            outcome: self.outcome_of(row, &all).await,
            link: format!("{}/requests/{}", self.outbox.portal(), row.id),
        })
    }

    /// What somebody said to a request of `asker`'s, in words.
    pub(crate) async fn vote_line(&self, asker: PrincipalId, vote: &VoteRow) -> Result<String, Refusal> {
        let did = match vote.decision {
            Decision::Approve => "approved",
            Decision::Deny => "denied",
        };
        let who = self.called(vote.voter).await;
        let invited = if self.invited(asker, vote.voter).await? { ", whom the asker invited," } else { "" };
        Ok(match &vote.note {
            Some(note) => format!("{who}{invited} {did}: {note}"),
            None => format!("{who}{invited} {did}"),
        })
    }

    /// How a request ended, in words; `None` while it waits.
    pub(crate) async fn outcome_of(&self, row: &RequestRow, votes: &[VoteRow]) -> Option<String> {
        let of = |decision: Decision| {
            let voters: Vec<PrincipalId> =
                votes.iter().filter(|v| v.revision == row.revision && v.decision == decision).map(|v| v.voter).collect();
            self.names_of(voters)
        };
        Some(match row.state {
            RequestState::Pending => return None,
            RequestState::Approved if row.break_glass => "Opened as an emergency".to_owned(),
            RequestState::Approved => match of(Decision::Approve).await {
                names if names.is_empty() => "Approved".to_owned(),
                names => format!("Approved by {names}"),
            },
            RequestState::Denied => match of(Decision::Deny).await {
                names if names.is_empty() => "Denied by policy".to_owned(),
                names => format!("Denied by {names}"),
            },
            RequestState::Cancelled => "Taken back".to_owned(),
            RequestState::Expired => "Nobody answered in time".to_owned(),
        })
    }

    async fn names_of(&self, people: Vec<PrincipalId>) -> String {
        let mut names = Vec::with_capacity(people.len());
        for person in people {
            names.push(self.called(person).await);
        }
        names.join(" and ")
    }
}
