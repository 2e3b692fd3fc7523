//! Asking, agreeing, connecting, watching, and giving back.

use access::approval::Seat;
use access::identity::Scope;
use access::request::Door;
use policy::{Act as Right, Noun};

use super::things::Thing;
use super::who::{Who, administers, owner, readers, right, sees};
use super::{Act, At, act, only_api};
use crate::{chats, consoles, joining, journey, mails, teams, where_one_connects};

/// Who sees what Ana asks for: she, who decides on it, and who reads such things.
fn see_the_request() -> Who {
    let decides = Who::All(vec![seated(), Who::Permitted(Right::Approve)]);
    let rights = [Right::Read, Right::Administer(Noun::Request), Right::Administer(Noun::Audit)];
    sees([Who::Owner, decides].into_iter().chain(rights.map(Who::Permitted)))
}

fn seated() -> Who {
    let seats =
        [Seat::OnCall("payments".parse().unwrap()), Seat::OnCall("platform".parse().unwrap()), Seat::Group("leads".parse().unwrap())];
    Who::Any(seats.map(Who::Seated).into())
}

fn decide() -> Who {
    Who::All(vec![right(Right::Approve), seated()])
}

fn see_the_session() -> Who {
    let rights =
        [Right::Watch, Right::Terminate, Right::Read, Right::Administer(Noun::Session), Right::Administer(Noun::Audit)].map(Who::Permitted);
    sees([Who::Owner].into_iter().chain(rights))
}

pub(super) fn acts() -> Vec<Act> {
    [requests(), grants(), sessions()].into_iter().flatten().collect()
}

fn requests() -> Vec<Act> {
    let asks = |who| Who::All(vec![Who::Scoped(Scope::Ask), who]);
    vec![
        act("ask for access", "requests_create", "request create build-1 shell --reason drill", asks(Who::GetsIn("build-1", "shell")))
            .body(r#"{"resource": "build-1", "role": "shell", "reason": "drill"}"#)
            .also(Door::Ssh, by!(journey::ana_asks_where_she_connects_and_goes_through_when_ben_agrees))
            .also(Door::Postgres, by!(crate::protocols::every_door_does_what_every_door_does))
            .also(Door::Mysql, by!(crate::protocols::every_door_does_what_every_door_does))
            .also(Door::Chat, by!(chats::ana_waits_in_her_shell_and_ben_presses_a_button)),
        act("break the glass", "requests_create", "break-glass db-1 shell --reason outage", asks(Who::BreaksGlass("db-1", "shell")))
            .body(r#"{"resource": "db-1", "role": "shell", "reason": "outage", "break_glass": true}"#)
            .also(Door::Ssh, by!(where_one_connects::ben_on_call_breaks_the_glass_in_his_terminal)),
        only_api("see what would come of asking", "requests_preview", "asking says it", Who::Scoped(Scope::Ask))
            .body(r#"{"resource": "build-1", "role": "shell", "reason": "drill"}"#),
        act("list requests", "requests_list", "request list", readers()),
        act("show a request", "requests_show", "request show {id}", see_the_request()).on(Thing::Request),
        act("change a request", "requests_edit", "request edit {id} --reason other", owner(Scope::Ask))
            .body(r#"{"reason": "other"}"#)
            .on(Thing::Request),
        act("agree to a request", "requests_approve", "request approve {id}", decide())
            .body("{}")
            .on(Thing::Request)
            .spends()
            .also(Door::Chat, by!(chats::ana_waits_in_her_shell_and_ben_presses_a_button))
            .also(Door::Mail, by!(mails::ben_decides_by_the_link_of_a_mail_and_opening_it_decides_nothing)),
        act("say no to a request", "requests_deny", "request deny {id}", decide())
            .body("{}")
            .on(Thing::Request)
            .spends()
            .also(Door::Chat, by!(teams::ana_asks_and_ben_presses_a_button_in_teams))
            .also(Door::Mail, by!(mails::ben_decides_by_the_link_of_a_mail_and_opening_it_decides_nothing)),
        act("take a request back", "requests_cancel", "request cancel {id}", owner(Scope::Ask)).on(Thing::Request).spends(),
    ]
}

fn grants() -> Vec<Act> {
    let see = || {
        let rights = [Right::Read, Right::Terminate, Right::Administer(Noun::Grant), Right::Administer(Noun::Audit)];
        sees([Who::Owner].into_iter().chain(rights.map(Who::Permitted)))
    };
    vec![
        act("list grants", "grants_list", "grant list", readers()),
        act("show a grant", "grants_show", "grant show {id}", see()).on(Thing::Grant),
        act("start a grant's clock", "grants_activate", "grant activate {id}", owner(Scope::Ask)).on(Thing::Grant).spends(),
        act("ask for more time", "grants_extend", "grant extend {id} --for 90m --reason drill", owner(Scope::Ask))
            .body(r#"{"duration": "90m", "reason": "drill"}"#)
            .on(Thing::Active)
            .spends()
            .also(Door::Ssh, by!(where_one_connects::ana_types_what_the_warning_says_ben_agrees_and_her_shell_goes_on)),
        act(
            "revoke a grant",
            "grants_revoke",
            "grant revoke {id} --reason drill",
            Who::Any(vec![right(Right::Terminate), administers(Noun::Grant)]),
        )
        .body(r#"{"reason": "drill"}"#)
        .on(Thing::Active)
        .spends(),
        act("give a grant back", "grants_return", "grant return {id}", owner(Scope::Ask)).on(Thing::Active).spends(),
        only_api("list a grant's connect tokens", "grants_connect_tokens", "`token list` has them", owner(Scope::Read)).on(Thing::Database),
        act("make a connect token", "grants_connect_token", "grant token {id}", owner(Scope::Ask)).body("{}").on(Thing::Database),
    ]
}

fn sessions() -> Vec<Act> {
    let kill = Who::Any(vec![owner(Scope::Ask), right(Right::Terminate)]);
    vec![
        act("list sessions", "sessions_list", "session list", readers()),
        act("search sessions", "sessions_search?text=drill", "session search drill", readers()),
        act("show a session", "sessions_show", "session show {id}", see_the_session()).on(Thing::Live),
        act("watch a session, live", "sessions_watch", "session watch {id}", right(Right::Watch)).on(Thing::Live),
        act("end a session", "sessions_kill", "session kill {id} --reason drill", kill)
            .body(r#"{"reason": "drill"}"#)
            .on(Thing::Live)
            .spends(),
        act("replay a session", "sessions_recording", "session replay {id}", right(Right::Read)).on(Thing::Ended),
        Act { name: "list a session's statements", ..act("", "sessions_recording", "session statements {id}", right(Right::Read)) }
            .on(Thing::Ended),
        Act { name: "replay what was typed", ..act("", "sessions_recording?input=true", "session replay {id} --input", typed()) }
            .on(Thing::Ended),
        only_api(
            "open a console in the browser",
            "consoles_open",
            "a terminal is at hand there: `ssh`, `psql`, `mysql`",
            Who::All(vec![Who::Scoped(Scope::Ask), Who::GetsIn("build-1", "shell")]),
        )
        .proved(by!(consoles::a_terminal_in_the_browser_is_a_session_like_any_other)),
        only_api("type in a console", "consoles_input", "it is the browser's", Who::Scoped(Scope::Ask))
            .proved(by!(consoles::a_terminal_in_the_browser_is_a_session_like_any_other)),
        only_api("run a statement in a console", "consoles_statement", "it is the browser's", Who::Scoped(Scope::Ask))
            .proved(by!(consoles::a_sql_prompt_in_the_browser_is_judged_masked_and_cut_like_any_client)),
        only_api("stop a console's statement", "consoles_stop", "it is the browser's", Who::Scoped(Scope::Ask))
            .proved(by!(consoles::a_sql_prompt_on_a_mariadb_is_judged_masked_stopped_and_cut_like_any_client)),
        Act {
            name: "join a session",
            api: At::NotThere("a console joins by `consoles_open`; others by their own ssh"),
            cli: At::Proved("session join", by!(joining::the_command_line_joins_and_leaves_with_the_session_it_joined)),
            ..act("", "", "", right(Right::Watch))
        }
        .also(Door::Ssh, by!(joining::nobody_joins_what_they_may_not_watch_or_could_not_do_alone)),
        act("list kept searches", "saved-searches_list", "session kept", readers()),
        act("keep a search", "saved-searches_save", "session search drill --keep {new}", readers())
            .body(r#"{"name": "{new}", "filters": {}}"#),
        act("forget a kept search", "saved-searches_forget", "", owner(Scope::Read))
            .cli(At::NotThere("`session kept --forget` takes the name of one's own"))
            .on(Thing::Search)
            .spends(),
    ]
}

fn typed() -> Who {
    Who::All(vec![right(Right::Read), right(Right::ReadInput)])
}
