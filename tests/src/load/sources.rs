//! Which addresses the clients come from.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
};

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
        if !target.is_ipv4() {
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
    fn sources_cover_nine_networks_and_no_pin() {
        let sources = Sources::new();
        let target = "127.3.4.5:80".parse().unwrap();
        let all: BTreeSet<IpAddr> = (0..9 * 254).map(|_| sources.next(target).unwrap()).collect();
        assert_eq!(all.len(), 9 * 254);
        assert!(
            all.iter()
                .all(|ip| matches!(ip, IpAddr::V4(v4) if matches!(v4.octets(), [127, 0, 1..=9, 1..=254])))
        );
        assert_eq!(sources.next("[::1]:80".parse().unwrap()), None);
    }
}
