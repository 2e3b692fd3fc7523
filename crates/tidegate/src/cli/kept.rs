//! Filters of searches that somebody keeps: `tidegate session search --keep`, `--kept`, and `tidegate session kept`.

use anyhow::bail;
use api::types::saved_searches::{NewSavedSearch, SavedSearch, SearchFilters};
use api::types::sessions::SearchQuery;
use clap::Args;

use crate::client::{Client, Reply};
use crate::output::note;

use super::exit::Exit;
use super::{Context, note_more};

/// More than anybody keeps.
const ALL: u32 = 500;

/// What is kept.
#[derive(Debug, Args)]
pub struct Kept {
    /// Forget the filters of this name
    #[arg(long, value_name = "NAME")]
    forget: Option<String>,
}

impl Kept {
    /// Does it.
    pub async fn run(self, context: &Context, client: &Client) -> anyhow::Result<Exit> {
        if let Some(name) = self.forget {
            let kept = named(client, &name).await?;
            let reply: Reply<SavedSearch> = client.delete(&format!("/me/searches/{}", kept.id)).await?;
            return context.print(&reply, |output, kept| output.line(format!("`{}` is forgotten.", kept.name)));
        }
        let reply = client.list::<SavedSearch>("/me/searches", &(), ALL).await?;
        context.print(&reply, |output, page| {
            let rows =
                page.items.iter().map(|kept| vec![kept.name.clone().into(), output.at(kept.saved_at).into(), words(&kept.filters).into()]);
            output.table(
                &["name", "kept", "looks for"],
                rows.collect(),
                "Nothing is kept. `tidegate session search … --keep NAME` keeps filters.",
            )?;
            note_more(page.next_cursor.is_some());
            Ok(())
        })
    }
}

/// The filters that are kept under a name, as a search takes them.
pub(super) async fn query(client: &Client, name: &str) -> anyhow::Result<SearchQuery> {
    Ok(named(client, name).await?.filters.into())
}

/// Keeps what a search looks for.
pub(super) async fn keep(client: &Client, name: String, query: &SearchQuery) -> anyhow::Result<()> {
    let new = NewSavedSearch { name, filters: SearchFilters::from(query.clone()) };
    let reply: Reply<SavedSearch> = client.post("/me/searches", &new).await?;
    note(format!("Kept as `{0}`: `tidegate session search --kept '{0}'` looks again.", reply.value.name));
    Ok(())
}

async fn named(client: &Client, name: &str) -> anyhow::Result<SavedSearch> {
    let kept = client.list::<SavedSearch>("/me/searches", &(), ALL).await?.value.items;
    match kept.into_iter().find(|one| one.name == name) {
        Some(found) => Ok(found),
        None => bail!("you keep no filters called `{name}`; `tidegate session kept` lists what you keep"),
    }
}

/// Filters in one line.
fn words(filters: &SearchFilters) -> String {
    let shown = serde_json::to_value(filters).ok();
    let fields = shown.as_ref().and_then(serde_json::Value::as_object).into_iter().flatten();
    let one = |(name, value): (&String, &serde_json::Value)| format!("{name}={}", value.as_str().unwrap_or_default());
    fields.map(one).collect::<Vec<_>>().join(" ")
}
