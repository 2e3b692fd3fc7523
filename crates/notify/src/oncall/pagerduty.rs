//! PagerDuty: `GET /oncalls` of the REST API v2
//! (<https://developer.pagerduty.com/api-reference/3a6b910f11050-list-all-of-the-on-calls>), page by page.

use std::collections::BTreeMap;

use access::names::GroupName;
use access::secret::Secret;
use jiff::Timestamp;
use serde::Deserialize;

use super::{LARGEST, Place, Said, Shift, Source, Them, Trouble, add, good};
use crate::http::Caller;

/// So many on-calls are asked for at once; the API gives no more.
const PAGE: usize = 100;
/// The API answers no further than this.
const MOST: usize = 10_000;

#[derive(Deserialize)]
struct Page {
    oncalls: Vec<OnCall>,
    more: bool,
}

#[derive(Deserialize)]
struct OnCall {
    escalation_policy: Reference,
    schedule: Option<Reference>,
    escalation_level: u32,
    user: User,
    end: Option<String>,
}

#[derive(Deserialize)]
struct Reference {
    id: String,
}

#[derive(Deserialize)]
struct User {
    id: String,
    email: Option<String>,
}

/// Which of the two filters of the API.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Policy,
    Schedule,
}

/// What is asked for, and for which service.
struct Wanted<'s> {
    service: &'s GroupName,
    id: &'s str,
    /// The level it counts as; `None`: the one that it says.
    level: Option<u32>,
}

pub(super) async fn look(caller: &Caller, source: &Source, token: Option<&Secret<String>>) -> BTreeMap<GroupName, Said> {
    let mut all = BTreeMap::new();
    for by in [By::Policy, By::Schedule] {
        let wanted: Vec<Wanted<'_>> = source
            .schedules
            .iter()
            .filter_map(|mapped| match (&mapped.place, by) {
                (Place::EscalationPolicy(id), By::Policy) => Some(Wanted { service: &mapped.service, id, level: None }),
                // A schedule may stand in any policy, at any level of it: which level it is for the service, the mapping says.
                (Place::Schedule(id), By::Schedule) => Some(Wanted { service: &mapped.service, id, level: Some(mapped.level) }),
                _ => None,
            })
            .collect();
        if wanted.is_empty() {
            continue;
        }
        let found = pages(caller, source, token, by, &wanted).await;
        for Wanted { service, id, level } in wanted {
            let said = match &found {
                Err(trouble) => Err(trouble.clone()),
                Ok(found) => found.iter().filter(|on_call| stands_at(on_call, by, id)).map(|on_call| shift(on_call, level)).collect(),
            };
            add(&mut all, service, said);
        }
    }
    all
}

fn stands_at(on_call: &OnCall, by: By, id: &str) -> bool {
    match by {
        By::Policy => on_call.escalation_policy.id == id,
        By::Schedule => on_call.schedule.as_ref().is_some_and(|schedule| schedule.id == id),
    }
}

fn shift(on_call: &OnCall, level: Option<u32>) -> Result<Shift, Trouble> {
    let until = match &on_call.end {
        None => None,
        Some(end) => Some(end.parse::<Timestamp>().map_err(|_| Trouble::Unreadable("an `end` in it is no time".into()))?),
    };
    let who = Them { id: on_call.user.id.clone(), email: on_call.user.email.clone() };
    Ok(Shift { who, level: level.unwrap_or(on_call.escalation_level).max(1), until })
}

async fn pages(
    caller: &Caller,
    source: &Source,
    token: Option<&Secret<String>>,
    by: By,
    wanted: &[Wanted<'_>],
) -> Result<Vec<OnCall>, Trouble> {
    let base = format!("{}/oncalls", source.url.trim_end_matches('/'));
    let base = caller.url(&base).map_err(|error| Trouble::Here(error.to_string()))?;
    let authorization = format!("Token token={}", token.map_or("", |token| token.expose().trim()));
    let headers = [("accept", "application/vnd.pagerduty+json;version=2"), ("authorization", authorization.as_str())];
    let filter = if by == By::Policy { "escalation_policy_ids[]" } else { "schedule_ids[]" };
    let mut found = Vec::new();
    loop {
        let mut url = base.clone();
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("time_zone", "UTC").append_pair("include[]", "users");
            query.append_pair("limit", &PAGE.to_string()).append_pair("offset", &found.len().to_string());
            for one in wanted {
                query.append_pair(filter, one.id);
            }
        }
        let answer = caller.get(&url, &headers, LARGEST).await.map_err(Trouble::Unreachable)?;
        let body = good(answer, "escalation policy or schedule")?;
        let page: Page = serde_json::from_slice(&body).map_err(|error| Trouble::Unreadable(error.to_string()))?;
        if page.more && page.oncalls.is_empty() {
            return Err(Trouble::Unreadable("it says that there is more, and gives nothing".into()));
        }
        found.extend(page.oncalls);
        if !page.more {
            return Ok(found);
        }
        // INVARIANT: half an answer is none.
        if found.len() >= MOST {
            return Err(Trouble::Unreadable(format!("there are more than {MOST} on-calls")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: OK-6
    #[test]
    fn a_schedule_counts_as_the_level_that_the_mapping_says() {
        let said = r#"{"escalation_policy": {"id": "POTHER"}, "schedule": {"id": "PSECOND"}, "escalation_level": 1, "user": {"id": "PUSER1", "email": null}, "end": null}"#;
        let on_call: OnCall = serde_json::from_str(said).unwrap();
        assert!(stands_at(&on_call, By::Schedule, "PSECOND") && !stands_at(&on_call, By::Policy, "PSECOND"));
        assert_eq!(shift(&on_call, Some(2)).unwrap().level, 2, "whatever level it is in a policy of somebody else's");
        assert_eq!(shift(&on_call, None).unwrap().level, 1, "of an escalation policy its own");
    }
}
