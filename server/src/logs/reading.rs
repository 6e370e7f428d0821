//! One request: takes what the hosts send, merges it, hands it on, and ends with its reader.

use super::{Batch, Ended, Line, Lines, Merge};
use handover_identity::wall_clock;
use handover_model::{HostName, InstanceId, Version};
use std::{
    collections::BTreeMap,
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

/// How long a host may take to begin to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a host that is not followed may be silent in between.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a request without following may take.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long one may follow; then the command is given again.
const FOLLOWED: Duration = Duration::from_secs(24 * 3600);
/// How long a reader may not read before it is taken for gone.
const STALLED: Duration = Duration::from_secs(60);
/// Lines and bytes of text in one message.
const MESSAGE_LINES: usize = 256;
const MESSAGE_BYTES: usize = 64 * 1024;

/// A host that was asked.
#[derive(Debug)]
pub struct Source {
    /// Which.
    pub host: HostName,
    /// What it sends.
    pub batches: mpsc::Receiver<Batch>,
}

#[derive(Debug)]
struct Row {
    source: Source,
    /// Until when it must be heard of; `None` where it is followed.
    until: Option<Instant>,
    over: bool,
    notes: Vec<String>,
}

/// What a host said, or that it says nothing more.
enum Heard {
    Batch(usize, Batch),
    Over(usize),
}

/// One request under way.
#[derive(Debug)]
pub struct Reading {
    rows: Vec<Row>,
    merge: Merge<Line>,
    follow: bool,
    versions: BTreeMap<InstanceId, Version>,
    out: mpsc::Sender<Lines>,
    /// Lines that a follower was too slow for.
    left_out: u64,
    /// Ends that are not told yet.
    ended: Vec<Ended>,
}

impl Reading {
    /// Reads these sources for `out`; `missing` are hosts that could not be asked.
    #[must_use]
    pub fn of(
        sources: Vec<Source>,
        missing: Vec<Ended>,
        versions: BTreeMap<InstanceId, Version>,
        follow: bool,
        out: mpsc::Sender<Lines>,
    ) -> Self {
        let until = Some(Instant::now() + ANSWER);
        let merge = Merge::of(sources.len());
        let row = |source| Row { source, until, over: false, notes: Vec::new() };
        let rows = sources.into_iter().map(row).collect();
        Self { rows, merge, follow, versions, out, left_out: 0, ended: missing }
    }

    /// Until everything is told or the reader is gone.
    pub async fn run(mut self) {
        let deadline = Instant::now() + if self.follow { FOLLOWED } else { DEADLINE };
        loop {
            if !self.tell().await || (self.merge.is_done() && !self.owes()) {
                return;
            }
            let now = wall_clock();
            let window = self.merge.wake().map(|at| Instant::now() + at.since(now));
            let waits = self.rows.iter().filter(|row| !row.over).filter_map(|row| row.until);
            let wake = waits.chain(window).min().unwrap_or(deadline).min(deadline);
            let (out, owes) = (self.out.clone(), self.owes());
            tokio::select! {
                // In this order: who is late has nothing that waits to be taken.
                biased;
                () = out.closed() => return,
                heard = poll_fn(|context| self.poll(context)) => self.take(heard),
                // The reader reads again: what is owed can be told.
                room = out.reserve(), if owes => drop(room),
                () = sleep_until(wake) => self.end_late(),
            }
            if Instant::now() >= deadline {
                let open: Vec<usize> = (0..self.rows.len()).filter(|row| !self.rows[*row].over).collect();
                for row in open {
                    self.end(row, Some("the time for this request is over".to_owned()));
                }
                if self.follow {
                    return;
                }
            }
        }
    }

    /// Gives up on hosts that were not heard of in time; not on those of which nothing is taken at the moment.
    fn end_late(&mut self) {
        let now = Instant::now();
        for number in 0..self.rows.len() {
            let wanted = self.merge.wants(number);
            let Some(row) = self.rows.get_mut(number).filter(|row| !row.over) else { continue };
            if !wanted {
                row.until = row.until.map(|_| now + SILENCE);
            } else if row.until.is_some_and(|until| until <= now) {
                let why = "its agent said nothing in time; is it an older version?";
                self.end(number, Some(why.to_owned()));
            }
        }
    }

    /// Whether a reader who was too slow must still be told something.
    fn owes(&self) -> bool {
        self.left_out > 0 || !self.ended.is_empty()
    }

    /// The next thing that any host says.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Heard> {
        for (number, row) in self.rows.iter_mut().enumerate() {
            if row.over || !self.merge.wants(number) {
                continue;
            }
            match row.source.batches.poll_recv(context) {
                Poll::Ready(Some(batch)) => return Poll::Ready(Heard::Batch(number, batch)),
                Poll::Ready(None) => return Poll::Ready(Heard::Over(number)),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }

    fn take(&mut self, heard: Heard) {
        let (number, batch) = match heard {
            Heard::Batch(number, batch) => (number, batch),
            Heard::Over(number) => {
                // One that is followed ends with its reader only.
                let broke = self.follow.then(|| "its agent broke off; was it started again?".to_owned());
                return self.end(number, broke);
            }
        };
        let Some(row) = self.rows.get_mut(number) else { return };
        row.until = (!self.follow).then(|| Instant::now() + SILENCE);
        row.notes.extend(batch.note);
        let now = wall_clock();
        for line in batch.lines {
            self.merge.push(number, line.micros, line, now);
        }
        if batch.caught_up && self.follow {
            self.merge.caught_up(number);
        }
        if batch.failed.is_some() {
            self.end(number, batch.failed);
        }
    }

    fn end(&mut self, number: usize, failed: Option<String>) {
        self.merge.ended(number);
        let Some(row) = self.rows.get_mut(number) else { return };
        row.over = true;
        // Tells an agent that still sends.
        row.source.batches.close();
        let notes = std::mem::take(&mut row.notes);
        self.ended.push(Ended { host: row.source.host.clone(), failed, notes });
    }

    /// Hands on what may go; false where the reader is gone.
    async fn tell(&mut self) -> bool {
        loop {
            let mut message = Lines::default();
            let mut bytes = 0;
            let now = wall_clock();
            while message.lines.len() < MESSAGE_LINES && bytes < MESSAGE_BYTES {
                let Some((row, line)) = self.merge.pop(now) else { break };
                bytes += line.text.len();
                let version = line.instance.as_ref().and_then(|id| self.versions.get(id)).cloned();
                message.lines.push((self.rows[row].source.host.clone(), version, line));
            }
            // What a host says at its end comes behind its lines.
            if message.lines.is_empty() || self.follow {
                message.ended = std::mem::take(&mut self.ended);
            }
            message.left_out = self.left_out;
            if message.is_empty() {
                return true;
            }
            if self.follow {
                match self.out.try_send(message) {
                    Ok(()) => self.left_out = 0,
                    Err(mpsc::error::TrySendError::Full(message)) => {
                        self.left_out += message.lines.len() as u64;
                        self.ended = message.ended;
                        if message.lines.is_empty() {
                            return true;
                        }
                    }
                    Err(mpsc::error::TrySendError::Closed(_)) => return false,
                }
            } else if !matches!(timeout(STALLED, self.out.send(message)).await, Ok(Ok(()))) {
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(number: u64) -> Line {
        Line {
            instance: None,
            micros: Some(number),
            seen: false,
            text: number.to_string().into(),
            cut: false,
        }
    }

    #[tokio::test]
    async fn a_follower_who_does_not_read_misses_lines_is_told_how_many_and_holds_nobody_up() {
        const LINES: u64 = 20_000;
        let (sender, batches) = mpsc::channel(2);
        let (out, mut told) = mpsc::channel(2);
        let source = Source { host: "a".parse().unwrap(), batches };
        let reading = tokio::spawn(Reading::of(vec![source], Vec::new(), BTreeMap::new(), true, out).run());
        sender.send(Batch { caught_up: true, ..Batch::default() }).await.unwrap();
        for first in (1..=LINES).step_by(100) {
            let lines = (first..first + 100).map(numbered).collect();
            let sent = sender.send(Batch { lines, ..Batch::default() });
            timeout(Duration::from_secs(10), sent).await.expect("the agent is held up").unwrap();
        }
        // What comes once the reader reads again carries the count.
        let (mut seen, mut left_out, mut last) = (0, 0, 0);
        let mut number = LINES;
        while left_out == 0 || last <= LINES {
            number += 1;
            sender.send(Batch { lines: vec![numbered(number)], ..Batch::default() }).await.unwrap();
            let Lines { lines, left_out: missed, .. } =
                timeout(Duration::from_secs(10), told.recv()).await.expect("nothing comes").unwrap();
            left_out += missed;
            seen += lines.len() as u64;
            last = lines.last().and_then(|(_, _, line)| line.micros).unwrap_or(last);
        }
        assert_eq!(seen + left_out, last);
        drop(told);
        timeout(Duration::from_secs(10), reading).await.expect("it goes on without a reader").unwrap();
    }
}
