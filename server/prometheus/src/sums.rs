//! Adding up: from series to what is known of each release on each host.

use crate::{
    Reading, Readings,
    answer::Series,
    query::{Part, histogram},
};
use handover_exposition::{Classic, ExpositionError, shown, unit, whole};
use handover_model::{
    Duration, Timestamp, Traffic,
    config::{PARTS_LABEL, PrometheusMetrics},
};
use std::collections::{BTreeMap, HashSet};

/// Later than any clock: the year 5138.
const LAST_SECOND: f64 = 1e11;

/// What was added up so far.
pub(crate) struct Sums<'q> {
    asked: &'q PrometheusMetrics,
    sums: BTreeMap<(String, String), Sum>,
    /// Series that are in it: by host with its port, release, part and edge.
    seen: HashSet<(String, String, Part, String)>,
    nameless: usize,
}

/// One release on one host.
#[derive(Default)]
struct Sum {
    /// The oldest sample, in seconds, and when that was asked for.
    sampled: Option<(f64, f64)>,
    requests: Option<u64>,
    errors: u64,
    latency: Classic,
    has_latency: bool,
    /// The first thing that is wrong with it.
    problem: Option<String>,
}

impl<'q> Sums<'q> {
    pub(crate) fn new(asked: &'q PrometheusMetrics) -> Self {
        Self { asked, sums: BTreeMap::new(), seen: HashSet::new(), nameless: 0 }
    }

    /// Adds one series. What has no host or release is counted; what is wrong with it is noted.
    pub(crate) fn add(&mut self, series: &Series) {
        let label =
            |name: &str| series.metric.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let names = label(&self.asked.host_label).zip(label(&self.asked.release_label));
        let part = label(PARTS_LABEL).and_then(Part::of);
        let (Some((host, release)), Some(part)) = (names, part) else {
            self.nameless += 1;
            return;
        };
        let edge = series.metric.get("le").map_or("", String::as_str);
        let once = self.seen.insert((host.to_owned(), release.to_owned(), part, edge.to_owned()));
        let sum = self.sums.entry((without_port(host).to_owned(), release.to_owned())).or_default();
        if !once {
            sum.wrong(format!("a series of its {} is there twice", part.word()));
            return;
        }
        let latency = self.asked.latency.as_ref().map_or("", histogram);
        if let Err(problem) = sum.add(part, series, edge, latency) {
            sum.wrong(problem);
        }
    }

    /// What came together, and how many series had no host or release.
    pub(crate) fn readings(self) -> (Readings, usize) {
        let latency = self.asked.latency.as_ref().map_or("", histogram);
        let readings = self.sums.into_iter().map(|(key, sum)| (key, sum.reading(latency)));
        (readings.collect(), self.nameless)
    }
}

impl Sum {
    fn wrong(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }

    fn add(&mut self, part: Part, series: &Series, edge: &str, latency: &str) -> Result<(), String> {
        let Some((asked_at, text)) = &series.value else {
            return Err(match series.histogram {
                Some(_) => format!(
                    "its {} are a native histogram: name a counter, or a classic histogram",
                    part.word()
                ),
                None => format!("a series of its {} has no number", part.word()),
            });
        };
        let no_number = || format!("its {} are {}, which no counter can be", part.word(), shown(text));
        let number = text.parse::<f64>().map_err(|_| no_number())?;
        let counted = || whole(number).ok_or_else(no_number);
        let too_many = || format!("its {} add up to more than a counter holds", part.word());
        match part {
            Part::Sampled => {
                let good = |seconds: f64| (0.0..LAST_SECOND).contains(&seconds);
                if !good(number) || !good(*asked_at) {
                    return Err(format!("its samples are of {}, which is no time", shown(text)));
                }
                // Of several with other ports the oldest.
                if self.sampled.is_none_or(|(oldest, _)| number < oldest) {
                    self.sampled = Some((number, *asked_at));
                }
            }
            Part::Requests => {
                let sum = self.requests.unwrap_or(0).checked_add(counted()?);
                self.requests = Some(sum.ok_or_else(too_many)?);
            }
            Part::Errors => self.errors = self.errors.checked_add(counted()?).ok_or_else(too_many)?,
            Part::Latency => {
                let edge = edge.parse::<f64>().map_err(|_| {
                    format!("a bucket of its latency has the edge {}, which is none", shown(edge))
                })?;
                self.latency.add(latency, edge, counted()?).map_err(|problem| problem.to_string())?;
                self.has_latency = true;
            }
        }
        Ok(())
    }

    fn reading(self, latency: &str) -> Result<Reading, String> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let requests = self.requests.ok_or("it has errors or latencies, and no requests")?;
        let (sampled, asked_at) = self.sampled.ok_or("it is not said when its samples were taken")?;
        let bad = self.errors;
        if bad > requests {
            return Err(ExpositionError::MoreErrors { bad, requests }.to_string());
        }
        let latency = match self.has_latency {
            true => self.latency.latency(latency, unit(latency)).map_err(|problem| problem.to_string())?,
            false => None,
        };
        let sampled = moment(sampled);
        let age = moment(asked_at).since(sampled);
        Ok(Reading { sampled, age, traffic: Traffic { requests, bad, latency } })
    }
}

/// Seconds that were checked to be a time.
fn moment(seconds: f64) -> Timestamp {
    Timestamp::from_unix_millis(0) + Duration::from_millis((seconds * 1000.0).round() as u64)
}

/// A host as a label has it, without a port: `web-1:9100` is `web-1`, `[::1]:9100` is `::1`.
fn without_port(label: &str) -> &str {
    if let Some((host, _)) = label.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return host;
    }
    match label.rsplit_once(':') {
        Some((host, port))
            if !host.contains(':') && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            host
        }
        Some(_) | None => label,
    }
}
