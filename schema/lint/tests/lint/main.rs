//! The linter as who uses it sees it.

mod cases;
mod each_rule;
mod files;
mod hostile;
mod page;
mod real;
mod reports;
mod splitting;
