//! A start on something broken ends with a sentence: what, why, what to do. Put right, it starts; nothing was lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::demo::Talk;
use crate::known::program;

/// A configuration, the example's policy, and what a gate left behind that ran once.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self::never_started();
        home.starts();
        home
    }

    /// The same before anything ran.
    fn never_started() -> Self {
        let home = Self(tempfile::Builder::new().prefix("start-").tempdir().unwrap());
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policy");
        let copied = Command::new("cp").arg("-r").arg(example).arg(home.path("policy")).status().unwrap();
        assert!(copied.success());
        let config = "node = \"one\"\ndata_dir = \"data\"\npolicy_dir = \"policy\"\n[listen]\napi = \"127.0.0.1:0\"\nssh = \"127.0.0.1:0\"\n\
                      plain_http = true\n[audit]\ncheckpoints = \"published\"\n";
        fs::write(home.path("tidegate.toml"), config).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn serve(&self) -> Command {
        let mut serve = Command::new(program());
        serve.args(["serve", "--config"]).arg(self.path("tidegate.toml")).stdout(Stdio::piped()).stderr(Stdio::piped());
        serve
    }

    /// It starts, and is stopped in order; what it said.
    fn starts(&self) -> String {
        let mut gate = Talk::start(self.serve());
        gate.until("The gate serves");
        let stopped = Command::new("kill").args(["-TERM", &gate.child.id().to_string()]).status().unwrap();
        assert!(stopped.success());
        assert_eq!(gate.end(), 0);
        gate.heard()
    }

    /// It does not start, and says why.
    fn refuses(&self, words: &[&str]) {
        let ended = self.serve().output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success(), "{said}");
        for word in words {
            assert!(said.contains(word), "`{word}` is not in: {said}");
        }
        assert!(!said.contains("panicked"), "{said}");
    }

    fn copy(&self, from: &str, to: &str) {
        let copied = Command::new("cp").args(["-r", "--"]).arg(self.path(from)).arg(self.path(to)).status().unwrap();
        assert!(copied.success());
    }

    fn remove(&self, name: &str) {
        fs::remove_dir_all(self.path(name)).unwrap();
    }
}

// covers: MAY-8 (cli)
#[test]
fn a_broken_policy_starts_nothing_where_none_was_in_force_and_the_one_before_where_one_was() {
    let home = Home::never_started();
    let cedar = home.path("policy/access.cedar");
    let good = fs::read_to_string(&cedar).unwrap();
    let broken = format!("{good}permit(principal, action, resource\n");
    fs::write(&cedar, &broken).unwrap();
    fs::write(home.path("policy/windows.toml"), "[[window]]\nnam = \"x\"\n").unwrap();
    home.refuses(&["cannot use the policy directory", "no earlier policy is in force", "access.cedar", "windows.toml", "nam"]);
    fs::remove_file(home.path("policy/windows.toml")).unwrap();
    home.refuses(&["cannot use the policy directory", "access.cedar"]);
    home.remove("policy");
    home.refuses(&["cannot use the policy directory", "no earlier policy is in force"]);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policy");
    assert!(Command::new("cp").arg("-r").arg(example).arg(home.path("policy")).status().unwrap().success());
    home.starts();
    // From now on there is one that was in force.
    fs::write(&cedar, &broken).unwrap();
    let said = home.starts();
    assert!(said.contains("has mistakes; the policy in force stays in force") && said.contains("access.cedar"), "{said}");
    fs::write(&cedar, &good).unwrap();
    assert!(!home.starts().contains("has mistakes"));
}

// covers: F1 (cli)
#[test]
fn a_damaged_store_is_refused_and_a_whole_one_starts_again() {
    let home = Home::new();
    home.copy("data", "kept");
    let store = home.path("data/store.db");
    let mut bytes = fs::read(&store).unwrap();
    for byte in bytes.iter_mut().skip(4096).step_by(3) {
        *byte ^= 0x5a;
    }
    fs::write(&store, bytes).unwrap();
    home.refuses(&["cannot open the store", "is damaged", "restore it from a backup"]);
    fs::write(&store, "no database at all").unwrap();
    home.refuses(&["is damaged", "restore it from a backup"]);
    home.remove("data");
    home.copy("kept", "data");
    home.starts();
}

// covers: F3, EV-2 (cli)
#[test]
fn a_store_that_was_rolled_back_is_refused_with_what_to_do() {
    let home = Home::new();
    home.copy("data", "kept");
    home.starts();
    home.copy("data", "newer");
    home.remove("data");
    home.copy("kept", "data");
    home.refuses(&["the store has", "published at", "was rolled back", "restore a newer copy"]);
    let doctor = Command::new(program()).args(["doctor", "--config"]).arg(home.path("tidegate.toml")).output().unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("store and log were rolled back"), "{said}");
    home.remove("data");
    home.copy("newer", "data");
    home.starts();
}

// covers: SES-3 (cli), F1 (cli)
#[test]
fn recordings_that_cannot_be_written_are_said_at_the_start() {
    let home = Home::new();
    let recordings = home.path("data/recordings");
    fs::remove_dir_all(&recordings).unwrap();
    fs::write(&recordings, "a file").unwrap();
    home.refuses(&["recordings cannot be written to", "has to be a directory"]);
    fs::remove_file(&recordings).unwrap();
    home.starts();
    let mount = |options: &str| Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&recordings).status().unwrap();
    assert!(mount("ro,size=1m").success(), "a read-only file system is mounted for this test, which takes root");
    home.refuses(&["recordings cannot be written to", "not mounted read-only"]);
    let doctor = Command::new(program()).args(["doctor", "--config"]).arg(home.path("tidegate.toml")).output().unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(Command::new("umount").arg(&recordings).status().unwrap().success());
    assert!(said.contains("recordings") && said.contains("cannot be written"), "{said}");
    home.starts();
}

// covers: F1 (cli)
#[test]
fn a_full_disk_at_the_start_is_a_sentence() {
    let home = Home::new();
    home.copy("data", "kept");
    home.remove("data");
    let data = home.path("data");
    fs::create_dir(&data).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=6m,mode=700", "tmpfs"]).arg(&data).status().unwrap();
    assert!(mounted.success(), "a small disk is mounted for this test, which takes root");
    assert!(Command::new("sh").arg("-c").arg(format!("cp -r {0}/kept/. {0}/data/", home.0.path().display())).status().unwrap().success());
    let fill = data.join("fill");
    let filled = Command::new("dd").args(["if=/dev/zero", "bs=512"]).arg(format!("of={}", fill.display())).output().unwrap();
    assert!(!filled.status.success(), "there was room without end");
    home.refuses(&["the disk that holds the store", "full"]);
    fs::remove_file(&fill).unwrap();
    home.starts();
    assert!(Command::new("umount").arg("-l").arg(&data).status().unwrap().success());
}

// covers: F3, EV-2 (cli)
#[test]
fn a_log_that_was_taken_away_is_not_signed_anew_unless_somebody_says_so() {
    let home = Home::new();
    home.copy("data/audit", "kept");
    home.remove("data/audit");
    fs::remove_file(home.path("published")).unwrap();
    // Whoever can write there cannot have the gate sign another history.
    home.refuses(&["holds no log", "restore `audit/`", "--rebuild-log"]);
    home.refuses(&["holds no log"]);
    assert!(!home.path("data/audit/checkpoint").exists() && !home.path("published").exists(), "nothing was signed");
    let doctor = Command::new(program()).args(["doctor", "--config"]).arg(home.path("tidegate.toml")).output().unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("lost or taken away"), "{said}");
    home.remove("data/audit");
    home.copy("kept", "data/audit");
    home.starts();

    // Said so, it is made anew, and an entry says that it was.
    home.remove("data/audit");
    let mut serve = home.serve();
    serve.arg("--rebuild-log");
    let mut gate = Talk::start(serve);
    gate.until("The gate serves");
    assert!(Command::new("kill").args(["-TERM", &gate.child.id().to_string()]).status().unwrap().success());
    assert_eq!(gate.end(), 0);
    let begun = Command::new("grep").args(["-rhao", "log.started"]).arg(home.path("data/audit/tile/entries")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&begun.stdout).lines().count(), 2, "once at the beginning, and once now");
    home.starts();
}

#[test]
fn keys_that_are_gone_are_not_made_anew_by_whoever_looks_or_starts() {
    let home = Home::new();
    home.copy("data/keys", "kept");
    home.remove("data/keys");
    fs::create_dir(home.path("data/keys")).unwrap();
    let doctor = Command::new(program()).args(["doctor", "--config"]).arg(home.path("tidegate.toml")).output().unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(!doctor.status.success() && said.contains("they are gone"), "{said}");
    home.refuses(&["keys are gone", "restore it from the backup"]);
    assert_eq!(fs::read_dir(home.path("data/keys")).unwrap().count(), 0, "nothing was made in their place");
    home.remove("data/keys");
    home.copy("kept", "data/keys");
    // The directory came back as the copy left it.
    fs::set_permissions(home.path("data/keys"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    home.starts();
}
