//! Values that go into our statements and come out of them, the same for each kind of database.

use sqlx::query::Query;
use sqlx::{ColumnIndex, Database, Encode, Type, TypeInfo as _, ValueRef as _};

/// A value that goes into one of our statements, or comes out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Text(String),
}

impl Value {
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Int(_) => None,
        }
    }

    pub(crate) fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Null | Self::Text(_) => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

pub(crate) type Row = Vec<Value>;

/// A statement with the values in its places.
pub(crate) fn bound<'q, D: Database>(sql: &'q str, values: &[Value]) -> Query<'q, D, D::Arguments<'q>>
where
    i64: Encode<'q, D> + Type<D>,
    String: Encode<'q, D> + Type<D>,
    Option<String>: Encode<'q, D> + Type<D>,
{
    values.iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Null => query.bind(None::<String>),
        Value::Int(number) => query.bind(*number),
        Value::Text(text) => query.bind(text.clone()),
    })
}

/// A row that a driver gave; `value` reads what is not NULL, by the name of the column's type.
pub(crate) fn row_of<R: sqlx::Row>(
    row: &R,
    value: impl Fn(&R, usize, &str) -> Result<Value, sqlx::Error>,
) -> Result<Row, sqlx::Error>
where
    usize: ColumnIndex<R>,
{
    (0..row.len())
        .map(|at| {
            let raw = row.try_get_raw(at)?;
            if raw.is_null() {
                return Ok(Value::Null);
            }
            value(row, at, raw.type_info().name())
        })
        .collect()
}
