//! Signing a terminal in from a browser: the device flow (RFC 8628), its page opened here where there is a browser.
//!
//! The link and the code are printed in any case, so that a machine without a browser is signed in from another one. In the browser one
//! signs in as always, at an identity provider or with a passkey; the page then shows what asks, and a click there lets it in.

use std::process::{Command, Stdio};
use std::time::Duration;

use access::inert::inert;
use access::reason::Reason;
use api::types::device::{BegunDevice, NewDevice, PollDevice};
use api::types::users::Accepted;
use identity::device::VALID_FOR;
use reqwest::Url;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::client::{Client, ClientError, Reply};
use crate::output::note;

/// Signs in at a link that somebody opens in a browser, here or elsewhere.
///
/// # Errors
/// If they say no, nobody answers in time, or the gate is not reached.
pub(super) async fn sign_in(client: &Client) -> anyhow::Result<Accepted> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let asks = NewDevice { client: format!("tidegate {} on {host}", env!("CARGO_PKG_VERSION")), purpose: "the command line".to_owned() };
    let begun = client.post::<BegunDevice>("/device", &asks).await?.value;
    note(format!(
        "To sign in, open this page in a browser, here or on another machine:\n\n  {}\n",
        inert(&begun.verification_uri_complete)
    ));
    note(format!("See that it shows the code {} and this machine, and say yes there. Waiting …", inert(&begun.user_code)));
    open(&begun.verification_uri_complete);
    wait(client, &begun).await
}

/// Asks until somebody answered.
async fn wait(client: &Client, begun: &BegunDevice) -> anyhow::Result<Accepted> {
    let poll = PollDevice { device_code: begun.device_code.clone() };
    let patience = Instant::now() + VALID_FOR.as_std();
    loop {
        sleep(Duration::from_secs(begun.interval.clamp(1, 60))).await;
        let answer: Result<Reply<Value>, ClientError> = client.post("/device/token", &poll).await;
        match answer {
            // Until somebody answered it is a problem that says so.
            Ok(answer) if answer.value["code"] == Reason::Pending.code() => {}
            Ok(answer) => return Ok(serde_json::from_value(answer.value)?),
            Err(ClientError::Refused(problem)) if problem.code == Reason::TooMany && Instant::now() < patience => {}
            // A train goes through a tunnel; whoever reads the page takes longer (RFC 8628 section 3.5).
            Err(ClientError::Unreachable { .. }) if Instant::now() < patience => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Opens a page where there is a desktop. Whoever sees none has the link.
fn open(page: &str) {
    let desktop = cfg!(target_os = "macos") || ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| is_set(name));
    // What a gate sends is a page, and never a file or a program.
    let is_page = Url::parse(page).is_ok_and(|url| matches!(url.scheme(), "https" | "http"));
    if desktop && is_page {
        let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
        let _opened = Command::new(program).arg(page).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    }
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}
