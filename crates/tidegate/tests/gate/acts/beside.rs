//! What is no act of its own: commands that work on files, or do several acts; and operations that take a proof instead of a sign-in.

use std::path::Path;
use std::sync::OnceLock;

/// Commands that speak to no gate, or at its own machine; each with what they work on.
pub(super) const ON_FILES: &[(&str, &str)] = &[
    ("serve", "the gate itself"),
    ("demo", "a gate of its own"),
    ("backup", "the data directory; who may read it may copy it"),
    ("doctor", "the configuration"),
    ("recover", "the socket at the gate's own machine"),
    ("clock accept", "the socket at the gate's own machine"),
    ("config check", "the configuration"),
    ("completion", "nothing"),
    ("man", "nothing"),
    ("policy check", "a directory"),
    ("policy test", "a directory"),
    ("policy diff", "two directories"),
    ("policy rollback", "the socket at the gate's own machine"),
    ("audit verify", "a copy of the log"),
    ("evidence verify", "an export"),
    ("evidence replay", "an export"),
];

/// Commands that are several acts in a row, each of which is a row of its own.
pub(super) const OF_SEVERAL: &[(&str, &str)] = &[
    ("join", "spends an invitation, adds a key, gets a certificate"),
    ("psql", "asks, makes a connect token, connects"),
    ("mysql", "asks, makes a connect token, connects"),
    ("connect", "asks, makes a connect token, connects"),
    ("exec", "signs in, asks, connects, gives back"),
    ("ssh-config", "lists resources, reads what everybody may know"),
    ("policy suggest", "searches sessions, reads recordings"),
];

/// Operations whose call carries the proof of who calls, or a code that somebody was given: not who one is decides, but what one holds.
/// Tests of the API try each with another's and with none.
pub(super) const BY_PROOF: &[(&str, &str)] = &[
    ("tokens_accept", "the code of an invitation"),
    ("tokens_challenge", "begins a proof"),
    ("tokens_sign_in", "a signature of a registered key"),
    ("web-sessions_create", "an invitation or a token, in the gate's own page"),
    ("web-sessions_sign_out", "the cookie that it takes away"),
    ("sign-in_begin", "begins a proof"),
    ("sign-in_finish", "what a provider answers"),
    ("sign-in_log_out", "what a provider signed"),
    ("sign-in_exchange", "a token that a CI system signed"),
    ("signals_hear", "what a transmitter of signals signed"),
    ("passkeys_to_sign_in", "begins a proof"),
    ("passkeys_sign_in", "what a passkey signed"),
    ("passkeys_to_make", "a sign-in of a moment ago"),
    ("passkeys_create", "what a passkey signed"),
    ("step-up_begin", "begins a proof, where something has to be proved"),
    ("step-up_to_prove", "begins a proof"),
    ("step-up_prove", "what a passkey signed"),
    ("step-up_progress", "the words of what one began"),
    ("step-up_show", "the code of what one began"),
    ("step-up_refuse", "the code of what one began"),
    ("requests_signature", "begins a proof; `requests_approve` takes it"),
    ("device_begin", "begins a proof"),
    ("device_poll", "the code that only who began it has"),
    ("device_show", "the code that a terminal shows"),
    ("device_answer", "the code that a terminal shows"),
    ("chat_interaction", "what Slack signed"),
    ("chat_command", "what Slack signed"),
    ("chat_teams", "what Teams signed"),
    ("chat_asking", "the code that was sent to an account"),
    ("chat_link", "the code that was sent to an account"),
    ("mail_asking", "the code of a link in a mail"),
    ("mail_decide", "the code of a link in a mail"),
    ("mail_confirm", "the code of a link in a mail"),
];

/// Whether the portal calls an operation.
pub(super) fn in_portal((method, path): &(String, String)) -> bool {
    static SOURCES: OnceLock<String> = OnceLock::new();
    let sources = SOURCES.get_or_init(|| {
        let mut all = String::new();
        gather(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../portal/src"), &mut all);
        all
    });
    // Written out, as what brings a file or a text, or, for what streams, as a URL.
    let (called, sent) = (format!("'{}', '{path}'", method.to_lowercase()), format!("send('{path}', {{ method: '{method}'"));
    sources.contains(&called)
        || sources.contains(&sent)
        || (method == "GET" && sources.contains(&format!("`/api{}", &path[4..].replace("{id}", "${session}"))))
}

fn gather(dir: &Path, all: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, all);
        } else if path.file_name().is_some_and(|name| name != "openapi.d.ts") {
            all.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}
