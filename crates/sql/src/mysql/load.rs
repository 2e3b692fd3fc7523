//! `LOAD DATA LOCAL INFILE`, which the parser does not know: its plain form, into columns of one table.
//!
//! Left out are `SET`, user variables and partitions: what they compute would have to be looked at too.

use access::rights::Verb;
use sqlparser::ast::{Ident, ObjectName};
use sqlparser::tokenizer::Token;

use super::{Look, Step};
use crate::verdict::{Allowed, Outcome, Refused};

struct Reading<'t>(&'t [Token]);

impl<'t> Reading<'t> {
    fn next(&mut self) -> Option<&'t Token> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// Takes one of these words, if it is next.
    fn word(&mut self, words: &[&str]) -> bool {
        let is = matches!(self.0.first(), Some(Token::Word(word)) if word.quote_style.is_none() && words.iter().any(|w| word.value.eq_ignore_ascii_case(w)));
        if is {
            self.next();
        }
        is
    }

    fn text(&mut self) -> bool {
        matches!(self.next(), Some(Token::SingleQuotedString(_) | Token::DoubleQuotedString(_)))
    }

    fn ident(&mut self) -> Option<Ident> {
        match self.next()? {
            Token::Word(word) => {
                Some(Ident { value: word.value.clone(), quote_style: word.quote_style, span: sqlparser::tokenizer::Span::empty() })
            }
            _ => None,
        }
    }
}

/// Whether a statement that begins with this is one that loads.
pub(super) fn loads(first: &Token) -> bool {
    matches!(first, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("load"))
}

impl Look<'_> {
    /// Judges a statement that loads; `tokens` are without blanks.
    pub(super) fn load(&self, tokens: &[Token]) -> Step<Allowed> {
        if !self.rights.copy_in {
            return Err(Refused::not_in_role("this role may not load rows from a file", "insert them, or ask for a role that may"));
        }
        let plain = || {
            Refused::not_understood(
                "a `LOAD DATA` that is not plainly `LOAD DATA LOCAL INFILE '…' INTO TABLE t (columns)`, with how fields and lines end",
            )
        };
        let mut read = Reading(tokens);
        let begins = read.word(&["load"]) && read.word(&["data"]);
        read.word(&["low_priority", "concurrent"]);
        if !(begins && read.word(&["local"]) && read.word(&["infile"]) && read.text()) {
            return Err(plain());
        }
        let replaces = read.word(&["replace"]);
        read.word(&["ignore"]);
        if !(read.word(&["into"]) && read.word(&["table"])) {
            return Err(plain());
        }
        let mut name = vec![read.ident().ok_or_else(plain)?];
        if matches!(read.0.first(), Some(Token::Period)) {
            read.next();
            name.push(read.ident().ok_or_else(plain)?);
        }
        let mut columns = Vec::new();
        while let Some(token) = read.0.first() {
            if *token == Token::LParen {
                read.next();
                loop {
                    columns.push(read.ident().ok_or_else(plain)?);
                    match read.next() {
                        Some(Token::Comma) => {}
                        Some(Token::RParen) => break,
                        _ => return Err(plain()),
                    }
                }
                if !matches!(read.0, [] | [Token::SemiColon]) {
                    return Err(plain());
                }
            } else if read.word(&["character"]) {
                if !(read.word(&["set"]) && read.ident().is_some()) {
                    return Err(plain());
                }
            } else if read.word(&[
                "fields",
                "columns",
                "lines",
                "terminated",
                "optionally",
                "enclosed",
                "escaped",
                "starting",
                "by",
                "rows",
                "ignore",
            ]) {
                // How the file is cut says nothing about what it may do.
            } else if matches!(token, Token::SingleQuotedString(_) | Token::DoubleQuotedString(_) | Token::Number(..) | Token::SemiColon) {
                read.next();
            } else {
                return Err(plain());
            }
        }
        let target = self.table(&ObjectName::from(name))?;
        self.not_opaque(&target)?;
        self.may(&target, Verb::Insert)?;
        if replaces {
            self.may(&target, Verb::Delete)?;
        }
        if columns.is_empty() {
            self.all_columns(&target, Verb::Insert)?;
        }
        columns.iter().try_for_each(|column| self.may_column(&target, Verb::Insert, &column.value))?;
        Ok(Allowed { kind: "load", outcome: Outcome::CopyIn, ..Allowed::default() })
    }
}
