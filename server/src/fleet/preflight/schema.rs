//! Point 3: changes of the schema.

use super::{Point, Subject, facts::Facts};

pub(super) fn point(facts: &Facts<'_>) -> Point {
    let point = Point::new(Subject::Schema);
    match facts.schema {
        Schema::NoneDeclared => point.tell("none declared"),
    }
}

/// What is known of a release's changes of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schema {
    /// It declares none.
    NoneDeclared,
}
