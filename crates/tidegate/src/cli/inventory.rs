//! `tidegate inventory`: ways to production that do not pass the gate, and what targets hold that it did not put there.

use std::path::PathBuf;

use access::ids::{FindingId, PathId};
use access::inventory::{Attribution, FindingState, Issuance, PathState, Reach, SourceKind};
use access::names::{GroupName, ResourceName};
use anyhow::{Context as _, bail};
use api::types::inventory::{
    Acceptance, Backlog, BacklogQuery, Closing, DriftFinding, FindingsQuery, Import, Imported, KnownWay, Looked, Looks, NewLook, NewWay,
    WaysQuery,
};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::io::AsyncReadExt as _;

use crate::client::{Client, Reply};
use crate::output::{Field, Output, Tone, note};

use super::exit::Exit;
use super::{Context, Shown, note_more};

/// The largest list, in bytes; the gate says so too.
const LARGEST: u64 = 8 * 1024 * 1024;

/// What to do with the inventory.
#[derive(Debug, Subcommand)]
pub enum InventoryCommand {
    /// Import a list of ways to production: all of it, or nothing; the same list again changes nothing
    Import(ImportArgs),
    /// List ways; those outside the gate are the backlog
    List(List),
    /// Enter a way that no list names
    Add(Add),
    /// Say that a way is closed
    Close {
        /// Which
        #[arg(value_name = "PATH")]
        id: PathId,
        /// What was done, or why it needs nothing
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Say why a way, or a finding on a target, stays
    Accept {
        /// Which: `pth_…` or `fnd_…`
        #[arg(value_name = "ID")]
        id: Accepted,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Until when, as `2027-01-01`, at most a year from now; a finding without it stays accepted until it is mended
        #[arg(long, value_name = "DAY", value_parser = moment)]
        until: Option<Timestamp>,
    },
    /// Take back that a way was closed or accepted
    Reopen {
        /// Which
        #[arg(value_name = "PATH")]
        id: PathId,
    },
    /// How large the backlog is, and whether it shrinks
    Backlog {
        /// How many weeks
        #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=104))]
        weeks: u32,
    },
    /// Look at a target for what the gate did not put there; without one: when each was looked at
    Drift {
        /// Which resource
        #[arg(value_name = "RESOURCE")]
        resource: Option<ResourceName>,
    },
    /// List what was found on targets
    Findings(Findings),
}

/// A list.
#[derive(Debug, Args)]
#[command(
    after_help = "Kinds: ssh-config, known-hosts, authorized-keys, kubeconfig, postgres-roles, mysql-users, ci-secrets, vpn, terraform, csv. \
                        docs/inventory.md says how to get each. Of secrets in a file only that there are some is kept."
)]
pub struct ImportArgs {
    /// What it is
    #[arg(value_name = "KIND")]
    kind: SourceKind,
    /// The file; `-` or nothing: stdin
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// What it is called here; without it: by its kind, and by whose it is or where it was found
    #[arg(long, value_name = "NAME")]
    source: Option<GroupName>,
    /// The target it was found on, as `db-1.internal:5432`: of lists of keys and accounts
    #[arg(long, value_name = "HOST[:PORT]")]
    on: Option<String>,
    /// The account it was found in there: of lists of keys
    #[arg(long, value_name = "LOGIN")]
    account: Option<String>,
    /// Whose file it is: of configurations on laptops
    #[arg(long, value_name = "WHO")]
    of: Option<String>,
}

/// Which ways.
#[derive(Debug, Args)]
pub struct List {
    /// Only in this state: open, taken_in, accepted, closed, gone
    #[arg(long, value_name = "STATE")]
    state: Option<PathState>,
    /// Only from this list
    #[arg(long, value_name = "NAME")]
    source: Option<GroupName>,
    /// Only those that speak this: ssh, postgres, mysql, kubernetes, web, vpn, cloud, other
    #[arg(long, value_name = "REACH")]
    reach: Option<Reach>,
    #[command(flatten)]
    shown: Shown,
}

/// A way.
#[derive(Debug, Args)]
pub struct Add {
    /// What it speaks: ssh, postgres, mysql, kubernetes, web, vpn, cloud, other
    #[arg(value_name = "REACH")]
    reach: Reach,
    /// What it leads to, as `db-1.internal:5432`
    #[arg(value_name = "TARGET")]
    target: String,
    /// The account there
    #[arg(long, value_name = "LOGIN")]
    account: Option<String>,
    /// Who can use it
    #[arg(long, value_name = "WHO")]
    holder: Option<String>,
    /// How its credentials come about: key, password, token, certificate, sso, gate, unknown
    #[arg(long, value_name = "HOW")]
    issuance: Option<Issuance>,
    /// Whether what is done over it is one person's: person, shared, unknown
    #[arg(long, value_name = "WHOSE")]
    attribution: Option<Attribution>,
    /// What else is worth knowing
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// Which findings.
#[derive(Debug, Args)]
pub struct Findings {
    /// Only in this state: open, accepted, mended
    #[arg(long, value_name = "STATE")]
    state: Option<FindingState>,
    /// Only on this resource
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<ResourceName>,
    #[command(flatten)]
    shown: Shown,
}

/// What may be accepted.
#[derive(Debug, Clone, Copy)]
pub enum Accepted {
    /// A way.
    Path(PathId),
    /// Something on a target.
    Finding(FindingId),
}

impl std::str::FromStr for Accepted {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(path) => Ok(Self::Path(path)),
            Err(_) => text.parse().map(Self::Finding).map_err(|_| format!("`{text}` is neither `pth_…` nor `fnd_…`")),
        }
    }
}

/// A moment, or the beginning of a day, UTC.
fn moment(text: &str) -> Result<Timestamp, String> {
    let day = || text.parse::<Date>().ok().and_then(|day| day.to_zoned(TimeZone::UTC).ok()).map(|zoned| zoned.timestamp());
    text.parse().ok().or_else(day).ok_or_else(|| format!("`{text}` is no day; write it like `2027-01-01`"))
}

impl InventoryCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        match self {
            Self::Import(args) => args.run(context, &client).await,
            Self::List(list) => {
                let query = WaysQuery { state: list.state, source: list.source, reach: list.reach, ..WaysQuery::default() };
                let reply = client.list::<KnownWay>("/inventory/paths", &query, list.shown.limit).await?;
                context.print(&reply, |output, page| {
                    output.table(&WAY, page.items.iter().map(way).collect(), "No ways are known like that.")?;
                    note_more(page.next_cursor.is_some());
                    Ok(())
                })
            }
            Self::Add(Add { reach, target, account, holder, issuance, attribution, note }) => {
                let new = NewWay { reach, target, account, holder, issuance, attribution, note };
                let reply: Reply<KnownWay> = client.post("/inventory/paths", &new).await?;
                context.print(&reply, |output, way| output.toned(format!("{} is entered: `{}`.", way.id, way.state), Tone::Good))
            }
            Self::Close { id, reason } => {
                let reply: Reply<KnownWay> = client.post(&format!("/inventory/paths/{id}/close"), &Closing { reason }).await?;
                context.print(&reply, |output, way| output.toned(format!("{} is closed.", way.id), Tone::Good))
            }
            Self::Accept { id: Accepted::Path(id), reason, until } => {
                if until.is_none() {
                    bail!("say until when the way is accepted, as in `--until 2027-01-01`");
                }
                let reply: Reply<KnownWay> = client.post(&format!("/inventory/paths/{id}/accept"), &Acceptance { reason, until }).await?;
                context.print(&reply, |output, way| {
                    output.toned(format!("{} is accepted until {}.", way.id, output.maybe_at(way.accepted_until)), Tone::Waiting)
                })
            }
            Self::Accept { id: Accepted::Finding(id), reason, until } => {
                let said = Acceptance { reason, until };
                let reply: Reply<DriftFinding> = client.post(&format!("/inventory/findings/{id}/accept"), &said).await?;
                context.print(&reply, |output, found| output.toned(format!("{} is accepted.", found.id), Tone::Waiting))
            }
            Self::Reopen { id } => {
                let reply: Reply<KnownWay> = client.post(&format!("/inventory/paths/{id}/reopen"), &serde_json::json!({})).await?;
                context.print(&reply, |output, way| output.line(format!("{} is open again.", way.id)))
            }
            Self::Backlog { weeks } => {
                let reply: Reply<Backlog> = client.get("/inventory/backlog", &BacklogQuery { weeks: Some(weeks) }).await?;
                context.print(&reply, backlog)
            }
            Self::Drift { resource: None } => {
                let reply: Reply<Looks> = client.get("/inventory/drift", &()).await?;
                context.print(&reply, |output, looks| {
                    let rows = looks.items.iter().map(|look| {
                        let state = if look.failed { Field::state("fail") } else { Field::state("ok") };
                        let (tried, seen) = (output.at(look.tried_at), output.maybe_at(look.seen_at));
                        vec![
                            look.resource.to_string().into(),
                            state,
                            look.findings.into(),
                            tried.into(),
                            seen.into(),
                            look.detail.clone().unwrap_or_default().into(),
                        ]
                    });
                    output.table(
                        &["resource", "look", "findings", "tried", "seen", "detail"],
                        rows.collect(),
                        "No target was looked at yet.",
                    )?;
                    note(match looks.every {
                        Some(every) => format!("Every target is looked at each {every}."),
                        None => "No target is looked at by itself; `drift.every` in the configuration says how often.".to_owned(),
                    });
                    Ok(())
                })
            }
            Self::Drift { resource: Some(resource) } => {
                let reply: Reply<Looked> = client.post("/inventory/drift", &NewLook { resource }).await?;
                context.print(&reply, |output, looked| {
                    output.table(
                        &FINDING,
                        looked.findings.iter().map(finding).collect(),
                        "Nothing is there that the gate did not put there.",
                    )?;
                    if let Some(detail) = &looked.look.detail {
                        note(detail);
                    }
                    note(format!("{} new, {} mended since the last look.", looked.new, looked.mended));
                    Ok(())
                })
            }
            Self::Findings(list) => {
                let query = FindingsQuery { state: list.state, resource: list.resource, ..FindingsQuery::default() };
                let reply = client.list::<DriftFinding>("/inventory/findings", &query, list.shown.limit).await?;
                context.print(&reply, |output, page| {
                    output.table(&FINDING, page.items.iter().map(finding).collect(), "No findings.")?;
                    note_more(page.next_cursor.is_some());
                    Ok(())
                })
            }
        }
    }
}

impl ImportArgs {
    async fn run(self, context: &Context, client: &Client) -> anyhow::Result<Exit> {
        let named = self.file.filter(|file| file.as_os_str() != "-");
        let mut bytes = Vec::new();
        match &named {
            Some(file) => {
                let open = tokio::fs::File::open(file).await.with_context(|| format!("cannot read `{}`", file.display()))?;
                open.take(LARGEST + 1).read_to_end(&mut bytes).await.with_context(|| format!("cannot read `{}`", file.display()))?;
            }
            None => {
                tokio::io::stdin().take(LARGEST + 1).read_to_end(&mut bytes).await.context("cannot read stdin")?;
            }
        }
        if bytes.len() as u64 > LARGEST {
            bail!("the list is larger than {} MiB; split it, and give each part a `--source` of its own", LARGEST / 1024 / 1024);
        }
        let content = String::from_utf8(bytes).context("the list is no UTF-8 text")?;
        let file = named.as_deref().and_then(|file| file.file_name()).map(|name| name.to_string_lossy().into_owned());
        let list = Import { kind: self.kind, content, source: self.source, on: self.on, account: self.account, of: self.of, file };
        let reply: Reply<Imported> = client.post("/inventory/import", &list).await?;
        context.print(&reply, |output, done| {
            for says in &done.notes {
                note(says);
            }
            if done.same {
                return output.line(format!("`{}` is what it was; nothing changed.", done.source));
            }
            output.toned(format!("`{}` names {} ways.", done.source, done.paths), Tone::Good)?;
            let counts = [
                ("new", done.found),
                ("changed", done.changed),
                ("back", done.back),
                ("gone", done.gone),
                ("taken in", done.taken_in),
                ("skipped", done.skipped),
            ];
            let counts: Vec<(&str, String)> = counts.into_iter().filter(|(_, n)| *n > 0).map(|(name, n)| (name, n.to_string())).collect();
            output.facts(&counts)
        })
    }
}

const WAY: [&str; 9] = ["path", "state", "reach", "leads to", "account", "who", "issued", "whose", "source"];

fn way(way: &KnownWay) -> Vec<Field> {
    let who = way.person.as_ref().map(ToString::to_string).or_else(|| way.holder.clone()).unwrap_or_default();
    let state = match (&way.resource, way.state) {
        (Some(resource), PathState::TakenIn) => Field::toned(format!("taken_in by {resource}"), Tone::Good),
        (_, state) => Field::state(state),
    };
    vec![
        way.id.into(),
        state,
        way.reach.into(),
        way.target.clone().unwrap_or_default().into(),
        way.account.clone().unwrap_or_default().into(),
        who.into(),
        way.issuance.into(),
        way.attribution.into(),
        way.source.to_string().into(),
    ]
}

const FINDING: [&str; 6] = ["finding", "state", "resource", "kind", "which", "what"];

fn finding(found: &DriftFinding) -> Vec<Field> {
    vec![
        found.id.into(),
        Field::state(found.state),
        found.resource.to_string().into(),
        found.kind.into(),
        found.subject.clone().unwrap_or_default().into(),
        found.detail.clone().unwrap_or_default().into(),
    ]
}

fn backlog(output: &Output, backlog: &Backlog) -> std::io::Result<()> {
    let row = |at: String, ways: &api::types::inventory::WayCounts| {
        vec![at.into(), ways.open.into(), ways.taken_in.into(), ways.accepted.into(), ways.closed.into(), ways.gone.into()]
    };
    let rows = backlog.weeks.iter().map(|week| row(output.at(week.at), &week.ways));
    output.table(&["at", "open", "taken in", "accepted", "closed", "gone"], rows.collect(), "No ways are known yet.")?;
    note(format!("{} lists; `tidegate inventory list --state open` shows the backlog.", backlog.sources.len()));
    Ok(())
}
