//! Lines of files: `<logs>/<service>/<instance>.log` and the older parts beside it.
//!
//! The lines carry no time. So `since` chooses whole files only: one that was not written to since then has nothing
//! newer. What is written while somebody follows gets the time at which the agent saw it, and is marked so.

use super::{Line, MAX_BYTES, MAX_LINE_BYTES, line::micros, request::LogRequest};
use crate::instance::rotate::generation;
use handover_model::InstanceId;
use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Instances whose files are looked at: those that were written to last.
const MAX_FILES: usize = 64;
/// Older parts of one file.
const MAX_GENERATIONS: u32 = 100;
/// Bytes of one file that are taken in one round of following.
const ROUND_BYTES: u64 = 256 * 1024;
/// A part that was set aside that recently may still be in the file itself as well, see [`crate::instance::rotate`].
const SETTLED: Duration = Duration::from_millis(500);

/// What was in the files, and where to go on.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// Instance by instance, the one that was written to first coming first.
    pub(super) lines: Vec<Line>,
    /// Whether there were older lines than fit.
    pub(super) more: bool,
    /// Whether there were any files at all.
    pub(super) files: bool,
}

/// Where the reading of each file is.
#[derive(Debug)]
pub(super) struct Following {
    folder: PathBuf,
    tails: BTreeMap<InstanceId, Tail>,
}

/// Where the reading of one file is.
#[derive(Debug, Default)]
struct Tail {
    /// Bytes that were read of the file.
    offset: u64,
    /// The first older part: device and inode.
    older: Option<(u64, u64)>,
    /// The beginning of a line whose end is not written yet.
    partial: Vec<u8>,
    /// Whether the rest of that line is to be skipped: it was too long, or its beginning was not seen.
    skipping: bool,
}

/// The files of a service's instances, the one that was written to first coming first. A folder that is not there
/// has none.
fn files(folder: &Path, request: &LogRequest) -> io::Result<Vec<(InstanceId, PathBuf, Metadata)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".log")) else { continue };
        let Ok(id) = id.parse::<InstanceId>() else { continue };
        // Of the entry itself: a link is no log.
        let metadata = entry.metadata()?;
        if metadata.is_file() && request.wants(&id) {
            found.push((id, entry.path(), metadata));
        }
    }
    found.sort_by_key(|(_, _, metadata)| (metadata.mtime(), metadata.mtime_nsec()));
    let surplus = found.len().saturating_sub(MAX_FILES);
    found.drain(..surplus);
    Ok(found)
}

fn is_older(metadata: &Metadata, since_millis: u64) -> bool {
    let since = UNIX_EPOCH + Duration::from_millis(since_millis);
    metadata.modified().is_ok_and(|modified| modified < since)
}

/// Reads the newest lines, and where to go on. Blocks.
pub(super) fn before(folder: &Path, request: &LogRequest) -> io::Result<(Before, Following)> {
    let mut before = Before::default();
    let mut following = Following { folder: folder.to_owned(), tails: BTreeMap::new() };
    let found = files(folder, request)?;
    before.files = !found.is_empty();
    let mut room = MAX_BYTES;
    let mut by_instance = Vec::new();
    // The newest first: what does not fit is the oldest.
    for (id, path, metadata) in found.into_iter().rev() {
        let mut tail = Tail { older: identity(&generation(&path, 1)), ..Tail::default() };
        if is_older(&metadata, request.since_millis) || room == 0 {
            before.more |= room == 0;
            tail.offset = metadata.len();
            following.tails.insert(id, tail);
            continue;
        }
        let (bytes, whole, offset) = last_bytes(&path, room, request.since_millis)?;
        room -= bytes.len().min(room);
        tail.offset = offset;
        let (mut lines, rest) = split(&id, &bytes, whole);
        tail.partial = rest;
        if !request.follow && !tail.partial.is_empty() {
            lines.push(Line::of(&id, &tail.partial, None));
        }
        let surplus = lines.len().saturating_sub(request.lines);
        lines.drain(..surplus);
        before.more |= surplus > 0 || !whole;
        by_instance.push(lines);
        tail.skipping = tail.partial.len() > MAX_LINE_BYTES;
        following.tails.insert(id, tail);
    }
    before.lines = by_instance.into_iter().rev().flatten().collect();
    Ok((before, following))
}

/// The last `room` bytes of a file and its older parts, whether that is all of it since then, and how much of the
/// file itself was read.
fn last_bytes(path: &Path, room: usize, since_millis: u64) -> io::Result<(Vec<u8>, bool, u64)> {
    let mut parts = Vec::new();
    let mut left = room as u64;
    let mut whole = true;
    let mut own = 0;
    for number in 0..=MAX_GENERATIONS {
        let part = if number == 0 { path.to_owned() } else { generation(path, number) };
        let mut file = match File::open(&part) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        if number > 0 && is_older(&metadata, since_millis) {
            break;
        }
        let length = metadata.len();
        let take = length.min(left);
        file.seek(SeekFrom::Start(length - take))?;
        let mut bytes = Vec::new();
        file.take(take).read_to_end(&mut bytes)?;
        if number == 0 {
            own = length - take + bytes.len() as u64;
        }
        left -= take;
        parts.push(bytes);
        if take < length {
            whole = false;
            break;
        }
    }
    Ok((parts.into_iter().rev().flatten().collect(), whole, own))
}

/// The lines in `bytes`, and what stands behind the last one's end. Where the beginning is missing, so does the first
/// line.
fn split(id: &InstanceId, bytes: &[u8], whole: bool) -> (Vec<Line>, Vec<u8>) {
    let mut parts: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let rest = parts.pop().unwrap_or_default().to_vec();
    if !whole && !parts.is_empty() {
        parts.remove(0);
    }
    (parts.into_iter().map(|line| Line::of(id, line, None)).collect(), rest)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

impl Following {
    /// What was written since the last round, and whether some of it is lost because it was rotated away. Blocks.
    pub(super) fn round(&mut self, request: &LogRequest) -> io::Result<(Vec<Line>, bool)> {
        let (mut lines, mut lost) = (Vec::new(), false);
        for (id, path, _) in files(&self.folder, request)? {
            let tail = self.tails.entry(id.clone()).or_default();
            lost |= tail.go_on(&path, &mut |text, cut| {
                let line = Line::of(&id, text, Some(micros()));
                lines.push(Line { cut: line.cut || cut, ..line });
            })?;
        }
        Ok((lines, lost))
    }
}

impl Tail {
    fn go_on(&mut self, path: &Path, line: &mut dyn FnMut(&[u8], bool)) -> io::Result<bool> {
        let first = generation(path, 1);
        let mut lost = false;
        let now = identity(&first);
        if now != self.older {
            let metadata = fs::symlink_metadata(&first)?;
            let changed = UNIX_EPOCH
                + Duration::new(
                    u64::try_from(metadata.ctime()).unwrap_or(0),
                    u32::try_from(metadata.ctime_nsec()).unwrap_or(0),
                );
            if SystemTime::now().duration_since(changed).is_ok_and(|age| age < SETTLED) {
                return Ok(false);
            }
            lost = self.follow_rotation(path, line)?;
            self.older = now;
        }
        let mut file = File::open(path)?;
        if file.metadata()?.len() < self.offset {
            // Somebody emptied it by other means.
            self.offset = 0;
            lost = true;
        }
        self.offset += self.read(&mut file, self.offset, ROUND_BYTES, line)?;
        Ok(lost)
    }

    /// The file's head went to older parts: what of it was not read yet is read there, and the place in the file moves.
    fn follow_rotation(&mut self, path: &Path, line: &mut dyn FnMut(&[u8], bool)) -> io::Result<bool> {
        let known = (2..=MAX_GENERATIONS)
            .find(|number| self.older.is_some() && identity(&generation(path, *number)) == self.older);
        let newest = match (known, self.older) {
            (Some(known), _) => known - 1,
            // There was none before: all are new.
            (None, None) => {
                (1..=MAX_GENERATIONS).take_while(|n| generation(path, *n).exists()).last().unwrap_or(1)
            }
            // Rotated so often that what was known is gone.
            (None, Some(_)) => {
                self.offset = 0;
                self.skipping = true;
                self.partial.clear();
                return Ok(true);
            }
        };
        for number in (1..=newest).rev() {
            let mut part = File::open(generation(path, number))?;
            let length = part.metadata()?.len();
            if self.offset < length {
                self.read(&mut part, self.offset, u64::MAX, line)?;
            }
            self.offset = self.offset.saturating_sub(length);
        }
        Ok(false)
    }

    /// Reads from `from` on, at most `most` bytes; returns how many.
    fn read(
        &mut self,
        file: &mut File,
        from: u64,
        most: u64,
        line: &mut dyn FnMut(&[u8], bool),
    ) -> io::Result<u64> {
        file.seek(SeekFrom::Start(from))?;
        let mut file = file.take(most);
        let mut piece = vec![0; 64 * 1024];
        let mut total = 0;
        loop {
            let count = file.read(&mut piece)?;
            if count == 0 {
                return Ok(total);
            }
            total += count as u64;
            self.split(&piece[..count], line);
        }
    }

    fn split(&mut self, bytes: &[u8], line: &mut dyn FnMut(&[u8], bool)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            if !self.skipping {
                let room = (MAX_LINE_BYTES + 1).saturating_sub(self.partial.len());
                self.partial.extend_from_slice(text.get(..room).unwrap_or(text));
                if self.partial.len() > MAX_LINE_BYTES {
                    line(&self.partial, true);
                    self.partial.clear();
                    self.skipping = true;
                }
            }
            if ends {
                if !self.skipping {
                    line(&self.partial, false);
                }
                self.partial.clear();
                self.skipping = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::rotate::{Rotated, Rotation, rotate};
    use std::{fs::OpenOptions, io::Write as _};

    fn request(lines: usize) -> LogRequest {
        LogRequest {
            service: "web".parse().unwrap(),
            instances: std::collections::BTreeSet::new(),
            since_millis: 0,
            follow: true,
            lines,
        }
    }

    fn texts(lines: &[Line]) -> Vec<String> {
        lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect()
    }

    #[test]
    fn the_newest_lines_come_also_from_older_parts_and_without_a_time() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("web-d1.log.2"), "one\ntw").unwrap();
        fs::write(dir.path().join("web-d1.log.1"), "o\nthree\n").unwrap();
        fs::write(dir.path().join("web-d1.log"), "four\nfive\n").unwrap();
        fs::write(dir.path().join("notes.txt"), "no log\n").unwrap();
        let (before, _) = super::before(dir.path(), &request(4)).unwrap();
        assert_eq!(texts(&before.lines), ["two", "three", "four", "five"]);
        assert!(before.more && before.lines.iter().all(|line| line.micros.is_none()));
        let (before, _) = super::before(dir.path(), &request(5)).unwrap();
        assert_eq!((texts(&before.lines).len(), before.more), (5, false));
    }

    #[test]
    fn a_file_that_was_not_written_to_since_then_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("web-d1.log");
        fs::write(&old, "old\n").unwrap();
        File::open(&old).unwrap().set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
        fs::write(dir.path().join("web-d2.log"), "new\n").unwrap();
        let since_millis = micros() / 1000 - 600_000;
        let (before, _) = super::before(dir.path(), &LogRequest { since_millis, ..request(9) }).unwrap();
        assert_eq!(texts(&before.lines), ["new"]);
    }

    #[test]
    fn links_and_other_instances_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret"), "secret\n").unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), dir.path().join("web-d1.log")).unwrap();
        fs::write(dir.path().join("web-d2.log"), "two\n").unwrap();
        fs::write(dir.path().join("web-d3.log"), "three\n").unwrap();
        let only = LogRequest { instances: ["web-d3".parse().unwrap()].into(), ..request(9) };
        assert_eq!(texts(&super::before(dir.path(), &only).unwrap().0.lines), ["three"]);
        assert_eq!(texts(&super::before(dir.path(), &request(9)).unwrap().0.lines).len(), 2);
    }

    #[test]
    fn long_lines_are_cut_and_marked_however_they_arrive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web-d1.log");
        let long = "x".repeat(3 * MAX_LINE_BYTES);
        fs::write(&path, format!("{long}\nshort\n")).unwrap();
        let (before, mut following) = super::before(dir.path(), &request(9)).unwrap();
        assert_eq!((before.lines[0].text.len(), before.lines[0].cut), (MAX_LINE_BYTES, true));
        assert_eq!((texts(&before.lines)[1].as_str(), before.lines[1].cut), ("short", false));
        let mut log = OpenOptions::new().append(true).open(&path).unwrap();
        write!(log, "{long}").unwrap();
        let (lines, _) = following.round(&request(9)).unwrap();
        assert_eq!((lines.len(), lines[0].text.len(), lines[0].cut), (1, MAX_LINE_BYTES, true));
        write!(log, "{long}\nbeg").unwrap();
        assert_eq!(following.round(&request(9)).unwrap().0, []);
        writeln!(log, "un").unwrap();
        let (lines, lost) = following.round(&request(9)).unwrap();
        assert_eq!((texts(&lines), lost), (vec!["begun".to_owned()], false));
        assert!(lines[0].seen && lines[0].micros.is_some());
    }

    #[test]
    fn who_follows_gets_every_line_once_while_files_are_rotated_and_appear() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web-d1.log");
        let mut log = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        writeln!(log, "before").unwrap();
        let (before, mut following) = super::before(dir.path(), &request(9)).unwrap();
        assert_eq!(texts(&before.lines), ["before"]);
        let rotation = Rotation { max_size: 8192, keep: 20 };
        let (mut written, mut seen) = (Vec::new(), Vec::new());
        for round in 0..4 {
            for number in 0..300 {
                let line = format!("line {round}-{number} of a program that talks a lot about itself");
                writeln!(log, "{line}").unwrap();
                written.push(line);
            }
            // In odd rounds nothing was read between writing and rotation.
            if round % 2 == 0 {
                seen.extend(texts(&following.round(&request(9)).unwrap().0));
            }
            assert_ne!(rotate(&path, rotation).unwrap(), Rotated::NotNeeded);
            // Until a part is settled nothing is read.
            let end = std::time::Instant::now() + Duration::from_secs(10);
            while seen.len() < written.len() {
                assert!(std::time::Instant::now() < end, "{} of {}", seen.len(), written.len());
                let (lines, lost) = following.round(&request(9)).unwrap();
                assert!(!lost);
                seen.extend(texts(&lines));
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        assert_eq!(seen, written);
        fs::write(dir.path().join("web-d2.log"), "another instance\n").unwrap();
        assert_eq!(texts(&following.round(&request(9)).unwrap().0), ["another instance"]);
    }
}
