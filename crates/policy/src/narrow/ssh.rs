//! What was done over SSH, and the rights that it takes.
//!
//! A forward that a wildcard covered stays under the wildcard, held to its port: a host that is named is not looked at as closely.

use std::collections::BTreeSet;

use access::rights::{Endpoint, ExecRights, SftpRights, SocketPath, SshRights};
use serde_json::Value;

/// More commands than these are not listed one by one.
const COMMANDS: usize = 50;
/// What stands in a record for bytes that are no text.
const NO_TEXT: char = '\u{fffd}';

/// What was done over SSH, as recordings tell it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    shell: bool,
    terminal: bool,
    agent: bool,
    commands: BTreeSet<String>,
    sftp: Option<SftpRights>,
    subsystems: BTreeSet<String>,
    env: BTreeSet<String>,
    local: Places<(String, u16)>,
    remote: Places<(String, u16)>,
    local_sockets: Places<String>,
    remote_sockets: Places<String>,
    /// Something was done that is not known here.
    unknown: bool,
}

/// Places that something was forwarded to or from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Places<T: Ord> {
    known: BTreeSet<T>,
    /// One of them cannot be read from the record.
    unread: bool,
}

impl<T: Ord> Places<T> {
    fn take(&mut self, place: Option<T>) {
        match place {
            Some(place) => {
                self.known.insert(place);
            }
            None => self.unread = true,
        }
    }
}

fn text<'v>(activity: &'v Value, key: &str) -> Option<&'v str> {
    activity.get(key).and_then(Value::as_str)
}

/// A text that stands in a record as it was: not cut off, and with nothing escaped.
fn whole<'v>(activity: &'v Value, key: &str) -> Option<&'v str> {
    text(activity, key).filter(|text| !text.ends_with('…') && !text.contains("\\u{") && !text.contains(NO_TEXT))
}

fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}

impl Done {
    /// One activity of a recording. Says whether it is one of those that are known here.
    pub fn take(&mut self, activity: &Value) -> bool {
        match text(activity, "kind").unwrap_or_default() {
            kind @ ("shell" | "exec" | "subsystem") => self.start(kind, activity),
            "sftp" => self.file(activity),
            "forward.local" => self.local.take(whole(activity, "to").and_then(host_and_port)),
            "forward.listening" => self.remote.take(whole(activity, "at").and_then(host_and_port)),
            "forward.local_socket" => self.local_sockets.take(whole(activity, "to").map(str::to_owned)),
            "forward.listening_socket" => self.remote_sockets.take(whole(activity, "at").map(str::to_owned)),
            // What came of things, and what was refused.
            "agent.used"
            | "channel.closed"
            | "channel.under_way"
            | "forward.bound"
            | "forward.remote"
            | "forward.remote_socket"
            | "forward.stopped"
            | "forward.stopped_socket"
            | "forward.unresolved"
            | "refused"
            | "sftp.refused"
            | "sftp.unreadable"
            | "signal"
            | "target.refused" => {}
            _ => {
                self.unknown = true;
                return false;
            }
        }
        true
    }

    fn start(&mut self, kind: &str, activity: &Value) {
        self.terminal |= activity.get("terminal").is_some_and(|terminal| !terminal.is_null());
        self.agent |= activity.get("agent").and_then(Value::as_bool).unwrap_or(true);
        match activity.get("env").and_then(Value::as_object) {
            Some(env) => self.env.extend(env.keys().cloned()),
            None => self.unknown = true,
        }
        let what = text(activity, "command").unwrap_or_default().to_owned();
        match kind {
            "shell" => self.shell = true,
            "exec" => {
                self.commands.insert(what);
            }
            _ if what == "sftp" => self.sftp = self.sftp.max(Some(SftpRights::Read)),
            _ => {
                self.subsystems.insert(what);
            }
        }
    }

    fn file(&mut self, activity: &Value) {
        let only_looks = match text(activity, "act").unwrap_or_default() {
            "file" => activity.get("written").is_none(),
            "list" | "open for reading" => true,
            _ => false,
        };
        self.sftp = self.sftp.max(Some(if only_looks { SftpRights::Read } else { SftpRights::Write }));
    }
}

/// The rights under which all of this may be done again. INVARIANT: never wider than `had`.
#[must_use]
pub fn ssh(had: &SshRights, done: &Done) -> SshRights {
    if done.unknown {
        return had.clone();
    }
    SshRights {
        shell: had.shell && done.shell,
        pty: had.pty && done.terminal,
        exec: exec(&had.exec, &done.commands),
        sftp: had.sftp.min(done.sftp.unwrap_or(SftpRights::None)),
        local_forward: endpoints(&had.local_forward, &done.local, Endpoint::covers),
        remote_forward: endpoints(&had.remote_forward, &done.remote, |had, host, port| {
            had.covers(host, port) || (had.names(host) && had.port.is_none_or(|one| one == port))
        }),
        local_socket: sockets(&had.local_socket, &done.local_sockets),
        remote_socket: sockets(&had.remote_socket, &done.remote_sockets),
        agent_forward: had.agent_forward && done.agent,
        env: env(had, &done.env),
        subsystems: had.subsystems.iter().filter(|name| done.subsystems.contains(*name)).cloned().collect(),
    }
}

fn exec(had: &ExecRights, ran: &BTreeSet<String>) -> ExecRights {
    match had {
        _ if ran.is_empty() => ExecRights::None,
        // A list compares whole texts, and bytes that are none are not kept as they were.
        ExecRights::Any if ran.len() > COMMANDS || ran.iter().any(|command| command.contains(NO_TEXT)) => ExecRights::Any,
        ExecRights::Any => ExecRights::Only(ran.iter().cloned().collect()),
        ExecRights::Only(commands) => {
            let left: Vec<String> = commands.iter().filter(|command| ran.contains(*command)).cloned().collect();
            if left.is_empty() { ExecRights::None } else { ExecRights::Only(left) }
        }
        ExecRights::None => ExecRights::None,
    }
}

fn endpoints(had: &[Endpoint], used: &Places<(String, u16)>, covers: impl Fn(&Endpoint, &str, u16) -> bool) -> Vec<Endpoint> {
    if used.unread {
        return had.to_vec();
    }
    let mut out: Vec<Endpoint> = Vec::new();
    for one in had {
        for (_, port) in used.known.iter().filter(|(host, port)| covers(one, host, *port)) {
            let narrow = Endpoint { host: one.host.clone(), port: Some(*port) };
            if !out.contains(&narrow) {
                out.push(narrow);
            }
        }
    }
    out
}

fn sockets(had: &[SocketPath], used: &Places<String>) -> Vec<SocketPath> {
    if used.unread {
        return had.to_vec();
    }
    let mut out: Vec<SocketPath> = Vec::new();
    for one in had {
        for path in used.known.iter().filter(|path| one.covers(path)) {
            let narrow = path.parse().unwrap_or_else(|_| one.clone());
            if !out.contains(&narrow) {
                out.push(narrow);
            }
        }
    }
    out
}

fn env(had: &SshRights, used: &BTreeSet<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for pattern in &had.env {
        let Some(stem) = pattern.strip_suffix('*') else {
            if used.contains(pattern) {
                out.push(pattern.clone());
            }
            continue;
        };
        for name in used.iter().filter(|name| name.starts_with(stem) && had.allows_env(name)) {
            // A name that no list may hold stays under its pattern.
            let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let narrow = if plain { name } else { pattern };
            if !out.contains(narrow) {
                out.push(narrow.clone());
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn role() -> SshRights {
        SshRights {
            shell: true,
            pty: true,
            exec: ExecRights::Any,
            sftp: SftpRights::Write,
            local_forward: ["*:*", "localhost:*", "db.internal:5432"].map(|text| text.parse().unwrap()).into(),
            remote_forward: ["localhost:*"].map(|text| text.parse().unwrap()).into(),
            local_socket: ["/run/app/*"].map(|text| text.parse().unwrap()).into(),
            agent_forward: true,
            env: ["LANG", "LC_*"].map(str::to_owned).into(),
            subsystems: vec!["backup".into()],
            ..SshRights::default()
        }
    }

    fn after(activities: &[Value]) -> SshRights {
        let mut done = Done::default();
        for activity in activities {
            let _known = done.take(activity);
        }
        ssh(&role(), &done)
    }

    fn start(kind: &str, command: &str) -> Value {
        json!({"kind": kind, "command": command, "terminal": null, "env": {"LC_TIME": "C"}, "agent": false})
    }

    // covers: MAY-7 (ssh)
    #[test]
    fn what_nobody_used_goes_and_what_was_used_stays() {
        let now = after(&[
            start("exec", "uptime"),
            start("subsystem", "sftp"),
            json!({"kind": "sftp", "act": "file", "path": "/tmp/a", "outcome": "ok", "read": {"bytes": 5}}),
            json!({"kind": "forward.local", "to": "web.internal:443", "addresses": null}),
            json!({"kind": "forward.listening", "at": "localhost:8080", "port": 8080}),
            json!({"kind": "forward.local_socket", "to": "/run/app/one.sock"}),
            json!({"kind": "refused", "what": "shell", "detail": ""}),
        ]);
        assert_eq!((now.shell, now.pty, now.agent_forward), (false, false, false));
        assert_eq!(now.exec, ExecRights::Only(vec!["uptime".into()]));
        assert_eq!((now.sftp, &now.env, now.subsystems.len()), (SftpRights::Read, &vec!["LC_TIME".to_owned()], 0));
        // Not `web.internal:443`: a host that is named may lead anywhere.
        assert_eq!(now.local_forward.iter().map(ToString::to_string).collect::<Vec<_>>(), ["*:443"]);
        assert_eq!(now.remote_forward.iter().map(ToString::to_string).collect::<Vec<_>>(), ["localhost:8080"]);
        assert_eq!(now.local_socket.iter().map(ToString::to_string).collect::<Vec<_>>(), ["/run/app/one.sock"]);
        assert!(super::super::ssh_is_within(&now, &role()) && !super::super::ssh_is_within(&role(), &now));
        let shell = after(&[json!({"kind": "shell", "command": "", "terminal": {"name": "xterm"}, "env": {}, "agent": true})]);
        assert!(shell.shell && shell.pty && shell.agent_forward && shell.exec == ExecRights::None && shell.env.is_empty());
        assert_eq!(after(&[start("subsystem", "backup")]).subsystems, ["backup"]);
    }

    // covers: MAY-7 (ssh)
    #[test]
    fn what_the_record_does_not_tell_stays() {
        assert_eq!(after(&[json!({"kind": "something.new"})]), role());
        assert_eq!(after(&[json!({"kind": "forward.local", "to": "x…"})]).local_forward, role().local_forward);
        assert_eq!(after(&[start("exec", "cat \u{fffd}")]).exec, ExecRights::Any);
        let many: Vec<Value> = (0..=COMMANDS).map(|n| start("exec", &n.to_string())).collect();
        assert_eq!(after(&many).exec, ExecRights::Any);
        for act in ["open for writing", "remove", "setstat", "something new"] {
            let done = json!({"kind": "sftp", "act": act, "path": "x", "outcome": "ok"});
            assert_eq!(after(&[done]).sftp, SftpRights::Write, "{act}");
        }
        let written = json!({"kind": "sftp", "act": "file", "path": "x", "written": {"bytes": 0}});
        assert_eq!(after(&[written]).sftp, SftpRights::Write);
    }
}
