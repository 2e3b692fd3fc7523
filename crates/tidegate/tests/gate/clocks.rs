//! The wall clock is set while people work, by Debian's libfaketime. What counts is a stopwatch outside that nobody sets.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::preload::WallClock;
use testkit::sshd::SshdOptions;

use crate::demo::{Talk, eventually, lives};
use crate::known::program;
use crate::served::{Plan, Served};

/// How late a cut may be on a busy machine. It is never early.
const LATE: Duration = Duration::from_secs(4);

/// A gate and a target that run by a wall clock of their own.
fn by_a_clock_of_its_own(clock: &WallClock) -> Served {
    let through =
        std::iter::once("env".to_owned()).chain(clock.environment().into_iter().map(|(name, value)| format!("{name}={value}"))).collect();
    Served::with(Plan { environment: clock.environment(), target: SshdOptions { through, ..SshdOptions::default() }, ..Plan::default() })
}

/// Something at the target that says that it lives, ten times a second.
fn ticking(gate: &Served, person: &str, selector: &str) -> (Talk, u32) {
    let talk = Talk::start(gate.ssh(person, selector, &[], &["echo pid-$$-; while :; do echo tick; sleep 0.1; done"]));
    let pid = eventually("the target's process", || talk.heard().split("pid-").nth(1)?.split_once('-')?.0.parse().ok());
    (talk, pid)
}

fn refused_for_the_clock(gate: &Served, person: &str) {
    let refused = gate.ssh(person, "build-1+shell", &[], &["echo inside"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!((refused.status.code(), String::from_utf8_lossy(&refused.stdout).trim()), (Some(75), ""), "{said}");
    assert!(said.contains("clock is behind"), "{said}");
}

fn lets_in(gate: &Served, person: &str) {
    let inside = gate.ssh(person, "build-1+shell", &[], &["echo inside"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&inside.stdout).trim(), "inside", "{}", String::from_utf8_lossy(&inside.stderr));
}

/// Waits until it is cut; how long that was after `from`, by the stopwatch.
fn cut_after(talk: &mut Talk, pid: u32, from: Instant) -> Duration {
    eventually("the process at the target is gone", || (!lives(pid)).then_some(()));
    let at = from.elapsed();
    assert_ne!(talk.end(), 0);
    at
}

#[test]
fn the_false_clock_is_the_wall_clock_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let clock = WallClock::right(dir.path()).unwrap();
    let read = || {
        const CLOCKS: &str = "import time; print(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic())";
        let shown = Command::new("python3").args(["-c", CLOCKS]).envs(clock.environment()).output().unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        shown.split_whitespace().map(|n| n.parse::<f64>().unwrap()).collect::<Vec<_>>()
    };
    let right = read();
    for (to, step) in [("+1h", 3600.0), ("-1h", -3600.0)] {
        clock.set(to).unwrap();
        let set = read();
        assert!((set[0] - right[0] - step).abs() < 30.0, "the wall clock: {right:?} {set:?}");
        assert!((0.0..30.0).contains(&(set[1] - right[1])), "the boot clock: {right:?} {set:?}");
        assert!((0.0..30.0).contains(&(set[2] - right[2])), "the monotonic clock: {right:?} {set:?}");
    }
}

// covers: D4 (ssh), GRANT-7 (ssh)
#[test]
fn a_clock_set_back_and_forth_makes_no_session_longer() {
    let dir = tempfile::tempdir().unwrap();
    let clock = WallClock::right(dir.path()).unwrap();
    let mut gate = by_a_clock_of_its_own(&clock);
    let length = Duration::from_secs(12);

    // Back an hour: nothing opens, and what is open ends when it would have.
    gate.grant("ana", "build-1", "shell", "12s");
    let asked = Instant::now();
    let (mut ana, pid) = ticking(&gate, "ana", "build-1+shell");
    let in_at = Instant::now();
    clock.set("-1h").unwrap();
    refused_for_the_clock(&gate, "ana");
    assert!(lives(pid), "time that goes back ends nothing");
    clock.set("+0").unwrap();
    lets_in(&gate, "ana");
    clock.set("-1h").unwrap();
    let length_seen = cut_after(&mut ana, pid, asked);
    assert!(length_seen >= length && in_at.elapsed() < length + LATE, "{length_seen:?}");
    clock.set("+0").unwrap();

    // Forward an hour: what ends within it ends now, what lasts longer stays, and what is granted then lasts as long as ever.
    gate.grant("ana", "build-1", "shell", "30m");
    gate.grant("ben", "build-1", "shell", "4h");
    let (mut ana, hers) = ticking(&gate, "ana", "build-1+shell");
    let (ben, his) = ticking(&gate, "ben", "build-1+shell");
    let stepped = Instant::now();
    clock.set("+1h").unwrap();
    assert!(cut_after(&mut ana, hers, stepped) < LATE);
    gate.grant("dan", "build-1", "shell", "12s");
    let asked = Instant::now();
    let (mut dan, pid) = ticking(&gate, "dan", "build-1+shell");
    let in_at = Instant::now();
    assert!(lives(his), "{}", ben.heard());
    // And back to what it was: an hour behind the gate's own log.
    clock.set("+0").unwrap();
    refused_for_the_clock(&gate, "ben");
    let length_seen = cut_after(&mut dan, pid, asked);
    assert!(length_seen >= length && in_at.elapsed() < length + LATE, "{length_seen:?}");
    assert!(lives(his));
    clock.set("+1h").unwrap();
    lets_in(&gate, "ben");
    gate.assert_provable();

    // Killed, and started again by a clock that is an hour behind: nothing opens until it is right, and then the time is over.
    let grant = gate.grant("ana", "build-1", "shell", "12s");
    let (mut ana, pid) = ticking(&gate, "ana", "build-1+shell");
    let in_at = Instant::now();
    gate.kill();
    assert_ne!(ana.end(), 0);
    eventually("what ran is gone with its connection", || (!lives(pid)).then_some(()));
    clock.set("+0").unwrap();
    gate.run_again();
    refused_for_the_clock(&gate, "ana");
    refused_for_the_clock(&gate, "ben");
    std::thread::sleep(length.saturating_sub(in_at.elapsed()));
    clock.set("+1h").unwrap();
    let ended = eventually("her grant is over", || {
        let row = gate.get("ana", &format!("/api/v1/grants/{grant}"));
        (row["state"] == "ended").then_some(row)
    });
    assert_eq!(ended["end"], json!("expired"), "{ended}");
    assert!(in_at.elapsed() < length + LATE);
    let refused = gate.ssh("ana", "build-1+shell", &["-o", "SetEnv=TIDEGATE_WAIT=0"], &["echo inside"]).output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    let grants = gate.get("ana", "/api/v1/grants?state=active");
    let old_one = grants["items"].as_array().unwrap().iter().any(|g| g["id"] == json!(grant));
    assert!(!old_one, "{told}{grants}");
    gate.assert_provable();
}

// covers: D4 (ssh, cli), GRANT-7 (ssh, cli)
#[test]
fn a_clock_that_ran_ahead_once_is_accepted_at_the_machine_and_nobody_gains_time() {
    let dir = tempfile::tempdir().unwrap();
    let clock = WallClock::right(dir.path()).unwrap();
    let mut gate = by_a_clock_of_its_own(&clock);
    let accept = |gate: &Served| {
        let mut command = Command::new(program());
        command.env_clear().env("TIDEGATE_CONFIG", gate.dir().join("tidegate.toml")).args(["clock", "accept", "--json"]);
        let output = command.output().unwrap();
        (output.status.success(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    };
    let (done, told) = accept(&gate);
    assert!(!done && told.contains("nothing to accept"), "while the clock is right: {told}");

    // Hours ahead for a moment: what is asked then is in the log with that time.
    clock.set("+6h").unwrap();
    let grant = gate.grant("ana", "build-1", "shell", "2h");
    let (mut ana, pid) = ticking(&gate, "ana", "build-1+shell");
    clock.set("+0").unwrap();
    refused_for_the_clock(&gate, "ana");
    assert!(lives(pid));

    let (done, told) = accept(&gate);
    assert!(done, "{told}");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["sessions"], &told["grants"]), (&json!(1), &json!(1)), "{told}");
    cut_after(&mut ana, pid, Instant::now());
    // Nobody has anything for longer; who asks again works, before and after a restart.
    for again in [false, true] {
        if again {
            gate.stop();
            gate.run_again();
        }
        let row = gate.get("ana", &format!("/api/v1/grants/{grant}"));
        assert_eq!((&row["state"], &row["end"]), (&json!("ended"), &json!("revoked")), "{row}");
        let fresh = gate.grant("ana", "build-1", "shell", "1h");
        lets_in(&gate, "ana");
        gate.post("ana", &format!("/api/v1/grants/{fresh}/return"), json!({}));
    }
    let entries = gate.get("eve", "/api/v1/audit/entries?event=clock.accepted");
    assert_eq!(entries["items"].as_array().unwrap().len(), 1, "{entries}");
    assert!(entries["items"][0]["texts"]["by"].as_str().unwrap().contains("of the gate's machine"), "{entries}");
    gate.assert_provable();
}
