//! What callers may use of the server, each limit with its refusal and its counter. `docs/limits.md` has the table.
//!
//! The limits on connections are in handover-identity, those on the size of fields where the fields are read.

mod counters;
mod places;
mod rate;
mod report;

pub use counters::LimitCounters;
pub use places::{Full, Place, Places};
pub use rate::{Bucket, Buckets, Rate};
pub use report::report;

use counters::count;
use handover_identity::Source;
use handover_model::HostName;
use handover_proto::status::{Reason, refuse};
use std::{
    fmt::Display,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tonic::Status;

/// Enrolments of one source that may fail. One that succeeds does not count.
pub const FAILED_ENROLMENTS: Rate = Rate { burst: 64, every: Duration::from_secs(1) };
/// Enrolments of all sources, whatever becomes of them.
pub const ENROLMENTS: Rate = Rate { burst: 400, every: Duration::from_millis(5) };
/// Sources whose failed enrolments are remembered.
const SOURCES: usize = 4096;
/// Sessions that one agent may begin.
pub const SESSIONS: Rate = Rate { burst: 10, every: Duration::from_secs(1) };
/// Agents whose sessions and calls are counted.
const AGENTS: usize = 20_000;
/// Messages of one session, each weighed by [`MESSAGE_WEIGHT`]. What comes faster waits at the agent.
pub const MESSAGES: Rate = Rate { burst: 100, every: Duration::from_millis(50) };
/// A message counts once, and once more for each so many bytes.
pub const MESSAGE_WEIGHT: usize = 16 * 1024;
/// Bundles that one agent may fetch at once, and all agents together.
pub const DOWNLOADS: (usize, usize) = (4, 512);
/// Bundles that one operator may upload at once, and all operators together.
pub const UPLOADS: (usize, usize) = (16, 64);
/// Watches of one operator, and of all operators together.
pub const WATCHES: (usize, usize) = (128, 512);
/// Requests for logs of one operator, and of all operators together.
pub const LOG_READERS: (usize, usize) = (8, 32);
/// Calls that wait for their answer: of one operator, one agent, one source without a certificate.
pub const CALLS: (usize, usize, usize) = (256, 32, 16);
/// Calls that one agent may make: sessions and downloads.
pub const AGENT_CALLS: Rate = Rate { burst: 64, every: Duration::from_millis(100) };
/// Within that time a call is answered, or fails. Streams have deadlines of their own.
pub const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// The limits of a server, with what is used of them.
#[derive(Debug)]
pub struct Limits {
    began: Instant,
    enrolments: Mutex<(Buckets<Source>, Bucket)>,
    sessions: Mutex<Buckets<HostName>>,
    agent_calls: Mutex<Buckets<HostName>>,
    downloads: Places<HostName>,
    uploads: Places<String>,
    watches: Places<String>,
    log_readers: Places<String>,
    calls: [Places<String>; 3],
    counters: Arc<LimitCounters>,
}

/// Whose calls are counted together.
#[derive(Clone, Copy, Debug)]
pub enum CallsOf<'a> {
    /// An operator's, by name.
    Operator(&'a str),
    /// An agent's, by host.
    Agent(&'a HostName),
    /// Those from one source without a certificate; `None` where that is not known.
    Nobody(Option<Source>),
}

/// An enrolment that goes on. Dropped without [`succeeded`](Self::succeeded), it has failed.
#[derive(Debug)]
#[must_use = "an enrolment that does not say so has failed"]
pub struct EnrolmentTry {
    limits: Arc<Limits>,
    source: Option<Source>,
}

impl Default for Limits {
    fn default() -> Self {
        let calls = |of_one| Places::new(of_one, usize::MAX);
        Self {
            began: Instant::now(),
            enrolments: Mutex::new((Buckets::new(FAILED_ENROLMENTS, SOURCES), Bucket::default())),
            sessions: Mutex::new(Buckets::new(SESSIONS, AGENTS)),
            agent_calls: Mutex::new(Buckets::new(AGENT_CALLS, AGENTS)),
            downloads: Places::new(DOWNLOADS.0, DOWNLOADS.1),
            uploads: Places::new(UPLOADS.0, UPLOADS.1),
            watches: Places::new(WATCHES.0, WATCHES.1),
            log_readers: Places::new(LOG_READERS.0, LOG_READERS.1),
            calls: [calls(CALLS.0), calls(CALLS.1), calls(CALLS.2)],
            counters: Arc::default(),
        }
    }
}

impl Limits {
    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> Arc<LimitCounters> {
        Arc::clone(&self.counters)
    }

    /// Before an enrolment is looked at. `source` is `None` on this machine's own socket.
    ///
    /// # Errors
    /// `BUSY`, with how long to wait.
    pub fn enrolment(self: &Arc<Self>, source: Option<Source>) -> Result<EnrolmentTry, Status> {
        let now = self.began.elapsed();
        let mut enrolments = self.enrolments.lock().unwrap_or_else(PoisonError::into_inner);
        let (by_source, all) = &mut *enrolments;
        if let Some(source) = &source {
            by_source.take(source, now).map_err(|wait| {
                count(&self.counters.enrolments_refused_source_total);
                let message = format!("too many enrolments from {source} have failed");
                let hint =
                    "check the join token, it must be whole and unused; `handover token create` makes one";
                wait_for(wait, message, hint)
            })?;
        }
        all.take(ENROLMENTS, 1, now).map_err(|wait| {
            // The source is not to blame.
            source.iter().for_each(|source| by_source.give_back(source));
            count(&self.counters.enrolments_refused_total);
            wait_for(wait, "too many hosts enrol at once", "")
        })?;
        drop(enrolments);
        Ok(EnrolmentTry { limits: Arc::clone(self), source })
    }

    /// Before a session begins.
    ///
    /// # Errors
    /// `BUSY`, with how long to wait.
    pub fn session(&self, host: &HostName) -> Result<(), Status> {
        let taken =
            self.sessions.lock().unwrap_or_else(PoisonError::into_inner).take(host, self.began.elapsed());
        taken.map_err(|wait| {
            count(&self.counters.sessions_refused_total);
            let hint = "look whether its agent runs twice, or what ends its sessions";
            wait_for(wait, format!("host {host} begins sessions too often"), hint)
        })
    }

    /// Before an agent fetches a bundle; to be kept until it is there.
    ///
    /// # Errors
    /// `BUSY`.
    pub fn download(&self, host: HostName) -> Result<Place<HostName>, Status> {
        self.downloads.take(host).map_err(|full| {
            count(&self.counters.downloads_refused_total);
            match full {
                Full::OfOne(most) => {
                    too_many(Reason::Busy, "this host fetches", most, "bundles", "wait for one")
                }
                Full::OfAll(most) => {
                    too_many(Reason::Busy, "all hosts fetch", most, "bundles", "wait for one")
                }
            }
        })
    }

    /// Before an upload begins; to be kept until its end.
    ///
    /// # Errors
    /// `TOO_MANY`.
    pub fn upload(&self, operator: &str) -> Result<Place<String>, Status> {
        let hint = "wait until one has ended and push again";
        self.uploads.take(operator.to_owned()).map_err(|full| {
            count(&self.counters.uploads_refused_total);
            match full {
                Full::OfOne(most) => {
                    too_many(Reason::TooMany, format!("{operator} uploads"), most, "bundles", hint)
                }
                Full::OfAll(most) => too_many(Reason::TooMany, "operators upload", most, "bundles", hint),
            }
        })
    }

    /// Before a watch begins; to be kept until its end.
    ///
    /// # Errors
    /// `TOO_MANY`.
    pub fn watch(&self, operator: &str) -> Result<Place<String>, Status> {
        let hint = "end one that nobody looks at; one watch can show all services";
        self.watches.take(operator.to_owned()).map_err(|full| {
            count(&self.counters.watches_refused_total);
            match full {
                Full::OfOne(most) => {
                    too_many(Reason::TooMany, format!("{operator} has"), most, "watches open", hint)
                }
                Full::OfAll(most) => too_many(Reason::TooMany, "operators have", most, "watches open", hint),
            }
        })
    }

    /// Before hosts are asked for logs; to be kept until the answer's end.
    ///
    /// # Errors
    /// `TOO_MANY`.
    pub fn log_reader(&self, operator: &str) -> Result<Place<String>, Status> {
        let hint = "end one with Ctrl-C and try again";
        let what = "requests for logs open";
        self.log_readers.take(operator.to_owned()).map_err(|full| {
            count(&self.counters.log_readers_refused_total);
            match full {
                Full::OfOne(most) => too_many(Reason::TooMany, format!("{operator} has"), most, what, hint),
                Full::OfAll(most) => too_many(Reason::TooMany, "operators have", most, what, hint),
            }
        })
    }

    /// Before a call is read; to be kept until its answer begins. Of an agent's calls the rate is bounded as well.
    ///
    /// # Errors
    /// `BUSY`.
    pub fn call(&self, of: CallsOf<'_>) -> Result<Place<String>, Status> {
        if let CallsOf::Agent(host) = of {
            let mut calls = self.agent_calls.lock().unwrap_or_else(PoisonError::into_inner);
            calls.take(host, self.began.elapsed()).map_err(|wait| {
                count(&self.counters.calls_refused_total);
                wait_for(wait, format!("host {host} calls too often"), "look whether its agent runs twice")
            })?;
        }
        let (kind, whose) = match of {
            CallsOf::Operator(name) => (0, name.to_owned()),
            CallsOf::Agent(host) => (1, host.to_string()),
            CallsOf::Nobody(source) => (2, source.map(|source| source.to_string()).unwrap_or_default()),
        };
        let [operators, agents, nobodies] = &self.calls;
        [operators, agents, nobodies][kind].take(whose.clone()).map_err(|full| {
            let (Full::OfOne(most) | Full::OfAll(most)) = full;
            count(&self.counters.calls_refused_total);
            let hint = "wait for an answer before the next call";
            too_many(Reason::Busy, format!("{whose} waits for the answers to"), most, "calls", hint)
        })
    }

    /// A call that was not answered in time.
    #[must_use]
    pub fn call_late(&self) -> Status {
        count(&self.counters.calls_late_total);
        refuse(
            Reason::Busy,
            format!(
                "the call was not answered within {CALL_DEADLINE:?}: it did not arrive whole, or the server has too much to do"
            ),
            "look what became of it, then try again",
        )
    }

    /// An upload that is slower than any.
    pub fn upload_late(&self) {
        count(&self.counters.uploads_late_total);
    }
}

impl LimitCounters {
    /// A session's messages are left unread for a while.
    pub fn session_paused(&self) {
        count(&self.session_pauses_total);
    }

    /// A watch, or another stream to an operator, that nobody read was ended.
    pub fn watch_unread(&self) {
        count(&self.watches_unread_total);
    }
}

impl EnrolmentTry {
    /// It did not fail, and does not count.
    pub fn succeeded(mut self) {
        if let Some(source) = self.source.take() {
            let enrolments = &self.limits.enrolments;
            enrolments.lock().unwrap_or_else(PoisonError::into_inner).0.give_back(&source);
        }
    }
}

fn wait_for(wait: Duration, why: impl Display, hint: &str) -> Status {
    let seconds = wait.as_secs_f64().ceil();
    refuse(Reason::Busy, format!("{why}: the next one is looked at in {seconds} s"), hint)
}

fn too_many(reason: Reason, who: impl Display, most: usize, what: &str, hint: &str) -> Status {
    refuse(reason, format!("{who} {most} {what} at once, and more are not taken"), hint)
}

#[cfg(test)]
mod tests;
