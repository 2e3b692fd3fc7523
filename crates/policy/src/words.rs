//! The words of the Cedar schema as values: types, actions, and entities made of facts.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;
use std::sync::LazyLock;

use access::claims::JobClaims;
use access::ids::PrincipalId;
use access::names::{GroupName, ResourceName, RoleName};
use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression, Schema};

use crate::facts::resources::Resource;
use crate::situation::Situation;

/// The schema, as it is written down.
pub const SCHEMA: &str = include_str!("tide.cedarschema");

static PARSED: LazyLock<Result<Schema, String>> = LazyLock::new(|| {
    let parsed = Schema::from_cedarschema_str(SCHEMA);
    parsed.map(|(schema, _)| schema).map_err(|e| format!("the built-in schema cannot be read: {e}"))
});

/// The actions inside a session; `roles.toml` alone permits them.
pub(crate) const IN_SESSION: &[&str] = &[
    "ssh:shell",
    "ssh:pty",
    "ssh:exec",
    "ssh:sftp-read",
    "ssh:sftp-write",
    "ssh:local-forward",
    "ssh:remote-forward",
    "ssh:local-socket",
    "ssh:remote-socket",
    "ssh:agent-forward",
    "ssh:env",
    "ssh:subsystem",
    "database:unrestricted",
    "database:select",
    "database:insert",
    "database:update",
    "database:delete",
    "database:truncate",
    "database:function",
    "database:copy-in",
    "database:copy-out",
    "database:listen",
];

macro_rules! types {
    ($($field:ident = $name:literal,)*) => {
        /// The entity types, parsed once.
        #[derive(Debug, Clone)]
        pub(crate) struct Words { $(pub(crate) $field: EntityTypeName,)* pub(crate) schema: Schema }

        impl Words {
            /// # Errors
            /// Only if the built-in schema itself is broken.
            pub(crate) fn new() -> Result<Self, String> {
                let schema = PARSED.clone()?;
                $(let $field = EntityTypeName::from_str($name).map_err(|e| e.to_string())?;)*
                Ok(Self { $($field,)* schema })
            }
        }
    };
}

types! {
    action = "Tide::Action",
    group = "Tide::Group",
    team = "Tide::Team",
    on_call = "Tide::OnCall",
    user = "Tide::User",
    workload = "Tide::Workload",
    tier = "Tide::Tier",
    environment = "Tide::Environment",
    kind = "Tide::Kind",
    resource = "Tide::Resource",
    role = "Tide::Role",
    access = "Tide::Access",
    request = "Tide::Request",
    session = "Tide::Session",
    recording = "Tide::Recording",
    review = "Tide::Review",
    gate = "Tide::Gate",
}

/// A uid of a type.
pub(crate) fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

/// Somebody as Cedar sees them: the entity, and everything they are in.
pub(crate) struct Subject {
    pub(crate) uid: EntityUid,
    pub(crate) ancestors: HashSet<EntityUid>,
    pub(crate) entities: Vec<Entity>,
}

/// What it is about, as Cedar sees it.
pub(crate) struct Target {
    pub(crate) uid: EntityUid,
    pub(crate) ancestors: HashSet<EntityUid>,
    pub(crate) entities: Vec<Entity>,
}

/// Why something could not be put to Cedar: an attribute it does not take.
pub(crate) type Unfit = String;

impl Words {
    /// Somebody, in these groups, teams and schedules.
    pub(crate) fn subject(
        &self,
        who: &Situation,
        groups: &[GroupName],
        teams: &[&GroupName],
        on_call: &[GroupName],
        contractor: bool,
    ) -> Result<Subject, Unfit> {
        let kind = match who.id {
            PrincipalId::User(_) => &self.user,
            PrincipalId::Workload(_) => &self.workload,
        };
        let uid_of = uid(kind, who.username.as_str());
        let mut ancestors: HashSet<EntityUid> = groups.iter().map(|g| uid(&self.group, g.as_str())).collect();
        ancestors.extend(teams.iter().map(|t| uid(&self.team, t.as_str())));
        ancestors.extend(on_call.iter().map(|s| uid(&self.on_call, s.as_str())));
        let mut attributes = HashMap::from([
            ("name".to_owned(), RestrictedExpression::new_string(who.username.to_string())),
            ("contractor".to_owned(), RestrictedExpression::new_bool(contractor)),
        ]);
        if let PrincipalId::Workload(_) = who.id {
            attributes.insert("claims".to_owned(), claims(who.claims.as_ref())?);
        }
        let mut entities = Vec::new();
        if let (PrincipalId::Workload(_), Some(owner)) = (who.id, &who.owner) {
            let owner_uid = uid(&self.user, owner.as_str());
            attributes.insert("owner".to_owned(), RestrictedExpression::new_entity_uid(owner_uid.clone()));
            let named = HashMap::from([
                ("name".to_owned(), RestrictedExpression::new_string(owner.to_string())),
                ("contractor".to_owned(), RestrictedExpression::new_bool(false)),
            ]);
            entities.push(Entity::new(owner_uid, named, HashSet::new()).map_err(|e| e.to_string())?);
        }
        entities.push(Entity::new(uid_of.clone(), attributes, ancestors.clone()).map_err(|e| e.to_string())?);
        Ok(Subject { uid: uid_of, ancestors, entities })
    }

    fn facts_of(&self, resource: &Resource) -> HashMap<String, RestrictedExpression> {
        let tags = resource.tags.iter().map(|t| RestrictedExpression::new_string(t.clone()));
        let mut facts = HashMap::from([("tags".to_owned(), RestrictedExpression::new_set(tags))]);
        if let Some(environment) = &resource.environment {
            facts.insert("environment".to_owned(), RestrictedExpression::new_string(environment.clone()));
        }
        if let Some(owner) = &resource.owner {
            facts.insert("owner".to_owned(), RestrictedExpression::new_entity_uid(uid(&self.group, owner.as_str())));
        }
        if let Some(schedule) = &resource.on_call {
            facts.insert("on_call".to_owned(), RestrictedExpression::new_entity_uid(uid(&self.on_call, schedule.as_str())));
        }
        facts
    }

    fn above(&self, resource: &Resource) -> HashSet<EntityUid> {
        let mut above = HashSet::from([uid(&self.kind, &resource.kind.to_string())]);
        above.extend(resource.tier.as_ref().map(|t| uid(&self.tier, t.as_str())));
        above.extend(resource.environment.as_ref().map(|e| uid(&self.environment, e)));
        above
    }

    /// One role on one resource, as far as it takes to find the policies about it: without what is true of them.
    pub(crate) fn place(&self, resource: &Resource, role: &RoleName) -> Target {
        let mut ancestors = self.above(resource);
        ancestors.extend([uid(&self.resource, resource.name.as_str()), uid(&self.role, role.as_str())]);
        Target { uid: uid(&self.access, &access_id(&resource.name, role)), ancestors, entities: Vec::new() }
    }

    /// One role on one resource.
    pub(crate) fn access(&self, resource: &Resource, role: &RoleName) -> Result<Target, Unfit> {
        let mut target = self.place(resource, role);
        self.furnish(&mut target, resource, role)?;
        Ok(target)
    }

    /// What is true of the two.
    pub(crate) fn furnish(&self, target: &mut Target, resource: &Resource, role: &RoleName) -> Result<(), Unfit> {
        let resource_uid = uid(&self.resource, resource.name.as_str());
        let role_uid = uid(&self.role, role.as_str());
        let mut facts = self.facts_of(resource);
        facts.insert("name".to_owned(), RestrictedExpression::new_string(resource.name.to_string()));
        let resource_entity = Entity::new(resource_uid.clone(), facts, self.above(resource)).map_err(|e| e.to_string())?;
        let role_name = HashMap::from([("name".to_owned(), RestrictedExpression::new_string(role.to_string()))]);
        let role_entity = Entity::new(role_uid.clone(), role_name, HashSet::new()).map_err(|e| e.to_string())?;

        let mut facts = self.facts_of(resource);
        facts.insert("resource".to_owned(), RestrictedExpression::new_entity_uid(resource_uid.clone()));
        facts.insert("role".to_owned(), RestrictedExpression::new_entity_uid(role_uid.clone()));
        let entity = Entity::new(target.uid.clone(), facts, HashSet::from([resource_uid, role_uid])).map_err(|e| e.to_string())?;
        target.entities = vec![resource_entity, role_entity, entity];
        Ok(())
    }

    /// A request, session, recording or review about one role on one resource. A resource that is gone has no facts left.
    pub(crate) fn trace(
        &self,
        kind: &EntityTypeName,
        about: &crate::may::About,
        reviewers: Option<&GroupName>,
        resource: Option<&Resource>,
    ) -> Result<Target, Unfit> {
        let (mut ancestors, mut entities, above) = match resource {
            Some(resource) => {
                let access = self.access(resource, &about.role)?;
                (access.ancestors, access.entities, access.uid)
            }
            None => (HashSet::new(), Vec::new(), uid(&self.access, &access_id(&about.resource, &about.role))),
        };
        let mut facts = match resource {
            Some(resource) => self.facts_of(resource),
            None => HashMap::from([("tags".to_owned(), RestrictedExpression::new_set([]))]),
        };
        facts.insert("person".to_owned(), RestrictedExpression::new_string(about.username.to_string()));
        facts.insert("role".to_owned(), RestrictedExpression::new_entity_uid(uid(&self.role, about.role.as_str())));
        facts.insert("break_glass".to_owned(), RestrictedExpression::new_bool(about.break_glass));
        if let Some(reviewers) = reviewers {
            facts.insert("reviewers".to_owned(), RestrictedExpression::new_entity_uid(uid(&self.group, reviewers.as_str())));
        }
        let own = uid(kind, "this");
        entities.push(Entity::new(own.clone(), facts, HashSet::from([above.clone()])).map_err(|e| e.to_string())?);
        ancestors.insert(above);
        Ok(Target { uid: own, ancestors, entities })
    }

    /// The gate itself.
    pub(crate) fn the_gate(&self) -> Target {
        let own = uid(&self.gate, "gate");
        Target { entities: vec![Entity::with_uid(own.clone())], uid: own, ancestors: HashSet::new() }
    }
}

/// What is known of a job, as a record: the claims that the schema names, and the issuer. Nothing of who is none.
fn claims(job: Option<&JobClaims>) -> Result<RestrictedExpression, Unfit> {
    let text = |value: &String| RestrictedExpression::new_string(value.clone());
    let mut fields: Vec<(String, RestrictedExpression)> = Vec::new();
    if let Some(job) = job {
        fields.push(("issuer".to_owned(), text(&job.issuer)));
        let known = job.claims.iter().filter(|(name, _)| access::claims::is_known(name));
        fields.extend(known.map(|(name, value)| (name.clone(), text(value))));
    }
    RestrictedExpression::new_record(fields).map_err(|e| e.to_string())
}

/// How `Tide::Access` is named: `resource+role`.
pub(crate) fn access_id(resource: &ResourceName, role: &RoleName) -> String {
    format!("{resource}+{role}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_names_every_claim_that_is_kept_and_no_other() {
        let (_, record) = SCHEMA.split_once("type Claims = {").unwrap();
        let (record, _) = record.split_once('}').unwrap();
        let mut named: Vec<&str> =
            record.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once('"').map(|(name, _)| name)).collect();
        named.sort_unstable();
        let mut kept: Vec<&str> = access::claims::GITHUB.iter().chain(access::claims::GITLAB).copied().chain(["issuer"]).collect();
        kept.sort_unstable();
        kept.dedup();
        assert_eq!(named, kept);
    }
}
