//! A deployment's records, told.

use crate::{
    agent::Program,
    fleet::{Fleet, Settings},
    names::{host, secs},
    world::World,
};
use handover_model::{DrainLedger, SchemaPhase, SchemaVersion, Share, Timestamp};
use handover_rollout::{
    Former, HostState, Moment, OfflinePolicy, OnFailure, Outcome, Record, Skew, Story, sentence,
};
use std::collections::BTreeMap;

const AT: Timestamp = Timestamp::from_unix_millis(1_000);
const UNTIL: Timestamp = Timestamp::from_unix_millis(61_000);

/// Every state of a host, each once.
fn states() -> Vec<HostState> {
    let ledger = Some(DrainLedger { connections: 9, force_closed: 2, reset: 1, ..DrainLedger::default() });
    vec![
        HostState::Pending,
        HostState::Offline { since: AT, until: UNTIL },
        HostState::Starting { since: AT, until: UNTIL },
        HostState::Shifting { since: AT, until: UNTIL, share: Share::ALL },
        HostState::Baking { since: AT, share: Share::ALL },
        HostState::Baking { since: AT, share: Share::HIDDEN },
        HostState::Retiring { since: AT, until: UNTIL },
        HostState::Done { at: AT, ledger, note: String::new(), standby: false },
        HostState::Done { at: AT, ledger: None, note: String::new(), standby: true },
        HostState::Skipped { reason: "offline".to_owned() },
        HostState::Removed { at: AT },
        HostState::Restarting { since: AT, until: UNTIL },
        HostState::ShiftingBack { since: AT, until: UNTIL, former: Former::Kept },
        HostState::ShiftingBack { since: AT, until: UNTIL, former: Former::StartedAgain },
        HostState::RetiringNew { since: AT, until: UNTIL, former: Former::Kept },
        HostState::Returned {
            at: AT,
            former: Former::Kept,
            ledger: None,
            note: String::new(),
            standby: false,
        },
        HostState::Returned {
            at: AT,
            former: Former::Kept,
            ledger: None,
            note: String::new(),
            standby: true,
        },
        HostState::Returned {
            at: AT,
            former: Former::StartedAgain,
            ledger: None,
            note: "late".to_owned(),
            standby: false,
        },
        HostState::Stuck { at: AT, former: Former::Kept, reason: "web-d1 does not answer".to_owned() },
    ]
}

#[test]
fn each_state_of_a_host_has_a_sentence_of_its_own() {
    let told: Vec<String> =
        states().into_iter().map(|to| sentence(&Record::HostMoved { host: host(1), to, at: AT })).collect();
    let expected = [
        "is online again and waits for its turn",
        "its turn came while it is offline; it is waited for 60s",
        "the new instance starts, hidden, beside the old one; it must be ready within 60s",
        "the new instance is ready and is to get 100 % of new connections within 60s",
        "the new instance has 100 % of new connections in the kernel; the old one stands by",
        "the new instance is ready; it stays hidden for now",
        "the old instance finishes its connections, within 60s",
        "done: the new instance runs alone (9 connections when it was told to end, 2 cut, 1 reset)",
        "done: the new instance has everything, the old one stands by",
        "skipped, untouched: offline",
        "removed from the fleet; nothing can be ordered there any more",
        "goes back: the former release is started again beside the new one; it must be ready within 60s",
        "goes back: the old instance, which never ended, gets everything within 60s",
        "goes back: the former release is ready again and gets everything within 60s",
        "goes back: the new instance finishes its connections, within 60s",
        "back as it was before",
        "back as it was before; the other instance stands by again",
        "back on the former release, started again: late",
        "stuck, a person is needed: web-d1 does not answer",
    ];
    assert_eq!(told, expected);
}

/// Which kind a record is of. A new kind does not compile until it stands here, and then fails until it is told.
fn kind(record: &Record) -> usize {
    match record {
        Record::Created { .. } => 0,
        Record::Planned { .. } => 1,
        Record::LeftOut { .. } => 2,
        Record::Started { .. } => 3,
        Record::StageEntered { .. } => 4,
        Record::BakeStarted { .. } => 5,
        Record::BakePassed { .. } => 6,
        Record::HostMoved { .. } => 7,
        Record::HostFailed { .. } => 8,
        Record::Paused { .. } => 9,
        Record::PausedBy { .. } => 10,
        Record::Resumed { .. } => 11,
        Record::HostRetried { .. } => 12,
        Record::RollbackStarted { .. } => 13,
        Record::DeadlinesLifted { .. } => 14,
        Record::Ended { .. } => 15,
        Record::JudgementPassed { .. } => 16,
        Record::JudgementHeld { .. } => 17,
        Record::Promoted { .. } => 18,
        Record::FlipsMeasured { .. } => 19,
        Record::MigrationStarted { .. } => 20,
        Record::Migrated { .. } => 21,
    }
}
const KINDS: usize = 22;

/// A deployment in which everything happens that can: a failure, pauses of both kinds, a retry, a crash, an abort.
fn eventful() -> World {
    let mut fleet = Fleet::of(Settings { hosts: 3, on_failure: OnFailure::Pause, ..Settings::default() });
    fleet.agent(2).new_program = Program::EXITS_AT_ONCE;
    let mut world = fleet.deploy();
    world.run_until("it pauses", World::is_paused);
    world.run_until("it is back", |world| world.state(2) == "returned");
    world.agents.get_mut(&host(2)).unwrap().new_program = Program::GOOD;
    world.retry(&[2]);
    world.resume();
    world.run_until("it shifts", |world| world.state(2) == "shifting");
    world.crash();
    world.pause();
    world.abort();
    world.run_to_the_end();
    world
}

#[test]
fn every_kind_of_record_is_told() {
    let mut world = eventful();
    world.records.push(Record::LeftOut { hosts: vec![(host(9), "cordoned".to_owned())] });
    let verdict = "errors: 1 of 90 against 9 of 810".to_owned();
    world.records.push(Record::JudgementPassed { verdict: verdict.clone(), at: world.now });
    world.records.push(Record::JudgementHeld { verdict, at: world.now });
    let moments =
        [Moment { earliest: secs(1), latest: secs(2) }, Moment { earliest: secs(5), latest: secs(6) }];
    let skew = Skew::of(&moments).unwrap();
    world.records.push(Record::FlipsMeasured { stage: 0, skew, at: world.now });
    world.records.push(Record::Promoted { by: "eve".to_owned(), at: world.now });
    world.records.push(Record::MigrationStarted { at: AT, until: UNTIL });
    world.records.push(Record::Migrated {
        phase: SchemaPhase::Expand,
        version: SchemaVersion::new(42),
        at: world.now,
    });
    let by_kind: BTreeMap<usize, String> =
        world.records.iter().map(|record| (kind(record), sentence(record))).collect();
    assert_eq!(by_kind.len(), KINDS, "{by_kind:#?}");
    for (kind, text) in &by_kind {
        assert!(!text.is_empty() && !text.ends_with('.') && !text.contains('\n'), "{kind}: {text}");
    }
    assert_eq!(by_kind[&2], "left out: h9 (cordoned)");
    assert_eq!(by_kind[&8], "failed: h2: web-d2 cannot be kept running: exit code 1");
    assert_eq!(
        by_kind[&9],
        "paused until a person decides, because h2: web-d2 cannot be kept running: exit code 1"
    );
    assert_eq!(by_kind[&10], "paused by ada: lunch: nothing begins until it is resumed");
    assert_eq!(by_kind[&11], "resumed by bob");
    assert_eq!(by_kind[&12], "given another attempt by ada; it waits for its turn again");
    assert_eq!(by_kind[&13], "every touched host goes back, because aborted by ada: second thoughts");
    assert_eq!(by_kind[&14], "the server was away: no deadline passes for 30s, so that hosts can report");
    assert_eq!(by_kind[&16], "the judge lets it go on: errors: 1 of 90 against 9 of 810");
    assert_eq!(
        by_kind[&17],
        "the judge came to no verdict in time; a person decides: errors: 1 of 90 against 9 of 810"
    );
    assert_eq!(by_kind[&18], "promoted by eve");
    assert_eq!(by_kind[&19], "2 hosts flipped within 4.0 s (±1.0 s)");
    assert_eq!(by_kind[&20], "the migrations of the stage begin; they may take 60s");
    assert_eq!(by_kind[&21], "the expand migrations are applied; the schema is at 42");
    assert_eq!(by_kind[&15], "rolled back because aborted by ada: second thoughts");
}

#[test]
fn a_story_knows_the_stage_and_the_time_of_each_line() {
    let world = eventful();
    let mut story = Story::default();
    let told: Vec<_> = world.records.iter().map(|record| story.tell(record)).collect();
    assert!(
        told[0].text.starts_with(
            "ada began d2, to carry web 2: at most 1 in flight, 0 may fail, after that it pauses"
        ),
        "{}",
        told[0].text
    );
    assert_eq!(told[0].stage, None);
    assert_eq!(
        told[1].text,
        "planned for stage 1: h1: 100 % of new connections, healthy for 5s, then the old instances end"
    );
    assert_eq!(told[1].at, told[0].at, "the plan was made when the deployment was");
    assert!(told.windows(2).all(|pair| pair[0].at <= pair[1].at), "in order");
    let of_second: Vec<_> = told.iter().filter(|line| line.host == Some(host(2))).collect();
    assert!(of_second.iter().all(|line| line.stage == Some(1)), "{of_second:#?}");
}

#[test]
fn a_story_of_many_hosts_names_a_few_of_them_in_a_line() {
    let world = Fleet::of(Settings {
        hosts: 30,
        batch: 30,
        offline: OfflinePolicy::Fail,
        bake: secs(90),
        ..Settings::default()
    })
    .deploy();
    let planned = world.records.iter().find(|record| kind(record) == 1).unwrap();
    let told = sentence(planned);
    assert!(told.contains("and 22 more: 100 % of new connections, healthy for 90s"), "{told}");
}

#[test]
fn each_end_is_told() {
    let told = |outcome: Outcome| sentence(&Record::Ended { outcome, at: AT });
    assert_eq!(told(Outcome::Succeeded { hosts: 1, failed: 0 }), "succeeded: 1 host runs the release");
    assert_eq!(
        told(Outcome::Returned { hosts: 1, failed: 0 }),
        "succeeded: 1 host had the release and went back as planned"
    );
    assert_eq!(
        told(Outcome::Succeeded { hosts: 4, failed: 2 }),
        "succeeded: 4 hosts run the release, 2 failed and do not"
    );
    assert_eq!(told(Outcome::RolledBack { reason: "h1: no".to_owned() }), "rolled back because h1: no");
    assert_eq!(
        told(Outcome::NeedsPerson { reason: "h1 is stuck: no".to_owned(), hosts: 1 }),
        "ended and needs a person, because h1 is stuck: no"
    );
}
