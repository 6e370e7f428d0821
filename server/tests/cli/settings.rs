//! `server.toml`: what the server takes from it, what it says of mistakes, and `handover server --print-config`.

use crate::program::{Ended, Here, is_as_in};
use handover_skips::Lack;
use std::process::Command;

const FILE: &str = "\
# A server of everyday.
data = \"/srv/handover\"
listen = \"[::]:8443\"
fleet = \"prod\"
admin_group = \"operators\"

agent_certificate_life = \"7d\"
metrics = \"off\"
log_format = \"json\"
";

/// One mistake of every sort.
const BAD: &str = "\
lisen = \"0.0.0.0:7443\"
data = \"handover\"
unix = 5
fleet = \"My Fleet\"
address = \"handover.example.org\"
agent_certificate_life = \"1w\"
server_certificate_life = 400d
metrics = \"localhost:7444\"
log_format = \"jsn\"
[limits]
";

fn settings(here: &Here, words: &[&str]) -> Vec<serde_json::Value> {
    let words = [&["server", "--print-config", "--json", "--config", "server.toml"], words].concat();
    let shown = here.run(&words).expect(0).stdout;
    shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn is(rows: &[serde_json::Value], key: &str, value: &str, source: &str, detail: &str) {
    let row = rows.iter().find(|row| row["setting"] == key).unwrap();
    let found = ["value", "source", "detail"].map(|column| row[column].as_str().unwrap_or("null"));
    assert_eq!(found, [value, source, detail], "{key}");
}

#[test]
fn each_setting_says_its_value_and_who_said_so() {
    let here = Here::new().env("HANDOVER_METRICS", "127.0.0.1:9000").env("HANDOVER_UNIX", "/env.sock");
    here.write("server.toml", FILE);
    let rows = settings(&here, &["--fleet", "flagged", "--unix", "/flag.sock"]);
    is(&rows, "data", "/srv/handover", "file", "server.toml:2");
    is(&rows, "listen", "[::]:8443", "file", "server.toml:3");
    is(&rows, "unix", "/flag.sock", "flag", "--unix");
    is(&rows, "admin_group", "operators", "file", "server.toml:5");
    is(&rows, "fleet", "flagged", "flag", "--fleet");
    is(&rows, "address", "null", "default", "");
    is(&rows, "agent_certificate_life", "7d", "file", "server.toml:7");
    is(&rows, "server_certificate_life", "90d", "default", "");
    is(&rows, "metrics", "127.0.0.1:9000", "environment", "HANDOVER_METRICS");
    is(&rows, "log_format", "json", "file", "server.toml:9");
    is(&rows, "file", "server.toml", "flag", "--config");
    assert_eq!(rows.len(), 16);
    let plain = here.run(&["server", "--print-config", "--config", "server.toml"]).expect(0).stdout;
    assert!(
        plain.lines().any(|line| line.starts_with("listen") && line.contains("file server.toml:3")),
        "{plain}"
    );
    assert!(plain.contains("(the address of listen, or this machine's name"), "{plain}");
}

#[test]
fn every_setting_goes_by_flag_then_environment_then_file_then_default() {
    let page = Here::new().run(&["schema", "--reference"]).expect(0).stdout;
    let values = [
        ("data", ["/a", "/b", "/c"]),
        ("listen", ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]),
        ("unix", ["/a", "/b", "/c"]),
        ("admin_group", ["a", "b", "c"]),
        ("fleet", ["a", "b", "c"]),
        ("address", ["a:1", "b:1", "c:1"]),
        ("agent_certificate_life", ["1d", "2d", "3d"]),
        ("server_certificate_life", ["1h", "2h", "3h"]),
        ("metrics", ["off", "127.0.0.1:2", "127.0.0.1:3"]),
        ("prometheus", ["http://a", "http://b:9090", "https://c/prometheus"]),
        ("prometheus_token_file", ["/a", "/b", "/c"]),
        ("prometheus_ca_file", ["/a", "/b", "/c"]),
        ("log_format", ["text", "json", "journald"]),
        ("ca_certificate", ["/a", "/b", "/c"]),
        ("ca_key", ["/a", "/b", "/c"]),
    ];
    let rows = page.lines().filter(|line| line.contains("| `HANDOVER_") && line.contains("| `--")).count();
    assert_eq!(values.len(), rows, "a setting is missing here");
    let both: String = values.iter().map(|(key, [_, _, file])| format!("{key} = {file:?}\n")).collect();
    for (key, [flagged, from_environment, from_file]) in values {
        let flag = format!("--{}", key.replace('_', "-"));
        let variable = format!("HANDOVER_{}", key.to_uppercase());
        let here = Here::new();
        here.write("server.toml", &both);
        let line = both.lines().position(|line| line.starts_with(&format!("{key} ="))).unwrap() + 1;
        is(&settings(&here, &[]), key, from_file, "file", &format!("server.toml:{line}"));
        let here = here.env(&variable, from_environment);
        is(&settings(&here, &[]), key, from_environment, "environment", &variable);
        is(&settings(&here, &[&flag, flagged]), key, flagged, "flag", &flag);
    }
}

#[test]
fn all_mistakes_come_at_once_each_with_line_caret_reason_and_what_was_meant() {
    let here = Here::new();
    here.write("etc/server.toml", BAD);
    let ended = here.run(&["server", "--config", "etc/server.toml"]).expect(1);
    assert_eq!(ended.stdout, "");
    is_as_in("server_mistakes.txt", &ended.stderr);
    let printed = here.run(&["server", "--print-config", "--config", "etc/server.toml"]).expect(1);
    assert_eq!(printed.stderr, ended.stderr);
    let here = here.env("HANDOVER_SERVER_CONFIG", "etc/server.toml");
    assert_eq!(here.run(&["server"]).expect(1).stderr, ended.stderr);
}

#[test]
fn what_is_no_configuration_is_refused_quickly() {
    let here = Here::new();
    let utf16: Vec<u8> = FILE.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(Command::new("mkfifo").arg(here.path("fifo")).status().unwrap().success());
    here.write("large", vec![b'#'; 10 << 20])
        .write("binary", b"\x7fELF\x02\x01\x01\0\0")
        .write("utf16", utf16);
    for (name, words) in [
        ("large", "large: has 10485760 bytes, more than the 65536 that are read"),
        ("binary", "this is no text but binary data"),
        ("utf16", "the configuration is in UTF-16 (little endian), not in UTF-8"),
        ("fifo", "fifo: is a fifo, not a file"),
        ("/dev/zero", "/dev/zero: is a device, not a file"),
        ("nowhere", "cannot read nowhere"),
    ] {
        let ended = here.run(&["server", "--config", name]).expect(1);
        assert!(ended.stderr.contains(words), "{name}: {words:?} is not in:\n{}", ended.stderr);
    }
}

#[test]
fn half_a_ca_is_exit_code_2_and_its_halves_may_be_said_in_two_places() {
    let here = Here::new();
    here.write("server.toml", "ca_key = \"/k.pem\"\n");
    let ended = here.run(&["server", "--config", "server.toml"]).expect(2);
    let words = "ca_key (--ca-key, HANDOVER_CA_KEY) is given but ca_certificate (--ca-certificate, HANDOVER_CA_CERTIFICATE) is not";
    assert!(ended.stderr.contains(words), "{}", ended.stderr);
    let rows = settings(&here, &["--ca-certificate", "/c.pem"]);
    is(&rows, "ca_certificate", "/c.pem", "flag", "--ca-certificate");
    is(&rows, "ca_key", "/k.pem", "file", "server.toml:1");
}

/// Runs `handover server --print-config` where `/etc` is a folder of the test's own; `None` where that cannot be made.
fn with_own_etc(preparing: &str) -> Option<Ended> {
    let program = env!("CARGO_BIN_EXE_handover");
    let script =
        format!("mount -t tmpfs none /etc && {preparing} exec {program} server --print-config --json");
    let output = Command::new("unshare").args(["--mount", "sh", "-c", &script]).env_clear().output().ok()?;
    let stderr = String::from_utf8(output.stderr).unwrap();
    if stderr.contains("unshare: ") || stderr.contains("mount: ") {
        Lack::MountNamespace.skips(&format!("a folder of its own cannot be mounted ({stderr})"));
        return None;
    }
    let stdout = String::from_utf8(output.stdout).unwrap();
    Some(Ended { code: output.status.code().unwrap_or(-1), stdout, stderr })
}

#[test]
fn the_file_at_its_usual_place_is_read_where_it_is_there() {
    let rows = |ended: Ended| -> Vec<serde_json::Value> {
        ended.expect(0).stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let Some(without) = with_own_etc("") else { return };
    let without = rows(without);
    is(&without, "fleet", "fleet", "default", "");
    is(&without, "file", "/etc/handover/server.toml", "default", "");
    assert_eq!(without.last().unwrap()["used"], false);
    let there = "mkdir /etc/handover && echo 'fleet = \"prod\"' >/etc/handover/server.toml &&";
    let with = rows(with_own_etc(there).unwrap());
    is(&with, "fleet", "prod", "file", "/etc/handover/server.toml:1");
    assert_eq!(with.last().unwrap()["used"], true);
}
