//! The client/server protocol of MySQL and MariaDB, version 10 (MySQL's "Client/Server Protocol", MariaDB's "Clientserver Protocol").
//!
//! [`packet`] cuts the stream into packets; [`handshake`] and [`auth`] are how both sides begin; [`command`] reads what a client wants,
//! [`answer`] follows a server's answer packet by packet, and [`row`] reads columns and values where somebody has to look into them.

pub mod answer;
pub mod auth;
pub mod capability;
pub mod command;
pub mod handshake;
pub mod packet;
pub mod row;
#[cfg(test)]
mod tests;
