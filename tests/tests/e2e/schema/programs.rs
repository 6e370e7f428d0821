//! Migrations that are programs of the release: run once, under the lock, with the way to the database; mended where they
//! fail, run again where they were cut off, never two at once.

use super::shop::Shop;
use handover_tests::{
    fleet::{Sample, Traffic, UP},
    process::wait_until,
};
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

const LONG: Duration = Duration::from_secs(90);

/// A program in the language of the shell, with `sql` for what the database should do.
fn program(shop: &Shop, text: &str) -> String {
    let psql = shop.database.program("psql");
    format!(
        "#!/bin/sh\nset -e\nsql() {{ {} -X -v ON_ERROR_STOP=1 -qAt -d \"$HANDOVER_DATABASE_URL\" -c \"$1\"; }}\n{text}\n",
        psql.display()
    )
}

/// A shop in which programs write down that they were there.
fn shop(what: &str) -> Option<Shop> {
    let shop = Shop::with_hosts(2, what)?;
    let table = "CREATE TABLE runs (at bigserial, what text NOT NULL);";
    shop.push(Sample::new("v1"), "1..=9", &[("expand", "0001_runs.sql", table)]);
    shop.fleet.deploy("v1").expect(0);
    Some(shop)
}

/// What programs wrote down, in order.
fn runs(shop: &Shop) -> Vec<String> {
    let rows = shop.rows("SELECT at, what FROM runs ORDER BY at");
    rows.into_iter().filter_map(|(_, what)| what).collect()
}

/// A password in a file of the operator's, which the description of the database names.
fn with_password(shop: &Shop) -> PathBuf {
    let path = shop.fleet.path("shop.password");
    fs::write(&path, "hunter2\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    shop.describe_with(0, &format!("password_file = {path:?}\n"));
    path
}

#[test]
fn a_program_migrates_with_the_way_to_the_database_and_a_contract_comes_by_itself() {
    let Some(shop) = shop("migrations that are programs") else { return };
    let fleet = &shop.fleet;
    with_password(&shop);
    let traffic = Traffic::on(fleet);
    let go = fleet.path("go");
    let text = format!(
        "test \"$(cat \"$HANDOVER_DATABASE_PASSWORD_FILE\")\" = hunter2
test \"$(stat -c %a \"$HANDOVER_DATABASE_PASSWORD_FILE\")\" = 400
sql \"INSERT INTO runs (what) VALUES ('$HANDOVER_PHASE $HANDOVER_SCHEMA_VERSION $HANDOVER_SERVICE $HANDOVER_RELEASE again=$HANDOVER_MIGRATION_AGAIN lock=' || current_setting('lock_timeout'))\"
echo 'half of it is done'
until [ -e {} ]; do sleep 0.1; done",
        go.display()
    );
    let expand = program(&shop, &text);
    let contract = program(&shop, "sql \"INSERT INTO runs (what) VALUES ('contract')\"");
    let files = [("expand", "0002_import.run", &*expand), ("contract", "0003_old.run", &*contract)];
    shop.push_with(Sample::new("v2"), "1..=9", &files, "contract_after = \"3s\"\n");
    let deploying = fleet.begin("v2");
    shop.until("what the program says to be told", |course| {
        course.to_string().contains("expand/0002_import.run: half of it is done")
    });
    fs::write(&go, "").unwrap();
    deploying.end().expect(0);
    let first = "expand 2 web v2 again=0 lock=1s";
    assert_eq!(runs(&shop), [first]);
    let status = fleet.cli().run(["migrate", "status", "web"]).expect(0).stdout;
    assert!(status.contains("the contract comes by itself"), "{status}");
    wait_until(UP, "the contract to come by itself", || shop.status()["version"] == 3);
    assert_eq!(runs(&shop), [first, "contract"]);
    assert_eq!(shop.applied(), ["1 expand runs", "2 expand import", "3 contract old"]);
    let history = fleet.cli().run(["history", "web"]).expect(0).stdout;
    assert!(history.contains("server (contract after its time)"), "{history}");
    assert_eq!(fleet.versions(), ["v2"; 2]);
    for agent in &fleet.agents {
        assert!(!agent.log().contains("hunter2"), "the password is in the log");
    }
    let left = fs::read_dir(fleet.agents[0].runtime().join("migrating")).unwrap().count();
    assert_eq!(left, 0, "the copy of the password is gone");
    traffic.stop().assert_no_failures();
}

#[test]
fn a_program_that_fails_says_why_and_may_be_another_one_next_time() {
    let Some(shop) = shop("a migration's program that fails") else { return };
    let fleet = &shop.fleet;
    let fails = program(
        &shop,
        "sql \"INSERT INTO runs (what) VALUES ('half')\"\necho 'no such customer' >&2\nexit 4",
    );
    shop.push(Sample::new("v2"), "1..=9", &[("expand", "0002_import.run", &fails)]);
    let done = fleet.deploy("v2").expect(3);
    let reason = done.last()["reason"].as_str().unwrap().to_owned();
    assert!(
        reason.contains("expand/0002_import.run exited with code 4; its last words: no such customer")
            && reason.contains("the schema counts as version 1"),
        "{reason}"
    );
    assert_eq!((shop.applied().len(), fleet.versions()), (1, vec!["v1".to_owned(); 2]));
    let mended = program(&shop, "sql \"INSERT INTO runs (what) VALUES ('whole')\"");
    shop.push(Sample::new("v3"), "1..=9", &[("expand", "0002_import.run", &mended)]);
    fleet.deploy("v3").expect(0);
    assert_eq!(runs(&shop), ["half", "whole"]);
    assert_eq!(shop.applied(), ["1 expand runs", "2 expand import"]);
    shop.push(Sample::new("v4"), "1..=9", &[("expand", "0002_import.run", &fails)]);
    fleet.deploy("v4").expect(0);
    assert_eq!(runs(&shop).len(), 2, "what is applied is not run again");
}

#[test]
fn a_program_that_is_cut_off_is_ended_and_run_again_and_there_are_never_two() {
    let Some(mut shop) = shop("kills in the middle of a migration's program") else { return };
    let alone = shop.fleet.path("alone");
    // Whoever is beside it has the lock of the file, also what it left behind itself.
    let text = format!(
        "exec 9>{}\nflock -n 9 || {{ sql \"INSERT INTO runs (what) VALUES ('two at once')\"; exit 9; }}
sql \"INSERT INTO runs (what) VALUES ('$HANDOVER_SCHEMA_VERSION begins again=$HANDOVER_MIGRATION_AGAIN')\"
sleep 1000 &\n[ \"$HANDOVER_MIGRATION_AGAIN\" = 1 ] || sleep 600\nsql \"INSERT INTO runs (what) VALUES ('$HANDOVER_SCHEMA_VERSION ends')\"",
        alone.display()
    );
    for (number, of_agent) in [(2_usize, true), (3, false)] {
        let (version, name) = (format!("v{number}"), format!("{number:04}_slow.run"));
        let sample = Sample::new(&version).rollout("bake = \"100ms\"\noffline = \"wait\"");
        shop.push(sample, "1..=9", &[("expand", &name, &program(&shop, &text))]);
        let words = ["deploy", "web", "--version", &version, "--yes", "--json"];
        let mut deploying = shop.begin(&format!("deploy-{version}"), &words);
        let begins = format!("{number} begins again=0");
        wait_until(LONG, "the middle of the program", || runs(&shop).last() == Some(&begins));
        if of_agent {
            shop.fleet.agents[0].kill();
            shop.fleet.agents[0].start();
        } else {
            let session = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'handover migrate%'";
            assert!(shop.number(session) > 0, "there was no connection");
        }
        let status = deploying.wait(LONG);
        assert_eq!(status.code(), Some(0), "{}\n{}", deploying.stdout(), deploying.stderr());
        let expected = ["begins again=0", "begins again=1", "ends"].map(|what| format!("{number} {what}"));
        assert_eq!(runs(&shop)[3 * (number - 2)..], expected, "of agent: {of_agent}");
    }
    assert_eq!(shop.applied(), ["1 expand runs", "2 expand slow", "3 expand slow"]);
}

#[test]
fn half_a_contract_by_a_program_is_forgotten_by_nobody() {
    let Some(shop) = shop("a contract's program that fails in its middle") else { return };
    let (fleet, cli) = (&shop.fleet, shop.fleet.cli());
    let fails = program(&shop, "sql \"INSERT INTO runs (what) VALUES ('half')\"\nexit 5");
    shop.push(Sample::new("v2"), "1..=9", &[("contract", "0002_old.run", &fails)]);
    fleet.deploy("v2").expect(0);
    let contract = ["migrate", "contract", "web", "--yes", "--json"];
    let mut contracting = shop.begin("contract", &contract);
    shop.until("the contract to wait for a person", |course| course["state"] == "paused");
    cli.run(["abort", "web"]).expect(3);
    assert_ne!(contracting.wait(LONG).code(), Some(0), "{}", contracting.stdout());
    let looked = cli.run(["migrate", "expand", "web", "--yes"]).expect(3);
    assert!(
        looked.stdout.contains("version 2 (old) was begun in the phase contract and is not whole"),
        "{}",
        looked.stdout
    );
    let mended = program(&shop, "sql \"INSERT INTO runs (what) VALUES ('whole')\"");
    shop.push(Sample::new("v3"), "1..=9", &[("contract", "0002_old.run", &mended)]);
    let with = ["migrate", "contract", "web", "--release", "v3", "--yes"];
    let again = cli.run(with.iter().chain(&["--resolve", "2=did-not", "--reason", "half of it"]).copied());
    again.expect(0);
    assert_eq!(runs(&shop), ["half", "whole"]);
    assert_eq!(shop.applied(), ["1 expand runs", "2 contract old"]);
}
