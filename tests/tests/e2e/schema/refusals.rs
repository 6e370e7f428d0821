//! What is refused because of who reads the schema, and what a person can force.

use super::{
    renaming::{ADD, DROP, table},
    shop::Shop,
};
use handover_tests::{
    fleet::{Done, Sample, Traffic, UP},
    http,
    process::wait_until,
};
use serde_json::Value;

const FILES: super::shop::Files<'_> =
    &[("expand", "0002_mail.sql", ADD), ("contract", "0010_email.sql", DROP)];

fn at_v1(hosts: usize, reads: &str, what: &str) -> Option<Shop> {
    let shop = Shop::with_hosts(hosts, what)?;
    shop.push(Sample::new("v1"), reads, &[("expand", "0001_customers.sql", &table(100))]);
    shop.fleet.deploy("v1").expect(0);
    Some(shop)
}

fn contract(shop: &Shop, more: &[&str]) -> Done {
    let words = ["migrate", "contract", "web", "--yes"];
    shop.fleet.cli().run(words.iter().chain(more))
}

fn reasons(shop: &Shop) -> Vec<Value> {
    let entries = shop.fleet.cli().run(["audit", "--service", "web", "--json"]).expect(0).json();
    entries
        .into_iter()
        .filter(|entry| entry["detail"].as_str().is_some_and(|d| d.contains("contract")))
        .collect()
}

#[test]
fn an_expand_that_running_code_does_not_read_is_refused() {
    let Some(shop) = at_v1(2, "1..=1", "an expand that running code does not read") else { return };
    shop.push(Sample::new("v2"), "2..=10", FILES);
    let refused = shop.fleet.deploy("v2").expect(6).stderr;
    assert!(refused.contains("makes the schema of database shop 2, and web v1 (runs on"), "{refused}");
    assert!(refused.contains("reads 1\n"), "{refused}");
    let by_itself = ["migrate", "expand", "web", "--release", "v2", "--yes"];
    let refused = shop.fleet.cli().run(by_itself).expect(6).stderr;
    assert!(refused.contains("web v1 (runs on"), "{refused}");
    assert_eq!(shop.applied(), ["1 expand customers"]);
    assert_eq!(shop.fleet.versions(), ["v1"; 2]);
}

#[test]
fn a_contract_is_refused_for_a_warm_standby_and_forced_with_a_reason_that_stands_in_the_audit() {
    let Some(shop) = at_v1(2, "1..=9", "a contract with a standby") else { return };
    let traffic = Traffic::on(&shop.fleet);
    shop.push(Sample::new("v2").rollout("bake = \"100ms\"\nkeep_warm = \"1h\""), "2..=10", FILES);
    shop.fleet.deploy("v2").expect(0);
    let refused = contract(&shop, &[]).expect(6).stderr;
    assert!(refused.contains("web v1 (stands by on"), "{refused}");
    assert!(refused.contains("rollback target") && refused.contains("--force --reason WHY"), "{refused}");
    contract(&shop, &["--force"]).expect(2);
    let empty = contract(&shop, &["--force", "--reason", " "]);
    assert_ne!(empty.code, 0, "{}", empty.stdout);
    assert_eq!(shop.applied().len(), 2, "refused, and applied all the same");
    let status = shop.status();
    assert!(status["no_return"].as_str().unwrap().contains("web v1 (stands by on"), "{status}");

    contract(&shop, &["--force", "--reason", "v1 is history"]).expect(0);
    assert_eq!(shop.applied().last().unwrap(), "10 contract email");
    let audit = reasons(&shop);
    let forced: Vec<&Value> = audit.iter().filter(|entry| entry["reason"] == "v1 is history").collect();
    assert_eq!(forced.len(), 1, "{audit:#?}");
    assert_eq!(forced[0]["outcome"], "ok", "{forced:?}");
    assert!(forced[0]["detail"].as_str().unwrap().contains("force"), "{forced:?}");
    let lost = shop.fleet.cli().run(["rollback", "web", "--yes"]).stderr;
    assert!(lost.contains("web v1 reads 1..=9"), "{lost}");
    assert_eq!(shop.fleet.versions(), ["v2"; 2]);
    traffic.stop().assert_no_failures();
}

#[test]
fn a_column_that_a_release_says_it_uses_is_not_dropped_whatever_the_ranges_say() {
    let Some(shop) = Shop::with_hosts(2, "a contract of a column that is used") else { return };
    let uses = "uses = [\"customers.id\", \"Customers.EMail\"]\n";
    let table: &[_] = &[("expand", "0001_customers.sql", &*table(100))];
    shop.push_with(Sample::new("v1"), "1..=99", table, uses);
    shop.fleet.deploy("v1").expect(0);
    let traffic = Traffic::on(&shop.fleet);
    // Whoever wrote these ranges thought that v1 works without the column.
    shop.push(Sample::new("v2").rollout("bake = \"100ms\"\nkeep_warm = \"1h\""), "2..=99", FILES);
    let of_v2 = ["--release", "v2"];
    let uses =
        |who: &str| format!("web v1 ({who}) uses customers.email, which migration 10 of web v2 takes away");
    let columns = "SELECT count(*), string_agg(column_name, ' ' ORDER BY column_name) FROM information_schema.columns WHERE table_name = 'customers'";
    let both = [(2, Some("email id".to_owned()))];

    let runs = contract(&shop, &of_v2).expect(6).stderr;
    let hosts = shop.fleet.agents.iter().map(|agent| agent.host.clone()).collect::<Vec<_>>().join(", ");
    assert!(runs.contains(&uses(&format!("runs on {hosts}"))), "{runs}");
    contract(&shop, &["--release", "v2", "--force", "--reason", "now"]).expect(6);
    assert_eq!(shop.rows(columns), both);

    shop.fleet.deploy("v2").expect(0);
    let status = shop.status();
    let stands_by = uses(&format!("stands by on {hosts}; rollback target"));
    assert!(status["no_return"].as_str().unwrap().contains(&stands_by), "{status}");
    assert!(contract(&shop, &[]).expect(6).stderr.contains(&stands_by));
    assert_eq!(shop.rows(columns).first().map(|row| row.0), Some(3), "with the one that v2 added");

    contract(&shop, &["--force", "--reason", "v1 is history"]).expect(0);
    assert_eq!(shop.rows(columns), [(2, Some("id mail".to_owned()))]);
    let lost = shop.fleet.cli().run(["rollback", "web", "--yes"]).stderr;
    assert!(lost.contains("web v1 uses customers.email, which migration 10 of web v2 takes away"), "{lost}");
    assert_eq!(shop.fleet.versions(), ["v2"; 2]);
    traffic.stop().assert_no_failures();
}

#[test]
fn a_contract_is_refused_while_a_host_is_offline_that_may_come_back_with_the_old_release() {
    let Some(mut shop) = at_v1(2, "1..=9", "a contract with a host offline") else { return };
    shop.fleet.agents[1].kill();
    shop.fleet.offline(1);
    let named = shop.fleet.agents[1].host.clone();
    shop.push(Sample::new("v2"), "2..=10", FILES);
    shop.fleet.deploy("v2").expect(0);
    assert_eq!(shop.fleet.versions(), ["v2", "v1"], "its instance does not need its agent");
    // Another release, so that no rollback goes to v1: the host alone is the reason.
    shop.push(Sample::new("v3"), "2..=10", FILES);
    shop.fleet.deploy("v3").expect(0);
    let refused = contract(&shop, &[]).expect(6).stderr;
    assert!(refused.contains(&format!("web v1 (on offline {named}) reads 1..=9")), "{refused}");
    assert_eq!(shop.applied().len(), 2);

    // It comes back with v1, is brought to the current release, and then nothing is in the way.
    shop.fleet.agents[1].start();
    wait_until(UP, "the host to catch up", || http::version(shop.fleet.addresses()[1]) == "v3");
    wait_until(UP, "the end of that", || shop.course().is_null());
    contract(&shop, &[]).expect(0);
    assert_eq!(shop.applied().last().unwrap(), "10 contract email");
}

#[test]
fn a_host_that_comes_back_with_the_old_release_after_a_forced_contract_is_brought_to_the_current_one() {
    let Some(mut shop) = at_v1(2, "1..=9", "a forced contract with a host offline") else { return };
    shop.fleet.agents[1].lose_power();
    shop.fleet.offline(1);
    shop.push(Sample::new("v2"), "2..=10", FILES);
    shop.fleet.deploy("v2").expect(0);
    contract(&shop, &[]).expect(6);
    contract(&shop, &["--force", "--reason", "that host is scrap"]).expect(0);
    assert_eq!(shop.applied().last().unwrap(), "10 contract email");
    shop.fleet.agents[1].start();
    wait_until(UP, "the host to run what reads the schema", || shop.fleet.versions() == ["v2", "v2"]);
}
