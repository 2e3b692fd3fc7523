//! `[mail]`: the server that mails are handed to.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use notify::mail::address::Address;
use notify::mail::client::{MailClient, MailSettings, Security};
use policy::document::{At, Document, Table};
use policy::problem::shown;
use workflow::outbox::KeptSecret;

use super::parts::RawSecret;

/// Mail as it stands in the file.
#[derive(Debug)]
pub(crate) struct RawMail {
    host: Option<At<String>>,
    port: Option<At<u16>>,
    security: Option<At<Security>>,
    user: Option<At<String>>,
    password: RawSecret,
    from: Option<At<Address>>,
    alerts: Vec<At<Address>>,
    addresses: Vec<At<IpAddr>>,
    ca_file: Option<At<String>>,
}

/// Mail, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailConfig {
    /// What is said of it.
    pub settings: MailSettings,
    /// By what the gate signs in at the server.
    pub password: Option<KeptSecret>,
    /// PEM roots that alone are trusted for it; `None`: the machine's.
    pub ca_file: Option<PathBuf>,
}

impl RawMail {
    /// Reads the table, if it is there.
    pub(crate) fn read(table: Table<'_>) -> Option<Self> {
        let address = "an address like `gate@example.com`";
        let raw = Self {
            host: table.text("host"),
            port: table.port("port"),
            security: table.parse("security", "`tls` (from the first byte), `starttls`, or `none` (for a server on this machine)"),
            user: table.text("user"),
            password: RawSecret::read(&table, "password", "password_file"),
            from: table.parse("from", address),
            alerts: table.list("alerts", address),
            addresses: table.list("addresses", "an IP address"),
            ca_file: table.text("ca_file"),
        };
        let there = table.is_there();
        if there {
            table.missing("host", "the mail server's name, as its certificate says it, like `mail.example.com`");
            table
                .missing("from", "the address that mails come from, like `gate@example.com`; its domain has to let the server send for it");
            if raw.user.is_some() && !raw.password.is_there() {
                table.missing("password", "set it with `tidegate secret set NAME` and name it here, or name a `password_file`");
            }
            if raw.user.is_none() && raw.password.is_there() {
                table.missing("user", "a password is somebody's: name whose");
            }
        }
        table.finish();
        there.then_some(raw)
    }
}

/// Checks it. Paths are below `base`.
pub(crate) fn check(raw: Option<RawMail>, document: &Document<'_>, base: &Path) -> Option<MailConfig> {
    let raw = raw?;
    let password = raw.password.check("mail.password", document, base);
    let security = raw.security.as_ref().map_or(Security::Tls, |at| at.value);
    if let (Some(user), Security::Plain) = (&raw.user, security) {
        document.reject(user, "`mail.user`: a password is not sent without TLS; leave it out, or set `security` to `tls` or `starttls`");
    }
    let host = raw.host?;
    let settings = MailSettings {
        host: host.value.clone(),
        port: raw.port.map_or(security.port(), |at| at.value),
        security,
        user: raw.user.map(|at| at.value),
        from: raw.from?.value,
        alerts: raw.alerts.into_iter().map(|at| at.value).collect(),
        addresses: raw.addresses.into_iter().map(|at| at.value).collect(),
    };
    // What can't be set up is a mistake here, not when the first mail is due; the roots are read when the gate starts.
    let named = !settings.host.is_empty() && settings.host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':'));
    if !named {
        document.reject(&host, format!("`mail.host`: `{}` is no name of a server, nor an address", shown(&host.value)));
        return None;
    }
    if let Err(error) = MailClient::new(&settings, None) {
        document.reject(&host, format!("`mail.host`: {error}"));
        return None;
    }
    Some(MailConfig { settings, password, ca_file: raw.ca_file.map(|file| base.join(file.value)) })
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment};
    use super::*;

    const START: &str = "data_dir = '/var/lib/tidegate'\npolicy_dir = 'policy'\nnode = 'gate-1'\n";
    const MAIL: &str = "[mail]\nhost = 'mail.example.com'\nuser = 'gate'\npassword = 'mail-password'\nfrom = 'gate@example.com'\n";

    fn parse(text: &str) -> Result<Config, String> {
        let file = Path::new("/etc/tidegate/tidegate.toml");
        Config::parse(file, &format!("{START}{text}"), &Environment::default()).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn a_mail_server_is_read() {
        let mail = parse(&format!("{MAIL}alerts = ['Security@example.com']\n")).unwrap().mail.unwrap();
        assert_eq!((mail.settings.port, mail.settings.security), (465, Security::Tls));
        assert_eq!(mail.password, Some(KeptSecret::Sealed("mail-password".parse().unwrap())));
        assert_eq!(mail.settings.alerts[0].as_str(), "security@example.com");
        let relay = parse("[mail]\nhost = '127.0.0.1'\nsecurity = 'none'\nfrom = 'gate@example.com'\naddresses = ['127.0.0.1']\n");
        assert_eq!(relay.unwrap().mail.unwrap().settings.port, 25);
        assert!(parse("").unwrap().mail.is_none());
    }

    #[test]
    fn mistakes_in_a_mail_server_are_named() {
        parse(MAIL).unwrap();
        for (text, wanted) in [
            (MAIL.replace("host = 'mail.example.com'\n", ""), "`mail.host` is missing"),
            (MAIL.replace("from = 'gate@example.com'\n", ""), "`mail.from` is missing"),
            (MAIL.replace("'gate@example.com'", "'Gate <gate@example.com>'"), "is not an address"),
            (MAIL.replace("password = 'mail-password'\n", ""), "`mail.password` is missing"),
            (MAIL.replace("user = 'gate'\n", ""), "`mail.user` is missing"),
            (format!("{MAIL}password_file = 'x'\n"), "not both"),
            (format!("{MAIL}security = 'ssl'\n"), "is not `tls`"),
            (format!("{MAIL}security = 'none'\n"), "is not sent without TLS"),
            (format!("{MAIL}port = 0\n"), "port"),
            (MAIL.replace("mail.example.com", "10.0.0.1"), "is an address inside"),
            (MAIL.replace("mail.example.com", "smtp://mail.example.com"), "is no name of a server"),
            (format!("{MAIL}alert = []\n"), "did you mean `alerts`?"),
        ] {
            let mistakes = parse(&text).unwrap_err();
            assert!(mistakes.contains(wanted), "{text}\n{mistakes}");
        }
    }
}
