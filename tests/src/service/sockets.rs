//! The sockets that the service was started with: sd_listen_fds(3), and those of `--listen`.
#![expect(unsafe_code, reason = "inherited descriptors are raw numbers until somebody takes them over")]

use rustix::io::{FdFlags, fcntl_setfd};
use std::{
    env, io,
    net::{SocketAddr, TcpListener},
    os::fd::{FromRawFd, OwnedFd, RawFd},
    path::Path,
};

/// The first inherited descriptor.
const FIRST: RawFd = 3;
/// More than any manifest has.
const MAX: RawFd = 1024;
/// The manifest's default backlog.
const BACKLOG: i32 = 4096;

/// Why there are no sockets.
#[derive(Debug, thiserror::Error)]
pub enum SocketsError {
    /// Neither inherited nor told.
    #[error("no sockets: start it with LISTEN_FDS and LISTEN_PID, or give --listen")]
    None,
    /// The sockets are another process's.
    #[error(
        "LISTEN_FDS is set, but LISTEN_PID is {given:?} instead of {own}: the sockets are meant for another process"
    )]
    OthersSockets {
        /// LISTEN_PID.
        given: Option<String>,
        /// This process.
        own: u32,
    },
    /// No number, or one without sense.
    #[error("LISTEN_FDS is {0:?}, expected 1 to {MAX}")]
    Number(String),
    /// A descriptor that is no listening socket.
    #[error("descriptor {fd} of LISTEN_FDS cannot be used as a listening socket")]
    Descriptor {
        /// Which.
        fd: RawFd,
        /// Why.
        source: io::Error,
    },
    /// An address that cannot be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// All listening sockets with their names, not blocking. To be called once.
///
/// # Errors
/// When there are none, or one cannot be used.
pub fn listeners(own: &[SocketAddr]) -> Result<Vec<(String, TcpListener)>, SocketsError> {
    let mut listeners = inherited()?;
    for &address in own {
        let bind = || {
            let listener = TcpListener::bind(address)?;
            // The standard library's 128 would make it another service than behind a gate. Linux takes a second listen(2) as
            // a change of the backlog.
            rustix::net::listen(&listener, BACKLOG)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        listeners.push(("own".to_owned(), bind().map_err(|source| SocketsError::Bind { address, source })?));
    }
    if listeners.is_empty() { Err(SocketsError::None) } else { Ok(listeners) }
}

fn inherited() -> Result<Vec<(String, TcpListener)>, SocketsError> {
    let Ok(number) = env::var("LISTEN_FDS") else { return Ok(Vec::new()) };
    let (given, own) = (env::var("LISTEN_PID").ok(), std::process::id());
    if given.as_deref().and_then(|pid| pid.parse().ok()) != Some(own) {
        return Err(SocketsError::OthersSockets { given, own });
    }
    let count =
        number.parse().ok().filter(|count| (1..=MAX).contains(count)).ok_or(SocketsError::Number(number))?;
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names = names.split(':').filter(|name| !name.is_empty()).chain(std::iter::repeat("unknown"));
    let take = |(fd, name): (RawFd, &str)| match take(fd) {
        Ok(listener) => Ok((name.to_owned(), listener)),
        Err(source) => Err(SocketsError::Descriptor { fd, source }),
    };
    (FIRST..FIRST + count).zip(names).map(take).collect()
}

fn take(fd: RawFd) -> io::Result<TcpListener> {
    if !Path::new(&format!("/proc/self/fd/{fd}")).exists() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it is not open"));
    }
    // SAFETY: it is open, as was just seen; by the convention, checked by LISTEN_PID, it was passed for this program to own;
    // it is taken once, before the program opens or closes anything that could have this number.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    // A child of this program must not keep it.
    fcntl_setfd(&owned, FdFlags::CLOEXEC)?;
    let listener = TcpListener::from(owned);
    listener.local_addr()?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
