//! Whole bundles: packed, refused, unpacked.

mod packing;
mod refusing;
mod unpacking;

use crate::{BundleDescriptor, PackError, pack};
use std::{
    error::Error,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};
use tempfile::TempDir;

/// Packs a directory into memory.
fn packed(dir: &Path) -> Result<(Vec<u8>, BundleDescriptor), PackError> {
    let mut archive = Vec::new();
    let bundle = pack(dir, &mut archive, &mut |_| {})?;
    Ok((archive, bundle))
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A small release: a program, a text, directories, a link.
fn sample() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::create_dir_all(root.join("empty")).unwrap();
    fs::write(root.join("bin/web"), b"#!/bin/sh\nexit 0\n").unwrap();
    chmod(&root.join("bin/web"), 0o755);
    fs::write(root.join("handover.toml"), b"service = \"web\"\ncommand = [\"bin/web\"]\n").unwrap();
    symlink("bin/web", root.join("run")).unwrap();
    dir
}

/// An error with everything that it was caused by, as the top prints it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}

/// The names in a directory, sorted.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
