//! What the acceptors count, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident / $count:ident),* $(,)?) => {
        /// Counters of an acceptor, from its start on.
        #[derive(Debug, Default)]
        pub struct AcceptCounters {
            $($name: AtomicU64,)*
        }

        impl AcceptCounters {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(&self) -> u64 {
                    self.$name.load(Relaxed)
                }

                pub(super) fn $count(&self) {
                    self.$name.fetch_add(1, Relaxed);
                }
            )*

            /// All of them, by name.
            pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                [$((stringify!($name), self.$name())),*].into_iter()
            }
        }
    };
}

counters! {
    /// Connections that accept(2) gave.
    accepted_total / accepted,
    /// Connections that were handed on, after the handshake where there is one.
    admitted_total / admitted,
    /// Handshakes that failed: no TLS, a wrong certificate, a client that did not trust the server.
    handshakes_failed_total / handshake_failed,
    /// Handshakes that were not done at their deadline.
    handshakes_late_total / handshake_late,
    /// Handshakes that were given up for newer ones because all places were taken; those of crowded sources go first.
    handshakes_displaced_total / handshake_displaced,
    /// Connections closed because their kind had no place left.
    refused_full_total / refused_full,
    /// Connections without a certificate that were closed at the end of their time.
    anonymous_late_total / anonymous_late,
    /// Connections with a certificate that said nothing after their handshake.
    greetings_late_total / greeting_late,
    /// Pauses because accept(2) failed, mostly for lack of descriptors.
    pauses_total / paused,
}
