//! Goes after what sessions left running at their targets, until each target says that nothing is left.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use access::ids::SessionId;
use access::reason::Refusal;
use proxy::ssh::{Cleared, SshDoor};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use workflow::Gate;

/// How often it is looked whether there is anything to go after.
const EVERY: Duration = Duration::from_millis(500);
/// How long until a target is asked again that did not answer: twice as long each time, up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));
/// How many targets are asked at once.
const AT_ONCE: usize = 8;

/// Runs until told to stop.
pub async fn go_after(gate: Arc<Gate>, door: Arc<SshDoor>, stop: CancellationToken) {
    let mut waiting: HashMap<SessionId, (Instant, Duration)> = HashMap::new();
    while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        let left = gate.left_behind();
        waiting.retain(|session, _| left.contains(session));
        let due: Vec<SessionId> =
            left.into_iter().filter(|session| waiting.get(session).is_none_or(|(at, _)| *at <= Instant::now())).collect();
        let mut answers = Vec::new();
        for few in due.chunks(AT_ONCE) {
            let mut asked = JoinSet::new();
            for session in few.iter().copied() {
                let (gate, door) = (Arc::clone(&gate), Arc::clone(&door));
                asked.spawn(async move { (session, clear(&gate, &door, session).await) });
            }
            let Some(few) = stop.run_until_cancelled(asked.join_all()).await else { return };
            answers.extend(few);
        }
        for (session, answer) in answers {
            if let Err(refusal) = &answer {
                tracing::warn!(%session, %refusal, "what it left at its target is looked for again later");
            }
            if answer.is_ok_and(|done| done) {
                waiting.remove(&session);
            } else {
                let wait = waiting.get(&session).map_or(AGAIN.0, |(_, before)| (*before * 2).min(AGAIN.1));
                waiting.insert(session, (Instant::now() + wait, wait));
            }
        }
    }
}

/// Goes after one; whether that was all.
async fn clear(gate: &Gate, door: &Arc<SshDoor>, session: SessionId) -> Result<bool, Refusal> {
    let Some(errand) = gate.errand(session).await? else { return Ok(false) };
    match door.clear(errand.permit, errand.ends, errand.age, errand.over).await? {
        Cleared::NoneLeft => gate.cleared(session).await.map(|()| true),
        Cleared::NotAll => Ok(false),
        Cleared::SeenOtherwise => {
            gate.not_to_be_told(session);
            Ok(true)
        }
    }
}
