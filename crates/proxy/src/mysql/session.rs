//! The session: from an opening to both sides closed.
//!
//! One task holds the permit's watch and the relay; whichever ends first ends the session. There is no way to tell a client something
//! that it did not ask for, so warnings cannot be shown: that the end has come is the answer to what it asks last, or next.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use access::reason::{Reason, Refusal};
use access::rights::Rights;
use access::session::{Dial, EndReason};
use futures::FutureExt;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use wire::mysql::answer::{write_error, write_ok};
use wire::mysql::packet;

use super::ask::Entry;
use super::client::{Client, error};
use super::door::MysqlDoor;
use super::kill::Number;
use super::relay::{Live, Reach, Relay};
use super::target::{self, Target};
use super::upstream::Hold;
use super::wanted::Wanted;
use crate::database::live::watch_over;
use crate::database::relay::Stopped;
use crate::gatekeeper::{Knock, Opening, PermitWatch};
use crate::watched::{cut, ended_reason};

/// How long the client may take to read why it was cut.
const CLIENT_READS: Duration = Duration::from_millis(400);
/// How long the rest of a row may take that is half out.
const ROW_ENDS: Duration = Duration::from_millis(150);
/// How long a server may take to close after it was said goodbye to.
const TARGET_CLOSES: Duration = Duration::from_millis(600);

/// Runs a session to its end, and reports it exactly once.
pub(crate) async fn run(
    door: &Arc<MysqlDoor>,
    client: Client,
    opening: Opening,
    (knock, wanted): (Knock, Wanted),
    number: &Number,
    entry: Entry,
) {
    let Opening { permit, watch, tape } = opening;
    let (facts, dial) = permit.spend();
    let live = Live::new(facts, door.gate.clone(), tape, watch.traffic());
    let running = Box::pin(live_through(door, &live, client, dial, watch, (knock, &wanted), number, entry));
    let (end, confirmed) = AssertUnwindSafe(running).catch_unwind().await.unwrap_or((EndReason::Error, false));
    live.over(end, confirmed).await;
}

#[expect(clippy::too_many_arguments, reason = "it is everything a session begins with")]
async fn live_through(
    door: &Arc<MysqlDoor>,
    live: &Live,
    mut client: Client,
    dial: Dial,
    mut watch: PermitWatch,
    (knock, wanted): (Knock, &Wanted),
    number: &Number,
    entry: Entry,
) -> (EndReason, bool) {
    let mut dialled = false;
    let begun = tokio::select! {
        biased;
        end = cut(&mut watch) => Err((end, Refusal::because(ended_reason(end), end.sentence().trim_end_matches('.')))),
        () = live.tape.failed() => Err((EndReason::Recorder, Refusal::of(Reason::RecorderFailed))),
        begun = async {
            dialled = true;
            begin(live, dial, wanted).await
        } => begun.map_err(|refusal| (EndReason::Target, refusal)),
    };
    let target = match begun {
        Ok(target) => target,
        Err((end, refusal)) => {
            if let Entry::Within = entry {
                // It is told in answer to what it has asked, or asks next.
                let _ = timeout(CLIENT_READS, client.message()).await;
            }
            client.refuse(&refusal).await;
            live.over_because(end, &refusal).await;
            // Whoever was about to sign in there may still have done so: nobody has seen the server close.
            return (end, !(dialled && end.is_cut()));
        }
    };
    let Target { upstream, hold, judge, pins } = target;
    door.seen(&upstream.version);
    number.means(live.facts.person, live.facts.resource.clone(), Arc::clone(&hold));
    let announced = match entry {
        Entry::AtSignIn => {
            let ok = write_ok(client.capabilities, upstream.status, "");
            client.send([&ok[..]]).await
        }
        Entry::InLobby => client.say("tidegate", &format!("The session is open: {}.", wanted.to)).await,
        Entry::Within => Ok(()),
    };
    let rows = if let Rights::Database(rights) = &live.facts.rights { rights.row_limit } else { None };
    let reach = Reach { kills: door.kills.clone(), hold: Arc::clone(&hold), gate: door.gate.clone(), knock };
    let capabilities = client.capabilities;
    let mut relay = Relay::new(
        (client.stream, client.unread),
        (upstream.stream, upstream.unread),
        capabilities,
        judge,
        rows,
        pins,
        upstream.status,
        reach,
    );
    let told = watch.told();
    let stopped = if announced.is_err() {
        Stopped::by(EndReason::Client)
    } else {
        tokio::select! {
            biased;
            end = watch_over(live, watch, |_| ()) => Stopped::cut(end, &told),
            stopped = relay.run(live) => stopped,
        }
    };
    let why = stopped.say.clone();
    let (end, confirmed) = close(live, &hold, relay, stopped).await;
    if let Some(why) = why {
        live.over_because(end, &why).await;
    }
    (end, confirmed)
}

/// Dials with the permit.
async fn begin(live: &Live, dial: Dial, wanted: &Wanted) -> Result<Target, Refusal> {
    let (Dial::Mysql(dial), Rights::Database(rights)) = (dial, &live.facts.rights) else {
        tracing::error!(session = %live.facts.session, "a permit for something else came to the MySQL door");
        return Err(Refusal::of(Reason::Internal));
    };
    target::dial(dial, wanted, rights, &live.facts.session.to_string()).await
}

/// Closes both sides; says whether the session was seen to be gone at the server. Never waits for a peer longer than a moment.
async fn close(live: &Live, hold: &Hold, mut relay: Relay, stopped: Stopped) -> (EndReason, bool) {
    let Stopped { end, say } = stopped;
    // Whatever has not gone to the server does not go any more; nor what was not recorded to the client.
    let whole = relay.to_target.abandon();
    let unrecorded = relay.to_client.forget_unrecorded();
    let busy = !relay.is_quiet() || !whole;
    if end.is_cut() && end != EndReason::Recorder && !unrecorded {
        // A row that is half out is finished, so that what is said stands where an answer is looked for.
        let _ = timeout(ROW_ENDS, relay.finish_packet(live)).await;
    }
    if busy {
        // What runs there is ended before anything else is waited for.
        let (_, confirmed) = tokio::join!(timeout(CLIENT_READS, farewell(&mut relay, end, say.as_ref(), unrecorded)), hold.terminate());
        return (end, confirmed);
    }
    let _ = timeout(CLIENT_READS, farewell(&mut relay, end, say.as_ref(), unrecorded)).await;
    let mut quit = Vec::new();
    packet::write(&mut quit, 0, &[1]);
    relay.to_target.push(quit.into());
    let leave = async {
        relay.to_target.flush().await?;
        relay.to_target.writer.shutdown().await
    };
    let _ = timeout(CLIENT_READS, leave).await;
    let closed = timeout(TARGET_CLOSES, relay.drain()).await.unwrap_or(false);
    (end, closed || hold.terminate().await)
}

/// What the client is told, if that fits where its stream stands.
async fn farewell(relay: &mut Relay, end: EndReason, say: Option<&Refusal>, unrecorded: bool) -> std::io::Result<()> {
    relay.to_client.flush().await?;
    if !unrecorded && relay.is_between_messages() && (end.is_cut() || say.is_some()) {
        let message = match say {
            Some(refusal) => error(refusal),
            None => {
                let (number, state) = ended_reason(end).mysql_error();
                write_error(number, state, &format!("{} {}", end.sentence(), ended_reason(end).hint()))
            }
        };
        relay.say_last(&message);
        relay.to_client.flush().await?;
    }
    relay.to_client.writer.shutdown().await
}
