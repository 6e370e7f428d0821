//! `make demo`: its program, run as the README tells, to its end and until it is interrupted.

use handover_tests::{
    network,
    process::{Running, binary, wait_until},
};
use nix::sys::signal::Signal;
use std::{fs, path::Path, time::Duration};

/// Longest time of the whole demo, on a machine that compiles at the same time.
const LONG: Duration = Duration::from_secs(180);

/// Starts the demo with its folders in `home`. Its addresses are everybody's, so it has a network of its own.
fn demo(home: &Path) -> Running {
    let mut command = network::alone(&[binary("handover").to_str().unwrap(), "demo"]);
    command.env("TMPDIR", home);
    Running::start_command(home, "demo", command)
}

/// The processes whose program or words are of this folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let told = entries.filter_map(|entry| {
        let words = fs::read(entry.path().join("cmdline")).ok()?;
        let program = fs::read_link(entry.path().join("exe")).ok()?;
        let told = format!("{} {}", program.display(), String::from_utf8_lossy(&words).replace('\0', " "));
        told.contains(folder).then_some(told)
    });
    told.collect()
}

/// The rows of the table that begins with this column.
fn rows<'a>(said: &'a str, first_column: &str) -> Vec<Vec<&'a str>> {
    let lines = said.lines().skip_while(|line| !line.to_lowercase().trim_start().starts_with(first_column));
    let cells = |line: &'a str| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    lines.take_while(|line| !line.trim().is_empty()).map(cells).collect()
}

/// One after the other: two demos at once would share their hosts' cgroups, which are named after the hosts.
#[test]
fn the_demo_fails_no_request_ends_as_it_promises_and_leaves_nothing_behind() {
    is_interrupted();
    plays_to_its_end();
}

fn plays_to_its_end() {
    let home = tempfile::tempdir().unwrap();
    let mut demo = demo(home.path());
    let status = demo.wait(LONG);
    let said = demo.stdout();
    println!("{said}");
    assert_eq!(status.code(), Some(0), "{said}{}", demo.stderr());
    let deployments = rows(&said, "version ");
    for (row, (version, code)) in
        deployments[1..].iter().zip([("1.1.0", "0"), ("2.0.0", "3"), ("3.0.0", "3")])
    {
        assert_eq!(row[..3], [version, code, code], "{said}");
    }
    assert_eq!(deployments.len(), 4, "{said}");
    let clients = rows(&said, "connections ");
    // The two runs, then for each of them a line that says which versions answered.
    for run in &clients[1..3] {
        let count = |cell: usize| run[cell].parse::<u64>().unwrap_or_else(|_| panic!("{run:?}"));
        assert!(count(1) > 0 && count(1) == count(2), "{said}");
        let (kinds, of_kinds) = (&clients[0][3..clients[0].len() - 3], 3..clients[0].len() - 3);
        assert!(kinds.len() > 3, "{said}");
        for cell in of_kinds {
            assert_eq!(run[cell], "0", "{}: {said}", clients[0][cell]);
        }
    }
    assert!(said.contains("not one request failed") && said.contains("$ handover canary web"), "{said}");
    assert_eq!(processes_of(home.path()), Vec::<String>::new(), "it left something running");
    let left = fs::read_dir(home.path()).unwrap().flatten().map(|entry| entry.file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with("handover-demo-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn is_interrupted() {
    let home = tempfile::tempdir().unwrap();
    let mut demo = demo(home.path());
    wait_until(LONG, "the load to begin", || {
        assert!(demo.is_running(), "{}{}", demo.stdout(), demo.stderr());
        demo.stdout().contains("== load begins")
    });
    assert!(processes_of(home.path()).len() > 4, "{:?}", processes_of(home.path()));
    demo.signal(Signal::SIGINT);
    assert_eq!(demo.wait(LONG).code(), Some(130), "{}", demo.stderr());
    assert_eq!(processes_of(home.path()), Vec::<String>::new(), "it left something running");
}
