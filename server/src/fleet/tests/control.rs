//! Control: pause, resume, abort, retry; locks; the same request twice.

use super::{Fixture, name, request, rollback};
use crate::fleet::{
    Act, Asker, Controlled, DeploymentRequest, Ending, FreezeRequest, LockScope, Refusal, Whose,
};
use handover_model::{DeploymentId, Duration, HostName};
use std::collections::BTreeSet;

fn asker(by: &str) -> Asker {
    Asker { by: by.into(), ..Asker::default() }
}

fn insisting(by: &str) -> Asker {
    Asker { take_over: Some("an incident".into()), ..asker(by) }
}

fn web() -> LockScope {
    LockScope::Service(name("web"))
}

const HOUR: Duration = Duration::from_secs(3600);

impl Fixture {
    fn control(&mut self, act: &Act, asker: &Asker) -> Result<Controlled, Refusal> {
        let (act, asker) = (act.clone(), asker.clone());
        self.act(|state, now, effects| {
            state.control(&Whose::Newest(name("web")), &act, None, &asker, now, effects)
        })
    }

    fn lock(&mut self, scope: &LockScope, lease: Duration, asker: &Asker) -> Result<String, Refusal> {
        let (scope, asker) = (scope.clone(), asker.clone());
        self.act(|state, now, effects| state.lock(scope, "schema work", lease, &asker, now, effects))
    }

    fn deploy_as(&mut self, by: &str, request: &DeploymentRequest) -> Result<DeploymentId, Refusal> {
        let request = request.clone();
        self.act(|state, now, effects| state.create_deployment(&request, by, now, effects))
    }

    /// `web` at 1 on three hosts, and 2 on its way to them, with a long bake.
    fn on_the_way() -> (Self, DeploymentId) {
        let mut fleet = Self::with_hosts(&["a", "b", "c"]);
        fleet.push("web", "1", "");
        fleet.push("web", "2", "[rollout]\nbake = \"1h\"\nbatch = 1\n");
        fleet.deploy(&request("web", "1")).unwrap();
        fleet.settle();
        let id = fleet.deploy(&request("web", "2")).unwrap();
        (fleet, id)
    }
}

fn pause() -> Act {
    Act::Pause { reason: "lunch".into() }
}

fn abort() -> Act {
    Act::Abort { reason: String::new() }
}

fn retry(hosts: &[&str]) -> Act {
    Act::Retry { hosts: hosts.iter().copied().map(name).collect() }
}

#[test]
fn a_pause_and_a_resume_say_the_second_time_that_nothing_was_to_be_done() {
    let (mut fleet, id) = Fixture::on_the_way();
    let ada = asker("ada");
    assert!(fleet.control(&pause(), &ada).unwrap().said.contains("is paused: no host begins a change"));
    let again = fleet.control(&pause(), &ada).unwrap();
    assert_eq!(again.said, format!("{id} is paused already: paused by ada: lunch"));
    for _ in 0..5 {
        fleet.report_all();
        fleet.now = fleet.now + Duration::from_secs(3600);
        fleet.act(super::State::tick).unwrap();
    }
    assert_eq!(
        ["a", "b", "c"].map(|host| fleet.runs(host, "web").unwrap()),
        ["1", "1", "1"],
        "the candidate stays hidden"
    );
    assert_eq!(fleet.control(&Act::Resume, &ada).unwrap().said, format!("{id} goes on"));
    assert_eq!(
        fleet.control(&Act::Resume, &ada).unwrap().said,
        format!("{id} is running: there was nothing to resume")
    );
    for _ in 0..200 {
        // Ready, shifted, retired: no deadline may pass before the agents had their say.
        for _ in 0..3 {
            fleet.report_all();
        }
        fleet.now = fleet.now + Duration::from_secs(120);
        fleet.act(super::State::tick).unwrap();
    }
    assert_eq!(fleet.current("web").as_deref(), Some("2"));
}

#[test]
fn an_abort_is_one_abort_however_often_it_is_asked_for() {
    let (mut fleet, id) = Fixture::on_the_way();
    for _ in 0..5 {
        fleet.report_all();
    }
    let ada = asker("ada");
    fleet.control(&abort(), &ada).unwrap();
    assert!(fleet.control(&abort(), &ada).unwrap().said.contains("is going back already"));
    for refused in [pause(), Act::Resume, retry(&[])] {
        let refusal = fleet.control(&refused, &ada).unwrap_err();
        assert!(refusal.to_string().contains("is going back"), "{refusal}");
    }
    fleet.settle();
    let again = fleet.control(&abort(), &ada).unwrap();
    assert_eq!(again.said, format!("{id} has ended already: rolled back: aborted by ada"));
    assert!(matches!(fleet.control(&pause(), &ada), Err(Refusal::DeploymentEnded { .. })));
}

#[test]
fn a_deployment_that_ended_well_is_not_aborted_and_says_what_goes_back() {
    let mut fleet = Fixture::with_hosts(&["a"]);
    fleet.push("web", "1", "");
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.settle();
    let refusal = fleet.control(&abort(), &asker("ada")).unwrap_err();
    assert!(refusal.to_string().contains("succeeded; `handover rollback web`"), "{refusal}");
}

#[test]
fn the_same_request_twice_has_one_outcome_also_after_a_crash_and_when_the_world_went_on() {
    let (mut fleet, id) = Fixture::on_the_way();
    let named = Asker { request: "r-1".into(), ..asker("ada") };
    let first = fleet.control(&pause(), &named).unwrap();
    fleet.control(&Act::Resume, &asker("bob")).unwrap();
    // Its answer was lost, and it is sent again: bob's resume stands.
    assert_eq!(fleet.control(&pause(), &named), Ok(first.clone()));
    assert!(fleet.state.live.get(&id).unwrap().engine.paused().is_none());
    fleet.crash_and_start_again();
    assert_eq!(fleet.control(&pause(), &named), Ok(first));
    assert!(fleet.state.live.get(&id).unwrap().engine.paused().is_none());
    let refusal = fleet.control(&abort(), &named).unwrap_err();
    assert!(matches!(refusal, Refusal::RequestUsed { .. }), "{refusal}");
    let other = DeploymentRequest { request: "r-1".into(), ..request("web", "2") };
    assert!(matches!(fleet.deploy(&other), Err(Refusal::RequestUsed { .. })));
}

#[test]
fn request_ids_are_remembered_up_to_a_bound_also_in_the_store() {
    let (mut fleet, _) = Fixture::on_the_way();
    for number in 0..1_100 {
        let named = Asker { request: format!("r-{number}"), ..asker("ada") };
        fleet.act(|state, now, effects| state.unlock(&web(), &named, now, effects)).unwrap();
        fleet.lock(&web(), HOUR, &Asker { request: format!("l-{number}"), ..asker("ada") }).unwrap();
    }
    let kept =
        crate::store::scan_json::<serde_json::Value>(&*fleet.store, crate::store::Keyspace::Requests, &[]);
    assert_eq!(kept.count(), crate::fleet::requests::REMEMBERED);
}

#[test]
fn hosts_that_failed_are_tried_again_in_the_deployment_that_paused() {
    let mut fleet = Fixture::with_hosts(&["a", "b"]);
    fleet.push("web", "1", "");
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.settle();
    fleet.push("web", "2", "[rollout]\non_failure = \"pause\"\nbatch = 1\n");
    fleet.broken.insert("2".into());
    let id = fleet.deploy(&request("web", "2")).unwrap();
    for _ in 0..60 {
        fleet.report_all();
        fleet.now = fleet.now + Duration::from_secs(1);
        fleet.act(super::State::tick).unwrap();
    }
    assert!(fleet.state.live.get(&id).unwrap().engine.paused().is_some());
    let refusal = fleet.control(&retry(&["b"]), &asker("ada")).unwrap_err();
    assert!(
        refusal.to_string().contains("host b cannot be retried in d2: it waits for its turn already"),
        "{refusal}"
    );
    fleet.broken.clear();
    let said = fleet.control(&retry(&[]), &asker("ada")).unwrap().said;
    assert_eq!(said, "d2: another attempt for a; d2 is paused: their turn comes after `handover resume web`");
    fleet.control(&Act::Resume, &asker("ada")).unwrap();
    fleet.settle();
    assert_eq!(fleet.current("web").as_deref(), Some("2"));
    assert_eq!(["a", "b"].map(|host| fleet.runs(host, "web").unwrap()), ["2", "2"]);
}

#[test]
fn a_retry_after_the_end_is_a_new_deployment_to_just_those_hosts() {
    let mut fleet = Fixture::with_hosts(&["a", "b"]);
    fleet.push("web", "1", "[rollout]\noffline = \"fail\"\nfailures_allowed = 1\n");
    fleet.disconnect("b");
    let first = fleet.deploy(&request("web", "1")).unwrap();
    fleet.settle();
    let refusal = fleet.control(&retry(&["a"]), &asker("ada")).unwrap_err();
    assert!(refusal.to_string().contains("left no such host behind"), "{refusal}");
    let freeze = FreezeRequest { scope: web(), reason: "sales".into(), from: fleet.now, until: None };
    fleet.act(|state, now, effects| state.freeze(&freeze, &asker("bob"), now, effects)).unwrap();
    let refusal = fleet.control(&retry(&[]), &asker("ada")).unwrap_err();
    assert!(matches!(refusal, Refusal::Frozen { .. }), "it is a new deployment: {refusal}");
    fleet.act(|state, _, effects| state.unfreeze(1, &asker("bob"), effects)).unwrap();
    let named = Asker { request: "r-1".into(), ..asker("ada") };
    let done = fleet.control(&retry(&[]), &named).unwrap();
    assert_ne!(done.deployment, first);
    assert_eq!(done.said, format!("{first} has ended: {} carries web 1 to b", done.deployment));
    let (_, live) = fleet.state.deployment(done.deployment).unwrap();
    let hosts: Vec<_> = live.unwrap().engine.hosts().map(|view| view.host.to_string()).collect();
    assert_eq!(hosts, ["b"]);
    assert_eq!(fleet.control(&retry(&[]), &named), Ok(done));
    fleet.connect("b");
    fleet.settle();
    assert_eq!((fleet.current("web").as_deref(), fleet.runs("b", "web").as_deref()), (Some("1"), Some("1")));
}

#[test]
fn a_retry_of_what_was_rolled_back_names_the_command_that_tries_it_again() {
    let mut fleet = Fixture::with_hosts(&["a"]);
    fleet.push("web", "1", "");
    fleet.broken.insert("1".into());
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.settle();
    let refusal = fleet.control(&retry(&[]), &asker("ada")).unwrap_err();
    assert!(refusal.to_string().contains("`handover deploy web --version 1`"), "{refusal}");
}

#[test]
fn a_lock_keeps_others_out_and_says_whose_it_is_why_until_when_and_how_it_is_taken_over() {
    let (mut fleet, _) = Fixture::on_the_way();
    fleet.lock(&web(), 2 * HOUR, &asker("ada")).unwrap();
    let mut refusals = Vec::new();
    for act in [pause(), abort(), Act::Resume, retry(&[])] {
        refusals.push(fleet.control(&act, &asker("bob")).unwrap_err());
    }
    refusals.push(fleet.deploy_as("bob", &request("web", "2")).unwrap_err());
    refusals.push(fleet.deploy_as("bob", &rollback("web")).unwrap_err());
    refusals.push(fleet.lock(&web(), HOUR, &asker("bob")).unwrap_err());
    let commands: Vec<String> = refusals
        .iter()
        .map(|refusal| match refusal {
            Refusal::Locked { owner, reason, left, command, .. } => {
                assert_eq!((owner.as_str(), reason.as_str(), *left), ("ada", "schema work", 2 * HOUR));
                command.strip_suffix(" --take-over --reason WHY").unwrap().to_owned()
            }
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(
        commands,
        [
            "handover pause web",
            "handover abort web",
            "handover resume web",
            "handover retry web",
            "handover deploy web --version 2",
            "handover rollback web",
            "handover lock web"
        ]
    );
    // The owner goes on.
    fleet.control(&pause(), &asker("ada")).unwrap();
}

#[test]
fn a_lock_that_is_taken_over_is_the_takers_and_remembers_whose_it_was() {
    let (mut fleet, id) = Fixture::on_the_way();
    fleet.lock(&web(), 2 * HOUR, &asker("ada")).unwrap();
    let silent = Asker { take_over: Some("  ".into()), ..asker("bob") };
    assert!(matches!(fleet.control(&abort(), &silent), Err(Refusal::Invalid(_))), "without a reason");
    fleet.control(&abort(), &insisting("bob")).unwrap();
    let lock = fleet.state.lock_on(&web(), fleet.now).unwrap().clone();
    assert_eq!((lock.owner.as_str(), lock.reason.as_str()), ("bob", "an incident"));
    assert_eq!(lock.until, fleet.now + HOUR);
    assert_eq!(
        lock.taken_from.map(|from| (from.owner, from.reason)),
        Some(("ada".into(), "schema work".into()))
    );
    assert!(matches!(fleet.control(&pause(), &asker("ada")), Err(Refusal::Locked { .. })));
    fleet.settle();
    assert_eq!(fleet.state.deployment(id).unwrap().0.ended.unwrap().1, Ending::RolledBack);
}

#[test]
fn what_is_refused_takes_no_lock() {
    let mut fleet = Fixture::with_hosts(&["a"]);
    fleet.push("web", "1", "");
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.settle();
    fleet.lock(&web(), HOUR, &asker("ada")).unwrap();
    for act in [pause(), abort(), Act::Resume, retry(&[])] {
        fleet.control(&act, &insisting("bob")).unwrap_err();
        assert_eq!(fleet.state.lock_on(&web(), fleet.now).unwrap().owner, "ada", "{act:?}");
    }
    let nothing = DeploymentRequest { take_over: Some("why not".into()), ..request("web", "1") };
    fleet.deploy_as("bob", &nothing).unwrap_err();
    assert_eq!(fleet.state.lock_on(&web(), fleet.now).unwrap().owner, "ada");
}

#[test]
fn the_lock_on_the_fleet_is_a_lock_on_every_service() {
    let (mut fleet, _) = Fixture::on_the_way();
    fleet.lock(&LockScope::Fleet, HOUR, &asker("ada")).unwrap();
    let refusal = fleet.control(&pause(), &asker("bob")).unwrap_err();
    assert!(
        refusal.to_string().starts_with("the fleet is locked by ada: schema work; the lock ends in 1h00m"),
        "{refusal}"
    );
    fleet.control(&pause(), &insisting("bob")).unwrap();
    assert_eq!(fleet.state.lock_on(&LockScope::Fleet, fleet.now).unwrap().owner, "bob");
}

#[test]
fn a_lock_survives_a_crash_and_ends_by_itself() {
    let (mut fleet, _) = Fixture::on_the_way();
    fleet.lock(&web(), HOUR, &asker("ada")).unwrap();
    fleet.crash_and_start_again();
    fleet.control(&pause(), &asker("bob")).unwrap_err();
    assert!(fleet.state.next_tick().is_some_and(|at| at <= fleet.now + HOUR));
    fleet.now = fleet.now + HOUR;
    // Also before anything looked at the clock.
    assert_eq!(fleet.state.lock_on(&web(), fleet.now), None);
    fleet.act(super::State::tick).unwrap();
    assert!(fleet.state.locks.is_empty() && fleet.loaded().locks.is_empty());
    fleet.lock(&web(), HOUR, &asker("bob")).unwrap();
}

#[test]
fn locks_have_bounds_a_reason_and_a_service() {
    let (mut fleet, _) = Fixture::on_the_way();
    let refused = fleet.lock(&web(), 8 * 24 * HOUR, &asker("ada")).unwrap_err();
    assert!(refused.to_string().contains("at most 7 days"), "{refused}");
    let nothing = fleet.lock(&LockScope::Service(name("nothing")), HOUR, &asker("ada"));
    assert!(matches!(nothing, Err(Refusal::NoService(_))));
    let ada = asker("ada");
    let silent = fleet.act(|state, now, effects| state.lock(web(), "\n", HOUR, &ada, now, effects));
    assert!(matches!(silent, Err(Refusal::Invalid(_))));
    assert_eq!(fleet.lock(&web(), Duration::ZERO, &ada).unwrap(), "service web is locked");
    assert_eq!(
        fleet.state.lock_on(&web(), fleet.now).unwrap().until,
        fleet.now + HOUR,
        "an hour where nothing is said"
    );
    assert_eq!(fleet.lock(&web(), HOUR, &ada).unwrap(), "the lock on service web is renewed");
    let bob = asker("bob");
    let refused = fleet.act(|state, now, effects| state.unlock(&web(), &bob, now, effects)).unwrap_err();
    assert!(matches!(refused, Refusal::Locked { .. }));
    fleet.act(|state, now, effects| state.unlock(&web(), &ada, now, effects)).unwrap();
    let again = fleet.act(|state, now, effects| state.unlock(&web(), &ada, now, effects));
    assert_eq!(again.unwrap(), "service web was not locked");
}

#[test]
fn of_an_abort_and_a_resume_at_once_the_one_that_is_heard_first_decides() {
    let hosts: BTreeSet<HostName> = ["a", "b", "c"].map(name).into();
    for abort_first in [true, false] {
        let (mut fleet, id) = Fixture::on_the_way();
        fleet.control(&pause(), &asker("ada")).unwrap();
        if abort_first {
            fleet.control(&abort(), &asker("ada")).unwrap();
            let late = fleet.control(&Act::Resume, &asker("bob")).unwrap_err();
            assert!(late.to_string().contains("is going back"), "{late}");
        } else {
            fleet.control(&Act::Resume, &asker("bob")).unwrap();
            fleet.control(&abort(), &asker("ada")).unwrap();
        }
        fleet.settle();
        assert_eq!(fleet.state.deployment(id).unwrap().0.ended.unwrap().1, Ending::RolledBack);
        assert!(hosts.iter().all(|host| fleet.runs(host.as_str(), "web").as_deref() == Some("1")));
    }
}

#[test]
fn a_journal_is_read_page_by_page_and_no_record_is_missed() {
    let names: Vec<String> = (0..40).map(|number| format!("h{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut fleet = Fixture::with_hosts(&names);
    for version in ["1", "2"] {
        fleet.push("web", version, "[rollout]\nbatch = 20\n");
        fleet.deploy(&request("web", version)).unwrap();
        fleet.settle();
    }
    let page = |from, limit| {
        crate::fleet::persist::records(&*fleet.store, DeploymentId::new(1), from, limit).unwrap()
    };
    let whole = page(0, 1024);
    assert!(whole.len() > 100, "{}", whole.len());
    let mut paged = Vec::new();
    loop {
        let more = page(u64::try_from(paged.len()).unwrap(), 7);
        let last = more.len() < 7;
        paged.extend(more);
        if last {
            break;
        }
    }
    assert_eq!(paged, whole);
    let engine = handover_rollout::Deployment::replay(whole).unwrap();
    assert!(engine.outcome().is_some(), "the second deployment's records are not among them");
}
