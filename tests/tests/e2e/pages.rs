//! Commands of the README and of the pages for operators, given to a real fleet in the situation that the page is about.

use handover_tests::{
    fleet::{Agent, Done, Fleet, Sample, Traffic, UP},
    markdown::Document,
    process::{Running, wait_until},
    shell,
};
use nix::sys::signal::Signal;
use std::net::TcpListener;

/// A page, and what its placeholders stand for in this test.
struct Page<'a> {
    fleet: &'a Fleet,
    document: Document,
    names: Vec<(String, String)>,
}

impl<'a> Page<'a> {
    fn of(fleet: &'a Fleet, path: &str) -> Self {
        Self { fleet, document: Document::read(path), names: Vec::new() }
    }

    /// With something for a placeholder, or for a path or address of somebody else's machine.
    fn with(mut self, name: &str, stands_for: impl AsRef<std::path::Path>) -> Self {
        self.names.push((name.to_owned(), stands_for.as_ref().to_str().unwrap().to_owned()));
        self
    }

    /// The words of a command that stands on the page.
    #[track_caller]
    fn words(&self, command: &str) -> Vec<String> {
        let blocks = self.document.blocks.iter().map(|block| block.text.as_str());
        let spans = self.document.spans.iter().map(|span| span.text.as_str());
        let told = shell::commands(command).remove(0);
        let is_told = blocks.chain(spans).any(|text| shell::commands(text).contains(&told));
        assert!(is_told && told.program == "handover", "{} does not tell {command:?}", self.document.path);
        let filled = |word: String| match self.names.iter().find(|(name, _)| *name == word) {
            Some((_, stands_for)) => stands_for.clone(),
            None => self.names.iter().fold(word, |word, (name, stands_for)| {
                // A placeholder in capitals is a word of its own.
                if name.contains(['/', ':']) { word.replace(name, stands_for) } else { word }
            }),
        };
        told.words.into_iter().map(filled).collect()
    }

    /// Runs a command of the page, with more words behind it; it must end so and say so.
    #[track_caller]
    fn run(&self, command: &str, more: &[&str], code: i32, said: &str) -> Done {
        let words = self.words(command).into_iter().chain(more.iter().map(|word| (*word).to_owned()));
        let mut command = self.fleet.cli().command(words);
        command.current_dir(self.fleet.folder.path()).env("HOME", self.fleet.folder.path());
        command.env_remove("XDG_CONFIG_HOME");
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let done = Done {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        };
        let done = done.expect(code);
        assert!(done.stdout.contains(said) || done.stderr.contains(said), "{said:?} was not said:\n{done:?}");
        done
    }

    /// Runs a command that goes on until it is interrupted, once it has shown this.
    #[track_caller]
    fn follow(&self, command: &str, shows: &str) {
        let told = self.fleet.cli().command(self.words(command));
        let mut following = Running::start_command(self.fleet.folder.path(), "following", told);
        wait_until(UP, &format!("{command} to show {shows:?}"), || following.stdout().contains(shows));
        following.signal(Signal::SIGINT);
        assert_eq!(following.wait(UP).code(), Some(130), "{command}: {}", following.stderr());
    }
}

/// A fleet on v1, in a release that wrote something.
fn on_v1(hosts: usize) -> Fleet {
    let fleet = Fleet::of(hosts);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    fleet
}

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
    let events = fleet.cli().command(readme.words("handover events -f"));
    let mut events = Running::start_command(fleet.folder.path(), "events", events);
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
    std::fs::remove_dir_all(&own).unwrap();
    std::fs::rename(fleet.path("restored"), &own).unwrap();
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
fn what_operations_tells_of_a_fleet_at_rest_is_so() {
    let fleet = on_v1(1);
    let page = Page::of(&fleet, "docs/operations.md")
        .with("SERVICE", "web")
        .with("VERSION", "v1")
        .with("HOST", &fleet.agents[0].host);
    page.run("handover config show", &[], 0, "HANDOVER_SOCKET");
    page.run("handover logs SERVICE --release VERSION --host HOST", &[], 0, "web-d1");
    page.run("handover status SERVICE", &[], 0, "service web: v1");
    page.run("handover hosts", &[], 0, "online");
    page.run("handover hosts show HOST", &[], 0, "web-d1");
    page.follow("handover logs SERVICE --host HOST -f", "web-d1");
    page.follow("handover status SERVICE --watch", "service web: v1");
    page.run("handover audit --since 2h", &[], 0, "CreateDeployment");
    page.run("handover events --since 2h", &[], 0, "d1");
    page.run("handover audit verify", &[], 0, "whole: ");
    page.run("handover rollback SERVICE", &["--yes"], 1, "no release before");
    fleet.push(&Sample::new("v2"));
    fleet.deploy("v2").expect(0);
    page.run("handover rollback SERVICE", &["--yes"], 0, "succeeded");
    assert_eq!(fleet.versions(), ["v1"]);
}

#[test]
fn what_operations_tells_of_a_deployment_that_must_stop_is_so() {
    let fleet = on_v1(1);
    fleet.push(&Sample::new("v2").rollout("bake = \"60s\""));
    let page = Page::of(&fleet, "docs/operations.md").with("SERVICE", "web");
    fleet.cli().run(["deploy", "web", "--version", "v2", "--yes", "--detach"]).expect(0);
    fleet.until_version(0, "v2");
    page.run("handover pause SERVICE --reason ...", &[], 0, "d2 is paused");
    page.run("handover status SERVICE", &[], 0, "handover resume web");
    page.run("handover resume SERVICE", &["--detach"], 0, "d2");
    page.run("handover abort SERVICE", &[], 3, "rolled back");
    assert_eq!(fleet.versions(), ["v1"]);
}

#[test]
fn a_host_that_is_gone_for_good_is_removed_and_its_name_given_to_another_as_operations_tells() {
    let mut fleet = on_v1(2);
    let gone = fleet.agents.remove(1);
    let (host, address) = (gone.host.clone(), gone.address);
    // With everything that it ran: the machine is away.
    drop(gone);
    wait_until(UP, "the host to be offline", || {
        fleet.cli().run(["hosts", "show", &host, "--json"]).last()["online"] == false
    });
    fleet.push(&Sample::new("v2").rollout("batch = 2\nbake = \"100ms\"\noffline = \"wait\""));
    let waiting = fleet.cli().command(["deploy", "web", "--version", "v2", "--yes", "--json"]);
    let mut waiting = Running::start_command(fleet.folder.path(), "waiting", waiting);
    wait_until(UP, "the deployment to wait for the host", || {
        waiting.stdout().contains("the host to come online")
    });
    let page = Page::of(&fleet, "docs/operations.md").with("HOST", &host);
    page.run("handover hosts remove HOST", &[], 1, "--force");
    page.run("handover hosts remove HOST", &["--force"], 0, "is removed");
    assert_eq!(waiting.wait(UP).code(), Some(0), "{}", waiting.stdout());
    let server = fleet.server.address();
    let token = page.run("handover token create --host HOST", &["--address", &server], 0, "").stdout;
    let agent = Agent::join(&host, address, &fleet.path("host-new"), token.trim(), "zone=b");
    fleet.agents.push(agent);
    fleet.online(2);
    fleet.until_versions(&["v2", "v2"]);
}

#[test]
fn the_steps_of_upgrading_touch_nothing_that_runs() {
    let mut fleet = on_v1(2);
    let traffic = Traffic::on(&fleet);
    let backup = fleet.path("before.backup");
    Page::of(&fleet, "docs/upgrading.md").with("FILE", &backup).run(
        "handover server backup FILE",
        &[],
        0,
        "before.backup",
    );
    let before: Vec<Vec<i32>> = fleet.agents.iter().map(Agent::pids).collect();
    fleet.server.restart();
    fleet.online(2);
    for agent in &mut fleet.agents {
        agent.start();
    }
    fleet.online(2);
    let page = Page::of(&fleet, "docs/upgrading.md");
    page.run("handover hosts", &[], 0, "online");
    assert_eq!(
        fleet.agents.iter().map(Agent::pids).collect::<Vec<_>>(),
        before,
        "an instance was started again"
    );
    // And the way back.
    let data = fleet.path("restored");
    let restored =
        fleet.cli().run(["server", "restore", backup.to_str().unwrap(), "--data", data.to_str().unwrap()]);
    restored.expect(0);
    traffic.stop().assert_no_failures();
}
