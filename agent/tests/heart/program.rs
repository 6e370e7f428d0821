//! The service that is deployed: this test program itself, started by the agent with one "test" of it.

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    signal::unix::{SignalKind, signal},
};

/// What it is told in its environment: words `key=value`.
pub(crate) const FLAGS: &str = "HEART_FLAGS";

/// How it behaves.
struct Program {
    version: String,
    began: Instant,
    ready_after: Duration,
    alive: AtomicBool,
    busy: AtomicU64,
    ending: AtomicBool,
}

/// Not a test: the program that the agent starts.
#[test]
#[ignore = "this is the service that the other tests deploy"]
fn program() {
    let Ok(flags) = std::env::var(FLAGS) else { return };
    let flags: BTreeMap<&str, &str> = flags.split(' ').filter_map(|word| word.split_once('=')).collect();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(serve(flags));
}

async fn serve(flags: BTreeMap<&str, &str>) {
    let millis = |key: &str| Duration::from_millis(flags.get(key).map_or(0, |text| text.parse().unwrap()));
    let program = Arc::new(Program {
        version: (*flags.get("version").unwrap_or(&"")).to_owned(),
        began: Instant::now(),
        ready_after: millis("ready_after"),
        alive: AtomicBool::new(true),
        busy: AtomicU64::new(0),
        ending: AtomicBool::new(false),
    });
    let accept_after = millis("accept_after");
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    let listener = passed().map(|listener| tokio::net::TcpListener::from_std(listener).unwrap());
    loop {
        tokio::select! {
            _ = terminate.recv() => {
                // Standard error is the instance's log.
                eprintln!("SIGTERM");
                if !flags.contains_key("ignore_term") {
                    program.ending.store(true, Ordering::SeqCst);
                }
            }
            accepted = accept(listener.as_ref()),
                if program.began.elapsed() >= accept_after && !program.ending.load(Ordering::SeqCst) =>
            {
                tokio::spawn(speak(accepted, Arc::clone(&program)));
            }
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
        if program.ending.load(Ordering::SeqCst) && program.busy.load(Ordering::SeqCst) == 0 {
            return;
        }
    }
}

/// The socket with number 3, if one was passed.
fn passed() -> Option<TcpListener> {
    std::env::var("LISTEN_FDS").ok()?;
    let own: Pid = getpid();
    let itself = pidfd_open(own, PidfdFlags::empty()).unwrap();
    let listener = TcpListener::from(pidfd_getfd(itself, 3, PidfdGetfdFlags::empty()).unwrap());
    listener.set_nonblocking(true).unwrap();
    Some(listener)
}

async fn accept(listener: Option<&tokio::net::TcpListener>) -> TcpStream {
    match listener {
        Some(listener) => listener.accept().await.unwrap().0,
        None => std::future::pending().await,
    }
}

/// One connection, kept alive.
async fn speak(stream: TcpStream, program: Arc<Program>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut path = String::new();
        let mut line = String::new();
        while matches!(stream.read_line(&mut line).await, Ok(read) if read > 0) {
            if let Some(asked) = line.strip_prefix("GET ") {
                asked.split(' ').next().unwrap().clone_into(&mut path);
            }
            if line == "\r\n" {
                break;
            }
            line.clear();
        }
        if path.is_empty() {
            return;
        }
        program.busy.fetch_add(1, Ordering::SeqCst);
        let (status, body) = program.answer(&path).await;
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let written = stream.write_all(answer.as_bytes()).await;
        program.busy.fetch_sub(1, Ordering::SeqCst);
        if written.is_err() || program.ending.load(Ordering::SeqCst) {
            return;
        }
    }
}

impl Program {
    async fn answer(&self, path: &str) -> (u16, String) {
        match path {
            "/ready" if self.began.elapsed() < self.ready_after => (503, "warming up".to_owned()),
            "/live" if !self.alive.load(Ordering::SeqCst) => (500, "sick".to_owned()),
            "/fail" => {
                self.alive.store(false, Ordering::SeqCst);
                (200, self.version.clone())
            }
            _ => {
                if let Some(millis) = path.strip_prefix("/sleep/") {
                    tokio::time::sleep(Duration::from_millis(millis.parse().unwrap())).await;
                }
                (200, self.version.clone())
            }
        }
    }
}
