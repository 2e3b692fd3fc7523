//! What happens to what a directory service says of people and groups.

macro_rules! directory_events {
    ($then:ident! $state:tt) => {
        $then! { $state Directory {
            /// A directory brought somebody, for the first time or again. Texts: `user_name`, `external_id`, `profile`.
            "directory.user_added" DirectoryUserAdded {
                /// Which directory.
                directory: Username,
                /// Who that is here.
                person: PrincipalId,
                /// Digest of what they are called there.
                user_name_key: String,
                /// Digest of what the directory itself calls them.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                external_id_key: Option<String>,
                /// Whether the directory lets them sign in.
                active: bool,
                /// Whether they are disabled because it does not.
                shut: bool,
            }
            /// A directory says something else of somebody. Texts: `user_name`, `external_id`, `profile`.
            "directory.user_changed" DirectoryUserChanged {
                /// Who that is here.
                person: PrincipalId,
                /// Digest of what they are called there.
                user_name_key: String,
                /// Digest of what the directory itself calls them.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                external_id_key: Option<String>,
                /// Whether the directory lets them sign in.
                active: bool,
                /// Whether they are disabled because it does not.
                shut: bool,
            }
            /// A directory has them no more.
            "directory.user_removed" DirectoryUserRemoved {
                /// Who that is here.
                person: PrincipalId,
                /// Whether they are disabled because of that, or were because of the directory before.
                shut: bool,
                /// The groups they were in there, and are not any more.
                groups: Vec<DirectoryGroupId>,
            }
            /// An administrator disabled somebody whom a directory had shut out: it alone does not let them in again. Text: `reason`.
            "directory.user_held" DirectoryUserHeld {
                /// Who that is here.
                person: PrincipalId,
            }
            /// A directory has a group. Texts: `display_name`, `external_id`.
            "directory.group_added" DirectoryGroupAdded {
                /// Which directory.
                directory: Username,
                /// Which group.
                group: DirectoryGroupId,
                /// Digest of what it is called there.
                name_key: String,
                /// Digest of what the directory itself calls it.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                external_id_key: Option<String>,
                /// Who is in it.
                members: Vec<PrincipalId>,
            }
            /// A group of a directory changed. Texts, where it is called otherwise now: `display_name`, `external_id`.
            "directory.group_changed" DirectoryGroupChanged {
                /// Which group.
                group: DirectoryGroupId,
                /// Digest of what it is called there; left out: what it is called stays as it is, all of it.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                name_key: Option<String>,
                /// Digest of what the directory itself calls it.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                external_id_key: Option<String>,
                /// Who is in it now and was not.
                added: Vec<PrincipalId>,
                /// Who was in it and is not.
                removed: Vec<PrincipalId>,
            }
            /// A directory has it no more; nobody is in it.
            "directory.group_removed" DirectoryGroupRemoved {
                /// Which group.
                group: DirectoryGroupId,
            }
        } }
    };
}
