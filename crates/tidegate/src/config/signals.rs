//! `[[signals]]`: who says, unasked, that somebody is not to be let in any more. Who may do what is not said here.

use std::path::{Path, PathBuf};

use access::names::Username;
use identity::oidc::provider::is_private_url;
use identity::oidc::security_event::Transmitter;
use policy::document::{At, Document, Table};
use policy::problem::shown;
use workflow::outbox::KeptSecret;

use super::parts::RawSecret;
use super::providers::ProviderConfig;

/// A transmitter of signals as it stands in the file.
#[derive(Debug)]
pub(crate) struct RawSignals {
    name: Option<At<Username>>,
    issuer: Option<At<String>>,
    audience: Option<At<String>>,
    identity_provider: Option<At<String>>,
    jwks_uri: Option<At<String>>,
    authorization: RawSecret,
    ca_file: Option<At<String>>,
}

/// A transmitter of signals, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalsConfig {
    /// What it is.
    pub transmitter: Transmitter,
    /// What its calls have to carry as `Authorization`, whole, if anything.
    pub authorization: Option<KeptSecret>,
    /// PEM roots that alone are trusted for it; `None`: the machine's.
    pub ca_file: Option<PathBuf>,
}

impl RawSignals {
    /// Reads one table.
    pub(crate) fn read(table: Table<'_>) -> Self {
        let raw = Self {
            name: table.parse("name", "a name: 1 to 63 of a-z, 0-9, `.` and `-`"),
            issuer: table.text("issuer"),
            audience: table.text("audience"),
            identity_provider: table.text("identity_provider"),
            jwks_uri: table.text("jwks_uri"),
            authorization: RawSecret::read(&table, "authorization", "authorization_file"),
            ca_file: table.text("ca_file"),
        };
        table.missing("name", "it stands in the address that the transmitter sends to: `/api/v1/signals/NAME`");
        table.missing("issuer", "the `iss` of its signals, which its `/.well-known/ssf-configuration` says");
        table.missing("audience", "the `aud` of its signals: what you gave, or were given, where the stream was set up");
        table.missing("identity_provider", "the `[[identity_provider]]` whose people it speaks of");
        table.finish();
        raw
    }
}

/// Checks all of them, against the identity providers that there are. Paths are below `base`.
pub(crate) fn check(all: Vec<RawSignals>, document: &Document<'_>, base: &Path, providers: &[ProviderConfig]) -> Vec<SignalsConfig> {
    let mut transmitters: Vec<SignalsConfig> = Vec::new();
    for raw in all {
        let authorization = raw.authorization.check("signals.authorization", document, base);
        let (Some(name), Some(issuer), Some(audience), Some(provider)) = (raw.name, raw.issuer, raw.audience, raw.identity_provider) else {
            continue;
        };
        let mut good = true;
        for (at, key) in [(Some(&issuer), "issuer"), (raw.jwks_uri.as_ref(), "jwks_uri")] {
            let Some(at) = at.filter(|at| !is_private_url(&at.value)) else { continue };
            document.reject(at, format!("`signals.{key}`: `{}` is not a URL like `https://login.example.com`", shown(&at.value)));
            good = false;
        }
        if audience.value.is_empty() {
            document.reject(&audience, "`signals.audience`: an empty one is nobody's");
            good = false;
        }
        if transmitters.iter().any(|other| other.transmitter.name == name.value) {
            document.reject(&name, format!("`signals.name`: `{}` stands here twice", name.value));
            good = false;
        }
        let Some(signs_in) = providers.iter().find(|other| other.provider.name == provider.value) else {
            let says = format!("`signals.identity_provider`: no `[[identity_provider]]` is called `{}`", shown(&provider.value));
            document.reject(&provider, says);
            continue;
        };
        if !good {
            continue;
        }
        transmitters.push(SignalsConfig {
            transmitter: Transmitter {
                name: name.value,
                issuer: issuer.value,
                audience: audience.value,
                jwks_uri: raw.jwks_uri.map(|at| at.value),
                subjects: signs_in.provider.issuer.clone(),
            },
            authorization,
            ca_file: raw.ca_file.map(|file| base.join(file.value)),
        });
    }
    transmitters
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment};
    use super::*;

    const START: &str = "data_dir = '/var/lib/tidegate'\npolicy_dir = 'policy'\nnode = 'gate-1'\n\
                         [[identity_provider]]\nname = 'corp-login'\nissuer = 'https://login.example.com'\nclient_id = 'tidegate'\n";
    const SIGNALS: &str = "[[signals]]\nname = 'corp'\nissuer = 'https://signals.example.com'\naudience = 'https://gate.example.com'\n\
                           identity_provider = 'corp-login'\n";

    fn parse(text: &str) -> Result<Config, String> {
        let file = Path::new("/etc/tidegate/tidegate.toml");
        Config::parse(file, &format!("{START}{text}"), &Environment::default()).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn a_transmitter_speaks_for_one_provider_s_people() {
        let config =
            parse(&format!("{SIGNALS}jwks_uri = 'https://keys.example.com/'\nauthorization = 'corp-signals'\nca_file = 'ca.pem'\n"))
                .unwrap();
        let [corp] = config.signals.as_slice() else { panic!("one transmitter") };
        assert_eq!(corp.transmitter.subjects, "https://login.example.com");
        assert_eq!(corp.transmitter.jwks_uri.as_deref(), Some("https://keys.example.com/"));
        assert_eq!(corp.authorization, Some(KeptSecret::Sealed("corp-signals".parse().unwrap())));
        assert_eq!(corp.ca_file.as_deref(), Some(Path::new("/etc/tidegate/ca.pem")));
        assert_eq!(parse(SIGNALS).unwrap().signals[0].authorization, None);
    }

    #[test]
    fn mistakes_in_transmitters_are_named() {
        parse(SIGNALS).unwrap();
        for (text, wanted) in [
            (SIGNALS.replace("'corp-login'", "'other'"), "no `[[identity_provider]]` is called `other`"),
            (SIGNALS.replace("'corp'", "'Corp'"), "a name: 1 to 63"),
            (SIGNALS.replace("issuer = 'https:", "issuer = 'http:"), "`signals.issuer`: `http://signals.example.com` is not a URL like"),
            (SIGNALS.replace("audience", "audiense"), "`signals.audience` is missing"),
            (SIGNALS.replace("'https://gate.example.com'", "''"), "an empty one is nobody's"),
            (SIGNALS.replace("identity_provider", "provider"), "`signals.identity_provider` is missing"),
            (format!("{SIGNALS}{SIGNALS}"), "stands here twice"),
            (format!("{SIGNALS}jwks_uri = 'keys'\n"), "`signals.jwks_uri`"),
            (format!("{SIGNALS}authorization = 'a'\nauthorization_file = 'b'\n"), "not both"),
            ("[signals]\nname = 'corp'\n".to_owned(), "has to be a list of tables"),
        ] {
            let mistakes = parse(&text).unwrap_err();
            assert!(mistakes.contains(wanted), "{text}\n{mistakes}");
        }
    }
}
