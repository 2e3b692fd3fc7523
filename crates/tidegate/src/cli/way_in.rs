//! The way in to a resource: a grant of one's own, asked for where there is none, as a door asks where one connects.
//!
//! With a terminal it says what is missing, takes the reason there, shows who was asked and who answered, and goes on the moment it is
//! approved. Without one it takes what was said beforehand, one line, and an exit status.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use access::grant::GrantState;
use access::ids::RequestId;
use access::names::Selector;
use access::reason::{Reason, Refusal};
use access::request::{Asked, RequestState};
use access::verdict::TicketRule;
use anyhow::{Context as _, bail};
use api::types::grants::{Grant, GrantsQuery};
use api::types::requests::{AnswerCode, NewRequest, Request, RequestAnswer, RequestDetail, RequestsQuery, Verdict};
use api::types::terms::Terms;
use clap::Args;

use crate::client::{Client, Reply};
use crate::output::note;

use super::exit::Exit;

/// What is said beforehand, for who has no grant.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "If you have no grant yet")]
pub(crate) struct Said {
    /// Why you ask; without it you are asked at the terminal
    #[arg(long, value_name = "TEXT", env = "TIDEGATE_REASON", hide_env_values = true)]
    reason: Option<String>,
    /// For how long
    #[arg(long = "for", value_name = "TIME", env = "TIDEGATE_FOR", hide_env_values = true)]
    length: Option<Asked>,
    /// The change or incident it belongs to
    #[arg(long, value_name = "ID", env = "TIDEGATE_TICKET", hide_env_values = true)]
    ticket: Option<String>,
    /// Wait for people to answer also without a terminal
    #[arg(long)]
    wait: bool,
}

impl Said {
    /// What was said beforehand by other means than these arguments.
    pub(crate) fn beforehand(reason: Option<String>, length: Option<Asked>, ticket: Option<String>, wait: bool) -> Self {
        Self { reason, length, ticket, wait }
    }
}

/// How the way in came out.
pub(crate) enum Way {
    /// This grant opens it.
    In(Box<Grant>),
    /// It does not, which has been said; the command ends like this.
    Not(Exit),
}

/// Finds a grant for a resource, or asks for one and waits for it.
pub(crate) async fn enter(client: &Client, to: &Selector, said: &Said) -> anyhow::Result<Way> {
    enter_telling(client, to, said).await.map(|(way, _)| way)
}

/// The same, and whether the grant was asked for by this, so that it is for whoever asked to give back.
pub(crate) async fn enter_telling(client: &Client, to: &Selector, said: &Said) -> anyhow::Result<(Way, bool)> {
    // Which role is meant where none is named, and what it costs: the gate knows.
    let silent = wanted(to, said);
    let verdict: Reply<Verdict> = client.post("/requests/preview", &silent).await?;
    let to = Selector { resource: verdict.value.resource.clone(), role: Some(verdict.value.role.clone()) };
    if let Some(grant) = held(client, &to).await? {
        return Ok((Way::In(Box::new(grant)), false));
    }
    let mut asked = false;
    let request = match pending(client, &to).await? {
        Some(request) => request,
        None => {
            let wish = if verdict.value.answer == AnswerCode::Permit {
                wanted(&to, said)
            } else {
                asked = true;
                match ask(client, &to, said).await? {
                    Ok(wish) => wish,
                    Err(refusal) => return Ok((refused(&refusal), false)),
                }
            };
            let answer: Reply<RequestAnswer> = client.post("/requests", &wish).await?;
            if let Some(grant) = answer.value.grant {
                return Ok((Way::In(Box::new(grant)), true));
            }
            answer.value.request.id
        }
    };
    let way = wait(client, request, said).await?;
    if let (Way::In(grant), true) = (&way, asked) {
        note(format!("Opening {}+{}.", grant.resource, grant.role));
    }
    Ok((way, true))
}

fn wanted(to: &Selector, said: &Said) -> NewRequest {
    NewRequest {
        role: to.role.clone(),
        duration: said.length,
        reason: said.reason.clone().filter(|reason| !reason.trim().is_empty()),
        ticket: said.ticket.clone().filter(|ticket| !ticket.trim().is_empty()),
        ..NewRequest::of(to.resource.clone())
    }
}

fn refused(refusal: &Refusal) -> Way {
    note(refusal);
    Way::Not(Exit::of(refusal.reason))
}

/// The open grant of one's own that lasts longest; one whose clock runs before one whose clock doesn't.
async fn held(client: &Client, to: &Selector) -> anyhow::Result<Option<Grant>> {
    let query = GrantsQuery { resource: Some(to.resource.clone()), ..GrantsQuery::default() };
    let grants = client.list::<Grant>("/grants", &query, 500).await?.value.items;
    let now = crate::output::time::now();
    let open = grants.into_iter().filter(|grant| Some(&grant.role) == to.role.as_ref()).filter(|grant| match grant.state {
        GrantState::Active => grant.ends_at.is_none_or(|end| end > now),
        GrantState::Ready => grant.activate_by > now,
        GrantState::Ended => false,
    });
    Ok(open.max_by_key(|grant| (grant.state == GrantState::Active, grant.ends_at.unwrap_or(jiff::Timestamp::MAX))))
}

async fn pending(client: &Client, to: &Selector) -> anyhow::Result<Option<RequestId>> {
    let query = RequestsQuery { state: Some(RequestState::Pending), resource: Some(to.resource.clone()), ..RequestsQuery::default() };
    let requests = client.list::<Request>("/requests", &query, 100).await?.value.items;
    Ok(requests.into_iter().find(|request| Some(&request.role) == to.role.as_ref() && request.extends.is_none()).map(|request| request.id))
}

/// Says what is missing, and asks for what was not said beforehand; a refusal is what is still missing where nobody can be asked.
async fn ask(client: &Client, to: &Selector, said: &Said) -> anyhow::Result<Result<NewRequest, Refusal>> {
    let mut wish = wanted(to, said);
    let supposed = || Some("to be given".to_owned());
    let asking =
        NewRequest { reason: wish.reason.clone().or_else(supposed), ticket: wish.ticket.clone().or_else(supposed), ..wanted(to, said) };
    let verdict: Reply<Verdict> = client.post("/requests/preview", &asking).await?;
    let verdict = verdict.value;
    let (Some(terms), AnswerCode::Permit | AnswerCode::NeedsApproval) = (&verdict.terms, verdict.answer) else {
        // Asked all the same, so that the refusal is the gate's own.
        return Ok(Ok(wish));
    };
    let missing = missing(to, terms);
    let needs_reason = (terms.reason || people(terms) > 0) && wish.reason.is_none();
    let needs_ticket = terms.ticket != TicketRule::None && wish.ticket.is_none();
    if !io::stdin().is_terminal() {
        let in_one_line = missing.lines().collect::<Vec<_>>().join(" ");
        if needs_reason {
            return Ok(Err(Refusal::because(Reason::ReasonRequired, in_one_line.trim_end_matches('.').to_owned())));
        }
        if needs_ticket {
            return Ok(Err(Refusal::because(Reason::TicketRequired, in_one_line.trim_end_matches('.').to_owned())));
        }
        return Ok(Ok(wish));
    }
    note(&missing);
    if needs_ticket {
        wish.ticket = Some(question("Ticket: ", true)?);
    }
    if needs_reason {
        wish.reason = Some(question("Reason: ", true)?);
    }
    if wish.duration.is_none() {
        let prompt = format!("For how long ({}, at most {}): ", terms.default.min(terms.max), terms.max);
        wish.duration = loop {
            let typed = question(&prompt, false)?;
            match typed.parse::<Asked>() {
                _ if typed.is_empty() => break None,
                Ok(asked) => break Some(asked),
                Err(error) => note(error),
            }
        };
    }
    Ok(Ok(wish))
}

fn people(terms: &Terms) -> u32 {
    terms.approvals.iter().flat_map(|plan| &plan.stages).map(|stage| stage.count).sum()
}

/// What somebody lacks, in the words of every door.
fn missing(to: &Selector, terms: &Terms) -> String {
    let place = match &to.role {
        Some(role) => format!("{} as {role}", to.resource),
        None => to.resource.to_string(),
    };
    let stages: Vec<String> = terms
        .approvals
        .iter()
        .flat_map(|plan| &plan.stages)
        .map(|stage| {
            let seats: Vec<String> = stage.seats.iter().map(ToString::to_string).collect();
            format!("{} of {}", stage.count, seats.join(" or "))
        })
        .collect();
    if stages.is_empty() {
        format!("You have no grant for {place}.\nIt opens at once when you say why.")
    } else {
        format!("You have no grant for {place}.\nIt needs the agreement of {}.", stages.join(" and "))
    }
}

/// One line from the keyboard.
fn question(prompt: &str, must: bool) -> anyhow::Result<String> {
    loop {
        let mut err = io::stderr();
        write!(err, "{prompt}")?;
        err.flush()?;
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line).context("cannot read what you type")? == 0 {
            bail!("nothing was asked for");
        }
        let line = line.trim();
        if !line.is_empty() || !must {
            return Ok(line.to_owned());
        }
    }
}

/// Waits until a request is decided, showing how it goes.
async fn wait(client: &Client, id: RequestId, said: &Said) -> anyhow::Result<Way> {
    let terminal = io::stdin().is_terminal();
    // Listening begins before looking, so that no answer falls between the two.
    let mut events = client.events("/events", &[("event", "request")]).await.ok();
    let (mut shown, mut answers) = (String::new(), 0);
    let mut first = true;
    loop {
        let detail: Reply<RequestDetail> = client.get(&format!("/requests/{id}"), &()).await?;
        let detail = detail.value;
        let asked = asked(&detail);
        if detail.request.state == RequestState::Pending && first {
            if !terminal && !said.wait {
                let pending = Refusal::of(Reason::Pending).about(id);
                note(format!("{pending}.{}", if asked.is_empty() { String::new() } else { format!(" {asked}") }));
                return Ok(Way::Not(Exit::Pending));
            }
            note("Your request waits for approval.");
        }
        if asked != shown && detail.request.state == RequestState::Pending {
            note(&asked);
            shown = asked;
        }
        if first && detail.request.state == RequestState::Pending {
            note("Stay, and the door opens by itself. Ctrl-C leaves; your request stands.");
            note(format!("How it stands: tidegate request show {id}"));
        }
        first = false;
        let votes: Vec<String> = detail.votes.iter().filter(|vote| vote.counts).map(answer).collect();
        for vote in votes.iter().skip(answers) {
            note(vote);
        }
        answers = votes.len().max(answers);
        match detail.request.state {
            RequestState::Pending => {}
            RequestState::Approved => match detail.grant {
                Some(grant) => return Ok(Way::In(Box::new(grant))),
                None => bail!("{id} is approved, but its grant cannot be seen; ask again"),
            },
            RequestState::Denied => return Ok(refused(&Refusal::of(Reason::Denied).about(id))),
            RequestState::Expired => return Ok(refused(&Refusal::of(Reason::AgedOut).about(id))),
            RequestState::Cancelled => return Ok(refused(&Refusal::of(Reason::Cancelled).about(id))),
        }
        let patience = tokio::time::sleep(std::time::Duration::from_secs(if events.is_some() { 15 } else { 2 }));
        match &mut events {
            Some(stream) => tokio::select! {
                event = stream.next() => if !matches!(event, Ok(Some(_))) { events = None; },
                () = patience => {}
            },
            None => patience.await,
        }
    }
}

fn asked(detail: &RequestDetail) -> String {
    let stages: Vec<String> = detail
        .stages
        .iter()
        .map(|stage| {
            let seats: Vec<String> = stage.asked.iter().map(ToString::to_string).collect();
            format!("{} of {}", stage.count, seats.join(" or "))
        })
        .collect();
    if stages.is_empty() { String::new() } else { format!("Asked: {}.", stages.join(", ")) }
}

fn answer(vote: &api::types::requests::Vote) -> String {
    let did = match vote.decision {
        access::approval::Decision::Approve => "approved",
        access::approval::Decision::Deny => "denied",
    };
    let note = vote.note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
    format!("{} {did}{note}", vote.voter)
}
