//! From the server to the client: rows and copied data are counted and passed on as they come; what is withheld is taken out on the way.

use std::time::Instant;

use access::reason::{Reason, Refusal};
use access::session::EndReason;
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use wire::postgres::{Head, Side, back, front, head};

use super::Stream;
use super::copied::{Begun, Forming};
use super::ledger::{Failing, Ledger};
use super::relay::{Incoming, Outgoing, Stopped};
use super::session::Live;
use super::statement;
use super::up::unclear;
use super::veil::{Veil, Withheld, masked_row, veils, without_details};

/// The largest error of a server's that is believed.
const LARGEST_ERROR: usize = 1024 * 1024;
/// The largest row of which something is masked: it is held whole.
const LARGEST_MASKED_ROW: usize = 256 * 1024 * 1024;

/// What a binary copy ends with in the place of a row (PostgreSQL documentation, `COPY`, "File Trailer").
const COPY_ENDS: [u8; 2] = [0xff, 0xff];

/// From the server to the client.
pub(crate) struct Down {
    from: Incoming,
    pub(crate) to: Outgoing,
    notices: mpsc::Receiver<Bytes>,
    withheld: Withheld,
    /// How the columns of the rows that come now are handed on; `None` while none have been announced.
    veils: Option<Vec<Veil>>,
    /// How they are written, if they are those of a copy that runs as a query.
    forming: Option<Forming>,
}

impl Down {
    pub(crate) fn new(
        reader: ReadHalf<Stream>,
        unread: BytesMut,
        writer: WriteHalf<Stream>,
        notices: mpsc::Receiver<Bytes>,
        withheld: Withheld,
    ) -> Self {
        Self { from: Incoming::new(reader, unread), to: Outgoing::new(writer), notices, withheld, veils: None, forming: None }
    }

    /// Relays until something ends it.
    pub(crate) async fn run(&mut self, live: &Live) -> Stopped {
        loop {
            live.hands_on(true);
            let flushed = self.to.flush().await;
            live.hands_on(false);
            if flushed.is_err() {
                return Stopped::by(EndReason::Client);
            }
            let read = tokio::select! {
                biased;
                // Between two messages only.
                Some(notice) = self.notices.recv(), if self.to.left == 0 => {
                    self.to.push(notice);
                    continue;
                }
                read = self.from.more() => read,
            };
            match read {
                Ok(0) | Err(_) => return Stopped::by(EndReason::Target),
                Ok(read) => live.moved_down(read),
            }
            if let Err(stopped) = self.pass(live).await {
                return stopped;
            }
        }
    }

    /// Records what arrived whole, and hands it on.
    async fn pass(&mut self, live: &Live) -> Result<(), Stopped> {
        let mut left = self.to.left;
        let scanned = self.scan(live, &mut left);
        if scanned.is_err() {
            // What was scanned last goes nowhere.
            self.to.left = left;
        }
        for said in live.take_due() {
            live.note(said).await?;
        }
        if live.keeps_results() {
            for bytes in &self.to.staged {
                live.result(bytes.clone()).await?;
            }
        }
        self.to.release();
        scanned
    }

    /// Takes what is whole. `left` is what would be to come if nothing went on that is not staged yet.
    fn scan(&mut self, live: &Live, left: &mut usize) -> Result<(), Stopped> {
        let mut ledger = live.ledger();
        let mut pass = self.to.left.min(self.from.unread.len());
        self.to.left -= pass;
        while let Some(head) = head(&self.from.unread[pass..], Side::Back).map_err(|e| Stopped::liar(e.0))? {
            if head.kind == b'D' && self.withheld.rows.is_none() && !self.masks_rows()? {
                // Nothing has to be known of these but how many there are: most of what a server sends are they.
                let (rows, total) = whole_rows(&self.from.unread[pass..]);
                if rows > 0 {
                    ledger.rows(rows, total - 5 * rows);
                    pass += total;
                    continue;
                }
            }
            let there = self.from.unread.len() - pass;
            if matches!(head.kind, b'D' | b'd') {
                let Some(is_row) = is_row(head, self.from.unread.get(pass + 5..pass + head.total)) else { break };
                // A server sends copied data row by row; the line of names that `HEADER` asks for is one.
                let rows = ledger.row(head.total - 5, is_row);
                if self.withheld.rows.is_some_and(|most| rows > most) {
                    self.stage(pass, left);
                    return Err(self.too_many_rows(live, &mut ledger));
                }
            }
            // These may be large and say nothing that has to be known: passed on as they come.
            let streams = match head.kind {
                b'D' => !self.masks_rows()?,
                b'T' => self.withheld.shown.is_none(),
                b'N' => !self.withheld.details,
                b'd' | b'V' | b'A' => true,
                _ => false,
            };
            if streams {
                if matches!(head.kind, b'T' | b'V') {
                    ledger.small(head.kind);
                }
                let now = head.total.min(there);
                self.to.left = head.total - now;
                pass += now;
                continue;
            }
            if head.total > if head.kind == b'D' { LARGEST_MASKED_ROW } else { LARGEST_ERROR } {
                return Err(Stopped::liar("a message is absurdly large"));
            }
            let Some(body) = self.from.unread.get(pass + 5..pass + head.total) else {
                if head.kind == b'D' {
                    ledger.row_was_not_whole(head.total - 5);
                }
                break;
            };
            let instead = match head.kind {
                b'D' => Some(handed_on(body, self.veils.as_deref().unwrap_or_default(), self.forming.as_mut())?),
                b'T' => self.described(&mut ledger, pass, head.total)?,
                b'N' => Some(without_details(b'N', body, b"").map_err(|e| Stopped::liar(e.0))?),
                b'E' => {
                    let sqlstate = back::error_field(body, b'C').map_err(|e| Stopped::liar(e.0))?;
                    (self.veils, self.forming) = (None, None);
                    // A place in another text than was sent, and a hint that speaks of it.
                    let besides: &[u8] = if ledger.copies_table() { b"PH" } else { b"" };
                    match ledger.failed(sqlstate, Instant::now()).map_err(|_| unclear())? {
                        Failing::Provoked(instead) => Some(instead),
                        Failing::Genuine if self.withheld.details => {
                            Some(without_details(b'E', body, besides).map_err(|e| Stopped::liar(e.0))?)
                        }
                        Failing::Genuine => None,
                    }
                }
                // That it was parsed and bound, and that its portal is closed, nobody has asked for.
                b'1' | b'2' | b'3' | b'n' if ledger.forms().is_some() => Some(Vec::new()),
                b'C' if ledger.forms().is_some() => match self.forming.as_mut() {
                    Some(forming) => {
                        forming.complete(back::command_complete(body).map_err(|e| Stopped::liar(e.0))?);
                        Some(Vec::new())
                    }
                    None => {
                        small(&mut ledger, b'C', body)?;
                        Some(no_rows())
                    }
                },
                // What it changed is kept now: a `COPY` is complete only then.
                b'Z' if self.forming.is_some() => {
                    self.veils = None;
                    let ended = self.forming.take().and_then(Forming::end);
                    let (tag, mut said) = ended.ok_or_else(|| Stopped::liar("it is ready in the middle of a copy"))?;
                    ledger.complete(Some(tag.as_bytes()), false, Instant::now());
                    small(&mut ledger, b'Z', body)?;
                    said.extend(front::message(b'Z', body));
                    Some(said)
                }
                b'n' if ledger.describes_for_the_gate().is_some() => {
                    self.veils = None;
                    Some(Vec::new())
                }
                kind => {
                    small(&mut ledger, kind, body)?;
                    if matches!(kind, b'C' | b'I' | b's' | b'Z') {
                        self.veils = None;
                    }
                    None
                }
            };
            match instead {
                None => pass += head.total,
                Some(instead) => {
                    self.stage(pass, left);
                    self.from.unread.advance(head.total);
                    self.to.stage(instead.into());
                    pass = 0;
                }
            }
        }
        drop(ledger);
        live.has_room();
        self.to.stage(self.from.unread.split_to(pass).freeze());
        Ok(())
    }

    /// Stages what may go on and ends with a whole message.
    fn stage(&mut self, pass: usize, left: &mut usize) {
        self.to.stage(self.from.unread.split_to(pass).freeze());
        *left = 0;
    }

    /// Whether something of the rows that come now is masked.
    fn masks_rows(&self) -> Result<bool, Stopped> {
        match (&self.withheld.shown, &self.veils) {
            (None, _) => Ok(false),
            (Some(_), Some(_)) if self.forming.is_some() => Ok(true),
            (Some(_), Some(veils)) => Ok(veils.iter().any(|veil| *veil != Veil::Shown)),
            // Nobody knows what it is.
            (Some(_), None) => Err(Stopped::liar("a row came that was not announced")),
        }
    }

    /// A `RowDescription`, which says what the rows are that follow; the gate's own is kept from the client.
    fn described(&mut self, ledger: &mut Ledger, pass: usize, total: usize) -> Result<Option<Vec<u8>>, Stopped> {
        let Some(shown) = &self.withheld.shown else { return Ok(None) };
        let body = self.from.unread.get(pass + 5..pass + total).unwrap_or_default();
        let columns = back::row_description(body).map_err(|e| Stopped::liar(e.0))?;
        if let Some(places) = ledger.describes_for_the_gate() {
            self.veils = Some(veils(&columns, shown, &places));
            return Ok(Some(Vec::new()));
        }
        match ledger.announces() {
            Some(places) => self.veils = Some(veils(&columns, shown, places)),
            // Of something the client asked about. Rows that came now would be of nobody knows what.
            None => {
                self.veils = None;
                ledger.small(b'T');
                return Ok(None);
            }
        }
        let Some(form) = ledger.forms() else { return Ok(None) };
        let Begun { forming, said, header } = Forming::begin(form, &columns);
        ledger.copies("copy_out");
        if let Some(bytes) = header {
            ledger.row(bytes, true);
        }
        self.forming = Some(forming);
        Ok(Some(said))
    }

    /// The statement brings back more rows than the role may have: the session ends with it, since the server may have run it to its end.
    fn too_many_rows(&self, live: &Live, ledger: &mut Ledger) -> Stopped {
        let most = self.withheld.rows.unwrap_or_default();
        let why = format!("one statement may bring back {most} rows under this role, and this one brings more; add `LIMIT {most}`");
        let why = Refusal::because(Reason::NotInRole, why);
        let number = ledger.runs().unwrap_or_default();
        ledger.due.push(statement::refused(number, b"", &why.to_string()));
        live.refused(format!("statement {number}").as_bytes(), &why);
        Stopped { end: EndReason::Client, say: Some(why) }
    }

    /// Reads, and throws away, until the server closes; says whether it did.
    pub(crate) async fn drain(&mut self) -> bool {
        loop {
            self.from.unread.clear();
            match self.from.more().await {
                Ok(0) => return true,
                Ok(_) => {}
                Err(_) => return true,
            }
        }
    }
}

/// What is said where a copy has run and no columns were announced: a rule had something else run in its place.
fn no_rows() -> Vec<u8> {
    let why =
        "a rule of the database has rewritten this: it has run, and brings no rows to copy; look at what it did before you send it again";
    let mut writer = back::Writer::default();
    writer.say(back::Severity::Error, "0A000", why, None);
    writer.into_bytes()
}

/// What is handed on in the place of a `DataRow` with this body.
fn handed_on(body: &[u8], veils: &[Veil], forming: Option<&mut Forming>) -> Result<Vec<u8>, Stopped> {
    let row = masked_row(body, veils).and_then(|row| match forming {
        // Behind its letter and its length.
        Some(forming) => forming.row(row.get(5..).unwrap_or_default(), veils.len()),
        None => Ok(row),
    });
    row.map_err(|e| Stopped::liar(e.0))
}

/// How many `DataRow`s stand here whole one after another, and how many bytes they take.
fn whole_rows(bytes: &[u8]) -> (usize, usize) {
    let (mut rows, mut total) = (0, 0);
    while let Some([b'D', a, b, c, d, rest @ ..]) = bytes.get(total..)
        && let Some(more) = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).ok().and_then(|length| length.checked_sub(4))
        && more <= rest.len()
    {
        rows += 1;
        total += 5 + more;
    }
    (rows, total)
}

/// Whether a `DataRow` or `CopyData` is a row; the end of a binary copy is none. `None` if that takes the rest of its body to say.
fn is_row(head: Head, body: Option<&[u8]>) -> Option<bool> {
    if head.kind == b'D' || head.total != 5 + COPY_ENDS.len() {
        return Some(true);
    }
    body.map(|body| body != COPY_ENDS)
}

/// What a message without data says about what was asked.
fn small(ledger: &mut Ledger, kind: u8, body: &[u8]) -> Result<(), Stopped> {
    match kind {
        b'C' => {
            let tag = back::command_complete(body).map_err(|e| Stopped::liar(e.0))?;
            ledger.complete(Some(tag), false, Instant::now());
        }
        b'I' => ledger.complete(None, false, Instant::now()),
        b's' => ledger.complete(None, true, Instant::now()),
        b'G' => ledger.copies("copy_in"),
        b'H' => ledger.copies("copy_out"),
        b'W' => ledger.copies("copy_both"),
        b'1' | b'2' | b'3' | b'n' | b't' => ledger.small(kind),
        b'Z' => {
            let status = back::ready(body).map_err(|e| Stopped::liar(e.0))?;
            let out_of_step =
                |_| Stopped::liar("it is ready for the next query and has not answered the last; a copy that failed can end so");
            ledger.ready(status, Instant::now()).map_err(out_of_step)?;
        }
        b'S' | b'c' => {}
        _ => return Err(Stopped::liar("a message that has no place in a session")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_are_taken_together_as_they_are_one_by_one(
            sizes in prop::collection::vec(0..9_usize, 0..6), behind in prop::collection::vec(any::<u8>(), 0..12), cut in 0..9_usize
        ) {
            let mut bytes = Vec::new();
            for size in &sizes {
                bytes.extend(front_of(b'D', *size));
                bytes.extend(vec![7; *size]);
            }
            bytes.extend(behind);
            bytes.truncate(bytes.len().saturating_sub(cut));
            let (mut rows, mut total) = (0, 0);
            while let Ok(Some(head)) = head(&bytes[total..], Side::Back) {
                if head.kind != b'D' || head.total > bytes.len() - total {
                    break;
                }
                (rows, total) = (rows + 1, total + head.total);
            }
            prop_assert_eq!(whole_rows(&bytes), (rows, total));
        }
    }

    fn front_of(kind: u8, size: usize) -> Vec<u8> {
        let length = u32::try_from(size + 4).unwrap().to_be_bytes();
        [&[kind][..], &length].concat()
    }
}
