//! A judge as it is kept: with each transition of a deployment, so that a crash begins no sum anew.

use crate::{ConfigError, Judge};
use serde::{Deserialize, Serialize};

/// A saved judge, its settings included. Less than 8 KiB in JSON. It carries its format's version; one that is not known
/// does not deserialise, and the error names it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct State(Versions);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "version", content = "judge")]
enum Versions {
    #[serde(rename = "1")]
    V1(Judge),
}

/// A saved state that no judge can have left.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StateError {
    /// Its settings make no sense.
    #[error("the settings in the judge's saved state make no sense")]
    Config(#[from] ConfigError),
    /// Its parts do not fit together.
    #[error("the parts of the judge's saved state do not fit together")]
    Parts,
}

impl From<&Judge> for State {
    fn from(judge: &Judge) -> Self {
        Self(Versions::V1(judge.clone()))
    }
}

impl TryFrom<State> for Judge {
    type Error = StateError;

    fn try_from(State(Versions::V1(judge)): State) -> Result<Self, StateError> {
        judge.config().check()?;
        if judge.is_whole() { Ok(judge) } else { Err(StateError::Parts) }
    }
}
