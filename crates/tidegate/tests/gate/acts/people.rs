//! People and machines, what signs them in, and what keeps them out.

use access::identity::Scope;
use access::reason::Reason;
use policy::Noun;

use super::things::Thing;
use super::who::{Who, administers, readers, right, sees};
use super::{Act, At, act, only_api};
use crate::{journey, pipelines};

fn administer_own() -> Who {
    Who::Scoped(Scope::Administer)
}

fn permitted(noun: Noun) -> Who {
    Who::Permitted(policy::Act::Administer(noun))
}

pub(super) fn acts() -> Vec<Act> {
    [people(), ways_to_sign_in(), kept_out()].into_iter().flatten().collect()
}

fn people() -> Vec<Act> {
    let see = || sees([Who::Owner, permitted(Noun::Person), permitted(Noun::Audit)]);
    vec![
        act("see who one is", "users_me", "user show", Who::SignedIn),
        act("list people", "users_list", "user list", readers()),
        Act { name: "list machines", ..act("", "users_list", "workload list", readers()) },
        // Ana is whose it is.
        act("show somebody", "users_show", "user show {id}", see()).on(Thing::Called("{ana}")),
        only_api(
            "see where somebody gets in",
            "users_ways_in",
            "`policy explain` says it of one place",
            sees([Who::Owner, permitted(Noun::Audit), Who::All(vec![permitted(Noun::Person), administers(Noun::Bundle)])]),
        )
        .on(Thing::Called("{ana}")),
        act("invite somebody", "users_create", "user invite {new}", administers(Noun::Person)).body(r#"{"username": "{new}"}"#),
        act("invite somebody anew", "users_invite", "", administers(Noun::Person))
            .cli(At::NotThere("`user invite` finds out by the name whether somebody is new"))
            .on(Thing::Person),
        act("disable somebody", "users_disable", "user disable {id} --reason drill", administers(Noun::Person))
            .body(r#"{"reason": "drill"}"#)
            .on(Thing::Person)
            .spends(),
        act("enable somebody", "users_enable", "user enable {id}", administers(Noun::Person)).on(Thing::Disabled).spends(),
        act("name somebody's account at a provider", "users_link", "user link {id} nowhere 1", administers(Noun::Person))
            .body(r#"{"provider": "nowhere", "subject": "1"}"#)
            .on(Thing::Called("{ana}"))
            .told(Reason::NotFound),
        act("add a machine", "users_create_workload", "workload add {new} --owner {dan}", administers(Noun::Person))
            .body(r#"{"username": "{new}", "owner": "{dan}"}"#),
        act("see directories", "directories_list", "directory status", Who::All(vec![readers(), administers(Noun::Directory)])),
        act("make a directory's token", "directories_make_token", "directory token nowhere --for 1h", administers(Noun::Directory))
            .body(r#"{"duration": "1h"}"#)
            .on(Thing::Called("nowhere"))
            .told(Reason::NotFound),
        act("list one's chat accounts", "chat_mine", "chat list", readers()),
        act("list somebody's chat accounts", "chat_theirs", "chat list --person {id}", sees([Who::Owner, administers(Noun::Person)]))
            .on(Thing::Called("{ana}")),
        act("choose what is told in a chat", "chat_tell", "chat tell nobody asks", administer_own())
            .body(r#"{"told": "asks"}"#)
            .on(Thing::Called("nobody"))
            .told(Reason::NotFound),
        act("take a chat account back", "chat_remove", "chat remove nobody", administer_own())
            .on(Thing::Called("nobody"))
            .told(Reason::NotFound),
        only_api("name a mailbox", "mail_name", "a link in a mail is opened in a browser", administer_own())
            .body(r#"{"address": "{new}@example.com"}"#)
            .told(Reason::NotFound),
        act("see who is on call", "oncall_list", "oncall list", readers()),
        act("see a schedule", "oncall_show", "oncall show payments", Who::All(vec![readers(), Who::Staff])).on(Thing::Called("payments")),
    ]
}

fn ways_to_sign_in() -> Vec<Act> {
    vec![
        act("list one's keys", "keys_mine", "key list", readers()),
        only_api(
            "list somebody's keys",
            "keys_of_user",
            "the page of a person has them",
            sees([Who::Owner, permitted(Noun::Key), permitted(Noun::Audit)]),
        )
        .on(Thing::Called("{ana}")),
        only_api(
            "list somebody's passkeys",
            "passkeys_of_user",
            "the page of a person has them",
            sees([Who::Owner, permitted(Noun::Key), permitted(Noun::Audit)]),
        )
        .on(Thing::Called("{ana}")),
        only_api(
            "list somebody's tokens",
            "tokens_of_user",
            "the page of a person has them",
            sees([Who::Owner, permitted(Noun::Token), permitted(Noun::Audit)]),
        )
        .on(Thing::Called("{ana}")),
        act(
            "list somebody's linked accounts",
            "users_linked",
            "user accounts {id}",
            sees([Who::Owner, permitted(Noun::Person), permitted(Noun::Audit)]),
        )
        .on(Thing::Called("{ana}")),
        act("take an account at a provider from somebody", "users_unlink", "user unlink nobody", administer_own())
            .on(Thing::Called("nobody"))
            .told(Reason::NotFound),
        act("add a key", "keys_add_mine", "key add {keyfile}", administer_own()).body(r#"{"public_key": "{key}"}"#),
        only_api("add a machine's key", "keys_add", "machines are set up by what sets up machines", administers(Noun::Key))
            .body(r#"{"public_key": "{key}"}"#)
            .on(Thing::Called("{deploy-bot}")),
        act(
            "take a key away",
            "keys_remove",
            "key remove {id}",
            Who::All(vec![administer_own(), Who::Any(vec![Who::Owner, permitted(Noun::Key)])]),
        )
        .on(Thing::Key)
        .spends(),
        act("get a certificate", "keys_certify", "", Who::Scoped(Scope::Ask))
            .cli(At::Proved("login", by!(journey::a_registered_key_signs_in_at_the_terminal_and_leaves_a_short_lived_certificate)))
            .body(r#"{"public_key": "{key}"}"#),
        act("list one's tokens", "tokens_list", "token list", readers()),
        act("make a token", "tokens_create", "token create --scope read --for 1h", administer_own())
            .body(r#"{"scopes": ["read"], "duration": "1h"}"#),
        act(
            "take a token away",
            "tokens_revoke",
            "token revoke {id}",
            Who::All(vec![administer_own(), Who::Any(vec![Who::Owner, permitted(Noun::Token)])]),
        )
        .on(Thing::Token)
        .spends(),
        Act {
            name: "take a directory's token away",
            ..act(
                "",
                "tokens_revoke",
                "directory revoke {id}",
                Who::All(vec![administer_own(), Who::Any(vec![Who::Owner, permitted(Noun::Token)])]),
            )
        }
        .on(Thing::Token)
        .spends(),
        only_api("list one's browsers", "web-sessions_list", "the page of one's account has them", readers()),
        only_api("sign a browser out", "web-sessions_end", "the page of one's account does it", administer_own())
            .on(Thing::Called("web_00000000000000000000000000"))
            .told(Reason::NotFound),
        only_api("list one's passkeys", "passkeys_list", "a browser holds them", readers()),
        only_api("call a passkey differently", "passkeys_rename", "a browser holds them", administer_own())
            .body(r#"{"label": "drill"}"#)
            .on(Thing::Called("pky_00000000000000000000000000"))
            .told(Reason::NotFound),
        only_api("take a passkey away", "passkeys_remove", "a browser holds them", administer_own())
            .on(Thing::Called("pky_00000000000000000000000000"))
            .told(Reason::NotFound),
        Act {
            name: "sign in as a job",
            api: At::NotThere("`oauth_token` is what it calls, and that takes a proof"),
            cli: At::Proved("workload sign-in", by!(pipelines::signals_statuses_tokens_and_locks_reach_who_they_are_for)),
            ..act("", "", "", Who::Anyone)
        },
    ]
}

fn kept_out() -> Vec<Act> {
    vec![
        act("list locks", "locks_list", "lock list", readers()),
        act("lock", "locks_create", "lock set network 203.0.113.0/24 --reason drill", administers(Noun::Lock))
            .body(r#"{"scope": "network:203.0.113.0/24", "reason": "drill"}"#),
        act("lift a lock", "locks_lift", "lock lift {id}", administers(Noun::Lock)).on(Thing::Lock).spends(),
        act("contain somebody", "containments_contain", "contain user {id} --reason drill", administers(Noun::Containment))
            .body(r#"{"scope": "person:{id}", "reason": "drill"}"#)
            .on(Thing::Person)
            .spends(),
        Act {
            name: "contain a resource",
            ..act("", "containments_contain", "contain resource warehouse-db --reason drill", administers(Noun::Containment))
        }
        .body(r#"{"scope": "resource:warehouse-db", "reason": "drill"}"#),
        act("lift a containment", "containments_lift", "contain lift {id} --reason drill", administers(Noun::Containment))
            .body(r#"{"reason": "drill"}"#)
            .on(Thing::Containment)
            .spends(),
        act("list reviews", "reviews_list", "review list", readers()),
        act("answer a review", "reviews_complete", "review complete {id} justified", right(policy::Act::Review))
            .body(r#"{"outcome": "justified"}"#)
            .on(Thing::Review)
            .spends(),
        act("start a campaign of reviews", "reviews_campaign", "review campaign --within 7d", administers(Noun::Review))
            .body(r#"{"within": "7d"}"#),
        act(
            "list legal holds",
            "holds_list",
            "hold list",
            Who::All(vec![readers(), Who::Any(vec![administers(Noun::Hold), administers(Noun::Audit)])]),
        ),
        act("set a legal hold", "holds_create", "hold set --resource build-1 --reason drill", administers(Noun::Hold))
            .body(r#"{"scope": "resource:build-1", "reason": "drill"}"#),
        act("lift a legal hold", "holds_lift", "hold lift {id} --reason drill", administers(Noun::Hold))
            .body(r#"{"reason": "drill"}"#)
            .on(Thing::Hold)
            .spends(),
    ]
}
