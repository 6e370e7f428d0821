//! The quick start of the README, typed, and its program, deployed.

use handover_tests::{
    fleet::Fleet,
    markdown::Document,
    process::{Running, binary},
    repository,
    session::Session,
    shell,
};
use std::{fs, path::Path, process::Command, time::Duration};

#[test]
fn the_quick_start_does_what_it_says() {
    if !Path::new("/usr/bin/node").exists() {
        println!("SKIPPED: the quick start's program is the Node.js example, and /usr/bin/node is missing");
        return;
    }
    let programs = Path::new(env!("CARGO_BIN_EXE_load")).parent().unwrap().to_owned();
    let home = tempfile::tempdir().unwrap();
    // The test runs the programs that it was built with.
    let typed = shell::typed(&Document::read("README.md").script("Quick start"));
    let typed: Vec<String> = typed.into_iter().filter(|line| !Session::leaves_out(line)).collect();
    let script = typed.join("\n").replace("$PWD/target/release", programs.to_str().unwrap());
    let output = Command::new("timeout")
        .args(["--kill-after=5", "120", "bash", "-eu", "-c", &script])
        .current_dir(repository::root())
        .env("TMPDIR", home.path())
        .env("HANDOVER_SERVER_CONFIG", handover_tests::fleet::without_settings(home.path()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    assert!(output.status.success(), "the quick start ended with {}", output.status);
    for words in [
        "web 1.1.0: succeeded",
        "web 1.2.0: rolled back",
        "exit code 3",
        "hello from 1.1.0",
        "hello from 1.0.0",
    ] {
        assert!(said.contains(words), "{words:?} was not said");
    }
    // What the load generator counted; it ends with 1 where one request failed, and so would the script.
    assert!(said.contains("requests, keep-alive"), "no load was seen");
}

#[test]
fn the_readmes_own_program_is_replaced_under_load() {
    if !Path::new("/usr/bin/python3").exists() {
        println!("SKIPPED: the README's program is Python, and /usr/bin/python3 is missing");
        return;
    }
    let fleet = Fleet::of(1);
    let document = Document::read("README.md");
    let block = |language: &str| {
        let mut blocks = document.blocks.iter().filter(|block| block.section == "Your own program");
        blocks
            .find(|block| block.language.as_deref() == Some(language))
            .expect("the block is there")
            .text
            .clone()
    };
    let folder = fleet.path("hello");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("hello.py"), block("python")).unwrap();
    let deploy = |version: &str| {
        // Nobody needs to wait for the usual bake.
        let manifest = block("toml").replace("1.0.0", version) + "\n[rollout]\nbake = \"1s\"\n";
        fs::write(folder.join("handover.toml"), manifest).unwrap();
        fleet.cli().run(["check", folder.to_str().unwrap()]).expect(0);
        fleet.cli().run(["release", "push", folder.to_str().unwrap(), "--version", version]).expect(0);
        fleet.cli().run(["deploy", "hello", "--version", version, "--yes"]).expect(0);
    };
    deploy("1.0.0");
    let target = format!("{}:8081", fleet.agents[0].address);
    let words = ["--target", &target, "--one-per-request", "8", "--rate", "200"];
    let mut load = Running::start(fleet.folder.path(), "load", binary("load"), words);
    deploy("1.1.0");
    let answer = Command::new("curl").args(["-s", &format!("http://{target}/")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "hello from 1.1.0\n");
    let ended = load.terminate(Duration::from_secs(30));
    // It ends with 1 where a request failed.
    assert!(ended.success(), "{}", load.stdout());
    assert!(load.stdout().contains("requests, one connection per request"), "{}", load.stdout());
}
