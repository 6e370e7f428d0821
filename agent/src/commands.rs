//! Commands of operators beside hidden instances: the server asks through the session, the agent runs each as the
//! instance's user in its cgroup, with the pin in its environment, and answers with a call of its own.

use crate::instance::{ExitStatus, Ran, SideCommand};
use handover_model::InstanceId;
use handover_proto::v1::{self, agent_service_client::AgentServiceClient};
use std::{sync::Arc, time::Duration};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tonic::transport::Channel;
use tracing::Instrument as _;

/// Commands at once.
const MAX_COMMANDS: usize = 4;
/// Most words of one.
const MAX_WORDS: usize = 256;
/// Bytes of its output that are kept: the last ones.
const KEPT_BYTES: usize = 64 * 1024;
/// Longest time that one is given.
const LONGEST: Duration = Duration::from_secs(600);

/// Asks the supervisor for the way to an instance.
#[derive(Debug)]
pub struct Question {
    /// Which.
    pub instance: InstanceId,
    /// What is to run beside it.
    pub words: Vec<String>,
    /// Takes the command, or why there is none.
    pub answer: oneshot::Sender<Result<SideCommand, String>>,
}

/// What the server asked for, as long as it runs.
#[derive(Clone, Debug)]
pub struct Commands {
    questions: mpsc::Sender<Question>,
    places: Arc<Semaphore>,
}

impl Commands {
    /// Of the supervisor that answers these questions.
    #[must_use]
    pub fn of(questions: mpsc::Sender<Question>) -> Self {
        Self { questions, places: Arc::new(Semaphore::new(MAX_COMMANDS)) }
    }

    /// Runs a command and tells over this connection how it ended. Returns at once.
    pub fn answer(&self, asked: v1::RunCommand, channel: Channel) {
        let (number, this) = (asked.request_id, self.clone());
        let span = tracing::info_span!("command", instance = asked.instance, request = number);
        let answered = async move {
            let outcome = match this.run(asked).await {
                Ok((ran, limit)) => told(number, ran, limit),
                Err(why) => v1::CommandOutcome { request_id: number, ended: why, ..Default::default() },
            };
            tracing::info!(ended = outcome.ended, "a command of an operator");
            if let Err(status) = AgentServiceClient::new(channel).send_outcome(outcome).await {
                tracing::warn!(error = status.message(), "its outcome cannot be told");
            }
        };
        tokio::spawn(answered.instrument(span));
    }

    async fn run(&self, asked: v1::RunCommand) -> Result<(Ran, Duration), String> {
        let v1::RunCommand { request_id: _, instance, command, timeout_millis } = asked;
        let _place = self
            .places
            .try_acquire()
            .map_err(|_| format!("its agent runs {MAX_COMMANDS} commands already: try again"))?;
        if command.is_empty() || command.len() > MAX_WORDS {
            return Err(format!("a command of {} words: expected 1 to {MAX_WORDS}", command.len()));
        }
        let instance = instance.parse().map_err(|error| format!("{error}"))?;
        let (answer, found) = oneshot::channel();
        let stopping = || "its agent stops".to_owned();
        let question = Question { instance, words: command, answer };
        self.questions.send(question).await.map_err(|_| stopping())?;
        let command = found.await.map_err(|_| stopping())??;
        let limit = Duration::from_millis(timeout_millis).min(LONGEST);
        let ran = command.run(limit, KEPT_BYTES).await.map_err(|error| handover_model::chain(&error))?;
        Ok((ran, limit))
    }
}

fn told(request_id: u64, ran: Ran, limit: Duration) -> v1::CommandOutcome {
    let Ran { status, output, cut } = ran;
    let code = match status {
        Some(ExitStatus::Code(code)) => Some(code),
        Some(ExitStatus::Signal { .. } | ExitStatus::Unknown) | None => None,
    };
    let ended = match status {
        Some(status) => status.to_string(),
        None => format!("did not end within {limit:?} and was killed"),
    };
    v1::CommandOutcome { request_id, passed: code == Some(0), ended, code, output, cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_0_is_a_pass() {
        let ran = |status| Ran { status, output: b"said".to_vec(), cut: false };
        let limit = Duration::from_secs(60);
        let passed = told(7, ran(Some(ExitStatus::Code(0))), limit);
        assert_eq!((passed.request_id, passed.passed, passed.code), (7, true, Some(0)));
        assert_eq!(passed.ended, "exited with code 0");
        for status in [
            Some(ExitStatus::Code(1)),
            Some(ExitStatus::Signal { signal: 9, core: false }),
            Some(ExitStatus::Unknown),
            None,
        ] {
            let failed = told(7, ran(status), limit);
            assert!(!failed.passed && failed.output == b"said", "{status:?}");
        }
        assert_eq!(told(7, ran(None), limit).ended, "did not end within 60s and was killed");
    }

    #[tokio::test]
    async fn a_command_is_bounded_before_anybody_is_asked() {
        let (questions, _asked) = mpsc::channel(1);
        let commands = Commands::of(questions);
        let asked = |words: usize| v1::RunCommand {
            instance: "web-1".into(),
            command: vec!["a".into(); words],
            ..Default::default()
        };
        assert!(commands.run(asked(0)).await.unwrap_err().contains("expected 1 to 256"));
        assert!(commands.run(asked(257)).await.unwrap_err().contains("expected 1 to 256"));
        let _taken = commands.places.acquire_many(4).await.unwrap();
        assert!(commands.run(asked(1)).await.unwrap_err().contains("runs 4 commands already"));
    }
}
