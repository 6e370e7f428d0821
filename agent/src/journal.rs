//! What the agent writes down, before and after each action: the target, what it runs, the order of each gate, the flips
//! that ask for confirmation.
//!
//! One file for each thing, replaced whole, with a spare beside it (see [`crate::slot`]): what stands here once can be
//! changed also on a full disk. A file that cannot be read is moved aside and reported: the agent then
//! knows less, and says so, but runs.

use crate::{confirming::AskedFlip, disks::Disks, slot, state::InstanceRecord};
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

/// A flip that asked for confirmation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FlipRecord {
    /// What is remembered of it.
    pub flip: AskedFlip,
    /// The boot in which this was written: its deadline means nothing in another.
    pub boot_id: String,
}

/// The agent's journal: a folder.
#[derive(Clone, Debug)]
pub struct Journal {
    folder: PathBuf,
    disks: Disks,
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
    /// Of each service the last flip that asked for confirmation.
    pub flips: Vec<FlipRecord>,
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
#[error(
    "{what} cannot be written down in {}, so that was not done; {}, it goes on by itself then",
    folder.display(),
    advice(source)
)]
pub struct NotWritten {
    /// Of what.
    pub what: String,
    /// Where.
    pub folder: PathBuf,
    /// Why.
    pub source: io::Error,
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room there",
        _other => "see that the agent can write there",
    }
}

impl Journal {
    /// The journal in this folder, which is made when something is written.
    #[must_use]
    pub fn new(folder: PathBuf, disks: Disks) -> Self {
        Self { folder, disks }
    }

    /// What is told of the disks that it is on.
    #[must_use]
    pub fn disks(&self) -> &Disks {
        &self.disks
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
        let flips = read_all(&self.folder.join("flips"), &mut unreadable)?;
        Ok(Journaled { target, instances, gates, flips, unreadable })
    }

    /// Writes down the target.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn target(&self, target: &Target) -> Result<(), NotWritten> {
        self.write(&self.slot("", "target"), target, || format!("the target of revision {}", target.revision))
    }

    /// Strikes out the target: the host is to run nothing.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn forget_target(&self) -> Result<(), NotWritten> {
        self.strike(&self.slot("", "target"), || "that there is no target".to_owned())
    }

    /// Writes down an instance.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn instance(&self, record: &InstanceRecord) -> Result<(), NotWritten> {
        let slot = self.slot("instances", record.instance.as_str());
        self.write(&slot, record, || format!("instance {}", record.instance))
    }

    /// Strikes out an instance.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn forget_instance(&self, instance: &InstanceId) -> Result<(), NotWritten> {
        let slot = self.slot("instances", instance.as_str());
        self.strike(&slot, || format!("that instance {instance} is gone"))
    }

    /// Writes down a gate's order.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn gate(&self, record: &GateRecord) -> Result<(), NotWritten> {
        self.write(&self.gate_slot(record), record, || format!("the gate of {}", record.gate.address))
    }

    /// Strikes out a gate.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn forget_gate(&self, record: &GateRecord) -> Result<(), NotWritten> {
        self.strike(&self.gate_slot(record), || format!("that the gate of {} is gone", record.gate.address))
    }

    /// Writes down a flip that asks for confirmation.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn flip(&self, record: &FlipRecord) -> Result<(), NotWritten> {
        let service = &record.flip.service;
        self.write(&self.slot("flips", service.as_str()), record, || format!("the flip of {service}"))
    }

    /// Strikes out the flip of a service.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn forget_flip(&self, service: &ServiceName) -> Result<(), NotWritten> {
        let slot = self.slot("flips", service.as_str());
        self.strike(&slot, || format!("that the flip of {service} is none any more"))
    }

    fn gate_slot(&self, record: &GateRecord) -> Slot {
        let address = record.gate.address.to_string().replace([':', '[', ']', '%', '/'], "_");
        self.slot("gates", &format!("{}-{address}", record.service))
    }

    fn slot(&self, kind: &str, name: &str) -> Slot {
        let file = format!("{name}.json");
        Slot {
            path: self.folder.join(kind).join(&file),
            spare: self.folder.join("spare").join(kind).join(file),
        }
    }

    fn write(
        &self,
        Slot { path, spare }: &Slot,
        value: &impl Serialize,
        what: impl FnOnce() -> String,
    ) -> Result<(), NotWritten> {
        let text = serde_json::to_vec(value).map_err(io::Error::other);
        let written = text.and_then(|text| slot::replace(path, spare, &text));
        self.disks.note(written.map_err(|source| NotWritten {
            what: what(),
            folder: self.folder.clone(),
            source,
        }))
    }

    fn strike(&self, Slot { path, spare }: &Slot, what: impl FnOnce() -> String) -> Result<(), NotWritten> {
        let struck = slot::remove(path, spare);
        self.disks.note(struck.map_err(|source| NotWritten {
            what: what(),
            folder: self.folder.clone(),
            source,
        }))
    }
}

/// Where a thing is written down.
struct Slot {
    path: PathBuf,
    spare: PathBuf,
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
