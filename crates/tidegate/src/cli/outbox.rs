//! `tidegate outbox`: messages to the outside, what became of them, and sending them again.

use access::ids::DeliveryId;
use access::outbox::OutboxState;
use api::types::outbox::{Message, MessagesQuery};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::client::Reply;
use crate::output::Field;

use super::exit::Exit;
use super::{Context, Shown, note_more};

/// What to do with messages to the outside.
#[derive(Debug, Subcommand)]
pub enum OutboxCommand {
    /// List messages, newest first
    List(List),
    /// Show one message
    Show {
        /// Which
        #[arg(value_name = "MESSAGE")]
        id: DeliveryId,
    },
    /// Send messages again that were given up, or that their receiver lost
    Replay {
        /// Which
        #[arg(value_name = "MESSAGE", required = true)]
        ids: Vec<DeliveryId>,
    },
}

/// Which messages.
#[derive(Debug, Args)]
pub struct List {
    /// Only in this state: waiting, delivered, dead
    #[arg(long, value_name = "STATE")]
    state: Option<OutboxState>,
    /// Only to this destination: webhook:NAME, slack
    #[arg(long, value_name = "DESTINATION")]
    to: Option<String>,
    #[command(flatten)]
    shown: Shown,
}

impl OutboxCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        match self {
            Self::List(list) => {
                let query = MessagesQuery { state: list.state, destination: list.to, ..MessagesQuery::default() };
                let reply = client.list::<Message>("/outbox", &query, list.shown.limit).await?;
                context.print(&reply, |output, page| {
                    let rows = page.items.iter().map(|message| {
                        vec![
                            message.id.into(),
                            Field::state(message.state),
                            message.destination.clone().into(),
                            message.event.clone().into(),
                            message.attempts.to_string().into(),
                            output.at(message.created_at).into(),
                            output.maybe_at(message.due_at).into(),
                            message.error.clone().unwrap_or_default().into(),
                        ]
                    });
                    let heads = ["message", "state", "to", "about", "tries", "since", "next", "error"];
                    output.table(&heads, rows.collect(), "No messages.")?;
                    note_more(page.next_cursor.is_some());
                    Ok(())
                })
            }
            Self::Show { id } => {
                let reply: Reply<Message> = client.get(&format!("/outbox/{id}"), &()).await?;
                context.print(&reply, |output, message| {
                    output.facts(&[
                        ("message", message.id.to_string()),
                        ("to", message.destination.clone()),
                        ("about", format!("{} ({})", message.event, message.entry)),
                        ("state", message.state.to_string()),
                        ("tries", message.attempts.to_string()),
                        ("since", output.at(message.created_at)),
                        ("next", output.maybe_at(message.due_at)),
                        ("error", message.error.clone().unwrap_or_default()),
                    ])
                })
            }
            Self::Replay { ids } => {
                for id in ids {
                    let reply: Reply<Message> = client.post(&format!("/outbox/{id}/replay"), &json!({})).await?;
                    context.print(&reply, |output, message| {
                        output.line(format!("{} is sent to {} again.", message.id, message.destination))
                    })?;
                }
                Ok(Exit::Done)
            }
        }
    }
}
