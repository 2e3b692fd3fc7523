//! `[[stream]]`: where the log goes as it grows: syslog over TLS, HTTP, S3, OpenTelemetry.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use access::names::GroupName;
use access::time::Span;
use evidence::lines::Form;
use notify::stream::s3::Place;
use notify::stream::syslog;
use policy::document::{At, Document, Table};
use policy::problem::shown;
use workflow::outbox::KeptSecret;

use super::parts::{RawSecret, kind, may_be_called};

/// The kinds there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Syslog,
    Http,
    S3,
    Otlp,
}

const KINDS: &[(&str, Kind)] = &[("syslog", Kind::Syslog), ("http", Kind::Http), ("s3", Kind::S3), ("otlp", Kind::Otlp)];
const FORMS: &[(&str, Form)] = &[("ocsf", Form::Ocsf), ("jsonl", Form::JsonLines)];
/// The longest line of each kind if nothing is said. RFC 5425 wants 8,192 bytes to be taken everywhere.
const LARGEST: [(Kind, u32); 4] = [(Kind::Syslog, 8_000), (Kind::Http, 262_144), (Kind::S3, 16 * 1024 * 1024), (Kind::Otlp, 262_144)];
/// What it can be set to: what RFC 5425 wants of every receiver at least, and 16 MiB.
const LARGEST_RANGE: (u32, u32) = (2_048, 16 * 1024 * 1024);
/// How long an object is gathered if nothing is said, and a batch of anything at most.
const EVERY: (Span, Span) = (Span::minutes(1), Span::hours(1));

/// A stream as it stands in the file.
#[derive(Debug)]
pub(crate) struct RawStream {
    name: Option<At<GroupName>>,
    kind: Option<At<String>>,
    format: Option<At<String>>,
    activity: bool,
    largest: Option<At<u32>>,
    every: Option<At<Span>>,
    url: Option<At<String>>,
    address: Option<At<String>>,
    certificate: Option<At<String>>,
    key: Option<At<String>>,
    bucket: Option<At<String>>,
    region: Option<At<String>>,
    prefix: Option<At<String>>,
    access_key: Option<At<String>>,
    secret: RawSecret,
    addresses: Vec<At<IpAddr>>,
    ca_file: Option<At<String>>,
}

/// Where a stream goes, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamTo {
    /// Syslog over TLS: host and port, and the gate's own certificate and key.
    Syslog(String, Option<(PathBuf, PathBuf)>),
    /// Standard Webhooks: the URL, and what signs.
    Http(String, KeptSecret),
    /// A bucket, and the secret half of its access key.
    S3(Place, KeptSecret),
    /// OpenTelemetry: the URL for logs, and the bearer token.
    Otlp(String, Option<KeptSecret>),
}

/// A stream, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamConfig {
    /// Its name.
    pub name: String,
    /// In which form lines are.
    pub form: Form,
    /// Whether what was done in sessions goes with it.
    pub activity: bool,
    /// The longest line, in bytes.
    pub largest: usize,
    /// How long lines are gathered.
    pub every: Span,
    /// Where to.
    pub to: StreamTo,
    /// Addresses inside that may be called all the same.
    pub addresses: Vec<IpAddr>,
    /// PEM roots that alone are trusted for it; `None`: the machine's.
    pub ca_file: Option<PathBuf>,
}

impl RawStream {
    /// Reads one table.
    pub(crate) fn read(table: Table<'_>) -> Self {
        let raw = Self {
            name: table.parse("name", "a name: 1 to 63 of a-z, 0-9, `.` and `-`"),
            kind: table.text("kind"),
            format: table.text("format"),
            activity: table.flag_or("activity", false),
            largest: table.number("largest", LARGEST_RANGE.0, LARGEST_RANGE.1),
            every: table.read("every"),
            url: table.text("url"),
            address: table.text("address"),
            certificate: table.text("certificate"),
            key: table.text("key"),
            bucket: table.text("bucket"),
            region: table.text("region"),
            prefix: table.text("prefix"),
            access_key: table.text("access_key"),
            secret: RawSecret::read(&table, "secret", "secret_file"),
            addresses: table.list("addresses", "an IP address"),
            ca_file: table.text("ca_file"),
        };
        table.missing("name", "how far it came is kept under it: another name begins at the log's first entry");
        table.missing("kind", "say what it speaks: `syslog`, `http`, `s3` or `otlp`");
        let said = raw.kind.as_ref().map(|kind| kind.value.as_str());
        let secret = |hint: &str| {
            if !raw.secret.is_there() {
                table.missing("secret", hint);
            }
        };
        match said {
            Some("syslog") => table.missing("address", "the collector's host and port, as in `address = \"logs.example.com:6514\"`"),
            Some("http") => {
                table.missing("url", "the receiver says it, like `https://logs.example.com/tidegate`");
                secret("make one with `tidegate secret set NAME` and name it here, or name a `secret_file`");
            }
            Some("s3") => {
                table.missing("url", "the service's address without the bucket, like `https://s3.eu-central-1.amazonaws.com`");
                table.missing("bucket", "name the bucket");
                table.missing("region", "name the region that requests are signed for, like `eu-central-1`");
                table.missing("access_key", "the id of the access key, like `AKIA…`");
                secret("set the secret access key with `tidegate secret set NAME` and name it here, or name a `secret_file`");
            }
            Some("otlp") => table.missing("url", "the collector's address for logs, like `https://otel.example.com/v1/logs`"),
            _ => {}
        }
        table.finish();
        raw
    }
}

/// Checks all streams. Paths are below `base`.
pub(crate) fn check(all: Vec<RawStream>, document: &Document<'_>, base: &Path) -> Vec<StreamConfig> {
    let mut streams: Vec<StreamConfig> = Vec::new();
    for raw in all {
        if let Some(stream) = one(raw, document, base, &streams) {
            streams.push(stream);
        }
    }
    streams
}

fn one(raw: RawStream, document: &Document<'_>, base: &Path, before: &[StreamConfig]) -> Option<StreamConfig> {
    let said = kind(raw.kind.as_ref()?, KINDS, "stream.kind", "stream", document);
    let form = match &raw.format {
        Some(format) => kind(format, FORMS, "stream.format", "format", document),
        None => Some(Form::Ocsf),
    };
    let name = raw.name.as_ref()?;
    if before.iter().any(|other| other.name == name.value.as_str()) {
        document.reject(name, format!("`stream.name`: `{}` stands here twice", name.value));
        return None;
    }
    if let Some(every) = raw.every.as_ref().filter(|every| every.value > EVERY.1) {
        document.reject(every, format!("`stream.every`: lines are gathered for {} at most", EVERY.1));
    }
    let said = said?;
    foreign(&raw, said, document);
    let addresses: Vec<IpAddr> = raw.addresses.iter().map(|address| address.value).collect();
    let url = || raw.url.as_ref().filter(|url| may_be_called(url, "stream.url", &addresses, document)).map(|url| url.value.clone());
    let (every, largest) = (raw.every.as_ref().map(|every| every.value), raw.largest.as_ref().map(|largest| largest.value));
    let usual = LARGEST.iter().find(|(kind, _)| *kind == said).map_or(LARGEST_RANGE.0, |(_, largest)| *largest);
    let to = match said {
        Kind::Syslog => {
            let address = raw.address.as_ref()?;
            if let Err(error) = syslog::address(&address.value, &addresses) {
                document.reject(address, format!("`stream.address`: {error}"));
                return None;
            }
            let own = match (&raw.certificate, &raw.key) {
                (Some(certificate), Some(key)) => Some((base.join(&certificate.value), base.join(&key.value))),
                (Some(alone), None) | (None, Some(alone)) => {
                    document.reject(alone, "`stream.certificate` and `stream.key` belong together");
                    None
                }
                (None, None) => None,
            };
            StreamTo::Syslog(address.value.clone(), own)
        }
        Kind::Http => StreamTo::Http(url()?, raw.secret.check("stream.secret", document, base)?),
        Kind::Otlp => StreamTo::Otlp(url()?, raw.secret.check("stream.secret", document, base)),
        Kind::S3 => {
            let url = url()?;
            let text = |at: &Option<At<String>>, what: &str, good: fn(&str) -> bool| {
                let at = at.as_ref()?;
                if !good(&at.value) {
                    document.reject(at, format!("`stream.{what}`: `{}` is none", shown(&at.value)));
                }
                good(&at.value).then(|| at.value.clone())
            };
            let prefix = match &raw.prefix {
                Some(_) => text(&raw.prefix, "prefix", is_prefix),
                None => Some(String::new()),
            };
            let bucket = text(&raw.bucket, "bucket", is_bucket);
            let region = text(&raw.region, "region", is_word);
            let access_key = text(&raw.access_key, "access_key", is_word);
            let place = Place { url, bucket: bucket?, region: region?, prefix: prefix?, access_key: access_key? };
            StreamTo::S3(place, raw.secret.check("stream.secret", document, base)?)
        }
    };
    Some(StreamConfig {
        name: name.value.to_string(),
        form: form?,
        activity: raw.activity,
        largest: usize::try_from(largest.unwrap_or(usual)).ok()?,
        every: every.unwrap_or(if said == Kind::S3 { EVERY.0 } else { Span::default() }),
        to,
        addresses,
        ca_file: raw.ca_file.map(|file| base.join(file.value)),
    })
}

/// Keys that belong to another kind are mistakes.
fn foreign(raw: &RawStream, said: Kind, document: &Document<'_>) {
    let keys: [(&Option<At<String>>, &str, &[Kind]); 8] = [
        (&raw.url, "url", &[Kind::Http, Kind::S3, Kind::Otlp]),
        (&raw.address, "address", &[Kind::Syslog]),
        (&raw.certificate, "certificate", &[Kind::Syslog]),
        (&raw.key, "key", &[Kind::Syslog]),
        (&raw.bucket, "bucket", &[Kind::S3]),
        (&raw.region, "region", &[Kind::S3]),
        (&raw.prefix, "prefix", &[Kind::S3]),
        (&raw.access_key, "access_key", &[Kind::S3]),
    ];
    for (at, key, kinds) in keys {
        if let Some(at) = at
            && !kinds.contains(&said)
        {
            let code = KINDS.iter().find(|(_, kind)| *kind == said).map_or("", |(code, _)| code);
            document.reject(at, format!("`stream.{key}`: a stream of kind `{code}` has none"));
        }
    }
}

fn is_bucket(text: &str) -> bool {
    (3..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'))
}

fn is_word(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn is_prefix(text: &str) -> bool {
    text.len() <= 256 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'/' | b'.')) && !text.contains("..")
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment};
    use super::*;

    const START: &str = "data_dir = '/var/lib/tidegate'\npolicy_dir = 'policy'\nnode = 'gate-1'\n";
    const SYSLOG: &str = "[[stream]]\nname = 'siem'\nkind = 'syslog'\naddress = 'logs.example.com:6514'\n";
    const HTTP: &str = "[[stream]]\nname = 'lake'\nkind = 'http'\nurl = 'https://logs.example.com/x'\nsecret = 'lake'\n";
    const S3: &str = "[[stream]]\nname = 'archive'\nkind = 's3'\nurl = 'https://s3.eu-central-1.amazonaws.com'\nbucket = 'logs'\n\
                      region = 'eu-central-1'\nprefix = 'tidegate/'\naccess_key = 'AKIA0123'\nsecret = 'archive'\nformat = 'jsonl'\nactivity = true\n";
    const OTLP: &str = "[[stream]]\nname = 'otel'\nkind = 'otlp'\nurl = 'https://otel.example.com/v1/logs'\n";

    fn parse(text: &str) -> Result<Config, String> {
        let file = Path::new("/etc/tidegate/tidegate.toml");
        Config::parse(file, &format!("{START}{text}"), &Environment::default()).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn where_the_log_goes_is_read() {
        let streams = parse(&format!("{SYSLOG}{HTTP}{S3}{OTLP}")).unwrap().streams;
        let [syslog, http, s3, otlp] = streams.as_slice() else { panic!("four streams") };
        assert_eq!((syslog.form, syslog.largest, syslog.every, syslog.activity), (Form::Ocsf, 8_000, Span::default(), false));
        assert_eq!(syslog.to, StreamTo::Syslog("logs.example.com:6514".into(), None));
        assert_eq!(http.to, StreamTo::Http("https://logs.example.com/x".into(), KeptSecret::Sealed("lake".parse().unwrap())));
        assert_eq!((s3.form, s3.every, s3.activity), (Form::JsonLines, Span::minutes(1), true));
        assert_eq!(otlp.to, StreamTo::Otlp("https://otel.example.com/v1/logs".into(), None));
        assert!(parse("").unwrap().streams.is_empty());
    }

    #[test]
    fn mistakes_in_where_the_log_goes_are_named() {
        for (text, wanted) in [
            (SYSLOG.replace("'syslog'", "'sylog'"), "did you mean `syslog`?"),
            (SYSLOG.replace("address = 'logs.example.com:6514'\n", ""), "`stream.address` is missing"),
            (SYSLOG.replace("logs.example.com", "10.0.0.1"), "is an address inside"),
            (format!("{SYSLOG}certificate = 'own.pem'\n"), "belong together"),
            (format!("{SYSLOG}bucket = 'logs'\n"), "of kind `syslog` has none"),
            (format!("{SYSLOG}format = 'cef'\n"), "kinds are ocsf, jsonl"),
            (format!("{SYSLOG}largest = 100\n"), "2048"),
            (format!("{SYSLOG}every = '2h'\n"), "1h at most"),
            (format!("{SYSLOG}{SYSLOG}"), "stands here twice"),
            (HTTP.replace("secret = 'lake'\n", ""), "`stream.secret` is missing"),
            (HTTP.replace("https://", "http://"), "without TLS"),
            (S3.replace("bucket = 'logs'", "bucket = 'Logs/..'"), "is none"),
            (S3.replace("tidegate/", "../"), "is none"),
            (OTLP.replace("otel.example.com", "169.254.169.254"), "is an address inside"),
        ] {
            let mistakes = parse(&text).unwrap_err();
            assert!(mistakes.contains(wanted), "{text}\n{mistakes}");
        }
    }
}
