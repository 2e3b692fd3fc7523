//! `roles.toml`: tasks, and what each may do inside a session. Nothing else gives a right inside one.

use std::collections::{BTreeMap, BTreeSet};

use access::names::RoleName;
use access::rights::{Endpoint, ExecRights, Rights, SftpRights, SocketPath, SshRights};
use serde::Serialize;

use super::named;
use super::resources::{Kind, Login, Resource, Word};
use crate::document::{At, Table};
use crate::problem::{Place, Sink, shown};

/// A task one may do on a kind of resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Role {
    /// Its name.
    pub name: RoleName,
    /// In plain words, what it is for.
    pub description: String,
    /// The kind of resource it is for.
    pub kind: Kind,
    /// The account it uses on the target.
    pub login: String,
    /// Only in these environments; empty: in all.
    pub environments: BTreeSet<String>,
    /// Only on resources with at least one of these tags; empty: on all.
    pub tags: BTreeSet<String>,
    /// What it may do inside a session, before forbids.
    pub rights: Rights,
}

impl Role {
    /// Whether the role is one of this resource.
    #[must_use]
    pub fn applies_to(&self, resource: &Resource) -> bool {
        self.kind == resource.kind
            && (self.environments.is_empty() || resource.environment.as_ref().is_some_and(|e| self.environments.contains(e)))
            && (self.tags.is_empty() || !self.tags.is_disjoint(&resource.tags))
    }
}

/// Any text at all.
struct Text(String);

impl std::str::FromStr for Text {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

/// The name of an environment variable, maybe with a `*` at its end.
struct Variable(String);

impl std::str::FromStr for Variable {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let stem = text.strip_suffix('*').unwrap_or(text);
        if access::rights::changes_loading(text) {
            return Err(format!("`{}` never passes: it changes how programs on the target are loaded", shown(text)));
        }
        if !text.is_empty() && stem.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{}` is no variable; write it like `LANG` or `LC_*`", shown(text)))
        }
    }
}

/// The name of a subsystem that is the target's; the gate answers to some itself.
struct Subsystem(String);

impl std::str::FromStr for Subsystem {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "extend" {
            return Err("`extend` is the gate's own: `ssh -s HOST extend 30m` asks it for more time".to_owned());
        }
        if text == "join" {
            return Err("`join` is the gate's own: `ssh -t -s HOST join SESSION` joins a session".to_owned());
        }
        text.parse::<Word>().map(|word| Self(word.0))
    }
}

pub(crate) fn load(files: &[(&str, &[u8])], sink: &Sink) -> BTreeMap<RoleName, (Role, Place)> {
    named(files, "role", sink, |table| {
        let name: Option<At<RoleName>> = table.required("name");
        let kind: Option<At<Kind>> = table.required("kind");
        let login: Option<At<Login>> = table.required("login");
        let description: Option<At<String>> = table.required("description");
        let environments = table.read_list::<Word>("environments").into_iter().map(|w| w.value.0).collect();
        let tags = table.read_list::<Word>("tags").into_iter().map(|w| w.value.0).collect();
        let ssh = table.table("ssh").if_there().map(|ssh| {
            let rights = read_ssh(&ssh);
            ssh.finish();
            rights
        });
        let database = table.table("database").if_there().map(|database| {
            let rights = super::database::read(&database);
            database.finish();
            rights
        });
        let kind = kind?.value;
        let (wanted, other, example) = match kind {
            Kind::Ssh => ("ssh", "database", "ssh = { shell = true, pty = true }"),
            Kind::Postgres | Kind::Mysql => ("database", "ssh", "database = { unrestricted = true }"),
        };
        if !table.has(wanted) {
            let says = format!("`{wanted}` is missing here: the table of what the role may do, as in `{example}`");
            table.sink().error(table.place(), says);
        }
        if table.has(other) {
            table.sink().error(table.place(), format!("`{other}` means nothing in a role of kind `{kind}`; its table is `{wanted}`"));
        }
        let rights = match kind {
            Kind::Ssh => Rights::Ssh(ssh?),
            Kind::Postgres | Kind::Mysql => Rights::Database(database?),
        };
        let name = name?;
        let role =
            Role { name: name.value.clone(), description: description?.value, kind, login: login?.value.0, environments, tags, rights };
        Some((name, role))
    })
}

fn read_ssh(table: &Table<'_>) -> SshRights {
    SshRights {
        shell: table.flag_or("shell", false),
        pty: table.flag_or("pty", false),
        exec: read_exec(table),
        sftp: table.or("sftp", SftpRights::None),
        local_forward: table.read_list::<Endpoint>("local_forward").into_iter().map(|e| e.value).collect(),
        remote_forward: table.read_list::<Endpoint>("remote_forward").into_iter().map(|e| e.value).collect(),
        local_socket: table.read_list::<SocketPath>("local_socket").into_iter().map(|s| s.value).collect(),
        remote_socket: table.read_list::<SocketPath>("remote_socket").into_iter().map(|s| s.value).collect(),
        agent_forward: table.flag_or("agent_forward", false),
        env: table.read_list::<Variable>("env").into_iter().map(|v| v.value.0).collect(),
        subsystems: table.read_list::<Subsystem>("subsystems").into_iter().map(|w| w.value.0).collect(),
    }
}

fn read_exec(table: &Table<'_>) -> ExecRights {
    if table.is_list("exec") {
        return ExecRights::Only(table.read_list::<Text>("exec").into_iter().map(|t| t.value.0).collect());
    }
    let Some(word) = table.text("exec") else { return ExecRights::None };
    match word.value.as_str() {
        "any" => ExecRights::Any,
        "none" => ExecRights::None,
        other => {
            let says = format!(
                "`exec` is `any`, `none` or a list of whole commands, not `{}`; for one command write `exec = [\"…\"]`",
                shown(other)
            );
            table.sink().error(word.place, says);
            ExecRights::None
        }
    }
}
