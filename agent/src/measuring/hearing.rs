//! Hearing how connections end, while somebody has set a limit on it: while one listens the kernel makes a message of each TCP
//! socket in the network namespace that is destroyed.
//!
//! Messages are read every 50 ms and wait here for the next look, which knows whose they are. What does not fit, here or in the
//! socket, is lost, and told as that.

use handover_gate::destroyed::{Destroyed, Ended};
use std::{
    collections::BTreeSet,
    error::Error,
    io,
    sync::{Arc, Mutex, MutexGuard, Once, PoisonError},
    time::Duration,
};
use tokio::{
    task::{JoinHandle, yield_now},
    time::{MissedTickBehavior, interval},
};

/// Between two readings. The socket has room for some thousand messages.
const PACE: Duration = Duration::from_millis(50);
/// So many are read at once; then others have their turn.
const AT_ONCE: usize = 512;
/// So often in a row at most: of a flood the rest waits for the next reading.
const TIMES: usize = 16;
/// So many ends at most wait for a look, 16 bytes each.
const MAX_WAITING: usize = 1 << 17;

/// Listens until it is dropped.
#[derive(Debug)]
pub(super) struct Hearing {
    ports: BTreeSet<u16>,
    ear: Arc<Ear>,
    reading: JoinHandle<()>,
}

/// What was heard and nobody has taken yet.
#[derive(Debug)]
pub(super) struct Ear {
    destroyed: Destroyed,
    told: Mutex<Told>,
    /// Whether somebody was told that messages make no sense.
    complained: Once,
}

/// What was told since the last look.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// What ended.
    pub(super) ended: Vec<Ended>,
    /// Whether something is missing.
    pub(super) lost: bool,
}

impl Hearing {
    /// Of connections of these listeners' ports. To be called on the runtime.
    pub(super) fn of(ports: BTreeSet<u16>) -> io::Result<Self> {
        let ear = Arc::new(Ear {
            destroyed: Destroyed::of(&ports)?,
            told: Mutex::default(),
            complained: Once::new(),
        });
        let reading = tokio::spawn(read(Arc::clone(&ear)));
        Ok(Self { ports, ear, reading })
    }

    /// Listens for these ports from now on.
    pub(super) fn only(&mut self, ports: BTreeSet<u16>) -> io::Result<()> {
        if self.ports != ports {
            self.ear.destroyed.only(&ports)?;
            self.ports = ports;
        }
        Ok(())
    }

    /// For whoever takes what was heard.
    pub(super) fn ear(&self) -> Arc<Ear> {
        Arc::clone(&self.ear)
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Ear {
    /// Takes what was told so far.
    pub(super) fn take(&self) -> Told {
        for _ in 0..TIMES {
            if self.read() {
                break;
            }
        }
        std::mem::take(&mut *self.told())
    }

    /// Reads a part of what waits. Returns whether nothing is left.
    fn read(&self) -> bool {
        match self.told().read(&self.destroyed, AT_ONCE) {
            Ok(emptied) => emptied,
            Err(error) => {
                let senseless = error.kind() == io::ErrorKind::InvalidData;
                let error = &error as &dyn Error;
                tracing::debug!(error, "some ends of connections are not known");
                if senseless {
                    self.complained.call_once(|| {
                        tracing::warn!(
                            error,
                            "the kernel tells otherwise how connections end: where it does max_resets is not judged on this host"
                        );
                    });
                }
                false
            }
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(ear: Arc<Ear>) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        for _ in 0..TIMES {
            if ear.read() {
                break;
            }
            yield_now().await;
        }
    }
}

impl Told {
    /// Returns whether nothing is left to be read.
    fn read(&mut self, destroyed: &Destroyed, at_once: usize) -> io::Result<bool> {
        let read = destroyed.read(&mut self.ended, at_once);
        self.lost |= read.is_err() || self.ended.len() > MAX_WAITING;
        if self.lost {
            self.ended.clear();
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use tokio::time::{Instant, sleep};

    fn come_and_go(listener: &TcpListener, connections: usize) {
        for _ in 0..connections {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            drop((listener.accept().unwrap(), client));
        }
    }

    /// Takes until `enough` was told in all.
    async fn eventually(hearing: &Hearing, enough: impl Fn(&Told) -> bool) -> Told {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut all = Told::default();
        loop {
            let told = hearing.ear.take();
            all.ended.extend(told.ended);
            all.lost |= told.lost;
            if enough(&all) {
                return all;
            }
            assert!(Instant::now() < deadline, "not in time: {all:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn what_ends_is_heard_for_the_ports_that_are_asked_for() {
        let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let port = |of: usize| BTreeSet::from([listeners[of].local_addr().unwrap().port()]);
        // Of those who listen the kernel tells the youngest first: what the witness was told, the other was as well.
        let witness = Hearing::of(&port(0) | &port(1)).unwrap();
        let mut hearing = Hearing::of(port(0)).unwrap();
        listeners.iter().for_each(|listener| come_and_go(listener, AT_ONCE + 3));
        eventually(&witness, |told| told.ended.len() >= 2 * (AT_ONCE + 3)).await;
        let told = hearing.ear.take();
        assert_eq!((told.ended.len(), told.lost), (AT_ONCE + 3, false));
        hearing.only(port(1)).unwrap();
        listeners.iter().for_each(|listener| come_and_go(listener, 2));
        eventually(&witness, |told| told.ended.len() >= 4).await;
        let told = hearing.ear.take();
        assert_eq!((told.ended.len(), told.lost), (2, false));
    }

    #[test]
    fn what_is_too_much_is_told_as_lost_and_takes_no_room() {
        let destroyed = Destroyed::of(&BTreeSet::new()).unwrap();
        let ended = vec![Ended { cookie: 1, reset: true }; MAX_WAITING + 1];
        let mut told = Told { ended, lost: false };
        told.read(&destroyed, 1).unwrap();
        assert!(told.lost && told.ended.is_empty());
    }
}
