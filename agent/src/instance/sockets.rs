//! Sockets of an instance's processes, found by inode below /proc/PID/fd: proc_pid_fd(5).
//!
//! An accepted connection carries the listener's cgroup for sock_diag, not the instance's, so connections are
//! counted by whose descriptors they are.

use super::procfs;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::{OwnedFd, RawFd},
};

/// The inode of a socket of ours, by which it is found again elsewhere.
///
/// # Errors
/// When fstat(2) fails.
pub fn inode(socket: &impl std::os::fd::AsFd) -> io::Result<u64> {
    Ok(rustix::fs::fstat(socket)?.st_ino)
}

/// All sockets that these processes have open, by inode.
pub(super) fn inodes_of(members: &[i32]) -> io::Result<BTreeSet<u64>> {
    let mut inodes = BTreeSet::new();
    for &pid in members {
        visit(pid, |_, inode| {
            inodes.insert(inode);
            false
        })?;
    }
    Ok(inodes)
}

/// A process that has this socket open, and under which number.
pub(super) fn holder_of(members: &[i32], wanted: u64) -> io::Result<Option<(i32, RawFd)>> {
    for &pid in members {
        if let Some(number) = visit(pid, |_, inode| inode == wanted)? {
            return Ok(Some((pid, number)));
        }
    }
    Ok(None)
}

/// A duplicate of the socket with this inode, close-on-exec.
pub(super) fn take(members: &[i32], wanted: u64) -> io::Result<Option<OwnedFd>> {
    for &pid in members {
        let Some(target) = Pid::from_raw(pid) else { continue };
        let pidfd = match pidfd_open(target, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => continue,
            Err(error) => return Err(error.into()),
        };
        let Some(number) = visit(pid, |_, inode| inode == wanted)? else { continue };
        match pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()) {
            // The program may have closed it, and opened something else under its number, a moment ago.
            Ok(socket) if inode(&socket)? == wanted => return Ok(Some(socket)),
            Ok(_) | Err(rustix::io::Errno::SRCH | rustix::io::Errno::BADF) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Shows each socket of a process to `stop` until it says true; gives the number at which it did.
fn visit(pid: i32, mut stop: impl FnMut(RawFd, u64) -> bool) -> io::Result<Option<RawFd>> {
    let entries = match fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(entries) => entries,
        Err(error) if procfs::is_gone(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if procfs::is_gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        // A descriptor that was closed since it was listed is none of interest.
        let Ok(link) = fs::read_link(entry.path()) else { continue };
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let (Some(number), Some(inode)) = (number, link.to_str().and_then(socket_inode))
            && stop(number, inode)
        {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_socket_is_found_and_duplicated_by_its_inode() {
        let me = [i32::try_from(std::process::id()).unwrap()];
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = inode(&listener).unwrap();
        assert!(inodes_of(&me).unwrap().contains(&inode));
        let copy = TcpListener::from(take(&me, inode).unwrap().expect("its own socket was not found"));
        assert_eq!(copy.local_addr().unwrap(), listener.local_addr().unwrap());
        drop((copy, listener));
        assert!(holder_of(&me, inode).unwrap().is_none());
    }
}
