//! The plain limits of a canary: what fails it whatever the old release does.

use super::{
    Fixture,
    canary::{CANARY, Clients, begun, passed, reason, shown},
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
fn one_that_resets_more_of_its_connections_than_it_may_goes_back_with_both_figures() {
    let mut clients = Clients::new(1000, &[]);
    clients.resets = [("1", 50), ("2", 400)].into();
    let (mut fleet, id) = begun(&mut clients, &with("max_resets = \"2%\""));
    clients.until_settled(&mut fleet, id);
    // Of 1,000 requests a second to each of two hosts 5 % are its own, and ten are one connection: 100 in a block.
    assert_eq!(
        reason(&fleet, id),
        "limit max_resets: canary 4/100 connections reset against baseline 18/3850, more than 2 %"
    );
    went_back(&fleet);
    let ends = shown(&fleet, id).ends.unwrap();
    assert_eq!((ends.canary, ends.baseline), ([100, 4], [3850, 18]));
}

#[test]
fn one_whose_metrics_say_nothing_goes_back_by_its_resets_all_the_same() {
    let mut clients = Clients::new(1000, &[]);
    clients.silent = vec!["1", "2"];
    clients.resets = [("1", 0), ("2", 400)].into();
    let (mut fleet, id) = begun(&mut clients, &with("max_resets = \"2%\""));
    clients.until_settled(&mut fleet, id);
    assert!(reason(&fleet, id).starts_with("limit max_resets: canary 4/100 "), "{}", reason(&fleet, id));
    went_back(&fleet);
}

#[test]
fn one_reset_of_a_few_connections_is_no_failure_before_there_were_a_hundred() {
    // Of 20 requests a second to each host one is its own: 4 connections in 20 s, half of them reset.
    let mut clients = Clients::new(20, &[]);
    clients.resets = [("1", 0), ("2", 5_000)].into();
    let (mut fleet, id) = begun(&mut clients, &with("max_resets = \"2%\""));
    for _ in 0..120 {
        clients.second(&mut fleet);
    }
    let [ended, reset] = shown(&fleet, id).ends.unwrap().canary;
    assert!(ended > 10 && ended < 100 && reset > 3, "{reset} of {ended}");
    assert!(fleet.state.live.contains_key(&id), "{}", reason(&fleet, id));
}

#[test]
fn one_that_turns_connections_away_goes_back_with_host_and_both_rates() {
    let mut clients = Clients::new(0, &[]);
    clients.silent = vec!["1", "2"];
    clients.refused = [("1", 0), ("2", 60)].into();
    let (mut fleet, id) = begun(&mut clients, &with("max_refused = 30"));
    let seconds = clients.until_settled(&mut fleet, id);
    assert!((20..60).contains(&seconds), "three blocks are 20 s or more, not {seconds}");
    let reason = reason(&fleet, id);
    assert_eq!(
        reason,
        "limit max_refused: canary 60.0 refused a minute on a against baseline 0.0 refused a minute, more than 30.0 refused a minute in 3 blocks in a row"
    );
    went_back(&fleet);
}

/// Each limit on what the kernel says, and what is said where it says nothing.
const UNKNOWN: [(&str, &str, &str); 4] = [
    ("max_resets", "\"2%\"", "a: how its connections ended is not known (max_resets)"),
    ("max_refused", "30", "a: how many connections it turned away is not known (max_refused)"),
    ("max_memory", "\"512MiB\"", "a: how much memory it has is not known (max_memory)"),
    ("max_cpu", "\"150%\"", "a: how much processor time it takes is not known (max_cpu)"),
];

#[test]
fn a_limit_that_no_agent_has_a_figure_for_is_told_with_its_host_and_never_a_pass() {
    for (name, most, what) in UNKNOWN {
        let mut clients = Clients::new(1000, &[("1", 10), ("2", 10)]);
        let (mut fleet, id) = begun(&mut clients, &format!("{CANARY}{name} = {most}\n"));
        for _ in 0..100 {
            clients.second(&mut fleet);
        }
        let waiting = fleet.state.live[&id].engine.waiting_on().unwrap();
        assert!(waiting.what.contains(&format!("; no figure for {name} yet; {what}")), "{waiting:?}");
        let seconds = 100 + clients.until_settled(&mut fleet, id);
        assert!((320..=340).contains(&seconds), "bake and within are 320 s, not {seconds}");
        let waiting = fleet.state.live[&id].engine.waiting_on().unwrap();
        assert!(waiting.what.contains("no verdict"), "{waiting:?}");
        assert_eq!(fleet.runs("a", "web").as_deref(), Some("1"), "the old one has the most");
        let view = shown(&fleet, id);
        assert_eq!(view.silent, what);
        assert_eq!(view.limits_without_figure, Some(format!("no figure for {name} yet")));
        assert_eq!(view.ends.map(|ends| ends.canary).unwrap_or_default(), [0, 0]);
        assert!(view.ceilings.iter().all(|ceiling| ceiling.highest.is_none()));
    }
}

#[test]
fn a_limit_that_was_looked_at_passes_and_the_words_tell_whose_figure_is_missing_now() {
    for (name, most, what) in UNKNOWN {
        let mut clients = Clients::new(1000, &[("1", 10), ("2", 10)]);
        clients.uses = [("1", (120, 20)), ("2", (512, 150))].into();
        clients.resets = [("1", 0), ("2", 0)].into();
        clients.refused = [("1", 0), ("2", 0)].into();
        let manifest = format!("{}{name} = {most}\n", CANARY.replace("20s", "60s"));
        let (mut fleet, id) = begun(&mut clients, &manifest);
        for _ in 0..40 {
            clients.second(&mut fleet);
        }
        assert_eq!(shown(&fleet, id).limits_without_figure, None);
        (clients.uses, clients.resets, clients.refused) = Default::default();
        fleet.crash_and_start_again();
        clients.until_settled(&mut fleet, id);
        assert_eq!(fleet.current("web").as_deref(), Some("2"));
        let passed = passed(&fleet, id);
        assert!(
            passed.len() == 2 && passed.iter().all(|words| words.ends_with(&format!("; {what}"))),
            "{passed:?}"
        );
    }
}

#[test]
fn what_is_within_its_limits_passes() {
    let limits = "max_memory = \"512MiB\"\nmax_cpu = \"150%\"\nmax_errors = \"5%\"\nmax_slow = { over = \"5s\" }\nmax_resets = \"2%\"\nmax_refused = 30";
    let mut clients = Clients::new(1000, &[("1", 10), ("2", 10)]);
    clients.uses = [("1", (120, 20)), ("2", (512, 150))].into();
    clients.resets = [("1", 0), ("2", 100)].into();
    clients.refused = [("1", 0), ("2", 24)].into();
    let (mut fleet, id) = begun(&mut clients, &format!("{CANARY}{limits}\n"));
    clients.until_settled(&mut fleet, id);
    assert_eq!(fleet.current("web").as_deref(), Some("2"));
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

#[test]
fn a_server_that_is_killed_goes_on_counting_connections_where_it_was() {
    let mut clients = Clients::new(500, &[]);
    clients.resets = [("1", 0), ("2", 400)].into();
    let (mut fleet, id) = begun(&mut clients, &with("max_resets = \"2%\""));
    let ended =
        |fleet: &Fixture| fleet.state.canary(id).and_then(|view| view.ends).map_or(0, |ends| ends.canary[0]);
    for _ in 0..60 {
        if ended(&fleet) >= 50 {
            break;
        }
        clients.second(&mut fleet);
    }
    let before = shown(&fleet, id).ends;
    assert_eq!(before.as_ref().unwrap().canary[0], 50);
    fleet.crash_and_start_again();
    assert_eq!(shown(&fleet, id).ends, before);
    clients.until_settled(&mut fleet, id);
    assert!(reason(&fleet, id).starts_with("limit max_resets: canary 4/10"), "{}", reason(&fleet, id));
    went_back(&fleet);
}
