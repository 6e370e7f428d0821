use super::*;
use std::{os::unix::process::ExitStatusExt, process::Command};

const SOON: Duration = Duration::from_secs(10);

fn shell(folder: &std::path::Path, script: &str) -> Running {
    Running::start(folder, "shell", "/bin/sh".into(), ["-c", script])
}

#[test]
fn a_dropped_process_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let running = shell(folder.path(), "exec sleep 60");
    let stat = PathBuf::from(format!("/proc/{}/stat", running.pid()));
    assert!(running.is_running() && stat.exists());
    drop(running);
    assert!(!stat.exists());
}

#[test]
fn output_is_told_from_that_of_an_earlier_start() {
    let folder = tempfile::tempdir().unwrap();
    for word in ["one", "two"] {
        let mut running = shell(folder.path(), &format!("echo {word}; echo {word} {word} >&2"));
        assert!(running.wait(SOON).success());
        assert_eq!(running.stdout(), format!("{word}\n"));
        assert_eq!(running.stderr(), format!("{word} {word}\n"));
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("shell.out")).unwrap(), "one\ntwo\n");
}

#[test]
fn terminate_asks_and_tells_the_exit_status() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = shell(folder.path(), "trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done");
    wait_until(SOON, "the trap to be set", || running.stdout() == "up\n");
    assert_eq!(running.terminate(SOON).code(), Some(7));
    assert!(!running.is_running());
    running.signal(nix::sys::signal::Signal::SIGKILL);

    let mut killed = Running::start_command(folder.path(), "sleep", {
        let mut command = Command::new("sleep");
        command.arg("60");
        command
    });
    killed.signal(nix::sys::signal::Signal::SIGKILL);
    assert_eq!(killed.wait(SOON).signal(), Some(9));
}

#[test]
#[should_panic(expected = "in vain for the end of the world")]
fn a_wait_in_vain_says_for_what() {
    wait_until(Duration::from_millis(1), "the end of the world", || false);
}

#[test]
#[should_panic(expected = "cargo build --workspace --bins")]
fn a_binary_that_was_not_built_says_how_to_build_it() {
    let _ = binary("no-such-program");
}
