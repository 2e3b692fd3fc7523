//! What strains the door: clients that say half of something, faults of the gate's own, and letters that drive terminals.

use std::time::Duration;

use access::rights::DatabaseRights;
use access::session::{EndReason, SessionFacts};
use access::time::Span;
use tidegate_proxy::postgres::DoorLimits;
use tidegate_proxy::postgres::judge::{Act, Allowed, Judge, Judging, Verdict};

use super::gate::{Setup, Town, errors_of, out_of};
use super::half_said::{NASTY, dripping, drives_nothing, heard, lingering};
use super::pipelines::raw;
use super::restricted::{clerk, shop};

// covers: E7 (postgres)
#[tokio::test(flavor = "multi_thread")]
async fn who_says_half_of_something_is_shown_out_and_keeps_nobody_waiting() {
    let door = DoorLimits { grace: Duration::from_secs(5), ..DoorLimits::default() };
    let town = Town::with(Setup { door, ..Setup::default() }).await;
    let ssl = wire::postgres::startup::ssl_request();
    // Nothing; half a request; a whole one and no more; and the beginning of a greeting of TLS.
    let halves = [Vec::new(), ssl[..5].to_vec(), ssl.to_vec(), [&ssl[..], &[0x16, 3, 1, 2, 0, 1]].concat()];
    let waiting = lingering(town.port, &halves, 80);
    // A byte at a time is no more than half of something either.
    let drips = dripping(town.port, [&ssl[..], &[0x16, 3, 1, 0x3f, 0]].concat());
    assert_eq!(out_of(&town.run("select 40 + 2").await), "42");
    for answer in heard(waiting) {
        assert!(answer.is_empty() || answer == b"S", "{answer:?}");
    }
    assert!(drips.join().unwrap().is_some());
    // The same inside of TLS: half of the start, and half of a password.
    let said = town
        .python(
            r"import socket, ssl, struct
def tls():
    s = socket.create_connection(('localhost', port)); s.settimeout(30)
    s.sendall(struct.pack('!II', 8, 80877103)); assert s.recv(1) == b'S'
    return ssl.create_default_context(cafile=ca).wrap_socket(s, server_hostname='localhost')
start = struct.pack('!I', 196608) + b''.join(x.encode() + b'\0' for x in ('user', user, 'database', database, ''))
start = struct.pack('!I', len(start) + 4) + start
def rest(s):
    seen = b''
    try:
        while more := s.recv(65536): seen += more
    except (ConnectionResetError, ssl.SSLError): pass
    return seen
half, silent = tls(), tls()
half.sendall(start[:20]); silent.sendall(start + b'p' + struct.pack('!I', 40) + b'tg')
print(rest(half)[:1], rest(silent)[:1])
",
        )
        .await;
    assert_eq!(said, "b'' b'R'");
}

// covers: E7 (postgres), GRANT-2 (postgres)
#[tokio::test(flavor = "multi_thread")]
async fn half_a_statement_holds_up_no_other_session_and_is_idleness() {
    let town = Town::with(Setup { idle: Some(Span::seconds(2)), ..Setup::default() }).await;
    let half = raw(
        &town,
        r"
c.send(Q('select 1')); print(show(c.until('Z')))
c.s.sendall(b'Q' + struct.pack('!I', 1000) + b'select')
other = Raw(); other.send(Q('select 2')); print(show(other.until('Z')))
print(show(c.until('E')))
",
    );
    assert_eq!(half.await, ["T 1 SELECT 1 Z", "T 2 SELECT 1 Z", "E57P01"]);
    assert!(town.gate.ended(2).await.iter().any(|closed| (closed.end, closed.confirmed) == (EndReason::Idle, true)));
    assert_eq!(town.gate.texts(), ["select 1", "select 2"]);
}

/// Fails at whatever speaks of a fault.
struct Faulty;

impl Judge for Faulty {
    fn judge(&mut self, act: Act<'_>) -> Verdict {
        if let Act::Query(text) | Act::Parse { text, .. } = act {
            assert!(!text.windows(5).any(|at| at == b"fault"), "a fault of the judge");
        }
        Verdict::Allow(Allowed::default())
    }
}

fn faulty(_: &SessionFacts, _: &DatabaseRights) -> Judging {
    Judging::Now(Box::new(Faulty))
}

// covers: E8 (postgres)
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_gate_ends_one_session() {
    let town = Town::with(Setup { judge: faulty, ..Setup::default() }).await;
    let said = town
        .python(
            r"import psycopg
a, b, c = [psycopg.connect(dsn, autocommit=True) for _ in range(3)]
print([k.execute('select 1').fetchone()[0] for k in (a, b, c)])
def said(k, sql):
    try: return k.execute(sql).fetchone()[0]
    except psycopg.Error as e: return 'could not be judged' in str(e), k.closed
print(said(b, 'select 2 -- fault'), said(a, 'select 3'))
# A long text is judged aside: who judged it is lost, and lets nothing pass any more.
print(said(c, 'select 4 -- fault' + 'x' * 40000), said(c, 'select 5'), said(c, 'select 6 --' + 'x' * 40000), said(a, 'select 7'))
",
        )
        .await;
    assert_eq!(said, "[1, 1, 1]\n(False, True) 3\n(True, False) (True, False) (True, False) 7");
    let ended = town.gate.ended(3).await;
    assert_eq!(ended.iter().filter(|closed| closed.end == EndReason::Error).count(), 1);
    assert!(!town.gate.texts().iter().any(|text| text.contains("fault") || text.contains("select 5") || text.contains("select 6")));
}

// covers: E9 (postgres)
#[tokio::test]
async fn what_a_client_writes_drives_nobodys_terminal_and_is_recorded_as_it_was() {
    let town = shop(clerk()).await;
    let sql = format!("select id from \"{NASTY}\"");
    let out = town.run(&sql).await;
    let said = errors_of(&out);
    assert!(said.contains("is not among the tables of this role") && drives_nothing(&said), "{said:?}");
    let mut entered = town.gate.refused.subscribe();
    let entered = entered.wait_for(|all| all.len() == 1).await.unwrap()[0].detail.clone();
    assert!(entered.contains("PAY") && drives_nothing(&entered) && !entered.contains('\n'), "{entered:?}");
    assert_eq!(town.gate.of_kind("sql.refused")[0]["text"], sql);
    // Names that are no names, and one that is shown to others.
    for more in [format!("user='orders-db+{NASTY}'"), format!("user='{NASTY}'"), format!("dbname='{NASTY}'")] {
        let out = town.psql(&town.conninfo(&more), &["-c", "select 1"]).output().await.unwrap();
        let said = errors_of(&out);
        // What stands before it is psql's own, which names what it was given.
        let told = said.split_once("FATAL:").map(|(_, told)| told.to_owned());
        assert!(told.as_deref().is_some_and(drives_nothing), "{more:?}: {said:?}");
    }
    let application = format!("application_name='x{NASTY}'");
    let out = town.psql(&town.conninfo(&application), &["-c", "select current_setting('application_name')"]).output().await.unwrap();
    assert!(out_of(&out).starts_with("x\\u{1b}[2J\\u{202e}\\u{d}\\u{a}PAY ses_"), "{:?} {:?}", out_of(&out), errors_of(&out));
    // A text is data: nothing of what is recorded leaves its place.
    let sql = "select '\",\"kind\":\"sql.refused\",\"n\":7' as \"{\"";
    assert_eq!(out_of(&town.run(sql).await), "\",\"kind\":\"sql.refused\",\"n\":7");
    assert_eq!((town.gate.of_kind("sql.refused").len(), town.gate.texts().last().unwrap().as_str()), (1, sql));
}
