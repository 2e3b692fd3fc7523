//! Consoles: a terminal and a SQL prompt for people without a client.
//!
//! A console is a client of the same door that stock clients come to, inside this process, and so has no rule of its own: asking,
//! waiting, recording, warning and cutting are the door's. It differs in one thing: who sits there has proven who they are before, so
//! the door takes their word for it ([`Known`]) and asks for no key.

pub mod mysql;
pub mod sql;
pub mod terminal;

use std::net::SocketAddr;

use access::identity::VerifiedIdentity;

/// Somebody who has proven who they are, and from where they come.
#[derive(Debug, Clone)]
pub struct Known {
    /// Who.
    pub who: VerifiedIdentity,
    /// Where they sit.
    pub from: SocketAddr,
}
