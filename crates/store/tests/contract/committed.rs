//! Tokens, invitations, sealed secrets, host keys, idempotency keys.

use access::event::Event;
use access::identity::{Mfa, Scope};
use access::ids::{PasskeyId, TokenId};
use jiff::Timestamp;
use tidegate_store::{
    Begun, BundleFile, Change, CommitError, HostKeyRow, InvitationRow, PasskeyRow, Scopes, SecretRow, TokenRow, Unique, digestible,
};

use crate::story::*;

/// A stand-in for the keyed digest; the store never sees the key.
pub(crate) fn keyed(bytes: &[u8]) -> String {
    format!("{:x}", bytes.iter().fold(7u64, |sum, b| sum.wrapping_mul(31).wrapping_add((*b).into())))
}

pub(crate) fn is_keyed(bytes: &[u8], logged: &str) -> bool {
    keyed(bytes) == logged
}

pub(crate) fn invitation(person: access::ids::PrincipalId, used_at: Option<Timestamp>) -> InvitationRow {
    InvitationRow { id: format!("inv-{person}"), person, verifier: format!("v-{person}"), expires_at: at(3600), used_at }
}

pub(crate) fn invites(row: &InvitationRow) -> Change {
    let event = Event::InvitationIssued { person: row.person, expires_at: row.expires_at, row_digest: keyed(&digestible(row)) };
    Change::new(by(row.person, 1, event)).put_invitation(row)
}

pub(crate) fn comes(row: &InvitationRow) -> Change {
    let event = Event::InvitationUsed { person: row.person, row_digest: keyed(&digestible(row)) };
    Change::new(by(row.person, 2, event)).use_invitation(row)
}

pub(crate) fn token(person: access::ids::PrincipalId) -> TokenRow {
    TokenRow {
        id: TokenId::generate(at(1)),
        person,
        made_by: person,
        verifier: format!("t-{person}"),
        scopes: Scopes(vec![Scope::Read, Scope::Ask]),
        grant: None,
        mfa: Mfa::None,
        claims: None,
        assertion: None,
        identity: None,
        sid: None,
        label: Some("laptop".into()),
        created_at: at(1),
        expires_at: at(3600),
        revoked_at: None,
    }
}

pub(crate) fn passkey(person: access::ids::PrincipalId, credential: &str) -> PasskeyRow {
    PasskeyRow {
        id: PasskeyId::generate(at(1)),
        person,
        credential: credential.into(),
        public_key: "AA".into(),
        label: None,
        aaguid: "00".into(),
        backed_up: false,
        counter: 0,
        version: 1,
        added_at: at(1),
        used_at: None,
        removed_at: None,
    }
}

pub(crate) fn issues(row: &TokenRow) -> Change {
    let event = Event::TokenIssued {
        token: row.id,
        person: row.person,
        scopes: row.scopes.0.clone(),
        grant: row.grant,
        expires_at: row.expires_at,
        row_digest: keyed(&digestible(row)),
    };
    Change::new(by(row.person, 1, event)).put_token(row)
}

pub(crate) fn secret(sealed: &str) -> SecretRow {
    SecretRow { name: "db-1-root".parse().unwrap(), sealed: sealed.into(), key_id: "k1".into(), set_at: at(1) }
}

pub(crate) fn seals(row: &SecretRow) -> Change {
    let event = Event::SecretSet { secret: row.name.clone(), row_digest: keyed(&digestible(row)) };
    Change::new(by(somebody(), 1, event)).put_secret(row)
}

pub(crate) fn host_key() -> HostKeyRow {
    HostKeyRow {
        resource: "db-1".parse().unwrap(),
        fingerprint: "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU".into(),
        public_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl".into(),
        learned_at: at(1),
    }
}

pub(crate) fn learns(row: &HostKeyRow) -> Change {
    let event = Event::HostKeyLearned { resource: row.resource.clone(), fingerprint: row.fingerprint.clone() };
    Change::new(by(somebody(), 1, event)).learn_host_key(row)
}

/// The files of a policy.
pub(crate) fn policy() -> [BundleFile; 2] {
    let texts = [("access.cedar", "# access.cedar"), ("roles.toml", "# roles.toml")];
    let digest = access::bundle::digest_of(texts.map(|(path, content)| (path, content.as_bytes())));
    texts.map(|(path, content)| BundleFile { digest: digest.clone(), path: path.into(), content: content.into() })
}

pub(crate) fn activates(files: &[BundleFile], n: i64) -> Change {
    let (bundle, digest) = (access::ids::BundleId::generate(at(n)), files[0].digest.clone());
    Change::new(by(somebody(), n, Event::BundleActivated { bundle, digest, previous: None })).put_bundle_files(files)
}

on_both! {
    // covers: D8
    async fn an_invitation_used_twice_at_the_same_instant_lets_one_in(stage) {
        let ana = somebody();
        stage.store.commit(invites(&invitation(ana, None))).await.unwrap();
        assert_eq!(stage.store.invitation_by_verifier(&format!("v-{ana}")).await.unwrap(), Some(invitation(ana, None)));
        let used = invitation(ana, Some(at(2)));
        let coming = (0..10).map(|_| { let (store, change) = (stage.store.clone(), comes(&used)); tokio::spawn(async move { store.commit(change).await }) });
        let mut came = 0;
        for outcome in coming.collect::<Vec<_>>() {
            match outcome.await.unwrap() {
                Ok(_) => came += 1,
                Err(error) => assert!(matches!(error, CommitError::Conflict { table: "invitations", .. }), "{error}"),
            }
        }
        assert_eq!((came, stage.behind.count("entries").await), (1, 2));
        assert_eq!(stage.store.invitations_of(ana).await.unwrap(), [used]);
    }

    // covers: WHO-1
    async fn of_two_ways_in_that_go_at_the_same_instant_because_of_each_other_one_stays(stage) {
        for round in 0..5 {
            let ana = somebody();
            stage.store.commit(Change::new(joins(ana, &format!("ana-{round}"), 0))).await.unwrap();
            for account in ["a", "b"] {
                let linked = Event::IdentityLinked { identity: format!("{account}{ana}"), person: ana, issuer: "https://corp.example".into() };
                stage.store.commit(Change::new(by(ana, 1, linked).text("subject", Some(account)))).await.unwrap();
            }
            let accounts = stage.store.identities_of(ana).await.unwrap();
            let keys = ["p", "q"].map(|credential| passkey(ana, &format!("{credential}-{ana}")));
            for row in &keys {
                let added = Event::PasskeyAdded { passkey: row.id, person: ana, public_key: "00".into(), row_digest: keyed(&digestible(row)) };
                stage.store.commit(Change::new(by(ana, 1, added)).put_passkey(row)).await.unwrap();
            }
            let account = |goes: usize| {
                let unlinked = Event::IdentityUnlinked { identity: accounts[goes].id.clone(), person: ana };
                Change::new(by(ana, 2, unlinked)).expect(&accounts[goes]).expect(&accounts[1 - goes])
            };
            let passkey = |goes: usize| {
                let row = PasskeyRow { removed_at: Some(at(2)), version: 2, ..keys[goes].clone() };
                let removed = Event::PasskeyRemoved { passkey: row.id, person: ana, row_digest: keyed(&digestible(&row)) };
                Change::new(by(ana, 2, removed)).remove_passkey(&row).only_with_passkey(keys[1 - goes].id)
            };
            for (table, changes) in [("identities", [account(0), account(1)]), ("passkeys", [passkey(0), passkey(1)])] {
                let going = changes.map(|change| { let store = stage.store.clone(); tokio::spawn(async move { store.commit(change).await }) });
                let mut gone = 0;
                for outcome in going {
                    match outcome.await.unwrap() {
                        Ok(_) => gone += 1,
                        Err(CommitError::Conflict { table: where_it_is, .. }) => assert_eq!(where_it_is, table),
                        Err(error) => panic!("{error}"),
                    }
                }
                assert_eq!(gone, 1, "{table}");
            }
            assert_eq!((stage.store.identities_of(ana).await.unwrap().len(), stage.store.passkeys_of(ana).await.unwrap().len()), (1, 1));
        }
    }

    async fn a_token_is_found_by_its_verifier_and_revoked_once(stage) {
        let mut row = token(somebody());
        stage.store.commit(issues(&row)).await.unwrap();
        assert_eq!(stage.store.token_by_verifier(&row.verifier).await.unwrap().as_ref(), Some(&row));
        let late = TokenRow { revoked_at: Some(at(9)), ..row.clone() };
        row.label = None;
        let renamed = |row: &TokenRow| {
            let event = Event::TokenRenamed { token: row.id, person: row.person, row_digest: keyed(&digestible(row)) };
            Change::new(by(row.person, 8, event)).rename_token(row)
        };
        stage.store.commit(renamed(&row)).await.unwrap();
        assert_eq!(stage.store.token(row.id).await.unwrap().as_ref(), Some(&row));
        let revoked = |row: &TokenRow| {
            let event = Event::TokenRevoked { token: row.id, row_digest: keyed(&digestible(row)) };
            Change::new(by(row.person, 9, event)).revoke_token(row)
        };
        // Whoever read it before its label was taken off reads it again, and does not bring that back.
        let error = stage.store.commit(revoked(&late)).await.unwrap_err();
        assert!(matches!(error, CommitError::Conflict { table: "tokens", .. }), "{error}");
        assert_eq!(stage.store.token(row.id).await.unwrap().as_ref(), Some(&row));
        row.revoked_at = Some(at(9));
        // It is not revoked yet: whoever read it so read something else.
        let error = stage.store.commit(renamed(&row)).await.unwrap_err();
        assert!(matches!(error, CommitError::Conflict { table: "tokens", .. }), "{error}");
        stage.store.commit(revoked(&row)).await.unwrap();
        let error = stage.store.commit(revoked(&row)).await.unwrap_err();
        assert!(matches!(error, CommitError::Conflict { table: "tokens", .. }), "{error}");
        stage.store.commit(renamed(&row)).await.unwrap();
        assert_eq!(stage.store.tokens_of(row.person).await.unwrap(), [row]);
    }

    async fn a_secret_is_set_replaced_and_removed_and_a_host_key_learned_once(stage) {
        stage.store.commit(seals(&secret("AAAA"))).await.unwrap();
        stage.store.commit(seals(&secret("BBBB"))).await.unwrap();
        assert_eq!(stage.store.secret(&secret("").name).await.unwrap().unwrap().sealed, "BBBB");
        let removed = || Change::new(by(somebody(), 3, Event::SecretRemoved { secret: secret("").name })).delete_secret(&secret("").name);
        stage.store.commit(removed()).await.unwrap();
        assert!(matches!(stage.store.commit(removed()).await, Err(CommitError::Conflict { .. })));

        stage.store.commit(learns(&host_key())).await.unwrap();
        let error = stage.store.commit(learns(&host_key())).await.unwrap_err();
        assert!(matches!(error, CommitError::Duplicate { what: Unique::HostKey }), "{error}");
        assert_eq!(stage.store.host_key(&host_key().resource).await.unwrap(), Some(host_key()));
    }

    async fn a_repeated_post_gets_the_answer_of_the_first(stage) {
        let (ana, ben) = (somebody(), somebody());
        let begin = |person, digest| stage.store.begin_idempotent(person, "k", digest, at(1));
        assert_eq!(begin(ana, "d1").await.unwrap(), Begun::Fresh);
        assert_eq!(begin(ana, "d1").await.unwrap(), Begun::Running);
        assert_eq!(begin(ana, "d2").await.unwrap(), Begun::Other);
        assert_eq!(begin(ben, "d2").await.unwrap(), Begun::Fresh);
        stage.store.commit(Change::new(locks("db-1", 1)).finish_idempotent(ana, "k", 201, "{}")).await.unwrap();
        assert_eq!(begin(ana, "d1").await.unwrap(), Begun::Done { status: 201, body: "{}".into() });
        stage.store.drop_idempotent(ben, "k").await.unwrap();
        assert_eq!(begin(ben, "d3").await.unwrap(), Begun::Fresh);
        stage.store.forget_idempotent(at(2)).await.unwrap();
        assert_eq!(begin(ana, "d9").await.unwrap(), Begun::Fresh);
    }

    async fn a_bundle_is_kept_with_its_files(stage) {
        let files = policy();
        stage.store.commit(activates(&files, 1)).await.unwrap();
        stage.store.commit(activates(&files, 2)).await.unwrap();
        assert_eq!(stage.store.bundle_files(&files[0].digest).await.unwrap(), files);
        assert_eq!(stage.store.newest_bundle().await.unwrap().unwrap().activated_at, at(2));
    }
}
