//! What may be done inside a session: the table of `roles.toml` as Cedar permits, less what policies forbid somebody.

use access::names::{ResourceName, RoleName};
use access::rights::{DatabaseRights, ExecRights, Rights, SftpRights, SshRights};
use cedar_policy::{Effect, Policy, PolicyId};

use crate::bundle::Bundle;
use crate::engine::{Rule, Said, Scene};
use crate::facts::resources::Resource;
use crate::facts::roles::Role;
use crate::problem::Place;
use crate::situation::Situation;
use crate::words::{IN_SESSION, Subject, Target};

mod database;

/// The actions that a table of rights contains.
pub(crate) fn actions_of(rights: &Rights) -> Vec<&'static str> {
    IN_SESSION
        .iter()
        .copied()
        .filter(|action| match rights {
            Rights::Ssh(ssh) => has_ssh(ssh, action),
            Rights::Database(rights) => database::has(rights, action),
        })
        .collect()
}

fn has_ssh(ssh: &SshRights, action: &str) -> bool {
    match action {
        "ssh:shell" => ssh.shell,
        "ssh:pty" => ssh.pty,
        "ssh:exec" => ssh.exec != ExecRights::None,
        "ssh:sftp-read" => ssh.sftp != SftpRights::None,
        "ssh:sftp-write" => ssh.sftp == SftpRights::Write,
        "ssh:local-forward" => !ssh.local_forward.is_empty(),
        "ssh:remote-forward" => !ssh.remote_forward.is_empty(),
        "ssh:local-socket" => !ssh.local_socket.is_empty(),
        "ssh:remote-socket" => !ssh.remote_socket.is_empty(),
        "ssh:agent-forward" => ssh.agent_forward,
        "ssh:env" => !ssh.env.is_empty(),
        "ssh:subsystem" => !ssh.subsystems.is_empty(),
        _ => false,
    }
}

/// The same table with everything gone whose action is not among `allowed`.
fn only(rights: &Rights, allowed: &[&str]) -> Rights {
    let may = |action: &str| allowed.contains(&action);
    let ssh = match rights {
        Rights::Ssh(ssh) => ssh,
        Rights::Database(rights) => return Rights::Database(database::only(rights, &may)),
    };
    Rights::Ssh(SshRights {
        shell: ssh.shell && may("ssh:shell"),
        pty: ssh.pty && may("ssh:pty"),
        exec: if may("ssh:exec") { ssh.exec.clone() } else { ExecRights::None },
        sftp: match ssh.sftp {
            _ if !may("ssh:sftp-read") => SftpRights::None,
            SftpRights::Write if !may("ssh:sftp-write") => SftpRights::Read,
            same => same,
        },
        local_forward: if may("ssh:local-forward") { ssh.local_forward.clone() } else { Vec::new() },
        remote_forward: if may("ssh:remote-forward") { ssh.remote_forward.clone() } else { Vec::new() },
        local_socket: if may("ssh:local-socket") { ssh.local_socket.clone() } else { Vec::new() },
        remote_socket: if may("ssh:remote-socket") { ssh.remote_socket.clone() } else { Vec::new() },
        agent_forward: ssh.agent_forward && may("ssh:agent-forward"),
        env: if may("ssh:env") { ssh.env.clone() } else { Vec::new() },
        subsystems: if may("ssh:subsystem") { ssh.subsystems.clone() } else { Vec::new() },
    })
}

/// The Cedar permit that a role's table compiles to; `None` if it may do nothing.
pub(crate) fn compile(role: &Role, place: &Place) -> Result<Option<Rule>, String> {
    let actions = actions_of(&role.rights);
    if actions.is_empty() {
        return Ok(None);
    }
    let list = actions.iter().map(|a| format!("Tide::Action::\"{a}\"")).collect::<Vec<_>>().join(", ");
    let id = format!("roles.toml:{}", role.name);
    let text = format!("permit(\n  principal,\n  action in [{list}],\n  resource in Tide::Role::\"{}\"\n);", role.name);
    let policy = Policy::parse(Some(PolicyId::new(&id)), text).map_err(|e| e.to_string())?;
    Ok(Rule::new(id, place.clone(), &policy, None))
}

/// A right that policies took away from somebody.
pub(crate) struct Taken {
    pub(crate) action: &'static str,
    /// `id: reason` of each policy that did.
    pub(crate) by: Vec<String>,
}

impl Bundle {
    /// What somebody may do inside a session of this role on this resource: the table of `roles.toml`, less what policies
    /// forbid them. `None` if the role is none of the resource's.
    ///
    /// A policy that cannot be evaluated takes the right away.
    #[must_use]
    pub fn rights(&self, who: &Situation, role: &RoleName, resource: &ResourceName) -> Option<Rights> {
        self.rights_and_taken(who, role, resource).map(|(rights, _)| rights)
    }

    pub(crate) fn rights_and_taken(&self, who: &Situation, role: &RoleName, resource: &ResourceName) -> Option<(Rights, Vec<Taken>)> {
        let found = self.resource(resource)?;
        let role = self.role(role).filter(|r| r.applies_to(found))?;
        let (mut allowed, mut taken) = (Vec::new(), Vec::new());
        let facts = self.scene_of(who, role, found);
        for action in actions_of(&role.rights) {
            let by = match &facts {
                Ok((subject, target, scene)) => self.right(who, action, subject, target, scene),
                Err(error) => Err(error.clone()),
            };
            match by {
                Ok(by) if by.is_empty() => allowed.push(action),
                Ok(by) => taken.push(Taken { action, by }),
                Err(error) => taken.push(Taken { action, by: vec![error] }),
            }
        }
        Some((only(&role.rights, &allowed), taken))
    }

    fn scene_of(&self, who: &Situation, role: &Role, resource: &Resource) -> Result<(Subject, Target, Scene), String> {
        let subject = self.subject(who)?;
        let target = self.engine.words.access(resource, &role.name)?;
        let scene = self.engine.scene(&subject, &target)?;
        Ok((subject, target, scene))
    }

    /// What takes one right away; nothing if it stands.
    fn right(&self, who: &Situation, action: &str, subject: &Subject, target: &Target, scene: &Scene) -> Result<Vec<String>, String> {
        let question = self.engine.question(scene, action, self.circumstances(who)?)?;
        let (mut permitted, mut by) = (false, Vec::new());
        for rule in self.engine.about_for(action, target, subject) {
            match (self.engine.ask(rule, &question), rule.effect) {
                (Said::Applies, Effect::Permit) => permitted = true,
                (Said::Applies, Effect::Forbid) => by.push(match &rule.reason {
                    Some(reason) => format!("{}: {reason}", rule.id),
                    None => rule.id.clone(),
                }),
                (Said::Failed(error), _) => by.push(format!("{} could not be evaluated: {error}", rule.id)),
                (Said::Silent, _) => {}
            }
        }
        if !permitted && by.is_empty() {
            by.push("no policy permits it".to_owned());
        }
        Ok(by)
    }
}

/// A table of rights in one line.
pub(crate) fn in_short(rights: &Rights) -> String {
    let ssh = match rights {
        Rights::Ssh(ssh) => ssh,
        Rights::Database(rights) => return database::in_short(rights),
    };
    let mut out: Vec<String> = Vec::new();
    let mut flag = |on: bool, word: &str| {
        if on {
            out.push(word.to_owned());
        }
    };
    flag(ssh.shell, "shell");
    flag(ssh.pty, "pty");
    match &ssh.exec {
        ExecRights::None => {}
        ExecRights::Any => out.push("exec:any".to_owned()),
        ExecRights::Only(commands) => out.push(format!("exec:{commands:?}")),
    }
    if ssh.sftp != SftpRights::None {
        out.push(format!("sftp:{}", ssh.sftp));
    }
    let mut list = |word: &str, items: Vec<String>| {
        if !items.is_empty() {
            out.push(format!("{word}:{}", items.join(",")));
        }
    };
    list("local", ssh.local_forward.iter().map(ToString::to_string).collect());
    list("remote", ssh.remote_forward.iter().map(ToString::to_string).collect());
    list("local-socket", ssh.local_socket.iter().map(ToString::to_string).collect());
    list("remote-socket", ssh.remote_socket.iter().map(ToString::to_string).collect());
    list("agent", if ssh.agent_forward { vec!["yes".to_owned()] } else { Vec::new() });
    list("env", ssh.env.clone());
    list("subsystem", ssh.subsystems.clone());
    if out.is_empty() { "nothing".to_owned() } else { out.join(" ") }
}

/// What the second table allows that the first doesn't, one item each, in words.
///
/// With the tables swapped it says what somebody lost: a session that stands on a right that is gone has to end.
#[must_use]
pub fn added(before: &Rights, after: &Rights) -> Vec<String> {
    let nothing = SshRights::default();
    let (old, new) = match (before, after) {
        (Rights::Ssh(old), Rights::Ssh(new)) => (old, new),
        (Rights::Database(_), Rights::Ssh(new)) => (&nothing, new),
        (Rights::Database(old), Rights::Database(new)) => return database::added(old, new),
        (_, Rights::Database(new)) => return database::added(&DatabaseRights::default(), new),
    };
    let mut out: Vec<String> = Vec::new();
    for (was, is, word) in
        [(old.shell, new.shell, "a shell"), (old.pty, new.pty, "a terminal"), (old.agent_forward, new.agent_forward, "the key agent")]
    {
        if is && !was {
            out.push(word.to_owned());
        }
    }
    match (&old.exec, &new.exec) {
        (ExecRights::Any, _) | (_, ExecRights::None) => {}
        (_, ExecRights::Any) => out.push("any command".to_owned()),
        (old, ExecRights::Only(commands)) => out.extend(commands.iter().filter(|c| !old.allows(c)).map(|c| format!("the command `{c}`"))),
    }
    if new.sftp > old.sftp {
        out.push(if new.sftp == SftpRights::Write { "writing files".to_owned() } else { "reading files".to_owned() });
    }
    let new_endpoints = |old: &[access::rights::Endpoint], new: &[access::rights::Endpoint], word: &str| -> Vec<String> {
        new.iter().filter(|e| !old.contains(e)).map(|e| format!("{word} `{e}`")).collect()
    };
    out.extend(new_endpoints(&old.local_forward, &new.local_forward, "forwards to"));
    out.extend(new_endpoints(&old.remote_forward, &new.remote_forward, "listening on the target at"));
    out.extend(new.local_socket.iter().filter(|s| !old.local_socket.contains(s)).map(|s| format!("forwards to the socket `{s}`")));
    out.extend(
        new.remote_socket.iter().filter(|s| !old.remote_socket.contains(s)).map(|s| format!("making the socket `{s}` on the target")),
    );
    out.extend(new.env.iter().filter(|e| !old.env.contains(e)).map(|e| format!("the variable `{e}`")));
    out.extend(new.subsystems.iter().filter(|s| !old.subsystems.contains(s)).map(|s| format!("the subsystem `{s}`")));
    out
}
