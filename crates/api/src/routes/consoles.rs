//! `/consoles`: a terminal and a SQL prompt in the browser. Everything that is decided about them is decided by the doors they go through.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use access::ids::{PrincipalId, SessionId};
use access::names::Selector;
use access::reason::{Reason, Refusal};
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::stream::{self, Stream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::{Caller, Gate};

use crate::caller::Asks;
use crate::console::{Beforehand, Consoles, Guest, Hands, Held, SqlAsked, SqlDoor, SqlIo, SqlSaid, TerminalIo};
use crate::extract::{Body, Id};
use crate::problem::{Answer, Refused};
use crate::shares::Share;
use crate::stand::{LOOK_EVERY, Stands, stands};
use crate::state::{ApiState, Long};
use crate::types::consoles::{ConsoleEvent, ConsoleInput, ConsoleKind, NewConsole, NewStatement, SqlError};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(open)).routes(routes!(input)).routes(routes!(statement)).routes(routes!(stop))
}

/// What a terminal may show before its page has taken it, in pieces.
const PIECES: usize = 64;
/// What may wait to be typed, in pieces; the longest piece, in characters of base64; and how long one waits for its place.
const WAITING: usize = 4;
const LONGEST_INPUT: usize = 90_000;
/// How long a console goes on while the store does not say whether its sign-in still holds.
const UNSURE_FOR: Duration = Duration::from_secs(10);
const TAKEN_WITHIN: Duration = Duration::from_secs(10);
/// Rows of an answer if none are named, and at most.
const ROWS: (u32, u32) = (500, 5_000);

/// Opens a console: server-sent events until it ends. It ends when nobody reads them any more: one console is one tab.
#[utoipa::path(post, path = "/consoles", tag = "consoles", request_body = NewConsole, responses((status = 200, body = ConsoleEvent, content_type = "text/event-stream")))]
async fn open(
    State(state): State<ApiState>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Asks(caller): Asks,
    Body(new): Body<NewConsole>,
) -> Answer<impl IntoResponse> {
    let consoles = state.consoles.clone().ok_or_else(|| Refusal::because(Reason::NotFound, "this gate has no consoles"))?;
    let to = new.to.parse::<Selector>().map_err(|error| Refused::invalid(format!("`to`: {error}")))?;
    let share = state.long(caller.who.id(), Long::Stream)?;
    let guest = Guest { who: caller.who.clone(), from, to };
    let (hands, shows, over) = match new.kind {
        ConsoleKind::Terminal => terminal(consoles, guest, size(new.cols, new.rows)?, new.join),
        ConsoleKind::Sql | ConsoleKind::Mysql if new.join.is_some() => return Err(Refused::invalid("only a terminal joins a session")),
        ConsoleKind::Sql => sql(consoles, SqlDoor::Postgres, guest, Beforehand { database: new.database, reason: new.reason }),
        ConsoleKind::Mysql => sql(consoles, SqlDoor::Mysql, guest, Beforehand { database: new.database, reason: new.reason }),
    };
    let held = state.open_consoles.open(&caller, hands);
    let first = ConsoleEvent::Opened { id: held.id.clone() };
    let showing = Showing { gate: state.gate, caller, shows, over, first: Some(first), unsure: None, _held: held, _share: share };
    Ok(Sse::new(shown(showing)).keep_alive(KeepAlive::default()))
}

/// Types into a terminal, or says how large it is now. Pieces arrive in the order in which they were answered.
#[utoipa::path(post, path = "/consoles/{id}/input", tag = "consoles", params(("id" = String, Path)), request_body = ConsoleInput, responses((status = 204)))]
async fn input(
    State(state): State<ApiState>,
    Asks(caller): Asks,
    Id(id): Id<String>,
    Body(input): Body<ConsoleInput>,
) -> Answer<StatusCode> {
    let hands = state.open_consoles.of(&caller, &id)?;
    let Hands::Terminal { typed, size: sized } = &*hands else { return Err(Refused::invalid("a SQL prompt takes statements")) };
    if input.data.as_ref().is_some_and(|data| data.len() > LONGEST_INPUT) {
        return Err(Refused::invalid(format!("`data` has at most {LONGEST_INPUT} characters; send it in pieces")));
    }
    let bytes = input.data.map(|data| BASE64_STANDARD.decode(data)).transpose().map_err(|_| Refused::invalid("`data` is not base64"))?;
    if input.cols.is_some() || input.rows.is_some() {
        sized.send_replace(size(input.cols, input.rows)?);
    }
    if let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) {
        // One after the other, so that what waits for a program that reads nothing is one call.
        let full = || Refusal::because(Reason::TooMany, "the program there takes nothing just now");
        let typed = typed.try_lock().map_err(|_| full())?;
        match tokio::time::timeout(TAKEN_WITHIN, typed.send(Bytes::from(bytes))).await {
            Ok(sent) => sent.map_err(|_| Refused::not_found())?,
            Err(_) => return Err(full().into()),
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a SQL prompt a statement. What comes of it is an event of the console.
#[utoipa::path(post, path = "/consoles/{id}/statements", tag = "consoles", params(("id" = String, Path)), request_body = NewStatement, responses((status = 204)))]
async fn statement(
    State(state): State<ApiState>,
    Asks(caller): Asks,
    Id(id): Id<String>,
    Body(new): Body<NewStatement>,
) -> Answer<StatusCode> {
    let hands = state.open_consoles.of(&caller, &id)?;
    let Hands::Sql { asked, stop } = &*hands else { return Err(Refused::invalid("a terminal takes input")) };
    let (usual, most) = ROWS;
    let rows = new.rows.unwrap_or(usual);
    if !(1..=most).contains(&rows) {
        return Err(Refused::invalid(format!("`rows` is 1 to {most}")));
    }
    let stop = stop.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match asked.try_send(SqlAsked { text: new.text, rows, stop }) {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(mpsc::error::TrySendError::Full(_)) => Err(Refusal::because(Reason::TooMany, "another statement waits already").into()),
        Err(mpsc::error::TrySendError::Closed(_)) => Err(Refused::not_found()),
    }
}

/// Stops the statement that runs, and what waits behind it.
#[utoipa::path(post, path = "/consoles/{id}/stop", tag = "consoles", params(("id" = String, Path)), responses((status = 204)))]
async fn stop(State(state): State<ApiState>, Asks(caller): Asks, Id(id): Id<String>) -> Answer<StatusCode> {
    match &*state.open_consoles.of(&caller, &id)? {
        // What is sent from now on is not meant.
        Hands::Sql { stop, .. } => std::mem::take(&mut *stop.lock().unwrap_or_else(PoisonError::into_inner)).cancel(),
        Hands::Terminal { .. } => return Err(Refused::invalid("a terminal takes input")),
    }
    Ok(StatusCode::NO_CONTENT)
}

fn size(cols: Option<u32>, rows: Option<u32>) -> Result<(u32, u32), Refused> {
    let size = (cols.unwrap_or(80), rows.unwrap_or(24));
    if (2..=500).contains(&size.0) && (2..=300).contains(&size.1) {
        return Ok(size);
    }
    Err(Refused::invalid("a terminal has 2 to 500 columns and 2 to 300 rows"))
}

/// What a console shows next, and how it ended.
type Started = (Hands, mpsc::Receiver<ConsoleEvent>, oneshot::Receiver<ConsoleEvent>);

fn terminal(consoles: Arc<dyn Consoles>, guest: Guest, size: (u32, u32), join: Option<SessionId>) -> Started {
    let (typed, typing) = mpsc::channel(WAITING);
    let (size, sizes) = watch::channel(size);
    let (show, mut showing) = mpsc::channel::<Bytes>(PIECES);
    let (events, shows) = mpsc::channel(1);
    let (end, over) = oneshot::channel();
    tokio::spawn(async move {
        let io = TerminalIo { typed: typing, size: sizes, shown: show, join };
        let run = consoles.terminal(guest, io);
        // When nobody looks any more this is over, and its channel tells the terminal.
        let pass = async move {
            loop {
                let bytes = tokio::select! {
                    bytes = showing.recv() => bytes,
                    () = events.closed() => None,
                };
                let Some(bytes) = bytes else { return };
                let _ = events.send(ConsoleEvent::Output { data: BASE64_STANDARD.encode(bytes) }).await;
            }
        };
        let (ended, ()) = tokio::join!(run, pass);
        let ended = match ended {
            Ok(exit_status) => ConsoleEvent::Ended { exit_status, error: None },
            Err(refusal) => ConsoleEvent::Ended { exit_status: None, error: Some(of_refusal(&refusal)) },
        };
        let _ = end.send(ended);
    });
    (Hands::Terminal { typed: tokio::sync::Mutex::new(typed), size }, shows, over)
}

fn sql(consoles: Arc<dyn Consoles>, door: SqlDoor, guest: Guest, before: Beforehand) -> Started {
    let (asked, asking) = mpsc::channel(1);
    let (say, mut saying) = mpsc::channel(PIECES);
    let (events, shows) = mpsc::channel(1);
    let (end, over) = oneshot::channel();
    tokio::spawn(async move {
        let run = consoles.sql(door, guest, before, SqlIo { asked: asking, said: say });
        let pass = async move {
            loop {
                let said = tokio::select! {
                    said = saying.recv() => said,
                    () = events.closed() => None,
                };
                let event = match said {
                    Some(SqlSaid::Open) => ConsoleEvent::Ready,
                    Some(SqlSaid::Notice(text)) => ConsoleEvent::Notice { text },
                    Some(SqlSaid::Answer(answer)) => ConsoleEvent::Answer { answer: *answer },
                    None => return,
                };
                let _ = events.send(event).await;
            }
        };
        let (ended, ()) = tokio::join!(run, pass);
        let _ = end.send(ConsoleEvent::Ended { exit_status: None, error: ended.err() });
    });
    (Hands::Sql { asked, stop: Mutex::default() }, shows, over)
}

fn of_refusal(refusal: &Refusal) -> SqlError {
    SqlError {
        sqlstate: refusal.reason.sqlstate().to_owned(),
        message: refusal.reason.sentence().to_owned(),
        detail: refusal.detail.clone(),
        hint: Some(refusal.reason.hint().to_owned()),
        position: None,
    }
}

struct Showing {
    gate: Arc<Gate>,
    caller: Caller,
    shows: mpsc::Receiver<ConsoleEvent>,
    over: oneshot::Receiver<ConsoleEvent>,
    first: Option<ConsoleEvent>,
    /// Since when the store does not say whether they may go on.
    unsure: Option<Instant>,
    _held: Held,
    _share: Share<PrincipalId>,
}

fn shown(showing: Showing) -> impl Stream<Item = Result<Event, Infallible>> {
    let look = Instant::now() + LOOK_EVERY;
    stream::unfold(Some((showing, look)), |state| async move {
        let (mut showing, mut look) = state?;
        if let Some(first) = showing.first.take() {
            return Some((Ok(event_of(&first)), Some((showing, look))));
        }
        loop {
            let event = tokio::select! {
                biased;
                () = tokio::time::sleep_until(look) => {
                    look = Instant::now() + LOOK_EVERY;
                    // INVARIANT: a console ends with the sign-in it was opened with, also by time.
                    match stands(&showing.gate, &showing.caller).await {
                        Stands::Yes => showing.unsure = None,
                        Stands::No => return None,
                        // A session goes on while the store is away for a moment, at every door.
                        Stands::Unknown if showing.unsure.get_or_insert(look).elapsed() > UNSURE_FOR => return None,
                        Stands::Unknown => {}
                    }
                    continue;
                }
                event = showing.shows.recv() => event,
            };
            // All was shown: how it ended is last.
            return match event {
                Some(event) => Some((Ok(event_of(&event)), Some((showing, look)))),
                None => (&mut showing.over).await.ok().map(|ended| (Ok(event_of(&ended)), None)),
            };
        }
    })
}

fn event_of(event: &ConsoleEvent) -> Event {
    Event::default().event("console").data(serde_json::to_string(event).unwrap_or_default())
}
