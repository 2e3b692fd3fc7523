//! `tidegate token`: what signs programs in to the API.

use access::identity::Scope;
use access::ids::TokenId;
use access::time::Span;
use api::types::tokens::{IssuedToken, NewToken, Token};
use clap::{Args, Subcommand};

use crate::client::Reply;
use crate::output::note;

use super::exit::Exit;
use super::user::find;
use super::{Context, Shown, note_more};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it, once
    Create(Create),
    /// List your tokens
    List(List),
    /// Take a token away
    Revoke {
        /// Which
        #[arg(value_name = "TOKEN")]
        id: TokenId,
    },
}

/// A token to make.
#[derive(Debug, Args)]
pub struct Create {
    /// What it may be used for: read, ask, approve, administer; several with commas
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',')]
    scopes: Vec<Scope>,
    /// How long it works
    #[arg(long = "for", value_name = "TIME", default_value = "30d")]
    length: Span,
    /// What you call it
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// For whom, instead of yourself: a machine's name or id
    #[arg(long, value_name = "USER")]
    person: Option<String>,
}

/// How many tokens.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    shown: Shown,
}

impl TokenCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        match self {
            Self::Create(create) => {
                let person = match &create.person {
                    Some(who) => Some(find(&client, who).await?),
                    None => None,
                };
                let wanted = NewToken { person, scopes: create.scopes, duration: create.length, label: create.label };
                let reply: Reply<IssuedToken> = client.post("/tokens", &wanted).await?;
                context.print(&reply, |output, issued| {
                    note(format!("{} works until {}. It is shown this once:", issued.token.id, output.at(issued.token.expires_at)));
                    output.line(&issued.secret)
                })
            }
            Self::List(list) => {
                let reply = client.list::<Token>("/tokens", &(), list.shown.limit).await?;
                context.print(&reply, |output, page| {
                    let rows = page.items.iter().map(|token| {
                        let scopes: Vec<String> = token.scopes.iter().map(ToString::to_string).collect();
                        let until = match (token.revoked_at, token.grant) {
                            (Some(at), _) => format!("revoked {}", output.at(at)),
                            (None, Some(grant)) => format!("{grant} ends"),
                            (None, None) => output.at(token.expires_at),
                        };
                        let scopes = if token.grant.is_some() { vec!["connect".to_owned()] } else { scopes };
                        vec![
                            token.id.into(),
                            scopes.join(",").into(),
                            output.at(token.created_at).into(),
                            until.into(),
                            token.label.clone().unwrap_or_default().into(),
                        ]
                    });
                    output.table(&["token", "scopes", "made", "until", "label"], rows.collect(), "No tokens.")?;
                    note_more(page.next_cursor.is_some());
                    Ok(())
                })
            }
            Self::Revoke { id } => {
                let reply: Reply<Token> = client.delete(&format!("/tokens/{id}")).await?;
                context.print(&reply, |output, _| output.line(format!("{id} is taken away.")))
            }
        }
    }
}
