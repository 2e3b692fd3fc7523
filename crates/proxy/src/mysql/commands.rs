//! From the client to the server: a command is read whole, judged, recorded, and only then sent.

use access::reason::{Reason, Refusal};
use access::session::EndReason;
use access::time::Span;
use wire::mysql::answer::{Answers, Awaited, IN_TRANSACTION, Step, write_rows};
use wire::mysql::command::Command;
use wire::mysql::packet;

use super::by_rights::{Allowed, Places, Refused};
use super::client::error;
use super::prepared::Preparing;
use super::relay::{Live, Relay, Running, Then};
use super::scan::{self, Kill};
use crate::database::live::clock;
use crate::database::lobby::{asked, extension};
use crate::database::relay::Stopped;
use crate::database::statement::{self, Recorded, Via};
use crate::gatekeeper::Extended;

/// The largest command, with its values, that is taken.
const LARGEST_COMMAND: usize = 256 * 1024 * 1024;
/// The largest answer to a question of the gate's own.
const LARGEST_OWN: usize = 64 * 1024;

impl Relay {
    /// Takes the command that is whole, if one is; says whether there was any.
    pub(super) async fn command(&mut self, live: &Live) -> Result<bool, Stopped> {
        let found = packet::message(&self.client.unread, LARGEST_COMMAND).map_err(Stopped::nonsense)?;
        let Some((_, last, took)) = found else { return Ok(false) };
        let raw = self.client.unread.split_to(took).freeze();
        self.sequence = last.wrapping_add(1);
        let Some((message, ..)) = packet::message(&raw, LARGEST_COMMAND).map_err(Stopped::nonsense)? else { return Ok(false) };
        let command = Command::read(&message).map_err(Stopped::nonsense)?;
        match self.take(live, &command, &message).await? {
            Taken::Pass(awaited) => {
                self.answers.sent(awaited).map_err(Stopped::nonsense)?;
                self.to_target.stage(raw.clone());
            }
            Taken::PassUnanswered => self.to_target.stage(raw.clone()),
            Taken::Answered => {}
            Taken::Leaves => {
                self.settle(live).await?;
                return Err(Stopped::by(EndReason::Client));
            }
        }
        self.settle(live).await?;
        Ok(true)
    }

    async fn take(&mut self, live: &Live, command: &Command<'_>, message: &[u8]) -> Result<Taken, Stopped> {
        match command {
            Command::Quit => return Ok(Taken::Leaves),
            Command::Query(text) => return self.query(live, text).await,
            Command::Prepare(text) => {
                let (kill, files) = glance(text, self.status).await;
                if kill != Kill::None {
                    let why = no("`KILL` cannot be prepared here: send it by itself, with the number of a connection of yours");
                    return self.refuse(live, text, why).await;
                }
                let Allowed { masked, instead, hidden } = match self.judge.judge_aside(live.facts.person, text).await {
                    Ok(allowed) => allowed,
                    Err(refused) => return self.refuse_judged(live, text, refused).await,
                };
                self.too_many_statements()?;
                let hides = instead.is_some();
                let preparing = Preparing { said: Recorded::of(text, instead), hidden, masked, files };
                let running = self.begin(None);
                (running.then, running.hides) = (Then::Prepared(Box::new(preparing)), hides);
                return Ok(Taken::Pass(Awaited::Prepared));
            }
            Command::Execute { statement, cursor } => return self.execute(*statement, *cursor, message),
            Command::Fetch { statement } => {
                let number = self.number();
                let meant = self.statements.meant(*statement);
                let Some(prepared) = self.statements.get(*statement) else { return Err(unknown_statement()) };
                let (text, first, veils) = (prepared.said.text.clone(), prepared.recorded, prepared.veils.clone());
                let fetched = prepared.fetched;
                self.due.push(statement::going_out(number, Via::Extended, &[b"FETCH: ", &text[..]].concat(), None, first));
                let running = self.begin(Some(number));
                (running.statement, running.fetched) = (Some(meant), fetched);
                self.veils = veils.unwrap_or_default();
                return Ok(Taken::Pass(Awaited::Rows));
            }
            Command::LongData { statement, parameter, data } => {
                let mut hides = self.judge.hides_unknown();
                if let Some(prepared) = self.statements.get(*statement) {
                    prepared.part(*parameter);
                    hides = prepared.hides(*parameter);
                }
                self.due.push(if hides {
                    statement::part_without(*statement, *parameter, data.len())
                } else {
                    statement::part(*statement, *parameter, data)
                });
                return Ok(Taken::PassUnanswered);
            }
            Command::CloseStatement { statement } => {
                self.statements.remove(*statement);
                return Ok(Taken::PassUnanswered);
            }
            Command::ResetStatement { statement } => {
                if let Some(prepared) = self.statements.get(*statement) {
                    prepared.reset();
                }
                self.begin(None);
            }
            Command::InitDb(database) => {
                let text = [b"USE ", *database].concat();
                if let Err(why) = self.judge.may_enter(database) {
                    return self.refuse(live, &text, why).await;
                }
                let number = self.command_goes_out(&text);
                self.begin(Some(number)).then = Then::Entered(database.to_vec());
            }
            Command::FieldList { table } => {
                let text = [b"SHOW COLUMNS FROM ", *table].concat();
                if let Err(why) = self.judge.may_list(table) {
                    return self.refuse(live, &text, why).await;
                }
                let number = self.command_goes_out(&text);
                self.begin(Some(number));
                return Ok(Taken::Pass(Awaited::Columns));
            }
            Command::Reset => {
                let number = self.command_goes_out(b"RESET CONNECTION");
                self.begin(Some(number)).then = Then::Reset;
            }
            Command::Kill(connection) => {
                return self.kill(live, format!("KILL {connection}").as_bytes(), u64::from(*connection), false).await;
            }
            Command::Statistics => {
                self.begin(None);
                return Ok(Taken::Pass(Awaited::Statistics));
            }
            Command::Ping | Command::SetOption { .. } => {
                self.begin(None);
            }
            Command::ChangeUser => {
                let why = no("a session belongs to one person and one role; open another connection instead of changing its user");
                return self.refuse(live, b"CHANGE USER", why).await;
            }
            Command::Other(code) => {
                let what = match code {
                    0x12 | 0x1e => "the binary log cannot be dumped through the gate",
                    0x15 => "replicas cannot be registered through the gate",
                    0x08 => "the server cannot be shut down through the gate",
                    0xfa => "bulk execution is not spoken here; execute the statement once for each row",
                    _ => "this command is not spoken here",
                };
                return self.refuse(live, format!("command {code:#04x}").as_bytes(), no(what)).await;
            }
        }
        Ok(Taken::Pass(Awaited::Simple))
    }

    async fn query(&mut self, live: &Live, text: &[u8]) -> Result<Taken, Stopped> {
        // No statement begins like that, so it hides none.
        if let Some(more) = std::str::from_utf8(text).ok().and_then(extension) {
            self.ask_for_more(more).await;
            return Ok(Taken::Answered);
        }
        let (kill, files) = glance(text, self.status).await;
        match kill {
            Kill::None => {}
            Kill::One { connection, query } => return self.kill(live, text, connection, query).await,
            Kill::Unclear => {
                let why =
                    no("`KILL` reaches connections of yours only: send it by itself, as in `KILL QUERY 12`, with the connection's number");
                return self.refuse(live, text, why).await;
            }
        }
        let Allowed { masked, instead, .. } = match self.judge.judge_aside(live.facts.person, text).await {
            Ok(allowed) => allowed,
            Err(refused) => return self.refuse_judged(live, text, refused).await,
        };
        let number = self.number();
        let hides = instead.is_some();
        self.due.push(match instead {
            Some(_) => statement::going_out_without(number, Via::Simple, &Recorded::of(text, instead), None, None),
            None => statement::going_out(number, Via::Simple, text, None, None),
        });
        let running = self.begin(Some(number));
        (running.masked, running.hides, running.files) = (masked, hides, files);
        Ok(Taken::Pass(Awaited::Results { binary: false }))
    }

    fn execute(&mut self, statement: u32, cursor: bool, message: &[u8]) -> Result<Taken, Stopped> {
        let number = self.number();
        let meant = self.statements.meant(statement);
        let Some(prepared) = self.statements.get(statement) else { return Err(unknown_statement()) };
        let values = prepared.values(message).map_err(Stopped::nonsense)?;
        let (files, masked, hides) = (prepared.files.clone(), prepared.masked.clone(), prepared.hides_any());
        // A server opens no cursor for what calls a procedure: its results come one after another, as ever.
        let cursor = cursor && prepared.has_rows;
        let first = prepared.recorded.replace(prepared.recorded.unwrap_or(number));
        let due = statement::going_out_without(number, Via::Extended, &prepared.said, Some(&values), first);
        self.due.push(due);
        let running = self.begin(Some(number));
        (running.masked, running.hides, running.files) = (masked, hides, files);
        running.statement = Some(meant);
        Ok(Taken::Pass(if cursor { Awaited::Cursor } else { Awaited::Results { binary: true } }))
    }

    /// Asks for more time, and answers as a server would answer a statement: a table of one row, or an error.
    async fn ask_for_more(&mut self, more: Result<(Option<Span>, Option<String>), String>) {
        let wrong = |why: &str| Err(Refusal::because(Reason::Invalid, format!("{why}; type  extend 30m '<reason>';")));
        let answered = match more {
            _ if self.status & IN_TRANSACTION != 0 => wrong("more time is asked for outside a transaction: end this one first"),
            Err(why) => wrong(&why),
            Ok((time, reason)) => match self.reach.gate.extend(&self.reach.knock, time, reason).await {
                Extended::Until(end) => Ok(format!("this session is open until {}", clock(end))),
                Extended::Waiting(waiting) => {
                    let asked = asked(&waiting.news.borrow());
                    let seen = "`tidegate grant list` shows what comes of it";
                    Ok(format!("your request {} waits for approval.{asked} {seen}", waiting.request))
                }
                Extended::Refused(refusal) => Err(refusal),
            },
        };
        match answered {
            Ok(text) => {
                for message in write_rows(self.capabilities, &["tidegate"], &[vec![text.as_str()]], self.status) {
                    self.reply(&message);
                }
            }
            Err(refusal) => self.reply(&error(&refusal)),
        }
    }

    /// Ends a connection of one's own, or what it does.
    async fn kill(&mut self, live: &Live, text: &[u8], connection: u64, query: bool) -> Result<Taken, Stopped> {
        let Some(hold) = self.reach.kills.find(connection, live.facts.person, &live.facts.resource) else {
            let why = no(format!(
                "connection {connection} is none of yours; only connections that you opened through the gate can be killed here"
            ));
            return self.refuse(live, text, why).await;
        };
        let number = self.number();
        self.due.push(statement::going_out(number, Via::Simple, text, None, None));
        self.settle(live).await?;
        let mut running = Running::new(Some(number));
        if query {
            hold.cancel().await;
        } else if hold.connection() == self.reach.hold.connection() {
            return Ok(Taken::Leaves);
        } else {
            hold.terminate().await;
        }
        self.due.extend(running.settle());
        self.reply_ok();
        Ok(Taken::Answered)
    }

    fn begin(&mut self, number: Option<u64>) -> &mut Running {
        self.veils = super::answers::Veils::default();
        self.running.insert(Running::new(number))
    }

    pub(super) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn command_goes_out(&mut self, text: &[u8]) -> u64 {
        let number = self.number();
        self.due.push(statement::going_out(number, Via::Command, text, None, None));
        number
    }

    /// Refuses for a reason of the relay's own.
    async fn refuse(&mut self, live: &Live, text: &[u8], why: Refusal) -> Result<Taken, Stopped> {
        let refused = self.judge.refused(text, why);
        self.refuse_judged(live, text, refused).await
    }

    /// Refuses: the transaction it stood in is rolled back at the server, and the client gets the sentence.
    async fn refuse_judged(&mut self, live: &Live, text: &[u8], refused: Refused) -> Result<Taken, Stopped> {
        let number = self.number();
        let (recorded, reason) = refused.recorded(text);
        self.due.push(statement::refused_without(number, &recorded, &reason.to_string()));
        self.settle(live).await?;
        live.refused(&recorded.text, &reason);
        let mut why = refused.why;
        if self.judge.is_restricted() && self.status & IN_TRANSACTION != 0 {
            self.own(live, "ROLLBACK").await?;
            why.detail = why.detail.map(|detail| format!("{detail}; its transaction was rolled back"));
        }
        self.reply(&error(&why));
        Ok(Taken::Answered)
    }

    /// Has the server do something of the gate's own, which the client does not see. Only while it owes no answer.
    pub(super) async fn own(&mut self, live: &Live, sql: &str) -> Result<(), Stopped> {
        let broken = |why: &str| Stopped::liar(why);
        let mut out = Vec::new();
        packet::write(&mut out, 0, &[&[3][..], sql.as_bytes()].concat());
        self.to_target.push(out.into());
        self.to_target.flush().await.map_err(|_| Stopped::by(EndReason::Target))?;
        let mut answers = Answers::new(self.capabilities);
        answers.sent(Awaited::Results { binary: false }).map_err(|e| broken(e.0))?;
        while answers.waiting() > 0 {
            let found = packet::message(&self.target.unread, LARGEST_OWN).map_err(|e| broken(e.0))?;
            let Some((message, _, took)) = found else {
                match self.target.more().await {
                    Ok(0) | Err(_) => return Err(Stopped::by(EndReason::Target)),
                    Ok(read) => live.moved_down(read),
                }
                continue;
            };
            match answers.received(&message, message.len()).map_err(|e| broken(e.0))? {
                Step::Done { done, .. } => self.status = done.status,
                Step::Failed(failed) => {
                    tracing::warn!(session = %live.facts.session, code = failed.code, sql, "a server refused what the gate has to set");
                    return Err(broken("it refuses what the gate has to set there"));
                }
                _ => {}
            }
            let _ = self.target.unread.split_to(took);
        }
        Ok(())
    }

    fn too_many_statements(&self) -> Result<(), Stopped> {
        if self.statements.have_room() {
            return Ok(());
        }
        let why = Refusal::because(Reason::TooMany, "there are too many prepared statements; close some");
        Err(Stopped { end: EndReason::Client, say: Some(why) })
    }

    /// What the statements of a running command mask in its answers.
    pub(super) fn masked(&self) -> std::collections::BTreeSet<usize> {
        let running = self.running.as_ref();
        let none = Places::new();
        super::prepared::of_answer(running.map_or(&none, |r| &r.masked), running.map_or(0, |r| r.answered))
    }
}

/// What a text kills, and which files it has the client send. A long one is looked at aside.
async fn glance(text: &[u8], status: u16) -> (Kill, Vec<Vec<u8>>) {
    if text.len() <= sql::mysql::SHORT {
        return scan::glance(text, status);
    }
    let text: Box<[u8]> = text.into();
    tokio::task::spawn_blocking(move || scan::glance(&text, status)).await.unwrap_or((Kill::Unclear, Vec::new()))
}

/// What became of a command.
enum Taken {
    /// It goes on, and such an answer follows.
    Pass(Awaited),
    /// It goes on, and none follows.
    PassUnanswered,
    /// The gate has answered it.
    Answered,
    /// The client is leaving.
    Leaves,
}

fn no(why: impl Into<String>) -> Refusal {
    Refusal::because(Reason::NotInRole, why)
}

fn unknown_statement() -> Stopped {
    Stopped { end: EndReason::Client, say: Some(Refusal::because(Reason::Invalid, "a statement runs that was never prepared")) }
}
