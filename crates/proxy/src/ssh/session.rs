//! The session: one client connection from signing in to its end.
//!
//! A [`Visit`] is a client that has signed in; it becomes a [`Live`] session when the gatekeeper opens and the target is dialled.
//! One task, [`supervise`], holds the permit's watch and ends the session; channels only hear its notices.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use access::limits::Limits;
use access::reason::{Reason, Refusal};
use access::rights::Rights;
use access::session::{ClosedSession, Dial, EndReason, SessionFacts, Standing};
use access::time::Span;
use bytes::Bytes;
use evidence::recording::{Direction, Frame, FrameKind};
use futures::FutureExt;
use russh::server;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::door::SshDoor;
use super::flood::{self, Manner, Tolerance};
use super::forward::Forwards;
use super::live::{Live, Notice};
use super::target;
use super::text;
use super::wire::Shears;
use crate::gatekeeper::{Answer, Denied, Knock, Knocked, Opening, PermitWatch, Prove, Question, Waiting};
use crate::guests::Guest;
use crate::tape::{Tape, WHOLE_SESSION};
use crate::watched::{cut, ended_reason};

/// How long the client waits for the command that kills what still runs at a target.
const KILLS: Duration = Duration::from_millis(300);
/// How long that command may take altogether. Where a thousand sessions of one machine are cut at once, it has a thousand to run.
const KILLS_AT_MOST: Duration = Duration::from_secs(20);
/// How long channels may take to tell both sides that it is over; each bounds that itself.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long the target may take to close its connection once it was told to. A busy one that would have is not called one that did not.
const TARGET_CLOSES: Duration = Duration::from_secs(2);
/// How long the client may take to read why it was cut.
const CLIENT_READS: Duration = Duration::from_millis(400);

/// Refusals before the session is open that are kept to be reported, at most.
const REFUSED_EARLY: usize = 32;

/// A client that has signed in.
pub(crate) struct Visit {
    pub(crate) door: Arc<SshDoor>,
    pub(crate) knock: Knock,
    pub(crate) client: server::Handle,
    client_shears: Shears,
    /// Their place at the door, or why there is none for one more connection.
    guest: Result<Guest, Refusal>,
    /// Cancelled when the client's connection is over.
    pub(crate) gone: CancellationToken,
    /// The channels' tasks.
    tracker: TaskTracker,
    live: OnceLock<Arc<Live>>,
    /// Held by the one channel that knocks and asks.
    pub(crate) entering: tokio::sync::Mutex<()>,
    /// Held by the one knock that is under way, also when whoever asked for it waits no more.
    stepping: tokio::sync::Mutex<()>,
    open_channels: Arc<AtomicU32>,
    tolerance: Tolerance,
    next_channel: Arc<AtomicU32>,
    pub(crate) forwards: Forwards,
    /// What was refused before there was a session to report it for.
    refused_early: Mutex<Vec<Denied>>,
}

/// One step on the way in.
pub(crate) enum Step {
    In(Arc<Live>),
    Ask(Question),
    Waiting(Waiting),
    Prove(Prove),
    Refused(Refusal),
}

impl Visit {
    pub(crate) fn new(
        door: Arc<SshDoor>,
        knock: Knock,
        client: server::Handle,
        client_shears: Shears,
        gone: CancellationToken,
    ) -> Arc<Self> {
        let guest = door.guests.admit(knock.who.id());
        let visit = Arc::new(Self {
            door,
            knock,
            guest,
            client,
            client_shears,
            gone,
            tracker: TaskTracker::new(),
            live: OnceLock::new(),
            entering: tokio::sync::Mutex::new(()),
            stepping: tokio::sync::Mutex::new(()),
            open_channels: Arc::default(),
            tolerance: Tolerance::new(Instant::now()),
            next_channel: Arc::default(),
            forwards: Forwards::default(),
            refused_early: Mutex::default(),
        });
        if visit.guest.is_err() {
            match visit.door.guests.reader(visit.knock.who.id()) {
                Some(reader) => visit.clone().leaves_soon(reader),
                None => visit.client_shears.sever(),
            }
        }
        visit
    }

    /// For whom there is no place may read why, and goes.
    fn leaves_soon(self: Arc<Self>, reader: Guest) {
        tokio::spawn(async move {
            let _reader = reader;
            let _ = timeout(self.door.limits.grace, self.gone.cancelled()).await;
            self.client_shears.sever();
        });
    }

    /// The session, if it is open.
    pub(crate) fn live(&self) -> Option<&Arc<Live>> {
        self.live.get()
    }

    /// The number of a new channel within this session, as recordings count them.
    pub(crate) fn number(&self) -> u32 {
        self.next_channel.fetch_add(1, Ordering::Relaxed)
    }

    /// Runs a channel's task. Its panic ends the session, and only this one.
    pub(crate) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(self.clone().guarded(task));
    }

    /// The same for a task that no end of the session waits for.
    pub(crate) fn spawn_beside(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.clone().guarded(task));
    }

    fn guarded(self: Arc<Self>, task: impl Future<Output = ()> + Send + 'static) -> impl Future<Output = ()> + Send + 'static {
        let visit = self;
        // A future that awaits another one keeps room for it twice; a box is small.
        let task = task.boxed();
        async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!(client = %visit.knock.from, "a channel ended by a fault of the gate");
                match visit.live() {
                    Some(live) => live.end(EndReason::Error),
                    None => visit.client_shears.sever(),
                }
            }
        }
    }

    /// Knocks (or submits an answer) and, when the door opens, dials.
    ///
    /// Runs as a task of its own: a client that leaves meanwhile must not leave an opening behind that nobody ends.
    pub(crate) async fn step(self: &Arc<Self>, limits: &Limits, sent: &Answer, answer: Option<Answer>) -> Step {
        if let Some(live) = self.live() {
            return Step::In(live.clone());
        }
        if let Err(refusal) = &self.guest {
            return Step::Refused(refusal.clone());
        }
        let visit = self.clone();
        let knock = Knock { limits: limits.clone(), sent: sent.clone(), ..self.knock.clone() };
        let task = tokio::spawn(async move {
            // INVARIANT: one session per connection. Whoever waited here for another's knock finds what came of it.
            let _stepping = visit.stepping.lock().await;
            if let Some(live) = visit.live() {
                return Step::In(live.clone());
            }
            if visit.gone.is_cancelled() {
                return Step::Refused(Refusal::of(Reason::SessionEnded));
            }
            let gate = visit.door.gate.clone();
            let knocked = match answer {
                Some(answer) => gate.submit(&knock, answer).await,
                None => gate.knock(&knock).await,
            };
            match knocked {
                Knocked::Open(opening) => match begin(&visit, *opening).await {
                    Ok(live) => Step::In(live),
                    Err(refusal) => Step::Refused(refusal),
                },
                Knocked::Ask(question) => Step::Ask(question),
                Knocked::Waiting(waiting) => Step::Waiting(waiting),
                Knocked::Prove(prove) => Step::Prove(prove),
                Knocked::Refused(refusal) => Step::Refused(refusal),
            }
        });
        task.await.unwrap_or_else(|_| Step::Refused(Refusal::of(Reason::Internal)))
    }

    /// A place for one more channel, whoever opens it; `None` when there are too many.
    pub(crate) fn place(self: &Arc<Self>) -> Option<Place> {
        let taken = self.open_channels.fetch_add(1, Ordering::AcqRel);
        let place = Place(self.open_channels.clone());
        if taken < self.door.limits.channels {
            return Some(place);
        }
        self.refuse_once("channels", format!("more than {} open at once", self.door.limits.channels));
        None
    }

    /// Tells the audit log and the recording that something was refused. Before the session is open it is kept until then.
    pub(crate) async fn report_refused(&self, what: &'static str, detail: String) {
        if let Some(denied) = self.mark(what, detail, false) {
            self.tell(denied).await;
        }
    }

    /// The same from where nobody may wait.
    pub(crate) fn refuse(self: &Arc<Self>, what: &'static str, detail: String) {
        self.refuse_as(what, detail, false);
    }

    /// The same for what comes in numbers by its nature: told the first time only.
    pub(crate) fn refuse_once(self: &Arc<Self>, what: &'static str, detail: String) {
        self.refuse_as(what, detail, true);
    }

    fn refuse_as(self: &Arc<Self>, what: &'static str, detail: String, once: bool) {
        if let Some(denied) = self.mark(what, detail, once) {
            let reporter = self.clone();
            self.spawn(async move { reporter.tell(denied).await });
        }
    }

    /// Counts a refusal; what is to be told of it. A flood of them ends the connection.
    fn mark(&self, what: &'static str, detail: String, once: bool) -> Option<Denied> {
        match self.tolerance.mark(what, once, Instant::now()) {
            Manner::Tell => Some(Denied { what, detail }),
            Manner::Count => None,
            Manner::Flood => {
                let detail = format!("more than {} refused; the last: {what} {detail}", flood::BORNE);
                match self.live() {
                    Some(live) => live.fail(format!("This connection was closed: {detail}.")),
                    None => {
                        tracing::warn!(from = %self.knock.from, "a connection without a session was refused too often and is closed");
                        self.client_shears.sever();
                    }
                }
                Some(Denied { what: "flood", detail: text::inert(&detail, 1024) })
            }
        }
    }

    async fn tell(&self, denied: Denied) {
        match self.live() {
            Some(live) => self.report(live, denied).await,
            None => {
                let mut early = lock(&self.refused_early);
                if early.len() < REFUSED_EARLY {
                    early.push(denied);
                }
            }
        }
    }

    async fn report(&self, live: &Live, denied: Denied) {
        let _ = live.note(WHOLE_SESSION, serde_json::json!({"kind": "refused", "what": denied.what, "detail": denied.detail})).await;
        self.door.gate.refused(live.facts.session, in_the_log(denied)).await;
    }
}

/// What the log is told, which is not sealed as recordings are: arguments of commands may be secrets, so a command is its first word there;
/// the recording has the rest.
fn in_the_log(denied: Denied) -> Denied {
    if denied.what != "exec" {
        return denied;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '+');
    let first: String = denied.detail.trim_start().chars().take_while(|c| plain(*c)).take(64).collect();
    Denied { what: denied.what, detail: format!("{first} … ({} bytes, whole in the recording)", denied.detail.len()) }
}

/// One open channel of a connection.
pub(crate) struct Place(Arc<AtomicU32>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Takes an opening; dials the target with its permit; hands on a live session that is being watched.
async fn begin(visit: &Arc<Visit>, opening: Opening) -> Result<Arc<Live>, Refusal> {
    let Opening { permit, mut watch, tape } = opening;
    let (facts, dial) = permit.spend();
    let (Dial::Ssh(dial), Rights::Ssh(rights)) = (dial, facts.rights.clone()) else {
        tracing::error!(session = %facts.session, "a permit for something else came to the SSH door");
        let recording = tape.close(EndReason::Error, 0).await;
        let closed =
            ClosedSession { session: facts.session, end: EndReason::Error, confirmed: true, bytes_up: 0, bytes_down: 0, recording };
        visit.door.gate.ended(closed).await;
        return Err(Refusal::of(Reason::Internal));
    };
    let link = target::Link::default();
    let dialling = async {
        tokio::select! {
            biased;
            end = cut(&mut watch) => Err((end, Refusal::because(ended_reason(end), end.sentence().trim_end_matches('.')))),
            () = tape.failed() => Err((EndReason::Recorder, Refusal::of(Reason::RecorderFailed))),
            () = visit.gone.cancelled() => Err((EndReason::Client, Refusal::of(Reason::SessionEnded))),
            dialled = target::dial(dial, &facts, &visit.door, link.clone()) => dialled.map_err(|refusal| (EndReason::Target, refusal)),
        }
    };
    let dialled = caught(dialling).await.unwrap_or_else(|| Err((EndReason::Error, Refusal::of(Reason::Internal))));
    let target = match dialled {
        Ok(target) => target,
        Err((end, refusal)) => {
            untaken(visit, &*tape, &facts, end, &refusal).await;
            let closed = ClosedSession { session: facts.session, end, confirmed: true, bytes_up: 0, bytes_down: 0, recording: None };
            conclude(visit, &*tape, 0, closed).await;
            return Err(refusal);
        }
    };
    // INVARIANT: known before anything is started there, so that it is found there even if this gate dies.
    if let Some(ends) = target.ends() {
        let _ = caught(visit.door.gate.reached(facts.session, ends)).await;
    }
    let live = Arc::new(Live::new(facts, rights, target, tape, visit.next_channel.clone(), watch.traffic()));
    visit.door.sessions.add(&live);
    // INVARIANT: watched before anybody can relay over it; what was refused before is reported beside that.
    let (watching, kept) = (visit.clone(), live.clone());
    tokio::spawn(async move { supervise(&watching, &kept, watch).await });
    link.connect(visit);
    let _ = visit.live.set(live.clone());
    let early = std::mem::take(&mut *lock(&visit.refused_early));
    let (reporting, kept) = (visit.clone(), live.clone());
    visit.tracker.spawn(async move {
        for denied in early {
            reporting.report(&kept, denied).await;
        }
    });
    Ok(live)
}

/// Records why a target was not taken. What may be somebody's doing (another host key, an address that may not be dialled, a credential
/// that is not taken) is entered in the audit log too; that a machine is down is not.
async fn untaken(visit: &Visit, tape: &dyn Tape, facts: &SessionFacts, end: EndReason, refusal: &Refusal) {
    if end != EndReason::Target {
        return;
    }
    let why = text::inert(refusal.detail.as_deref().unwrap_or_else(|| refusal.reason.sentence()), 1024);
    let said = serde_json::json!({"kind": "target.refused", "reason": refusal.reason.code(), "why": why});
    let bytes = Bytes::from(said.to_string());
    let frame = Frame { at_us: 0, channel: WHOLE_SESSION, direction: Direction::Gate, kind: FrameKind::Activity, bytes };
    let _ = caught(tape.record(frame)).await;
    if matches!(refusal.reason, Reason::HostKeyUnknown | Reason::TargetForbidden | Reason::TargetRefused) {
        let denied = Denied { what: "target", detail: text::inert(&format!("{}: {why}", refusal.reason.code()), 1024) };
        let _ = caught(visit.door.gate.refused(facts.session, denied)).await;
    }
}

/// Runs a part of a session; `None` if it ended by a fault of the gate. Whatever is left to do for the session is done all the same.
///
/// Boxed: what a part needs while it runs is given back when it is done, and takes no room in a session that lives on.
fn caught<'a, T: 'a>(part: impl Future<Output = T> + Send + 'a) -> impl Future<Output = Option<T>> + Send + 'a {
    let part = AssertUnwindSafe(part.boxed()).catch_unwind();
    async move { part.await.map_err(|_| tracing::error!("a session ended by a fault of the gate")).ok() }
}

/// Watches a live session until it ends, closes both sides, and reports.
async fn supervise(visit: &Arc<Visit>, live: &Arc<Live>, watch: PermitWatch) {
    let mut end = caught(watch_over(visit, live, watch)).await.unwrap_or(EndReason::Error);
    visit.door.sessions.remove(live.facts.session);
    let confirmed = caught(close(visit, live, end)).await.unwrap_or_else(|| {
        end = EndReason::Error;
        live.target.sever();
        visit.client_shears.sever();
        false
    });
    let untold = visit.tolerance.untold();
    if untold > 0 {
        let denied = Denied { what: "refusals", detail: format!("{untold} more were refused and not entered one by one") };
        let _ = caught(visit.report(live, denied)).await;
    }
    let closed = ClosedSession {
        session: live.facts.session,
        end,
        confirmed,
        bytes_up: live.traffic.up(),
        bytes_down: live.traffic.down(),
        recording: None,
    };
    conclude(visit, &*live.tape, live.micros(), closed).await;
}

/// Closes the recording and reports the end, whatever fails on the way.
async fn conclude(visit: &Visit, tape: &dyn Tape, at_us: u64, closed: ClosedSession) {
    let end = closed.end;
    let closed = match caught(async { tape.close(end, at_us).await }).await {
        Some(Some(recording)) => ClosedSession { recording: Some(recording), ..closed },
        // INVARIANT: a recording that lacks its end is an event, however the session ended.
        Some(None) => ClosedSession { end: EndReason::Recorder, ..closed },
        None => ClosedSession { end: EndReason::Error, ..closed },
    };
    let _ = caught(async { visit.door.gate.ended(closed).await }).await;
}

/// Waits for whatever ends the session first, and passes on warnings meanwhile.
async fn watch_over(visit: &Arc<Visit>, live: &Arc<Live>, mut watch: PermitWatch) -> EndReason {
    let mut wanted_end = live.wanted_end.subscribe();
    let mut told = watch.told();
    let mut standing = watch.now();
    let mut end = live.facts.ends_at;
    let say = |text: Arc<str>| live.tell(text);
    loop {
        match standing {
            Standing::Cut(end) => {
                if let Some(why) = told.why(end) {
                    live.says_why(end, &why);
                }
                return end;
            }
            Standing::Warned { ends_at, left } => {
                end = Some(ends_at);
                let text = warning(&live.facts, ends_at, left, watch.may_last_longer());
                let text: Arc<str> = text.into();
                *lock(&live.warned) = Some(text.clone());
                say(text);
            }
            Standing::Open { ends_at } if ends_at != end => {
                end = ends_at;
                *lock(&live.warned) = None;
                let until = ends_at.map_or_else(|| "without an end".to_owned(), |at| format!("until {}", clock(at)));
                say(format!("This session has been extended; it is open {until}.").into());
            }
            Standing::Open { .. } => {}
        }
        standing = tokio::select! {
            biased;
            standing = watch.changed() => standing,
            () = live.tape.failed() => return EndReason::Recorder,
            () = wanted(&mut wanted_end) => return wanted_end.borrow().unwrap_or(EndReason::Error),
            () = visit.gone.cancelled() => return EndReason::Client,
            () = live.target.gone() => return EndReason::Target,
            () = live.idle() => return EndReason::Idle,
            text = told.next() => {
                say(text);
                Standing::Open { ends_at: end }
            }
        };
    }
}

/// What is said when the end is near: when, and exactly what to type, where, for more time.
fn warning(facts: &SessionFacts, ends_at: jiff::Timestamp, left: Span, may_last_longer: bool) -> String {
    let ends = format!("This session ends in {left}, at {}.", clock(ends_at));
    if may_last_longer {
        format!("{ends}\nFor more time type in another window:\n  ssh -s {}+{}.tide extend 30m 'why'", facts.resource, facts.role)
    } else {
        format!("{ends}\nIt cannot be made longer; ask again if you need it.")
    }
}

async fn wanted(end: &mut watch::Receiver<Option<EndReason>>) {
    if end.wait_for(Option::is_some).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A time of day as people read it in a terminal.
pub(crate) fn clock(at: jiff::Timestamp) -> String {
    at.strftime("%H:%M:%S UTC").to_string()
}

/// Closes both sides, the target first; says whether the target's end was seen to close. Never waits for a peer longer than a moment, but for
/// a target that is busy killing: then the client goes first.
async fn close(visit: &Arc<Visit>, live: &Arc<Live>, end: EndReason) -> bool {
    live.notices.send_replace(Notice::Cut(end));
    visit.tracker.close();
    let _ = timeout(FAREWELL, visit.tracker.wait()).await;
    // Also what runs on there although its channel is closed. A closed connection alone does not say that it is gone.
    let stopped = !end.is_cut() || nothing_runs_on(visit, live, end).await;
    let confirmed = live.target.hang_up(end, TARGET_CLOSES).await && stopped;
    dismiss(visit, live, end).await;
    confirmed
}

/// Kills what runs on at the target; whether nothing does. Where the right itself is over, daemons go as well, and it is the target that says
/// that none is left: each program seen to end says nothing of what it started.
async fn nothing_runs_on(visit: &Visit, live: &Live, end: EndReason) -> bool {
    let mut gone = Box::pin(async {
        let stopped = tokio::select! {
            biased;
            () = live.all_ended() => true,
            none_left = live.kill_processes() => none_left || live.has_all_ended(),
        };
        stopped && (!end.ends_the_right() || live.has_run_nothing() || live.target.kill_what_carries_its_ends().await)
    });
    if let Ok(gone) = timeout(KILLS, &mut gone).await {
        return gone;
    }
    dismiss(visit, live, end).await;
    let rest = if end == EndReason::Node { KILLS } else { KILLS_AT_MOST };
    timeout(rest, gone).await.unwrap_or(false)
}

/// Tells the client that it is over, and closes its connection.
async fn dismiss(visit: &Visit, live: &Live, end: EndReason) {
    // Whoever was told on a channel leaves by themselves, with the exit status they were given. Reading both at once, they would see only
    // that they were disconnected.
    if timeout(CLIENT_READS, visit.gone.cancelled()).await.is_err() {
        let bye = visit.client.disconnect(russh::Disconnect::ByApplication, live.farewell(end).to_owned(), "en".to_owned());
        let _ = timeout(CLIENT_READS, bye).await;
        let _ = timeout(CLIENT_READS, visit.gone.cancelled()).await;
    }
    visit.client_shears.sever();
}

/// A lock that a panic elsewhere does not poison.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
