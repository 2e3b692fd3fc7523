//! The policy directory while the gate serves: a broken one changes nothing, an uncommitted one is not taken, a signal takes it at once.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::demo::eventually;
use crate::known::program;
use crate::served::{Plan, Served};

fn digest(gate: &Served) -> Value {
    gate.get("dan", "/api/v1/policy")["digest"].clone()
}

fn write(gate: &Served, file: &str, change: impl FnOnce(String) -> String) {
    let path = gate.dir().join("policy").join(file);
    fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
}

fn events(gate: &Served, event: &str) -> usize {
    gate.get("eve", &format!("/api/v1/audit/entries?event={event}"))["items"].as_array().unwrap().len()
}

// covers: MAY-8 (cli), MAY-6 (cli)
#[test]
fn a_directory_that_breaks_while_the_gate_serves_changes_nothing_and_is_told() {
    let mut gate = Served::start();
    let good = digest(&gate);
    gate.grant("ana", "build-1", "shell", "1h");
    write(&gate, "access.cedar", |text| text + "permit(principal, action, resource\n");
    eventually("the broken directory is refused, and that is entered", || (events(&gate, "bundle.rejected") > 0).then_some(()));
    assert_eq!(digest(&gate), good);
    let entry = gate.get("eve", "/api/v1/audit/entries?event=bundle.rejected")["items"][0].clone();
    assert!(entry.to_string().contains("access.cedar"), "{entry}");
    assert!(gate.log().contains("the policy before stays in force") && gate.log().contains("access.cedar"), "{}", gate.log());
    let inside = gate.ssh("ana", "build-1+shell", &[], &["echo inside"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&inside.stdout).trim(), "inside", "{}", String::from_utf8_lossy(&inside.stderr));
    // It starts with the one that was in force, and says what is wrong.
    gate.stop();
    gate.run_again();
    assert_eq!(digest(&gate), good);
    assert!(gate.log().contains("has mistakes; the policy in force stays in force"), "{}", gate.log());
    // Put right, and changed besides, it is taken.
    gate.change_policy("access.cedar", |text| text.replace("permit(principal, action, resource\n", "// mended\n"));
    assert_ne!(digest(&gate), good);
    gate.assert_provable();
}

/// A `git` that counts how often it is asked how the work tree stands, and refuses where it is told to.
struct Tools(TempDir);

impl Tools {
    fn new() -> Self {
        let tools = Self(tempfile::tempdir().unwrap());
        let (asked, refuses, wrapper) = (tools.path("asked"), tools.path("refuses"), tools.path("git"));
        fs::write(&asked, "").unwrap();
        let script = format!(
            "#!/bin/sh\necho \"$*\" >>{}\nif [ -e {} ]; then echo 'fatal: detected dubious ownership in repository' >&2; exit 128; fi\n\
             PATH=/usr/local/bin:/usr/bin:/bin git \"$@\"\n",
            asked.display(),
            refuses.display()
        );
        fs::write(&wrapper, script).unwrap();
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
        tools
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn environment(&self) -> Vec<(String, String)> {
        vec![("PATH".to_owned(), format!("{}:{}", self.0.path().display(), std::env::var("PATH").unwrap()))]
    }

    fn looks(&self) -> usize {
        fs::read_to_string(self.path("asked")).unwrap().lines().filter(|line| line.contains("status")).count()
    }
}

fn git(dir: &Path, args: &[&str]) {
    let who = ["-c", "user.name=Dan", "-c", "user.email=dan@example.org", "-c", "init.defaultBranch=main"];
    let out = Command::new("git").arg("-C").arg(dir).args(who).args(args).output().unwrap();
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

// covers: MAY-8 (cli)
#[test]
fn in_a_git_work_tree_only_what_is_committed_counts_unless_somebody_says_so() {
    let tools = Tools::new();
    let mut gate = Served::with(Plan { environment: tools.environment(), ..Plan::default() });
    let dir = gate.dir().join("policy");
    let git = |args: &[&str]| git(&dir, args);
    let looks = || tools.looks();
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "as it is"]);
    let first = digest(&gate);

    // Written and not committed: it is looked at, again and again, and not taken.
    let before = looks();
    write(&gate, "roles.toml", |text| text + "# one more line\n");
    eventually("the watch has seen it three times", || (looks() >= before + 3).then_some(()));
    assert_eq!(digest(&gate), first);
    git(&["commit", "-q", "-a", "-m", "one more line"]);
    eventually("what is committed is taken", || (digest(&gate) != first).then_some(()));

    // Nor at a start.
    let second = digest(&gate);
    gate.stop();
    write(&gate, "roles.toml", |text| text + "# and another\n");
    gate.run_again();
    assert_eq!(digest(&gate), second);
    assert!(gate.log().contains("is not what its Git HEAD says"), "{}", gate.log());
    // An operator who says so takes it as it is.
    assert!(Command::new("kill").args(["-HUP", &gate.pid().to_string()]).status().unwrap().success());
    eventually("the signal takes it", || (digest(&gate) != second).then_some(()));
    let newest = gate.get("dan", "/api/v1/policy/history")["items"][0].clone();
    assert_eq!(newest["digest"], json!(digest(&gate)), "{newest}");
    gate.assert_provable();
}

// covers: MAY-1 (cli)
#[test]
fn the_doctor_names_the_policies_that_failed() {
    let rule = "@id(\"counts\")\nforbid(principal, action == Tide::Action::\"request\", resource in Tide::Tier::\"non-prod\")\n\
                when { context.now * 9223372036854775807 > 0 };\n";
    let gate = Served::with(Plan { policy: vec![("access.cedar", rule.to_owned())], ..Plan::default() });
    let doctor = || {
        let said = Command::new(program()).args(["doctor", "--config"]).arg(gate.dir().join("tidegate.toml")).output().unwrap();
        String::from_utf8_lossy(&said.stdout).into_owned()
    };
    assert!(!doctor().contains("could not be evaluated"), "{}", doctor());
    for _ in 0..2 {
        let refused = gate.tidegate("ana", &["request", "create", "build-1", "shell", "--reason", "x"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(77) && said.contains("`counts` (access.cedar:"), "{said}");
    }
    let said = doctor();
    assert!(said.contains("warn  policy: `counts` could not be evaluated, 2 times within a day"), "{said}");
    gate.assert_provable();
}

// covers: MAY-8 (cli)
#[test]
fn what_git_ignores_is_not_in_force_and_what_git_refuses_is_said() {
    let tools = Tools::new();
    let gate = Served::with(Plan { environment: tools.environment(), ..Plan::default() });
    let dir = gate.dir().join("policy");
    fs::write(dir.join(".gitignore"), "mine.cedar\n*.swp\n").unwrap();
    git(&dir, &["init", "-q"]);
    git(&dir, &["add", "."]);
    git(&dir, &["commit", "-q", "-m", "as it is"]);
    let doctor = || {
        let mut doctor = Command::new(program());
        doctor.args(["doctor", "--config"]).arg(gate.dir().join("tidegate.toml")).envs(tools.environment());
        String::from_utf8_lossy(&doctor.output().unwrap().stdout).into_owned()
    };
    let first = digest(&gate);
    assert!(!doctor().contains("Git"), "{}", doctor());

    // What Git ignores and is no policy stands in nobody's way; what is policy would be in no commit, and counts for nothing.
    fs::write(dir.join("access.cedar.swp"), "").unwrap();
    write(&gate, "roles.toml", |text| text + "# one more line\n");
    git(&dir, &["commit", "-q", "-a", "-m", "one more line"]);
    eventually("what is committed is taken", || (digest(&gate) != first).then_some(()));
    let second = digest(&gate);
    fs::write(dir.join("mine.cedar"), "forbid(principal, action, resource);").unwrap();
    let before = tools.looks();
    eventually("the watch has seen it three times", || (tools.looks() >= before + 3).then_some(()));
    assert_eq!(digest(&gate), second);
    let said = "`mine.cedar` is not committed";
    assert_eq!(gate.log().matches(said).count(), 1, "{}", gate.log());
    assert!(doctor().contains(said), "{}", doctor());
    fs::remove_file(dir.join("mine.cedar")).unwrap();

    // Git that refuses to look is no yes; what it says is said, once, and by the doctor.
    fs::write(tools.path("refuses"), "").unwrap();
    write(&gate, "roles.toml", |text| text + "# and another\n");
    git(&dir, &["commit", "-q", "-a", "-m", "and another"]);
    let before = tools.looks();
    eventually("the watch has asked three times", || (tools.looks() >= before + 3).then_some(()));
    assert_eq!(digest(&gate), second);
    assert_eq!(gate.log().matches("detected dubious ownership").count(), 1, "{}", gate.log());
    assert!(doctor().contains("detected dubious ownership") && doctor().contains("safe.directory"), "{}", doctor());
    fs::remove_file(tools.path("refuses")).unwrap();
    eventually("it is taken once Git answers", || (digest(&gate) != second).then_some(()));
    gate.assert_provable();
}
