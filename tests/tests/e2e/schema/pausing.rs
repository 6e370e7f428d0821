//! A backfill that a person stops for a while.

use super::{
    renaming::{ADD, FILL_SLOWLY, table},
    shop::Shop,
};
use handover_tests::{
    fleet::{Sample, Traffic, UP},
    process::wait_until,
};

const ROWS: i64 = 2_500;
/// What is done as it says: by the backfill, and by the table of what it has done.
const DONE: &str = "SELECT coalesce(max(rows_done), 0)::bigint FROM handover_backfills";
const FILLED: &str = "SELECT count(*) FROM customers WHERE mail IS NOT NULL";
/// A batch that had begun before the pause ends within so many milliseconds.
const BATCH: u64 = 3_000;

#[test]
fn a_paused_backfill_stands_still_and_goes_on_where_it_was() {
    let Some(mut shop) = Shop::with_hosts(1, "pausing a backfill") else { return };
    shop.push(Sample::new("v1"), "1..=9", &[("expand", "0001_customers.sql", &table(ROWS))]);
    shop.fleet.deploy("v1").expect(0);
    let traffic = Traffic::on(&shop.fleet);
    let files = [("expand", "0002_mail.sql", ADD), ("backfill", "0003_mail.sql", FILL_SLOWLY)];
    shop.push(Sample::new("v2"), "2..=9", &files);
    let deploying = shop.fleet.begin("v2");
    shop.until("rows in the deployment's progress", |course| {
        let migration = &course["migration"];
        let rows = migration["rows"].as_u64();
        rows > Some(0) && rows < migration["of_rows"].as_u64() && migration["phase"] == "backfill"
    });
    let cli = shop.fleet.cli();
    cli.run(["pause", "web", "--reason", "lunch"]).expect(0);
    assert_eq!(deploying.end().expect(4).last()["state"], "paused");
    shop.until("the backfill to stand", |course| course["migration"]["doing"] == "paused");

    let before = (shop.number(DONE), shop.number(FILLED));
    assert!(before.0 > 0 && before.0 < ROWS && before.0 == before.1, "{before:?}");
    // Several batches long, and over a restart of the server.
    traffic.go_on_for(BATCH);
    shop.fleet.server.restart();
    shop.fleet.online(1);
    assert_eq!((shop.number(DONE), shop.number(FILLED)), before, "it went on while it was paused");
    let watched = shop.begin("resume", &["resume", "web", "--json"]);
    wait_until(UP, "rows in what is shown", || {
        let shown = watched.stdout();
        let lines = shown.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let rows = lines.filter_map(|line| line["migration"]["rows"].as_i64());
        rows.max().is_some_and(|rows| rows > before.0)
    });
    wait_until(UP, "the end", || !watched.is_running());
    assert_eq!(shop.number("SELECT count(*) FROM customers WHERE mail IS DISTINCT FROM email"), 0);
    assert_eq!(shop.number(DONE), ROWS, "each row once");
    assert_eq!(shop.applied(), ["1 expand customers", "2 expand mail", "3 backfill mail"]);
    traffic.stop().assert_no_failures();
}
