//! Asking where one connects: who has no grant is told what is missing, gives the reason, and goes through when it is agreed.
//!
//! The reason comes with the connection (`options=-c tide.reason=…`). A person at `psql` who gave none comes into a lobby, where
//! only `request '<reason>' [for 1h]`, `status` and, if policy has that path, `break glass '<reason>'` are understood. Notices say what
//! changes meanwhile.

use std::sync::Arc;

use access::reason::{Reason, Refusal};
use access::request::RequestState;
use tokio::time::Instant;
use wire::postgres::back::Severity;
use wire::postgres::front;

use super::client::{Client, sentence};
use super::door::PostgresDoor;
use super::parameters::Wanted;
use crate::database::lobby::{Line, ONLY_EMERGENCY, Typed, asked, how, told, typed};
use crate::gatekeeper::{Answer, Knock, Knocked, Opening, Question, Waiting};
use crate::ssh::text::inert;

/// How it came out.
pub(crate) enum Way {
    /// The door is open.
    In {
        opening: Box<Opening>,
        /// Whether the client has been told already that it is connected, and waits for an answer.
        in_lobby: bool,
    },
    /// Refused.
    Refused(Refusal),
    /// The client left.
    Gone,
}

/// Goes through the door: knocks, asks if it must, waits if it may.
pub(crate) async fn enter(door: &Arc<PostgresDoor>, client: &mut Client, knock: &Knock, wanted: &Wanted) -> Way {
    let mut in_lobby = false;
    let mut deadline = None;
    let mut knocked = door.gate.knock(knock).await;
    loop {
        knocked = match knocked {
            Knocked::Open(opening) => return Way::In { opening, in_lobby },
            Knocked::Refused(refusal) => return Way::Refused(refusal),
            // Without the ordinary way there is at most the emergency, for somebody who can declare one.
            Knocked::Ask(Question { refused: Some(refusal), emergency, .. })
                if emergency.is_none() || !(in_lobby || wanted.is_interactive()) =>
            {
                return Way::Refused(refusal);
            }
            Knocked::Ask(question) => {
                let answer =
                    if in_lobby || question.refused.is_some() || lacks(&question, &wanted.told).is_some() && wanted.is_interactive() {
                        match lobby(client, &question, &wanted.told, &mut in_lobby).await {
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
            Knocked::Prove(mut prove) => {
                for line in prove.told.lines() {
                    if client.notice(&inert(line, 1024)).await.is_err() {
                        return Way::Gone;
                    }
                }
                let until = *deadline.get_or_insert_with(|| Instant::now() + prove.patience);
                tokio::select! {
                    proved = tokio::time::timeout_at(until, prove.proved()) => if !proved.unwrap_or(false) { return Way::Refused(prove.refusal) },
                    () = client.leaves() => return Way::Gone,
                }
                deadline = None;
                door.gate.knock(knock).await
            }
            Knocked::Waiting(waiting) => {
                let until = *deadline.get_or_insert_with(|| Instant::now() + waiting.patience);
                let pending = Refusal::of(Reason::Pending).about(waiting.request);
                match wait(client, waiting, until).await {
                    Waited::Decided => {}
                    Waited::Gone => return Way::Gone,
                    Waited::TooLong if in_lobby => {
                        // The person stays; each `status` knocks again.
                        if !stay(client, &pending).await {
                            return Way::Gone;
                        }
                        deadline = None;
                    }
                    Waited::TooLong => return Way::Refused(pending),
                }
                door.gate.knock(knock).await
            }
        };
    }
}

/// What has to be said and was not.
fn lacks(question: &Question, told: &Answer) -> Option<Refusal> {
    let missing = question.missing.trim_end_matches('.');
    if question.reason && told.reason.is_none() {
        return Some(Refusal::because(Reason::ReasonRequired, format!("{missing}. Connect with options='-c tide.reason=…' to say why")));
    }
    (question.ticket && told.ticket.is_none())
        .then(|| Refusal::because(Reason::TicketRequired, format!("{missing}. Connect with options='-c tide.ticket=…' to name it")))
}

enum Waited {
    Decided,
    TooLong,
    Gone,
}

/// Waits until the request is decided, with a notice at each change.
async fn wait(client: &mut Client, waiting: Waiting, until: Instant) -> Waited {
    let Waiting { request, mut news, .. } = waiting;
    let mut shown = news.borrow_and_update().clone();
    if shown.state != RequestState::Pending {
        return Waited::Decided;
    }
    if client.notice(&format!("your request {request} waits for approval.{}", asked(&shown))).await.is_err() {
        return Waited::Gone;
    }
    let mut answers = 0;
    loop {
        for answer in shown.answers.iter().skip(answers) {
            if client.notice(&inert(answer, 1024)).await.is_err() {
                return Waited::Gone;
            }
        }
        answers = shown.answers.len();
        if shown.state != RequestState::Pending {
            return Waited::Decided;
        }
        tokio::select! {
            changed = news.changed() => {
                if changed.is_err() {
                    return Waited::Decided;
                }
                let now = news.borrow_and_update().clone();
                if now.asked != shown.asked && client.notice(asked(&now).trim_start()).await.is_err() {
                    return Waited::Gone;
                }
                shown = now;
            }
            () = tokio::time::sleep_until(until) => return Waited::TooLong,
            () = client.leaves() => return Waited::Gone,
        }
    }
}

/// Lets a person in who has not said why, no further than here; `None` if they leave.
async fn lobby(client: &mut Client, question: &Question, said: &Answer, in_lobby: &mut bool) -> Option<Answer> {
    let (what, how) = (told(question, "\n"), how(question));
    if *in_lobby {
        // An answer to `status`, or to a request that came to nothing.
        client.write(|w| w.say(Severity::Notice, "00000", &what, None).command_complete("STATUS").ready()).await.ok()?;
    } else {
        *in_lobby = true;
        let greeting = |w: &mut wire::postgres::back::Writer| -> () {
            for (name, value) in PARAMETERS {
                w.parameter(name.as_bytes(), value.as_bytes());
            }
            w.say(Severity::Notice, "00000", &what, None).ready();
        };
        client
            .write(|w| {
                greeting(w);
                w
            })
            .await
            .ok()?;
    }
    loop {
        let wrong = match next_line(client, how, question.emergency.is_some()).await? {
            Typed::Emergency { reason, asked } => {
                return Some(Answer { reason: Some(reason), asked: asked.unwrap_or(said.asked), break_glass: true, ..said.clone() });
            }
            Typed::Line(Line::Request { .. }) if question.refused.is_some() => ONLY_EMERGENCY.to_owned(),
            Typed::Line(Line::Request { reason, asked }) => {
                if question.ticket && said.ticket.is_none() {
                    "this needs a ticket; connect with options='-c tide.ticket=…'".to_owned()
                } else {
                    return Some(Answer { reason: Some(reason), asked: asked.unwrap_or(said.asked), ..said.clone() });
                }
            }
            Typed::Line(Line::Status) => {
                client.write(|w| w.say(Severity::Notice, "00000", &what, None).command_complete("STATUS").ready()).await.ok()?;
                continue;
            }
            Typed::Line(Line::Wrong(why)) => why,
        };
        client.write(|w| w.say(Severity::Error, "28000", &wrong, Some(how)).ready()).await.ok()?;
    }
}

/// Somebody in the lobby whose request is still undecided: says so, and waits for `status`. `false` if they leave.
async fn stay(client: &mut Client, pending: &Refusal) -> bool {
    let text = sentence(pending);
    let say = "Type  status;  to look again: the door opens as soon as it is approved.";
    if client.write(|w| w.say(Severity::Error, pending.reason.sqlstate(), &text, Some(say)).ready()).await.is_err() {
        return false;
    }
    loop {
        let why = match next_line(client, say, false).await {
            None => return false,
            Some(Typed::Line(Line::Status)) => return true,
            Some(Typed::Line(Line::Request { .. }) | Typed::Emergency { .. }) => text.clone(),
            Some(Typed::Line(Line::Wrong(why))) => why,
        };
        if client.write(|w| w.say(Severity::Error, "28000", &why, Some(say)).ready()).await.is_err() {
            return false;
        }
    }
}

/// What a client is told about the server while there is none.
const PARAMETERS: &[(&str, &str)] =
    &[("server_version", "15.0"), ("server_encoding", "UTF8"), ("client_encoding", "UTF8"), ("standard_conforming_strings", "on")];

/// The next thing typed; `None` if they leave. Anything but a `Query` is answered here, with what may be typed.
async fn next_line(client: &mut Client, how: &str, emergencies: bool) -> Option<Typed> {
    let mut skipping = false;
    loop {
        let (kind, body) = client.message().await.ok()?;
        match kind {
            b'Q' => {
                return Some(typed(&String::from_utf8_lossy(front::query(&body).ok()?), emergencies));
            }
            b'X' => return None,
            b'S' => {
                skipping = false;
                client.write(|w| w.ready()).await.ok()?;
            }
            b'H' => {}
            _ if skipping => {}
            _ => {
                skipping = true;
                client.write(|w| w.say(Severity::Error, "28000", "there is no session yet, and no grant for one", Some(how))).await.ok()?;
            }
        }
    }
}
