//! Asking where one connects: the way in for a channel, with a terminal or without.
//!
//! With a terminal the person is told what is missing, gives the reason there, sees who was asked and who answered, and goes through
//! the moment it is approved. Without one it takes one line and an exit status, unless the client sent `TIDEGATE_WAIT=1`.

use std::sync::Arc;

use access::reason::{Reason, Refusal};
use access::request::{Asked, RequestState};
use bytes::Bytes;
use russh::ChannelMsg;

use super::channel::Wishes;
use super::door::WINDOW;
use super::line::{Editor, Typed};
use super::relay::ClientSide;
use super::session::{Live, Step, Visit};
use super::text;
use crate::gatekeeper::{Answer, News, Question, Waiting};

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

/// Goes through the door: knocks, asks if it must, waits if it may.
pub(crate) async fn enter(visit: &Arc<Visit>, client: &mut ClientSide, wishes: &mut Wishes) -> Result<Arc<Live>, Left> {
    if let Some(live) = visit.live() {
        return Ok(live.clone());
    }
    // One channel knocks for all of the connection.
    let _entering = visit.entering.lock().await;
    let mut answer = None;
    let mut asked = false;
    loop {
        match visit.step(answer.take()).await {
            Step::In(live) => {
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
            Step::Refused(refusal) => return Err(refusal.into()),
        }
    }
}

/// The answer of a client without a terminal: what it sent along.
fn told(wishes: &Wishes, question: &Question) -> Result<Answer, Left> {
    let answer = sent_along(wishes)?;
    if question.reason && answer.reason.is_none() {
        return Err(Refusal::because(Reason::ReasonRequired, question.missing.trim_end_matches('.').to_owned()).into());
    }
    if question.ticket && answer.ticket.is_none() {
        return Err(Refusal::because(Reason::TicketRequired, question.missing.trim_end_matches('.').to_owned()).into());
    }
    Ok(answer)
}

/// What the client sent in `TIDEGATE_REASON`, `TIDEGATE_TICKET` and `TIDEGATE_FOR`.
fn sent_along(wishes: &Wishes) -> Result<Answer, Left> {
    let some = |name| wishes.told(name).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let asked = match some("TIDEGATE_FOR") {
        Some(span) => span.parse::<Asked>().map_err(|e| Refusal::because(Reason::Invalid, format!("TIDEGATE_FOR: {e}")))?,
        None => Asked::Default,
    };
    Ok(Answer { reason: some("TIDEGATE_REASON"), asked, ticket: some("TIDEGATE_TICKET") })
}

/// Asks in the terminal for what was not sent along.
async fn ask(client: &mut ClientSide, wishes: &mut Wishes, question: &Question) -> Result<Answer, Left> {
    for line in question.missing.lines() {
        show(client, line).await;
    }
    let mut answer = sent_along(wishes)?;
    if question.ticket && answer.ticket.is_none() {
        answer.ticket = Some(question_line(client, wishes, "Ticket: ").await?);
    }
    if answer.reason.is_none() {
        answer.reason = Some(question_line(client, wishes, "Reason: ").await?);
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

/// A line that has to be given.
async fn question_line(client: &mut ClientSide, wishes: &mut Wishes, prompt: &str) -> Result<String, Left> {
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
    loop {
        let bytes = typed(client, wishes).await?;
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
        match client.rx.wait().await {
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

/// Waits until the request is decided, showing how it goes; leaves at once where there is nobody to show it to.
async fn wait(client: &mut ClientSide, wishes: &mut Wishes, waiting: Waiting) -> Result<(), Left> {
    let Waiting { request, mut news } = waiting;
    let has_terminal = wishes.terminal.is_some();
    let asked = |news: &News| {
        let who: Vec<String> = news.asked.iter().map(|a| text::inert(a, 80)).collect();
        if who.is_empty() { String::new() } else { format!(" Asked: {}.", who.join(", ")) }
    };
    let first = news.borrow_and_update().clone();
    if first.state != RequestState::Pending {
        return Ok(());
    }
    if !has_terminal && wishes.told("TIDEGATE_WAIT") != Some("1") {
        let pending = Refusal::of(Reason::Pending).about(request);
        return Err(Left::Waiting(format!("{pending}.{}", asked(&first))));
    }
    show_to(client, has_terminal, &format!("Your request {request} waits for approval.{}", asked(&first))).await;
    if has_terminal {
        show(client, "Stay, and the door opens when it is approved. Ctrl-C leaves; the request stands.").await;
    }
    let mut shown = first;
    let mut known_answers = 0;
    loop {
        for answer in shown.answers.iter().skip(known_answers) {
            show_to(client, has_terminal, answer).await;
        }
        known_answers = shown.answers.len().max(known_answers);
        if shown.state != RequestState::Pending {
            return Ok(());
        }
        tokio::select! {
            changed = news.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let now = news.borrow_and_update().clone();
                if now.asked != shown.asked {
                    show_to(client, has_terminal, asked(&now).trim_start()).await;
                }
                shown = now;
            }
            left = leaves(client, wishes, has_terminal) => {
                if has_terminal && matches!(left, Left::Waiting(_)) {
                    write(client, "\r\n").await;
                    return Err(Left::Waiting(Refusal::of(Reason::Pending).about(request).to_string()));
                }
                return Err(left);
            }
        }
    }
}

/// Resolves when the client goes, or its user presses Ctrl-C or Ctrl-D. What a client without a terminal sends is kept for later.
async fn leaves(client: &mut ClientSide, wishes: &mut Wishes, has_terminal: bool) -> Left {
    loop {
        if has_terminal {
            match typed(client, wishes).await {
                Ok(bytes) if bytes.iter().any(|b| matches!(b, 3 | 4)) => return Left::Waiting(String::new()),
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
async fn show(client: &ClientSide, line: &str) {
    write(client, &format!("{}\r\n", text::inert(line, 1024))).await;
}

async fn show_to(client: &ClientSide, has_terminal: bool, line: &str) {
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
