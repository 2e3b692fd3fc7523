//! Who calls: the one way from a request to a [`Caller`].
//!
//! What somebody can present is a variant of [`Presented`]; each is looked for in the request and proved by the gate. Failed
//! proofs are counted by address, so that guessing is slow. A browser adds its cookie to whatever any page makes it send, so a
//! cookie counts only in what the gate's own page sends ([`crate::own_page`]).

use std::net::{IpAddr, SocketAddr};

use access::identity::{Scope, VerifiedIdentity};
use access::reason::{Reason, Refusal};
use access::request::Door;
use access::secret::Secret;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header;
use axum::http::request::Parts;
use workflow::{Caller, Gate};

use crate::frame::AsOf;
use crate::problem::Refused;
use crate::state::ApiState;
use crate::{cookie, own_page};

/// What somebody presents to say who they are.
enum Presented {
    /// `Authorization: Bearer …` (RFC 6750 §2.1).
    Bearer(Secret<String>),
    /// The cookie of a browser that was signed in, in a call of the gate's own page. `used`: somebody is there.
    Cookie { cookie: Secret<String>, used: bool },
}

impl Presented {
    /// A token says more plainly than a cookie who is meant, so it goes first.
    fn in_request(parts: &Parts, state: &ApiState) -> Result<Option<Self>, Refusal> {
        if let Some(bearer) = Self::bearer(parts)? {
            return Ok(Some(bearer));
        }
        let Some(cookie) = cookie::in_headers(&parts.headers)? else { return Ok(None) };
        own_page::refuse_others(parts, &state.facts.api)?;
        Ok(Some(Self::Cookie { cookie, used: !parts.headers.contains_key(cookie::BACKGROUND) }))
    }

    fn bearer(parts: &Parts) -> Result<Option<Self>, Refusal> {
        let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(Refusal::because(Reason::Invalid, "there are two `Authorization` headers"));
        }
        let token = value.to_str().ok().and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' ').to_owned())
        });
        match token {
            Some(token) => Ok(Some(Self::Bearer(Secret::new(token)))),
            None => Err(Refusal::because(Reason::NotSignedIn, "`Authorization` has to be `Bearer` and a token")),
        }
    }

    /// Whether the gate ever gave this to somebody; what it is worth now is for [`Self::proved`] to say.
    async fn was_given_out(&self, gate: &Gate) -> bool {
        match self {
            Self::Bearer(token) => gate.knows_token(token.expose()).await,
            Self::Cookie { cookie, .. } => gate.known_web_session(cookie.expose()).await.is_some(),
        }
    }

    async fn proved(&self, gate: &Gate, from: IpAddr) -> Result<VerifiedIdentity, Refusal> {
        match self {
            Self::Bearer(token) => gate.identify_token(token.expose(), from).await,
            Self::Cookie { cookie, used } => gate.identify_web_session(cookie.expose(), from, *used).await,
        }
    }
}

/// The address of whoever is connected.
pub(crate) struct Peer(pub(crate) IpAddr);

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Refused;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        match parts.extensions.get::<ConnectInfo<SocketAddr>>() {
            Some(ConnectInfo(address)) => Ok(Self(address.ip().to_canonical())),
            None => Err(Refusal::because(Reason::Internal, "the listener did not say who is connected").into()),
        }
    }
}

/// Somebody who proved who they are, whatever they may. The verb that is called asks for scope and right, and enters a no. A directory is
/// nobody here: its token is good at `/scim/v2` alone.
pub(crate) struct SignedIn(pub(crate) Caller);

impl FromRequestParts<ApiState> for SignedIn {
    type Rejection = Refused;
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refused> {
        let caller = whoever(parts, state).await?;
        if caller.who.may(Scope::Directory) {
            return Err(Refusal::because(Reason::ScopeMissing, "a directory's token is good at `/scim/v2` and nowhere else").into());
        }
        Ok(Self(caller))
    }
}

/// Whoever proved who they are: a person, a machine, or a directory.
pub(crate) async fn whoever(parts: &mut Parts, state: &ApiState) -> Result<Caller, Refused> {
    // 1. Once per request is enough.
    if let Some(caller) = parts.extensions.get::<Caller>() {
        return Ok(caller.clone());
    }
    // 2. From where, and what do they present?
    let Peer(from) = Peer::from_request_parts(parts, state).await?;
    let now = state.gate.now();
    let presented = Presented::in_request(parts, state)?.ok_or(Reason::NotSignedIn)?;
    // 3. Is it good? Who guesses waits; who was given it does not wait for others behind the same address.
    if let Err(refusal) = state.may_try(from, now)
        && !presented.was_given_out(&state.gate).await
    {
        return Err(refusal.into());
    }
    match presented.proved(&state.gate, from).await {
        Ok(who) => {
            let caller = Caller { who, door: Door::Api };
            parts.extensions.insert(caller.clone());
            if let Some(as_of) = parts.extensions.get::<AsOf>() {
                as_of.note(state);
            }
            Ok(caller)
        }
        Err(refusal) => {
            // A cookie that has run out is no guess: pages go on asking with it until somebody looks at them.
            if refusal.reason == Reason::NotSignedIn && matches!(presented, Presented::Bearer(_)) {
                state.failed(from, now);
            }
            Err(refusal.into())
        }
    }
}

macro_rules! scoped {
    ($($(#[$doc:meta])* $name:ident = $scope:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name(pub(crate) Caller);

        impl FromRequestParts<ApiState> for $name {
            type Rejection = Refused;
            async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refused> {
                let SignedIn(caller) = SignedIn::from_request_parts(parts, state).await?;
                require(&caller, Scope::$scope)?;
                Ok(Self(caller))
            }
        }
    )*};
}

scoped! {
    /// Somebody whose sign-in may be used to look at things.
    Reads = Read;
    /// Somebody whose sign-in may be used to ask for access.
    Asks = Ask;
    /// Somebody whose sign-in may be used to administer: their own keys and tokens outlive it, so they take this too.
    Administers = Administer;
}

/// Whether what somebody signed in with may be used for this.
pub(crate) fn require(caller: &Caller, scope: Scope) -> Result<(), Refused> {
    if caller.who.may(scope) {
        return Ok(());
    }
    Err(Refusal::because(Reason::ScopeMissing, format!("the token lacks the scope `{scope}`")).into())
}
