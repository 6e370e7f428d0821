//! A crowd as a program: connections that say nothing, and connections that begin TLS and never go on. What the other
//! end closes is opened again at a bounded rate, so that the pressure stays. A process of its own, since descriptors
//! are limited by process.

use clap::Parser;
use serde::Serialize;
use std::{
    cell::Cell,
    error::Error,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
    task::LocalSet,
    time::interval,
};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, crypto::ring::default_provider, version::TLS13,
};

/// How often a line is printed and permits to connect are given out.
const TICK: Duration = Duration::from_millis(20);
/// Ticks between two lines.
const TICKS_PER_LINE: u64 = 10;

/// Keeps connections to one address open until it is killed, and prints a line of JSON every 200 ms.
#[derive(Debug, Parser)]
#[command(name = "crowd")]
struct Flags {
    /// Where to: an address of IPv4 loopback.
    target: SocketAddr,
    /// How many.
    #[arg(long)]
    connections: usize,
    /// So many source addresses, taken in turn: 127.66.N.1 and following, and 127.0.0.1.
    #[arg(long, default_value_t = 16)]
    sources: u8,
    /// The third number of the source addresses.
    #[arg(long, default_value_t = 1)]
    network: u8,
    /// Connections a second until all have been opened once.
    #[arg(long, default_value_t = 2000)]
    fill_rate: usize,
    /// Connections a second from then on, in the place of those that the other end closed.
    #[arg(long, default_value_t = 150)]
    rate: usize,
}

/// What a connection says before it falls silent.
#[derive(Clone, Copy)]
enum Kind {
    Nothing,
    /// The head of a TLS record.
    HalfARecord,
    /// A whole ClientHello: the server answers it and waits for the rest.
    ClientHello,
}

/// What was counted so far.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Counted {
    /// Sockets that are open at this end.
    open: usize,
    /// Connections that were opened, also again.
    opened: u64,
    /// Connections that the other end closed.
    closed: u64,
    /// Times that connecting failed.
    failed: u64,
}

struct Crowd {
    target: SocketAddr,
    hello: Vec<u8>,
    permits: Semaphore,
    counted: Cell<Counted>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, run(&flags))
}

async fn run(flags: &Flags) -> Result<(), Box<dyn Error>> {
    let crowd = Rc::new(Crowd {
        target: flags.target,
        hello: client_hello()?,
        permits: Semaphore::new(0),
        counted: Cell::default(),
    });
    for number in 0..flags.connections {
        let [.., last] = (number % usize::from(flags.sources.max(1))).to_be_bytes();
        let source =
            if last == 0 { Ipv4Addr::LOCALHOST } else { Ipv4Addr::new(127, 66, flags.network, last) };
        let kind = match number / usize::from(flags.sources.max(1)) % 3 {
            0 => Kind::Nothing,
            1 => Kind::HalfARecord,
            _ => Kind::ClientHello,
        };
        tokio::task::spawn_local(Rc::clone(&crowd).keep(source, kind));
    }
    let mut ticks = interval(TICK);
    for tick in 0_u64.. {
        ticks.tick().await;
        let counted = crowd.counted.get();
        let filled = usize::try_from(counted.opened)? >= flags.connections;
        let rate = if filled { flags.rate } else { flags.fill_rate };
        let permits = rate * usize::try_from(TICK.as_millis())? / 1000;
        crowd.permits.add_permits(permits.saturating_sub(crowd.permits.available_permits()));
        if tick % TICKS_PER_LINE == 0 {
            let mut out = std::io::stdout().lock();
            writeln!(out, "{}", serde_json::to_string(&counted)?)?;
            out.flush()?;
        }
    }
    Ok(())
}

impl Crowd {
    /// One connection for ever. Its socket stays open when the other end has closed, until another one stands in its place.
    async fn keep(self: Rc<Self>, source: Ipv4Addr, kind: Kind) {
        let mut kept: Option<TcpStream> = None;
        loop {
            if let Ok(permit) = self.permits.acquire().await {
                permit.forget();
            }
            let Ok(mut stream) = self.connect(source, kind).await else {
                self.count(|counted| counted.failed += 1);
                continue;
            };
            let another = kept.take().is_none();
            self.count(|counted| {
                counted.open += usize::from(another);
                counted.opened += 1;
            });
            let mut buffer = [0; 4096];
            while matches!(stream.read(&mut buffer).await, Ok(count) if count > 0) {}
            self.count(|counted| counted.closed += 1);
            kept = Some(stream);
        }
    }

    async fn connect(&self, source: Ipv4Addr, kind: Kind) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((source, 0).into())?;
        let mut stream = socket.connect(self.target).await?;
        match kind {
            Kind::Nothing => {}
            Kind::HalfARecord => stream.write_all(&self.hello[..5]).await?,
            Kind::ClientHello => stream.write_all(&self.hello).await?,
        }
        Ok(stream)
    }

    fn count(&self, change: impl FnOnce(&mut Counted)) {
        let mut counted = self.counted.get();
        change(&mut counted);
        self.counted.set(counted);
    }
}

/// The first bytes of a TLS client.
fn client_hello() -> Result<Vec<u8>, Box<dyn Error>> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), "handover-server".try_into()?)?;
    let mut hello = Vec::new();
    client.write_tls(&mut hello)?;
    Ok(hello)
}
