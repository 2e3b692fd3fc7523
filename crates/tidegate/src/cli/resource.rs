//! `tidegate resource`: what can be asked for.

use std::io;

use access::names::ResourceName;
use api::types::resources::{Resource, ResourceDetail, ResourcesQuery, TargetCredential};
use clap::{Args, Subcommand};

use crate::client::Reply;
use crate::output::{Field, Output, Tone, note};

use super::exit::Exit;
use super::{Context, Shown, note_more};

/// What to do with resources.
#[derive(Debug, Subcommand)]
pub enum ResourceCommand {
    /// List what you can ask for, and what each role would take
    List(List),
    /// Show one resource: its roles, what each may do, and how its target is set up
    Show {
        /// Which
        #[arg(value_name = "RESOURCE")]
        name: ResourceName,
    },
}

/// Which resources.
#[derive(Debug, Args)]
pub struct List {
    /// All there are, if you keep the policy or read the audit log; not just those that are open to you
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    shown: Shown,
}

impl ResourceCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        match self {
            Self::List(list) => {
                let query = ResourcesQuery { all: list.all, ..ResourcesQuery::default() };
                let reply = client.list::<Resource>("/resources", &query, list.shown.limit).await?;
                context.print(&reply, |output, page| {
                    let rows = page.items.iter().flat_map(rows).collect();
                    output.table(&["resource", "kind", "tier", "role", "answer", "takes"], rows, "No resource is open to you.")?;
                    note_more(page.next_cursor.is_some());
                    Ok(())
                })
            }
            Self::Show { name } => {
                let reply: Reply<ResourceDetail> = client.get(&format!("/resources/{name}"), &()).await?;
                context.print(&reply, show)
            }
        }
    }
}

fn rows(resource: &Resource) -> Vec<Vec<Field>> {
    let tier = resource.tier.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    if resource.roles.is_empty() {
        let nothing = Field::toned("not open to you", Tone::Plain);
        return vec![vec![resource.name.to_string().into(), resource.kind.clone().into(), tier.into(), "-".to_owned().into(), nothing]];
    }
    resource
        .roles
        .iter()
        .map(|offer| {
            let role = if offer.default { format!("{} (default)", offer.role) } else { offer.role.to_string() };
            vec![
                resource.name.to_string().into(),
                resource.kind.clone().into(),
                tier.clone().into(),
                role.into(),
                Field::state(offer.answer),
                offer.takes.clone().into(),
            ]
        })
        .collect()
}

fn show(output: &Output, detail: &ResourceDetail) -> io::Result<()> {
    let resource = &detail.resource;
    let tags: Vec<&str> = resource.tags.iter().map(String::as_str).collect();
    output.facts(&[
        ("resource", resource.name.to_string()),
        ("what", resource.description.clone().unwrap_or_default()),
        ("kind", resource.kind.clone()),
        ("tier", resource.tier.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("environment", resource.environment.clone().unwrap_or_default()),
        ("tags", tags.join(", ")),
        ("owner", resource.owner.as_ref().map(ToString::to_string).unwrap_or_default()),
    ])?;
    for rights in &detail.rights {
        let offer = resource.roles.iter().find(|offer| offer.role == rights.role);
        output.line("")?;
        output
            .toned(format!("{}+{}: {}", resource.name, rights.role, rights.verdict.answer), Tone::of(&rights.verdict.answer.to_string()))?;
        if let Some(offer) = offer {
            output.line(format!("  {}", offer.description))?;
            output.line(format!("  takes: {}", offer.takes))?;
        }
        if let Some(detail) = &rights.verdict.detail {
            output.line(format!("  {detail}"))?;
        }
        for may in &rights.may {
            output.line(format!("  - {may}"))?;
        }
    }
    let Some(setup) = &detail.setup else { return Ok(()) };
    output.line("")?;
    output.line(format!("Target {}", setup.address))?;
    if setup.host_keys.is_empty() && resource.kind == "ssh" {
        note(
            "No host key is named for it: put it into `host_keys` in `resources.toml`. Until then it is refused, unless its tier is no production \
             and trusts the first one it sees (`first-use`).",
        );
    }
    for key in &setup.host_keys {
        output.line(format!("  host key {key}"))?;
    }
    match &setup.credential {
        TargetCredential::TargetCa => {}
        TargetCredential::Secret { name, set } => {
            let state = if *set { "set" } else { "not set: `tidegate secret set` it" };
            output.line(format!("  opened by the secret `{name}` ({state})"))?;
        }
        TargetCredential::Vault { secret } => output.line(format!("  opened by what the vault has as `{secret}`"))?,
    }
    for file in &setup.files {
        output.line(format!("  in {} on the target:", file.path))?;
        for line in &file.lines {
            output.line(format!("    {line}"))?;
        }
    }
    Ok(())
}
