//! Every key of a manifest: what may stand under it, what holds without it, what it is for.
//!
//! One table. The reader takes names, ranges and words from it, and refuses what does not stand in it; the JSON
//! Schema and the reference in `docs/configuration.md` are made from it.

pub(crate) mod canary;
pub(crate) mod metrics;
pub(crate) mod preflight;
pub(crate) mod probe;
pub(crate) mod process;
pub(crate) mod rollout;
pub(crate) mod schema;
pub(crate) mod service;
pub(crate) mod verify;

pub(crate) use crate::language::{
    Absent, Durations, Either, FirstAndLast, Fractions, Integers, Key, Listed, Members, Percents, Sizes,
    Table, Text, Texts, Words, key,
};

/// The whole manifest as a table of keys.
pub static LANGUAGE: &Table = &service::MANIFEST;
