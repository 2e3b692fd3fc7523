//! The relay: one command, its answer, the next command. Recorded first, forwarded second, in both directions.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use access::reason::{Reason, Refusal};
use access::session::EndReason;
use bytes::{Bytes, BytesMut};
use tokio::io::{ReadHalf, WriteHalf};
use wire::mysql::answer::{AUTOCOMMIT, Answers, write_ok};
use wire::mysql::capability::Capabilities;
use wire::mysql::packet;

use super::answers::Veils;
use super::by_rights::{Judge, Places};
use super::kill::Kills;
use super::prepared::{Preparing, Statements};
use super::upstream::Hold;
use super::veil::Shown;
use crate::database::Stream;
use crate::database::live::Asked;
use crate::database::relay::{Incoming, Outgoing, Stopped};
use crate::database::statement::{self, Outcome};
use crate::gatekeeper::{Gatekeeper, Knock};

/// A live session.
pub(crate) type Live = crate::database::live::Live<Turn>;

/// Whether everybody waits for the server.
#[derive(Debug, Default)]
pub(crate) struct Turn(bool);

impl Asked for Turn {
    fn is_owed(&self) -> bool {
        self.0
    }
}

/// What is read ahead of a client while its last command is answered.
const AHEAD: usize = 64 * 1024;

/// What a command turns into once its answer has gone well.
#[derive(Debug)]
pub(crate) enum Then {
    Nothing,
    /// A statement was prepared.
    Prepared(Box<Preparing>),
    /// The same, and it is known by its number now.
    IsPrepared,
    /// The session is in another database.
    Entered(Vec<u8>),
    /// The session begins anew.
    Reset,
}

/// The command that is being answered.
#[derive(Debug)]
pub(crate) struct Running {
    /// Its number in the recording; none for what is not recorded.
    pub(crate) number: Option<u64>,
    pub(crate) since: Instant,
    pub(crate) outcome: Outcome,
    pub(crate) masked: Places,
    /// How many of its answers are whole.
    pub(crate) answered: usize,
    /// Whether the answer that comes now has columns.
    pub(crate) has_columns: bool,
    pub(crate) then: Then,
    /// The prepared statement that runs.
    pub(crate) statement: Option<u32>,
    /// How many rows its cursor has brought back before.
    pub(crate) fetched: u64,
    /// The files of the client's that the statement names.
    pub(crate) files: Vec<Vec<u8>>,
    /// Whether it holds values that no record keeps.
    pub(crate) hides: bool,
}

impl Running {
    pub(crate) fn new(number: Option<u64>) -> Self {
        Self {
            number,
            since: Instant::now(),
            outcome: Outcome::default(),
            masked: Places::new(),
            answered: 0,
            has_columns: false,
            then: Then::Nothing,
            statement: None,
            fetched: 0,
            files: Vec::new(),
            hides: false,
        }
    }

    /// Whether it is the preparation of a statement.
    pub(crate) fn prepares(&self) -> bool {
        matches!(self.then, Then::Prepared(_) | Then::IsPrepared)
    }

    /// The activity that says what came of it; what follows under the same number counts anew.
    pub(crate) fn settle(&mut self) -> Option<String> {
        let mut outcome = std::mem::take(&mut self.outcome);
        outcome.micros = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.since = Instant::now();
        self.answered += 1;
        self.has_columns = false;
        self.number.map(|number| statement::came_of(number, &outcome))
    }
}

/// What is reached from here besides the server: who may be killed, and of whom more time is asked, as whom.
pub(crate) struct Reach {
    pub(crate) kills: Kills,
    pub(crate) hold: Arc<Hold>,
    pub(crate) gate: Arc<dyn Gatekeeper>,
    pub(crate) knock: Knock,
}

/// A session between its client and its server.
pub(crate) struct Relay {
    pub(super) client: Incoming,
    pub(crate) to_client: Outgoing,
    pub(super) target: Incoming,
    pub(crate) to_target: Outgoing,
    pub(super) capabilities: Capabilities,
    pub(super) answers: Answers,
    pub(super) judge: Judge,
    pub(super) shown: Option<Shown>,
    /// How many rows one statement may bring back.
    pub(super) most_rows: Option<u64>,
    pub(super) pins: Option<String>,
    pub(super) statements: Statements,
    pub(super) running: Option<Running>,
    /// How the columns of the rows that come now are handed on.
    pub(super) veils: Veils,
    /// The number of the next packet to the client.
    pub(super) sequence: u8,
    /// Whether the packet that comes next from the server goes on with the row before it.
    pub(super) goes_on: bool,
    /// Whether the packet that comes next from the client goes on with a piece of a file.
    pub(super) file_goes_on: bool,
    /// Whether the file that the server wanted is all sent.
    pub(super) file_sent: bool,
    /// The server's status flags, as last heard.
    pub(super) status: u16,
    pub(super) reach: Reach,
    pub(super) last_number: u64,
    /// What is to be recorded before anything is forwarded.
    pub(super) due: Vec<String>,
}

impl Relay {
    #[expect(clippy::too_many_arguments, reason = "it is everything a session has, put together once")]
    pub(crate) fn new(
        (client, unread): (Stream, BytesMut),
        (target, from_target): (Stream, BytesMut),
        capabilities: Capabilities,
        judge: Judge,
        most_rows: Option<u64>,
        pins: Option<String>,
        status: u16,
        reach: Reach,
    ) -> Self {
        let (client_reader, client_writer): (ReadHalf<Stream>, WriteHalf<Stream>) = tokio::io::split(client);
        let (target_reader, target_writer) = tokio::io::split(target);
        Self {
            client: Incoming::new(client_reader, unread),
            to_client: Outgoing::new(client_writer),
            target: Incoming::new(target_reader, from_target),
            to_target: Outgoing::new(target_writer),
            capabilities,
            answers: Answers::new(capabilities),
            shown: judge.shown(),
            judge,
            most_rows,
            pins,
            statements: Statements::default(),
            running: None,
            veils: Veils::default(),
            sequence: 1,
            goes_on: false,
            file_goes_on: false,
            file_sent: false,
            status,
            reach,
            last_number: 0,
            due: Vec::new(),
        }
    }

    /// Whether the server owes no answer.
    pub(crate) fn is_quiet(&self) -> bool {
        self.answers.waiting() == 0
    }

    /// Whether what has gone to the client ends with a whole message.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.to_client.left == 0 && !self.goes_on
    }

    /// Relays until something ends it.
    pub(crate) async fn run(&mut self, live: &Live) -> Stopped {
        loop {
            let turned = if self.is_quiet() { self.listen(live).await } else { self.answer(live).await };
            if let Err(stopped) = turned {
                return stopped;
            }
        }
    }

    /// Takes the client's next command.
    async fn listen(&mut self, live: &Live) -> Result<(), Stopped> {
        self.to_client.flush().await.map_err(|_| Stopped::by(EndReason::Client))?;
        // More than was asked for would be taken for the answer to what is asked next.
        if !self.target.unread.is_empty() {
            return Err(self.last_words());
        }
        if self.command(live).await? {
            return self.to_target.flush().await.map_err(|_| Stopped::by(EndReason::Target));
        }
        turn(live, false);
        tokio::select! {
            read = self.client.more() => match read {
                Ok(0) | Err(_) => Err(Stopped::by(EndReason::Client)),
                Ok(read) => {
                    live.moved_up(read);
                    Ok(())
                }
            },
            read = self.target.more() => Err(match read {
                Ok(0) | Err(_) => Stopped::by(EndReason::Target),
                Ok(_) => self.last_words(),
            }),
        }
    }

    /// Hands on what the server answers, until it has to be waited for.
    async fn answer(&mut self, live: &Live) -> Result<(), Stopped> {
        // What came with the answer before is here already.
        self.pass(live).await?;
        live.hands_on(true);
        let flushed = self.to_client.flush().await;
        live.hands_on(false);
        flushed.map_err(|_| Stopped::by(EndReason::Client))?;
        if self.is_quiet() {
            return Ok(());
        }
        if self.wants_file() && self.file() {
            self.to_target.flush().await.map_err(|_| Stopped::by(EndReason::Target))?;
            return Ok(());
        }
        let listens = self.client.unread.len() < AHEAD || self.wants_file();
        turn(live, !self.wants_file());
        tokio::select! {
            read = self.target.more() => match read {
                Ok(0) | Err(_) => Err(Stopped::by(EndReason::Target)),
                Ok(read) => {
                    live.moved_down(read);
                    Ok(())
                }
            },
            // Nothing of it is looked at yet; only that the client is still there.
            read = self.client.more(), if listens => match read {
                Ok(0) | Err(_) => Err(Stopped::by(EndReason::Client)),
                Ok(read) => {
                    live.moved_up(read);
                    Ok(())
                }
            },
        }
    }

    /// Records what is due, and what is staged where results are kept; then lets it go.
    pub(super) async fn settle(&mut self, live: &Live) -> Result<(), Stopped> {
        for said in std::mem::take(&mut self.due) {
            live.note(said).await?;
        }
        if live.keeps_results() {
            for bytes in &self.to_client.staged {
                live.result(bytes.clone()).await?;
            }
        }
        self.to_client.release();
        self.to_target.release();
        Ok(())
    }

    /// Sends a piece of a file that the server asked for; says whether there was any.
    fn file(&mut self) -> bool {
        let mut any = false;
        while let Some(head) = packet::Head::read(&self.client.unread) {
            if head.length > packet::FULL || self.client.unread.len() < packet::HEAD + head.length {
                break;
            }
            let piece = self.client.unread.split_to(packet::HEAD + head.length).freeze();
            if let Some(running) = &mut self.running {
                running.outcome.copied_in += head.length as u64;
            }
            self.to_target.push(piece);
            any = true;
            let ends = head.length == 0 && !self.file_goes_on;
            self.file_goes_on = head.goes_on();
            if ends {
                self.sequence = head.sequence.wrapping_add(1);
                self.file_sent = true;
                break;
            }
        }
        any
    }

    fn wants_file(&self) -> bool {
        self.answers.wants_file() && !self.file_sent
    }

    /// Something of the gate's own, in answer to the client's last command.
    pub(super) fn reply(&mut self, message: &[u8]) {
        let mut out = Vec::with_capacity(message.len() + packet::HEAD);
        self.sequence = packet::write(&mut out, self.sequence, message);
        self.to_client.stage(out.into());
    }

    pub(super) fn reply_ok(&mut self) {
        let ok = write_ok(self.capabilities, if self.status == 0 { AUTOCOMMIT } else { self.status }, "");
        self.reply(&ok);
    }

    /// Passes on the rest of a packet whose beginning is out already.
    pub(crate) async fn finish_packet(&mut self, live: &Live) {
        while self.to_client.left > 0 {
            let now = self.to_client.left.min(self.target.unread.len());
            let piece = self.target.unread.split_to(now).freeze();
            if live.keeps_results() && live.result(piece.clone()).await.is_err() {
                return;
            }
            self.to_client.left -= now;
            self.to_client.push(piece);
            if self.to_client.left > 0 && !matches!(self.target.more().await, Ok(1..)) {
                return;
            }
        }
    }

    /// The farewell: an error where the client looks for its next answer.
    pub(crate) fn say_last(&mut self, message: &[u8]) {
        if self.is_quiet() {
            // It reads this in answer to whatever it asks next.
            self.sequence = 1;
        }
        let mut out = Vec::new();
        self.sequence = packet::write(&mut out, self.sequence, message);
        self.to_client.push(Bytes::from(out));
    }

    /// What a server says unasked before it closes: that it goes down, or that the session did nothing for too long.
    fn last_words(&self) -> Stopped {
        let message = packet::message(&self.target.unread, 64 * 1024).ok().flatten();
        let failed = message
            .as_ref()
            .and_then(|(message, ..)| if message.first() == Some(&0xff) { wire::mysql::answer::error(message).ok() } else { None });
        match failed {
            Some(failed) => {
                let said = crate::ssh::text::inert_bytes(failed.message, 400);
                Stopped {
                    end: EndReason::Target,
                    say: Some(Refusal::because(Reason::TargetRefused, format!("the server says: {said} ({})", failed.code))),
                }
            }
            None => Stopped::liar("it answers what nobody asked"),
        }
    }

    /// Reads, and throws away, until the server closes; says whether it did.
    pub(crate) async fn drain(&mut self) -> bool {
        loop {
            self.target.unread.clear();
            match self.target.more().await {
                Ok(0) | Err(_) => return true,
                Ok(_) => {}
            }
        }
    }
}

/// Says whether it is the server's turn.
fn turn(live: &Live, servers: bool) {
    *live.ledger.lock().unwrap_or_else(PoisonError::into_inner) = Turn(servers);
}
