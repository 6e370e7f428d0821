//! The README's commands outside of its quick start.

use super::{Page, on_v1};
use handover_skips::Lack;
use handover_tests::{
    fleet::{Fleet, Sample, UP},
    markdown::Document,
    process::wait_until,
};
use nix::sys::signal::Signal;
use std::{fs, net::TcpListener, path::Path, process::Command, time::Duration};

#[test]
fn what_the_readme_names_for_looking_and_holding_does_it() {
    let fleet = on_v1(1);
    let readme = Page::of(&fleet, "README.md");
    readme.run("handover status", &[], 0, "service web: v1");
    readme.run("handover history", &[], 0, "succeeded");
    readme.run("handover explain web", &[], 0, "succeeded: 1 host runs the release");
    readme.run("handover hosts", &[], 0, &fleet.agents[0].host);
    readme.follow("handover logs web -f", "web-d1");
    fleet.push(&Sample::new("v2").rollout("bake = \"60s\""));
    let mut events = readme.begin("handover events -f", &[]);
    wait_until(UP, "what happened before", || events.stdout().contains("deployment_succeeded d1"));
    fleet.cli().run(["deploy", "web", "--version", "v2", "--yes", "--detach"]).expect(0);
    fleet.until_version(0, "v2");
    wait_until(UP, "what happens now", || events.stdout().contains("deployment_created d2"));
    events.signal(Signal::SIGINT);
    assert_eq!(events.wait(UP).code(), Some(130));
    readme.run("handover pause web", &[], 0, "d2 is paused");
    readme.run("handover watch web", &[], 4, "paused");
    readme.run("handover lock web --reason \"...\"", &[], 0, "service web is locked");
    readme.run("handover abort web", &[], 3, "rolled back");
    assert_eq!(fleet.versions(), ["v1"]);
}

#[test]
fn what_the_readme_names_for_hosts_that_failed_does_it() {
    let fleet = Fleet::of(2);
    let taken = TcpListener::bind(fleet.addresses()[1]).unwrap();
    fleet.push(&Sample::new("v1").rollout("on_failure = \"pause\"\nbake = \"100ms\""));
    fleet.deploy("v1").expect(4);
    let readme = Page::of(&fleet, "README.md");
    wait_until(UP, "the host to be back", || {
        fleet.cli().run(["status", "web", "--json"]).last()["course"]["hosts"][1]["state"] == "returned"
    });
    drop(taken);
    readme.run("handover retry web", &[], 4, "another attempt");
    readme.run("handover resume web", &[], 0, "succeeded");
    assert_eq!(fleet.versions(), ["v1", "v1"]);
}

#[test]
fn the_readmes_backup_is_taken_restored_and_checked() {
    let mut fleet = on_v1(1);
    let backup = fleet.path("fleet.backup");
    Page::of(&fleet, "README.md").with("/backup/fleet.backup", &backup).run(
        "handover server backup /backup/fleet.backup",
        &[],
        0,
        "fleet.backup",
    );
    fleet.server.kill();
    let own = fleet.path("server");
    Page::of(&fleet, "README.md").with("/var/lib/handover-server", &own).run(
        "handover server fsck --data /var/lib/handover-server --bundles",
        &[],
        0,
        "nothing is wrong",
    );
    Page::of(&fleet, "README.md")
        .with("/backup/fleet.backup", &backup)
        .with("/var/lib/handover-server", fleet.path("restored"))
        .run(
            "handover server restore /backup/fleet.backup --data /var/lib/handover-server",
            &[],
            0,
            "restored",
        );
    // What was restored is the fleet, and its agent takes it for its server.
    fs::remove_dir_all(&own).unwrap();
    fs::rename(fleet.path("restored"), &own).unwrap();
    fleet.server.restart();
    fleet.online(1);
    Page::of(&fleet, "README.md").run("handover status", &[], 0, "service web: v1");
    assert_eq!(fleet.versions(), ["v1"]);
}

#[test]
fn the_readmes_operator_works_from_another_machine() {
    let fleet = on_v1(1);
    let readme = Page::of(&fleet, "README.md").with("handover.example.org:7443", fleet.server.address());
    readme.run("handover operator create ada --role deployer --service web --out ada", &[], 0, "ada");
    readme.run(
        "handover --server handover.example.org:7443 --identity ada status",
        &[],
        0,
        "service web: v1",
    );
    readme.run(
        "handover context add prod --server handover.example.org:7443 --identity ada",
        &[],
        0,
        "context prod",
    );
    readme.run("handover status", &["--context", "prod"], 0, "service web: v1");
}

#[test]
fn what_the_readme_names_for_hosts_folders_and_packages_does_it() {
    let fleet = Fleet::with_server();
    let token = fleet.cli().run(["token", "create", "--address", &fleet.server.address()]).expect(0).stdout;
    let folder = fleet.path("own");
    fs::create_dir_all(folder.join("bin")).unwrap();
    fs::write(folder.join("bin/web"), "#!/bin/sh\n").unwrap();
    fs::write(folder.join("Procfile"), "web: bin/web\n").unwrap();
    let readme = Page::of(&fleet, "README.md").with("TOKEN", token.trim()).with("DIR", &folder);
    let state = fleet.path("state");
    let own = ["--config", "/nowhere/agent.toml", "--state", state.to_str().unwrap()];
    readme.run("handover-agent doctor --token TOKEN", &own, 0, "certificate of the fleet's CA");
    readme.run("handover init DIR", &[], 0, "handover.toml");
    readme.run("handover check DIR", &[], 0, "");
    readme.run("handover server --print-config", &[], 0, "server.toml");
    fs::create_dir(fleet.path("man")).unwrap();
    Page::of(&fleet, "README.md").with("DIR", fleet.path("man")).run("handover man DIR", &[], 0, "");
    assert!(fleet.path("man/handover.1").is_file());
    Page::of(&fleet, "README.md").run("handover completions bash", &[], 0, "complete -F");
}

#[test]
fn the_readmes_own_program_is_replaced_under_load() {
    if !Path::new("/usr/bin/python3").exists() {
        return Lack::Program { name: "/usr/bin/python3", package: "python3" }.skips("the README's program");
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
        let readme = Page::of(&fleet, "README.md").with("1.0.0", version);
        readme.run("handover check hello", &[], 0, "");
        readme.run("handover release push hello --version 1.0.0", &[], 0, version);
        readme.run("handover deploy hello --version 1.0.0 --yes", &[], 0, "succeeded");
    };
    deploy("1.0.0");
    let target = format!("{}:8081", fleet.agents[0].address);
    let readme = Page::of(&fleet, "README.md").with("127.0.0.1:8081", &target);
    let mut load = readme.begin("load --target 127.0.0.1:8081 --one-per-request 8 --rate 200", &[]);
    deploy("1.1.0");
    let answer = Command::new("curl").args(["-s", &format!("http://{target}/")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "hello from 1.1.0\n");
    let ended = load.terminate(Duration::from_secs(30));
    // It ends with 1 where a request failed.
    assert!(ended.success(), "{}", load.stdout());
    assert!(load.stdout().contains("requests, one connection per request"), "{}", load.stdout());
}
