//! What an asker renounces: a request can be narrower than its role, never wider.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::rights::{DatabaseRights, ExecRights, QualifiedName, Rights, SftpRights, SshRights};

/// Limits of one request on top of its role. Empty means the role as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Only this one command, spelled exactly like this; no shell, no files, no forwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Nothing that writes: no shell, no command, no forwards; files and tables can be read.
    #[serde(default, skip_serializing_if = "is_false")]
    pub read_only: bool,
    /// Only these tables of a database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<BTreeSet<QualifiedName>>,
    /// Only these of the role's named statements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statements: Option<BTreeSet<String>>,
}
json_fields!(Limits);

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// In words: only the command `uptime`, only reading; nothing if nothing is renounced.
impl std::fmt::Display for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, read_only, tables, statements } = self;
        let mut words: Vec<String> = Vec::new();
        words.extend(command.as_ref().map(|command| format!("only the command `{command}`")));
        words.extend(tables.as_ref().map(|tables| format!("only the tables {}", listed(tables))));
        words.extend(statements.as_ref().map(|statements| format!("only the statements {}", listed(statements))));
        words.extend(read_only.then(|| "only reading".to_owned()));
        if words.is_empty() { f.write_str("nothing") } else { f.write_str(&words.join(", ")) }
    }
}

fn listed<T: std::fmt::Display>(items: &BTreeSet<T>) -> String {
    items.iter().map(|item| format!("`{item}`")).collect::<Vec<_>>().join(", ")
}

impl Limits {
    /// Whether nothing is renounced.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Both at once: what either renounces is renounced. `None` if together they leave nothing, as two different commands do.
    #[must_use]
    pub fn and(&self, other: &Self) -> Option<Self> {
        fn shared<T: Ord + Clone>(one: Option<&BTreeSet<T>>, two: Option<&BTreeSet<T>>) -> Option<BTreeSet<T>> {
            match (one, two) {
                (Some(one), Some(two)) => Some(one & two),
                (one, two) => one.or(two).cloned(),
            }
        }
        let command = match (&self.command, &other.command) {
            (Some(one), Some(two)) if one != two => return None,
            (one, two) => one.clone().or_else(|| two.clone()),
        };
        Some(Self {
            command,
            read_only: self.read_only || other.read_only,
            tables: shared(self.tables.as_ref(), other.tables.as_ref()),
            statements: shared(self.statements.as_ref(), other.statements.as_ref()),
        })
    }

    /// Whether everything these allow, `other` allows too.
    #[must_use]
    pub fn within(&self, other: &Self) -> bool {
        fn fewer<T: Ord>(few: Option<&BTreeSet<T>>, many: Option<&BTreeSet<T>>) -> bool {
            many.is_none_or(|many| few.is_some_and(|few| few.is_subset(many)))
        }
        (other.command.is_none() || other.command == self.command)
            && (!other.read_only || self.read_only)
            && fewer(self.tables.as_ref(), other.tables.as_ref())
            && fewer(self.statements.as_ref(), other.statements.as_ref())
    }

    /// The role's rights cut down to these limits.
    ///
    /// INVARIANT: what comes out is never wider than what went in.
    #[must_use]
    pub fn narrow(&self, rights: Rights) -> Rights {
        let mut ssh = match rights {
            Rights::Ssh(ssh) => ssh,
            Rights::Database(database) => return Rights::Database(self.narrow_database(database)),
        };
        if let Some(command) = &self.command {
            let exec = if ssh.exec.allows(command) { ExecRights::Only(vec![command.clone()]) } else { ExecRights::None };
            ssh = SshRights { exec, pty: ssh.pty, env: ssh.env, ..SshRights::default() };
        }
        if self.read_only {
            let sftp = if ssh.sftp == SftpRights::None { SftpRights::None } else { SftpRights::Read };
            ssh = SshRights { sftp, ..SshRights::default() };
        }
        // A machine has no tables and no statements.
        if self.tables.is_some() || self.statements.is_some() {
            ssh = SshRights::default();
        }
        Rights::Ssh(ssh)
    }

    fn narrow_database(&self, mut rights: DatabaseRights) -> DatabaseRights {
        if self.command.is_some() {
            // A database has no commands.
            return DatabaseRights::default();
        }
        if let Some(tables) = &self.tables {
            rights = rights.only_tables(tables);
        }
        if let Some(statements) = &self.statements {
            rights = rights.only_statements(statements);
        }
        if self.read_only { rights.read_only() } else { rights }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits() -> impl Strategy<Value = Limits> {
        (prop::option::of(prop::sample::select(vec!["id", "uptime"])), any::<bool>()).prop_map(|(command, read_only)| Limits {
            command: command.map(str::to_owned),
            read_only,
            ..Limits::default()
        })
    }

    fn rights() -> impl Strategy<Value = Rights> {
        let exec = prop_oneof![
            Just(ExecRights::None),
            Just(ExecRights::Any),
            Just(ExecRights::Only(vec!["id".into()])),
            Just(ExecRights::Only(vec!["uptime".into(), "w".into()])),
        ];
        let sftp = prop::sample::select(SftpRights::ALL.to_vec());
        (any::<bool>(), any::<bool>(), exec, sftp, any::<bool>()).prop_map(|(shell, pty, exec, sftp, forwards)| {
            let local_forward = if forwards { vec!["*:*".parse().unwrap()] } else { Vec::new() };
            let local_socket = if forwards { vec!["/run/x".parse().unwrap()] } else { Vec::new() };
            Rights::Ssh(SshRights { shell, pty, exec, sftp, local_forward, local_socket, agent_forward: forwards, ..SshRights::default() })
        })
    }

    fn ssh(rights: Rights) -> SshRights {
        match rights {
            Rights::Ssh(ssh) => ssh,
            Rights::Database(_) => unreachable!(),
        }
    }

    proptest! {
        // covers: ASK-6, B4
        #[test]
        fn limits_never_widen(one in limits(), two in limits(), rights in rights()) {
            let (before, after) = (ssh(rights.clone()), ssh(one.narrow(rights.clone())));
            prop_assert!(!after.shell || before.shell);
            prop_assert!(!after.pty || before.pty);
            prop_assert!(after.sftp <= before.sftp);
            prop_assert!(!after.forwards() || before.forwards());
            for command in ["id", "uptime", "w", "sh"] {
                prop_assert!(!after.exec.allows(command) || before.exec.allows(command));
            }
            if !one.is_empty() {
                prop_assert!(!after.shell && !after.forwards() && !after.agent_forward && after.sftp < SftpRights::Write);
            }
            if let Some(both) = one.and(&two) {
                prop_assert!(both.within(&one) && both.within(&two));
            } else {
                prop_assert!(!one.within(&two) && !two.within(&one));
            }
        }
    }
}
