//! `tidegate stream`: where the log goes as it grows, and how far it came.

use api::types::list::Page;
use api::types::streams::Stream;
use clap::Subcommand;

use crate::client::Reply;
use crate::output::{Field, Tone};

use super::Context;
use super::exit::Exit;

/// What to do with streams.
#[derive(Debug, Subcommand)]
pub enum StreamCommand {
    /// List the streams: how far each came, what waits, and why it fails
    List,
}

impl StreamCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let Self::List = self;
        let reply: Reply<Page<Stream>> = context.client()?.get("/streams", &()).await?;
        context.print(&reply, |output, page| {
            let rows = page.items.iter().map(|stream| {
                let (state, tone) = if stream.failing_since.is_some() { ("failing", Tone::Bad) } else { ("well", Tone::Good) };
                vec![
                    stream.name.clone().into(),
                    stream.kind.clone().into(),
                    if stream.activity { format!("{}, activity", stream.format) } else { stream.format.clone() }.into(),
                    Field::toned(state, tone),
                    stream.taken.to_string().into(),
                    stream.waiting.to_string().into(),
                    output.maybe_at(stream.oldest_waiting_at).into(),
                    output.maybe_at(stream.due_at).into(),
                    stream.error.clone().unwrap_or_default().into(),
                ]
            });
            let heads = ["stream", "kind", "form", "state", "taken", "waiting", "since", "next", "error"];
            output.table(&heads, rows.collect(), "No streams; `[[stream]]` in the gate's configuration names one.")
        })
    }
}
