//! Says in the log which limits were met: an operator who sees refusals elsewhere finds their reason here.

use super::LimitCounters;
use handover_identity::AcceptCounters;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How often at most. Once for many: whoever meets a limit a thousand times a second does not fill the log.
const EVERY: Duration = Duration::from_secs(60);
/// What is counted and is no limit.
const USUAL: [&str; 2] = ["accepted_total", "admitted_total"];

/// Writes a line whenever limits were met in the last minute, until the server stops.
pub async fn report(accepted: Arc<AcceptCounters>, limits: Arc<LimitCounters>, stop: CancellationToken) {
    let mut before = BTreeMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let met = changes(&mut before, accepted.all().chain(limits.all()));
        if !met.is_empty() {
            tracing::warn!("limits that were met in the last minute, and how often: {met}");
        }
    }
}

/// What grew since the last look, as text.
fn changes(
    before: &mut BTreeMap<&'static str, u64>,
    now: impl Iterator<Item = (&'static str, u64)>,
) -> String {
    let grown = now.filter(|(name, _)| !USUAL.contains(name)).filter_map(|(name, count)| {
        let grown = count - before.insert(name, count).unwrap_or(0);
        (grown > 0).then(|| format!("{} {grown}", name.trim_end_matches("_total")))
    });
    grown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_grew_is_said() {
        let mut before = BTreeMap::new();
        let mut look = |counts: [(&'static str, u64); 3]| changes(&mut before, counts.into_iter());
        assert_eq!(look([("accepted_total", 5), ("a_total", 0), ("b_total", 2)]), "b 2");
        assert_eq!(look([("accepted_total", 9), ("a_total", 1), ("b_total", 5)]), "a 1, b 3");
        assert_eq!(look([("accepted_total", 9), ("a_total", 1), ("b_total", 5)]), "");
    }
}
