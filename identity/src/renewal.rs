//! When a certificate is renewed. Pure: time is a parameter.

use crate::certificate::CertificateFacts;
use handover_model::{Duration, Timestamp};

/// By how much of its life a certificate may be renewed before its two thirds, so that hosts that joined together do not
/// come back together: one twentieth.
const SPREAD: u64 = 20;

/// What is to be done about a certificate at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// Nothing before this moment.
    At(Timestamp),
    /// It is due.
    Due,
    /// Its life is over: only a new enrolment helps.
    Expired,
    /// Its life has not begun, by this clock, which is behind.
    NotValidYet,
}

/// The moment at which a certificate is due: two thirds of its life, less up to a twentieth by `jitter`, which goes from 0
/// to 1,000 and stays the same for one certificate.
#[must_use]
pub fn renew_at(not_before: Timestamp, not_after: Timestamp, jitter: u16) -> Timestamp {
    let life = not_after.unix_millis().saturating_sub(not_before.unix_millis());
    let spread = life / SPREAD / 1000 * u64::from(jitter.min(1000));
    not_before + Duration::from_millis((life / 3).saturating_mul(2).saturating_sub(spread))
}

impl CertificateFacts {
    /// What is to be done at `now`. `jitter` is that of [`renew_at`].
    #[must_use]
    pub fn renewal(&self, jitter: u16, now: Timestamp) -> Renewal {
        let at = renew_at(self.not_before, self.not_after, jitter);
        if now > self.not_after {
            Renewal::Expired
        } else if now < self.not_before {
            Renewal::NotValidYet
        } else if now >= at {
            Renewal::Due
        } else {
            Renewal::At(at)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_millis(seconds * 1000)
    }

    #[test]
    fn a_certificate_is_due_at_two_thirds_of_its_life_and_a_little_earlier_by_chance() {
        assert_eq!(renew_at(at(1000), at(4000), 0), at(3000));
        assert_eq!(renew_at(at(1000), at(4000), 1000), at(2850));
        assert_eq!(renew_at(at(1000), at(4000), u16::MAX), at(2850), "a jitter out of its range is cut");
        assert_eq!(renew_at(at(4000), at(1000), 500), at(4000), "dates the wrong way round");
    }

    #[test]
    fn each_moment_of_a_life_has_its_answer() {
        let facts = CertificateFacts {
            identity: "spiffe://prod/agent/web-1".parse().unwrap(),
            serial: "40".into(),
            not_before: at(1000),
            not_after: at(4000),
        };
        let renewal = |seconds| facts.renewal(0, at(seconds));
        assert_eq!(renewal(999), Renewal::NotValidYet);
        assert_eq!(renewal(1000), Renewal::At(at(3000)));
        assert_eq!(renewal(2999), Renewal::At(at(3000)));
        assert_eq!(renewal(3000), Renewal::Due);
        assert_eq!(renewal(4000), Renewal::Due);
        assert_eq!(renewal(4001), Renewal::Expired);
    }
}
