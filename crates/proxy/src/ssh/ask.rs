//! Asking where one connects: the way in for a channel, with a terminal or without.
//!
//! With a terminal the person is told what is missing, gives the reason there, sees who was asked and who answered, and goes through
//! the moment it is approved. Without one it takes one line and an exit status, unless the client sent `TIDEGATE_WAIT=1`.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use access::limits::Limits;
use access::reason::{Reason, Refusal};
use access::request::{Asked, RequestState};
use bytes::Bytes;
use russh::ChannelMsg;
use tokio::time::{Instant, timeout_at};

use super::channel::Wishes;
use super::door::WINDOW;
use super::line::{Editor, Typed};
use super::live::Live;
use super::relay::ClientSide;
use super::rights::Start;
use super::session::{Step, Visit};
use super::text;
use crate::gatekeeper::{Answer, News, Prove, Question, Waiting};

/// Why a channel did not get in.
pub(crate) enum Left {
    /// Refused.
    Refused(Refusal),
    /// The request stands and the client does not wait; what to tell it.
    Waiting(String),
    /// The client closed the channel.
    Gone,
}

impl From<Refusal> for Left {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// After how long somebody at a terminal is told that it takes long.
const SLOW: Duration = Duration::from_secs(3);
const CONTROL_C: u8 = 3;

/// How wide a terminal is taken to be.
const WIDTH: usize = 79;

/// What one types, in place of a reason, to declare an emergency.
const BREAK_GLASS: &str = "break glass";

/// Goes through the door: knocks, asks if it must, waits if it may.
pub(crate) async fn enter(visit: &Arc<Visit>, client: &mut ClientSide, wishes: &mut Wishes) -> Result<Arc<Live>, Left> {
    if let Some(live) = visit.live() {
        return Ok(live.clone());
    }
    // One channel knocks for all of the connection.
    let _entering = meanwhile(visit, client, wishes, visit.entering.lock()).await?;
    let sent = sent_along(wishes)?;
    let mut answer = emergency(wishes)?;
    let mut asked = false;
    loop {
        let emergency = answer.as_ref().is_some_and(|answer| answer.break_glass);
        let limits = wishes.limits.clone();
        let given = answer.clone();
        let step = visit.step(&limits, &sent, answer.take());
        match meanwhile(visit, client, wishes, step).await? {
            Step::In(live) => {
                if emergency {
                    show_to(client, wishes.terminal.is_some(), "Emergency access: all of it is recorded, and reviewed afterwards.").await;
                }
                if asked && wishes.terminal.is_some() {
                    show(client, &format!("Opening {}.", visit.knock.to)).await;
                }
                return Ok(live);
            }
            Step::Ask(question) => {
                asked = true;
                answer = Some(if wishes.terminal.is_some() { ask(client, wishes, &question).await? } else { told(wishes, &question)? });
            }
            Step::Waiting(waiting) => {
                asked = true;
                wait(client, wishes, waiting).await?;
            }
            Step::Prove(prove) => {
                asked = true;
                wait_for_proof(client, wishes, prove).await?;
                // What they had answered stands.
                answer = given;
            }
            Step::Refused(refusal) => return Err(refusal.into()),
        }
    }
}

/// Goes on hearing the client while something takes its time: it may leave, and what it types is kept for whatever asks for it.
///
/// What was under way goes on if other channels of the connection wait for it; if the client leaves altogether, it is given up.
async fn meanwhile<T>(visit: &Visit, client: &mut ClientSide, wishes: &mut Wishes, work: impl Future<Output = T>) -> Result<T, Left> {
    let has_terminal = wishes.terminal.is_some();
    let mut work = std::pin::pin!(work);
    let mut slow = std::pin::pin!(tokio::time::sleep(SLOW));
    let mut told = !has_terminal;
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            message = client.rx.wait() => match message {
                Some(ChannelMsg::Close) | None => return Err(Left::Gone),
                Some(ChannelMsg::WindowChange { col_width, row_height, pix_width, pix_height }) => {
                    wishes.resize(col_width, row_height, (pix_width, pix_height));
                }
                Some(ChannelMsg::Data { data }) if has_terminal && data.contains(&CONTROL_C) => {
                    write(client, "\r\n").await;
                    return Err(Left::Refused(Refusal::because(Reason::Cancelled, "you left before it opened")));
                }
                Some(message) => {
                    if wishes.keep(message).is_none() {
                        return Err(Left::Gone);
                    }
                }
            },
            () = &mut slow, if !told => {
                told = true;
                show(client, &format!("{} takes its time. Stay, or leave with Ctrl-C.", visit.knock.to)).await;
            }
        }
    }
}

/// What the client renounces by `TIDEGATE_LIMIT`: `command` for all but the command it runs here, `read-only` for all but reading files.
pub(crate) fn renounced(wishes: &Wishes, start: &Start) -> Result<Limits, Refusal> {
    let invalid = |why: &str| Refusal::because(Reason::Invalid, format!("TIDEGATE_LIMIT: {why}"));
    let command = match start {
        Start::Exec(command) => std::str::from_utf8(command).ok(),
        Start::Shell | Start::Subsystem(_) => None,
    };
    match wishes.told("TIDEGATE_LIMIT").map(str::trim).filter(|text| !text.is_empty()) {
        None => Ok(Limits::default()),
        Some("read-only") => Ok(Limits { read_only: true, ..Limits::default() }),
        Some("command") => match command {
            Some(command) => Ok(Limits { command: Some(command.to_owned()), ..Limits::default() }),
            None => Err(invalid("`command` limits to the command that you give `ssh`, and there is none here")),
        },
        Some(_) => Err(invalid("it is `command` or `read-only`")),
    }
}

/// The emergency that a client declared by `TIDEGATE_BREAK_GLASS`.
fn emergency(wishes: &Wishes) -> Result<Option<Answer>, Left> {
    let Some(reason) = wishes.told("TIDEGATE_BREAK_GLASS").map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    Ok(Some(Answer { reason: Some(reason.to_owned()), break_glass: true, ..sent_along(wishes)? }))
}

/// The answer of a client without a terminal: what it sent along.
fn told(wishes: &Wishes, question: &Question) -> Result<Answer, Left> {
    let answer = sent_along(wishes)?;
    if question.refused.is_some() {
        // Asked all the same, so that the refusal is the gate's own.
        return Ok(answer);
    }
    if question.reason && answer.reason.is_none() {
        return Err(Refusal::because(Reason::ReasonRequired, in_one_line(&question.missing)).into());
    }
    if question.ticket && answer.ticket.is_none() {
        return Err(Refusal::because(Reason::TicketRequired, in_one_line(&question.missing)).into());
    }
    Ok(answer)
}

fn in_one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

/// What the client sent in `TIDEGATE_REASON`, `TIDEGATE_TICKET` and `TIDEGATE_FOR`.
fn sent_along(wishes: &Wishes) -> Result<Answer, Left> {
    let some = |name| wishes.told(name).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let asked = match some("TIDEGATE_FOR") {
        Some(span) => span.parse::<Asked>().map_err(|e| Refusal::because(Reason::Invalid, format!("TIDEGATE_FOR: {e}")))?,
        None => Asked::Default,
    };
    Ok(Answer { reason: some("TIDEGATE_REASON"), asked, ticket: some("TIDEGATE_TICKET"), break_glass: false })
}

/// Asks in the terminal for what was not sent along.
async fn ask(client: &mut ClientSide, wishes: &mut Wishes, question: &Question) -> Result<Answer, Left> {
    for line in question.missing.lines().chain(question.emergency.iter().flat_map(|text| text.lines())) {
        for line in text::folded(line, WIDTH) {
            show(client, &line).await;
        }
    }
    let mut answer = sent_along(wishes)?;
    if question.refused.is_some() {
        return only_emergency(client, wishes, answer).await;
    }
    let declares = |line: &str| question.emergency.is_some() && line.eq_ignore_ascii_case(BREAK_GLASS);
    if question.ticket && answer.ticket.is_none() {
        let line = question_line(client, wishes, "Ticket: ").await?;
        if declares(&line) {
            return declare(client, wishes, answer).await;
        }
        answer.ticket = Some(line);
    }
    if answer.reason.is_none() {
        let line = question_line(client, wishes, "Reason: ").await?;
        if declares(&line) {
            return declare(client, wishes, answer).await;
        }
        answer.reason = Some(line);
    }
    if answer.asked == Asked::Default && !question.times.is_empty() {
        let prompt = format!("For how long ({}): ", text::inert(&question.times, 80));
        loop {
            let typed = optional_line(client, wishes, &prompt).await?;
            match typed.parse::<Asked>() {
                _ if typed.is_empty() => break,
                Ok(asked) => {
                    answer.asked = asked;
                    break;
                }
                Err(error) => show(client, &error.to_string()).await,
            }
        }
    }
    Ok(answer)
}

/// There is no other way in than an emergency: it is declared in so many words, or not at all.
async fn only_emergency(client: &mut ClientSide, wishes: &mut Wishes, answer: Answer) -> Result<Answer, Left> {
    loop {
        let line = question_line(client, wishes, "`break glass`, or Ctrl-C to leave: ").await?;
        if line.eq_ignore_ascii_case(BREAK_GLASS) {
            return declare(client, wishes, answer).await;
        }
    }
}

async fn declare(client: &mut ClientSide, wishes: &mut Wishes, answer: Answer) -> Result<Answer, Left> {
    let reason = question_line(client, wishes, "What is the emergency: ").await?;
    Ok(Answer { reason: Some(reason), break_glass: true, ..answer })
}

/// A line that has to be given.
pub(crate) async fn question_line(client: &mut ClientSide, wishes: &mut Wishes, prompt: &str) -> Result<String, Left> {
    loop {
        let line = optional_line(client, wishes, prompt).await?;
        if !line.is_empty() {
            return Ok(line);
        }
    }
}

async fn optional_line(client: &mut ClientSide, wishes: &mut Wishes, prompt: &str) -> Result<String, Left> {
    write(client, prompt).await;
    let mut editor = Editor::default();
    let until = Instant::now() + wishes.answers;
    loop {
        let Ok(bytes) = timeout_at(until, typed(client, wishes)).await else {
            write(client, "\r\n").await;
            return Err(Left::Refused(Refusal::because(Reason::Cancelled, "nobody answered the question here; nothing was asked for")));
        };
        let bytes = bytes?;
        let (echo, typed) = editor.feed(&bytes);
        write(client, &echo).await;
        match typed {
            Typed::More => {}
            Typed::Line(line) => return Ok(line.trim().to_owned()),
            Typed::Leave => {
                write(client, "\r\n").await;
                return Err(Left::Refused(Refusal::because(Reason::Cancelled, "nothing was asked for")));
            }
        }
    }
}

/// The next bytes from the keyboard.
async fn typed(client: &mut ClientSide, wishes: &mut Wishes) -> Result<Bytes, Left> {
    loop {
        // What was typed while nobody asked comes first.
        let message = match wishes.kept() {
            Some(message) => Some(message),
            None => client.rx.wait().await,
        };
        match message {
            Some(ChannelMsg::Data { data }) => {
                let _ = client.tx.grant_window(u32::try_from(data.len()).unwrap_or(WINDOW)).await;
                return Ok(data);
            }
            Some(ChannelMsg::WindowChange { col_width, row_height, pix_width, pix_height }) => {
                wishes.resize(col_width, row_height, (pix_width, pix_height));
            }
            Some(ChannelMsg::Eof) => return Ok(Bytes::from_static(&[4])),
            Some(ChannelMsg::Close) | None => return Err(Left::Gone),
            Some(_) => {}
        }
    }
}

/// Waits until the request is decided, showing how it goes, and says what came of it. Where there is nobody to show it to it leaves at
/// once, or after the resource's patience if the client said that it waits.
pub(crate) async fn wait(client: &mut ClientSide, wishes: &mut Wishes, waiting: Waiting) -> Result<RequestState, Left> {
    let Waiting { request, mut news, limits, patience } = waiting;
    let has_terminal = wishes.terminal.is_some();
    let asked = |news: &News| {
        let who: Vec<String> = news.asked.iter().map(|a| text::inert(a, 80)).collect();
        if who.is_empty() { String::new() } else { format!(" Asked: {}.", who.join(", ")) }
    };
    let first = news.borrow_and_update().clone();
    let pending = || Left::Waiting(Refusal::of(Reason::Pending).about(request).to_string());
    if first.state == RequestState::Pending && !has_terminal && wishes.told("TIDEGATE_WAIT") != Some("1") {
        return Err(Left::Waiting(format!("{}.{}", Refusal::of(Reason::Pending).about(request), asked(&first))));
    }
    if first.state == RequestState::Pending {
        let limited = if limits.is_empty() { String::new() } else { format!(" Limited to {limits}.") };
        show_to(client, has_terminal, &format!("Your request waits for approval.{limited}")).await;
        if !first.asked.is_empty() {
            show_to(client, has_terminal, asked(&first).trim_start()).await;
        }
        if has_terminal {
            show(client, "Stay, and the door opens by itself. Ctrl-C leaves; your request stands.").await;
            show(client, &format!("How it stands: tidegate request show {request}")).await;
        } else {
            show_to(client, false, &format!("Waiting for at most {} s ({request}).", patience.as_secs())).await;
        }
    }
    let mut patience = Box::pin(tokio::time::sleep(patience));
    let mut patient = true;
    let mut shown = first;
    let mut known_answers = 0;
    loop {
        for answer in shown.answers.iter().skip(known_answers) {
            show_to(client, has_terminal, answer).await;
        }
        known_answers = shown.answers.len().max(known_answers);
        if shown.state != RequestState::Pending {
            return Ok(shown.state);
        }
        tokio::select! {
            changed = news.changed() => {
                if changed.is_err() {
                    return Ok(shown.state);
                }
                let now = news.borrow_and_update().clone();
                if now.asked != shown.asked {
                    show_to(client, has_terminal, asked(&now).trim_start()).await;
                }
                shown = now;
            }
            () = &mut patience, if patient => {
                patient = false;
                if !has_terminal {
                    return Err(pending());
                }
                show(client, "Nobody has answered yet. You need not stay: leave with Ctrl-C and connect again").await;
                show(client, "later, your request stands. Whoever was asked can be reached in other ways too.").await;
            }
            left = leaves(client, wishes, has_terminal) => {
                if has_terminal && matches!(left, Left::Waiting(_)) {
                    write(client, "\r\n").await;
                    return Err(pending());
                }
                return Err(left);
            }
        }
    }
}

/// Waits until they proved with their passkey, in a browser, that it is them. Who has no terminal and did not say that they wait is told
/// where, and connects again.
async fn wait_for_proof(client: &mut ClientSide, wishes: &mut Wishes, mut prove: Prove) -> Result<(), Left> {
    let has_terminal = wishes.terminal.is_some();
    if !has_terminal && wishes.told("TIDEGATE_WAIT") != Some("1") {
        return Err(Left::Refused(prove.refusal));
    }
    for line in prove.told.lines() {
        show_to(client, has_terminal, line).await;
    }
    let (refusal, patience) = (prove.refusal.clone(), prove.patience);
    tokio::select! {
        proved = tokio::time::timeout(patience, prove.proved()) => match proved {
            Ok(true) => {
                show_to(client, has_terminal, "It is you. Going on.").await;
                Ok(())
            }
            Ok(false) => Err(Left::Refused(Refusal::because(Reason::Denied, "whoever was asked said that it is not them"))),
            Err(_) => Err(Left::Refused(refusal)),
        },
        left = leaves(client, wishes, has_terminal) => Err(if matches!(left, Left::Waiting(_)) { Left::Refused(refusal) } else { left }),
    }
}

/// Resolves when the client goes, or its user presses Ctrl-C or Ctrl-D. What a client without a terminal sends is kept for later.
async fn leaves(client: &mut ClientSide, wishes: &mut Wishes, has_terminal: bool) -> Left {
    loop {
        if has_terminal {
            match typed(client, wishes).await {
                Ok(bytes) if bytes.iter().any(|b| matches!(*b, CONTROL_C | 4)) => return Left::Waiting(String::new()),
                Ok(_) => {}
                Err(left) => return left,
            }
        } else {
            match client.rx.wait().await {
                Some(ChannelMsg::Close) | None => return Left::Gone,
                Some(message @ (ChannelMsg::Data { .. } | ChannelMsg::Eof)) => {
                    if wishes.keep(message).is_none() {
                        return Left::Gone;
                    }
                }
                Some(_) => {}
            }
        }
    }
}

/// One line in the terminal.
pub(crate) async fn show(client: &ClientSide, line: &str) {
    write(client, &format!("{}\r\n", text::inert(line, 1024))).await;
}

pub(crate) async fn show_to(client: &ClientSide, has_terminal: bool, line: &str) {
    if has_terminal {
        show(client, line).await;
    } else {
        let line = format!("tidegate: {}\n", text::inert(line, 1024));
        let _ = client.tx.extended_data_bytes(1, Bytes::from(line)).await;
    }
}

async fn write(client: &ClientSide, text: &str) {
    let _ = client.tx.data_bytes(Bytes::from(text.to_owned())).await;
}
