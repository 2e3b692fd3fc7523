//! The circumstances of an act or a question, as policies read them.

use access::risk::{Risk, Signal};
use access::time::Span;
use cedar_policy::{Context, RestrictedExpression};

use super::Bundle;
use crate::facts::tiers::Tier;
use crate::facts::windows::day_name;
use crate::situation::{Ask, Situation};

impl Bundle {
    fn moment(&self, who: &Situation) -> Vec<(String, RestrictedExpression)> {
        let local = self.zone.to_datetime(who.now);
        let windows = self.open_windows(who).into_iter().map(|w| RestrictedExpression::new_string(w.to_string()));
        let mut pairs = vec![
            ("now".to_owned(), RestrictedExpression::new_long(who.now.as_second())),
            ("weekday".to_owned(), RestrictedExpression::new_string(day_name(local.weekday()).to_owned())),
            ("hour".to_owned(), RestrictedExpression::new_long(local.hour().into())),
            ("minute".to_owned(), RestrictedExpression::new_long(local.minute().into())),
            ("windows".to_owned(), RestrictedExpression::new_set(windows)),
        ];
        if let Some(network) = who.network {
            pairs.push(("network".to_owned(), RestrictedExpression::new_ip(network.to_canonical().to_string())));
        }
        pairs
    }

    fn mfa(level: access::identity::Mfa, age: i64) -> Result<(String, RestrictedExpression), String> {
        let rank = access::identity::Mfa::ALL.iter().position(|m| *m == level).unwrap_or(0);
        let record = RestrictedExpression::new_record([
            ("level".to_owned(), RestrictedExpression::new_long(i64::try_from(rank).unwrap_or(0))),
            ("kind".to_owned(), RestrictedExpression::new_string(level.code().to_owned())),
            ("age".to_owned(), RestrictedExpression::new_long(age)),
        ]);
        Ok(("mfa".to_owned(), record.map_err(|e| e.to_string())?))
    }

    /// The context of every action but `request`.
    pub(crate) fn circumstances(&self, who: &Situation) -> Result<Context, String> {
        let mut pairs = self.moment(who);
        pairs.push(Self::mfa(who.mfa, who.mfa_age())?);
        Context::from_pairs(pairs).map_err(|e| e.to_string())
    }

    /// The context of `request`, with a fresh second factor and a ticket supposed where a hypothesis says so.
    pub(crate) fn asked_context(&self, who: &Situation, ask: &Ask, tier: &Tier, suppose: Suppose) -> Result<Context, String> {
        use access::request::Asked;
        let mut pairs = self.moment(who);
        pairs.push(if suppose.mfa { Self::mfa(access::identity::Mfa::Verified, 0)? } else { Self::mfa(who.mfa, who.mfa_age())? });
        let seconds_of = |span: Span| i64::try_from(span.as_seconds()).unwrap_or(i64::MAX);
        let seconds = match ask.asked {
            Asked::Default => seconds_of(tier.default),
            Asked::For(span) => seconds_of(span),
            // Longer than whatever a policy compares it with.
            Asked::Standing => i64::MAX,
        };
        let yes = RestrictedExpression::new_bool;
        pairs.extend([
            ("reason".to_owned(), yes(ask.reason_given)),
            ("ticket".to_owned(), yes(suppose.ticket || ask.ticket.is_some())),
            ("seconds".to_owned(), RestrictedExpression::new_long(seconds)),
            ("standing".to_owned(), yes(ask.asked == Asked::Standing)),
            ("break_glass".to_owned(), yes(ask.break_glass)),
            ("read_only".to_owned(), yes(ask.limits.read_only)),
        ]);
        pairs.push(("risk".to_owned(), risk(&who.risk_on(&ask.resource))?));
        if let Some(ticket) = &ask.ticket {
            pairs.push(("ticket_id".to_owned(), RestrictedExpression::new_string(ticket.clone())));
        }
        if let Some(command) = &ask.limits.command {
            pairs.push(("command".to_owned(), RestrictedExpression::new_string(command.clone())));
        }
        Context::from_pairs(pairs).map_err(|e| e.to_string())
    }
}

/// What is unusual, as policies read it.
fn risk(risk: &Risk) -> Result<RestrictedExpression, String> {
    let set = |signal| RestrictedExpression::new_bool(risk.is_set(signal));
    let count = |signal| RestrictedExpression::new_long(i64::try_from(risk.counts(signal)).unwrap_or(i64::MAX));
    let names = risk.set().map(|signal| RestrictedExpression::new_string(signal.code().to_owned()));
    let fields = [
        ("level", RestrictedExpression::new_string(risk.level.code().to_owned())),
        ("signals", RestrictedExpression::new_set(names)),
        ("new_network", set(Signal::NewNetwork)),
        ("unusual_hour", set(Signal::UnusualHour)),
        ("first_use", set(Signal::FirstUse)),
        ("failed_sign_ins", count(Signal::FailedSignIns)),
        ("resources", count(Signal::ManyResources)),
        ("large_results", set(Signal::LargeResults)),
    ];
    RestrictedExpression::new_record(fields.map(|(name, value)| (name.to_owned(), value))).map_err(|e| e.to_string())
}

/// What is supposed beyond what was asked, to see what the asker could still supply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Suppose {
    pub(crate) mfa: bool,
    pub(crate) ticket: bool,
}
