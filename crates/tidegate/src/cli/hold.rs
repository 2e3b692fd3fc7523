//! `tidegate hold`: legal holds, that keep evidence whatever its age.

use access::hold::HoldScope;
use access::ids::{HoldId, SessionId};
use access::names::ResourceName;
use anyhow::bail;
use api::types::holds::{Hold, HoldsQuery, LiftHold, NewHold};
use clap::{Args, Subcommand};

use crate::client::Reply;
use crate::output::{Field, Tone};

use super::exit::Exit;
use super::user::find;
use super::{Context, Shown, note_more};

/// What to do with legal holds.
#[derive(Debug, Subcommand)]
pub enum HoldCommand {
    /// Keep everything of a person, at a resource or of a session
    Set(Set),
    /// List holds
    List {
        /// Lifted ones too
        #[arg(long)]
        all: bool,
        /// How much of the list
        #[command(flatten)]
        shown: Shown,
    },
    /// Lift a hold
    Lift {
        /// Which
        #[arg(value_name = "HOLD")]
        id: HoldId,
        /// Why; it stands in the log
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// What to keep, and why.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct Set {
    /// Everything of one person or machine: a user name or an id
    #[arg(long, value_name = "USER", group = "what")]
    person: Option<String>,
    /// Everything at one resource
    #[arg(long, value_name = "NAME", group = "what")]
    resource: Option<ResourceName>,
    /// One session
    #[arg(long, value_name = "SESSION", group = "what")]
    session: Option<SessionId>,
    /// Why; it stands in the log
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl HoldCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        match self {
            Self::Set(set) => {
                let scope = match (&set.person, set.resource, set.session) {
                    (Some(who), ..) => HoldScope::Person(find(&client, who).await?),
                    (_, Some(name), _) => HoldScope::Resource(name),
                    (.., Some(id)) => HoldScope::Session(id),
                    _ => bail!("say what to keep: `--person`, `--resource` or `--session`"),
                };
                let reply: Reply<Hold> = client.post("/holds", &NewHold { scope, reason: set.reason }).await?;
                context
                    .print(&reply, |output, hold| output.toned(format!("{} is kept until {} is lifted.", what(hold), hold.id), Tone::Good))
            }
            Self::List { all, shown } => {
                let query = HoldsQuery { all, ..HoldsQuery::default() };
                let reply = client.list::<Hold>("/holds", &query, shown.limit).await?;
                context.print(&reply, |output, page| {
                    let rows = page.items.iter().map(|hold| {
                        vec![
                            hold.id.into(),
                            Field::state(hold.state),
                            what(hold).into(),
                            output.at(hold.set_at).into(),
                            output.maybe_at(hold.lifted_at).into(),
                            hold.reason.clone().unwrap_or_default().into(),
                        ]
                    });
                    output.table(&["hold", "state", "keeps", "since", "lifted", "reason"], rows.collect(), "No holds.")?;
                    note_more(page.next_cursor.is_some());
                    Ok(())
                })
            }
            Self::Lift { id, reason } => {
                let reply: Reply<Hold> = client.post(&format!("/holds/{id}/lift"), &LiftHold { reason }).await?;
                context.print(&reply, |output, hold| output.line(format!("{} is no longer held.", what(hold))))
            }
        }
    }
}

/// What it keeps; people by name.
fn what(hold: &Hold) -> String {
    hold.person.as_ref().map_or_else(|| hold.scope.to_string(), ToString::to_string)
}
