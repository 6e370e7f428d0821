//! The question.

use handover_model::{
    Selector,
    config::{PARTS_LABEL, PrometheusMetrics},
};

/// A part of an answer, by what is written into [`PARTS_LABEL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Sampled,
    Requests,
    Errors,
    Latency,
}

impl Part {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Sampled, "sampled"),
        (Self::Requests, "requests"),
        (Self::Errors, "errors"),
        (Self::Latency, "latency"),
    ];

    pub(crate) fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(part, _)| *part)
    }

    pub(crate) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(part, _)| *part == self).map_or("", |(_, word)| word)
    }
}

/// The query that asks for all counters of a service, by host and release.
///
/// A [`Selector`] is a whole one of PromQL's by construction: nothing of a manifest can end it and go on as another query.
#[must_use]
pub fn query(asked: &PrometheusMetrics) -> String {
    let PrometheusMetrics { requests, errors, latency, host_label, release_label } = asked;
    let by = format!("by ({host_label}, {release_label})");
    let of = |part: Part, summed: String| {
        format!("label_replace({summed}, \"{PARTS_LABEL}\", \"{}\", \"\", \"\")", part.word())
    };
    let mut parts = vec![
        of(Part::Sampled, format!("min {by} (timestamp({requests}))")),
        of(Part::Requests, format!("sum {by} ({requests})")),
        of(Part::Errors, format!("sum {by} ({errors})")),
    ];
    if let Some(latency) = latency {
        let buckets = buckets(latency);
        parts.push(of(Part::Latency, format!("sum by ({host_label}, {release_label}, le) ({buckets})")));
    }
    parts.join("\nor\n")
}

/// The histogram's name without `_bucket`.
pub(crate) fn histogram(latency: &Selector) -> &str {
    latency.name().strip_suffix("_bucket").unwrap_or(latency.name())
}

/// The selector of a histogram's buckets.
fn buckets(latency: &Selector) -> String {
    let matchers = latency.source().trim_start().strip_prefix(latency.name()).unwrap_or_default();
    format!("{}_bucket{matchers}", histogram(latency))
}
