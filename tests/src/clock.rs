//! A wall clock that is wrong, for one program: libfaketime gives it, and leaves the clocks that nobody sets alone.

use std::{env::consts::ARCH, fs, path::Path};

/// The library of Debian's package libfaketime.
///
/// # Panics
/// Where it is missing.
#[must_use]
pub fn library() -> &'static str {
    let library = match ARCH {
        "aarch64" => "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
        _ => "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    };
    assert!(fs::exists(library).unwrap(), "{library} is missing: install Debian's package libfaketime");
    library
}

/// The environment of a program whose clock is wrong by that much, as `-1d`.
#[must_use]
pub fn shifted(by: &'static str) -> [(&'static str, &'static str); 3] {
    [("LD_PRELOAD", library()), ("FAKETIME", by), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]
}

/// The environment of a program whose clock is wrong by what stands in a file, whenever it looks.
///
/// # Panics
/// Where the path is no text.
#[must_use]
pub fn followed(file: &Path) -> [(&'static str, &str); 4] {
    [
        ("LD_PRELOAD", library()),
        ("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ]
}
