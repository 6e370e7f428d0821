//! Findings as a person reads them.

use crate::finding::{Finding, Report, Severity};
use handover_model::language::{self, Mistake};
use std::{
    fmt::{self, Write as _},
    ops::Range,
    path::Path,
};

/// The place of a finding with its rule and message, the line and a caret, and where it stands.
pub(crate) fn excerpt(
    file: &str,
    text: &str,
    range: Range<usize>,
    (name, severity): (&str, Severity),
    message: &str,
) -> (String, u32, u32) {
    let key = match severity {
        Severity::Fail => name.to_owned(),
        Severity::Warn => format!("warning: {name}"),
    };
    let mistake = Mistake::at(text, range, &key, message, None);
    (language::shown(Path::new(file), text, &mistake), mistake.line, mistake.column)
}

impl fmt::Display for Finding {
    /// The place, why it is one, and the steps; the last line is ended.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.excerpt)?;
        writeln!(f, "  why: {}", self.why)?;
        if self.steps.is_empty() {
            return Ok(());
        }
        writeln!(f, "  safe steps:")?;
        for (index, step) in self.steps.iter().enumerate() {
            writeln!(f, "  {}. {}: {}", index + 1, step.when(), language::printable(&step.words))?;
            for line in step.sql.iter().flat_map(|sql| sql.lines()) {
                writeln!(f, "       {}", language::printable(line))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.findings.iter().map(ToString::to_string).collect();
        let mut text = all.join("\n");
        if self.left_out > 0 {
            let _ = writeln!(text, "\nand {} more", self.left_out);
        }
        f.write_str(text.trim_end())
    }
}
