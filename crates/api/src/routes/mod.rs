//! Every route, in URL order, and the OpenAPI document that follows from them.

use axum::Router;
use axum::middleware::from_fn_with_state;
use utoipa::openapi::RefOr;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref, Required, ResponseBuilder};
use utoipa::{PartialSchema as _, ToSchema as _};
use utoipa_axum::router::OpenApiRouter;

use crate::state::ApiState;
use crate::types::audit::AuditEntry;
use crate::types::events::Lagged;
use crate::types::problem::Problem;
use crate::{frame, idempotency, portal, problem};

mod audit;
mod chat;
mod compliance;
mod consoles;
mod containments;
mod device;
mod directories;
mod events;
mod evidence;
mod gate;
mod grants;
mod holds;
mod inventory;
mod keys;
mod locks;
mod mail;
mod measures;
mod metrics;
mod oauth;
mod on_call;
mod outbox;
mod passkeys;
mod pins;
mod policy;
mod providers;
mod recordings;
mod requests;
mod resources;
mod reviews;
mod rollout;
mod saved_searches;
mod scim;
mod secrets;
mod sessions;
mod signals;
mod step_ups;
mod streams;
mod tokens;
mod users;
mod web_sessions;

/// Where directories speak.
pub(crate) const SCIM: &str = scim::AT;

fn all() -> OpenApiRouter<ApiState> {
    let v1 = OpenApiRouter::new()
        .merge(audit::routes())
        .merge(chat::routes())
        .merge(compliance::routes())
        .merge(consoles::routes())
        .merge(containments::routes())
        .merge(device::routes())
        .merge(directories::routes())
        .merge(events::routes())
        .merge(evidence::routes())
        .merge(gate::routes())
        .merge(grants::routes())
        .merge(holds::routes())
        .merge(inventory::routes())
        .merge(keys::routes())
        .merge(locks::routes())
        .merge(mail::routes())
        .merge(measures::routes())
        .merge(metrics::routes())
        .merge(on_call::routes())
        .merge(outbox::routes())
        .merge(oauth::routes())
        .merge(passkeys::routes())
        .merge(pins::routes())
        .merge(policy::routes())
        .merge(providers::routes())
        .merge(requests::routes())
        .merge(resources::routes())
        .merge(reviews::routes())
        .merge(rollout::routes())
        .merge(saved_searches::routes())
        .merge(secrets::routes())
        .merge(sessions::routes())
        .merge(recordings::routes())
        .merge(signals::routes())
        .merge(step_ups::routes())
        .merge(streams::routes())
        .merge(tokens::routes())
        .merge(users::routes())
        .merge(web_sessions::routes());
    OpenApiRouter::with_openapi(about()).nest("/api/v1", v1).merge(gate::beside())
}

/// The API as a router. Each connection has to carry a `ConnectInfo<SocketAddr>`, as [`crate::serve`] gives it.
pub fn router(state: ApiState) -> Router {
    let (routes, _) = all().split_for_parts();
    routes
        .nest(scim::AT, scim::router(state.clone()))
        .fallback(portal::serve)
        .method_not_allowed_fallback(problem::no_method)
        .layer(from_fn_with_state(state.clone(), idempotency::once))
        .layer(from_fn_with_state(state.clone(), frame::framed))
        .with_state(state)
}

/// The OpenAPI 3.1 document of the API.
#[must_use]
pub fn openapi() -> OpenApi {
    let (_, mut document) = all().split_for_parts();
    let components = document.components.get_or_insert_default();
    for (name, schema) in
        [(Problem::name(), Problem::schema()), (AuditEntry::name(), AuditEntry::schema()), (Lagged::name(), Lagged::schema())]
    {
        components.schemas.insert(name.into_owned(), schema);
    }
    let mut nested = Vec::new();
    Problem::schemas(&mut nested);
    AuditEntry::schemas(&mut nested);
    components.schemas.extend(nested);
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("tg_…").build();
    components.security_schemes.insert("bearer".to_owned(), SecurityScheme::Http(bearer).into());
    let cookie =
        ApiKeyValue::with_description("__Host-tide", "of a browser that is signed in; counts only in calls of the gate's own page");
    components.security_schemes.insert("cookie".to_owned(), SecurityScheme::ApiKey(ApiKey::Cookie(cookie)).into());
    for (path, item) in &mut document.paths.paths {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in operations.into_iter().flatten() {
            finish(path, operation);
        }
        if let Some(post) = &mut item.post {
            post.parameters.get_or_insert_default().push(RefOr::T(idempotency_key()));
        }
    }
    document
}

fn about() -> OpenApi {
    let about = "Ask for access, decide on it, and see what was done with it. Refusals are RFC 9457 problems with a `code` and a `hint`. \
                 Lists answer `items` and `next_cursor`. A POST with an `Idempotency-Key` is done once.";
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Tidegate")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(about))
                .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
                .build(),
        )
        .security(Some(["bearer", "cookie"].map(|scheme| SecurityRequirement::new(scheme, Vec::<String>::new()))))
        .build()
}

fn idempotency_key() -> Parameter {
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("1 to 200 printable characters; the same call under the same key is done once"))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).build()))
        .build()
}

/// What every operation has: a name of its own, and problems.
fn finish(path: &str, operation: &mut Operation) {
    let noun = operation.tags.as_ref().and_then(|tags| tags.first()).cloned().unwrap_or_else(|| path.to_owned());
    let verb = operation.operation_id.take().unwrap_or_default();
    operation.operation_id = Some(format!("{noun}_{verb}"));
    let problem = ResponseBuilder::new()
        .description("A refusal")
        .content("application/problem+json", Content::new(Some(Ref::from_schema_name(Problem::name()))))
        .build();
    operation.responses.responses.entry("default".to_owned()).or_insert(RefOr::T(problem));
}
