//! `tidegate session`: what is and was connected.

use std::io;
use std::path::{Path, PathBuf};

use access::ids::SessionId;
use access::names::{ResourceName, RoleName};
use access::session::{EndReason, Protocol, SessionState};
use anyhow::Context as _;
use api::types::grants::{Because, Cut};
use api::types::list::Page;
use api::types::sessions::{FoundSession, RecordingFormat, RecordingQuery, SearchQuery, Session, SessionsQuery};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use tokio::io::AsyncWriteExt as _;

use crate::client::lines::Lines;
use crate::client::{Client, Reply};
use crate::output::{Field, Output, note};

use super::exit::Exit;
use super::playing::{Pace, Playing, Screen};
use super::statements::Statements;
use super::{Context, Shown, grant, kept, note_more, user};

/// What to do with sessions.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// List sessions: your own, unless said otherwise
    List(List),
    /// Show a session
    Show {
        /// Which
        #[arg(value_name = "SESSION")]
        id: SessionId,
    },
    /// Look for sessions, by whose, where and when, and by what was done in them
    Search(Box<Search>),
    /// List the filters of searches that you keep, or forget some
    Kept(kept::Kept),
    /// Write what was run in a session of a database, with what came of it
    Statements(Statements),
    /// Watch a live session in this terminal
    Watch {
        /// Which
        #[arg(value_name = "SESSION")]
        id: SessionId,
    },
    /// Join the terminal of a live session: see it and type in it, by a grant of your own for the same resource and role
    Join(super::join::Join),
    /// Play a recording in this terminal, or save it
    Replay(Replay),
    /// End a session now
    Kill {
        /// Which
        #[arg(value_name = "SESSION")]
        id: SessionId,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// Which sessions.
#[derive(Debug, Args)]
pub struct List {
    /// Only those that live
    #[arg(long)]
    live: bool,
    /// All that you may see
    #[arg(long)]
    all: bool,
    /// Only to this resource
    #[arg(long, value_name = "NAME")]
    resource: Option<ResourceName>,
    #[command(flatten)]
    shown: Shown,
}

/// What to look for.
#[derive(Debug, Args)]
#[command(
    after_help = "Only sessions that you may see are found, and TEXT is looked for only in recordings that you may read; that leaves an \
                        entry in the audit log. It finds commands as they were given to ssh, paths of files that went by SFTP, and places of \
                        forwards. It does not find what was typed into a shell, nor what a terminal showed: watch those with `session replay`."
)]
pub struct Search {
    /// What was done: part of a command, a path or the place of a forward, in whatever case
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// A statement that was run at a database, or refused: part of its text, in whatever case
    #[arg(long, value_name = "TEXT", conflicts_with = "text")]
    sql: Option<String>,
    /// Whose: a user name or an id
    #[arg(long, value_name = "USER")]
    who: Option<String>,
    /// To this resource
    #[arg(long, value_name = "NAME")]
    resource: Option<ResourceName>,
    /// As this role
    #[arg(long, value_name = "NAME")]
    role: Option<RoleName>,
    /// Through this door
    #[arg(long, value_name = "PROTOCOL")]
    door: Option<Protocol>,
    /// That ended so: client, target, expired, revoked, locked, withdrawn, idle, recorder, killed, lease, node, error
    #[arg(long, value_name = "END")]
    end: Option<EndReason>,
    /// Only those that live
    #[arg(long, conflicts_with = "end")]
    live: bool,
    /// That began at this time or later
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// That began before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// On a grant that was asked for with this ticket
    #[arg(long, value_name = "ID")]
    ticket: Option<String>,
    /// With the filters that you keep under this name; what is given beside it stands in the place of theirs
    #[arg(long, value_name = "NAME")]
    kept: Option<String>,
    /// Keep these filters under this name, here and in the portal
    #[arg(long, value_name = "NAME")]
    keep: Option<String>,
    #[command(flatten)]
    shown: Shown,
}

/// Which recording.
#[derive(Debug, Args)]
pub struct Replay {
    /// Which
    #[arg(value_name = "SESSION")]
    id: SessionId,
    #[command(flatten)]
    pace: Pace,
    /// With what was typed; that takes a right of its own
    #[arg(long)]
    input: bool,
}

impl SessionCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        match self {
            Self::List(list) => list.run(context, &client).await,
            Self::Search(search) => search.run(context, &client).await,
            Self::Kept(kept) => kept.run(context, &client).await,
            Self::Statements(statements) => statements.run(context, &client).await,
            Self::Show { id } => {
                let reply: Reply<Session> = client.get(&format!("/sessions/{id}"), &()).await?;
                context.print(&reply, show)
            }
            Self::Watch { id } => watch(context, &client, id).await,
            Self::Join(join) => join.run(context, &client).await,
            Self::Replay(replay) => replay.run(context, &client).await,
            Self::Kill { id, reason } => {
                let reply: Reply<Cut> = client.post(&format!("/sessions/{id}/kill"), &Because { reason }).await?;
                context.print(&reply, |output, cut| {
                    output.line(format!("{id} is ended."))?;
                    grant::show_cut(output, cut)
                })
            }
        }
    }
}

impl List {
    async fn run(self, context: &Context, client: &Client) -> anyhow::Result<Exit> {
        let state = self.live.then_some(SessionState::Live);
        let query = SessionsQuery { all: self.all, state, resource: self.resource, ..SessionsQuery::default() };
        let reply = client.list::<Session>("/sessions", &query, self.shown.limit).await?;
        context.print(&reply, |output, page| {
            let rows = page.items.iter().map(|session| {
                vec![
                    session.id.into(),
                    Field::state(session.state),
                    format!("{}+{}", session.resource, session.role).into(),
                    session.person.to_string().into(),
                    output.at(session.opened_at).into(),
                    ended(output, session).into(),
                ]
            });
            output.table(&["session", "state", "for", "who", "opened", "ended"], rows.collect(), "No sessions.")?;
            note_more(page.next_cursor.is_some());
            Ok(())
        })
    }
}

impl Search {
    async fn run(self, context: &Context, client: &Client) -> anyhow::Result<Exit> {
        let person = match &self.who {
            Some(who) => Some(user::find(client, who).await?),
            None => None,
        };
        let kept = match &self.kept {
            Some(name) => kept::query(client, name).await?,
            None => SearchQuery::default(),
        };
        let sql = self.sql.is_some();
        let query = SearchQuery {
            person: person.or(kept.person),
            resource: self.resource.or(kept.resource),
            role: self.role.or(kept.role),
            protocol: self.door.or(kept.protocol),
            state: self.live.then_some(SessionState::Live).or(kept.state),
            end: self.end.or(kept.end),
            since: self.since.or(kept.since),
            until: self.until.or(kept.until),
            ticket: self.ticket.or(kept.ticket),
            text: self.text.or(self.sql).or(kept.text),
            limit: None,
            cursor: None,
        };
        let by_text = query.text.is_some();
        if let Some(name) = self.keep {
            kept::keep(client, name, &query).await?;
        }
        let mut reply = client.list::<FoundSession>("/sessions/search", &query, self.shown.limit).await?;
        if sql {
            only_statements(&mut reply);
        }
        context.print(&reply, |output, page| {
            let rows = page.items.iter().map(|FoundSession { session, passages, whole }| {
                let mut row: Vec<Field> = vec![
                    session.id.into(),
                    format!("{}+{}", session.resource, session.role).into(),
                    session.person.to_string().into(),
                    output.at(session.opened_at).into(),
                    ended(output, session).into(),
                ];
                if by_text {
                    let first = passages.first().map(|passage| act(&passage.activity));
                    let more = passages.len().saturating_sub(1);
                    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                    let unread = if *whole { "" } else { " (not looked through to its end)" };
                    row.push(format!("{}{more}{unread}", first.unwrap_or_default()).into());
                }
                row
            });
            let head = ["session", "for", "who", "opened", "ended", "done"];
            output.table(if by_text { &head } else { &head[..5] }, rows.collect(), "Nothing that you may see was found.")?;
            note_more(page.next_cursor.is_some());
            Ok(())
        })
    }
}

/// Leaves of what was found what was run at a database, or refused there.
fn only_statements(reply: &mut Reply<Page<FoundSession>>) {
    let is_one = |activity: &serde_json::Value| {
        activity.get("kind").and_then(serde_json::Value::as_str).is_some_and(|kind| matches!(kind, "sql.statement" | "sql.refused"))
    };
    for found in &mut reply.value.items {
        found.passages.retain(|passage| is_one(&passage.activity));
    }
    // One that could not be looked through may hold some.
    reply.value.items.retain(|found| !found.passages.is_empty() || !found.whole);
    if let Some(json) = reply.json.as_object_mut() {
        json.insert("items".to_owned(), serde_json::json!(reply.value.items));
    }
}

/// What was done, on one line: its kind and the texts that say what with.
fn act(activity: &serde_json::Value) -> String {
    let text = |name: &str| activity.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
    let words = ["kind", "act", "text", "command", "path", "to", "host", "what", "detail", "why", "line"].map(text);
    words.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" ")
}

fn ended(output: &Output, session: &Session) -> String {
    match (session.ended_at, session.end) {
        (Some(at), Some(end)) => format!("{end} {}", output.at(at)),
        (Some(at), None) => output.at(at),
        (None, _) if !session.alerts.is_empty() => format!("alerted {}", session.alerts.len()),
        (None, _) => String::new(),
    }
}

fn show(output: &Output, session: &Session) -> io::Result<()> {
    output.facts(&[
        ("session", session.id.to_string()),
        ("state", session.state.to_string()),
        ("who", session.person.to_string()),
        ("for", format!("{}+{}", session.resource, session.role)),
        ("protocol", session.protocol.to_string()),
        ("opened", output.at(session.opened_at)),
        ("ended", ended(output, session)),
        ("end seen at target", session.confirmed.map(|c| if c { "yes" } else { "no" }.to_owned()).unwrap_or_default()),
        ("bytes", format!("{} up, {} down", session.bytes_up, session.bytes_down)),
        ("steps onward", if session.steps > 0 { session.steps.to_string() } else { String::new() }),
        ("alerts", session.alerts.iter().map(|alert| format!("{} {}", output.at(alert.at), alert.says)).collect::<Vec<_>>().join(" ")),
        ("grant", session.grant.to_string()),
        ("node", session.node.clone()),
        ("recording", session.recording.to_string()),
        ("chunks", session.recording_chunks.map(|n| n.to_string()).unwrap_or_default()),
        ("digest", session.recording_digest.clone().unwrap_or_default()),
    ])
}

async fn watch(context: &Context, client: &Client, id: SessionId) -> anyhow::Result<Exit> {
    let path = format!("/sessions/{id}/watch");
    let mut events = client.events(&path, &()).await?;
    note(format!("Watching {id}; Ctrl-C stops watching, and the session goes on."));
    let mut screen = Screen::new(&context.output);
    let last_word = loop {
        let event = tokio::select! {
            event = events.next() => event?,
            _ = tokio::signal::ctrl_c() => break None,
        };
        let Some(event) = event else { break Some("The gate ended this view.") };
        match event.name.as_str() {
            "frame" => screen.show(&serde_json::from_str(&event.data).context("the gate sent a frame that is none")?)?,
            "lagged" => {
                note("This view could not keep up, so some of it is left out; the recording has all of it.");
                events = client.events(&path, &()).await?;
            }
            "ended" => break Some("The session is over."),
            "withdrawn" => break Some("You may no longer watch this session."),
            _ => {}
        }
    };
    screen.close()?;
    if let Some(text) = last_word {
        note(text);
    }
    Ok(Exit::Done)
}

impl Replay {
    async fn run(self, context: &Context, client: &Client) -> anyhow::Result<Exit> {
        let path = format!("/sessions/{}/recording", self.id);
        if let Some(file) = &self.pace.asciicast {
            let query = RecordingQuery { format: RecordingFormat::Asciicast, input: self.input, channel: self.pace.channel };
            let response = client.download(&path, &query).await?;
            return save(context, response, file).await;
        }
        let query = RecordingQuery { format: RecordingFormat::Frames, input: self.input, channel: None };
        let mut lines = Lines::new(client.download(&path, &query).await?);
        let mut playing = Playing::new(&context.output, &self.pace);
        while let Some(line) = lines.next().await? {
            if !playing.show(serde_json::from_slice(&line).context("the gate sent a frame that is none")?).await? {
                break;
            }
        }
        playing.close()
    }
}

/// Saves a body to a file, or prints it where the file is `-`.
pub(crate) async fn save(context: &Context, mut response: reqwest::Response, file: &Path) -> anyhow::Result<Exit> {
    if file == Path::new("-") {
        while let Some(piece) = response.chunk().await? {
            context.output.raw(&piece)?;
        }
        return Ok(Exit::Done);
    }
    let cannot = || format!("cannot write `{}`", file.display());
    let fresh = unfinished(file);
    let mut out =
        tokio::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh).await.with_context(cannot)?;
    let mut size = 0u64;
    while let Some(piece) = response.chunk().await? {
        size += piece.len() as u64;
        out.write_all(&piece).await.with_context(cannot)?;
    }
    out.sync_all().await.with_context(cannot)?;
    tokio::fs::rename(&fresh, file).await.with_context(cannot)?;
    written(context, file, size)
}

/// What a file is called until it is whole.
pub(crate) fn unfinished(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    file.with_file_name(name)
}

/// Says that a file is written.
pub(crate) fn written(context: &Context, file: &Path, bytes: u64) -> anyhow::Result<Exit> {
    if context.output.is_json() {
        context.output.json(&serde_json::json!({ "file": file, "bytes": bytes }))?;
    } else {
        note(format!("Written: {} ({bytes} bytes).", file.display()));
    }
    Ok(Exit::Done)
}
