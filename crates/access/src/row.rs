//! Rows as plain columns, so that the store writes them, and `audit replay` compares them, one column at a time.
//!
//! A row's struct is the only list of its columns: a field added here without a migration, or a column added there
//! without a field here, fails the store's contract suite.

use std::fmt;

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

/// One value in one column. Times are microseconds since 1970 UTC; structured values are JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// No value.
    Null,
    /// A number, a truth value, or a time.
    Int(i64),
    /// Everything else.
    Text(String),
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("nothing"),
            Self::Int(n) => n.fmt(f),
            Self::Text(t) => write!(f, "`{t}`"),
        }
    }
}

/// A column that doesn't hold what its field needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column `{column}` of `{table}` holds {found}, which is no {wanted}")]
pub struct ColumnError {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// What stands there.
    pub found: String,
    /// What should.
    pub wanted: &'static str,
}

/// A type that fits in one column.
pub trait Field: Sized {
    /// As a column.
    fn to_column(&self) -> Column;
    /// From a column; `None` if it holds something else.
    fn from_column(column: &Column) -> Option<Self>;
}

impl Field for i64 {
    fn to_column(&self) -> Column {
        Column::Int(*self)
    }
    fn from_column(column: &Column) -> Option<Self> {
        match column {
            Column::Int(n) => Some(*n),
            _ => None,
        }
    }
}

impl Field for u64 {
    fn to_column(&self) -> Column {
        Column::Int(i64::try_from(*self).unwrap_or(i64::MAX))
    }
    fn from_column(column: &Column) -> Option<Self> {
        i64::from_column(column).and_then(|n| u64::try_from(n).ok())
    }
}

impl Field for bool {
    fn to_column(&self) -> Column {
        Column::Int((*self).into())
    }
    fn from_column(column: &Column) -> Option<Self> {
        match column {
            Column::Int(0) => Some(false),
            Column::Int(1) => Some(true),
            _ => None,
        }
    }
}

impl Field for Timestamp {
    fn to_column(&self) -> Column {
        Column::Int(self.as_microsecond())
    }
    fn from_column(column: &Column) -> Option<Self> {
        i64::from_column(column).and_then(|n| Self::from_microsecond(n).ok())
    }
}

impl Field for String {
    fn to_column(&self) -> Column {
        Column::Text(self.clone())
    }
    fn from_column(column: &Column) -> Option<Self> {
        match column {
            Column::Text(t) => Some(t.clone()),
            _ => None,
        }
    }
}

impl<F: Field> Field for Option<F> {
    fn to_column(&self) -> Column {
        self.as_ref().map_or(Column::Null, Field::to_column)
    }
    fn from_column(column: &Column) -> Option<Self> {
        match column {
            Column::Null => Some(None),
            other => F::from_column(other).map(Some),
        }
    }
}

/// A structured value in one column, as JSON.
pub fn json_to_column<T: Serialize>(value: &T) -> Column {
    serde_json::to_string(value).map_or(Column::Null, Column::Text)
}

/// A structured value from one column.
pub fn json_from_column<T: DeserializeOwned>(column: &Column) -> Option<T> {
    match column {
        Column::Text(t) => serde_json::from_str(t).ok(),
        _ => None,
    }
}

/// A row: a table's name, its columns in order, and its way there and back. The first column is the key.
pub trait Row: Sized + Clone + PartialEq + fmt::Debug {
    /// The table.
    const TABLE: &'static str;
    /// Its columns, the key first.
    const COLUMNS: &'static [&'static str];
    /// The values, in the order of `COLUMNS`.
    fn to_columns(&self) -> Vec<Column>;
    /// A row from values in the order of `COLUMNS`.
    ///
    /// # Errors
    /// Names the first column that doesn't hold what its field needs.
    fn from_columns(columns: &[Column]) -> Result<Self, ColumnError>;
    /// The key as text.
    fn key(&self) -> String {
        match self.to_columns().into_iter().next() {
            Some(Column::Text(key)) => key,
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }
}

/// Values with `Display` and `FromStr` stand in a column as their text.
macro_rules! text_fields {
    ($($ty:ty),* $(,)?) => {$(
        impl $crate::row::Field for $ty {
            fn to_column(&self) -> $crate::row::Column {
                $crate::row::Column::Text(self.to_string())
            }
            fn from_column(column: &$crate::row::Column) -> Option<Self> {
                match column {
                    $crate::row::Column::Text(t) => t.parse().ok(),
                    _ => None,
                }
            }
        }
    )*};
}

/// Values with `Serialize` and `Deserialize` stand in a column as JSON.
macro_rules! json_fields {
    ($($ty:ty),* $(,)?) => {$(
        impl $crate::row::Field for $ty {
            fn to_column(&self) -> $crate::row::Column {
                $crate::row::json_to_column(self)
            }
            fn from_column(column: &$crate::row::Column) -> Option<Self> {
                $crate::row::json_from_column(column)
            }
        }
    )*};
}

/// A struct that is a row.
macro_rules! row {
    ($(#[$doc:meta])* $name:ident in $table:literal { $($(#[$fdoc:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        pub struct $name { $($(#[$fdoc])* pub $field: $ty,)* }

        impl $crate::row::Row for $name {
            const TABLE: &'static str = $table;
            const COLUMNS: &'static [&'static str] = &[$(stringify!($field)),*];
            fn to_columns(&self) -> Vec<$crate::row::Column> {
                vec![$($crate::row::Field::to_column(&self.$field)),*]
            }
            fn from_columns(columns: &[$crate::row::Column]) -> Result<Self, $crate::row::ColumnError> {
                let mut values = columns.iter();
                $(
                    let column = values.next().unwrap_or(&$crate::row::Column::Null);
                    let $field = <$ty as $crate::row::Field>::from_column(column).ok_or_else(|| $crate::row::ColumnError {
                        table: $table,
                        column: stringify!($field),
                        found: column.to_string(),
                        wanted: stringify!($ty),
                    })?;
                )*
                Ok(Self { $($field),* })
            }
        }
    };
}

/// A fieldless enum with a code for each variant: its text everywhere.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident($noun:literal) { $($(#[$vdoc:meta])* $variant:ident = $code:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every one there is, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// The code it has in the log, the API and the command line.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.code())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::row::CodeError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($code => Ok(Self::$variant),)*
                    _ => Err($crate::row::CodeError {
                        text: text.chars().take(64).flat_map(char::escape_default).collect(),
                        noun: $noun,
                        all: &[$($code),*],
                    }),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.code())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        text_fields!($name);
    };
}

/// A text that is none of the codes it could be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {noun}; it is one of {}", all.join(", "))]
pub struct CodeError {
    /// What was given.
    pub text: String,
    /// What it was taken for.
    pub noun: &'static str,
    /// What it could be.
    pub all: &'static [&'static str],
}

text_fields!(
    std::net::IpAddr,
    crate::ids::PrincipalId,
    crate::ids::UserId,
    crate::ids::RequestId,
    crate::ids::VoteId,
    crate::ids::GrantId,
    crate::ids::SessionId,
    crate::ids::RecordingId,
    crate::ids::BundleId,
    crate::ids::TokenId,
    crate::ids::KeyId,
    crate::ids::PasskeyId,
    crate::ids::LockId,
    crate::ids::HoldId,
    crate::ids::ReviewId,
    crate::ids::WebSessionId,
    crate::ids::SavedSearchId,
    crate::ids::AccountId,
    crate::ids::DeliveryId,
    crate::ids::EntryId,
    crate::ids::DirectoryGroupId,
    crate::ids::PathId,
    crate::ids::FindingId,
    crate::names::ResourceName,
    crate::names::RoleName,
    crate::names::Username,
    crate::names::GroupName,
    crate::names::SecretName,
);

impl Field for crate::time::Span {
    fn to_column(&self) -> Column {
        self.as_seconds().to_column()
    }
    fn from_column(column: &Column) -> Option<Self> {
        u64::from_column(column).map(Self::seconds)
    }
}
