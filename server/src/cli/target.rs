//! Which deployment a command means: one by its number, or a service's newest.

use super::error::CliError;
use handover_proto::v1::{Deployment, GetDeploymentRequest};

/// `d12`, or the name of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whose {
    /// 0 for the newest of the service.
    pub(super) id: u64,
    /// Empty where the number says it all.
    pub(super) service: String,
}

impl Whose {
    /// What an operator wrote.
    pub(super) fn read(text: &str) -> Self {
        let number =
            text.strip_prefix('d').and_then(|number| number.parse::<u64>().ok()).filter(|id| *id > 0);
        match number {
            Some(id) => Self { id, service: String::new() },
            None => Self { id: 0, service: text.to_owned() },
        }
    }

    pub(super) fn request(self) -> GetDeploymentRequest {
        GetDeploymentRequest { id: self.id, service: self.service }
    }
}

/// How a command that changes something is sent.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Sent {
    /// Name the request: sent twice under one name it is done once, and answered as the first time.
    #[arg(long, value_name = "ID")]
    pub(super) request_id: Option<String>,
    /// Take over the lock of another operator that is in the way; it needs --reason.
    #[arg(long, requires = "reason")]
    pub(super) take_over: bool,
    /// Why; others see it.
    #[arg(long, value_name = "WHY")]
    pub(super) reason: Option<String>,
}

impl Sent {
    /// The request's name; a new one where the operator gave none.
    pub(super) fn id(&self) -> String {
        self.request_id.clone().unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()))
    }

    pub(super) fn why(&self) -> String {
        self.reason.clone().unwrap_or_default()
    }
}

/// Prints a deployment that an answer came with: as JSON, or the answer itself.
pub(super) fn say(deployment: &Deployment, json: bool) {
    if json {
        println!("{}", super::json::deployment(deployment));
    } else {
        println!("{}", deployment.answer);
    }
}

/// A command that needs a person to answer has none.
pub(super) fn nobody_asked() -> CliError {
    CliError::Usage("nobody can be asked here: add --yes to go on, or --plan to only look".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_deployment_and_everything_else_a_service() {
        let read = |text: &str| {
            let Whose { id, service } = Whose::read(text);
            (id, service)
        };
        assert_eq!(read("d12"), (12, String::new()));
        for service in ["web", "d", "d0", "d-1", "d12x", "12"] {
            assert_eq!(read(service), (0, service.to_owned()));
        }
    }
}
