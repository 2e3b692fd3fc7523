//! Statements in disguise, each through the gate by a real client to the real server, as a role that may little. The account behind the
//! gate may do everything, so that what holds here the judge and the relay alone hold. The oracle is a plain account with exactly the
//! role's GRANTs at a database of its own: what it is denied, the gate never lets through.

use access::rights::{Columns, DatabaseRights, QualifiedName, TableRights};
use serde_json::Value;
use testkit::mariadb::Database;

use super::gate::{Setup, Town};

const CASES: &str = include_str!("disguises.txt");

/// What is in the database. The values of `card`, `born` and `pin`, of `iban` and `password` stand nowhere else.
pub(crate) const SHOP: &str = "
    create table orders (id int primary key auto_increment, status varchar(200), total int); insert into orders values (1, 'new', 5), (2, 'sent', 7);
    create table items (id int primary key auto_increment, name varchar(200)); insert into items (name) values ('ink');
    create table customers (id int primary key, name varchar(100) not null, card varchar(40) unique, born date, pin int, check (name <> 'raise'));
    insert into customers values (1, 'Kim', 'zq7-4111-unique', '1971-03-29', 735190417), (2, 'Lou', 'taken', null, 5);
    create view open_cards as select id, card from customers;
    create table payments (id int primary key auto_increment, iban varchar(100)); insert into payments (iban) values ('zq8-IBAN-unique');
    create table staff (name varchar(100), password varchar(100)); insert into staff values ('Ben', 'zq8-IBAN-unique');
    create function leak() returns varchar(100) reads sql data return (select iban from payments limit 1);
    create procedure leak_all() select iban from payments;
    create function ship(n int) returns int deterministic return n + 1";

fn some(names: &[&str]) -> Columns {
    Columns::Only(names.iter().map(|name| (*name).to_owned()).collect())
}

/// The rights of the role, in this database.
pub(crate) fn role(database: &str) -> DatabaseRights {
    let here = |name: &str| QualifiedName::new(database, name);
    let orders = TableRights { select: Columns::All, insert: Columns::All, update: some(&["status"]), ..TableRights::default() };
    let items = TableRights { select: Columns::All, insert: Columns::All, ..TableRights::default() };
    let customers = TableRights {
        select: Columns::All,
        insert: Columns::All,
        update: some(&["name"]),
        masked: ["card", "born", "pin"].map(str::to_owned).into(),
        ..TableRights::default()
    };
    DatabaseRights {
        tables: [(here("orders"), orders), (here("items"), items), (here("customers"), customers)].into(),
        functions: [here("ship")].into(),
        copy_in: true,
        ..DatabaseRights::default()
    }
}

/// A shop, and a gate before it where the role has little.
pub(crate) async fn shop() -> Town {
    shop_with(role).await
}

/// The same with other rights, or with a change to these.
pub(crate) async fn shop_with(rights: impl Fn(&str) -> DatabaseRights) -> Town {
    let town = Town::with(Setup::default()).await;
    town.allow(rights(town.target.name()));
    town.target.query(SHOP).unwrap();
    town
}

/// The same rights as an account's, by `GRANT` alone. No GRANT masks anything: there the account may read more.
const GRANTS: &str = "grant select, insert, update (status) on DB.orders to ROLE; grant select, insert on DB.items to ROLE; \
    grant select, insert, update (name) on DB.customers to ROLE; grant execute on function DB.ship to ROLE";
/// What a server says to who may not: in a database, with a command, a column, for want of a right over everything, with a routine, to
/// grant, to make a function.
const DENIED: &[u16] = &[1044, 1045, 1142, 1143, 1227, 1370, 1410, 1419];

/// Everything that a statement could have changed, in one text.
fn state(database: &Database) -> String {
    let rows =
        ["orders", "items", "customers", "payments", "staff"].map(|table| format!("select '{table}', t.* from {table} t order by 2"));
    let name = database.name();
    let catalog = [
        format!("select routine_name, md5(routine_definition) from information_schema.routines where routine_schema = '{name}' order by 1"),
        format!(
            "select trigger_name, event_name from information_schema.triggers left join information_schema.events on 0 where trigger_schema = '{name}'"
        ),
        format!("select grantee, privilege_type from information_schema.schema_privileges where table_schema = '{name}' order by 1, 2"),
        format!(
            "select grantee, table_name, privilege_type from information_schema.table_privileges where table_schema = '{name}' order by 1, 2, 3"
        ),
    ];
    rows.iter().chain(&catalog).map(|sql| database.query(sql).unwrap()).collect::<Vec<_>>().join("\n")
}

/// Runs every case as text and prepared, and prints what came: for each step nothing if it went well, else its number and whose error it
/// is. Whatever came from the other side, after decryption, is written to a file.
const CLIENT: &str = r"
const tls = require('tls'); const raw = [];
const emit = tls.TLSSocket.prototype.emit;
tls.TLSSocket.prototype.emit = function (event, data) { if (event === 'data') raw.push(Buffer.from(data)); return emit.apply(this, arguments) };
const out = [];
let c = null, gone = null;
async function connect() {
  c = await mysql.createConnection({...options, multipleStatements: true, dateStrings: true}); c.on('error', () => {});
  // Not every call hears of it when the connection goes.
  gone = new Promise((_, no) => c.connection.stream.once('close', () => no(Object.assign(new Error('gone'), {errno: 2013, fatal: true}))));
  gone.catch(() => {});
}
for (const mode of ['query', 'execute']) {
  for (const steps of cases) {
    const seen = [];
    if (!c) await connect();
    for (const step of steps) {
      const asked = {sql: step, infileStreamFactory: () => require('stream').Readable.from([Buffer.from('7\tbad\n')])};
      try { await Promise.race([c[mode](asked), gone]); seen.push(null) }
      catch (e) {
        seen.push([e.errno || 0, String(e.message).startsWith('Your role does not include this')]);
        if (e.fatal) await connect();
      }
    }
    try { await Promise.race([c.query('rollback; set autocommit = 1'), gone]) } catch (e) { c = null }
    out.push(seen);
  }
  if (c) await c.end();
  c = null;
}
fs.writeFileSync(file, Buffer.concat(raw));
console.log('RESULT' + JSON.stringify(out));
";

type Seen = Vec<Option<(u16, bool)>>;

async fn outcomes(town: &Town, options: &str, cases: &[Vec<String>]) -> (Vec<Seen>, Vec<u8>) {
    let (input, file) = (town.dir.path().join("cases.json"), town.dir.path().join("raw"));
    std::fs::write(&input, serde_json::to_string(cases).unwrap()).unwrap();
    let program = format!("{options}\nconst cases = JSON.parse(fs.readFileSync({input:?})); const file = {file:?};\n{CLIENT}");
    let said = town.node(&program).await;
    let (_, result) = said.split_once("RESULT").unwrap();
    let result: Vec<Seen> = serde_json::from_value(serde_json::from_str::<Value>(result).unwrap()).unwrap();
    assert_eq!(result.len(), 2 * cases.len());
    (result, std::fs::read(file).unwrap())
}

/// The forms in which a value could hide: as it is, in capitals, in hexadecimal, and in base64 at each alignment.
fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    use base64::Engine as _;
    let hex: String = value.iter().map(|b| format!("{b:02x}")).collect();
    let mut all = vec![
        value.to_vec(),
        value.to_ascii_uppercase(),
        hex.clone().into_bytes(),
        hex.to_ascii_uppercase().into_bytes(),
        value.iter().rev().copied().collect(),
    ];
    for skip in 0..3 {
        let whole = &value[skip..][..(value.len() - skip) / 3 * 3];
        all.push(base64::engine::general_purpose::STANDARD.encode(whole).into_bytes());
    }
    all
}

/// Which forms of a value stand in these bytes.
pub(crate) fn found(bytes: &[u8], value: &[u8]) -> Vec<String> {
    let stands = |form: &[u8]| form.len() >= 4 && bytes.windows(form.len()).any(|window| window == form);
    forms(value).into_iter().filter(|form| stands(form)).map(|form| String::from_utf8_lossy(&form).into_owned()).collect()
}

// covers: E4 (mysql2), E5 (mysql2), MY-1 (mysql2), MAY-6 (mysql)
#[tokio::test(flavor = "multi_thread")]
async fn no_disguise_gets_through_the_gate() {
    let lines: Vec<(char, &str)> = CASES
        .lines()
        .filter(|line| line.starts_with(['-', '+', '!']))
        .map(|line| (line.chars().next().unwrap(), line[1..].trim()))
        .collect();
    assert!(lines.iter().filter(|(verdict, _)| *verdict == '-').count() >= 150);
    let cases: Vec<Vec<String>> = lines.iter().map(|(_, text)| text.split(" ;; ").map(|step| step.replace('␤', "\n")).collect()).collect();

    let town = shop().await;
    let before = state(&town.target);
    let (gate, bytes) = outcomes(&town, "", &cases).await;
    assert_eq!(state(&town.target), before);

    let oracle = Database::fresh().await.unwrap();
    oracle.query(SHOP).unwrap();
    let account = format!("plain_{}", oracle.name());
    let grants = GRANTS.replace("DB", oracle.name()).replace("ROLE", &account);
    oracle.query(&format!("create user {account} identified by 'pw'; {grants}")).unwrap();
    let direct = format!(
        "options.host = '127.0.0.1'; options.port = {}; options.user = '{account}'; options.password = 'pw'; options.database = '{}'; \
         delete options.ssl;",
        oracle.port(),
        oracle.name()
    );
    let (plain, _) = outcomes(&town, &direct, &cases).await;
    oracle.query(&format!("drop user {account}")).unwrap();

    let (mut wrong, mut denials) = (Vec::new(), 0);
    for (number, (gate, plain)) in gate.iter().zip(&plain).enumerate() {
        let (mode, (verdict, text)) = (["query", "execute"][number / lines.len()], lines[number % lines.len()]);
        let first = |seen: &Seen, is: &dyn Fn(u16, bool) -> bool| {
            seen.iter().position(|state| state.is_some_and(|(errno, gates)| is(errno, gates)))
        };
        let refused = first(gate, &|_, gates| gates);
        let failed = first(gate, &|_, _| true);
        // What cannot be prepared at all, or is no one statement: that the gate has no say in.
        let unpreparable = mode == "execute" && gate.iter().flatten().any(|(errno, _)| matches!(errno, 1295 | 1064));
        let as_it_should = match verdict {
            '-' => refused.is_some(),
            '+' => failed.is_none() || unpreparable,
            _ => failed.is_some() && refused.is_none(),
        };
        let denied = first(plain, &|errno, _| DENIED.contains(&errno));
        denials += usize::from(denied.is_some());
        let lets_through = denied.is_some_and(|denied| failed.is_none_or(|failed| failed > denied));
        if !as_it_should || lets_through {
            wrong.push(format!("{mode}: {verdict} {text}\n    gate {gate:?}, the plain account {plain:?}"));
        }
    }
    assert!(denials > 200, "the plain account was denied {denials} only");
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));

    // Nothing of what is masked, and nothing of what is somebody else's, in any form.
    assert!(bytes.len() > 50_000, "{} bytes came", bytes.len());
    assert!(!found(&bytes, b"****").is_empty(), "nothing was heard");
    let date = [0xb3, 0x07, 3, 29];
    for value in [&b"zq7-4111-unique"[..], b"735190417", &735_190_417_i32.to_le_bytes(), b"1971-03-29", &date, b"zq8-IBAN-unique"] {
        assert_eq!(found(&bytes, value), Vec::<String>::new(), "{}", String::from_utf8_lossy(value));
    }
}
