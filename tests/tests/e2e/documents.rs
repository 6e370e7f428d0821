//! The quick start of the README, typed, and its program, deployed.

use handover_skips::Lack;
use handover_tests::{
    fleet::without_settings, markdown::Document, network, process::binary, repository, session::Session,
    shell,
};
use std::path::Path;

#[test]
fn the_quick_start_does_what_it_says() {
    if !Path::new("/usr/bin/node").exists() {
        return Lack::Program { name: "/usr/bin/node", package: "nodejs" }.skips("the quick start's program");
    }
    let programs = binary("load").parent().unwrap().to_owned();
    let home = tempfile::tempdir().unwrap();
    // The test runs the programs that it was built with.
    let typed = shell::typed(&Document::read("README.md").script("Quick start"));
    let typed: Vec<String> = typed.into_iter().filter(|line| !Session::leaves_out(line)).collect();
    let script = typed.join("\n").replace("$PWD/target/release", programs.to_str().unwrap());
    // Its ports are everybody's: in a network of its own they are free.
    let output = network::alone(&["timeout", "--kill-after=5", "120", "bash", "-eu", "-c", &script])
        .current_dir(repository::root())
        .env("TMPDIR", home.path())
        .env("HANDOVER_SERVER_CONFIG", without_settings(home.path()))
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
