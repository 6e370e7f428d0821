//! Services without listeners, and other ways to be ready.

use handover_tests::fleet::{Fleet, Sample};

#[test]
fn a_worker_without_sockets_is_replaced() {
    let fleet = Fleet::of(1);
    let ticks = fleet.path("ticks");
    for version in ["v1", "v2"] {
        let worker = Sample::new(version).worker(&ticks);
        fleet.push(&worker);
        fleet.deploy(version).expect(0);
    }
    let instances = fleet.agents[0].instances();
    assert_eq!(instances.len(), 1, "{instances:?}");
    assert_eq!(instances[0]["release"]["name"]["version"], "v2");
    assert!(std::fs::metadata(&ticks).unwrap().len() > 0, "the worker did nothing");
}

fn gets_ready_by(sample: &Sample) {
    let fleet = Fleet::of(1);
    fleet.push(sample);
    fleet.deploy(&sample.version).expect(0);
}

#[test]
fn readiness_by_notify() {
    let notify = "kind = \"notify\"\ndeadline = \"20s\"";
    gets_ready_by(&Sample::new("v1").flag("--notify-after 300ms").readiness(notify));
}

#[test]
fn readiness_by_tcp_means_that_the_program_accepts() {
    gets_ready_by(&Sample::new("v1").readiness("kind = \"tcp\"\ndeadline = \"20s\""));
}

#[test]
fn readiness_by_exec() {
    let exec = "kind = \"exec\"\ncommand = [\"/bin/sh\", \"-c\", \"test -n \\\"$HANDOVER_INSTANCE\\\"\"]\ndeadline = \"20s\"";
    gets_ready_by(&Sample::new("v1").readiness(exec));
}

#[test]
fn readiness_by_grpc() {
    let grpc = "kind = \"grpc\"\ninterval = \"50ms\"\ndeadline = \"20s\"";
    gets_ready_by(&Sample::new("v1").flag("--grpc-health").readiness(grpc));
}

#[test]
fn a_program_that_never_accepts_is_not_ready_by_tcp() {
    let fleet = Fleet::of(1);
    let sleeper = Sample::new("v1")
        .command("/bin/sleep")
        .flag("1000")
        .readiness("kind = \"tcp\"\ntimeout = \"200ms\"\ndeadline = \"1s\"");
    fleet.push(&sleeper);
    let done = fleet.deploy("v1").expect(3);
    let reason = done.last()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("did not accept"), "{reason}");
}
