//! The system calls that nix and rustix do not have: socket options with programs, TCP_INFO, SO_MEMINFO, membarrier.
#![expect(
    unsafe_code,
    reason = "no safe binding has SO_ATTACH_REUSEPORT_CBPF, SO_ATTACH_FILTER, TCP_INFO, SO_MEMINFO"
)]

use crate::Instruction;
use nix::libc;
use std::{
    io, mem,
    os::fd::{AsRawFd, BorrowedFd},
};

/// `SO_MEMINFO` of include/uapi/asm-generic/socket.h; since Linux 4.12.
const SO_MEMINFO: libc::c_int = 55;
/// `SK_MEMINFO_DROPS` of include/uapi/linux/sock_diag.h, the last of nine numbers of 32 bits.
pub(crate) const MEMINFO_DROPS: usize = 8;

/// What TCP_INFO says of a listening socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listening {
    /// Whether it is in state LISTEN.
    pub(crate) listens: bool,
    /// Connections in its accept queue: `tcpi_unacked` is `sk_ack_backlog` there (`tcp_get_info` in net/ipv4/tcp.c).
    pub(crate) accept_queue: u32,
}

/// Attaches the steering program to the whole group of `socket`.
pub(crate) fn attach_steering(socket: BorrowedFd<'_>, program: &[Instruction]) -> io::Result<()> {
    attach(socket, libc::SO_ATTACH_REUSEPORT_CBPF, program)
}

/// Attaches a socket filter to `socket`, in place of the one that it has.
pub(crate) fn attach_filter(socket: BorrowedFd<'_>, program: &[Instruction]) -> io::Result<()> {
    attach(socket, libc::SO_ATTACH_FILTER, program)
}

/// Removes the socket filter; does nothing where there is none.
pub(crate) fn detach_filter(socket: BorrowedFd<'_>) -> io::Result<()> {
    let ignored: libc::c_int = 0;
    match set(socket, libc::SO_DETACH_FILTER, &ignored) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

/// Whether the socket has a filter: with no room for instructions, SO_GET_FILTER gives their number (`sk_get_filter` in
/// net/core/filter.c).
pub(crate) fn has_filter(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut instructions: libc::socklen_t = 0;
    // SAFETY: with a length of 0 the kernel writes nothing but the length; a null pointer is never followed.
    let result = unsafe {
        let nowhere = std::ptr::null_mut();
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_GET_FILTER,
            nowhere,
            &raw mut instructions,
        )
    };
    if result == 0 { Ok(instructions > 0) } else { Err(io::Error::last_os_error()) }
}

fn attach(socket: BorrowedFd<'_>, option: libc::c_int, program: &[Instruction]) -> io::Result<()> {
    let mut code: Vec<_> = program
        .iter()
        .map(|instruction| libc::sock_filter {
            code: instruction.code,
            jt: instruction.jump_true,
            jf: instruction.jump_false,
            k: instruction.operand,
        })
        .collect();
    let len = u16::try_from(code.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // The kernel copies the code before setsockopt returns; `code` lives until then.
    set(socket, option, &libc::sock_fprog { len, filter: code.as_mut_ptr() })
}

fn set<T>(socket: BorrowedFd<'_>, option: libc::c_int, value: &T) -> io::Result<()> {
    let len = libc::socklen_t::try_from(mem::size_of::<T>()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `value` is a live, initialised T of `len` bytes, which the kernel only reads.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, std::ptr::from_ref(value).cast(), len)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads an option into an array of 32-bit words; words that the kernel does not fill stay 0.
fn words<const N: usize>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
) -> io::Result<[u32; N]> {
    let mut words = [0_u32; N];
    let mut len =
        libc::socklen_t::try_from(mem::size_of_val(&words)).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `words` has `len` writable bytes; the kernel writes at most that many, and any bytes are valid u32s.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, words.as_mut_ptr().cast(), &raw mut len)
    };
    if result == 0 { Ok(words) } else { Err(io::Error::last_os_error()) }
}

/// State and accept queue of a TCP socket.
pub(crate) fn listening(socket: BorrowedFd<'_>) -> io::Result<Listening> {
    const STATE_LISTEN: u8 = 10;
    // struct tcp_info: eight bytes, the first of them tcpi_state; tcpi_rto, ato, snd_mss, rcv_mss; tcpi_unacked.
    let info: [u32; 7] = words(socket, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    Ok(Listening { listens: info[0].to_ne_bytes()[0] == STATE_LISTEN, accept_queue: info[6] })
}

/// How many packets the socket has dropped: by its filter, and by a full queue. Wraps around.
pub(crate) fn drops(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let info: [u32; MEMINFO_DROPS + 1] = words(socket, libc::SOL_SOCKET, SO_MEMINFO)?;
    Ok(info[MEMINFO_DROPS])
}

/// Waits until every packet is done that the kernel was working on when this was called.
///
/// Packets are received under rcu_read_lock, and `MEMBARRIER_CMD_GLOBAL` waits for a grace period of RCU
/// (kernel/sched/membarrier.c). Takes some milliseconds, tens at most.
///
/// # Errors
/// `EINVAL` on a kernel booted with `nohz_full`, `ENOSYS` where the call is not built in.
pub(crate) fn wait_for_packets_under_way() -> io::Result<()> {
    // SAFETY: takes numbers only and touches no memory of this process.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
