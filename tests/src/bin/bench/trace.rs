//! What the agent's log says of one deployment, by its time stamps.

use crate::Failed;
use jiff::Timestamp;

/// When an agent did what, in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trace {
    /// It ordered the bundle to be fetched: the target is written down then.
    pub(crate) fetch: f64,
    /// It ordered the start: the bundle is there and unpacked.
    pub(crate) start: f64,
    /// The program was executed.
    pub(crate) started: f64,
    /// A readiness probe got a good answer.
    pub(crate) ready: f64,
    /// The share is in the kernel.
    pub(crate) flip: f64,
}

/// When an instance was given a share last, in microseconds since 1970.
pub(crate) fn last_flip(log: &str, instance: &str) -> Result<f64, Failed> {
    let of_it = format!("instance={instance} ");
    let flip = log.lines().rfind(|line| line.contains(": flip ") && line.contains(&of_it));
    stamp(flip.ok_or_else(|| format!("the agent's log has no flip of {instance}"))?)
}

/// When a line was logged.
fn stamp(line: &str) -> Result<f64, Failed> {
    let stamp = line.split_whitespace().next().unwrap_or_default();
    let stamp: Timestamp = stamp.parse().map_err(|error| format!("{line:?}: {error}"))?;
    Ok(stamp.as_microsecond() as f64)
}

impl Trace {
    /// Reads it for an instance.
    pub(crate) fn read(log: &str, instance: &str) -> Result<Self, Failed> {
        let at = |what: &str| -> Result<f64, Failed> {
            let named = log.lines().filter(|line| line.contains(instance));
            let line = named.into_iter().find(|line| line.contains(what));
            stamp(line.ok_or_else(|| format!("the agent's log has no {what:?} of {instance}"))?)
        };
        Ok(Self {
            fetch: at("action=Fetch(")?,
            start: at("action=Start(")?,
            started: at(": started ")?,
            ready: at(": ready ")?,
            flip: at(": flip ")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_for_its_own_instance() {
        let log = "\
2026-01-01T00:00:00.000001Z DEBUG a::s::actions: action=Fetch(d1-1)
2026-01-01T00:00:00.000002Z DEBUG a::s::actions: action=Fetch(d2-1)
2026-01-01T00:00:00.000003Z DEBUG a::s::actions: action=Start(d2-1)
2026-01-01T00:00:00.000004Z  INFO a::s::starting: started instance=d2-1 pid=7
2026-01-01T00:00:00.000005Z  INFO a::s::events: ready instance=d2-1 millis=500
2026-01-01T00:00:00.000006Z DEBUG a::s::actions: action=SetShares(web, {d2-1: 10000})
2026-01-01T00:00:00.000007Z  INFO a::s::actions: flip instance=d2-1 from=0 to=10000 micros=9
";
        let trace = Trace::read(log, "d2-1").unwrap();
        let from = trace.fetch - 2.0;
        assert_eq!(
            [trace.start, trace.started, trace.ready, trace.flip].map(|at| at - from),
            [3.0, 4.0, 5.0, 7.0]
        );
        let missing = Trace::read(log, "d1-1").unwrap_err().to_string();
        assert!(missing.contains("action=Start("), "{missing}");
    }
}
