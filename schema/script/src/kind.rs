//! Kinds of databases.

/// The kinds of databases that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// PostgreSQL, 12 or later.
    Postgres,
    /// MySQL 8 or MariaDB 10.5, or later.
    MySql,
    /// SQLite, a file on this host.
    Sqlite,
}

impl Kind {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::MySql => "MySQL",
            Self::Sqlite => "SQLite",
        }
    }
}
