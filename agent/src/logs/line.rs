//! Lines, and the pieces in which they are sent.

use super::MAX_LINE_BYTES;
use handover_model::InstanceId;
use handover_proto::v1;
use std::time::{SystemTime, UNIX_EPOCH};

/// Lines and bytes of text in one piece.
const PIECE_LINES: usize = 256;
const PIECE_BYTES: usize = 32 * 1024;

/// One line that an instance wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which instance; `None` where journald could not tell.
    pub instance: Option<InstanceId>,
    /// Unix microseconds; `None` where nobody wrote the time down.
    pub micros: Option<u64>,
    /// Whether the time is when the agent saw it.
    pub seen: bool,
    /// What was written, without the line's end.
    pub text: Vec<u8>,
    /// Whether it was longer than [`MAX_LINE_BYTES`].
    pub cut: bool,
}

impl Line {
    /// A line of a file, cut where it is too long.
    pub(super) fn of(instance: &InstanceId, text: &[u8], micros: Option<u64>) -> Self {
        let cut = text.len() > MAX_LINE_BYTES;
        let text = text.get(..MAX_LINE_BYTES).unwrap_or(text).to_vec();
        Self { instance: Some(instance.clone()), micros, seen: micros.is_some(), text, cut }
    }
}

/// Now, in Unix microseconds.
pub(super) fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// What is sent at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Lines, in order.
    Lines(Vec<Line>),
    /// What was there already was sent.
    CaughtUp,
    /// What a reader must know.
    Note(String),
    /// Nothing more can be read.
    Failed(String),
}

impl Piece {
    /// Lines in pieces that are small enough.
    pub(super) fn of(lines: Vec<Line>) -> Vec<Self> {
        let (mut pieces, mut piece, mut bytes) = (Vec::new(), Vec::new(), 0);
        for line in lines {
            if piece.len() == PIECE_LINES || bytes + line.text.len() > PIECE_BYTES {
                pieces.push(Self::Lines(std::mem::take(&mut piece)));
                bytes = 0;
            }
            bytes += line.text.len();
            piece.push(line);
        }
        if !piece.is_empty() {
            pieces.push(Self::Lines(piece));
        }
        pieces
    }

    /// As it goes over the wire.
    pub(super) fn wire(self, request_id: u64) -> v1::LogBatch {
        let batch = v1::LogBatch { request_id, ..v1::LogBatch::default() };
        match self {
            Self::Lines(lines) => v1::LogBatch { lines: lines.into_iter().map(wire).collect(), ..batch },
            Self::CaughtUp => v1::LogBatch { caught_up: true, ..batch },
            Self::Note(note) => v1::LogBatch { note, ..batch },
            Self::Failed(failed) => v1::LogBatch { failed, ..batch },
        }
    }
}

fn wire(line: Line) -> v1::AgentLogLine {
    let Line { instance, micros, seen, text, cut } = line;
    v1::AgentLogLine {
        instance: instance.map(|instance| instance.to_string()).unwrap_or_default(),
        time_unix_micros: micros.unwrap_or(0),
        seen,
        text,
        cut,
    }
}
