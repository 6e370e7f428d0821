//! NOTIFY_SOCKET: how a program says that it is ready, as sd_notify(3) describes it.

use super::{cgroup::Group, logs::escape, sys};
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, bind,
        recvmsg, setsockopt, socket, sockopt,
    },
};
use std::{
    fs::{self, DirBuilder, Permissions},
    io::{self, IoSliceMut},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{DirBuilderExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::io::unix::AsyncFd;

/// Longest message; what is longer is cut.
pub const MAX_NOTIFICATION_BYTES: usize = 4096;
/// Longest status text that is kept, in characters.
const MAX_STATUS_CHARACTERS: usize = 200;
/// Longest path of a Unix socket, unix(7): 108 bytes with the final zero.
const MAX_SOCKET_PATH: usize = 107;

/// What a program said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notification {
    /// `READY=1`.
    pub ready: bool,
    /// `STOPPING=1`.
    pub stopping: bool,
    /// `STATUS=`: escaped, at most 200 characters.
    pub status: Option<String>,
}

impl Notification {
    fn parse(message: &[u8]) -> Self {
        let mut said = Self::default();
        for line in String::from_utf8_lossy(message).lines() {
            match line.split_once('=') {
                Some(("READY", "1")) => said.ready = true,
                Some(("STOPPING", "1")) => said.stopping = true,
                Some(("STATUS", text)) => {
                    said.status = Some(escape(&text.chars().take(MAX_STATUS_CHARACTERS).collect::<String>()));
                }
                Some(_) | None => {}
            }
        }
        said
    }
}

/// The socket of one instance. It must be read for as long as the instance lives: a program that notifies into a
/// full socket blocks.
#[derive(Debug)]
pub struct NotifySocket {
    socket: AsyncFd<Arc<OwnedFd>>,
    path: PathBuf,
}

impl NotifySocket {
    /// Opens the socket of `instance` at `<runtime dir>/notify/<instance>.sock`, or under a name made of its digest
    /// where that would be longer than a socket's path may be. An earlier agent's is replaced: the program finds the
    /// new one under the same path.
    ///
    /// # Errors
    /// When the folder or the socket cannot be made, or the runtime folder's own path is too long. Must be called in
    /// a runtime.
    pub fn open(runtime_dir: &Path, instance: &str) -> io::Result<Self> {
        let folder = runtime_dir.join("notify");
        DirBuilder::new().recursive(true).mode(0o755).create(&folder)?;
        let path = socket_path(&folder, instance)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        // Before the bind: no message may come without its sender's credentials.
        setsockopt(&socket, sockopt::PassCred, &true)?;
        bind(socket.as_raw_fd(), &UnixAddr::new(&path)?)?;
        // Whatever user the program runs as may write; who is listened to is decided by pid.
        fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        Ok(Self { socket: sys::when_readable(Arc::new(socket))?, path })
    }

    /// Its path: the program's `NOTIFY_SOCKET`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the next message of a process of `group`; may be dropped and called again. What others send is
    /// logged and ignored. A sender that has already ended cannot be told from a stranger and is ignored too;
    /// systemd-notify(1) therefore waits until its message has been read.
    ///
    /// # Errors
    /// When the socket fails, or the group cannot be read.
    pub async fn recv(&self, group: &Group) -> io::Result<Notification> {
        loop {
            let mut ready = self.socket.readable().await?;
            let received = ready.try_io(|socket| receive(socket.get_ref()));
            let Ok(received) = received else { continue };
            let (sender, notification) = received?;
            match sender {
                Some(pid) if group.contains(pid)? => return Ok(notification),
                Some(pid) => {
                    tracing::warn!(pid, socket = %self.path.display(), "ignored a notification of a stranger");
                }
                None => {
                    tracing::warn!(socket = %self.path.display(), "ignored a notification without a sender");
                }
            }
        }
    }

    /// Removes the path, once the instance is gone.
    ///
    /// # Errors
    /// When the path is there and cannot be removed.
    pub fn remove(self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn socket_path(folder: &Path, instance: &str) -> io::Result<PathBuf> {
    let full = folder.join(format!("{instance}.sock"));
    let digest = handover_model::Digest::of(instance.as_bytes());
    let short = folder.join(format!("{}.sock", digest.short()));
    let fits = |path: &PathBuf| path.as_os_str().len() <= MAX_SOCKET_PATH;
    [full, short].into_iter().find(fits).ok_or_else(|| {
        let what =
            format!("{} is too long for sockets in it: choose a shorter runtime folder", folder.display());
        io::Error::new(io::ErrorKind::InvalidInput, what)
    })
}

/// One message with its sender's pid.
fn receive(socket: &OwnedFd) -> io::Result<(Option<i32>, Notification)> {
    let mut bytes = [0_u8; MAX_NOTIFICATION_BYTES];
    // Room for the credentials alone: descriptors that come along (BARRIER=1) do not fit and the kernel closes them,
    // which is what their sender waits for.
    let mut control = nix::cmsg_space!(UnixCredentials);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let (length, sender) = loop {
        match recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Ok(message) => {
                let credentials = message.cmsgs().ok().and_then(|mut all| {
                    all.find_map(|one| match one {
                        ControlMessageOwned::ScmCredentials(credentials) => Some(credentials.pid()),
                        _ => None,
                    })
                });
                break (message.bytes, credentials);
            }
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    Ok((sender, Notification::parse(&bytes[..length.min(MAX_NOTIFICATION_BYTES)])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_and_statuses_escaped() {
        let said = Notification::parse(b"STATUS=warming \x1b[2Jup\nREADY=1\nWATCHDOG=1\nREADY=2\n");
        let status = Some("warming \\u{1b}[2Jup".to_owned());
        assert_eq!(said, Notification { ready: true, stopping: false, status });
        assert!(Notification::parse(b"STOPPING=1").stopping);
        assert_eq!(Notification::parse(b"READY=yes\n\xff=\x00"), Notification::default());
    }

    #[test]
    fn a_long_name_gets_a_short_socket() {
        let folder = Path::new("/run/handover/notify");
        assert_eq!(socket_path(folder, "web-1").unwrap(), folder.join("web-1.sock"));
        let path = socket_path(folder, &"a".repeat(96)).unwrap();
        assert!(path.as_os_str().len() <= MAX_SOCKET_PATH, "{path:?}");
        assert!(socket_path(Path::new(&format!("/{}", "a".repeat(100))), "web-1").is_err());
    }
}
