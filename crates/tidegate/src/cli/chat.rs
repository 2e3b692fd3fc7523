//! `tidegate chat`: accounts where people chat, and whose they are. They are linked in a browser, where the chat leads.

use access::chat::{ChatService, Told};
use api::types::chat::{ChangedChatAccount, ChatAccount};
use clap::{Args, Subcommand};

use crate::client::Reply;

use super::exit::Exit;
use super::user::find;
use super::{Context, Shown, note_more};

/// What to do with accounts where people chat.
#[derive(Debug, Subcommand)]
pub enum ChatCommand {
    /// List the accounts that count as yours, or as somebody else's
    List(List),
    /// Choose what you are told at an account of yours: all, asks (what you are to decide), own (how your own requests end), nothing
    Tell {
        /// Which, as `list` shows it
        #[arg(value_name = "ACCOUNT")]
        id: String,
        /// What
        #[arg(value_name = "WHAT")]
        told: Told,
    },
    /// Take an account back: what is done with it there counts as nobody's any more
    Remove {
        /// Which, as `list` shows it
        #[arg(value_name = "ACCOUNT")]
        id: String,
    },
}

/// Whose accounts.
#[derive(Debug, Args)]
pub struct List {
    /// Whose, instead of your own: a user name or an id
    #[arg(long, value_name = "USER")]
    person: Option<String>,
    #[command(flatten)]
    shown: Shown,
}

impl ChatCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        match self {
            Self::List(list) => {
                let path = match &list.person {
                    Some(who) => format!("/users/{}/chat-accounts", find(&client, who).await?),
                    None => "/me/chat-accounts".to_owned(),
                };
                let reply = client.list::<ChatAccount>(&path, &(), list.shown.limit).await?;
                context.print(&reply, |output, page| {
                    let rows = page.items.iter().map(|account| {
                        vec![
                            account.id.clone().into(),
                            service(account.service).into(),
                            account.team.clone().into(),
                            account.account.clone().into(),
                            account.told.to_string().into(),
                            output.at(account.linked_at).into(),
                        ]
                    });
                    let none = "No account where people chat counts as theirs.";
                    output.table(&["account", "where", "workspace", "who there", "told", "since"], rows.collect(), none)?;
                    note_more(page.next_cursor.is_some());
                    Ok(())
                })
            }
            Self::Tell { id, told } => {
                let reply: Reply<ChatAccount> = client.patch(&format!("/chat-accounts/{id}"), "*", &ChangedChatAccount { told }).await?;
                context.print(&reply, |output, account| {
                    output.line(format!("At {} you are told: {}.", service(account.service), account.told))
                })
            }
            Self::Remove { id } => {
                let reply: Reply<ChatAccount> = client.delete(&format!("/chat-accounts/{id}")).await?;
                context.print(&reply, |output, account| {
                    output.line(format!(
                        "What is done with {} at {} counts as nobody's any more.",
                        account.account,
                        service(account.service)
                    ))
                })
            }
        }
    }
}

fn service(service: ChatService) -> String {
    service.to_string()
}
