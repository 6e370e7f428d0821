use super::*;
use crate::{Ca, wall_clock};
use std::sync::atomic::AtomicUsize;

/// accept(2) of a process that has no descriptors left.
struct Exhausted(Arc<AtomicUsize>);

impl Listener for Exhausted {
    async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.fetch_add(1, Relaxed);
        Err(io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error()))
    }
}

#[tokio::test(start_paused = true)]
async fn without_descriptors_the_loop_pauses_and_counts_instead_of_spinning() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::open(folder.path(), &"prod".parse().unwrap(), wall_clock()).unwrap();
    let tls = ServerTls::new(&ca, ca.issue_server(Duration::from_secs(60), wall_clock()).unwrap()).unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let incoming =
        TlsIncoming::accepting(Exhausted(Arc::clone(&calls)), address, &tls, AcceptLimits::default());
    // Virtual time: it passes only while everybody waits.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let calls = calls.load(Relaxed);
    assert!((50..70).contains(&calls), "{calls} calls of accept in a minute");
    assert_eq!(incoming.counters().pauses_total(), calls as u64);
}
