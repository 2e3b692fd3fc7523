//! What a client says about itself and the session it wants: user name, database, connection attributes.

use std::net::SocketAddr;

use access::identity::VerifiedIdentity;
use access::limits::Limits;
use access::names::Selector;
use access::reason::{Reason, Refusal};
use access::request::Asked;
use wire::mysql::capability::Capabilities;
use wire::mysql::handshake::Login;

use crate::gatekeeper::{Answer, Knock};
use crate::ssh::text::inert;

/// Attributes that are passed on, at most, and how long each may be.
const ATTRIBUTES: usize = 32;
const LONGEST_ATTRIBUTE: usize = 512;

/// What a client wants its session to be.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Where to, and as what.
    pub(crate) to: Selector,
    /// The database it names, if it names one.
    pub(crate) database: Option<String>,
    /// What it calls itself; inert, at most 255 characters.
    pub(crate) client: String,
    /// What it said about why, for how long and by which ticket.
    pub(crate) told: Answer,
    /// What shapes the conversation.
    pub(crate) capabilities: Capabilities,
    /// Its character set, by number.
    pub(crate) charset: u8,
    /// What it says of itself and the server may know.
    pub(crate) attributes: Vec<(String, String)>,
    interactive: bool,
}

impl Wanted {
    /// Reads a sign-in.
    pub(crate) fn of(login: &Login) -> Result<Self, Refusal> {
        let to: Selector = login.user.parse().map_err(|e| {
            let why = format!("the user name says where to and as what, as in `orders-db+readonly`: {e}");
            Refusal::because(Reason::UnknownResource, why)
        })?;
        let spoken = |name: &str| login.attribute(name).map(str::to_owned).filter(|text| !text.trim().is_empty());
        let asked = match login.attribute("tide_for") {
            Some(time) => time.parse::<Asked>().map_err(|e| Refusal::because(Reason::Invalid, format!("tide_for: {e}")))?,
            None => Asked::default(),
        };
        let told = Answer { reason: spoken("tide_reason"), asked, ticket: spoken("tide_ticket"), break_glass: false };
        let program = login.attribute("program_name").unwrap_or_default();
        let name = if program.is_empty() { login.attribute("_client_name").unwrap_or_default() } else { program };
        let passed = login
            .attributes
            .iter()
            .filter(|(name, value)| !name.starts_with("tide") && name.len() <= LONGEST_ATTRIBUTE && value.len() <= LONGEST_ATTRIBUTE);
        Ok(Self {
            to,
            database: login.database.clone(),
            client: inert(name, 255),
            told,
            capabilities: login.capabilities & Capabilities::RELAYED,
            charset: login.charset,
            attributes: passed.take(ATTRIBUTES).cloned().collect(),
            interactive: matches!(program, "mysql" | "mariadb" | "mycli"),
        })
    }

    /// The knock of somebody who is known.
    pub(crate) fn knock(&self, who: VerifiedIdentity, from: SocketAddr) -> Knock {
        Knock { who, to: self.to.clone(), from, client: self.client.clone(), limits: Limits::default(), sent: Answer::default() }
    }

    /// Whether a person sits there who can be asked.
    pub(crate) fn is_interactive(&self) -> bool {
        self.interactive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(user: &str, attributes: &[(&str, &str)]) -> Login {
        Login {
            capabilities: Capabilities(u32::MAX),
            max_packet: 0,
            charset: 45,
            user: user.to_owned(),
            answer: Vec::new(),
            database: None,
            plugin: String::new(),
            attributes: attributes.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        }
    }

    #[test]
    fn the_user_name_says_where_and_attributes_say_why() {
        let wanted = Wanted::of(&login(
            "orders-db+readonly",
            &[("program_name", "mysql"), ("tide_reason", "disk full"), ("tide_for", "1h"), ("_os", "Linux")],
        ))
        .unwrap();
        assert_eq!(wanted.to.to_string(), "orders-db+readonly");
        assert_eq!((wanted.told.reason.as_deref(), wanted.told.asked), (Some("disk full"), "1h".parse().unwrap()));
        assert!(wanted.is_interactive());
        assert_eq!(wanted.attributes.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(), ["program_name", "_os"]);
        assert_eq!(wanted.capabilities, Capabilities::RELAYED);
        assert!(Wanted::of(&login("Orders DB", &[])).is_err());
        assert!(Wanted::of(&login("orders-db", &[("tide_for", "soon")])).is_err());
    }
}
