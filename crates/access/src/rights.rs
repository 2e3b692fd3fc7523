//! What a role may do inside a session: the flat table a judge reads, one shape per protocol.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

mod database;

pub use database::{Columns, DatabaseRights, QualifiedName, QualifiedNameError, TableRights, Verb};

/// In-session rights of one role on one kind of resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rights {
    /// On an SSH machine.
    Ssh(SshRights),
    /// In a database.
    Database(DatabaseRights),
}
json_fields!(Rights);

/// What may be done over SSH. The default is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SshRights {
    /// An interactive shell.
    pub shell: bool,
    /// A pseudo-terminal.
    pub pty: bool,
    /// Commands.
    pub exec: ExecRights,
    /// File transfer by the `sftp` subsystem.
    pub sftp: SftpRights,
    /// Where local forwards (`ssh -L`) may lead.
    pub local_forward: Vec<Endpoint>,
    /// Where remote forwards (`ssh -R`) may listen on the target.
    pub remote_forward: Vec<Endpoint>,
    /// Unix sockets on the target that local forwards (`ssh -L here:/run/app.sock`) may lead to.
    pub local_socket: Vec<SocketPath>,
    /// Where remote forwards (`ssh -R /run/app.sock:there`) may make a Unix socket on the target.
    pub remote_socket: Vec<SocketPath>,
    /// Whether the client's key agent may be reached from the target.
    pub agent_forward: bool,
    /// Environment variables that may be set; a trailing `*` stands for any ending. What [`changes_loading`] never passes, what
    /// [`changes_programs`] only if it is named whole.
    pub env: Vec<String>,
    /// Subsystems other than `sftp`.
    pub subsystems: Vec<String>,
}

impl Rights {
    /// Whether nothing can be done with these: a terminal and variables alone start nothing.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        match self {
            Self::Ssh(ssh) => {
                let no_command = matches!(&ssh.exec, ExecRights::Only(commands) if commands.is_empty());
                let exec = if no_command { ExecRights::None } else { ssh.exec.clone() };
                SshRights { pty: false, env: Vec::new(), exec, ..ssh.clone() } == SshRights::default()
            }
            Self::Database(database) => *database == DatabaseRights::default(),
        }
    }
}

impl SshRights {
    /// Whether anything may be forwarded, in either direction, between ports or sockets.
    #[must_use]
    pub fn forwards(&self) -> bool {
        !(self.local_forward.is_empty() && self.remote_forward.is_empty() && self.local_socket.is_empty() && self.remote_socket.is_empty())
    }

    /// Whether this variable may reach the target.
    #[must_use]
    pub fn allows_env(&self, name: &str) -> bool {
        !changes_loading(name)
            && self.env.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(stem) => name.starts_with(stem) && !changes_programs(name),
                None => name == pattern,
            })
    }
}

/// Variables that the loader and the C library of the target heed before any program does (ld.so(8)).
#[must_use]
pub fn changes_loading(name: &str) -> bool {
    name.starts_with("LD_") || name.starts_with("GLIBC_") || name == "GCONV_PATH"
}

/// Variables by which shells, interpreters and tools are made to run something else than they were called for.
#[must_use]
pub fn changes_programs(name: &str) -> bool {
    const FAMILIES: [&str; 9] = ["BASH_", "GIT_", "PERL", "PYTHON", "RUBY", "NODE_", "JAVA_", "LESS", "XDG_"];
    const SINGLE: [&str; 27] = [
        "CDPATH",
        "EDITOR",
        "ENV",
        "EXINIT",
        "GLOBIGNORE",
        "HOME",
        "HOSTALIASES",
        "IFS",
        "INPUTRC",
        "JDK_JAVA_OPTIONS",
        "LOCPATH",
        "MANPAGER",
        "NLSPATH",
        "PAGER",
        "PATH",
        "PROMPT_COMMAND",
        "PS4",
        "RSYNC_RSH",
        "SHELL",
        "SHELLOPTS",
        "SSH_ASKPASS",
        "TERMCAP",
        "TERMINFO",
        "VIMINIT",
        "VISUAL",
        "ZDOTDIR",
        "_JAVA_OPTIONS",
    ];
    FAMILIES.iter().any(|family| name.starts_with(family)) || SINGLE.contains(&name)
}

/// Which commands may be run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecRights {
    /// None.
    #[default]
    None,
    /// Just these, compared to the letter: no pattern can be outwitted because there is none.
    Only(Vec<String>),
    /// Any.
    Any,
}

impl ExecRights {
    /// Whether this command may be run.
    #[must_use]
    pub fn allows(&self, command: &str) -> bool {
        match self {
            Self::None => false,
            Self::Only(commands) => commands.iter().any(|c| c == command),
            Self::Any => true,
        }
    }
}

codes! {
    /// What may be done with files.
    SftpRights("file right") {
        /// Nothing.
        None = "none",
        /// Look and read.
        Read = "read",
        /// Read, write, rename, delete.
        Write = "write",
    }
}

#[expect(clippy::derivable_impls, reason = "the enum comes out of a macro that knows no default")]
impl Default for SftpRights {
    fn default() -> Self {
        Self::None
    }
}

/// A host and port, either of which may be `*`, as in `db.internal:5432`, `*:443`, `localhost:*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A host name or address, compared without regard to case; `*` is any that is not the target itself, link-local or a metadata service.
    pub host: String,
    /// A port; `None` is any.
    pub port: Option<u16>,
}

impl Endpoint {
    /// Whether this host was named, and not just matched by `*`.
    #[must_use]
    pub fn names(&self, host: &str) -> bool {
        self.host != "*" && self.host.eq_ignore_ascii_case(host)
    }

    /// Whether a forward to `host:port` is covered. `*` covers no address that [`is_guarded`].
    #[must_use]
    pub fn covers(&self, host: &str, port: u16) -> bool {
        self.port.is_none_or(|p| p == port) && (self.names(host) || (self.host == "*" && !is_guarded(host)))
    }
}

/// A Unix socket on a target: an absolute path, spelled out, whose last name may be `*`: any one name there, as in `/run/app/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketPath(String);

/// The longest path of a Unix socket on Linux (`unix(7)`: 108 bytes with the closing NUL).
const LONGEST_SOCKET: usize = 107;

impl SocketPath {
    /// Whether a path that somebody asks for is this one. It is compared as it is spelled, so a detour (`/run/../etc/x`) is another path.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        match self.0.strip_suffix('*') {
            None => self.0 == path,
            Some(folder) => path
                .strip_prefix(folder)
                .is_some_and(|name| !name.is_empty() && name != "." && name != ".." && !name.chars().any(|c| c == '/' || c.is_control())),
        }
    }
}

impl fmt::Display for SocketPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why a text is no socket's path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no path of a Unix socket; write it whole, like `/run/app/app.sock`, or `/run/app/*` for any in that folder")]
pub struct SocketPathError(String);

impl std::str::FromStr for SocketPath {
    type Err = SocketPathError;
    fn from_str(text: &str) -> Result<Self, SocketPathError> {
        let plain = |name: &str| !name.is_empty() && name != "." && name != ".." && !name.chars().any(|c| c == '*' || c.is_control());
        let good = text.len() <= LONGEST_SOCKET
            && text.strip_prefix('/').and_then(|rest| {
                let mut names = rest.split('/').rev();
                let last = names.next()?;
                // `/*` would be every socket in the root, which nobody means.
                let folders = names.clone().count();
                Some((plain(last) || (last == "*" && folders > 0)) && names.all(plain))
            }) == Some(true);
        if good { Ok(Self(text.to_owned())) } else { Err(SocketPathError(text.chars().take(120).flat_map(char::escape_default).collect())) }
    }
}

impl Serialize for SocketPath {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SocketPath {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Hosts that a wildcard never reaches: loopback, link-local, unspecified, multicast, and cloud metadata services.
#[must_use]
pub fn is_guarded(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    // A zone (`fe80::1%eth0`) doesn't change where an address leads.
    let bare = bare.split('%').next().unwrap_or_default().to_owned();
    if bare.starts_with("ip6-")
        || bare.is_empty()
        || bare == "localhost"
        || bare.ends_with(".localhost")
        || bare == "metadata.google.internal"
        || bare == "metadata"
    {
        return true;
    }
    match bare.parse::<std::net::IpAddr>() {
        Ok(ip) => is_guarded_address(ip),
        // Spellings of an address that resolvers accept and parsers don't: `127.1`, `0x7f000001`, `2130706433`.
        Err(_) => {
            bare.contains(':')
                || bare.chars().all(|c| c.is_ascii_hexdigit() || c == '.' || c == 'x' || c == ':' || c == '%')
                    && bare.chars().next().is_some_and(|c| c.is_ascii_digit())
        }
    }
}

/// Addresses that are no targets unless named: loopback, link-local, unspecified, multicast, and where clouds tell machines their secrets.
#[must_use]
pub fn is_guarded_address(ip: std::net::IpAddr) -> bool {
    use std::net::IpAddr;
    match ip {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || v4.octets()[0] == 0
                || METADATA_V4.contains(&v4)
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
                || METADATA_V6.contains(&v6)
                // All of AWS's services for machines and pods.
                || matches!(v6.segments(), [0xfd00, 0xec2, ..])
                || embedded_v4(v6).is_some_and(|v4| is_guarded_address(IpAddr::V4(v4)))
        }
    }
}

/// Metadata services outside 169.254.0.0/16: of Alibaba Cloud, Azure (WireServer) and Oracle Cloud.
const METADATA_V4: [Ipv4Addr; 3] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
/// Of Google Cloud and Scaleway.
const METADATA_V6: [Ipv6Addr; 2] = [Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)];

/// The IPv4 address that an IPv6 address stands for: mapped or compatible (RFC 4291 §2.5.5), behind a NAT64 prefix (RFC 6052, RFC 8215),
/// or of 6to4 (RFC 3056).
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 1, _, _, _, high, low] => {
            Some(of(high, low))
        }
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

/// Why a text is no host and port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no host and port; write it like `db.internal:5432`, `[::1]:80`, `*:443` or `localhost:*`")]
pub struct EndpointError(String);

impl std::str::FromStr for Endpoint {
    type Err = EndpointError;
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let bad = || EndpointError(text.chars().take(80).flat_map(char::escape_default).collect());
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(bad());
        }
        let port = match port {
            "*" => None,
            number => Some(number.parse().map_err(|_| bad())?),
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:", self.host)?;
        } else {
            write!(f, "{}:", self.host)?;
        }
        match self.port {
            Some(port) => port.fmt(f),
            None => f.write_str("*"),
        }
    }
}

impl Serialize for Endpoint {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: B6 (ssh)
    #[test]
    fn a_wildcard_never_reaches_the_gate_or_a_metadata_service() {
        let any: Endpoint = "*:*".parse().unwrap();
        assert!(any.covers("db.internal", 5432));
        for ordinary in ["10.1.2.3", "100.100.100.201", "2001:db8::1", "2002:a01:203::1", "64:ff9b::a01:203"] {
            assert!(any.covers(ordinary, 22), "{ordinary}");
        }
        for guarded in [
            "localhost",
            "LOCALHOST.",
            "127.0.0.1",
            "127.1",
            "0x7f000001",
            "2130706433",
            "[::1]",
            "::1",
            "0.0.0.0",
            "::ffff:127.0.0.1",
            "169.254.169.254",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fe80::1",
            "metadata.google.internal",
            "::1%1",
            "ip6-localhost",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "::127.0.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd20:ce::254",
            "fd00:42::42",
            "",
        ] {
            assert!(!any.covers(guarded, 80), "{guarded}");
        }
        let named: Endpoint = "127.0.0.1:80".parse().unwrap();
        assert!(named.covers("127.0.0.1", 80) && !named.covers("127.0.0.1", 81));
    }

    // covers: B6 (ssh)
    #[test]
    fn a_socket_is_the_one_that_is_named() {
        let one: SocketPath = "/run/app/app.sock".parse().unwrap();
        assert!(one.covers("/run/app/app.sock"));
        for other in ["/run/app/app.sock2", "/run/app//app.sock", "/run/x/../app/app.sock", "run/app/app.sock", "/run/app/app.sock/", ""] {
            assert!(!one.covers(other), "{other}");
        }
        let any: SocketPath = "/run/app/*".parse().unwrap();
        assert!(any.covers("/run/app/x.sock"));
        for other in ["/run/app/", "/run/app/..", "/run/app/.", "/run/app/a/b", "/run/app", "/run/other/x.sock", "/run/app/a\0b"] {
            assert!(!any.covers(other), "{other}");
        }
        for wrong in
            ["", "/", "/*", "*", "run/x", "/run/*/x", "/run/../x", "/run/./x", "/run//x", "/run/x*", &format!("/{}", "x".repeat(107))]
        {
            assert!(wrong.parse::<SocketPath>().is_err(), "{wrong}");
        }
    }

    // covers: ASK-6
    #[test]
    fn what_starts_nothing_is_nothing() {
        assert!(Rights::Ssh(SshRights { pty: true, env: vec!["LANG".into()], ..SshRights::default() }).is_nothing());
        assert!(Rights::Ssh(SshRights { exec: ExecRights::Only(Vec::new()), ..SshRights::default() }).is_nothing());
        assert!(!Rights::Ssh(SshRights { exec: ExecRights::Only(vec!["id".into()]), ..SshRights::default() }).is_nothing());
        assert!(!Rights::Ssh(SshRights { shell: true, ..SshRights::default() }).is_nothing());
    }

    // covers: B7 (ssh)
    #[test]
    fn loader_variables_never_pass() {
        let rights = SshRights { env: vec!["*".into()], ..SshRights::default() };
        assert!(rights.allows_env("LANG"));
        for loader in ["LD_PRELOAD", "GLIBC_TUNABLES", "BASH_ENV", "PATH", "PYTHONSTARTUP", "GIT_SSH_COMMAND", "IFS", "ZDOTDIR", "LESSOPEN"]
        {
            assert!(!rights.allows_env(loader), "{loader}");
        }
        let named = ["GIT_PROTOCOL", "LD_PRELOAD", "GLIBC_TUNABLES"].map(str::to_owned).to_vec();
        let rights = SshRights { env: named, ..SshRights::default() };
        assert!(rights.allows_env("GIT_PROTOCOL") && !rights.allows_env("LD_PRELOAD") && !rights.allows_env("GLIBC_TUNABLES"));
        let rights = SshRights { env: vec!["LC_*".into()], ..SshRights::default() };
        assert!(rights.allows_env("LC_ALL") && !rights.allows_env("PATH"));
    }
}
