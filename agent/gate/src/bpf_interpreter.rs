//! A classic BPF machine for tests, and packets for it.

use super::{
    AND, COPY_TO_X, GOTO, IF_AT_LEAST, IF_EQUAL, IF_EQUAL_X, Instruction, LOAD_BYTE, LOAD_HALF, LOAD_WORD,
    NET, PROTOCOL, RANDOM, RETURN, RETURN_ACCUMULATOR, SHIFT_RIGHT, SUBTRACT,
};
use std::net::SocketAddr;

pub(crate) const SYN: u8 = 0x02;
pub(crate) const ACK: u8 = 0x10;

/// A TCP packet from the IP header on.
pub(crate) struct Packet {
    protocol: u32,
    bytes: Vec<u8>,
    tcp: usize,
    /// What a load of random bits gives.
    pub(crate) random: u32,
}

impl Packet {
    pub(crate) fn new(from: SocketAddr, to: SocketAddr, flags: u8) -> Self {
        let mut bytes;
        let protocol;
        match (from, to) {
            (SocketAddr::V4(from), SocketAddr::V4(to)) => {
                protocol = 0x0800;
                bytes = vec![0; 12];
                bytes[0] = 0x45;
                bytes[9] = 6;
                bytes.extend(from.ip().octets());
                bytes.extend(to.ip().octets());
            }
            (SocketAddr::V6(from), SocketAddr::V6(to)) => {
                protocol = 0x86DD;
                bytes = vec![0x60, 0, 0, 0, 0, 20, 6, 64];
                bytes.extend(from.ip().octets());
                bytes.extend(to.ip().octets());
            }
            _ => panic!("addresses of two families"),
        }
        let tcp = bytes.len();
        bytes.extend(from.port().to_be_bytes());
        bytes.extend(to.port().to_be_bytes());
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
        Self { protocol, bytes, tcp, random: 0 }
    }

    /// As the kernel does it: a load from outside of the packet ends the program with 0.
    fn load(&self, offset: u32, size: usize) -> Option<u32> {
        match offset {
            PROTOCOL => return Some(self.protocol),
            RANDOM => return Some(self.random),
            _ => {}
        }
        let start = if offset >= NET { (offset - NET) as usize } else { self.tcp + offset as usize };
        let bytes = self.bytes.get(start..start + size)?;
        Some(bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }
}

/// What the program returns. Panics where the kernel would refuse the program.
pub(crate) fn run(program: &[Instruction], packet: &Packet) -> u32 {
    let (mut a, mut x, mut at) = (0_u32, 0_u32, 0);
    loop {
        let Instruction { code, jump_true, jump_false, operand } = program[at];
        at += 1;
        let mut choose = |condition: bool| at += usize::from(if condition { jump_true } else { jump_false });
        let load = |size| packet.load(operand, size);
        match code {
            LOAD_WORD | LOAD_HALF | LOAD_BYTE => match load(match code {
                LOAD_WORD => 4,
                LOAD_HALF => 2,
                _ => 1,
            }) {
                Some(value) => a = value,
                None => return 0,
            },
            SUBTRACT => a = a.wrapping_sub(operand),
            AND => a &= operand,
            SHIFT_RIGHT => a >>= operand,
            COPY_TO_X => x = a,
            IF_EQUAL => choose(a == operand),
            IF_EQUAL_X => choose(a == x),
            IF_AT_LEAST => choose(a >= operand),
            GOTO => at += operand as usize,
            RETURN => return operand,
            RETURN_ACCUMULATOR => return a,
            other => panic!("operation {other:#x}"),
        }
    }
}
