//! `[teams]`: the tenant of Microsoft Teams where people decide.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use notify::teams::client::TeamsSettings;
use policy::document::{At, Document, Table};
use policy::problem::shown;
use workflow::outbox::KeptSecret;

use super::parts::{RawSecret, may_be_called};

/// Teams as it stands in the file.
#[derive(Debug)]
pub(crate) struct RawTeams {
    tenant: Option<At<String>>,
    app: Option<At<String>>,
    channel: Option<At<String>>,
    app_password: RawSecret,
    login_url: Option<At<String>>,
    service_url: Option<At<String>>,
    metadata_url: Option<At<String>>,
    issuer: Option<At<String>>,
    addresses: Vec<At<IpAddr>>,
    ca_file: Option<At<String>>,
}

/// Teams, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamsConfig {
    /// What is said of it.
    pub settings: TeamsSettings,
    /// By what the gate is the bot there.
    pub app_password: KeptSecret,
    /// PEM roots that alone are trusted for it; `None`: the machine's.
    pub ca_file: Option<PathBuf>,
}

impl RawTeams {
    /// Reads the table, if it is there.
    pub(crate) fn read(table: Table<'_>) -> Option<Self> {
        let raw = Self {
            tenant: table.text("tenant"),
            app: table.text("app"),
            channel: table.text("channel"),
            app_password: RawSecret::read(&table, "app_password", "app_password_file"),
            login_url: table.text("login_url"),
            service_url: table.text("service_url"),
            metadata_url: table.text("metadata_url"),
            issuer: table.text("issuer"),
            addresses: table.list("addresses", "an IP address"),
            ca_file: table.text("ca_file"),
        };
        let there = table.is_there();
        if there {
            table.missing("tenant", "the directory's id, a GUID: the only tenant whose people may act here");
            table.missing("app", "the bot's Microsoft App ID, a GUID");
            table.missing("channel", "the id of the channel where requests are posted, like `19:…@thread.tacv2`");
            if !raw.app_password.is_there() {
                table.missing("app_password", "set it with `tidegate secret set NAME` and name it here, or name an `app_password_file`");
            }
        }
        table.finish();
        there.then_some(raw)
    }
}

/// Checks it. Paths are below `base`.
pub(crate) fn check(raw: Option<RawTeams>, document: &Document<'_>, base: &Path) -> Option<TeamsConfig> {
    let raw = raw?;
    let app_password = raw.app_password.check("teams.app_password", document, base);
    let addresses: Vec<IpAddr> = raw.addresses.into_iter().map(|address| address.value).collect();
    let id = |at: Option<At<String>>, what: &str| {
        let at = at?;
        let lengths: Vec<usize> = at.value.split('-').map(str::len).collect();
        let good = lengths == [8, 4, 4, 4, 12] && at.value.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit());
        if !good {
            document.reject(&at, format!("`{what}`: `{}` is no GUID like `72f988bf-0000-4000-8000-2d7cd011db47`", shown(&at.value)));
        }
        good.then(|| at.value.to_ascii_lowercase())
    };
    let tenant = id(raw.tenant, "teams.tenant");
    let app = id(raw.app, "teams.app");
    let channel = raw.channel.and_then(|at| {
        let good = at.value.starts_with("19:") && at.value.contains("@thread.") && !at.value.contains(char::is_whitespace);
        if !good {
            let says = format!("`teams.channel`: `{}` is no id of a channel, which looks like `19:…@thread.tacv2`", shown(&at.value));
            document.reject(&at, says);
        }
        good.then_some(at.value)
    });
    let (tenant, app, channel, app_password) = (tenant?, app?, channel?, app_password?);
    let mut settings = TeamsSettings { addresses, ..TeamsSettings::usual(&tenant, &app, &channel) };
    for (at, what, to) in [
        (raw.login_url, "teams.login_url", &mut settings.login),
        (raw.service_url, "teams.service_url", &mut settings.service),
        (raw.metadata_url, "teams.metadata_url", &mut settings.metadata),
    ] {
        let Some(at) = at else { continue };
        if !may_be_called(&at, what, &settings.addresses, document) {
            return None;
        }
        *to = at.value;
    }
    if let Some(issuer) = raw.issuer {
        settings.issuer = issuer.value;
    }
    Some(TeamsConfig { settings, app_password, ca_file: raw.ca_file.map(|file| base.join(file.value)) })
}

#[cfg(test)]
mod tests {
    use notify::teams::client::{LOGIN, SERVICE};

    use super::super::{Config, Environment};
    use super::*;

    const START: &str = "data_dir = '/var/lib/tidegate'\npolicy_dir = 'policy'\nnode = 'gate-1'\n";
    const TEAMS: &str = "[teams]\ntenant = '72f988bf-86f1-41af-91ab-2d7cd011db47'\napp = '11111111-2222-3333-4444-555555555555'\n\
                         channel = '19:abc@thread.tacv2'\napp_password = 'teams'\n";

    fn parse(text: &str) -> Result<Config, String> {
        let file = Path::new("/etc/tidegate/tidegate.toml");
        Config::parse(file, &format!("{START}{text}"), &Environment::default()).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn a_tenant_is_read_and_mistakes_in_it_are_named() {
        let teams = parse(TEAMS).unwrap().teams.unwrap();
        assert_eq!((teams.settings.login.as_str(), teams.settings.service.as_str()), (LOGIN, SERVICE));
        assert!(parse("").unwrap().teams.is_none());
        for (text, wanted) in [
            (TEAMS.replace("'72f988bf-86f1-41af-91ab-2d7cd011db47'", "'contoso'"), "is no GUID"),
            (TEAMS.replace("'19:abc@thread.tacv2'", "'General'"), "is no id of a channel"),
            (TEAMS.replace("app_password = 'teams'\n", ""), "`teams.app_password` is missing"),
            (TEAMS.replace("tenant", "tennant"), "did you mean `tenant`?"),
            (format!("{TEAMS}login_url = 'http://login.example.com/'\n"), "without TLS"),
        ] {
            let mistakes = parse(&text).unwrap_err();
            assert!(mistakes.contains(wanted), "{text}\n{mistakes}");
        }
    }
}
