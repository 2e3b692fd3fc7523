//! `tidegate directory`: what brings people and groups (SCIM 2.0).

use access::ids::TokenId;
use access::names::Username;
use access::time::Span;
use api::types::directories::{Directory, NewDirectoryToken};
use api::types::tokens::{IssuedToken, Token};
use clap::{Args, Subcommand};

use crate::client::Reply;
use crate::output::{Output, note};

use super::Context;
use super::exit::Exit;

/// What to do with directories.
#[derive(Debug, Subcommand)]
pub enum DirectoryCommand {
    /// What each has brought, by which tokens it speaks, and who answers for it
    Status,
    /// Make a token by which a directory speaks, and print it, once
    Token(NewToken),
    /// Take a directory's token away
    Revoke {
        /// Which
        #[arg(value_name = "TOKEN")]
        id: TokenId,
    },
}

/// A token to make.
#[derive(Debug, Args)]
pub struct NewToken {
    /// Which directory, as the configuration names it
    #[arg(value_name = "DIRECTORY")]
    name: Username,
    /// How long it works
    #[arg(long = "for", value_name = "TIME", default_value = "180d")]
    length: Span,
    /// What you call it
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
}

impl DirectoryCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        match self {
            Self::Status => {
                let reply = client.list::<Directory>("/directories", &(), 1000).await?;
                context.print(&reply, |output, page| {
                    if page.items.is_empty() {
                        return output.line("No directories. `[[directory]]` in `tidegate.toml` names one.");
                    }
                    page.items.iter().try_for_each(|directory| show(output, directory))
                })
            }
            Self::Token(new) => {
                let wanted = NewDirectoryToken { duration: new.length, label: new.label };
                let reply: Reply<IssuedToken> = client.post(&format!("/directories/{}/tokens", new.name), &wanted).await?;
                context.print(&reply, |output, issued| {
                    note(format!("{} works until {}. It is shown this once:", issued.token.id, output.at(issued.token.expires_at)));
                    output.line(&issued.secret)
                })
            }
            Self::Revoke { id } => {
                let reply: Reply<Token> = client.delete(&format!("/tokens/{id}")).await?;
                context.print(&reply, |output, _| output.line(format!("{id} is taken away; the directory speaks by it no more.")))
            }
        }
    }
}

fn show(output: &Output, directory: &Directory) -> std::io::Result<()> {
    let Directory { name, url, people, active_people, group_count, .. } = directory;
    output.line(format!("{name}: {people} people, {active_people} of them let in, {group_count} groups; it speaks at {url}"))?;
    match (&directory.issuer, &directory.subject) {
        (Some(issuer), Some(subject)) => output.line(format!("  its people sign in at {issuer}, by {subject}"))?,
        _ => output.line("  its people are invited; no identity provider goes with it")?,
    }
    for meaning in &directory.groups {
        output.line(format!("  {} there is {} here", meaning.theirs, meaning.ours))?;
    }
    match (&directory.owner, directory.owner_is_active) {
        (Some(owner), true) => output.line(format!("  {owner} answers for it"))?,
        (Some(owner), false) => {
            output.line(format!("  {owner} answered for it and may not sign in any more; make its next token yourself"))?
        }
        (None, _) => output.line(format!("  it has no token yet: `tidegate directory token {name}`"))?,
    }
    for token in &directory.tokens {
        let until = match token.revoked_at {
            Some(at) => format!("taken away {}", output.at(at)),
            None => format!("works until {}", output.at(token.expires_at)),
        };
        let label = token.label.as_ref().map(|label| format!(", {label}")).unwrap_or_default();
        output.line(format!("  {} {until}{label}", token.id))?;
    }
    Ok(())
}
