//! kill -9 of the server, of the agent that migrates, of its connection and of PostgreSQL, in each phase: nothing is applied
//! twice, nothing is half recorded, and the lock is free again.

use super::shop::Shop;
use handover_tests::{
    fleet::{Sample, UP},
    process::{Running, wait_until},
};
use std::time::{Duration, Instant};

/// The runner's lease: nobody has the lock for longer who is gone.
const LEASE: Duration = Duration::from_secs(30);
/// Longest deployment with a kill in it.
const LONG: Duration = Duration::from_secs(90);
const ROWS: i64 = 300;

#[derive(Clone, Copy, Debug)]
enum Victim {
    Server,
    Agent,
    Connection,
    Postgres,
}

const VICTIMS: [Victim; 4] = [Victim::Server, Victim::Agent, Victim::Connection, Victim::Postgres];
/// Whoever has the lock of migrations.
const HELD: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
const SESSIONS: &str = "FROM pg_stat_activity WHERE application_name LIKE 'handover migrate%'";

/// A release whose migrations take a while and can be counted: each leaves a row for each time that it took effect, and the
/// backfill adds one to each row.
fn push(shop: &Shop, version: &str, first: usize, lines: &str) {
    let counted =
        |phase: &str| format!("INSERT INTO counted VALUES ('{phase} of {version}');\nSELECT pg_sleep(1.2);");
    let (expand, contract) = (counted("expand"), counted("contract"));
    let files = [
        ("expand", &*format!("{first:04}_e.sql"), &*expand),
        (
            "backfill",
            &*format!("{:04}_b.sql", first + 1),
            "-- handover: batch table=work key=id size=10
UPDATE work SET done = done + 1 + length(pg_sleep(0.003)::text) WHERE id BETWEEN :first AND :last;",
        ),
        ("contract", &*format!("{:04}_c.sql", first + 2), &*contract),
    ];
    // A host whose agent was killed is offline for a moment: it is waited for.
    let sample = Sample::new(version).rollout("bake = \"100ms\"\noffline = \"wait\"");
    shop.push_with(sample, "1..=1000", &files, lines);
}

/// A shop with the tables that the migrations of these releases count in.
fn counting(what: &str) -> Option<Shop> {
    let shop = Shop::with_hosts(2, what)?;
    let tables = format!(
        "CREATE TABLE counted (what text NOT NULL);
CREATE TABLE work (id bigint PRIMARY KEY, done bigint NOT NULL);
INSERT INTO work SELECT n, 0 FROM generate_series(1, {ROWS}) AS n;"
    );
    shop.push(Sample::new("v0"), "1..=1000", &[("expand", "0001_tables.sql", &tables)]);
    shop.fleet.deploy("v0").expect(0);
    Some(shop)
}

/// Waits until the migration of this version is in the middle of its statement.
fn in_the_middle(shop: &Shop, version: usize, of_a_backfill: bool) {
    let works = format!("SELECT count(*) {SESSIONS} AND wait_event = 'PgSleep'");
    let began =
        format!("SELECT count(*) FROM handover_backfills WHERE version = {version} AND rows_done > 0");
    wait_until(LONG, &format!("the middle of migration {version}"), || {
        (!of_a_backfill || shop.number(&began) > 0) && shop.number(&works) > 0
    });
}

fn kill(shop: &mut Shop, victim: Victim, waits: bool) {
    let began = Instant::now();
    match victim {
        Victim::Server => shop.fleet.server.restart(),
        Victim::Agent => {
            shop.fleet.agents[0].kill();
            if waits {
                wait_until(LEASE, "the lock of an agent that is gone to be free", || shop.number(HELD) == 0);
                println!("  free {:.1} s after its agent was killed", began.elapsed().as_secs_f64());
            }
            shop.fleet.agents[0].start();
        }
        Victim::Connection => {
            let ended = shop.number(&format!("SELECT count(pg_terminate_backend(pid)) {SESSIONS}"));
            assert!(ended > 0, "there was no connection");
        }
        Victim::Postgres => {
            shop.database.kill();
            shop.database.restart();
        }
    }
}

fn ended(mut command: Running, point: &str) {
    let status = command.wait(LONG);
    assert_eq!(status.code(), Some(0), "{point}:\n{}\n{}", command.stdout(), command.stderr());
}

#[test]
fn whoever_is_killed_in_whichever_phase_nothing_is_applied_twice_or_half_recorded() {
    let Some(mut shop) = counting("kills in the middle of migrations") else { return };
    for (number, victim) in (1..).zip(VICTIMS) {
        let (version, first) = (format!("v{number}"), number * 10);
        push(&shop, &version, first, "");
        let began = Instant::now();
        let deploying = shop.begin(
            &format!("deploy-{version}"),
            &["deploy", "web", "--version", &version, "--yes", "--json"],
        );
        in_the_middle(&shop, first, false);
        kill(&mut shop, victim, false);
        println!("{victim:?} killed during expand, {:.1} s", began.elapsed().as_secs_f64());
        in_the_middle(&shop, first + 1, true);
        kill(&mut shop, victim, true);
        println!("{victim:?} killed during backfill, {:.1} s", began.elapsed().as_secs_f64());
        ended(deploying, &format!("{victim:?} killed in {version}"));
        let contracting =
            shop.begin(&format!("contract-{version}"), &["migrate", "contract", "web", "--yes", "--json"]);
        in_the_middle(&shop, first + 2, false);
        kill(&mut shop, victim, false);
        println!("{victim:?} killed during contract, {:.1} s", began.elapsed().as_secs_f64());
        ended(contracting, &format!("{victim:?} killed in the contract of {version}"));
        println!("{victim:?}: over after {:.1} s", began.elapsed().as_secs_f64());

        for phase in ["expand", "contract"] {
            let times = format!("SELECT count(*) FROM counted WHERE what = '{phase} of {version}'");
            assert_eq!(shop.number(&times), 1, "{victim:?}: times that {phase} took effect");
        }
        let rows = format!("SELECT count(*) FROM work WHERE done <> {number}");
        assert_eq!(shop.number(&rows), 0, "{victim:?}: rows that the backfill did not do once");
        let recorded = ["e", "b", "c"].into_iter().zip(["expand", "backfill", "contract"]);
        let recorded: Vec<String> =
            (first..).zip(recorded).map(|(at, (name, phase))| format!("{at} {phase} {name}")).collect();
        let applied = shop.applied();
        assert_eq!(applied[applied.len() - 3..], recorded, "{victim:?}");
        assert_eq!(shop.number("SELECT count(*) FROM handover_migrations WHERE state <> 'applied'"), 0);
        assert_eq!(shop.fleet.versions(), [&*version, &*version]);
        wait_until(LEASE, "the lock to be free", || shop.number(HELD) == 0);
        assert_eq!(shop.status()["version"], first + 2, "{victim:?}: what the server knows");
    }
    wait_until(UP, "nothing to go on", || shop.course().is_null());
}

#[test]
fn whoever_stays_away_ends_the_deployment_with_what_stands_and_the_next_one_goes_on() {
    let Some(mut shop) = counting("what migrates stays away") else { return };
    for (number, victim) in [(1_usize, Victim::Agent), (2, Victim::Postgres)] {
        let (version, first) = (format!("v{number}"), number * 10);
        push(&shop, &version, first, "within = \"4s\"");
        let deploying = shop.fleet.begin(&version);
        in_the_middle(&shop, first, false);
        let applied = shop.applied();
        let said = if number == 1 {
            shop.fleet.agents[0].kill();
            ["they did not end within 4s; the host is offline"; 2]
        } else {
            // Which comes first, the server's bound or the agent's, is a matter of milliseconds.
            shop.database.kill();
            ["the database is gone", "it took longer than it may (4 s). The schema is at version "]
        };
        // The host that migrates is not there to go back; there was nothing on it yet that would have to.
        let done = deploying.end();
        let end = done.last();
        println!("{victim:?}: {} {}", done.code, end["reason"]);
        assert_eq!(done.code, 3, "{victim:?}: {end}");
        let reason = end["reason"].as_str().unwrap();
        assert!(said.iter().any(|said| reason.contains(said)), "{victim:?}: {end}");
        if number == 1 {
            shop.fleet.agents[0].start();
        } else {
            shop.database.restart();
        }
        shop.fleet.online(2);
        wait_until(LEASE, "the lock to be free", || shop.number(HELD) == 0);
        assert_eq!(shop.applied(), applied, "{victim:?}: what was taken back stands");
        assert_eq!(shop.number("SELECT count(*) FROM counted"), 2 * (i64::from(number == 2)), "{victim:?}");
        shop.fleet.deploy(&version).expect(0);
        shop.fleet.cli().run(["migrate", "contract", "web", "--yes"]).expect(0);
        let counted = format!("SELECT count(*) FROM counted WHERE what LIKE '% of {version}'");
        assert_eq!(shop.number(&counted), 2, "{victim:?}: expand and contract, once each");
        assert_eq!(shop.number(&format!("SELECT count(*) FROM work WHERE done <> {number}")), 0);
        assert_eq!(shop.fleet.versions(), [&*version, &*version]);
    }
}
