//! An approver signs: their passkey over the exact request, so that it can't be denied later.
//!
//! *Takes* a request and the proof of who approves. *Proves*, with a signature over the request as it was shown, that it was them and
//! what they agreed to. *Hands to* `approve` the signature, which is kept with the vote and verified offline by `evidence`.

use access::approval::VoteSignature;
use access::event::Event;
use access::identity::PasskeyUse;
use access::ids::RequestId;
use access::reason::{Reason, Refusal};
use access::request::RequestRow;
use access::statement::{ApprovalStatement, challenge, text_digests};
use identity::passkeys::{Answered, Assertion, Purpose};
use store::{EntryFilter, EntryPage};

use crate::Caller;
use crate::gate::{Gate, unavailable};
use crate::passkeys::{Proved, address};

/// What somebody signs, and what their browser is told.
#[derive(Debug, Clone)]
pub struct ToSign {
    /// The statement; the challenge is its SHA-256.
    pub statement: String,
    /// The passkeys that will do.
    pub credentials: Vec<String>,
}

/// An approval that was signed.
pub(crate) struct Signed {
    pub(crate) signature: VoteSignature,
    /// Which revision of the request.
    pub(crate) revision: i64,
    pub(crate) proved: Proved,
}

impl Gate {
    /// What somebody signs who approves a request as it stands now.
    ///
    /// # Errors
    /// As approving it would be refused; if they have no passkey, or passkeys can't be used here.
    pub async fn begin_signature(&self, caller: &Caller, request: RequestId) -> Result<ToSign, Refusal> {
        let party = self.party()?.clone();
        let row = self.votable(caller, request).await?;
        let credentials: Vec<String> = self.passkeys(caller).await?.into_iter().map(|row| row.credential).collect();
        if credentials.is_empty() {
            let detail = format!("you have no passkey yet; add one at {}/account", party.origin);
            return Err(Refusal::because(Reason::SignatureRequired, detail).about(request));
        }
        let (reason, ticket) = self.digests_of(&row).await?;
        let statement = ApprovalStatement::of(&row, caller.who.id(), &party.origin, &party.id, reason, ticket)
            .text()
            .map_err(|_| Refusal::of(Reason::Internal))?;
        let purpose = Purpose::Approve { person: caller.who.id(), request, statement: statement.clone() };
        self.ceremonies().begin_with(challenge(&statement).to_vec(), purpose, address(caller), self.now());
        Ok(ToSign { statement, credentials })
    }

    /// What a passkey signed, if it is the caller's and what it signed is an approval of this request.
    pub(crate) async fn signed(&self, caller: &Caller, request: RequestId, assertion: &Assertion) -> Result<Signed, Refusal> {
        let (person, answered) = (caller.who.id(), Answered { assertion, user_handle: None });
        let proved = self
            .prove(
                &answered,
                address(caller),
                PasskeyUse::Approval,
                |purpose| matches!(purpose, Purpose::Approve { person: by, request: of, .. } if *by == person && *of == request),
            )
            .await?;
        self.refuse_another(caller, proved.used.who.id())?;
        let Purpose::Approve { statement, .. } = &proved.purpose else { return Err(Refusal::of(Reason::Internal)) };
        let said = ApprovalStatement::read(statement).ok_or_else(|| Refusal::of(Reason::Internal))?;
        let signature = VoteSignature {
            passkey: proved.row.id,
            credential: proved.row.credential.clone(),
            public_key: proved.row.public_key.clone(),
            statement: statement.clone(),
            authenticator_data: assertion.authenticator_data.clone(),
            client_data: assertion.client_data.clone(),
            signature: assertion.signature.clone(),
        };
        Ok(Signed { signature, revision: said.revision, proved })
    }

    /// The digests of reason and ticket, as the entry has them that made this revision of the request.
    async fn digests_of(&self, row: &RequestRow) -> Result<(Option<String>, Option<String>), Refusal> {
        let filter = EntryFilter { mentions: Some(row.id.to_string()), name: Some("request.".to_owned()), ..EntryFilter::default() };
        let page = EntryPage { limit: 1_000, after: None, newest_first: true };
        let entries = self.store.entries(&filter, page).await.map_err(unavailable)?;
        let made = entries.into_iter().find(|logged| match &logged.entry.event {
            Event::RequestSubmitted { request, .. } | Event::RequestEdited { request, .. } => *request == row.id,
            _ => false,
        });
        let mut digests = text_digests(&made.ok_or_else(|| Refusal::of(Reason::Internal))?.leaf);
        Ok((digests.remove("reason"), digests.remove("ticket")))
    }
}
