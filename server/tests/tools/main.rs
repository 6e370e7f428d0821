//! The server's store as an operator meets it: backup, restore, fsck, an older format, damage, and what strace sees.
//! With the real binary throughout.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail as the test does")]

mod backups;
mod checking;
mod damage;
mod fixture;
mod migration;
mod settings;
mod syncing;
