//! What the demo says: one screen, with what to type as Ana and as Ben.

use super::Ready;
use crate::output::note;

/// Prints the screen to stderr.
pub(super) fn show(ready: &Ready) {
    note(text(ready));
}

fn text(ready: &Ready) -> String {
    let people = shown(&ready.dir.join("people"));
    format!(
        "\n\
         Tidegate demo. API {api}, SSH {host}:{port}{listeners}. Ctrl-C ends it.\n\
         \n\
         1. Ana, in a second terminal, needs a shell on a production machine. She asks where she connects:\n\
         \n\
         \x20    {people}/ana/ssh db-1+shell.tide\n\
         \n\
         \x20  She is asked why, and waits. (build-1+shell.tide opens at once: it is not production.)\n\
         \n\
         2. Ben, in a third terminal, is on call. He looks, and agrees:\n\
         \n\
         \x20    {people}/ben/tidegate request list --inbox\n\
         \x20    {people}/ben/tidegate request approve req_… --note 'go ahead'\n\
         \n\
         \x20  Ana's shell opens by itself. It is recorded and ends when its time is up.\n\
         \n\
         3. Databases work the same way; `warehouse-db` opens at once, `orders-db` asks Ben first:\n\
         \n\
         \x20    {people}/ana/tidegate mysql warehouse-db\n\
         \x20    {people}/ana/tidegate psql orders-db\n\
         \n\
         \x20  Any client does, with a token as password ({people}/ana/tidegate grant token grt_…):\n\
         \n\
         \x20    {psql}\n\
         \n\
         4. Carla, from security, watches and can end it:\n\
         \n\
         \x20    {people}/carla/tidegate session list --live --all\n\
         \x20    {people}/carla/tidegate session watch ses_…\n\
         \x20    {people}/carla/tidegate session kill ses_… --reason 'drill'\n\
         \n\
         5. Eve, the auditor, proves all of it from a file, without the gate:\n\
         \n\
         \x20    {people}/eve/tidegate evidence export --session ses_… proof.tar\n\
         \x20    {people}/eve/tidegate evidence verify proof.tar --key {key}\n",
        api = ready.api,
        host = ready.ssh.host,
        port = ready.ssh.port,
        listeners = listeners(ready),
        psql = psql(ready),
        key = shown(&ready.checkpoint_verifier),
    )
}

fn listeners(ready: &Ready) -> String {
    let of = |name: &str, address: Option<&super::DatabaseAddress>| {
        address.map(|a| format!(", {name} {}:{}", a.host, a.port)).unwrap_or_default()
    };
    format!("{}{}", of("PostgreSQL", ready.postgres.as_ref()), of("MySQL", ready.mysql.as_ref()))
}

fn psql(ready: &Ready) -> String {
    let (host, port) = ready.postgres.as_ref().map_or(("…", 0), |a| (a.host.as_str(), a.port));
    format!("psql \"host={host} port={port} user=orders-db+readonly sslmode=require\"")
}

/// A path as it is shortest to type from here.
fn shown(path: &std::path::Path) -> String {
    let here = std::env::current_dir().ok();
    let short = here.as_deref().and_then(|here| path.strip_prefix(here).ok());
    short.unwrap_or(path).display().to_string()
}
