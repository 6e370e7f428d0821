//! The system calls for which no library has a safe call. All of the crate's `unsafe` is here.
#![expect(unsafe_code, reason = "system calls that neither rustix nor nix wrap safely")]

use super::process::ExitStatus;
use nix::libc;
use rustix::ioctl;
use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    sync::Arc,
};
use tokio::io::{Interest, unix::AsyncFd};

/// `struct pidfd_info`, first version, of linux/pidfd.h. The kernel takes the length from the ioctl's number, so
/// that this stays right when the structure grows.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroupid: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ruid: u32,
    rgid: u32,
    euid: u32,
    egid: u32,
    suid: u32,
    sgid: u32,
    fsuid: u32,
    fsgid: u32,
    exit_code: i32,
}

/// `PIDFD_INFO_EXIT` of linux/pidfd.h.
const PIDFD_INFO_EXIT: u64 = 1 << 3;
/// `PIDFD_GET_INFO` of linux/pidfd.h: `_IOWR(0xFF, 11, struct pidfd_info)`.
const PIDFD_GET_INFO: ioctl::Opcode = ioctl::opcode::read_write::<PidfdInfo>(0xFF, 11);

/// What the kernel says of the end of a process that is not our child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ForeignEnd {
    /// How it ended.
    Told(ExitStatus),
    /// Its parent has not reaped it yet.
    NotYet,
    /// This kernel, before 6.15, never tells.
    Never,
}

/// Asks how a process that has ended and is not our child ended.
pub(super) fn pidfd_exit_status(pidfd: BorrowedFd<'_>) -> ForeignEnd {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the opcode names exactly this structure, all of whose bit patterns are valid, and the kernel writes
    // no more than the length that the opcode carries.
    let asked = unsafe { ioctl::ioctl(pidfd, ioctl::Updater::<PIDFD_GET_INFO, PidfdInfo>::new(&mut info)) };
    match asked {
        Ok(()) if info.mask & PIDFD_INFO_EXIT != 0 => {
            ForeignEnd::Told(ExitStatus::from_wait_status(info.exit_code))
        }
        Ok(()) => ForeignEnd::NotYet,
        // Before 6.13 there is no such ioctl; up to 6.14 a process that was reaped is ESRCH.
        Err(_) => ForeignEnd::Never,
    }
}

/// Waits in the runtime for `descriptor` to become readable.
pub(super) fn when_readable(descriptor: Arc<OwnedFd>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: an OwnedFd is open and the same until it is dropped, which cannot be before the AsyncFd is, as that
    // holds one of its references.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}

/// Takes the descriptors that this process was started with, for `command_fds::inherited::take_fd_ownership`, and
/// marks them all close-on-exec.
///
/// Called by the launcher alone, as its first act: before that, no descriptor above 2 has an owner.
pub(super) fn own_inherited_descriptors() -> io::Result<()> {
    // SAFETY: `child_main` calls this once, before anything else in the process has opened a descriptor.
    unsafe { command_fds::inherited::init_inherited_fds() }
}

/// Sets every signal to its default disposition, as a program expects it; a Rust program starts with SIGPIPE
/// ignored, and what is ignored stays ignored over execve(2).
pub(super) fn reset_signal_dispositions() {
    // `struct sigaction` of the kernel, all zero: SIG_DFL, no flags, an empty mask. At most 32 bytes anywhere.
    let default = [0_u64; 4];
    let previous: *mut u64 = std::ptr::null_mut();
    for signal in 1..=libc::SIGRTMAX() {
        // Not signal(3): the C library refuses the two signals that it keeps for itself, and an ancestor of the
        // agent may have had them ignored all the same.
        // SAFETY: rt_sigaction(2) reads the structure, which outlives the call, and writes nothing through a null
        // pointer. The default disposition runs no code of ours. SIGKILL and SIGSTOP are refused, which is as good.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), previous, size_of::<u64>())
        };
    }
}
