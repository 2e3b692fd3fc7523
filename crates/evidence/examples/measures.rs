//! How long the measures of a year take: a company of 1,000 people, each with two sessions a working day. Prints times as JSON.
//!
//! `cargo run --release -p tidegate-evidence --example measures [PEOPLE]`

use std::time::{Duration, Instant};

use access::event::{Actor, EntryDraft, Event};
use access::grant::Frozen;
use access::identity::Mfa;
use access::ids::{GrantId, LockId, PrincipalId, RecordingId, RequestId, SessionId, UserId};
use access::limits::Limits;
use access::lock::LockScope;
use access::request::{Asked, Door};
use access::session::{EndReason, Protocol};
use access::time::Span;
use access::verdict::Terms;
use jiff::civil::date;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use tidegate_evidence::measures::{By, Projection, Report};

const DAYS: i64 = 365;

#[expect(clippy::print_stdout, reason = "its output is what it is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let people: usize = std::env::args().nth(1).map_or(Ok(1_000), |text| text.parse())?;
    let begin: Timestamp = "2025-01-01T08:00:00Z".parse()?;
    let terms: Terms = serde_json::from_value(serde_json::json!({
        "tier": "prod", "max": "4h", "default": "1h", "approvals": [], "mfa": "none", "mfa_within": "12h", "ticket": "none", "reason": true,
        "record": "content", "durability": "flush", "idle": "15m", "activate_within": "8h", "pending_for": "24h", "wait_at_connect": "2m",
        "host_keys": "pinned", "standing": true,
    }))?;
    let staff: Vec<PrincipalId> = (0..people).map(|_| UserId::generate(begin).into()).collect();
    let mut projection = Projection::default();
    let (mut folding, mut entries, mut dice) = (Duration::ZERO, 0u64, 7u64);
    // Numbers that are the same each time (Knuth's multiplier, TAOCP 3.3.4).
    let mut roll = move |below: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % below
    };
    for day in 0..DAYS {
        let morning = begin.checked_add(SignedDuration::from_hours(24 * day))?;
        if matches!(day % 7, 3 | 4) {
            continue;
        }
        for person in &staff {
            for _ in 0..2 {
                let asked = morning.checked_add(SignedDuration::from_millis(i64::try_from(roll(30_000_000))?))?;
                let later =
                    |millis: u64| asked.checked_add(SignedDuration::from_millis(i64::try_from(millis).unwrap_or(0))).unwrap_or(asked);
                let (request, grant, session) = (RequestId::generate(asked), GrantId::generate(asked), SessionId::generate(asked));
                let (resource, role) = (format!("db-{}", roll(500)).parse()?, "shell".parse::<access::names::RoleName>()?);
                let agreed = 20_000 + roll(3_000_000);
                let approvers = vec![*staff.first().unwrap_or(person)];
                let policy = format!("path-{}", roll(200));
                let asks = Event::RequestSubmitted {
                    request,
                    person: *person,
                    resource,
                    role: role.clone(),
                    asked: Asked::Default,
                    limits: Limits::default(),
                    break_glass: false,
                    extends: None,
                    mfa: Mfa::None,
                    claims: None,
                    terms: terms.clone(),
                    bundle: "0".repeat(64),
                    policy: policy.clone(),
                    expires_at: later(86_400_000),
                    risk: None,
                };
                let Event::RequestSubmitted { resource, .. } = &asks else { continue };
                let resource = resource.clone();
                let created = Event::GrantCreated {
                    grant,
                    request,
                    person: *person,
                    resource: resource.clone(),
                    role: role.clone(),
                    limits: Limits::default(),
                    terms: terms.clone(),
                    length: Some(Span::hours(1)),
                    break_glass: false,
                    bundle: "0".repeat(64),
                    policy,
                    approvers: approvers.clone(),
                    frozen: Frozen {
                        mfa: Mfa::None,
                        mfa_at: asked,
                        ticket: None,
                        on_call: Vec::new(),
                        network: None,
                        claims: None,
                        risk: None,
                        asked_at: asked,
                    },
                    activate_by: later(86_400_000),
                };
                let opened = Event::SessionOpened {
                    session,
                    grant,
                    person: *person,
                    resource,
                    role,
                    protocol: Protocol::Ssh,
                    recording: RecordingId::generate(asked),
                    recording_header: Some("0".repeat(64)),
                    level: terms.record,
                    node: "one".into(),
                    bundle: "0".repeat(64),
                    ends_at: None,
                };
                let mut story = vec![
                    (asked, asks),
                    (later(agreed), Event::RequestApproved { request, approvers }),
                    (later(agreed), created),
                    (later(agreed + 500), Event::GrantActivated { grant, starts_at: later(agreed), ends_at: None }),
                    (later(agreed + 1_000), opened),
                ];
                if roll(50) == 0 {
                    let scope = LockScope::Person(*person);
                    story.push((
                        later(agreed + 60_000),
                        Event::LockSet {
                            lock: LockId::generate(asked),
                            scope,
                            until: None,
                            contains: false,
                            transmitter: None,
                            sessions: Vec::new(),
                        },
                    ));
                }
                let (chunks, digest) = (Some(1), Some("0".repeat(64)));
                let ended = Event::SessionEnded {
                    session,
                    reason: EndReason::Client,
                    confirmed: true,
                    bytes_up: 1,
                    bytes_down: 1,
                    recording_chunks: chunks,
                    recording_digest: digest,
                };
                story.push((later(agreed + 60_000 + roll(900)), ended));
                story.push((later(agreed + 4_000_000), Event::GrantExpired { grant }));
                for (at, event) in story {
                    let draft =
                        EntryDraft::new(at, Actor::Gate, Door::Gate, event).text("from", Some("10.0.0.1")).text("reason", Some("words"));
                    let leaf = draft.seal().leaf()?;
                    let now = Instant::now();
                    projection.hear(&leaf)?;
                    folding += now.elapsed();
                    entries += 1;
                }
            }
        }
    }
    let now = Instant::now();
    let kept = serde_json::to_string(&projection)?;
    let keeping = now.elapsed();
    let now = Instant::now();
    let read = Projection::kept(&kept).ok_or("what was kept is not read")?;
    let reading = now.elapsed();
    let (since, until) = (date(2025, 1, 1), date(2026, 1, 1));
    let mut pages = Vec::new();
    for by in [By::Day, By::Week, By::Month] {
        let now = Instant::now();
        let report = Report::of(&read, since, until.checked_add(1.days())?, by, 400).ok_or("no periods")?;
        pages.push(now.elapsed().as_secs_f64() * 1e3);
        if report.total.sum.ended == 0 {
            return Err("nothing was counted".into());
        }
    }
    let per_entry = folding.as_secs_f64() * 1e6 / f64::from(u32::try_from(entries)?);
    println!(
        "{}",
        serde_json::json!({
            "people": people, "entries": entries, "us per entry": per_entry, "kept bytes": kept.len(), "keeping ms": keeping.as_secs_f64() * 1e3,
            "reading ms": reading.as_secs_f64() * 1e3, "days ms": pages.first(), "weeks ms": pages.get(1), "months ms": pages.get(2),
        })
    );
    Ok(())
}
