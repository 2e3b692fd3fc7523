//! A grant's holder gets a token that opens connections on it: for pools, drivers and tools that connect many times.
//!
//! *Takes* a grant and the proof of who holds it. *Proves* nothing new: the token is worth that one grant, and ends with it. *Hands to*
//! [`Gate::knock`], at the doors that ask for a password, whoever presents it.

use access::grant::{Grant, GrantState};
use access::identity::{Mfa, Scope};
use access::ids::GrantId;
use access::reason::{Reason, Refusal};
use access::time::Span;
use store::{Change, TokenRow};

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::open::bound_to;
use crate::people::LONGEST_NAME;
use crate::submit::fits;
use crate::tokens::{IssuedToken, TOKEN_LONGEST};

/// How many connect tokens of a grant may work at the same time.
pub const CONNECT_TOKENS: usize = 100;

impl Gate {
    /// Makes a connect token: it opens connections on this one grant until the grant ends, and is nothing anywhere else. With `valid` it
    /// ends sooner.
    ///
    /// # Errors
    /// If the grant is not the caller's, is over, or leads to something that takes no password.
    pub async fn issue_connect_token(
        &self,
        caller: &Caller,
        grant: GrantId,
        valid: Option<Span>,
        label: Option<String>,
    ) -> Result<IssuedToken, Refusal> {
        if bound_to(caller).is_some() || !caller.who.may(Scope::Ask) {
            return Err(Refusal::because(Reason::ScopeMissing, "the token lacks the scope `ask`"));
        }
        let row = self.own_grant(caller, grant).await?;
        if row.state == GrantState::Ended {
            return Err(Refusal::of(Reason::GrantEnded));
        }
        if let Err(refusal) = Grant::open(row.clone(), self.now())
            && refusal.reason != Reason::NotActivated
        {
            return Err(refusal);
        }
        let bundle = self.bundle();
        let resource = bundle.resource(&row.resource).ok_or_else(|| Refusal::of(Reason::UnknownResource))?;
        if resource.kind == policy::Kind::Ssh {
            let why = format!(
                "`{}` is reached over SSH, where a key or certificate says who connects; connect tokens are for databases",
                row.resource
            );
            return Err(Refusal::because(Reason::Invalid, why));
        }
        let valid = valid.unwrap_or(TOKEN_LONGEST);
        if valid == Span::default() || valid > TOKEN_LONGEST {
            return Err(Refusal::because(Reason::Invalid, format!("a token's life is longer than nothing and at most {TOKEN_LONGEST}")));
        }
        fits("a label", label.as_deref(), LONGEST_NAME)?;
        let now = self.now();
        let others = self.store.tokens_of_grant(grant).await.map_err(unavailable)?;
        if others.iter().filter(|token| token.revoked_at.is_none() && token.expires_at > now).count() >= CONNECT_TOKENS {
            let why = format!("this grant has {CONNECT_TOKENS} connect tokens already; one token opens as many connections as you like");
            return Err(Refusal::because(Reason::Invalid, why));
        }
        let (row, token) = self.new_token(row.person, Vec::new(), Some(grant), valid, Mfa::None, label);
        // It opens what its grant opens, and that is one job's.
        let row = TokenRow { claims: caller.who.claims().cloned(), ..row };
        let change = Change::new(self.token_issued(caller, &row)?).put_token(&row);
        self.commit(change).await.map_err(refused)?;
        Ok(IssuedToken { row, token })
    }

    /// The connect tokens of one of the caller's own grants.
    ///
    /// # Errors
    /// If it is not theirs, or the store can't be read.
    pub async fn connect_tokens(&self, caller: &Caller, grant: GrantId) -> Result<Vec<TokenRow>, Refusal> {
        let row = self.own_grant(caller, grant).await?;
        self.store.tokens_of_grant(row.id).await.map_err(unavailable)
    }
}
