//! `tidegate lock`: keep a person or machine, role, resource or network shut, now.

use access::ids::{LockId, PrincipalId};
use access::lock::{LockScope, Network};
use access::names::{ResourceName, RoleName};
use access::time::Span;
use anyhow::bail;
use api::types::locks::{Lock, Locked, LocksQuery, NewLock};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::client::{Client, Reply};
use crate::output::{Field, Tone};

use super::exit::Exit;
use super::user::find;
use super::{Context, Shown, grant, note_more};

/// What to do with locks.
#[derive(Debug, Subcommand)]
pub enum LockCommand {
    /// Lock: nothing new opens, everything open closes
    Set(Set),
    /// List locks
    List(List),
    /// Lift a lock
    Lift {
        /// Which
        #[arg(value_name = "LOCK")]
        id: LockId,
    },
}

/// What is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Noun {
    /// A person or machine, everywhere.
    User,
    /// A machine, everywhere: every job of its pipelines too.
    Workload,
    /// A role, on every resource.
    Role,
    /// A resource, for everybody.
    Resource,
    /// Whoever comes from there: `192.0.2.0/24`, or one address.
    Network,
}

/// A lock to set.
#[derive(Debug, Args)]
pub struct Set {
    /// What to lock
    #[arg(value_name = "WHAT")]
    noun: Noun,
    /// Which: a name, a person's id, or addresses
    #[arg(value_name = "NAME")]
    name: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// For how long; without it until lifted
    #[arg(long = "for", value_name = "TIME")]
    length: Option<Span>,
}

/// Which locks.
#[derive(Debug, Args)]
pub struct List {
    /// Lifted ones too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    shown: Shown,
}

impl LockCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        match self {
            Self::Set(set) => {
                let scope = scope(&client, set.noun, &set.name).await?;
                let wanted = NewLock { scope, duration: set.length, reason: Some(set.reason) };
                let reply: Reply<Locked> = client.post("/locks", &wanted).await?;
                context.print(&reply, |output, locked| {
                    let until = locked.lock.until.map_or_else(|| "until it is lifted".to_owned(), |at| format!("until {}", output.at(at)));
                    output.toned(format!("{} is locked {until}: {}", what(&locked.lock), locked.lock.id), Tone::Good)?;
                    grant::show_cut(output, &locked.cut)
                })
            }
            Self::List(list) => {
                let query = LocksQuery { all: list.all, ..LocksQuery::default() };
                let reply = client.list::<Lock>("/locks", &query, list.shown.limit).await?;
                context.print(&reply, |output, page| {
                    let rows = page.items.iter().map(|lock| {
                        vec![
                            lock.id.into(),
                            Field::state(lock.state),
                            what(lock).into(),
                            output.at(lock.set_at).into(),
                            output.maybe_at(lock.until).into(),
                            lock.reason.clone().unwrap_or_default().into(),
                        ]
                    });
                    output.table(&["lock", "state", "locks", "since", "until", "reason"], rows.collect(), "No locks.")?;
                    note_more(page.next_cursor.is_some());
                    Ok(())
                })
            }
            Self::Lift { id } => {
                let reply: Reply<Lock> = client.post(&format!("/locks/{id}/lift"), &json!({})).await?;
                context.print(&reply, |output, lock| output.line(format!("{} is open again.", what(lock))))
            }
        }
    }
}

/// What it keeps shut; people by name.
fn what(lock: &Lock) -> String {
    lock.person.as_ref().map_or_else(|| lock.scope.to_string(), ToString::to_string)
}

async fn scope(client: &Client, noun: Noun, name: &str) -> anyhow::Result<LockScope> {
    Ok(match noun {
        Noun::User => LockScope::Person(find(client, name).await?),
        Noun::Workload => match find(client, name).await? {
            machine @ PrincipalId::Workload(_) => LockScope::Person(machine),
            PrincipalId::User(_) => bail!("`{name}` is a person; `tidegate lock set user {name}` locks them"),
        },
        Noun::Network => LockScope::Network(name.parse::<Network>()?),
        Noun::Role => LockScope::Role(name.parse::<RoleName>()?),
        Noun::Resource => match name.parse::<ResourceName>() {
            Ok(name) => LockScope::Resource(name),
            Err(error) => bail!(error),
        },
    })
}
