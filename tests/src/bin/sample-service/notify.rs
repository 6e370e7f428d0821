//! READY=1, as sd_notify(3) describes it.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

/// Says that the service is ready.
///
/// # Errors
/// No NOTIFY_SOCKET, or nobody there.
pub(crate) fn ready() -> io::Result<()> {
    let missing = |_| io::Error::new(io::ErrorKind::NotFound, "NOTIFY_SOCKET is not set");
    let path = env::var("NOTIFY_SOCKET").map_err(missing)?;
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address)?;
    Ok(())
}
