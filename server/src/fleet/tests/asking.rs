//! The task that asks a Prometheus server, with a fleet that runs.

use super::{claim, name, release, request};
use crate::{
    blobs::Bundles,
    fleet::{Enrolment, Fleet, Introduction},
    prometheus::{Asking, Client},
    store::MemoryStore,
};
use handover_model::{Duration, HostName, Labels, Measurement, ServiceName};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Instant,
};
use tokio::{io::AsyncReadExt as _, net::TcpListener};
use tokio_util::sync::CancellationToken;

const SERVICES: usize = 7;
const DEADLINE: Duration = Duration::from_secs(30);

/// A Prometheus server that answers nobody.
#[derive(Default)]
struct Silent {
    open: usize,
    most: usize,
    /// What it was asked for, by the service's counter, and when first and last.
    asked: BTreeMap<String, Vec<Instant>>,
}

async fn silent(listener: TcpListener, seen: Arc<Mutex<Silent>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            {
                let mut seen = seen.lock().unwrap();
                seen.open += 1;
                seen.most = seen.most.max(seen.open);
            }
            let mut heard = Vec::new();
            // Until the other side has had enough.
            let _ = stream.read_to_end(&mut heard).await;
            let heard = String::from_utf8_lossy(&heard).into_owned();
            let of = heard.split_once("requests%5Fof%5F").unwrap().1[..2].to_owned();
            let mut seen = seen.lock().unwrap();
            seen.open -= 1;
            seen.asked.entry(of).or_default().push(Instant::now());
        });
    }
}

/// A fleet with a host that runs services whose metrics a Prometheus server has.
async fn measured() -> Fleet {
    let folder = tempfile::tempdir().unwrap();
    let bundles = Bundles::open(folder.path(), handover_bundle::Limits::default()).await.unwrap();
    let (fleet, _task) =
        Fleet::start(Arc::new(MemoryStore::new()), bundles, CancellationToken::new()).await.unwrap();
    let begin = fleet.ask(|desk| {
        let (state, effects, now) = (&mut *desk.state, &mut *desk.effects, desk.now);
        let (claim, host) = (claim(), name::<HostName>("a"));
        state.create_token(claim.id, claim.secret.digest(), None, Duration::ZERO, now, effects)?;
        let (address, labels) = ("127.0.0.1".to_owned(), Labels::new());
        let enrolment =
            Enrolment { claim, host: host.clone(), address, labels, agent_version: "0.1.0".to_owned() };
        state.enrol(enrolment, "1".into(), now + Duration::from_secs(3600), now, effects)?;
        let session = state.open_session(&host, "1", Introduction::default(), now, effects)?;
        for number in 0..SERVICES {
            let service = format!("s{number}");
            let metrics = format!(
                "[metrics]\nsource = \"prometheus\"\nrequests = \"requests_of_{service}\"\nerrors = \"e\"\ninterval = \"1s\"\ntimeout = \"300ms\"\n"
            );
            state.create_release(release(&service, "1", &metrics), None, "uid:0", now, effects)?;
            state.create_deployment(&request(&service, "1"), "uid:0", now, effects)?;
            let service: ServiceName = name(&service);
            let measurement = Measurement { service: service.clone(), instances: BTreeMap::new() };
            state.measured(&host, session, [(service, measurement)].into(), now);
        }
        assert_eq!(state.asked_of_prometheus().len(), SERVICES);
        Ok(())
    });
    begin.await.unwrap();
    fleet
}

#[tokio::test]
async fn a_server_that_answers_nobody_is_asked_for_all_a_few_at_once_and_more_rarely_then() {
    let fleet = measured().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let seen = Arc::new(Mutex::new(Silent::default()));
    tokio::spawn(silent(listener, Arc::clone(&seen)));
    let client = Client { url, token_file: None, ca_file: PathBuf::from("/nowhere") };
    tokio::spawn(Asking::new(fleet.clone(), Some(client)).run());
    let began = Instant::now();
    let thrice = || {
        let seen = seen.lock().unwrap();
        seen.asked.len() == SERVICES && seen.asked.values().all(|times| times.len() >= 3)
    };
    while !thrice() {
        assert!(began.elapsed() < DEADLINE, "it was not asked for all of them");
        // The fleet answers meanwhile.
        fleet.vitals().await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen.asked.keys().cloned().collect::<BTreeSet<_>>().len(), SERVICES);
    assert_eq!(seen.most, 4, "more at once than may be");
    for (service, times) in &seen.asked {
        // The first pause is one to two intervals, the second two to three.
        let pauses: Vec<Duration> = times.windows(2).take(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pauses[0] >= Duration::from_secs(1), "{service}: {pauses:?}");
        assert!(pauses[1] >= Duration::from_secs(2), "{service}: {pauses:?}");
    }
}
