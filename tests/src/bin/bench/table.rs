//! The table that is printed: figures, their bounds, whether those are kept.

use crate::{machine::Machine, spread::Spread};
use serde_json::{Value, json};
use std::fmt;

/// What a median must not pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
    /// A figure for the reader.
    None,
}

impl Bound {
    /// None where there is no bound.
    fn kept(self, median: f64) -> Option<bool> {
        match self {
            Self::AtLeast(bound) => Some(median >= bound),
            Self::AtMost(bound) => Some(median <= bound),
            Self::None => None,
        }
    }
}

/// One figure.
#[derive(Clone, Debug)]
struct Line {
    name: String,
    unit: &'static str,
    spread: Option<Spread>,
    bound: Bound,
}

impl Line {
    /// None where there is no bound. What could not be measured keeps none.
    fn kept(&self) -> Option<bool> {
        match self.spread {
            Some(spread) => self.bound.kept(spread.median),
            None => (self.bound != Bound::None).then_some(false),
        }
    }
}

/// All figures of one run.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    machine: Machine,
    quick: bool,
    sections: Vec<(String, Vec<Line>)>,
}

impl Table {
    pub(crate) fn of(machine: Machine, quick: bool) -> Self {
        Self { machine, quick, sections: Vec::new() }
    }

    /// The lines that follow belong together.
    pub(crate) fn section(&mut self, title: impl Into<String>) {
        self.sections.push((title.into(), Vec::new()));
    }

    /// A figure, in the section that was begun last.
    pub(crate) fn line(
        &mut self,
        name: impl Into<String>,
        unit: &'static str,
        bound: Bound,
        figures: impl IntoIterator<Item = f64>,
    ) {
        let line = Line { name: name.into(), unit, spread: Spread::of(figures), bound };
        if let Some((_, lines)) = self.sections.last_mut() {
            lines.push(line);
        }
    }

    fn lines(&self) -> impl Iterator<Item = &Line> {
        self.sections.iter().flat_map(|(_, lines)| lines)
    }

    /// Every bound is kept.
    pub(crate) fn kept(&self) -> bool {
        self.lines().all(|line| line.kept() != Some(false))
    }

    pub(crate) fn json(&self) -> Value {
        let line = |line: &Line| {
            let bound = match line.bound {
                Bound::AtLeast(bound) => json!({"at_least": bound}),
                Bound::AtMost(bound) => json!({"at_most": bound}),
                Bound::None => Value::Null,
            };
            let spread = line.spread.map(|Spread { runs, min, median, max }| {
                json!({"runs": runs, "min": min, "median": median, "max": max})
            });
            json!({"name": line.name, "unit": line.unit, "figures": spread, "bound": bound, "within": line.kept()})
        };
        let sections = self.sections.iter().map(
            |(title, lines)| json!({"section": title, "lines": lines.iter().map(line).collect::<Vec<_>>()}),
        );
        let sections: Vec<Value> = sections.collect();
        json!({"machine": self.machine.json(), "quick": self.quick, "sections": sections, "kept": self.kept()})
    }
}

/// Three digits behind the point for ratios, fewer for what is large.
fn figure(value: f64, unit: &str) -> String {
    let digits = match (unit, value.abs()) {
        ("ratio", _) => 3,
        (_, size) if size >= 1000.0 || value.fract() == 0.0 => 0,
        (_, size) if size >= 100.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        if self.quick {
            writeln!(f, "a quick run: too few figures to mean much")?;
        }
        let wide = self.lines().map(|line| line.name.chars().count()).max().unwrap_or(0) + 2;
        let (median, min, max) = ("median", "min", "max");
        writeln!(f, "\n{:wide$}{median:>10}{min:>10}{max:>10}  {:<6}{:>5}  bound", "", "", "runs")?;
        for (title, lines) in &self.sections {
            writeln!(f, "{title}")?;
            for line in lines {
                write!(f, "  {:<width$}", line.name, width = wide - 2)?;
                let unit = line.unit;
                match line.spread {
                    Some(Spread { runs, min, median, max }) => {
                        let [median, min, max] = [median, min, max].map(|value| figure(value, unit));
                        write!(f, "{median:>10}{min:>10}{max:>10}  {unit:<6}{runs:>5}")?;
                    }
                    None => write!(f, "{:>10}{:>10}{:>10}  {unit:<6}{:>5}", "-", "-", "-", 0)?,
                }
                match line.bound {
                    Bound::AtLeast(bound) => write!(f, "  at least {bound}: ")?,
                    Bound::AtMost(bound) => write!(f, "  at most {bound}: ")?,
                    Bound::None => {}
                }
                match line.kept() {
                    Some(true) => writeln!(f, "within")?,
                    Some(false) => writeln!(f, "OUTSIDE")?,
                    None => writeln!(f)?,
                }
            }
        }
        writeln!(f, "\n{}", if self.kept() { "every bound is kept" } else { "NOT every bound is kept" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(bound: Bound, figures: &[f64]) -> Table {
        let mut table = Table::of(Machine::look(), true);
        table.section("a section");
        table.line("a line", "ratio", bound, figures.iter().copied());
        table
    }

    #[test]
    fn the_median_decides_whether_a_bound_is_kept() {
        for (bound, figures, kept, word) in [
            (Bound::AtLeast(0.98), &[0.5, 0.98, 2.0][..], true, " within"),
            (Bound::AtLeast(0.98), &[0.979, 0.9, 2.0], false, " OUTSIDE"),
            (Bound::AtMost(1.05), &[1.05], true, " within"),
            (Bound::AtMost(1.05), &[1.0501], false, " OUTSIDE"),
            (Bound::AtMost(1.05), &[], false, " OUTSIDE"),
            (Bound::None, &[9.0], true, "9.000"),
        ] {
            let table = table(bound, figures);
            assert_eq!(table.kept(), kept, "{table}");
            assert_eq!(table.json()["kept"], kept);
            assert!(table.to_string().contains(word), "{table}");
        }
    }
}
