//! `tidegate workload`: machines that can sign in. Each has a human who answers for it.

use access::ids::PrincipalId;
use access::names::Username;
use anyhow::bail;
use api::types::users::{NewWorkload, User};
use clap::{Args, Subcommand};

use crate::client::Reply;
use crate::output::note;

use super::exec::{JobArgs, sign_in};
use super::exit::Exit;
use super::user::{find, print_list, show};
use super::{Context, Shown};

/// What to do with machines.
#[derive(Debug, Subcommand)]
pub enum WorkloadCommand {
    /// List machines
    List(List),
    /// In a CI job: exchange the job's own token for one of the gate's, and print it
    SignIn(SignIn),
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

/// A job's sign-in.
#[derive(Debug, Args)]
pub struct SignIn {
    #[command(flatten)]
    job: JobArgs,
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
            Self::SignIn(sign_in) => sign_in.run(context).await,
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

impl SignIn {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let Some(exchanged) = sign_in(context, &self.job).await?.exchanged else {
            bail!("there is no job's token here; name it with `--token-file`, or put it in TIDEGATE_WORKLOAD_TOKEN");
        };
        if context.output.is_json() {
            context.output.json(&exchanged)?;
        } else {
            note(format!(
                "You are {} for {} seconds. This is TIDEGATE_TOKEN; it is shown this once:",
                exchanged.workload, exchanged.expires_in
            ));
            context.output.line(&exchanged.access_token)?;
        }
        Ok(Exit::Done)
    }
}
