//! Instances that die or get sick by themselves.

use crate::host::{DRAIN, HTTP, Host, find, kill, until};
use handover_model::{HostReport, InstancePhase, Share};

/// A pause that a client notices.
const RESTART: &str = "[restart]\ninitial = \"1s\"\n";

#[tokio::test]
async fn clients_of_a_crashed_instance_wait_and_are_not_refused() {
    let mut host = Host::start();
    let one = host.release("web", "1", "", &format!("{HTTP}{DRAIN}{RESTART}"));
    let first = host.serve("web-1", &one).await.pid.unwrap();
    kill(first);
    let down = host.phase("web-1", InstancePhase::BackingOff).await;
    assert_eq!(down.share, Share::ALL);
    assert!(down.detail.contains("was killed by SIGKILL"), "{}", down.detail);
    // Nobody is there: this connection waits in the queue of the socket that the agent keeps.
    let mut waiting = host.connect();
    waiting.say("/");
    assert_eq!(waiting.hear().unwrap(), "1");
    let again = host.serves("web-1").await;
    assert_ne!(again.pid, Some(first));
    assert_eq!(again.restarts, 1);
    let history = host.driver.shared.history.lock().unwrap();
    let after = history.iter().filter_map(|report| find(report, "web-1")).skip_while(|i| i.share.is_hidden());
    assert!(after.into_iter().all(|instance| instance.share == Share::ALL));
}

#[tokio::test]
async fn one_that_fails_its_liveness_is_started_again_on_the_same_socket() {
    let mut host = Host::start();
    let liveness = "[liveness]\nkind = \"http\"\npath = \"/live\"\ninterval = \"50ms\"\nfailures = 2\n";
    let one = host.release("web", "1", "", &format!("{HTTP}{DRAIN}{RESTART}{liveness}"));
    let first = host.serve("web-1", &one).await.pid.unwrap();
    assert_eq!(host.connect().get("/fail"), "1");
    let down = host.phase("web-1", InstancePhase::BackingOff).await;
    assert!(down.detail.starts_with("not alive any more: GET /live"), "{}", down.detail);
    assert!(!Host::alive(first));
    let mut waiting = host.connect();
    assert_eq!(waiting.get("/"), "1");
    assert_eq!(host.serves("web-1").await.restarts, 1);
}

#[tokio::test]
async fn one_that_is_being_replaced_is_kept_running_until_the_other_is_ready() {
    let mut host = Host::start();
    let one = host.release("web", "1", "", &format!("{HTTP}{DRAIN}[restart]\ninitial = \"10ms\"\n"));
    let two = host.web("2", "ready_after=3000");
    let first = host.serve("web-1", &one).await.pid.unwrap();
    // The old one is not in the target any more, and still has every client.
    host.order(&[("web-2", &two, 10_000)]);
    host.phase("web-2", InstancePhase::Starting).await;
    kill(first);
    let again = |report: &HostReport| {
        find(report, "web-1").is_some_and(|i| i.restarts == 1 && i.phase == InstancePhase::Ready)
    };
    let report = host.driver.until("web-1 runs again", again).await;
    assert_eq!(find(&report, "web-1").unwrap().share, Share::ALL);
    assert_eq!(host.ask(), "1");
    host.serves("web-2").await;
    host.gone("web-1").await;
    assert_eq!(host.ask(), "2");
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_done_and_is_tried_again() {
    let mut host = Host::start();
    let (one, two) = (host.web("1", "ignore_term=1"), host.web("2", ""));
    let first = host.serve("web-1", &one).await.pid.unwrap();
    // A folder in the place of the record's spare: as good as a full disk.
    let way = |instance: &str| host.journal().join(format!("spare/instances/{instance}.json"));
    let (second_blocked, first_blocked) = (way("web-2"), way("web-1"));
    std::fs::create_dir(&second_blocked).unwrap();
    host.order(&[("web-2", &two, 10_000)]);
    until("the agent says so", || host.log().contains("instance web-2 cannot be written down")).await;
    let before = cpu_ticks(host.agent_pid());
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert!(cpu_ticks(host.agent_pid()) - before < 30, "the agent is busy although it has to wait");
    let waiting = host.phase("web-2", InstancePhase::BackingOff).await;
    assert!(waiting.detail.contains("cannot be written down"), "{}", waiting.detail);
    std::fs::remove_dir(&second_blocked).unwrap();
    assert_eq!(host.serves("web-2").await.restarts, 0);

    until("web-1 drains", || host.output("web-1").contains("SIGTERM")).await;
    // From then on until the deadline nothing of it is written.
    let record = host.journal().join("instances/web-1.json");
    let signalled = || std::fs::read_to_string(&record).is_ok_and(|text| text.contains("\"signalled\":true"));
    until("its drain is written down", signalled).await;
    std::fs::remove_file(&first_blocked).unwrap();
    std::fs::create_dir(&first_blocked).unwrap();
    until("the agent says so", || host.log().contains("waits action=Kill")).await;
    assert!(Host::alive(first), "killed without a record of it");
    std::fs::remove_dir(&first_blocked).unwrap();
    assert!(host.gone("web-1").await.ledger.unwrap().killed);
}

/// Processor time of a process, in clock ticks of 10 ms: fields 14 and 15 of proc_pid_stat(5).
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let rest: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    rest[11].parse::<u64>().unwrap() + rest[12].parse::<u64>().unwrap()
}
