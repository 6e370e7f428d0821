//! Point 3: changes of the schema.

use super::{Grade, Point, Subject, facts::Facts};
use crate::fleet::{LintRecord, ReleaseSchema};
use handover_model::{SchemaPhase, SchemaVersion};

/// How many columns that a contract takes away are named.
const TAKEN_AWAY: usize = 4;

pub(super) fn point(facts: &Facts<'_>) -> Point {
    let point = Point::new(Subject::Schema);
    match &facts.schema {
        Schema::NoneDeclared => point.tell("none declared"),
        Schema::Declared(declared) => declared.told(point),
    }
}

/// What is known of a release's changes of the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Schema {
    /// It declares none.
    NoneDeclared,
    /// It declares what it needs.
    Declared(Box<Declared>),
}

/// What a release declares, and what speaks against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Declared {
    /// What it needs of the schema, and makes of it.
    pub(super) schema: ReleaseSchema,
    /// What the schema is; `None` where it was never seen.
    pub(super) known: Option<SchemaVersion>,
    /// Why a deployment is refused because of the schema, and what to do; `None` where it is not.
    pub(super) refused: Option<(String, String)>,
}

impl Declared {
    fn told(&self, point: Point) -> Point {
        let Self { schema, known, refused } = self;
        let point = match refused {
            Some((why, hint)) => point.find(Grade::Fail, why, hint),
            None => point.tell(self.standing()),
        };
        let point = match schema.programs {
            0 => point,
            1 => {
                point.tell("one of its migrations is a program: nobody looks at what it does before it runs")
            }
            _ => point.tell(format!(
                "{} of its migrations are programs: nobody looks at what they do before they run",
                schema.programs
            )),
        };
        let point = match &schema.lint {
            None => point.tell("nothing looks at migrations of this kind of database before they run"),
            Some(lint) => looked_at(lint, point),
        };
        match schema.pending(SchemaPhase::Contract, *known) {
            Some(to) => point.tell(format!(
                "its contract to {to} waits for `handover migrate contract`{}",
                taken_away(schema, known.unwrap_or_default(), to)
            )),
            None => point,
        }
    }

    fn standing(&self) -> String {
        let ReleaseSchema { database, reads, .. } = &self.schema;
        let is = self.known.map_or("was not seen yet".to_owned(), |known| format!("is at {known}"));
        let changes: Vec<String> = [SchemaPhase::Expand, SchemaPhase::Backfill]
            .into_iter()
            .filter_map(|phase| Some(format!("{phase} to {}", self.schema.pending(phase, self.known)?)))
            .collect();
        let changes = if changes.is_empty() { "nothing to apply".to_owned() } else { changes.join(", ") };
        format!("it reads {reads}; the schema of {database} {is}; {changes}")
    }
}

/// `; it takes away customers.email, orders.*`.
fn taken_away(schema: &ReleaseSchema, known: SchemaVersion, to: SchemaVersion) -> String {
    let gone: Vec<String> =
        schema.columns.gone_between(known, to).map(|gone| gone.what.to_string()).collect();
    let more = match gone.len().saturating_sub(TAKEN_AWAY) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    match gone.get(..TAKEN_AWAY.min(gone.len())) {
        None | Some([]) => String::new(),
        Some(first) => format!("; it takes away {}{more}", first.join(", ")),
    }
}

fn looked_at(lint: &LintRecord, point: Point) -> Point {
    let LintRecord { fails, warns, first } = lint;
    let grade = match (fails, warns) {
        (0, 0) => return point.tell("the linter finds nothing in its migrations"),
        (0, _) => Grade::Warn,
        _ => Grade::Fail,
    };
    let findings = if *fails > 0 { fails } else { warns };
    let more =
        usize::try_from(fails.saturating_add(*warns)).unwrap_or(usize::MAX).saturating_sub(first.len());
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    let advice =
        "`handover migrate lint` in the release's folder tells why, and the safe steps for each statement";
    point.find(grade, format!("{findings} findings of the linter: {}{more}", first.join("; ")), advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::ReleaseColumns;

    fn declared() -> Declared {
        let schema = ReleaseSchema {
            database: "shop".to_owned(),
            reads: "42..=43".parse().unwrap(),
            expand: Some(SchemaVersion::new(42)),
            backfill: None,
            backfills: Vec::new(),
            by_hand: Vec::new(),
            programs: 0,
            contract: Some(SchemaVersion::new(44)),
            contract_after: None,
            lint: Some(LintRecord::default()),
            columns: ReleaseColumns::default(),
        };
        Declared { schema, known: Some(SchemaVersion::new(41)), refused: None }
    }

    fn told(declared: &Declared) -> Point {
        declared.told(Point::new(Subject::Schema))
    }

    #[test]
    fn what_a_deployment_would_apply_is_told() {
        let point = told(&declared());
        assert_eq!((point.grade, point.advice.len()), (Grade::Pass, 0));
        assert_eq!(
            point.evidence,
            [
                "it reads 42..=43; the schema of shop is at 41; expand to 42",
                "the linter finds nothing in its migrations",
                "its contract to 44 waits for `handover migrate contract`",
            ]
        );
        let mut takes = declared();
        let gone =
            ["a.b", "a.c", "d.*", "e.f", "e.g"].map(|what| (SchemaVersion::new(44), what.parse().unwrap()));
        takes.schema.columns = ReleaseColumns::new(takes.schema.reads, Vec::new(), gone.into_iter());
        assert_eq!(
            told(&takes).evidence[2],
            "its contract to 44 waits for `handover migrate contract`; it takes away d.*, a.b, a.c, e.f and 1 more"
        );
        let unseen = Declared { known: None, ..declared() };
        assert!(told(&unseen).evidence[0].contains("the schema of shop was not seen yet; expand to 42"));
    }

    #[test]
    fn what_refuses_it_fails_and_so_does_what_the_linter_finds() {
        let refused = Some(("shop 1 reads 41".to_owned(), "deploy 2 first".to_owned()));
        let point = told(&Declared { refused, ..declared() });
        assert_eq!(
            (point.grade, point.advice.as_slice()),
            (Grade::Fail, ["deploy 2 first".to_owned()].as_slice())
        );
        let linted = |fails, warns, first: &[&str]| {
            let first = first.iter().map(|line| (*line).to_owned()).collect();
            let mut declared = declared();
            declared.schema.lint = Some(LintRecord { fails, warns, first });
            told(&declared)
        };
        let fails = linted(2, 1, &["a.sql:1: drop-column: x"]);
        assert_eq!(fails.grade, Grade::Fail);
        assert_eq!(fails.evidence[0], "2 findings of the linter: a.sql:1: drop-column: x; and 2 more");
        assert_eq!(linted(0, 1, &["b.sql:1: y"]).grade, Grade::Warn);
        let mut unknown = declared();
        unknown.schema.lint = None;
        assert_eq!(told(&unknown).grade, Grade::Pass);
    }
}
