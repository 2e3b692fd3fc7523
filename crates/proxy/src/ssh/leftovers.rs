//! What a session left running at its target, when the connection it came over is gone and nobody saw the target end it.
//!
//! The gate comes again, in its own name and with no rights, to one login of one target. There it looks for whatever an SSH server
//! started for the connection that is gone: each such process carries both ends of it in its environment (`SSH_CONNECTION`).
//!
//! Where a session is cut because the right to it is over, the same is asked over its own connection before that is closed: so daemons go too.

use std::sync::Arc;
use std::time::Duration;

use access::reason::{Reason, Refusal};
use access::session::{Dial, Ends, SessionPermit};
use russh::client;
use tokio::time::timeout;

use super::door::SshDoor;
use super::target::{self, Link};

/// What carries the ends of a session's own connection, and began no longer before it than this, is the session's.
const A_MINUTE: Duration = Duration::from_secs(60);

/// How long looking there may take.
const LOOKS: Duration = Duration::from_secs(20);

/// What was found at a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleared {
    /// Nothing of the session is left there.
    NoneLeft,
    /// Something is, or may be: it runs as somebody else, or cannot be seen.
    NotAll,
    /// The target sees the gate under another address than the gate itself, so nothing there can be told by it.
    SeenOtherwise,
}

impl SshDoor {
    /// Kills whatever a session left at its target that was opened over a connection with these ends, so long ago, and ended so long ago.
    ///
    /// # Errors
    /// If the target can't be reached, or doesn't answer.
    pub async fn clear(self: &Arc<Self>, permit: SessionPermit, was: Ends, age: Duration, over: Duration) -> Result<Cleared, Refusal> {
        let (facts, dial) = permit.spend();
        let Dial::Ssh(dial) = dial else { return Err(Refusal::of(Reason::Internal)) };
        let target = target::dial(dial, &facts, self, Link::default()).await?;
        let answered = match target.ends() {
            Some(now) => timeout(LOOKS, ask(target.handle(), &command(now, was, age, over))).await.unwrap_or(None),
            None => None,
        };
        target.sever();
        answered.ok_or_else(|| Refusal::because(Reason::TargetUnreachable, "it did not say what still runs there"))
    }
}

/// Kills whatever carries the ends of this very connection, as the target sees them, which was made so long ago.
pub(super) async fn of_this_connection(handle: &client::Handle<target::Guest>, age: Duration) -> Option<Cleared> {
    ask(handle, &own_command(age)).await
}

/// Kills whatever carries the ends of this connection or of one of the others, each made so long ago.
pub(super) async fn of_these(handle: &client::Handle<target::Guest>, now: Ends, connections: &[(Ends, Duration)]) -> Option<Cleared> {
    ask(handle, &command_for(now, connections)).await
}

async fn ask(handle: &client::Handle<target::Guest>, command: &str) -> Option<Cleared> {
    let said = target::answer_of(handle, command).await.ok()?;
    match said.strip_suffix(b"\n")?.rsplit(|byte| *byte == b'\n').next()? {
        b"tidegate: none left" => Some(Cleared::NoneLeft),
        b"tidegate: not all" => Some(Cleared::NotAll),
        b"tidegate: seen otherwise" => Some(Cleared::SeenOtherwise),
        _ => None,
    }
}

/// Looks, kills, looks again until nothing is found, and says what came of it.
///
/// Its arguments are five for each connection that is looked for: its ends, as the target tells them, and for how many seconds it is there.
///
/// INVARIANT: it touches nothing but processes that carry a connection's ends and began after that connection and before the session was
/// over (an earlier or a later one may have the same ends), and those in a session of the system that such a process leads, or led, or whose
/// leader is gone; never itself, and never its own session.
/// It says that none is left only if it can read its own environment the same way, the whole of `/proc` is shown to it, and no process
/// that began since and lost its parent is closed to it; where systemd keeps users apart (`systemd-logind`), none in its own user's slice, which
/// `sudo` does not leave.
const LOOK: &str = "exec 2>/dev/null; \
        [ \"$now\" ] && [ \"$SSH_CONNECTION\" = \"$now\" ] || { echo tidegate: seen otherwise; exit; }; \
        was=$(printf \"SSH_CONNECTION=%s %s %s %s\\n%.0s\" \"$@\"); ages=$(printf \"<SSH_CONNECTION=%s %s %s %s>%s\" \"$@\"); \
        marked() { grep -qzxF \"$1\" /proc/$2/environ; }; \
        of() { s=$(cat /proc/$1/stat) || return 1; set -- ${s##*) }; st=$1; parent=$2; sid=$4; began=$((${20} / hz)); }; \
        lives() { of $1 && case $st in [ZX]) false;; esac; }; \
        since() { e=$(grep -zxF \"$was\" /proc/$1/environ | tr \"\\000\" \"\\n\" | head -n 1); \
        a=${ages#*\"<$e>\"}; a=${a%%<*}; [ \"$e\" ] && [ $((up - began)) -le $a ]; }; \
        hz=$(getconf CLK_TCK) || hz=100; marked \"SSH_CONNECTION=$now\" $$ && of $$ || exit 3; own=$sid; \
        slice=$(grep -o \"/user[.]slice/user-[0-9]*[.]slice/\" /proc/$$/cgroup | head -n 1); \
        read up rest </proc/uptime || exit 3; up=${up%.*}; n=0; \
        while [ $n -lt 60 ]; do n=$((n+1)); sids=; pids=; left=; \
        for f in $(grep -lzxF \"$was\" /proc/[0-9]*/environ); do p=${f%/environ}; p=${p#/proc/}; \
        lives $p && [ $p != $$ ] && [ $((up - began)) -ge $over ] && since $p || continue; pids=\"$pids $p\"; x=$sid; \
        if [ $x -gt 1 ] && [ $x != $own ]; then marked \"$was\" $x || ! lives $x && sids=\"$sids|$x\"; fi; done; \
        [ -z \"$sids\" ] || for f in $(grep -lE \"[)] . [0-9]+ [0-9]+ (${sids#|}) \" /proc/[0-9]*/stat); do \
        p=${f%/stat}; p=${p#/proc/}; lives $p || continue; case \"$sids|\" in *\"|$sid|\"*) pids=\"$pids $p\";; esac; done; \
        for p in $pids; do left=1; kill -9 $p; done; \
        [ $left ] || break; sleep .05; done; \
        hidden=; [ -r /proc/1/stat ] || hidden=1; \
        for f in $(grep -lE \"[)] . 1 \" /proc/[0-9]*/stat); do d=${f%/stat}; [ -r $d/environ ] && continue; \
        [ -z \"$slice\" ] || grep -qF \"$slice\" $d/cgroup || continue; of ${d#/proc/} || continue; [ $parent = 1 ] && [ $((up - began)) -le $age ] && hidden=1; done; \
        if [ $left$hidden ]; then echo tidegate: not all; else echo tidegate: none left; fi";

/// The command that goes after a connection that is gone.
fn command(now: Ends, was: Ends, age: Duration, over: Duration) -> String {
    // An hour for clocks that differ, and for a target that was suspended.
    let age = age.as_secs().saturating_add(3600);
    // Whole seconds on both sides.
    let over = over.as_secs().saturating_sub(3);
    format!("exec sh -c 'now=\"{}\"; set -- {} {age}; age={age}; over={over}; {LOOK}'", now.as_told(), was.as_told())
}

/// The command that goes after the connection it runs over. What begins while it runs is that connection's too.
fn own_command(age: Duration) -> String {
    let age = seconds(age);
    format!("exec sh -c 'now=\"$SSH_CONNECTION\"; set -- $now {age}; age={age}; over=-3600; {LOOK}'")
}

/// The command that goes after the connection it runs over, with these ends, and others that are cut together with it.
fn command_for(now: Ends, connections: &[(Ends, Duration)]) -> String {
    let each: Vec<String> = connections.iter().map(|(ends, age)| format!("{} {}", ends.as_told(), seconds(*age))).collect();
    let age = connections.iter().map(|(_, age)| seconds(*age)).max().unwrap_or_default();
    format!("exec sh -c 'now=\"{}\"; set -- {}; age={age}; over=-3600; {LOOK}'", now.as_told(), each.join(" "))
}

fn seconds(age: Duration) -> u64 {
    (age + A_MINUTE).as_secs()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::super::looks::TOGETHER;
    use super::*;

    fn ends(port: u16) -> Ends {
        Ends { gate: ([127, 0, 0, 1], port).into(), target: ([127, 0, 0, 1], 22).into() }
    }

    /// A process in a session of the system of its own, as an SSH server starts each.
    fn started(told: &str) -> Child {
        Command::new("setsid").args(["sleep", "1000"]).env("SSH_CONNECTION", told).spawn().unwrap()
    }

    fn lives(pid: &str) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    fn looked(was: Ends, told: &str, over: u64) -> String {
        let command = command(ends(1), was, Duration::from_secs(1), Duration::from_secs(over));
        let mut looked = Command::new("sh");
        let out = looked.arg("-c").arg(command).env("SSH_CONNECTION", told).stderr(Stdio::piped()).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    }

    // covers: D4 (ssh)
    #[test]
    fn what_a_lost_connection_left_is_killed_and_nothing_else() {
        let (lost, other) = (ends(40_001), ends(40_002));
        let (mut left, mut bystander, mut prefix) =
            (started(&lost.as_told()), started(&other.as_told()), started(&format!("{}0", lost.as_told())));
        // Where addresses are translated on the way the ends say nothing, so nothing is touched.
        assert_eq!(looked(lost, "10.0.0.1 1 10.0.0.2 22", 0), "tidegate: seen otherwise\n");
        // What began after that session was over is another's, though its connection has the same ends.
        looked(lost, &ends(1).as_told(), 600);
        assert!(left.try_wait().unwrap().is_none());
        let said = looked(lost, &ends(1).as_told(), 0);
        // Whoever may not see all that runs here is not told that nothing is left.
        assert!(["tidegate: none left\n", "tidegate: not all\n"].contains(&said.as_str()), "{said}");
        assert!(!left.wait().unwrap().success(), "it was killed");
        for spared in [&mut bystander, &mut prefix] {
            assert!(spared.try_wait().unwrap().is_none(), "it killed what is not its own");
            spared.kill().unwrap();
            spared.wait().unwrap();
        }
    }

    // covers: D2 (ssh)
    #[test]
    fn what_carries_the_ends_of_its_own_connection_is_killed_and_nothing_else() {
        let (own, other) = (ends(40_004).as_told(), ends(40_005).as_told());
        let (mut daemon, mut bystander) = (started(&own), started(&other));
        let looked = |told: &str, age: Duration| {
            let mut sh = Command::new("setsid");
            let out = sh.args(["-w", "sh", "-c", &own_command(age)]).env("SSH_CONNECTION", told).output().unwrap();
            String::from_utf8(out.stdout).unwrap()
        };
        // A server that does not say where a connection is from and to.
        assert_eq!(looked("", Duration::ZERO), "tidegate: seen otherwise\n");
        assert!(daemon.try_wait().unwrap().is_none());
        let said = looked(&own, Duration::ZERO);
        assert!(["tidegate: none left\n", "tidegate: not all\n"].contains(&said.as_str()), "{said}");
        assert!(!daemon.wait().unwrap().success(), "it was killed");
        assert!(bystander.try_wait().unwrap().is_none(), "it killed what is not its own");
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }

    // covers: D2 (ssh)
    #[test]
    fn what_carries_the_ends_of_any_that_are_cut_together_is_killed_unless_it_is_older_than_its_connection() {
        let ends: Vec<Ends> = (40_006..40_010).map(ends).collect();
        let mut daemons: Vec<Child> = ends.iter().map(|ends| started(&ends.as_told())).collect();
        let [own, other, older, stranger] = ends[..] else { panic!("four") };
        let connections = [(own, Duration::ZERO), (other, Duration::from_secs(3600))];
        let looked = |command: String, told: &str| {
            let out = Command::new("setsid").args(["-w", "sh", "-c", &command]).env("SSH_CONNECTION", told).output().unwrap();
            String::from_utf8(out.stdout).unwrap()
        };
        // Where the target sees the gate under another address, the ends of the others say nothing either.
        assert_eq!(looked(command_for(own, &connections), &stranger.as_told()), "tidegate: seen otherwise\n");
        assert!(daemons.iter_mut().all(|daemon| daemon.try_wait().unwrap().is_none()));
        // A third has the ends of a connection that began after it.
        let third = format!("{} 60 {} -60; age", other.as_told(), older.as_told());
        let said = looked(command_for(own, &connections).replace(&format!("{} 3660; age", other.as_told()), &third), &own.as_told());
        assert!(["tidegate: none left\n", "tidegate: not all\n"].contains(&said.as_str()), "{said}");
        for killed in &mut daemons[..2] {
            assert!(!killed.wait().unwrap().success(), "it was killed");
        }
        for spared in &mut daemons[2..] {
            assert!(spared.try_wait().unwrap().is_none(), "it killed what is not its own");
            spared.kill().unwrap();
            spared.wait().unwrap();
        }
    }

    #[test]
    fn the_longest_command_is_one_that_every_server_takes() {
        let ends = Ends { gate: (u128::MAX.to_be_bytes(), 65_535).into(), target: (u128::MAX.to_be_bytes(), 65_535).into() };
        let longest = command_for(ends, &vec![(ends, Duration::from_secs(9_999_999)); TOGETHER]);
        // Dropbear takes 9,000 bytes.
        assert!(longest.len() < 9_000, "{}", longest.len());
    }

    // covers: D2 (ssh)
    #[test]
    fn what_is_closed_to_the_one_who_looks_counts_within_their_own_slice() {
        /// A hierarchy as systemd's, which root may mount, and what runs in it.
        struct Slices(tempfile::TempDir, Vec<rustix::process::Pid>);
        impl Drop for Slices {
            fn drop(&mut self) {
                for pid in &self.1 {
                    let _ = rustix::process::kill_process(*pid, rustix::process::Signal::KILL);
                }
                // It is gone when nothing is in it any more.
                let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
            }
        }
        let mut slices = Slices(tempfile::tempdir().unwrap(), Vec::new());
        let at = slices.0.path().to_str().unwrap().to_owned();
        let mounted = Command::new("mount").args(["-t", "cgroup", "-o", "none,name=tidegate-leftovers", "none", &at]).status();
        assert!(mounted.unwrap().success(), "a cgroup cannot be mounted");
        let scope = |user: u32| {
            let scope = format!("{at}/user.slice/user-{user}.slice/session-1.scope");
            std::fs::create_dir_all(&scope).unwrap();
            scope
        };
        let (own, other) = (scope(65_534), scope(6_553));
        // Root's, without a parent, as what `sudo -b` starts.
        let orphan = |scope: &str| {
            let script = format!("echo $$ >{scope}/cgroup.procs; setsid sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1' & ");
            let out = Command::new("sh").args(["-c", &script]).output().unwrap();
            let pid = String::from_utf8(out.stdout).unwrap().trim().parse().unwrap();
            rustix::process::Pid::from_raw(pid).unwrap()
        };
        let told = ends(40_011).as_told();
        let looked = || {
            let as_nobody = "exec setpriv --reuid 65534 --regid 65534 --clear-groups setsid -w sh -c \"$1\"";
            let mut sh = Command::new("sh");
            sh.args(["-c", &format!("echo $$ >{own}/cgroup.procs; {as_nobody}"), "sh", &own_command(Duration::ZERO)]);
            String::from_utf8(sh.env("SSH_CONNECTION", &told).output().unwrap().stdout).unwrap()
        };
        slices.1.push(orphan(&other));
        assert_eq!(looked(), "tidegate: none left\n");
        slices.1.push(orphan(&own));
        assert_eq!(looked(), "tidegate: not all\n");
    }

    // covers: D4 (ssh)
    #[test]
    fn what_shed_its_environment_goes_with_its_session_and_a_stranger_s_session_stays() {
        let (lost, none) = (ends(40_003).as_told(), "");
        // Each says the ids of two that it starts: one that carries the ends, and one that does not.
        let script = "env SSH_CONNECTION=\"$1\" sleep 1000 & a=$!; env -u SSH_CONNECTION sleep 1000 & echo $a $!; exec sleep 1000";
        let session = |leader: &str| {
            let mut sh = Command::new("setsid");
            sh.args(["sh", "-c", script, "sh", &lost]).env("SSH_CONNECTION", leader).stdout(Stdio::piped());
            let mut child = sh.spawn().unwrap();
            let mut line = String::new();
            std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
            let (with, without) = line.trim().split_once(' ').unwrap();
            (child, with.to_owned(), without.to_owned())
        };
        let (mut mine, mine_with, mine_without) = session(&lost);
        let (mut other, other_with, other_without) = session(none);
        // Until each is what it is going to be.
        for pid in [&mine_with, &mine_without, &other_with, &other_without] {
            while !std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().starts_with("sleep") {
                std::thread::yield_now();
            }
        }
        looked(ends(40_003), &ends(1).as_told(), 0);
        mine.wait().unwrap();
        assert!(!lives(&mine_with) && !lives(&mine_without), "both are the lost session's");
        assert!(!lives(&other_with), "it carries the ends");
        assert!(lives(&other_without) && other.try_wait().unwrap().is_none(), "these are somebody else's");
        for pid in [other_without.parse().unwrap(), i32::try_from(other.id()).unwrap()] {
            rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
        }
        other.wait().unwrap();
    }
}
