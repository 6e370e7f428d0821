//! How Handover's files are read: the manifest, and what configures the daemons. TOML with all mistakes at once.
//!
//! A text is walked as a table with positions instead of being derived with serde, because serde stops at the first
//! mistake. Names, ranges and words of the keys stand in one [`Table`] for each kind of file, which the walk obeys and
//! from which schema and reference are made.

mod keys;
mod mistake;
mod quantity;
mod reading;
mod shown;
mod table;
mod text;

pub use keys::{Absent, Entry, Key, Shape, Table, Text, Words};
pub use mistake::{Mistake, Mistakes};
pub(crate) use quantity::written;
pub use quantity::{seconds, written_seconds};
pub use reading::{Reading, Stated};
pub use shown::{WrongFile, end, printable, shown, source};
pub use text::FileKind;

pub(crate) use keys::{
    Durations, Either, FirstAndLast, Fractions, Integers, Listed, Members, Percents, Sizes, Texts, key,
};
pub(crate) use mistake::{Place, Problems};
pub(crate) use quantity::quoted;
pub(crate) use table::{Section, Value};
pub(crate) use text::{read, text};
