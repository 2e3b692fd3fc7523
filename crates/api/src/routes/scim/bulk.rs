//! `/Bulk`: many changes in one request, one after the other, each whole or not at all.

use axum::extract::State;
use axum::response::Response;
use identity::scim::ScimError;
use identity::scim::bulk::{Bulk, Method, One, Outcome, answer};
use identity::scim::user::etag;
use workflow::Caller;
use workflow::directory::SeenVersion;

use super::answers::{ByDirectory, Said, ScimBody, answered, version_in};
use super::base;
use super::kinds::{How, Kept, Kind};
use crate::state::ApiState;

pub(super) async fn all(
    State(state): State<ApiState>,
    ByDirectory(caller): ByDirectory,
    ScimBody(body): ScimBody,
) -> Result<Response, Said> {
    let mut bulk = Bulk::read(&body)?;
    let (mut outcomes, mut failed) = (Vec::new(), 0u64);
    while let Some((one, ready)) = bulk.next_one() {
        let done = match ready {
            Ok(()) => Box::pin(one_of(&state, &caller, &one)).await,
            Err(error) => Err(error),
        };
        let base = base(&state);
        let outcome = match done {
            Ok((status, kept, location)) => {
                if let (Method::Post, Some(kept)) = (one.method, &kept) {
                    bulk.made(one.bulk_id.clone(), &kept.id());
                }
                let version = kept.as_ref().map(|kept| etag(kept.version()));
                let location = kept.map(|kept| kept.location(&base)).or(location);
                Outcome { location, version, said: Ok(status) }
            }
            Err(error) => {
                failed += 1;
                let location = (one.method != Method::Post).then(|| format!("{base}{}", one.path));
                Outcome { location, version: None, said: Err(error) }
            }
        };
        outcomes.push(outcome.shown(one.method, one.bulk_id.as_deref()));
        if bulk.fail_on_errors.is_some_and(|most| failed >= most) {
            break;
        }
    }
    Ok(answered(200, answer(outcomes)))
}

type Done = (u16, Option<Kept>, Option<String>);

async fn one_of(state: &ApiState, caller: &Caller, one: &One) -> Result<Done, ScimError> {
    let no = || ScimError::path(format!("`{}` is no path of an operation; there are /Users, /Users/ID, /Groups and /Groups/ID", one.path));
    let (kind, id) = [Kind::User, Kind::Group]
        .into_iter()
        .find_map(|kind| {
            let rest = one.path.strip_prefix(kind.schema().endpoint)?;
            if rest.is_empty() { Some((kind, None)) } else { rest.strip_prefix('/').map(|id| (kind, Some(id))) }
        })
        .ok_or_else(no)?;
    let seen = one.version.as_deref().map_or(SeenVersion::default(), version_in);
    match (one.method, id) {
        (Method::Post, None) => Ok((201, Some(kind.create(state, caller, &one.data).await?), None)),
        (Method::Put, Some(id)) => Ok((200, Some(kind.write(state, caller, (id, seen), How::Whole, &one.data).await?), None)),
        (Method::Patch, Some(id)) => Ok((200, Some(kind.write(state, caller, (id, seen), How::Steps, &one.data).await?), None)),
        (Method::Delete, Some(id)) => {
            kind.take_out(state, caller, id, seen).await?;
            Ok((204, None, Some(format!("{}{}", base(state), one.path))))
        }
        _ => Err(no()),
    }
}
