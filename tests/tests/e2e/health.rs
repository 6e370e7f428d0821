//! `/healthz` of both daemons where they do not do their work, and what strangers can do on its address.

use handover_tests::{
    fleet::{Fleet, Sample, Traffic, UP},
    hanging_disk::HangingDisk,
    http,
    process::{Running, wait_until},
};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// Places for connections at once, and the longest time of one: docs/limits.md.
const PLACES: usize = 32;
const LONGEST: Duration = Duration::from_secs(15);

/// Waits until the daemon's health has this status and says this.
#[track_caller]
fn until_it_says(address: SocketAddr, status: u16, words: &str) {
    let mut last = None;
    wait_until(UP, &format!("{status}: {words}"), || {
        let answer = http::get_within(address, "/healthz", Duration::from_secs(10)).unwrap();
        let is_so = answer.status == status && answer.body.contains(words);
        if last.as_ref() != Some(&answer) {
            println!("{} {}", answer.status, answer.body);
            last = Some(answer);
        }
        is_so
    });
}

#[test]
fn a_server_whose_disk_hangs_is_not_healthy_says_why_and_is_healthy_again_once_it_goes_on() {
    let fleet = Fleet::of(1);
    until_it_says(fleet.server.metrics(), 200, "ok: 1 of 1 agents connected");
    let Some(hanging) = HangingDisk::of(fleet.server.pid(), fleet.folder.path()) else { return };
    let asked = fleet.cli().command(["token", "create"]);
    let mut asked = Running::start_command(fleet.folder.path(), "asked", asked);
    until_it_says(fleet.server.metrics(), 503, "a commit has been waiting for the disk for");
    assert!(asked.is_running(), "it was confirmed before it was on the disk");
    let told = http::get_within(fleet.server.metrics(), "/metrics", Duration::from_secs(10)).unwrap();
    assert!(told.status == 200 && told.body.contains("handover_fleet_answering 0"), "{}", told.body);
    drop(hanging);
    until_it_says(fleet.server.metrics(), 200, "ok: 1 of 1 agents connected");
    assert!(asked.wait(UP).success(), "{}", asked.stderr());
}

#[test]
fn an_agent_whose_disk_hangs_is_not_healthy_its_instances_serve_and_it_goes_on_where_it_was() {
    let fleet = Fleet::of(1);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    fleet.push(&Sample::new("v2"));
    let address = fleet.agents[0].metrics();
    until_it_says(address, 200, "ok: connected, 1 instances");
    let traffic = Traffic::one_connection_each(&fleet);
    let Some(hanging) = HangingDisk::of(fleet.agents[0].pid(), fleet.folder.path()) else { return };
    let deploying = fleet.begin("v2");
    until_it_says(address, 503, "has not moved for 1");
    assert_eq!(http::get(address, "/metrics").unwrap().status, 200);
    assert_eq!(fleet.versions(), ["v1"], "something was begun that is not written down");
    drop(hanging);
    until_it_says(address, 200, "ok: connected");
    deploying.end().expect(0);
    assert_eq!(fleet.versions(), ["v2"]);
    traffic.stop().assert_no_failures();
}

/// What comes back for these bytes until the connection ends, and how long that took.
fn asked(address: SocketAddr, request: &[u8]) -> (String, Duration) {
    let began = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONGEST * 2)).unwrap();
    // Whoever sends more than is read may get a reset for it.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        answer.extend_from_slice(&piece[..count]);
    }
    (String::from_utf8_lossy(&answer).into_owned(), began.elapsed())
}

#[test]
fn strangers_on_the_addresses_of_both_daemons_take_their_places_only_and_disturb_no_work() {
    let fleet = Fleet::of(1);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let traffic = Traffic::one_connection_each(&fleet);
    for address in [fleet.server.metrics(), fleet.agents[0].metrics()] {
        let header = format!("GET /healthz HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(64 * 1024));
        let many = format!("GET /healthz HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: a\r\n".repeat(65));
        for request in [header, many] {
            let (answer, _) = asked(address, request.as_bytes());
            assert!(!answer.contains("200 OK") && !answer.contains("ok: "), "{answer}");
        }
        // Twice as many as there are places; half of them say a word.
        let crowd: Vec<TcpStream> = (0..2 * PLACES)
            .map(|number| {
                let mut stream = TcpStream::connect(address).unwrap();
                if number % 2 == 0 {
                    let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nhost:");
                }
                stream
            })
            .collect();
        let (turned_away, took) = asked(address, b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n");
        assert!(turned_away.is_empty() && took < LONGEST, "{took:?} {turned_away}");
        // The work goes on meanwhile, and the crowd is sent away without having ended anything by itself.
        let began = Instant::now();
        fleet.cli().run(["hosts"]).expect(0);
        wait_until(LONGEST * 2, "the places to be free again", || {
            http::get(address, "/healthz").is_ok_and(|answer| answer.status == 200)
        });
        assert!(began.elapsed() < LONGEST + Duration::from_secs(5), "{:?}", began.elapsed());
        drop(crowd);
    }
    let hosts = fleet.cli().run(["hosts", "--json"]).expect(0).json();
    assert_eq!(hosts[0]["online"], true);
    assert_eq!(fleet.server.log().matches("session begins").count(), 1, "the agent lost its session");
    traffic.stop().assert_no_failures();
}
