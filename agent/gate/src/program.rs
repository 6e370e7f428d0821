//! The steering program: which socket of the group gets a new connection.
//!
//! Pure. The kernel runs the program for each packet that no connection and no handshake claims, and takes the socket
//! with the number that it returns (`reuseport_select_sock` in net/core/sock_reuseport.c).

use crate::{
    Instruction, Pin,
    bpf::{
        Assembler, IF_AT_LEAST, IF_EQUAL, JumpError, LOAD_WORD, RANDOM, RETURN, RETURN_ACCUMULATOR, SUBTRACT,
        To,
    },
    pin::{QUESTION, QUESTION_FIRST_PORT},
};
use handover_model::Share;
use std::collections::BTreeSet;

/// The most sockets that a group of the gate may have. Keeps the program within a few hundred instructions (the
/// kernel takes 4,096).
pub const MAX_MEMBERS: usize = 32;

/// What the program knows of one socket of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the group.
    pub index: u32,
    /// The pin that reaches it.
    pub pin: Pin,
    /// Its part of the strangers' connections, in proportion to the sum of all entries' shares.
    pub share: Share,
}

/// Entries that make no program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// More than the gate can have.
    #[error("a gate of {0} members: at most {MAX_MEMBERS} are possible")]
    TooMany(usize),
    /// Two members with one pin.
    #[error("{0:?} belongs to two members of a gate")]
    SamePin(Pin),
    /// A defect of this crate.
    #[error("the gate's program could not be assembled")]
    Jump(#[from] JumpError),
}

/// The program that sends pinned connections to their members and draws everybody else's against the shares.
///
/// The draw is exact: with cumulative shares c out of the sum S, a random number of 32 bits below c * 2^32 / S belongs
/// to the members up to there. A member without a share is not in the draw at all, and a single member with a share
/// is returned without one. Where nobody has a share strangers are sent to the number `nobody`: it must belong to a
/// member with a [wall](crate::wall), since a reuseport program of classic BPF can choose, but not refuse.
///
/// A question of the gate itself (source 127.77.0.255, or the host's own IPv6 address, with one of 32 source ports)
/// gets the number that its source port says: so the order of a group can be asked for without changing its program.
///
/// Never returns a number other than those of `entries` and `nobody`, except to a question.
///
/// # Errors
/// When there are too many entries, or two with one pin.
pub fn steering(entries: &[Entry], nobody: u32) -> Result<Vec<Instruction>, ProgramError> {
    if entries.len() > MAX_MEMBERS {
        return Err(ProgramError::TooMany(entries.len()));
    }
    let mut pins = BTreeSet::new();
    if let Some(twice) = entries.iter().find(|entry| !pins.insert(entry.pin)) {
        return Err(ProgramError::SamePin(twice.pin));
    }
    let mut asm = Assembler::default();
    let stranger = asm.label();
    asm.source_number(stranger);
    let (question, pinned) = (asm.label(), asm.label());
    asm.jump(IF_AT_LEAST, u32::from(QUESTION), To::Label(question), To::Label(pinned));
    asm.here(question);
    asm.source_port();
    asm.plain(SUBTRACT, u32::from(QUESTION_FIRST_PORT));
    asm.jump(IF_AT_LEAST, MAX_MEMBERS as u32, To::Label(stranger), To::Next);
    asm.plain(RETURN_ACCUMULATOR, 0);
    asm.here(pinned);
    for entry in entries {
        let other = asm.label();
        asm.jump(IF_EQUAL, u32::from(entry.pin.number()), To::Next, To::Label(other));
        asm.plain(RETURN, entry.index);
        asm.here(other);
    }
    asm.here(stranger);
    draw(&mut asm, entries, nobody);
    Ok(asm.finish()?)
}

fn draw(asm: &mut Assembler, entries: &[Entry], nobody: u32) {
    let shares = || entries.iter().filter(|entry| !entry.share.is_hidden());
    let sum: u64 = shares().map(|entry| u64::from(entry.share.basis_points())).sum();
    let Some(last) = shares().next_back() else {
        asm.plain(RETURN, nobody);
        return;
    };
    if shares().count() > 1 {
        asm.plain(LOAD_WORD, RANDOM);
    }
    let mut below = 0;
    for entry in shares().take_while(|entry| entry.index != last.index) {
        below += u64::from(entry.share.basis_points());
        // Below 2^32, because the last member's share is not in it.
        let threshold = u32::try_from((below << 32) / sum).unwrap_or(u32::MAX);
        let next = asm.label();
        asm.jump(IF_AT_LEAST, threshold, To::Label(next), To::Next);
        asm.plain(RETURN, entry.index);
        asm.here(next);
    }
    asm.plain(RETURN, last.index);
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
