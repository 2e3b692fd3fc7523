//! Opsgenie: `GET /v2/schedules/{identifier}/on-calls` (<https://docs.opsgenie.com/docs/who-is-on-call-api>).

use std::collections::BTreeMap;

use access::names::GroupName;
use access::secret::Secret;
use serde::Deserialize;

use super::{LARGEST, Mapped, Place, Said, Shift, Source, Them, Trouble, add, good};
use crate::http::Caller;

/// Teams and escalations stand in each other no deeper than this.
const DEEPEST: u32 = 8;

#[derive(Deserialize)]
struct Answered {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "_parent")]
    parent: Parent,
    #[serde(rename = "onCallParticipants")]
    participants: Vec<Participant>,
}

#[derive(Deserialize)]
struct Parent {
    enabled: bool,
}

/// A user, or a team or escalation with those in it.
#[derive(Deserialize)]
struct Participant {
    id: Option<String>,
    name: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    /// Minutes until they are asked.
    #[serde(rename = "escalationTime", default)]
    escalation_time: u64,
    #[serde(rename = "onCallParticipants", default)]
    inside: Vec<Participant>,
}

pub(super) async fn look(caller: &Caller, source: &Source, token: Option<&Secret<String>>) -> BTreeMap<GroupName, Said> {
    let mut all = BTreeMap::new();
    for mapped in &source.schedules {
        let Place::Schedule(id) = &mapped.place else { continue };
        add(&mut all, &mapped.service, one(caller, source, token, mapped, id).await);
    }
    all
}

async fn one(caller: &Caller, source: &Source, token: Option<&Secret<String>>, mapped: &Mapped, id: &str) -> Said {
    let mut url = caller.url(&source.url).map_err(|error| Trouble::Here(error.to_string()))?;
    match url.path_segments_mut() {
        Ok(mut path) => path.pop_if_empty().extend(["v2", "schedules", id, "on-calls"]),
        Err(()) => return Err(Trouble::Here("the `url` of the source has no path".into())),
    };
    let kind = if is_uuid(id) { "id" } else { "name" };
    url.query_pairs_mut().append_pair("scheduleIdentifierType", kind).append_pair("flat", "false");
    let authorization = format!("GenieKey {}", token.map_or("", |token| token.expose().trim()));
    let headers = [("accept", "application/json"), ("authorization", authorization.as_str())];
    let answer = caller.get(&url, &headers, LARGEST).await.map_err(Trouble::Unreachable)?;
    let body = good(answer, id)?;
    let answered: Answered = serde_json::from_slice(&body).map_err(|error| Trouble::Unreadable(error.to_string()))?;
    let mut shifts = Vec::new();
    // A schedule that is switched off calls nobody.
    if answered.data.parent.enabled {
        gather(&answered.data.participants, mapped.level, 0, &mut shifts)?;
    }
    Ok(shifts)
}

/// The users among them. In an escalation, who is asked later is of a higher level.
fn gather(participants: &[Participant], level: u32, depth: u32, out: &mut Vec<Shift>) -> Result<(), Trouble> {
    if depth > DEEPEST {
        return Err(Trouble::Unreadable("teams and escalations stand in each other too deeply".into()));
    }
    for participant in participants {
        match participant.kind.as_str() {
            "user" => {
                let (Some(id), name) = (&participant.id, &participant.name) else {
                    return Err(Trouble::Unreadable("a user in it has no id".into()));
                };
                // The name of a user is their address.
                out.push(Shift { who: Them { id: id.clone(), email: name.clone() }, level, until: None });
            }
            "escalation" => {
                let mut times: Vec<u64> = participant.inside.iter().map(|inside| inside.escalation_time).collect();
                times.sort_unstable();
                times.dedup();
                for (steps, time) in (0u32..).zip(times) {
                    let step: Vec<&Participant> = participant.inside.iter().filter(|inside| inside.escalation_time == time).collect();
                    for inside in step {
                        gather(std::slice::from_ref(inside), level.saturating_add(steps), depth + 1, out)?;
                    }
                }
            }
            "team" => gather(&participant.inside, level, depth + 1, out)?,
            // `none` is nobody, and what is not known is nobody either.
            _ => {}
        }
    }
    Ok(())
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
