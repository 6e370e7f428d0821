//! `docs/schema-lint.md` against the rules: ours, squawk's as its own crate has them, and those of strong_migrations.

use crate::files::file;
use handover_lint::{Rule, SchemaPhase, Severity};
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
        let [expand, backfill, contract] = SchemaPhase::ALL.map(word);
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
    phase: Option<SchemaPhase>,
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
    let section =
        page.split("\n## ").find(|section| section.starts_with(heading)).expect("the section is there");
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [theirs, example, phase, ours] = cells[..] else { panic!("{line}: {cells:?}") };
        Row {
            theirs: theirs.trim_matches('`').to_owned(),
            example: example.trim_matches('`').to_owned(),
            phase: SchemaPhase::ALL.into_iter().find(|one| one.name() == phase),
            ours: ours.to_owned(),
        }
    })
    .collect()
}

/// What is wrong with a row: its example is given to the linter.
fn mistake(row: &Row) -> Option<String> {
    let Some(report) = row.report() else {
        return (row.ours != "not linted").then(|| format!("{} has no phase", row.theirs));
    };
    let found: BTreeSet<Rule> = report.findings.iter().map(|finding| finding.rule).collect();
    let as_said = match row.rules().as_slice() {
        [] => found.is_empty(),
        rules => rules.iter().all(|rule| found.contains(rule)),
    };
    (!as_said).then(|| format!("{}: {} has other findings: {report}", row.theirs, row.example))
}

fn mistakes(rows: &[Row]) -> String {
    rows.iter().filter_map(mistake).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_statement_that_squawk_finds_is_found_here_or_the_page_says_why_not() {
    let mistakes = mistakes(&rows("squawk's rules"));
    assert!(mistakes.is_empty(), "{mistakes}");
}

#[test]
fn the_page_has_every_rule_of_squawk_with_a_statement_that_squawk_finds() {
    let mut missing: BTreeSet<String> =
        enum_iterator::all::<squawk_linter::Rule>().map(|rule| rule.to_string()).collect();
    let mut silent = Vec::new();
    for row in rows("squawk's rules") {
        let rule = enum_iterator::all::<squawk_linter::Rule>().find(|rule| rule.to_string() == row.theirs);
        let rule = rule.unwrap_or_else(|| panic!("squawk has no rule {}", row.theirs));
        assert!(missing.remove(&row.theirs), "{} stands there twice", row.theirs);
        // Its comment is another one than ours.
        if rule == squawk_linter::Rule::UnusedIgnore {
            continue;
        }
        let rules = if rule.expands_to().is_empty() { vec![rule] } else { rule.expands_to().to_vec() };
        let tree = squawk_syntax::SourceFile::parse(&row.example);
        let mut linter = squawk_linter::Linter::from(rules.clone());
        // REPACK came with 19: before that squawk has nothing better than VACUUM FULL.
        if rule == squawk_linter::Rule::PreferRepack {
            linter.settings.pg_version = "19".parse().unwrap();
        }
        let found = linter.lint(&tree, &row.example);
        if !found.iter().any(|violation| rules.contains(&violation.code)) {
            silent.push(format!("{} in {}", row.theirs, row.example));
        }
    }
    assert!(silent.is_empty(), "squawk does not find {silent:#?}");
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
    let mistakes = mistakes(&rows);
    assert!(mistakes.is_empty(), "{mistakes}");
}

#[test]
fn the_finding_that_the_page_shows_is_the_one_that_is_printed() {
    let page = page();
    let shown: Vec<&str> = page
        .lines()
        .skip_while(|line| !line.starts_with("    expand/"))
        .take_while(|line| !line.is_empty())
        .collect();
    let shown: String =
        shown.iter().map(|line| format!("{}\n", line.strip_prefix("    ").unwrap())).collect();
    let report = file(SchemaPhase::Expand, "ALTER TABLE users RENAME COLUMN name TO full_name;\n").linted();
    assert_eq!(shown, format!("{report}\n").replace("expand/0.sql", "expand/0007_rename.sql"));
}
