//! The operator's socket on the server's machine. The kernel says who is at the other end.

use super::{backoff::Backoff, counters::AcceptCounters, end::End, peer::LocalPeer};
use futures_util::Stream;
use handover_model::Duration;
use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixSocket, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::AbortHandle,
    time::{sleep_until, timeout},
};
use tonic::transport::server::Connected;

/// Connections at once: CLIs on one machine. Further ones wait in the socket's queue.
const CONNECTIONS: usize = 512;
const BACKLOG: u32 = 128;
/// From accept(2) to the first byte.
const GREETING_DEADLINE: Duration = Duration::from_secs(10);
/// A living server accepts a connection at once.
const PROBE_DEADLINE: Duration = Duration::from_secs(2);

/// A path that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum UnixListenError {
    /// Another server is there.
    #[error("another server answers on {}: stop it first", .0.display())]
    InUse(PathBuf),
    /// Something else has that name.
    #[error("{} exists and is no socket: remove it, or set another path", .0.display())]
    NotASocket(PathBuf),
    /// The operating system refused.
    #[error("cannot {doing} the socket {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The socket's path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Local connections, for `serve_with_incoming`. Dropping it closes the listener and removes the socket's file.
#[derive(Debug)]
pub struct UnixIncoming {
    ready: mpsc::Receiver<LocalStream>,
    counters: Arc<AcceptCounters>,
    accepting: AbortHandle,
    path: PathBuf,
    /// Device and inode of the socket's file: a successor's file is not ours to remove.
    file: (u64, u64),
}

impl UnixIncoming {
    /// Listens on `path` with mode 0660, and with the group of this process. A file that a dead server left is replaced.
    /// Must be called on a tokio runtime.
    ///
    /// # Errors
    /// When another server answers there, something else has the name, or the operating system refuses.
    pub async fn bind(path: &Path) -> Result<Self, UnixListenError> {
        Self::bind_for(path, None).await
    }

    /// Like [`bind`](Self::bind), with the group `group`: the kernel lets its members connect, and nobody else but root
    /// and the socket's owner.
    ///
    /// # Errors
    /// As [`bind`](Self::bind), and when this process may not give the file to that group.
    pub async fn bind_for(path: &Path, group: Option<u32>) -> Result<Self, UnixListenError> {
        remove_stale(path).await?;
        let failed = |doing| move |source| UnixListenError::Io { doing, path: path.to_owned(), source };
        let socket = UnixSocket::new_stream().map_err(failed("make"))?;
        socket.bind(path).map_err(failed("bind"))?;
        // Before listen(2) nobody can connect: the mode of bind(2), from the umask, is never in force.
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed("set the mode of"))?;
        if group.is_some() {
            std::os::unix::fs::chown(path, None, group).map_err(failed("set the group of"))?;
        }
        let listener = socket.listen(BACKLOG).map_err(failed("listen on"))?;
        let metadata = fs::symlink_metadata(path).map_err(failed("look at"))?;
        let (sender, ready) = mpsc::channel(1);
        let counters = Arc::new(AcceptCounters::default());
        let accepting = tokio::spawn(accept_for_ever(listener, Arc::clone(&counters), sender)).abort_handle();
        Ok(Self { ready, counters, accepting, path: path.to_owned(), file: (metadata.dev(), metadata.ino()) })
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> Arc<AcceptCounters> {
        Arc::clone(&self.counters)
    }
}

impl Stream for UnixIncoming {
    type Item = io::Result<LocalStream>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(context).map(|stream| stream.map(Ok))
    }
}

impl Drop for UnixIncoming {
    fn drop(&mut self) {
        self.accepting.abort();
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the file of a server that is gone. Only a refused connection proves that.
async fn remove_stale(path: &Path) -> Result<(), UnixListenError> {
    let io = |doing, source| UnixListenError::Io { doing, path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io("look at", error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(UnixListenError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match timeout(PROBE_DEADLINE, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| io("remove", error))
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A full queue (EAGAIN) is a living server as well.
        Ok(Ok(_)) | Err(_) => Err(UnixListenError::InUse(path.to_owned())),
        Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(UnixListenError::InUse(path.to_owned()))
        }
        Ok(Err(error)) => Err(io("probe", error)),
    }
}

async fn accept_for_ever(
    listener: UnixListener,
    counters: Arc<AcceptCounters>,
    ready: mpsc::Sender<LocalStream>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut backoff = Backoff::new();
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        sleep_until(backoff.until()).await;
        let accepted = listener.accept().await.and_then(|(stream, _)| Ok((stream.peer_cred()?, stream)));
        let (credentials, stream) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                backoff.failed(&error, &counters);
                continue;
            }
        };
        backoff.succeeded();
        counters.accepted();
        let peer = LocalPeer { uid: credentials.uid(), gid: credentials.gid(), pid: credentials.pid() };
        let end = End::unless_heard(GREETING_DEADLINE);
        let stream = LocalStream { stream, peer, end, counters: Arc::clone(&counters), _place: place };
        if ready.send(stream).await.is_err() {
            return;
        }
        counters.admitted();
    }
}

/// A connection over the Unix socket whose peer is known.
#[derive(Debug)]
pub struct LocalStream {
    stream: UnixStream,
    peer: LocalPeer,
    end: End,
    counters: Arc<AcceptCounters>,
    _place: OwnedSemaphorePermit,
}

impl LocalStream {
    /// Who is at the other end.
    #[must_use]
    pub const fn peer(&self) -> &LocalPeer {
        &self.peer
    }
}

impl Connected for LocalStream {
    type ConnectInfo = LocalPeer;

    fn connect_info(&self) -> LocalPeer {
        self.peer
    }
}

impl AsyncRead for LocalStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.end.check(context, &this.counters)?;
        let stream = Pin::new(&mut this.stream);
        this.end.reading(buf, |buf| stream.poll_read(context, buf))
    }
}

impl AsyncWrite for LocalStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.end.check(context, &this.counters)?;
        Pin::new(&mut this.stream).poll_write(context, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.end.check(context, &this.counters)?;
        Pin::new(&mut this.stream).poll_write_vectored(context, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.end.check(context, &this.counters)?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
