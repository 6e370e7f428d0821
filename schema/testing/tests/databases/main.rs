//! The runner against real databases, and a program that runs it and is killed.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

mod fixture;
mod mariadb;
mod postgres;
mod runner;
mod sqlite;
