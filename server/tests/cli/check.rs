//! `handover check`.

use crate::program::{Here, is_as_in};
use std::{os::unix::net::UnixListener, path::Path, process::Command};

const GOOD: &str = "service = \"web\"\ncommand = [\"bin/web\"]\n";

/// One mistake of every sort.
const BAD: &str = r#"servise = "web"
command = "bin/web"
usr = "www-data"

[environment]
NOTIFY_SOCKET = "/run/x"
ZONE = "{label zone}"

[listeners]
HTTP = "localhost:80"
admin = { address = "{host.adress}:9090", backlog = 0, handof = "inherit" }

[readiness]
kind = "htttp"

[liveness]
kind = "tcp"
listener = "admn"
path = "/live"

[drain]
signal = "TERM"
deadline = 30

[limits]
memory = "512MB"
cpu = 150
batch = 2

[rollout]
batch = "120%"
on_failure = "roll-back"
"#;

#[test]
fn a_good_manifest_is_good() {
    let here = Here::new();
    here.write("handover.toml", GOOD).write("bin/web", "");
    let ended = here.run(&["check"]).expect(0);
    assert_eq!(ended.stdout, "handover.toml: good, a manifest of service web\n");
    let json = here.run(&["check", ".", "--json"]).expect(0).json();
    assert_eq!((&json["valid"], &json["service"]), (&true.into(), &"web".into()));
    assert_eq!(json["mistakes"].as_array().map(Vec::len), Some(0));
}

#[test]
fn the_manifests_of_the_examples_are_good() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut checked = 0;
    for example in std::fs::read_dir(examples).unwrap() {
        let manifest = example.unwrap().path().join("handover.toml");
        if manifest.is_file() {
            Here::new().run(&["check", manifest.to_str().unwrap()]).expect(0);
            checked += 1;
        }
    }
    assert!(checked > 0, "there are no examples");
}

#[test]
fn a_program_that_is_not_there_yet_is_noted() {
    let here = Here::new();
    here.write("handover.toml", GOOD);
    let ended = here.run(&["check"]).expect(0);
    assert!(ended.stdout.contains("note: bin/web is not in the folder yet"), "{}", ended.stdout);
}

#[test]
fn all_mistakes_come_at_once_each_with_line_caret_reason_and_what_was_meant() {
    let here = Here::new();
    here.write("shop/handover.toml", BAD);
    let ended = here.run(&["check", "shop"]).expect(1);
    assert_eq!(ended.stderr, "");
    is_as_in("mistakes.txt", &ended.stdout);
    assert_eq!(here.run(&["check", "shop/handover.toml"]).expect(1).stdout, ended.stdout, "folder and file");
    let json = here.run(&["check", "shop", "--json"]).expect(1).json();
    let mistakes = json["mistakes"].as_array().unwrap();
    assert!(ended.stdout.ends_with(&format!("{} mistakes\n", mistakes.len())), "{}", ended.stdout);
    let lines: Vec<&str> = BAD.lines().collect();
    for mistake in mistakes.iter().filter(|mistake| !mistake["source"].is_null()) {
        let line = usize::try_from(mistake["line"].as_u64().unwrap()).unwrap();
        assert_eq!(mistake["source"], lines[line - 1], "{mistake}");
    }
}

#[test]
fn mistakes_of_syntax_have_their_place_too() {
    let here = Here::new();
    here.write("handover.toml", "service = web\ncommand = [\"bin/web\"\n[drain\n");
    is_as_in("syntax.txt", &here.run(&["check"]).expect(1).stdout);
}

#[test]
fn what_is_no_manifest_is_refused_quickly() {
    let here = Here::new();
    let utf16 = |big: bool, mark: bool| -> Vec<u8> {
        let text = format!("{}{GOOD}", if mark { "\u{feff}" } else { "" });
        text.encode_utf16()
            .flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() })
            .collect()
    };
    std::fs::create_dir(here.path("folder")).unwrap();
    std::fs::create_dir_all(here.path("nested/handover.toml")).unwrap();
    assert!(Command::new("mkfifo").arg(here.path("fifo")).status().unwrap().success());
    let _socket = UnixListener::bind(here.path("socket")).unwrap();
    here.write("large", vec![b'#'; 10 << 20])
        .write("binary", b"\x7fELF\x02\x01\x01\0\0\0\0")
        .write("little", utf16(false, true))
        .write("big", utf16(true, true))
        .write("without-mark", utf16(false, false))
        .write("latin", b"service = \"web\"\nuser = \"m\xfcller\"\n".as_slice())
        .write("empty", "");
    for (name, words) in [
        ("large", "has 10485760 bytes, more than the 65536 that are read"),
        ("binary", "this is no text but binary data"),
        ("little", "is in UTF-16 (it begins with a byte order mark), not in UTF-8"),
        ("big", "convert it: iconv -f UTF-16 -t UTF-8 OLD > NEW"),
        ("without-mark", "convert it: iconv -f UTF-16LE -t UTF-8 OLD > NEW"),
        ("latin", "latin:2:10: the manifest is not UTF-8: byte 25 (0xfc) belongs to no character"),
        ("folder", "folder/handover.toml"),
        ("nested", "nested/handover.toml: is a folder, not a file"),
        ("fifo", "fifo: is a fifo, not a file"),
        ("socket", "socket: is a socket, not a file"),
        ("/dev/zero", "/dev/zero: is a device, not a file"),
        ("empty", "service: is missing"),
        ("nowhere", "cannot read nowhere"),
    ] {
        let ended = here.run(&["check", name]).expect(1);
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(said.contains(words), "{name}: {words:?} is not in:\n{said}");
    }
    let json = here.run(&["check", "fifo", "--json"]).expect(1).json();
    assert_eq!(json["mistakes"][0]["message"], "is a fifo, not a file");
}

#[test]
fn words_that_make_no_sense_are_exit_code_2() {
    let here = Here::new();
    here.run(&["check", "--strict"]).expect(2);
    here.run(&["check", "a", "b"]).expect(2);
}
