//! What people do by a link in a mail: decide on the one request it is about, or say that a mailbox is theirs.
//!
//! *Takes* a link, and whoever is signed in where it was opened. *Proves* by its signature that the gate wrote it, to whom, and that it
//! is in time and unused. *Hands to* `vote` the mailbox's owner, with no stronger proof than that they read it: what they may is decided
//! there, now, and what is refused is entered there.

use std::net::IpAddr;

use access::approval::Decision;
use access::chat::{ChatAccountRow, ChatService, Told, mailbox_key};
use access::event::{Actor, EntryDraft, Event};
use access::identity::Via;
use access::ids::{DeliveryId, PrincipalId};
use access::reason::{Reason, Refusal};
use access::request::{Door, RequestRow};
use access::secret::Secret;
use access::time::Span;
use identity::mail::{Link, MailLink, MailboxLink, verify_mail_link};
use jiff::Timestamp;
use notify::mail::address::Address;
use notify::slack::blocks::{About, Card};
use store::{Change, CommitError, EntryFilter, EntryPage, Unique};

use crate::Caller;
use crate::approve::Voted;
use crate::gate::{Gate, refused, unavailable};
use crate::outbox::needs_more;

/// How many mailboxes somebody names within an hour at most: each is sent a mail, whoever it belongs to.
const NAMED_AT_MOST: u32 = 5;
const WITHIN: Span = Span::hours(1);

/// What the page behind a link shows.
#[derive(Debug, Clone)]
pub struct MailAsk {
    /// The request, as it stands.
    pub request: RequestRow,
    /// It in words, with how it ended if it did.
    pub card: Card,
    /// Whose link it is.
    pub person: PrincipalId,
    /// What they are called.
    pub name: String,
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// Whether it was changed after the mail was written.
    pub changed: bool,
    /// Why the link alone does not approve it; `None`: it does.
    pub needs_more: Option<&'static str>,
}

impl Gate {
    /// A link, signed by the gate.
    pub(crate) fn signed_link<L: Link>(&self, link: &L) -> Result<Secret<String>, Refusal> {
        Ok(link.written(&self.row_digest(&link.signed())?))
    }

    /// A link whose signature is the gate's.
    fn own_link<L: Link>(&self, code: &str) -> Result<L, Refusal> {
        let claimed = L::read(code)?;
        if self.keyring().is_row_digest(&claimed.link.signed(), &claimed.signature) {
            return Ok(claimed.link);
        }
        Err(Refusal::because(Reason::CodeInvalid, "this link was not made by this gate, or was changed on its way"))
    }

    /// What a link is about. Decides and spends nothing: programs that look after mailboxes open links too.
    ///
    /// # Errors
    /// If the link is forged, too late, used, or somebody else's than who is signed in here. That is entered.
    pub async fn look_at_mail_link(&self, code: &str, here: Option<&Caller>, from: IpAddr) -> Result<MailAsk, Refusal> {
        let (caller, link) = self.caller_by_mail(code, here, from).await?;
        let request = self.store.request(link.request).await.map_err(unavailable)?;
        let request = self.visible_request(&caller, request).await?;
        let card = self.card(&request).await?;
        Ok(MailAsk {
            card,
            person: link.person,
            name: self.called(link.person).await,
            expires_at: link.expires_at,
            changed: request.revision != link.revision,
            needs_more: needs_more(&request),
            request,
        })
    }

    /// The owner of a mailbox decides by the link they were sent: once, on the revision that they were shown.
    ///
    /// # Errors
    /// As for [`Gate::look_at_mail_link`] and [`Gate::vote`]; and if the request needs more than a mailbox proves.
    pub async fn decide_by_mail(
        &self,
        code: &str,
        here: Option<&Caller>,
        from: IpAddr,
        decision: Decision,
        note: Option<String>,
    ) -> Result<Voted, Refusal> {
        let (caller, link) = self.caller_by_mail(code, here, from).await?;
        let about = About { request: link.request.to_string(), revision: link.revision };
        self.decide_in_chat(&caller, &about, decision, note).await
    }

    /// How a request ended, in words; `None` while it waits.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn how_it_ended(&self, request: &RequestRow) -> Result<Option<String>, Refusal> {
        let votes = self.store.votes(request.id).await.map_err(unavailable)?;
        Ok(self.outcome_of(request, &votes).await)
    }

    async fn caller_by_mail(&self, code: &str, here: Option<&Caller>, from: IpAddr) -> Result<(Caller, MailLink), Refusal> {
        let found = self.who_by_mail(code, here, from).await;
        if let Err(refusal) = &found
            && refusal.reason != Reason::StoreUnavailable
        {
            let actor = here.map_or(Actor::Unknown, Caller::actor);
            let event = Event::SigninRefused { door: Door::Mail, reason: refusal.reason };
            let draft = EntryDraft::new(self.now(), actor, Door::Mail, event)
                .text("from", Some(from.to_string()))
                .text("detail", refusal.detail.clone());
            if let Err(error) = self.commit(Change::new(draft)).await {
                tracing::error!(%error, "a refused link of a mail could not be entered; it stays refused");
            }
        }
        found
    }

    async fn who_by_mail(&self, code: &str, here: Option<&Caller>, from: IpAddr) -> Result<(Caller, MailLink), Refusal> {
        self.outbox.mail().ok_or_else(|| Refusal::because(Reason::NotFound, "this gate sends no mail"))?;
        let link: MailLink = self.own_link(code)?;
        // INVARIANT: a mail that was sent on decides nothing, as far as it can be seen.
        if here.is_some_and(|here| here.who.id() != link.person) {
            let why = "this link was sent to somebody else's mailbox; decide for yourself in the portal";
            return Err(Refusal::because(Reason::NotAllowed, why));
        }
        let now = self.now();
        if link.expires_at <= now {
            return Err(Refusal::because(Reason::CodeInvalid, "this link is too old; look for the request in the portal"));
        }
        if self.store.was_taken(&spent(link.delivery)).await.map_err(unavailable)? {
            return Err(Refusal::because(Reason::CodeInvalid, "this link was used already"));
        }
        let nobodys = || Refusal::because(Reason::NotSignedIn, "the mailbox this link was sent to is nobody's here any more");
        let mailbox = self.store.chat_account(&mailbox_key(link.person)).await.map_err(unavailable)?.ok_or_else(nobodys)?;
        let known = self.known(link.person).await?;
        let who = verify_mail_link(&link, &mailbox, known.account(), Some(from), now)?;
        self.refuse_if_network_locked(Some(from)).await?;
        self.refuse_if_person_locked(who.id()).await?;
        Ok((Caller { who, door: Door::Mail }, link))
    }

    /// Refused if a request takes more than the link of a mail to approve, or is not the one that the link is about.
    pub(crate) fn refuse_if_mail_is_too_little(caller: &Caller, row: &RequestRow, decision: Decision) -> Result<(), Refusal> {
        let Via::MailLink { request, .. } = caller.who.via() else { return Ok(()) };
        if *request != row.id {
            return Err(Refusal::of(Reason::NotFound));
        }
        // A stage that wants a signature says so itself.
        match needs_more(row).filter(|_| decision == Decision::Approve && row.terms.mfa > access::identity::Mfa::None) {
            Some(why) => Err(Refusal::because(Reason::MfaRequired, format!("a mailbox proves too little to approve this: {why}"))),
            None => Ok(()),
        }
    }

    /// A vote by the link of a mail counts with the link spent, or not at all.
    pub(crate) fn spend_mail_link(caller: &Caller, row: &RequestRow, change: Change) -> Change {
        match caller.who.via() {
            Via::MailLink { delivery, .. } => change.once(&spent(*delivery), Span::hours(24).after(row.expires_at)),
            _ => change,
        }
    }

    /// Whether mail is sent, so that somebody can name a mailbox.
    #[must_use]
    pub fn sends_mail(&self) -> bool {
        self.outbox.mail().is_some()
    }

    /// Somebody says in a browser which mailbox is theirs. It is, once they open the link that is sent there.
    ///
    /// # Errors
    /// If they are not there in person, freshly; if it is no address, or too many were named.
    pub async fn name_mailbox(&self, caller: &Caller, address: &str) -> Result<(), Refusal> {
        self.outbox.mail().ok_or_else(|| Refusal::because(Reason::NotFound, "this gate sends no mail"))?;
        refuse_if_no_person_in_browser(caller)?;
        self.refuse_if_person_locked(caller.who.id()).await?;
        // What is done by its links counts as theirs, as with a passkey's.
        self.refuse_if_not_fresh(caller).await?;
        let address: Address = address.parse().map_err(|error| Refusal::because(Reason::Invalid, format!("{error}")))?;
        let now = self.now();
        let own = EntryFilter { actor: Some(caller.actor()), name: Some("mailbox.named".to_owned()), ..EntryFilter::default() };
        let page = EntryPage { limit: NAMED_AT_MOST, after: None, newest_first: true };
        // Each time one of those who name some at the same moment is let through, and the others count anew.
        for _ in 0..=NAMED_AT_MOST {
            let named = self.store.entries(&own, page).await.map_err(unavailable)?;
            if named.iter().filter(|logged| WITHIN.after(logged.entry.at) > now).count() >= NAMED_AT_MOST as usize {
                break;
            }
            let draft = self.draft(caller, Event::MailboxNamed { person: caller.who.id() });
            let draft = draft.text("address", Some(address.to_string())).text("from", caller.from());
            let before = named.first().map_or_else(String::new, |logged| logged.entry.id.to_string());
            let change = Change::new(draft).once(&format!("mailbox.named {} {before}", caller.who.id()), WITHIN.after(now));
            match self.commit(change).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Duplicate { what: Unique::Once }) => {}
                Err(error) => return Err(refused(error)),
            }
        }
        Err(Refusal::because(Reason::TooMany, "you named several mailboxes within the last hour"))
    }

    /// Somebody opened, where they are signed in, the link that was sent to a mailbox they named: it is theirs.
    ///
    /// # Errors
    /// If the link is no good, was sent to another's mailbox, or the mailbox is somebody else's here.
    pub async fn confirm_mailbox(&self, caller: &Caller, code: &str) -> Result<ChatAccountRow, Refusal> {
        refuse_if_no_person_in_browser(caller)?;
        self.refuse_if_person_locked(caller.who.id()).await?;
        let link: MailboxLink = self.own_link(code)?;
        let id = mailbox_key(caller.who.id());
        if link.person != caller.who.id() {
            let refusal = Refusal::because(Reason::NotAllowed, "somebody else named this mailbox as theirs; sign in as them");
            return Err(self.enter_action_refused(caller, "confirm_mailbox", id, refusal).await);
        }
        let too_late = || Refusal::because(Reason::CodeInvalid, "this link is too old, or the address was erased; name the mailbox again");
        let logged = self.store.entry(link.entry).await.map_err(unavailable)?.filter(|_| link.expires_at > self.now());
        let logged = logged.ok_or_else(too_late)?;
        let address = logged.entry.text("address").map(str::to_owned).ok_or_else(too_late)?;
        let before = self.store.chat_account(&id).await.map_err(unavailable)?;
        let event = Event::ChatAccountLinked {
            chat_account: id.clone(),
            person: caller.who.id(),
            service: ChatService::Mail,
            team: String::new(),
            account: String::new(),
        };
        let draft = self.draft(caller, event).text("address", Some(address)).text("from", caller.from());
        let change = Change::new(draft).once(&format!("mailbox.{}", link.entry), link.expires_at);
        let change = match &before {
            Some(row) => change.expect(row),
            None => change,
        };
        match self.commit(change).await {
            Ok(committed) => committed.rows.chat_accounts.into_values().next().ok_or_else(|| Refusal::of(Reason::Internal)),
            Err(CommitError::Duplicate { what: Unique::Once }) => Err(Refusal::because(Reason::CodeInvalid, "this link was used already")),
            Err(CommitError::Duplicate { what: Unique::Mailbox }) => {
                // One mailbox, one person: who reads another's would decide as two.
                let refusal = Refusal::because(Reason::NotAllowed, "this mailbox is somebody else's here; they have to give it up first");
                Err(self.enter_action_refused(caller, "confirm_mailbox", id, refusal).await)
            }
            Err(error) => Err(refused(error)),
        }
    }

    /// Somebody chooses what they are told at an account of theirs.
    ///
    /// # Errors
    /// If there is none of theirs.
    pub async fn choose_what_is_told(&self, caller: &Caller, id: &str, told: Told) -> Result<ChatAccountRow, Refusal> {
        let row = self.store.chat_account(id).await.map_err(unavailable)?;
        let row = row.filter(|row| row.counts() && row.person == caller.who.id()).ok_or_else(|| Refusal::of(Reason::NotFound))?;
        if row.told == told {
            return Ok(row);
        }
        let event = Event::ChatAccountTold { chat_account: row.id.clone(), person: row.person, told };
        let committed = self.commit(Change::new(self.draft(caller, event)).expect(&row)).await.map_err(refused)?;
        committed.rows.chat_accounts.into_values().next().ok_or_else(|| Refusal::of(Reason::Internal))
    }
}

/// By what a mail's link is known once it was used.
fn spent(delivery: DeliveryId) -> String {
    format!("mail.{delivery}")
}

fn refuse_if_no_person_in_browser(caller: &Caller) -> Result<(), Refusal> {
    if matches!(caller.who.via(), Via::WebSession(_)) && matches!(caller.who.id(), PrincipalId::User(_)) {
        return Ok(());
    }
    Err(Refusal::because(Reason::NotAllowed, "people say which mailbox is theirs in a browser that they are signed in with"))
}
