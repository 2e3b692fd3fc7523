//! A narrower role in the place of the one that stands in `roles.toml`: what was used decides, see [`ssh`], and [`rewrite`] changes the
//! file so that nothing else of it does.

mod edit;
mod ssh;

use std::collections::BTreeMap;

use access::names::RoleName;
use access::rights::{Endpoint, Rights, SshRights};

use crate::bundle::Bundle;
use crate::rights::added;

pub use ssh::{Done, ssh};

/// The file that holds roles.
pub const ROLES: &str = "roles.toml";

/// Why a role cannot be written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CannotRewrite(String);

impl std::fmt::Display for CannotRewrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{ROLES}` cannot be changed by itself: {}; change it by hand", self.0)
    }
}

impl std::error::Error for CannotRewrite {}

/// What `roles.toml` would say with these rights for a role; the rest of it stays to the letter.
///
/// # Errors
/// The rights are wider than those the role has, or the file is written in a way that is not known here. What comes out was read again,
/// with the whole directory, and says what it should.
pub fn rewrite(bundle: &Bundle, role: &RoleName, rights: &Rights) -> Result<String, CannotRewrite> {
    let stands = bundle.role(role).ok_or_else(|| CannotRewrite(format!("there is no role `{role}`")))?;
    if !is_within(rights, &stands.rights) {
        return Err(CannotRewrite(format!("`{role}` would be wider than it is")));
    }
    let bytes = bundle.files().get(ROLES).ok_or_else(|| CannotRewrite("it is not there".to_owned()))?;
    let text = std::str::from_utf8(bytes).map_err(|_| CannotRewrite("it is no UTF-8".to_owned()))?;
    let changed = edit::narrow(text, role, &stands.rights, rights).map_err(CannotRewrite)?;
    let mut files: BTreeMap<String, Vec<u8>> = bundle.files().clone();
    files.insert(ROLES.to_owned(), changed.clone().into_bytes());
    let read = Bundle::from_files(files).map_err(|problems| CannotRewrite(format!("what comes out is not sound: {problems}")))?;
    let same = read.roles().zip(bundle.roles()).all(|(new, old)| {
        let expected = if old.name == *role { rights } else { &old.rights };
        new.name == old.name && new.rights == *expected
    });
    if !same || read.roles().count() != bundle.roles().count() {
        return Err(CannotRewrite("what comes out does not say what it should".to_owned()));
    }
    Ok(changed)
}

/// Whether nothing of the first is more than the second allows.
#[must_use]
pub fn is_within(now: &Rights, had: &Rights) -> bool {
    match (now, had) {
        (Rights::Ssh(now), Rights::Ssh(had)) => ssh_is_within(now, had),
        (Rights::Database(_), Rights::Database(_)) => added(had, now).is_empty(),
        _ => false,
    }
}

fn ssh_is_within(now: &SshRights, had: &SshRights) -> bool {
    let endpoints = |now: &[Endpoint], had: &[Endpoint]| {
        now.iter().all(|now| had.iter().any(|had| had.host == now.host && (had.port.is_none() || had.port == now.port)))
    };
    // Forwards, sockets and variables are covered by patterns, so they are compared here; the rest item by item.
    let plain = |rights: &SshRights| {
        Rights::Ssh(SshRights {
            local_forward: Vec::new(),
            remote_forward: Vec::new(),
            local_socket: Vec::new(),
            remote_socket: Vec::new(),
            env: Vec::new(),
            ..rights.clone()
        })
    };
    let sockets = |now: &[access::rights::SocketPath], had: &[access::rights::SocketPath]| {
        now.iter().all(|now| had.iter().any(|had| had == now || had.covers(&now.to_string())))
    };
    added(&plain(had), &plain(now)).is_empty()
        && endpoints(&now.local_forward, &had.local_forward)
        && endpoints(&now.remote_forward, &had.remote_forward)
        && sockets(&now.local_socket, &had.local_socket)
        && sockets(&now.remote_socket, &had.remote_socket)
        && now.env.iter().all(|name| had.env.contains(name) || (!name.ends_with('*') && had.allows_env(name)))
}

/// What nobody used: what the rights of a role allow that the narrower ones do not, one item each, in words.
#[must_use]
pub fn unused(had: &Rights, now: &Rights) -> Vec<String> {
    added(now, had)
}
