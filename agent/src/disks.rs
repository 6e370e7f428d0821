//! The room on the file systems of the agent's folders, and whether the agent can write down what it does.
//!
//! One [`Disks`] is shared by all who write and all who tell. What cannot be written down is not done; that it cannot
//! be is told to the server, on `/metrics`, and in the log: at once, then with pauses that double.

use crate::{clock::now, config::AgentConfig, facts, journal::NotWritten};
use handover_identity::wall_clock;
use handover_model::{Disk, Duration, Room, Timestamp, Unwritten, chain, in_bytes};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// Between two lines about the same: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Before it is tried whether writing goes again. Where it soon failed again (one file alone cannot be written) the
/// pause doubles, up to the longest.
const TRY_AGAIN: Duration = Duration::from_secs(1);
const LONGEST_TRY: Duration = Duration::from_secs(60);
/// Bytes of the file that shows that there is room again: more than most records have.
const TRIAL: usize = 128 * 1024;

/// What is worth being told to the server at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// The room on each file system, by the path of its first folder.
    pub rooms: Vec<(String, Room)>,
    /// What cannot be written down.
    pub unwritten: Option<Unwritten>,
}

/// Watches the file systems of the agent's folders. Clones are the same.
#[derive(Clone, Debug)]
pub struct Disks {
    /// In a word, and where.
    folders: [(&'static str, PathBuf); 3],
    condition: watch::Sender<Condition>,
    writing: Arc<Mutex<Pace>>,
    trials: Arc<Mutex<Trials>>,
    low: Arc<Mutex<Pace>>,
    full: Arc<Mutex<Pace>>,
}

impl Disks {
    /// Of the folders that an agent is configured with.
    #[must_use]
    pub fn of(config: &AgentConfig) -> Self {
        Self::at(config.state.clone(), config.logs.clone(), config.runtime.clone())
    }

    /// Of these folders. They need not be there yet.
    #[must_use]
    pub fn at(state: PathBuf, logs: PathBuf, runtime: PathBuf) -> Self {
        Self {
            folders: [("state", state), ("logs", logs), ("runtime", runtime)],
            condition: watch::Sender::default(),
            writing: Arc::default(),
            trials: Arc::default(),
            low: Arc::default(),
            full: Arc::default(),
        }
    }

    /// What is worth being told at once, whenever it changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    /// What cannot be written down at the moment.
    #[must_use]
    pub fn unwritten(&self) -> Option<Unwritten> {
        self.condition.borrow().unwritten.clone()
    }

    /// Each file system once, as it is now: the state's first. One that cannot be looked at is left out.
    #[must_use]
    pub fn now(&self) -> Vec<Disk> {
        let mut found: Vec<(u64, Disk)> = Vec::new();
        for (word, path) in &self.folders {
            let there = nearest(path);
            let Ok(device) = fs::metadata(there).map(|found| found.dev()) else { continue };
            if let Some((_, disk)) = found.iter_mut().find(|(other, _)| *other == device) {
                disk.folders.push((*word).to_owned());
            } else if let Ok((free, total)) = facts::disk(there) {
                let path = path.display().to_string();
                found.push((device, Disk { folders: vec![(*word).to_owned()], path, free, total }));
            }
        }
        found.into_iter().map(|(_, disk)| disk).collect()
    }

    /// Takes note of how writing something down ended, and gives that back.
    ///
    /// # Errors
    /// What it was given.
    pub(crate) fn note<T>(&self, written: Result<T, NotWritten>) -> Result<T, NotWritten> {
        if let Err(error) = &written {
            let what = chain(error);
            let is_new = self.condition.send_if_modified(|condition| {
                let is_new = condition.unwritten.is_none();
                condition.unwritten.get_or_insert_with(|| Unwritten { what, since: wall_clock() });
                is_new
            });
            if is_new {
                self.trials().failed(now());
            }
            self.tell_unwritten();
        }
        written
    }

    /// Looks again, once a second or so. True where writing is possible again since just now.
    pub(crate) fn look(&self) -> bool {
        self.look_at_room();
        if self.condition.borrow().unwritten.is_none() || !self.trials().is_due(now()) {
            return false;
        }
        if let Err(error) = try_to_write(&self.folders[0].1) {
            tracing::debug!(error = &error as &dyn std::error::Error, "there is no room yet");
            self.tell_unwritten();
            return false;
        }
        self.condition.send_modify(|condition| condition.unwritten = None);
        self.trials().over(now());
        if over(&self.writing) {
            tracing::info!("what the agent does can be written down again; it goes on");
        }
        true
    }

    fn trials(&self) -> MutexGuard<'_, Trials> {
        self.trials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_unwritten(&self) {
        if let Some(unwritten) = self.unwritten().filter(|_| is_due(&self.writing)) {
            let state = self.folders[0].1.display();
            let free = facts::disk(nearest(&self.folders[0].1)).map_or(0, |(free, _)| free);
            tracing::error!(
                why = unwritten.what,
                "what the agent does cannot be written down ({} free at {state}): what runs goes on, nothing new is begun; make room there, it goes on by itself",
                in_bytes(free)
            );
        }
    }

    fn look_at_room(&self) {
        let disks = self.now();
        let rooms: Vec<_> = disks.iter().map(|disk| (disk.path.clone(), disk.room())).collect();
        let changed = self.condition.send_if_modified(|condition| {
            let changed = condition.rooms != rooms;
            condition.rooms = rooms;
            changed
        });
        let Some(worst) = disks.iter().max_by_key(|disk| disk.room()) else { return };
        let (words, pace) = match worst.room() {
            Room::Enough => {
                if changed {
                    over(&self.low);
                    over(&self.full);
                }
                return;
            }
            Room::Low => ("getting full", &self.low),
            Room::Full => ("full", &self.full),
        };
        if is_due(pace) {
            tracing::warn!(
                folders = worst.folders.join(", "),
                "the disk at {} is {words}: {} free of {}",
                worst.path,
                in_bytes(worst.free),
                in_bytes(worst.total)
            );
        }
    }
}

fn is_due(pace: &Mutex<Pace>) -> bool {
    pace.lock().unwrap_or_else(PoisonError::into_inner).is_due(now())
}

/// Says whether it was told since it was over last.
fn over(pace: &Mutex<Pace>) -> bool {
    pace.lock().unwrap_or_else(PoisonError::into_inner).over(now())
}

/// The folder, or the nearest one above it that is there: it has the same file system once it is made.
#[must_use]
pub fn nearest(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"))
}

/// Writes a file and removes it.
fn try_to_write(folder: &Path) -> io::Result<()> {
    let path = folder.join("room-trial");
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&[0; TRIAL])?;
        file.sync_all()
    });
    // Not there where it could not even be made.
    let _ = fs::remove_file(&path);
    written
}

/// How often the same is told: at once, then with pauses that double.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pace {
    next: Timestamp,
    pause: Duration,
    told: bool,
}

impl Pace {
    /// Whether it is to be told now; if so, it counts as told.
    fn is_due(&mut self, now: Timestamp) -> bool {
        if now < self.next {
            return false;
        }
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.next = now + self.pause;
        self.told = true;
        true
    }

    /// It is well again: should it come back, that is told soon, and not more often than the first pause has it. Says
    /// whether it was told.
    fn over(&mut self, now: Timestamp) -> bool {
        self.next = self.next.min(now + FIRST_PAUSE);
        self.pause = Duration::ZERO;
        std::mem::take(&mut self.told)
    }
}

/// When it is tried whether writing goes again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Trials {
    next: Timestamp,
    pause: Duration,
    over: Timestamp,
}

impl Trials {
    /// Writing fails since now.
    fn failed(&mut self, now: Timestamp) {
        let again = self.pause > Duration::ZERO && now.since(self.over) < LONGEST_TRY;
        self.pause = if again { (self.pause * 2).min(LONGEST_TRY) } else { TRY_AGAIN };
        self.next = now + self.pause;
    }

    fn is_due(&self, now: Timestamp) -> bool {
        now >= self.next
    }

    fn over(&mut self, now: Timestamp) {
        self.over = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_at_once_then_ever_less_often_and_soon_again_once_it_was_over() {
        let mut pace = Pace::default();
        let at = |seconds: u64| Timestamp::from_unix_millis(1_000_000_000 + seconds * 1000);
        let told: Vec<u64> = (0..20_000).filter(|second| pace.is_due(at(*second))).collect();
        assert_eq!(told, [0, 60, 180, 420, 900, 1860, 3780, 7380, 10_980, 14_580, 18_180]);
        assert!(pace.over(at(20_000)), "it was told");
        assert!(!pace.is_due(at(20_059)));
        assert!(pace.is_due(at(20_060)));
        assert!(pace.over(at(20_070)));
        assert!(!pace.over(at(20_080)), "nothing was told meanwhile");
        assert!(!pace.is_due(at(20_119)), "what comes and goes is no flood");
        assert!(pace.is_due(at(20_120)), "and is told all the same");
    }

    #[test]
    fn writing_that_failed_is_tried_until_it_goes_and_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        fs::write(&state, "a file where the folder should be").unwrap();
        let disks = Disks::at(state.clone(), dir.path().join("log"), dir.path().join("run"));
        let told = disks.subscribe();
        let source = io::Error::from(io::ErrorKind::StorageFull);
        let failed = NotWritten { what: "instance web-d1".into(), folder: state.clone(), source };
        assert!(disks.note::<()>(Err(failed)).is_err());
        assert!(told.has_changed().unwrap());
        assert!(disks.unwritten().unwrap().what.contains("instance web-d1"));
        assert!(!disks.look(), "not at once");
        disks.trials().next = Timestamp::default();
        assert!(!disks.look(), "it cannot be written yet");
        fs::remove_file(&state).unwrap();
        fs::create_dir(&state).unwrap();
        assert!(disks.look());
        assert_eq!(disks.unwritten(), None);
        assert!(!disks.look(), "that is told once");
        assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
    }

    #[test]
    fn what_fails_again_at_once_is_tried_ever_less_often() {
        let mut trials = Trials::default();
        let at = |seconds: u64| Timestamp::from_unix_millis(1_000_000 + seconds * 1000);
        let (mut now, mut pauses) = (0, Vec::new());
        for _ in 0..8 {
            trials.failed(at(now));
            let pause = (0..100).find(|second| trials.is_due(at(now + second))).unwrap();
            pauses.push(pause);
            now += pause;
            trials.over(at(now));
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        trials.failed(at(now + 60));
        assert!(trials.is_due(at(now + 61)), "it was well for long");
    }

    #[test]
    fn folders_on_one_file_system_are_one_disk() {
        let dir = tempfile::tempdir().unwrap();
        let disks = Disks::at(dir.path().join("a/b"), dir.path().to_owned(), "/proc".into());
        let found = disks.now();
        let folders: Vec<_> = found.iter().map(|disk| disk.folders.join("+")).collect();
        assert_eq!(folders, ["state+logs", "runtime"]);
        assert!(found[0].total > 0);
    }
}
