//! Sign-in at identity providers, and what they say of people's groups.
//!
//! *Takes* a browser that came back from a provider. *Proves*, by what the provider signed for this gate and this sign-in, who sits
//! there. *Hands to* every other verb the caller, and to policy the groups, for as long as they count.

use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use access::event::{Actor, EntryDraft, Event};
use access::identity::{IdentityRow, KeyKind, KeyState, PersonRow, PersonState, Via};
use access::ids::{KeyId, PrincipalId, UserId, WebSessionId};
use access::names::{GroupName, Username};
use access::reason::{Reason, Refusal};
use access::request::Door;
use access::secret::Secret;
use access::session::EndReason;
use access::time::Span;
use identity::account::Account;
use identity::oidc::account::{IdentityFacts, key, verify_claims};
use identity::oidc::{
    Claims, ClientSecret, GroupsFrom, Keys, Metadata, OidcError, Provider, ProviderClient, SignIns, id_token, logout, printable,
};
use identity::opaque::Verifier;
use identity::web_session::LONGEST;
use jiff::Timestamp;
use policy::{Act, Noun, Object};
use store::{Change, CommitError, TokenRow, WebSessionRow};

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::web_session::OpenedWebSession;

mod unlink;

/// For so long what a provider publishes of itself is taken as it was.
const FRESH: Span = Span::minutes(10);
/// A token whose key is not known makes the gate look for new keys, at most this often.
const LOOK_AGAIN: Span = Span::seconds(10);
/// How often ending what a provider signed out is tried, if something changes meanwhile.
const TRIES: usize = 3;

/// The identity providers of a gate, and the sign-ins that are under way there.
#[derive(Debug, Default)]
pub(crate) struct Providers {
    all: OnceLock<Vec<Known>>,
    under_way: Mutex<SignIns>,
    /// Up to when groups that stopped counting were looked for, in microseconds.
    looked: AtomicI64,
}

#[derive(Debug)]
struct Known {
    provider: Provider,
    client: ProviderClient,
    published: Mutex<Option<Arc<Published>>>,
}

/// What a provider publishes of itself.
#[derive(Debug)]
struct Published {
    metadata: Metadata,
    keys: Keys,
    at: Timestamp,
}

/// What sign-ins at a provider left behind besides browsers.
struct LeftBehind {
    certificates: Vec<KeyId>,
    /// Tokens of devices, as they stand once they are revoked.
    tokens: Vec<TokenRow>,
}

/// A browser that came back from a provider, as its query says.
#[derive(Debug, Clone, Default)]
pub struct CameBack {
    /// Which sign-in it is.
    pub state: String,
    /// The code, if the provider agrees.
    pub code: Option<String>,
    /// Why it does not.
    pub error: Option<String>,
    /// The issuer, if it says (RFC 9207).
    pub iss: Option<String>,
}

impl Known {
    async fn published(&self, now: Timestamp, older: Option<&Arc<Published>>) -> Result<Arc<Published>, OidcError> {
        let kept = self.published.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(kept) = kept {
            let enough = match older {
                // Its keys did not do: another call may have found newer ones, or it was looked a moment ago.
                Some(older) => !Arc::ptr_eq(&kept, older) || now < LOOK_AGAIN.after(kept.at),
                None => now < FRESH.after(kept.at),
            };
            if enough {
                return Ok(kept);
            }
        }
        let metadata = self.client.metadata(&self.provider.issuer).await?;
        let keys = self.client.keys(&metadata).await?;
        let published = Arc::new(Published { metadata, keys, at: now });
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&published));
        Ok(published)
    }

    /// What a signed statement says; with a fresh look at the provider's keys if it was signed by one that is not known.
    async fn verified<T>(&self, now: Timestamp, verify: impl Fn(&Keys) -> Result<T, OidcError>) -> Result<T, OidcError> {
        let published = self.published(now, None).await?;
        match verify(&published.keys) {
            Err(OidcError::UnknownKey) => verify(&self.published(now, Some(&published)).await?.keys),
            other => other,
        }
    }
}

impl Gate {
    /// Says at which providers people sign in. Once; a second time changes nothing.
    pub fn serve_providers(&self, providers: Vec<(Provider, ProviderClient)>) {
        let known = |(provider, client)| Known { provider, client, published: Mutex::default() };
        let _before = self.providers.all.set(providers.into_iter().map(known).collect());
    }

    /// The providers, in the order they are configured.
    pub fn providers(&self) -> impl Iterator<Item = &Provider> {
        self.providers.all.get().into_iter().flatten().map(|known| &known.provider)
    }

    fn provider(&self, name: &str) -> Result<&Known, Refusal> {
        let mut all = self.providers.all.get().into_iter().flatten();
        all.find(|known| known.provider.name == name)
            .ok_or_else(|| Refusal::because(Reason::NotFound, "there is no identity provider by this name"))
    }

    /// Begins a sign-in in a browser at an address: where to send it. `redirect` is where it comes back, as registered at the provider;
    /// `then` where in the portal it goes, and who is signed in there now, which ends with the new sign-in.
    ///
    /// # Errors
    /// If there is no such provider, or it does not answer.
    pub async fn begin_sign_in(
        &self,
        provider: &str,
        redirect: &str,
        browser: (IpAddr, &Verifier),
        then: (&str, Option<WebSessionId>),
    ) -> Result<String, Refusal> {
        let known = self.provider(provider)?;
        let now = self.now();
        let published = known.published(now, None).await?;
        let mut under_way = self.providers.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.begin(&known.provider, &published.metadata, redirect, browser, then, now)
    }

    /// Whether a sign-in that was begun in this browser waits to come back like this.
    #[must_use]
    pub fn waits_for(&self, back: &CameBack, browser: &Verifier) -> bool {
        self.providers.under_way.lock().unwrap_or_else(PoisonError::into_inner).waits(&back.state, browser)
    }

    /// Ends a sign-in: who came back is signed in, in this browser. Gives the path of the portal they were going to, too.
    ///
    /// # Errors
    /// If this browser began no such sign-in, the provider does not prove who it is, or they are not known here and not made known.
    pub async fn finish_sign_in(
        &self,
        provider: &str,
        back: CameBack,
        redirect: &str,
        browser: Option<&Verifier>,
        from: IpAddr,
        agent: Option<String>,
    ) -> Result<(OpenedWebSession, String), Refusal> {
        let known = self.provider(provider)?;
        let came = async {
            // 1. Is it one of ours, in the browser where it began? It is over with this, whatever comes of it.
            let now = self.now();
            let begun = {
                let mut under_way = self.providers.under_way.lock().unwrap_or_else(PoisonError::into_inner);
                under_way.returned(provider, &back.state, browser, now)?
            };
            // 2. Does the provider that was asked agree?
            let published = known.published(now, None).await?;
            published.metadata.refuse_other_issuer(back.iss.as_deref())?;
            let code = match (back.code, back.error) {
                (Some(code), None) => code,
                (_, Some(error)) => {
                    let why = format!("`{}` does not sign you in: {}", known.provider.title, printable(&error));
                    return Err(Refusal::because(Reason::NotSignedIn, why));
                }
                (None, None) => return Err(Refusal::because(Reason::Invalid, "the identity provider sent neither a code nor a reason")),
            };
            // 3. Whom does it speak of?
            let secret = self.client_secret(&known.provider).await?;
            let given = known.client.redeem(&known.provider, &published.metadata, secret.as_ref(), &code, &begun.pkce, redirect).await?;
            let now = self.now();
            let claims = known.verified(now, |keys| id_token::verify(&known.provider, keys, &given.id_token, &begun.nonce, now)).await?;
            // 4. With which groups?
            let claims = match known.provider.groups_from {
                GroupsFrom::IdToken => claims,
                GroupsFrom::UserInfo => {
                    let said = known.client.user_info(&published.metadata, given.access_token.as_ref(), &claims.subject).await?;
                    claims.with_groups_of(&known.provider, &said)
                }
            };
            Ok((claims, begun.then, begun.former))
        };
        match came.await {
            Ok((claims, then, former)) => {
                let opened = self.sign_in_by_claims(&known.provider, &claims, from, agent).await?;
                self.end_former_web_session(former).await?;
                Ok((opened, then))
            }
            Err(refusal) => {
                self.enter_signin_refused(&refusal, from).await;
                Err(refusal)
            }
        }
    }

    async fn client_secret(&self, provider: &Provider) -> Result<Option<Secret<String>>, Refusal> {
        let no = |why: String| {
            tracing::error!(provider = provider.name, why, "the client secret for an identity provider cannot be had");
            Refusal::because(Reason::NotSignedIn, "the gate has no secret to prove itself to the identity provider; tell its administrator")
        };
        match &provider.client_secret {
            ClientSecret::Public => Ok(None),
            ClientSecret::Sealed(name) => self.unsealed(name).await.map(Some).map_err(|refusal| match refusal.reason {
                Reason::StoreUnavailable => refusal,
                _ => no(refusal.detail.unwrap_or_default()),
            }),
            ClientSecret::File(path) => {
                let text = tokio::fs::read_to_string(path).await.map(Secret::new).map_err(|error| no(error.to_string()))?;
                Ok(Some(Secret::new(text.expose().trim().to_owned())))
            }
        }
    }

    /// Signs in whoever a provider spoke of.
    async fn sign_in_by_claims(
        &self,
        provider: &Provider,
        claims: &Claims,
        from: IpAddr,
        agent: Option<String>,
    ) -> Result<OpenedWebSession, Refusal> {
        let found = async {
            let linked = self.store.identity(&claims.key()).await.map_err(unavailable)?;
            let (person, first) = match &linked {
                Some(row) => {
                    let person = self.store.person(row.person).await.map_err(unavailable)?;
                    (person.ok_or_else(|| Refusal::of(Reason::NotSignedIn))?, None)
                }
                None => self.provisioned(provider, claims).await?,
            };
            // INVARIANT: who comes from a locked network gets nothing there that is good elsewhere.
            self.refuse_if_network_locked(Some(from)).await?;
            self.refuse_if_person_locked(person.id).await?;
            let facts = IdentityFacts { key: &claims.key(), person: person.id };
            let who = verify_claims(claims, &facts, Account::human(&person), from, self.now())?;
            Ok((who, linked, first))
        };
        let (who, linked, first) = match found.await {
            Ok(found) => found,
            Err(refusal) => {
                self.enter_signin_refused(&refusal, from).await;
                return Err(refusal);
            }
        };
        let groups = provider.local_groups(&claims.groups);
        let news = linked.as_ref().is_some_and(|row| row.groups.0 != groups);
        let (mut row, cookie) = self.new_web_session(&who, None, LONGEST.after(self.now()), agent)?;
        row.identity = Some(claims.key());
        row.sid.clone_from(&claims.sid);
        let (now, ends_at) = (self.now(), row.ends_at);
        let caller = Caller { who, door: Door::Api };
        let proved = Event::IdentityProved { identity: claims.key(), person: caller.who.id(), groups };
        let proved = self.draft(&caller, proved).text("from", Some(from.to_string()));
        let change = match first {
            Some(first) => first.and(proved),
            None => Change::new(proved),
        };
        let change = match &claims.sid {
            Some(sid) => change.put_provider_session(sid, &claims.key(), now, ends_at),
            None => change,
        };
        self.commit(change.put_web_session(&row)).await.map_err(refused)?;
        if news {
            // INVARIANT: a group that the provider took away keeps no grant open past the next sign-in.
            self.redecide_all().await;
        }
        Ok(OpenedWebSession { who: caller.who, row, cookie })
    }

    /// Somebody whom nobody knows yet: who they will be, and the change that makes them known; nothing is before that is committed.
    async fn provisioned(&self, provider: &Provider, claims: &Claims) -> Result<(PersonRow, Option<Change>), Refusal> {
        if !provider.provision {
            return Err(Refusal::because(
                Reason::NotSignedIn,
                "nobody here is known by this account; an administrator links it to a person, or lets this provider make people known",
            ));
        }
        let username: Username = claims.preferred_username.as_deref().unwrap_or_default().parse().map_err(|_| {
            Refusal::because(
                Reason::NotSignedIn,
                "the identity provider gives no `preferred_username` that can be a name here: 1 to 63 of a-z, 0-9, `.` and `-`",
            )
        })?;
        if self.store.person_named(&username).await.map_err(unavailable)?.is_some() {
            return Err(Refusal::because(
                Reason::NotSignedIn,
                format!("`{username}` is or was somebody here already; an administrator links this account, if it is theirs"),
            ));
        }
        // INVARIANT: a name that people choose at a provider gives them nothing that policy keeps for it.
        if self.bundle().names_person(&username) {
            return Err(Refusal::because(
                Reason::NotSignedIn,
                format!("policy knows somebody called `{username}`; an administrator invites them, or links this account, if it is theirs"),
            ));
        }
        let now = self.now();
        let id = PrincipalId::User(UserId::generate(now));
        let created = Event::PersonCreated { person: id, username: username.clone(), owner: None, groups: Vec::new() };
        let linked = Event::IdentityLinked { identity: claims.key(), person: id, issuer: claims.issuer.clone() };
        let by = |event| EntryDraft::new(now, Actor::Gate, Door::Api, event);
        let change = Change::new(by(created).text("display_name", claims.name.clone()))
            .and(by(linked).text("subject", Some(claims.subject.clone())));
        let person = PersonRow {
            id,
            username,
            display_name: claims.name.clone(),
            owner: None,
            groups: access::identity::Groups::default(),
            state: PersonState::Active,
            created_at: now,
            version: 1,
        };
        Ok((person, Some(change)))
    }

    /// An administrator says who somebody at a provider is here. Takes it from whoever it was before.
    ///
    /// # Errors
    /// If the caller may not, there is no such provider, or it is a machine.
    pub async fn link_identity(&self, caller: &Caller, person: PrincipalId, provider: &str, subject: &str) -> Result<IdentityRow, Refusal> {
        self.authorize(caller, Act::Administer(Noun::Person), &Object::Nothing).await?;
        if person == caller.who.id() {
            return Err(Refusal::because(Reason::NotAllowed, "another administrator links yours"));
        }
        let issuer = self.provider(provider)?.provider.issuer.clone();
        let known = self.store.person(person).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotFound))?;
        if matches!(known.id, PrincipalId::Workload(_)) || subject.is_empty() || subject.len() > 255 {
            return Err(Refusal::because(Reason::Invalid, "a person is linked to a subject of 1 to 255 characters"));
        }
        let identity = key(&issuer, subject);
        let before = self.store.known_identity(&identity).await.map_err(unavailable)?;
        // INVARIANT: by an account that is known to be their own nobody makes themselves somebody else. One that they hold without its
        // being known can't be told from anybody's: who links an account has no vote with its person (`signed_in_by`).
        if before.as_ref().is_some_and(|before| before.person == caller.who.id()) {
            let refusal = Refusal::because(Reason::NotAllowed, "this account signs you in yourself; another administrator gives it away");
            return Err(self.enter_action_refused(caller, "link_identity", person.to_string(), refusal).await);
        }
        let event = Event::IdentityLinked { identity: identity.clone(), person, issuer };
        let mut change = Change::new(self.draft(caller, event).text("subject", Some(subject)));
        let mut ended = None;
        if let Some(before) = &before {
            let left = self.left_by_sign_ins(before, None).await?;
            change = change
                .expect(before)
                .and(self.own_draft(Event::IdentitySignedOut { identity: before.id.clone(), person: before.person }))
                .end_web_sessions_from(&before.id, None);
            change = self.without(change, &left)?;
            ended = Some(left);
        }
        let committed = self.commit(change).await.map_err(refused)?;
        if let Some(ended) = ended {
            self.cut_opened_with(&ended);
            self.redecide_all().await;
        }
        committed.rows.identities.into_values().next().ok_or_else(|| Refusal::of(Reason::Internal))
    }

    /// The groups that providers' last words about somebody give them now: of providers still configured, by sign-ins not too old.
    pub(crate) async fn groups_from_providers(&self, person: PrincipalId) -> Result<Vec<GroupName>, Refusal> {
        if self.providers.all.get().is_none_or(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let rows = self.store.identities_of(person).await.map_err(unavailable)?;
        Ok(self.groups_meant(&rows, self.now()))
    }

    /// The groups that these identities gave at a time, by the providers as they are configured now.
    pub(crate) fn groups_meant<'a>(&self, rows: impl IntoIterator<Item = &'a IdentityRow>, then: Timestamp) -> Vec<GroupName> {
        let mut groups = Vec::new();
        for row in rows {
            let Some(provider) = self.providers().find(|provider| provider.issuer == row.issuer) else { continue };
            if row.proved_at.is_some_and(|at| then < provider.groups_last.after(at)) {
                groups.extend(row.groups.0.iter().filter(|group| provider.gives(group)).cloned());
            }
        }
        groups
    }

    /// The groups that the store knows of somebody: its own, and those from the directory that brought them; of whom none brought, those from
    /// providers.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn stored_groups(&self, person: &PersonRow) -> Result<Vec<GroupName>, Refusal> {
        let mut groups = person.groups.0.clone();
        let others = match self.groups_from_directory(person.id).await? {
            Some(groups) => groups,
            None => self.groups_from_providers(person.id).await?,
        };
        for group in others {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        Ok(groups)
    }

    /// Whether groups stopped counting since this was asked last: then what is open has to be decided anew.
    pub(crate) async fn groups_ran_out(&self, now: Timestamp) -> bool {
        let looked = self.providers.looked.load(Ordering::Relaxed);
        let before = Timestamp::from_microsecond(looked).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut ran_out = false;
        for provider in self.providers() {
            let ago = |time: Timestamp| time.checked_sub(provider.groups_last.as_std()).unwrap_or(Timestamp::MIN);
            match self.store.proved_between(&provider.issuer, ago(before), ago(now)).await {
                Ok(found) => ran_out |= found,
                // Then the next look covers this time too.
                Err(_) => return ran_out,
            }
        }
        self.providers.looked.store(now.as_microsecond(), Ordering::Relaxed);
        ran_out
    }

    /// A provider signs somebody out (OpenID Connect Back-Channel Logout 1.0): what its sign-in opened here ends.
    ///
    /// # Errors
    /// If the provider did not say so to this gate just now.
    pub async fn signed_out_by_provider(&self, provider: &str, token: &str, from: IpAddr) -> Result<(), Refusal> {
        let known = self.provider(provider)?;
        let now = self.now();
        let said = known.verified(now, |keys| logout::verify(&known.provider, keys, token, now)).await;
        let said = match said {
            Ok(said) => said,
            Err(error) => {
                let refusal = Refusal::because(Reason::Invalid, error.to_string());
                self.enter_signin_refused(&refusal, from).await;
                return Err(refusal);
            }
        };
        let mut ended: Vec<IdentityRow> = Vec::new();
        match (&said.subject, &said.sid) {
            (Some(subject), _) => {
                ended.extend(self.store.identity(&key(&known.provider.issuer, subject)).await.map_err(unavailable)?);
            }
            (None, Some(sid)) => {
                // The browser may be signed out or forgotten, and what it let in last.
                for identity in self.store.identities_by_sid(sid).await.map_err(unavailable)? {
                    let row = self.store.identity(&identity).await.map_err(unavailable)?;
                    // Another provider may call a session of its own the same.
                    ended.extend(row.filter(|row| row.issuer == known.provider.issuer && ended.iter().all(|e| e.id != row.id)));
                }
            }
            (None, None) => {}
        }
        for row in ended {
            self.end_sign_ins(&row, said.sid.as_deref()).await?;
        }
        Ok(())
    }

    /// Ends what sign-ins by an identity opened: its browsers, the tokens of devices they let in, and the certificates its person has. All of
    /// it, or the provider is told that it was not done.
    async fn end_sign_ins(&self, row: &IdentityRow, sid: Option<&str>) -> Result<(), Refusal> {
        let browsers = self.browsers_from(row, sid).await?;
        for _ in 0..TRIES {
            let signed_out = self.own_draft(Event::IdentitySignedOut { identity: row.id.clone(), person: row.person });
            let ended = self.left_by_sign_ins(row, sid).await?;
            let change = self.without(Change::new(signed_out).end_web_sessions_from(&row.id, sid), &ended)?;
            match self.commit(change).await {
                Ok(_) => {
                    // Cut at once; a provider waits no longer for a target that is slow to close.
                    let _gone = self.cut_let_in_by(&browsers);
                    self.cut_opened_with(&ended);
                    // No browser of theirs lets anything in from here on; what was let in while this was written is ended too.
                    if self.left_by_sign_ins(row, sid).await?.tokens.is_empty() {
                        return Ok(());
                    }
                }
                Err(CommitError::Unavailable(error)) => return Err(refused(CommitError::Unavailable(error))),
                // A certificate was removed or renewed in between: what there is now is ended.
                Err(_) => {}
            }
        }
        Err(Refusal::of(Reason::StoreUnavailable))
    }

    /// The browsers that an identity signed in: in all its sessions at the provider, or in one.
    async fn browsers_from(&self, row: &IdentityRow, sid: Option<&str>) -> Result<Vec<WebSessionId>, Refusal> {
        let browsers = self.store.web_sessions_of(row.person).await.map_err(unavailable)?;
        let theirs =
            |browser: &WebSessionRow| browser.identity.as_ref() == Some(&row.id) && (sid.is_none() || browser.sid.as_deref() == sid);
        Ok(browsers.into_iter().filter(theirs).map(|browser| browser.id).collect())
    }

    /// Cuts what was opened with what was taken away.
    fn cut_opened_with(&self, ended: &LeftBehind) {
        let with_it = |via: &Via| match via {
            Via::LoginCertificate(key) | Via::ClientCertificate(key) => ended.certificates.contains(key),
            Via::Token(id) => ended.tokens.iter().any(|token| token.id == *id),
            _ => false,
        };
        drop(self.live.cut(EndReason::Revoked, |live| with_it(&live.via)));
    }

    /// What sign-ins by an identity left behind besides browsers: of all its sessions at the provider, or of one. Certificates are not told
    /// apart by it: they are made anew in a moment by who still is signed in.
    async fn left_by_sign_ins(&self, identity: &IdentityRow, sid: Option<&str>) -> Result<LeftBehind, Refusal> {
        let keys = self.store.keys_of(identity.person).await.map_err(unavailable)?;
        let certificates = keys.iter().filter(|key| key.kind != KeyKind::Registered && key.state == KeyState::Active);
        let certificates = certificates.map(|key| key.id).collect();
        let now = self.now();
        let mut tokens = self.store.tokens_of(identity.person).await.map_err(unavailable)?;
        tokens.retain(|token| {
            let theirs = token.identity.as_ref() == Some(&identity.id) && (sid.is_none() || token.sid.as_deref() == sid);
            theirs && token.revoked_at.is_none() && token.expires_at > now
        });
        let revoked = |token| TokenRow { revoked_at: Some(now), ..token };
        Ok(LeftBehind { certificates, tokens: tokens.into_iter().map(revoked).collect() })
    }

    /// A change that takes away what sign-ins left behind, too.
    fn without(&self, mut change: Change, left: &LeftBehind) -> Result<Change, Refusal> {
        change = change.and_all(left.certificates.iter().map(|key| self.own_draft(Event::KeyRemoved { key: *key })));
        for token in &left.tokens {
            let event = Event::TokenRevoked { token: token.id, row_digest: self.row_digest(&store::digestible(token))? };
            change = change.and(self.own_draft(event)).revoke_token(token);
        }
        Ok(change)
    }

    async fn enter_signin_refused(&self, refusal: &Refusal, from: IpAddr) {
        if refusal.reason == Reason::StoreUnavailable {
            return;
        }
        let event = Event::SigninRefused { door: Door::Api, reason: refusal.reason };
        let draft = EntryDraft::new(self.now(), Actor::Unknown, Door::Api, event)
            .text("from", Some(from.to_string()))
            .text("detail", refusal.detail.clone());
        if let Err(error) = self.commit(Change::new(draft)).await {
            tracing::error!(%error, "a refused sign-in could not be entered; it stays refused");
        }
    }
}
