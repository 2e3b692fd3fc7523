//! Which rows, in which order, how many.

use access::row::{Column, Field, Row};

use crate::database::Sql;
use crate::table::names;

/// A part of a list, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// How many rows at most.
    pub limit: u32,
    /// The key of the last row of the part before.
    pub after: Option<String>,
}

impl Page {
    /// The newest so many.
    #[must_use]
    pub fn first(limit: u32) -> Self {
        Self { limit, after: None }
    }

    /// As many more behind this key.
    #[must_use]
    pub fn after(self, key: impl ToString) -> Self {
        Self { after: Some(key.to_string()), ..self }
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::first(100)
    }
}

/// Conditions that all must hold.
#[derive(Debug, Default)]
pub(crate) struct Select {
    conditions: Vec<String>,
    args: Vec<Column>,
    order: Option<&'static str>,
    limit: Option<u32>,
    skip: Option<u32>,
}

impl Select {
    pub(crate) fn all() -> Self {
        Self::default()
    }

    /// `"column" = value`.
    pub(crate) fn is(self, column: &str, value: &impl Field) -> Self {
        self.compare(column, "=", value)
    }

    /// `"column" = value`, if there is one to compare with.
    pub(crate) fn maybe(self, column: &str, value: Option<&impl Field>) -> Self {
        match value {
            Some(value) => self.is(column, value),
            None => self,
        }
    }

    /// In this state, if one is named. It stands in the text itself, where a database sees that an index of just these rows will do.
    pub(crate) fn in_state(self, state: Option<&impl Field>) -> Self {
        match state.map(Field::to_column) {
            // INVARIANT: a state is a code of the gate's own: letters and underscores.
            Some(Column::Text(code)) if code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') => self.so(&format!("state = '{code}'")),
            Some(other) => self.so(if other == Column::Null { "state IS NULL" } else { "1 = 0" }),
            None => self,
        }
    }

    /// `"column" <=> value`.
    pub(crate) fn compare(mut self, column: &str, operator: &str, value: &impl Field) -> Self {
        self.args.push(value.to_column());
        self.conditions.push(format!("\"{column}\" {operator} ${}", self.args.len()));
        self
    }

    /// A condition in SQL, in which `?` stands for the value.
    pub(crate) fn that(mut self, condition: &str, value: &impl Field) -> Self {
        self.args.push(value.to_column());
        self.conditions.push(condition.replace('?', &format!("${}", self.args.len())));
        self
    }

    /// One of two conditions in SQL, each with one `?`.
    pub(crate) fn either(mut self, one: &str, value: &impl Field, other: &str, another: &impl Field) -> Self {
        self.args.push(value.to_column());
        let one = one.replace('?', &format!("${}", self.args.len()));
        self.args.push(another.to_column());
        let other = other.replace('?', &format!("${}", self.args.len()));
        self.conditions.push(format!("({one} OR {other})"));
        self
    }

    /// A condition in SQL that needs no value.
    pub(crate) fn so(mut self, condition: &str) -> Self {
        self.conditions.push(condition.to_owned());
        self
    }

    pub(crate) fn order(mut self, order: &'static str) -> Self {
        self.order = Some(order);
        self
    }

    pub(crate) fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Leaves out so many first.
    pub(crate) fn skip(mut self, skip: u32) -> Self {
        self.skip = Some(skip);
        self
    }

    /// `"column"` is one of these.
    pub(crate) fn among(mut self, column: &str, values: &[impl Field]) -> Self {
        let mut places = Vec::with_capacity(values.len());
        for value in values {
            self.args.push(value.to_column());
            places.push(format!("${}", self.args.len()));
        }
        // Nothing is one of none.
        let which = if places.is_empty() { "1 = 0".to_owned() } else { format!("\"{column}\" IN ({})", places.join(", ")) };
        self.conditions.push(which);
        self
    }

    /// One page by the key, newest first.
    pub(crate) fn page(mut self, key: &str, page: &Page) -> Self {
        if let Some(after) = &page.after {
            self = self.compare(key, "<", after);
        }
        self.limit(page.limit)
    }

    pub(crate) fn sql<R: Row>(self) -> (Sql, Vec<Column>) {
        let key = R::COLUMNS.first().copied().unwrap_or_default();
        let order = self.order.map_or_else(|| format!("\"{key}\" DESC"), str::to_owned);
        self.sql_of(R::TABLE, R::COLUMNS, &order)
    }

    pub(crate) fn sql_of(self, table: &str, columns: &[&str], order: &str) -> (Sql, Vec<Column>) {
        let mut args = self.args;
        let mut sql = format!("SELECT {} FROM {table}", names(columns));
        if !self.conditions.is_empty() {
            sql.push_str(" WHERE ");
            sql.push_str(&self.conditions.join(" AND "));
        }
        sql.push_str(" ORDER BY ");
        sql.push_str(order);
        if let Some(limit) = self.limit {
            args.push(Column::Int(limit.into()));
            sql.push_str(&format!(" LIMIT ${}", args.len()));
        }
        if let Some(skip) = self.skip.filter(|skip| *skip > 0) {
            args.push(Column::Int(skip.into()));
            sql.push_str(&format!(" OFFSET ${}", args.len()));
        }
        (sql.into(), args)
    }
}
