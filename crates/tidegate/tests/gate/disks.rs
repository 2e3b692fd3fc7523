//! Disks that are slow, full or not to be written: what is not recorded is not delivered, what is not entered does not open.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::preload::{Done, SlowDisk, WatchedDisk};

use crate::demo::{Talk, eventually};
use crate::served::{Plan, Served};

/// Something mounted over a directory of the gate's; taken away when dropped.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    fn new(at: &Path, arguments: &[&str]) -> Self {
        let mounted = Command::new("mount").args(arguments).arg(at).status().unwrap();
        assert!(mounted.success(), "a file system is mounted for this test, which takes root");
        Self(at.to_owned())
    }

    /// Nothing can be written here any more.
    pub(crate) fn read_only(at: &Path) -> Self {
        let bound = Self::new(at, &["--bind", at.to_str().unwrap()]);
        assert!(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(at).status().unwrap().success());
        bound
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

// covers: F1 (ssh), SES-3 (ssh), SSH-3 (ssh)
#[test]
fn a_slow_disk_slows_the_session_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SlowDisk::build(dir.path(), "/recordings/", 150).unwrap();
    let gate = Served::with(Plan { environment: disk.environment(), ..Plan::default() });
    gate.grant("ana", "db-1", "shell", "1h");
    gate.grant("ben", "build-1", "shell", "1h");
    let size = 1 << 20;
    let random = format!("exec head -c {size} /dev/urandom | base64 -w 0");
    let take = |what: &str| {
        let started = Instant::now();
        let out = gate.ssh("ana", "db-1+shell", &[], &[&random]).output().unwrap();
        assert!(out.status.success(), "{what}: {}", String::from_utf8_lossy(&out.stderr));
        (started.elapsed(), out.stdout)
    };
    let (fast, _) = take("fast");
    disk.slow(true).unwrap();
    let (slow, received) = take("slow");
    disk.slow(false).unwrap();
    // All that was received is recorded, though the disk could not keep up.
    let session = gate.ended_sessions("ana").pop().unwrap();
    let shown = gate.shown(session["id"].as_str().unwrap());
    assert_eq!(shown.len(), received.len(), "not all that was received is recorded");
    assert!(shown.as_bytes() == received, "what was received is recorded otherwise");
    // What else this machine does may slow one of the others, too.
    let (again, _) = take("fast again");
    assert!(slow > fast.min(again) + Duration::from_millis(800), "the disk was slow: {fast:?}, {slow:?}, {again:?}");
    gate.assert_provable();
}

// covers: F1 (ssh, api), SES-3 (ssh)
#[test]
fn what_is_answered_and_what_is_shown_under_sync_is_on_the_disk_by_then() {
    let dir = tempfile::tempdir().unwrap();
    let disk = WatchedDisk::build(dir.path(), "/data/").unwrap();
    let gate = Served::with(Plan { environment: disk.environment(), ..Plan::default() });
    let synced = |file: &str| disk.done(file).unwrap().into_iter().filter(|done| *done == Done::Synced).count();
    // Whoever is told that something is entered can rely on it, each time.
    for at in 0..3 {
        let before = synced("store.db");
        gate.post("dan", "/api/v1/locks", json!({"scope": format!("network:203.0.113.{at}/32"), "reason": "drill"}));
        assert!(synced("store.db") > before, "{at}: it is answered and not on the disk");
    }
    // So can whoever sees something under `sync` rely on its recording.
    gate.change_policy("tiers.toml", |text| text.replacen("name = \"prod\"\n", "name = \"prod\"\ndurability = \"sync\"\n", 1));
    gate.grant("ana", "db-1", "shell", "1h");
    let mut live = Talk::start(gate.ssh("ana", "db-1+shell", &[], &["for n in 1 2 3; do echo shown-$((n + 40)); read go; done"]));
    for n in 41..44 {
        live.until(&format!("shown-{n}"));
        let recording = gate.live_session("ana").unwrap()["recording"].as_str().unwrap().to_owned();
        let done = disk.done(&recording).unwrap();
        assert_eq!(done.last(), Some(&Done::Synced), "{n}: it is shown and not on the disk: {done:?}");
        assert!(done.contains(&Done::Written));
        live.say("go\n");
    }
    live.end();
    gate.assert_provable();
}

// covers: F1 (ssh), SES-3 (ssh)
#[test]
fn a_disk_that_is_full_when_a_session_ends_is_what_ended_it() {
    let mut gate = Served::start();
    gate.grant("ana", "db-1", "shell", "1h");
    gate.stop();
    let recordings = gate.dir().join("data/recordings");
    let small = Mounted::new(&recordings, &["-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs"]);
    gate.run_again();
    for (full, end) in [(false, "client"), (true, "recorder")] {
        let command = "echo ready; read go; head -c 6000 /dev/urandom | base64 -w0; echo the-secret-$((40+2))";
        let mut live = Talk::start(gate.ssh("ana", "db-1+shell", &[], &[command]));
        live.until("ready");
        let session = gate.live_session("ana").unwrap()["id"].as_str().unwrap().to_owned();
        eventually("what was shown so far is written", || gate.recording(&session).contains("ready").then_some(()));
        let filled = full.then(|| fill(&recordings));
        live.say("go\n");
        live.end();
        let row = eventually("it has ended", || {
            let row = gate.get("eve", &format!("/api/v1/sessions/{session}"));
            (row["state"] == "ended").then_some(row)
        });
        assert_eq!((&row["end"], row["recording_digest"].is_string()), (&json!(end), !full), "{row}");
        let entries = gate.get("eve", &format!("/api/v1/audit/entries?event=session.ended&about={session}"));
        assert!(entries["items"][0].to_string().contains(&format!("\"{end}\"")), "{entries}");
        assert_eq!(gate.recording(&session).contains("the-secret-42"), !full, "what cannot be recorded is no secret of the disk's");
        if let Some(filled) = filled {
            std::fs::remove_file(filled).unwrap();
        }
    }
    gate.assert_provable();
    gate.stop();
    drop(small);
}

/// Leaves no room; what is left of the last page of each file is all that can be written.
fn fill(dir: &Path) -> PathBuf {
    let fill = dir.join("fill");
    let _ = Command::new("dd").args(["if=/dev/zero", "bs=512"]).arg(format!("of={}", fill.display())).output().unwrap();
    fill
}

// covers: F1 (ssh), SES-3 (ssh), SSH-2 (ssh)
#[test]
fn a_long_transfer_ends_when_its_recording_cannot_be_written() {
    let mut gate = Served::start();
    gate.grant("ana", "db-1", "shell", "1h");
    gate.stop();
    let recordings = gate.dir().join("data/recordings");
    let small = Mounted::new(&recordings, &["-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs"]);
    gate.run_again();
    let sent = gate.dir().join("sent");
    // Of a file only the beginning is recorded. Nobody waits until a TiB is through.
    for (full, size, end) in [(false, 80_u64 << 20, "client"), (true, 1 << 40, "recorder")] {
        std::fs::File::create(&sent).unwrap().set_len(size).unwrap();
        let mut ssh = gate.ssh("ana", "db-1+shell", &[], &[&format!("scp -f {}", sent.display())]);
        let mut child = ssh.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let session = eventually("it is live", || gate.live_session("ana"))["id"].as_str().unwrap().to_owned();
        // What `scp` says at the other end: go on, each time.
        child.stdin.take().unwrap().write_all(&[0; 3]).unwrap();
        eventually("its beginning is written", || gate.recording(&session).contains("C0").then_some(()));
        let filled = full.then(|| fill(&recordings));
        assert_eq!(child.wait().unwrap().success(), !full);
        let row = eventually("it has ended", || {
            let row = gate.get("eve", &format!("/api/v1/sessions/{session}"));
            (row["state"] == "ended").then_some(row)
        });
        assert_eq!(row["end"], end, "{row}");
        if let Some(filled) = filled {
            std::fs::remove_file(filled).unwrap();
        }
    }
    gate.assert_provable();
    gate.stop();
    drop(small);
}

// covers: F1 (ssh), F1 (api), F1 (cli), EV-1 (api)
#[test]
fn what_cannot_be_entered_does_not_happen_and_is_told() {
    let mut gate = Served::start();
    gate.grant("ana", "db-1", "shell", "1h");
    let echo = |gate: &Served, text: &str| gate.ssh("ana", "db-1+shell", &[], &[&format!("echo {text}")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&echo(&gate, "first").stdout).trim(), "first");
    let mut live = Talk::start(gate.ssh("ana", "db-1+shell", &[], &["i=0; while :; do i=$((i+1)); echo line-$i; sleep 0.1; done"]));
    live.until("line-3");

    // No recording can be begun: nothing opens, and the sentence says what to check. What is recorded already goes on.
    let recordings = gate.dir().join("data/recordings");
    let filled = Mounted::read_only(&recordings);
    let refused = echo(&gate, "must-not-open");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.stdout.is_empty() && refused.status.code() == Some(76) && said.contains("cannot be recorded"), "{said}");
    drop(filled);
    assert_eq!(String::from_utf8_lossy(&echo(&gate, "again").stdout).trim(), "again");
    let _ = live.child.kill();

    // The audit log's directory can't be written: that is an alarm, and everything stays in the store until it can.
    let audit = gate.dir().join("data/audit");
    let shut = Mounted::read_only(&audit);
    let asked = json!({"resource": "web-1", "role": "debug", "reason": "looking", "duration": "1h"});
    gate.post("ana", "/api/v1/requests", asked);
    eventually("readiness says that the log is stuck", || {
        let (status, ready) = gate.api("dan", "GET", "/readyz", None);
        (status == 503 && ready["log"] == false).then_some(())
    });
    drop(shut);
    eventually("and when it is not any more", || (gate.api("dan", "GET", "/readyz", None).0 == 200).then_some(()));
    gate.assert_provable();

    // A store that is full: nothing is granted, nothing opens, nothing is half done; and when there is room, all is as it was.
    gate.stop();
    let data = gate.dir().join("data");
    let copy = gate.dir().join("data.kept");
    std::fs::rename(&data, &copy).unwrap();
    std::fs::create_dir(&data).unwrap();
    let small = Mounted::new(&data, &["-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs"]);
    assert!(Command::new("cp").arg("-a").arg(format!("{}/.", copy.display())).arg(&data).status().unwrap().success());
    gate.run_again();
    let again = echo(&gate, "on-a-small-disk");
    assert_eq!(String::from_utf8_lossy(&again.stdout).trim(), "on-a-small-disk", "{}", String::from_utf8_lossy(&again.stderr));
    fill(&data);
    let wish = json!({"resource": "build-1", "role": "shell", "reason": "x", "duration": "1h"});
    let fate = eventually("the store has no room left", || {
        let (status, answer) = gate.api("ben", "POST", "/api/v1/requests", Some(wish.clone()));
        (status >= 500).then_some((status, answer))
    });
    assert_eq!((fate.0, &fate.1["code"]), (503, &json!("store_unavailable")), "{fate:?}");
    let refused = gate.ssh("ben", "build-1+shell", &[], &["echo must-not-open"]).output().unwrap();
    assert!(refused.stdout.is_empty() && !refused.status.success(), "{}", String::from_utf8_lossy(&refused.stderr));
    let by_command = gate.tidegate("ben", &["request", "create", "build-1", "shell", "--reason", "x"]);
    assert!(!by_command.status.success(), "{}", String::from_utf8_lossy(&by_command.stdout));
    std::fs::remove_file(data.join("fill")).unwrap();
    eventually("it grants again", || {
        let (status, _) = gate.api("ben", "POST", "/api/v1/requests", Some(wish.clone()));
        (status < 300).then_some(())
    });
    gate.assert_provable();
    gate.stop();
    drop(small);
}
