//! The session: from an opening to both sides closed.
//!
//! One task holds the permit's watch and both directions of the relay; whichever ends first ends the session.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use access::reason::{Reason, Refusal};
use access::rights::{DatabaseRights, Rights};
use access::session::{DatabaseDial, Dial, EndReason};
use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::mpsc;
use tokio::time::timeout;
use wire::postgres::back::{Severity, Writer};
use wire::postgres::front;

use super::client::Client;
use super::door::PostgresDoor;
use super::down::Down;
use super::judge::{Judge, Judging};
use super::ledger::Ledger;
use super::parameters::Wanted;
use super::relay::Stopped;
use super::target::{self, Call, Target};
use super::up::{Asking, Up};
use crate::database::live::watch_over;
use crate::gatekeeper::{Knock, Opening, PermitWatch};
use crate::watched::{cut, ended_reason};

/// How long the client may take to read why it was cut.
const CLIENT_READS: Duration = Duration::from_millis(400);
/// How long a server may take to close after its statement was cancelled.
const TARGET_CLOSES: Duration = Duration::from_millis(600);
/// How long it may take after its process was ended. A busy one that would have closed is not called one that did not.
const PROCESS_ENDS: Duration = Duration::from_secs(2);
/// Notices that wait to be shown.
const NOTICES: usize = 16;

/// A live session, as both directions share it.
pub(crate) type Live = crate::database::live::Live<Ledger>;

impl Live {
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is due to be recorded about answers.
    pub(crate) fn take_due(&self) -> Vec<String> {
        std::mem::take(&mut self.ledger().due)
    }

    /// Waits until the server has answered enough for more to be asked.
    pub(crate) async fn room(&self) {
        while self.ledger().is_full() {
            self.room.notified().await;
        }
    }

    /// Waits until the server has answered so that this holds.
    pub(crate) async fn until(&self, holds: impl Fn(&Ledger) -> bool) {
        while !holds(&self.ledger()) {
            self.room.notified().await;
        }
    }

    pub(crate) fn has_room(&self) {
        self.room.notify_one();
    }
}

/// Runs a session to its end, and reports it exactly once.
pub(crate) async fn run(door: &Arc<PostgresDoor>, client: Client, opening: Opening, knock: &Knock, wanted: &Wanted, in_lobby: bool) {
    let Opening { permit, watch, tape } = opening;
    let (facts, dial) = permit.spend();
    let live = Live::new(facts, door.gate.clone(), tape, watch.traffic());
    let running = Box::pin(live_through(door, &live, client, dial, watch, (knock, wanted), in_lobby));
    let (end, confirmed) = AssertUnwindSafe(running).catch_unwind().await.unwrap_or((EndReason::Error, false));
    live.over(end, confirmed).await;
}

async fn live_through(
    door: &Arc<PostgresDoor>,
    live: &Live,
    mut client: Client,
    dial: Dial,
    mut watch: PermitWatch,
    (knock, wanted): (&Knock, &Wanted),
    in_lobby: bool,
) -> (EndReason, bool) {
    let mut dialled = false;
    let begun = tokio::select! {
        biased;
        end = cut(&mut watch) => Err((end, Refusal::because(ended_reason(end), end.sentence().trim_end_matches('.')))),
        () = live.tape.failed() => Err((EndReason::Recorder, Refusal::of(Reason::RecorderFailed))),
        begun = async {
            dialled = true;
            begin(door, live, dial, wanted).await
        } => begun.map_err(|refusal| (EndReason::Target, refusal)),
    };
    let (target, judge) = match begun {
        Ok(begun) => begun,
        Err((end, refusal)) => {
            client.refuse(&refusal).await;
            live.over_because(end, &refusal).await;
            // Whoever was about to sign in there may still have done so: nobody has seen the server close.
            return (end, !(dialled && end.is_cut()));
        }
    };
    let issued = door.cancels.issue(target.hold.clone(), client.secret_length());
    let announced = client.write(|w| {
        for (name, value) in &target.parameters {
            w.parameter(name, value);
        }
        w.key_data(&issued.key);
        if in_lobby {
            w.command_complete("REQUEST");
        }
        w.ready()
    });
    let announced = announced.await;
    let Client { stream, unread, .. } = client;
    let (client_reader, client_writer) = tokio::io::split(stream);
    let (target_reader, target_writer) = tokio::io::split(target.stream);
    let (say, notices) = mpsc::channel(NOTICES);
    let notify = |text: &str| {
        let mut writer = Writer::default();
        writer.say(Severity::Notice, "01000", text, None);
        // A client that reads nothing must not hold up the watch.
        let _ = say.try_send(Bytes::from(writer.into_bytes()));
    };
    let withheld = judge.withheld();
    let asking = Asking { gate: door.gate.clone(), knock: knock.clone(), say: say.clone() };
    let mut up = Up::new(client_reader, unread, target_writer, judge, &withheld, asking, live.facts.person);
    let mut down = Down::new(target_reader, target.unread, client_writer, notices, withheld);
    let told = watch.told();
    let stopped = if announced.is_err() {
        Stopped::by(EndReason::Client)
    } else {
        tokio::select! {
            biased;
            end = watch_over(live, watch, notify) => Stopped::cut(end, &told),
            stopped = up.run(live) => stopped,
            stopped = down.run(live) => stopped,
        }
    };
    let why = stopped.say.clone();
    let (end, confirmed) = close(live, &target.hold, up, down, stopped).await;
    if let Some(why) = why {
        live.over_because(end, &why).await;
    }
    (end, confirmed)
}

/// Dials with the permit.
async fn begin(door: &Arc<PostgresDoor>, live: &Live, dial: Dial, wanted: &Wanted) -> Result<(Target, Box<dyn Judge>), Refusal> {
    let (Dial::Postgres(dial), Rights::Database(rights)) = (dial, &live.facts.rights) else {
        tracing::error!(session = %live.facts.session, "a permit for something else came to the PostgreSQL door");
        return Err(Refusal::of(Reason::Internal));
    };
    let (query, then) = match (door.judge)(&live.facts, rights) {
        Judging::Now(judge) => return Ok((reach(live, dial, rights, wanted, None).await?, judge)),
        Judging::AfterReading { query, then } => (query, then),
    };
    let mut target = reach(live, dial, rights, wanted, Some(&query)).await?;
    let judge = then(&std::mem::take(&mut target.rows))?;
    Ok((target, judge))
}

async fn reach(live: &Live, dial: DatabaseDial, rights: &DatabaseRights, wanted: &Wanted, query: Option<&str>) -> Result<Target, Refusal> {
    let given = wanted.settings(rights)?;
    let application = application_name(&wanted.application, &live.facts.session.to_string());
    let mut settings: Vec<(&str, &str)> = given.iter().map(|(name, value)| (*name, value.as_str())).collect();
    settings.push(("application_name", &application));
    target::dial(dial, Call { database: wanted.database.as_deref(), settings: &settings, query }).await
}

/// What the server is told: the client's own name as far as it fits, and the session's id. PostgreSQL keeps 63 bytes of printable ASCII.
fn application_name(client: &str, session: &str) -> String {
    let mut name: String = client.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(63 - 1 - session.len().min(62)).collect();
    if !name.is_empty() {
        name.push(' ');
    }
    name + session
}

/// Closes both sides; says whether the server was seen to have ended the session. Never waits for a peer longer than a moment.
async fn close(live: &Live, hold: &Arc<target::Hold>, mut up: Up, mut down: Down, stopped: Stopped) -> (EndReason, bool) {
    let Stopped { end, say } = stopped;
    // Whatever has not gone to the server does not go any more; nor what was not recorded to the client.
    let whole = up.to.abandon();
    let unrecorded = down.to.forget_unrecorded();
    let busy = !live.ledger().is_quiet() || !whole;
    let farewell = async {
        // What is out already is only added to between two messages.
        let told = async {
            down.to.flush().await?;
            if !unrecorded && down.to.left == 0 && (end.is_cut() || say.is_some()) {
                let mut writer = Writer::default();
                match &say {
                    Some(refusal) => {
                        let text = super::client::sentence(refusal);
                        writer.say(Severity::Fatal, refusal.reason.sqlstate(), &text, Some(refusal.reason.hint()));
                    }
                    None => {
                        writer.say(Severity::Fatal, "57P01", end.sentence(), Some(ended_reason(end).hint()));
                    }
                }
                down.to.push(writer.into_bytes().into());
                down.to.flush().await?;
            }
            tokio::io::AsyncWriteExt::shutdown(&mut down.to.writer).await
        };
        let _ = timeout(CLIENT_READS, told).await;
    };
    let goodbye = async {
        let leave = async {
            if whole {
                up.to.push(front::message(b'X', &[]).into());
                up.to.flush().await?;
            }
            tokio::io::AsyncWriteExt::shutdown(&mut up.to.writer).await
        };
        let cancel = async {
            if busy {
                hold.cancel().await;
            }
        };
        let (_, ()) = tokio::join!(timeout(CLIENT_READS, leave), cancel);
    };
    let ((), ()) = tokio::join!(farewell, goodbye);
    let mut confirmed = timeout(TARGET_CLOSES, down.drain()).await.unwrap_or(false);
    if !confirmed {
        hold.terminate().await;
        confirmed = timeout(PROCESS_ENDS, down.drain()).await.unwrap_or(false);
    }
    (end, confirmed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_is_named_at_the_server_whatever_the_client_calls_itself() {
        let session = "ses_01hzy3v7k2m9q4r8t6w0x5c1bn";
        assert_eq!(application_name("psql", session), format!("psql {session}"));
        assert_eq!(application_name("", session), session);
        let long = application_name(&"é".repeat(9).to_owned().chars().chain("x".repeat(200).chars()).collect::<String>(), session);
        assert_eq!((long.len(), long.ends_with(session)), (63, true));
    }
}
