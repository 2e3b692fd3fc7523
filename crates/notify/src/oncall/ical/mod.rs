//! iCalendar (RFC 5545): an event is a shift, whoever attends it is on call; without attendees, whom its summary names. An invitation
//! (RFC 5546) is one only if it comes from whom the configuration names.
//!
//! A feed that has an event which can't be understood says nothing at all: who is on call instead can't be told.

mod event;
mod lines;
mod rule;

use std::collections::BTreeMap;

use access::names::GroupName;
use access::secret::Secret;
use jiff::Timestamp;

use super::{LARGEST, Mapped, Place, Said, Shift, Source, Trouble, add, good, shown};
use crate::http::Caller;

pub(super) async fn look(caller: &Caller, source: &Source, token: Option<&Secret<String>>, now: Timestamp) -> BTreeMap<GroupName, Said> {
    let mut all = BTreeMap::new();
    for mapped in &source.schedules {
        let said = match read(caller, mapped, token).await {
            // A large feed takes a while to read, in which everything else goes on.
            Ok(bytes) => {
                let (source, mapped) = (source.clone(), mapped.clone());
                let read = tokio::task::spawn_blocking(move || shifts(&bytes, &source, &mapped, now)).await;
                read.unwrap_or_else(|_| Err(Trouble::Here("the feed could not be read to its end".to_owned())))
            }
            Err(trouble) => Err(trouble),
        };
        add(&mut all, &mapped.service, said);
    }
    all
}

fn shifts(bytes: &[u8], source: &Source, mapped: &Mapped, now: Timestamp) -> Said {
    let text = std::str::from_utf8(bytes).map_err(|_| Trouble::Unreadable("it is not UTF-8 text".into()))?;
    let calendar = lines::parse(text).map_err(Trouble::Unreadable)?;
    let on_call = event::on_call(&calendar, source.time_zone.as_ref(), &source.organizers, now).map_err(Trouble::Unreadable)?;
    Ok(on_call.into_iter().map(|(who, until)| Shift { who, level: mapped.level, until: Some(until) }).collect())
}

async fn read(caller: &Caller, mapped: &Mapped, token: Option<&Secret<String>>) -> Result<Vec<u8>, Trouble> {
    let here = |path: &std::path::Path, error: &std::io::Error| Trouble::Here(format!("`{}` cannot be read: {error}", path.display()));
    let address = match &mapped.place {
        Place::File(path) => {
            let size = tokio::fs::metadata(path).await.map_err(|error| here(path, &error))?.len();
            if size > LARGEST as u64 {
                return Err(Trouble::Here(format!("`{}` has more than {LARGEST} bytes", path.display())));
            }
            return tokio::fs::read(path).await.map_err(|error| here(path, &error));
        }
        Place::Feed(url) => url.clone(),
        Place::FeedNamedIn(path) => tokio::fs::read_to_string(path).await.map_err(|error| here(path, &error))?.trim().to_owned(),
        Place::EscalationPolicy(id) | Place::Schedule(id) => return Err(Trouble::NoSuch(shown(id))),
    };
    // The address may be a secret: it is in no message.
    let url = caller.url(&address).map_err(|_| Trouble::Here("the address of the feed is none that may be called".into()))?;
    let bearer = token.map(|token| format!("Bearer {}", token.expose().trim()));
    let mut headers = vec![("accept", "text/calendar")];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    good(caller.get(&url, &headers, LARGEST).await.map_err(Trouble::Unreachable)?, "calendar")
}
