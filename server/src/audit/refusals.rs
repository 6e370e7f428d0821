//! The tray between refused calls and the audit: whoever is refused again and again within a minute gets one entry at
//! its beginning and one with their number at its end. A flood fills neither the memory nor the disk.

use super::Deed;
use handover_model::{Duration, Timestamp};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};
use tokio::sync::Notify;

/// For so long equal refusals are counted instead of written.
const WINDOW: Duration = Duration::from_secs(60);
/// How many kinds of refusals are told apart in a window; the others are counted together.
const KINDS: usize = 32;
/// Who stands in the entry of those that are counted together.
const SEVERAL: &str = "several callers";
/// Who has no certificate. Where they connect from is theirs to vary: all of them are one.
const NOBODY: &str = "nobody";

/// Refusals that are not in the audit yet.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    tray: Mutex<Tray>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Tray {
    fresh: Vec<Deed>,
    windows: BTreeMap<[String; 3], Window>,
}

#[derive(Debug)]
struct Window {
    until: Timestamp,
    last: Deed,
    count: u64,
}

impl Refusals {
    /// Lays a refusal down. Never waits.
    pub(crate) fn note(&self, deed: Deed, now: Timestamp) {
        let mut tray = self.tray.lock().unwrap_or_else(PoisonError::into_inner);
        if tray.note(deed, now) {
            drop(tray);
            self.wake.notify_one();
        }
    }

    /// Takes out what is to be written now; with `all` also what would still be counted on.
    pub(crate) fn take(&self, now: Timestamp, all: bool) -> Vec<Deed> {
        self.tray.lock().unwrap_or_else(PoisonError::into_inner).take(now, all)
    }

    /// Waits for one that is to be written at once.
    pub(crate) async fn wait(&self) {
        self.wake.notified().await;
    }
}

impl Tray {
    /// Whether it is the first of its kind.
    fn note(&mut self, deed: Deed, now: Timestamp) -> bool {
        let mut kind = match deed.who.as_str() {
            NOBODY => [NOBODY.to_owned(), String::new(), String::new()],
            _ => [deed.who.clone(), deed.method.clone(), deed.outcome.clone()],
        };
        if !self.windows.contains_key(&kind) && self.windows.len() >= KINDS {
            kind = [SEVERAL.to_owned(), String::new(), String::new()];
        }
        let several = kind[0] == SEVERAL;
        let deed = if several { Deed { who: SEVERAL.to_owned(), ..deed } } else { deed };
        if let Some(window) = self.windows.get_mut(&kind) {
            window.count += 1;
            window.last = deed;
            return false;
        }
        self.windows.insert(kind, Window { until: now + WINDOW, last: deed.clone(), count: 0 });
        self.fresh.push(deed);
        true
    }

    fn take(&mut self, now: Timestamp, all: bool) -> Vec<Deed> {
        let mut deeds = std::mem::take(&mut self.fresh);
        self.windows.retain(|_, window| {
            let over = all || now >= window.until;
            if over && window.count > 0 {
                let mut last = window.last.clone();
                last.count = window.count;
                deeds.push(last);
            }
            !over
        });
        deeds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(who: &str, method: &str, from: &str) -> Deed {
        Deed {
            who: who.into(),
            method: method.into(),
            outcome: "NOT_AUTHORISED".into(),
            from: from.into(),
            count: 1,
            ..Deed::default()
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_millis(seconds * 1000)
    }

    #[test]
    fn the_first_is_written_at_once_and_the_others_as_a_number_when_the_minute_is_over() {
        let mut tray = Tray::default();
        for _ in 0..10_000 {
            tray.note(refused("eve", "RemoveHost", "1"), at(0));
        }
        let first = tray.take(at(1), false);
        assert_eq!(first.iter().map(|deed| deed.count).collect::<Vec<_>>(), [1]);
        assert!(tray.take(at(59), false).is_empty());
        let rest = tray.take(at(60), false);
        assert_eq!(rest.iter().map(|deed| deed.count).collect::<Vec<_>>(), [9_999]);
        assert!(tray.note(refused("eve", "RemoveHost", "1"), at(61)), "a new minute, a new entry");
    }

    #[test]
    fn one_refusal_alone_is_one_entry() {
        let mut tray = Tray::default();
        tray.note(refused("eve", "RemoveHost", "1"), at(0));
        assert_eq!(tray.take(at(0), false).len(), 1);
        assert!(tray.take(at(100), false).is_empty());
    }

    #[test]
    fn strangers_and_crowds_are_bounded_whatever_they_vary() {
        let mut tray = Tray::default();
        for n in 0..1000 {
            tray.note(refused("nobody", &format!("Call{n}"), &format!("192.0.2.1:{n}")), at(0));
            tray.note(refused(&format!("host h{n}"), "RemoveHost", ""), at(0));
        }
        let written = tray.take(at(0), true);
        assert!(written.len() <= 2 * (KINDS + 1), "{} entries", written.len());
        assert_eq!(written.iter().map(|deed| deed.count).sum::<u64>(), 2000, "none is forgotten");
    }
}
