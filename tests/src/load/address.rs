//! Where a run may send to, and which addresses its clients come from.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// Why a target was refused.
#[derive(Debug, thiserror::Error)]
pub enum ForeignTarget {
    /// The usual case.
    #[error("{0} is no loopback address: the load generator never sends to another machine")]
    NotLoopback(SocketAddr),
    /// A namespace was given, but this process is elsewhere.
    #[error("{target} is no loopback address, and this process is not in the network namespace {}: start it there", namespace.display())]
    OutsideNamespace {
        /// The target.
        target: SocketAddr,
        /// The namespace that was given.
        namespace: PathBuf,
    },
    /// A namespace was given that is the machine's.
    #[error("{} is the machine's own network namespace: the load generator never sends to another machine", .0.display())]
    MachineNamespace(PathBuf),
    /// A namespace was given that cannot be looked at.
    #[error("cannot look at the network namespace {}", path.display())]
    Unknown {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Refuses each target that is not loopback, except inside a network namespace that is neither the machine's own nor another than `namespace`.
pub(crate) fn check(targets: &[SocketAddr], namespace: Option<&Path>) -> Result<(), ForeignTarget> {
    let Some(&target) = targets.iter().find(|t| !is_loopback(t.ip())) else { return Ok(()) };
    let Some(namespace) = namespace else { return Err(ForeignTarget::NotLoopback(target)) };
    let given = identity(namespace)?;
    if given == identity(Path::new("/proc/1/ns/net"))? {
        return Err(ForeignTarget::MachineNamespace(namespace.to_owned()));
    }
    if given != identity(Path::new("/proc/self/ns/net"))? {
        return Err(ForeignTarget::OutsideNamespace { target, namespace: namespace.to_owned() });
    }
    Ok(())
}

/// Device and inode tell namespaces apart (namespaces(7)).
fn identity(path: &Path) -> Result<(u64, u64), ForeignTarget> {
    let metadata =
        fs::metadata(path).map_err(|source| ForeignTarget::Unknown { path: path.to_owned(), source })?;
    Ok((metadata.dev(), metadata.ino()))
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Hands out source addresses for connections to IPv4 loopback: 127.0.1.1 to 127.0.9.254 in turn.
///
/// A connection that waits in TIME_WAIT blocks its pair of addresses and ports for a minute; with 2,286 source addresses there are
/// more than 60 million pairs per target. None of them is in 127.77.0.0/24, which are the gates' pins.
#[derive(Debug, Default)]
pub(crate) struct Sources(AtomicU32);

impl Sources {
    const THIRDS: u32 = 9;
    const FOURTHS: u32 = 254;

    /// Begins at a place of its own for each process, so that runs in parallel spread as well.
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(std::process::id().wrapping_mul(97)))
    }

    /// The next source for a connection to `target`; none where the kernel should choose.
    pub(crate) fn next(&self, target: SocketAddr) -> Option<IpAddr> {
        if !matches!(target.ip(), IpAddr::V4(v4) if v4.is_loopback()) {
            return None;
        }
        let n = self.0.fetch_add(1, Ordering::Relaxed) % (Self::THIRDS * Self::FOURTHS);
        let [.., third] = (1 + n % Self::THIRDS).to_be_bytes();
        let [.., fourth] = (1 + n / Self::THIRDS).to_be_bytes();
        Some(IpAddr::V4(Ipv4Addr::new(127, 0, third, fourth)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_target_on_another_machine_is_refused() {
        for target in ["10.0.0.1:80", "0.0.0.0:80", "192.168.1.1:80", "[::]:80", "[2001:db8::1]:80", "[::ffff:10.0.0.1]:80"] {
            let target: SocketAddr = target.parse().unwrap();
            assert!(matches!(check(&[target], None), Err(ForeignTarget::NotLoopback(_))), "{target}");
        }
        for target in ["127.0.0.1:80", "127.77.0.3:80", "[::1]:80"] {
            check(&[target.parse().unwrap()], None).unwrap();
        }
    }

    #[test]
    fn a_foreign_target_behind_a_loopback_one_is_refused() {
        let targets = ["127.0.0.1:80".parse().unwrap(), "10.0.0.1:80".parse().unwrap()];
        assert!(matches!(check(&targets, None), Err(ForeignTarget::NotLoopback(_))));
    }

    #[test]
    fn the_machines_own_namespace_does_not_allow_foreign_targets() {
        let machine = Path::new("/proc/1/ns/net");
        let refused = check(&["10.0.0.1:80".parse().unwrap()], Some(machine));
        // Without privileges process 1 cannot be looked at, which refuses as well.
        assert!(matches!(refused, Err(ForeignTarget::MachineNamespace(_) | ForeignTarget::Unknown { .. })), "{refused:?}");
    }

    #[test]
    fn sources_cover_nine_networks_and_no_pin() {
        let sources = Sources::new();
        let target = "127.3.4.5:80".parse().unwrap();
        let all: BTreeSet<IpAddr> = (0..9 * 254).map(|_| sources.next(target).unwrap()).collect();
        assert_eq!(all.len(), 9 * 254);
        assert!(all.iter().all(|ip| matches!(ip, IpAddr::V4(v4) if matches!(v4.octets(), [127, 0, 1..=9, 1..=254]))));
        assert_eq!(sources.next("[::1]:80".parse().unwrap()), None);
    }
}
