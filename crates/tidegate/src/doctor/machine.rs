//! What the machine gives: directories, space, ports.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Access, access, statvfs};

use crate::config::{Config, Tls};

use super::Finding;

/// Below this the gate may soon be unable to record, and then nothing opens.
const LITTLE_SPACE: u64 = 2 << 30;
/// Below this it is.
const NO_SPACE: u64 = 128 << 20;

pub(super) fn data_dir(config: &Config) -> Finding {
    const CHECK: &str = "data directory";
    let dir = &config.data_dir;
    let shown = dir.display();
    let found = match fs::metadata(dir) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = nearest_existing(dir);
            return if is_writable(parent) {
                Finding::ok(CHECK, format!("{shown} is not there yet; the first start makes it"))
            } else {
                let advice = format!("make it: `install -d -m 0700 -o tidegate {shown}`");
                Finding::fail(CHECK, format!("{shown} is not there, and this user cannot make it in {}", parent.display()), advice)
            };
        }
        Err(error) => return Finding::fail(CHECK, format!("{shown} cannot be looked at: {error}"), "correct its permissions"),
    };
    if !found.is_dir() {
        return Finding::fail(CHECK, format!("{shown} is no directory"), "name another `data_dir`, or move the file away");
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        let advice = "run this as the user the gate runs as, or change the owner";
        return Finding::fail(CHECK, format!("{shown} belongs to user {}, not to this one", found.uid()), advice);
    }
    if found.mode() & 0o077 != 0 {
        let advice = format!("run `chmod 700 {shown}`");
        return Finding::fail(CHECK, format!("others can look into {shown} (mode {:03o})", found.mode() & 0o777), advice);
    }
    if !is_writable(dir) {
        return Finding::fail(CHECK, format!("{shown} cannot be written"), "correct its permissions, or whether it is mounted read-only");
    }
    Finding::ok(CHECK, format!("{shown} is the gate's alone"))
}

pub(super) fn recordings(config: &Config) -> Finding {
    const CHECK: &str = "recordings";
    let dir = config.data_dir.join("recordings");
    let shown = dir.display();
    if !dir.exists() {
        return Finding::ok(CHECK, format!("{shown} is not there yet; the first start makes it"));
    }
    if !dir.is_dir() {
        return Finding::fail(CHECK, format!("{shown} is no directory"), "move the file away; the next start makes the directory");
    }
    if !is_writable(&dir) {
        let advice = "nothing opens that is to be recorded: correct its permissions, or whether it is mounted read-only";
        return Finding::fail(CHECK, format!("{shown} cannot be written"), advice);
    }
    Finding::ok(CHECK, format!("{shown} can be written"))
}

pub(super) fn disk(config: &Config) -> Option<Finding> {
    const CHECK: &str = "disk space";
    let place = nearest_existing(&config.data_dir);
    let found = statvfs(place).ok()?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let says = format!("{} MiB are free at {}", free >> 20, place.display());
    let advice = "make space: without it nothing can be recorded, and then nothing opens";
    Some(match free {
        ..NO_SPACE => Finding::fail(CHECK, says, advice),
        NO_SPACE..LITTLE_SPACE => Finding::warn(CHECK, says, advice),
        _ => Finding::ok(CHECK, says),
    })
}

pub(super) fn checkpoints(config: &Config) -> Finding {
    const CHECK: &str = "checkpoints";
    let path = &config.checkpoints;
    let parent = path.parent().unwrap_or(Path::new("."));
    let inside = path.starts_with(&config.data_dir);
    if !is_writable(nearest_existing(parent)) || (path.exists() && access(path, Access::WRITE_OK).is_err()) {
        return Finding::fail(
            CHECK,
            format!("{} cannot be written", path.display()),
            "correct its permissions, or name another `audit.checkpoints`",
        );
    }
    if inside {
        let advice = "name a place that whoever can write the data directory cannot change, as `checkpoints` under `[audit]`";
        return Finding::warn(CHECK, format!("{} lies inside the data directory, so it goes where the log goes", path.display()), advice);
    }
    Finding::ok(CHECK, format!("published to {}", path.display()))
}

pub(super) fn tls(config: &Config) -> Vec<Finding> {
    const CHECK: &str = "TLS";
    if config.listen.plain_http {
        return vec![Finding::warn(CHECK, "the API speaks plain HTTP on loopback", "remove `plain_http` unless this is a demonstration")];
    }
    let Tls::Files { certificate, key } = &config.tls else {
        return vec![Finding::ok(CHECK, "the gate's own CA certifies the API; clients trust the file at `/ca.pem`")];
    };
    let mut findings = Vec::new();
    for (what, path) in [("certificate", certificate), ("private key", key)] {
        match fs::read_to_string(path) {
            Ok(text) if text.contains("-----BEGIN ") => {}
            Ok(_) => findings.push(Finding::fail(CHECK, format!("{} holds no PEM", path.display()), format!("give the {what} in PEM"))),
            Err(error) => {
                let advice = "name a file that this user can read under `[tls]`";
                findings.push(Finding::fail(CHECK, format!("the {what} {} cannot be read: {error}", path.display()), advice));
            }
        }
    }
    if fs::metadata(key).is_ok_and(|found| found.mode() & 0o007 != 0) {
        findings.push(Finding::fail(CHECK, format!("everybody can read {}", key.display()), format!("run `chmod 600 {}`", key.display())));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, format!("certificate from {}", certificate.display())));
    }
    findings
}

pub(super) fn listener(check: &'static str, at: SocketAddr) -> Finding {
    if at.port() == 0 {
        return Finding::ok(check, format!("any free port on {}", at.ip()));
    }
    match TcpListener::bind(at) {
        Ok(_) => Finding::ok(check, format!("{at} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Finding::warn(
            check,
            format!("{at} is in use"),
            "that is as it should be if the gate runs; else stop what has it, or choose another port",
        ),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let advice = "ports below 1024 need CAP_NET_BIND_SERVICE (systemd: `AmbientCapabilities=`), or choose another port";
            Finding::fail(check, format!("this user may not listen on {at}"), advice)
        }
        Err(error) => Finding::fail(check, format!("cannot listen on {at}: {error}"), "name an address of this machine under `[listen]`"),
    }
}

fn nearest_existing(path: &Path) -> &Path {
    path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("."))
}

fn is_writable(dir: &Path) -> bool {
    access(dir, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}
