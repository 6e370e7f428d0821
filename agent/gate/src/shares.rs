//! Flips: changing who gets the strangers.

use crate::{Gate, GateError, wall::Wall};
use handover_model::{InstanceId, Share};
use std::{collections::BTreeMap, time::Instant};

/// A change of shares that is in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flip {
    /// How long the setsockopt(2) took that made it, in nanoseconds.
    pub nanos: u64,
}

impl Gate {
    /// Gives out the shares anew, all at once: members that `shares` does not name have none.
    ///
    /// One setsockopt(2) changes them for every connection whose first packet comes later. Members that get their
    /// first share lose their wall before. Members that lose their share stay without one: handshakes that chose them
    /// are under way, and a wall would drop their last packet; see [`Gate::hide_standby`]. Where all shares become 0
    /// everybody is walled at once, since strangers have nowhere else to go: their SYNs stay unanswered.
    ///
    /// # Errors
    /// When the shares do not add up to 10,000 or 0, when one is for no member, a retired one, or one without a
    /// listening socket, when the order is not verified, or when a system call fails. The shares are as before then.
    pub fn set_shares(&mut self, shares: &BTreeMap<InstanceId, Share>) -> Result<Flip, GateError> {
        self.sweep()?;
        self.verified()?;
        let sum = shares.values().map(|share| u32::from(share.basis_points())).sum();
        if sum != 0 && sum != u32::from(Share::ALL.basis_points()) {
            return Err(GateError::Shares(sum));
        }
        for (instance, _) in shares.iter().filter(|(_, share)| !share.is_hidden()) {
            let member = self.member(instance)?;
            if member.retired {
                return Err(GateError::IsRetired(instance.clone()));
            }
            if member.socket.is_none() && member.wall != Wall::Open {
                return Err(GateError::NoSocket(instance.clone()));
            }
        }
        let before: Vec<_> = self.members.iter().map(|member| (member.share, member.wall)).collect();
        for member in &mut self.members {
            member.share = shares.get(&member.instance).copied().unwrap_or(Share::HIDDEN);
        }
        let flipped = self.open_and_steer();
        if flipped.is_err() {
            self.undo(&before);
        }
        let flip = flipped?;
        if sum == 0 {
            for at in 0..self.members.len() {
                if self.members[at].wall == Wall::Open && self.members[at].socket.is_some() {
                    self.set_wall(at, Wall::Standby)?;
                }
            }
            self.steer()?;
        }
        self.remove_retired()?;
        Ok(flip)
    }

    fn open_and_steer(&mut self) -> Result<Flip, GateError> {
        for at in 0..self.members.len() {
            if !self.members[at].share.is_hidden() {
                self.set_wall(at, Wall::Open)?;
            }
        }
        let begin = Instant::now();
        self.steer()?;
        Ok(Flip { nanos: u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX) })
    }

    /// The program of the kernel is still the former one; walls that were taken down are put up again.
    fn undo(&mut self, before: &[(Share, Wall)]) {
        for (at, (share, wall)) in before.iter().enumerate() {
            self.members[at].share = *share;
            // A second failure leaves the member without its second wall; the first one, the program, stands.
            let _ = self.set_wall(at, *wall);
        }
    }

    /// Walls a member that had a share, has none now, and whose queues were seen empty: strangers that go around the
    /// program cannot open connections with it any more. Does nothing where it has a wall.
    ///
    /// Connections and handshakes that it has are not touched: see [`crate::wall`].
    ///
    /// # Errors
    /// When it is no member, has a share, or its socket is not in the agent's hands.
    pub fn hide_standby(&mut self, instance: &InstanceId) -> Result<(), GateError> {
        let at = self.position(instance)?;
        if !self.members[at].share.is_hidden() {
            return Err(GateError::HasShare(instance.clone()));
        }
        if self.members[at].wall == Wall::Open {
            self.set_wall(at, Wall::Standby)?;
        }
        Ok(())
    }

    pub(crate) fn position(&self, instance: &InstanceId) -> Result<usize, GateError> {
        let found = self.members.iter().position(|member| member.instance == *instance);
        found.ok_or_else(|| GateError::NoMember(instance.clone()))
    }
}
