//! What instances count, told to the server: with the real sample service, old and new on one gate.

use crate::host::{Connection, DEADLINE, Host, id, kill};
use handover_gate::Pin;
use handover_model::{InstancePhase, Measurement, Sample, Share, Traffic};
use std::{
    fs,
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

const EVERY_SECOND: &str = "interval = \"1s\"";

fn of<'m>(measurement: &'m Measurement, instance: &str) -> Option<&'m Sample> {
    measurement.instances.get(&id(instance))
}

fn traffic(measurement: &Measurement, instance: &str) -> Option<Traffic> {
    of(measurement, instance)?.traffic.clone().ok()
}

fn requests(measurement: &Measurement, instance: &str) -> Option<u64> {
    traffic(measurement, instance).map(|traffic| traffic.requests)
}

/// Why there is none.
fn failed(measurement: &Measurement, instance: &str) -> Option<String> {
    of(measurement, instance)?.traffic.clone().err()
}

impl Host {
    /// Starts another instance without a share beside those that run.
    async fn beside(&mut self, instances: &[(&str, &handover_model::Release, u32)]) {
        self.order(instances);
        for (instance, ..) in instances {
            self.phase(instance, InstancePhase::Ready).await;
        }
    }

    /// So many requests that reach one instance, whatever its share is.
    fn through_pin(&self, instance: &str, times: usize) {
        let record = fs::read(self.journal().join(format!("instances/{instance}.json"))).unwrap();
        let text = String::from_utf8_lossy(&record).into_owned();
        let (_, rest) = text.split_once("\"pin\":").unwrap();
        let number: u8 = rest.split([',', '}']).next().unwrap().trim().parse().unwrap();
        for _ in 0..times {
            let mut stream = Pin::new(number).unwrap().connect(self.socket(), DEADLINE).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nhost: heart\r\nconnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
        }
    }
}

#[tokio::test]
async fn each_instance_is_measured_with_exactly_what_reached_it() {
    let mut host = Host::start();
    let old = host.sample("v1", "", EVERY_SECOND);
    let new = host.sample("v2", "--error-rate 0.5", EVERY_SECOND);
    host.serve("web-1", &old).await;
    host.beside(&[("web-1", &old, 10_000), ("web-2", &new, 0)]).await;
    host.through_pin("web-1", 30);
    host.through_pin("web-2", 12);
    let counted = |m: &Measurement| (requests(m, "web-1"), requests(m, "web-2")) == (Some(30), Some(12));
    let measured = host.driver.measured("what came through the pins is counted", counted).await;
    let (one, two) = (of(&measured, "web-1").unwrap(), of(&measured, "web-2").unwrap());
    assert_eq!((one.share, two.share, one.run, two.run), (Share::ALL, Share::HIDDEN, 0, 0));
    let (first, second) = (traffic(&measured, "web-1").unwrap(), traffic(&measured, "web-2").unwrap());
    assert_eq!((first.bad, second.bad), (0, 6));
    for traffic in [first, second] {
        let latency = traffic.latency.unwrap();
        assert_eq!(latency.buckets().iter().sum::<u64>(), traffic.requests);
        assert_eq!((latency.edges().len(), latency.edges()[0]), (13, 0.001));
    }
    assert!(one.usage.memory.unwrap() > 0 && one.usage.cpu_micros.is_some(), "{one:?}");
    assert!(one.usage.clock_micros.is_some_and(|clock| clock > one.usage.cpu_micros.unwrap()), "{one:?}");

    host.order(&[("web-1", &old, 7_000), ("web-2", &new, 3_000)]);
    let split = |m: &Measurement| of(m, "web-2").is_some_and(|s| s.share == Share::new(3_000).unwrap());
    let before = host.driver.measured("the share is told", split).await;
    let mut kept: Vec<Connection> = (0..40).map(|_| host.connect()).collect();
    let answers: Vec<String> = kept.iter_mut().map(|connection| connection.get("/")).collect();
    // An error's body does not tell its version.
    let by_old = answers.iter().filter(|answer| answer.starts_with("v1 ")).count() as u64;
    let by_new = 40 - by_old;
    assert!(by_old > 0 && by_new > 0, "40 connections at 70 % and 30 %");
    let counted = |m: &Measurement| {
        let connections = |instance| of(m, instance).and_then(|sample| sample.usage.connections);
        let all = (connections("web-1"), connections("web-2"));
        (requests(m, "web-1"), requests(m, "web-2")) == (Some(30 + by_old), Some(12 + by_new))
            && all.0 >= Some(by_old)
            && all.1 >= Some(by_new)
    };
    let measured = host.driver.measured("every request and connection is counted", counted).await;
    let seen = |m: &Measurement, instance| of(m, instance).unwrap().usage.connections.unwrap_or(0);
    assert_eq!(seen(&measured, "web-1"), by_old, "before: {before:?}");
    assert_eq!(seen(&measured, "web-2"), by_new, "connections from pins are the agent's own");
}

#[tokio::test]
async fn an_endpoint_that_does_wrong_is_told_with_its_reason_and_costs_nobody_else_anything() {
    let mut host = Host::start();
    let good = host.sample("v1", "", EVERY_SECOND);
    host.serve("web-1", &good).await;
    let late = "no answer to GET /metrics within 1s";
    let kinds: [(&str, &[&str]); 7] = [
        ("endless", &["the answer to GET /metrics is longer than 8 MiB", late]),
        ("huge", &["the answer to GET /metrics is longer than 8 MiB", late]),
        ("garbage", &["the answer to GET /metrics: it is no UTF-8 text at byte 1"]),
        ("slow", &[late]),
        ("drip", &[late]),
        ("redirect", &["GET /metrics answered 302 Found: to /elsewhere; redirects are not followed"]),
        ("none", &["GET /metrics answered 404 Not Found: no metrics here"]),
    ];
    for (number, (kind, reasons)) in kinds.into_iter().enumerate() {
        let instance = format!("web-{}", number + 2);
        let bad = host.sample(&format!("bad-{kind}"), &format!("--metrics {kind}"), EVERY_SECOND);
        host.beside(&[("web-1", &good, 10_000), (&instance, &bad, 0)]).await;
        host.through_pin("web-1", 1);
        let expected = Some(number as u64 + 1);
        let told = |m: &Measurement| {
            let reason = failed(m, &instance);
            reason.is_some_and(|reason| reasons.contains(&reason.as_str()))
                && requests(m, "web-1") == expected
        };
        host.driver.measured(&format!("{kind} is told and the other goes on"), told).await;
        let began = Instant::now();
        for _ in 0..2 {
            assert!(told(&host.driver.measured_anew().await), "{kind} once more");
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{kind}: {:?}", began.elapsed());
    }
    let status = fs::read_to_string(format!("/proc/{}/status", host.agent_pid())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = most.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 400 * 1024, "the agent took {kib} KiB");
}

#[tokio::test]
async fn metrics_that_vanish_are_told_as_missing() {
    let mut host = Host::start();
    let release = host.sample("v1", "--metrics-vanish-after 4s", EVERY_SECOND);
    host.serve("web-1", &release).await;
    host.through_pin("web-1", 3);
    host.driver.measured("they are there", |m| requests(m, "web-1") == Some(3)).await;
    let missing = |m: &Measurement| failed(m, "web-1").is_some_and(|reason| reason.contains("404 Not Found"));
    host.driver.measured("they are missing", missing).await;
}

#[tokio::test]
async fn measuring_goes_on_after_the_agents_death_and_a_new_run_is_another() {
    let mut host = Host::start();
    let release = host.sample("v1", "", &format!("{EVERY_SECOND}\nrequests = \"http_requests_total\""));
    let pid = host.serve("web-1", &release).await.pid.unwrap();
    host.through_pin("web-1", 5);
    host.driver.measured("five are counted", |m| requests(m, "web-1") == Some(5)).await;
    host.restart_agent();
    host.agent_is_ready().await;
    assert_eq!(host.serves("web-1").await.pid, Some(pid));
    host.through_pin("web-1", 3);
    let measured = host.driver.measured("eight are counted", |m| requests(m, "web-1") == Some(8)).await;
    assert_eq!(of(&measured, "web-1").unwrap().run, 0);
    kill(pid);
    let anew =
        |m: &Measurement| of(m, "web-1").is_some_and(|s| s.run == 1) && requests(m, "web-1") == Some(0);
    host.driver.measured("another run counts anew", anew).await;
}

#[tokio::test]
async fn one_without_metrics_beside_one_with_them_is_told_as_such() {
    let mut host = Host::start();
    let old = host.web("1", "");
    host.serve("web-1", &old).await;
    let new = host.sample("v2", "", EVERY_SECOND);
    host.beside(&[("web-1", &old, 10_000), ("web-2", &new, 0)]).await;
    let told = |m: &Measurement| {
        failed(m, "web-1").as_deref() == Some("the manifest of its release has no [metrics]")
            && requests(m, "web-2") == Some(0)
    };
    let measured = host.driver.measured("both are told", told).await;
    assert!(of(&measured, "web-1").unwrap().usage.memory.is_some());
}
