//! A migration that waits behind somebody's long transaction.

use super::{
    renaming::{ADD, table},
    shop::Shop,
};
use handover_tests::{fleet::UP, http::Connection, process::wait_until};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// As the release has it.
const LOCK_TIMEOUT: Duration = Duration::from_millis(400);
/// What a request takes at most beside it, on a machine that compiles at the same time.
const BESIDE: Duration = Duration::from_millis(600);

#[test]
fn a_migration_behind_a_long_transaction_holds_requests_up_no_longer_than_its_lock_timeout() {
    let Some(shop) = Shop::with_hosts(2, "a migration that waits for a lock") else { return };
    let fleet = &shop.fleet;
    shop.push(shop.shop("v1", "old"), "1..=9", &[("expand", "0001_customers.sql", &table(1000))]);
    fleet.deploy("v1").expect(0);
    shop.push_with(
        shop.shop("v2", "both"),
        "2..=9",
        &[("expand", "0002_mail.sql", ADD)],
        "lock_timeout = \"400ms\"",
    );

    let long = shop.session("BEGIN; SELECT count(*) FROM customers;");
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = fleet
        .addresses()
        .into_iter()
        .map(|address| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let (mut times, mut id) = (Vec::new(), 0);
                while !stop.load(Ordering::Relaxed) {
                    id = id % 1000 + 1;
                    let began = Instant::now();
                    let answer = Connection::open(address).unwrap().get(&format!("/customers/{id}")).unwrap();
                    assert_eq!(answer.status, 200, "{answer:?}");
                    times.push(began.elapsed());
                }
                times.sort();
                times
            })
        })
        .collect();
    let deploying = fleet.begin("v2");
    // Who watches is told who holds the lock, and status says it as well.
    let blocked = |text: &str| {
        text.contains("waits for a lock; customers, held by session ") && text.contains("(test)")
    };
    shop.until("status to say who holds the lock", |course| {
        course["migration"]["doing"].as_str().is_some_and(blocked)
    });
    for (name, words) in [("json", &["watch", "web", "--json"][..]), ("plain", &["watch", "web"])] {
        let watch = shop.begin(name, words);
        wait_until(UP, "watch to say who holds the lock", || blocked(&watch.stdout()));
        watch.kill();
    }
    wait_until(UP, "status to say it to people", || {
        blocked(&fleet.cli().run(["status", "web"]).expect(0).stdout)
    });
    // Several tries, each of which queues everybody up behind it.
    shop.until("the fourth try", |course| {
        let doing = course["migration"]["doing"].as_str().unwrap_or_default();
        doing.contains("try 4 of ") || doing.contains("try 5 of ")
    });
    assert_eq!(shop.applied(), ["1 expand customers"]);
    shop.let_go(long);
    deploying.end().expect(0);
    assert_eq!(shop.applied(), ["1 expand customers", "2 expand mail"]);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        let times = client.join().unwrap();
        let (worst, p99) = (times[times.len() - 1], times[times.len() * 99 / 100]);
        println!("{} requests: p99 {p99:?}, worst {worst:?}, lock timeout {LOCK_TIMEOUT:?}", times.len());
        assert!(worst > LOCK_TIMEOUT / 2, "nobody waited behind it: the case shows nothing ({worst:?})");
        assert!(p99 < LOCK_TIMEOUT, "{p99:?}");
        assert!(worst < LOCK_TIMEOUT + BESIDE, "{worst:?}");
    }
}
