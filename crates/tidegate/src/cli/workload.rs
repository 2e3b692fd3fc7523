//! `tidegate workload`: machines that can sign in. Each has a human who answers for it.

use access::ids::PrincipalId;
use access::names::Username;
use anyhow::bail;
use api::types::users::{NewWorkload, User};
use clap::{Args, Subcommand};

use crate::client::Reply;
use crate::output::note;

use super::exit::Exit;
use super::user::{find, print_list, show};
use super::{Context, Shown};

/// What to do with machines.
#[derive(Debug, Subcommand)]
pub enum WorkloadCommand {
    /// List machines
    List(List),
    /// Make a machine known
    Add {
        /// How it will sign in
        #[arg(value_name = "WORKLOAD")]
        username: Username,
        /// The human who answers for it: a user name or an id
        #[arg(long, value_name = "USER")]
        owner: String,
        /// How it is called
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
}

/// How many machines.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    shown: Shown,
}

impl WorkloadCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        match self {
            Self::List(list) => print_list(context, &client, list.shown.limit, |user| matches!(user.id, PrincipalId::Workload(_))).await,
            Self::Add { username, owner, name } => {
                let PrincipalId::User(owner) = find(&client, &owner).await? else {
                    bail!("`{owner}` is a machine itself; name the human who answers for it");
                };
                let reply: Reply<User> = client.post("/workloads", &NewWorkload { username, display_name: name, owner }).await?;
                context.print(&reply, |output, user| {
                    show(output, user)?;
                    note(format!("Give it a token with `tidegate token create --person {} --scope ask --for 90d`.", user.username));
                    Ok(())
                })
            }
        }
    }
}
