//! What people and files write in short: selectors, endpoints, sockets, durations, ids, names. What is read is written the same
//! way again.
#![no_main]

use std::fmt::Display;
use std::str::FromStr;

use access::ids::{PrincipalId, SessionId};
use access::lock::LockScope;
use access::names::{ResourceName, Selector, Username};
use access::request::Asked;
use access::rights::{Endpoint, SocketPath};
use access::time::Span;
use libfuzzer_sys::fuzz_target;

fn again<T: FromStr + Display + PartialEq>(text: &str)
where
    T::Err: Display,
{
    match text.parse::<T>() {
        Ok(value) => {
            let shown = value.to_string();
            assert!(shown.parse::<T>().is_ok_and(|read| read == value), "{text:?} is read as {shown:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fuzz_target!(|text: &str| {
    again::<Span>(text);
    again::<Endpoint>(text);
    again::<SocketPath>(text);
    again::<Selector>(text);
    again::<ResourceName>(text);
    again::<Username>(text);
    again::<LockScope>(text);
    again::<PrincipalId>(text);
    again::<SessionId>(text);
    let asked = text.parse::<Asked>().is_ok();
    let _ = asked;
});
