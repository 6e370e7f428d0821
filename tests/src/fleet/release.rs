//! Releases of the sample service.

use crate::process::binary;
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

/// A release of the sample service: how it behaves, and how its manifest wants it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its version.
    pub version: String,
    /// Flags of the program.
    pub flags: Vec<String>,
    /// Sections of the manifest; those left out are as [`Sample::new`] has them.
    pub readiness: String,
    /// The `[drain]` section's lines.
    pub drain: String,
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
            flags: Vec::new(),
            readiness: "kind = \"http\"\npath = \"/ready\"\ninterval = \"20ms\"\ndeadline = \"20s\""
                .to_owned(),
            drain: "deadline = \"10s\"".to_owned(),
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
        let flags: String = self.flags.iter().map(|flag| format!(", {flag:?}")).collect();
        format!(
            "service = \"web\"\ncommand = [\"bin/web\", \"--version\", {:?}{flags}]\n\n[listeners]\nhttp = \"{{host.address}}:8080\"\n\n[readiness]\n{}\n\n[drain]\n{}\n\n[logs]\nto = \"files\"\n\n[rollout]\n{}\n\n{}",
            self.version, self.readiness, self.drain, self.rollout, self.more
        )
    }

    /// Writes the folder that is pushed.
    pub fn write(&self, folder: &Path) {
        let program = folder.join("bin/web");
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::copy(binary("sample-service"), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.join("handover.toml"), self.manifest()).unwrap();
        // No two releases are the same bundle, as no two builds are.
        fs::write(folder.join("VERSION"), &self.version).unwrap();
    }
}
