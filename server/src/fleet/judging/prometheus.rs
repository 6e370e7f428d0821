//! Services whose metrics a Prometheus server has: from its answers to what each instance has counted, as if the agents of
//! their hosts had measured it. What the kernel says of the instances, their shares and their runs still come from there.
//!
//! Series are known by host and release, instances come and go. So of each instance only samples count that were taken
//! after it was seen first: an older one may be that of its predecessor. And counters that fall while it was not started
//! again have lost some of their series (a scrape that failed): once these are back, all of what they ever counted would
//! look like new requests. Such counters are missing data until they are where they were.

use crate::fleet::{records::AssignmentRecord, state::Host};
use handover_exposition::shown;
use handover_model::{
    Duration, HostName, InstanceId, Sample, ServiceName, Timestamp, Traffic, Version,
    config::{MetricsConfig, PrometheusMetrics},
};
use handover_prometheus::{Answer, Reading};
use std::collections::{BTreeMap, BTreeSet};

/// A newest sample that is older than so many intervals is missing data: Prometheus answers with what it has, for five
/// minutes, also where it does not scrape any more.
const FRESH_INTERVALS: u32 = 3;

/// What a Prometheus server is asked for a service, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The series.
    pub of: PrometheusMetrics,
    /// How often.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
}

impl Asked {
    /// Of a manifest whose metrics a Prometheus server has.
    pub(super) fn of(metrics: &MetricsConfig) -> Option<Self> {
        let of = metrics.source.prometheus()?.clone();
        Some(Self { of, interval: metrics.interval, timeout: metrics.timeout })
    }
}

/// What a Prometheus server says of a service, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrometheusView {
    /// Why it says nothing, or a warning with which it says something.
    pub said: String,
    /// Since when it says nothing; `None` where it answers.
    pub since: Option<Timestamp>,
}

/// A service whose metrics a Prometheus server has.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) asked: Asked,
    said: Said,
    followed: BTreeMap<(HostName, InstanceId), Followed>,
}

/// What the Prometheus server said last.
#[derive(Debug)]
enum Said {
    NotYet,
    Answered(Answer),
    Failed { why: String, since: Timestamp },
}

/// An instance whose series are followed through one run of it.
#[derive(Clone, Debug, Default)]
struct Followed {
    run: u32,
    /// Only samples that were taken later are its own; `None` before the first answer.
    after: Option<Timestamp>,
    /// The sample that was taken into a block last, and when Prometheus took it.
    taken: Option<(Timestamp, Traffic)>,
}

/// What an answer means for an instance.
#[derive(Debug, PartialEq)]
enum Means {
    /// What it has counted, as of then.
    Counted(Timestamp, Traffic),
    /// The sample that was taken before is still the newest one.
    Standing,
    /// Nothing; why.
    Missing(String),
}

impl Source {
    pub(super) fn new(asked: Asked) -> Self {
        Self { asked, said: Said::NotYet, followed: BTreeMap::new() }
    }

    /// The server was asked: its answer, or why there is none.
    pub(super) fn said(&mut self, said: Result<Answer, String>, now: Timestamp) {
        self.said = match (said, &self.said) {
            (Ok(answer), _) => Said::Answered(answer),
            (Err(why), Said::Failed { since, .. }) => Said::Failed { why, since: *since },
            (Err(why), Said::NotYet | Said::Answered(_)) => Said::Failed { why, since: now },
        };
    }

    /// Why nothing is known of any instance.
    pub(super) fn problem(&self) -> Option<String> {
        match &self.said {
            Said::NotYet => Some("Prometheus was not asked yet".to_owned()),
            Said::Failed { why, .. } => Some(format!("Prometheus: {why}")),
            Said::Answered(_) => None,
        }
    }

    /// What is shown of the server; `None` where it answers as it should.
    pub(super) fn view(&self) -> Option<PrometheusView> {
        match &self.said {
            Said::NotYet => None,
            Said::Failed { why, since } => Some(PrometheusView { said: why.clone(), since: Some(*since) }),
            Said::Answered(answer) => {
                let said = format!("answers with a warning: {}", answer.warning.as_ref()?);
                Some(PrometheusView { said, since: None })
            }
        }
    }

    /// Writes into the hosts' measurements what is known of each instance. Returns the hosts that have no part in the
    /// block that ends now, since a newest sample of theirs is in a block already: what they did comes into the next one.
    pub(super) fn fill_in(
        &mut self,
        service: &ServiceName,
        hosts: &mut BTreeMap<HostName, Host>,
    ) -> BTreeSet<HostName> {
        let seen: Seen<'_> = Seen::of(&self.said, &self.asked, service, hosts);
        let problem = self.problem();
        let mut held = BTreeSet::new();
        let mut followed = BTreeMap::new();
        for (name, host) in hosts {
            let placed = host.assignments.get(service);
            let Some((_, measurement)) = host.measured.get_mut(service) else { continue };
            let mut means = Vec::new();
            for (instance, sample) in &measurement.instances {
                let key = (name.clone(), instance.clone());
                let mut own = self.followed.remove(&key).filter(|own| own.run == sample.run).unwrap_or(
                    // Its first run, or another one: samples of before are another's.
                    Followed { run: sample.run, ..Followed::default() },
                );
                let of_instance = match (&problem, placed.map(|placed| alone(placed, instance))) {
                    (Some(problem), _) => Means::Missing(problem.clone()),
                    (None, None) => Means::Missing("it is not to run here any more".to_owned()),
                    (None, Some(Err(why))) => Means::Missing(why),
                    (None, Some(Ok(release))) => match seen.reading(name, release) {
                        Ok(reading) => own.means(reading, seen.at, self.asked.interval * FRESH_INTERVALS),
                        Err(why) => Means::Missing(why),
                    },
                };
                means.push(of_instance);
                followed.insert(key, own);
            }
            if means.contains(&Means::Standing) {
                held.insert(name.clone());
                continue;
            }
            for ((instance, sample), means) in measurement.instances.iter_mut().zip(means) {
                let own = followed.get_mut(&(name.clone(), instance.clone()));
                take(sample, means, own);
            }
        }
        drop(seen);
        self.followed = followed;
        held
    }
}

/// The release of an instance that is the only one of it on its host.
fn alone<'p>(placed: &'p AssignmentRecord, instance: &InstanceId) -> Result<&'p Version, String> {
    let all = &placed.assignment.0;
    let Some(own) = all.iter().find(|placement| placement.instance == *instance) else {
        return Err("it is not to run here any more".to_owned());
    };
    match all.iter().filter(|placement| placement.release == own.release).count() {
        1 => Ok(&own.release.version),
        _ => Err("another instance of its release runs here: their series cannot be told apart".to_owned()),
    }
}

/// A sample as an agent would have measured it.
fn take(sample: &mut Sample, means: Means, own: Option<&mut Followed>) {
    sample.traffic = match means {
        Means::Counted(at, traffic) => {
            if let Some(own) = own {
                own.taken = Some((at, traffic.clone()));
            }
            Ok(traffic)
        }
        Means::Missing(why) => Err(why),
        Means::Standing => return,
    };
}

impl Followed {
    /// What a reading of its host and release means for it; `at` is when the answer was made.
    fn means(&mut self, reading: &Reading, at: Timestamp, fresh: Duration) -> Means {
        let Reading { sampled, age, traffic } = reading;
        let old = |seconds: u64| {
            format!(
                "its newest sample in Prometheus is {seconds} s old: is it scraped, and metrics.interval as long as its scrape_interval?"
            )
        };
        if *age > fresh {
            return Means::Missing(old(age.as_secs()));
        }
        if *sampled <= *self.after.get_or_insert(at) {
            return Means::Missing("Prometheus took no sample since it was seen first".to_owned());
        }
        match &self.taken {
            Some((taken, _)) if taken >= sampled => Means::Standing,
            Some((_, before)) if fell(before, traffic) => Means::Missing(format!(
                "its counters fell, from {} requests to {}, and it was not started again: some of its series are missing in Prometheus",
                before.requests, traffic.requests
            )),
            Some(_) | None => Means::Counted(*sampled, traffic.clone()),
        }
    }
}

/// Whether a counter went back.
fn fell(before: &Traffic, now: &Traffic) -> bool {
    let latency = match (&before.latency, &now.latency) {
        (Some(before), Some(now)) => before.edges() == now.edges() && now.since(before).is_none(),
        (Some(_), None) | (None, Some(_) | None) => false,
    };
    now.requests < before.requests || now.bad < before.bad || latency
}

/// An answer beside the hosts that it is about.
struct Seen<'a> {
    answer: Option<&'a Answer>,
    asked: &'a Asked,
    /// When it was made, by Prometheus's clock.
    at: Timestamp,
    /// Addresses by which a host is known: those that only one has.
    addresses: BTreeMap<HostName, String>,
    /// What is in it and of nobody here: how much, and one of it.
    strangers: (usize, Option<(String, String)>),
}

impl<'a> Seen<'a> {
    fn of(said: &'a Said, asked: &'a Asked, service: &ServiceName, hosts: &BTreeMap<HostName, Host>) -> Self {
        let answer = match said {
            Said::Answered(answer) => Some(answer),
            Said::NotYet | Said::Failed { .. } => None,
        };
        let mut owners: BTreeMap<&str, Vec<&HostName>> = BTreeMap::new();
        for (name, host) in hosts.iter().filter(|(_, host)| host.assignments.contains_key(service)) {
            owners.entry(&host.record.address).or_default().push(name);
        }
        let addresses = owners.into_iter().filter_map(|(address, owners)| match owners[..] {
            [one] if !address.is_empty() => Some((one.clone(), address.to_owned())),
            _ => None,
        });
        let readings = answer.into_iter().flat_map(|answer| answer.readings.values().flatten());
        let at = readings.map(|reading| reading.sampled + reading.age).max().unwrap_or_default();
        let mut seen = Self { answer, asked, at, addresses: addresses.collect(), strangers: (0, None) };
        seen.strangers = seen.strangers(service, hosts);
        seen
    }

    /// The keys of an answer that may be a host's release.
    fn keys(&self, host: &HostName, release: &Version) -> impl Iterator<Item = (String, String)> {
        let names = [Some(host.to_string()), self.addresses.get(host).cloned()];
        let release = release.to_string();
        names.into_iter().flatten().map(move |name| (name, release.clone()))
    }

    fn strangers(
        &self,
        service: &ServiceName,
        hosts: &BTreeMap<HostName, Host>,
    ) -> (usize, Option<(String, String)>) {
        let Some(answer) = self.answer else { return (0, None) };
        let mut known = BTreeSet::new();
        for (name, host) in hosts {
            let placed = host.assignments.get(service).into_iter().flat_map(|placed| &placed.assignment.0);
            for placement in placed {
                known.extend(self.keys(name, &placement.release.version));
            }
        }
        let mut others = answer.readings.keys().filter(|key| !known.contains(*key));
        let first = others.next().cloned();
        (answer.nameless + usize::from(first.is_some()) + others.count(), first)
    }

    /// What is known of a release on a host.
    fn reading(&self, host: &HostName, release: &Version) -> Result<&'a Reading, String> {
        let Some(answer) = self.answer else { return Err("Prometheus did not answer".to_owned()) };
        if let Some(found) = self.keys(host, release).find_map(|key| answer.readings.get(&key)) {
            return found.as_ref().map_err(Clone::clone);
        }
        let PrometheusMetrics { host_label, release_label, .. } = &self.asked.of;
        let pair = |host: &str, release: &str| {
            format!("{host_label}={}, {release_label}={}", shown(host), shown(release))
        };
        let own = pair(host.as_str(), release.as_str());
        Err(match &self.strangers {
            (0, _) => format!("Prometheus has no series of it ({own})"),
            (others, Some((host, release))) => format!(
                "Prometheus has no series of it ({own}), and {others} of no host and release here, such as {}",
                pair(host, release)
            ),
            (others, None) => format!(
                "Prometheus has no series of it ({own}), and {others} that lack {host_label} or {release_label}"
            ),
        })
    }
}
