//! Tickets: where a path wants one that its tracker says is open, or in a named state, the tracker is asked.
//!
//! *Takes* a ticket's id and what a path wants of it. *Proves* that the ticket is so now: at asking, at each yes, and when the clock of
//! a grant starts. *Hands to* those verbs nothing but that they may go on. An end never waits for a ticket.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use access::event::Event;
use access::grant::GrantRow;
use access::reason::{Reason, Refusal};
use access::secret::Secret;
use access::verdict::{Terms, TicketRule};
use notify::oncall::TokenFrom;
use notify::outcome::Outcome;
use notify::tickets::{Ticket, TicketId, Tracker, TrackerClient, Trouble};
use store::{OutboxRow, Page, SessionFilter};

use crate::gate::{Gate, unavailable};

/// How long a tracker may take: somebody waits for it.
const PATIENCE: Duration = Duration::from_secs(8);

/// So many sessions of a grant are named in its ticket.
const NAMED: u32 = 10;

/// The trackers of a gate.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    all: OnceLock<Vec<Known>>,
}

#[derive(Debug)]
struct Known {
    tracker: Tracker,
    client: TrackerClient,
}

impl Tickets {
    fn trackers(&self) -> &[Known] {
        self.all.get().map_or(&[], Vec::as_slice)
    }

    /// The tracker whose ticket this looks like, and its id there.
    fn find(&self, text: &str) -> Option<(&Known, TicketId)> {
        self.trackers().iter().find_map(|known| known.tracker.read(text).map(|id| (known, id)))
    }
}

impl Gate {
    /// Says which trackers are asked. Once; a second time changes nothing.
    pub fn serve_trackers(&self, trackers: Vec<(Tracker, TrackerClient)>) {
        let takes = trackers.iter().any(|(tracker, _)| tracker.takes_comments());
        let _before = self.tickets.all.set(trackers.into_iter().map(|(tracker, client)| Known { tracker, client }).collect());
        self.outbox.tickets.store(takes, Ordering::Relaxed);
    }

    /// Where people look at a ticket, if it looks like one of a tracker's.
    #[must_use]
    pub fn page_of_ticket(&self, text: &str) -> Option<String> {
        let (known, id) = self.tickets.find(text)?;
        known.tracker.page_of(&id)
    }

    /// Refuses a ticket that is not as a path wants it.
    ///
    /// # Errors
    /// If the tracker does not say that it is; what to do about it stands in the refusal.
    pub(crate) async fn refuse_ticket_unless(&self, terms: &Terms, ticket: Option<&str>) -> Result<(), Refusal> {
        if terms.ticket != TicketRule::Open {
            return Ok(());
        }
        let Some(text) = ticket.map(str::trim).filter(|text| !text.is_empty()) else { return Err(Refusal::of(Reason::TicketRequired)) };
        let Some((known, id)) = self.tickets.find(text) else {
            let like: Vec<String> = self.tickets.trackers().iter().map(|known| format!("`{}`", known.tracker.looks_like())).collect();
            let shown: String = text.chars().filter(|c| !c.is_control()).take(60).collect();
            let detail = match like.as_slice() {
                [] => "the gate has no tracker to ask; its administrator has to configure one under `[[tracker]]`".to_owned(),
                like => format!("`{shown}` is no ticket like {}", like.join(" or ")),
            };
            return Err(Refusal::because(Reason::TicketNotOpen, detail));
        };
        // Boxed: whoever votes or opens carries this along.
        let found = Box::pin(self.look_at(known, &id)).await?;
        if found.is(&terms.ticket_states) {
            return Ok(());
        }
        let state = found.states.first().map_or("", String::as_str);
        let state: String = state.chars().filter(|c| !c.is_control()).take(60).collect();
        let detail = match terms.ticket_states.as_slice() {
            [] => format!("`{id}` is `{state}`, which `{}` does not count as open", known.tracker.name),
            wanted => {
                let wanted: Vec<String> = wanted.iter().map(|state| format!("`{state}`")).collect();
                format!("`{id}` is `{state}`, and it has to be {}", wanted.join(" or "))
            }
        };
        Err(Refusal::because(Reason::TicketNotOpen, detail))
    }

    /// The same of a grant whose clock is about to start.
    pub(crate) async fn refuse_grant_s_ticket_unless(&self, row: &GrantRow) -> Result<(), Refusal> {
        self.refuse_ticket_unless(&row.terms, row.frozen.ticket.as_deref()).await
    }

    async fn look_at(&self, known: &Known, id: &TicketId) -> Result<Ticket, Refusal> {
        let tracker = &known.tracker;
        // INVARIANT: whoever does not say that a ticket is open has said nothing.
        let silent = |why: String| Refusal::because(Reason::TrackerUnreachable, why);
        let token = self.tracker_token(tracker).await.map_err(|why| silent(format!("`{}`: {why}", tracker.name)))?;
        match tokio::time::timeout(PATIENCE, known.client.look(tracker, token.as_ref(), id)).await {
            Err(_) => Err(silent(format!("`{}` did not answer within {} seconds", tracker.name, PATIENCE.as_secs()))),
            Ok(Err(trouble @ Trouble::Silent { .. })) => Err(silent(trouble.to_string())),
            Ok(Err(trouble)) => Err(Refusal::because(Reason::TicketNotOpen, format!("`{id}`: {trouble}"))),
            Ok(Ok(found)) => Ok(found),
        }
    }

    /// Writes to the ticket of a request what came of it: who agreed or not, and, when the grant is over, where its evidence is.
    pub(crate) async fn write_to_ticket(&self, row: &OutboxRow) -> Result<Outcome<()>, Refusal> {
        let Some(logged) = self.store.entry(row.entry).await.map_err(unavailable)? else {
            return Ok(Outcome::Never { why: format!("there is no entry {}", row.entry) });
        };
        let event = &logged.entry.event;
        let request = match event {
            Event::RequestApproved { request, .. } | Event::RequestDenied { request, .. } | Event::RequestExpired { request } => *request,
            other => match grant_that_ended(other) {
                None => return Ok(Outcome::Taken(())),
                Some(grant) => match self.store.grant(grant).await.map_err(unavailable)? {
                    Some(grant) => grant.request,
                    None => return Ok(Outcome::Taken(())),
                },
            },
        };
        let Some(asked) = self.store.request(request).await.map_err(unavailable)? else { return Ok(Outcome::Taken(())) };
        // INVARIANT: nobody has the gate write to a ticket that no path asked them for.
        if asked.terms.ticket == TicketRule::None {
            return Ok(Outcome::Taken(()));
        }
        // Without a ticket, with one of nobody's, or one that was erased since, there is nothing to write.
        let Some((known, id)) = asked.ticket.as_deref().and_then(|text| self.tickets.find(text)) else { return Ok(Outcome::Taken(())) };
        if !known.tracker.takes_comments() {
            return Ok(Outcome::Taken(()));
        }
        let plain = |name: String| known.tracker.plain(&name);
        let (portal, who) = (self.outbox.portal(), plain(self.called(asked.person).await));
        let to = format!("{}+{}", asked.resource, asked.role);
        let text = match event {
            Event::RequestApproved { approvers, .. } => {
                let mut names = Vec::new();
                for approver in approvers {
                    names.push(plain(self.called(*approver).await));
                }
                let by = if names.is_empty() { "by policy, at once".to_owned() } else { format!("by {}", names.join(", ")) };
                format!("Access of {who} to {to} was approved {by}.\n{portal}/requests/{request}")
            }
            Event::RequestDenied { .. } => format!("Access of {who} to {to} was denied.\n{portal}/requests/{request}"),
            Event::RequestExpired { .. } => {
                format!("Access of {who} to {to} was agreed to by nobody in time.\n{portal}/requests/{request}")
            }
            over => {
                let how = over.name().trim_start_matches("grant.");
                let filter = SessionFilter { grant: grant_that_ended(over), ..SessionFilter::default() };
                let sessions = self.store.sessions(&filter, &Page::first(NAMED)).await.map_err(unavailable)?;
                let mut text = format!("Access of {who} to {to} is over ({how}, {}).", logged.entry.at);
                if sessions.is_empty() {
                    text.push_str(" Nobody connected on it.");
                }
                for session in sessions {
                    let id = session.id;
                    text.push_str(&format!(
                        "\nWhat was done: {portal}/sessions/{id}\nEvidence: tidegate evidence export {id}.tar --session {id}"
                    ));
                }
                text
            }
        };
        let token = match self.tracker_token(&known.tracker).await {
            Ok(token) => token,
            Err(why) => return Ok(Outcome::Later { why, after: None }),
        };
        Ok(known.client.comment(&known.tracker, token.as_ref(), &id, &text).await)
    }

    async fn tracker_token(&self, tracker: &Tracker) -> Result<Option<Secret<String>>, String> {
        match &tracker.token {
            TokenFrom::Nowhere => Ok(None),
            TokenFrom::Sealed(name) => self.unsealed(name).await.map(Some).map_err(|refusal| refusal.to_string()),
            TokenFrom::File(path) => {
                let text = tokio::fs::read_to_string(path).await.map(Secret::new);
                let text = text.map_err(|error| format!("its token cannot be read from `{}`: {error}", path.display()))?;
                Ok(Some(Secret::new(text.expose().trim().to_owned())))
            }
        }
    }
}

/// The grant that is over by an event.
fn grant_that_ended(event: &Event) -> Option<access::ids::GrantId> {
    match event {
        Event::GrantExpired { grant }
        | Event::GrantRevoked { grant, .. }
        | Event::GrantReturned { grant }
        | Event::GrantWithdrawn { grant, .. }
        | Event::GrantLapsed { grant }
        | Event::GrantIdled { grant } => Some(*grant),
        _ => None,
    }
}

/// What of an event is told to a ticket, by what it is about: messages of one thing go in order.
pub(crate) fn told_of(event: &Event) -> Option<String> {
    match event {
        Event::RequestApproved { request, .. } | Event::RequestDenied { request, .. } | Event::RequestExpired { request } => {
            Some(request.to_string())
        }
        other => grant_that_ended(other).map(|grant| grant.to_string()),
    }
}
