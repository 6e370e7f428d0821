//! What gives pass, warn and fail for each point, from facts that are written down here.

use super::{
    Facts, Grade, LessonRecord, Point, Preflight, Subject,
    facts::SeenStart,
    lessons::{Drained, Start},
    schema::{Declared, Schema},
};
use crate::fleet::{
    Lost, RehearsalRecord, ReleaseColumns, ReleaseSchema, Works,
    records::{Ending, Purpose},
};
use handover_model::{
    DeploymentId, Duration, HostName, ReleaseRef, SchemaRange, SchemaVersion, Timestamp, Version,
    config::{ListenerName, Manifest},
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

const LISTENER: &str = "[listeners]\nhttp = \"0.0.0.0:8080\"\n";
const READY: &str = "[readiness]\nkind = \"http\"\npath = \"/ready\"\n";

fn now() -> Timestamp {
    Timestamp::from_unix_millis(1_700_000_000_000)
}

fn id(number: u64) -> DeploymentId {
    DeploymentId::new(number)
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// What is known of release 2 of a service that runs release 1.
struct World {
    release: ReleaseRef,
    manifest: Manifest,
    current: Option<Version>,
    /// Other releases, and where they run.
    running: Vec<(Version, HostName)>,
    /// What release 2 reads of its database's schema, and what release 1 does; empty where one says nothing.
    reads: [&'static str; 2],
    /// What release 1 uses and is taken away.
    lost: Option<Lost>,
    starts: Vec<Seen>,
    lessons: Vec<(DeploymentId, LessonRecord)>,
    rehearsals: Vec<(DeploymentId, RehearsalRecord)>,
    not_rehearsed: Option<String>,
}

impl World {
    fn of(manifest: &str) -> Self {
        let manifest = format!("service = \"web\"\ncommand = [\"bin/web\"]\n{manifest}");
        Self {
            release: ReleaseRef { service: "web".parse().unwrap(), version: version("2") },
            manifest: Manifest::parse(&manifest).unwrap_or_else(|mistakes| panic!("{mistakes}\n{manifest}")),
            current: Some(version("1")),
            running: vec![(version("1"), "a".parse().unwrap()), (version("1"), "b".parse().unwrap())],
            reads: ["", ""],
            lost: None,
            starts: Vec::new(),
            lessons: Vec::new(),
            rehearsals: Vec::new(),
            not_rehearsed: None,
        }
    }

    fn first(mut self) -> Self {
        self.current = None;
        self.running.clear();
        self
    }

    fn look(&self) -> Preflight {
        let mut running: BTreeMap<&Version, BTreeSet<&HostName>> = BTreeMap::new();
        for (version, host) in &self.running {
            running.entry(version).or_default().insert(host);
        }
        let [own, first] = self.reads.map(|reads| reads.parse::<SchemaRange>().ok());
        let first_version = version("1");
        let schema = own.map(|reads| ReleaseSchema {
            database: "shop".to_owned(),
            reads,
            expand: None,
            backfill: None,
            backfills: Vec::new(),
            by_hand: Vec::new(),
            programs: 0,
            contract: None,
            contract_after: None,
            columns: ReleaseColumns::default(),
            lint: None,
        });
        let declared = |schema| Schema::Declared(Box::new(Declared { schema, known: None, refused: None }));
        Preflight::of(&Facts {
            release: &self.release,
            manifest: &self.manifest,
            current: self.current.as_ref(),
            running,
            starts: self.starts.iter().map(Seen::shown).collect(),
            lessons: self.lessons.iter().map(|(id, lesson)| (*id, lesson)).collect(),
            rehearsals: self.rehearsals.iter().map(|(id, record)| (*id, record)).collect(),
            not_rehearsed: self.not_rehearsed.clone(),
            reads: first
                .map(|reads| (&first_version, Works { reads, lost: self.lost.clone() }))
                .into_iter()
                .collect(),
            schema: schema.map_or(Schema::NoneDeclared, declared),
            now: now(),
        })
    }

    fn point(&self, subject: Subject) -> Point {
        self.look().points.into_iter().find(|point| point.subject == subject).unwrap()
    }
}

/// A start that was seen.
#[derive(Clone)]
struct Seen {
    deployment: u64,
    host: HostName,
    unready_probes: Option<u32>,
    unserved: Option<Vec<ListenerName>>,
}

impl Seen {
    fn shown(&self) -> SeenStart<'_> {
        SeenStart {
            deployment: id(self.deployment),
            host: &self.host,
            ready_millis: 40 + u64::from(self.unready_probes.unwrap_or_default()),
            unready_probes: self.unready_probes,
            unserved: self.unserved.as_deref(),
        }
    }
}

fn start(unready_probes: u32) -> Seen {
    let host = "a".parse().unwrap();
    Seen { deployment: 3, host, unready_probes: Some(unready_probes), unserved: None }
}

fn lesson(purpose: Purpose, to: &str, from: &str, ending: Ending) -> LessonRecord {
    let began = Timestamp::from_unix_millis(now().unix_millis() - 60_000);
    LessonRecord {
        service: "web".parse().unwrap(),
        version: version(to),
        from: Some(version(from)),
        purpose,
        began,
        ended: Some((began + Duration::from_millis(2_500), ending)),
        starts: vec![Start {
            host: "a".parse().unwrap(),
            attempt: 1,
            ready_millis: 40,
            unready_probes: Some(1),
            unserved: None,
        }],
        drained: Drained { instances: 2, connections: 7, ..Drained::default() },
        served: true,
        back_began: (ending == Ending::RolledBack).then_some(began + Duration::from_millis(500)),
    }
}

fn rehearsal(reason: &str, not_well: bool) -> RehearsalRecord {
    let at = |ago: u64| Timestamp::from_unix_millis(now().unix_millis() - ago * 1000);
    let flip = |ago: u64, nanos: u64| json!({"ordered": at(ago), "reported": at(ago) + Duration::from_millis(30), "nanos": nanos});
    let stored = json!({
        "service": "web", "host": "a", "from": "1", "to": "2", "by": "ada", "began": at(7_220),
        "forward": flip(7_215, 41_200), "back": flip(7_205, 38_000), "ledger": null, "ended": at(7_200),
        "reason": reason, "not_well": not_well, "started": true, "before": null, "last": null,
    });
    serde_json::from_value(stored).unwrap()
}

#[track_caller]
fn is(point: &Point, grade: Grade, evidence: &str) {
    assert_eq!(point.grade, grade, "{point:?}");
    assert!(point.evidence[0].contains(evidence), "{point:?}");
    assert_eq!(point.advice.is_empty(), grade == Grade::Pass, "{point:?}");
}

#[test]
fn the_points_have_their_numbers_and_the_names_of_the_manifests_keys() {
    let points = World::of("").look().points;
    let named: Vec<_> = points.iter().map(|point| (point.subject.number(), point.subject.name())).collect();
    let expected = [(1, "readiness"), (2, "compatibility"), (3, "schema"), (4, "draining"), (5, "rollback")];
    assert_eq!(named, expected);
    for (_, key) in expected {
        World::of(&format!("[preflight]\n{key} = \"never\""));
    }
}

#[test]
fn readiness_that_says_nothing_of_serving_fails() {
    let alive = World::of(&format!("{LISTENER}[readiness]\nkind = \"alive\"\nsettle = \"3s\""));
    is(&alive.point(Subject::Readiness), Grade::Fail, "\"alive\": it holds 3s after the start");
    let worker = World::of("[readiness]\nkind = \"alive\"");
    is(&worker.point(Subject::Readiness), Grade::Pass, "no listener");
}

#[test]
fn readiness_that_is_the_liveness_check_fails_whatever_its_pace() {
    let with = |liveness: &str| {
        let mut world = World::of(&format!("{LISTENER}{READY}[liveness]\n{liveness}"));
        world.starts = vec![start(2)];
        world.point(Subject::Readiness)
    };
    let same = "kind = \"http\"\npath = \"/ready\"\nstatus = [200, 499]\ninterval = \"9s\"";
    is(&with(same), Grade::Fail, "one check, http GET /ready at http");
    is(&with("kind = \"http\"\npath = \"/live\""), Grade::Pass, "liveness another check: http GET /live");
    is(&with("kind = \"https\"\npath = \"/ready\""), Grade::Pass, "another check: https");
    let command = "command = [\"bin/check\"]";
    let exec =
        format!("{LISTENER}[readiness]\nkind = \"exec\"\n{command}\n[liveness]\nkind = \"exec\"\n{command}");
    is(&World::of(&exec).point(Subject::Readiness), Grade::Fail, "one check, exec of bin/check");
    let tcp = format!("{LISTENER}[liveness]\nkind = \"tcp\"");
    is(&World::of(&tcp).point(Subject::Readiness), Grade::Warn, "one check, tcp at http");
}

#[test]
fn readiness_that_was_false_first_passes_and_what_never_was_is_told() {
    let seen = |starts: Vec<Seen>| {
        let mut world = World::of(&format!("{LISTENER}{READY}"));
        world.starts = starts;
        world.point(Subject::Readiness)
    };
    is(&seen(vec![]), Grade::Warn, "no start with it was seen yet");
    is(&seen(vec![start(0), start(0)]), Grade::Warn, "it was never false in 2 starts (d3), and held 40 ms");
    is(&seen(vec![start(0)]), Grade::Warn, "never false in 1 start (d3)");
    is(
        &seen(vec![start(0), start(5)]),
        Grade::Pass,
        "false at first in 1 of 2 starts (d3), and held 40 to 45 ms",
    );
}

#[test]
fn kinds_that_cannot_hold_too_early_need_no_history() {
    let notify = World::of(&format!("{LISTENER}[readiness]\nkind = \"notify\""));
    is(&notify.point(Subject::Readiness), Grade::Pass, "READY=1");
    is(&World::of(LISTENER).point(Subject::Readiness), Grade::Pass, "tcp at http: the kernel is asked");
}

#[test]
fn readiness_that_held_before_the_program_served_fails_until_a_later_start_shows_better() {
    for readiness in ["kind = \"notify\"", "kind = \"exec\"\ncommand = [\"/bin/true\"]"] {
        let mut world = World::of(&format!("{LISTENER}[readiness]\n{readiness}"));
        let early = |host: &str| Seen {
            host: host.parse().unwrap(),
            unserved: Some(vec!["http".parse().unwrap()]),
            ..start(0)
        };
        let served = Seen { unserved: Some(Vec::new()), ..start(0) };
        world.starts = vec![early("a"), served.clone(), early("c"), start(0)];
        let point = world.point(Subject::Readiness);
        is(
            &point,
            Grade::Fail,
            "2 of 3 instances that d3 started were ready and accepted nothing on http, on a, c",
        );
        world.starts.insert(0, Seen { deployment: 4, ..start(1) });
        assert_eq!(world.point(Subject::Readiness).grade, Grade::Fail, "nobody looked in d4");
        world.starts.insert(0, Seen { deployment: 5, ..served });
        assert_eq!(world.point(Subject::Readiness).grade, Grade::Pass, "{readiness}");
    }
}

#[test]
fn compatibility_is_declared_and_what_runs_is_among_it() {
    let with = |declared: &str| World::of(declared);
    is(
        &with("").point(Subject::Compatibility),
        Grade::Warn,
        "2 does not declare what it goes with; what runs: 1 on a, b",
    );
    is(&with("compatible = [\"1\"]").point(Subject::Compatibility), Grade::Pass, "declares (1): 1 on a, b");
    let mut excluded = with("compatible = [\"0.*\", \"1\"]");
    excluded.running.push((version("3"), "c".parse().unwrap()));
    let point = excluded.point(Subject::Compatibility);
    is(&point, Grade::Fail, "not among what 2 declares (0.*, 1): 3 on c");
    assert_eq!(point.evidence[1], "among what 2 declares (0.*, 1): 1 on a, b");
    is(&with("").first().point(Subject::Compatibility), Grade::Pass, "no other release");
    let mut many = with("compatible = [\"0.*\"]");
    many.running = (0..100).map(|n| (version(&format!("1.{n}")), format!("h{n}").parse().unwrap())).collect();
    is(&many.point(Subject::Compatibility), Grade::Fail, "1.0 on h0; ");
    assert!(many.point(Subject::Compatibility).evidence[0].ends_with("; and 92 more"));
}

#[test]
fn two_releases_go_together_where_one_version_of_the_schema_goes_with_both() {
    let with = |own, first| {
        let mut world = World::of("compatible = [\"1\"]");
        world.reads = [own, first];
        world.point(Subject::Compatibility)
    };
    let both = with("42..=44", "41..=43");
    assert_eq!(both.grade, Grade::Pass);
    assert_eq!(
        both.evidence[1],
        "2 reads 42..=44 of the schema of database shop, and 1 reads 41..=43: 42..=43 goes with both"
    );
    let neither = with("43..=44", "41..=42");
    assert_eq!(neither.grade, Grade::Fail, "{neither:?}");
    assert!(
        neither.evidence[0].ends_with("and 1 reads 41..=42: no version of it goes with both"),
        "{neither:?}"
    );
    let mut lost = World::of("compatible = [\"1\"]");
    lost.reads = ["44..=49", "41..=49"];
    lost.lost = Some(Lost {
        column: "customers.email".parse().unwrap(),
        with: "customers.email".parse().unwrap(),
        at: SchemaVersion::new(44),
        by: ReleaseRef { service: "shop".parse().unwrap(), version: version("0") },
    });
    let lost = lost.point(Subject::Compatibility);
    assert_eq!(lost.grade, Grade::Fail, "{lost:?}");
    assert!(
        lost.evidence[0].ends_with("and 1 reads 41..=49, but uses customers.email, which migration 44 of shop 0 takes away: no version of it goes with both"),
        "{lost:?}"
    );
    let unknown = with("43", "");
    assert_eq!(unknown.grade, Grade::Pass);
    assert_eq!(unknown.evidence[1], "1 declares nothing of the schema of database shop");
}

#[test]
fn of_the_schema_none_is_declared() {
    is(&World::of("").point(Subject::Schema), Grade::Pass, "none declared");
}

#[test]
fn draining_passes_until_somebody_was_cut_off() {
    let mut world = World::of(LISTENER);
    let point = world.point(Subject::Draining);
    is(&point, Grade::Pass, "SIGTERM, then up to 30s");
    assert!(point.evidence[1].starts_with("no deployment of it drained"), "{point:?}");
    let good = lesson(Purpose::Release, "1", "0", Ending::Succeeded);
    world.lessons = vec![(id(4), good.clone())];
    let point = world.point(Subject::Draining);
    assert_eq!(point.grade, Grade::Pass);
    assert_eq!(
        point.evidence[1],
        "nobody was cut off in d4: 2 instances drained, 7 connections open when they were told to"
    );
    let cut = Drained {
        force_closed: 3,
        reset: 1,
        killed: 1,
        cut_on: vec!["b".parse().unwrap()],
        ..good.drained.clone()
    };
    let bad = LessonRecord { drained: cut, ..good.clone() };
    world.lessons = vec![(id(6), bad.clone()), (id(5), bad), (id(4), good)];
    let point = world.point(Subject::Draining);
    is(
        &point,
        Grade::Warn,
        "d6 to 1: 3 cut at the deadline, 1 reset in a queue, of 7 connections of 2 instances (1 killed), on b",
    );
    assert_eq!((point.evidence.len(), point.advice.len()), (4, 1), "{point:?}");
    let none = World::of(&format!("{LISTENER}[drain]\ndeadline = \"0s\""));
    is(&none.point(Subject::Draining), Grade::Fail, "drain.deadline is 0s");
    is(&World::of("").point(Subject::Draining), Grade::Pass, "no listener");
}

#[test]
fn only_the_last_deployments_that_drained_something_count() {
    let mut world = World::of(LISTENER);
    let good = lesson(Purpose::Release, "1", "0", Ending::Succeeded);
    let idle = LessonRecord { drained: Drained::default(), ..good.clone() };
    let cut = Drained { force_closed: 3, ..good.drained.clone() };
    let bad = LessonRecord { drained: cut, ..good.clone() };
    let last = (0..5).flat_map(|n| [(id(20 - 2 * n), good.clone()), (id(19 - 2 * n), idle.clone())]);
    world.lessons = last.chain([(id(2), bad)]).collect();
    assert_eq!(world.point(Subject::Draining).grade, Grade::Pass);
    world.lessons.remove(0);
    assert_eq!(world.point(Subject::Draining).grade, Grade::Warn);
}

#[test]
fn a_rollback_that_was_rehearsed_passes_with_when_and_how_long() {
    let mut world = World::of("");
    is(&world.point(Subject::Rollback), Grade::Warn, "from 1 to 2 and back was neither rehearsed nor done");
    let advice = world.point(Subject::Rollback).advice.remove(0);
    assert!(advice.contains("`handover rehearse web --release 2`"), "{advice}");
    world.rehearsals = vec![(id(5), rehearsal("", false))];
    let point = world.point(Subject::Rollback);
    is(
        &point,
        Grade::Pass,
        "rehearsed in d5 on a, from 1 to 2 and back, 2h00m ago (2023-11-14 20:13:20 UTC)",
    );
    assert!(
        point.evidence[0].ends_with(
            "flip 42 \u{b5}s on the host, reported after 30 ms, flip back 38 \u{b5}s on the host, reported after 30 ms"
        ),
        "{point:?}"
    );
}

#[test]
fn a_rehearsal_that_failed_fails_and_one_that_a_person_ended_only_warns() {
    let mut world = World::of("");
    let broken = (id(6), rehearsal("a: not ready within 5s", true));
    world.rehearsals = vec![broken.clone()];
    is(&world.point(Subject::Rollback), Grade::Fail, "the last rehearsal, d6, failed: a: not ready");
    world.rehearsals = vec![broken.clone(), (id(5), rehearsal("", false))];
    is(
        &world.point(Subject::Rollback),
        Grade::Fail,
        "d6, failed: a: not ready within 5s; before it, rehearsed in d5",
    );
    world.rehearsals = vec![(id(7), rehearsal("", false)), broken];
    is(&world.point(Subject::Rollback), Grade::Pass, "rehearsed in d7");
    world.rehearsals = vec![(id(8), rehearsal("aborted by ada: lunch", false))];
    is(&world.point(Subject::Rollback), Grade::Warn, "the last rehearsal, d8, failed: aborted");
}

#[test]
fn where_a_rehearsal_is_required_its_want_fails() {
    let mut world = World::of("[rollout]\nrehearsal = \"required\"");
    world.not_rehearsed = Some("none is recorded".to_owned());
    is(
        &world.point(Subject::Rollback),
        Grade::Fail,
        "asks for a rehearsal from 1 to 2 and back: none is recorded",
    );
}

#[test]
fn a_way_back_that_was_gone_counts_as_one_that_was_rehearsed() {
    let back = |purpose, to, from, ending| {
        let mut world = World::of("");
        world.lessons = vec![(id(9), lesson(purpose, to, from, ending))];
        world.point(Subject::Rollback)
    };
    let point = back(Purpose::Rollback, "1", "2", Ending::Succeeded);
    is(&point, Grade::Pass, "d9 rolled 2 back to 1 at 2023-11-14 22:12:22 UTC: it took 2500 ms");
    let point = back(Purpose::Release, "2", "1", Ending::RolledBack);
    is(&point, Grade::Pass, "d9 went to 2 and back to 1 at 2023-11-14 22:12:22 UTC: it took 2000 ms");
    for (purpose, to, from, ending) in [
        (Purpose::Rollback, "1", "3", Ending::Succeeded),
        (Purpose::Rollback, "1", "2", Ending::NeedsPerson),
        (Purpose::Release, "2", "1", Ending::Succeeded),
        (Purpose::Release, "2", "0", Ending::RolledBack),
    ] {
        assert_eq!(back(purpose, to, from, ending).grade, Grade::Warn, "{purpose:?} {from} {to} {ending:?}");
    }
    // It never had a share: nothing was gone back from.
    let mut world = World::of("");
    let hidden = LessonRecord { served: false, ..lesson(Purpose::Release, "2", "1", Ending::RolledBack) };
    world.lessons = vec![(id(9), hidden)];
    assert_eq!(world.point(Subject::Rollback).grade, Grade::Warn);
}

#[test]
fn without_a_release_to_go_back_to_there_is_nothing_to_rehearse() {
    is(&World::of("").first().point(Subject::Rollback), Grade::Pass, "no release yet");
    let mut world = World::of("");
    world.current = Some(version("2"));
    is(&world.point(Subject::Rollback), Grade::Pass, "2 is the current release");
}

#[test]
fn what_stops_is_the_policys_to_say_and_never_the_first_release_of_a_service() {
    let stopped = |world: &World| {
        let preflight = world.look();
        let stops = preflight.points.iter().filter(|point| preflight.stops(point));
        stops.map(|point| point.subject.number()).collect::<Vec<_>>()
    };
    let bad = |policy: &str| {
        World::of(&format!("{LISTENER}[readiness]\nkind = \"alive\"\n[preflight]\n{policy}\n"))
    };
    assert_eq!(stopped(&bad("")), [1], "a fail stops, the warnings of 2 and 5 do not");
    assert_eq!(stopped(&bad("readiness = \"never\"")), [] as [u32; 0]);
    let strict = "compatibility = \"warn\"\nschema = \"warn\"\nrollback = \"warn\"";
    assert_eq!(stopped(&bad(strict)), [1, 2, 5]);
    assert_eq!(stopped(&bad(strict).first()), [] as [u32; 0]);
    let by_name = World { current: None, ..bad("") };
    assert_eq!(stopped(&by_name), [1], "hosts that were named run another release");
}
