//! The second wall: socket filters on listening sockets, for packets that went around the steering program.
//!
//! The kernel runs a listener's filter on each packet that it was chosen for, also on the last packet of a handshake
//! (`tcp_filter` in `tcp_v4_rcv`, net/ipv4/tcp_ipv4.c, at the place of `TCP_NEW_SYN_RECV` and at `process:`; the same
//! in net/ipv6/tcp_ipv6.c). There the skb's data begins at the TCP header. A packet that the filter drops is not
//! answered, not even with RST: the client's kernel sends its SYN again.
//!
//! A connection inherits the filter that its listener had when the handshake ended (`sk_clone_lock` in
//! net/core/sock.c copies the pointer). Changing the listener's filter later (`__sk_attach_prog`, `sk_detach_filter`
//! in net/core/filter.c exchange the listener's own pointer) does not touch it.
//!
//! From that follows which wall may be put up when:
//!
//! * [`Wall::Candidate`] drops everything but the own pin. It must stand before listen(2), and be taken down before
//!   the first share is given. It must never be put on a member that had strangers: the last packets of their
//!   handshakes would be dropped.
//! * [`Wall::Standby`] drops only what opens a connection (SYN without ACK). Handshakes that began before it go on,
//!   and connections that inherit it lose nothing. It is put up once the member's queues were seen empty.

use crate::pin::QUESTION;
use crate::{
    Instruction, Pin,
    bpf::{AND, Assembler, IF_AT_LEAST, IF_EQUAL, JumpError, LOAD_BYTE, RETURN, To},
};
use serde::{Deserialize, Serialize};

/// What a member's listening socket lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wall {
    /// Everything: the member has a share, or had one a moment ago.
    Open,
    /// Only its own pin.
    Candidate,
    /// No new connections but from its own pin.
    Standby,
}

/// Whether the gate is just asking who is who: then every member drops the packets of its questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Questions {
    None,
    Dropped,
}

const KEEP: u32 = u32::MAX;
const DROP: u32 = 0;
const TCP_FLAGS: u32 = 13;
const SYN: u32 = 0x02;
const SYN_AND_ACK: u32 = 0x12;

/// The filter of a member with this wall and this pin; `None` where nothing is filtered.
pub(crate) fn filter(
    wall: Wall,
    pin: Pin,
    questions: Questions,
) -> Result<Option<Vec<Instruction>>, JumpError> {
    if wall == Wall::Open && questions == Questions::None {
        return Ok(None);
    }
    let mut asm = Assembler::default();
    let (stranger, kept, dropped) = (asm.label(), asm.label(), asm.label());
    asm.source_number(stranger);
    if questions == Questions::Dropped {
        asm.jump(IF_AT_LEAST, u32::from(QUESTION), To::Label(dropped), To::Next);
    }
    asm.jump(IF_EQUAL, u32::from(pin.number()), To::Label(kept), To::Next);
    asm.here(stranger);
    match wall {
        Wall::Open => asm.goto(kept),
        Wall::Candidate => asm.goto(dropped),
        Wall::Standby => {
            asm.plain(LOAD_BYTE, TCP_FLAGS);
            asm.plain(AND, SYN_AND_ACK);
            asm.jump(IF_EQUAL, SYN, To::Label(dropped), To::Label(kept));
        }
    }
    asm.here(kept);
    asm.plain(RETURN, KEEP);
    asm.here(dropped);
    asm.plain(RETURN, DROP);
    asm.finish().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::interpreter::{ACK, Packet, SYN, run};

    fn passes(wall: Wall, questions: Questions, from: &str, to: &str, flags: u8) -> bool {
        let packet = Packet::new(from.parse().unwrap(), to.parse().unwrap(), flags);
        match filter(wall, Pin::new(7).unwrap(), questions).unwrap() {
            Some(program) => run(&program, &packet) != DROP,
            None => true,
        }
    }

    #[test]
    fn a_candidate_answers_its_own_pin_only() {
        for flags in [SYN, ACK, SYN | ACK] {
            assert!(passes(Wall::Candidate, Questions::None, "127.77.0.7:1", "127.0.0.1:80", flags));
            assert!(passes(Wall::Candidate, Questions::None, "[::1]:61112", "[::1]:80", flags));
            assert!(!passes(Wall::Candidate, Questions::None, "127.77.0.8:1", "127.0.0.1:80", flags));
            assert!(!passes(Wall::Candidate, Questions::None, "192.0.2.1:61112", "192.0.2.2:80", flags));
            assert!(!passes(Wall::Candidate, Questions::None, "[::1]:61128", "[::1]:80", flags));
        }
    }

    #[test]
    fn a_standby_refuses_new_connections_and_lets_handshakes_end() {
        assert!(!passes(Wall::Standby, Questions::None, "192.0.2.1:5", "192.0.2.2:80", SYN));
        assert!(!passes(Wall::Standby, Questions::None, "127.77.0.8:5", "127.0.0.1:80", SYN));
        assert!(passes(Wall::Standby, Questions::None, "192.0.2.1:5", "192.0.2.2:80", ACK));
        assert!(passes(Wall::Standby, Questions::None, "127.77.0.7:5", "127.0.0.1:80", SYN));
    }

    #[test]
    fn a_question_is_dropped_by_everybody_and_nothing_else_changes() {
        use Questions::{Dropped, None};
        for wall in [Wall::Open, Wall::Candidate, Wall::Standby] {
            assert!(!passes(wall, Dropped, "127.77.0.255:65080", "127.0.0.1:80", SYN), "{wall:?}");
            assert!(!passes(wall, Dropped, "[::1]:65080", "[::1]:80", SYN), "{wall:?}");
            assert!(!passes(wall, Dropped, "[::1]:65111", "[::1]:80", SYN), "{wall:?}");
            assert!(passes(wall, Dropped, "127.77.0.7:65080", "127.0.0.1:80", SYN), "{wall:?}");
            for flags in [SYN, ACK] {
                for from in ["192.0.2.1:65080", "127.77.0.9:65080"] {
                    let to = "192.0.2.2:80";
                    assert_eq!(passes(wall, Dropped, from, to, flags), passes(wall, None, from, to, flags));
                }
            }
        }
    }
}
