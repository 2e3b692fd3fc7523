//! What may be done inside a session: the table of `roles.toml` as Cedar permits, less what policies forbid somebody.

use access::names::{ResourceName, RoleName};
use access::rights::{ExecRights, Rights, SftpRights, SshRights};
use cedar_policy::{Policy, PolicyId};

use crate::bundle::Bundle;
use crate::engine::{Rule, Said};
use crate::facts::roles::Role;
use crate::problem::Place;
use crate::situation::Situation;
use crate::words::IN_SESSION;

/// The actions that a table of rights contains.
pub(crate) fn actions_of(rights: &Rights) -> Vec<&'static str> {
    let Rights::Ssh(ssh) = rights;
    let has = |action: &str| match action {
        "ssh:shell" => ssh.shell,
        "ssh:pty" => ssh.pty,
        "ssh:exec" => ssh.exec != ExecRights::None,
        "ssh:sftp-read" => ssh.sftp != SftpRights::None,
        "ssh:sftp-write" => ssh.sftp == SftpRights::Write,
        "ssh:local-forward" => !ssh.local_forward.is_empty(),
        "ssh:remote-forward" => !ssh.remote_forward.is_empty(),
        "ssh:agent-forward" => ssh.agent_forward,
        "ssh:env" => !ssh.env.is_empty(),
        "ssh:subsystem" => !ssh.subsystems.is_empty(),
        _ => false,
    };
    IN_SESSION.iter().copied().filter(|a| has(a)).collect()
}

/// The same table with everything gone whose action is not among `allowed`.
fn only(rights: &Rights, allowed: &[&str]) -> Rights {
    let Rights::Ssh(ssh) = rights;
    let may = |action: &str| allowed.contains(&action);
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

impl Bundle {
    /// What somebody may do inside a session of this role on this resource: the table of `roles.toml`, less what policies
    /// forbid them. `None` if the role is none of the resource's.
    ///
    /// A policy that cannot be evaluated takes the right away.
    #[must_use]
    pub fn rights(&self, who: &Situation, role: &RoleName, resource: &ResourceName) -> Option<Rights> {
        let found = self.resource(resource)?;
        let role = self.role(role).filter(|r| r.applies_to(found))?;
        let nothing = || only(&role.rights, &[]);
        let (Ok(subject), Ok(target)) = (self.subject(who), self.engine.words.access(found, &role.name)) else { return Some(nothing()) };
        let mut allowed = Vec::new();
        for action in actions_of(&role.rights) {
            let Ok(question) = self.circumstances(who).and_then(|context| self.engine.question(&subject, action, &target, context)) else {
                continue;
            };
            let mut permitted = false;
            let mut stopped = false;
            for rule in self.engine.about(action, &target) {
                match (self.engine.ask(rule, &question), rule.effect) {
                    (Said::Applies, cedar_policy::Effect::Permit) => permitted = true,
                    (Said::Applies, cedar_policy::Effect::Forbid) | (Said::Failed(_), _) => stopped = true,
                    (Said::Silent, _) => {}
                }
            }
            if permitted && !stopped {
                allowed.push(action);
            }
        }
        Some(only(&role.rights, &allowed))
    }
}
