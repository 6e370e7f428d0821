//! What the agent writes down, before and after each action: the target, what it runs, the order of each gate.
//!
//! One file for each thing, replaced whole. A file that cannot be read is moved aside and reported: the agent then
//! knows less, and says so, but runs.

use crate::{durable, state::InstanceRecord};
use handover_gate::GateSnapshot;
use handover_model::{InstanceId, ServiceName, Target};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Longest file that is read back, in bytes: a target with all manifests of a host.
const LONGEST: u64 = 16 * 1024 * 1024;

/// A gate's order, with what it is the gate of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GateRecord {
    /// Whose listener.
    pub service: ServiceName,
    /// The listener's name in the manifest.
    pub listener: String,
    /// Members in the kernel's order.
    pub gate: GateSnapshot,
}

/// The agent's journal: a folder.
#[derive(Clone, Debug)]
pub struct Journal {
    folder: PathBuf,
}

/// Everything that the journal holds.
#[derive(Debug, Default)]
pub struct Journaled {
    /// The last target that was accepted.
    pub target: Option<Target>,
    /// What ran.
    pub instances: Vec<InstanceRecord>,
    /// The gates that stood.
    pub gates: Vec<GateRecord>,
    /// Files that could not be read, and why.
    pub unreadable: Vec<String>,
}

impl Journal {
    /// The journal in this folder, which is made when something is written.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Reads everything back.
    ///
    /// # Errors
    /// When a folder cannot be listed. A single file that cannot be read is reported in the result.
    pub fn read(&self) -> io::Result<Journaled> {
        let mut unreadable = Vec::new();
        let target = read_one(&self.folder.join("target.json"), &mut unreadable);
        let instances = read_all(&self.folder.join("instances"), &mut unreadable)?;
        let gates = read_all(&self.folder.join("gates"), &mut unreadable)?;
        Ok(Journaled { target, instances, gates, unreadable })
    }

    /// Writes down the target.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn target(&self, target: &Target) -> io::Result<()> {
        write(&self.folder.join("target.json"), target)
    }

    /// Strikes out the target: the host is to run nothing.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn forget_target(&self) -> io::Result<()> {
        durable::remove(&self.folder.join("target.json"))
    }

    /// Writes down an instance.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn instance(&self, record: &InstanceRecord) -> io::Result<()> {
        write(&self.instance_path(&record.instance), record)
    }

    /// Strikes out an instance.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn forget_instance(&self, instance: &InstanceId) -> io::Result<()> {
        durable::remove(&self.instance_path(instance))
    }

    /// Writes down a gate's order.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn gate(&self, record: &GateRecord) -> io::Result<()> {
        write(&self.gate_path(record), record)
    }

    /// Strikes out a gate.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn forget_gate(&self, record: &GateRecord) -> io::Result<()> {
        durable::remove(&self.gate_path(record))
    }

    fn instance_path(&self, instance: &InstanceId) -> PathBuf {
        self.folder.join("instances").join(format!("{instance}.json"))
    }

    fn gate_path(&self, record: &GateRecord) -> PathBuf {
        let address = record.gate.address.to_string().replace([':', '[', ']', '%', '/'], "_");
        self.folder.join("gates").join(format!("{}-{}-{address}.json", record.service, record.listener))
    }
}

fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    durable::replace(path, &serde_json::to_vec(value).map_err(io::Error::other)?)
}

fn read_all<T: DeserializeOwned>(folder: &Path, unreadable: &mut Vec<String>) -> io::Result<Vec<T>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|e| e.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    Ok(paths.iter().filter_map(|path| read_one(path, unreadable)).collect())
}

/// Reads one file; one that is damaged is moved aside, so that the next start does not stumble over it again.
fn read_one<T: DeserializeOwned>(path: &Path, unreadable: &mut Vec<String>) -> Option<T> {
    let read = || -> io::Result<Option<T>> {
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
            Ok(found) if found.len() > LONGEST => return Err(io::Error::other("larger than 16 MiB")),
            Ok(_) => {}
        }
        Ok(Some(serde_json::from_slice(&fs::read(path)?)?))
    };
    match read() {
        Ok(value) => value,
        Err(error) => {
            let aside = path.with_extension("unreadable");
            let moved = fs::rename(path, &aside).is_ok();
            let place = if moved { format!("; moved to {}", aside.display()) } else { String::new() };
            unreadable.push(format!("{}: {error}{place}", path.display()));
            None
        }
    }
}
