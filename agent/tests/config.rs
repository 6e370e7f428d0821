//! `agent.toml` as the real program reads it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use std::{path::Path, process::Command};

/// How `handover-agent run` ends with this configuration: its exit code and what it says.
fn run(config: &Path) -> (Option<i32>, String) {
    let output = Command::new("timeout")
        .args(["--kill-after=1", "20", env!("CARGO_BIN_EXE_handover-agent"), "run", "--config"])
        .arg(config)
        .env_remove("HANDOVER_LOG")
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn all_mistakes_come_at_once_each_with_line_caret_reason_and_what_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    let text = "server = \"handover.example.org\"\nnme = \"web-1\"\naddress = \"\"\nstate = \"state\"\nruntime = /run\nmetrics = 7445\n";
    std::fs::write(&path, text).unwrap();
    let (code, said) = run(&path);
    assert_eq!(code, Some(1), "{said}");
    let said = said.replace(&folder.path().display().to_string(), "");
    let expected = "\
error: /agent.toml has 6 mistakes
/agent.toml:1:10: server: \"handover.example.org\" is no server address: expected HOST:PORT, with a DNS name, an IPv4 address or an IPv6 address in brackets, and a port from 1 to 65535
  1 | server = \"handover.example.org\"
    |          ^^^^^^^^^^^^^^^^^^^^^^

/agent.toml:2:1: nme: unknown key
  2 | nme = \"web-1\"
    | ^^^ did you mean \"name\"?

/agent.toml:3:11: address: is no address of a host: expected an IP address or a name of 1 to 255 characters
  3 | address = \"\"
    |           ^^

/agent.toml:4:9: state: \"state\" is no absolute path: expected one that begins with \"/\"
  4 | state = \"state\"
    |         ^^^^^^^

/agent.toml:5:11: string values must be quoted, expected literal string
  5 | runtime = /run
    |           ^^^^

/agent.toml:6:11: metrics: expected a string, found an integer
  6 | metrics = 7445
    |           ^^^^
";
    assert_eq!(said, expected);
}

#[test]
fn what_is_missing_is_shown_with_an_example() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    std::fs::write(&path, "").unwrap();
    let (code, said) = run(&path);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("name: is missing\n  = write it like this: name = \"web-1\""), "{said}");
}

#[test]
fn what_is_no_configuration_is_refused_quickly() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let utf16: Vec<u8> = "name = \"a\"".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(path("large"), vec![b'#'; 10 << 20]).unwrap();
    std::fs::write(path("binary"), b"\x7fELF\x02\x01\x01\0\0").unwrap();
    std::fs::write(path("utf16"), utf16).unwrap();
    assert!(Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
    for (name, words) in [
        ("large", "has 10485760 bytes, more than the 65536 that are read"),
        ("binary", "this is no text but binary data"),
        ("utf16", "the configuration is in UTF-16 (little endian), not in UTF-8"),
        ("fifo", "is a fifo, not a file"),
        ("nowhere", "`handover-agent join` writes it"),
    ] {
        let (code, said) = run(&path(name));
        assert_eq!(code, Some(1), "{name}: {said}");
        assert!(said.contains(words), "{name}: {words:?} is not in:\n{said}");
    }
}
