//! What README and docs tell people to type, typed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The `sh` blocks of one section of a document, in order.
fn blocks(document: &str, section: &str) -> String {
    let text = fs::read_to_string(root().join(document)).unwrap();
    let section = text.split_once(&format!("\n## {section}\n")).expect("the section is there").1;
    let section = section.split("\n## ").next().unwrap();
    let mut script = String::new();
    let mut inside = false;
    for line in section.lines() {
        match (inside, line.trim_end()) {
            (false, "```sh") => inside = true,
            (true, "```") => inside = false,
            // The test runs the programs that it was built with.
            (true, line) if line.starts_with("cargo build") => {}
            (true, line) => {
                script.push_str(line);
                script.push('\n');
            }
            (false, _) => {}
        }
    }
    assert!(script.lines().count() > 5, "nothing to run in {document}, {section:.100}");
    script
}

#[test]
fn the_quick_start_does_what_it_says() {
    if !Path::new("/usr/bin/node").exists() {
        println!("SKIPPED: the quick start's program is the Node.js example, and /usr/bin/node is missing");
        return;
    }
    let programs = Path::new(env!("CARGO_BIN_EXE_load")).parent().unwrap().to_owned();
    let home = tempfile::tempdir().unwrap();
    let script =
        blocks("README.md", "Quick start").replace("$PWD/target/release", programs.to_str().unwrap());
    let output = Command::new("timeout")
        .args(["--kill-after=5", "120", "bash", "-eu", "-c", &script])
        .current_dir(root())
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
