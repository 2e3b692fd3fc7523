//! `/sessions/{id}/watch` and `/sessions/{id}/recording`: what passes, and what passed. Each is a right of its own.

use std::convert::Infallible;
use std::sync::Arc;

use access::event::Entry;
use access::ids::{PrincipalId, SessionId};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use evidence::recording::{LiveEvent, LiveView, RecordingReader, asciicast};
use futures::stream::{self, Stream};
use tokio::sync::{broadcast, mpsc};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::{Caller, Gate};

use crate::caller::Reads;
use crate::extract::{Asked, Id};
use crate::problem::Answer;
use crate::shares::Share;
use crate::stand::{LOOK_EVERY, Looks, shakes, still_signed_in, withdrawn};
use crate::state::{ApiState, Long};
use crate::types::events::Lagged;
use crate::types::schema;
use crate::types::sessions::{Frame, RecordingFormat, RecordingLine, RecordingQuery};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(watch)).routes(routes!(recording))
}

/// Watches a live session.
///
/// Server-sent events: `frame` with a `Frame`, `lagged` if some were missed (then nothing follows), `ended` at its end, and
/// `withdrawn` when the watcher may no longer watch.
#[utoipa::path(get, path = "/sessions/{id}/watch", tag = "sessions", params(("id" = schema::SessionId, Path)), responses((status = 200, body = Frame, content_type = "text/event-stream")))]
async fn watch(State(state): State<ApiState>, Reads(caller): Reads, Id(id): Id<SessionId>) -> Answer<impl IntoResponse> {
    let _share = state.long(caller.who.id(), Long::Stream)?;
    // What happens from here on is heard, so that nothing falls between the watcher's right and the first look at it.
    let news = state.gate.news();
    let (row, view) = state.gate.watch(&caller, id).await?;
    let frames = Watching { gate: state.gate, caller, session: row.id, view, news, over: false, _share };
    Ok(Sse::new(watched(frames)).keep_alive(KeepAlive::default()))
}

struct Watching {
    gate: Arc<Gate>,
    caller: Caller,
    session: SessionId,
    view: LiveView,
    news: broadcast::Receiver<Arc<Entry>>,
    over: bool,
    _share: Share<PrincipalId>,
}

impl Watching {
    /// A watcher holds their right all the time.
    async fn may_go_on(&self) -> bool {
        still_signed_in(&self.gate, &self.caller).await && self.gate.may_still_watch(&self.caller, self.session).await
    }
}

fn watched(watching: Watching) -> impl Stream<Item = Result<Event, Infallible>> {
    let first = tokio::time::Instant::now() + LOOK_EVERY;
    stream::unfold((watching, first), |(mut watching, mut look)| async move {
        if watching.over {
            return None;
        }
        loop {
            let event = tokio::select! {
                biased;
                () = tokio::time::sleep_until(look) => {
                    look = tokio::time::Instant::now() + LOOK_EVERY;
                    if watching.may_go_on().await {
                        continue;
                    }
                    watching.over = true;
                    Event::default().event("withdrawn").data("{}")
                }
                news = watching.news.recv() => {
                    // Who missed some looks as well.
                    if news.is_ok_and(|entry| !shakes(&entry.event)) || watching.may_go_on().await {
                        continue;
                    }
                    watching.over = true;
                    Event::default().event("withdrawn").data("{}")
                }
                event = watching.view.next() => match event {
                    Some(LiveEvent::Frame(frame)) => json_event("frame", &Frame::from(&frame)),
                    Some(LiveEvent::FellBehind(missed)) => {
                        watching.over = true;
                        json_event("lagged", &Lagged { missed })
                    }
                    None => {
                        watching.over = true;
                        Event::default().event("ended").data("{}")
                    }
                },
            };
            return Some((Ok(event), (watching, look)));
        }
    })
}

fn json_event(name: &str, data: &impl serde::Serialize) -> Event {
    Event::default().event(name).data(serde_json::to_string(data).unwrap_or_else(|_| "{}".to_owned()))
}

/// Reads a recording: one JSON object per line, or asciicast.
#[utoipa::path(get, path = "/sessions/{id}/recording", tag = "sessions", params(("id" = schema::SessionId, Path), RecordingQuery), responses(
    (status = 200, content((RecordingLine = "application/x-ndjson"), (String = "application/x-asciicast"))),
))]
async fn recording(
    State(state): State<ApiState>,
    Reads(caller): Reads,
    Id(id): Id<SessionId>,
    Asked(query): Asked<RecordingQuery>,
) -> Answer<Response> {
    let share = state.long(caller.who.id(), Long::Stream)?;
    let looks = Looks::from_now(&state.gate);
    let (_, reader) = state.gate.read_recording(&caller, id, query.input).await?;
    let kind = match query.format {
        RecordingFormat::Frames => "application/x-ndjson",
        RecordingFormat::Asciicast => "application/x-asciicast",
    };
    let reading = Reading { gate: state.gate, caller, session: id, input: query.input, looks, over: false };
    let mut response = Body::from_stream(read(reader, query, share, reading)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

/// Somebody who reads a recording.
struct Reading {
    gate: Arc<Gate>,
    caller: Caller,
    session: SessionId,
    input: bool,
    looks: Looks,
    over: bool,
}

impl Reading {
    /// A reader holds their right all the time.
    async fn may_go_on(&self) -> bool {
        let Self { gate, caller, session, input, .. } = self;
        still_signed_in(gate, caller).await && gate.may_still_read(caller, *session, *input).await
    }
}

/// Reads on a thread of its own, as fast as the client takes it, for as long as they may read it.
fn read(
    mut reader: RecordingReader<std::fs::File>,
    query: RecordingQuery,
    share: Share<PrincipalId>,
    reading: Reading,
) -> impl Stream<Item = std::io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(8);
    tokio::task::spawn_blocking(move || {
        let _share = share;
        let mut out = std::io::BufWriter::with_capacity(64 * 1024, Pieces(sender.clone()));
        let done = match query.format {
            RecordingFormat::Frames => lines(&mut reader, &mut out),
            RecordingFormat::Asciicast => {
                asciicast::export(&mut reader, query.channel.unwrap_or(0), query.input, &mut out).map_err(std::io::Error::other)
            }
        };
        if let Err(error) = done.and_then(|()| std::io::Write::flush(&mut out)) {
            // The stream breaks off, so that nobody takes a part for the whole.
            let _gone = sender.blocking_send(Err(error));
        }
    });
    stream::unfold((receiver, reading), |(mut receiver, mut reading)| async move {
        if reading.over {
            return None;
        }
        let mut piece = receiver.recv().await?;
        if reading.looks.are_due() && !reading.may_go_on().await {
            reading.over = true;
            piece = Err(withdrawn());
        }
        Some((piece, (receiver, reading)))
    })
}

fn lines(reader: &mut RecordingReader<std::fs::File>, out: &mut impl std::io::Write) -> std::io::Result<()> {
    for frame in reader {
        serde_json::to_writer(&mut *out, &RecordingLine::from(frame))?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

struct Pieces(mpsc::Sender<std::io::Result<Bytes>>);

impl std::io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| std::io::Error::other("the reader hung up"))
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
