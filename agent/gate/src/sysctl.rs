//! Two settings of the kernel that help the gate. Both are per network namespace.

use crate::pin::{IPV6_FIRST_PORT, LAST_PORT};
use std::{fs, io};

const MIGRATE: &str = "/proc/sys/net/ipv4/tcp_migrate_req";
const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/// Sets `net.ipv4.tcp_migrate_req` to 1: what waits in the queues of a listening socket that is closed moves to
/// another one of its group instead of being reset. Returns whether it is 1 now; false on kernels before 5.14, and
/// where it may not be written.
///
/// The kernel chooses the survivor by hash and not by the gate's program (`reuseport_migrate_sock` in
/// net/core/sock_reuseport.c), so that it can be a hidden one. The gate never closes a socket in whose accept queue
/// somebody waits while it has hidden members; this is for sockets that nobody is left to hold: agent and instance
/// dead.
///
/// # Errors
/// When the setting is there, but can be neither read nor written for another reason.
pub fn set_tcp_migrate_req() -> io::Result<bool> {
    match fs::read_to_string(MIGRATE) {
        Ok(value) if value.trim() == "1" => return Ok(true),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    may(fs::write(MIGRATE, "1"))
}

/// Adds the source ports of IPv6 pins and of the gate's questions to `net.ipv4.ip_local_reserved_ports`, so that the kernel gives them to no
/// client of this host by itself. Needed only where `net.ipv4.ip_local_port_range` reaches above 60999. Returns
/// whether they are reserved now; false where it may not be written.
///
/// # Errors
/// When the setting can be neither read nor written for another reason.
pub fn reserve_pin_ports() -> io::Result<bool> {
    let range = format!("{IPV6_FIRST_PORT}-{LAST_PORT}");
    let value = fs::read_to_string(RESERVED)?;
    let value = value.trim();
    if value.split(',').any(|part| part == range) {
        return Ok(true);
    }
    let separator = if value.is_empty() { "" } else { "," };
    may(fs::write(RESERVED, format!("{value}{separator}{range}")))
}

fn may(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(false),
        Err(error) => Err(error),
    }
}
