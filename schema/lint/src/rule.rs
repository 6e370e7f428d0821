//! The rules: their names, how bad each is in which phase, why it is one. One table, which `docs/schema-lint.md` is
//! compared with.

use crate::{finding::Severity, migration::SchemaPhase};
use serde::{Serialize, Serializer};
use std::fmt;

const F: Option<Severity> = Some(Severity::Fail);
const W: Option<Severity> = Some(Severity::Warn);
/// Allowed in the phase.
const OK: Option<Severity> = None;

macro_rules! rules {
    ($($name:ident $id:literal [$expand:expr, $backfill:expr, $contract:expr] $what:literal, $why:literal;)*) => {
        /// A rule. Its name does not change once it was published: comments in migrations rest on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $(#[doc = $what] $name,)*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its name: `rename-column`.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Self::$name => $id),* }
            }

            /// What it finds.
            #[must_use]
            pub fn what(self) -> &'static str {
                match self { $(Self::$name => $what),* }
            }

            /// Why that breaks a live system.
            #[must_use]
            pub fn why(self) -> &'static str {
                match self { $(Self::$name => $why),* }
            }

            /// How bad it is in a phase; `None` where it is allowed there.
            #[must_use]
            pub fn severity(self, phase: SchemaPhase) -> Option<Severity> {
                let [expand, backfill, contract] = match self {
                    $(Self::$name => [$expand, $backfill, $contract]),*
                };
                match phase {
                    SchemaPhase::Expand => expand,
                    SchemaPhase::Backfill => backfill,
                    SchemaPhase::Contract => contract,
                }
            }
        }
    };
}

rules! {
    // What the old release uses by its name.
    RenameColumn "rename-column" [F, F, F] "A column is renamed in one step",
        "whatever code runs at that moment reads and writes one of the two names, and the other one is gone: its statements fail until the other release runs everywhere";
    RenameTable "rename-table" [F, F, F] "A table, view or sequence is renamed in one step",
        "whatever code runs at that moment knows one of the two names, and the other one is gone: its statements fail until the other release runs everywhere";
    RenameSchema "rename-schema" [F, F, F] "A schema is renamed in one step",
        "everything in it changes its name at once, and the code that runs knows one of the two";
    RenameObject "rename-object" [F, F, F] "A function, type or domain is renamed in one step",
        "the code that runs calls it by one of the two names, and the other one is gone";
    RenameEnumValue "rename-enum-value" [F, F, F] "A value of an enum is renamed in one step",
        "the code that runs reads and writes the old value: its writes fail, and what it reads it does not know";
    MoveToSchema "move-to-schema" [F, F, F] "Something is moved to another schema",
        "that is a rename: the code that runs does not find it any more";
    DropColumn "drop-column" [F, F, OK] "A column is dropped that running code may use; in a contract, one that the release says it uses itself",
        "the old release reads and writes it until its last instance has ended, and a rollback starts it again";
    DropTable "drop-table" [F, F, OK] "A table, view or sequence is dropped that running code may use; in a contract, one that the release says it uses itself",
        "the old release reads and writes it until its last instance has ended, and a rollback starts it again";
    DropObject "drop-object" [F, F, OK] "A function, type, trigger, policy, schema or extension is dropped that running code may use",
        "the old release rests on it until its last instance has ended, and a rollback starts it again";
    UnknownSchema "unknown-schema" [W, W, W] "Something is dropped or renamed by a name without its schema, in a file that has set search_path",
        "whose it is cannot be told, so it counts as everything: it is refused while any release runs that says which columns it uses";
    DropDatabase "drop-database" [F, F, F] "A database is dropped",
        "a migration is run again and again, on every database of the service: this one ends the data of all of them";
    Cascade "cascade" [F, F, F] "Something is dropped or emptied with CASCADE",
        "it takes with it whatever depends on it, which is not written here and may be used";
    Truncate "truncate" [F, F, OK] "A table is emptied that running code may use; in a contract, one that the release says it uses itself",
        "TRUNCATE waits for every reader, stops all new ones meanwhile, and takes the rows that the old release reads";
    DropDefault "drop-default" [F, F, OK] "A column loses its default, identity or expression",
        "the old release leaves the column out of its INSERTs and relies on it: they fail, or write NULL";
    DropConstraint "drop-constraint" [W, W, OK] "A constraint is dropped that the old release may rest on",
        "ON CONFLICT needs it, and rows that the old release does not expect get in";
    DropIndex "drop-index" [W, W, OK] "An index is dropped that the old release's queries may need",
        "the queries of the old release get slow, and its ON CONFLICT fails where the index was unique";
    DropNotNull "drop-not-null" [W, W, OK] "NOT NULL is taken from a column that the old release reads",
        "the new release may write NULL, and the old one has never seen one there";
    ChangesInPlace "changes-in-place" [W, W, OK] "Something that the old release uses is changed in place: OR REPLACE, a new default, options of a function, view, sequence, role or extension",
        "the old release uses it as well, and gets the new behaviour without having been tried with it";
    TakesRights "takes-rights" [F, F, OK] "Rights are taken away: REVOKE, row security, a restrictive policy, another owner",
        "the old release runs with the rights it has: its statements fail, or see no rows";
    DisableTrigger "disable-trigger" [F, F, W] "A trigger or rule is switched off",
        "what it does for each row (a second column that is kept equal, a log) is not done while it is off";

    // What rejects rows that the old release writes, or checks all rows under a lock.
    SetNotNull "set-not-null" [F, F, F] "NOT NULL is set without a validated check",
        "all rows are read under a lock that stops every reader and writer; and a release that writes NULL fails from then on";
    AddRequiredColumn "add-required-column" [F, F, F] "A NOT NULL column without a default is added",
        "it fails where the table has rows; where it has none, each INSERT of the old release fails, since it does not know the column";
    NewConstraint "new-constraint" [W, W, OK] "A constraint or unique index is added to columns that the old release writes",
        "what the old release writes is held against it from then on, NOT VALID or not: rows that it has always written may be refused";
    ForeignKeyValidates "foreign-key-validates" [F, F, F] "A foreign key is added without NOT VALID",
        "all rows are looked up under a lock that stops writers of both tables";
    CheckValidates "check-validates" [F, F, F] "A check is added without NOT VALID",
        "all rows are read under a lock that stops every reader and writer";
    ValidateInTransaction "validate-in-transaction" [F, F, F] "A constraint is validated in the transaction that added it",
        "the lock of the addition is kept while all rows are read, which is what NOT VALID was to avoid";
    UniqueBuildsIndex "unique-builds-index" [F, F, F] "A UNIQUE or PRIMARY KEY constraint builds its index under the table's lock",
        "the index is built under a lock that stops every reader and writer";
    ExclusionConstraint "exclusion-constraint" [F, F, F] "An exclusion constraint is added to a table in use",
        "its index is built under a lock that stops every reader and writer, and it can be neither NOT VALID nor built concurrently";
    DomainConstraint "domain-constraint" [F, F, F] "A domain gets a constraint or NOT NULL that is checked at once",
        "every table with a column of the domain is read, all under locks that stop their writers";
    CreateDomainConstraint "create-domain-constraint" [W, W, W] "A domain is made with a constraint",
        "a constraint of a domain can be changed only for all tables that use it at once, and each change reads them all";
    EnumValueUsed "enum-value-used" [F, F, F] "A value is added to an enum and used in the same transaction, or added in a transaction before PostgreSQL 12",
        "PostgreSQL refuses that: the migration fails in the middle of a deployment";
    EnumValueOrder "enum-value-order" [W, W, W] "A value is added to an enum without a place",
        "it sorts behind all others, and the order cannot be changed later";

    // What rewrites, or locks for long.
    ChangeType "change-type" [F, F, F] "The type of a column is changed",
        "the table is rewritten under a lock that stops every reader and writer, and code that expects the old type fails";
    AddColumnVolatileDefault "add-column-volatile-default" [F, F, F] "A column is added with a default that differs from row to row, or any default before PostgreSQL 11",
        "the table is rewritten under a lock that stops every reader and writer";
    AddColumnSerial "add-column-serial" [F, F, F] "A column is added that numbers itself",
        "each row gets its number: the table is rewritten under a lock that stops every reader and writer";
    AddColumnGenerated "add-column-generated" [F, F, F] "A stored generated column is added",
        "the table is rewritten under a lock that stops every reader and writer";
    AddColumnJson "add-column-json" [F, F, F] "A column of the type json is added",
        "json has no equality: SELECT DISTINCT, GROUP BY and UNION over the table's columns fail, also those of the old release";
    RewriteTable "rewrite-table" [F, F, F] "A table is rewritten or copied as a whole: another tablespace, access method, persistence, expression",
        "all of it is written anew under a lock that stops every reader and writer";
    IndexNotConcurrent "index-not-concurrent" [F, F, F] "An index is made without CONCURRENTLY",
        "writers wait until it is built";
    DropIndexNotConcurrent "drop-index-not-concurrent" [F, F, F] "An index is dropped without CONCURRENTLY",
        "the lock on its table stops every reader and writer, and it waits for the longest query first while they queue behind it";
    ReindexNotConcurrent "reindex-not-concurrent" [F, F, F] "An index is rebuilt without CONCURRENTLY",
        "writers wait until it is built, and so do readers that would use it";
    AttachPartition "attach-partition" [F, F, F] "A partition with rows is attached without a check that fits",
        "all its rows are read, and those of the default partition, under a lock that stops their readers and writers";
    DetachPartition "detach-partition" [F, F, F] "A partition is detached without CONCURRENTLY",
        "the lock on the parent stops every reader and writer of all partitions";
    LockTable "lock-table" [F, F, F] "A table is locked by LOCK TABLE",
        "everybody else waits until the transaction ends, and queues already while it waits itself";
    VacuumFull "vacuum-full" [F, F, F] "VACUUM FULL",
        "the table is rewritten under a lock that stops every reader and writer";
    Cluster "cluster" [F, F, F] "CLUSTER, or REPACK without CONCURRENTLY",
        "the table is rewritten under a lock that stops every reader and writer";
    RefreshNotConcurrent "refresh-not-concurrent" [F, F, F] "A materialized view is refreshed without CONCURRENTLY",
        "its readers wait until the query has run";

    // Transactions and rows.
    TransactionControl "transaction-control" [F, F, F] "BEGIN, COMMIT, ROLLBACK or a savepoint in a file",
        "the runner opens and ends the transaction: what was applied is written down in the same one, and would not be any more";
    NotTaken "not-taken" [F, F, F] "A file that the runner refuses: what it says of itself, a statement that is not alone and has to be, what is left in a session of MySQL",
        "the agent refuses it before anything of the release is applied, in the middle of a deployment";
    MustRunAlone "must-run-alone" [F, F, F] "A statement that cannot be in a transaction, beside others or in a file that is one",
        "PostgreSQL refuses it in a transaction; and without one, a file with others is half done when it fails";
    WholeTableWrite "whole-table-write" [F, F, F] "Rows of a table are written without a bound on their number",
        "each row stays locked until the last one is written, replicas fall behind, and all of it is lost when it fails near the end";
    DdlAndRows "ddl-and-rows" [F, F, F] "Rows are written in a transaction that has locked a table by changing it",
        "the lock of the change, which stops every reader and writer, is kept until all rows are written";
    SeveralTables "several-tables" [W, W, W] "One transaction changes several tables",
        "it keeps the first lock while it waits for the second: all traffic of the first table waits as well, and two such transactions may wait for each other";
    TimeoutOff "timeout-off" [F, F, F] "lock_timeout or statement_timeout is switched off or reset",
        "the runner sets them so that a statement that waits for a lock does not stop all traffic behind it";
    OpaqueCode "opaque-code" [F, F, F] "DO, CALL or EXECUTE: the linter does not see what runs",
        "what it does to the database cannot be told from the file";
    NeedsClient "needs-client" [F, F, F] "Something for a client: a command of psql, COPY from or to it",
        "the runner is not psql and has no such rows: the migration fails in the middle of a deployment";

    // What is hard to undo later.
    CharType "char-type" [W, W, W] "A column of the type char(n)",
        "it is padded with spaces, which comparisons then ignore or do not; text with a check is as fast";
    VarcharLimit "varchar-limit" [W, W, W] "A column of the type varchar(n)",
        "a lower limit later rewrites nothing but checks all rows under a lock; text with a check NOT VALID does not";
    TimestampWithoutZone "timestamp-without-zone" [W, W, W] "A column of the type timestamp without time zone",
        "it holds another moment for each session's time zone";
    SmallKey "small-key" [W, W, W] "A key of a type that runs out of numbers: integer or smallint",
        "the day it is full every INSERT fails, and a larger type rewrites the table";
    SerialColumn "serial-column" [W, W, W] "A serial column in a new table",
        "its sequence is owned and granted apart from the table; GENERATED AS IDENTITY is not";
    WideIndex "wide-index" [W, W, W] "An index over more than three columns that is not unique",
        "each write pays for it, and it rarely finds more than one over the columns that narrow down the most";
    NameTooLong "name-too-long" [F, F, F] "A name longer than 63 bytes",
        "PostgreSQL cuts it without an error: two names may become one, and later statements do not find it";
    AssignedTwice "assigned-twice" [F, F, F] "A column is assigned twice in one UPDATE",
        "PostgreSQL refuses that: the migration fails in the middle of a deployment";

    // About the files themselves.
    SyntaxError "syntax-error" [F, F, F] "A statement that the parser does not read",
        "it would fail in the middle of a deployment; and what cannot be read is not held against the rules";
    TooLarge "too-large" [F, F, F] "A file, or the nesting of a statement, beyond what is read",
        "what is not read is not held against the rules";
    AllowWithoutReason "allow-without-reason" [F, F, F] "A comment that allows something without a reason",
        "whoever reads it later cannot tell whether it still holds";
    AllowUnknown "allow-unknown" [F, F, F] "A comment that allows a rule that there is not",
        "it allows nothing, though somebody thinks it does";
    AllowUnused "allow-unused" [W, W, W] "A comment that allows what was not found",
        "it would silently allow it later";
}

impl Rule {
    /// The rule of a name.
    #[must_use]
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.id() == id)
    }

    /// Whether a comment may allow it: not those about comments and about files that were not read.
    #[must_use]
    pub fn may_be_allowed(self) -> bool {
        !matches!(
            self,
            Self::TooLarge
                | Self::NotTaken
                | Self::AllowWithoutReason
                | Self::AllowUnknown
                | Self::AllowUnused
        )
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}
