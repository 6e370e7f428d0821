//! Watchers who do not read.

use crate::fixture::{Agent, DEADLINE, Server, reason, until};
use handover_identity::{ClientTls, Credentials, KeyPair, endpoint};
use handover_proto::v1::{self, operator_service_client::OperatorServiceClient};
use hyper_util::rt::TokioIo;
use std::time::{Duration, Instant};
use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tonic::{Streaming, transport::Channel};

/// What a slow watcher takes unread, in bytes: not even one snapshot.
const WINDOW: u32 = 16;
/// Slow watchers of each of two operators, and how many of them share a connection.
const WATCHERS: (usize, usize) = (100, 50);
const CHANGES: u32 = 2000;
const HOSTS: u32 = 8;

pub(super) type Operator = OperatorServiceClient<Channel>;

pub(super) async fn slow_on_this_machine(server: &Server) -> Operator {
    let path = server.unix();
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let endpoint = endpoint().initial_stream_window_size(WINDOW);
    OperatorServiceClient::new(endpoint.connect_with_connector(connector).await.unwrap())
}

pub(super) async fn slow_from_elsewhere(server: &Server, tls: &ClientTls) -> Operator {
    let (address, tls) = (server.tls.clone(), TlsConnector::from(tls.config()));
    let connector = tower::service_fn(move |_| {
        let (address, tls) = (address.clone(), tls.clone());
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            tls.connect("handover-server".try_into().unwrap(), stream).await.map(TokioIo::new)
        }
    });
    let endpoint = endpoint().initial_stream_window_size(WINDOW);
    OperatorServiceClient::new(endpoint.connect_with_connector(connector).await.unwrap())
}

pub(super) async fn certificate(server: &Server, name: &str) -> ClientTls {
    let key = KeyPair::generate().unwrap();
    let request = v1::SignOperatorRequest {
        name: name.into(),
        csr_pem: key.csr_pem().unwrap(),
        role: v1::OperatorRole::Admin.into(),
        days: 1,
        ..Default::default()
    };
    let signed = server.operator().await.sign_operator(request).await.unwrap().into_inner();
    ClientTls::new(&Credentials::new(key, &signed.certificate_pem, &signed.ca_pem).unwrap()).unwrap()
}

/// Hosts that are cordoned at the end, and at no time before it.
const LAST: [&str; 2] = ["h-3", "h-5"];

/// Cordons hosts and takes the cordon back, in turn. At the end none is cordoned, or, if `last`, [`LAST`].
async fn change(server: &Server, changes: u32, last: bool) {
    let mut operator = server.operator().await;
    let mut set = async |host: u32, cordoned| {
        let name = format!("h-{host}");
        let request = v1::UpdateHostRequest { name, cordoned: Some(cordoned), ..Default::default() };
        operator.update_host(request).await.unwrap();
    };
    for number in 0..changes {
        set(number % HOSTS, (number / HOSTS).is_multiple_of(2)).await;
    }
    for host in 0..HOSTS {
        set(host, last && LAST.contains(&format!("h-{host}").as_str())).await;
    }
}

fn cordoned(shown: &v1::ListServicesResponse) -> Vec<&str> {
    let hosts = shown.services.iter().flat_map(|service| &service.hosts);
    hosts.filter(|host| host.cordoned).map(|host| host.host.as_str()).collect()
}

/// Reads until a snapshot shows the end: how many there were, and the last one.
async fn read_on(watch: &mut Streaming<v1::ListServicesResponse>) -> (usize, v1::ListServicesResponse) {
    for count in 1.. {
        let shown = timeout(DEADLINE, watch.message()).await.unwrap().unwrap().unwrap();
        if cordoned(&shown) == LAST {
            return (count, shown);
        }
    }
    unreachable!("the loop has no end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_who_do_not_read_cost_little_and_get_the_newest_when_they_read_again() {
    let server = Server::start();
    for host in 0..HOSTS {
        Agent::enrol(&server, &format!("h-{host}")).await;
    }
    server.push("web", "1", "[rollout]\nbake = \"1h\"\n").await;
    // What the store keeps in memory of its last writes is not what is measured.
    change(&server, CHANGES / 2, false).await;
    let ada = certificate(&server, "ada").await;
    let memory = server.resident();

    let web = v1::ListServicesRequest { service: "web".into() };
    let mut slow = Vec::new();
    for number in 0..2 * WATCHERS.0 / WATCHERS.1 {
        let client = if number % 2 == 0 {
            slow_on_this_machine(&server).await
        } else {
            slow_from_elsewhere(&server, &ada).await
        };
        for _ in 0..WATCHERS.1 {
            slow.push(client.clone().watch_services(web.clone()).await.unwrap().into_inner());
        }
    }
    let mut newest = server.operator().await.watch_services(web.clone()).await.unwrap().into_inner();
    let reading = tokio::spawn(async move { read_on(&mut newest).await });
    let began = Instant::now();
    change(&server, CHANGES, true).await;
    let changed = Instant::now();
    let (read, shown) = timeout(DEADLINE, reading).await.unwrap().unwrap();
    let (behind, growth) = (changed.elapsed(), server.resident().saturating_sub(memory));

    let mut most = 0;
    for watch in &mut slow {
        let (count, last) = read_on(watch).await;
        most = most.max(count);
        assert_eq!(last.services, shown.services, "a slow watcher got another state in the end");
    }
    println!(
        "{} slow watchers, {CHANGES} changes in {:.1?}: {} KiB more memory; a watcher who reads got {read} snapshots, \
         the newest {behind:.0?} after the last change; slow ones at most {most}",
        slow.len(),
        changed - began,
        growth / 1024
    );
    assert!(growth < 48 << 20, "{growth} bytes more");
    assert!(behind < Duration::from_secs(1), "the newest state was shown after {behind:?}");
    // One is half sent, few wait in the queue and in the transport; then comes the newest.
    assert!(most <= 4, "a slow watcher got {most} snapshots");
}

#[tokio::test]
async fn an_operator_has_so_many_watches_and_another_operator_has_their_own() {
    let server = Server::start();
    let (ada, bob) = (certificate(&server, "ada").await, certificate(&server, "bob").await);
    let mut open = Vec::new();
    let refused = 'refused: loop {
        let client = slow_from_elsewhere(&server, &ada).await;
        for _ in 0..WATCHERS.1 {
            match client.clone().watch_services(v1::ListServicesRequest::default()).await {
                Ok(watch) => open.push(watch),
                Err(refused) => break 'refused refused,
            }
        }
    };
    assert_eq!((open.len(), reason(&refused).as_str()), (128, "TOO_MANY"), "{refused:?}");
    let mut other = slow_from_elsewhere(&server, &bob).await;
    other.watch_services(v1::ListServicesRequest::default()).await.unwrap();
    open.pop();
    let client = slow_from_elsewhere(&server, &ada).await;
    until("a place is free", async || {
        client.clone().watch_services(v1::ListServicesRequest::default()).await.is_ok()
    })
    .await;
}
