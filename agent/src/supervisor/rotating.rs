//! Which log files are just being rotated: one that is large is not begun a second time meanwhile.

use handover_model::InstanceId;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

/// Instances whose log file is just being rotated.
#[derive(Clone, Debug, Default)]
pub(super) struct Rotating(Arc<Mutex<BTreeSet<InstanceId>>>);

/// Ends the rotation of one instance's log when it is dropped.
#[derive(Debug)]
pub(super) struct RotationDone(Rotating, InstanceId);

impl Rotating {
    /// False where it is being rotated already.
    pub(super) fn insert(&self, id: &InstanceId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone())
    }

    /// To be dropped when its rotation ends, however it ends.
    pub(super) fn done(&self, id: &InstanceId) -> RotationDone {
        RotationDone(self.clone(), id.clone())
    }
}

impl Drop for RotationDone {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}
