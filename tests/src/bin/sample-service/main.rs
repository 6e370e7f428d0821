//! The sample service: one program that plays every service that Handover's tests need, well- and misbehaving, by its flags.
//! It is the benchmark's program as well.
//!
//! Told to stop (SIGTERM) it drains: it accepts for a moment longer, answers every further request with `Connection: close`,
//! keeps idle keep-alive connections open until their next request or the end of `--grace`, and ends with code 0 when all
//! connections are gone.

mod body;
mod connection;
mod drain;
mod flags;
mod grpc;
mod metrics;
mod notify;
mod sample;
mod side;
mod sockets;
mod tls;

use clap::Parser;
use drain::{Drain, Phase};
use flags::Flags;
use sample::Sample;
use std::{error::Error, io::Write as _, pin::pin, process::ExitCode, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

/// How long new connections are taken after SIGTERM: those that the kernel has queued already.
const ACCEPT_AFTER_TERM: Duration = Duration::from_millis(100);
/// More than a queue holds with the kernel's usual net.core.somaxconn, 4096.
const MAX_QUEUED: usize = 5000;

type Failed = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let flags = Flags::parse();
    if let Some(code) = flags.exit_at_once {
        eprintln!("sample-service {}: ends at once with code {code}, as told", flags.version);
        return ExitCode::from(code);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.map_err(Failed::from).and_then(|runtime| runtime.block_on(run(flags))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut cause: Option<&dyn Error> = Some(&*error);
            while let Some(this) = cause {
                eprintln!("sample-service: {this}");
                cause = this.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<(), Failed> {
    // First of all: a SIGTERM that comes before the handler would end the program.
    let mut terminate = Terminate::new(flags.ignore_term)?;
    if flags.child_that_stays {
        sleep(side::CHILD_STAYS).await;
        return Ok(());
    }
    let listeners = match flags.worker {
        Some(_) => Vec::new(),
        None => sockets::listeners(&flags.listen)?,
    };
    side::start(&flags)?;
    if let Some(file) = &flags.worker {
        return side::work(file, &flags.version, terminate.asked()).await.map_err(Failed::from);
    }

    let tls = tls::acceptor(&flags)?;
    let (drain, gone) = Drain::new();
    let sample = Arc::new(Sample::new(flags, drain)?);
    for (name, listener) in listeners {
        let listener = TcpListener::from_std(listener)?;
        // Its log may be on a full disk: that is no reason to end.
        let _ = writeln!(std::io::stdout(), "listening on {} ({name})", listener.local_addr()?);
        tokio::spawn(accept(listener, tls.clone(), Arc::clone(&sample)));
    }
    terminate.asked().await;
    if sample.flags().no_drain {
        // Not even the runtime's own end, which would wait for whatever blocks.
        std::process::exit(0);
    }
    let first = if sample.flags().closes_idle_on_term { Phase::ClosingIdle } else { Phase::Draining };
    sample.drain().enter(first);
    gone.wait(sample.flags().grace, sample.drain()).await;
    let (version, answered) = (&sample.flags().version, sample.answered());
    let _ = writeln!(std::io::stderr(), "sample-service {version}: drained, {answered} requests answered");
    Ok(())
}

/// Takes connections until a moment after SIGTERM, and then those that wait in the queue.
async fn accept(listener: TcpListener, tls: Option<tokio_rustls::TlsAcceptor>, sample: Arc<Sample>) {
    let _guard = sample.drain().guard();
    sleep(sample.flags().accept_after).await;
    let serve = |stream| {
        // The guard first: the task may begin only after this function has ended.
        let guard = sample.drain().guard();
        tokio::spawn(connection::serve(stream, tls.clone(), Arc::clone(&sample), guard));
    };
    let mut over = pin!(async {
        sample.drain().reached(Phase::Draining).await;
        sleep(ACCEPT_AFTER_TERM).await;
    });
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => serve(stream),
                // The client left again, or no descriptor is free: that one frees up by waiting, not by trying.
                Err(_) => sleep(Duration::from_millis(10)).await,
            },
            () = &mut over => break,
        }
    }
    // Closing the listener would reset what is queued. The kernel is asked itself: the runtime may not have heard of the last ones.
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..MAX_QUEUED {
        let Ok((stream, _)) = listener.accept() else { return };
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            serve(stream);
        }
    }
}

/// The signals that ask a service to stop.
#[derive(Debug)]
struct Terminate {
    term: Signal,
    interrupt: Signal,
    ignored: bool,
}

impl Terminate {
    fn new(ignored: bool) -> Result<Self, Failed> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            ignored,
        })
    }

    /// Waits for one of them; for ever where they are ignored.
    async fn asked(&mut self) {
        loop {
            tokio::select! {
                _ = self.term.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            if !self.ignored {
                return;
            }
        }
    }
}
