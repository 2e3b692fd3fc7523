//! What tests stand on: a gate in this process, real servers from Debian, named people, and a clock that moves by hand. For tests alone.

pub mod collectors;
pub mod gate;
pub mod mail;
pub mod mariadb;
pub mod oidc;
pub mod on_call;
pub mod passkey;
pub mod ports;
pub mod postgres;
pub mod preload;
pub mod security_key;
pub mod signals;
pub mod slack;
pub mod sshd;
pub mod teams;
pub mod tracker;
pub mod vault;
pub mod web;
pub mod webhooks;
