//! Verifying candidates: commands that reach the hidden instance, before it counts as ready.

use crate::host::{DRAIN, HTTP, Host, find, kill, until};
use handover_model::{HostReport, InstancePhase, InstanceReport, Release};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// Not a test: the command that asks the candidate, as a smoke test of an operator would.
#[tokio::test]
#[ignore = "this is the command that verifies the candidates of the other tests"]
async fn smoke() {
    let Ok(pin) = std::env::var("HANDOVER_PIN") else { return };
    let variable = |name: &str| std::env::var(name).unwrap();
    let address: SocketAddr = variable("HANDOVER_ADDRESS_HTTP").parse().unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(format!("{pin}:0").parse().unwrap()).unwrap();
    let mut stream = socket.connect(address).await.unwrap().into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = [0; 256];
    let length = stream.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    let release = variable("HANDOVER_RELEASE");
    assert!(answer.ends_with(&format!("\r\n\r\n{release}")), "{release} was asked, and this came: {answer}");
}

/// The command above.
fn smoke_test() -> String {
    let program = std::env::current_exe().unwrap();
    format!("[{program:?}, \"verifying::smoke\", \"--exact\", \"--ignored\"]")
}

fn shell(script: &str) -> String {
    format!("[\"/bin/sh\", \"-c\", {script:?}]")
}

impl Host {
    /// A release of `web` that must pass these commands.
    fn verified(&self, version: &str, commands: &[&str], more: &str) -> Release {
        self.verified_with(version, "", commands, more)
    }

    fn verified_with(&self, version: &str, flags: &str, commands: &[&str], more: &str) -> Release {
        let verify = format!("[verify]\ncommands = [{}]\n{more}\n", commands.join(", "));
        self.release("web", version, flags, &format!("{HTTP}{DRAIN}{verify}"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits until the candidate is given up, and its processes are gone.
    async fn given_up(&self, instance: &str) -> InstanceReport {
        let over = |report: &HostReport| {
            find(report, instance).is_some_and(|i| i.phase == InstancePhase::GaveUp && i.pid.is_none())
        };
        let report = self.driver.until(&format!("{instance} is given up"), over).await;
        find(&report, instance).unwrap().clone()
    }
}

fn lines(file: &Path) -> usize {
    fs::read_to_string(file).unwrap_or_default().lines().count()
}

#[tokio::test]
async fn its_pin_leads_the_command_to_the_hidden_one_while_the_live_one_has_everything() {
    let mut host = Host::start();
    let one = host.web("1", "");
    let seen = host.file("seen");
    let look = shell(&format!("echo $HANDOVER_INSTANCE $HANDOVER_ADDRESS_HTTP >> {}", seen.display()));
    let two = host.verified("2", &[&smoke_test(), &look], "");
    host.serve("web-1", &one).await;
    host.order(&[("web-1", &one, 10_000), ("web-2", &two, 0)]);
    let ready = host.phase("web-2", InstancePhase::Ready).await;
    assert_eq!((ready.restarts, host.ask().as_str()), (0, "1"));
    assert_eq!(fs::read_to_string(&seen).unwrap(), format!("web-2 {}\n", host.socket()));
    let unverified = |report: &HostReport| {
        find(report, "web-2")
            .is_some_and(|i| i.phase == InstancePhase::Starting && i.detail.contains("(2 of 2)"))
    };
    assert!(
        host.driver.shared.history.lock().unwrap().iter().any(unverified),
        "nobody was told what it waits for"
    );
    host.serve("web-2", &two).await;
    assert_eq!(host.ask(), "2");
}

#[tokio::test]
async fn one_that_fails_ends_the_candidate_with_its_last_words_and_nobody_else_notices() {
    let mut host = Host::start();
    let one = host.web("1", "");
    let second = host.file("second");
    let wrong = shell("echo looking; echo; echo no luck >&2; exit 7");
    let two = host.verified("2", &[&smoke_test(), &wrong, &shell(&format!("> {}", second.display()))], "");
    let pid = host.serve("web-1", &one).await.pid;
    // Wanted with everything: no share before it has passed.
    host.order(&[("web-2", &two, 10_000)]);
    let failed = host.given_up("web-2").await;
    let expected = "exited with code 7; its last words: looking | no luck";
    assert!(failed.detail.starts_with("verify failed: /bin/sh -c "), "{}", failed.detail);
    assert!(failed.detail.ends_with(expected), "{}", failed.detail);
    assert!(!second.exists(), "what comes after the one that failed was run");
    assert_eq!((host.ask().as_str(), host.serves("web-1").await.pid), ("1", pid));
    assert_eq!(host.processes(), 1);
    // So does one that answers something else than it should.
    let strange = host.verified_with("9", "version=8", &[&smoke_test()], "");
    host.order(&[("web-9", &strange, 10_000)]);
    let failed = host.given_up("web-9").await;
    assert!(failed.detail.contains("exited with code 101"), "{}", failed.detail);
    assert_eq!(host.ask(), "1");
    // Another release takes its place as if nothing had been.
    let three = host.verified("3", &[&smoke_test()], "");
    host.serve("web-3", &three).await;
    assert_eq!(host.ask(), "3");
}

#[tokio::test]
async fn one_that_hangs_is_ended_with_what_it_started() {
    let mut host = Host::start();
    let one = host.web("1", "");
    let pids = host.file("pids");
    let hangs =
        shell(&format!("sleep 600 & echo $! > {0}; echo $$ >> {0}; echo waiting; wait", pids.display()));
    let two = host.verified("2", &[&hangs], "timeout = \"1s\"");
    host.serve("web-1", &one).await;
    host.order(&[("web-1", &one, 10_000), ("web-2", &two, 0)]);
    let failed = host.given_up("web-2").await;
    let expected = "did not end within 1s and was killed; its last words: waiting";
    assert!(failed.detail.ends_with(expected), "{}", failed.detail);
    let pids = fs::read_to_string(&pids).unwrap();
    let left: Vec<_> = pids.lines().filter(|pid| Host::alive(pid.parse().unwrap())).collect();
    assert!(pids.lines().count() == 2 && left.is_empty(), "left: {left:?} of {pids}");
    assert_eq!(host.ask(), "1");
}

#[tokio::test]
async fn an_agent_that_dies_meanwhile_verifies_anew_and_it_is_no_failure() {
    let mut host = Host::start();
    let one = host.web("1", "");
    let (begun, go) = (host.file("begun"), host.file("go"));
    let script =
        format!("echo begun >> {}; while [ ! -e {} ]; do sleep 0.05; done", begun.display(), go.display());
    let two = host.verified("2", &[&shell(&script), &smoke_test()], "");
    host.serve("web-1", &one).await;
    host.order(&[("web-1", &one, 10_000), ("web-2", &two, 0)]);
    until("it is being verified", || lines(&begun) == 1).await;
    let pid = find(&host.driver.report(), "web-2").unwrap().pid;
    host.restart_agent();
    until("it is verified anew", || lines(&begun) == 2).await;
    let told = find(&host.driver.report(), "web-2").map(|i| i.phase);
    assert_ne!(told, Some(InstancePhase::Ready), "it is ready although it has not passed");
    fs::write(&go, "").unwrap();
    let ready = host.phase("web-2", InstancePhase::Ready).await;
    assert_eq!((ready.pid, ready.restarts), (pid, 0));
    assert_eq!(host.ask(), "1");
}

#[tokio::test]
async fn one_that_served_and_crashed_is_not_verified_again() {
    let mut host = Host::start();
    let count = host.file("count");
    // Passes once only.
    let once = shell(&format!("echo verified >> {0}; [ $(wc -l < {0}) = 1 ]", count.display()));
    let one = host.verified("1", &[&once], "");
    let first = host.serve("web-1", &one).await.pid.unwrap();
    kill(first);
    let again = |report: &HostReport| {
        find(report, "web-1").is_some_and(|i| i.phase == InstancePhase::Ready && i.restarts == 1)
    };
    host.driver.until("it is started again", again).await;
    // Standing by without a share, and after the agent's death, it is still one that has served.
    let two = host.web("2", "");
    host.order(&[("web-1", &one, 10_000), ("web-2", &two, 0)]);
    host.phase("web-2", InstancePhase::Ready).await;
    host.order(&[("web-1", &one, 0), ("web-2", &two, 10_000)]);
    host.serves("web-2").await;
    host.restart_agent();
    host.agent_is_ready().await;
    kill(find(&host.driver.report(), "web-1").unwrap().pid.unwrap());
    let again = |report: &HostReport| {
        find(report, "web-1").is_some_and(|i| i.phase == InstancePhase::Ready && i.restarts == 2)
    };
    host.driver.until("the standby is started again", again).await;
    assert_eq!(lines(&count), 1);
}
