//! Start-up parameters: an allow-list. What is not on it is refused by name, never passed on and never dropped in silence.

use std::net::SocketAddr;

use access::identity::VerifiedIdentity;
use access::limits::Limits;
use access::names::Selector;
use access::reason::{Reason, Refusal};
use access::request::Asked;
use access::rights::DatabaseRights;
use wire::postgres::startup::{Startup, options};

use crate::gatekeeper::{Answer, Knock};
use crate::ssh::text::inert;

/// Settings that any client may start with: how values look, and how long it waits.
const ANYBODY: &[&str] = &[
    "client_encoding",
    "datestyle",
    "timezone",
    "intervalstyle",
    "extra_float_digits",
    "bytea_output",
    "client_min_messages",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "transaction_timeout",
    "tcp_user_timeout",
    "default_transaction_read_only",
    "default_transaction_isolation",
    "default_transaction_deferrable",
];

/// Settings that change what a statement means or costs; only where no statement is judged.
const UNRESTRICTED: &[&str] = &[
    "search_path",
    "standard_conforming_strings",
    "backslash_quote",
    "escape_string_warning",
    "xmloption",
    "xmlbinary",
    "work_mem",
    "maintenance_work_mem",
    "temp_buffers",
    "jit",
    "geqo",
    "synchronous_commit",
    "row_security",
    "plan_cache_mode",
    "enable_seqscan",
    "enable_indexscan",
    "enable_bitmapscan",
    "enable_hashjoin",
    "enable_mergejoin",
    "enable_nestloop",
    "max_parallel_workers_per_gather",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "vacuum_cost_delay",
    "commit_delay",
];

/// What a client wants its session to be.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Where to, and as what.
    pub(crate) to: Selector,
    /// The database it names, if it names one.
    pub(crate) database: Option<String>,
    /// What it calls itself; inert, at most 255 characters.
    pub(crate) application: String,
    /// What it said about why, for how long and by which ticket.
    pub(crate) told: Answer,
    /// Settings for every session.
    settings: Vec<(String, String)>,
    /// Settings for sessions whose statements are not judged.
    free: Vec<(String, String)>,
}

impl Wanted {
    /// Somebody who wants this, at the door.
    pub(crate) fn knock(&self, who: VerifiedIdentity, from: SocketAddr) -> Knock {
        let client = self.application.clone();
        Knock { who, to: self.to.clone(), from, client, limits: Limits::default(), sent: Answer::default() }
    }

    /// Reads a start-up.
    pub(crate) fn of(startup: &Startup) -> Result<Self, Refusal> {
        let user = startup.get("user").unwrap_or_default();
        let to: Selector = user.parse().map_err(|e| {
            let why = format!("the user name says where to and as what, as in `orders-db+readonly`: {e}");
            Refusal::because(Reason::UnknownResource, why)
        })?;
        let mut wanted = Self {
            to,
            // libpq names the user's where none is named.
            database: startup.get("database").filter(|d| !d.is_empty() && *d != user).map(str::to_owned),
            application: String::new(),
            told: Answer::default(),
            settings: Vec::new(),
            free: Vec::new(),
        };
        for (name, value) in &startup.parameters {
            match name.as_str() {
                "user" | "database" => {}
                "options" => {
                    let settings = options(value).map_err(|e| Refusal::because(Reason::Invalid, e.0))?;
                    for (name, value) in settings {
                        wanted.set(&name, value)?;
                    }
                }
                // What the client can do without.
                name if name.starts_with("_pq_.") => {}
                name => wanted.set(&name.to_ascii_lowercase(), value.clone())?,
            }
        }
        Ok(wanted)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), Refusal> {
        match name {
            "application_name" => self.application = inert(&value, 255),
            "tide.reason" => self.told.reason = Some(value).filter(|v| !v.trim().is_empty()),
            "tide.ticket" => self.told.ticket = Some(value).filter(|v| !v.trim().is_empty()),
            "tide.for" => {
                self.told.asked = value.parse::<Asked>().map_err(|e| Refusal::because(Reason::Invalid, format!("tide.for: {e}")))?;
            }
            "replication" if matches!(value.to_ascii_lowercase().as_str(), "false" | "off" | "no" | "0") => {}
            "replication" => return Err(Refusal::because(Reason::NotInRole, "replication is not granted by any role")),
            name if ANYBODY.contains(&name) => once(&mut self.settings, name, value)?,
            name if UNRESTRICTED.contains(&name) => once(&mut self.free, name, value)?,
            name => {
                let why = format!("the setting `{}` cannot be given when connecting; leave it out", inert(name, 64));
                return Err(Refusal::because(Reason::Invalid, why));
            }
        }
        Ok(())
    }

    /// The settings to start the session at the target with. Under a restricted role they pin what a statement means.
    pub(crate) fn settings(&self, rights: &DatabaseRights) -> Result<Vec<(&str, String)>, Refusal> {
        let given = self.settings.iter().chain(&self.free).map(|(name, value)| (name.as_str(), value.clone()));
        let fixed =
            |name: &str| Refusal::because(Reason::NotInRole, format!("the setting `{name}` is fixed under this role; leave it out"));
        let mut pinned = Vec::new();
        if rights.is_restricted() {
            if let Some((name, _)) = self.free.first() {
                return Err(fixed(name));
            }
            pinned.push(("search_path", rights.pinned_search_path()));
            pinned.push(("standard_conforming_strings", "on".to_owned()));
            pinned.push(("client_encoding", "UTF8".to_owned()));
        }
        if let Some(limit) = rights.statement_timeout {
            // Nought would be without end.
            pinned.push(("statement_timeout", format!("{}ms", limit.as_std().as_millis().max(1))));
        }
        for (name, value) in given {
            let is_utf8 = || matches!(value.trim_matches(['\'', '"']).to_ascii_lowercase().as_str(), "utf8" | "utf-8" | "unicode");
            if rights.is_restricted() && name == "client_encoding" && is_utf8() {
                continue;
            }
            if pinned.iter().any(|(pinned, _)| *pinned == name) {
                return Err(fixed(name));
            }
            pinned.push((name, value));
        }
        Ok(pinned)
    }

    /// Whether somebody sits before it who can type a reason: `psql`, and nothing that runs by itself.
    pub(crate) fn is_interactive(&self) -> bool {
        self.application == "psql"
    }
}

fn once(settings: &mut Vec<(String, String)>, name: &str, value: String) -> Result<(), Refusal> {
    if settings.iter().any(|(n, _)| n == name) {
        return Err(Refusal::because(Reason::Invalid, format!("the setting `{name}` is given twice")));
    }
    settings.push((name.to_owned(), value));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(parameters: &[(&str, &str)]) -> Result<Wanted, Refusal> {
        let all = std::iter::once(&("user", "orders-db+readonly")).chain(parameters);
        let parameters = all.map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Wanted::of(&Startup { version: wire::postgres::startup::VERSION_3_0, parameters })
    }

    // covers: E3 (psql)
    #[test]
    fn only_known_settings_pass() {
        let good = wanted(&[("TimeZone", "UTC"), ("options", "-c tide.reason=disk\\ full -c tide.for=1h -c search_path=a")]).unwrap();
        assert_eq!((good.told.reason.as_deref(), good.database), (Some("disk full"), None));
        let good = wanted(&[("TimeZone", "UTC"), ("options", "-c search_path=a")]).unwrap();
        let free = DatabaseRights { unrestricted: true, ..DatabaseRights::default() };
        assert_eq!(good.settings(&free).unwrap(), [("timezone", "UTC".to_owned()), ("search_path", "a".to_owned())]);
        assert_eq!(good.settings(&DatabaseRights::default()).unwrap_err().reason, Reason::NotInRole);
        for (wrong, reason) in [
            (("role", "admin"), Reason::Invalid),
            (("session_authorization", "admin"), Reason::Invalid),
            (("local_preload_libraries", "x"), Reason::Invalid),
            (("replication", "database"), Reason::NotInRole),
            (("replication", "true"), Reason::NotInRole),
            (("options", "-c role=admin"), Reason::Invalid),
            (("options", "--session-authorization=admin"), Reason::Invalid),
            (("options", "-E"), Reason::Invalid),
            (("options", "-c timezone=UTC -c TimeZone=UTC"), Reason::Invalid),
        ] {
            assert_eq!(wanted(&[wrong]).unwrap_err().reason, reason, "{wrong:?}");
        }
        assert!(wanted(&[("replication", "false")]).is_ok());
    }

    // covers: MAY-6 (postgres)
    #[test]
    fn a_restricted_session_starts_with_what_its_judge_relies_on() {
        let timed = DatabaseRights { statement_timeout: Some("90s".parse().unwrap()), ..DatabaseRights::default() };
        let wanted_utf8 = wanted(&[("client_encoding", "'utf-8'"), ("TimeZone", "UTC"), ("lock_timeout", "5s")]).unwrap();
        let set = wanted_utf8.settings(&timed).unwrap();
        let of = |name: &str| set.iter().filter(|(n, _)| *n == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
        assert_eq!((of("client_encoding"), of("standard_conforming_strings")), (vec!["UTF8"], vec!["on"]));
        assert_eq!((of("search_path"), of("statement_timeout")), (vec!["\"public\", pg_temp"], vec!["90000ms"]));
        assert_eq!((of("timezone"), of("lock_timeout")), (vec!["UTC"], vec!["5s"]));
        let timeout = wanted(&[("statement_timeout", "0")]).unwrap();
        assert!(timeout.settings(&DatabaseRights::default()).is_ok());
        assert_eq!(timeout.settings(&timed).unwrap_err().reason, Reason::NotInRole);
        for encoding in ["latin1", "SJIS", "BIG5"] {
            assert!(wanted(&[("client_encoding", encoding)]).unwrap().settings(&timed).is_err(), "{encoding}");
        }
    }

    #[test]
    fn the_users_name_is_no_database() {
        assert_eq!(wanted(&[("database", "orders-db+readonly")]).unwrap().database, None);
        assert_eq!(wanted(&[("database", "orders")]).unwrap().database.as_deref(), Some("orders"));
    }
}
