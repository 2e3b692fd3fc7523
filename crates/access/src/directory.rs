//! Who and which groups a directory service says there are: the other half of a person or group, beside what the gate itself knows.
//!
//! A directory (SCIM 2.0, RFC 7643 and RFC 7644) brings people and groups; each carries the directory's name. What is personal stands in
//! texts of the entries and can be erased; what rows are found by are digests.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::ids::{DirectoryGroupId, PrincipalId};
use crate::names::Username;

row! {
    /// Somebody as a directory knows them.
    DirectoryUserRow in "directory_users" {
        /// `usr_…`: who that is here, and the directory's `id` of them.
        id: PrincipalId,
        /// Which directory brought them.
        directory: Username,
        /// Their `userName`, as it was written; `None` once erased.
        user_name: Option<String>,
        /// [`key`] of it.
        user_name_key: String,
        /// Their `externalId`: what the directory itself calls them.
        external_id: Option<String>,
        /// [`key`] of it.
        external_id_key: Option<String>,
        /// Names and addresses, JSON; `None` once erased.
        profile: Option<String>,
        /// What the directory last said of them: whether they may sign in.
        active: bool,
        /// Whether they are disabled because the directory said so: then, and only then, it can let them in again.
        shut: bool,
        /// Since when the directory knows them here.
        created_at: Timestamp,
        /// When it last said something else.
        changed_at: Timestamp,
        /// When it took them out.
        removed_at: Option<Timestamp>,
        /// Counts changes.
        version: i64,
    }
}

row! {
    /// A group of a directory. What it means here the configuration says.
    DirectoryGroupRow in "directory_groups" {
        /// `grp_…`.
        id: DirectoryGroupId,
        /// Whose group it is.
        directory: Username,
        /// Its `displayName`; `None` once erased.
        display_name: Option<String>,
        /// [`key`] of it.
        name_key: String,
        /// Its `externalId`.
        external_id: Option<String>,
        /// [`key`] of it.
        external_id_key: Option<String>,
        /// Since when.
        created_at: Timestamp,
        /// When it last changed.
        changed_at: Timestamp,
        /// When the directory took it out.
        removed_at: Option<Timestamp>,
        /// Counts changes.
        version: i64,
    }
}

row! {
    /// Somebody in a group of a directory, or who was.
    DirectoryMemberRow in "directory_members" {
        /// Group and person: [`member_id`].
        id: String,
        /// In which group.
        group: DirectoryGroupId,
        /// Who.
        person: PrincipalId,
        /// Whether they are in it now.
        member: bool,
        /// Since when they are, or are not.
        since: Timestamp,
        /// Counts changes.
        version: i64,
    }
}

impl DirectoryUserRow {
    /// Whether the directory has them still.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.removed_at.is_none()
    }
}

/// The key of the row that says whether somebody is in a group.
#[must_use]
pub fn member_id(group: DirectoryGroupId, person: PrincipalId) -> String {
    format!("{group}/{person}")
}

/// By what something of a directory is found: SHA-256, hex, over its name, what of it is meant, and the text. Says nothing to who reads it.
#[must_use]
pub fn key(directory: &Username, what: &str, text: &str) -> String {
    // JSON, so that no two have the same text.
    hex::encode(Sha256::digest(serde_json::json!([directory.as_str(), what, text]).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_one_directory_is_found_as_another_thing() {
        let (corp, partner): (Username, Username) = ("corp".parse().unwrap(), "partner".parse().unwrap());
        let ana = key(&corp, "userName", "ana");
        assert_eq!(ana, key(&corp, "userName", "ana"));
        for other in [key(&partner, "userName", "ana"), key(&corp, "externalId", "ana"), key(&corp, "userName", "Ana")] {
            assert_ne!(ana, other);
        }
    }
}
