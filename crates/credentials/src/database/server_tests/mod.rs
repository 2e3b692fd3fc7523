//! Accounts on real servers: they may do what the role says and nothing else, and afterwards nothing of them is left.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use access::rights::{Columns, DatabaseRights, TableRights};
use access::secret::Secret;
use access::session::TargetTls;

use super::{AccountError, Engine, NewAccount, Server, random_password};

fn some(names: &[&str]) -> Columns {
    Columns::Only(names.iter().map(|name| (*name).to_owned()).collect())
}

fn rights(schema: &str) -> DatabaseRights {
    let orders = TableRights { select: Columns::All, insert: Columns::All, update: some(&["status"]), ..TableRights::default() };
    let customers = TableRights { select: some(&["id", "name"]), ..TableRights::default() };
    let tables = [("orders", orders), ("customers", customers)];
    DatabaseRights {
        tables: tables.into_iter().map(|(name, rights)| (format!("{schema}.{name}").parse().unwrap(), rights)).collect(),
        functions: [format!("{schema}.ship").parse().unwrap()].into(),
        ..DatabaseRights::default()
    }
}

fn account() -> NewAccount {
    #[expect(clippy::disallowed_methods, reason = "names must differ on a server that outlives the test, and nothing else is read from it")]
    let now = jiff::Timestamp::now();
    NewAccount {
        name: access::account::login_of(access::ids::AccountId::generate(now)),
        password: random_password().unwrap(),
        until: None,
        connections: 4,
        member_of: None,
    }
}

mod mariadb;
mod postgres;
