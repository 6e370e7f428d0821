//! The language as a whole: what it takes, what it refuses, and that it never panics.

use super::*;
use crate::HostValues;
use crate::Share;
use proptest::prelude::*;
use std::net::SocketAddr;

mod language;
mod mistakes;
mod places;

const WHOLE: &str = include_str!("tests/whole.toml");
const SMALL: &str = "service = \"web\"\ncommand = [\"bin/web\"]\n";

fn alpha() -> HostValues {
    HostValues {
        name: "alpha".parse().unwrap(),
        address: "10.0.0.7".to_owned(),
        labels: [("zone".to_owned(), "a".to_owned()), ("role".to_owned(), "web".to_owned())].into(),
    }
}

fn small_with(rest: &str) -> Manifest {
    Manifest::parse(&format!("{SMALL}{rest}")).unwrap()
}

#[test]
fn the_whole_language_is_read() {
    let manifest = Manifest::parse(WHOLE).unwrap();
    assert_eq!(manifest.service.as_str(), "web");
    assert_eq!(
        manifest.command.iter().map(Template::source).collect::<Vec<_>>(),
        ["bin/web", "--flag", "{host.name}"]
    );
    assert_eq!((manifest.user.as_deref(), manifest.group.as_deref()), (Some("www-data"), Some("33")));
    assert_eq!(manifest.working_directory, PathBuf::from("."));
    assert_eq!(manifest.hosts, [("role".to_owned(), "web".to_owned())].into());
    assert_eq!(manifest.environment["ZONE"].source(), "{label.zone}");
    let names: Vec<_> = manifest.listeners.iter().map(|listener| listener.name.as_str()).collect();
    assert_eq!(names, ["http", "admin"], "the order of the file");
    assert_eq!((manifest.listeners[0].backlog, manifest.listeners[1].backlog), (4096, 128));
    assert_eq!(manifest.listeners[1].handoff, Handoff::Inherit);
    let http = |path: &str, host: Option<&str>, status| {
        Check::Http(HttpCheck {
            listener: "http".parse().unwrap(),
            tls: false,
            path: path.to_owned(),
            host: host.map(str::to_owned),
            status,
        })
    };
    let ready = Probe {
        check: http("/ready", Some("example.org"), 200..=204),
        interval: Duration::from_millis(200),
        timeout: Duration::from_secs(2),
    };
    assert_eq!(manifest.readiness.check, ReadinessCheck::Probe(ready));
    assert_eq!(manifest.readiness.deadline, Duration::from_secs(60));
    let liveness = manifest.liveness.unwrap();
    assert_eq!(liveness.probe.check, http("/live", None, 200..=299));
    assert_eq!((liveness.probe.interval, liveness.failures), (Duration::from_secs(5), 3));
    let verify = manifest.verify.unwrap();
    let commands = verify.commands.iter();
    let words: Vec<Vec<_>> = commands.map(|words| words.iter().map(Template::source).collect()).collect();
    assert_eq!(words, [vec!["bin/smoke", "{host.name}"], vec!["/bin/true"]]);
    assert_eq!(verify.timeout, Duration::from_secs(90));
    let selector = |text: &str| Some(text.parse().unwrap());
    let endpoint = EndpointMetrics {
        listener: "admin".parse().unwrap(),
        tls: false,
        path: "/internal/metrics".to_owned(),
        host: Some("example.org".to_owned()),
        requests: selector("requests_total{job=\"web\"}"),
        errors: selector("requests_total{job=\"web\", code=~\"5..\"}"),
        latency: selector("request_seconds"),
    };
    let metrics = MetricsConfig {
        source: MetricsSource::Endpoint(endpoint),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(3),
    };
    assert_eq!(manifest.metrics, Some(metrics));
    assert_eq!(manifest.drain.signal, Signal::Quit);
    assert_eq!(manifest.drain.deadline, Duration::from_secs(30));
    assert_eq!(manifest.restart, Restart::default());
    let limits = ResourceLimits {
        open_files: Some(65_536),
        processes: Some(512),
        core: Some(CoreLimit::Bytes(0)),
        memory: Some(512 << 20),
        cpu: Some(CpuLimit { percent: 150 }),
        tasks: Some(512),
    };
    assert_eq!(manifest.limits, limits);
    assert_eq!(manifest.logs, Logs::default());
    let rollout = RolloutConfig {
        batch: Batch::Percent(25),
        steps: vec![
            StepConfig::of(Share::new(500).unwrap()),
            StepConfig {
                hosts: Batch::Percent(50),
                bake: Some(Duration::from_secs(300)),
                within: Some(Duration::from_secs(600)),
                approve: Approve::Manual,
                ..StepConfig::of(Share::new(2_500).unwrap())
            },
            StepConfig::of(Share::ALL),
        ],
        order_by: Some("zone".to_owned()),
        max_in_flight: Some(1),
        confirm: Duration::from_secs(30),
        offline: Offline::Wait,
        on_failure: OnFailure::Pause,
        ..RolloutConfig::default()
    };
    assert_eq!(manifest.rollout, rollout);
    let max_slow = MaxSlow { over: Duration::from_millis(500), share: Millionths::new(5_000) };
    let judge = JudgeConfig {
        cap: 10,
        max_errors: Some(Millionths::new(50_000)),
        max_slow: Some(max_slow),
        max_memory: Some(512 << 20),
        max_resets: Some(Millionths::new(10_000)),
        max_refused: Some(30),
        max_cpu: Some(150),
        ..JudgeConfig::default()
    };
    assert_eq!(manifest.judge, judge);
    let compatible: Vec<_> = manifest.compatible.iter().map(ToString::to_string).collect();
    assert_eq!(compatible, ["1.2.0", "1.3.*"]);
    let preflight = PreflightPolicy {
        compatibility: Stops::Warn,
        schema: Stops::Never,
        rollback: Stops::Warn,
        ..PreflightPolicy::default()
    };
    assert_eq!(manifest.preflight, preflight);
}

#[test]
fn what_a_release_needs_of_its_schema_is_read() {
    let schema = Manifest::parse(WHOLE).unwrap().schema.unwrap();
    assert_eq!((schema.database.as_str(), schema.reads.to_string().as_str()), ("shop", "41..=43"));
    let uses: Vec<String> = schema.uses.iter().map(ToString::to_string).collect();
    assert_eq!(uses, ["customers.email", "billing.invoices.*"]);
    assert_eq!(schema.hosts, Some([("role".to_owned(), "db".to_owned())].into()));
    assert_eq!(schema.expand, Some("migrations/expand".into()));
    assert_eq!(schema.contract, Some("migrations/contract".into()));
    assert_eq!(schema.time_for(crate::SchemaPhase::Backfill), Duration::from_secs(24 * 3600));
    assert_eq!(small_with("").schema, None);
}

#[test]
fn two_keys_are_enough() {
    let manifest = small_with("");
    assert_eq!(manifest.readiness.check, ReadinessCheck::Alive { settle: Duration::from_secs(1) });
    assert_eq!(manifest.readiness.deadline, Duration::from_secs(60));
    assert_eq!(manifest.liveness, None);
    assert_eq!(manifest.verify, None);
    assert_eq!(manifest.metrics, None);
    assert_eq!(manifest.limits, ResourceLimits::default());
    assert_eq!(manifest.rollout, RolloutConfig::default());
    assert!(manifest.compatible.is_empty());
    assert_eq!(manifest.preflight, PreflightPolicy::default());
    assert!(manifest.runs_on(&Labels::new()));
}

#[test]
fn what_a_candidate_must_pass_has_the_hosts_values_and_time_for_each_command() {
    let manifest = small_with("[verify]\ncommands = [[\"bin/smoke\", \"{host.name}\"], [\"bin/more\"]]");
    let verify = manifest.for_host(&alpha()).unwrap().verify.unwrap();
    assert_eq!(verify.commands, [vec!["bin/smoke", "alpha"], vec!["bin/more"]]);
    assert_eq!((verify.timeout, verify.deadline()), (Duration::from_secs(60), Duration::from_secs(150)));
}

#[test]
fn without_readiness_the_first_listener_of_the_file_is_asked() {
    for readiness in ["", "[readiness]\ndeadline = \"60s\""] {
        let listeners = "[listeners]\nzulu = \"127.0.0.1:1\"\nalpha = \"127.0.0.1:2\"\n";
        let manifest = small_with(&format!("{listeners}{readiness}"));
        let ReadinessCheck::Probe(probe) = manifest.readiness.check else { panic!("no probe") };
        assert_eq!(probe.check, Check::Tcp { listener: "zulu".parse().unwrap() });
    }
}

#[test]
fn every_kind_of_probe_is_read() {
    let listeners = "[listeners]\nmain = \"[::]:80\"\n[readiness]\n";
    for kind in ["http", "https", "grpc", "tcp"] {
        let manifest = small_with(&format!("{listeners}kind = \"{kind}\""));
        let ReadinessCheck::Probe(probe) = manifest.readiness.check else { panic!("{kind} is no probe") };
        assert_eq!(probe.check.kind(), kind);
    }
    let manifest = small_with("[readiness]\nkind = \"exec\"\ncommand = [\"bin/check\", \"{host.name}\"]");
    let host = manifest.for_host(&alpha()).unwrap();
    let ReadinessCheck::Probe(probe) = host.readiness.check else { panic!("exec is no probe") };
    assert_eq!(probe.check, Check::Exec { command: vec!["bin/check".to_owned(), "alpha".to_owned()] });
    assert_eq!(small_with("[readiness]\nkind = \"notify\"").readiness.check, ReadinessCheck::Notify);
    let alive = small_with("[readiness]\nkind = \"alive\"\nsettle = \"3s\"");
    assert_eq!(alive.readiness.check, ReadinessCheck::Alive { settle: Duration::from_secs(3) });
}

#[test]
fn metrics_are_read_from_the_first_listener_unless_said_otherwise() {
    let listeners = "[listeners]\nzulu = \"127.0.0.1:1\"\nalpha = \"127.0.0.1:2\"\n[metrics]\n";
    let metrics = |rest: &str| small_with(&format!("{listeners}{rest}")).metrics.unwrap();
    let endpoint = |rest: &str| metrics(rest).source.endpoint().unwrap().clone();
    let (whole, read) = (metrics(""), endpoint(""));
    assert_eq!((read.listener.as_str(), read.path.as_str(), read.tls), ("zulu", "/metrics", false));
    assert_eq!((whole.interval, whole.timeout), (Duration::from_secs(5), Duration::from_secs(2)));
    assert_eq!((read.requests, read.errors, read.latency), (None, None, None));
    assert_eq!(endpoint("listener = \"alpha\"").listener.as_str(), "alpha");
    assert!(endpoint("source = \"https\"").tls);
    assert_eq!(metrics("interval = \"1s\"").timeout, Duration::from_secs(1), "no longer than the interval");
    let host = small_with(listeners).for_host(&alpha()).unwrap();
    assert_eq!(host.metrics, small_with(listeners).metrics);
}

#[test]
fn a_prometheus_server_is_asked_for_counters_by_host_and_release() {
    let read = |rest: &str| small_with(&format!("[metrics]\nsource = \"prometheus\"\n{rest}"));
    let asked = "requests = 'r_total{job=\"web\"}'\nerrors = 'r_total{job=\"web\", code=~\"5..\"}'\n";
    let manifest = read(asked);
    let metrics = manifest.metrics.as_ref().unwrap();
    let prometheus = metrics.source.prometheus().unwrap();
    assert_eq!(prometheus.requests, "r_total{job=\"web\"}".parse().unwrap());
    assert_eq!((prometheus.host_label.as_str(), prometheus.release_label.as_str()), ("host", "version"));
    assert_eq!((metrics.interval, metrics.timeout), (Duration::from_secs(15), Duration::from_secs(2)));
    assert_eq!(manifest.judge.block, Duration::from_secs(15), "a block without a sample says nothing");
    let more = read(&format!(
        "{asked}latency = \"d_seconds\"\nhost_label = \"instance\"\nrelease_label = \"tag\"\ninterval = \"5s\""
    ));
    let prometheus = more.metrics.as_ref().unwrap().source.prometheus().unwrap().clone();
    assert_eq!(prometheus.latency.unwrap().name(), "d_seconds");
    assert_eq!((prometheus.host_label.as_str(), prometheus.release_label.as_str()), ("instance", "tag"));
    assert_eq!(more.judge.block, Duration::from_secs(10));
}

#[test]
fn a_host_must_have_the_labels_that_a_service_asks_for() {
    let manifest = Manifest::parse(WHOLE).unwrap();
    assert!(manifest.runs_on(&alpha().labels));
    assert!(!manifest.runs_on(&Labels::new()));
    assert!(!manifest.runs_on(&[("role".to_owned(), "db".to_owned())].into()));
}

#[test]
fn a_hosts_values_are_put_into_arguments_environment_and_addresses() {
    let host = Manifest::parse(WHOLE).unwrap().for_host(&alpha()).unwrap();
    assert_eq!(host.command, ["bin/web", "--flag", "alpha"]);
    assert_eq!(host.environment["ZONE"], "a");
    let addresses: Vec<_> = host.listeners.iter().map(|listener| listener.address).collect();
    let expected: [SocketAddr; 2] = ["0.0.0.0:8080".parse().unwrap(), "10.0.0.7:9090".parse().unwrap()];
    assert_eq!(addresses, expected);
}

#[test]
fn an_ipv6_host_address_goes_in_front_of_a_port() {
    let manifest = small_with("[listeners]\nhttp = \"{host.address}:80\"");
    let host = HostValues { address: "fd00::7".to_owned(), ..alpha() };
    let address = manifest.for_host(&host).unwrap().listeners[0].address;
    assert_eq!(address, "[fd00::7]:80".parse().unwrap());
}

#[test]
fn everything_that_a_host_lacks_is_named_at_once() {
    let text = "service = \"web\"\ncommand = [\"bin/web\", \"{label.rack}\"]\n\
        [environment]\nROW = \"{label.row}\"\n[listeners]\nhttp = \"{host.address}:80\"\n";
    let host = HostValues { address: "alpha.example".to_owned(), ..alpha() };
    let errors = Manifest::parse(text).unwrap().for_host(&host).unwrap_err();
    let found: Vec<_> =
        errors.all().iter().map(|e| (e.line, e.column, e.key.as_str(), e.message.as_str())).collect();
    assert_eq!(found[0], (2, 23, "command", "host alpha has no label rack"));
    assert_eq!(found[1], (4, 7, "environment.ROW", "host alpha has no label row"));
    assert_eq!((found[2].0, found[2].1, found[2].2), (6, 8, "listeners.http"));
    assert!(found[2].3.contains("\"alpha.example:80\" is no address"), "{errors}");
    assert_eq!(found.len(), 3);
}

#[test]
fn two_listeners_that_meet_only_on_one_host_are_refused_there() {
    let manifest = small_with("[listeners]\na = \"10.0.0.7:80\"\nb = \"{host.address}:80\"");
    let errors = manifest.for_host(&alpha()).unwrap_err();
    assert_eq!(errors.all()[0].key, "listeners.b");
    assert!(manifest.for_host(&HostValues { address: "10.0.0.8".to_owned(), ..alpha() }).is_ok());
}

#[test]
fn a_program_that_a_label_leads_out_of_the_release_is_refused() {
    let manifest = Manifest::parse("service = \"a\"\ncommand = [\"{label.up}/sh\"]").unwrap();
    let mut host = alpha();
    host.labels.insert("up".to_owned(), "..".to_owned());
    assert!(manifest.for_host(&host).unwrap_err().to_string().contains(".."));
}

#[test]
fn a_text_with_a_byte_order_mark_is_read() {
    assert!(Manifest::from_bytes(format!("\u{feff}{SMALL}").as_bytes()).is_ok());
}

#[test]
fn where_a_text_stands_is_no_part_of_a_manifest() {
    assert_eq!(small_with(""), Manifest::parse(&format!("# a comment\n{SMALL}")).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_makes_it_panic(text in ".{0,4000}") {
        let _ = Manifest::parse(&text);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
        let _ = Manifest::from_bytes(&bytes);
    }

    #[test]
    fn no_text_of_toml_characters_makes_it_panic(text in "[\\[\\]{}=\"'.,#a-c0-9_\\n \\\\]{0,2000}") {
        let _ = Manifest::parse(&text);
    }

    /// The whole language with a piece of it cut out, doubled or replaced.
    #[test]
    fn no_damage_to_a_good_manifest_makes_it_panic(
        from in 0..WHOLE.len(), length in 0_usize..200, put in ".{0,40}", twice in any::<bool>()
    ) {
        prop_assume!(WHOLE.is_ascii());
        let to = (from + length).min(WHOLE.len());
        let piece = if twice { &WHOLE[from..to] } else { "" };
        let text = format!("{}{put}{piece}{piece}{}", &WHOLE[..from], &WHOLE[to..]);
        match Manifest::parse(&text) {
            Ok(manifest) => drop(manifest.for_host(&alpha())),
            Err(errors) => {
                let lines = u32::try_from(text.split('\n').count()).unwrap();
                for error in &errors {
                    prop_assert!((1..=lines).contains(&error.line) && error.column >= 1, "{error}");
                    prop_assert!(error.span.end <= text.len(), "{error:?}");
                }
                prop_assert!(!errors.all().is_empty());
            }
        }
    }

    #[test]
    fn what_is_put_in_for_a_label_never_makes_it_panic(value in ".{0,200}", source in ".{0,200}") {
        let mut host = alpha();
        host.labels.insert("zone".to_owned(), value.clone());
        host.address = value;
        let manifest = small_with("[environment]\nA = \"{label.zone}\"\n[listeners]\na = \"{host.address}:1\"");
        let _ = manifest.for_host(&host);
        let _ = Template::parse(&source);
    }
}
