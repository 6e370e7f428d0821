//! How often a limit was met.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// How often each limit was met, from the server's start on.
        #[derive(Debug, Default)]
        pub struct LimitCounters {
            $($(#[$doc])* pub(super) $name: AtomicU64,)*
        }

        impl LimitCounters {
            /// All of them, by name.
            pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                [$((stringify!($name), self.$name.load(Relaxed))),*].into_iter()
            }
        }
    };
}

counters! {
    /// Enrolments refused because their source had too many that failed.
    enrolments_refused_source_total,
    /// Enrolments refused because there were too many of all sources.
    enrolments_refused_total,
    /// Sessions refused because their agent began too many.
    sessions_refused_total,
    /// Times that an agent's messages were left unread for a while because they came too fast.
    session_pauses_total,
    /// Downloads refused because too many went on.
    downloads_refused_total,
    /// Uploads refused because too many went on.
    uploads_refused_total,
    /// Uploads ended because they took too long.
    uploads_late_total,
    /// Watches refused because there were too many.
    watches_refused_total,
    /// Watches, and other streams to operators, ended because nobody read them.
    watches_unread_total,
    /// Requests for logs refused because there were too many.
    log_readers_refused_total,
    /// Calls refused because their caller had too many at once, or an agent made too many.
    calls_refused_total,
    /// Calls ended because they were not answered in time.
    calls_late_total,
}

/// Counts one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
