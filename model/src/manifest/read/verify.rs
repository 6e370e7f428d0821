//! Reading of what a candidate must pass.

use super::Reader;
use crate::{
    language::{Section, Value},
    manifest::{MAX_VERIFY_COMMANDS, Template, Verify, keys::verify as keys},
};
use std::time::Duration;

impl Reader<'_, '_> {
    /// `None` where the table is not there, and where a mistake in it was noted.
    pub(super) fn verify(&mut self, section: &Section<'_>) -> Option<Verify<Template>> {
        const TIMEOUT: Duration = Duration::from_secs(60);
        if !section.is_present() {
            return None;
        }
        section.refuse_unknown(self.problems);
        let timeout = section.duration(&keys::TIMEOUT, TIMEOUT, self.problems);
        let commands =
            section.required(&keys::COMMANDS, self.problems).and_then(|value| self.commands(&value));
        Some(Verify { commands: commands?, timeout })
    }

    fn commands(&mut self, value: &Value<'_>) -> Option<Vec<Vec<Template>>> {
        let commands = value.list(self.problems)?;
        if commands.is_empty() || commands.len() > MAX_VERIFY_COMMANDS {
            let message = format!("has {} commands, expected 1 to {MAX_VERIFY_COMMANDS}", commands.len());
            self.problems.add(value.span.clone(), &value.path, message);
            return None;
        }
        let read: Vec<_> = commands.iter().filter_map(|command| self.command(command)).collect();
        (read.len() == commands.len()).then_some(read)
    }
}
