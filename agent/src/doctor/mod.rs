//! `handover-agent doctor`: whether a host is fit, before it is enrolled or later. Changes nothing.

mod checks;
mod host;
mod server;
#[cfg(test)]
mod tests;

use crate::disks::Disks;
use handover_identity::{JoinToken, ServerAddress};
use serde::Serialize;
use std::{fmt, path::PathBuf};

/// What is looked at.
#[derive(Debug)]
pub struct Examination {
    /// Where the agent keeps its state, or will.
    pub state: PathBuf,
    /// The file systems of its folders.
    pub disks: Disks,
    /// The server to reach; `None`: not asked.
    pub server: Option<ServerAddress>,
    /// A join token: pins the server, and is not used up.
    pub token: Option<JoinToken>,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Pass,
    /// The agent runs, and something is worse than it could be.
    Warn,
    /// The agent, or what it runs, does not work like this.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What was found.
    pub found: String,
    /// What the lack costs; empty where there is none.
    pub costs: &'static str,
    /// What to do about it; empty where there is nothing to do.
    pub advice: &'static str,
}

impl Check {
    fn pass(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Pass, found: found.into(), costs: "", advice: "" }
    }

    fn warn(name: &'static str, found: impl Into<String>, costs: &'static str, advice: &'static str) -> Self {
        Self { name, outcome: Outcome::Warn, found: found.into(), costs, advice }
    }

    fn fail(name: &'static str, found: impl Into<String>, costs: &'static str, advice: &'static str) -> Self {
        Self { name, outcome: Outcome::Fail, found: found.into(), costs, advice }
    }
}

/// Looks at everything.
pub async fn examine(examination: &Examination) -> Vec<Check> {
    let mut checks = host::checks(&examination.state, &examination.disks);
    if let Some(address) = &examination.server {
        checks.push(
            server::reach(address, examination.token.as_ref(), &examination.state.join("identity")).await,
        );
    }
    checks
}

/// Prints the checks, as lines or as one JSON value each, and says whether none failed.
#[must_use]
pub fn print(checks: &[Check], as_json: bool) -> bool {
    for check in checks {
        if as_json {
            // Text and two enums: there is nothing in it that JSON could not hold.
            println!("{}", serde_json::to_string(check).unwrap_or_default());
        } else {
            print!("{check}");
        }
    }
    checks.iter().all(|check| check.outcome != Outcome::Fail)
}

impl fmt::Display for Check {
    /// Its line, and below it what the lack costs and what to do; each ends with a newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.outcome {
            Outcome::Pass => "pass",
            Outcome::Warn => "WARN",
            Outcome::Fail => "FAIL",
        };
        writeln!(f, "{outcome}  {:<16} {}", self.name, self.found)?;
        for (word, text) in [("costs", self.costs), ("do", self.advice)] {
            if !text.is_empty() {
                writeln!(f, "      {word:<16} {text}")?;
            }
        }
        Ok(())
    }
}
