//! OpenSSH's files: `ssh_config` (ssh_config(5)), `known_hosts` and `authorized_keys` (sshd(8)).

use std::collections::BTreeMap;

use access::inventory::{Attribution, Issuance, Reach};
use ssh_key::{HashAlg, PublicKey};

use crate::names::{address, attributed, is_gate, is_shared};
use crate::{About, Found, ReadError, Sink};

/// The settings that are looked at, in lower case.
const SETTINGS: &[&str] = &[
    "hostname",
    "user",
    "port",
    "identityfile",
    "certificatefile",
    "proxyjump",
    "proxycommand",
    "preferredauthentications",
    "identityagent",
];

/// The most `Host` and `Match` blocks of one file: one for each way, and some.
const MOST_BLOCKS: usize = crate::MOST_PATHS + 100;
/// The most patterns in one `Host` line.
const MOST_PATTERNS: usize = 64;
/// How many letters and settings are looked at, at most, to find what holds for all the names of one file: some seconds.
const MOST_STEPS: u64 = 200_000_000;

/// A `Host` block: its patterns, and the first value of each of the [`SETTINGS`].
struct Block {
    patterns: Vec<String>,
    settings: Vec<(&'static str, String)>,
}

impl Block {
    fn of(patterns: Vec<String>) -> Self {
        Self { patterns, settings: Vec::new() }
    }
}

/// Each name in a `Host` line that is no pattern is a way, with the first value of each setting whose block fits it, as ssh reads it.
///
/// INVARIANT: names, blocks and patterns are counted while they are read, and what it takes to compare them too: a file may come from a
/// laptop that is somebody else's.
pub(crate) fn config(text: &str, about: &About, sink: &mut Sink) {
    let Some((names, blocks)) = blocks_of(text, sink) else { return };
    let mut steps = MOST_STEPS;
    for (line, alias) in names {
        let Some(settings) = holding(&blocks, &alias, &mut steps) else {
            return sink.wrong(line, "it takes too long to find what holds for each of so many names; split the file");
        };
        sink.put(host(line, &alias, |setting| settings.get(setting).copied(), about));
    }
}

/// The names of a configuration with their lines, and its blocks in order; `None` if reading on would help nobody, which is told.
fn blocks_of(text: &str, sink: &mut Sink) -> Option<(Vec<(u64, String)>, Vec<Block>)> {
    let mut blocks = vec![Block::of(vec!["*".to_owned()])];
    let mut names: Vec<(u64, String)> = Vec::new();
    let mut applies = true;
    for (number, line) in (1u64..).zip(text.lines()) {
        if sink.is_full() {
            return None;
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.contains("PRIVATE KEY-----") {
            sink.wrong(number, "a private key stands here, and this is no ssh configuration; nothing was kept of it");
            return None;
        }
        let (keyword, rest) = line.split_once(|c: char| c.is_whitespace() || c == '=').unwrap_or((line, ""));
        let keyword = keyword.to_ascii_lowercase();
        let Some(values) = words(rest.trim_start_matches(|c: char| c.is_whitespace() || c == '=')) else {
            sink.wrong(number, "a quote is not closed here");
            continue;
        };
        if !keyword.bytes().all(|byte| byte.is_ascii_alphanumeric()) || values.is_empty() {
            sink.wrong(number, "this is no setting of ssh; a line says a keyword and a value");
            continue;
        }
        match keyword.as_str() {
            "host" => {
                applies = true;
                if values.len() > MOST_PATTERNS {
                    sink.wrong(number, format!("a `Host` line has at most {MOST_PATTERNS} names and patterns; split it"));
                    return None;
                }
                names.extend(values.iter().filter(|name| !name.contains(['*', '?', '!'])).map(|name| (number, name.clone())));
                blocks.push(Block::of(values));
            }
            "match" => {
                applies = values.len() == 1 && values.iter().all(|value| value.eq_ignore_ascii_case("all"));
                if applies {
                    blocks.push(Block::of(vec!["*".to_owned()]));
                } else {
                    sink.note("`Match` blocks depend on the moment and were left out");
                }
            }
            "include" => sink.note("`Include` is not followed; import those files too, each with a `--source` of its own"),
            _ if applies => {
                let setting = SETTINGS.iter().copied().find(|setting| *setting == keyword);
                if let (Some(setting), Some(block)) = (setting, blocks.last_mut())
                    && block.settings.iter().all(|(name, _)| *name != setting)
                {
                    block.settings.push((setting, values.join(" ")));
                }
            }
            _ => {}
        }
        if names.len() > crate::MOST_PATHS || blocks.len() > MOST_BLOCKS {
            let says = format!("up to here it has more than {} names or {MOST_BLOCKS} blocks; split it", crate::MOST_PATHS);
            sink.wrong(number, says);
            return None;
        }
    }
    Some((names, blocks))
}

/// What holds for a name, in one pass over the blocks; `None` if no steps are left.
fn holding<'b>(blocks: &'b [Block], alias: &str, steps: &mut u64) -> Option<BTreeMap<&'static str, &'b str>> {
    let mut settings = BTreeMap::new();
    for block in blocks {
        if settings.len() == SETTINGS.len() {
            break;
        }
        // What says nothing need not fit.
        *steps = steps.checked_sub(1)?;
        if !block.settings.is_empty() && fits(&block.patterns, alias, steps)? {
            for (name, value) in &block.settings {
                *steps = steps.checked_sub(1)?;
                settings.entry(*name).or_insert(value.as_str());
            }
        }
    }
    Some(settings)
}

fn host<'s>(line: u64, alias: &str, of: impl Fn(&str) -> Option<&'s str>, about: &About) -> Found {
    let name = of("hostname").map_or_else(|| alias.to_owned(), |name| name.replace("%h", alias).replace("%%", "%"));
    let port = of("port").and_then(|port| port.parse().ok()).unwrap_or(22);
    let target = address(&name, port);
    let account = of("user").map(str::to_owned);
    let through = of("proxyjump").filter(|jump| !jump.eq_ignore_ascii_case("none"));
    let jumps_at_gate = through.is_some_and(|jumps| {
        jumps.split(',').any(|jump| is_gate(&address(jump.rsplit('@').next().unwrap_or(jump), 22), &about.gate_hosts))
    });
    let gate = is_gate(&target, &about.gate_hosts) || jumps_at_gate;
    let only_password = of("preferredauthentications").is_some_and(|list| !list.contains("publickey") && !list.contains("gssapi"));
    let issuance = match () {
        () if gate => Issuance::Gate,
        () if of("certificatefile").is_some() => Issuance::Certificate,
        () if only_password => Issuance::Password,
        () => Issuance::Key,
    };
    let mut detail = vec![format!("as {alias}")];
    detail.extend(of("identityfile").map(|file| format!("with the key {file}")));
    detail.extend(through.map(|through| format!("through {through}")));
    if of("proxycommand").is_some_and(|command| !command.eq_ignore_ascii_case("none")) {
        detail.push("through a command of its own".to_owned());
    }
    let attribution = if gate { Attribution::Person } else { attributed(account.as_deref(), about.of.as_deref()) };
    Found { line, reach: Reach::Ssh, target, account, holder: about.of.clone(), fingerprint: None, issuance, attribution, detail }
}

/// Words of a line; those in double quotes stay together. `None` if a quote is not closed.
fn words(text: &str) -> Option<Vec<String>> {
    let (mut out, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in text.chars() {
        match c {
            '"' => (quoted, any) = (!quoted, true),
            '#' if !quoted && !any => break,
            c if c.is_whitespace() && !quoted => {
                if any {
                    out.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    if any {
        out.push(word);
    }
    (!quoted).then_some(out)
}

/// Whether a name fits one of the patterns and none that begins with `!`; `None` if no steps are left.
fn fits(patterns: &[String], name: &str, steps: &mut u64) -> Option<bool> {
    let (mut some, mut none) = (false, true);
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(pattern) => none &= !like(pattern.as_bytes(), name.as_bytes(), steps)?,
            None => some |= like(pattern.as_bytes(), name.as_bytes(), steps)?,
        }
    }
    Some(some && none)
}

/// `*` stands for any letters, `?` for one. In time of the product of the lengths, whatever the pattern; each letter is a step.
fn like(pattern: &[u8], name: &[u8], steps: &mut u64) -> Option<bool> {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        *steps = steps.checked_sub(1)?;
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || name.get(n).is_some_and(|at| at.eq_ignore_ascii_case(c)) => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, n) = (at + 1, from + 1);
                }
                None => return Some(false),
            },
        }
    }
    Some(pattern.get(p..).unwrap_or_default().iter().all(|c| *c == b'*'))
}

/// Each host that somebody's ssh has met is a way they took.
pub(crate) fn known_hosts(text: &str, about: &About, sink: &mut Sink) {
    for (number, line) in (1u64..).zip(text.lines()) {
        if sink.is_full() {
            return;
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut rest = line;
        let mut marker = "";
        if line.starts_with('@') {
            (marker, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        }
        if marker == "@revoked" {
            sink.skip();
            continue;
        }
        let Some((hosts, key)) = rest.trim_start().split_once(char::is_whitespace).filter(|_| matches!(marker, "" | "@cert-authority"))
        else {
            sink.wrong(number, "this is no line of known_hosts; one says hosts, a kind of key and the key");
            continue;
        };
        let Some(fingerprint) = fingerprint(key) else {
            sink.wrong(number, "the key here is no public key of SSH");
            continue;
        };
        let detail = if marker.is_empty() { Vec::new() } else { vec!["by a host authority".to_owned()] };
        let found = |target: String, fingerprint: Option<String>, mut more: Vec<String>| {
            more.extend(detail.clone());
            Found {
                line: number,
                reach: Reach::Ssh,
                issuance: if is_gate(&target, &about.gate_hosts) { Issuance::Gate } else { Issuance::Unknown },
                target,
                account: None,
                holder: about.of.clone(),
                fingerprint,
                attribution: Attribution::Unknown,
                detail: more,
            }
        };
        if hosts.starts_with("|1|") {
            // Which host it is cannot be read; its key says it where a resource names that.
            sink.put(found(crate::HASHED.to_owned(), Some(fingerprint), Vec::new()));
            continue;
        }
        for host in hosts.split(',').filter(|host| !host.is_empty() && !host.starts_with('!')) {
            let (host, port) = match host.strip_prefix('[').and_then(|host| host.split_once("]:")) {
                Some((host, port)) => (host, port.parse().unwrap_or(22)),
                None => (host, 22),
            };
            if sink.is_full() {
                return;
            }
            sink.put(found(address(host, port), None, vec![format!("shows {fingerprint}")]));
        }
    }
}

/// `SHA256:…` of a public key as OpenSSH writes it, with or without a comment; `None` if it is none.
#[must_use]
pub fn fingerprint(key: &str) -> Option<String> {
    let mut words = key.split_whitespace();
    let plain = format!("{} {}", words.next()?, words.next()?);
    Some(PublicKey::from_openssh(&plain).ok()?.fingerprint(HashAlg::Sha256).to_string())
}

/// One line of `authorized_keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizedKey {
    /// Where, from 1.
    pub line: u64,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// `ssh-ed25519` and the like.
    pub kind: String,
    /// What stands behind the key: mostly whose it is.
    pub comment: Option<String>,
    /// Whether whatever it signs is let in, and not it itself.
    pub authority: bool,
    /// Names of the options before it.
    pub options: Vec<String>,
}

/// The keys of an `authorized_keys` file, each read or what is wrong with its line. Lines are told apart as sshd does.
pub fn authorized_key_lines(text: &str) -> impl Iterator<Item = Result<AuthorizedKey, u64>> {
    (1u64..).zip(text.lines()).filter_map(|(number, line)| {
        let line = line.trim();
        (!line.is_empty() && !line.starts_with('#')).then(|| authorized_key(number, line).ok_or(number))
    })
}

fn authorized_key(line: u64, text: &str) -> Option<AuthorizedKey> {
    let is_key = |text: &str| text.starts_with("ssh-") || text.starts_with("ecdsa-") || text.starts_with("sk-");
    let (options, key) = if is_key(text) { ("", text) } else { options_before(text)? };
    let mut words = key.split_whitespace();
    let (kind, data) = (words.next()?, words.next()?);
    let comment = words.collect::<Vec<_>>().join(" ");
    let key = PublicKey::from_openssh(&format!("{kind} {data}")).ok()?;
    let options: Vec<String> =
        split_options(options).map(|option| option.split('=').next().unwrap_or_default().to_ascii_lowercase()).collect();
    Some(AuthorizedKey {
        line,
        fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
        kind: kind.to_owned(),
        comment: (!comment.is_empty()).then_some(comment),
        authority: options.iter().any(|option| option == "cert-authority"),
        options,
    })
}

/// Splits the options from the key: at the first blank outside of quotes.
fn options_before(text: &str) -> Option<(&str, &str)> {
    let (mut quoted, mut escaped) = (false, false);
    for (place, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => return Some((text.get(..place)?, text.get(place..)?.trim_start())),
            _ => {}
        }
    }
    None
}

fn split_options(text: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = text.split(move |c: char| match c {
        _ if escaped => {
            escaped = false;
            false
        }
        '\\' if quoted => {
            escaped = true;
            false
        }
        '"' => {
            quoted = !quoted;
            false
        }
        c => c == ',' && !quoted,
    });
    parts.filter(|part| !part.is_empty())
}

/// Each key that an account of a target lets in is a way.
pub(crate) fn authorized_keys(text: &str, about: &About, sink: &mut Sink) -> Result<(), ReadError> {
    let on = about
        .on
        .as_deref()
        .ok_or(ReadError::Missing("say on which target the list was found, as in `--on db-1.internal --account root`"))?;
    let account = about.account.as_deref().ok_or(ReadError::Missing("say whose list it is, as in `--account root`"))?;
    let target = address(on, 22);
    let keys: Vec<_> = authorized_key_lines(text).collect();
    let several = keys.len() > 1;
    for key in keys {
        if sink.is_full() {
            break;
        }
        let key = match key {
            Ok(key) => key,
            Err(line) => {
                sink.wrong(line, "this is no line of authorized_keys; one says maybe options, a kind of key and the key");
                continue;
            }
        };
        let gate = about.gate_keys.contains(&key.fingerprint);
        let issuance = match () {
            () if gate => Issuance::Gate,
            () if key.authority => Issuance::Certificate,
            () => Issuance::Key,
        };
        let attribution = match () {
            () if gate => Attribution::Person,
            () if is_shared(account) || several => Attribution::Shared,
            () => attributed(Some(account), key.comment.as_deref()),
        };
        let mut detail = vec![key.kind];
        if key.authority {
            detail.push("whatever this authority signs is let in".to_owned());
        }
        let kept: Vec<&str> = key.options.iter().map(String::as_str).filter(|option| *option != "cert-authority").collect();
        if !kept.is_empty() {
            detail.push(format!("with {}", kept.join(", ")));
        }
        sink.put(Found {
            line: key.line,
            reach: Reach::Ssh,
            target: target.clone(),
            account: Some(account.to_owned()),
            holder: key.comment,
            fingerprint: Some(key.fingerprint),
            issuance,
            attribution,
            detail,
        });
    }
    Ok(())
}
