//! kill -9 of the agent, at many points; and the machine's reboot.

use crate::host::{Connection, DRAIN, HTTP, Host, find, kill, until};
use handover_model::{HostReport, InstancePhase, Share};
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

#[tokio::test]
async fn the_agent_dies_and_nobody_notices() {
    let mut host = Host::start();
    let one = host.web("1", "");
    let first = host.serve("web-1", &one).await;
    let (mut kept, mut busy) = (host.connect(), host.connect());
    assert_eq!(kept.get("/"), "1");
    busy.say("/sleep/700");
    host.kill_agent();
    assert_eq!(kept.get("/"), "1");
    assert_eq!(host.ask(), "1");
    host.start_agent();
    host.agent_is_ready().await;
    let again = host.serves("web-1").await;
    assert_eq!((again.pid, again.restarts), (first.pid, 0));
    assert_eq!(kept.get("/"), "1");
    assert_eq!(busy.hear().unwrap(), "1");
    // And it is still the master of the gate.
    let two = host.web("2", "");
    host.serve("web-2", &two).await;
    host.gone("web-1").await;
    assert_eq!(host.ask(), "2");
}

#[tokio::test]
async fn the_agent_dies_while_a_candidate_starts_and_it_is_no_failure() {
    let mut host = Host::start();
    let (one, two) = (host.web("1", ""), host.web("2", "ready_after=1500"));
    host.serve("web-1", &one).await;
    host.order(&[("web-1", &one, 10_000), ("web-2", &two, 0)]);
    let runs = |report: &HostReport| find(report, "web-2").is_some_and(|i| i.pid.is_some());
    let report = host.driver.until("web-2 runs", runs).await;
    let pid = find(&report, "web-2").unwrap().pid;
    host.restart_agent();
    host.agent_is_ready().await;
    let ready = host.phase("web-2", InstancePhase::Ready).await;
    assert_eq!((ready.pid, ready.restarts), (pid, 0));
    assert_eq!(host.ask(), "1");
    host.serve("web-2", &two).await;
    assert_eq!(host.ask(), "2");
}

#[tokio::test]
async fn the_agent_dies_at_any_moment_of_a_start_and_it_is_no_failure() {
    let mut host = Host::start();
    let one = host.web("1", "");
    host.serve("web-1", &one).await;
    let mut last = ("web-1".to_owned(), one);
    for (number, state) in ["fetching", "fetched", "executed", "ready", "emptying"].iter().enumerate() {
        let version = format!("{}", number + 2);
        let (instance, release) = (format!("web-{version}"), host.web(&version, ""));
        host.order(&[(&instance, &release, 10_000)]);
        let (old, new) = (last.0.clone(), instance.clone());
        let folder = host.journal().join("instances");
        until(&format!("the journal says {state}"), || {
            let text =
                |name: &str| fs::read_to_string(folder.join(format!("{name}.json"))).unwrap_or_default();
            text(if *state == "emptying" { &old } else { &new }).contains(state)
        })
        .await;
        host.restart_agent();
        let serves = host.serves(&instance).await;
        assert_eq!(serves.restarts, 0, "killed when {state}");
        host.gone_or_unknown(&old).await;
        assert_eq!(host.ask(), version, "killed when {state}");
        last = (instance, release);
    }
    let history = host.driver.shared.history.lock().unwrap();
    for instance in history.iter().flat_map(|report| report.instances.values()) {
        let calm = !matches!(instance.phase, InstancePhase::BackingOff | InstancePhase::GaveUp);
        assert!(calm, "{instance:?}");
    }
}

#[tokio::test]
async fn the_agent_dies_during_a_transfer_and_goes_on_with_it() {
    let mut host = Host::start();
    host.driver.shared.open.send_replace(false);
    let one = host.web("1", "");
    host.order(&[("web-1", &one, 10_000)]);
    host.driver.asked_for_bundles(1).await;
    host.restart_agent();
    host.driver.asked_for_bundles(2).await;
    host.driver.shared.open.send_replace(true);
    assert_eq!(host.serves("web-1").await.restarts, 0);
}

#[tokio::test]
async fn the_agent_dies_while_one_drains_and_the_signal_comes_once() {
    let mut host = Host::start();
    let manifest = format!("{HTTP}[drain]\ndeadline = \"20s\"\n");
    let (one, two) = (host.release("web", "1", "", &manifest), host.web("2", ""));
    let first = host.serve("web-1", &one).await.pid.unwrap();
    let mut busy = host.connect();
    busy.say("/sleep/2500");
    host.order(&[("web-2", &two, 10_000)]);
    let signalled = || {
        let record = fs::read_to_string(host.journal().join("instances/web-1.json")).unwrap_or_default();
        record.contains("\"signalled\":true")
    };
    until("the signal is written down", signalled).await;
    host.restart_agent();
    host.agent_is_ready().await;
    assert!(Host::alive(first));
    assert_eq!(busy.hear().unwrap(), "1");
    let ledger = host.gone("web-1").await.ledger.unwrap();
    assert!(!ledger.killed, "{ledger:?}");
    assert_eq!(host.output("web-1").matches("SIGTERM").count(), 1);
    assert_eq!(host.ask(), "2");
}

#[tokio::test]
async fn the_agent_dies_while_the_live_one_is_down_and_it_comes_back() {
    let mut host = Host::start();
    let restart = "[restart]\ninitial = \"2s\"\n";
    let one = host.release("web", "1", "", &format!("{HTTP}{DRAIN}{restart}"));
    let first = host.serve("web-1", &one).await.pid.unwrap();
    kill(first);
    host.phase("web-1", InstancePhase::BackingOff).await;
    // Its listening socket was in the agent's hands alone.
    host.restart_agent();
    host.agent_is_ready().await;
    let hidden = |report: &HostReport| find(report, "web-1").is_some_and(|i| i.share.is_hidden());
    host.driver.until("it has no share without a socket", hidden).await;
    let again = host.serves("web-1").await;
    assert_ne!(again.pid, Some(first));
    assert_eq!(host.ask(), "1");
}

#[tokio::test]
async fn systemd_is_told_once_everything_is_taken_over() {
    let mut host = Host::start();
    let one = host.web("1", "");
    host.serve("web-1", &one).await;
    host.kill_agent();
    let path = host.folder.path().join("systemd.sock");
    let systemd = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(crate::host::DEADLINE)).unwrap();
    host.start_agent_with(&[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    let mut said = [0; 512];
    let length = systemd.recv(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said[..length]);
    assert!(said.starts_with("READY=1\nSTATUS=instances: 1 (1 ready, 0 given up); "), "{said}");
    assert_eq!(host.log().matches("taken over instance=web-1").count(), 1);
}

#[tokio::test]
async fn one_that_died_while_no_agent_looked_is_started_again() {
    let mut host = Host::start();
    let one = host.web("1", "");
    let first = host.serve("web-1", &one).await.pid.unwrap();
    host.kill_agent();
    kill(first);
    until("it is gone", || !Host::alive(first)).await;
    host.start_agent();
    let again = |report: &HostReport| {
        find(report, "web-1")
            .is_some_and(|i| i.restarts == 1 && i.share == Share::ALL && i.pid != Some(first))
    };
    host.driver.until("it serves again", again).await;
    assert_eq!(host.ask(), "1");
}

#[tokio::test]
async fn after_a_reboot_everything_is_started_anew_without_the_server() {
    let mut host = Host::start();
    let (one, worker) = (host.web("1", ""), host.release("worker", "1", "", DRAIN));
    host.order(&[("web-1", &one, 10_000), ("worker-1", &worker, 10_000)]);
    let first = host.serves("web-1").await.pid.unwrap();
    let second = host.serves("worker-1").await.pid.unwrap();
    host.driver.fall_silent();
    host.kill_agent();
    kill(first);
    kill(second);
    until("they are gone", || !Host::alive(first) && !Host::alive(second)).await;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    for record in fs::read_dir(host.journal().join("instances")).unwrap() {
        let path = record.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let changed = text.replace(boot.trim(), "00000000-0000-0000-0000-000000000000");
        assert_ne!(text, changed);
        fs::write(path, changed).unwrap();
    }
    host.start_agent();
    for (instance, former) in [("web-1", first), ("worker-1", second)] {
        let anew = |report: &HostReport| {
            find(report, instance).is_some_and(|i| {
                i.phase == InstancePhase::Ready && i.share == Share::ALL && i.pid != Some(former)
            })
        };
        let report = host.driver.until(&format!("{instance} runs again"), anew).await;
        assert_eq!(find(&report, instance).unwrap().restarts, 0, "a reboot is no failure");
    }
    assert_eq!(host.ask(), "1");
}

/// Clients that come all the time, each with a connection of its own.
fn clients(host: &Host, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<Result<u64, String>> {
    let (socket, stop) = (host.socket(), Arc::clone(stop));
    std::thread::spawn(move || {
        let mut served = 0;
        while !stop.load(Ordering::Relaxed) {
            Connection::to(socket)
                .and_then(|mut connection| {
                    connection.try_say("/")?;
                    connection.hear()
                })
                .map_err(|error| format!("request {served}: {error}"))?;
            served += 1;
        }
        Ok(served)
    })
}

#[tokio::test]
async fn the_agent_dies_again_and_again_in_a_row_of_deployments_and_no_client_notices() {
    let mut host = Host::start();
    let one = host.web("1", "");
    host.serve("web-1", &one).await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = [clients(&host, &stop), clients(&host, &stop)];
    let mut last = "web-1".to_owned();
    for number in 2_u64..=13 {
        let version = number.to_string();
        let (instance, release) = (format!("web-{version}"), host.web(&version, "ready_after=15"));
        host.order(&[(&instance, &release, 10_000)]);
        // Somewhere between the order and the old one's end: three moments, other ones each time.
        for step in 1..=3 {
            tokio::time::sleep(Duration::from_millis((number * 13 * step) % 61)).await;
            host.restart_agent();
        }
        assert_eq!(host.serves(&instance).await.restarts, 0, "version {version}");
        host.gone_or_unknown(&last).await;
        last = instance;
    }
    stop.store(true, Ordering::Relaxed);
    for clients in load {
        let served = clients.join().unwrap().unwrap();
        assert!(served > 100, "{served} requests are no load");
    }
    assert_eq!(host.processes(), 1, "processes that nobody knows");
}

impl Host {
    /// A second agent does not know those that went while the first one lived.
    async fn gone_or_unknown(&self, instance: &str) {
        let is_gone = |report: &HostReport| {
            find(report, instance).is_none_or(|i| i.phase == InstancePhase::Exited && i.pid.is_none())
        };
        self.driver.until(&format!("{instance} is gone"), is_gone).await;
    }
}
