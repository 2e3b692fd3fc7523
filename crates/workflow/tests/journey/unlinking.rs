//! Accounts at identity providers are taken from people, and nobody is left without a way in by chance.

use access::ids::PrincipalId;
use access::reason::Reason;
use access::time::Span;
use identity::oidc::{ClientSecret, GroupsFrom, Provider, ProviderClient};
use testkit::gate::TestGate;

fn corp(t: &TestGate) -> Provider {
    Provider {
        name: "corp".into(),
        title: "Corp".into(),
        issuer: "https://corp.example".into(),
        client_id: "tidegate".into(),
        client_secret: ClientSecret::File(t.dir().join("corp.secret")),
        scopes: Vec::new(),
        groups_claim: "groups".into(),
        groups_from: GroupsFrom::IdToken,
        groups: Default::default(),
        groups_last: Span::hours(1),
        provision: false,
    }
}

async fn accounts(t: &TestGate, person: PrincipalId) -> Vec<String> {
    let rows = t.gate.store().identities_of(person).await.unwrap();
    rows.into_iter().map(|row| row.id).collect()
}

// covers: WHO-1 (api)
#[tokio::test(flavor = "multi_thread")]
async fn of_two_accounts_that_are_unlinked_at_the_same_moment_one_stays() {
    let t = TestGate::start().await.unwrap();
    t.gate.serve_providers(vec![(corp(&t), ProviderClient::new(None).unwrap())]);
    let ana = t.person("ana").who.id();
    // One after the other: the first goes, and the second is her only way in.
    for subject in ["ana-1", "ana-2"] {
        t.gate.link_identity(t.person("dan"), ana, "corp", subject).await.unwrap();
    }
    let both = accounts(&t, ana).await;
    assert_eq!(t.gate.unlink_identity(t.person("dan"), &both[0], false).await.unwrap().id, both[0]);
    assert_eq!(t.gate.unlink_identity(t.person("dan"), &both[1], false).await.unwrap_err().reason, Reason::LastSignIn);

    // At the same moment, by two administrators who each see the other account: no other end than that.
    for round in 0..20 {
        let subject = format!("ana-again-{round}");
        t.gate.link_identity(t.person("dan"), ana, "corp", &subject).await.unwrap();
        let both = accounts(&t, ana).await;
        let unlink = |by: &'static str, id: &str| {
            let (gate, caller, id) = (t.gate.clone(), t.person(by).clone(), id.to_owned());
            tokio::spawn(async move { Box::pin(gate.unlink_identity(&caller, &id, false)).await })
        };
        let (one, other) = (unlink("dan", &both[0]), unlink("admin", &both[1]));
        let outcomes = [one.await.unwrap(), other.await.unwrap()];
        let refused: Vec<Reason> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err().map(|refusal| refusal.reason)).collect();
        assert_eq!(refused, [Reason::LastSignIn], "{outcomes:?}");
        assert_eq!(accounts(&t, ana).await.len(), 1);
    }
    // Who means it may take the last one, too.
    let last = accounts(&t, ana).await.remove(0);
    t.gate.unlink_identity(t.person("dan"), &last, true).await.unwrap();
    assert!(t.gate.replay().await.unwrap().differences.is_empty());
}
