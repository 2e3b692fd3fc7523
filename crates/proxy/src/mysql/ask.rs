//! Asking where one connects: who has no grant is told what is missing, gives the reason, and goes through when it is agreed.
//!
//! The reason comes with the connection (attribute `tide_reason`). A person at `mariadb` or `mysql` who gave none comes into a lobby,
//! where only `request '<reason>' [for 1h]`, `status` and, if policy has that path, `break glass '<reason>'` are understood. The protocol
//! has no words for "wait": who waits is told that they are signed in, and the first thing they ask is answered when it is decided.

use std::sync::Arc;

use access::reason::{Reason, Refusal};
use access::request::RequestState;
use tokio::time::Instant;
use wire::mysql::command::Command;

use super::client::Client;
use super::door::MysqlDoor;
use super::wanted::Wanted;
use crate::database::lobby::{Line, ONLY_EMERGENCY, Typed, asked, how, read, told, typed};
use crate::database::sentence;
use crate::gatekeeper::{Answer, Knock, Knocked, Opening, Question, Waiting};
use crate::ssh::text::inert;

/// How it came out.
pub(crate) enum Way {
    /// The door is open.
    In { opening: Box<Opening>, entry: Entry },
    /// Refused, in answer to what was read last.
    Refused(Refusal),
    /// Refused, in answer to what is asked next.
    RefusedNext(Refusal),
    /// The client left.
    Gone,
}

/// What a client waits for when its session begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// To hear that it is signed in.
    AtSignIn,
    /// For an answer to `request`.
    InLobby,
    /// Nothing; or for an answer to what stands unread.
    Within,
}

/// Goes through the door: knocks, asks if it must, waits if it may.
pub(crate) async fn enter(door: &Arc<MysqlDoor>, client: &mut Client, knock: &Knock, wanted: &Wanted) -> Way {
    let mut entry = Entry::AtSignIn;
    let mut in_lobby = false;
    let mut deadline = None;
    let mut knocked = door.gate.knock(knock).await;
    loop {
        knocked = match knocked {
            Knocked::Open(opening) => return Way::In { opening, entry },
            Knocked::Refused(refusal) => return refused(refusal, entry),
            // Without the ordinary way there is at most the emergency, for somebody who can declare one.
            Knocked::Ask(Question { refused: Some(refusal), emergency, .. })
                if emergency.is_none() || !(in_lobby || wanted.is_interactive()) =>
            {
                return refused(refusal, entry);
            }
            Knocked::Ask(question) => {
                let asks = question.refused.is_some() || lacks(&question, &wanted.told).is_some();
                let answer = if in_lobby || asks && wanted.is_interactive() {
                    if entry == Entry::AtSignIn && client.ok().await.is_err() {
                        return Way::Gone;
                    }
                    (entry, in_lobby) = (Entry::InLobby, true);
                    match lobby(client, &question, wanted).await {
                        Some(answer) => answer,
                        None => return Way::Gone,
                    }
                } else if let Some(refusal) = lacks(&question, &wanted.told) {
                    return Way::Refused(refusal);
                } else {
                    wanted.told.clone()
                };
                door.gate.submit(knock, answer).await
            }
            // There is nothing here by which a link could be shown and waited on: they prove it, and connect again.
            Knocked::Prove(prove) => {
                let told = prove.told.lines().map(|line| inert(line.trim(), 256)).collect::<Vec<_>>().join(" ");
                return refused(Refusal { detail: Some(told), ..prove.refusal }, entry);
            }
            Knocked::Waiting(waiting) => {
                if entry == Entry::AtSignIn {
                    if client.ok().await.is_err() {
                        return Way::Gone;
                    }
                    entry = Entry::Within;
                }
                let until = *deadline.get_or_insert_with(|| Instant::now() + waiting.patience);
                let mut pending = Refusal::of(Reason::Pending).about(waiting.request);
                pending.detail = Some(asked(&waiting.news.borrow()).trim().trim_end_matches('.').to_owned()).filter(|d| !d.is_empty());
                match wait(client, waiting, until).await {
                    Waited::Decided => {}
                    Waited::Gone => return Way::Gone,
                    Waited::TooLong if in_lobby => {
                        // The person stays; whatever they ask next knocks again.
                        if !stay(client, &pending, &mut entry).await {
                            return Way::Gone;
                        }
                        deadline = Some(Instant::now());
                    }
                    Waited::TooLong => return Way::RefusedNext(pending),
                }
                door.gate.knock(knock).await
            }
        };
    }
}

fn refused(refusal: Refusal, entry: Entry) -> Way {
    if entry == Entry::Within { Way::RefusedNext(refusal) } else { Way::Refused(refusal) }
}

/// What has to be said and was not.
fn lacks(question: &Question, told: &Answer) -> Option<Refusal> {
    let missing = question.missing.trim_end_matches('.');
    if question.reason && told.reason.is_none() {
        let why = format!("{missing}. Connect with the connection attribute `tide_reason` to say why, or ask elsewhere first");
        return Some(Refusal::because(Reason::ReasonRequired, why));
    }
    (question.ticket && told.ticket.is_none()).then(|| {
        Refusal::because(Reason::TicketRequired, format!("{missing}. Connect with the connection attribute `tide_ticket` to name it"))
    })
}

enum Waited {
    Decided,
    TooLong,
    Gone,
}

/// Waits until the request is decided.
async fn wait(client: &mut Client, waiting: Waiting, until: Instant) -> Waited {
    let mut news = waiting.news;
    loop {
        if news.borrow_and_update().state != RequestState::Pending {
            return Waited::Decided;
        }
        tokio::select! {
            changed = news.changed() => {
                if changed.is_err() {
                    return Waited::Decided;
                }
            }
            () = tokio::time::sleep_until(until) => return Waited::TooLong,
            () = client.leaves() => return Waited::Gone,
        }
    }
}

const STAY: &str = "Whatever you type next looks again: the door opens as soon as it is approved.";

/// A person who has not said why, and has been told that they are signed in; `None` if they leave.
async fn lobby(client: &mut Client, question: &Question, wanted: &Wanted) -> Option<Answer> {
    let (what, how) = (told(question, " "), how(question));
    loop {
        let said = match next(client, &what, how, question.emergency.is_some()).await? {
            Typed::Emergency { reason, asked } => {
                let asked = asked.unwrap_or(wanted.told.asked);
                return Some(Answer { reason: Some(reason), asked, break_glass: true, ..wanted.told.clone() });
            }
            Typed::Line(Line::Request { .. }) if question.refused.is_some() => ONLY_EMERGENCY.to_owned(),
            Typed::Line(Line::Request { .. }) if question.ticket && wanted.told.ticket.is_none() => {
                "this needs a ticket; connect with the connection attribute `tide_ticket`".to_owned()
            }
            Typed::Line(Line::Request { reason, asked }) => {
                return Some(Answer { reason: Some(reason), asked: asked.unwrap_or(wanted.told.asked), ..wanted.told.clone() });
            }
            Typed::Line(Line::Status) => {
                client.say("tidegate", &what).await.ok()?;
                continue;
            }
            Typed::Line(Line::Wrong(why)) => why,
        };
        client.error(&Refusal::because(Reason::ReasonRequired, format!("{said}. {how}"))).await.ok()?;
    }
}

/// Somebody in the lobby whose request is still undecided: says so, if they wait for an answer, and waits for what they ask next. That
/// stays unread: it goes to the server if the door is open now. `false` if they leave.
async fn stay(client: &mut Client, pending: &Refusal, entry: &mut Entry) -> bool {
    let text = format!("{}. {STAY}", sentence(pending));
    if *entry == Entry::InLobby {
        *entry = Entry::Within;
        if client.say("tidegate", &text).await.is_err() {
            return false;
        }
    } else if client.waiting().await.is_err() || say_pending(client, pending, &text).await.is_err() {
        return false;
    }
    // The door is knocked at again when there is something to answer.
    matches!(client.waiting().await, Ok(message) if message.first() != Some(&1))
}

/// Answers what stands unread with how it stands.
async fn say_pending(client: &mut Client, pending: &Refusal, text: &str) -> std::io::Result<()> {
    let message = client.message().await?;
    match Command::read(&message) {
        Ok(Command::Quit) => Err(std::io::ErrorKind::UnexpectedEof.into()),
        Ok(Command::Ping) => client.ok().await,
        Ok(Command::Statistics) => client.send([statistics(text).as_bytes()]).await,
        Ok(Command::Query(query)) if matches!(read(&String::from_utf8_lossy(query)), Line::Status | Line::Request { .. }) => {
            client.say("tidegate", text).await
        }
        Ok(Command::CloseStatement { .. } | Command::LongData { .. }) => Ok(()),
        _ => client.error(&Refusal { detail: Some(STAY.trim_end_matches('.').to_owned()), ..pending.clone() }).await,
    }
}

/// A text as clients take it for a server's statistics: they show what stands behind the time it has run.
fn statistics(text: &str) -> String {
    format!("Uptime: 0  {text}")
}

/// The next thing typed; `None` if they leave. What clients ask by themselves is answered here; `status` stands where `mariadb` shows it, and
/// `how` says what may be typed.
async fn next(client: &mut Client, status: &str, how: &str, emergencies: bool) -> Option<Typed> {
    loop {
        let message = client.message().await.ok()?;
        let answered = match Command::read(&message).ok()? {
            Command::Quit => return None,
            Command::Query(text) => {
                let text = String::from_utf8_lossy(text);
                let plain = text.trim().trim_end_matches(';').to_ascii_lowercase();
                if plain.starts_with("select @@version_comment") {
                    // Shown where the server introduces itself.
                    client.say("@@version_comment", status).await
                } else if plain.starts_with("select database(), user()") {
                    let rows = [vec!["", "nobody yet"]];
                    let rows = wire::mysql::answer::write_rows(client.capabilities, &["database()", "user()"], &rows, 2);
                    client.send(rows.iter().map(Vec::as_slice)).await
                } else {
                    return Some(typed(&text, emergencies));
                }
            }
            Command::Statistics => client.send([statistics(status).as_bytes()]).await,
            Command::Ping | Command::SetOption { .. } => client.ok().await,
            Command::CloseStatement { .. } | Command::LongData { .. } => Ok(()),
            _ => client.error(&Refusal::because(Reason::ReasonRequired, format!("there is no session yet. {how}"))).await,
        };
        answered.ok()?;
    }
}
