//! What a role allows inside, asked as the literal act.

use access::reason::{Reason, Refusal};
use access::rights::{SftpRights, SshRights};
use access::session::SessionFacts;

use super::lane::{Cargo, Stream};
use super::text;

/// What a session channel is to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    Shell,
    Exec(Vec<u8>),
    Subsystem(String),
}

impl Start {
    /// What kind of thing, as the audit log calls it.
    pub(crate) fn what(&self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Exec(_) => "exec",
            Self::Subsystem(name) if name == "sftp" => "sftp",
            Self::Subsystem(_) => "subsystem",
        }
    }

    /// What is done, as the recording calls it.
    pub(crate) fn act(&self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Exec(_) => "exec",
            Self::Subsystem(_) => "subsystem",
        }
    }

    /// Which one, inert.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Shell => String::new(),
            Self::Exec(command) => text::inert_bytes(command, 1024),
            Self::Subsystem(name) => text::inert(name, 1024),
        }
    }

    /// Which one, whole, for the recording; bytes that are no text stand as U+FFFD.
    pub(crate) fn whole(&self) -> String {
        match self {
            Self::Shell => String::new(),
            Self::Exec(command) => String::from_utf8_lossy(command).into_owned(),
            Self::Subsystem(name) => name.clone(),
        }
    }

    /// Whether it may be started.
    ///
    /// # Errors
    /// A refusal that names what was tried.
    pub(crate) fn allowed_by(&self, rights: &SshRights, facts: &SessionFacts) -> Result<(), Refusal> {
        let allowed = match self {
            Self::Shell => rights.shell,
            // A command that is not UTF-8 equals none that could be listed.
            Self::Exec(command) => match std::str::from_utf8(command) {
                Ok(command) => rights.exec.allows(command),
                Err(_) => rights.exec == access::rights::ExecRights::Any,
            },
            Self::Subsystem(name) if name == "sftp" => rights.sftp != SftpRights::None,
            Self::Subsystem(name) => rights.subsystems.iter().any(|s| s == name),
        };
        if allowed { Ok(()) } else { Err(refusal(facts, &format!("{} {}", self.what(), self.detail()))) }
    }

    /// What of it is kept.
    pub(crate) fn cargo(&self, rights: &SshRights, has_terminal: bool) -> Cargo {
        match self {
            Self::Subsystem(name) if name == "sftp" => Cargo::Sftp(rights.sftp),
            _ if has_terminal => Cargo::Terminal,
            Self::Exec(command) => transferring(command).map_or(Cargo::Command, |files| Cargo::Transfer { files }),
            Self::Shell | Self::Subsystem(_) => Cargo::Command,
        }
    }
}

/// A refusal of something the rights of this session don't cover.
pub(crate) fn refusal(facts: &SessionFacts, tried: &str) -> Refusal {
    let reason = if facts.limits.is_empty() { Reason::NotInRole } else { Reason::OutsideLimits };
    Refusal::because(reason, format!("{} as {}: {}", facts.resource, facts.role, tried.trim_end()))
}

/// The stream that carries the files, if a command is by its name nothing but a file transfer program.
///
/// Only then is content left out of the recording, so whatever a shell could take for more than one plain command is not one.
fn transferring(command: &[u8]) -> Option<Stream> {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b" _./=,+:@%~'-".contains(b);
    let text = std::str::from_utf8(command).ok()?;
    if !command.iter().all(plain) || text.contains("--daemon") || text.contains("--config") {
        return None;
    }
    let mut words = text.split_whitespace();
    // By its bare name alone: a path could lead to anything that is called like this.
    match words.next().unwrap_or_default() {
        "scp" => {
            let flags: Vec<&str> = words.take_while(|w| w.starts_with('-')).collect();
            let known = flags.iter().all(|flag| ["-t", "-f", "-r", "-p", "-d", "-v", "--"].contains(flag));
            match (known, flags.contains(&"-t"), flags.contains(&"-f")) {
                (true, true, false) => Some(Stream::In),
                (true, false, true) => Some(Stream::Out),
                _ => None,
            }
        }
        "rsync" if words.next() == Some("--server") => Some(if words.next() == Some("--sender") { Stream::Out } else { Stream::In }),
        "git-receive-pack" => Some(Stream::In),
        "git-upload-pack" | "git-upload-archive" => Some(Stream::Out),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_transfer_goes_without_content() {
        for (transfer, files) in [
            ("scp -t /tmp", Stream::In),
            ("scp -r -f 'a b'", Stream::Out),
            ("rsync --server -vlogDtpre.iLsfxCIvu . /srv", Stream::In),
            ("rsync --server --sender -vlogDtpre.iLsfxCIvu . /srv", Stream::Out),
            ("git-upload-pack '/srv/x.git'", Stream::Out),
            ("git-receive-pack '/srv/x.git'", Stream::In),
        ] {
            assert_eq!(transferring(transfer.as_bytes()), Some(files), "{transfer}");
        }
        for other in [
            "scp -t x; sh",
            "scp a b",
            "sh",
            "rsync --daemon",
            "rsync --server --daemon --config=x .",
            "git-upload-pack $(sh)",
            "scp -t `sh`",
            "scp -t \nsh",
            "scp -t -f x",
        ] {
            assert_eq!(transferring(other.as_bytes()), None, "{other}");
        }
    }
}
