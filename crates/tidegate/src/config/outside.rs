//! `[[webhook]]` and `[slack]`: who outside is told of what happens. Who may decide there is not said here.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use access::names::GroupName;
use notify::slack::client::{API, HOOKS, SlackSettings};
use notify::webhook::Pattern;
use policy::document::{At, Document, Table};
use policy::problem::shown;
use workflow::outbox::KeptSecret;

use super::parts::{RawSecret, may_be_called};

/// The command that Slack's people type if nothing is said.
const COMMAND: &str = "/tidegate";

/// An endpoint as it stands in the file.
#[derive(Debug)]
pub(crate) struct RawWebhook {
    name: Option<At<GroupName>>,
    url: Option<At<String>>,
    events: Vec<At<Pattern>>,
    secret: RawSecret,
    old_secret: RawSecret,
    addresses: Vec<At<IpAddr>>,
    ca_file: Option<At<String>>,
}

/// Slack as it stands in the file.
#[derive(Debug)]
pub(crate) struct RawSlack {
    team: Option<At<String>>,
    channel: Option<At<String>>,
    command: Option<At<String>>,
    bot_token: RawSecret,
    signing_secret: RawSecret,
    api_url: Option<At<String>>,
    hooks_url: Option<At<String>>,
    addresses: Vec<At<IpAddr>>,
    ca_file: Option<At<String>>,
}

/// An endpoint, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookConfig {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// What it is told of.
    pub events: Vec<Pattern>,
    /// What signs.
    pub secret: KeptSecret,
    /// What signs too, while one takes another's place.
    pub old_secret: Option<KeptSecret>,
    /// Addresses inside that may be called all the same.
    pub addresses: Vec<IpAddr>,
    /// PEM roots that alone are trusted for it; `None`: the machine's.
    pub ca_file: Option<PathBuf>,
}

/// Slack, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlackConfig {
    /// What is said of it.
    pub settings: SlackSettings,
    /// By what the gate is the app there.
    pub bot_token: KeptSecret,
    /// What signs its calls.
    pub signing_secret: KeptSecret,
    /// PEM roots that alone are trusted for it; `None`: the machine's.
    pub ca_file: Option<PathBuf>,
}

impl RawWebhook {
    /// Reads one table.
    pub(crate) fn read(table: Table<'_>) -> Self {
        let raw = Self {
            name: table.parse("name", "a name: 1 to 63 of a-z, 0-9, `.` and `-`"),
            url: table.text("url"),
            events: table.list("events", "an event, as `request.approved`, or several, as `request.*` or `*`"),
            secret: RawSecret::read(&table, "secret", "secret_file"),
            old_secret: RawSecret::read(&table, "old_secret", "old_secret_file"),
            addresses: table.list("addresses", "an IP address"),
            ca_file: table.text("ca_file"),
        };
        table.missing("name", "its messages are listed under it: `tidegate outbox list`");
        table.missing("url", "the receiver says it, like `https://hooks.example.com/tidegate`");
        table.missing("events", "name what it is told of, as in `events = [\"request.*\", \"grant.revoked\"]`");
        if !raw.secret.is_there() {
            table.missing("secret", "make one with `tidegate secret set NAME` and name it here, or name a `secret_file`");
        }
        table.finish();
        raw
    }
}

impl RawSlack {
    /// Reads the table, if it is there.
    pub(crate) fn read(table: Table<'_>) -> Option<Self> {
        let raw = Self {
            team: table.text("team"),
            channel: table.text("channel"),
            command: table.text("command"),
            bot_token: RawSecret::read(&table, "bot_token", "bot_token_file"),
            signing_secret: RawSecret::read(&table, "signing_secret", "signing_secret_file"),
            api_url: table.text("api_url"),
            hooks_url: table.text("hooks_url"),
            addresses: table.list("addresses", "an IP address"),
            ca_file: table.text("ca_file"),
        };
        let there = table.is_there();
        if there {
            table.missing("team", "the workspace's id, like `T0123ABCD`: the only one whose people may act here");
            table.missing("channel", "the id of the channel where requests are posted, like `C0123ABCD`");
            if !raw.bot_token.is_there() {
                table.missing("bot_token", "set it with `tidegate secret set NAME` and name it here, or name a `bot_token_file`");
            }
            if !raw.signing_secret.is_there() {
                table.missing("signing_secret", "set it with `tidegate secret set NAME` and name it here, or name a `signing_secret_file`");
            }
        }
        table.finish();
        there.then_some(raw)
    }
}

/// Checks all endpoints. Paths are below `base`.
pub(crate) fn check_webhooks(all: Vec<RawWebhook>, document: &Document<'_>, base: &Path) -> Vec<WebhookConfig> {
    let mut webhooks: Vec<WebhookConfig> = Vec::new();
    for raw in all {
        let secret = raw.secret.check("webhook.secret", document, base);
        let old_secret = raw.old_secret.check("webhook.old_secret", document, base);
        let addresses: Vec<IpAddr> = raw.addresses.into_iter().map(|address| address.value).collect();
        let (Some(name), Some(url), Some(secret)) = (raw.name, raw.url, secret) else { continue };
        if webhooks.iter().any(|other| other.name == name.value.as_str()) {
            document.reject(&name, format!("`webhook.name`: `{}` stands here twice", name.value));
            continue;
        }
        if !may_be_called(&url, "webhook.url", &addresses, document) {
            continue;
        }
        webhooks.push(WebhookConfig {
            name: name.value.to_string(),
            url: url.value,
            events: raw.events.into_iter().map(|event| event.value).collect(),
            secret,
            old_secret,
            addresses,
            ca_file: raw.ca_file.map(|file| base.join(file.value)),
        });
    }
    webhooks
}

/// Checks Slack. Paths are below `base`.
pub(crate) fn check_slack(raw: Option<RawSlack>, document: &Document<'_>, base: &Path) -> Option<SlackConfig> {
    let raw = raw?;
    let bot_token = raw.bot_token.check("slack.bot_token", document, base);
    let signing_secret = raw.signing_secret.check("slack.signing_secret", document, base);
    let addresses: Vec<IpAddr> = raw.addresses.into_iter().map(|address| address.value).collect();
    let id = |at: Option<At<String>>, what: &str, first: &[char]| {
        let at = at?;
        let good =
            at.value.len() >= 2 && at.value.starts_with(first) && at.value.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if !good {
            document.reject(&at, format!("`{what}`: `{}` is no id of Slack, which looks like `{}0123ABCD`", shown(&at.value), first[0]));
        }
        good.then_some(at.value)
    };
    let team = id(raw.team, "slack.team", &['T', 'E']);
    let channel = id(raw.channel, "slack.channel", &['C', 'G']);
    let command = match raw.command {
        Some(at) if at.value.len() < 2 || !at.value.starts_with('/') || at.value.contains(char::is_whitespace) => {
            document.reject(&at, format!("`slack.command`: `{}` is no command like `{COMMAND}`", shown(&at.value)));
            None
        }
        Some(at) => Some(at.value),
        None => Some(COMMAND.to_owned()),
    };
    let url = |at: Option<At<String>>, what: &str, usual: &str| match at {
        Some(at) => may_be_called(&at, what, &addresses, document).then_some(at.value),
        None => Some(usual.to_owned()),
    };
    let api = url(raw.api_url, "slack.api_url", API);
    let hooks = url(raw.hooks_url, "slack.hooks_url", HOOKS);
    Some(SlackConfig {
        settings: SlackSettings { team: team?, channel: channel?, command: command?, api: api?, hooks: hooks?, addresses },
        bot_token: bot_token?,
        signing_secret: signing_secret?,
        ca_file: raw.ca_file.map(|file| base.join(file.value)),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment};
    use super::*;

    const START: &str = "data_dir = '/var/lib/tidegate'\npolicy_dir = 'policy'\nnode = 'gate-1'\n";
    const HOOK: &str =
        "[[webhook]]\nname = 'siem'\nurl = 'https://hooks.example.com/x'\nevents = ['request.*', 'grant.revoked']\nsecret = 'siem-hook'\n";
    const SLACK: &str =
        "[slack]\nteam = 'T0123ABCD'\nchannel = 'C0123ABCD'\nbot_token = 'slack-bot'\nsigning_secret_file = 'slack.secret'\n";

    fn parse(text: &str) -> Result<Config, String> {
        let file = Path::new("/etc/tidegate/tidegate.toml");
        Config::parse(file, &format!("{START}{text}"), &Environment::default()).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn who_is_told_is_read() {
        let config = parse(&format!("{HOOK}old_secret_file = 'old'\n{SLACK}")).unwrap();
        let [hook] = config.webhooks.as_slice() else { panic!("one endpoint") };
        assert!(hook.events[0].covers("request.denied") && !hook.events[1].covers("grant.expired"));
        assert_eq!(hook.secret, KeptSecret::Sealed("siem-hook".parse().unwrap()));
        assert_eq!(hook.old_secret, Some(KeptSecret::File("/etc/tidegate/old".into())));
        let slack = config.slack.unwrap();
        assert_eq!((slack.settings.command.as_str(), slack.settings.api.as_str()), ("/tidegate", API));
        assert_eq!(slack.signing_secret, KeptSecret::File("/etc/tidegate/slack.secret".into()));
        let nobody = parse("").unwrap();
        assert!(nobody.webhooks.is_empty() && nobody.slack.is_none());
    }

    #[test]
    fn mistakes_in_who_is_told_are_named() {
        parse(&format!("{HOOK}{SLACK}")).unwrap();
        for (text, wanted) in [
            (HOOK.replace("https://", "http://"), "without TLS"),
            (HOOK.replace("hooks.example.com", "10.0.0.1"), "is an address inside"),
            (HOOK.replace("hooks.example.com", "169.254.169.254"), "is an address inside"),
            (HOOK.replace("'request.*'", "'requests'"), "is not an event"),
            (HOOK.replace("events", "event"), "did you mean `events`?"),
            (HOOK.replace("secret = 'siem-hook'\n", ""), "`webhook.secret` is missing"),
            (format!("{HOOK}secret_file = 'x'\n"), "not both"),
            (format!("{HOOK}{HOOK}"), "stands here twice"),
            (SLACK.replace("'T0123ABCD'", "'my-team'"), "is no id of Slack"),
            (SLACK.replace("'C0123ABCD'", "'#access'"), "is no id of Slack"),
            (SLACK.replace("bot_token", "bot_tokens"), "did you mean `bot_token`?"),
            (SLACK.replace("team = 'T0123ABCD'\n", ""), "`slack.team` is missing"),
            (format!("{SLACK}command = 'tidegate'\n"), "is no command"),
            (format!("{SLACK}api_url = 'http://slack.example.com/'\n"), "without TLS"),
            ("slack = 'x'\n".to_owned(), "has to be a table"),
        ] {
            let mistakes = parse(&text).unwrap_err();
            assert!(mistakes.contains(wanted), "{text}\n{mistakes}");
        }
        parse(&format!("{}addresses = ['10.0.0.1']\n", HOOK.replace("hooks.example.com", "10.0.0.1"))).unwrap();
    }
}
