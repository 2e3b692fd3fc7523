//! `tidegate request`: ask, and decide on what others ask.

use std::collections::BTreeSet;
use std::io;

use access::ids::RequestId;
use access::names::{ResourceName, RoleName, Selector};
use access::request::{Asked, RequestState};
use access::rights::QualifiedName;
use access::risk::Finding;
use access::time::Span;
use anyhow::bail;
use api::types::passkeys::NewStepUp;
use api::types::requests::{
    AnswerCode, Limits, NewRequest, NewVote, Request, RequestAnswer, RequestDetail, RequestEdit, RequestsOf, RequestsQuery, StageProgress,
    Voted,
};
use api::types::risk::Risk;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::client::{Client, Reply};
use crate::output::{Field, Output, Tone, note};

use super::exit::Exit;
use super::{Context, Shown, grant, note_more, step_up};

/// What to do with requests.
#[derive(Debug, Subcommand)]
pub enum RequestCommand {
    /// Ask for a role on a resource for a time
    Create(Create),
    /// List requests: your own, unless said otherwise
    List(List),
    /// Show a request, who was asked and who answered
    Show {
        /// Which
        #[arg(value_name = "REQUEST")]
        id: RequestId,
    },
    /// Say yes to a request
    Approve(Vote),
    /// Say no to a request
    Deny(Vote),
    /// Take your request back
    Cancel {
        /// Which
        #[arg(value_name = "REQUEST")]
        id: RequestId,
    },
    /// Change your pending request; it loses the approvals it had
    Edit(Edit),
}

/// Asking.
#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    wanted: Wanted,
    /// Wait until it is decided
    #[arg(long)]
    wait: bool,
    /// Start the clock as soon as it is approved, not at the first connection
    #[arg(long)]
    activate: bool,
}

/// What is asked for.
#[derive(Debug, Clone, Args)]
pub struct Wanted {
    /// Where to: `RESOURCE` or `RESOURCE+ROLE`
    #[arg(value_name = "RESOURCE")]
    pub resource: Selector,
    /// As what; without it the one role that is open to you
    #[arg(value_name = "ROLE")]
    pub role: Option<RoleName>,
    /// For how long: `90s`, `15m`, `8h`; without it the tier's default
    #[arg(long = "for", value_name = "TIME", conflicts_with = "standing")]
    pub length: Option<Span>,
    /// Without an end, where the policy allows that by name
    #[arg(long)]
    pub standing: bool,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// The change or incident it belongs to
    #[arg(long, value_name = "ID")]
    pub ticket: Option<String>,
    /// Only this one command, spelled exactly like this
    #[arg(long, value_name = "COMMAND")]
    pub command: Option<String>,
    /// Nothing that writes
    #[arg(long)]
    pub read_only: bool,
    /// Only this table of a database, as in `public.orders`; may be given several times
    #[arg(long, value_name = "SCHEMA.TABLE")]
    pub table: Vec<QualifiedName>,
    /// Only this one of the role's named statements; may be given several times
    #[arg(long, value_name = "NAME")]
    pub statement: Vec<String>,
}

/// What was given, if anything was.
fn set<T: Ord>(given: Vec<T>) -> Option<BTreeSet<T>> {
    (!given.is_empty()).then(|| given.into_iter().collect())
}

/// Each with a comma between.
fn listed<T: ToString>(items: Option<&BTreeSet<T>>) -> String {
    items.map(|items| items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")).unwrap_or_default()
}

impl Wanted {
    /// As the API takes it.
    ///
    /// # Errors
    /// If two different roles are named.
    pub fn into_request(self) -> anyhow::Result<NewRequest> {
        let role = match (self.resource.role, self.role) {
            (Some(one), Some(other)) if one != other => bail!("two roles are named, `{one}` and `{other}`; name one"),
            (one, other) => one.or(other),
        };
        Ok(NewRequest {
            role,
            duration: asked(self.length, self.standing),
            reason: self.reason,
            ticket: self.ticket,
            limits: Limits { command: self.command, read_only: self.read_only, tables: set(self.table), statements: set(self.statement) },
            ..NewRequest::of(self.resource.resource)
        })
    }
}

/// Which requests.
#[derive(Debug, Args)]
pub struct List {
    /// Those that wait for your answer
    #[arg(long, conflicts_with = "all")]
    inbox: bool,
    /// All that you may see
    #[arg(long)]
    all: bool,
    /// Only in this state: pending, approved, denied, cancelled, expired
    #[arg(long, value_name = "STATE")]
    state: Option<RequestState>,
    /// Only to this resource
    #[arg(long, value_name = "NAME")]
    resource: Option<ResourceName>,
    #[command(flatten)]
    shown: Shown,
}

/// A yes or no.
#[derive(Debug, Args)]
pub struct Vote {
    /// Which
    #[arg(value_name = "REQUEST")]
    id: RequestId,
    /// Why; the asker sees it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// What to change. What is not named stays.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub struct Edit {
    /// Which
    #[arg(value_name = "REQUEST")]
    id: RequestId,
    /// For how long
    #[arg(long = "for", value_name = "TIME", conflicts_with = "standing", group = "change")]
    length: Option<Span>,
    /// Without an end
    #[arg(long, group = "change")]
    standing: bool,
    /// Why
    #[arg(long, value_name = "TEXT", group = "change")]
    reason: Option<String>,
    /// The change or incident it belongs to; empty takes it away
    #[arg(long, value_name = "ID", group = "change")]
    ticket: Option<String>,
    /// Only this one command; empty lifts that
    #[arg(long, value_name = "COMMAND", group = "change")]
    command: Option<String>,
    /// Whether nothing may be written
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", group = "change")]
    read_only: Option<bool>,
}

impl RequestCommand {
    /// Does it.
    ///
    /// # Errors
    /// If the gate refuses or can't be reached; so for every command that speaks to it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        match self {
            Self::Create(create) => {
                let (wait, activate) = (create.wait, create.activate);
                let wanted = NewRequest { activate, ..create.wanted.into_request()? };
                submit(context, &client, &wanted, wait).await
            }
            Self::List(list) => list.run(context, &client).await,
            Self::Show { id } => {
                let detail = read(&client, id).await?;
                context.print(&detail, show)
            }
            Self::Approve(vote) => vote.cast(context, &client, "approve").await,
            Self::Deny(vote) => vote.cast(context, &client, "deny").await,
            Self::Cancel { id } => {
                let reply: Reply<Request> = client.post(&format!("/requests/{id}/cancel"), &json!({})).await?;
                context.print(&reply, |output, request| output.line(format!("{} is cancelled.", request.id)))
            }
            Self::Edit(edit) => edit.run(context, &client).await,
        }
    }
}

/// Asks, says what came of it, and waits if that is wanted.
pub(crate) async fn submit(context: &Context, client: &Client, wanted: &NewRequest, wait: bool) -> anyhow::Result<Exit> {
    let what = NewStepUp {
        resource: Some(wanted.resource.clone()),
        role: wanted.role.clone(),
        break_glass: wanted.break_glass,
        ..NewStepUp::default()
    };
    let reply: Reply<RequestAnswer> = step_up::proved(client, what, wait, async || client.post("/requests", wanted).await).await?;
    let answer = &reply.value;
    if let Some(grant) = &answer.grant {
        context.print(&reply, |output, answer| {
            if answer.joined {
                note("You had asked for this before; it is the same request.");
            }
            grant::show_new(output, grant)?;
            if let Some(why) = &answer.not_activated {
                output.toned(format!("Its clock did not start: {why}"), Tone::Bad)?;
            }
            Ok(())
        })?;
        return Ok(if answer.not_activated.is_some() { Exit::Refused } else { Exit::Done });
    }
    if answer.answer != AnswerCode::NeedsApproval {
        return context.print(&reply, |output, answer| output.line(format!("{}: {}", answer.request.id, answer.answer)));
    }
    let id = answer.request.id;
    if !wait {
        let detail = read(client, id).await?;
        for line in unusual(detail.value.request.risk.as_ref()) {
            note(format!("Those who decide see: {line}"));
        }
        context.print(&reply, |output, answer| {
            output.toned(format!("{id} waits for {}.", missing(&detail.value.stages)), Tone::Waiting)?;
            if answer.joined {
                note("You had asked for this before; it is the same request.");
            }
            note(format!("`tidegate request show {id}` says how it stands; connect again when it is approved."));
            Ok(())
        })?;
        return Ok(Exit::Pending);
    }
    let decided = wait_for(client, id).await?;
    if let (Some(grant), true) = (&decided.value.grant, wanted.activate) {
        let activated = grant::activate(client, grant.id).await?;
        context.print(&activated, grant::show_new)?;
        return Ok(Exit::Done);
    }
    context.print(&decided, |output, detail| match &detail.grant {
        Some(grant) => grant::show_new(output, grant),
        None => show(output, detail),
    })?;
    Ok(if decided.value.request.state == RequestState::Approved { Exit::Done } else { Exit::Refused })
}

/// Waits until a request is decided, and says on the way what it waits for.
async fn wait_for(client: &Client, id: RequestId) -> anyhow::Result<Reply<RequestDetail>> {
    let mut said = String::new();
    // Listening begins before looking, so that no answer falls between the two.
    let mut events = client.events("/events", &[("event", "request")]).await.ok();
    loop {
        let detail = read(client, id).await?;
        if detail.value.request.state != RequestState::Pending {
            return Ok(detail);
        }
        let missing = missing(&detail.value.stages);
        if missing != said {
            note(format!("{id} waits for {missing}."));
            said = missing;
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

async fn read(client: &Client, id: RequestId) -> anyhow::Result<Reply<RequestDetail>> {
    Ok(client.get(&format!("/requests/{id}"), &()).await?)
}

impl List {
    async fn run(self, context: &Context, client: &Client) -> anyhow::Result<Exit> {
        let of = match (self.inbox, self.all) {
            (true, _) => RequestsOf::Inbox,
            (_, true) => RequestsOf::All,
            _ => RequestsOf::Mine,
        };
        let query = RequestsQuery { of, state: self.state, resource: self.resource, ..RequestsQuery::default() };
        let reply = client.list::<Request>("/requests", &query, self.shown.limit).await?;
        context.print(&reply, |output, page| {
            let rows = page.items.iter().map(|request| {
                vec![
                    request.id.into(),
                    Field::state(request.state),
                    place(request).into(),
                    request.person.to_string().into(),
                    request.risk.as_ref().map(|risk| risk.level.to_string()).unwrap_or_default().into(),
                    length(request.duration, request.terms.default).into(),
                    output.at(request.submitted_at).into(),
                    request.reason.clone().unwrap_or_default().into(),
                ]
            });
            let header = ["request", "state", "for", "who", "risk", "how long", "asked", "reason"];
            output.table(&header, rows.collect(), "No requests.")?;
            note_more(page.next_cursor.is_some());
            Ok(())
        })
    }
}

impl Vote {
    async fn cast(self, context: &Context, client: &Client, verb: &str) -> anyhow::Result<Exit> {
        let id = self.id;
        let vote = NewVote { note: self.note, signature: None };
        let what = NewStepUp { request: Some(id), ..NewStepUp::default() };
        let path = format!("/requests/{id}/{verb}");
        let reply: Reply<Voted> = step_up::proved(client, what, false, async || client.post(&path, &vote).await).await?;
        let waits = match reply.value.request.state {
            RequestState::Pending => Some(missing(&read(client, id).await?.value.stages)),
            _ => None,
        };
        context.print(&reply, |output, voted| match (&waits, &voted.grant) {
            (Some(missing), _) => output.toned(format!("Your answer counts; {id} still waits for {missing}."), Tone::Waiting),
            (None, Some(grant)) => {
                let text = format!("{id} is approved: {} may use {}+{} by {}.", grant.person, grant.resource, grant.role, grant.id);
                output.toned(text, Tone::Good)
            }
            (None, None) => output.toned(format!("{id} is {}.", voted.request.state), Tone::Plain),
        })
    }
}

impl Edit {
    async fn run(self, context: &Context, client: &Client) -> anyhow::Result<Exit> {
        let path = format!("/requests/{}", self.id);
        let now: Reply<RequestDetail> = client.get(&path, &()).await?;
        let mut limits = now.value.request.limits.clone();
        if let Some(command) = self.command {
            limits.command = Some(command).filter(|c| !c.is_empty());
        }
        limits.read_only = self.read_only.unwrap_or(limits.read_only);
        let edit = RequestEdit {
            duration: asked(self.length, self.standing),
            reason: self.reason,
            ticket: self.ticket,
            limits: Some(limits).filter(|l| *l != now.value.request.limits),
        };
        let etag = now.etag.unwrap_or_else(|| format!("\"{}\"", now.value.request.version));
        let reply: Reply<Request> = client.patch(&path, &etag, &edit).await?;
        context.print(&reply, |output, request| {
            output.line(format!("{} is changed and asks again (revision {}).", request.id, request.revision))
        })
    }
}

/// What is asked for, and what is renounced of it: who decides must not overlook either.
fn place(request: &Request) -> String {
    let limits = access::limits::Limits::from(request.limits.clone());
    let emergency = if request.break_glass { ", emergency" } else { "" };
    let longer = if request.extends.is_some() { ", longer" } else { "" };
    let limited = if limits.is_empty() { String::new() } else { format!(", {limits}") };
    format!("{}+{}{longer}{emergency}{limited}", request.resource, request.role)
}

fn asked(length: Option<Span>, standing: bool) -> Option<Asked> {
    match (length, standing) {
        (Some(length), _) => Some(Asked::For(length)),
        (None, true) => Some(Asked::Standing),
        (None, false) => None,
    }
}

pub(crate) fn length(asked: Asked, default: Span) -> String {
    match asked {
        Asked::Default => default.to_string(),
        asked => asked.to_string(),
    }
}

/// Whom a request waits for, in words.
fn missing(stages: &[StageProgress]) -> String {
    let open: Vec<String> = stages
        .iter()
        .filter(|stage| stage.missing > 0)
        .map(|stage| {
            let seats: Vec<String> = stage.asked.iter().map(ToString::to_string).collect();
            let people = if stage.missing == 1 { "one".to_owned() } else { stage.missing.to_string() };
            format!("{people} of {}", seats.join(" or "))
        })
        .collect();
    if open.is_empty() { "a decision".to_owned() } else { open.join(" and ") }
}

/// The sentences that say what is unusual; of what was erased, the names of what was.
fn unusual(risk: Option<&Risk>) -> impl Iterator<Item = String> {
    let mut lines = risk.map(|risk| risk.says.clone()).unwrap_or_default();
    if let Some(risk) = risk.filter(|_| lines.is_empty()) {
        lines = risk.signals.iter().filter(|sign| sign.found != Finding::No).map(|sign| sign.signal.to_string()).collect();
    }
    lines.into_iter()
}

fn show(output: &Output, detail: &RequestDetail) -> io::Result<()> {
    let request = &detail.request;
    output.facts(&[
        ("request", request.id.to_string()),
        ("state", request.state.to_string()),
        ("who", request.person.to_string()),
        ("for", format!("{}+{}", request.resource, request.role)),
        ("how long", length(request.duration, request.terms.default)),
        ("reason", request.reason.clone().unwrap_or_default()),
        ("ticket", request.ticket.clone().unwrap_or_default()),
        ("may", detail.may.join("; ")),
        ("only command", request.limits.command.clone().unwrap_or_default()),
        ("read only", if request.limits.read_only { "yes".to_owned() } else { String::new() }),
        ("only tables", listed(request.limits.tables.as_ref())),
        ("only statements", listed(request.limits.statements.as_ref())),
        ("emergency", if request.break_glass { "yes".to_owned() } else { String::new() }),
        ("from", request.network.clone().unwrap_or_default()),
        ("job", request.job.clone().map(|job| access::claims::JobClaims::from(job).to_string()).unwrap_or_default()),
        ("proved by", request.mfa.to_string()),
        ("extends", request.extends.map(|g| g.to_string()).unwrap_or_default()),
        ("tier", request.terms.tier.to_string()),
        ("risk", request.risk.as_ref().map(|risk| risk.level.to_string()).unwrap_or_default()),
        ("policy", format!("{} (bundle {})", request.policy, request.bundle.get(..12).unwrap_or(&request.bundle))),
        ("asked", output.at(request.submitted_at)),
        ("decided", request.decided_at.map(|at| output.at(at)).unwrap_or_default()),
        ("ages out", if request.state == RequestState::Pending { output.at(request.expires_at) } else { String::new() }),
        ("waits for", if request.state == RequestState::Pending { missing(&detail.stages) } else { String::new() }),
        ("grant", detail.grant.as_ref().map(|g| g.id.to_string()).unwrap_or_default()),
    ])?;
    for (number, line) in unusual(request.risk.as_ref()).enumerate() {
        let name = if number == 0 { "unusual: " } else { "         " };
        output.line(format!("  {name}{line}"))?;
    }
    for duty in &detail.on_call {
        let why = duty.unknown.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        output.line(format!("  on call for {}: {}{why}", duty.schedule, super::on_call::people(output, duty)))?;
    }
    for vote in &detail.votes {
        let note = vote.note.as_deref().map(|n| format!(": {n}")).unwrap_or_default();
        let spent = if vote.counts { "" } else { " (before the last edit)" };
        let invited = if vote.invited_by_asker { ", invited by the asker," } else { "" };
        output.line(format!("  {} {}{invited} {}{spent}{note}", output.at(vote.at), vote.voter, vote.decision))?;
    }
    if detail.can_decide {
        note(format!("You can decide: `tidegate request approve {}` or `deny`.", request.id));
    }
    Ok(())
}
