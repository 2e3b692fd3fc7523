//! What an asker renounces: a request can be narrower than its role, never wider.

use serde::{Deserialize, Serialize};

use crate::rights::{DatabaseRights, ExecRights, Rights, SftpRights, SshRights};

/// Limits of one request on top of its role. Empty means the role as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Only this one command, spelled exactly like this; no shell, no files, no forwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Nothing that writes: no shell, no command, no forwards; files can be read.
    #[serde(default, skip_serializing_if = "is_false")]
    pub read_only: bool,
}
json_fields!(Limits);

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Limits {
    /// Whether nothing is renounced.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether everything these allow, `other` allows too.
    #[must_use]
    pub fn within(&self, other: &Self) -> bool {
        (other.command.is_none() || other.command == self.command) && (!other.read_only || self.read_only)
    }

    /// The role's rights cut down to these limits.
    ///
    /// INVARIANT: what comes out is never wider than what went in.
    #[must_use]
    pub fn narrow(&self, rights: Rights) -> Rights {
        let mut ssh = match rights {
            Rights::Ssh(ssh) => ssh,
            // A database has no commands, and an account that may do anything cannot be told to only read.
            Rights::Database(_) if !self.is_empty() => return Rights::Database(DatabaseRights::default()),
            database @ Rights::Database(_) => return database,
        };
        if let Some(command) = &self.command {
            let exec = if ssh.exec.allows(command) { ExecRights::Only(vec![command.clone()]) } else { ExecRights::None };
            ssh = SshRights { exec, pty: ssh.pty, env: ssh.env, ..SshRights::default() };
        }
        if self.read_only {
            let sftp = if ssh.sftp == SftpRights::None { SftpRights::None } else { SftpRights::Read };
            ssh = SshRights { sftp, ..SshRights::default() };
        }
        Rights::Ssh(ssh)
    }
}
