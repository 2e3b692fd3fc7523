//! E-mail: what the gate writes to people, and how it hands that to a mail server.
//!
//! A mailbox proves little: whoever reads it, and everything on the way there, sees what a mail holds. So a letter ([`letter`]) holds
//! nobody's words as markup or link, and its one link decides nothing by being opened. What such a link is worth is said elsewhere. The
//! server is spoken to over verified TLS alone ([`client`]); what it refuses for good is not sent again.

pub mod address;
pub mod client;
pub mod letter;
mod line_by_line;
