//! What is asked for, while it is added up.

use crate::{
    MAX_SAMPLES, Selectors,
    classic::Classic,
    error::{ExpositionError, shown},
    messages::Histogram,
    native::Ladder,
    status,
    text::Label,
    usual,
};
use handover_model::{Latency, Selector, Traffic};
use std::collections::{HashMap, HashSet};

/// A counter beyond that has lost count.
const MAX_COUNT: f64 = 9_223_372_036_854_775_808.0;

/// Adds up what is asked for.
#[derive(Debug)]
pub(crate) struct Collector {
    /// Who asks for a name.
    index: HashMap<String, Vec<Slot>>,
    /// Of requests, the one that is wanted most first.
    counters: Vec<Counter>,
    errors: Option<Counter>,
    histograms: Vec<Distribution>,
    /// Series that were counted: a second one of the same labels is a mistake of the service.
    counted: HashSet<String>,
    samples: usize,
    named: Option<String>,
}

#[derive(Clone, Copy, Debug)]
enum Slot {
    Counter(usize),
    Errors,
    Bucket,
}

#[derive(Debug)]
struct Counter {
    name: String,
    selector: Option<Selector>,
    /// Whether its name or its type is there at all.
    known: bool,
    series: usize,
    /// Whether a series tells its status.
    told: bool,
    all: u64,
    failed: u64,
}

#[derive(Debug)]
struct Distribution {
    name: String,
    selector: Option<Selector>,
    classic: Classic,
    native: Ladder,
}

/// Whether a selector takes a series with these labels; without one every series is taken.
fn takes(selector: Option<&Selector>, labels: &[Label<'_>]) -> bool {
    let value =
        |name: &str| labels.iter().find(|(label, _)| label == name).map_or("", |(_, value)| value.as_ref());
    selector.is_none_or(|selector| selector.takes(value))
}

/// A counter's number without what stands behind the comma; `None` for one that no counter can have.
#[must_use]
pub fn whole(value: f64) -> Option<u64> {
    // Checked to lie within.
    (0.0..=MAX_COUNT).contains(&value).then_some(value as u64)
}

impl Counter {
    fn new(name: &str, selector: Option<&Selector>) -> Self {
        let (name, selector) = (name.to_owned(), selector.cloned());
        Self { name, selector, known: false, series: 0, told: false, all: 0, failed: 0 }
    }

    fn add(&mut self, count: u64, failed: Option<bool>) -> Result<(), ExpositionError> {
        self.series += 1;
        self.told |= failed.is_some();
        let overflow = || ExpositionError::Overflow(shown(&self.name));
        self.all = self.all.checked_add(count).ok_or_else(overflow)?;
        if failed == Some(true) {
            self.failed += count;
        }
        Ok(())
    }
}

impl Collector {
    pub(crate) fn new(selectors: &Selectors) -> Self {
        let Selectors { requests, errors, latency } = selectors;
        let histograms: Vec<Distribution> = match latency {
            Some(latency) => {
                let name = latency.name().strip_suffix("_bucket").unwrap_or(latency.name());
                vec![Distribution::new(name, Some(latency))]
            }
            None => usual::HISTOGRAMS.iter().map(|name| Distribution::new(name, None)).collect(),
        };
        let counts = histograms.iter();
        let counts =
            counts.map(|found| Counter::new(&format!("{}_count", found.name), found.selector.as_ref()));
        let usual = usual::COUNTERS.iter().map(|name| Counter::new(name, None));
        let counters: Vec<Counter> = match (requests, latency) {
            (Some(requests), _) => vec![Counter::new(requests.name(), Some(requests))],
            (None, Some(_)) => counts.chain(usual).collect(),
            (None, None) => usual.chain(counts).collect(),
        };
        let mut index: HashMap<String, Vec<Slot>> = HashMap::new();
        for (at, counter) in counters.iter().enumerate() {
            index.entry(counter.name.clone()).or_default().push(Slot::Counter(at));
        }
        if let Some(errors) = errors {
            index.entry(errors.name().to_owned()).or_default().push(Slot::Errors);
        }
        for histogram in &histograms {
            index.entry(format!("{}_bucket", histogram.name)).or_default().push(Slot::Bucket);
        }
        Self {
            index,
            counters,
            errors: errors.as_ref().map(|errors| Counter::new(errors.name(), Some(errors))),
            histograms,
            counted: HashSet::new(),
            samples: 0,
            named: requests.as_ref().map(|requests| requests.name().to_owned()),
        }
    }

    /// One number more was looked at.
    pub(crate) fn looked(&mut self) -> Result<(), ExpositionError> {
        self.samples += 1;
        if self.samples > MAX_SAMPLES { Err(ExpositionError::TooMany) } else { Ok(()) }
    }

    /// A family is there, perhaps without series.
    pub(crate) fn family(&mut self, name: &str) {
        for counter in &mut self.counters {
            let rest = counter.name.strip_prefix(name);
            counter.known |= rest.is_some_and(|rest| matches!(rest, "" | "_total" | "_count"));
        }
    }

    /// Whether a family's series may be asked for.
    pub(crate) fn wants_family(&self, name: &str) -> bool {
        let wanted = |suffix: &str| self.index.contains_key(&format!("{name}{suffix}"));
        ["", "_count", "_bucket"].into_iter().any(wanted)
    }

    /// One number of a text, in which the edge of a bucket is a label.
    pub(crate) fn sample_with_edge(
        &mut self,
        name: &str,
        labels: &[Label<'_>],
        value: f64,
    ) -> Result<(), ExpositionError> {
        let mut taken = false;
        let slots = self.index.get(name).map_or(&[][..], Vec::as_slice);
        if slots.iter().any(|slot| matches!(slot, Slot::Bucket))
            && let Some(histogram) = name.strip_suffix("_bucket")
        {
            let edge = labels.iter().find(|(label, _)| label == "le").map_or("", |(_, edge)| edge.as_ref());
            let wrong = || ExpositionError::Edge { series: shown(name), edge: shown(edge) };
            let edge = edge.parse::<f64>().map_err(|_| wrong())?;
            taken = self.bucket(histogram, labels, edge, value)?;
        }
        taken |= self.count(name, labels, value)?;
        if taken { self.once(name, labels) } else { Ok(()) }
    }

    /// One number of a counter.
    pub(crate) fn sample(
        &mut self,
        name: &str,
        labels: &[Label<'_>],
        value: f64,
    ) -> Result<(), ExpositionError> {
        if self.count(name, labels, value)? { self.once(name, labels) } else { Ok(()) }
    }

    /// Adds a number to every counter that asks for it; whether one did.
    fn count(&mut self, name: &str, labels: &[Label<'_>], value: f64) -> Result<bool, ExpositionError> {
        let Some(slots) = self.index.get(name) else { return Ok(false) };
        let mut taken = false;
        for slot in slots {
            let counter = match slot {
                Slot::Counter(at) => self.counters.get_mut(*at),
                Slot::Errors => self.errors.as_mut(),
                Slot::Bucket => None,
            };
            let Some(counter) = counter else { continue };
            counter.known = true;
            if takes(counter.selector.as_ref(), labels) {
                counter.add(counted(name, labels, value)?, status::failed(labels))?;
                taken = true;
            }
        }
        Ok(taken)
    }

    /// One bucket of a classic histogram; whether it was asked for.
    pub(crate) fn bucket(
        &mut self,
        name: &str,
        labels: &[Label<'_>],
        edge: f64,
        value: f64,
    ) -> Result<bool, ExpositionError> {
        let mut taken = false;
        for histogram in self.histograms.iter_mut().filter(|histogram| histogram.name == name) {
            if takes(histogram.selector.as_ref(), labels) {
                histogram.classic.add(name, edge, counted(name, labels, value)?)?;
                taken = true;
            }
        }
        Ok(taken)
    }

    /// One native histogram.
    pub(crate) fn native(
        &mut self,
        name: &str,
        labels: &[Label<'_>],
        native: &Histogram,
    ) -> Result<(), ExpositionError> {
        for histogram in self.histograms.iter_mut().filter(|histogram| histogram.name == name) {
            if takes(histogram.selector.as_ref(), labels) {
                let added = histogram.native.add(native, usual::unit(name));
                added.map_err(|problem| ExpositionError::Native { name: shown(name), problem })?;
            }
        }
        Ok(())
    }

    /// A series that counts is there once.
    fn once(&mut self, name: &str, labels: &[Label<'_>]) -> Result<(), ExpositionError> {
        if self.counted.insert(key(name, labels)) {
            return Ok(());
        }
        Err(ExpositionError::Twice(series(name, labels)))
    }

    /// What came together.
    pub(crate) fn traffic(self) -> Result<Traffic, ExpositionError> {
        let counter = self.requests()?;
        let bad = self.errors.as_ref().map_or(counter.failed, |errors| errors.all);
        let requests = counter.all;
        if bad > requests {
            return Err(ExpositionError::MoreErrors { bad, requests });
        }
        for histogram in self.histograms {
            if let Some(latency) = histogram.latency()? {
                return Ok(Traffic { requests, bad, latency: Some(latency) });
            }
        }
        Ok(Traffic { requests, bad, latency: None })
    }

    /// The counter of requests: the first that has series and, where nothing else counts errors, tells statuses; or one that
    /// has no series yet.
    fn requests(&self) -> Result<&Counter, ExpositionError> {
        let counts = |counter: &&Counter| counter.series > 0 && (counter.told || self.errors.is_some());
        let idle = |counter: &&Counter| counter.known && counter.series == 0;
        let found = self.counters.iter().find(counts);
        let mute = self.counters.iter().find(|counter| counter.series > 0);
        match (found, mute, self.counters.iter().find(idle)) {
            (Some(counter), ..) | (None, None, Some(counter)) => Ok(counter),
            (None, Some(mute), _) => Err(ExpositionError::NoStatus(mute.name.clone())),
            (None, None, None) => Err(match &self.named {
                Some(name) => ExpositionError::NoRequests(name.clone()),
                None => ExpositionError::NothingUsual,
            }),
        }
    }
}

impl Distribution {
    fn new(name: &str, selector: Option<&Selector>) -> Self {
        let (name, selector) = (name.to_owned(), selector.cloned());
        Self { name, selector, classic: Classic::default(), native: Ladder::default() }
    }

    /// Its classic buckets before its native ones: whoever has chosen edges has chosen what is slow.
    fn latency(self) -> Result<Option<Latency>, ExpositionError> {
        let classic = self.classic.latency(&self.name, usual::unit(&self.name))?;
        Ok(classic.or_else(|| self.native.latency()))
    }
}

fn counted(name: &str, labels: &[Label<'_>], value: f64) -> Result<u64, ExpositionError> {
    whole(value)
        .ok_or_else(|| ExpositionError::Value { series: series(name, labels), value: value.to_string() })
}

/// One text for one series, whatever the order of its labels.
fn key(name: &str, labels: &[Label<'_>]) -> String {
    let mut sorted: Vec<&Label<'_>> = labels.iter().collect();
    sorted.sort();
    let mut key = name.to_owned();
    for (label, value) in sorted {
        // With lengths, since a value may hold whatever could separate it from the next.
        key.push_str(&format!("\n{} {}\n{label}{value}", label.len(), value.len()));
    }
    key
}

/// A series for people.
fn series(name: &str, labels: &[Label<'_>]) -> String {
    let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}={value:?}")).collect();
    shown(&format!("{name}{{{}}}", labels.join(",")))
}
