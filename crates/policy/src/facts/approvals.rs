//! `approvals.toml`: named plans of stages (all of them) and seats (any of them).

use std::collections::BTreeMap;

use access::approval::{Plan, Seat, Stage};
use access::names::PlanName;
use access::time::Span;

use super::named;
use crate::document::{At, Table};
use crate::problem::{Place, Sink};

/// A plan and where its seats stand, to check that each exists.
pub(crate) struct PlanSource {
    pub(crate) plan: Plan,
    pub(crate) seats: Vec<At<Seat>>,
}

pub(crate) fn load(files: &[(&str, &[u8])], sink: &Sink) -> BTreeMap<PlanName, (PlanSource, Place)> {
    named(files, "plan", sink, |table| {
        let name: At<PlanName> = table.required("name")?;
        let mut places = Vec::new();
        let mut stages = Vec::new();
        for stage in table.tables("stage") {
            stages.push(read_stage(&stage, &mut places));
            stage.finish();
        }
        if stages.is_empty() {
            table.sink().error(name.place.clone(), format!("the plan `{}` has no `[[plan.stage]]`, so it would ask nobody", name.value));
        }
        let plan = Plan { name: name.value.clone(), stages };
        Some((name, PlanSource { plan, seats: places }))
    })
}

/// `signed`: what is neither `true` nor `false` is a mistake, and until it is mended means the stricter of the two.
pub(crate) fn signed(table: &Table<'_>) -> bool {
    table.has("signed") && table.flag_or("signed", true)
}

fn read_stage(table: &Table<'_>, places: &mut Vec<At<Seat>>) -> Stage {
    let seats: Vec<At<Seat>> = table.read_list("seats");
    if seats.is_empty() {
        table.sink().error(table.place(), "a stage without `seats` could never be filled; name groups, or schedules as `on-call:NAME`");
    }
    let count = table.number("count", 0, u32::MAX).map_or(1, |n| {
        if n.value == 0 {
            table.sink().error(n.place.clone(), "a stage with a `count` of 0 would ask nobody");
        }
        n.value
    });
    let timeout: Option<At<Span>> = table.read("timeout");
    let escalate_to: Option<At<Seat>> = table.read("escalate_to");
    if timeout.is_some() != escalate_to.is_some() {
        table.sink().error(table.place(), "`timeout` and `escalate_to` belong together: after the one, the other joins");
    }
    let stage = Stage {
        seats: seats.iter().map(|s| s.value.clone()).collect(),
        count,
        timeout: timeout.map(|t| t.value),
        escalate_to: escalate_to.as_ref().map(|e| e.value.clone()),
        signed: signed(table),
    };
    places.extend(seats);
    places.extend(escalate_to);
    stage
}
