//! What the figures were measured on.

use serde_json::{Value, json};
use std::{fmt, fs, thread::available_parallelism};

/// The machine, and what else it was doing.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    cores: usize,
    model: String,
    kernel: String,
    load: String,
    optimised: bool,
}

impl Machine {
    /// As it is now.
    pub(crate) fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let load: Vec<String> = read("/proc/loadavg").split_whitespace().take(3).map(str::to_owned).collect();
        Self {
            cores: available_parallelism().map_or(1, usize::from),
            model: model.map_or_else(|| "unknown processor".to_owned(), |(_, name)| name.trim().to_owned()),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            load: load.join(" "),
            optimised: !cfg!(debug_assertions),
        }
    }

    pub(crate) fn json(&self) -> Value {
        let Self { cores, model, kernel, load, optimised } = self;
        json!({"cores": cores, "model": model, "kernel": kernel, "load_before": load, "release_build": optimised})
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, model, kernel, load, optimised } = self;
        let build = if *optimised { "release build" } else { "DEBUG BUILD: the figures mean nothing" };
        write!(f, "{cores} cores ({model}), Linux {kernel}, load before the run {load}, {build}")
    }
}
