//! A change: entries first, then what they change besides the rows that follow from them by the fold.

use std::collections::BTreeSet;

use access::event::{Entry, EntryDraft};
use access::fold::{RowKey, Tables, touches};
use access::grant::GrantRow;
use access::identity::Mfa;
use access::ids::{DeliveryId, GrantId, PasskeyId, PrincipalId, WebSessionId};
use access::names::SecretName;
use access::request::RequestRow;
use access::row::{Column, Field, Row, json_to_column};
use jiff::Timestamp;

use crate::bundles::BundleFile;
use crate::commit::makes_only_new_rows;
use crate::committed::{HostKeyRow, InvitationRow, PasskeyRow, SecretRow, TokenRow, WebSessionRow};
use crate::database::Sql;
use crate::entries::LoggedEntry;
use crate::error::StoreError;
use crate::log::HIGH_WATER;
use crate::outbox::{Attempted, OutboxRow, REPLAY, Telling, attempt, told};
use crate::table::{insert_row, upsert_row, version_of};

/// What is to be kept, all of it or nothing. There is no change without an entry.
#[derive(Debug, Clone)]
#[must_use = "a change does nothing until it is committed"]
pub struct Change {
    drafts: Vec<EntryDraft>,
    expectations: Vec<Expectation>,
    writes: Vec<Write>,
    /// What is to be told of which entry.
    tellings: Vec<(usize, Telling)>,
    in_no_hurry: bool,
}

/// A row as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Expectation {
    pub(crate) key: RowKey,
    pub(crate) version: Option<i64>,
}

/// One row of a table that is not journaled.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) sql: Sql,
    pub(crate) args: Vec<Column>,
    /// The row that must be there to be changed; it is not if somebody was faster.
    pub(crate) must: Option<(&'static str, String)>,
}

impl Change {
    /// A change with its first entry.
    pub fn new(first: EntryDraft) -> Self {
        Self { drafts: vec![first], expectations: Vec::new(), writes: Vec::new(), tellings: Vec::new(), in_no_hurry: false }
    }

    /// Nobody waits for it: it may stand for a moment, until another change shares its wait for the disk.
    pub fn in_no_hurry(mut self) -> Self {
        self.in_no_hurry = true;
        self
    }

    /// With another entry; entries are applied in order.
    pub fn and(mut self, next: EntryDraft) -> Self {
        self.drafts.push(next);
        self
    }

    /// With several more entries.
    pub fn and_all(mut self, next: impl IntoIterator<Item = EntryDraft>) -> Self {
        self.drafts.extend(next);
        self
    }

    /// Its entries, in order, before they are sealed.
    #[must_use]
    pub fn drafts(&self) -> &[EntryDraft] {
        &self.drafts
    }

    /// With a message about the entry at this place among [`Self::drafts`]: kept if the change is, and lost if it is not.
    pub fn tell(mut self, place: usize, telling: Telling) -> Self {
        self.tellings.push((place, telling));
        self
    }

    /// Whether somebody is told of it.
    #[must_use]
    pub fn tells(&self) -> bool {
        !self.tellings.is_empty()
    }

    /// With the newest time turned back to `to`, for a log that had run ahead: of what is kept for a time nothing is kept longer by it.
    pub fn turn_back_time(self, to: Timestamp) -> Self {
        let mark = vec![Column::Text(HIGH_WATER.into()), Column::Text(to.as_microsecond().to_string())];
        self.write("UPDATE meta SET value = $2 WHERE name = $1", mark, None)
            .write("DELETE FROM web_sessions", Vec::new(), None)
            .write("DELETE FROM leases", Vec::new(), None)
            .write("UPDATE outbox SET due_at = $1 WHERE due_at > $1", vec![to.to_column()], None)
            .write("UPDATE streams SET due_at = $1 WHERE due_at > $1", vec![to.to_column()], None)
            .write("UPDATE outbox SET claimed_until = $1 WHERE claimed_until > $1", vec![to.to_column()], None)
    }

    /// With the end of a message that was claimed. Only if it still is.
    pub fn end_message(self, row: &OutboxRow, what: &Attempted, now: Timestamp) -> Self {
        let (sql, args) = attempt(row.id, row.claimed_by.as_deref().unwrap_or_default(), what, now);
        self.write(sql, args, Some((OutboxRow::TABLE, row.id.to_string())))
    }

    /// With a message that is over sent again. Only if it is over.
    pub fn replay_message(self, id: DeliveryId, now: Timestamp) -> Self {
        self.write(REPLAY, vec![id.to_column(), now.to_column()], Some((OutboxRow::TABLE, id.to_string())))
    }

    /// Only if this journaled row still is as it was read: same version. It need not be one that the entries touch.
    pub fn expect<R: Row>(mut self, row: &R) -> Self {
        let version = version_of(R::TABLE, &row.to_columns());
        self.expectations.push(Expectation { key: RowKey { table: R::TABLE, key: row.key() }, version });
        self
    }

    /// With a new request, only if its person has no open grant for the same besides these and the one that this change makes of it. What
    /// another job of the same workload was given is none of its.
    pub fn only_beside(self, request: &RequestRow, known: &[GrantId]) -> Self {
        let mut args = vec![
            request.id.to_column(),
            request.person.to_column(),
            request.resource.to_column(),
            request.role.to_column(),
            request.claims.to_column(),
        ];
        let places: Vec<String> = (1..=known.len()).map(|n| format!("${}", args.len() + n)).collect();
        let others = if places.is_empty() { String::new() } else { format!(" AND g.id NOT IN ({})", places.join(", ")) };
        args.extend(known.iter().map(Field::to_column));
        // INVARIANT: this comes after the request's own row, which on PostgreSQL waits for whoever is just deciding on another one.
        self.write(
            format!(
                "UPDATE requests SET version = version WHERE id = $1 AND NOT EXISTS ( \
                 SELECT 1 FROM grants g JOIN requests r ON r.id = g.request WHERE g.person = $2 AND g.resource = $3 AND g.role = $4 \
                 AND g.state <> 'ended' AND g.request <> $1 AND r.claims IS NOT DISTINCT FROM $5{others})"
            ),
            args,
            Some((GrantRow::TABLE, format!("for {}", request.id))),
        )
    }

    /// With a new token.
    pub fn put_token(self, row: &TokenRow) -> Self {
        self.write(insert_row::<TokenRow>(), row.to_columns(), None)
    }

    /// With a token revoked: `row` as it stands afterwards. Only if it was not revoked before, and is called as it was when it was read.
    pub fn revoke_token(self, row: &TokenRow) -> Self {
        self.write(
            // INVARIANT: a label that was erased since it was read does not come back; the digest in the entry is of the whole row.
            "UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL AND label IS NOT DISTINCT FROM $3",
            vec![row.id.to_column(), row.revoked_at.to_column(), row.label.to_column()],
            Some((TokenRow::TABLE, row.key())),
        )
    }

    /// With a token called differently: `row` as it stands afterwards. Only if it was not revoked since it was read.
    pub fn rename_token(self, row: &TokenRow) -> Self {
        self.write(
            "UPDATE tokens SET label = $2 WHERE id = $1 AND revoked_at IS NOT DISTINCT FROM $3",
            vec![row.id.to_column(), row.label.to_column(), row.revoked_at.to_column()],
            Some((TokenRow::TABLE, row.key())),
        )
    }

    /// With a new passkey.
    pub fn put_passkey(self, row: &PasskeyRow) -> Self {
        self.write(insert_row::<PasskeyRow>(), row.to_columns(), None)
    }

    /// With a passkey used or renamed: `row` as it stands afterwards, its version one up. Only if nobody changed it since.
    pub fn change_passkey(self, row: &PasskeyRow) -> Self {
        self.write(
            "UPDATE passkeys SET label = $3, backed_up = $4, counter = $5, version = $2, used_at = $6, removed_at = $7 \
             WHERE id = $1 AND version = $2 - 1 AND removed_at IS NULL",
            vec![
                row.id.to_column(),
                row.version.to_column(),
                row.label.to_column(),
                row.backed_up.to_column(),
                row.counter.to_column(),
                row.used_at.to_column(),
                row.removed_at.to_column(),
            ],
            Some((PasskeyRow::TABLE, row.key())),
        )
    }

    /// With a passkey removed: `row` as it stands afterwards, its version one up. What browsers proved with it again is not proved any more;
    /// that they are signed in with something else stays. Only if nobody changed it since.
    pub fn remove_passkey(self, row: &PasskeyRow) -> Self {
        self.change_passkey(row).write(
            "UPDATE web_sessions SET mfa = $2, proved_at = created_at, raised_with = NULL WHERE raised_with = $1",
            vec![row.id.to_column(), Mfa::None.to_column()],
            None,
        )
    }

    /// Only if this passkey was not removed.
    pub fn only_with_passkey(self, id: PasskeyId) -> Self {
        self.write(
            "UPDATE passkeys SET version = version WHERE id = $1 AND removed_at IS NULL",
            vec![id.to_column()],
            Some((PasskeyRow::TABLE, id.to_string())),
        )
    }

    /// With a browser's sign-in proved again: with which passkey, how strongly, and when.
    pub fn raise_web_session(self, id: WebSessionId, with: PasskeyId, mfa: Mfa, at: Timestamp) -> Self {
        self.write(
            "UPDATE web_sessions SET mfa = $2, proved_at = $3, raised_with = $4 WHERE id = $1",
            vec![id.to_column(), mfa.to_column(), at.to_column(), with.to_column()],
            Some((WebSessionRow::TABLE, id.to_string())),
        )
    }

    /// With a new web session.
    pub fn put_web_session(self, row: &WebSessionRow) -> Self {
        self.write(insert_row::<WebSessionRow>(), row.to_columns(), None)
    }

    /// With a session at an identity provider, by which a browser was signed in that lasts until `ends_at` at the latest.
    pub fn put_provider_session(self, sid: &str, identity: &str, now: Timestamp, ends_at: Timestamp) -> Self {
        self.write("DELETE FROM provider_sessions WHERE ends_at <= $1", vec![now.to_column()], None).write(
            "INSERT INTO provider_sessions (sid, identity, ends_at) VALUES ($1, $2, $3) \
             ON CONFLICT (sid, identity) DO UPDATE SET ends_at = excluded.ends_at",
            vec![sid.to_owned().to_column(), identity.to_owned().to_column(), ends_at.to_column()],
            None,
        )
    }

    /// Only if this browser still is signed in.
    pub fn only_with_web_session(self, id: WebSessionId) -> Self {
        self.write(
            "UPDATE web_sessions SET seen_at = seen_at WHERE id = $1",
            vec![id.to_column()],
            Some((WebSessionRow::TABLE, id.to_string())),
        )
    }

    /// Without the web sessions made by sign-ins of an identity: all of them, or those of one session at the provider.
    pub fn end_web_sessions_from(self, identity: &str, sid: Option<&str>) -> Self {
        let identity = identity.to_owned().to_column();
        match sid {
            Some(sid) => {
                self.write("DELETE FROM web_sessions WHERE identity = $1 AND sid = $2", vec![identity, sid.to_owned().to_column()], None)
            }
            None => self.write("DELETE FROM web_sessions WHERE identity = $1", vec![identity], None),
        }
    }

    /// With a new invitation.
    pub fn put_invitation(self, row: &InvitationRow) -> Self {
        self.write(insert_row::<InvitationRow>(), row.to_columns(), None)
    }

    /// With an invitation used: `row` as it stands afterwards. Only if it was not used before.
    pub fn use_invitation(self, row: &InvitationRow) -> Self {
        self.write(
            "UPDATE invitations SET used_at = $2 WHERE id = $1 AND used_at IS NULL",
            vec![row.id.to_column(), row.used_at.to_column()],
            Some((InvitationRow::TABLE, row.key())),
        )
    }

    /// With a sealed secret, in place of the one of its name.
    pub fn put_secret(self, row: &SecretRow) -> Self {
        self.write(upsert_row::<SecretRow>(), row.to_columns(), None)
    }

    /// Without this secret. Only if it is there.
    pub fn delete_secret(self, name: &SecretName) -> Self {
        self.write("DELETE FROM secrets WHERE name = $1", vec![name.to_column()], Some((SecretRow::TABLE, name.to_string())))
    }

    /// With the host key of a resource that has none yet.
    pub fn learn_host_key(self, row: &HostKeyRow) -> Self {
        self.write(insert_row::<HostKeyRow>(), row.to_columns(), None)
    }

    /// With a bundle's files, kept by the bundle's digest; those that are there stay as they are.
    pub fn put_bundle_files(mut self, files: &[BundleFile]) -> Self {
        let sql: Sql = format!("{} ON CONFLICT (digest, path) DO NOTHING", insert_row::<BundleFile>()).into();
        self.writes.extend(files.iter().map(|file| Write { sql: sql.clone(), args: file.to_columns(), must: None }));
        self
    }

    /// Without some of the texts of an entry, and without them in the row where they stand. The leaf keeps their digests.
    ///
    /// Only if nobody erased one of that entry's texts since it was read.
    pub fn erase_texts(mut self, logged: &LoggedEntry, names: &[impl AsRef<str>]) -> Self {
        let entry = &logged.entry;
        let mut left = entry.texts.clone();
        left.retain(|name, _| !names.iter().any(|gone| gone.as_ref() == name));
        let id = entry.id.to_string();
        self = self.write(
            "UPDATE entries SET texts = $2 WHERE id = $1 AND texts = $3 AND texts <> $2",
            vec![Column::Text(id.clone()), json_to_column(&left), json_to_column(&entry.texts)],
            Some(("entries", id)),
        );
        for RowKey { table, key } in touches(&entry.event) {
            let columns = Tables::SHAPES.iter().find(|(shape, _)| *shape == table).map_or(&[][..], |(_, columns)| columns);
            let Some(id) = columns.first() else { continue };
            for column in columns.iter().filter(|column| names.iter().any(|gone| gone.as_ref() == text_in(table, column))) {
                // These bring all texts of such a row anew; all other texts that stand in rows are given once.
                let anew = match table {
                    "people" => "name IN ('person.renamed')",
                    "chat_accounts" => "name IN ('chat_account.linked')",
                    "directory_users" => "name IN ('directory.user_added', 'directory.user_changed')",
                    // Who only came or went brought no name. No text of anybody's stands in a leaf.
                    "directory_groups" => "name = 'directory.group_changed' AND leaf LIKE '%\"name_key\":%'",
                    "inventory_paths" if *column == "reason" => "name IN ('path.accepted', 'path.closed')",
                    "inventory_paths" => "name IN ('path.changed')",
                    "findings" => "name IN ('finding.accepted')",
                    "drift_looks" => "name IN ('drift.looked', 'drift.failed')",
                    _ => "name IN ('request.edited')",
                };
                self = self.write(
                    format!(
                        "UPDATE {table} SET \"{column}\" = NULL WHERE \"{id}\" = $1 AND NOT EXISTS \
                         (SELECT 1 FROM entries WHERE seq > $2 AND {anew} AND leaf LIKE $3)"
                    ),
                    vec![Column::Text(key.clone()), Column::Int(logged.seq), Column::Text(format!("%\"{key}\"%"))],
                    None,
                );
            }
        }
        self
    }

    /// With something that counts once, remembered until it could not come again. Only if it did not come before.
    pub fn once(self, id: &str, until: Timestamp) -> Self {
        self.write(crate::once::TAKE, vec![Column::Text(id.to_owned()), until.to_column()], None)
    }

    /// With the link of an account that asked whose it is spent. Only if it still is there.
    pub fn spend_chat_link(self, verifier: &str) -> Self {
        let args = vec![Column::Text(verifier.to_owned())];
        self.write("DELETE FROM chat_links WHERE verifier = $1", args, Some(("chat_links", "of this account".to_owned())))
    }

    /// With the answer to a POST that came under an idempotency key; see [`crate::Store::begin_idempotent`].
    pub fn finish_idempotent(self, person: PrincipalId, key: &str, status: u16, body: &str) -> Self {
        self.write(
            crate::idempotency::FINISH,
            vec![crate::idempotency::id(person, key), Column::Int(status.into()), Column::Text(body.to_owned())],
            None,
        )
    }

    pub(crate) fn write(mut self, sql: impl Into<String>, args: Vec<Column>, must: Option<(&'static str, String)>) -> Self {
        self.writes.push(Write { sql: sql.into().into(), args, must });
        self
    }

    /// Seals the entries and works out all that needs no database.
    pub(crate) fn prepare(self) -> Result<Prepared, StoreError> {
        let mut lines = Vec::with_capacity(self.drafts.len());
        let mut rows = BTreeSet::new();
        for draft in self.drafts {
            let entry = draft.seal();
            let touches = touches(&entry.event);
            rows.extend(touches.iter().cloned());
            let unwritable = |error: serde_json::Error| StoreError::Leaf { why: error.to_string() };
            let leaf = String::from_utf8(entry.leaf().map_err(unwritable)?).map_err(|e| StoreError::Leaf { why: e.to_string() })?;
            // INVARIANT: what the signed log could not take is not committed.
            if leaf.len() > access::entry::LONGEST_LEAF {
                return Err(StoreError::TooLong { bytes: leaf.len() });
            }
            let mentions = crate::mentions::keys_of(&leaf);
            let columns = vec![
                Column::Text(entry.id.to_string()),
                entry.at.to_column(),
                Column::Text(entry.actor.to_string()),
                Column::Text(entry.door.to_string()),
                Column::Text(entry.event.name().to_owned()),
                Column::Text(leaf),
                Column::Text(serde_json::to_string(&entry.texts).map_err(unwritable)?),
            ];
            lines.push(Line { entry, touches, columns, mentions });
        }
        if makes_only_new_rows(&lines) {
            rows.clear();
        }
        rows.extend(self.expectations.iter().map(|e| e.key.clone()));
        let mut writes = self.writes;
        for (place, telling) in &self.tellings {
            if let Some(Line { entry, .. }) = lines.get(*place) {
                let row = told(telling, entry.id, entry.event.name(), entry.at);
                writes.push(Write { sql: insert_row::<OutboxRow>().into(), args: row.to_columns(), must: None });
            }
        }
        Ok(Prepared { lines, load: rows, expectations: self.expectations, writes, in_no_hurry: self.in_no_hurry })
    }
}

/// An entry, the rows it changes, its columns, and what it speaks of.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) entry: Entry,
    pub(crate) touches: Vec<RowKey>,
    pub(crate) columns: Vec<Column>,
    pub(crate) mentions: Vec<i64>,
}

/// Which text of an entry stands in this column.
fn text_in<'c>(table: &str, column: &'c str) -> &'c str {
    match (table, column) {
        ("requests", "network") => "from",
        _ => column,
    }
}

/// A change, ready to be written.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) lines: Vec<Line>,
    /// Rows that have to be read, in the order in which everybody locks them.
    pub(crate) load: BTreeSet<RowKey>,
    pub(crate) expectations: Vec<Expectation>,
    pub(crate) writes: Vec<Write>,
    /// Whether it may stand for a moment.
    pub(crate) in_no_hurry: bool,
}
