//! One file, statement by statement.

use crate::{
    allow::{self, Allowed},
    finding::{Finding, Gone, MAX_LISTED, Report, Severity, Step},
    gone::Ledger,
    known::{Known, Transaction},
    look::{Found, Look},
    migration::{Context, Migration, SchemaPhase},
    parse::{self, MOST_BYTES, MOST_DEPTH, MOST_WEIGHT, Misread, Parsed},
    rule::Rule,
    rules, shown,
    statement::{self, Cut, Unsplit},
};
use handover_model::ColumnPattern;
use handover_script::{ScriptError, Work};
use std::{borrow::Cow, ops::Range};

/// Longest piece of a statement that a finding repeats, in bytes.
const LONGEST_STATEMENT: usize = 4096;

/// Lints a file, and lets `known` learn from it.
pub(crate) fn lint(migration: &Migration<'_>, context: &Context, known: &mut Known, report: &mut Report) {
    let mut listing = Listing { migration, report, listed: 0 };
    let before = listing.report.findings.len();
    let cuts = match statement::cut(migration.text) {
        Ok(cuts) => cuts,
        Err(unsplit) => return listing.whole(Rule::TooLarge, &unsplit.to_string()),
    };
    let taken = taken(migration, context);
    let parsed = with_parameters(migration.text, context);
    let all: Vec<Read<'_>> =
        cuts.statements.iter().map(|cut| Read::new(&parsed, cut, context.server_major)).collect();
    // As the runner has it: what cannot be in a transaction is the only statement of its file, and has none.
    let one_transaction = match &taken {
        Ok(work) => !matches!(work, Work::Alone(..)),
        Err(_) => all.iter().all(|read| read.alone.is_none()),
    };
    let company = all.len() > 1;
    let stmts = all.iter().map(|read| match &read.parsed {
        Parsed::Read { stmt, .. } => stmt.as_ref(),
        Parsed::TooDeep => None,
    });
    let ledger = Ledger::of(stmts);
    let mut transaction = Transaction::default();
    transaction.open = migration.transaction.unwrap_or(one_transaction);
    for (number, read) in all.iter().enumerate() {
        listing.report.statements += 1;
        let mut found = Vec::new();
        match &read.parsed {
            Parsed::TooDeep => found.push(too_deep(read.cut)),
            Parsed::Read { stmt, misread } => {
                // One mistake of a statement: the others mostly follow from it.
                let text = &migration.text[read.cut.range.clone()];
                found.extend(misread.first().map(|misread| unreadable(text, misread, migration.phase)));
                if let Some(stmt) = stmt {
                    let about = (context.server_major, migration.version, context.code.as_ref());
                    let mut look = Look::new(stmt, migration.phase, about, &ledger, known, &transaction);
                    if misread.is_empty() {
                        rules::apply(&mut look);
                    }
                    if let Some(reason) = read.alone {
                        rules::must_run_alone(&mut look, reason, migration.transaction, company);
                    }
                    if ledger.strayed(number) {
                        rules::of_unknown_schema(&mut look);
                    }
                    found.extend(look.into_found());
                    transaction.learn(stmt, known);
                    known.learn(stmt);
                }
            }
        }
        listing.take(read.cut, found);
    }
    listing.take_comments(&cuts.comments);
    listing.report.gone.extend(ledger.gone().map(|what| Gone { version: migration.version, what }));
    if let Err(refusal) = taken {
        // What these rules say of a file is why the runner refuses it, at more length.
        let said = listing.report.findings.iter().skip(before).any(|finding| {
            matches!(
                finding.rule,
                Rule::TransactionControl
                    | Rule::NeedsClient
                    | Rule::MustRunAlone
                    | Rule::SyntaxError
                    | Rule::TooLarge
                    | Rule::AllowUnknown
            )
        });
        if !said {
            listing.refused(&refusal);
        }
    }
}

/// What the runner makes of a file, or why it refuses it.
fn taken(migration: &Migration<'_>, context: &Context) -> Result<Work, ScriptError> {
    handover_script::read(context.database, migration.phase, migration.text.as_bytes()).map(|(_, work)| work)
}

/// What the runner refuses, where nothing else is known of the files.
pub(crate) fn refused(migrations: &[Migration<'_>], context: &Context) -> Report {
    let mut report = Report::default();
    for phase in SchemaPhase::ALL {
        for migration in migrations.iter().filter(|migration| migration.phase == phase) {
            let mut listing = Listing { migration, report: &mut report, listed: 0 };
            if migration.text.len() > MOST_BYTES {
                let unsplit = Unsplit::TooLong { bytes: migration.text.len() };
                listing.whole(Rule::TooLarge, &unsplit.to_string());
            } else if let Err(refusal) = taken(migration, context) {
                listing.refused(&refusal);
            }
        }
    }
    report
}

/// A text with parameters that PostgreSQL knows where the ends of a batch go, byte for byte as long.
fn with_parameters<'t>(text: &'t str, context: &Context) -> Cow<'t, str> {
    let mut parsed = Cow::Borrowed(text);
    for (place, last) in handover_script::places(context.database, text) {
        let parameter = format!("{:<width$}", if last { "$2" } else { "$1" }, width = place.len());
        parsed.to_mut().replace_range(place, &parameter);
    }
    parsed
}

/// What is said where nothing could be read.
pub(crate) fn unread(migrations: &[Migration<'_>]) -> Report {
    let mut report = Report::default();
    for migration in migrations {
        let mut listing = Listing { migration, report: &mut report, listed: 0 };
        listing.whole(Rule::TooLarge, "no thread could be had to read the file: try again");
    }
    report
}

/// A statement that was read.
struct Read<'c> {
    cut: &'c Cut,
    parsed: Parsed,
    /// Why it cannot be in a transaction.
    alone: Option<&'static str>,
}

impl<'c> Read<'c> {
    fn new(text: &str, cut: &'c Cut, server_major: u16) -> Self {
        let parsed = parse::parse(text, cut);
        let alone = match &parsed {
            Parsed::Read { stmt: Some(stmt), .. } => statement::alone(stmt, server_major),
            Parsed::Read { stmt: None, .. } | Parsed::TooDeep => None,
        };
        Self { cut, parsed, alone }
    }
}

fn too_deep(cut: &Cut) -> Found {
    let message = format!(
        "the statement is nested deeper than is read: {MOST_WEIGHT} tokens inside each other, {MOST_DEPTH} levels"
    );
    Found {
        rule: Rule::TooLarge,
        severity: Severity::Fail,
        range: 0..cut.range.len().min(1),
        message,
        steps: Vec::new(),
    }
}

fn unreadable(text: &str, misread: &Misread, phase: SchemaPhase) -> Found {
    if text.starts_with('\\') {
        let command = text.split_whitespace().next().unwrap_or_default();
        return Found {
            rule: Rule::NeedsClient,
            severity: Severity::Fail,
            range: 0..command.len(),
            message: format!("{command} is a command of psql"),
            steps: vec![Step::here(phase, "write the SQL that it stands for, or leave it out")],
        };
    }
    Found {
        rule: Rule::SyntaxError,
        severity: Severity::Fail,
        range: misread.range.clone(),
        message: misread.message.clone(),
        steps: Vec::new(),
    }
}

/// Where the findings of a file go.
struct Listing<'l> {
    migration: &'l Migration<'l>,
    report: &'l mut Report,
    listed: usize,
}

impl Listing<'_> {
    /// Takes what was found in a statement, but for what the comments above it allow.
    fn take(&mut self, cut: &Cut, mut found: Vec<Found>) {
        let text = self.migration.text;
        let (mut allowed, wrong) = allow::allowed(text, &cut.comments);
        for wrong in wrong {
            self.put(wrong.rule, Severity::Fail, wrong.range, wrong.message, ("", Vec::new()));
        }
        found.sort_by_key(|found| found.range.start);
        let statement = beginning(&text[cut.range.clone()]);
        for found in found {
            if is_allowed(&mut allowed, found.rule) {
                continue;
            }
            let range = cut.range.start + found.range.start..cut.range.start + found.range.end;
            self.put(found.rule, found.severity, range, found.message, (statement, found.steps));
        }
        for allowed in allowed.into_iter().filter(|allowed| !allowed.used) {
            let message = format!("{} is allowed here, and was not found", allowed.rule);
            self.put(Rule::AllowUnused, Severity::Warn, allowed.range, message, ("", Vec::new()));
        }
    }

    /// Takes the comments behind the last statement.
    fn take_comments(&mut self, comments: &[Range<usize>]) {
        self.take(&Cut { comments: comments.to_vec(), ..Cut::default() }, Vec::new());
    }

    /// Says why the runner refuses the file.
    fn refused(&mut self, refusal: &ScriptError) {
        let line = self.migration.text.split_inclusive('\n').take(refusal.line.saturating_sub(1));
        let at = line.map(str::len).sum::<usize>().min(self.migration.text.len());
        let what = format!("the runner refuses the file: {}", refusal.what);
        self.put(Rule::NotTaken, Severity::Fail, at..at, what, ("", Vec::new()));
    }

    /// Says something of the whole file.
    fn whole(&mut self, rule: Rule, message: &str) {
        self.put(rule, Severity::Fail, 0..0, message.to_owned(), ("", Vec::new()));
    }

    fn put(
        &mut self,
        rule: Rule,
        severity: Severity,
        range: Range<usize>,
        message: String,
        (statement, steps): (&str, Vec<Step>),
    ) {
        if let Rule::SyntaxError | Rule::TooLarge = rule {
            // What was not read may take anything away.
            self.report.gone.push(Gone { version: self.migration.version, what: ColumnPattern::ALL });
        }
        if self.listed == MAX_LISTED {
            self.report.left_out += 1;
            return;
        }
        self.listed += 1;
        let Migration { file, text, phase, .. } = *self.migration;
        let (excerpt, line, column) =
            shown::excerpt(file, text, range.clone(), (rule.id(), severity), &message);
        self.report.findings.push(Finding {
            rule,
            severity,
            file: file.to_owned(),
            phase,
            range,
            line,
            column,
            statement: statement.to_owned(),
            message,
            why: rule.why(),
            steps,
            excerpt,
        });
    }
}

fn is_allowed(allowed: &mut [Allowed], rule: Rule) -> bool {
    let mut any = false;
    for allowed in allowed.iter_mut().filter(|allowed| allowed.rule == rule) {
        allowed.used = true;
        any = true;
    }
    any && rule.may_be_allowed()
}

/// As much of a statement as a finding repeats.
fn beginning(statement: &str) -> &str {
    let end = (0..=LONGEST_STATEMENT.min(statement.len())).rev().find(|at| statement.is_char_boundary(*at));
    &statement[..end.unwrap_or(0)]
}
