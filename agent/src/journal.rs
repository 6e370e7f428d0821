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
    /// Files that could not be read.
    pub unreadable: Vec<Unreadable>,
}

/// A file that could not be read; it was moved aside if that was possible.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be read; it is kept as *.unreadable", path.display())]
pub struct Unreadable {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// A fact that could not be written down: what would have followed from it was not done.
#[derive(Debug, thiserror::Error)]
#[error("cannot write down {what}; nothing was done, it is tried again")]
pub struct NotWritten {
    /// Of what.
    pub what: String,
    /// Why.
    pub source: io::Error,
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
    pub fn instance(&self, record: &InstanceRecord) -> Result<(), NotWritten> {
        write(&self.instance_path(&record.instance), record)
            .map_err(|source| NotWritten { what: format!("instance {}", record.instance), source })
    }

    /// Strikes out an instance.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn forget_instance(&self, instance: &InstanceId) -> Result<(), NotWritten> {
        durable::remove(&self.instance_path(instance))
            .map_err(|source| NotWritten { what: format!("that instance {instance} is gone"), source })
    }

    /// Writes down a gate's order.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn gate(&self, record: &GateRecord) -> Result<(), NotWritten> {
        let what = || format!("the gate of {}", record.gate.address);
        write(&self.gate_path(record), record).map_err(|source| NotWritten { what: what(), source })
    }

    /// Strikes out a gate.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn forget_gate(&self, record: &GateRecord) -> Result<(), NotWritten> {
        durable::remove(&self.gate_path(record)).map_err(|source| NotWritten {
            what: format!("that the gate of {} is gone", record.gate.address),
            source,
        })
    }

    fn instance_path(&self, instance: &InstanceId) -> PathBuf {
        self.folder.join("instances").join(format!("{instance}.json"))
    }

    fn gate_path(&self, record: &GateRecord) -> PathBuf {
        let address = record.gate.address.to_string().replace([':', '[', ']', '%', '/'], "_");
        self.folder.join("gates").join(format!("{}-{address}.json", record.service))
    }
}

fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    durable::replace(path, &serde_json::to_vec(value).map_err(io::Error::other)?)
}

fn read_all<T: DeserializeOwned>(folder: &Path, unreadable: &mut Vec<Unreadable>) -> io::Result<Vec<T>> {
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
fn read_one<T: DeserializeOwned>(path: &Path, unreadable: &mut Vec<Unreadable>) -> Option<T> {
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
            // Where it cannot be moved, it is looked at again at the next start.
            let _ = fs::rename(path, path.with_extension("unreadable"));
            unreadable.push(Unreadable { path: path.to_owned(), source: error });
            None
        }
    }
}
