//! The protocols' stock clients, each with its target.

use std::process::{Command, Stdio};

use access::session::Protocol;
use testkit::{mariadb, postgres};

use crate::contained::{AS_SHELL, in_orders, in_stock};
use crate::demo::Talk;
use crate::served::Served;

/// What is behind the gate.
pub(super) struct Town {
    pub(super) gate: Served,
    pub(super) orders: postgres::Database,
    pub(super) stock: mariadb::Database,
}

/// A protocol's stock client, and its target seen from the side.
pub(super) trait Client: Sync {
    /// Where to, and as what.
    fn place(&self) -> (&'static str, &'static str);
    /// Somebody sits down at it, and types.
    fn sits(&self, town: &Town, person: &str) -> Command;
    /// What is typed to ask for it where one connects, and for how long; `None`: no time is named.
    fn asks(&self, town: &Town, time: Option<&str>) -> Talk;
    /// A line at which the target says the word and 42; and what a live view shows of it.
    fn line(&self, word: &str) -> (String, String);
    /// A line that keeps the target busy for long.
    fn sleeps(&self, town: &Town) -> String;
    /// Whether the target is busy with it.
    fn is_asleep(&self, town: &Town) -> bool;
}

struct OpenSsh;
struct Psql;
struct Mariadb;

/// Who speaks a protocol.
pub(super) fn client_of(protocol: Protocol) -> &'static dyn Client {
    match protocol {
        Protocol::Ssh => &OpenSsh,
        Protocol::Postgres => &Psql,
        Protocol::Mysql => &Mariadb,
    }
}

impl Client for OpenSsh {
    fn place(&self) -> (&'static str, &'static str) {
        ("shop-1", "shell")
    }
    fn sits(&self, town: &Town, person: &str) -> Command {
        town.gate.ssh(person, "shop-1+shell", AS_SHELL, &[])
    }
    fn asks(&self, town: &Town, time: Option<&str>) -> Talk {
        let time = time.map(|time| format!(" TIDEGATE_FOR={time}")).unwrap_or_default();
        let told = format!("SetEnv=TIDEGATE_REASON=slow{time}");
        Talk::start(town.gate.ssh("ana", "shop-1+shell", &[AS_SHELL, &["-o", &told]].concat(), &["true"]))
    }
    fn line(&self, word: &str) -> (String, String) {
        (format!("echo {word}-$((40+2))\n"), format!("{word}-42"))
    }
    fn sleeps(&self, town: &Town) -> String {
        format!("sleep 1{}\n", town.gate.target.port())
    }
    fn is_asleep(&self, town: &Town) -> bool {
        let asleep = format!("sleep\0{}\0", self.sleeps(town).trim().trim_start_matches("sleep "));
        let runs = |process: std::fs::DirEntry| std::fs::read(process.path().join("cmdline")).unwrap_or_default() == asleep.as_bytes();
        std::fs::read_dir("/proc").unwrap().flatten().any(runs)
    }
}

impl Client for Psql {
    fn place(&self) -> (&'static str, &'static str) {
        ("sales-db", "seller")
    }
    fn sits(&self, town: &Town, person: &str) -> Command {
        let port = town.gate.databases.unwrap().port();
        let place =
            format!("host=127.0.0.1 port={port} user=sales-db+seller dbname={} sslmode=require connect_timeout=20", town.orders.name());
        let mut psql = Command::new("psql");
        psql.args(["-X", "-A", "-t", "-d", &place]).env("PGPASSWORD", town.gate.person(person)["token"].as_str().unwrap());
        psql.stdout(Stdio::piped()).stderr(Stdio::piped());
        psql
    }
    fn asks(&self, town: &Town, time: Option<&str>) -> Talk {
        in_the_lobby(self.sits(town, "ana"), time)
    }
    fn line(&self, word: &str) -> (String, String) {
        (format!("SELECT '{word}-' || 42;\n"), format!("'{word}-' || 42"))
    }
    fn sleeps(&self, _: &Town) -> String {
        "SELECT pg_sleep(1000);\n".to_owned()
    }
    fn is_asleep(&self, town: &Town) -> bool {
        in_orders(&town.orders).contains("pg_sleep")
    }
}

impl Client for Mariadb {
    fn place(&self) -> (&'static str, &'static str) {
        ("stock-db", "keeper")
    }
    fn sits(&self, town: &Town, person: &str) -> Command {
        let mut client = Command::new("mariadb");
        let port = town.gate.mysql.unwrap().port().to_string();
        client.args(["--no-defaults", "-h", "127.0.0.1", "-P", &port, "-u", "stock-db+keeper", "--ssl", "-N", "-B", "-n"]);
        client.env("HOME", town.gate.dir()).env_remove("MYSQL_PWD");
        client.arg(format!("-p{}", town.gate.person(person)["token"].as_str().unwrap()));
        client.stdout(Stdio::piped()).stderr(Stdio::piped());
        client
    }
    fn asks(&self, town: &Town, time: Option<&str>) -> Talk {
        // As at a terminal, it stays after an error.
        let mut client = self.sits(town, "ana");
        client.arg("-f");
        in_the_lobby(client, time)
    }
    fn line(&self, word: &str) -> (String, String) {
        (format!("SELECT CONCAT('{word}-', 42);\n"), format!("CONCAT('{word}-', 42)"))
    }
    fn sleeps(&self, _: &Town) -> String {
        "SELECT SLEEP(1000);\n".to_owned()
    }
    fn is_asleep(&self, town: &Town) -> bool {
        in_stock(&town.stock).contains("SLEEP(1000)")
    }
}

fn in_the_lobby(client: Command, time: Option<&str>) -> Talk {
    let mut talk = Talk::start(client);
    let time = time.map(|time| format!(" for {time}")).unwrap_or_default();
    talk.say(&format!("request 'slow'{time};\n"));
    talk
}
