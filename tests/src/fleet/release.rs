//! Releases of the sample service.

use crate::process::binary;
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

/// A release of the sample service: how it behaves, and how its manifest wants it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its version.
    pub version: String,
    /// The program, beneath the release's folder or absolute.
    pub command: String,
    /// The program of this workspace that lies in the release as `bin/web`.
    pub program: &'static str,
    /// Flags of the program.
    pub flags: Vec<String>,
    /// Keys before the first section.
    pub top: String,
    /// The `[listeners]` section's lines; empty for a worker.
    pub listeners: String,
    /// Sections of the manifest; those left out are as [`Sample::new`] has them.
    pub readiness: String,
    /// The `[drain]` section's lines.
    pub drain: String,
    /// The `[logs]` section's lines.
    pub logs: String,
    /// The `[rollout]` section's lines.
    pub rollout: String,
    /// Whatever else is to stand in the manifest.
    pub more: String,
}

impl Sample {
    /// A release that behaves: ready over HTTP, drains within 10 s, a batch of one host, a short bake.
    #[must_use]
    pub fn new(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            command: "bin/web".to_owned(),
            program: "sample-service",
            flags: Vec::new(),
            top: String::new(),
            listeners: "http = \"{host.address}:8080\"".to_owned(),
            readiness: "kind = \"http\"\npath = \"/ready\"\ninterval = \"20ms\"\ndeadline = \"20s\""
                .to_owned(),
            drain: "deadline = \"10s\"".to_owned(),
            logs: "to = \"files\"".to_owned(),
            rollout: "bake = \"200ms\"".to_owned(),
            more: String::new(),
        }
    }

    /// With a flag of the program.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.extend(flag.split_whitespace().map(str::to_owned));
        self
    }

    /// With another program, which gets none of the sample's flags but those that are added.
    #[must_use]
    pub fn command(mut self, program: &str) -> Self {
        program.clone_into(&mut self.command);
        self
    }

    /// With keys before the first section.
    #[must_use]
    pub fn top(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.top);
        self
    }

    /// With another program of this workspace, which takes `--version` as well.
    #[must_use]
    pub fn program(mut self, name: &'static str) -> Self {
        self.program = name;
        self
    }

    /// With more listeners.
    #[must_use]
    pub fn listeners(mut self, lines: &str) -> Self {
        self.listeners.push('\n');
        self.listeners.push_str(lines);
        self
    }

    /// Without listeners: it appends to a file.
    #[must_use]
    pub fn worker(mut self, file: &Path) -> Self {
        self.listeners.clear();
        self.readiness = "kind = \"alive\"\nsettle = \"200ms\"".to_owned();
        self.flag(&format!("--worker {}", file.display()))
    }

    /// With other lines in `[readiness]`.
    #[must_use]
    pub fn readiness(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.readiness);
        self
    }

    /// With other lines in `[drain]`.
    #[must_use]
    pub fn drain(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.drain);
        self
    }

    /// With other lines in `[logs]`.
    #[must_use]
    pub fn logs(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.logs);
        self
    }

    /// With other lines in `[rollout]`.
    #[must_use]
    pub fn rollout(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.rollout);
        self
    }

    /// With more sections.
    #[must_use]
    pub fn more(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.more);
        self
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> String {
        let own = ["--version".to_owned(), self.version.clone()];
        // Only the sample knows its flag.
        let own = own.iter().filter(|_| self.command.starts_with("bin/"));
        let flags: String = own.chain(&self.flags).map(|flag| format!(", {flag:?}")).collect();
        let command = &self.command;
        let sections = [
            ("listeners", self.listeners.as_str()),
            ("readiness", &self.readiness),
            ("drain", &self.drain),
            ("logs", &self.logs),
            ("rollout", &self.rollout),
        ];
        let sections: String = sections
            .iter()
            .filter(|(_, lines)| !lines.is_empty())
            .map(|(name, lines)| format!("\n[{name}]\n{lines}\n"))
            .collect();
        let (top, more) = (&self.top, &self.more);
        let end = if top.is_empty() { "" } else { "\n" };
        format!("service = \"web\"\ncommand = [{command:?}{flags}]\n{top}{end}{sections}\n{more}\n")
    }

    /// Writes the folder that is pushed.
    pub fn write(&self, folder: &Path) {
        let program = folder.join("bin/web");
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::copy(binary(self.program), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.join("handover.toml"), self.manifest()).unwrap();
        // No two releases are the same bundle, as no two builds are.
        fs::write(folder.join("VERSION"), &self.version).unwrap();
    }
}
