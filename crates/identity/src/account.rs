//! Whether somebody may sign in at all, and the one place where a [`VerifiedIdentity`] is made.

use std::net::IpAddr;

use access::claims::JobClaims;
use access::identity::{Mfa, PersonRow, PersonState, Scope, VerifiedIdentity, Via};
use access::ids::PrincipalId;
use access::reason::{Reason, Refusal};
use jiff::Timestamp;

/// A person or workload, with the human who answers for it if it is a workload.
#[derive(Debug, Clone, Copy)]
pub struct Account<'a> {
    /// Who signs in.
    pub person: &'a PersonRow,
    /// The row of [`PersonRow::owner`]; not looked at for humans.
    pub owner: Option<&'a PersonRow>,
}

impl<'a> Account<'a> {
    /// A human.
    #[must_use]
    pub fn human(person: &'a PersonRow) -> Self {
        Self { person, owner: None }
    }

    /// A workload and its owner.
    #[must_use]
    pub fn workload(person: &'a PersonRow, owner: &'a PersonRow) -> Self {
        Self { person, owner: Some(owner) }
    }

    /// Whether this account may sign in: it is active, and a workload's owner is a human who is active.
    ///
    /// # Errors
    /// [`Reason::Disabled`], saying what is disabled or missing.
    pub fn may_sign_in(&self) -> Result<(), Refusal> {
        if self.person.state != PersonState::Active {
            return Err(Reason::Disabled.into());
        }
        if let PrincipalId::Workload(_) = self.person.id {
            let Some(owner) = self.person.owner else {
                return Err(Refusal::because(Reason::Disabled, "nobody answers for this workload"));
            };
            match self.owner {
                Some(row) if row.id == PrincipalId::User(owner) && row.state == PersonState::Active => {}
                Some(row) if row.id == PrincipalId::User(owner) => {
                    return Err(Refusal::because(Reason::Disabled, "the person who answers for this workload is disabled"));
                }
                _ => return Err(Refusal::because(Reason::Disabled, "the person who answers for this workload is not known")),
            }
        }
        Ok(())
    }

    /// Ends every verification: the credential is good, now the account has to be.
    pub(crate) fn proven(self, how: Proven, from: Option<IpAddr>, now: Timestamp) -> Result<VerifiedIdentity, Refusal> {
        self.may_sign_in()?;
        Ok(self.make(how, from, now))
    }

    /// The same for a directory: who answers for it may have left, and it has to go on telling who leaves.
    pub(crate) fn proven_as_directory(self, how: Proven, from: Option<IpAddr>, now: Timestamp) -> Result<VerifiedIdentity, Refusal> {
        if self.person.state != PersonState::Active {
            return Err(Reason::Disabled.into());
        }
        Ok(self.make(how, from, now))
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where proof of identity is made")]
    fn make(self, how: Proven, from: Option<IpAddr>, now: Timestamp) -> VerifiedIdentity {
        let who = access::mint::verified_identity(self.person.id, self.person.username.clone(), how.mfa, how.via, how.scopes, from, now);
        match how.claims {
            Some(claims) => access::mint::verified_job(who, claims),
            None => who,
        }
    }
}

/// By what an account was proven, how strongly, and what that is good for.
pub(crate) struct Proven {
    pub(crate) mfa: Mfa,
    pub(crate) via: Via,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) claims: Option<JobClaims>,
}

impl Proven {
    /// The person is here themselves, so whatever they may do they may do now.
    pub(crate) fn in_person(mfa: Mfa, via: Via) -> Self {
        Self { mfa, via, scopes: Scope::OF_PEOPLE.to_vec(), claims: None }
    }

    /// It is the job of a CI system, if these are the claims of one.
    pub(crate) fn by_job(self, claims: Option<&JobClaims>) -> Self {
        Self { claims: claims.cloned(), ..self }
    }
}

#[cfg(test)]
pub(crate) mod people {
    //! Ana, a build workload of hers, and the time it is.

    use super::*;
    use access::identity::Groups;
    use access::ids::{UserId, WorkloadId};

    pub(crate) fn noon() -> Timestamp {
        "2026-03-02T12:00:00Z".parse().unwrap()
    }

    pub(crate) fn person(name: &str) -> PersonRow {
        PersonRow {
            id: PrincipalId::User(UserId::generate(noon())),
            username: name.parse().unwrap(),
            display_name: None,
            owner: None,
            groups: Groups::default(),
            state: PersonState::Active,
            created_at: noon(),
            version: 1,
        }
    }

    pub(crate) fn workload(name: &str, owner: &PersonRow) -> PersonRow {
        let PrincipalId::User(owner) = owner.id else { panic!("a workload's owner is a human") };
        PersonRow { id: PrincipalId::Workload(WorkloadId::generate(noon())), owner: Some(owner), ..person(name) }
    }

    pub(crate) fn desk() -> IpAddr {
        "192.0.2.10".parse().unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::people::*;
    use super::*;

    // covers: WHO-4 (ssh)
    #[test]
    fn a_workload_signs_in_only_while_somebody_answers_for_it() {
        let (ana, ben) = (person("ana"), person("ben"));
        let build = workload("build", &ana);
        assert_eq!(Account::workload(&build, &ana).may_sign_in(), Ok(()));

        let gone = PersonRow { state: PersonState::Disabled, ..ana.clone() };
        assert_eq!(Account::workload(&build, &gone).may_sign_in().unwrap_err().reason, Reason::Disabled);
        assert_eq!(Account::workload(&build, &ben).may_sign_in().unwrap_err().reason, Reason::Disabled);
        assert_eq!(Account::human(&build).may_sign_in().unwrap_err().reason, Reason::Disabled);
        let orphan = PersonRow { owner: None, ..build.clone() };
        assert_eq!(Account::workload(&orphan, &ana).may_sign_in().unwrap_err().reason, Reason::Disabled);
        let stopped = PersonRow { state: PersonState::Disabled, ..build };
        assert_eq!(Account::workload(&stopped, &ana).may_sign_in().unwrap_err().reason, Reason::Disabled);
    }
}
