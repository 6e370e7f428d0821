//! What is installed for systemd, as its own tools read it, each with a root folder of its own.

use serde_json::Value;
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// What `systemd-analyze security` may say of the server at most, in tenths: 0 is closed to everything, 100 open. It is
/// 1.2 with systemd 252 (the network, Unix sockets, the peers' users, the host's root); versions weigh a little differently.
const SERVER_EXPOSURE: u32 = 15;
const UNITS: [&str; 2] = ["handover-server.service", "handover-agent.service"];

fn installed(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd").join(file)
}

/// A root folder with the units and something to start.
fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let place = |name: &str| {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    for unit in UNITS {
        fs::copy(installed(unit), place(&format!("usr/lib/systemd/system/{unit}"))).unwrap();
    }
    for program in ["handover", "handover-agent"] {
        let path = place(&format!("usr/bin/{program}"));
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for file in ["sysusers.d/handover.conf", "tmpfiles.d/handover.conf"] {
        fs::copy(installed(file), place(&format!("usr/lib/{file}"))).unwrap();
    }
    // What every Debian has before anything is installed.
    fs::write(place("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    fs::write(place("etc/group"), "root:x:0:\nadm:x:4:\n").unwrap();
    root
}

#[track_caller]
fn run(root: &Path, program: &str, args: &[&str]) -> Output {
    let output = Command::new(program).args(args).arg("--root").arg(root).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}; `make test` installs systemd's tools"))
}

/// Runs it and fails where it complains.
#[track_caller]
fn clean(root: &Path, program: &str, args: &[&str]) -> String {
    let output = run(root, program, args);
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {args:?}:\n{text}");
    text
}

#[test]
fn systemd_understands_every_line_of_both_units() {
    let root = root();
    for unit in UNITS {
        let said = clean(root.path(), "systemd-analyze", &["verify", "--recursive-errors=no", unit]);
        assert_eq!(said, "", "{unit}");
    }
}

#[test]
fn the_server_is_closed_to_nearly_everything() {
    let threshold = format!("--threshold={SERVER_EXPOSURE}");
    let root = root();
    clean(
        root.path(),
        "systemd-analyze",
        &["security", "--offline=true", &threshold, "handover-server.service"],
    );
}

/// The usual directives are those that systemd's own assessment looks at.
#[test]
fn every_usual_directive_is_set_or_left_open_for_a_reason() {
    let root = root();
    for unit in UNITS {
        let listed =
            run(root.path(), "systemd-analyze", &["security", "--offline=true", "--json=short", unit]);
        let listed: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();
        assert!(listed.len() > 50, "{unit}: the assessment lists {}", listed.len());
        let text = fs::read_to_string(installed(unit)).unwrap();
        let is_there = |directive: &str| {
            let assignment = format!("{directive}=");
            text.lines().any(|line| {
                let opened = line.starts_with("# Open: ") && line.contains(" because ");
                line.starts_with(&assignment) || (opened && line.contains(&assignment))
            })
        };
        for name in listed.iter().map(|entry| entry["name"].as_str().unwrap()) {
            // "CapabilityBoundingSet=~CAP_BPF", "User=/DynamicUser=".
            let directives = name.split('/').filter_map(|part| Some(part.split_once('=')?.0));
            for directive in directives {
                assert!(is_there(directive), "{unit} says nothing of {directive}= ({name})");
            }
        }
    }
}

#[test]
fn the_servers_user_and_all_folders_are_made_with_their_owners() {
    let root = root();
    clean(root.path(), "systemd-sysusers", &[]);
    clean(root.path(), "systemd-tmpfiles", &["--create"]);
    let at = |path: &str| root.path().join(path);
    let id = |file: &str| {
        let text = fs::read_to_string(at(file)).unwrap();
        let line = text.lines().find(|line| line.starts_with("handover:")).unwrap().to_owned();
        line.split(':').nth(2).unwrap().parse::<u32>().unwrap()
    };
    assert_ne!(id("etc/passwd"), 0);
    for (path, mode, group) in [
        ("etc/handover", 0o750, id("etc/group")),
        ("var/lib/handover", 0o755, 0),
        ("var/log/handover", 0o750, 4),
        ("run/handover", 0o755, 0),
    ] {
        let made = fs::metadata(at(path)).unwrap();
        assert_eq!((made.mode() & 0o7777, made.uid(), made.gid()), (mode, 0, group), "{path}");
    }
    // Where the command line looks is where the server's unit listens.
    let link = fs::read_link(at("run/handover/handover.sock")).unwrap();
    assert_eq!(
        Path::new("/run/handover").join(link),
        Path::new("/run/handover/../handover-server/handover.sock")
    );
    let unit = fs::read_to_string(installed("handover-server.service")).unwrap();
    assert!(unit.contains("--unix /run/handover-server/handover.sock"));
}

/// In a network namespace of this thread's.
#[test]
fn the_kernel_is_set_as_the_gate_would_set_it() {
    let in_namespace = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let kernel = |key: &str| fs::read_to_string(format!("/proc/sys/net/ipv4/{key}")).unwrap();
        assert_eq!(kernel("ip_local_reserved_ports").trim(), "", "a namespace of its own");
        let drop_in = installed("sysctl.d/90-handover.conf");
        let set = Command::new("/lib/systemd/systemd-sysctl").arg(drop_in).status().unwrap();
        assert!(set.success());
        let (migrate, reserved) = (kernel("tcp_migrate_req"), kernel("ip_local_reserved_ports"));
        assert_eq!(migrate.trim(), "1");
        assert!(handover_gate::set_tcp_migrate_req().unwrap() && handover_gate::reserve_pin_ports().unwrap());
        assert_eq!(kernel("ip_local_reserved_ports"), reserved, "the gate had to add something");
    });
    in_namespace.join().unwrap();
}
