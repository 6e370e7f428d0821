//! Each mistake gets its own message, with its place, and all come at once.

use super::SMALL;
use crate::config::{MAX_MANIFEST_BYTES, Manifest, Mistakes};
use std::time::{Duration, Instant};

fn errors(text: &str) -> Mistakes {
    Manifest::parse(text).expect_err("a wrong manifest was taken")
}

/// The only mistake of a small manifest with `rest` behind it, as `key: message`.
fn only(rest: &str) -> String {
    let errors = errors(&format!("{SMALL}{rest}"));
    assert_eq!(errors.all().len(), 1, "{rest:?} gave\n{errors}");
    let error = &errors.all()[0];
    format!("{}: {}", error.key, error.message)
}

#[test]
fn all_mistakes_come_at_once_in_the_order_of_the_text() {
    let text = "servise = \"web\"\ncommand = \"bin/web\"\n\n[listeners]\nHTTP = \"localhost:80\"\n\n\
        [drain]\nsignal = \"SIGTREM\"\ndeadline = 5\n";
    let errors = errors(text);
    let found: Vec<_> = errors.all().iter().map(|e| (e.line, e.column, e.key.as_str())).collect();
    let expected = [
        (1, 1, "service"),
        (1, 1, "servise"),
        (2, 11, "command"),
        (5, 1, "listeners.HTTP"),
        (5, 8, "listeners.HTTP"),
        (8, 10, "drain.signal"),
        (9, 12, "drain.deadline"),
    ];
    assert_eq!(found, expected, "{errors}");
    assert_eq!(errors.all()[1].hint.as_deref(), Some("did you mean \"service\"?"));
    assert_eq!(errors.all()[5].hint.as_deref(), Some("did you mean \"SIGTERM\"?"));
    assert_eq!(&text[errors.all()[5].span.clone()], "\"SIGTREM\"");
}

#[test]
fn a_mistake_reads_as_one_line() {
    let text = errors("service = \"web\"\ncommand = [\"a\"]\nusr = \"b\"").to_string();
    assert_eq!(text, "line 3, column 1: usr: unknown key; did you mean \"user\"?");
}

#[test]
fn a_mistake_of_syntax_has_its_place() {
    let errors = errors("service = \"web\"\ncommand = [\"bin/web\"\nuser = \"a\"\n");
    assert!(errors.all().iter().all(|error| error.line >= 2), "{errors}");
    let errors = super::Manifest::parse("service = web").unwrap_err();
    assert_eq!((errors.all()[0].line, errors.all()[0].column), (1, 11), "{errors}");
    let errors = super::Manifest::parse("service = \"a\"\nservice = \"b\"").unwrap_err();
    assert_eq!(errors.all()[0].line, 2, "{errors}");
}

#[test]
fn a_mistake_of_syntax_hides_no_other_one() {
    let text = "service = web\ncommand = [\"bin/web\"]\nusr = \"a\"\n\n[drain\nsignal = \"SIGTERM\"\n\n\
        [rollout]\nbatch = 0\n[logs]\nkeep = 5 5\nto = \"fils\"\n";
    let errors = errors(text);
    let found: Vec<_> = errors.all().iter().map(|e| (e.line, e.key.as_str())).collect();
    assert_eq!(found[0], (1, ""), "{errors}");
    for other in [(3, "usr"), (5, ""), (9, "rollout.batch"), (11, ""), (12, "logs.to")] {
        assert!(found.contains(&other), "{other:?} is missing:\n{errors}");
    }
}

#[test]
fn what_cannot_be_read_makes_nothing_else_a_mistake() {
    // In each of these the second mistake would only be one if the line that cannot be read were not there.
    for text in [
        "service = web\ncommand = [\"a\"]\n",
        "service = \"web\"\ncommand = [\"a\n",
        "service = \"web\"\ncommand = [\"a\"]\n[readiness]\nkind = exec\ncommand = [\"b\"]\n",
        "service = \"web\"\ncommand = [\"a\"]\n[listeners\na = \"[::]:1\"\n[readiness]\nlistener = \"a\"\n",
        "service = \"web\"\ncommand = [\"a\"]\n[listeners]\na = \"[::]:1\"\nb = [::]:2\n[readiness]\nkind = \"http\"\nlistener = \"b\"\n",
        "service = \"web\"\ncommand = [\"a\"]\n[restart]\ninitial = 5ms\nmax = \"100ms\"\n",
        "service = \"web\"\ncommand = [\"a\"]\n[readiness]\nkind = \"alive\"\ndeadline = 5m\nsettle = \"2m\"\n",
        "service = \"web\"\ncommand = [\"a\"]\n[drain\nsignal = \"SIGTERM\"\n",
    ] {
        let errors = errors(text);
        assert!(errors.all().iter().all(|error| error.key.is_empty()), "{text}\n{errors}");
    }
}

#[test]
fn unknown_keys_are_mistakes_in_every_table() {
    for table in [
        "listeners.a",
        "readiness",
        "liveness",
        "verify",
        "metrics",
        "drain",
        "restart",
        "limits",
        "logs",
        "rollout",
        "preflight",
        "schema",
        "handover",
    ] {
        let text = format!("{SMALL}[{table}]\nsurprise = 1\n");
        let errors = errors(&text);
        assert!(errors.to_string().contains("unknown key"), "{table}: {errors}");
    }
}

#[test]
fn values_of_a_wrong_type_say_what_was_expected() {
    for (rest, message) in [
        ("user = 5", "user: expected a string, found an integer"),
        ("hosts = [\"a\"]", "hosts: expected a table, found an array"),
        ("limits = 1", "limits: expected a table, found an integer"),
        ("[environment]\nA = true", "environment.A: expected a string, found a boolean"),
        (
            "[drain]\ndeadline = 30",
            "drain.deadline: expected a duration as a string, like \"5s\", found an integer",
        ),
        ("[limits]\nopen_files = 1.5", "limits.open_files: expected a whole number, found a float"),
        (
            "[limits]\nmemory = []",
            "limits.memory: expected a size: a number of bytes, or a string like \"512MiB\", found an array",
        ),
        ("[restart]\nattempts = \"3\"", "restart.attempts: expected a whole number, found a string"),
    ] {
        assert_eq!(only(rest), message);
    }
}

#[test]
fn values_outside_their_range_name_the_range() {
    for (rest, message) in [
        ("[drain]\ndeadline = \"25h\"", "drain.deadline: \"25h\" is outside 0ms to 24h"),
        (
            "[readiness]\nkind = \"exec\"\ncommand = [\"a\"]\ninterval = \"1ms\"",
            "readiness.interval: \"1ms\" is outside 10ms to 1h",
        ),
        ("[restart]\ninitial = \"1m\"\nmax = \"1s\"", "restart.max: \"1s\" is outside 1m to 24h"),
        ("[limits]\nopen_files = 1", "limits.open_files: 1 is outside 16 to 1048576"),
        ("[limits]\ncpu = \"0%\"", "limits.cpu: \"0%\" is outside 1% to 100000%"),
        (
            "[limits]\nmemory = \"1KiB\"",
            "limits.memory: \"1KiB\" is outside 1048576 to 1125899906842624 bytes",
        ),
        (
            "[listeners]\na = \"[::]:1\"\n[rollout]\nconfirm = \"500ms\"",
            "rollout.confirm: \"500ms\" is outside 1s to 1h",
        ),
        ("[rollout]\nbatch = 0", "rollout.batch: 0 is outside 1 to 1000000"),
        ("compatible = []", "compatible: has 0 entries, expected 1 to 64"),
        (
            "compatible = [\"1.2\", \">=1.3\"]",
            "compatible[1]: \">=1.3\" names no releases: expected a version label like \"1.2.0\", or the beginning of some with '*' behind it, like \"1.3.*\"",
        ),
        ("[rollout]\nbatch = \"101%\"", "rollout.batch: \"101%\" is outside 1% to 100%"),
        ("[rollout]\nfailures_allowed = -1", "rollout.failures_allowed: -1 is outside 0 to 1000000"),
        ("[logs]\nkeep = 0x7fffffffffffffff", "logs.keep: 0x7fffffffffffffff is outside 0 to 100"),
        (
            "[listeners]\na = { address = \"[::]:1\", backlog = 0 }",
            "listeners.a.backlog: 0 is outside 1 to 65535",
        ),
    ] {
        assert_eq!(only(rest), message);
    }
}

#[test]
fn adopt_is_not_supported_by_this_version() {
    let message = only("[listeners]\na = { address = \"[::]:1\", handoff = \"adopt\" }");
    assert_eq!(message, "listeners.a.handoff: handoff \"adopt\" is not supported by this version");
}

#[test]
fn what_does_not_listen_has_no_flip_to_confirm() {
    assert_eq!(
        only("[rollout]\nconfirm = \"30s\""),
        "rollout.confirm: a service without listeners has no flip that could be undone: its new instance works as soon as it runs"
    );
}

#[test]
fn listeners_that_cannot_be_are_refused() {
    for (address, message) in [
        ("localhost:80", "names are not looked up"),
        ("0.0.0.0:0", "has port 0"),
        ("8080", "is no address"),
        ("{host.adress}:80", "unknown placeholder"),
    ] {
        let text = only(&format!("[listeners]\na = \"{address}\""));
        assert!(text.contains(message), "{text}");
    }
    let twice = only("[listeners]\na = \"0.0.0.0:80\"\nb = \"0.0.0.0:80\"");
    assert_eq!(twice, "listeners.b: has the same address as listener a");
    let many: String = (1..=17).map(|port| format!("l{port} = \"127.0.0.1:{port}\"\n")).collect();
    assert_eq!(
        only(&format!("[listeners]\n{many}")),
        "listeners: has 17 listeners, more than the 16 that are allowed"
    );
    assert_eq!(only("[listeners]\na = { backlog = 5 }"), "listeners.a.address: is missing");
}

#[test]
fn a_probe_needs_a_listener_that_exists() {
    let two = "[listeners]\na = \"[::]:1\"\nb = \"[::]:2\"\n";
    assert_eq!(
        only(&format!("{two}[readiness]\nkind = \"http\"")),
        "readiness.listener: is missing: there are several listeners: a, b"
    );
    assert_eq!(
        only(&format!("{two}[liveness]\nkind = \"tcp\"\nlistener = \"c\"")),
        "liveness.listener: \"c\" is no listener of the service: it has a, b"
    );
    assert_eq!(
        only("[readiness]\nkind = \"grpc\""),
        "readiness.listener: kind \"grpc\" asks a listener, and the service has none"
    );
}

#[test]
fn keys_that_mean_nothing_with_a_kind_are_refused() {
    assert_eq!(
        only("[readiness]\nkind = \"notify\"\npath = \"/\""),
        "readiness.path: has no meaning with kind \"notify\""
    );
    assert_eq!(
        only("[liveness]\nkind = \"exec\"\ncommand = [\"a\"]\nstatus = [1, 2]"),
        "liveness.status: has no meaning with kind \"exec\""
    );
    assert_eq!(
        only("[liveness]\nkind = \"notify\""),
        "liveness.kind: \"notify\" is none of http, https, grpc, tcp, exec"
    );
    assert_eq!(only("[liveness]\ninterval = \"1s\""), "liveness.kind: is missing");
    assert_eq!(
        only("[readiness]\nkind = \"alive\"\nsettle = \"60s\""),
        "readiness.settle: can never be ready: settle is not shorter than the deadline"
    );
}

#[test]
fn an_http_probe_that_cannot_be_asked_is_refused() {
    let with =
        |rest: &str| only(&format!("[listeners]\na = \"[::]:1\"\n[readiness]\nkind = \"http\"\n{rest}"));
    assert!(with("path = \"ready\"").contains("is no path of a request"));
    assert!(with("path = \"/a b\"").contains("is no path of a request"));
    assert!(with("path = \"/a\\r\\nX: y\"").contains("is no path of a request"));
    assert!(with("host = \"a\\r\\nb\"").contains("is no host"));
    assert!(with("status = [300, 200]").contains("holds no status code"));
    assert!(with("status = [200]").contains("expected the first and the last status code"));
    assert!(with("status = [99, 200]").contains("is outside 100 to 599"));
}

#[test]
fn metrics_that_cannot_be_read_are_refused() {
    let with = |rest: &str| only(&format!("[listeners]\na = \"[::]:1\"\n[metrics]\n{rest}"));
    assert_eq!(only("[metrics]"), "metrics: is asked through a listener, and the service has none");
    assert_eq!(with("listener = \"b\""), "metrics.listener: \"b\" is no listener of the service: it has a");
    assert_eq!(with("timeout = \"6s\""), "metrics.timeout: \"6s\" is outside 10ms to 5s");
    assert!(with("path = \"metrics\"").contains("is no path of a request"));
    assert!(with("host = \"a b\"").contains("is no host"));
    assert!(with("requests = \"a{\"").contains("expected a label or \"}\", found the end"));
    assert!(with("latency = 'a_bucket{le=\"1\"}'").contains("leave out the labels le and quantile"));
    let text = format!(
        "{SMALL}[listeners]\na = \"[::]:1\"\n[metrics]\nrequests = 'r{{a=~\"(\", b=1}}'\nerrors = \"rate(e[5m])\"\n"
    );
    let errors = errors(&text);
    let places: Vec<&str> = errors.all().iter().map(|error| &text[error.span.clone()]).collect();
    assert_eq!(places, ["\"(\"", "1", "("], "{errors}");
}

#[test]
fn what_a_prometheus_server_cannot_be_asked_for_is_refused() {
    let asked = "requests = \"r\"\nerrors = \"e\"\n";
    let with = |rest: &str| only(&format!("[metrics]\nsource = \"prometheus\"\n{rest}"));
    assert!(with("requests = \"r\"").starts_with("metrics.errors: is missing"));
    assert!(with("errors = \"e\"").starts_with("metrics.requests: is missing"));
    let rate = with("requests = 'sum by (host) (rate(r[5m]))'\nerrors = \"e\"");
    assert!(
        rate.starts_with("metrics.requests: expected \"{\" or the end after the metric's name"),
        "{rate}"
    );
    assert!(with(&format!("{asked}path = \"/metrics\"")).contains("where that is stands in server.toml"));
    assert!(with(&format!("{asked}host_label = \"le\"")).contains("is no label"));
    assert!(with(&format!("{asked}release_label = \"a-b\"")).contains("is no label"));
    assert!(with(&format!("{asked}release_label = \"host\"")).contains("cannot hold both"));
    assert!(with(&format!("{asked}host_label = \"version\"")).contains("cannot hold both"));
    assert!(with(&format!("{asked}latency = 'd_bucket{{le=\"1\"}}'")).contains("leave out the labels le"));
    let short = only(&format!("[judge]\nblock = \"10s\"\n[metrics]\nsource = \"prometheus\"\n{asked}"));
    assert!(short.contains("looks every 10s, and the metrics are read every 15s"), "{short}");
    let elsewhere = only("[listeners]\na = \"[::]:1\"\n[metrics]\nhost_label = \"host\"");
    assert!(elsewhere.contains("with source = \"prometheus\" only"), "{elsewhere}");
}

#[test]
fn a_canary_that_nobody_could_judge_is_refused() {
    let canary = "[rollout]\nstrategy = \"canary\"\n";
    assert!(only(canary).contains("is judged by the service's own metrics"), "{}", only(canary));
    let by_hand = format!("{canary}steps = [{{ share = \"5%\", approve = \"manual\" }}]\n");
    assert!(Manifest::parse(&format!("service = \"web\"\ncommand = [\"web\"]\n{by_hand}")).is_ok());
    let unmeasured = only(&format!("{by_hand}[judge]\nmax_memory = \"1GiB\"\n"));
    assert!(unmeasured.starts_with("judge.max_memory: nothing of this service is measured"), "{unmeasured}");
    let listeners = "[listeners]\nhttp = \"[::]:80\"\n";
    let short = only(&format!("[judge]\nblock = \"1s\"\n{listeners}[metrics]\n"));
    assert!(short.contains("looks every 1s, and the metrics are read every 5s"), "{short}");
    let tolerated = only("[judge]\ndifference = \"3%\"\n");
    assert!(
        tolerated.contains("judge.difference") && tolerated.contains("more than the difference"),
        "{tolerated}"
    );
    assert_eq!(only("[judge]\nmax_slow = { share = \"2%\" }\n"), "judge.max_slow.over: is missing");
    assert!(only("[judge]\nmax_slow = \"2%\"\n").starts_with("judge.max_slow: expected a table"));
}

#[test]
fn what_a_candidate_must_pass_is_at_least_one_program() {
    assert_eq!(only("[verify]\ntimeout = \"5s\""), "verify.commands: is missing");
    assert!(only("[verify]\ncommands = []").contains("has 0 commands, expected 1 to 16"));
    assert!(only("[verify]\ncommands = [[]]").starts_with("verify.commands[0]: has 0 words"));
    assert!(only("[verify]\ncommands = [\"bin/smoke\"]").starts_with("verify.commands[0]: expected a list"));
    assert!(only("[verify]\ncommands = [[\"../smoke\"]]").contains(".."));
}

#[test]
fn what_no_program_can_be_given_is_refused() {
    assert!(only("[environment]\n\"A=B\" = \"c\"").contains("is no variable's name"));
    assert!(only("[environment]\nLISTEN_FDS = \"1\"").contains("is set by the agent"));
    assert!(only("[environment]\nHANDOVER_X = \"1\"").contains("is set by the agent"));
    assert!(only("[environment]\nA = \"a\\u0000b\"").contains("contains a zero byte"));
    assert!(only("user = \"-a\"").contains("is no account"));
    assert!(only("user = \"4294967295\"").contains("is no account"));
    assert!(only("working_directory = \"a/../..\"").contains(".."));
    assert!(only("[drain]\nsignal = \"SIGKILL\"").contains("cannot be caught"));
    for command in ["[]", "[\"\"]", "[\"../bin/sh\"]", "[\"bin/\"]", "[1]", "[\"{x}\"]"] {
        let errors = errors(&format!("service = \"a\"\ncommand = {command}"));
        assert_eq!(errors.all().len(), 1, "{command}: {errors}");
    }
    let many = format!("service = \"a\"\ncommand = [{}]", "\"a\",".repeat(257));
    assert!(errors(&many).to_string().contains("257 words"));
    let long = format!("[environment]\nA = \"{}\"", "a".repeat(32 * 1024 + 1));
    assert!(only(&long).contains("more than the 32768"));
    let many: String = (0..257).map(|number| format!("A{number} = \"\"\n")).collect();
    assert!(only(&format!("[environment]\n{many}")).contains("257 variables"));
    let many: String = (0..65).map(|number| format!("a{number} = \"\"\n")).collect();
    assert!(only(&format!("[hosts]\n{many}")).contains("65 labels"));
}

#[test]
fn what_a_terminal_would_obey_is_escaped() {
    for text in ["\"\\u001b[31m\" = 1", "user = \"\\u001b[31m\"", "[environment]\n\"\\u001b\" = \"\""] {
        let shown = errors(&format!("{SMALL}{text}")).to_string();
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }
}

#[test]
fn a_file_that_is_no_manifest_is_refused_at_once() {
    let started = Instant::now();
    let huge = "a = [[[[\n".repeat(1_200_000);
    assert!(errors(&huge).to_string().contains("more than the 65536"));
    assert!(Manifest::from_bytes(huge.as_bytes()).unwrap_err().to_string().contains("more than the 65536"));
    assert!(started.elapsed() < Duration::from_secs(5));

    let wide = |text: &str| text.encode_utf16().collect::<Vec<_>>();
    let little: Vec<u8> = wide(SMALL).into_iter().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = wide(&format!("\u{feff}{SMALL}")).into_iter().flat_map(u16::to_be_bytes).collect();
    for bytes in [little, big] {
        assert!(Manifest::from_bytes(&bytes).unwrap_err().to_string().contains("is in UTF-16"));
    }
    assert!(
        Manifest::from_bytes(b"\x7fELF\x02\x01\x01\0\0").unwrap_err().to_string().contains("binary data")
    );
    let latin = Manifest::from_bytes(b"service = \"web\"\nuser = \"m\xfcller\"").unwrap_err();
    assert!(latin.to_string().contains("not UTF-8: byte 25"), "{latin}");
}

#[test]
fn the_deepest_and_widest_texts_are_refused_in_time() {
    let started = Instant::now();
    for text in [
        "a=".to_owned() + &"[".repeat(MAX_MANIFEST_BYTES - 2),
        "a.".repeat(MAX_MANIFEST_BYTES / 2 - 2) + "a=1",
        "[a]\n".repeat(MAX_MANIFEST_BYTES / 4),
        "{".repeat(MAX_MANIFEST_BYTES),
        "a={b=".repeat(MAX_MANIFEST_BYTES / 5),
        (0..8_000).map(|number| format!("k{number}=1\n")).collect(),
    ] {
        let errors = errors(&text);
        assert!(errors.all().len() <= 100);
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn a_schema_needs_a_database_a_range_of_versions_and_folders_of_the_bundle() {
    let schema = |rest: &str| only(&format!("[schema]\ndatabase = \"shop\"\n{rest}"));
    for (rest, message) in [
        (
            "reads = \"43..=41\"",
            "schema.reads: the range 43..=41 is empty: the first version is above the last",
        ),
        (
            "reads = \"41\"\nexpand = \"/srv/expand\"",
            "schema.expand: \"/srv/expand\" is absolute: migrations lie in the bundle",
        ),
        (
            "reads = \"41\"\nuses = [\"customers.email\", \"orders\"]",
            "schema.uses[1]: \"orders\" names no columns: it has neither two nor three parts; write TABLE.COLUMN or SCHEMA.TABLE.COLUMN, with `*` for all columns of a table",
        ),
        (
            "reads = \"41\"\nkind = \"mysql\"\nuses = [\"customers.email\"]",
            "schema.uses: only what migrations of PostgreSQL take away is known: leave it out, `reads` decides",
        ),
    ] {
        assert_eq!(schema(rest), message);
    }
    let name = only("[schema]\ndatabase = \"Shop\"\nreads = \"1\"");
    assert!(name.starts_with("schema.database: \"Shop\" is no database's name"), "{name}");
    let long = vec![format!("\"{0}.{0}.{0}\"", "x".repeat(63)); 11].join(", ");
    let long = schema(&format!("reads = \"41\"\nuses = [{long}]"));
    assert_eq!(long, "schema.uses: has names of 2101 bytes together, expected at most 2048");
}
