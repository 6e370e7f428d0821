//! The doctor's lines, from facts that a machine might have.

use super::{
    Check, Outcome,
    checks::{
        OtherAgent, cgroups, descriptors, disk, disk_unknown, gate, journald, migration, other_agent, pidfd,
        pidfd_getfd, queues, taking_sockets_back,
    },
    server::{no_identity, not_reached, somebody},
};
use handover_model::Disk;
use nix::errno::Errno;
use std::path::Path;

/// CAP_SYS_PTRACE, capabilities(7).
const SYS_PTRACE: u64 = 1 << 19;

fn of(folder: &str, free: u64) -> Disk {
    Disk { folders: vec![folder.to_owned()], path: "/var/lib/handover".into(), free, total: 100 << 30 }
}

fn refused() -> Result<(), String> {
    Err("Function not implemented (os error 38)".to_owned())
}

/// Every lack that there is a line for, and how it counts.
fn lacking() -> Vec<(Check, Outcome)> {
    let state = Path::new("/var/lib/handover");
    vec![
        (gate(refused()), Outcome::Fail),
        (pidfd(refused()), Outcome::Fail),
        (pidfd_getfd(refused()), Outcome::Warn),
        (taking_sockets_back(Some(1), Some(0)), Outcome::Warn),
        (taking_sockets_back(Some(2), None), Outcome::Warn),
        (taking_sockets_back(Some(3), Some(u64::MAX)), Outcome::Warn),
        (cgroups(Err("no cgroup v2 is mounted".to_owned())), Outcome::Warn),
        (journald(false), Outcome::Warn),
        (migration(None), Outcome::Warn),
        (migration(Some(0)), Outcome::Warn),
        (descriptors(Ok((1023, 4096))), Outcome::Fail),
        (descriptors(Ok((1024, 4096))), Outcome::Warn),
        (descriptors(Err(Errno::EINVAL)), Outcome::Warn),
        (queues(Some(128)), Outcome::Warn),
        (queues(None), Outcome::Warn),
        (other_agent(state, OtherAgent::Runs), Outcome::Warn),
        (disk_unknown(state), Outcome::Fail),
        (disk(&of("state", 900 << 20)), Outcome::Warn),
        (disk(&of("state", 10 << 20)), Outcome::Fail),
        (disk(&of("logs", 900 << 20)), Outcome::Warn),
        (disk(&of("logs", 10 << 20)), Outcome::Fail),
        (disk(&of("runtime", 900 << 20)), Outcome::Warn),
        (disk(&of("runtime", 10 << 20)), Outcome::Fail),
        (somebody(&"handover.example.org:7443".parse().unwrap()), Outcome::Warn),
        (
            not_reached("handover.example.org:7443: Connection refused (os error 111)".to_owned()),
            Outcome::Fail,
        ),
        (no_identity("/var/lib/handover/identity: no key".to_owned()), Outcome::Fail),
    ]
}

#[test]
fn each_lack_says_what_was_found_what_it_costs_and_what_to_do() {
    let mut told = String::new();
    for (check, outcome) in lacking() {
        assert_eq!(check.outcome, outcome, "{check:?}");
        assert!(!check.costs.is_empty() && !check.advice.is_empty(), "{check:?}");
        told.push_str(&check.to_string());
    }
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("doctor-lacks", told);
    });
}

#[test]
fn what_is_as_it_should_be_is_one_line_and_passes() {
    let good = [
        gate(Ok(())),
        pidfd(Ok(())),
        pidfd_getfd(Ok(())),
        taking_sockets_back(None, None),
        taking_sockets_back(Some(1), Some(SYS_PTRACE)),
        cgroups(Ok(())),
        journald(true),
        migration(Some(1)),
        descriptors(Ok((65_536, 65_536))),
        queues(Some(4096)),
        other_agent(Path::new("/var/lib/handover"), OtherAgent::Never),
        other_agent(Path::new("/var/lib/handover"), OtherAgent::NotNow),
        disk(&of("state", 50 << 30)),
    ];
    for check in good {
        assert_eq!(check.outcome, Outcome::Pass, "{check:?}");
        let told = check.to_string();
        assert!(told.starts_with("pass  ") && told.lines().count() == 1, "{told}");
    }
}

#[test]
fn no_check_of_a_machine_is_without_its_lack_here() {
    let folder = tempfile::tempdir().unwrap();
    let told: Vec<&str> = lacking().iter().map(|(check, _)| check.name).collect();
    let disks =
        crate::disks::Disks::at(folder.path().to_owned(), folder.path().to_owned(), folder.path().to_owned());
    for check in super::host::checks(folder.path(), &disks) {
        assert!(told.contains(&check.name), "{} has no snapshot of its lack", check.name);
    }
}
