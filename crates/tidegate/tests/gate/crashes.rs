//! `kill -9` at random moments, with shells, transfers, pending requests, votes and revocations under way: no grant longer, no session
//! unrecorded, no approval lost. Seeded, so that a round can be run again; what was under way is drawn, when it is killed too.
//!
//! `TIDEGATE_CRASHES` rounds (6, and 3 on PostgreSQL) on `TIDEGATE_CRASH_GATES` gates side by side (1), begun within
//! `TIDEGATE_CRASH_MINUTES` (30), drawn from `TIDEGATE_CRASH_SEED`; `TIDEGATE_CRASH_REPORT` names a file for the sums.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::postgres::Database;

use crate::demo::{eventually, lives};
use crate::served::{Plan, Served};

/// How old what a client received must be for the recording to hold it: the last second may be lost, and a busy machine adds a little.
const KEPT_AFTER: Duration = Duration::from_millis(1200);
/// How late an end may be noticed on a busy machine.
const LATE: Duration = Duration::from_secs(5);

/// Splitmix64.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    fn milliseconds(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.below(most))
    }
}

/// A shell on a terminal that says twenty times a second what nobody else says.
struct Shell {
    child: Child,
    tag: String,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    first: Option<Instant>,
    pid: Option<u32>,
    lines: Vec<(u32, Instant)>,
}

impl Shell {
    fn open(gate: &Served, person: &str, selector: &str, tag: String) -> Self {
        let script = format!("echo pid-$$-; i=0; while :; do i=$((i+1)); echo {tag}-$i-; sleep 0.05; done");
        let mut child = gate.ssh(person, selector, &["-tt"], &[&script]).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let heard = Arc::new(Mutex::new(Heard::default()));
        let (into, mine) = (Arc::clone(&heard), format!("{tag}-"));
        std::thread::spawn(move || {
            for line in out.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                let mut heard = into.lock().unwrap();
                heard.first.get_or_insert_with(Instant::now);
                if let Some(pid) = line.strip_prefix("pid-").and_then(|l| l.split('-').next()?.parse().ok()) {
                    heard.pid = Some(pid);
                } else if let Some(n) = line.strip_prefix(&mine).and_then(|l| l.split('-').next()?.parse().ok()) {
                    heard.lines.push((n, Instant::now()));
                }
            }
        });
        Self { child, tag, heard }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What somebody was told before the gate died: `None`, if no whole answer came.
type Told = Option<(u16, Value)>;

fn did(told: &Told) -> bool {
    told.as_ref().is_some_and(|(status, _)| *status < 300)
}

struct Round {
    shells: Vec<Shell>,
    /// Of the grant that the shells stand on: its id, how long it was given for, and from when on at the latest its clock ran.
    grant: String,
    length: Duration,
    revoking: bool,
    revoked: Told,
    pending: String,
    votes: Vec<Told>,
    asked: Told,
    /// When the file on its way up was first seen at the target.
    transferring: Option<Instant>,
    killed: Instant,
}

/// One life of the gate, and its violent end.
fn live_and_die(gate: &mut Served, draw: &mut Draw, name: &str) -> Round {
    let length = [4, 8, 3600][usize::try_from(draw.below(3)).unwrap()];
    let grant = gate.grant("ana", "db-1", "shell", &format!("{length}s"));
    let other = json!({"resource": "web-1", "role": "debug", "reason": "looking", "duration": "1h"});
    let pending = gate.post("ana", "/api/v1/requests", other);
    let pending = pending["request"]["id"].as_str().unwrap().to_owned();
    let shells: Vec<Shell> = (0..1 + draw.below(3)).map(|n| Shell::open(gate, "ana", "db-1+shell", format!("{name}x{n}"))).collect();
    let sent = gate.dir().join("big.up");
    let _ = std::fs::remove_file(&sent);
    let mut transfer = transfer(gate);
    let (revoke, votes, ask) = (draw.below(3) == 0, 1 + draw.below(2), draw.below(2) == 0);
    let when: Vec<Duration> = (0..4).map(|_| draw.milliseconds(2500)).collect();
    // Sometimes right in the middle of it all, sometimes when something was received for a while.
    let kill_after = draw.milliseconds(3500);
    let once_heard = draw.below(2) == 1 && !revoke;
    let served = &*gate;
    let (revoked, votes, asked, transferring, killed) = std::thread::scope(|scope| {
        let revoked = scope.spawn(|| {
            if !revoke {
                return None;
            }
            std::thread::sleep(when[0]);
            served.try_api("carla", "POST", &format!("/api/v1/grants/{grant}/revoke"), Some(json!({"reason": "drill"})))
        });
        let vote = |who: &'static str, after: Duration| {
            let path = format!("/api/v1/requests/{pending}/approve");
            scope.spawn(move || {
                std::thread::sleep(after);
                served.try_api(who, "POST", &path, Some(json!({})))
            })
        };
        let mut voting = vec![vote("ben", when[1])];
        if votes == 2 {
            // At the same moment.
            voting.push(vote("dan", when[1]));
        }
        let asked = scope.spawn(|| {
            if !ask {
                return None;
            }
            std::thread::sleep(when[2]);
            let wish = json!({"resource": "web-1", "role": "shell", "reason": "asked while it died", "duration": "1h"});
            served.try_api("ana", "POST", "/api/v1/requests", Some(wish))
        });
        if once_heard {
            eventually("a shell is heard", || shells.iter().any(|shell| shell.heard.lock().unwrap().first.is_some()).then_some(()));
        }
        let until = Instant::now() + kill_after;
        let mut transferring = None;
        while Instant::now() < until {
            transferring = transferring.or_else(|| sent.exists().then(Instant::now));
            std::thread::sleep(Duration::from_millis(10).min(until.saturating_duration_since(Instant::now())));
        }
        let killed = Instant::now();
        assert!(Command::new("kill").args(["-KILL", &served.pid().to_string()]).status().unwrap().success());
        let votes = voting.into_iter().map(|v| v.join().unwrap()).collect();
        (revoked.join().unwrap(), votes, asked.join().unwrap(), transferring, killed)
    });
    gate.kill();
    let _ = transfer.kill();
    let _ = transfer.wait();
    Round { shells, grant, length: Duration::from_secs(length), revoking: revoke, revoked, pending, votes, asked, transferring, killed }
}

/// A file on its way up, slowly enough to be still on its way.
fn transfer(gate: &Served) -> Child {
    let file = gate.dir().join("big");
    if !file.exists() {
        std::fs::File::create(&file).unwrap().set_len(64 << 20).unwrap();
    }
    let config = gate.person("ben")["ssh_config"].as_str().unwrap();
    let mut child = Command::new("sftp")
        .args(["-F", config, "-o", "BatchMode=yes", "-l", "200000", "-b", "-", "build-1+shell.tide"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "put {} {}", file.display(), gate.dir().join("big.up").display()).unwrap();
    child
}

/// What must hold when it serves again, seen from outside.
fn check(gate: &Served, round: Round, opened_before: &BTreeMap<String, Value>, sums: &Sums) {
    // At the target: everything that stood on a connection is gone.
    for shell in &round.shells {
        if let Some(pid) = shell.heard.lock().unwrap().pid {
            eventually("what ran at the target is gone", || (!lives(pid)).then_some(()));
        }
    }
    // No session is still said to live, and each that the target let in stands in the log.
    let sessions = sessions(gate);
    let new: Vec<&Value> = sessions.iter().filter(|(id, _)| !opened_before.contains_key(*id)).map(|(_, row)| row).collect();
    for row in &new {
        assert_eq!(row["state"], json!("ended"), "{row}");
        assert!(matches!(row["end"].as_str(), Some("node" | "revoked" | "client" | "target" | "expired" | "error")), "{row}");
    }
    let log = gate.target.log();
    let let_in: Vec<String> = log
        .split_whitespace()
        .filter(|word| word.starts_with("ses_"))
        .map(|word| word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_').to_owned())
        .collect();
    for session in let_in {
        assert!(sessions.contains_key(&session), "the target let {session} in, and the log knows nothing of it");
    }
    // Each recording holds what its client received, but for the last second and what the machine is late by.
    let recordings: Vec<String> =
        new.iter().filter(|s| s["resource"] == "db-1").map(|s| gate.recording(s["id"].as_str().unwrap())).collect();
    let mut first_in = None;
    for shell in &round.shells {
        let heard = shell.heard.lock().unwrap();
        first_in = [first_in, heard.first].into_iter().flatten().min();
        // A cut before the end of the process is measured from its last line; what came later was never delivered.
        let end = heard.lines.last().map_or(round.killed, |(_, at)| (*at).min(round.killed));
        let must = heard.lines.iter().filter(|(_, at)| *at + KEPT_AFTER < end).map(|(n, _)| *n).max().unwrap_or(0);
        if heard.first.is_none() {
            continue;
        }
        Sums::count(&sums.shells, 1);
        Sums::count(&sums.lines_received, heard.lines.len());
        Sums::count(&sums.lines_that_must_be_recorded, must as usize);
        let mine: Vec<&String> = recordings.iter().filter(|r| r.contains(&format!("{}-1-", shell.tag)) || r.contains("pid-")).collect();
        assert!(!mine.is_empty() || must == 0, "{}: nothing is recorded of a session whose client received {must} lines", shell.tag);
        for n in 1..=must {
            let line = format!("{}-{n}-", shell.tag);
            assert!(recordings.iter().any(|r| r.contains(&line)), "{line} of {must} was received, and is not recorded");
        }
    }
    // And what was transferred is named from its beginning on.
    if round.transferring.is_some_and(|at| at + KEPT_AFTER < round.killed) {
        Sums::count(&sums.transfers, 1);
        let named = new.iter().filter(|s| s["resource"] == "build-1").any(|s| {
            let done = gate.activities(s["id"].as_str().unwrap(), "sftp");
            done.iter().any(|done| done["outcome"] == "asked" && done["path"].as_str().is_some_and(|path| path.ends_with("/big.up")))
        });
        assert!(named, "a transfer that had begun {:?} before the end is not recorded", round.transferring.map(|at| round.killed - at));
    }
    for told in &round.votes {
        Sums::count(if did(told) { &sums.votes_told } else { &sums.votes_unheard }, 1);
    }
    match &round.revoked {
        Some(told) => {
            assert_eq!(told.0, 200, "{told:?}");
            Sums::count(&sums.revocations_told, 1);
        }
        None if round.revoking => Sums::count(&sums.revocations_unheard, 1),
        None => {}
    }
    // The grant ends when it would have, and what was told to be revoked is.
    let row = gate.get("ana", &format!("/api/v1/grants/{}", round.grant));
    if let (Some(starts), Some(ends)) = (row["starts_at"].as_str(), row["ends_at"].as_str()) {
        let (starts, ends): (jiff::Timestamp, jiff::Timestamp) = (starts.parse().unwrap(), ends.parse().unwrap());
        let given = ends.duration_since(starts);
        assert!(given <= jiff::SignedDuration::try_from(round.length).unwrap(), "longer than granted: {row}");
    }
    if did(&round.revoked) {
        assert_eq!((&row["state"], &row["end"]), (&json!("ended"), &json!("revoked")), "{row}");
        let refused = gate.ssh("ana", "db-1+shell", &[], &["echo inside"]).output().unwrap();
        assert!(!String::from_utf8_lossy(&refused.stdout).contains("inside"), "a revoked grant opened");
    } else if let (Some(first_in), true) = (first_in, round.length < Duration::from_secs(60)) {
        Sums::count(&sums.ends_by_the_stopwatch, 1);
        // By a stopwatch: the clock ran at the latest when the first output came.
        std::thread::sleep((round.length + Duration::from_millis(300)).saturating_sub(first_in.elapsed()));
        let late = gate.ssh("ana", "db-1+shell", &[], &["echo inside"]).output().unwrap();
        assert!(!String::from_utf8_lossy(&late.stdout).contains("inside"), "a grant that is over opened: {row}");
        eventually("it is entered as ended", || {
            (gate.get("ana", &format!("/api/v1/grants/{}", round.grant))["state"] == "ended").then_some(())
        });
        assert!(first_in.elapsed() < round.length + LATE.max(round.killed.elapsed()) + LATE);
    }
    // What was told to be agreed is agreed, once; a vote that nobody heard of counts whole or not at all.
    let request = gate.get("ana", &format!("/api/v1/requests/{}", round.pending));
    let state = request["state"].as_str().unwrap().to_owned();
    assert!(round.votes.iter().filter(|told| did(told)).count() <= 1, "both were told that theirs decided: {:?}", round.votes);
    if round.votes.iter().any(did) {
        assert_eq!(state, "approved", "{request}");
    }
    match state.as_str() {
        "pending" => {
            let voted = gate.post("ben", &format!("/api/v1/requests/{}/approve", round.pending), json!({}));
            assert_eq!(voted["request"]["state"], json!("approved"), "{voted}");
        }
        state => assert_eq!(state, "approved", "{request}"),
    }
    if let Some((status, answer)) = &round.asked
        && *status < 300
    {
        gate.get("ana", &format!("/api/v1/requests/{}", answer["request"]["id"].as_str().unwrap()));
    }
    gate.assert_provable();
    tidy(gate);
}

/// So that the next round begins with nothing open.
fn tidy(gate: &Served) {
    for person in ["ana", "ben"] {
        for state in ["active", "ready"] {
            for grant in gate.get(person, &format!("/api/v1/grants?state={state}"))["items"].as_array().unwrap() {
                let (status, said) =
                    gate.api(person, "POST", &format!("/api/v1/grants/{}/return", grant["id"].as_str().unwrap()), Some(json!({})));
                assert!(status < 300 || status == 409, "{status} {said}");
            }
        }
        for request in gate.get(person, "/api/v1/requests?state=pending")["items"].as_array().unwrap() {
            gate.post(person, &format!("/api/v1/requests/{}/cancel", request["id"].as_str().unwrap()), json!({}));
        }
    }
}

/// The newest sessions by id.
fn sessions(gate: &Served) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let page = gate.get("eve", &format!("/api/v1/sessions?all=true&limit=500{cursor}"));
        for row in page["items"].as_array().unwrap() {
            all.insert(row["id"].as_str().unwrap().to_owned(), row.clone());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// A gate goes through so many lives; then another begins, since one that died a hundred times proves its log slowly.
const LIVES: u64 = 100;

/// What all rounds saw together; rounds that saw nothing prove nothing.
#[derive(Default)]
struct Sums {
    crashes: AtomicU64,
    shells: AtomicU64,
    lines_received: AtomicU64,
    lines_that_must_be_recorded: AtomicU64,
    transfers: AtomicU64,
    votes_told: AtomicU64,
    votes_unheard: AtomicU64,
    revocations_told: AtomicU64,
    revocations_unheard: AtomicU64,
    ends_by_the_stopwatch: AtomicU64,
}

impl Sums {
    fn count(sum: &AtomicU64, by: usize) {
        sum.fetch_add(by as u64, Ordering::Relaxed);
    }

    fn shown(&self) -> Value {
        let of = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        json!({
            "crashes": of(&self.crashes), "shells": of(&self.shells), "lines received": of(&self.lines_received),
            "lines that must be recorded": of(&self.lines_that_must_be_recorded), "transfers": of(&self.transfers), "votes answered": of(&self.votes_told),
            "votes without an answer": of(&self.votes_unheard), "revocations answered": of(&self.revocations_told),
            "revocations without an answer": of(&self.revocations_unheard), "ends by the stopwatch": of(&self.ends_by_the_stopwatch),
        })
    }
}

#[expect(clippy::print_stderr, reason = "a round that fails is drawn again by its number, and what the rounds saw is their result")]
fn die_often(rounds: u64, report: &str, fresh: impl Fn() -> Served + Sync) {
    let seed = number("TIDEGATE_CRASH_SEED", 20_260_301);
    let begun = Instant::now();
    let minutes = std::env::var_os("TIDEGATE_CRASH_MINUTES").map(|_| number("TIDEGATE_CRASH_MINUTES", 0));
    let until = minutes.map(|minutes| begun + Duration::from_secs(60 * minutes));
    // A round that failed is drawn again alone: the seed, this as its number, and TIDEGATE_CRASHES=1.
    let first = number("TIDEGATE_CRASH_FIRST", 0);
    let (sums, next) = (Sums::default(), AtomicU64::new(first));
    let gate = || {
        let mut gate = fresh();
        let mut lived = 0;
        while until.is_none_or(|until| Instant::now() < until) {
            let round = next.fetch_add(1, Ordering::Relaxed);
            if round >= first + rounds {
                return;
            }
            if lived == LIVES {
                gate = fresh();
                lived = 0;
            }
            // What fails says so after this.
            eprintln!("round {round} of seed {seed}");
            let mut draw = Draw(seed.wrapping_add(round.wrapping_mul(0x1000_0001)));
            let before = sessions(&gate);
            let happened = live_and_die(&mut gate, &mut draw, &format!("r{round}"));
            gate.run_again();
            check(&gate, happened, &before, &sums);
            lived += 1;
            Sums::count(&sums.crashes, 1);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..number("TIDEGATE_CRASH_GATES", 1) {
            scope.spawn(gate);
        }
    });
    let shown = sums.shown();
    eprintln!("in {} s: {shown}", begun.elapsed().as_secs());
    if let Some(dir) = std::env::var_os("TIDEGATE_CRASH_REPORT") {
        let whole = json!({"seed": seed, "seconds": begun.elapsed().as_secs(), "violations": 0, "saw": shown});
        std::fs::write(std::path::Path::new(&dir).join(report), format!("{whole:#}\n")).unwrap();
    }
    assert!(minutes.is_some() || shown["crashes"] == json!(rounds), "of {rounds} rounds some were not gone through: {shown}");
    assert!(shown["lines that must be recorded"] != json!(0) && shown["shells"] != json!(0), "nothing was seen: {shown}");
}

// covers: GRANT-7 (ssh), GRANT-7 (api), D4 (ssh), D6 (ssh), OK-8 (api), C5 (api), EV-1 (ssh)
#[test]
fn killed_at_random_the_gate_lengthens_nothing_and_loses_nothing() {
    die_often(number("TIDEGATE_CRASHES", 6), "crashes.json", Served::start);
}

// covers: GRANT-7 (ssh), GRANT-7 (api), D4 (ssh), EV-1 (ssh)
#[test]
fn killed_at_random_on_postgresql_it_does_neither() {
    let databases = Mutex::new(Vec::new());
    die_often(number("TIDEGATE_CRASHES", 3).min(200), "crashes-postgresql.json", || {
        let database = tokio::runtime::Runtime::new().unwrap().block_on(Database::fresh()).unwrap();
        let store = Some(database.url());
        databases.lock().unwrap().push(database);
        Served::with(Plan { store, ..Plan::default() })
    });
}
