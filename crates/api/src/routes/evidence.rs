//! `/evidence/export`: one file that proves what happened, for who verifies it without the gate.

use std::path::PathBuf;

use access::ids::{PrincipalId, SessionId};
use access::reason::Reason;
use axum::Json;
use axum::body::Body as Stream;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use evidence::lines::Form;
use futures::stream;
use jiff::Timestamp;
use tokio::io::AsyncReadExt as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::export::{Along, EXPORT_PREFIX, Selection};

use crate::caller::SignedIn;
use crate::extract::{Body, Id};
use crate::problem::{Answer, Refused};
use crate::state::{ApiState, Long};
use crate::types::evidence::{DestroyedRecording, ErasedPerson, Erasure, ExportFormat, ExportQuery};
use crate::types::schema;
use crate::version::Unversioned;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(export)).routes(routes!(destroy)).routes(routes!(erase_person))
}

/// Exports evidence of a session, a person, a resource or a period as one file.
#[utoipa::path(post, path = "/evidence/export", tag = "evidence", request_body = ExportQuery, responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
async fn export(State(state): State<ApiState>, SignedIn(caller): SignedIn, Body(query): Body<ExportQuery>) -> Answer<Response> {
    // 1. What is wanted?
    let along = Along { input: query.input, wrapped_to: query.recipient.clone() };
    let format = query.format;
    let selection = selected(query, state.gate.now())?;
    // 2. Write it beside the data, where there is room for recordings; one at a time, since each reads what it proves several times.
    let _share = state.long(caller.who.id(), Long::Export)?;
    let file = Leftover(state.gate.settings().data_dir.join(format!("{EXPORT_PREFIX}{:032x}", rand::random::<u128>())));
    let kind = match format {
        ExportFormat::Bundle => {
            state.gate.export(&caller, selection, along, file.0.clone()).await?;
            "application/octet-stream"
        }
        _ if along.input || along.wrapped_to.is_some() => {
            return Err(Refused::invalid("`input` and `recipient` belong to a bundle; lines hold what was done, not what was typed"));
        }
        ExportFormat::Jsonl => {
            state.gate.export_lines(&caller, selection, Form::JsonLines, file.0.clone()).await?;
            "application/x-ndjson"
        }
        ExportFormat::Ocsf => {
            state.gate.export_lines(&caller, selection, Form::Ocsf, file.0.clone()).await?;
            "application/x-ndjson"
        }
        ExportFormat::Csv => {
            state.gate.export_lines(&caller, selection, Form::Csv, file.0.clone()).await?;
            "text/csv; charset=utf-8; header=present"
        }
    };
    // 3. Send it; it is gone afterwards.
    let opened = tokio::fs::File::open(&file.0).await.map_err(|error| {
        tracing::error!(%error, "an export that was written cannot be read");
        Refused::from(access::reason::Reason::Internal)
    })?;
    drop(file);
    let pieces = stream::try_unfold(opened, |mut opened| async move {
        let mut piece = BytesMut::with_capacity(64 * 1024);
        let read = opened.read_buf(&mut piece).await?;
        Ok::<_, std::io::Error>((read > 0).then(|| (piece.freeze(), opened)))
    });
    let mut response = Stream::from_stream(pieces).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

/// Destroys the keys of a session's recording: nobody reads it any more, and that it was still verifies.
#[utoipa::path(post, path = "/sessions/{id}/recording/destroy", tag = "evidence", params(("id" = schema::SessionId, Path)), request_body = Erasure, responses((status = 200, body = DestroyedRecording)))]
async fn destroy(
    State(state): State<ApiState>,
    SignedIn(caller): SignedIn,
    Id(id): Id<SessionId>,
    _: Unversioned,
    Body(body): Body<Erasure>,
) -> Answer<Json<DestroyedRecording>> {
    let recording = state.gate.destroy_recording(&caller, id, &body.reason).await?;
    Ok(Json(DestroyedRecording { recording }))
}

/// Erases what is kept of somebody who may not sign in any more: the texts of and about them, and their recordings. That it was still verifies.
#[utoipa::path(post, path = "/users/{id}/erase", tag = "evidence", params(("id" = schema::PrincipalId, Path)), request_body = Erasure, responses((status = 200, body = ErasedPerson)))]
async fn erase_person(
    State(state): State<ApiState>,
    SignedIn(caller): SignedIn,
    Id(id): Id<PrincipalId>,
    _: Unversioned,
    Body(body): Body<Erasure>,
) -> Answer<Json<ErasedPerson>> {
    // It goes on to its end though who asked hangs up: it may take long, and half of it helps nobody.
    let act = async move { state.gate.erase_person(&caller, id, &body.reason).await };
    let erased = tokio::spawn(Box::pin(act)).await.map_err(|_| Refused::from(Reason::Internal))??;
    Ok(Json(ErasedPerson { texts: erased.texts, recordings: erased.recordings, held: erased.held }))
}

/// A file whose name goes when this does; who has it open reads on.
struct Leftover(PathBuf);

impl Drop for Leftover {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

/// What is meant; a period without its end lasts until `now`.
fn selected(query: ExportQuery, now: Timestamp) -> Answer<Selection> {
    let ExportQuery { session, person, resource, since, until, input: _, recipient: _, format: _ } = query;
    match (session, person, resource, since, until) {
        (Some(session), None, None, None, None) => Ok(Selection::Session(session)),
        (None, Some(person), None, None, None) => Ok(Selection::Person(person)),
        (None, None, Some(resource), None, None) => Ok(Selection::Resource(resource)),
        (None, None, None, Some(from), until) if until.unwrap_or(now) > from => Ok(Selection::Period { from, until: until.unwrap_or(now) }),
        _ => Err(Refused::invalid("name exactly one of `session`, `person`, `resource`, or a period by `since` and a later `until`")),
    }
}
