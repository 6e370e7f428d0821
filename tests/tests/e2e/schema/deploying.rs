//! What a deployment does to a schema, and what a schema does to deployments.

use super::shop::Shop;
use handover_tests::fleet::{Sample, Traffic};

const TABLE: &str = "CREATE TABLE customers (id bigint PRIMARY KEY, email text NOT NULL);
INSERT INTO customers SELECT n, 'c' || n || '@example.org' FROM generate_series(1, 5000) AS n;";
const ADD: &str = "ALTER TABLE customers ADD COLUMN mail text;";
const FILL: &str = "-- handover: batch table=customers key=id size=500
UPDATE customers SET mail = email WHERE id BETWEEN :first AND :last AND mail IS DISTINCT FROM email;";
const DROP: &str = "ALTER TABLE customers DROP COLUMN email;";

#[test]
fn a_release_expands_its_schema_before_it_runs_fills_it_behind_and_contracts_by_command() {
    let Some(shop) = Shop::with_hosts(2, "schema stages of a deployment") else { return };
    let fleet = &shop.fleet;
    shop.push(Sample::new("v1"), "1..=3", &[("expand", "0001_customers.sql", TABLE)]);
    fleet.deploy("v1").expect(0);
    assert_eq!(shop.applied(), ["1 expand customers"]);
    let traffic = Traffic::on(fleet);
    let files = [
        ("expand", "0002_mail.sql", ADD),
        ("backfill", "0003_mail.sql", FILL),
        ("contract", "0004_mail.sql", DROP),
    ];
    shop.push(Sample::new("v2"), "2..=4", &files);
    let next = fleet.cli().run(["migrate", "plan", "web", "--release", "v2"]).expect(0).stdout;
    assert!(next.contains("stage 1: the expand migrations, run by"), "{next}");
    let plan = fleet.cli().run(["deploy", "web", "--version", "v2", "--plan"]).expect(0).stdout;
    assert!(plan.contains("stage 1: the expand migrations, run by"), "{plan}");
    assert!(plan.contains("stage 4: the backfill migrations, run by"), "{plan}");
    fleet.deploy("v2").expect(0);
    assert_eq!(shop.applied(), ["1 expand customers", "2 expand mail", "3 backfill mail"]);
    assert_eq!(shop.number("SELECT count(*) FROM customers WHERE mail IS DISTINCT FROM email"), 0);
    assert_eq!(fleet.versions(), ["v2"; 2]);

    let status = shop.status();
    assert_eq!(status["version"], 3, "{status}");
    assert!(status["no_return"].as_str().unwrap().contains("web v1 (rollback target)"), "{status}");
    let refused = fleet.cli().run(["migrate", "contract", "web", "--yes"]).expect(6).stderr;
    assert!(refused.contains("web v1 (rollback target) reads 1..=3"), "{refused}");
    fleet
        .cli()
        .run(["migrate", "contract", "web", "--force", "--reason", "v1 is history", "--yes"])
        .expect(0);
    assert_eq!(shop.applied().last().unwrap(), "4 contract mail");
    let lost = fleet.cli().run(["rollback", "web", "--yes"]).expect(1).stderr;
    assert!(
        lost.contains("the schema of database shop is at 4 since the contract of d3, and web v1 reads 1..=3"),
        "{lost}"
    );
    traffic.stop().assert_no_failures();
}

#[test]
fn each_phase_has_a_command_of_its_own_which_leaves_a_deployment_the_rest() {
    let Some(shop) = Shop::with_hosts(2, "phases by their own commands") else { return };
    let fleet = &shop.fleet;
    shop.push(Sample::new("v1"), "1..=4", &[("expand", "0001_customers.sql", TABLE)]);
    fleet.deploy("v1").expect(0);
    let traffic = Traffic::on(fleet);
    shop.push(
        Sample::new("v2"),
        "1..=4",
        &[("expand", "0002_mail.sql", ADD), ("backfill", "0003_mail.sql", FILL)],
    );
    fleet.cli().run(["migrate", "expand", "web", "--release", "v2", "--yes"]).expect(0);
    assert_eq!(shop.applied(), ["1 expand customers", "2 expand mail"]);
    assert_eq!(fleet.versions(), ["v1"; 2], "a migration deploys nothing");
    let plan = fleet.cli().run(["deploy", "web", "--version", "v2", "--plan"]).expect(0).stdout;
    assert!(!plan.contains("the expand migrations") && plan.contains("the backfill migrations"), "{plan}");
    fleet.deploy("v2").expect(0);
    let done = ["1 expand customers", "2 expand mail", "3 backfill mail"];
    assert_eq!(shop.applied(), done);

    let again = fleet.cli().run(["migrate", "backfill", "web", "--yes"]).stderr;
    assert!(again.contains("the schema is at 3 already; backfill of web v2 makes it 3"), "{again}");
    assert_eq!(shop.applied(), done);
    traffic.stop().assert_no_failures();
}
