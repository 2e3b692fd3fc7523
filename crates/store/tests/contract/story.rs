//! Ana, Ben and Cleo, and the entries their day leaves.

use access::approval::Decision;
use access::event::{Actor, EntryDraft, Event};
use access::grant::Frozen;
use access::identity::Mfa;
use access::ids::{GrantId, LockId, PrincipalId, RecordingId, RequestId, SessionId, UserId, VoteId};
use access::limits::Limits;
use access::lock::LockScope;
use access::request::{Asked, Door, RequestRow};
use access::session::{EndReason, Protocol};
use access::time::Span;
use access::verdict::{Durability, HostKeyRule, RecordLevel, Terms, TicketRule};
use jiff::Timestamp;
use tidegate_store::{Change, Committed, Store};

/// So many seconds into the day.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// Somebody.
pub(crate) fn somebody() -> PrincipalId {
    UserId::generate(at(0)).into()
}

pub(crate) fn terms() -> Terms {
    Terms {
        tier: "production".parse().unwrap(),
        production: true,
        max: Span::hours(8),
        default: Span::hours(1),
        approvals: Vec::new(),
        mfa: Mfa::None,
        mfa_within: Span::hours(12),
        ticket: TicketRule::None,
        ticket_states: Vec::new(),
        reason: true,
        record: RecordLevel::Content,
        durability: Durability::Flush,
        idle: None,
        activate_within: Span::hours(8),
        pending_for: Span::hours(24),
        wait_at_connect: Span::seconds(120),
        host_keys: HostKeyRule::Pinned,
        standing: false,
        break_glass: None,
        sample: None,
        escalate_to: None,
        watch: Vec::new(),
        observed_until: None,
    }
}

pub(crate) fn by(who: PrincipalId, second: i64, event: Event) -> EntryDraft {
    EntryDraft::new(at(second), Actor::Principal(who), Door::Api, event)
}

pub(crate) fn joins(who: PrincipalId, name: &str, second: i64) -> EntryDraft {
    let event = Event::PersonCreated { person: who, username: name.parse().unwrap(), owner: None, groups: Vec::new() };
    EntryDraft::new(at(second), Actor::Gate, Door::Gate, event).text("display_name", Some(name))
}

/// Ana asks for `debug` on a resource.
pub(crate) fn asks(who: PrincipalId, request: RequestId, resource: &str, second: i64) -> EntryDraft {
    by(
        who,
        second,
        Event::RequestSubmitted {
            request,
            person: who,
            resource: resource.parse().unwrap(),
            role: "debug".parse().unwrap(),
            asked: Asked::Default,
            limits: Limits::default(),
            break_glass: false,
            extends: None,
            mfa: Mfa::None,
            claims: None,
            terms: terms(),
            bundle: "b1".into(),
            policy: "prod-debug".into(),
            expires_at: at(second + 86_400),
            risk: None,
        },
    )
    .text("reason", Some("the orders are stuck"))
}

/// Somebody asks for more time on a grant.
pub(crate) fn asks_for_more(who: PrincipalId, request: RequestId, grant: GrantId, second: i64) -> EntryDraft {
    let mut draft = asks(who, request, "db-1", second);
    if let Event::RequestSubmitted { extends, .. } = &mut draft.event {
        *extends = Some(grant);
    }
    draft
}

pub(crate) fn votes(who: PrincipalId, request: RequestId, decision: Decision, second: i64) -> EntryDraft {
    let vote = VoteId::generate(at(second));
    by(
        who,
        second,
        Event::RequestVoted { request, vote, revision: 1, voter: who, decision, stages: vec![0], signature: None, invited_by_asker: false },
    )
}

pub(crate) fn approved(who: PrincipalId, request: RequestId, second: i64) -> EntryDraft {
    by(who, second, Event::RequestApproved { request, approvers: vec![who] })
}

pub(crate) fn denied(who: PrincipalId, request: RequestId, second: i64) -> EntryDraft {
    by(who, second, Event::RequestDenied { request, reason: access::reason::Reason::Denied, bundle: None, policies: Vec::new() })
}

pub(crate) fn created(grant: GrantId, row: &RequestRow, second: i64) -> EntryDraft {
    EntryDraft::new(
        at(second),
        Actor::Gate,
        Door::Gate,
        Event::GrantCreated {
            grant,
            request: row.id,
            person: row.person,
            resource: row.resource.clone(),
            role: row.role.clone(),
            limits: Limits::default(),
            terms: terms(),
            length: Some(Span::hours(1)),
            break_glass: false,
            bundle: "b1".into(),
            policy: "prod-debug".into(),
            approvers: Vec::new(),
            frozen: Frozen {
                mfa: Mfa::None,
                mfa_at: at(0),
                ticket: None,
                on_call: Vec::new(),
                network: None,
                claims: None,
                risk: None,
                asked_at: at(0),
            },
            activate_by: at(second + 8 * 3600),
        },
    )
}

pub(crate) fn activated(grant: GrantId, second: i64) -> EntryDraft {
    let event = Event::GrantActivated { grant, starts_at: at(second), ends_at: Some(at(second + 3600)) };
    EntryDraft::new(at(second), Actor::Gate, Door::Gate, event)
}

pub(crate) fn opened(session: SessionId, grant: GrantId, row: &RequestRow, second: i64) -> EntryDraft {
    by(
        row.person,
        second,
        Event::SessionOpened {
            session,
            grant,
            person: row.person,
            resource: row.resource.clone(),
            role: row.role.clone(),
            protocol: Protocol::Ssh,
            recording: RecordingId::generate(at(second)),
            recording_header: None,
            level: RecordLevel::Content,
            node: "gate-1".into(),
            bundle: "b1".into(),
            ends_at: Some(at(second + 3600)),
        },
    )
    .text("from", Some("192.0.2.7"))
}

pub(crate) fn ended(session: SessionId, second: i64) -> EntryDraft {
    let event = Event::SessionEnded {
        session,
        reason: EndReason::Client,
        confirmed: true,
        bytes_up: 12,
        bytes_down: 3_000,
        recording_chunks: Some(2),
        recording_digest: Some("aa".into()),
    };
    EntryDraft::new(at(second), Actor::Gate, Door::Gate, event)
}

pub(crate) fn locks(resource: &str, second: i64) -> EntryDraft {
    let event = Event::LockSet {
        lock: LockId::generate(at(second)),
        scope: LockScope::Resource(resource.parse().unwrap()),
        until: None,
        contains: false,
        transmitter: None,
        sessions: Vec::new(),
    };
    EntryDraft::new(at(second), Actor::Gate, Door::Gate, event).text("reason", Some("incident"))
}

/// An entry that changes no row.
pub(crate) fn starts(node: &str, second: i64) -> EntryDraft {
    EntryDraft::new(at(second), Actor::Gate, Door::Gate, Event::NodeStarted { node: node.into(), version: "0.1.0".into() })
}

pub(crate) async fn keep(store: &Store, draft: EntryDraft) -> Committed {
    store.commit(Change::new(draft)).await.unwrap()
}

/// Ids of what one whole journey leaves.
pub(crate) struct Journey {
    pub(crate) ana: PrincipalId,
    pub(crate) ben: PrincipalId,
    pub(crate) request: RequestId,
    pub(crate) grant: GrantId,
    pub(crate) session: SessionId,
}

/// Ana asks, Ben approves, Ana works; the session is still live.
pub(crate) async fn journey(store: &Store) -> Journey {
    let (ana, ben) = (somebody(), somebody());
    keep(store, joins(ana, "ana", 1)).await;
    keep(store, joins(ben, "ben", 2)).await;
    let (request, grant, session) = (RequestId::generate(at(10)), GrantId::generate(at(20)), SessionId::generate(at(30)));
    keep(store, asks(ana, request, "db-1", 10)).await;
    let row = store.request(request).await.unwrap().unwrap();
    let change = Change::new(votes(ben, request, Decision::Approve, 20))
        .and(approved(ben, request, 20))
        .and(created(grant, &row, 20))
        .and(activated(grant, 21))
        .expect(&row);
    store.commit(change).await.unwrap();
    keep(store, opened(session, grant, &row, 30)).await;
    Journey { ana, ben, request, grant, session }
}
