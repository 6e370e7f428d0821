//! The table that is printed: figures, their bounds, whether those are kept, and how sure that is.

use crate::{machine::Machine, spread::Spread};
use serde_json::{Value, json};
use std::fmt;

/// What a figure must not pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
    /// A figure for the reader.
    None,
}

/// What a run says of a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The whole interval of the median keeps it.
    Within,
    /// The median keeps it, and its interval reaches beyond: another run may find otherwise.
    Barely,
    /// The median does not keep it, or there is none.
    Outside,
}

impl Verdict {
    fn words(self) -> &'static str {
        match self {
            Self::Within => "within",
            Self::Barely => "within, its interval is not",
            Self::Outside => "OUTSIDE",
        }
    }
}

impl Bound {
    fn keeps(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(bound) => figure >= bound,
            Self::AtMost(bound) => figure <= bound,
            Self::None => true,
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
    fn verdict(&self) -> Option<Verdict> {
        if self.bound == Bound::None {
            return None;
        }
        let Some(Spread { median, interval: (low, high), .. }) = self.spread else {
            return Some(Verdict::Outside);
        };
        let keeps = |figure| self.bound.keeps(figure);
        Some(match (keeps(median), keeps(low) && keeps(high)) {
            (true, true) => Verdict::Within,
            (true, false) => Verdict::Barely,
            (false, _) => Verdict::Outside,
        })
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

    /// Every median keeps its bound.
    pub(crate) fn kept(&self) -> bool {
        self.lines().all(|line| line.verdict() != Some(Verdict::Outside))
    }

    pub(crate) fn json(&self) -> Value {
        let line = |line: &Line| {
            let bound = match line.bound {
                Bound::AtLeast(bound) => json!({"at_least": bound}),
                Bound::AtMost(bound) => json!({"at_most": bound}),
                Bound::None => Value::Null,
            };
            let spread = line.spread.map(|Spread { runs, min, median, max, interval: (low, high) }| {
                json!({"runs": runs, "min": min, "median": median, "max": max, "interval": [low, high]})
            });
            let verdict = line.verdict().map(|verdict| verdict.words().to_lowercase());
            json!({"name": line.name, "unit": line.unit, "figures": spread, "bound": bound, "verdict": verdict})
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
        let (median, interval, min, max) = ("median", "its 95 % interval", "min", "max");
        writeln!(
            f,
            "\n{:wide$}{median:>9}{interval:>20}{min:>9}{max:>9}  {:<6}{:>5}  bound",
            "", "", "runs"
        )?;
        for (title, lines) in &self.sections {
            writeln!(f, "{title}")?;
            for line in lines {
                write!(f, "  {:<width$}", line.name, width = wide - 2)?;
                let unit = line.unit;
                match line.spread {
                    Some(Spread { runs, min, median, max, interval: (low, high) }) => {
                        let [median, min, max, low, high] =
                            [median, min, max, low, high].map(|value| figure(value, unit));
                        let interval = format!("{low} to {high}");
                        write!(f, "{median:>9}{interval:>20}{min:>9}{max:>9}  {unit:<6}{runs:>5}")?;
                    }
                    None => write!(f, "{:>9}{:>20}{:>9}{:>9}  {unit:<6}{:>5}", "-", "-", "-", "-", 0)?,
                }
                match line.bound {
                    Bound::AtLeast(bound) => write!(f, "  at least {bound}: ")?,
                    Bound::AtMost(bound) => write!(f, "  at most {bound}: ")?,
                    Bound::None => {}
                }
                writeln!(f, "{}", line.verdict().map_or("", Verdict::words))?;
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
    fn the_median_decides_whether_a_bound_is_kept_and_its_interval_how_sure_that_is() {
        for (bound, figures, verdict) in [
            (Bound::AtLeast(0.98), &[0.98, 0.99, 2.0][..], Some(Verdict::Within)),
            (Bound::AtLeast(0.98), &[0.5, 0.99, 2.0], Some(Verdict::Barely)),
            (Bound::AtLeast(0.98), &[0.5, 0.97, 2.0], Some(Verdict::Outside)),
            (Bound::AtLeast(0.98), &[0.979, 0.9], Some(Verdict::Outside)),
            (Bound::AtMost(1.05), &[1.05], Some(Verdict::Within)),
            (Bound::AtMost(1.05), &[1.0501], Some(Verdict::Outside)),
            (Bound::AtMost(1.05), &[1.0, 1.0, 1.1], Some(Verdict::Barely)),
            (Bound::AtMost(1.05), &[], Some(Verdict::Outside)),
            (Bound::None, &[9.0], None),
        ] {
            let table = table(bound, figures);
            assert_eq!(table.lines().next().unwrap().verdict(), verdict, "{table}");
            let kept = verdict != Some(Verdict::Outside);
            assert_eq!((table.kept(), &table.json()["kept"]), (kept, &kept.into()), "{table}");
            assert!(verdict.is_none_or(|verdict| table.to_string().contains(verdict.words())), "{table}");
        }
    }
}
