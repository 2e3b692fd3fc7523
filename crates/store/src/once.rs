//! What counts once: on every node, since it is kept where all of them look. Ephemeral: what is lost here was bound to a time anyway.

use access::chat::ChatService;
use access::row::{Column, Field as _};
use jiff::Timestamp;

use crate::database::Sql;
use crate::error::StoreError;
use crate::store::Store;

pub(crate) const TAKE: &str = "INSERT INTO once (id, until) VALUES ($1, $2)";

/// An account at a chat service that asks whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatLink {
    /// The digest of the code it was shown.
    pub verifier: String,
    /// Where.
    pub service: ChatService,
    /// Of which workspace.
    pub team: String,
    /// Who there.
    pub account: String,
    /// How they call themselves there.
    pub name: String,
    /// Until when its code is good.
    pub expires_at: Timestamp,
}

impl Store {
    /// Takes something that counts once, and remembers it until it could not come again. Whether it came for the first time.
    ///
    /// # Errors
    /// If the store can't be written: then nobody knows, and it does not count.
    pub async fn take_once(&self, id: &str, until: Timestamp) -> Result<bool, StoreError> {
        let sql = format!("{TAKE} ON CONFLICT (id) DO NOTHING");
        Ok(self.ephemeral(vec![(&sql, vec![Column::Text(id.to_owned()), until.to_column()])]).await? == [1])
    }

    /// Whether something that counts once came already.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn was_taken(&self, id: &str) -> Result<bool, StoreError> {
        let sql: Sql = "SELECT until FROM once WHERE id = $1".into();
        Ok(!self.query(&sql, &[Column::Text(id.to_owned())]).await?.is_empty())
    }

    /// Keeps an account that asks whose it is, in place of what it was shown before.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn put_chat_link(&self, id: &str, link: &ChatLink) -> Result<(), StoreError> {
        let sql = "INSERT INTO chat_links (id, verifier, service, team, account, name, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7) \
                   ON CONFLICT (id) DO UPDATE SET verifier = excluded.verifier, name = excluded.name, expires_at = excluded.expires_at";
        let text = |text: &str| Column::Text(text.to_owned());
        let args = vec![
            text(id),
            text(&link.verifier),
            link.service.to_column(),
            text(&link.team),
            text(&link.account),
            text(&link.name),
            link.expires_at.to_column(),
        ];
        self.ephemeral(vec![(sql, args)]).await.map(drop)
    }

    /// The account that asks with a code, by the code's digest; `None`: there is none, or it is too late.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn chat_link(&self, verifier: &str, now: Timestamp) -> Result<Option<ChatLink>, StoreError> {
        let sql: Sql = "SELECT service, team, account, name, expires_at FROM chat_links WHERE verifier = $1 AND expires_at > $2".into();
        let rows = self.query(&sql, &[Column::Text(verifier.to_owned()), now.to_column()]).await?;
        Ok(rows.first().and_then(|row| match row.as_slice() {
            [service, Column::Text(team), Column::Text(account), Column::Text(name), until] => Some(ChatLink {
                verifier: verifier.to_owned(),
                service: ChatService::from_column(service)?,
                team: team.clone(),
                account: account.clone(),
                name: name.clone(),
                expires_at: Timestamp::from_column(until)?,
            }),
            _ => None,
        }))
    }

    /// Forgets what could not come again anyway.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn forget_taken(&self, now: Timestamp) -> Result<(), StoreError> {
        let writes = vec![
            ("DELETE FROM once WHERE until < $1", vec![now.to_column()]),
            ("DELETE FROM chat_links WHERE expires_at < $1", vec![now.to_column()]),
        ];
        self.ephemeral(writes).await.map(drop)
    }
}
