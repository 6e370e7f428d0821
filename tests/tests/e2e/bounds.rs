//! Strangers in numbers: twenty thousand connections that come to nothing.

use handover_tests::{
    fleet::Fleet,
    process::{Running, binary, cpu_time, resident, wait_until},
};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Connections of all crowds together, and the number of crowds: a process may have 20,000 descriptors here.
const CONNECTIONS: u64 = 20_000;
const CROWDS: u64 = 2;
/// How long the server is watched once they are all open.
const WINDOW: Duration = Duration::from_secs(10);
/// Of one core, while connections go on being opened again. Measured in a debug build.
const MOST_CPU: f64 = 0.25;
/// 512 handshakes, each with TLS's buffers and a task, which is less than 64 KiB: 32 MiB, and as much for the allocator.
const MOST_GROWTH: u64 = 64 << 20;
/// An operator is answered within that time, the start of the command line included.
const MOST_ANSWER: Duration = Duration::from_secs(1);

/// Agents send a heartbeat every 5 s, and the server notes once a second whom it heard: in milliseconds.
const MOST_SILENCE: u64 = 7500;
/// How often one asks.
const ASKED: Duration = Duration::from_millis(500);

/// The wall clock, in Unix milliseconds.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

struct Crowd(Running);

impl Crowd {
    fn start(fleet: &Fleet, network: u64) -> Self {
        let address = fleet.server.address();
        let args =
            [address, format!("--connections={}", CONNECTIONS / CROWDS), format!("--network={network}")];
        Self(Running::start(fleet.folder.path(), &format!("crowd-{network}"), binary("crowd"), args))
    }

    /// A number of what it counted last.
    fn count(&self, what: &str) -> u64 {
        let out = self.0.stdout();
        // The last line may be half written.
        let whole = out.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let last = whole.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok());
        last.and_then(|counted| counted[what].as_u64()).unwrap_or(0)
    }
}

fn sum(crowds: &[Crowd], what: &str) -> u64 {
    crowds.iter().map(|crowd| crowd.count(what)).sum()
}

#[test]
fn twenty_thousand_silent_connections_disturb_no_agent_and_burn_no_core() {
    let mut fleet = Fleet::of(2);
    let server = fleet.server.pid();
    let before = resident(server);
    let crowds: Vec<Crowd> = (1..=CROWDS).map(|network| Crowd::start(&fleet, network)).collect();
    let began = Instant::now();
    wait_until(Duration::from_secs(240), "all connections to be open", || {
        sum(&crowds, "open") >= CONNECTIONS
    });
    let filled = began.elapsed();

    let (cpu, opened, window) = (cpu_time(server), sum(&crowds, "opened"), Instant::now());
    let (mut answers, mut silences) = (Vec::new(), Vec::new());
    wait_until(WINDOW * 2, "the window to pass", || {
        // Not all the time: what operators cost is not what is measured.
        if window.elapsed() >= ASKED * u32::try_from(answers.len()).unwrap() {
            let asked = Instant::now();
            let hosts = fleet.cli().run(["hosts", "--json"]).expect(0).json();
            answers.push(asked.elapsed());
            assert!(hosts.iter().all(|host| host["online"] == true), "{hosts:?}");
            let silence =
                hosts.iter().map(|host| now().saturating_sub(host["last_contact"].as_u64().unwrap())).max();
            silences.push(silence.unwrap());
        }
        window.elapsed() >= WINDOW
    });
    let used = (cpu_time(server) - cpu).as_secs_f64() / window.elapsed().as_secs_f64();
    let reopened = sum(&crowds, "opened") - opened;
    let held = sum(&crowds, "opened") - sum(&crowds, "closed");
    answers.sort_unstable();
    let silence = silences.into_iter().max().unwrap();
    let (median, slowest) = (answers[answers.len() / 2], answers[answers.len() - 1]);
    let growth = resident(server).saturating_sub(before);

    let joining = Instant::now();
    fleet.add_host();
    fleet.online(3);
    let joined = joining.elapsed();
    println!(
        "{CONNECTIONS} connections open after {filled:.1?}, {held} of them held by the server; then {:.0} a second \
         again: {:.1} % of a core, {} KiB more memory, {} operators answered in {median:.0?} (slowest {slowest:.0?}); \
         an agent was not heard for at most {silence} ms; a new host joined in {joined:.1?}",
        reopened as f64 / WINDOW.as_secs_f64(),
        used * 100.0,
        growth / 1024,
        answers.len(),
    );
    assert!(reopened > 100, "the pressure did not stay: {reopened} connections in {WINDOW:?}");
    assert!(used < MOST_CPU, "{used:.2} of a core");
    assert!(growth < MOST_GROWTH, "{growth} bytes more");
    assert!(median < MOST_ANSWER, "operators were answered in {answers:?}");
    assert!(silence < MOST_SILENCE, "an agent was not heard for {silence} ms");
    assert!(joined < Duration::from_secs(10), "a new host took {joined:?}");
    let log = fleet.server.log();
    assert!(!log.contains("session ends"), "an agent lost its session:\n{log}");
    assert_eq!(log.matches("session begins").count(), 3, "each agent has one session all along");
    assert!(sum(&crowds, "open") >= CONNECTIONS - 100, "the crowd is gone");
}
