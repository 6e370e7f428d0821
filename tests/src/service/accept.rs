//! From the queue of a listening socket to the end of each connection.

use super::drain::{Drain, Guard, Phase};
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    error::Error,
    io,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

/// How long new connections are taken after SIGTERM: those that the kernel has queued already.
const ACCEPT_AFTER_TERM: Duration = Duration::from_millis(100);
/// More than a queue holds with the kernel's usual net.core.somaxconn, 4096.
const MAX_QUEUED: usize = 5000;

/// Takes connections until a moment after SIGTERM, and then those that wait in the queue. `serve` begins a task with each.
pub async fn accept(listener: TcpListener, drain: &Drain, serve: impl Fn(TcpStream, Guard)) {
    let _guard = drain.guard();
    let serve = |stream| {
        // The guard first: the task may begin only after this function has ended.
        serve(stream, drain.guard());
    };
    let mut over = pin!(async {
        drain.reached(Phase::Draining).await;
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

/// Serves HTTP/1.1 on a connection to its end. What its client does wrong ends it and is nobody else's matter.
pub async fn http1<S, A, F, B>(stream: S, drain: &Drain, answer: A)
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let asked = AtomicBool::new(false);
    let service = service_fn(|request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut connection = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        () = drain.reached(Phase::ClosingIdle) => {}
    }
    // One that has not sent its first request yet is new, not idle.
    if asked.load(Ordering::Relaxed) {
        connection.as_mut().graceful_shutdown();
    }
    tokio::select! {
        _ = connection.as_mut() => return,
        () = drain.reached(Phase::Ending) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// The signals that ask a service to stop.
#[derive(Debug)]
pub struct Terminate {
    term: Signal,
    interrupt: Signal,
    ignored: bool,
}

impl Terminate {
    /// To be made first of all: a SIGTERM that comes before it ends the program.
    ///
    /// # Errors
    /// When the signals cannot be waited for.
    pub fn new(ignored: bool) -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            ignored,
        })
    }

    /// Waits for one of them; for ever where they are ignored.
    pub async fn asked(&mut self) {
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
