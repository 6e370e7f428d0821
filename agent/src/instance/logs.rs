//! Where the output of instances goes, and its last lines for error messages.
//!
//! The launcher opens the sink and the program writes to it by itself: an agent that stops, hangs or is replaced
//! neither blocks nor loses a line.

use super::spec::LogSink;
use rustix::net::{
    AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, connect, shutdown, socket_with,
};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

/// journald's socket for whole streams.
pub const JOURNALD_SOCKET: &str = "/run/systemd/journal/stdout";
/// syslog's "info": what lines without a prefix of their own get.
const PRIORITY_INFO: u8 = 6;

/// Whether journald listens here. What `to = "auto"` asks.
#[must_use]
pub fn journald_is_there() -> bool {
    use std::os::unix::fs::FileTypeExt;
    fs::metadata(JOURNALD_SOCKET).is_ok_and(|found| found.file_type().is_socket())
}

/// The sink to journald for an instance: found with `journalctl -t SERVICE`. The unit is one that journald shows only
/// for a program that is in no unit's cgroup (client_context_read_cgroup in its journald-context.c).
#[must_use]
pub fn journald_sink(service: &str, instance: &str) -> LogSink {
    LogSink::Journald {
        socket: JOURNALD_SOCKET.into(),
        identifier: service.to_owned(),
        unit: format!("handover-{instance}.service"),
    }
}

/// The file of an instance: `<log dir>/<service>/<instance>.log`.
#[must_use]
pub fn file_of(log_dir: &Path, service: &str, instance: &str) -> PathBuf {
    log_dir.join(service).join(format!("{instance}.log"))
}

/// The sink to [`file_of`] an instance; makes the folder, readable by owner and group.
///
/// # Errors
/// When the folder cannot be made.
pub fn file_sink(log_dir: &Path, service: &str, instance: &str) -> io::Result<LogSink> {
    let path = file_of(log_dir, service, instance);
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
    }
    Ok(LogSink::File { path })
}

/// For the launcher: the file, appended to. Appending is what makes rotation possible beneath a writer.
pub(super) fn open_file(path: &Path) -> io::Result<OwnedFd> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NOCTTY);
    Ok(options.open(path)?.into())
}

/// For the launcher: a stream to journald, with the header that journald-stream.c of systemd reads.
pub(super) fn open_journald(socket: &Path, identifier: &str, unit: &str) -> io::Result<OwnedFd> {
    let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    connect(&stream, &SocketAddrUnix::new(socket)?)?;
    shutdown(&stream, Shutdown::Read)?;
    // Seven lines: identifier, unit, priority, whether lines may begin with a level ("<3>"), and whether to forward
    // to syslog, the kernel's log and the console.
    let one_line = |text: &str| text.replace(['\n', '\0'], " ");
    let header = format!("{}\n{}\n{PRIORITY_INFO}\n1\n0\n0\n0\n", one_line(identifier), one_line(unit));
    let mut stream = File::from(stream);
    stream.write_all(header.as_bytes())?;
    Ok(stream.into())
}

/// The last `lines` lines of a log file, at most `max_bytes` of them, the oldest first; of a file that was rotated a
/// moment ago also from before. Control characters are escaped: a program must not write to an operator's terminal.
/// A line that is cut by the bound begins with an ellipsis. A file that is not there has no lines.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn tail(path: &Path, lines: usize, max_bytes: usize) -> io::Result<Vec<String>> {
    let mut text = last_bytes(path, max_bytes)?;
    let room = max_bytes.saturating_sub(text.len());
    if room > 0 {
        let mut before = last_bytes(&super::rotate::generation(path, 1), room)?;
        before.append(&mut text);
        text = before;
    }
    let cut = text.len() >= max_bytes;
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let all: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
    let from = all.len().saturating_sub(lines);
    let mut tail: Vec<String> =
        all[from..].iter().map(|line| escape(&String::from_utf8_lossy(line))).collect();
    if let (true, 0, Some(first)) = (cut, from, tail.first_mut()) {
        first.insert(0, '…');
    }
    Ok(tail)
}

fn last_bytes(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let most = most as u64;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Text of a program, safe to print: control characters are written as `\n`, `\u{1b}` and the like.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => escaped.push(' '),
            // Overrides of the writing direction can turn a line into another one.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => escaped.extend(character.escape_unicode()),
            control if control.is_control() => escaped.extend(control.escape_default()),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{BufRead, BufReader},
        os::unix::net::UnixListener,
    };

    #[test]
    fn the_tail_is_bounded_and_escaped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        assert!(tail(&path, 3, 100).unwrap().is_empty());
        fs::write(&path, "one\ntwo\n\u{1b}[31mred\u{202e}\n").unwrap();
        assert_eq!(tail(&path, 2, 100).unwrap(), ["two", "\\u{1b}[31mred\\u{202e}"]);
        assert_eq!(tail(&path, 5, 12).unwrap().first().map(String::as_str), Some("…\\u{1b}[31mred\\u{202e}"));
    }

    #[test]
    fn the_tail_reaches_into_the_file_rotated_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        fs::write(dir.path().join("a.log.1"), "one\ntw").unwrap();
        fs::write(&path, "o\nthree\n").unwrap();
        assert_eq!(tail(&path, 2, 100).unwrap(), ["two", "three"]);
    }

    #[test]
    fn journald_gets_its_header_and_then_the_lines() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("stdout");
        let listener = UnixListener::bind(&socket).unwrap();
        let mut stream = File::from(open_journald(&socket, "web\nforged", "handover-web-1.service").unwrap());
        stream.write_all(b"hello\n").unwrap();
        drop(stream);
        let (accepted, _) = listener.accept().unwrap();
        accepted.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        let lines: Vec<String> = BufReader::new(accepted).lines().map(Result::unwrap).collect();
        assert_eq!(lines, ["web forged", "handover-web-1.service", "6", "1", "0", "0", "0", "hello"]);
    }
}
