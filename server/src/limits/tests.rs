use super::*;
use handover_proto::status::Refusal;
use std::net::SocketAddr;

fn source(last: u8) -> Option<Source> {
    Some(SocketAddr::from(([192, 0, 2, last], 1)).into())
}

fn counted(limits: &Limits, name: &str) -> u64 {
    limits.counters().all().find(|(counter, _)| *counter == name).unwrap().1
}

#[test]
fn wrong_tokens_of_one_source_are_refused_and_those_of_another_are_not() {
    let limits = Arc::new(Limits::default());
    for _ in 0..FAILED_ENROLMENTS.burst {
        drop(limits.enrolment(source(1)).unwrap());
    }
    let refused = Refusal::of(&limits.enrolment(source(1)).unwrap_err()).unwrap();
    assert_eq!(refused.reason, Reason::Busy);
    assert!(refused.message.contains("192.0.2.1") && refused.message.contains("in 1 s"), "{refused:?}");
    assert!(refused.hint.contains("token"), "{refused:?}");
    drop(limits.enrolment(source(2)).unwrap());
    drop(limits.enrolment(None).unwrap());
    assert_eq!(counted(&limits, "enrolments_refused_source_total"), 1);
}

#[test]
fn a_whole_rack_behind_one_address_may_enrol() {
    let limits = Arc::new(Limits::default());
    for _ in 0..ENROLMENTS.burst {
        limits.enrolment(source(1)).unwrap().succeeded();
    }
    assert_eq!(counted(&limits, "enrolments_refused_source_total"), 0);
}

#[test]
fn of_all_sources_together_there_is_a_bound_that_none_is_blamed_for() {
    let limits = Arc::new(Limits::default());
    let tried = (0..2000_u32).map(|number| {
        let [.., third, fourth] = number.to_be_bytes();
        limits.enrolment(Some(SocketAddr::from(([10, 0, third, fourth], 1)).into())).map(drop)
    });
    let refused = tried.filter_map(Result::err).count() as u64;
    assert!(refused > 500, "{refused}");
    assert_eq!(counted(&limits, "enrolments_refused_total"), refused);
    assert_eq!(counted(&limits, "enrolments_refused_source_total"), 0);
}

#[test]
fn every_limit_on_a_number_says_who_and_how_many_and_counts() {
    let limits = Limits::default();
    let host: HostName = "web-1".parse().unwrap();
    let mut kept = Vec::new();
    let mut refusals = Vec::new();
    for _ in 0..=DOWNLOADS.0 {
        limits.download(host.clone()).map_or_else(|status| refusals.push(status), |place| kept.push(place));
    }
    let mut kept = Vec::new();
    let call: fn(&Limits, &str) -> _ = |limits, name| limits.call(CallsOf::Operator(name));
    for take in [Limits::upload, Limits::watch, Limits::log_reader, call] {
        for _ in 0..=CALLS.0 {
            match take(&limits, "ada") {
                Ok(place) => kept.push(place),
                Err(status) => {
                    refusals.push(status);
                    break;
                }
            }
        }
    }
    for _ in 0..=SESSIONS.burst {
        let _ = limits.session(&host).map_err(|status| refusals.push(status));
    }
    let refusals: Vec<Refusal> = refusals.iter().map(|status| Refusal::of(status).unwrap()).collect();
    assert_eq!(refusals.len(), 6, "{refusals:#?}");
    assert!(refusals.iter().all(|refusal| !refusal.hint.is_empty()), "{refusals:#?}");
    assert!(refusals[1].message.contains("ada uploads 16 bundles"), "{refusals:#?}");
    let met = limits.counters().all().filter(|(_, count)| *count == 1).count();
    assert_eq!(met, 6, "{:?}", limits.counters());
}

#[test]
fn an_agent_that_calls_too_often_waits_and_another_does_not() {
    let limits = Limits::default();
    let (restless, calm): (HostName, HostName) = ("web-1".parse().unwrap(), "web-2".parse().unwrap());
    let answered = (0..1000).filter(|_| limits.call(CallsOf::Agent(&restless)).is_ok()).count();
    assert!((AGENT_CALLS.burst as usize..200).contains(&answered), "{answered} calls at once");
    limits.call(CallsOf::Agent(&calm)).unwrap();
    assert_eq!(counted(&limits, "calls_refused_total"), 1000 - answered as u64);
}
