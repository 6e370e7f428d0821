//! Reading what `/metrics` says, and holding it against the conventions of OpenMetrics and Prometheus.

use std::collections::{BTreeMap, BTreeSet};

/// One line with a number.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name, with its suffix.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its number.
    pub value: f64,
}

/// A metric with what is said of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Family {
    /// `counter`, `gauge`, `histogram`, `info`.
    pub kind: String,
    /// For people.
    pub help: String,
    /// The base unit, where one is named.
    pub unit: String,
    /// Its lines.
    pub samples: Vec<Sample>,
}

/// Everything that was told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposition {
    /// By name, without suffixes.
    pub families: BTreeMap<String, Family>,
}

impl Exposition {
    /// Reads it.
    ///
    /// # Panics
    /// Where it is none: a line that cannot be read, a number before its type, a family that is torn apart, no end.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").unwrap_or_else(|| panic!("no end: {text}"));
        let mut told = Self::default();
        let mut current = String::new();
        for line in body.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let (what, name) = (words.next().unwrap(), words.next().unwrap().to_owned());
                let rest = words.next().unwrap_or_default().to_owned();
                if name != current {
                    assert!(!told.families.contains_key(&name), "{name} stands in two places");
                    current.clone_from(&name);
                }
                let family = told.families.entry(name).or_default();
                match what {
                    "HELP" => family.help = rest,
                    "TYPE" => family.kind = rest,
                    "UNIT" => family.unit = rest,
                    other => panic!("{other} in {line}"),
                }
                continue;
            }
            let sample = Sample::parse(line);
            assert!(
                sample.name.starts_with(&current) && !current.is_empty(),
                "{line} stands below {current}"
            );
            told.families.get_mut(&current).unwrap().samples.push(sample);
        }
        told
    }

    /// The number of a sample with these labels; the rest of its labels may be any.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let fits = |sample: &&Sample| {
            let has =
                |(key, value): &(&str, &str)| sample.labels.get(*key).is_some_and(|found| found == value);
            sample.name == name && labels.iter().all(has)
        };
        self.families.values().flat_map(|family| &family.samples).find(fits).map(|sample| sample.value)
    }

    /// Every breach of a convention.
    #[must_use]
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        for (name, family) in &self.families {
            let mut say = |what: &str| mistakes.push(format!("{name}: {what}"));
            let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if !name.starts_with("handover_") || !name.chars().all(good) {
                say("is no name of ours");
            }
            if family.help.is_empty() {
                say("has no help");
            }
            if name.ends_with("_total") {
                say("`_total` belongs to the samples of counters");
            }
            for odd in ["_ms", "_millis", "_milliseconds", "_nanos", "_minutes", "_kb", "_mb"] {
                if name.ends_with(odd) {
                    say("is in no base unit");
                }
            }
            let about_time = ["duration", "latency", "expir", "timestamp"];
            if about_time.iter().any(|word| name.contains(word)) && !name.ends_with("_seconds") {
                say("is a time and does not end in `_seconds`");
            }
            if !family.unit.is_empty() && !name.ends_with(&format!("_{}", family.unit)) {
                say("does not end in its unit");
            }
            family.suffix_mistakes(name).iter().for_each(|mistake| say(mistake));
            let mut seen = BTreeSet::new();
            for sample in &family.samples {
                if !seen.insert(format!("{}{:?}", sample.name, sample.labels)) {
                    say("has one sample twice");
                }
                for label in ["host", "instance", "deployment", "version", "path", "address"] {
                    if sample.labels.contains_key(label) && family.kind != "info" {
                        say(&format!("has a label without bounds: {label}"));
                    }
                }
            }
        }
        mistakes
    }
}

impl Family {
    fn suffix_mistakes(&self, name: &str) -> Vec<String> {
        let suffixes: &[&str] = match self.kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => return vec![format!("is of an unknown type {other:?}")],
        };
        let known =
            |sample: &&Sample| !suffixes.iter().any(|suffix| sample.name == format!("{name}{suffix}"));
        let mut mistakes: Vec<String> =
            self.samples.iter().filter(known).map(|sample| format!("has a sample {}", sample.name)).collect();
        if self.kind == "histogram" {
            let value = |suffix: &str, le: Option<&str>| {
                let named = self.samples.iter().filter(|sample| sample.name == format!("{name}{suffix}"));
                let mut found =
                    named.filter(|s| le.is_none_or(|le| s.labels.get("le").is_some_and(|l| l == le)));
                found.next().map(|sample| sample.value)
            };
            let all = value("_bucket", Some("+Inf"));
            if all.is_none() || all != value("_count", None) {
                mistakes.push("its last bucket is not its count".to_owned());
            }
        }
        mistakes
    }
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (metric, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line} is no sample"));
        let value = value.parse().unwrap_or_else(|_| panic!("{line} has no number"));
        let Some((name, labels)) = metric.split_once('{') else {
            return Self { name: metric.to_owned(), labels: BTreeMap::new(), value };
        };
        let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{line} has no end of labels"));
        let pair = |pair: &str| {
            let (key, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("{line}: {pair}"));
            (key.to_owned(), value.strip_suffix('"').unwrap_or(value).to_owned())
        };
        // None of our labels' values has a comma or a quote.
        let labels = labels.split(',').filter(|text| !text.is_empty()).map(pair).collect();
        Self { name: name.to_owned(), labels, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_found() {
        let told = Exposition::parse(concat!(
            "# HELP handover_a_total No.\n# TYPE handover_a_total gauge\nhandover_a_total 1\n",
            "# TYPE other counter\nother_total 1\n",
            "# HELP handover_wait_duration_ms No.\n# TYPE handover_wait_duration_ms gauge\n",
            "# HELP handover_c No.\n# TYPE handover_c counter\nhandover_c 1\n",
            "# HELP handover_d No.\n# TYPE handover_d gauge\nhandover_d{host=\"a\"} 1\n",
            "# EOF\n"
        ));
        let mistakes = told.mistakes().join("\n");
        for part in ["`_total` belongs", "other: is no name", "other: has no help", "base unit", "`_seconds`"]
        {
            assert!(mistakes.contains(part), "{part}: {mistakes}");
        }
        assert!(mistakes.contains("handover_c: has a sample handover_c"), "{mistakes}");
        assert!(mistakes.contains("handover_d: has a label without bounds: host"), "{mistakes}");
    }

    #[test]
    fn good_ones_have_none() {
        let told = Exposition::parse(concat!(
            "# HELP handover_a_seconds Yes.\n# TYPE handover_a_seconds histogram\n# UNIT handover_a_seconds seconds\n",
            "handover_a_seconds_sum 1.5\nhandover_a_seconds_count 2\n",
            "handover_a_seconds_bucket{le=\"1.0\"} 1\nhandover_a_seconds_bucket{le=\"+Inf\"} 2\n# EOF\n"
        ));
        assert_eq!(told.mistakes(), Vec::<String>::new());
        assert_eq!(told.value("handover_a_seconds_bucket", &[("le", "1.0")]), Some(1.0));
    }
}
