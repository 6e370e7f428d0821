//! Classic BPF: instructions, the few loads that the gate needs, and an assembler that resolves jumps.
//!
//! Source of the numbers: include/uapi/linux/bpf_common.h and filter.h; Documentation/networking/filter.rst.

use crate::pin::{IPV4_MASK, IPV4_NETWORK, IPV6_FIRST_PORT, IPV6_PORT_BITS};

/// One instruction, as `struct sock_filter` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// How many instructions to skip where the condition holds.
    pub jump_true: u8,
    /// How many instructions to skip where it does not.
    pub jump_false: u8,
    /// The operand.
    pub operand: u32,
}

pub(crate) const LOAD_WORD: u16 = 0x20;
pub(crate) const LOAD_HALF: u16 = 0x28;
pub(crate) const LOAD_BYTE: u16 = 0x30;
pub(crate) const SUBTRACT: u16 = 0x14;
pub(crate) const AND: u16 = 0x54;
pub(crate) const SHIFT_RIGHT: u16 = 0x74;
pub(crate) const COPY_TO_X: u16 = 0x07;
pub(crate) const GOTO: u16 = 0x05;
pub(crate) const IF_EQUAL: u16 = 0x15;
pub(crate) const IF_EQUAL_X: u16 = 0x1d;
pub(crate) const IF_AT_LEAST: u16 = 0x35;
pub(crate) const RETURN: u16 = 0x06;
pub(crate) const RETURN_ACCUMULATOR: u16 = 0x16;

/// `SKF_NET_OFF`: offsets from here count from the IP header, wherever the skb's data begins.
pub(crate) const NET: u32 = 0xFFF0_0000;
/// `SKF_AD_OFF + SKF_AD_PROTOCOL`: the packet's EtherType.
pub(crate) const PROTOCOL: u32 = 0xFFFF_F000;
/// `SKF_AD_OFF + SKF_AD_RANDOM`: 32 random bits.
pub(crate) const RANDOM: u32 = 0xFFFF_F000 + 56;

const ETHERTYPE_IPV4: u32 = 0x0800;
const ETHERTYPE_IPV6: u32 = 0x86DD;
const NEXT_HEADER_TCP: u32 = 6;

/// A place in a program that is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label(usize);

/// Where a conditional jump goes to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To {
    Next,
    Label(Label),
}

/// A jump over more instructions than eight bits can say. Cannot happen with the programs of this crate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a jump at instruction {0} of a BPF program is too far or has no aim")]
pub struct JumpError(pub usize);

/// Collects instructions, then resolves the jumps.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    instructions: Vec<(Instruction, To, To)>,
    labels: Vec<Option<usize>>,
}

impl Assembler {
    pub(crate) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The label stands for the next instruction.
    pub(crate) fn here(&mut self, label: Label) {
        if let Some(place) = self.labels.get_mut(label.0) {
            *place = Some(self.instructions.len());
        }
    }

    pub(crate) fn plain(&mut self, code: u16, operand: u32) {
        self.jump(code, operand, To::Next, To::Next);
    }

    pub(crate) fn jump(&mut self, code: u16, operand: u32, yes: To, no: To) {
        self.instructions.push((Instruction { code, jump_true: 0, jump_false: 0, operand }, yes, no));
    }

    pub(crate) fn goto(&mut self, label: Label) {
        self.jump(GOTO, 0, To::Label(label), To::Next);
    }

    /// Leaves the number that the packet's source has as a pin in the accumulator; jumps to `stranger` where it has
    /// none. The number is not checked against any member: that is up to what follows. 255 and more is a question.
    ///
    /// All loads count from the IP header, because in a reuseport program the skb's data is behind the TCP header
    /// (`run_bpf_filter` in net/core/sock_reuseport.c) and in a socket filter at the TCP header. Only a TCP header
    /// that directly follows the IPv6 header is looked at: pinned connections never leave the host and have no
    /// extension headers.
    pub(crate) fn source_number(&mut self, stranger: Label) {
        let (ipv4, found) = (self.label(), self.label());
        let away = To::Label(stranger);
        self.plain(LOAD_HALF, PROTOCOL);
        self.jump(IF_EQUAL, ETHERTYPE_IPV4, To::Label(ipv4), To::Next);
        self.jump(IF_EQUAL, ETHERTYPE_IPV6, To::Next, away);
        self.plain(LOAD_BYTE, NET + 6);
        self.jump(IF_EQUAL, NEXT_HEADER_TCP, To::Next, away);
        for word in (0..16).step_by(4) {
            self.plain(LOAD_WORD, NET + 24 + word);
            self.plain(COPY_TO_X, 0);
            self.plain(LOAD_WORD, NET + 8 + word);
            self.jump(IF_EQUAL_X, 0, To::Next, away);
        }
        self.plain(LOAD_HALF, NET + 40);
        // A port below the range wraps around to a number far above every pin.
        self.plain(SUBTRACT, u32::from(IPV6_FIRST_PORT));
        self.plain(SHIFT_RIGHT, u32::from(IPV6_PORT_BITS));
        self.goto(found);
        self.here(ipv4);
        self.plain(LOAD_WORD, NET + 12);
        self.plain(AND, IPV4_MASK);
        self.jump(IF_EQUAL, IPV4_NETWORK, To::Next, away);
        self.plain(LOAD_BYTE, NET + 15);
        self.here(found);
    }

    /// Leaves the packet's TCP source port in the accumulator; after [`Self::source_number`] found a number, since then
    /// the lengths of the headers are known: a pinned connection never has IP options.
    pub(crate) fn source_port(&mut self) {
        let (ipv4, found) = (self.label(), self.label());
        self.plain(LOAD_HALF, PROTOCOL);
        self.jump(IF_EQUAL, ETHERTYPE_IPV4, To::Label(ipv4), To::Next);
        self.plain(LOAD_HALF, NET + 40);
        self.goto(found);
        self.here(ipv4);
        self.plain(LOAD_HALF, NET + 20);
        self.here(found);
    }

    pub(crate) fn finish(self) -> Result<Vec<Instruction>, JumpError> {
        let Self { instructions, labels } = self;
        let skip = |at: usize, to: To| match to {
            To::Next => Ok(0),
            To::Label(label) => {
                let aim = labels.get(label.0).copied().flatten().ok_or(JumpError(at))?;
                aim.checked_sub(at + 1).ok_or(JumpError(at))
            }
        };
        let short = |at: usize, to: To| u8::try_from(skip(at, to)?).map_err(|_| JumpError(at));
        instructions
            .iter()
            .enumerate()
            .map(|(at, &(mut instruction, yes, no))| {
                if instruction.code == GOTO {
                    instruction.operand = u32::try_from(skip(at, yes)?).map_err(|_| JumpError(at))?;
                } else {
                    instruction.jump_true = short(at, yes)?;
                    instruction.jump_false = short(at, no)?;
                }
                Ok(instruction)
            })
            .collect()
    }
}

#[cfg(test)]
#[path = "bpf_interpreter.rs"]
pub(crate) mod interpreter;
