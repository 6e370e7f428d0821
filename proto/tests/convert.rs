//! What is converted to the wire and back is the same; what no domain value is, is refused by its field's name.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test says by a panic that it failed")]

use handover_model::{
    BundleDescriptor, Confirm, Confirmation, ConfirmationState, DeploymentId, Digest, DrainLedger, Duration,
    FlipReport, HostReport, HostValues, InstancePhase, InstanceReport, InstanceTarget, MigrationId,
    MigrationState, MigrationTarget, PinSource, Readings, Release, ReleaseRef, SchemaPhase, SchemaReader,
    SchemaVersion, ServiceTarget, Share, Target, Timestamp,
};
use handover_proto::{
    convert::{ConvertError, MAX_DETAIL_CHARS, MAX_INSTANCES, MAX_SERVICES},
    v1,
};
use proptest::prelude::*;
use prost::Message;
use std::collections::BTreeMap;

const PHASES: [InstancePhase; 9] = [
    InstancePhase::Fetching,
    InstancePhase::Starting,
    InstancePhase::Ready,
    InstancePhase::Unhealthy,
    InstancePhase::BackingOff,
    InstancePhase::GaveUp,
    InstancePhase::Draining,
    InstancePhase::Stopping,
    InstancePhase::Exited,
];

fn release(service: &str, version: &str) -> Release {
    Release {
        name: ReleaseRef { service: service.parse().unwrap(), version: version.parse().unwrap() },
        bundle: BundleDescriptor {
            digest: Digest::of(format!("{service} {version}").as_bytes()),
            size: 17,
            tree: Digest::of(version.as_bytes()),
            unpacked: 40,
            entries: 3,
        },
        manifest: format!("service = \"{service}\"\n"),
    }
}

fn instance(service: &str, n: usize, version: &str, share: u32) -> InstanceTarget {
    InstanceTarget {
        instance: format!("{service}-{n}").parse().unwrap(),
        release: release(service, version),
        share: Share::new(share).unwrap(),
    }
}

fn target() -> Target {
    let pair = |service: &str| ServiceTarget {
        instances: vec![instance(service, 1, "1.0", 9_500), instance(service, 2, "1.1", 500)],
        confirm: None,
    };
    Target {
        revision: 7,
        host: HostValues {
            name: "alpha".parse().unwrap(),
            address: "127.0.0.2".into(),
            labels: [("zone".to_owned(), "a".to_owned())].into(),
        },
        services: ["api", "web"].map(|service| (service.parse().unwrap(), pair(service))).into(),
        keep: [Digest::of(b"a rollback target")].into(),
        migrations: [("api".parse().unwrap(), migration())].into(),
    }
}

fn migration() -> MigrationTarget {
    let reader = |who: &str, reads: &str| SchemaReader { who: who.into(), reads: reads.parse().unwrap() };
    MigrationTarget {
        id: MigrationId { deployment: DeploymentId::new(7), stage: 2, attempt: 1 },
        release: release("api", "3.0"),
        phase: SchemaPhase::Backfill,
        readers: vec![reader("api 1.0 (runs on web-1)", "41..=43"), reader("api 2.0", "42")],
        resolve: Some("43=put-back".parse().unwrap()),
        paused: true,
    }
}

fn migrations() -> BTreeMap<MigrationId, MigrationState> {
    let id = |attempt| MigrationId { deployment: DeploymentId::new(7), stage: 2, attempt };
    let running = |rows| MigrationState::Running { doing: "0043_fill".into(), rows };
    [
        (id(1), MigrationState::Failed { reason: "no room".into() }),
        (id(2), running(Some((5, None)))),
        (id(3), running(Some((5, Some(10))))),
        (id(4), running(None)),
        (id(5), MigrationState::Done { version: SchemaVersion::new(43) }),
    ]
    .into()
}

fn report() -> InstanceReport {
    InstanceReport {
        service: "web".parse().unwrap(),
        release: release("web", "1.0").name,
        phase: InstancePhase::Ready,
        share: Share::ALL,
        pid: Some(4711),
        restarts: 2,
        connections: Some(0),
        since: Timestamp::from_unix_millis(5),
        until: Some(Timestamp::from_unix_millis(6)),
        detail: "waits for\nits probe".into(),
        flip_nanos: Some(900),
        ready_millis: None,
        unready_probes: None,
        unserved: None,
        ledger: Some(DrainLedger { connections: 3, killed: true, ..DrainLedger::default() }),
        pin: Some(PinSource { address: [127, 77, 0, 3].into(), first_port: 61_048, last_port: 61_063 }),
    }
}

fn refused(change: impl FnOnce(&mut v1::Target)) -> ConvertError {
    let mut wire = v1::Target::from(&target());
    change(&mut wire);
    Target::try_from(wire).expect_err("the target was taken")
}

#[test]
fn a_target_survives_the_wire_with_each_release_once() {
    let mut target = target();
    // A restarted instance runs the same release as another one.
    target.services.get_mut("web").unwrap().instances.push(instance("web", 3, "1.0", 0));
    let wire = v1::Target::from(&target);
    assert_eq!(wire.releases.len(), 5, "those that run, and the one whose migrations are applied");
    let read = v1::Target::decode(&*wire.encode_to_vec()).unwrap();
    assert_eq!(Target::try_from(read), Ok(target));
}

#[test]
fn each_bad_field_of_a_target_is_named() {
    assert_eq!(refused(|t| t.host_name = "../etc".into()).field, "host_name");
    assert_eq!(refused(|t| t.host_address = "a\u{1b}[2J".into()).field, "host_address");
    assert_eq!(refused(|t| t.host_address = "a".repeat(256)).field, "host_address");
    assert_eq!(refused(|t| drop(t.host_labels.insert("a b".into(), String::new()))).field, "host_labels");
    assert_eq!(refused(|t| t.services[1].service = "WEB".into()).field, "services[1].service");
    assert_eq!(refused(|t| t.services[1].service = "api".into()).field, "services[1].service");
    assert_eq!(
        refused(|t| t.services[1].instances[0].share = 10_001).field,
        "services[1].instances[0].share"
    );
    assert_eq!(
        refused(|t| t.services[0].instances[1].version = "9".into()).field,
        "services[0].instances[1].version"
    );
    assert_eq!(
        refused(|t| t.services[0].instances[1].instance = "/".into()).field,
        "services[0].instances[1].instance"
    );
    assert_eq!(refused(|t| t.releases[3].bundle = None).field, "releases[3].bundle");
    assert_eq!(
        refused(|t| t.releases[0].bundle.as_mut().unwrap().tree = "?".into()).field,
        "releases[0].bundle.tree"
    );
    assert_eq!(refused(|t| t.releases[0].bundle.as_mut().unwrap().size = 0).field, "releases[0].bundle.size");
    assert_eq!(refused(|t| t.releases[0].manifest = "#".repeat(1 << 20)).field, "releases[0].manifest");
    assert_eq!(refused(|t| t.keep[0] = "sha256:".into()).field, "keep");
    assert_eq!(refused(|t| t.migrations[0].id = None).field, "migrations[0].id");
    assert_eq!(refused(|t| t.migrations[0].phase = 9).field, "migrations[0].phase");
    assert_eq!(refused(|t| t.migrations[0].version = "9".into()).field, "migrations[0].version");
    assert_eq!(refused(|t| t.migrations[0].readers[1].reads = "3..2".into()).field, "migrations[0].reads");
    assert_eq!(refused(|t| t.migrations.push(t.migrations[0].clone())).field, "migrations[1].service");
    assert_eq!(refused(|t| t.releases.push(t.releases[2].clone())).field, "releases[5].version");
}

#[test]
fn a_target_whose_shares_do_not_add_up_is_refused() {
    let error = refused(|t| t.services[1].instances[0].share = 9_000);
    assert!(error.field == "services" && error.reason.contains("web"), "{error}");
}

#[test]
fn a_target_or_report_without_end_is_refused() {
    assert_eq!(refused(|t| t.services = vec![t.services[0].clone(); MAX_SERVICES + 1]).field, "services");
    let error = refused(|t| {
        let instance = t.services[0].instances[0].clone();
        t.services[0].instances = vec![instance; MAX_INSTANCES];
    });
    assert!(error.field == "services" && error.reason.contains("1026"), "{error}");
    let wire = v1::InstanceReport::from((&"web-1".parse().unwrap(), &report()));
    let error = HostReport::try_from(v1::HostReport {
        instances: vec![wire; MAX_INSTANCES + 1],
        ..v1::HostReport::default()
    });
    assert_eq!(error.unwrap_err().field, "instances");
}

#[test]
fn each_bad_field_of_a_report_is_named() {
    type Change = fn(&mut v1::InstanceReport);
    let changes: [(&str, Change); 6] = [
        ("instance", |r| r.instance = String::new()),
        ("service", |r| r.service = "\n".into()),
        ("version", |r| r.version = String::new()),
        ("phase", |r| r.phase = 0),
        ("phase", |r| r.phase = 99),
        ("share", |r| r.share = 70_000),
    ];
    for (field, change) in changes {
        let mut wire = v1::InstanceReport::from((&"web-1".parse().unwrap(), &report()));
        change(&mut wire);
        let error =
            HostReport::try_from(v1::HostReport { instances: vec![wire], ..v1::HostReport::default() })
                .unwrap_err();
        assert_eq!(error.field, format!("instances[0].{field}"));
    }
    let wire = v1::InstanceReport::from((&"web-1".parse().unwrap(), &report()));
    let twice = HostReport::try_from(v1::HostReport {
        instances: vec![wire.clone(), wire],
        ..v1::HostReport::default()
    });
    assert_eq!(twice.unwrap_err().field, "instances[1].instance");
}

#[test]
fn each_bad_flip_of_a_report_is_named() {
    let flip = |service: &str, confirmation| v1::FlipReport {
        service: service.to_owned(),
        at_nanos: None,
        confirmation,
    };
    let refused = |flips: Vec<v1::FlipReport>| {
        HostReport::try_from(v1::HostReport { flips, ..v1::HostReport::default() }).unwrap_err().field
    };
    assert_eq!(refused(vec![flip("", None)]), "flips[0].service");
    assert_eq!(refused(vec![flip("web", None), flip("web", None)]), "flips[1].service");
    let unset = v1::FlipConfirmation { revision: 1, state: None };
    assert_eq!(refused(vec![flip("web", Some(unset))]), "flips[0].confirmation.state");
    assert_eq!(refused(vec![flip("web", None); MAX_SERVICES + 1]), "flips");
}

#[test]
fn a_long_detail_is_cut_and_cannot_move_a_cursor() {
    let mut report = report();
    report.detail = "\u{1b}[2J ä".repeat(MAX_DETAIL_CHARS);
    let wire = v1::HostReport::from(HostReport {
        instances: [("web-1".parse().unwrap(), report)].into(),
        ..HostReport::default()
    });
    let read = HostReport::try_from(wire).unwrap();
    let detail = &read.instances.values().next().unwrap().detail;
    assert_eq!(detail.chars().count(), MAX_DETAIL_CHARS);
    assert!(!detail.contains('\u{1b}'));
}

prop_compose! {
    fn any_report()(
        phase in prop::sample::select(&PHASES[..]),
        share in 0..=10_000_u32,
        pid in any::<Option<u32>>(),
        restarts in any::<u32>(),
        connections in any::<Option<u64>>(),
        since in any::<u64>(),
        until in any::<Option<u64>>(),
        detail in "[^\\pC]{0,40}",
        flip_nanos in any::<Option<u64>>(),
        ready_millis in any::<Option<u64>>(),
        unready_probes in any::<Option<u32>>(),
        unserved in prop::option::of(prop::collection::vec("[a-z0-9_-]{1,63}", 0..3)),
        ledger in any::<Option<[u64; 5]>>(),
        killed in any::<bool>(),
    ) -> InstanceReport {
        let ledger = ledger.map(|[connections, force_closed, reset, queues_millis, drain_millis]| DrainLedger {
            connections, force_closed, reset, queues_millis, drain_millis, killed,
        });
        let (since, until) = (Timestamp::from_unix_millis(since), until.map(Timestamp::from_unix_millis));
        InstanceReport {
            phase, share: Share::new(share).unwrap(), pid, restarts, connections, since, until, detail,
            flip_nanos, ready_millis, unready_probes, ledger,
            unserved: unserved.map(|names| names.iter().map(|name| name.parse().unwrap()).collect()), ..report()
        }
    }
}

fn any_flip() -> impl Strategy<Value = FlipReport> {
    let state = prop_oneof![
        any::<u64>()
            .prop_map(|until| ConfirmationState::Awaited { until: Timestamp::from_unix_millis(until) }),
        Just(ConfirmationState::Given),
        "[^\\pC]{0,40}".prop_map(|reason| ConfirmationState::Missed { reason }),
    ];
    let confirmation = (any::<u64>(), state).prop_map(|(revision, state)| Confirmation { revision, state });
    (any::<Option<u64>>(), proptest::option::of(confirmation))
        .prop_map(|(at_nanos, confirmation)| FlipReport { at_nanos, confirmation })
}

proptest! {
    #[test]
    fn every_report_survives_the_wire(
        revision in any::<u64>(),
        reports in prop::collection::vec(any_report(), 0..8),
        flips in prop::collection::btree_map("[a-z]{1,20}", any_flip(), 0..4),
        readings in any::<Option<(u64, Option<u64>)>>(),
    ) {
        let instances = reports.into_iter().enumerate().map(|(n, r)| (format!("web-{n}").parse().unwrap(), r)).collect();
        let flips = flips.into_iter().map(|(service, flip)| (service.parse().unwrap(), flip)).collect();
        let readings = readings.map(|(sent_nanos, target_nanos)| Readings { sent_nanos, target_nanos });
        let report = HostReport { revision, instances, flips, readings, migrations: migrations() };
        let wire = v1::HostReport::decode(&*v1::HostReport::from(&report).encode_to_vec()).unwrap();
        prop_assert_eq!(HostReport::try_from(wire), Ok(report));
    }

    #[test]
    fn every_target_survives_the_wire(revision in any::<u64>(), first in 0..=10_000_u32, versions in prop::collection::vec("[A-Za-z0-9._+-]{1,64}", 2), confirm in any::<Option<(u64, u64)>>()) {
        let mut target = target();
        target.revision = revision;
        target.services.get_mut("web").unwrap().instances =
            vec![instance("web", 1, &versions[0], first), instance("web", 2, &versions[1], 10_000 - first)];
        target.services.get_mut("web").unwrap().confirm =
            confirm.map(|(millis, revision)| Confirm { within: Duration::from_millis(millis), revision });
        let wire = v1::Target::decode(&*v1::Target::from(&target).encode_to_vec()).unwrap();
        prop_assert_eq!(Target::try_from(wire), Ok(target));
    }

    #[test]
    fn no_message_makes_the_conversion_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), share in any::<u32>(), phase in any::<i32>(), text in any::<String>()) {
        if let Ok(wire) = v1::Target::decode(&*bytes) {
            let _ = Target::try_from(wire);
        }
        let mut wire = v1::InstanceReport::from((&"web-1".parse().unwrap(), &report()));
        (wire.share, wire.phase, wire.detail, wire.version) = (share, phase, text.clone(), text);
        let _ = HostReport::try_from(v1::HostReport { instances: vec![wire], ..v1::HostReport::default() });
    }
}
