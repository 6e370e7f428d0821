//! Processes of tests: found, started, watched and ended.

mod running;
#[cfg(test)]
mod tests;
mod usage;

pub use running::Running;
pub use usage::{cpu_time, resident};

use std::{
    env,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

/// How often [`wait_until`] looks.
const POLL: Duration = Duration::from_millis(10);

/// A binary of this workspace, in the target directory in which the current program lies.
///
/// # Panics
/// Where it has not been built: `cargo test -p` builds only the binaries of its own package.
#[track_caller]
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let own = env::current_exe().unwrap();
    // target/debug/deps/x for tests, target/debug/x for binaries.
    let mut folder = own.parent().unwrap();
    if folder.ends_with("deps") || folder.ends_with("examples") {
        folder = folder.parent().unwrap();
    }
    let path = folder.join(name);
    assert!(path.is_file(), "{} is missing: run `cargo build --workspace --bins` first", path.display());
    path
}

/// Looks every 10 ms whether the condition holds.
///
/// # Panics
/// Where it does not hold by the deadline, with `what` was waited for.
#[track_caller]
pub fn wait_until(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !condition() {
        assert!(Instant::now() < end, "waited {deadline:?} in vain for {what}");
        thread::sleep(POLL);
    }
}
