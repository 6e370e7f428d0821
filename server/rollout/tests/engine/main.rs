//! The engine against a simulated fleet: scenarios that read like stories, and the named invariants.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be made fails its test")]

mod absences;
mod agent;
mod confirming;
mod control;
mod fleet;
mod invariants;
mod migrations;
mod migrator;
mod names;
mod plans;
mod records;
mod rehearsals;
mod scenarios;
mod stages;
mod story;
mod strategies;
mod tales;
mod waits;
mod world;
