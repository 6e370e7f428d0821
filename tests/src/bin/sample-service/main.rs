//! The sample service: one program that plays every service that Handover's tests need, well- and misbehaving, by its flags.
//! It is the benchmark's program as well.
//!
//! Told to stop (SIGTERM) it drains: it accepts for a moment longer, answers every further request with `Connection: close`,
//! keeps idle keep-alive connections open until their next request or the end of `--grace`, and ends with code 0 when all
//! connections are gone.

mod body;
mod connection;
mod flags;
mod grpc;
mod metrics;
mod notify;
mod sample;
mod side;
mod tls;

use clap::Parser;
use flags::Flags;
use handover_gate::is_from_pin;
use handover_tests::service::{self, Drain, Phase, Terminate};
use sample::Sample;
use std::{error::Error, io::Write as _, os::fd::AsFd as _, process::ExitCode, sync::Arc};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::sleep,
};

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
        None => service::listeners(&flags.listen)?,
    };
    side::start(&flags)?;
    if let Some(file) = &flags.worker {
        return side::work(file, &flags.version, terminate.asked()).await.map_err(Failed::from);
    }

    let tls = tls::acceptor(&flags)?;
    let (drain, gone) = Drain::new();
    let sample = Arc::new(Sample::new(flags, drain)?);
    for (name, listener) in listeners {
        if let Some(backlog) = sample.flags().backlog {
            rustix::net::listen(&listener, backlog)?;
        }
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

/// Takes connections to their end.
async fn accept(listener: TcpListener, tls: Option<tokio_rustls::TlsAcceptor>, sample: Arc<Sample>) {
    let _guard = sample.drain().guard();
    sleep(sample.flags().accept_after).await;
    let a_client_came = Notify::new();
    let serve = |stream: TcpStream, guard| {
        if is_of_a_client(&stream) {
            a_client_came.notify_one();
        }
        tokio::spawn(connection::serve(stream, tls.clone(), Arc::clone(&sample), guard));
    };
    if !sample.flags().stops_accepting {
        return service::accept(listener, sample.drain(), serve).await;
    }
    // It goes on listening: of a closed socket the kernel refuses connections at once.
    let listens = listener.as_fd().try_clone_to_owned();
    tokio::select! {
        () = service::accept(listener, sample.drain(), serve) => {}
        () = a_client_came.notified() => {}
    }
    sample.drain().reached(Phase::Draining).await;
    drop(listens);
}

fn is_of_a_client(stream: &TcpStream) -> bool {
    let ends = stream.local_addr().and_then(|local| Ok((local, stream.peer_addr()?)));
    ends.is_ok_and(|(local, peer)| !is_from_pin(local, peer))
}
