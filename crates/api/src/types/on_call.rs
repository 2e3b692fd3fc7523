//! Who is on call.

use access::names::{GroupName, Username};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// Who is on call for one schedule of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Duty {
    /// As policy calls the schedule.
    #[schema(value_type = schema::GroupName)]
    pub schedule: GroupName,
    /// Where it is kept; null: in the policy directory.
    #[schema(value_type = Option<schema::GroupName>)]
    pub source: Option<GroupName>,
    /// As the gate's configuration calls it there.
    #[schema(value_type = Option<schema::GroupName>)]
    pub service: Option<GroupName>,
    /// The highest escalation level that counts; null: every one.
    pub level: Option<u32>,
    /// Whether it is known who is on call. If not, nobody counts as on call.
    pub known: bool,
    /// Who is, first levels first.
    pub people: Vec<OnDuty>,
    /// Why it is not known; null if it is.
    pub unknown: Option<String>,
    /// When the source answered last.
    #[schema(value_type = Option<schema::Time>)]
    pub seen_at: Option<Timestamp>,
    /// Until when that counts.
    #[schema(value_type = Option<schema::Time>)]
    pub good_until: Option<Timestamp>,
    /// Why the source's newest answer was none; null if it was one.
    pub trouble: Option<String>,
    /// Whom the source named that the configuration maps to nobody here; empty for who may not administer nodes.
    pub unmapped: Vec<String>,
}

/// Somebody on call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OnDuty {
    /// Who.
    #[schema(value_type = schema::Username)]
    pub username: Username,
    /// The escalation level, 1 first; null: the schedule has none.
    pub level: Option<u32>,
    /// Until when; null if it is not known.
    #[schema(value_type = Option<schema::Time>)]
    pub until: Option<Timestamp>,
}

/// Who is on call, for every schedule of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Duties {
    /// By name.
    pub items: Vec<Duty>,
}

impl From<workflow::on_call::Duty> for Duty {
    fn from(duty: workflow::on_call::Duty) -> Self {
        let workflow::on_call::Duty { schedule, source, service, level, people, unknown, seen_at, good_until, trouble, unmapped } = duty;
        let people =
            people.into_iter().map(|workflow::on_call::DutyPerson { username, level, until }| OnDuty { username, level, until }).collect();
        Self { schedule, source, service, level, known: unknown.is_none(), people, unknown, seen_at, good_until, trouble, unmapped }
    }
}
