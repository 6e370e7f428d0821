//! Tokens, enrolment, sessions, targets.

use super::{Fixture, claim, name, request};
use crate::fleet::{Enrolment, HostChange, Introduction, Refusal, State};
use handover_identity::TokenClaim;
use handover_model::{Duration, HostName, Labels};

fn enrolment(claim: &TokenClaim, host: &str) -> Enrolment {
    Enrolment {
        claim: claim.clone(),
        host: name(host),
        address: "127.0.0.1".into(),
        labels: Labels::new(),
        agent_version: "0.1.0".into(),
    }
}

fn create(fleet: &mut Fixture, claim: &TokenClaim, host: Option<&str>, seconds: u64) {
    let (id, secret, host) = (claim.id, claim.secret.digest(), host.map(name::<HostName>));
    let life = Duration::from_secs(seconds);
    fleet.act(|state, now, effects| state.create_token(id, secret, host, life, now, effects)).unwrap();
}

fn join(fleet: &mut Fixture, claim: &TokenClaim, host: &str) -> Result<(), Refusal> {
    let enrolment = enrolment(claim, host);
    fleet.act(|state, now, effects| state.enrol(enrolment, "2".into(), now, now, effects))
}

#[test]
fn a_token_enrols_one_host_once_and_in_time() {
    let mut fleet = Fixture::with_hosts(&[]);
    let (good, late, for_b) = (claim(), claim(), claim());
    create(&mut fleet, &good, None, 60);
    create(&mut fleet, &late, None, 60);
    create(&mut fleet, &for_b, Some("b"), 600);
    assert_eq!(join(&mut fleet, &claim(), "a"), Err(Refusal::TokenUnknown));
    let forged = TokenClaim { id: good.id, secret: late.secret.clone() };
    assert_eq!(join(&mut fleet, &forged, "a"), Err(Refusal::TokenUnknown));
    assert_eq!(join(&mut fleet, &good, "a"), Ok(()));
    assert_eq!(join(&mut fleet, &good, "c"), Err(Refusal::TokenUsed(name("a"))));
    assert_eq!(join(&mut fleet, &for_b, "c"), Err(Refusal::TokenOtherHost(name("b"))));
    fleet.now = fleet.now + Duration::from_secs(60);
    assert_eq!(join(&mut fleet, &late, "c"), Err(Refusal::TokenExpired));
    assert_eq!(join(&mut fleet, &for_b, "b"), Ok(()));
    let revoked = claim();
    create(&mut fleet, &revoked, None, 60);
    fleet.act(|state, _, effects| state.revoke_token(revoked.id, effects)).unwrap();
    assert_eq!(join(&mut fleet, &revoked, "d"), Err(Refusal::TokenUnknown));
}

#[test]
fn a_name_that_is_taken_is_enrolled_again_only_offline_and_with_a_token_for_it() {
    let mut fleet = Fixture::with_hosts(&["a"]);
    let (open, own) = (claim(), claim());
    create(&mut fleet, &open, None, 600);
    create(&mut fleet, &own, Some("a"), 600);
    assert_eq!(join(&mut fleet, &own, "a"), Err(Refusal::HostExists(name("a"))), "it is online");
    fleet.disconnect("a");
    assert_eq!(join(&mut fleet, &open, "a"), Err(Refusal::HostExists(name("a"))));
    assert_eq!(join(&mut fleet, &own, "a"), Ok(()));
    let old = fleet.act(|state, now, effects| {
        state.open_session(&name("a"), "1", Introduction::default(), now, effects)
    });
    assert_eq!(old, Err(Refusal::HostRemoved(name("a"))), "the old certificate is worth nothing");
}

#[test]
fn enrolling_with_wrong_labels_uses_no_token_up() {
    let mut fleet = Fixture::with_hosts(&[]);
    let token = claim();
    create(&mut fleet, &token, None, 60);
    let bad = Enrolment { labels: Labels::from([("a b".into(), String::new())]), ..enrolment(&token, "a") };
    let refused = fleet.act(|state, now, effects| state.enrol(bad, "2".into(), now, now, effects));
    assert!(matches!(refused, Err(Refusal::Invalid(_))), "{refused:?}");
    assert_eq!(join(&mut fleet, &token, "a"), Ok(()));
}

#[test]
fn labels_that_do_not_fit_into_the_store_are_refused() {
    let mut fleet = Fixture::with_hosts(&["a"]);
    let labels = |length: usize| (0..64).map(|n| (format!("k{n}"), "v".repeat(length))).collect::<Labels>();
    let set = |fleet: &mut Fixture, set| {
        let change = HostChange { set, ..HostChange::default() };
        fleet.act(|state, now, effects| state.update_host(&name("a"), &change, now, effects))
    };
    assert!(matches!(set(&mut fleet, labels(63)), Err(Refusal::Invalid(_))));
    assert_eq!(set(&mut fleet, labels(50)), Ok(()));
    assert_eq!(fleet.loaded().host(&name("a")).unwrap().record.labels, labels(50));
}

#[test]
fn an_agent_that_holds_a_newer_target_than_the_server_knows_gets_a_newer_one() {
    let mut fleet = Fixture::with_hosts(&["a"]);
    let introduction = Introduction { revision: 40, ..Introduction::default() };
    fleet.act(|state, now, effects| state.open_session(&name("a"), "1", introduction, now, effects)).unwrap();
    assert_eq!(fleet.state.target(&name("a")).unwrap().revision, 41);
}

#[test]
fn a_session_that_was_replaced_says_nothing_any_more() {
    let mut fleet = Fixture::with_hosts(&["a"]);
    let open = |fleet: &mut Fixture| {
        fleet
            .act(|state, now, effects| {
                state.open_session(&name("a"), "1", Introduction::default(), now, effects)
            })
            .unwrap()
    };
    let old = open(&mut fleet);
    let new = open(&mut fleet);
    fleet.act(|state, now, effects| state.close_session(&name("a"), old, now, effects)).unwrap();
    assert!(
        fleet.state.host(&name("a")).unwrap().online.is_some(),
        "the old session's end took the new one off"
    );
    fleet.act(|state, now, effects| state.close_session(&name("a"), new, now, effects)).unwrap();
    assert!(fleet.state.host(&name("a")).unwrap().online.is_none());
}

#[test]
fn a_target_counts_up_with_each_change_and_stays_valid() {
    let mut fleet = Fixture::with_hosts(&["a"]);
    fleet.push("web", "1", "");
    fleet.push("web", "2", "");
    let mut last = 0;
    for version in ["1", "2"] {
        fleet.deploy(&request("web", version)).unwrap();
        for _ in 0..30 {
            let target = fleet.state.target(&name("a")).unwrap();
            target.check().unwrap();
            assert!(target.revision >= last);
            last = target.revision;
            fleet.report_all();
            fleet.now = fleet.now + Duration::from_secs(1);
            fleet.act(State::tick).unwrap();
        }
    }
    assert!(last >= 6, "revision {last}");
}

#[test]
fn an_agent_fetches_only_what_its_target_names() {
    let mut fleet = Fixture::with_hosts(&["a", "b"]);
    fleet.push("web", "1", "[rollout]\nbatch = 1\n");
    fleet.push("web", "2", "");
    let digest = super::release("web", "1", "").bundle.digest;
    let other = super::release("web", "2", "").bundle.digest;
    fleet.deploy(&request("web", "1")).unwrap();
    let may = |fleet: &Fixture, host: &str, digest| fleet.state.may_fetch(&name(host), "1", digest);
    assert_eq!(may(&fleet, "a", digest), Ok(()));
    assert!(matches!(may(&fleet, "a", other), Err(Refusal::NotYourHost { .. })));
    assert!(matches!(may(&fleet, "b", digest), Err(Refusal::NotYourHost { .. })));
    assert!(matches!(fleet.state.may_fetch(&name("a"), "9", digest), Err(Refusal::HostRemoved(_))));
}

#[test]
fn a_host_is_removed_while_it_is_busy_only_by_force() {
    let mut fleet = Fixture::with_hosts(&["a", "b"]);
    fleet.push("web", "1", "");
    let id = fleet.deploy(&request("web", "1")).unwrap();
    let remove = |fleet: &mut Fixture, force| {
        fleet.act(|state, now, effects| {
            state.remove_host(&name("b"), force, now, effects)?;
            Ok(effects.end_sessions.len())
        })
    };
    assert!(matches!(remove(&mut fleet, false), Err(Refusal::HostBusy { .. })));
    fleet.disconnect("b");
    assert!(matches!(remove(&mut fleet, false), Err(Refusal::HostBusy { .. })), "a deployment touches it");
    assert_eq!(remove(&mut fleet, true), Ok(1));
    fleet.settle();
    assert!(fleet.state.deployment(id).unwrap().0.ended.is_some());
    assert_eq!(fleet.current("web").as_deref(), Some("1"));
}
