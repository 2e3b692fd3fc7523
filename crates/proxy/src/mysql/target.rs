//! The other side: dialling a server with what a permit gives, knowing that it is the right one, and setting the session up there.

use std::sync::Arc;
use std::time::Duration;

use access::reason::Refusal;
use access::rights::DatabaseRights;
use access::session::{DatabaseCredential, DatabaseDial};
use access::time::Span;
use tokio::time::timeout;
use wire::mysql::capability::Capabilities;
use wire::mysql::row;

use super::by_rights::Judge;
use super::upstream::{Account, Beginning, Hold, Upstream};
use super::wanted::Wanted;
use crate::database::place::{self, Place, reach, unreachable};

/// How long reaching and convincing a server may take.
const DIAL: Duration = Duration::from_secs(15);
/// How a session under a restricted role reads texts: as the judge does.
const MODE: &str = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION";

/// A server that the gate has signed in to.
pub(crate) struct Target {
    pub(crate) upstream: Upstream,
    pub(crate) hold: Arc<Hold>,
    pub(crate) judge: Judge,
    /// What the session is set to, said again whenever the client resets it.
    pub(crate) pins: Option<String>,
}

/// Dials, signs in, and sets the session up.
pub(crate) async fn dial(dial: DatabaseDial, wanted: &Wanted, rights: &DatabaseRights, session: &str) -> Result<Target, Refusal> {
    match timeout(DIAL, Box::pin(dial_slowly(dial, wanted, rights, session))).await {
        Ok(dialled) => dialled,
        Err(_) => Err(unreachable("it did not answer in time")),
    }
}

async fn dial_slowly(dial: DatabaseDial, wanted: &Wanted, rights: &DatabaseRights, session: &str) -> Result<Target, Refusal> {
    let database = place::database(&dial, wanted.database.as_deref())?;
    let mut attributes = wanted.attributes.clone();
    attributes.push(("tidegate_session".to_owned(), session.to_owned()));
    let mut capabilities = wanted.capabilities;
    let mut charset = wanted.charset;
    if rights.is_restricted() {
        capabilities = capabilities.without(Capabilities::IGNORE_SPACE);
        charset = row::UTF8MB4 as u8;
    }
    let beginning = Beginning { capabilities, charset, database: database.clone(), attributes };
    // The protocol has no name in TLS.
    let (place, tcp) = reach(&dial, Vec::new(), Place::tcp).await?;
    let DatabaseCredential::Account { user, password } = dial.credential;
    let account = Account { user, password };
    let mut upstream = place.sign_in_over(tcp, &account, &beginning).await?;
    let pins = pins(rights, upstream.version.contains("MariaDB"));
    if let Some(pins) = &pins {
        upstream.ask(pins).await?;
    }
    let judge = match Judge::question(rights) {
        None => Judge::unrestricted(),
        Some(query) => Judge::restricted(rights, database, &upstream.ask(&query).await?)?,
    };
    let hold = Arc::new(Hold { place, account, connection: upstream.connection });
    Ok(Target { upstream, hold, judge, pins })
}

/// What a session begins with at its server, as one statement.
fn pins(rights: &DatabaseRights, mariadb: bool) -> Option<String> {
    let mut settings = Vec::new();
    if rights.is_restricted() {
        settings.push("NAMES utf8mb4".to_owned());
        settings.push(format!("SESSION sql_mode = '{MODE}'"));
    }
    // MySQL knows a limit for a `SELECT` that only reads, and none for anything else.
    if let Some(span) = rights.statement_timeout {
        settings.push(if mariadb {
            format!("SESSION max_statement_time = {}", seconds(span))
        } else {
            format!("SESSION max_execution_time = {}", seconds(span) * 1000)
        });
    }
    (!settings.is_empty()).then(|| format!("SET {}", settings.join(", ")))
}

fn seconds(span: Span) -> i64 {
    i64::try_from(span.as_std().as_secs()).unwrap_or(i64::MAX / 1000)
}
