//! The table of keys and the reader are one: what the table says holds for every key when manifests are read.

use super::WHOLE;
use crate::config::{Absent, Entry, LANGUAGE, Manifest, Shape, Table};

/// What a Prometheus server must be asked for.
const ASKED: &str = "requests = \"r\"\nerrors = \"e\"\n";

/// A good manifest up to the line of one key, which comes last: the tables that it needs are there.
fn before(table: &Table, key: &str) -> String {
    let top = |rest: &str| {
        let service = if key == "service" && table.name.is_empty() { "" } else { "service = \"web\"\n" };
        let command =
            if key == "command" && table.name.is_empty() { "" } else { "command = [\"bin/web\"]\n" };
        format!("{service}{command}{rest}")
    };
    let address = if key == "address" { "" } else { "address = \"[::]:2\"\n" };
    let listeners = "[listeners]\nmain = \"[::]:1\"\n";
    match table.name {
        "" => top(""),
        "listeners.NAME" => top(&format!("[listeners.main]\n{address}")),
        "readiness" | "liveness" => {
            let kind = table.kinds().into_iter().find(|(_, keys)| keys.contains(&key)).map(|(kind, _)| kind);
            let kind = kind.or((table.name == "liveness").then_some("http")).filter(|_| key != "kind");
            let kind = kind.map(|kind| format!("kind = \"{kind}\"\n")).unwrap_or_default();
            let check = if kind.contains("exec") && key != "command" { "command = [\"a\"]\n" } else { "" };
            top(&format!("{listeners}[{}]\n{kind}{check}", table.name))
        }
        "verify" if key == "timeout" => top("[verify]\ncommands = [[\"a\"]]\n"),
        "rollout.steps" => top("[rollout]\n[[rollout.steps]]\n"),
        // Without a listener there is no flip.
        "rollout" if key == "confirm" => top(&format!("{listeners}[rollout]\n")),
        "judge.max_slow" if key != "over" => top("[judge.max_slow]\nover = \"1s\"\n"),
        // A canary is judged by the service's metrics.
        "rollout" if key == "strategy" => top(&format!("{listeners}[metrics]\n[rollout]\n")),
        // A block is at least as long as the interval of the metrics.
        "metrics" if key == "interval" => top(&format!("[judge]\nblock = \"5m\"\n{listeners}[metrics]\n")),
        // A timeout is at most the interval.
        "metrics" if key == "timeout" => {
            top(&format!("[judge]\nblock = \"5m\"\n{listeners}[metrics]\ninterval = \"1m\"\n"))
        }
        "metrics" if key.ends_with("_label") => top(&format!("[metrics]\nsource = \"prometheus\"\n{ASKED}")),
        "metrics" => top(&format!("{listeners}[metrics]\n")),
        "schema" => {
            let database = if key == "database" { "" } else { "database = \"shop\"\n" };
            let reads = if key == "reads" { "" } else { "reads = \"1\"\n" };
            // Only a contract that there is can come by itself.
            let contract = if key == "contract_after" { "contract = \"contract\"\n" } else { "" };
            top(&format!("[schema]\n{database}{reads}{contract}"))
        }
        name => top(&format!("[{name}]\n")),
    }
}

fn with(table: &Table, key: &str, value: &str) -> String {
    format!("{}{key} = {value}\n", before(table, key))
}

fn path(table: &Table, key: &str) -> String {
    match table.name {
        "" => key.to_owned(),
        "rollout.steps" => format!("rollout.steps[0].{key}"),
        name => format!("{}.{key}", name.replace("NAME", "main")),
    }
}

fn every_key() -> Vec<(&'static Table, Entry)> {
    let tables = LANGUAGE.all();
    tables.into_iter().flat_map(|table| table.entries().map(move |entry| (table, entry))).collect()
}

#[track_caller]
fn is_taken(table: &Table, key: &str, value: &str) {
    let text = with(table, key, value);
    let read = Manifest::parse(&text);
    assert!(read.is_ok(), "{} = {value} was refused:\n{text}\n{read:?}", path(table, key));
}

#[track_caller]
fn is_refused(table: &Table, key: &str, value: &str) {
    let text = with(table, key, value);
    let Err(errors) = Manifest::parse(&text) else {
        panic!("{} = {value} was taken:\n{text}", path(table, key))
    };
    let about = path(table, key);
    let found =
        errors.all().iter().any(|error| error.key == about || error.key.starts_with(&format!("{about}[")));
    assert!(found, "{about} = {value} gave other mistakes:\n{errors}");
}

#[test]
fn every_key_of_the_table_is_read() {
    for (table, entry) in every_key() {
        // Nothing takes a floating-point number: a key that takes one is not read at all.
        is_refused(table, entry.name, "1.5");
    }
}

#[test]
fn every_key_that_is_read_stands_in_the_table() {
    // The whole language uses every key but those that exclude others; each of these is in `with` elsewhere here.
    let keys: Vec<&str> = every_key().iter().map(|(_, entry)| entry.name).collect();
    for line in WHOLE.lines().filter(|line| line.contains(" = ")) {
        let key = line.split(" = ").next().unwrap();
        assert!(keys.contains(&key) || ["ZONE", "http", "admin"].contains(&key), "{key}");
    }
    assert!(Manifest::parse(WHOLE).is_ok());
}

#[test]
fn what_the_table_calls_a_default_changes_nothing_when_it_is_written_down() {
    let mut tried = 0;
    for (table, entry) in every_key() {
        if let Absent::Default(default) = entry.absent {
            let without = Manifest::parse(&before(table, entry.name)).unwrap();
            let text = with(table, entry.name, default);
            let written = Manifest::parse(&text).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
            assert_eq!(written, without, "{} = {default}", path(table, entry.name));
            tried += 1;
        }
    }
    assert!(tried > 20, "only {tried} defaults");
}

#[test]
fn what_the_table_calls_required_is_and_its_example_is_good() {
    let mut tried = 0;
    for (table, entry) in every_key() {
        let Absent::Required(example) = entry.absent else { continue };
        let about = path(table, entry.name);
        // `command` of a probe is required by its kind only.
        let errors = Manifest::parse(&before(table, entry.name)).unwrap_err();
        let missing = errors.all().iter().find(|error| error.key == about).unwrap();
        assert_eq!(missing.message, "is missing", "{about}");
        assert!(missing.hint.as_ref().is_some_and(|hint| hint.ends_with(example)), "{about}: {missing}");
        let written = format!("{}{example}\n", before(table, entry.name));
        assert!(Manifest::parse(&written).is_ok(), "{written}");
        tried += 1;
    }
    assert_eq!(tried, 10);
}

#[test]
fn both_ends_of_every_range_are_taken_and_nothing_beyond() {
    fn try_shape(table: &Table, key: &str, shape: &Shape) {
        match shape {
            Shape::Duration(from, to) => {
                let millis = |millis: u128| format!("\"{millis}ms\"");
                // A range that another key narrows: the pauses of a restart.
                if key != "max" {
                    is_taken(table, key, &millis(from.as_millis()));
                }
                // An instance must be able to settle within its deadline, which is one minute here.
                if key != "settle" {
                    is_taken(table, key, &millis(to.as_millis()));
                }
                is_refused(table, key, &millis(to.as_millis() + 1));
                if let Some(below) = from.as_millis().checked_sub(1) {
                    is_refused(table, key, &millis(below));
                }
            }
            Shape::Integer(from, to) | Shape::Size(from, to) => {
                is_taken(table, key, &from.to_string());
                is_taken(table, key, &to.to_string());
                is_refused(table, key, &(i128::from(*from) - 1).to_string());
                is_refused(table, key, &(to + 1).to_string());
            }
            Shape::Percent(from, to) => {
                is_taken(table, key, &format!("\"{from}%\""));
                is_taken(table, key, &format!("\"{to}%\""));
                is_refused(table, key, &format!("\"{}%\"", from - 1));
                is_refused(table, key, &format!("\"{}%\"", to + 1));
            }
            Shape::Fraction(from, to) => {
                let percent =
                    |millionths: u32| format!("\"{}.{:04}%\"", millionths / 10_000, millionths % 10_000);
                // What is intolerable must be more than what is tolerated, 0.2 % here, or 2 %.
                if key != "intolerable" {
                    is_taken(table, key, &percent(*from));
                }
                if key != "difference" {
                    is_taken(table, key, &percent(*to));
                }
                if let Some(below) = from.checked_sub(1) {
                    is_refused(table, key, &percent(below));
                }
                is_refused(table, key, &percent(to + 1));
            }
            Shape::List(member, most) => {
                let member = match **member {
                    Shape::Texts(..) => "[\"a\"]",
                    _ if key == "uses" => "\"a.b\"",
                    Shape::Text(_) => "\"a\"",
                    _ => "\"5%\"",
                };
                let list = |length: usize| format!("[{}]", vec![member; length].join(", "));
                is_taken(table, key, &list(1));
                is_taken(table, key, &list(*most));
                is_refused(table, key, "[]");
                is_refused(table, key, &list(most + 1));
            }
            Shape::Range(from, to) => {
                is_taken(table, key, &format!("[{from}, {to}]"));
                is_refused(table, key, &format!("[{}, {to}]", from - 1));
                is_refused(table, key, &format!("[{from}, {}]", to + 1));
            }
            Shape::Words(words) => {
                for (word, _) in words {
                    let more = match (key, *word) {
                        ("kind", "exec") => "command = [\"a\"]",
                        ("source", "prometheus") => ASKED,
                        _ => "",
                    };
                    is_taken(table, key, &format!("\"{word}\"\n{more}"));
                }
                is_refused(table, key, "\"nonsense\"");
            }
            Shape::Either(shapes) => shapes.iter().for_each(|shape| try_shape(table, key, shape)),
            Shape::Texts(_, most) => {
                let list = |length: usize| format!("[{}]", vec!["\"a\""; length].join(", "));
                is_taken(table, key, &list(1));
                is_taken(table, key, &list(*most));
                is_refused(table, key, "[]");
                is_refused(table, key, &list(most + 1));
            }
            Shape::Text(_) | Shape::Table(_) => {}
            Shape::Members(_, _, most) => {
                let value = if key == "listeners" { "\"127.0.0.1:PORT\"" } else { "\"a\"" };
                let members = |count: usize| {
                    let member = |n: usize| format!("a{n} = {}", value.replace("PORT", &(n + 1).to_string()));
                    format!("{{ {} }}", (0..count).map(member).collect::<Vec<_>>().join(", "))
                };
                is_taken(table, key, &members(*most));
                is_refused(table, key, &members(most + 1));
            }
        }
    }
    for (table, entry) in every_key() {
        try_shape(table, entry.name, &entry.shape);
    }
}

#[test]
fn names_and_meanings_are_plain_sentences() {
    for (table, entry) in every_key() {
        let about = path(table, entry.name);
        assert!(entry.meaning.ends_with('.'), "{about}");
        assert!(
            !entry.meaning.contains('|') && !entry.shape.to_string().contains('|'),
            "{about}: a table's cell"
        );
    }
}
