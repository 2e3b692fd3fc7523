//! `tidegate contain`: shut everything of a person, machine or resource in one go.

use access::ids::LockId;
use access::lock::LockScope;
use access::names::ResourceName;
use api::types::containments::{Contained, Lifting, NewContainment};
use api::types::locks::Lock;
use clap::{Args, Subcommand};

use crate::client::{Client, Reply};
use crate::output::{Output, Tone};

use super::exit::Exit;
use super::user::find;
use super::{Context, grant};

/// What to contain, or to let go.
#[derive(Debug, Subcommand)]
pub enum ContainCommand {
    /// Contain a person or machine everywhere, and the machines they answer for
    #[command(visible_alias = "workload")]
    User(Whom),
    /// Contain a resource for everybody
    Resource(What),
    /// Lift a containment; what was taken away is asked for anew
    Lift(Lift),
}

/// Somebody.
#[derive(Debug, Args)]
pub struct Whom {
    /// Who: a name or an id
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    why: Why,
}

/// A resource.
#[derive(Debug, Args)]
pub struct What {
    /// Which
    #[arg(value_name = "RESOURCE")]
    name: ResourceName,
    #[command(flatten)]
    why: Why,
}

/// A containment.
#[derive(Debug, Args)]
pub struct Lift {
    /// Which: the lock that holds it
    #[arg(value_name = "LOCK")]
    id: LockId,
    #[command(flatten)]
    why: Why,
}

/// What whoever looks at it later reads.
#[derive(Debug, Args)]
pub struct Why {
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl ContainCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        match self {
            Self::User(Whom { name, why }) => {
                let scope = LockScope::Person(find(&client, &name).await?);
                contain(context, &client, NewContainment { scope, reason: why.reason }).await
            }
            Self::Resource(What { name, why }) => {
                contain(context, &client, NewContainment { scope: LockScope::Resource(name), reason: why.reason }).await
            }
            Self::Lift(Lift { id, why }) => {
                let reply: Reply<Lock> = client.post(&format!("/containments/{id}/lift"), &Lifting { reason: why.reason }).await?;
                context.print(&reply, |output, lock| {
                    output.line(format!("{} is no longer contained. What was taken away is asked for anew.", what(lock)))
                })
            }
        }
    }
}

async fn contain(context: &Context, client: &Client, wanted: NewContainment) -> anyhow::Result<Exit> {
    let reply: Reply<Contained> = client.post("/containments", &wanted).await?;
    context.print(&reply, show)
}

fn show(output: &Output, done: &Contained) -> std::io::Result<()> {
    let word = if done.already { "was contained already" } else { "is contained" };
    output.toned(format!("{} {word}: {}", what(&done.lock), done.lock.id), Tone::Good)?;
    grant::show_cut(output, &done.cut)?;
    let counted = [
        (done.grants.len() as u64, "grants revoked"),
        (done.requests.len() as u64, "requests denied"),
        (done.credentials, "tokens, keys, accounts and invitations removed"),
        (done.browsers, "browsers signed out"),
    ];
    let counted: Vec<String> = counted.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if !counted.is_empty() {
        output.line(format!("{}.", counted.join(", ")))?;
    }
    for passkey in &done.passkeys {
        let called = passkey.label.as_deref().unwrap_or("without a name");
        let says = format!("Is it theirs? A passkey was added at {}: {} ({called}). Remove it if not.", passkey.added_at, passkey.id);
        output.toned(says, Tone::Waiting)?;
    }
    let until =
        if done.cut.unconfirmed.is_empty() { "to the last end seen at a target" } else { "and not every end was seen at its target yet" };
    output.line(format!("{:.3} s from the order {until}.", done.seconds))
}

/// Whom or what it holds; people by name.
fn what(lock: &Lock) -> String {
    lock.person.as_ref().map_or_else(|| lock.scope.to_string(), ToString::to_string)
}
