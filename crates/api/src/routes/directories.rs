//! `/directories`: what brings people and groups, for who administers people. Directories themselves speak at `/scim/v2`.

use access::names::Username;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::directory::DirectoryStatus;

use crate::caller::{Administers, Reads};
use crate::extract::{Body, Id};
use crate::idempotency::ShownOnce;
use crate::listing::page;
use crate::problem::Answer;
use crate::routes::SCIM;
use crate::shown::{self, Shown};
use crate::state::ApiState;
use crate::types::directories::{Directory, Meaning, NewDirectoryToken};
use crate::types::list::Page;
use crate::types::schema;
use crate::types::tokens::IssuedToken;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(make_token))
}

/// Lists the directories that are configured, and how far each has come: to who administers directories.
#[utoipa::path(get, path = "/directories", tag = "directories", responses((status = 200, body = Page<Directory>)))]
async fn list(State(state): State<ApiState>, Reads(caller): Reads) -> Answer<Json<Page<Directory>>> {
    let all = state.gate.directory_status(&caller).await?;
    let mut show = Shown::new(&state.gate);
    let mut items = Vec::with_capacity(all.len());
    for DirectoryStatus { directory, counts, tokens, owner, owner_is_active } in all {
        let owner = match owner {
            Some(owner) => Some(show.who(owner).await?),
            None => None,
        };
        let subject = directory.subject().map(|subject| subject.attribute().to_owned());
        items.push(Directory {
            name: directory.name,
            url: format!("{}{SCIM}", state.facts.api),
            issuer: directory.signs_in.map(|(issuer, _)| issuer),
            subject,
            groups: directory.groups.into_iter().map(|(theirs, ours)| Meaning { theirs, ours }).collect(),
            people: counts.people,
            active_people: counts.active,
            group_count: counts.groups,
            owner,
            owner_is_active,
            tokens: tokens.into_iter().map(shown::token).collect(),
        });
    }
    Ok(page(items, None))
}

/// Makes a token by which a directory speaks at `/scim/v2`, and which is good for nothing else. Shown once.
#[utoipa::path(post, path = "/directories/{name}/tokens", tag = "directories", params(("name" = schema::Username, Path)), request_body = NewDirectoryToken, responses((status = 201, body = IssuedToken)))]
async fn make_token(
    State(state): State<ApiState>,
    Administers(caller): Administers,
    Id(name): Id<Username>,
    Body(new): Body<NewDirectoryToken>,
) -> Answer<impl IntoResponse> {
    let issued = state.gate.issue_directory_token(&caller, &name, new.duration, new.label).await?;
    Ok((StatusCode::CREATED, Extension(ShownOnce), Json(shown::issued(issued))))
}
