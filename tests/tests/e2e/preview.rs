//! Looking at what no client is sent to yet.

use handover_tests::fleet::{Fleet, Sample, Traffic};
use serde_json::Value;
use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

const GREEN: &str = "strategy = \"blue-green\"\nbake = \"200ms\"";

fn preview(fleet: &Fleet, more: &[&str]) -> Vec<Value> {
    let words = ["preview", "web", "--json"].iter().chain(more);
    fleet.cli().run(words).expect(0).json()
}

/// The answer to a request from the pin, to the address that is told.
fn through_pin(hidden: &Value) -> String {
    let source: IpAddr = hidden["pin"]["address"].as_str().unwrap().parse().unwrap();
    let target: SocketAddr = hidden["addresses"][0]["address"].as_str().unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        socket.connect(target).await.unwrap().into_std().unwrap()
    });
    let mut stream = stream;
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_release_that_waits_and_one_that_stands_by_are_reached_through_what_is_printed() {
    let fleet = Fleet::of(2);
    fleet.push(&Sample::new("v1").rollout(GREEN));
    fleet.deploy("v1").expect(0);
    assert!(preview(&fleet, &[]).is_empty());
    let traffic = Traffic::on(&fleet);
    fleet.push(&Sample::new("v2").rollout(&format!("{GREEN}\napprove = \"manual\"\nkeep_warm = \"10m\"")));
    fleet.deploy("v2").expect(4);

    let waiting = preview(&fleet, &[]);
    let hosts: Vec<_> = waiting.iter().map(|hidden| hidden["host"].as_str().unwrap().to_owned()).collect();
    let all: Vec<_> = fleet.agents.iter().map(|agent| agent.host.clone()).collect();
    assert_eq!(hosts, all);
    for (hidden, agent) in waiting.iter().zip(&fleet.agents) {
        assert_eq!((&hidden["version"], &hidden["phase"]), (&"v2".into(), &"ready".into()));
        let address = format!("{}:8080", agent.address);
        assert_eq!(hidden["addresses"][0]["address"], address);
        let curl =
            format!("curl --interface {} http://{address}/", hidden["pin"]["address"].as_str().unwrap());
        assert_eq!(hidden["curl"][0], curl);
        let answer = through_pin(hidden);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("v2 "), "{answer}");
    }
    let one = preview(&fleet, &["--host", &fleet.agents[1].host]);
    assert_eq!(one, [waiting[1].clone()]);
    let told = fleet.cli().run(["preview", "web"]).expect(0).stdout;
    assert!(told.contains("release v2, ready") && told.contains("curl --interface 127.77.0."), "{told}");

    fleet.cli().run(["promote", "web", "--json"]).expect(0);
    for hidden in preview(&fleet, &[]) {
        assert_eq!(hidden["version"], "v1");
        assert!(through_pin(&hidden).contains("v1 "));
    }
    let missing = fleet.cli().run(["preview", "web", "--host", "nowhere"]);
    assert!(missing.code == 1 && missing.stderr.contains("there is no host nowhere"), "{missing:?}");
    let nothing = fleet.cli().run(["preview", "nothing"]);
    assert!(nothing.code == 1 && nothing.stderr.contains("there is no service nothing"), "{nothing:?}");
    traffic.stop().assert_no_failures();
}

#[test]
fn a_command_runs_beside_each_hidden_instance_and_its_failures_are_told_by_host() {
    let fleet = Fleet::of(2);
    let environment = "[environment]\nADDRESS = \"{host.address}\"";
    fleet.push(&Sample::new("v1").rollout(GREEN));
    fleet.deploy("v1").expect(0);
    let run = |more: &[&str]| fleet.cli().run(["preview", "web", "--json"].iter().chain(more));
    let nothing = run(&["--", "/bin/true"]);
    assert!(nothing.code == 1 && nothing.stderr.contains("no instance of web is hidden now"), "{nothing:?}");
    let manual = format!("{GREEN}\napprove = \"manual\"");
    fleet.push(&Sample::new("v2").rollout(&manual).more(environment));
    fleet.deploy("v2").expect(4);

    let says = "echo $HANDOVER_PIN $HANDOVER_ADDRESS_HTTP $HANDOVER_RELEASE";
    let passed = run(&["--", "/bin/sh", "-c", says]).expect(0).json();
    assert_eq!(passed.len(), 2);
    for agent in &fleet.agents {
        let of_host = passed.iter().find(|outcome| outcome["host"] == agent.host.as_str()).unwrap();
        let output = of_host["output"].as_str().unwrap();
        let expected = format!(" {}:8080 v2\n", agent.address);
        assert!(output.starts_with("127.77.0.") && output.ends_with(&expected), "{output}");
        assert_eq!((&of_host["passed"], &of_host["code"]), (&true.into(), &0.into()));
    }

    let broken = &fleet.agents[1];
    let script = format!("echo looking; [ $ADDRESS != {} ] || exit 9", broken.address);
    let failed = fleet.cli().run(["preview", "web", "--", "/bin/sh", "-c", &script]).expect(1);
    assert!(failed.stderr.contains(&format!("did not end with code 0 on {}", broken.host)), "{failed:?}");
    for line in
        [format!("{} | looking", broken.host), format!("{}: exited with code 9, beside web-", broken.host)]
    {
        assert!(failed.stdout.contains(&line), "{line}: {failed:?}");
    }
    let host = fleet.agents[0].host.as_str();
    let hangs = run(&["--host", host, "--timeout", "1s", "--", "/bin/sh", "-c", "echo begun; sleep 600"]);
    let hangs = hangs.expect(1).json();
    assert_eq!(hangs.len(), 1);
    assert_eq!(hangs[0]["ended"], "did not end within 1s and was killed");
    assert_eq!((&hangs[0]["output"], &hangs[0]["code"]), (&"begun\n".into(), &Value::Null));
    let long =
        run(&["--host", host, "--", "/bin/sh", "-c", "yes | head -c 200000; echo end"]).expect(0).last();
    let output = long["output"].as_str().unwrap();
    assert_eq!((output.len(), &long["cut"]), (64 * 1024, &true.into()));
    assert!(output.ends_with("y\nend\n"));

    let audit = fleet.cli().run(["audit", "--json"]).expect(0).stdout;
    let told: Vec<&str> = audit.lines().filter(|line| line.contains("RunPreview")).collect();
    assert_eq!(told.len(), 5, "{audit}");
    assert!(told.iter().any(|line| line.contains("sleep 600")), "{told:?}");
}
