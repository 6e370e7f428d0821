//! Is the mirror of the kernel's order right?
//!
//! The kernel does not tell the order of a group. After a restart of the agent it comes from the journal, which can be
//! one step behind. It is checked without changing the program that stands, and without any instance taking part, so
//! that one that hangs cannot spoil it:
//!
//! * Each program of the gate answers questions: a SYN from 127.77.0.255 (or from the host's own IPv6 address) with
//!   source port 65080 + i goes to the socket with number i.
//! * While the gate asks, each member's filter drops these packets (and keeps doing what its wall does). Which member
//!   was chosen says its counter of dropped packets (`sk_drops`, raised at `discard_and_relse` in `tcp_v4_rcv`, read with
//!   SO_MEMINFO). No instance sees a connection.

use crate::{Gate, GateError, gate::Member, pin::question_socket, socket, sys, wall::Questions};
use handover_model::InstanceId;
use rustix::{io::Errno, net};
use std::{
    collections::BTreeSet,
    os::fd::{AsFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

/// Whether the mirror of the kernel's order is known to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// It is.
    Verified,
    /// Nobody knows. Nothing but [`Gate::verify_order`] may change the gate.
    Unverified,
}

/// What checking the order found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderCheck {
    /// The mirror was right.
    Right,
    /// The mirror was wrong. It has the order that was found, and the program is set anew.
    Corrected,
    /// These members could not be placed, so the order stays unverified and nothing changed: try again. Only possible
    /// where two sockets or more are not in the agent's hands, or where two members drop packets all the time.
    Unknown(Vec<InstanceId>),
}

/// How long a question may take on its way through the loopback interface. Usually it is there when connect(2) returns.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often a question is asked while more than one member drops packets (a full accept queue counts as well).
const ATTEMPTS: usize = 8;

impl Gate {
    /// Checks the mirror against the kernel, and corrects it. Takes a fraction of a millisecond for each member; two
    /// seconds for each whose socket is not in the agent's hands.
    ///
    /// # Errors
    /// When sockets that the gate does not know listen in the group, or when a system call fails. The order is
    /// unverified then.
    pub fn verify_order(&mut self) -> Result<OrderCheck, GateError> {
        self.order = Order::Unverified;
        self.sweep()?;
        self.no_foreign_sockets()?;
        let answers = self.filter_all(Questions::Dropped).and_then(|()| {
            let numbers = 0..u16::try_from(self.members.len()).unwrap_or(0);
            numbers.map(|number| self.ask(number)).collect::<Result<Vec<_>, _>>()
        });
        // Whatever came of it, the walls are as before.
        self.filter_all(Questions::None)?;
        let found = match place(answers?) {
            Ok(found) => found,
            Err(unknown) => {
                let unknown = unknown.iter().map(|at| self.members[*at].instance.clone());
                return Ok(OrderCheck::Unknown(unknown.collect()));
            }
        };
        let check = if found.is_sorted() { OrderCheck::Right } else { OrderCheck::Corrected };
        let mut former: Vec<_> = self.members.drain(..).map(Some).collect();
        self.members = found.iter().filter_map(|at| former[*at].take()).collect();
        self.order = Order::Verified;
        self.steer()?;
        self.remove_retired()?;
        Ok(check)
    }

    /// The members that can have this number: those that dropped a packet each time when it was asked for.
    fn ask(&self, number: u16) -> Result<BTreeSet<usize>, GateError> {
        let mut candidates: Option<BTreeSet<usize>> = None;
        for _ in 0..ATTEMPTS {
            let client = question_socket(self.address, number)
                .map_err(GateError::system("bind the socket of a question", self.address))?;
            let reached = self.reached(&client)?;
            let both = match candidates {
                Some(former) => former.intersection(&reached).copied().collect(),
                None => reached,
            };
            if both.len() == 1 {
                return Ok(both);
            }
            // Nobody at hand was reached: maybe the packet was late, so ask again.
            candidates = (!both.is_empty()).then_some(both);
        }
        Ok(candidates.unwrap_or_default())
    }

    fn filter_all(&self, questions: Questions) -> Result<(), GateError> {
        for member in &self.members {
            if let Some(socket) = &member.socket {
                socket::set_wall(socket, member.wall, member.pin, questions, self.address)?;
            }
        }
        Ok(())
    }

    /// Connects, and waits until a member has dropped something. Closing the client afterwards sends nothing, since
    /// nothing was answered.
    fn reached(&self, client: &OwnedFd) -> Result<BTreeSet<usize>, GateError> {
        let before = self.drops()?;
        match net::connect(client, &self.connect_address()) {
            Ok(()) | Err(Errno::INPROGRESS | Errno::ADDRNOTAVAIL | Errno::CONNREFUSED) => {}
            Err(error) => return Err(GateError::system("ask a member", self.address)(error)),
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.drops()?;
            let more: BTreeSet<_> = (0..now.len()).filter(|at| now[*at] != before[*at]).collect();
            if !more.is_empty() || Instant::now() > deadline {
                return Ok(more);
            }
            thread::sleep(Duration::from_micros(100));
        }
    }

    fn drops(&self) -> Result<Vec<u32>, GateError> {
        let drops = |member: &Member| match &member.socket {
            Some(socket) => sys::drops(socket.as_fd()),
            None => Ok(0),
        };
        let all: Result<_, _> = self.members.iter().map(drops).collect();
        all.map_err(GateError::system("read SO_MEMINFO", self.address))
    }
}

/// One member for each number, or the members that could not be placed. What is certain of one number is impossible
/// for the others; a single member and a single number that are left over belong together.
fn place(mut candidates: Vec<BTreeSet<usize>>) -> Result<Vec<usize>, Vec<usize>> {
    let count = candidates.len();
    loop {
        let certain: BTreeSet<usize> =
            candidates.iter().filter(|set| set.len() == 1).flatten().copied().collect();
        let before = candidates.clone();
        for set in candidates.iter_mut().filter(|set| set.len() != 1) {
            set.retain(|at| !certain.contains(at));
        }
        let mut open = candidates.iter_mut().filter(|set| set.len() != 1);
        let mut left = (0..count).filter(|at| !certain.contains(at));
        if let (Some(set), None, Some(last), None) = (open.next(), open.next(), left.next(), left.next()) {
            *set = BTreeSet::from([last]);
        }
        if candidates == before {
            break;
        }
    }
    let found: Vec<usize> = candidates.iter().filter(|set| set.len() == 1).flatten().copied().collect();
    let unknown: Vec<usize> = (0..count).filter(|at| !found.contains(at)).collect();
    if unknown.is_empty() { Ok(found) } else { Err(unknown) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(candidates: &[&[usize]]) -> Result<Vec<usize>, Vec<usize>> {
        place(candidates.iter().map(|set| set.iter().copied().collect()).collect())
    }

    #[test]
    fn noise_of_one_member_is_told_apart_by_its_own_number() {
        assert_eq!(placed(&[&[1], &[0, 1], &[2, 1]]), Ok(vec![1, 0, 2]));
    }

    #[test]
    fn a_single_one_left_is_where_nobody_else_is() {
        assert_eq!(placed(&[&[1], &[], &[2]]), Ok(vec![1, 0, 2]));
        assert_eq!(placed(&[&[]]), Ok(vec![0]));
        assert_eq!(placed(&[]), Ok(vec![]));
    }

    #[test]
    fn what_cannot_be_told_is_said() {
        assert_eq!(placed(&[&[1], &[], &[]]), Err(vec![0, 2]));
        assert_eq!(placed(&[&[0, 1], &[0, 1]]), Err(vec![0, 1]));
        assert_eq!(placed(&[&[0], &[0]]), Err(vec![1]));
    }
}
