//! What strains the door: clients that say half of something, faults of the gate's own, and letters that drive terminals.

use std::time::Duration;

use access::session::EndReason;
use access::time::Span;
use tidegate_proxy::mysql::DoorLimits;
use wire::mysql::capability::Capabilities;
use wire::mysql::handshake::tls_request;
use wire::mysql::packet;

use super::disguises::shop;
use super::gate::{Setup, Town, errors_of, out_of};
use super::half_said::{NASTY, dripping, drives_nothing, heard, lingering};

// covers: E7 (mysql)
#[tokio::test(flavor = "multi_thread")]
async fn who_says_half_of_something_is_shown_out_and_keeps_nobody_waiting() {
    let door = DoorLimits { grace: Duration::from_secs(5), ..DoorLimits::default() };
    let town = Town::with(Setup { door, ..Setup::default() }).await;
    let mut tls = Vec::new();
    packet::write(&mut tls, 1, &tls_request(Capabilities::NEEDED | Capabilities::SSL, 1 << 24, 45));
    // Nothing; half a packet; a wish for TLS and no more; and the beginning of its greeting.
    let halves = [Vec::new(), tls[..7].to_vec(), tls.clone(), [&tls[..], &[0x16, 3, 1, 2, 0, 1]].concat()];
    let waiting = lingering(town.port, &halves, 80);
    // A byte at a time is no more than half of something either.
    let drips = dripping(town.port, [&tls[..], &[0x16, 3, 1, 0x3f, 0]].concat());
    assert_eq!(out_of(&town.run("select 40 + 2").await), "42");
    for answer in heard(waiting) {
        // The greeting, and nothing behind it.
        assert!(answer.len() < 200, "{answer:?}");
    }
    assert!(drips.join().unwrap().is_some());
}

// covers: E7 (mysql), GRANT-2 (mysql)
#[tokio::test(flavor = "multi_thread")]
async fn half_a_statement_holds_up_no_other_session_and_is_idleness() {
    let town = Town::with(Setup { idle: Some(Span::seconds(2)), ..Setup::default() }).await;
    let said = town
        .python(
            r"c = connect(); k = c.cursor(); k.execute('select 1'); print(k.fetchone()[0])
c._sock.sendall(b'\x40\x00\x00\x00\x03select')
other = connect(); k = other.cursor(); k.execute('select 2'); print(k.fetchone()[0])
c._sock.settimeout(30)
seen = b''
try:
    while more := c._sock.recv(65536): seen += more
except OSError: pass
print(b'#' in seen)
",
        )
        .await;
    assert_eq!(said, "1\n2\nTrue");
    assert!(town.gate.ended(2).await.iter().any(|closed| (closed.end, closed.confirmed) == (EndReason::Idle, true)));
    assert!(!town.gate.texts().iter().any(|text| text == "select"));
}

// covers: E8 (mysql)
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_gate_ends_one_session() {
    let town = Town::open().await;
    let said = town
        .python_beside(
            r"import pymysql, sys
a = connect(); b = connect(); ka = a.cursor(); kb = b.cursor()
ka.execute('select 1'); kb.execute('select 1')
print('going', flush=True); sys.stdin.readline()
try: kb.execute('select 2'); print('ran')
except pymysql.Error as e: print('gone')
ka.execute('select 3'); print(ka.fetchone()[0])
c = connect(); kc = c.cursor(); kc.execute('select 4'); print(kc.fetchone()[0])
",
            async { town.gate.recorder_fails_over_once() },
        )
        .await;
    assert_eq!(said, "going\ngone\n3\n4\n");
    let ended = town.gate.ended(3).await;
    assert_eq!(ended.iter().filter(|closed| closed.end == EndReason::Error).count(), 1);
}

// covers: E9 (mysql)
#[tokio::test]
async fn what_a_client_writes_drives_nobodys_terminal_and_leaves_its_place_in_no_record() {
    let town = shop().await;
    // What stands before it is the client's own, which says what it was given.
    let told = |out: &std::process::Output| errors_of(out).split_once("ERROR").map(|(_, told)| told.to_owned()).unwrap();
    let said = told(&town.run(&format!("select id from `{NASTY}`")).await);
    assert!(said.contains("nothing here is called") && drives_nothing(&said), "{said:?}");
    let mut entered = town.gate.refused.subscribe();
    let entered = entered.wait_for(|all| all.len() == 1).await.unwrap()[0].detail.clone();
    assert!(drives_nothing(&entered) && !entered.contains('\n'), "{entered:?}");
    for user in [format!("orders-db+{NASTY}"), NASTY.to_owned()] {
        let out = town.client(&["-u", &user, "-e", "select 1"]).output().await.unwrap();
        assert!(drives_nothing(&told(&out)), "{:?}", errors_of(&out));
    }
    let out = town.client(&[&format!("--database={NASTY}"), "-e", "select 1"]).output().await.unwrap();
    assert!(drives_nothing(&told(&out)), "{:?}", errors_of(&out));
    let sql = "select '\",\"kind\":\"sql.refused\",\"n\":7' as `{`";
    assert_eq!(out_of(&town.run(sql).await), "\",\"kind\":\"sql.refused\",\"n\":7");
    assert_eq!((town.gate.of_kind("sql.refused").len(), town.gate.texts().last().unwrap().as_str()), (1, sql));
}
