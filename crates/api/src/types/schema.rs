//! How ids, names, codes, times and lengths look in the OpenAPI document. They are described here and never made.

use std::borrow::Cow;

use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description))
}

macro_rules! described {
    ($name:ident, $builder:expr) => {
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                RefOr::T(Schema::Object($builder.build()))
            }
        }
        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }
    };
}

macro_rules! ids {
    ($($name:ident: $what:literal;)*) => {$(
        #[doc = concat!("The id of ", $what, ".")]
        #[derive(Debug)]
        pub enum $name {}
        described!($name, text(concat!("The id of ", $what, ".")).pattern(Some(format!("^{}_[0-9a-hjkmnp-tv-z]{{26}}$", access::ids::$name::PREFIX))));
    )*};
}

macro_rules! names {
    ($($name:ident: $what:literal;)*) => {$(
        #[doc = concat!("The name of ", $what, ".")]
        #[derive(Debug)]
        pub enum $name {}
        described!($name, text(concat!("The name of ", $what, ".")).pattern(Some("^[a-z0-9][a-z0-9.-]{0,62}$")));
    )*};
}

macro_rules! codes {
    ($($name:ident = $of:path: $what:literal;)*) => {$(
        #[doc = $what]
        #[derive(Debug)]
        pub enum $name {}
        described!($name, {
            use $of as Of;
            text($what).enum_values(Some(Of::ALL.iter().map(|code| code.code())))
        });
    )*};
}

ids! {
    UserId: "a human";
    WorkloadId: "a machine";
    RequestId: "a request";
    VoteId: "a vote";
    GrantId: "a grant";
    SessionId: "a session";
    RecordingId: "a recording";
    EntryId: "an audit entry";
    DeliveryId: "a message to the outside";
    BundleId: "a bundle activation";
    TokenId: "a token";
    PasskeyId: "a passkey";
    KeyId: "a key";
    LockId: "a lock";
    HoldId: "a legal hold";
    ReviewId: "a review";
    WebSessionId: "a web session";
    PathId: "a way to a target";
    FindingId: "something on a target";
    SavedSearchId: "a saved search";
}

names! {
    ResourceName: "a resource";
    RoleName: "a role";
    Username: "a person or machine";
    GroupName: "a group";
    PlanName: "an approval plan";
    TierName: "a tier";
    SecretName: "a sealed secret";
}

codes! {
    Reason = access::reason::Reason: "Why something was refused, ended or held.";
    Mfa = access::identity::Mfa: "How strongly somebody proved who they are, weakest first.";
    PersonState = access::identity::PersonState: "Whether somebody may sign in.";
    KeyState = access::identity::KeyState: "Whether a key still signs its owner in.";
    KeyKind = access::identity::KeyKind: "How a key came to be trusted.";
    Scope = access::identity::Scope: "What a token may be used for.";
    Door = access::request::Door: "Through which door somebody came.";
    RequestState = access::request::RequestState: "How far a request has come.";
    Decision = access::approval::Decision: "What somebody says to a request.";
    GrantState = access::grant::GrantState: "Where a grant stands.";
    GrantEnd = access::grant::GrantEnd: "Why a grant ended.";
    Protocol = access::session::Protocol: "What a session speaks.";
    SessionState = access::session::SessionState: "Whether a session lives.";
    EndReason = access::session::EndReason: "What ended a session.";
    LockState = access::lock::LockState: "Whether a lock holds.";
    HoldState = access::hold::HoldState: "Whether something is held.";
    RiskLevel = access::risk::Level: "How unusual something is.";
    RiskSignal = access::risk::Signal: "What can be unusual.";
    RiskFinding = access::risk::Finding: "Whether it is; what cannot be told counts as if it were where a policy asks.";
    Watched = access::threshold::Watched: "What of a session is watched.";
    Consequence = access::threshold::Consequence: "What follows when a session goes over a threshold.";
    OutboxState = access::outbox::OutboxState: "How far a message to the outside has come.";
    ChatService = access::chat::ChatService: "Where people chat, or get mail.";
    Told = access::chat::Told: "What somebody is told at an account of theirs.";
    ReviewKind = access::review::ReviewKind: "Why a review is owed.";
    ReviewState = access::review::ReviewState: "Whether a review was answered.";
    ReviewOutcome = access::review::ReviewOutcome: "What a reviewer found.";
    SourceKind = access::inventory::SourceKind: "What a list of ways is.";
    Reach = access::inventory::Reach: "What a way speaks.";
    Issuance = access::inventory::Issuance: "How the credentials of a way come about.";
    Attribution = access::inventory::Attribution: "Whether what is done over a way is one person's.";
    PathState = access::inventory::PathState: "What became of a way.";
    FindingKind = access::inventory::FindingKind: "What a target holds that the gate did not put there.";
    FindingState = access::inventory::FindingState: "What became of a finding.";
    RecordLevel = access::verdict::RecordLevel: "What of a session's content is kept.";
    Durability = access::verdict::Durability: "When recorded bytes are safe before they are forwarded.";
    HostKeyRule = access::verdict::HostKeyRule: "Which host keys of a target are trusted.";
    TicketRule = access::verdict::TicketRule: "What is asked of a ticket.";
}

/// The id of a human or a machine.
#[derive(Debug)]
pub enum PrincipalId {}
described!(PrincipalId, text("The id of a human or a machine.").pattern(Some("^(usr|wkl)_[0-9a-hjkmnp-tv-z]{26}$")));

/// A point in time.
#[derive(Debug)]
pub enum Time {}
described!(Time, text("A point in time, UTC, RFC 3339.").format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))));

/// A day.
#[derive(Debug)]
pub enum Day {}
described!(Day, text("A day of the calendar, UTC: `2026-03-01`.").format(Some(SchemaFormat::KnownFormat(KnownFormat::Date))));

/// A length of time.
#[derive(Debug)]
pub enum Span {}
described!(Span, text("A length of time: `90s`, `15m`, `8h`, `7d`, or several of these (`1h30m`).").pattern(Some("^([0-9]+[smhd])+$")));

/// A length of time, or without an end.
#[derive(Debug)]
pub enum Asked {}
described!(Asked, text("A length of time (`1h30m`), `standing` for access without an end, or `default` for what the tier gives."));

/// Whose members may fill a stage.
#[derive(Debug)]
pub enum Seat {}
described!(Seat, text("Whose members may decide: a group, or `on-call:SCHEDULE`."));

/// What a lock keeps shut.
#[derive(Debug)]
pub enum LockScope {}
described!(LockScope, text("What is locked: `person:usr_…` (or a machine's id), `role:NAME`, `resource:NAME` or `network:192.0.2.0/24`."));

/// What a legal hold keeps.
#[derive(Debug)]
pub enum HoldScope {}
described!(HoldScope, text("What is kept: `person:usr_…` (or a machine's id), `resource:NAME` or `session:ses_…`."));

/// Who did something.
#[derive(Debug)]
pub enum Actor {}
described!(Actor, text("Who did it: the id of a person or machine, `gate`, or `unknown`."));

/// What the caller has seen of what they change.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
pub struct IfMatch {
    /// The `ETag` that was seen, or the `version` in double quotes. If it is another one by now, nothing changes and the answer
    /// is 412.
    #[param(rename = "If-Match")]
    pub if_match: Option<String>,
}
