//! A service manager, played: it keeps what a daemon tells it, with the time.

use crate::process::wait_until;
use std::{
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

/// One message, as sd_notify(3) describes it.
#[derive(Clone, Debug)]
pub struct Told {
    /// When it came.
    pub at: Instant,
    /// Its assignments.
    pub text: String,
}

impl Told {
    /// Whether one of its assignments is exactly this one.
    #[must_use]
    pub fn says(&self, assignment: &str) -> bool {
        self.text.lines().any(|line| line == assignment)
    }

    /// What it says of the daemon's state, if it does.
    #[must_use]
    pub fn status(&self) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix("STATUS="))
    }
}

/// What a daemon is started by.
#[derive(Debug)]
pub struct Manager {
    path: PathBuf,
    watchdog: Duration,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Manager {
    /// One that listens in this folder, and wants to hear that the heart beats at least so often.
    ///
    /// # Panics
    /// Where it cannot listen there.
    #[must_use]
    pub fn in_folder(folder: &Path, watchdog: Duration) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let told = Arc::<Mutex<Vec<Told>>>::default();
        let kept = Arc::clone(&told);
        // Ends with the test's process.
        thread::spawn(move || {
            let mut message = [0; 8192];
            while let Ok(length) = socket.recv(&mut message) {
                let text = String::from_utf8_lossy(&message[..length]).into_owned();
                kept.lock().unwrap().push(Told { at: Instant::now(), text });
            }
        });
        Self { path, watchdog, told }
    }

    /// Sets the environment of what it starts.
    pub fn starts(&self, command: &mut Command) {
        command.env("NOTIFY_SOCKET", &self.path).env("WATCHDOG_USEC", self.watchdog.as_micros().to_string());
    }

    /// Everything that it was told.
    ///
    /// # Panics
    /// Where the thread that keeps it has.
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// Waits for a message.
    ///
    /// # Panics
    /// Where none comes by the deadline.
    #[track_caller]
    #[must_use]
    pub fn until(&self, deadline: Duration, what: &str, is_it: impl Fn(&Told) -> bool) -> Told {
        let mut found = None;
        wait_until(deadline, what, || {
            found = self.told().into_iter().find(|told| is_it(told));
            found.is_some()
        });
        found.unwrap()
    }

    /// When it was told `WATCHDOG=1`, since a moment.
    #[must_use]
    pub fn beats_since(&self, since: Instant) -> Vec<Instant> {
        let told = self.told();
        told.iter().filter(|told| told.at >= since && told.says("WATCHDOG=1")).map(|told| told.at).collect()
    }
}
