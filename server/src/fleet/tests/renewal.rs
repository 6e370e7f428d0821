//! Certificates given anew, and one identity in two places.

use super::{Fixture, name};
use crate::fleet::{HostChange, Introduction, Refusal, RenewedCertificate, State};
use handover_model::{Duration, HostName, Timestamp};

fn host() -> HostName {
    name("a")
}

fn from(place: &str, run: &str) -> Introduction {
    Introduction {
        place: place.into(),
        session_id: run.into(),
        from: format!("{place}:1"),
        boot_id: format!("boot of {place}"),
        ..Introduction::default()
    }
}

fn open(fleet: &mut Fixture, serial: &str, introduction: Introduction) -> Result<u64, Refusal> {
    fleet.act(|state, now, effects| state.open_session(&host(), serial, introduction, now, effects))
}

fn renew(fleet: &mut Fixture, with: &str, run: &str, serial: &str) -> Result<(), Refusal> {
    let (issued, expires) = (fleet.now, fleet.now + Duration::from_secs(60));
    let renewed = RenewedCertificate { serial: serial.into(), issued, expires };
    fleet.act(|state, _, effects| state.renew(&host(), with, run, renewed, effects))
}

fn enrolled() -> Fixture {
    let mut fleet = Fixture::with_hosts(&[]);
    fleet.enrol("a", &[]);
    fleet
}

fn tick(fleet: &mut Fixture, seconds: u64) {
    fleet.now = fleet.now + Duration::from_secs(seconds);
    fleet.act(State::tick).unwrap();
}

fn alarm_since(fleet: &Fixture) -> Option<Timestamp> {
    // From the store: an alarm outlives the server.
    fleet.loaded().host(&host()).unwrap().record.clone.as_ref().map(|alarm| alarm.since)
}

#[test]
fn both_certificates_are_good_until_the_host_was_seen_with_the_newer_one() {
    let mut fleet = enrolled();
    open(&mut fleet, "1", from("here", "run-1")).unwrap();
    renew(&mut fleet, "1", "run-1", "2").unwrap();
    // The answer was lost, or the agent was killed before it kept the new one: it comes with the old one.
    fleet.state = fleet.loaded();
    open(&mut fleet, "1", from("here", "run-2")).unwrap();
    renew(&mut fleet, "1", "run-2", "3").unwrap();
    assert_eq!(
        open(&mut fleet, "2", from("here", "run-3")),
        Err(Refusal::HostRemoved(host())),
        "never arrived"
    );
    // It was kept: the newer one counts from here on, and the older one speaks for a copy.
    fleet.state = fleet.loaded();
    open(&mut fleet, "3", from("here", "run-4")).unwrap();
    let record = fleet.loaded().host(&host()).unwrap().record.clone();
    assert_eq!((record.serial.as_str(), record.former_serial.as_str()), ("3", "1"));
    assert_eq!(record.certificate_expires, fleet.now + Duration::from_secs(60));
    assert_eq!(open(&mut fleet, "1", from("here", "run-5")), Err(Refusal::FormerCertificate(host())));
}

#[test]
fn a_renewal_needs_the_session_and_shows_that_the_one_before_arrived() {
    let mut fleet = enrolled();
    assert_eq!(renew(&mut fleet, "1", "run-1", "2"), Err(Refusal::NoSession(host())));
    open(&mut fleet, "1", from("here", "run-1")).unwrap();
    assert_eq!(renew(&mut fleet, "1", "a copy's run", "2"), Err(Refusal::NoSession(host())));
    assert_eq!(renew(&mut fleet, "9", "run-1", "2"), Err(Refusal::HostRemoved(host())));
    renew(&mut fleet, "1", "run-1", "2").unwrap();
    renew(&mut fleet, "2", "run-1", "3").unwrap();
    assert_eq!(renew(&mut fleet, "1", "run-1", "4"), Err(Refusal::HostRemoved(host())), "it was seen with 2");
    // What belongs to the session goes on with the certificate that the session was opened with.
    assert!(matches!(
        fleet.state.may_fetch(&host(), "1", handover_model::Digest::of(b"none")),
        Err(Refusal::NotYourHost { .. })
    ));
}

#[test]
fn an_agent_that_starts_again_in_its_place_replaces_its_session_at_once() {
    let mut fleet = enrolled();
    let first = open(&mut fleet, "1", from("here", "run-1")).unwrap();
    let again = open(&mut fleet, "1", from("here", "run-2")).unwrap();
    assert!(again > first);
    fleet
        .act(|state, now, _| {
            state.heard(&host(), again, now);
            Ok(())
        })
        .unwrap();
    tick(&mut fleet, 30);
    assert_eq!(alarm_since(&fleet), None);
}

#[test]
fn a_copy_is_refused_while_the_host_answers_and_raises_one_alarm_until_it_is_acknowledged() {
    let mut fleet = enrolled();
    let session = open(&mut fleet, "1", from("here", "run-1")).unwrap();
    let refused = open(&mut fleet, "1", from("elsewhere", "run-2"));
    assert_eq!(refused, Err(Refusal::IdentityInUse { host: host(), from: "here:1".into() }));
    tick(&mut fleet, 1);
    assert_eq!(alarm_since(&fleet), None, "nothing was heard of the older one yet");
    fleet.now = fleet.now + Duration::from_secs(4);
    let heard = fleet.now;
    fleet
        .act(|state, now, _| {
            state.heard(&host(), session, now);
            Ok(())
        })
        .unwrap();
    tick(&mut fleet, 0);
    assert_eq!(alarm_since(&fleet), Some(heard));
    let record = fleet.state.host(&host()).unwrap().record.clone();
    assert_eq!(record.clone.unwrap().from, "elsewhere:1");
    assert!(fleet.state.host(&host()).unwrap().online.is_some(), "the older session goes on");
    let change = HostChange { acknowledge_clone: true, ..HostChange::default() };
    fleet.act(|state, now, effects| state.update_host(&host(), &change, now, effects)).unwrap();
    assert_eq!(alarm_since(&fleet), None);
}

#[test]
fn a_host_that_was_rebooted_is_let_in_once_its_former_session_is_over_and_raises_nothing() {
    let mut fleet = enrolled();
    let session = open(&mut fleet, "1", from("before the boot", "run-1")).unwrap();
    assert!(open(&mut fleet, "1", from("after the boot", "run-2")).is_err());
    tick(&mut fleet, 20);
    fleet.act(|state, now, effects| state.close_session(&host(), session, now, effects)).unwrap();
    tick(&mut fleet, 1);
    open(&mut fleet, "1", from("after the boot", "run-2")).unwrap();
    tick(&mut fleet, 10);
    assert_eq!(alarm_since(&fleet), None);
}

#[test]
fn an_agent_that_comes_with_a_former_certificate_is_a_copy_also_while_the_host_is_away() {
    let mut fleet = enrolled();
    let session = open(&mut fleet, "1", from("here", "run-1")).unwrap();
    renew(&mut fleet, "1", "run-1", "2").unwrap();
    renew(&mut fleet, "2", "run-1", "3").unwrap();
    fleet.act(|state, now, effects| state.close_session(&host(), session, now, effects)).unwrap();
    assert_eq!(open(&mut fleet, "1", from("elsewhere", "run-9")), Err(Refusal::FormerCertificate(host())));
    tick(&mut fleet, 1);
    assert!(alarm_since(&fleet).is_some());
}
