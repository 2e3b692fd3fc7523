//! Joining somebody's terminal: `ssh -t -s HOST join SESSION`, a subsystem like the one for more time.
//!
//! Who joins has opened a session of their own first, to the same resource as the same role: so by a grant of theirs, cut when that
//! ends, and with a recording of what they saw and typed. What they type stands in the recording of the session they joined too, on a
//! channel of its own, so that each letter has one author. See `docs/adr/0017-joining-is-a-session-of-ones-own.md`.

use std::sync::Arc;
use std::time::Duration;

use access::ids::SessionId;
use access::reason::{Reason, Refusal};
use bytes::Bytes;
use evidence::recording::{Direction, FrameKind};
use russh::ChannelMsg;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::ask::{self, Left, show};
use super::channel::{Wishes, leave, refuse};
use super::lane::{Cargo, Lane, Stream};
use super::live::{Live, Notice};
use super::relay::{self, ClientSide};
use super::session::Visit;
use super::stage::Stage;
use super::text;

/// The subsystem's name; no role can list it as one of a target's.
const NAME: &str = "join";
/// How often it is asked whether they may still see that session.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Reads the name of a subsystem; `None` if it is not this one.
pub(crate) fn asked(subsystem: &str) -> Option<Result<SessionId, Refusal>> {
    let rest = subsystem.strip_prefix(NAME)?;
    if !rest.is_empty() && !rest.starts_with(' ') {
        return None;
    }
    Some(rest.trim().parse().map_err(|_| Refusal::because(Reason::Invalid, "write it like `ssh -t -s HOST join SESSION`")))
}

/// Goes in, joins, and stays until one of both sessions ends.
pub(crate) async fn serve(visit: &Arc<Visit>, mut client: ClientSide, mut wishes: Wishes, which: Result<SessionId, Refusal>) {
    let joined = match which {
        Ok(host) => enter(visit, &mut client, &mut wishes, host).await,
        Err(refusal) => Err(refusal.into()),
    };
    match joined {
        Ok(joined) => joined.stay(visit, client, wishes).await,
        Err(Left::Refused(refusal)) => refuse(&client, wishes.terminal.is_some(), &refusal).await,
        Err(Left::Waiting(line)) => leave(&client, wishes.terminal.is_some(), &line, Reason::Pending.ssh_exit()).await,
        Err(Left::Gone) => {
            let _ = client.tx.close().await;
        }
    }
}

/// Somebody in somebody else's terminal.
struct Joined {
    live: Arc<Live>,
    host: Arc<Live>,
    stage: Arc<Stage>,
    /// The channel of the other session's recording on which stands what is typed from here.
    typed_as: u32,
    seen: mpsc::Receiver<Bytes>,
}

async fn enter(visit: &Arc<Visit>, client: &mut ClientSide, wishes: &mut Wishes, session: SessionId) -> Result<Joined, Left> {
    if wishes.terminal.is_none() {
        return Err(Refusal::because(Reason::Invalid, "joining needs a terminal: `ssh -t -s HOST join SESSION`").into());
    }
    let live = ask::enter(visit, client, wishes).await?;
    visit.door.gate.may_join(&visit.knock, live.facts.session, session).await?;
    let gone = || Refusal::because(Reason::SessionEnded, "it has no terminal any more that one could join");
    let host = visit.door.sessions.find(session).ok_or_else(gone)?;
    if host.rights != live.rights || host.facts.limits != live.facts.limits {
        let why = "what you may do there is not what that session may: a session is joined by who could do the same in one of their own";
        return Err(Refusal::because(Reason::OutsideLimits, why).into());
    }
    if !host.target.is_where(&live.target) {
        let why =
            "that session is on another machine or account than yours: what its resource or role stands for has changed since it began";
        return Err(Refusal::because(Reason::OutsideLimits, why).into());
    }
    let stage = host.stages.newest().ok_or_else(gone)?;
    let typed_as = host.next_channel();
    // INVARIANT: it stands in the log and in both recordings before anything is shown.
    visit.door.gate.joined(&visit.knock, live.facts.session, session).await?;
    let who = live.facts.username.to_string();
    let told = host.note(typed_as, json!({"kind": "joined", "by": who, "session": live.facts.session.to_string()})).await;
    told.map_err(|_| Refusal::of(Reason::RecorderFailed))?;
    let seen = stage.seen();
    host.tell(format!("{who} has joined this session: they see what you see, and can type.").into());
    Ok(Joined { live, host, stage, typed_as, seen })
}

/// Why somebody is no longer in the other's terminal.
enum Over {
    /// They left.
    Left,
    /// Their own session was cut.
    Cut(access::session::EndReason),
    /// There is nothing more to see, and why.
    Closed(&'static str),
}

impl Joined {
    async fn stay(mut self, visit: &Arc<Visit>, mut client: ClientSide, mut wishes: Wishes) {
        let lane = Lane::new(visit.number(), Cargo::Terminal, &self.live, visit.client.clone());
        let activity = json!({"kind": "join", "session": self.host.facts.session.to_string(), "of": self.host.facts.username.to_string()});
        let over = if self.live.note(lane.number, activity).await.is_err() {
            Over::Cut(access::session::EndReason::Recorder)
        } else {
            let host = self.host.facts.username.clone();
            show(
                &client,
                &format!("You are in {host}'s terminal. Ctrl-L draws most programs anew; leave with Enter ~ . or by closing this window."),
            )
            .await;
            self.relay(visit, &lane, &mut client, &mut wishes).await
        };
        let _ = self.host.note(self.typed_as, json!({"kind": "left"})).await;
        self.host.tell(format!("{} has left this session.", self.live.facts.username).into());
        match over {
            Over::Left => {}
            Over::Closed(why) => leave(&client, true, why, 0).await,
            Over::Cut(end) => {
                let _ = relay::say(&self.live, &lane, &client.tx, self.live.farewell(end)).await;
                let _ = client.tx.exit_status(76).await;
                let _ = client.tx.eof().await;
            }
        }
        let _ = lane.closed(&self.live).await;
        let _ = client.tx.close().await;
    }

    async fn relay(&mut self, visit: &Arc<Visit>, lane: &Lane, client: &mut ClientSide, wishes: &mut Wishes) -> Over {
        let (mut own_end, mut host_end) = (self.live.notices(), self.host.notices());
        let mut notices = self.live.notices();
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stage = self.stage.clone();
        let ended = async {
            tokio::select! {
                biased;
                end = relay::until_cut(&mut own_end) => Over::Cut(end),
                () = stage.over() => Over::Closed("That terminal is closed."),
                _ = relay::until_cut(&mut host_end) => Over::Closed("That session has ended."),
            }
        };
        let mut ended = std::pin::pin!(ended);
        loop {
            let kept = wishes.kept();
            let step = async {
                match kept {
                    Some(message) => Some(Heard::Typed(Some(message))),
                    None => tokio::select! {
                        bytes = self.seen.recv() => Some(Heard::Shown(bytes)),
                        message = client.rx.wait() => Some(Heard::Typed(message)),
                        Ok(()) = notices.changed() => Some(Heard::Notice(notices.borrow_and_update().clone())),
                        _ = look.tick() => None,
                    },
                }
            };
            let heard = tokio::select! {
                biased;
                over = &mut ended => return over,
                heard = step => heard,
            };
            let done = async {
                match heard {
                    Some(Heard::Shown(Some(bytes))) => self.show(lane, client, bytes).await,
                    Some(Heard::Shown(None)) => Some(Over::Closed("You read too slowly to be shown more of it. Join again.")),
                    Some(Heard::Typed(Some(message))) => self.take(lane, client, message).await,
                    Some(Heard::Typed(None)) => Some(Over::Left),
                    Some(Heard::Notice(Notice::Say(line))) => {
                        relay::say(&self.live, lane, &client.tx, &line).await.err().map(|_| Over::Cut(access::session::EndReason::Recorder))
                    }
                    Some(Heard::Notice(_)) => None,
                    None => {
                        let may = visit.door.gate.may_join(&visit.knock, self.live.facts.session, self.host.facts.session).await;
                        may.err().map(|_| Over::Closed("You may not see that session any more."))
                    }
                }
            };
            let done = tokio::select! {
                biased;
                over = &mut ended => return over,
                done = done => done,
            };
            if let Some(over) = done {
                return over;
            }
        }
    }

    async fn show(&self, lane: &Lane, client: &ClientSide, bytes: Bytes) -> Option<Over> {
        let length = bytes.len();
        let passed = match lane.take(&self.live, Stream::Out, bytes).await {
            Ok(passed) => passed,
            Err(_) => return Some(Over::Cut(access::session::EndReason::Recorder)),
        };
        for bytes in passed.on {
            let _ = client.tx.data_bytes(bytes).await;
        }
        self.live.moved(Direction::Output, length);
        None
    }

    async fn take(&self, lane: &Lane, client: &ClientSide, message: ChannelMsg) -> Option<Over> {
        match message {
            ChannelMsg::Data { data } => {
                let length = data.len();
                let passed = match lane.take(&self.live, Stream::In, data).await {
                    Ok(passed) => passed,
                    Err(_) => return Some(Over::Cut(access::session::EndReason::Recorder)),
                };
                for bytes in passed.on {
                    if self.host.keeps_content()
                        && self.host.record(self.typed_as, Direction::Input, FrameKind::Bytes, bytes.clone()).await.is_err()
                    {
                        return Some(Over::Closed("That session can no longer be recorded, and ends."));
                    }
                    if self.stage.type_in(bytes).await.is_err() {
                        return Some(Over::Closed("That terminal is closed."));
                    }
                }
                self.live.moved(Direction::Input, length);
                self.host.moved(Direction::Input, length);
                let _ = client.tx.grant_window(u32::try_from(length).unwrap_or(u32::MAX)).await;
                None
            }
            ChannelMsg::WindowChange { col_width, row_height, .. } => {
                lane.resized(&self.live, col_width, row_height).await.err().map(|_| Over::Cut(access::session::EndReason::Recorder))
            }
            ChannelMsg::Close | ChannelMsg::Eof => Some(Over::Left),
            ChannelMsg::Signal { signal } => {
                let noted = json!({"kind": "signal", "signal": text::inert(&format!("{signal:?}"), 64), "passed_on": false});
                self.live.note(lane.number, noted).await.err().map(|_| Over::Cut(access::session::EndReason::Recorder))
            }
            _ => None,
        }
    }
}

/// What happens in a joined terminal.
enum Heard {
    /// Something is shown there; `None`: no more of it to this one.
    Shown(Option<Bytes>),
    /// The one who joined sent something; `None`: their channel is gone.
    Typed(Option<ChannelMsg>),
    /// Their own session has something to say.
    Notice(Notice),
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn the_subsystem_names_one_session() {
        let id = SessionId::generate(Timestamp::UNIX_EPOCH);
        assert_eq!(asked(&format!("join {id}")), Some(Ok(id)));
        for wrong in ["join", "join ", "join x", &format!("join {id} {id}")] {
            assert_eq!(asked(wrong).unwrap().unwrap_err().reason, Reason::Invalid, "{wrong}");
        }
        for other in ["joined", "sftp", "extend 30m"] {
            assert!(asked(other).is_none(), "{other}");
        }
    }
}
