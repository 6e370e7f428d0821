//! What a test says to a database beside the runner, the same for each kind.

use sqlx::{ColumnIndex, Connection, Decode, Executor, FromRow, IntoArguments, Type};

/// Runs a statement on a connection, and ends that.
///
/// # Panics
/// When the database refuses it.
pub async fn execute<C>(mut connection: C, sql: &str)
where
    C: Connection,
    for<'c> &'c mut C: Executor<'c, Database = C::Database>,
{
    if let Err(error) = connection.execute(sql).await {
        panic!("{sql}: {error}");
    }
    connection.close().await.expect("the connection ends");
}

/// Asks for one value on a connection, and ends that.
///
/// # Panics
/// When the database refuses it, or gives something else.
pub async fn value<C, T>(mut connection: C, sql: &str) -> T
where
    C: Connection,
    for<'c> &'c mut C: Executor<'c, Database = C::Database>,
    for<'q> <C::Database as sqlx::Database>::Arguments<'q>: IntoArguments<'q, C::Database>,
    usize: ColumnIndex<<C::Database as sqlx::Database>::Row>,
    T: Type<C::Database> + for<'r> Decode<'r, C::Database> + Send + Unpin,
    (T,): for<'r> FromRow<'r, <C::Database as sqlx::Database>::Row>,
{
    let value = sqlx::query_scalar::<C::Database, T>(sql)
        .fetch_one(&mut connection)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    connection.close().await.expect("the connection ends");
    value
}
