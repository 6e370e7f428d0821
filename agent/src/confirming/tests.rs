use super::*;
use crate::reconcile::{Action, Observed, next_deadline, reconcile};
use handover_model::{
    BundleDescriptor, Confirm, Digest, HostValues, InstanceTarget, Release, ReleaseRef, Target,
};
use std::collections::BTreeSet;

const NOW: Timestamp = Timestamp::from_unix_millis(1_000_000);
const WITHIN: Duration = Duration::from_secs(30);

fn at(seconds: u64) -> Timestamp {
    NOW + Duration::from_secs(seconds)
}

fn name(text: &str) -> InstanceId {
    text.parse().unwrap()
}

fn web() -> ServiceName {
    "web".parse().unwrap()
}

fn share(basis_points: u32) -> Share {
    Share::new(basis_points).unwrap()
}

fn of(shares: &[(&str, u32)]) -> Shares {
    shares.iter().map(|(instance, points)| (name(instance), share(*points))).collect()
}

/// What a host should run; the flip to it has to be confirmed.
fn target(revision: u64, shares: &[(&str, u32)]) -> Target {
    let release = |version: &str| {
        let digest = Digest::of(version.as_bytes());
        Release {
            name: ReleaseRef { service: web(), version: version.parse().unwrap() },
            bundle: BundleDescriptor { digest, size: 1, tree: digest, unpacked: 1, entries: 1 },
            manifest: String::new(),
        }
    };
    let instances = shares.iter().map(|(instance, points)| InstanceTarget {
        instance: name(instance),
        release: release(instance),
        share: share(*points),
    });
    let confirm = Some(Confirm { within: WITHIN, revision });
    let services = BTreeMap::from([(web(), ServiceTarget { instances: instances.collect(), confirm })]);
    let host = HostValues { name: "a".parse().unwrap(), address: String::new(), labels: BTreeMap::new() };
    Target { revision: 100, host, services, keep: BTreeSet::new(), migrations: BTreeMap::new() }
}

fn instances(found: &[(&str, u32, ObservedState)]) -> Instances {
    found
        .iter()
        .map(|(i, points, state)| (name(i), ObservedInstance { share: share(*points), state: *state }))
        .collect()
}

fn observed(found: &[(&str, u32, ObservedState)], flip: Option<&AskedFlip>) -> Observed {
    Observed {
        services: BTreeMap::from([(web(), instances(found))]),
        flips: flip.map(|flip| (web(), flip.clone())).into_iter().collect(),
    }
}

fn flip(state: AskedState) -> AskedFlip {
    AskedFlip {
        service: web(),
        revision: 7,
        within: WITHIN,
        wanted: of(&[("old", 0), ("new", 10_000)]),
        former: of(&[("old", 10_000)]),
        state,
    }
}

fn set(shares: &[(&str, u32)]) -> Action {
    Action::SetShares(web(), of(shares))
}

const READY: ObservedState = ObservedState::Ready;
const BEFORE: [(&str, u32, ObservedState); 2] = [("old", 10_000, READY), ("new", 0, READY)];
const AFTER: [(&str, u32, ObservedState); 2] = [("old", 0, READY), ("new", 10_000, READY)];

#[test]
fn a_flip_is_written_down_before_it_is_made_and_only_once() {
    let target = target(7, &[("old", 0), ("new", 10_000)]);
    let asked = flip(AskedState::Awaited { deadline: at(30) });
    let expected = [Action::AskConfirmation(asked.clone()), set(&[("new", 10_000), ("old", 0)])];
    assert_eq!(reconcile(&target, &observed(&BEFORE, None), NOW), expected);
    // Killed in between: it is made all the same, and its time has begun already.
    assert_eq!(reconcile(&target, &observed(&BEFORE, Some(&asked)), at(3)), [expected[1].clone()]);
    let made = observed(&AFTER, Some(&asked));
    assert_eq!(reconcile(&target, &made, at(29)), []);
    assert_eq!(next_deadline(&made), Some(at(30)));
}

#[test]
fn what_is_not_confirmed_in_time_goes_back_and_stays_there() {
    let target = target(7, &[("old", 0), ("new", 10_000)]);
    let asked = flip(AskedState::Awaited { deadline: at(30) });
    let back = set(&[("new", 0), ("old", 10_000)]);
    assert_eq!(
        reconcile(&target, &observed(&AFTER, Some(&asked)), at(30)),
        [Action::MissConfirmation(web()), back.clone()]
    );
    let mut missed = asked;
    missed.miss();
    // Killed in between: it goes back all the same.
    assert_eq!(reconcile(&target, &observed(&AFTER, Some(&missed)), at(31)), [back]);
    let undone = observed(&BEFORE, Some(&missed));
    assert_eq!((reconcile(&target, &undone, at(99)), next_deadline(&undone)), (vec![], None));
    let told = missed.missed("the flip was not confirmed within 30s", &instances(&BEFORE));
    assert_eq!(told, "undone: the flip was not confirmed within 30s");
}

#[test]
fn what_is_confirmed_stands_also_after_a_crash_of_the_new_one() {
    let target = target(7, &[("old", 0), ("new", 10_000)]);
    let given = flip(AskedState::Given);
    assert_eq!(reconcile(&target, &observed(&AFTER, Some(&given)), at(99)), []);
    // After a reboot nobody has a share: it gets it without being asked again.
    let booted = observed(&[("old", 0, READY), ("new", 0, READY)], Some(&given));
    assert_eq!(reconcile(&target, &booted, at(99)), [set(&[("new", 10_000), ("old", 0)])]);
}

#[test]
fn nobody_who_is_not_ready_gets_a_share_for_going_back() {
    let target = target(7, &[("old", 0), ("new", 10_000)]);
    let mut missed = flip(AskedState::Awaited { deadline: at(30) });
    missed.miss();
    let down = [("old", 0, ObservedState::BackingOff { until: at(60), fetched: true }), AFTER[1]];
    assert_eq!(reconcile(&target, &observed(&down, Some(&missed)), at(31)), []);
    let told = missed.missed("not confirmed", &instances(&down));
    assert_eq!(told, "not confirmed, and it cannot be undone: old is not ready");
    // Once it is, it goes back.
    let expected = [set(&[("new", 0), ("old", 10_000)])];
    assert_eq!(reconcile(&target, &observed(&AFTER, Some(&missed)), at(40)), expected);
    let alone = observed(&[AFTER[1]], Some(&missed));
    let actions = reconcile(&target, &alone, at(40));
    assert_eq!(actions, [Action::Fetch(name("old"))], "what is ordered is started, and nobody is flipped to");
    assert!(missed.missed("x", &instances(&[AFTER[1]])).ends_with("old is gone"));
}

#[test]
fn another_order_decides_anew_and_the_same_one_under_another_revision_of_the_host_does_not() {
    let mut missed = flip(AskedState::Awaited { deadline: at(30) });
    missed.miss();
    let mut same = target(7, &[("old", 0), ("new", 10_000)]);
    same.revision += 1;
    assert_eq!(reconcile(&same, &observed(&BEFORE, Some(&missed)), at(31)), []);
    let another = target(8, &[("old", 0), ("new", 10_000)]);
    let actions = reconcile(&another, &observed(&BEFORE, Some(&missed)), at(31));
    let asked = AskedFlip { revision: 8, ..flip(AskedState::Awaited { deadline: at(61) }) };
    let flips = set(&[("new", 10_000), ("old", 0)]);
    assert_eq!(actions, [Action::ForgetFlip(web()), Action::AskConfirmation(asked), flips.clone()]);
    // A number that is given twice is no order that was.
    let mut restored = missed.clone();
    restored.wanted = of(&[("old", 0), ("other", 10_000)]);
    let actions = reconcile(&same, &observed(&BEFORE, Some(&restored)), at(31));
    assert_eq!(actions[0], Action::ForgetFlip(web()));
    // Without a word of confirmation the flip is made at once.
    let mut plain = another;
    plain.services.get_mut(&web()).unwrap().confirm = None;
    let actions = reconcile(&plain, &observed(&BEFORE, Some(&missed)), at(31));
    assert_eq!(actions, [Action::ForgetFlip(web()), flips]);
}

#[test]
fn a_step_of_a_canary_goes_back_to_the_step_before() {
    let target = target(9, &[("old", 7_500), ("new", 2_500)]);
    let before = [("old", 9_500, READY), ("new", 500, READY)];
    let actions = reconcile(&target, &observed(&before, None), NOW);
    let [Action::AskConfirmation(asked), Action::SetShares(..)] = actions.as_slice() else {
        panic!("{actions:?}")
    };
    assert_eq!(asked.former, of(&[("new", 500), ("old", 9_500)]));
    let after = [("old", 7_500, READY), ("new", 2_500, READY)];
    let late = reconcile(&target, &observed(&after, Some(asked)), at(30));
    assert_eq!(late, [Action::MissConfirmation(web()), set(&[("new", 500), ("old", 9_500)])]);
}

#[test]
fn there_is_nothing_to_confirm_where_there_is_nothing_to_go_back_to() {
    let target = target(7, &[("new", 10_000)]);
    let first = observed(&[("new", 0, READY)], None);
    assert_eq!(reconcile(&target, &first, NOW), [set(&[("new", 10_000)])]);
}

#[test]
fn who_had_the_share_before_stays_until_the_flip_is_confirmed_whatever_is_ordered() {
    let target = target(7, &[("new", 10_000)]);
    let actions = reconcile(&target, &observed(&BEFORE, None), NOW);
    let [Action::AskConfirmation(asked), flip] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!(*flip, set(&[("new", 10_000), ("old", 0)]));
    assert_eq!(reconcile(&target, &observed(&AFTER, Some(asked)), at(5)), []);
    let given = AskedFlip { state: AskedState::Given, ..asked.clone() };
    assert_eq!(reconcile(&target, &observed(&AFTER, Some(&given)), at(5)), [Action::Empty(name("old"))]);
    assert_eq!(
        reconcile(&target, &observed(&AFTER, Some(asked)), at(30)),
        [Action::MissConfirmation(web()), set(&[("new", 0), ("old", 10_000)])]
    );
}

#[test]
fn a_reboot_before_the_confirmation_is_none() {
    let target = target(7, &[("old", 0), ("new", 10_000)]);
    let mut asked = flip(AskedState::Awaited { deadline: at(30) });
    asked.after_reboot();
    let booted = observed(&[("old", 0, READY), ("new", 0, READY)], Some(&asked));
    assert_eq!(reconcile(&target, &booted, NOW), [set(&[("new", 0), ("old", 10_000)])]);
    let mut given = flip(AskedState::Given);
    given.after_reboot();
    assert_eq!(given.state, AskedState::Given);
}
