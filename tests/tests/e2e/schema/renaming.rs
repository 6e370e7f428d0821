//! A column is renamed, over three releases, under load: `email` becomes `mail`. docs/schema.md tells the same story.
//!
//! | release | code | reads | migrations |
//! | --- | --- | --- | --- |
//! | v1 | `email` | 1..=9 | 1 makes the table |
//! | v2 | writes both, reads `email` | 2..=9 | expand 2 adds `mail`, backfill 3 fills it |
//! | v3 | writes both, reads `mail` | 3..=19 | |
//! | v4 | `mail` | 10..=29 | expand 10: `email` may be empty; contract 20 drops it |
//!
//! What takes something away from code that is there begins the next ten.

use super::{customers::Clients, shop::Shop};
use handover_tests::fleet::Sample;
use serde_json::Value;
use std::time::Instant;

/// Customers where all goes forward.
const ROWS: i64 = 1_000_000;
/// Customers where a slow backfill is what matters.
const FEW: i64 = 4_000;

pub(super) const ADD: &str = "ALTER TABLE customers ADD COLUMN mail text;";
/// Not only where `mail` is missing: while v1 and v2 ran beside each other, v1 wrote `email` alone.
pub(super) const FILL: &str = "-- handover: batch table=customers key=id size=1000
UPDATE customers SET mail = email WHERE id BETWEEN :first AND :last AND mail IS DISTINCT FROM email;";
/// The same, slowly.
pub(super) const FILL_SLOWLY: &str = "-- handover: batch table=customers key=id size=20
UPDATE customers SET mail = email || pg_sleep(0.001)::text
WHERE id BETWEEN :first AND :last AND mail IS DISTINCT FROM email;";
const MAY_BE_EMPTY: &str = "ALTER TABLE customers ALTER COLUMN email DROP NOT NULL;";
pub(super) const DROP: &str = "ALTER TABLE customers DROP COLUMN email;";

pub(super) fn table(rows: i64) -> String {
    format!(
        "CREATE TABLE customers (id bigint PRIMARY KEY, email text NOT NULL);
INSERT INTO customers SELECT n, 'c' || n || '@example.org' FROM generate_series(1, {rows}) AS n;
ANALYZE customers;"
    )
}

/// A shop at v1.
fn at_v1(rows: i64, what: &str) -> Option<Shop> {
    let shop = Shop::with_hosts(2, what)?;
    shop.push(shop.shop("v1", "old"), "1..=9", &[("expand", "0001_customers.sql", &table(rows))]);
    shop.fleet.deploy("v1").expect(0);
    Some(shop)
}

#[test]
fn a_column_of_a_million_rows_is_renamed_over_three_releases_and_no_request_fails_and_no_row_is_lost() {
    let Some(shop) = at_v1(ROWS, "the rename of a column over three releases") else { return };
    let (fleet, cli) = (&shop.fleet, shop.fleet.cli());
    let clients = Clients::on(&shop, ROWS);
    let files = [("expand", "0002_mail.sql", ADD), ("backfill", "0003_mail.sql", FILL)];
    shop.push(shop.shop("v2", "both"), "2..=9", &files);
    let began = Instant::now();
    fleet.deploy("v2").expect(0);
    println!("v2 with the backfill of {ROWS} rows took {:.1} s", began.elapsed().as_secs_f64());
    clients.go_on();
    assert_eq!(shop.number("SELECT count(*) FROM customers WHERE mail IS DISTINCT FROM email"), 0);
    shop.push(shop.shop("v3", "switched"), "3..=19", &[]);
    fleet.deploy("v3").expect(0);
    clients.go_on();
    let files = [("expand", "0010_optional.sql", MAY_BE_EMPTY), ("contract", "0020_email.sql", DROP)];
    shop.push(shop.shop("v4", "new"), "10..=29", &files);
    fleet.deploy("v4").expect(0);
    clients.go_on();

    // v3 writes `email`: as long as a rollback goes to it, the column stays.
    let refused = cli.run(["migrate", "contract", "web", "--yes"]).expect(6).stderr;
    assert!(refused.contains("web v3 (rollback target) reads 3..=19"), "{refused}");
    let force = ["migrate", "contract", "web", "--force", "--reason", "v4 is good", "--yes"];
    cli.run(force).expect(0);
    clients.go_on();
    assert_eq!(
        shop.applied(),
        ["1 expand customers", "2 expand mail", "3 backfill mail", "10 expand optional", "20 contract email"]
    );
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'customers'";
    assert_eq!(shop.number(columns), 2, "id and mail");
    assert_eq!(fleet.versions(), ["v4", "v4"]);
    clients.stop().assert_nothing_is_lost(&shop, "mail");
}

#[test]
fn going_back_at_each_point_before_the_contract_keeps_every_row_right() {
    let Some(shop) = at_v1(FEW, "rollbacks in the middle of a rename") else { return };
    let (fleet, cli) = (&shop.fleet, shop.fleet.cli());
    let clients = Clients::on(&shop, FEW);
    let back = |to: &str| {
        cli.run(["rollback", "web", "--yes"]).expect(0);
        assert_eq!(fleet.versions(), [to, to]);
        clients.go_on();
    };
    let slow = |sample: Sample| sample.rollout("bake = \"3s\"");
    let files = [("expand", "0002_mail.sql", ADD), ("backfill", "0003_mail.sql", FILL_SLOWLY)];

    // In the middle of v2's roll-out: its expand stands, and v1 reads what that made.
    shop.push(slow(shop.shop("v2", "both")), "2..=9", &files);
    let deploying = fleet.begin("v2");
    fleet.until_version(0, "v2");
    clients.go_on();
    cli.run(["abort", "web"]).expect(3);
    let _ = deploying.end().expect(3);
    assert_eq!((fleet.versions(), shop.applied().len()), (vec!["v1".to_owned(); 2], 2));
    clients.go_on();

    // In the middle of its backfill, which stays where it was.
    shop.push(shop.shop("v2.1", "both"), "2..=9", &files);
    let deploying = fleet.begin("v2.1");
    shop.until("some rows to be done", |course| course["migration"]["rows"].as_u64() > Some(0));
    cli.run(["abort", "web"]).expect(3);
    let _ = deploying.end().expect(3);
    assert_eq!((fleet.versions(), shop.applied().len()), (vec!["v1".to_owned(); 2], 2));
    clients.go_on();

    // After its backfill. v1 writes `email` alone from here on, also of customers that are behind the backfill.
    fleet.deploy("v2.1").expect(0);
    assert_eq!(shop.applied().len(), 3);
    back("v1");

    // So what is filled is not right any more: it is done again, before anything reads `mail` or takes `email` away.
    let wrong = "SELECT count(*) FROM customers WHERE mail IS DISTINCT FROM email";
    assert!(shop.number(wrong) > 0, "v1 wrote nothing: the case shows nothing");
    shop.push(shop.shop("v3", "switched"), "3..=19", &[]);
    let early = fleet.deploy("v3").expect(6).stderr;
    assert!(
        early.contains("backfill 3 of database shop is not right any more: web v1 has run since")
            && early.contains("do it again"),
        "{early}"
    );
    assert_eq!(shop.status()["overtaken"]["by_version"], "v1");
    fleet.deploy("v2.1").expect(0);
    assert_eq!((shop.number(wrong), shop.applied().len()), (0, 3));
    assert_eq!(shop.status()["overtaken"], Value::Null);
    clients.go_on();

    // After v3: it writes `email` for v2's sake.
    fleet.deploy("v3").expect(0);
    clients.go_on();
    back("v2.1");
    fleet.deploy("v3").expect(0);

    // After v4, which writes `mail` alone: v3 reads that. v2 would read what is old, and is not gone back to.
    let files = [("expand", "0010_optional.sql", MAY_BE_EMPTY), ("contract", "0020_email.sql", DROP)];
    shop.push(shop.shop("v4", "new"), "10..=29", &files);
    fleet.deploy("v4").expect(0);
    clients.go_on();
    assert!(shop.number(wrong) > 0, "v4 wrote nothing: the case shows nothing");
    back("v3");
    let lost = cli.run(["deploy", "web", "--version", "v2.1", "--yes"]).expect(6).stderr;
    assert!(lost.contains("at 10 since the expand of") && lost.contains("web v2.1 reads 2..=9"), "{lost}");
    fleet.deploy("v4").expect(0);

    clients.go_on();
    cli.run(["migrate", "contract", "web", "--force", "--reason", "v4 is good", "--yes"]).expect(0);
    clients.go_on();
    let lost = cli.run(["rollback", "web", "--yes"]).stderr;
    assert!(lost.contains("at 20 since the contract of") && lost.contains("web v3 reads 3..=19"), "{lost}");
    clients.stop().assert_nothing_is_lost(&shop, "mail");
}
