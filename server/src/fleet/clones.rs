//! One identity in two places: a machine, or an agent's state, that was copied.
//!
//! Where an agent runs is its *place*: the boot of its machine together with its state folder, of which one agent at
//! most holds the lock. Who comes from the place of the open session is that host again and replaces the session at once,
//! however dead that looks. Who comes from elsewhere is the same host after a reboot, or a copy: it is refused while the
//! session is open. If the session's agent is heard of *after* that, both live, and it is a copy: the alarm is raised.
//! If not, the session ends by itself (a reset, or silence), and the newcomer's next try is taken.

use super::{contact::Introduction, effects::Effects, records::CloneAlarm, refusal::Refusal, state::State};
use crate::{
    events::{Event, EventKind},
    store::Keyspace,
};
use handover_model::{HostName, Timestamp};

/// A newcomer that was refused, until it is known what it is.
#[derive(Clone, Debug)]
pub(super) struct Contest {
    /// When it came first.
    since: Timestamp,
    /// Where it connected from.
    from: String,
    /// Its machine's boot.
    boot_id: String,
    /// What speaks for a copy already.
    proof: Proof,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// Nothing yet: the older session's agent must be heard of.
    Awaited,
    /// It came with the certificate that the host had before its last renewal.
    FormerCertificate,
}

impl State {
    /// Whether a session from there may be opened now.
    ///
    /// # Errors
    /// While another place has the host's session, or where the certificate is a former one: then it is noted as well.
    pub(super) fn admit(
        &mut self,
        name: &HostName,
        serial: &str,
        introduction: &Introduction,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Some(host) = self.hosts.get(name) else { return Err(Refusal::HostRemoved(name.clone())) };
        let contest = |proof| Contest {
            since: now,
            from: introduction.from.chars().take(128).collect(),
            boot_id: introduction.boot_id.chars().take(128).collect(),
            proof,
        };
        if !serial.is_empty() && host.record.former_serial == serial {
            self.contests.insert(name.clone(), contest(Proof::FormerCertificate));
            return Err(Refusal::FormerCertificate(name.clone()));
        }
        let Some(online) = &host.online else { return Ok(()) };
        let elsewhere = !introduction.place.is_empty()
            && !online.place.is_empty()
            && introduction.place != online.place
            && introduction.session_id != online.session_id;
        if !elsewhere {
            return Ok(());
        }
        let refusal = Refusal::IdentityInUse { host: name.clone(), from: online.from.clone() };
        self.contests.entry(name.clone()).or_insert_with(|| contest(Proof::Awaited));
        Err(refusal)
    }

    /// Raises the alarm where a contest is decided, and forgets those that decided themselves.
    ///
    /// # Errors
    /// When the alarm cannot be written as a record.
    pub(super) fn judge_contests(&mut self, now: Timestamp, effects: &mut Effects) -> Result<(), Refusal> {
        for (name, contest) in std::mem::take(&mut self.contests) {
            let Some(host) = self.hosts.get_mut(&name) else { continue };
            let why = match (contest.proof, &host.online) {
                (Proof::FormerCertificate, _) => {
                    "an agent came with the certificate that this host had before its last renewal".to_owned()
                }
                (Proof::Awaited, None) => continue,
                (Proof::Awaited, Some(online)) if host.last_contact > contest.since => {
                    format!("the agent at {} went on answering while another came", online.from)
                }
                (Proof::Awaited, Some(_)) => {
                    self.contests.insert(name, contest);
                    continue;
                }
            };
            if host.record.clone.is_some() {
                continue;
            }
            let Contest { from, boot_id, .. } = contest;
            tracing::error!(host = %name, from, boot_id, why, "the host's identity is used in two places; the newer one is refused");
            let told = format!("{why}; refused: the one from {from}");
            effects.events.push(Event::new(EventKind::HostCopied, now).host(&name).text(&told));
            host.record.clone = Some(CloneAlarm { since: now, from, boot_id, why });
            effects.put(Keyspace::Hosts, name.as_str().as_bytes().to_vec(), &host.record)?;
            effects.changed = true;
        }
        Ok(())
    }
}
