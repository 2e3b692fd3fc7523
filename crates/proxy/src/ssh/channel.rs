//! One session channel of a client: gathers what it asks for, goes through the door, starts it at the target, relays it.

use std::sync::Arc;
use std::time::Duration;

use access::limits::Limits;
use access::reason::Refusal;
use access::rights::{Rights, SshRights};
use access::session::EndReason;
use bytes::Bytes;
use russh::{Channel, ChannelMsg, Pty, server};
use serde_json::json;
use tokio::time::timeout;

use super::ask::{self, Left};
use super::backlog::Backlog;
use super::lane::Lane;
use super::live::Live;
use super::relay::{self, ClientSide, Ended, TargetSide};
use super::rights::Start;
use super::session::{Place, Visit};
use super::text;
use super::{extend, join};

/// Environment variables of one channel, at most.
const VARIABLES: usize = 64;
/// Bytes of their names and values, at most.
const VARIABLE_BYTES: usize = 64 * 1024;
/// How long each side may take to be told that it is over.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a client waits at most to be told why it was cut, while targets are told to stop.
const TARGETS_FIRST: Duration = Duration::from_millis(400);

/// Whether a variable speaks to the gate and goes no further.
pub(crate) fn is_for_the_gate(name: &str) -> bool {
    name.starts_with("TIDEGATE_")
}

/// The variables that were sent for one channel; what is beyond the limits is not kept.
#[derive(Debug, Default)]
pub(crate) struct Variables {
    count: usize,
    bytes: usize,
}

impl Variables {
    /// Whether one more may be kept: within the limits, and by a name that names nothing else to whoever reads `NAME=value`.
    pub(crate) fn take(&mut self, name: &str, value: &str) -> bool {
        let named = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !value.contains('\0');
        let bytes = self.bytes.saturating_add(name.len()).saturating_add(value.len());
        let kept = named && self.count < VARIABLES && bytes <= VARIABLE_BYTES;
        if kept {
            (self.count, self.bytes) = (self.count + 1, bytes);
        }
        kept
    }
}

/// A terminal as the client describes it.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    name: String,
    columns: u32,
    rows: u32,
    pixels: (u32, u32),
    modes: Vec<(Pty, u32)>,
}

/// What a client asked for on a channel before it started something.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) terminal: Option<Terminal>,
    env: Vec<(String, String)>,
    variables: Variables,
    agent: bool,
    /// What the client renounces.
    pub(crate) limits: Limits,
    /// How long a question in the terminal may stay unanswered.
    pub(crate) answers: Duration,
    /// What arrived while nothing ran yet.
    early: Backlog,
}

impl Wishes {
    /// Keeps what the client sent early; `None` if it is too much.
    pub(crate) fn keep(&mut self, message: ChannelMsg) -> Option<()> {
        self.early.push(message).ok()
    }

    /// The first of what was kept.
    pub(crate) fn kept(&mut self) -> Option<ChannelMsg> {
        self.early.pop()
    }

    /// What the client told the gate in a variable.
    pub(crate) fn told(&self, name: &str) -> Option<&str> {
        self.env.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn resize(&mut self, columns: u32, rows: u32, pixels: (u32, u32)) {
        if let Some(terminal) = &mut self.terminal {
            (terminal.columns, terminal.rows, terminal.pixels) = (columns, rows, pixels);
        }
    }
}

/// Serves one channel from its opening to its end.
pub(crate) async fn serve(visit: Arc<Visit>, channel: Channel<server::Msg>, place: Place) {
    let _place = place;
    let (rx, tx) = channel.split();
    let mut client = ClientSide { rx, tx };
    let mut wishes = Wishes { answers: visit.door.limits.answers, ..Wishes::default() };
    let patience = visit.door.limits.grace;
    let start = match timeout(patience, gather(&mut client, &mut wishes)).await {
        Ok(Some(start)) => start,
        Ok(None) => {
            let _ = client.tx.close().await;
            return;
        }
        Err(_) => {
            let line = format!("Nothing was started on this channel for {} s.", patience.as_secs());
            return leave(&client, wishes.terminal.is_some(), &line, 255).await;
        }
    };
    if let Start::Subsystem(name) = &start
        && let Some(more) = extend::asked(name)
    {
        return extend::serve(&visit, client, wishes, more).await;
    }
    if let Start::Subsystem(name) = &start
        && let Some(which) = join::asked(name)
    {
        return join::serve(&visit, client, wishes, which).await;
    }
    match ask::renounced(&wishes, &start) {
        Ok(limits) => wishes.limits = limits,
        Err(refusal) => return refuse(&client, wishes.terminal.is_some(), &refusal).await,
    }
    match ask::enter(&visit, &mut client, &mut wishes).await {
        Ok(live) => run(&visit, &live, client, wishes, start).await,
        Err(Left::Refused(refusal)) => refuse(&client, wishes.terminal.is_some(), &refusal).await,
        Err(Left::Waiting(line)) => leave(&client, wishes.terminal.is_some(), &line, access::reason::Reason::Pending.ssh_exit()).await,
        Err(Left::Gone) => {
            let _ = client.tx.close().await;
        }
    }
}

/// Reads requests until something is to be started; `None` if the client leaves before.
async fn gather(client: &mut ClientSide, wishes: &mut Wishes) -> Option<Start> {
    loop {
        match client.rx.wait().await? {
            ChannelMsg::RequestPty { term, col_width, row_height, pix_width, pix_height, terminal_modes, .. } => {
                wishes.terminal = Some(Terminal {
                    name: term,
                    columns: col_width,
                    rows: row_height,
                    pixels: (pix_width, pix_height),
                    modes: terminal_modes,
                });
            }
            ChannelMsg::SetEnv { variable_name, variable_value, .. } if wishes.variables.take(&variable_name, &variable_value) => {
                wishes.env.push((variable_name, variable_value));
            }
            ChannelMsg::AgentForward { .. } => wishes.agent = true,
            ChannelMsg::WindowChange { col_width, row_height, pix_width, pix_height } => {
                wishes.resize(col_width, row_height, (pix_width, pix_height));
            }
            ChannelMsg::RequestShell { .. } => return Some(Start::Shell),
            ChannelMsg::Exec { command, .. } => return Some(Start::Exec(command)),
            ChannelMsg::RequestSubsystem { name, .. } => return Some(Start::Subsystem(name)),
            message @ (ChannelMsg::Data { .. } | ChannelMsg::Eof) => wishes.keep(message)?,
            ChannelMsg::Close => return None,
            _ => {}
        }
    }
}

/// Starts what was asked for at the target, relays it, and closes.
async fn run(visit: &Arc<Visit>, live: &Arc<Live>, mut client: ClientSide, mut wishes: Wishes, start: Start) {
    // What this channel renounces is renounced, also where the session stands open for more.
    let rights = wishes.limits.narrow(Rights::Ssh(live.rights.clone()));
    let Rights::Ssh(rights) = &rights else { return };
    if let Err(refusal) = start.allowed_by(rights, &live.facts) {
        visit.report_refused(start.what(), start.detail()).await;
        return refuse(&client, wishes.terminal.is_some(), &refusal).await;
    }
    let terminal = match wishes.terminal.take() {
        Some(terminal) if rights.pty => Some(terminal),
        Some(_) => {
            visit.report_refused("pty", String::new()).await;
            None
        }
        None => None,
    };
    let lane = Lane::new(visit.number(), start.cargo(rights, terminal.is_some()), live, visit.client.clone());
    let env = sift(visit, rights, std::mem::take(&mut wishes.env)).await;
    let agent = wishes.agent && rights.agent_forward;
    if wishes.agent && !agent {
        visit.report_refused("agent_forward", String::new()).await;
    }
    let activity = json!({
        "kind": start.act(),
        "command": start.whole(),
        "terminal": terminal.as_ref().map(|t| json!({"name": text::inert(&t.name, 64), "columns": t.columns, "rows": t.rows})),
        "env": env.iter().map(|(n, v)| (text::inert(n, 128), text::inert(v, 1024))).collect::<std::collections::BTreeMap<_, _>>(),
        "agent": agent,
    });
    let sized = match &terminal {
        Some(t) => lane.resized(live, t.columns, t.rows).await.is_ok(),
        None => true,
    };
    if !sized || live.note(lane.number, activity).await.is_err() {
        return say_cut(live, &lane, &client, EndReason::Recorder).await;
    }
    let mut notices = live.notices();
    // From here on it may run there, whether the answer comes or a cut before it.
    live.started();
    let opening = open(visit, live, &start, terminal.as_ref(), &env, agent);
    let opened = tokio::select! {
        biased;
        end = relay::until_cut(&mut notices) => return say_cut(live, &lane, &client, end).await,
        opened = relay::while_reading(&mut client.rx, &mut wishes.early, opening) => opened,
    };
    let mut target = match opened.unwrap_or_else(|much| Err(NotOpened::Unknown(much.to_string()))) {
        Ok(target) => target,
        Err(not) => {
            // INVARIANT: what may run there counts as running, however little was heard of it.
            let why = match not {
                NotOpened::Refused(why) => {
                    live.not_started();
                    why
                }
                NotOpened::Unknown(why) => why,
            };
            let _ = live.note(lane.number, json!({"kind": "target.refused", "why": why})).await;
            return leave(&client, lane.is_terminal(), &format!("The target refused: {why}."), 255).await;
        }
    };
    lane.set_stage(live, &target.tx);
    let ended = relay::relay(live, &lane, &mut client, &mut target, wishes.early).await;
    finish(live, &lane, client, target, ended).await;
}

/// Closes a relayed channel on both sides.
pub(crate) async fn finish(live: &Live, lane: &Lane, client: ClientSide, mut target: TargetSide, ended: Ended) {
    if !matches!(ended, Ended::Cut(_)) {
        // Before the client hears it, who may then end the session: those who joined are told of the terminal.
        lane.close_stage();
    }
    match ended {
        Ended::Client => {
            let _ = target.tx.close().await;
            let _ = lane.closed(live).await;
        }
        Ended::Target => {
            let _ = lane.closed(live).await;
            let _ = client.tx.close().await;
        }
        // The client left: the target learns it as it would from a client of its own.
        Ended::Cut(EndReason::Client) => {
            let _ = lane.closed(live).await;
            let _ = timeout(FAREWELL, target.tx.close()).await;
        }
        Ended::Cut(end) => {
            let turns = live.target.turns();
            let stopped = timeout(FAREWELL, relay::stop(live, lane, &mut target, turns.stopping()));
            // The targets first, of all that are cut at the same moment: clients can do nothing any more.
            let told = async {
                turns.signals_first(TARGETS_FIRST).await;
                let _ = timeout(FAREWELL, say_cut(live, lane, &client, end)).await;
            };
            let _ = tokio::join!(stopped, told);
            let _ = lane.closed(live).await;
        }
    }
}

/// Tells the client why it was cut, and exits for it.
async fn say_cut(live: &Live, lane: &Lane, client: &ClientSide, end: EndReason) {
    let _ = relay::say(live, lane, &client.tx, live.farewell(end)).await;
    if lane.has_error_stream() && end.is_cut() {
        let _ = client.tx.exit_status(76).await;
    }
    let _ = client.tx.eof().await;
    let _ = client.tx.close().await;
}

/// Keeps the variables that may reach the target; reports the others.
async fn sift(visit: &Visit, rights: &SshRights, env: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut kept = Vec::new();
    for (name, value) in env {
        if is_for_the_gate(&name) {
            continue;
        }
        if rights.allows_env(&name) {
            kept.push((name, value));
        } else {
            visit.report_refused("env", text::inert(&name, 256)).await;
        }
    }
    kept
}

/// Why a channel was not opened at the target.
enum NotOpened {
    /// The target said so: nothing runs on it.
    Refused(String),
    /// Nothing was heard after it was asked: it may run there.
    Unknown(String),
}

/// Opens a channel at the target and starts something on it. All requests go out before the first answer is awaited.
async fn open(
    visit: &Visit,
    live: &Live,
    start: &Start,
    terminal: Option<&Terminal>,
    env: &[(String, String)],
    agent: bool,
) -> Result<TargetSide, NotOpened> {
    let gone = |e: russh::Error| NotOpened::Unknown(e.to_string());
    // Where no channel was opened nothing was started on it.
    let channel = live.target.handle().channel_open_session().await.map_err(|e| NotOpened::Refused(e.to_string()))?;
    let (mut rx, tx) = channel.split();
    let mut answers = 0;
    if agent {
        visit.forwards.allow_agent();
        tx.agent_forward(false).await.map_err(gone)?;
    }
    if let Some(t) = terminal {
        tx.request_pty(true, &t.name, t.columns, t.rows, t.pixels.0, t.pixels.1, &t.modes).await.map_err(gone)?;
        answers += 1;
    }
    for (name, value) in env {
        tx.set_env(false, name.as_str(), value.as_str()).await.map_err(gone)?;
    }
    match start {
        Start::Shell => tx.request_shell(true).await,
        Start::Exec(command) => tx.exec(true, command.as_slice()).await,
        Start::Subsystem(name) => tx.request_subsystem(true, name.as_str()).await,
    }
    .map_err(gone)?;
    answers += 1;
    let mut early = Backlog::default();
    // The last answer is the start's own; a terminal that was refused is not fatal.
    while let Some(message) = rx.wait().await {
        match message {
            ChannelMsg::Success => answers -= 1,
            ChannelMsg::Failure if answers == 1 => return Err(NotOpened::Refused(format!("it does not start this {}", start.what()))),
            ChannelMsg::Failure => answers -= 1,
            ChannelMsg::Close => return Err(NotOpened::Refused("it closed the channel".to_owned())),
            message => early.push(message).map_err(|much| NotOpened::Unknown(much.to_string()))?,
        }
        if answers == 0 {
            return Ok(TargetSide { rx, tx: Arc::new(tx), early });
        }
    }
    Err(NotOpened::Unknown("it closed the connection".to_owned()))
}

/// Says no, with the exit status that belongs to the reason.
pub(crate) async fn refuse(client: &ClientSide, has_terminal: bool, refusal: &Refusal) {
    leave(client, has_terminal, &refusal.to_string(), refusal.reason.ssh_exit()).await;
}

/// One line to the client, an exit status, and the channel is closed. Bounded, since a client may not read.
pub(crate) async fn leave(client: &ClientSide, has_terminal: bool, line: &str, status: u32) {
    let line = text::inert(line, 2048);
    let _ = timeout(Duration::from_secs(5), async {
        if has_terminal {
            let _ = client.tx.data_bytes(Bytes::from(format!("tidegate: {line}\r\n"))).await;
        } else {
            let _ = client.tx.extended_data_bytes(1, Bytes::from(format!("tidegate: {line}\n"))).await;
        }
        let _ = client.tx.exit_status(status).await;
        let _ = client.tx.eof().await;
        let _ = client.tx.close().await;
    })
    .await;
}
