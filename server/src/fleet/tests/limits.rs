//! The plain limits of a canary: what fails it whatever the old release does.

use super::{
    Fixture,
    canary::{CANARY, Clients, begun, reason, shown},
};

/// A canary that would pass in a while, with this limit.
fn with(limit: &str) -> String {
    format!("{}{limit}\n", CANARY.replace("20s", "300s"))
}

fn went_back(fleet: &Fixture) {
    for host in ["a", "b"] {
        assert_eq!(fleet.runs(host, "web").as_deref(), Some("1"));
    }
}

#[test]
fn one_that_has_more_memory_than_it_may_goes_back_with_host_and_both_figures() {
    let mut clients = Clients::new(1000, &[]);
    clients.uses = [("1", (120, 20)), ("2", (734, 20))].into();
    let (mut fleet, id) = begun(&mut clients, &with("max_memory = \"512MiB\""));
    let seconds = clients.until_settled(&mut fleet, id);
    assert!((20..60).contains(&seconds), "three ends of blocks are 20 s or more, not {seconds}");
    assert_eq!(
        reason(&fleet, id),
        "limit max_memory: canary 734.0 MiB on a against baseline 120.0 MiB, more than 512.0 MiB in 3 blocks in a row"
    );
    went_back(&fleet);
    let view = shown(&fleet, id);
    assert_eq!(view.ceilings[0].highest.as_ref().unwrap().host, "a");
}

#[test]
fn one_that_takes_more_of_a_processor_than_it_may_goes_back_though_nobody_asks_it_anything() {
    let mut clients = Clients::new(0, &[]);
    clients.uses = [("1", (120, 20)), ("2", (120, 212))].into();
    clients.silent = vec!["1", "2"];
    let (mut fleet, id) = begun(&mut clients, &with("max_cpu = \"150%\""));
    clients.until_settled(&mut fleet, id);
    assert_eq!(
        reason(&fleet, id),
        "limit max_cpu: canary 212.0 % of a processor on a against baseline 20.0 % of a processor, more than 150.0 % of a processor in 3 blocks in a row"
    );
    went_back(&fleet);
}

#[test]
fn one_that_is_slower_than_it_may_goes_back_though_the_old_release_is_as_slow() {
    let mut clients = Clients::new(1000, &[]);
    clients.slow = vec!["1", "2"];
    let (mut fleet, id) = begun(&mut clients, &with("max_slow = { over = \"50ms\", share = \"10%\" }"));
    clients.until_settled(&mut fleet, id);
    let reason = reason(&fleet, id);
    assert!(
        reason.starts_with("limit max_slow: canary ")
            && reason.contains(" slower than 0.05 s against baseline "),
        "{reason}"
    );
    went_back(&fleet);
}

#[test]
fn what_is_within_its_limits_or_not_measured_passes() {
    let limits =
        "max_memory = \"512MiB\"\nmax_cpu = \"150%\"\nmax_errors = \"5%\"\nmax_slow = { over = \"5s\" }";
    for uses in [vec![("1", (120, 20)), ("2", (512, 150))], Vec::new()] {
        let mut clients = Clients::new(1000, &[("1", 10), ("2", 10)]);
        clients.uses = uses.into_iter().collect();
        let (mut fleet, id) = begun(&mut clients, &format!("{CANARY}{limits}\n"));
        clients.until_settled(&mut fleet, id);
        assert_eq!(fleet.current("web").as_deref(), Some("2"));
    }
}

#[test]
fn a_server_that_is_killed_goes_on_counting_blocks_where_it_was() {
    let mut clients = Clients::new(1000, &[]);
    clients.uses = [("1", (120, 20)), ("2", (734, 20))].into();
    let (mut fleet, id) = begun(&mut clients, &with("max_memory = \"512MiB\""));
    let above = |fleet: &Fixture| {
        fleet.state.canary(id).map_or(0, |view| view.ceilings.first().map_or(0, |c| c.above))
    };
    for _ in 0..60 {
        if above(&fleet) == 2 {
            break;
        }
        clients.second(&mut fleet);
    }
    let before = shown(&fleet, id).ceilings;
    assert_eq!(before[0].above, 2);
    fleet.crash_and_start_again();
    assert_eq!(shown(&fleet, id).ceilings, before);
    let seconds = clients.until_settled(&mut fleet, id);
    assert!(seconds <= 35, "one block more is enough, not {seconds} s");
    went_back(&fleet);
}
