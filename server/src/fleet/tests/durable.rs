//! What is written is what the server knows: it may be killed between any two decisions, and inside a large one.

use super::{Fixture, name, request, rollback};
use crate::{
    fleet::{DeploymentRequest, State, persist},
    store::{Batch, Keyspace, MemoryStore, Store, scan},
};
use handover_model::{Duration, HostName};
use std::{collections::BTreeMap, sync::Arc};

/// The durable part of what is known, to be compared.
fn durable(state: &State) -> impl PartialEq + std::fmt::Debug {
    let hosts: BTreeMap<_, _> = state
        .hosts
        .iter()
        .map(|(name, host)| (name.clone(), (host.record.clone(), host.assignments.clone())))
        .collect();
    let releases: BTreeMap<_, _> = state
        .releases
        .iter()
        .map(|(name, release)| (name.clone(), (release.release.clone(), release.record.clone())))
        .collect();
    let live: BTreeMap<_, _> =
        state.live.iter().map(|(id, live)| (*id, (live.engine.clone(), live.sequence))).collect();
    (
        (hosts, releases, live),
        (state.services.clone(), state.tokens.clone(), state.deployments.clone()),
        (state.requests.clone(), state.last_deployment),
    )
}

#[test]
fn what_is_loaded_is_what_was_known_at_every_step_of_a_deployment() {
    let mut fleet = Fixture::with_hosts(&["a", "b", "c"]);
    let long = format!("# {}\n[rollout]\nbake = \"2s\"\n", "long ".repeat(3000));
    fleet.push("web", "1", &long);
    fleet.push("web", "2", &long);
    for asked in [request("web", "1"), request("web", "2"), rollback("web")] {
        fleet.deploy(&DeploymentRequest { request: format!("{asked:?}")[..60].to_owned(), ..asked }).unwrap();
        while !fleet.state.live.is_empty() {
            assert_eq!(durable(&fleet.loaded()), durable(&fleet.state));
            fleet.report_all();
            fleet.now = fleet.now + Duration::from_secs(1);
            fleet.act(State::tick).unwrap();
        }
    }
    assert_eq!(durable(&fleet.loaded()), durable(&fleet.state));
}

#[test]
fn the_number_of_a_deployment_whose_beginning_was_cut_is_never_used_again() {
    let mut fleet = Fixture::with_hosts(&["a"]);
    fleet.push("web", "1", "");
    let before = fleet.store.clone();
    // What the first of several commits of a beginning leaves: records, and nothing that names them.
    let mut effects = crate::fleet::Effects::default();
    fleet.state.create_deployment(&request("web", "1"), "ada", fleet.now, &mut effects).unwrap();
    let mut batch = Batch::new();
    for ((keyspace, key), value) in effects.writes {
        if let (Keyspace::Journal, Some(value)) = (keyspace, value) {
            batch.put(keyspace, key, value).unwrap();
        }
    }
    assert!(!batch.is_empty());
    futures_util::FutureExt::now_or_never(before.commit(batch)).unwrap().unwrap();

    fleet.crash_and_start_again();
    let id = fleet.deploy(&request("web", "1")).unwrap();
    assert_eq!(id.number(), 2, "the first number's records are there already");
    assert_eq!(durable(&fleet.loaded()), durable(&fleet.state));
}

#[test]
fn a_deployment_goes_on_after_a_crash_at_every_step() {
    for broken in [false, true] {
        let mut fleet = Fixture::with_hosts(&["a", "b"]);
        fleet.push("web", "1", "");
        fleet.push("web", "2", "[rollout]\nbake = \"2s\"\n");
        fleet.deploy(&request("web", "1")).unwrap();
        fleet.settle();
        if broken {
            fleet.broken.insert("2".into());
        }
        fleet.deploy(&request("web", "2")).unwrap();
        for _ in 0..100 {
            if fleet.state.live.is_empty() {
                break;
            }
            fleet.crash_and_start_again();
            fleet.report_all();
            fleet.now = fleet.now + Duration::from_secs(1);
            fleet.act(State::tick).unwrap();
        }
        let expected = if broken { "1" } else { "2" };
        assert_eq!(fleet.current("web").as_deref(), Some(expected));
        for host in ["a", "b"] {
            assert_eq!(fleet.runs(host, "web").as_deref(), Some(expected), "{host}");
        }
    }
}

#[test]
fn a_decision_of_which_only_the_journal_was_written_is_completed_at_the_next_start() {
    let mut fleet = Fixture::with_hosts(&["a", "b"]);
    for version in ["1", "2"] {
        fleet.push("web", version, "[rollout]\nbake = \"2s\"\n");
    }
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.settle();
    fleet.deploy(&request("web", "2")).unwrap();
    let mut cuts = 0;
    while !fleet.state.live.is_empty() {
        // The store before the next decisions, with nothing but their journal records added.
        let before = copy(&*fleet.store, |_| true);
        fleet.report_all();
        fleet.now = fleet.now + Duration::from_secs(1);
        fleet.act(State::tick).unwrap();
        let journal = copy(&*fleet.store, |keyspace| keyspace == Keyspace::Journal);
        let cut: Arc<dyn Store> = Arc::new(MemoryStore::new());
        for batch in [before, journal] {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(cut.commit(batch)).unwrap();
        }
        let (state, _) = persist::load(&*cut, fleet.now).unwrap();
        let target =
            |state: &State| ["a", "b"].map(|host| state.target(&name::<HostName>(host)).unwrap().services);
        assert_eq!(target(&state), target(&fleet.state));
        let ended = |state: &State| {
            state.deployments.values().map(|record| record.ended.is_some()).collect::<Vec<_>>()
        };
        assert_eq!(ended(&state), ended(&fleet.state));
        assert_eq!(state.services, fleet.state.services);
        cuts += 1;
    }
    assert!(cuts >= 3, "only {cuts} cuts were tried");
}

fn copy(store: &dyn Store, wanted: impl Fn(Keyspace) -> bool) -> Batch {
    let mut batch = Batch::new();
    for keyspace in Keyspace::ALL.iter().copied().filter(|keyspace| wanted(*keyspace)) {
        for entry in scan(store, keyspace, &[]) {
            let (key, value) = entry.unwrap();
            batch.put(keyspace, key, value).unwrap();
        }
    }
    batch
}

#[test]
fn a_large_decision_is_written_in_several_commits_the_journal_first() {
    let mut writes = BTreeMap::new();
    for number in 0_u32..6000 {
        let key = number.to_be_bytes().to_vec();
        for keyspace in [Keyspace::Hosts, Keyspace::Assignments, Keyspace::Journal] {
            writes.insert((keyspace, key.clone()), Some(vec![1]));
        }
        writes.insert((Keyspace::Journal, [key, vec![0]].concat()), None);
    }
    let batches = persist::batches(writes).unwrap();
    assert!(batches.len() >= 3);
    let order: Vec<u8> = batches.iter().flat_map(Batch::writes_in_order).collect();
    assert_eq!(order.len(), 24_000);
    assert!(order.is_sorted(), "the journal's records come first, what is dropped of it last");
}

/// 0 for a new record, 1 for anything else, 2 for a dropped record.
trait InOrder {
    fn writes_in_order(&self) -> Vec<u8>;
}

impl InOrder for Batch {
    fn writes_in_order(&self) -> Vec<u8> {
        let mut kinds: Vec<u8> = self
            .writes()
            .map(|(keyspace, _, value)| match (keyspace, value) {
                (Keyspace::Journal, Some(_)) => 0,
                (Keyspace::Journal, None) => 2,
                _ => 1,
            })
            .collect();
        // One commit is true at once: inside it there is no order.
        kinds.sort_unstable();
        kinds
    }
}
