//! `docs/schema-lint.md` against the rules: ours, squawk's as its own crate has them, and those of strong_migrations.

use crate::files::file;
use handover_lint::{Phase, Rule, Severity};
use std::{collections::BTreeSet, fs, path::PathBuf};

const BEGINS: &str = "<!-- rules -->\n";
const ENDS: &str = "<!-- end of rules -->\n";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema-lint.md")
}

fn page() -> String {
    fs::read_to_string(path()).unwrap()
}

/// The table of our rules, as the code has them.
fn table() -> String {
    let mut table = "| rule | expand | backfill | contract | what it finds | why |\n".to_owned();
    table.push_str("| --- | --- | --- | --- | --- | --- |\n");
    for rule in Rule::ALL {
        let word = |phase| match rule.severity(phase) {
            Some(Severity::Fail) => "fails",
            Some(Severity::Warn) => "warns",
            None => "allowed",
        };
        let [expand, backfill, contract] = Phase::ALL.map(word);
        let (id, what, why) = (rule.id(), rule.what(), rule.why());
        table.push_str(&format!("| `{id}` | {expand} | {backfill} | {contract} | {what} | {why} |\n"));
    }
    table
}

#[test]
fn the_page_has_every_rule_as_the_code_has_it() {
    let page = page();
    let (before, rest) = page.split_once(BEGINS).expect("the page has a place for the rules");
    let (written, after) = rest.split_once(ENDS).expect("the place for the rules ends");
    if std::env::var_os("HANDOVER_WRITE_DOCS").is_some() {
        fs::write(path(), format!("{before}{BEGINS}{}{ENDS}{after}", table())).unwrap();
        return;
    }
    assert_eq!(written, table(), "HANDOVER_WRITE_DOCS=1 with this test writes the table anew");
}

/// A row of one of the other two tables.
struct Row {
    theirs: String,
    example: String,
    phase: Option<Phase>,
    ours: String,
}

impl Row {
    /// Our rules that it names.
    fn rules(&self) -> Vec<Rule> {
        if self.ours.starts_with("nothing") {
            return Vec::new();
        }
        let named = self.ours.split('`').skip(1).step_by(2);
        named.map(|id| Rule::from_id(id).unwrap_or_else(|| panic!("{id} is no rule of ours"))).collect()
    }

    fn report(&self) -> Option<handover_lint::Report> {
        Some(file(self.phase?, &self.example).linted())
    }
}

fn rows(heading: &str) -> Vec<Row> {
    let page = page();
    let section = page.split("\n## ").find(|section| section.starts_with(heading)).expect("the section is there");
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [theirs, example, phase, ours] = cells[..] else { panic!("{line}: {cells:?}") };
        Row {
            theirs: theirs.trim_matches('`').to_owned(),
            example: example.trim_matches('`').to_owned(),
            phase: Phase::ALL.into_iter().find(|one| one.name() == phase),
            ours: ours.to_owned(),
        }
    })
    .collect()
}

fn finds_what_it_says(row: &Row) {
    let Some(report) = row.report() else {
        assert_eq!(row.ours, "not linted", "{}", row.theirs);
        return;
    };
    let found: BTreeSet<Rule> = report.findings.iter().map(|finding| finding.rule).collect();
    for rule in row.rules() {
        assert!(found.contains(&rule), "{}: {rule} was not found in {}: {report}", row.theirs, row.example);
    }
    if row.rules().is_empty() {
        assert!(found.is_empty(), "{}: {report}", row.theirs);
    }
}

#[test]
fn each_statement_that_squawk_finds_is_found_here_or_the_page_says_why_not() {
    for row in rows("squawk's rules") {
        finds_what_it_says(&row);
    }
}

#[test]
fn the_page_has_every_rule_of_squawk_with_a_statement_that_squawk_finds() {
    let mut missing: BTreeSet<String> =
        enum_iterator::all::<squawk_linter::Rule>().map(|rule| rule.to_string()).collect();
    for row in rows("squawk's rules") {
        let rule = squawk_linter::Rule::try_from(row.theirs.as_str()).unwrap();
        assert!(missing.remove(&row.theirs), "{} stands there twice", row.theirs);
        // Its comment is another one than ours.
        if rule == squawk_linter::Rule::UnusedIgnore {
            continue;
        }
        let rules = if rule.expands_to().is_empty() { vec![rule] } else { rule.expands_to().to_vec() };
        let tree = squawk_syntax::SourceFile::parse(&row.example);
        let found = squawk_linter::Linter::from(rules.clone()).lint(&tree, &row.example);
        assert!(
            found.iter().any(|violation| rules.contains(&violation.code)),
            "squawk does not find {} in {}",
            row.theirs,
            row.example
        );
    }
    assert!(missing.is_empty(), "the page lacks {missing:?}");
}

/// The checks that strong_migrations' README lists.
const STRONG_MIGRATIONS: [&str; 24] = [
    "removing a column",
    "changing the type of a column",
    "renaming a column",
    "renaming a table",
    "creating a table with the force option",
    "adding an auto-incrementing column",
    "adding a stored generated column",
    "adding a foreign key",
    "adding a check constraint",
    "executing SQL directly",
    "backfilling data",
    "adding an index non-concurrently",
    "adding a reference",
    "adding a unique constraint",
    "adding an exclusion constraint",
    "adding a json column",
    "adding a column with a volatile default value",
    "setting NOT NULL on an existing column",
    "renaming an enum value",
    "renaming a schema",
    "keeping non-unique indexes to three columns or less",
    "using the COPY algorithm",
    "using shared or exclusive locking",
    "adding a column with an expression default value",
];

#[test]
fn the_page_has_every_check_of_strong_migrations_and_each_is_found_here() {
    let rows = rows("The checks of strong_migrations");
    let names: Vec<&str> = rows.iter().map(|row| row.theirs.as_str()).collect();
    assert_eq!(names, STRONG_MIGRATIONS);
    for row in &rows {
        finds_what_it_says(row);
    }
}

#[test]
fn the_finding_that_the_page_shows_is_the_one_that_is_printed() {
    let page = page();
    let shown: Vec<&str> =
        page.lines().skip_while(|line| !line.starts_with("    expand/")).take_while(|line| !line.is_empty()).collect();
    let shown: String = shown.iter().map(|line| format!("{}\n", line.strip_prefix("    ").unwrap())).collect();
    let report = file(Phase::Expand, "ALTER TABLE users RENAME COLUMN name TO full_name;\n").linted();
    assert_eq!(shown, format!("{report}\n").replace("expand/0.sql", "expand/0007_rename.sql"));
}
