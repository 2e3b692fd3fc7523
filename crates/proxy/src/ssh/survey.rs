//! A look at an SSH target for what the gate did not put there: accounts, keys that are let in, authorities that are trusted, settings.
//!
//! The gate comes in its own name and with no rights, runs one command that only reads, and goes. What the target said is for others to judge.

use std::sync::Arc;
use std::time::Duration;

use access::reason::{Reason, Refusal};
use access::session::{Dial, SessionPermit};
use tokio::time::timeout;

use super::door::SshDoor;
use super::target::{self, Link};

/// How long looking may take.
const LOOKS: Duration = Duration::from_secs(60);
/// How long what still runs there may take to be killed.
const KILLS: Duration = Duration::from_secs(10);
/// How much a target may say.
const MOST: usize = 1 << 20;

impl SshDoor {
    /// What a target says when it is looked at; see `LOOK` for the lines.
    ///
    /// # Errors
    /// If the target can't be reached, or does not answer.
    pub async fn survey(self: &Arc<Self>, permit: SessionPermit) -> Result<String, Refusal> {
        let (facts, dial) = permit.spend();
        let Dial::Ssh(dial) = dial else { return Err(Refusal::of(Reason::Internal)) };
        let target = target::dial(dial, &facts, self, Link::default()).await?;
        let command = format!("exec sh -c '{LOOK}'");
        let said = timeout(LOOKS, target::answer_within(target.handle(), &command, MOST)).await;
        // What hangs there does not go by itself when the connection does.
        if !matches!(said, Ok(Ok(_))) {
            let _none_left = timeout(KILLS, target.kill_processes(|| true)).await;
        }
        target.sever();
        match said {
            Ok(Ok(said)) => Ok(String::from_utf8_lossy(&said).into_owned()),
            Ok(Err(_)) | Err(_) => Err(Refusal::because(Reason::TargetUnreachable, "it did not say what it lets in")),
        }
    }
}

/// Prints accounts (`P`), keys (`K ACCOUNT LINE`, `*` for everybody), authorities (`C`), settings (`S`), what it may not read (`U`), and `E`.
///
/// The server's settings are those of the server that answers: its configuration file is the one it was started with.
/// INVARIANT: it changes nothing, and holds no single quote.
const LOOK: &str = "exec 2>/dev/null; LC_ALL=C; export LC_ALL; \
    pid=$$; conf=; n=0; \
    while [ \"$pid\" -gt 1 ] && [ $n -lt 16 ]; do n=$((n+1)); \
    args=$(tr \"\\000\" \" \" </proc/$pid/cmdline); \
    case ${args%% *} in sshd:|sshd|*/sshd) case \"$args\" in *\" -f \"*) conf=${args#*\" -f \"}; conf=${conf%% *}; break;; esac;; esac; \
    read s </proc/$pid/stat || break; s=${s##*) }; set -- $s; pid=$2; done; \
    sshd=/usr/sbin/sshd; [ -x $sshd ] || sshd=$(command -v sshd); \
    said=$($sshd -T ${conf:+-f \"$conf\"}); \
    files=\"${conf:-/etc/ssh/sshd_config} /etc/ssh/sshd_config.d/*.conf\"; \
    if [ -z \"$said\" ]; then said=$(cat $files | sed -n \"s/^[[:space:]]*\\([A-Za-z][A-Za-z0-9]*\\)[[:space:]=]*/\\1 /p\" \
    | while read -r k v; do printf \"%s %s\\n\" \"$(printf %s \"$k\" | tr A-Z a-z)\" \"$v\"; done); \
    if [ \"$said\" ]; then echo \"U settings of the SSH server as they take effect\"; else echo \"U settings of the SSH server\"; fi; fi; \
    if cat $files | grep -qi \"^[[:space:]]*match[[:space:]]\"; then echo \"U settings in Match blocks\"; fi; \
    printf \"%s\\n\" \"$said\" | sed -n \"s/^[a-z]/S &/p\"; \
    of() { printf \"%s\\n\" \"$said\" | sed -n \"s/^$1 //p\"; }; \
    people() { getent passwd || cat /etc/passwd; }; \
    people | head -n 5000 | sed \"s/^/P /\"; \
    if [ $(people | head -n 5001 | wc -l) -gt 5000 ]; then echo \"U the rest\"; fi; \
    files=$(of authorizedkeysfile | head -n 1); [ \"$files\" ] || files=\".ssh/authorized_keys .ssh/authorized_keys2\"; \
    whole() { [ $(head -c 262145 \"$1\" | wc -c) -le 262144 ]; }; \
    keys() { if [ -f \"$2\" ] && [ -r \"$2\" ]; then whole \"$2\" || echo \"U keys of $1\"; \
    head -c 262144 \"$2\" | while IFS= read -r line || [ \"$line\" ]; do printf \"K %s %s\\n\" \"$1\" \"$line\"; done; \
    elif [ -e \"$2\" ]; then echo \"U keys of $1\"; \
    else d=$2; while case $d in */*) d=${d%/*};; *) d=;; esac; [ \"$d\" ] && ! [ -e \"$d\" ]; do :; done; \
    if [ \"$d\" ] && ! [ -x \"$d\" ]; then echo \"U keys of $1\"; fi; fi; }; \
    for f in $files; do case $f in none) ;; /*%*|[!/]*) \
    people | head -n 5000 | while IFS=: read -r u x uid gid g home shell; do \
    case $shell in */nologin|*/false|\"\") continue;; esac; \
    p=$(printf %s \"$f\" | sed \"s|%h|$home|g; s|%u|$u|g; s|%U|$uid|g; s|%%|%|g\"); \
    case $p in /*) ;; *) p=$home/$p;; esac; keys \"$u\" \"$p\"; done;; \
    *) keys \"*\" \"$f\";; esac; done; \
    for f in $(of trustedusercakeys); do [ $f = none ] && continue; \
    if [ -f \"$f\" ] && [ -r \"$f\" ] && whole \"$f\"; then sed \"s/^/C /\" <\"$f\"; else echo \"U authorities in $f\"; fi; done; \
    echo E";

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What the look says of a file with keys, and of one with authorities, that `files` prepares; no other file is read.
    fn said_of(files: &str) -> String {
        let (_, rest) = LOOK.split_once("whole() {").unwrap();
        let (functions, _) = rest.split_once("for f in $files").unwrap();
        let script = format!("LC_ALL=C; cd \"$1\"; {files}; whole() {{{functions} keys ben \"$1/home/keys\"; echo E");
        let dir = tempfile::tempdir().unwrap();
        let said = Command::new("timeout").args(["20", "sh", "-c", &script, "sh"]).arg(dir.path()).output().unwrap();
        String::from_utf8_lossy(&said.stdout).into_owned()
    }

    // covers: BACK-4 (ssh)
    #[test]
    fn what_is_no_file_or_too_large_is_said_and_never_waited_for() {
        assert_eq!(said_of("mkdir home; echo one >home/keys; printf two >>home/keys"), "K ben one\nK ben two\nE\n");
        assert_eq!(said_of("mkdir home"), "E\n");
        assert_eq!(said_of("true"), "E\n");
        assert_eq!(said_of("mkdir home; mkfifo home/keys"), "U keys of ben\nE\n");
        assert_eq!(said_of("mkdir home; ln -s /dev/zero home/keys"), "U keys of ben\nE\n");
        let large = said_of("mkdir home; head -c 400000 /dev/zero | tr \"\\000\" a >home/keys");
        assert!(large.starts_with("U keys of ben\nK ben aaa") && large.ends_with("\nE\n") && large.len() < 263_000, "{}", large.len());
    }

    // covers: BACK-4 (ssh)
    #[test]
    fn the_look_is_one_that_a_shell_runs_to_its_end() {
        assert!(!LOOK.contains('\''), "it stands in single quotes");
        let said = Command::new("sh").arg("-c").arg(format!("exec sh -c '{LOOK}'")).output().unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.ends_with("\nE\n"), "{said}");
        assert!(said.lines().any(|line| line.starts_with("P root:")), "{said}");
    }
}
