//! Preflight: the five points that are looked at before a release is deployed.
//!
//! Each point is a function of [`Facts`] in a file of its own: pure, without a clock. `facts` takes the facts from the fleet,
//! `lessons` remembers what deployments showed, `pass` refuses.

mod compatibility;
mod draining;
mod facts;
mod lessons;
mod pass;
mod readiness;
mod rollback;
mod schema;
#[cfg(test)]
mod tests;

pub use lessons::LessonRecord;

use facts::Facts;
use handover_model::{
    HostName, ReleaseRef, Version,
    config::{PreflightPolicy, Stops},
};
use std::fmt;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Readiness gates the traffic, and is not the liveness check.
    Readiness,
    /// What runs may run beside the release.
    Compatibility,
    /// Changes of the schema.
    Schema,
    /// Instances are drained, and nobody was cut off.
    Draining,
    /// Going back was rehearsed.
    Rollback,
}

impl Subject {
    /// Its number, from 1.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Readiness => 1,
            Self::Compatibility => 2,
            Self::Schema => 3,
            Self::Draining => 4,
            Self::Rollback => 5,
        }
    }

    /// Its name: a key of `[preflight]`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Readiness => "readiness",
            Self::Compatibility => "compatibility",
            Self::Schema => "schema",
            Self::Draining => "draining",
            Self::Rollback => "rollback",
        }
    }

    const fn policy(self, policy: &PreflightPolicy) -> Stops {
        match self {
            Self::Readiness => policy.readiness,
            Self::Compatibility => policy.compatibility,
            Self::Schema => policy.schema,
            Self::Draining => policy.draining,
            Self::Rollback => policy.rollback,
        }
    }
}

/// How a point stands, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// It is shown.
    Pass,
    /// It is not shown, or something speaks against it.
    Warn,
    /// It does not hold.
    Fail,
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// A point with what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// What was looked at.
    pub subject: Subject,
    /// How it stands.
    pub grade: Grade,
    /// What was seen, what matters most first; at least one line.
    pub evidence: Vec<String>,
    /// What to do, each in a sentence without a full stop; empty where it passes.
    pub advice: Vec<String>,
}

impl Point {
    const fn new(subject: Subject) -> Self {
        Self { subject, grade: Grade::Pass, evidence: Vec::new(), advice: Vec::new() }
    }

    /// Something that was seen and is good, or neither good nor bad.
    fn tell(mut self, line: impl Into<String>) -> Self {
        self.evidence.push(line.into());
        self
    }

    /// Something that was seen and is not good, and what to do about it. What is worse stands before what is not.
    fn find(mut self, grade: Grade, line: impl Into<String>, advice: impl Into<String>) -> Self {
        let advice = advice.into();
        self.advice.retain(|told| *told != advice);
        let (line_at, advice_at) = match grade > self.grade {
            true => (0, 0),
            false => (self.evidence.len(), self.advice.len()),
        };
        self.grade = self.grade.max(grade);
        self.evidence.insert(line_at, line.into());
        self.advice.insert(advice_at, advice);
        self
    }
}

/// The five points of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preflight {
    /// Of what.
    pub release: ReleaseRef,
    /// The service's current release.
    pub current: Option<Version>,
    /// In the order of their numbers.
    pub points: Vec<Point>,
    /// What of them stops a deployment; nothing where the release is the first of its service.
    policy: Option<PreflightPolicy>,
}

impl Preflight {
    /// Looks at the facts.
    fn of(facts: &Facts<'_>) -> Self {
        let points = vec![
            readiness::point(facts),
            compatibility::point(facts),
            schema::point(facts),
            draining::point(facts),
            rollback::point(facts),
        ];
        // A service that nobody uses yet has nothing that a deployment could break.
        let first = facts.current.is_none() && facts.running.is_empty();
        Self {
            release: facts.release.clone(),
            current: facts.current.cloned(),
            points,
            policy: (!first).then_some(facts.manifest.preflight),
        }
    }

    /// Whether a point stops a deployment.
    #[must_use]
    pub fn stops(&self, point: &Point) -> bool {
        self.policy.as_ref().is_some_and(|policy| match point.subject.policy(policy) {
            Stops::Fail => point.grade == Grade::Fail,
            Stops::Warn => point.grade >= Grade::Warn,
            Stops::Never => false,
        })
    }
}

/// Some names, the rest as a number.
fn listed<'a>(hosts: impl IntoIterator<Item = &'a HostName>) -> String {
    super::control::listed(hosts.into_iter())
}
