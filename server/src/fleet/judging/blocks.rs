//! Blocks: what the instances of a service did between two moments, as differences of what their hosts measured.

use super::uses;
use handover_judge::{Counts, Histogram, HostBlock, Reading, Uses};
use handover_model::{Ends, HostName, InstanceId, Measurement, Sample, Timestamp, Traffic};
use std::collections::BTreeMap;

/// What each instance of a service did in one block of time, host by host.
#[derive(Clone, Debug, Default)]
pub(super) struct ServiceBlock(BTreeMap<HostName, BTreeMap<InstanceId, Did>>);

/// What one instance did in a block.
#[derive(Clone, Debug)]
pub(super) struct Did {
    /// What its metrics count.
    pub(super) traffic: Reading<Traffic>,
    /// Why they say nothing; empty where they do, or where it did not measure at all.
    pub(super) silent: String,
    /// New connections that were seen.
    pub(super) connections: u64,
    /// How those that were seen ended.
    pub(super) ends: Reading<Ends>,
    /// What it used of its host.
    pub(super) uses: Uses,
    /// Whether it had a share of the listeners' connections at one of the block's ends.
    pub(super) shown: bool,
    /// Whether nothing was known of this instance before.
    pub(super) first: bool,
}

/// The measurements at the end of the last block: what the next one's are compared with.
#[derive(Clone, Debug, Default)]
pub(super) struct LastEnds(BTreeMap<HostName, (Timestamp, Measurement)>);

impl LastEnds {
    /// Closes a block: the differences to what was measured at its end. A host that measured nothing since has no
    /// part in it, and what it did comes into the next one.
    pub(super) fn close<'a>(
        &mut self,
        measured: impl Iterator<Item = (&'a HostName, Timestamp, &'a Measurement)>,
    ) -> ServiceBlock {
        let mut block = ServiceBlock::default();
        let mut ends = BTreeMap::new();
        for (host, at, measurement) in measured {
            let before = self.0.get(host);
            if before.is_some_and(|(before, _)| *before >= at) {
                ends.extend(self.0.remove_entry(host));
                continue;
            }
            let of_before = |instance| before.and_then(|(_, before)| before.instances.get(instance));
            let did = measurement
                .instances
                .iter()
                .map(|(instance, sample)| (instance.clone(), did(of_before(instance), sample)));
            block.0.insert(host.clone(), did.collect());
            let mut end = measurement.clone();
            for (instance, sample) in &mut end.instances {
                keep_what_was_read(sample, of_before(instance));
            }
            ends.insert(host.clone(), (at, end));
        }
        self.0 = ends;
        block
    }
}

/// A reading that failed costs its own block; the next one has what was done in both.
fn keep_what_was_read(now: &mut Sample, before: Option<&Sample>) {
    let Some(before) = before.filter(|before| before.run == now.run) else { return };
    if let (Err(_), Ok(traffic)) = (&now.traffic, &before.traffic) {
        now.traffic = Ok(traffic.clone());
    }
    if now.usage.cpu_micros.is_none() || now.usage.clock_micros.is_none() {
        (now.usage.cpu_micros, now.usage.clock_micros) = (before.usage.cpu_micros, before.usage.clock_micros);
    }
    now.usage.ends = now.usage.ends.or(before.usage.ends);
    now.usage.refused = now.usage.refused.or(before.usage.refused);
}

/// What an instance did between two samples.
fn did(before: Option<&Sample>, now: &Sample) -> Did {
    let shown = !now.share.is_hidden() || before.is_some_and(|before| !before.share.is_hidden());
    let silent = now.traffic.as_ref().err().cloned().unwrap_or_default();
    let seen = |sample: &Sample| sample.usage.connections.unwrap_or(0);
    let (traffic, connections, ends) = match before {
        Some(before) if before.run != now.run => (Reading::Reset, 0, Reading::Reset),
        // What is hidden gets probes alone.
        Some(before) if shown => {
            (between(before, now), seen(now).saturating_sub(seen(before)), ended(before, now))
        }
        Some(_) | None => (Reading::Absent, 0, Reading::Absent),
    };
    let uses = uses::between(before, now, shown);
    Did { traffic, silent, connections, ends, shown, uses, first: before.is_none() }
}

fn ended(before: &Sample, now: &Sample) -> Reading<Ends> {
    let ends = now.usage.ends.zip(before.usage.ends).and_then(|(now, before)| now.since(&before));
    ends.map_or(Reading::Absent, Reading::Counted)
}

fn between(before: &Sample, now: &Sample) -> Reading<Traffic> {
    match (&before.traffic, &now.traffic) {
        (Ok(before), Ok(now)) => now.since(before).map_or(Reading::Reset, Reading::Counted),
        (Ok(_) | Err(_), _) => Reading::Absent,
    }
}

impl ServiceBlock {
    /// What an instance of a host did; `None` where nothing is known.
    pub(super) fn did(&self, host: &HostName, instance: &InstanceId) -> Option<&Did> {
        self.0.get(host)?.get(instance)
    }

    /// Whether no host measured anything.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What all instances of each host did together, for those that counted something.
    pub(super) fn by_host(&self) -> impl Iterator<Item = Traffic> {
        self.0.values().filter_map(|instances| {
            let counted = instances.values().filter_map(|did| match &did.traffic {
                Reading::Counted(traffic) => Some(traffic),
                Reading::Absent | Reading::Reset => None,
            });
            counted.cloned().reduce(|sum, traffic| plus(&sum, &traffic))
        })
    }
}

/// Two counts together; histograms with other edges are left out.
pub(super) fn plus(a: &Traffic, b: &Traffic) -> Traffic {
    let latency = match (&a.latency, &b.latency) {
        (Some(a), Some(b)) => a.plus(b),
        (Some(one), None) | (None, Some(one)) => Some(one.clone()),
        (None, None) => None,
    };
    Traffic { requests: a.requests.saturating_add(b.requests), bad: a.bad.saturating_add(b.bad), latency }
}

/// Both arms of one metric, host by host.
#[derive(Debug, Default)]
pub(crate) struct Arms {
    /// Errors.
    pub(super) counts: Vec<HostBlock<Counts>>,
    /// Latencies.
    pub(super) latencies: Vec<HostBlock<Histogram>>,
}

impl Arms {
    /// Adds a host.
    pub(crate) fn push(&mut self, canary: &Reading<Traffic>, baseline: &Reading<Traffic>) {
        self.counts.push(HostBlock { canary: counts(canary), baseline: counts(baseline) });
        self.latencies.push(HostBlock { canary: latencies(canary), baseline: latencies(baseline) });
    }
}

fn counts(reading: &Reading<Traffic>) -> Reading<Counts> {
    form(reading, |traffic| Counts::new(traffic.requests, traffic.bad).ok())
}

fn latencies(reading: &Reading<Traffic>) -> Reading<Histogram> {
    form(reading, |traffic| {
        let latency = traffic.latency.as_ref()?;
        Histogram::new(latency.edges().to_vec(), latency.buckets().to_vec()).ok()
    })
}

fn form<T>(reading: &Reading<Traffic>, form: impl FnOnce(&Traffic) -> Option<T>) -> Reading<T> {
    match reading {
        Reading::Counted(traffic) => form(traffic).map_or(Reading::Absent, Reading::Counted),
        Reading::Absent => Reading::Absent,
        Reading::Reset => Reading::Reset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_model::{Refused, Share, Usage};

    fn sample(run: u32, share: u32, traffic: Result<(u64, u64), &str>) -> Sample {
        let counted = |(requests, bad)| Traffic { requests, bad, latency: None };
        Sample {
            run,
            share: Share::new(share).unwrap(),
            traffic: traffic.map(counted).map_err(str::to_owned),
            usage: Usage::default(),
        }
    }

    fn in_block(before: &Sample, now: &Sample) -> Reading<Traffic> {
        did(Some(before), now).traffic
    }

    #[test]
    fn a_block_has_what_came_between_two_samples_of_one_run() {
        let (before, now) = (sample(0, 500, Ok((10, 1))), sample(0, 500, Ok((30, 4))));
        let counted = Traffic { requests: 20, bad: 3, latency: None };
        assert_eq!(in_block(&before, &now), Reading::Counted(counted));
        assert_eq!(in_block(&before, &sample(1, 500, Ok((30, 4)))), Reading::Reset, "started again");
        assert_eq!(in_block(&before, &sample(0, 500, Ok((9, 1)))), Reading::Reset, "a counter went back");
        assert_eq!(in_block(&before, &sample(0, 500, Err("no answer"))), Reading::Absent);
        assert_eq!(did(None, &now).traffic, Reading::Absent, "nothing to compare with");
    }

    #[test]
    fn ends_of_connections_are_known_only_where_they_were_counted_all_the_while() {
        let sample = |run, share, ends: Option<(u64, u64, u64)>| {
            let ends = ends.map(|(since_micros, ended, reset)| Ends { since_micros, ended, reset });
            Sample { usage: Usage { ends, ..Usage::default() }, ..sample(run, share, Err("")) }
        };
        let of = |before: &Sample, now: &Sample| did(Some(before), now).ends;
        let before = sample(0, 500, Some((7, 10, 1)));
        let counted = Ends { since_micros: 7, ended: 20, reset: 3 };
        assert_eq!(of(&before, &sample(0, 500, Some((7, 30, 4)))), Reading::Counted(counted));
        assert_eq!(of(&before, &sample(0, 500, Some((8, 30, 4)))), Reading::Absent, "some were lost");
        assert_eq!(of(&before, &sample(0, 500, None)), Reading::Absent);
        assert_eq!(of(&sample(0, 500, None), &before), Reading::Absent);
        assert_eq!(of(&before, &sample(1, 500, Some((9, 30, 4)))), Reading::Reset, "started again");
        let hidden = sample(0, 0, Some((7, 10, 1)));
        assert_eq!(of(&hidden, &sample(0, 0, Some((7, 30, 4)))), Reading::Absent, "probes alone");
        let mut later = sample(0, 500, None);
        keep_what_was_read(&mut later, Some(&before));
        assert_eq!(
            of(&later, &sample(0, 500, Some((7, 30, 4)))),
            Reading::Counted(counted),
            "of both blocks"
        );
    }

    #[test]
    fn who_had_no_share_all_the_while_has_turned_nobody_away_and_that_is_no_zero() {
        let sample = |share, minutes: u64| {
            let refused = Refused { since_micros: 7, clock_micros: minutes * 60_000_000, count: minutes };
            Sample {
                usage: Usage { refused: Some(refused), ..Usage::default() },
                ..sample(0, share, Err(""))
            }
        };
        let of = |before: &Sample, now: &Sample| did(Some(before), now).uses.refused;
        assert_eq!(of(&sample(0, 1), &sample(0, 2)), Reading::Absent);
        assert_eq!(of(&sample(0, 1), &sample(500, 2)), Reading::Counted(1000));
        assert_eq!(of(&sample(500, 1), &sample(0, 2)), Reading::Counted(1000));
    }

    #[test]
    fn what_is_hidden_gets_probes_alone_and_is_no_part_of_the_comparison() {
        assert_eq!(in_block(&sample(0, 0, Ok((10, 1))), &sample(0, 0, Ok((30, 4)))), Reading::Absent);
        let shown = in_block(&sample(0, 0, Ok((10, 1))), &sample(0, 500, Ok((30, 4))));
        assert!(matches!(shown, Reading::Counted(_)), "from the first share on");
    }

    #[test]
    fn a_reading_that_failed_costs_its_own_block_and_nothing_is_lost() {
        let (host, instance): (HostName, InstanceId) = ("a".parse().unwrap(), "shop-1".parse().unwrap());
        let mut ends = LastEnds::default();
        let mut close = |millis, run, traffic| {
            let instances = [(instance.clone(), sample(run, 10_000, traffic))].into();
            let measurement = Measurement { service: "shop".parse().unwrap(), instances };
            let measured = (&host, Timestamp::from_unix_millis(millis), &measurement);
            ends.close([measured].into_iter()).did(&host, &instance).unwrap().traffic.clone()
        };
        let counted = |requests| Reading::Counted(Traffic { requests, bad: 0, latency: None });
        assert_eq!(close(1, 0, Ok((10, 0))), Reading::Absent);
        assert_eq!(close(2, 0, Err("no answer")), Reading::Absent);
        assert_eq!(close(3, 0, Ok((40, 0))), counted(30), "of both blocks");
        assert_eq!(close(4, 1, Err("no answer")), Reading::Reset);
        assert_eq!(close(5, 1, Ok((5, 0))), Reading::Absent, "counters of two runs are not compared");
    }

    #[test]
    fn a_host_that_did_not_measure_since_is_no_part_of_a_block_and_loses_nothing() {
        let host: HostName = "a".parse().unwrap();
        let instance: InstanceId = "shop-1".parse().unwrap();
        let at = |millis, requests| {
            let instances = [(instance.clone(), sample(0, 10_000, Ok((requests, 0))))].into();
            (Timestamp::from_unix_millis(millis), Measurement { service: "shop".parse().unwrap(), instances })
        };
        let mut ends = LastEnds::default();
        let mut close = |(at, measurement): (Timestamp, Measurement)| {
            let block = ends.close([(&host, at, &measurement)].into_iter());
            block.did(&host, &instance).map(|did| did.traffic.clone())
        };
        assert_eq!(close(at(1, 10)), Some(Reading::Absent));
        assert_eq!(close(at(1, 10)), None, "the same one again");
        let counted = Traffic { requests: 15, bad: 0, latency: None };
        assert_eq!(close(at(2, 25)), Some(Reading::Counted(counted)));
    }
}
