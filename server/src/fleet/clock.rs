//! What happens because time passes.

use super::{
    effects::Effects,
    refusal::Refusal,
    state::{RETURN_GRACE, State},
};
use handover_model::{DeploymentId, HostName, Timestamp};
use handover_rollout::Event;

impl State {
    /// Time passed: deadlines, locks, and hosts that did not come back after the server's start.
    ///
    /// # Errors
    /// When a deployment cannot go on.
    pub fn tick(&mut self, now: Timestamp, effects: &mut Effects) -> Result<(), Refusal> {
        self.judge_contests(now, effects)?;
        if !self.grace_over && now >= self.started + RETURN_GRACE {
            self.grace_over = true;
            let missing: Vec<HostName> =
                self.hosts.iter().filter(|(_, host)| !host.seen).map(|(name, _)| name.clone()).collect();
            for name in missing {
                self.host_went(&name, now, effects)?;
            }
        }
        self.end_locks(now, effects);
        self.end_freezes(now, effects);
        self.end_standbys(now, effects)?;
        self.end_soaks(now, effects)?;
        self.close_blocks(now, effects)?;
        let due: Vec<DeploymentId> = self
            .live
            .iter()
            .filter(|(_, live)| live.engine.next_deadline().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.drive(id, Event::Tick, now, effects)?;
        }
        Ok(())
    }

    /// When [`State::tick`] is wanted next.
    #[must_use]
    pub fn next_tick(&self) -> Option<Timestamp> {
        let grace = (!self.grace_over).then(|| self.started + RETURN_GRACE);
        let locks = self.locks.values().map(|lock| lock.until);
        let standbys = self.standbys().map(|(_, until)| until);
        let deadlines = self.live.values().filter_map(|live| live.engine.next_deadline());
        let freezes = self.freezes.values().filter_map(|freeze| freeze.until);
        deadlines
            .chain(grace)
            .chain(locks)
            .chain(freezes)
            .chain(standbys)
            .chain(self.next_soak())
            .chain(self.next_block())
            .min()
    }
}
