//! `tidegate grant`: the bounded rights that came of requests.

use std::io;

use access::grant::GrantState;
use access::ids::GrantId;
use access::names::ResourceName;
use access::reason::Reason;
use access::time::Span;
use api::types::grants::{Because, Cut, EndedGrant, Extend, Grant, GrantsQuery};
use api::types::passkeys::NewStepUp;
use api::types::requests::RequestAnswer;
use api::types::tokens::{IssuedToken, NewConnectToken};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::client::{Client, ClientError, Reply};
use crate::output::{Field, Output, Tone, note};

use super::exit::Exit;
use super::{Context, Shown, note_more, step_up};

/// What to do with grants.
#[derive(Debug, Subcommand)]
pub enum GrantCommand {
    /// List grants: your own, unless said otherwise
    List(List),
    /// Show a grant
    Show {
        /// Which
        #[arg(value_name = "GRANT")]
        id: GrantId,
    },
    /// Start its clock now
    Activate {
        /// Which
        #[arg(value_name = "GRANT")]
        id: GrantId,
    },
    /// Ask for more time, without losing the session
    Extend {
        /// Which
        #[arg(value_name = "GRANT")]
        id: GrantId,
        /// How long from now
        #[arg(long = "for", value_name = "TIME")]
        length: Span,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Take it away and cut every session that stands on it
    Revoke {
        /// Which
        #[arg(value_name = "GRANT")]
        id: GrantId,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Make a token that stands for the password at a database, for as many connections as you like, until the grant ends
    Token(ConnectToken),
    /// Give it back before its time
    Return {
        /// Which
        #[arg(value_name = "GRANT")]
        id: GrantId,
    },
}

/// A connect token to make.
#[derive(Debug, Args)]
pub struct ConnectToken {
    /// Which
    #[arg(value_name = "GRANT")]
    id: GrantId,
    /// How long it works, if not until the grant ends
    #[arg(long = "for", value_name = "TIME")]
    length: Option<Span>,
    /// What you call it
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
}

/// Which grants.
#[derive(Debug, Args)]
pub struct List {
    /// All that you may see
    #[arg(long)]
    all: bool,
    /// Only in this state: ready, active, ended
    #[arg(long, value_name = "STATE")]
    state: Option<GrantState>,
    /// Only on this resource
    #[arg(long, value_name = "NAME")]
    resource: Option<ResourceName>,
    #[command(flatten)]
    shown: Shown,
}

impl GrantCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        match self {
            Self::List(list) => list.run(context, &client).await,
            Self::Show { id } => {
                let reply: Reply<Grant> = client.get(&format!("/grants/{id}"), &()).await?;
                context.print(&reply, show)
            }
            Self::Activate { id } => {
                let reply = activate(&client, id).await?;
                context.print(&reply, show_new)
            }
            Self::Extend { id, length, reason } => {
                let more = Extend { duration: length, reason };
                let reply: Reply<RequestAnswer> = extend(&client, id, &more).await?;
                let exit = if reply.value.grant.is_some() { Exit::Done } else { Exit::Pending };
                context.print(&reply, |output, answer| match &answer.grant {
                    Some(grant) => show_new(output, grant),
                    None => output.toned(format!("{} asks for more time and waits for approval.", answer.request.id), Tone::Waiting),
                })?;
                Ok(exit)
            }
            Self::Revoke { id, reason } => {
                let reply: Reply<EndedGrant> = client.post(&format!("/grants/{id}/revoke"), &Because { reason: Some(reason) }).await?;
                context.print(&reply, |output, ended| {
                    output.line(format!("{} is revoked.", ended.grant.id))?;
                    show_cut(output, &ended.cut)
                })
            }
            Self::Token(token) => {
                let reply = connect_token(&client, token.id, token.length, token.label).await?;
                context.print(&reply, |output, issued| {
                    let end = match token.length {
                        Some(_) => format!("{}, or until its grant ends", output.at(issued.token.expires_at)),
                        None => "its grant ends".to_owned(),
                    };
                    note(format!("{} opens connections until {end}. It is shown this once:", issued.token.id));
                    output.line(&issued.secret)
                })
            }
            Self::Return { id } => {
                let reply: Reply<EndedGrant> = client.post(&format!("/grants/{id}/return"), &json!({})).await?;
                context.print(&reply, |output, ended| {
                    output.line(format!("{} is given back.", ended.grant.id))?;
                    show_cut(output, &ended.cut)
                })
            }
        }
    }
}

impl List {
    async fn run(self, context: &Context, client: &Client) -> anyhow::Result<Exit> {
        let query = GrantsQuery { all: self.all, state: self.state, resource: self.resource, ..GrantsQuery::default() };
        let reply = client.list::<Grant>("/grants", &query, self.shown.limit).await?;
        context.print(&reply, |output, page| {
            let rows = page.items.iter().map(|grant| {
                vec![
                    grant.id.into(),
                    Field::state(grant.state),
                    format!("{}+{}", grant.resource, grant.role).into(),
                    grant.person.to_string().into(),
                    ends(output, grant).into(),
                ]
            });
            output.table(&["grant", "state", "for", "who", "ends"], rows.collect(), "No grants.")?;
            note_more(page.next_cursor.is_some());
            Ok(())
        })
    }
}

/// Makes a connect token of a grant.
pub(crate) async fn connect_token(
    client: &Client,
    grant: GrantId,
    duration: Option<Span>,
    label: Option<String>,
) -> Result<Reply<IssuedToken>, ClientError> {
    client.post(&format!("/grants/{grant}/connect_tokens"), &NewConnectToken { duration, label }).await
}

/// Asks for more time; where that needs a fresh proof that it is them, says where to give it and goes on by itself.
async fn extend(client: &Client, id: GrantId, more: &Extend) -> anyhow::Result<Reply<RequestAnswer>> {
    let path = format!("/grants/{id}/extend");
    let refused = match client.post(&path, more).await {
        Err(ClientError::Refused(problem)) if problem.code == Reason::MfaRequired => problem,
        sent => return Ok(sent?),
    };
    let grant: Reply<Grant> = match client.get(&format!("/grants/{id}"), &()).await {
        Ok(grant) => grant,
        Err(_) => return Err(ClientError::Refused(refused).into()),
    };
    let what = NewStepUp { resource: Some(grant.value.resource), role: Some(grant.value.role), ..NewStepUp::default() };
    step_up::proved(client, what, false, async || client.post(&path, more).await).await
}

/// Starts a grant's clock.
pub(crate) async fn activate(client: &Client, id: GrantId) -> Result<Reply<Grant>, ClientError> {
    client.post(&format!("/grants/{id}/activate"), &json!({})).await
}

fn ends(output: &Output, grant: &Grant) -> String {
    match (grant.ended_at, grant.end, grant.ends_at) {
        (Some(at), Some(end), _) => format!("{end} {}", output.at(at)),
        (Some(at), None, _) => output.at(at),
        (None, _, Some(at)) => output.at(at),
        (None, _, None) if grant.state == GrantState::Ready => {
            format!("{} after it starts, by {}", grant.length, output.at(grant.activate_by))
        }
        (None, _, None) => "never".to_owned(),
    }
}

/// A right just got, and how to use it.
pub(crate) fn show_new(output: &Output, grant: &Grant) -> io::Result<()> {
    let right = format!("{}+{}", grant.resource, grant.role);
    match (grant.state, grant.ends_at) {
        (GrantState::Active, Some(end)) => output.toned(format!("{right} is open until {}: {}", output.at(end), grant.id), Tone::Good),
        (GrantState::Active, None) => output.toned(format!("{right} is open without an end: {}", grant.id), Tone::Good),
        (GrantState::Ready, _) => {
            output.toned(format!("{right} is granted: {}", grant.id), Tone::Good)?;
            note(format!(
                "Its clock starts when you connect, or with `tidegate grant activate {}`; use it by {}.",
                grant.id,
                output.at(grant.activate_by)
            ));
            Ok(())
        }
        (state, _) => output.line(format!("{} is {state}.", grant.id)),
    }
}

/// What became of live sessions.
pub(crate) fn show_cut(output: &Output, cut: &Cut) -> io::Result<()> {
    for session in &cut.confirmed {
        output.line(format!("  {session} cut; its end was seen at the target"))?;
    }
    for session in &cut.unconfirmed {
        output.toned(format!("  {session} cut from its user; its end at the target was not seen yet"), Tone::Bad)?;
    }
    for session in &cut.rehomed {
        output.line(format!("  {session} goes on under another grant"))?;
    }
    for grant in &cut.still_open {
        output.toned(format!("  {grant} still opens the same door to the same person"), Tone::Waiting)?;
    }
    Ok(())
}

fn show(output: &Output, grant: &Grant) -> io::Result<()> {
    let approvers: Vec<String> = grant.approvers.iter().map(ToString::to_string).collect();
    output.facts(&[
        ("grant", grant.id.to_string()),
        ("state", grant.state.to_string()),
        ("who", grant.person.to_string()),
        ("for", format!("{}+{}", grant.resource, grant.role)),
        ("how long", grant.length.to_string()),
        ("started", grant.starts_at.map(|at| output.at(at)).unwrap_or_default()),
        ("ends", ends(output, grant)),
        ("only command", grant.limits.command.clone().unwrap_or_default()),
        ("read only", if grant.limits.read_only { "yes".to_owned() } else { String::new() }),
        ("emergency", if grant.break_glass { "yes".to_owned() } else { String::new() }),
        ("agreed by", approvers.join(", ")),
        ("recorded", grant.terms.record.to_string()),
        ("request", grant.request.to_string()),
        ("policy", format!("{} (bundle {})", grant.policy, grant.bundle.get(..12).unwrap_or(&grant.bundle))),
    ])
}
