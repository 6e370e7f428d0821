//! The examples of the manual, each as it stands there: real programs of other languages, replaced under load.

use handover_skips::Lack;
use handover_tests::fleet::{Fleet, Traffic};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The folder of an example.
fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

/// Whether a program is there; where it is not, the test says that it is skipped, and which package brings it.
fn there(name: &'static str, package: &'static str) -> bool {
    let there = Path::new(name).exists();
    if !there {
        Lack::Program { name, package }.skips("an example");
    }
    there
}

/// Copies the example with its version replaced, and a bake that a test can wait for: nothing else of it is changed.
fn copy(name: &str, version: &str, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(example(name)).unwrap().map(Result::unwrap) {
        let text = fs::read_to_string(file.path()).unwrap();
        let text =
            text.replace("\"1.0.0\"", &format!("\"{version}\"")).replace("bake = \"5s\"", "bake = \"300ms\"");
        fs::write(to.join(file.file_name()), text).unwrap();
    }
}

/// Deploys 1.0.0, then 1.1.0 and 1.2.0 while clients keep connections and make new ones: no request fails.
fn is_replaced_without_a_failed_request(name: &str, build: impl Fn(&Path)) {
    let fleet = Fleet::of(1);
    let release = |version: &str| {
        let folder = fleet.path(format!("{name}-{version}"));
        copy(name, version, &folder);
        build(&folder);
        let pushed = ["release", "push", folder.to_str().unwrap(), "--version", version];
        fleet.cli().run(pushed).expect(0);
    };
    release("1.0.0");
    let _ = fleet.deploy("1.0.0").expect(0);
    assert_eq!(fleet.versions(), ["1.0.0"]);
    let traffic = Traffic::paced(&fleet);
    for version in ["1.1.0", "1.2.0"] {
        release(version);
        let _ = fleet.deploy(version).expect(0);
        assert_eq!(fleet.versions(), [version]);
    }
    let seen = traffic.stop();
    println!("{name}\n{seen}");
    seen.assert_no_failures();
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        assert!(seen.first_answer_of(version).is_some(), "{version} answered nobody\n{seen}");
    }
}

#[test]
fn the_node_example_is_replaced_without_a_failed_request() {
    if there("/usr/bin/node", "nodejs") {
        is_replaced_without_a_failed_request("node", |_| {});
    }
}

#[test]
fn the_gunicorn_example_is_replaced_without_a_failed_request() {
    if there("/usr/bin/gunicorn", "gunicorn") {
        is_replaced_without_a_failed_request("gunicorn", |_| {});
    }
}

#[test]
fn the_go_example_is_replaced_without_a_failed_request() {
    if there("/usr/bin/go", "golang-go") {
        is_replaced_without_a_failed_request("go", |folder| {
            let mut build = Command::new("/usr/bin/go");
            build.args(["build", "-o", "bin/web", "main.go"]).current_dir(folder);
            let cache = std::env::temp_dir().join("handover-tests-go-cache");
            build.env("CGO_ENABLED", "0").env("GOCACHE", cache).env("GO111MODULE", "off");
            let built = build.output().unwrap();
            assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        });
    }
}
