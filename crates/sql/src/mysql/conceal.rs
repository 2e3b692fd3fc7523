//! What a record keeps of a statement under a role with masks: everything but the values that meet a masked column.
//!
//! In a statement that is allowed they meet one only where it is given a value, in `INSERT`, `REPLACE` and `UPDATE`; anywhere else a
//! masked column stands alone. A variable may carry a value into another statement, and a function of the role's anywhere: whatever names
//! one keeps no value. What is refused may have compared a masked column with anything, also through a view that nobody knows here, so
//! all its values go.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use access::rights::{DatabaseRights, QualifiedName};
use sqlparser::ast::{
    Assignment, AssignmentTarget, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Insert, ObjectName, OnInsert, SetExpr,
    Statement, TableObject, Value, ValueWithSpan, visit_expressions,
};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Whitespace};

use super::fold::folded;
use super::lists::FUNCTIONS;
use super::seen::{key, last, word};
use super::{LONGEST, Look};
use crate::catalog::Catalog;
use crate::concealed::{COMMENT, CONSTANT, Concealed, of_allowed};
use crate::verdict::{Hidden, Refused, Verdict, shown};

/// What stands in the place of a name in backquotes that nothing here has: often somebody's value in the wrong quotes.
const NAME_IN_PLACE: &str = "`‹hidden›`";
/// What is recorded of a text, after [`super::judge`] has said this about it; `None`: all of it.
#[must_use]
pub fn conceal(rights: &DatabaseRights, catalog: &Catalog, sql: &str, verdict: &Verdict) -> Option<Concealed> {
    if !rights.has_masks() {
        return None;
    }
    match verdict {
        Verdict::Allowed(all) => of_allowed(all, |starts| without(sql, starts), || without_values(catalog, sql, None)),
        Verdict::Refused(refused) => Some(without_values(catalog, sql, Some(&refused.to_string()))),
    }
}

/// The text without any constant, comment, or name that nothing here has; without anything if it cannot be read. `why` is what is said
/// about it, and loses the same names.
#[must_use]
pub fn without_values(catalog: &Catalog, sql: &str, why: Option<&str>) -> Concealed {
    let mut why = why.map(str::to_owned);
    let lower = sql.to_ascii_lowercase();
    // What stands in a comment that the server runs, the tokens do not place.
    let runs_comments = lower.contains("/*!") || lower.contains("/*m!");
    let read = if sql.len() > LONGEST || runs_comments { None } else { Placed::of(sql) };
    let Some(placed) = read else { return Concealed { text: nothing_of(sql), count: 1, why } };
    let mut out = Rewritten::new(sql);
    for one in &placed.tokens {
        match &one.token {
            token if is_comment(token) => out.replace(one, COMMENT),
            token if is_constant(token) => out.replace(one, CONSTANT),
            Token::Word(word) if word.quote_style.is_some() && !catalog.knows_name(&word.value) => {
                why = why.map(|why| why.replace(&shown(&word.value), "‹hidden›"));
                out.replace(one, NAME_IN_PLACE);
            }
            // `0b101` and the like.
            Token::Word(word) if word.value.starts_with(|c: char| c.is_ascii_digit()) && !catalog.knows_name(&word.value) => {
                out.replace(one, CONSTANT);
            }
            _ => {}
        }
    }
    let (text, count) = out.finish();
    Concealed { text, count, why }
}

/// A text of which nothing is kept.
#[must_use]
pub fn nothing_of(text: impl AsRef<[u8]>) -> String {
    format!("‹hidden: {} bytes›", text.as_ref().len())
}

/// The text without the constants that begin at these places, and without comments, which may say the same; `None` if one is not found.
fn without(sql: &str, starts: &BTreeSet<i32>) -> Option<Concealed> {
    let placed = Placed::of(sql)?;
    let mut out = Rewritten::new(sql);
    let mut found = 0;
    let mut at = 0;
    while let Some(one) = placed.tokens.get(at) {
        at += 1;
        if is_comment(&one.token) {
            out.replace(one, COMMENT);
            continue;
        }
        if !i32::try_from(one.start).is_ok_and(|start| starts.contains(&start)) {
            continue;
        }
        found += 1;
        out.replace(one, CONSTANT);
        // Texts one after another are one text.
        while let Some(next) = placed.tokens.get(at) {
            match &next.token {
                token if is_comment(token) => out.replace(next, COMMENT),
                Token::Whitespace(_) => {}
                token if is_text(token) => out.replace(next, CONSTANT),
                _ => break,
            }
            at += 1;
        }
    }
    let (text, count) = out.finish();
    (found == starts.len()).then_some(Concealed { text, count, why: None })
}

/// A token, and where it stands in the text, in bytes.
struct One {
    token: Token,
    start: usize,
    end: usize,
}

/// The tokens of a text, by their places.
struct Placed {
    tokens: Vec<One>,
}

impl Placed {
    /// `None` if it cannot be read.
    fn of(sql: &str) -> Option<Self> {
        let read = super::tokens(sql, Refused::not_understood).ok()?;
        let mut go_to = bytes_at(sql);
        let mut tokens = Vec::with_capacity(read.len());
        for one in read {
            let (start, end) = (go_to(one.span.start)?, go_to(one.span.end)?);
            tokens.push(One { token: one.token, start, end });
        }
        Some(Self { tokens })
    }
}

/// Finds the byte at which a letter stands, for letters that are asked for in their order.
fn bytes_at(sql: &str) -> impl FnMut(Location) -> Option<usize> {
    let mut chars = sql.char_indices();
    // Lines and columns are counted in letters, from 1 on.
    let (mut line, mut column, mut byte) = (1, 1, 0);
    move |to: Location| {
        while (line, column) < (to.line, to.column) {
            let (at, letter) = chars.next()?;
            byte = at + letter.len_utf8();
            (line, column) = if letter == '\n' { (line + 1, 1) } else { (line, column + 1) };
        }
        ((line, column) == (to.line, to.column)).then_some(byte)
    }
}

/// Where the tokens of a text begin, and what of them says where values go.
pub(super) struct Spots {
    /// Where each begins, by line and column and in bytes, and how many placeholders there are up to it.
    all: Vec<(Location, usize, usize)>,
    /// Whether a variable of the session's own stands anywhere.
    has_variable: bool,
}

impl Spots {
    /// `None` if they cannot be found again.
    pub(super) fn of(sql: &str, tokens: &[TokenWithSpan]) -> Option<Self> {
        let mut go_to = bytes_at(sql);
        let (mut all, mut placeholders, mut has_variable) = (Vec::new(), 0, false);
        for one in tokens {
            has_variable |= match &one.token {
                Token::Whitespace(_) => continue,
                Token::AtSign => true,
                Token::Word(word) => word.quote_style.is_none() && word.value.starts_with('@') && !word.value.starts_with("@@"),
                _ => false,
            };
            placeholders += usize::from(matches!(one.token, Token::Placeholder(_)));
            all.push((one.span.start, go_to(one.span.start)?, placeholders));
        }
        Some(Self { all, has_variable })
    }

    /// The byte at which the one begins that stands here, and how many placeholders there are up to it.
    fn at(&self, place: Location) -> Option<(usize, usize)> {
        let found = self.all.binary_search_by(|(at, ..)| (at.line, at.column).cmp(&(place.line, place.column))).ok()?;
        self.all.get(found).map(|(_, start, placeholders)| (*start, *placeholders))
    }
}

/// A text in which tokens are replaced, in their order.
struct Rewritten<'t> {
    sql: &'t str,
    text: String,
    from: usize,
    count: usize,
}

impl<'t> Rewritten<'t> {
    fn new(sql: &'t str) -> Self {
        Self { sql, text: String::with_capacity(sql.len()), from: 0, count: 0 }
    }

    fn replace(&mut self, one: &One, by: &str) {
        self.text.push_str(self.sql.get(self.from..one.start).unwrap_or_default());
        self.text.push_str(by);
        self.from = one.end;
        self.count += 1;
    }

    fn finish(mut self) -> (String, usize) {
        self.text.push_str(self.sql.get(self.from..).unwrap_or_default());
        (self.text, self.count)
    }
}

fn is_comment(token: &Token) -> bool {
    matches!(token, Token::Whitespace(Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_)))
}

fn is_text(token: &Token) -> bool {
    matches!(token, Token::SingleQuotedString(_) | Token::DoubleQuotedString(_))
}

fn is_constant(token: &Token) -> bool {
    match token {
        Token::Number(..)
        | Token::Char(_)
        | Token::DollarQuotedString(_)
        | Token::TripleSingleQuotedString(_)
        | Token::TripleDoubleQuotedString(_)
        | Token::SingleQuotedByteStringLiteral(_)
        | Token::DoubleQuotedByteStringLiteral(_)
        | Token::TripleSingleQuotedByteStringLiteral(_)
        | Token::TripleDoubleQuotedByteStringLiteral(_)
        | Token::SingleQuotedRawStringLiteral(_)
        | Token::DoubleQuotedRawStringLiteral(_)
        | Token::TripleSingleQuotedRawStringLiteral(_)
        | Token::TripleDoubleQuotedRawStringLiteral(_)
        | Token::NationalStringLiteral(_)
        | Token::QuoteDelimitedStringLiteral(_)
        | Token::NationalQuoteDelimitedStringLiteral(_)
        | Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::HexStringLiteral(_) => true,
        Token::Word(word) => {
            word.quote_style.is_none() && (word.value.eq_ignore_ascii_case("true") || word.value.eq_ignore_ascii_case("false"))
        }
        other => is_text(other),
    }
}

/// Which values of an allowed statement become those of a masked column.
pub(super) fn hidden(look: &Look<'_>, spots: &Spots, statement: &Statement) -> Hidden {
    if spots.has_variable || calls_own(look, statement) {
        return Hidden::Everything;
    }
    let mut given = Given { look, spots, hidden: Hidden::Nothing };
    given.statement(statement);
    given.hidden
}

/// Whether it hands values to a function or procedure of the role's: where they go from there, nobody can tell.
fn calls_own(look: &Look<'_>, statement: &Statement) -> bool {
    if matches!(statement, Statement::Call(_)) {
        return true;
    }
    let comes_with_the_server = |name: &ObjectName| {
        name.0.len() == 1 && last(name).is_some_and(|name| FUNCTIONS.split_ascii_whitespace().any(|known| known == word(name)))
    };
    let has_own = |expr: &Expr| match expr {
        Expr::Function(function) if !comes_with_the_server(&function.name) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    !look.rights.functions.is_empty() && visit_expressions(statement, has_own).is_break()
}

struct Given<'a> {
    look: &'a Look<'a>,
    spots: &'a Spots,
    hidden: Hidden,
}

impl Given<'_> {
    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) => {
                let tables = self.look.all_tables(std::slice::from_ref(&update.table)).unwrap_or_default();
                self.assigned(&tables, &update.assignments);
            }
            Statement::Explain { statement, .. } => self.statement(statement),
            _ => {}
        }
    }

    fn is_masked(&self, table: &QualifiedName, column: &str) -> bool {
        let rights = self.look.rights.tables.get(table);
        rights.is_some_and(|rights| rights.masked.iter().any(|masked| folded(masked) == column))
    }

    fn insert(&mut self, insert: &Insert) {
        let TableObject::TableName(name) = &insert.table else { return };
        let Ok(table) = self.look.table(name) else { return };
        let columns: Vec<String> = if insert.columns.is_empty() {
            let known = self.look.catalog.relation(&table).map(|relation| relation.columns.as_slice()).unwrap_or_default();
            // An account sees its own columns alone: behind a gap in their numbers each value stands elsewhere.
            if !(1_i16..).zip(known).all(|(number, column)| column.number == number) {
                self.hidden = Hidden::Everything;
            }
            known.iter().map(|column| folded(&column.name)).collect()
        } else {
            insert.columns.iter().map(|column| name_of(column).unwrap_or_default()).collect()
        };
        if let Some(source) = &insert.source
            && columns.iter().any(|column| self.is_masked(&table, column))
        {
            match (&*source.body, &source.with) {
                (SetExpr::Values(values), None) => {
                    for row in &values.rows {
                        for (column, value) in columns.iter().zip(&row.content) {
                            if self.is_masked(&table, column) {
                                self.value(value);
                            }
                        }
                        if row.content.len() > columns.len() {
                            self.hidden = Hidden::Everything;
                        }
                    }
                }
                // Only a walk through other rows could tell where its values go.
                _ => self.hidden = Hidden::Everything,
            }
        }
        let tables = [table];
        self.assigned(&tables, &insert.assignments);
        if let Some(OnInsert::DuplicateKeyUpdate(assignments)) = &insert.on {
            self.assigned(&tables, assignments);
        }
    }

    fn assigned(&mut self, tables: &[QualifiedName], assignments: &[Assignment]) {
        for assignment in assignments {
            let AssignmentTarget::ColumnName(target) = &assignment.target else {
                self.hidden = Hidden::Everything;
                continue;
            };
            let column = name_of(target).unwrap_or_default();
            if tables.iter().any(|table| self.is_masked(table, &column)) {
                self.value(&assignment.value);
            }
        }
    }

    /// What becomes the value of a masked column: constants, and what only computes with them; of anything else nobody can tell what
    /// goes into it.
    fn value(&mut self, expr: &Expr) {
        match expr {
            Expr::Value(value) => self.constant(value),
            Expr::TypedString(typed) => self.constant(&typed.value),
            Expr::Nested(inner)
            | Expr::Prefixed { value: inner, .. }
            | Expr::UnaryOp { expr: inner, .. }
            | Expr::Cast { expr: inner, .. }
            | Expr::Convert { expr: inner, .. }
            | Expr::Collate { expr: inner, .. } => self.value(inner),
            Expr::BinaryOp { left, right, .. } => {
                self.value(left);
                self.value(right);
            }
            Expr::Function(function) => self.function(function),
            Expr::Identifier(ident) if ident.quote_style.is_none() && word(ident) == "default" => {}
            _ => self.hidden = Hidden::Everything,
        }
    }

    fn function(&mut self, function: &Function) {
        let plain = function.over.is_none() && function.filter.is_none() && function.within_group.is_empty();
        match &function.args {
            FunctionArguments::None if plain => {}
            FunctionArguments::List(list) if plain && list.clauses.is_empty() => {
                for argument in &list.args {
                    match argument {
                        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => self.value(expr),
                        _ => self.hidden = Hidden::Everything,
                    }
                }
            }
            _ => self.hidden = Hidden::Everything,
        }
    }

    fn constant(&mut self, value: &ValueWithSpan) {
        if value.value == Value::Null || self.hidden == Hidden::Everything {
            return;
        }
        let Some((start, number)) = self.spots.at(value.span.start) else {
            self.hidden = Hidden::Everything;
            return;
        };
        let start = i32::try_from(start).ok();
        if self.hidden == Hidden::Nothing {
            self.hidden = Hidden::Some { parameters: BTreeSet::new(), constants: BTreeSet::new() };
        }
        let Hidden::Some { parameters, constants } = &mut self.hidden else { return };
        if matches!(value.value, Value::Placeholder(_)) {
            parameters.extend(i32::try_from(number));
        } else {
            constants.extend(start);
        }
    }
}

fn name_of(name: &ObjectName) -> Option<String> {
    last(name).map(key)
}
