//! `handover judge replay`.

use crate::program::{Here, is_as_in};
use serde_json::Value;

/// One block of the baseline alone, then six errors of 60 requests against none of 540.
const WATCHED: &str =
    "block,canary_requests,canary_bad,baseline_requests,baseline_bad\n1,0,0,540,0\n2,60,6,540,0\n";

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("{name} of {value}"))
}

fn is_near(value: f64, figure: f64) {
    assert!((value / figure - 1.0).abs() < 1e-9, "{value} is not {figure}");
}

#[test]
fn six_errors_of_60_against_none_of_540_fail_and_the_numbers_stand_in_one_line() {
    let here = Here::new();
    here.write("watched.csv", WATCHED);
    is_as_in("replay.txt", &here.run(&["judge", "replay", "watched.csv"]).expect(0).stdout);
    let json = lines(&here.run(&["judge", "replay", "watched.csv", "--json"]).expect(0).stdout);
    assert_eq!((json.len(), &json[0]["was"], &json[1]["verdict"]), (2, &"watched".into(), &"fail".into()));
    assert!((number(&json[1], "e") / 23_600.0 - 1.0).abs() < 0.005, "{}", json[1]);
    is_near(number(&json[1], "ln_e").exp(), number(&json[1], "e"));
    here.write("thirds.csv", "1,20,2,180,0\n2,20,2,180,0\n3,20,2,180,0\n");
    let json = lines(&here.run(&["judge", "replay", "thirds.csv", "--json"]).expect(0).stdout);
    assert!((number(&json[2], "e") / 226.0 - 1.0).abs() < 0.005, "{}", json[2]);
    assert_eq!((&json[1]["verdict"], &json[2]["verdict"]), (&"needs more data".into(), &"fail".into()));
}

#[test]
fn the_test_vectors_are_met_with_fixed_alternatives() {
    let here = Here::new();
    here.write("two.csv", "7,10,2,100,1\n").write("one.csv", "7,1,1,99,0\n");
    for (file, alternatives, r, d, value) in [
        ("two.csv", "0.1,0.01", "1", "0", 18.862_006_230_8),
        ("two.csv", "0.1,0.01", "1.25", "0.002", 11.379_881_197_0),
        ("one.csv", "0.3,0.01", "1.25", "0.002", 21.889_923_516_2),
    ] {
        let args = ["judge", "replay", file, "--alternatives", alternatives, "-r", r, "-d", d, "--json"];
        let json = here.run(&args).expect(0).json();
        is_near(number(&json, "e"), value);
    }
}

#[test]
fn a_good_canary_passes_and_what_it_prints_can_be_replayed() {
    let here = Here::new();
    let rows =
        |canary: &str| -> String { (1..=90).map(|block| format!("{block},{canary},95,1\n")).collect() };
    here.write("good.csv", rows("5,0"));
    let json = here.run(&["judge", "replay", "good.csv", "--json"]).expect(0).stdout;
    let last = lines(&json).pop().unwrap();
    assert_eq!(last["verdict"], "pass");
    assert!(number(&last, "promotion") >= 20.0 && number(&last, "passes_at") > 19.99, "{last}");
    here.write("again.jsonl", &json);
    assert_eq!(here.run_fed(&["judge", "replay", "-", "--json"], "again.jsonl").expect(0).stdout, json);
    let some = lines(&json).swap_remove(20);
    assert_eq!((&some["verdict"], &some["toward"]), (&"needs more data".into(), &"pass".into()));
    assert!(number(&some, "more_canary_requests") > 20.0, "{some}");
}

#[test]
fn a_canary_without_traffic_does_not_pass() {
    let here = Here::new();
    here.write("none.csv", "1,1,0,95,0\n2,0,0,95,0\n3,,,95,0\n4,5,0,,\n");
    let said = here.run(&["judge", "replay", "none.csv"]).expect(0).stdout;
    assert!(said.contains("if this was the deadline: inconclusive: not enough requests"), "{said}");
    assert_eq!(
        said.lines().filter(|line| line.ends_with("skipped")).count(),
        4,
        "three blocks and their sum:\n{said}"
    );
    here.write("watched.csv", "1,0,0,95,0\n");
    let said = here.run(&["judge", "replay", "watched.csv"]).expect(0).stdout;
    assert!(said.contains("inconclusive: no requests that could be compared"), "{said}");
}

#[test]
fn what_cannot_be_replayed_is_told_with_line_and_reason() {
    let here = Here::new();
    here.write("bad.csv", "1,5,0,95,0\n2,5,6,95,0\n")
        .write("latin.csv", b"1,5,0,95,0\n2,5,0,95,\xff\n".as_slice())
        .write("empty.csv", "# nothing\n")
        .write("large.csv", vec![b'#'; (16 << 20) + 1]);
    std::fs::create_dir(here.path("folder")).unwrap();
    for (file, told) in [
        ("bad.csv", "error: bad.csv: line 2: canary: 6 bad requests are more than the 5 requests\n"),
        ("latin.csv", "error: latin.csv: line 2: is not UTF-8 text\n"),
        ("empty.csv", "error: empty.csv: holds no block\n"),
        ("large.csv", "error: large.csv: has 16777217 bytes, more than the 16777216 that are read"),
        ("folder", "error: folder: is a folder, not a file\n"),
        ("nowhere", "error: cannot read nowhere\n"),
    ] {
        let ended = here.run(&["judge", "replay", file]).expect(1);
        assert!(ended.stdout.is_empty() && ended.stderr.starts_with(told), "{file}: {}", ended.stderr);
    }
    let ended = here.run_fed(&["judge", "replay", "-"], "large.csv").expect(1);
    assert!(
        ended.stderr.starts_with("error: standard input: has more than the 16777216 bytes"),
        "{}",
        ended.stderr
    );
}

#[test]
fn settings_that_make_no_sense_are_exit_code_2() {
    let here = Here::new();
    here.write("watched.csv", WATCHED);
    for wrong in [
        ["--alpha", "1"],
        ["--alpha", "nan"],
        ["--d-max", "0.001"],
        ["-r", "0"],
        ["--alternatives", "0.1"],
        ["--cap", "0"],
    ] {
        let ended = here.run(&[&["judge", "replay", "watched.csv"][..], &wrong].concat()).expect(2);
        assert!(ended.stderr.contains("error: "), "{wrong:?}: {}", ended.stderr);
    }
}

/// An hour of a service with one bad request in fifty, evenly.
fn an_hour() -> String {
    (1..=360).map(|block| format!("{block},,,{},{}\n", 180 + block % 40, 3 + block % 3)).collect()
}

#[test]
fn a_release_is_compared_with_itself_by_a_file_and_the_same_seed_finds_the_same() {
    let here = Here::new();
    here.write("hour.csv", an_hour());
    let args = ["judge", "aa", "--file", "hour.csv", "--runs", "60", "--seed", "7"];
    is_as_in("aa.txt", &here.run(&args).expect(0).stdout);
    let json = |more: &[&str]| here.run(&[&args[..], &["--json"], more].concat()).expect(0).json();
    let shown = json(&[]);
    assert_eq!(shown, json(&[]));
    assert_eq!((&shown["blocks"], &shown["runs"], &shown["seed"]), (&360.into(), &60.into(), &7.into()));
    let split = &shown["splits"][0];
    let ended: u64 = ["alarms", "passed", "no_verdict"].iter().map(|end| split[end].as_u64().unwrap()).sum();
    assert!(ended == 60 && split["alarms"].as_u64() <= Some(2), "{split}");
    // What the manifest asks for is what is tried.
    here.write(
        "strict.toml",
        "service = \"web\"\ncommand = [\"web\"]\n[rollout]\nsteps = [\"10%\", \"100%\"]\n[judge]\nmax_errors = \"0.1%\"\n",
    );
    let strict = json(&["--manifest", "strict.toml"]);
    assert_eq!(strict["steps"].as_array().unwrap().len(), 1, "the last step compares nothing");
    // Some have passed before the first hundred requests of their canary were counted.
    assert!(strict["splits"][0]["alarms_by"]["max_errors"].as_u64() >= Some(50), "{strict}");
}

#[test]
fn what_cannot_be_compared_with_itself_is_told() {
    let here = Here::new();
    here.write("idle.csv", "1,,,0,0\n2,,,0,0\n").write("few.csv", "1,,,100,1\n2,,,100,1\n");
    let ended = here.run(&["judge", "aa", "--file", "idle.csv"]).expect(1);
    assert!(ended.stderr.contains("in none of them a request was counted"), "{}", ended.stderr);
    here.write("absurd.csv", "1,,,100,1\n2,,,1000000000001,1\n");
    let ended = here.run(&["judge", "aa", "--file", "absurd.csv"]).expect(1);
    assert!(
        ended.stderr.contains("absurd.csv: line 2: baseline: 1000000000001 requests"),
        "{}",
        ended.stderr
    );
    let told = here.run(&["judge", "aa", "--file", "few.csv", "--runs", "5"]).expect(0).stdout;
    assert!(told.contains("note: that is little data: 2 blocks and 200 requests"), "{told}");
    for wrong in [
        &["judge", "aa"][..],
        &["judge", "aa", "web", "--file", "few.csv"],
        &["judge", "aa", "web", "--runs", "0"],
    ] {
        here.run(wrong).expect(2);
    }
}
