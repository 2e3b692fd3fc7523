//! What the wire allows and no stock client does: names given twice, messages behind an error, answers not waited for. The recording
//! names what ran.

use access::rights::DatabaseRights;
use serde_json::{Value, json};

use super::gate::{Town, errors_of, out_of};
use super::masks::masked_shop;
use super::restricted::{clerk, shop};

/// A client of the protocol's bare messages: `send` takes any number of them, `until` reads up to an answer of a kind.
const RAW: &str = r"
import socket, ssl, struct
class Raw:
    def __init__(self):
        s = socket.create_connection(('localhost', port)); s.settimeout(20)
        s.sendall(struct.pack('!II', 8, 80877103)); assert s.recv(1) == b'S'
        self.s = ssl.create_default_context(cafile=ca).wrap_socket(s, server_hostname='localhost')
        start = struct.pack('!I', 196608) + b''.join(x.encode() + b'\0' for x in ('user', user, 'database', database, '')) 
        self.s.sendall(struct.pack('!I', len(start) + 4) + start)
        self.buffer = b''
        assert self.read()[0] == 'R'
        self.send(('p', token.encode() + b'\0')); self.until('Z')
    def read(self):
        while len(self.buffer) < 5 or len(self.buffer) < 1 + struct.unpack('!I', self.buffer[1:5])[0]:
            more = self.s.recv(65536)
            if not more: raise EOFError(self.buffer)
            self.buffer += more
        n = 1 + struct.unpack('!I', self.buffer[1:5])[0]
        kind, body, self.buffer = chr(self.buffer[0]), self.buffer[5:n], self.buffer[n:]
        return kind, body
    def send(self, *messages):
        self.s.sendall(b''.join(k.encode() + struct.pack('!I', len(b) + 4) + b for k, b in messages))
    def until(self, kind):
        seen = []
        while not seen or seen[-1][0] != kind:
            seen.append(self.read())
        return seen
    def run(self, *messages):
        self.send(*messages, S); return show(self.until('Z'))
def z(x): return x.encode() + b'\0'
def P(name, text): return ('P', z(name) + z(text) + b'\0\0')
def B(portal, name, *values):
    return ('B', z(portal) + z(name) + struct.pack('!HH', 0, len(values))
        + b''.join(struct.pack('!I', len(v)) + v.encode() for v in values) + b'\0\0')
def E(portal, most=0): return ('E', z(portal) + struct.pack('!I', most))
def D(what, name): return ('D', what.encode() + z(name))
def C(what, name): return ('C', what.encode() + z(name))
def Q(text): return ('Q', z(text))
S, H = ('S', b''), ('H', b'')
def show(seen):
    out = []
    for kind, body in seen:
        if kind == 'D':
            n, at, row = struct.unpack('!H', body[:2])[0], 2, []
            for _ in range(n):
                size = struct.unpack('!i', body[at:at + 4])[0]; at += 4
                row.append(None if size < 0 else body[at:at + size].decode()); at += max(size, 0)
            out.append('|'.join(str(v) for v in row))
        elif kind == 'E': out.append('E' + [f[1:].decode() for f in body.split(b'\0') if f[:1] == b'C'][0])
        elif kind == 'C': out.append(body[:-1].decode())
        else: out.append(kind)
    return ' '.join(out)
c = Raw()
";

/// What a program prints that has `Raw`, and `c` signed in.
pub(crate) async fn raw(town: &Town, program: &str) -> Vec<String> {
    town.python(&format!("{RAW}{program}")).await.lines().map(str::to_owned).collect()
}

// covers: F2 (psql), SES-3 (psql), D10 (psql)
#[tokio::test(flavor = "multi_thread")]
async fn what_is_prepared_by_a_message_and_run_by_a_statement_is_recorded_whole() {
    let town = Town::open().await;
    let said = raw(
        &town,
        r"
print(c.run(P('s', 'select 40 + 2')))
c.send(Q('execute s')); print(show(c.until('Z')))
print(c.run(P('x', 'declare (')))
c.send(Q('execute s')); print(show(c.until('Z')))
",
    )
    .await;
    assert_eq!(said, ["1 Z", "T 42 SELECT 1 Z", "E42601 Z", "T 42 SELECT 1 Z"]);
    let statements = town.gate.of_kind("sql.statement");
    let prepared: Vec<_> = statements.iter().filter(|s| s["via"] == "prepare").map(|s| (&s["name"], &s["text"])).collect();
    assert_eq!(prepared, [(&json!("s"), &json!("select 40 + 2")), (&json!("x"), &json!("declare ("))]);
    let of = |text: &str| recorded(&town).into_iter().filter(|(said, _)| said == text).map(|(_, came)| came).collect::<Vec<_>>();
    assert_eq!(of("select 40 + 2"), [json!("PREPARE")]);
    assert_eq!(of("declare ("), [json!("42601")]);
    assert_eq!(of("execute s"), [json!("SELECT 1"), json!("SELECT 1")]);
}

/// What was recorded of statements: the text or whose text, and what came of it.
fn recorded(town: &Town) -> Vec<(String, Value)> {
    let outcomes = town.gate.of_kind("sql.outcome");
    let came = |n: &Value| {
        outcomes.iter().find(|o| o["n"] == *n).map(|o| if o["tag"].is_null() { o["sqlstate"].clone() } else { o["tag"].clone() })
    };
    let statements = town.gate.of_kind("sql.statement");
    statements.iter().map(|s| (s["text"].as_str().unwrap_or_default().to_owned(), came(&s["n"]).unwrap_or_default())).collect()
}

async fn open_shop() -> Town {
    shop(DatabaseRights { unrestricted: true, ..DatabaseRights::default() }).await
}

// covers: F2 (postgres), PG-2 (postgres)
#[tokio::test]
async fn a_name_that_was_refused_a_second_time_runs_as_what_it_was() {
    let town = open_shop().await;
    let said = raw(
        &town,
        r"
print(c.run(P('s', 'delete from orders where id = 2')))
print(c.run(P('s', 'select 1')))
print(c.run(B('', 's'), E('')))
# The same in one go, and behind an error, and closed where nobody reads it.
c.send(P('t', 'delete from orders where id = 1'), S, P('t', 'select 2'), S, B('', 't'), E(''), S)
print(show(c.until('Z')), show(c.until('Z')), show(c.until('Z')))
print(c.run(P('', 'nonsense'), P('u', 'select 3'), C('S', 't')))
print(c.run(B('', 't'), E('')))
print(c.run(P('u', 'select 4'), B('', 'u'), E('')))
",
    )
    .await;
    assert_eq!(said, ["1 Z", "E42P05 Z", "2 DELETE 1 Z", "1 Z E42P05 Z 2 DELETE 1 Z", "E42601 Z", "2 DELETE 0 Z", "1 2 4 SELECT 1 Z"]);
    let (one, two) = ("delete from orders where id = 2", "delete from orders where id = 1");
    // Each is recorded when it is prepared, and when it runs; what stands behind an error has no outcome, since no server read it.
    let wanted = [
        (one, json!("PREPARE")),
        ("select 1", json!("42P05")),
        (one, json!("DELETE 1")),
        (two, json!("PREPARE")),
        ("select 2", json!("42P05")),
        (two, json!("DELETE 1")),
        ("nonsense", json!("42601")),
        ("select 3", Value::Null),
        (two, json!("DELETE 0")),
        ("select 4", json!("PREPARE")),
        ("select 4", json!("SELECT 1")),
    ];
    let mut found = recorded(&town);
    let mut wanted: Vec<_> = wanted.into_iter().map(|(text, came)| (text.to_owned(), came)).collect();
    // A text without a name that was refused is recorded when the refusal comes, which may be after the next is sent.
    found.sort_by_key(|(text, came)| (text.clone(), came.to_string()));
    wanted.sort_by_key(|(text, came)| (text.clone(), came.to_string()));
    assert_eq!(found, wanted);
}

// covers: F2 (postgres), PG-2 (postgres)
#[tokio::test]
async fn names_that_statements_give_are_not_taken_for_those_of_messages() {
    let town = open_shop().await;
    let said = raw(
        &town,
        r"
print(c.run(P('s', 'select 1'), B('', 's'), E('')))
print(show((c.send(Q('deallocate s; prepare s as delete from orders where id = 1')), c.until('Z'))[1]))
print(c.run(B('', 's'), E('')))
# By the extended protocol, in one go.
c.send(P('k', 'select 2'), P('x', 'deallocate k'), P('y', 'prepare k as delete from orders'), B('', 'x'), E(''), B('', 'y'), E(''), B('', 'k'), E(''), S)
print(show(c.until('Z')))
# Cursors and portals have one kind of name.
c.send(Q('begin')); c.until('Z')
print(c.run(P('', 'select 7'), B('p', ''), H))
c.send(Q('close p; declare p cursor for select 8')); print(show(c.until('Z')))
print(c.run(E('p')))
long = 'x' * 63
print(c.run(P(long + 'a', 'select 9'), B('', long + 'b'), E('')))
",
    )
    .await;
    assert_eq!(
        said,
        [
            "1 2 1 SELECT 1 Z",
            "DEALLOCATE PREPARE Z",
            "2 DELETE 1 Z",
            "1 1 1 2 DEALLOCATE 2 PREPARE 2 DELETE 1 Z",
            "1 2 Z",
            "CLOSE CURSOR DECLARE CURSOR Z",
            "8 SELECT 1 Z",
            "1 2 9 SELECT 1 Z",
        ]
    );
    let found = recorded(&town);
    let of = |tag: &str| found.iter().filter(|(_, came)| *came == tag).map(|(text, _)| text.clone()).collect::<Vec<_>>();
    assert_eq!(of("DELETE 1"), ["EXECUTE s", "EXECUTE k"]);
    assert_eq!(of("SELECT 1"), ["select 1", "FETCH p", "select 9"]);
    assert!(found.contains(&("select 7".into(), Value::Null)), "{found:?}");
}

// covers: PG-2 (postgres)
#[tokio::test]
async fn a_statement_that_is_bound_and_not_run_is_recorded() {
    let town = open_shop().await;
    // What is declared never to change runs when it is planned.
    town.target
        .query(
            "create sequence ran; grant all on sequence ran to public; \
             create function f(n int) returns int immutable language plpgsql as 'begin perform nextval(''ran''); return n; end'",
        )
        .unwrap();
    let said =
        raw(&town, "print(c.run(P('', 'select f(7)'), B('', '')))\nprint(c.run(P('', 'select $1::int'), B('', '', '8'), E('', 1), E('')))")
            .await;
    assert_eq!((&*said[0], &*said[1]), ("1 2 Z", "1 2 8 s SELECT 0 Z"));
    assert_eq!(town.target.query("select is_called from ran").unwrap(), "t");
    let statements = town.gate.of_kind("sql.statement");
    assert_eq!(statements[0]["text"], "select f(7)");
    assert_eq!(statements.iter().map(|s| s["n"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    // What runs twice is recorded twice, each time with its values; a first run under the number it was bound with.
    let again: Vec<_> = statements[1..].iter().map(|s| (s["text"].clone(), s["values"].clone())).collect();
    assert_eq!(again, [(json!("select $1::int"), json!(["8"])), (json!("select $1::int"), json!(["8"]))]);
    let outcomes = town.gate.of_kind("sql.outcome");
    assert_eq!(
        outcomes.iter().map(|o| o["n"].clone()).collect::<Vec<_>>(),
        statements[1..].iter().map(|s| s["n"].clone()).collect::<Vec<_>>()
    );
}

// covers: PG-4 (postgres), E5 (postgres)
#[tokio::test]
async fn what_is_sent_behind_an_error_unmasks_nothing() {
    let town = masked_shop().await;
    let said = raw(
        &town,
        r"
print(c.run(P('a', 'select id, name from customers order by id'), P('b', 'select id, card from customers order by id')))
print(c.run(B('p', 'b'), D('S', 'a'), E('p')))
c.send(P('', 'nonsense'), H); c.until('E')
c.send(Q('select 1'), B('', 'a'), E(''), S); print(show(c.until('Z')))
print(c.run(B('p', 'b'), D('S', 'a'), E('p')))
# Names whose meaning hangs on an answer.
c.send(P('s', 'select id, card from customers'), S, P('s', 'select id, name from customers'), S, B('', 's'), E(''), S)
print(show(c.until('Z')), show(c.until('Z')), show(c.until('Z')))
print(c.run(B('', 'a'), E('')))
",
    )
    .await;
    assert_eq!(
        said,
        [
            "1 1 Z",
            "2 t T 1|**** 2|**** SELECT 2 Z",
            "Z",
            "2 t T 1|**** 2|**** SELECT 2 Z",
            "1 Z E42P05 Z 2 1|**** 2|**** SELECT 2 Z",
            "2 1|Kim 2|Lou SELECT 2 Z",
        ]
    );
}

// covers: F5 (postgres)
#[tokio::test]
async fn values_are_hidden_by_the_statement_that_runs() {
    let town = masked_shop().await;
    let said = raw(
        &town,
        r"
hides, shows = 'insert into customers (id, card) values ($1, $2)', 'insert into orders (id, status) values ($1, $2)'
c.send(P('s', hides), S, P('s', shows), S, B('', 's', '11', 'secret-card'), E(''), S)
print(show(c.until('Z')), show(c.until('Z')), show(c.until('Z')))
c.send(P('t', shows), S, P('t', hides), S, B('', 't', '12', 'plain'), E(''), S)
print(show(c.until('Z')), show(c.until('Z')), show(c.until('Z')))
",
    )
    .await;
    assert_eq!(said, ["1 Z E42P05 Z 2 INSERT 0 1 Z", "1 Z E42P05 Z 2 INSERT 0 1 Z"]);
    let values: Vec<Value> =
        town.gate.of_kind("sql.statement").iter().filter(|s| !s["values"].is_null()).map(|s| s["values"].clone()).collect();
    assert_eq!(values, [json!(["11", {"hidden": true}]), json!(["12", "plain"])]);
}

// covers: MAY-6 (postgres), PG-2 (postgres)
#[tokio::test]
async fn a_copy_that_fails_leaves_every_later_answer_in_its_place() {
    let town = open_shop().await;
    town.target.query("create view v as select 1 as n; create table counted (n int); grant all on v, counted to public").unwrap();
    let said = raw(
        &town,
        r"
def copy(table, *data):
    c.send(P('', 'copy ' + table + ' from stdin'), B('', ''), E(''), S)
    c.until('G')
    c.send(*[('d', d) for d in data], ('c', b''), S)
    return c
# It swallows the first `Sync` and fails at its data; it fails before it reads anything; it succeeds.
copy('counted', b'x\n'); print(show(c.until('Z')))
print(c.run(P('', 'select 1'), B('', ''), E('')))
copy('v', b'1\n'); print(show(c.until('Z')), show(c.until('Z')))
print(c.run(P('', 'select 1 union select 2'), B('', ''), E('')))
copy('counted', b'1\n', b'2\n'); print(show(c.until('Z')))
print(c.run(P('', 'select n from counted'), B('', ''), E('')))
",
    )
    .await;
    assert_eq!(said[0], "E22P02 Z");
    assert_eq!(said[1], "1 2 1 SELECT 1 Z");
    assert_eq!(said[3..], ["1 2 1 2 SELECT 2 Z", "COPY 2 Z", "1 2 1 2 SELECT 2 Z"], "{said:?}");
    let came: Vec<_> = recorded(&town).into_iter().map(|(_, came)| came).collect();
    assert_eq!(came, [json!("22P02"), json!("SELECT 1"), json!("42809"), json!("SELECT 2"), json!("COPY 2"), json!("SELECT 2")]);
}

// covers: D10 (postgres), PG-2 (postgres), F2 (postgres)
#[tokio::test]
async fn a_name_cannot_be_given_behind_a_failed_copy_whose_sync_was_swallowed() {
    let town = open_shop().await;
    town.target.query("create table counted (n int); create view v as select 1 as n; grant all on counted, v to public").unwrap();
    let program = |then: &str| {
        format!(
            r"
print(c.run(P('s', 'delete from orders where id = 1')))
print(c.run(P('c', 'copy counted from stdin')))
c.send(B('', 'c'), E(''), S); c.until('G')
# The server has read `Sync` as part of the copy, and skips to the next.
c.send(('d', b'x\n')); print(show(c.until('E')))
{then}
try: print(show(c.until('Z')))
except Exception: print('over')
"
        )
    };
    // Whoever ends its copy goes on as ever.
    let said =
        raw(&town, &program("c.send(('c', b''), S); c.until('Z'); c.send(C('S', 's'), P('s', 'select 1'), B('', 's'), E(''), S)")).await;
    assert_eq!(said, ["1 Z", "1 Z", "E22P02", "3 1 2 1 SELECT 1 Z"]);
    // To the server this `Parse` is nothing, and the deletion keeps its name.
    for then in [
        "c.send(P('s', 'select 1'), S)",
        "c.send(('c', b''), P('s', 'select 1'), S)",
        "c.send(B('', 's'), E(''), S)",
        "c.send(Q('select 1'))",
    ] {
        let said = raw(&town, &program(&format!("{then}\nprint(show(c.until('E')))"))).await;
        assert_eq!(said, ["1 Z", "1 Z", "E22P02", "E22023", "over"], "{then}");
    }
    assert_eq!(town.target.query("select count(*) from orders where id = 1").unwrap(), "1");
    let deletions = recorded(&town).into_iter().filter(|(text, _)| text.starts_with("delete")).map(|(_, came)| came);
    assert_eq!(deletions.collect::<Vec<_>>(), vec![json!("PREPARE"); 5]);
}

// covers: MAY-6 (postgres), E6 (postgres)
#[tokio::test]
async fn a_statement_of_many_pieces_is_refused_before_it_is_read() {
    let town = shop(clerk()).await;
    let large = |count: usize| format!("select id from orders where id in ({}1)", "1,".repeat(count));
    let file = town.dir.path().join("large.sql");
    let run = async |sql: String| {
        std::fs::write(&file, sql).unwrap();
        town.psql(&town.conninfo(""), &["-f", &file.display().to_string()]).output().await.unwrap()
    };
    assert_eq!(out_of(&run(large(20_000)).await), "1");
    let out = run(large(1_000_000)).await;
    assert!(errors_of(&out).contains("is more than the 50000 that are looked at under a restricted role"), "{}", errors_of(&out));
    assert!(errors_of(&out).contains("pass a list as one array"), "{}", errors_of(&out));
    let mut entered = town.gate.refused.subscribe();
    entered.wait_for(|all| all.len() == 1).await.unwrap();
    // One large value is none of many pieces.
    let value = "it''s; ".repeat(300_000);
    assert_eq!(out_of(&run(format!("insert into orders (id, status) values (77, '{value}')")).await), "INSERT 0 1");
    let tables = |count: usize| {
        format!("select count(*) from {}orders z where z.id = 1", (0..count).map(|n| format!("orders a{n}, ")).collect::<String>())
    };
    assert_eq!(out_of(&run(tables(3)).await), "27");
    let out = run(tables(300)).await;
    assert!(errors_of(&out).contains("more than 200 tables"), "{}", errors_of(&out));
}
