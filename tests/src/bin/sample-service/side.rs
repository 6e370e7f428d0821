//! What the service does beside answering: printing, children, notifications, a worker's work.

use crate::{flags::Flags, notify};
use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};
use tokio::time::{interval, sleep};

/// How long a child that "stays for ever" stays, so that a failed test leaves nothing for ever.
pub(crate) const CHILD_STAYS: Duration = Duration::from_secs(600);
/// Between two lines of a worker.
const WORK: Duration = Duration::from_millis(50);

/// Starts all of that which the flags ask for.
pub(crate) fn start(flags: &Flags) -> io::Result<()> {
    if flags.fork_child {
        fork_child()?;
    }
    if let Some(after) = flags.notify_after {
        tokio::spawn(async move {
            sleep(after).await;
            if let Err(error) = notify::ready() {
                eprintln!("sample-service: cannot tell that it is ready: {error}");
            }
        });
    }
    if let Some(after) = flags.exit_after {
        tokio::spawn(async move {
            sleep(after).await;
            eprintln!("sample-service: ends after {after:?} with code 1, as told");
            std::process::exit(1);
        });
    }
    if let Some(mebibytes) = flags.hoard {
        // Written, or the kernel would not give it.
        Box::leak(vec![1_u8; usize::from(mebibytes) << 20].into_boxed_slice());
    }
    if flags.burn {
        std::thread::spawn(|| {
            loop {
                std::hint::spin_loop();
            }
        });
    }
    if let Some(lines) = flags.print.filter(|lines| *lines > 0) {
        tokio::spawn(print(lines, flags.version.clone()));
    }
    Ok(())
}

fn fork_child() -> io::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    for name in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET"] {
        command.env_remove(name);
    }
    let child = command.args(["--child-that-stays", "--ignore-term"]).stdin(Stdio::null()).spawn()?;
    eprintln!("sample-service: started the child {}", child.id());
    Ok(())
}

async fn print(lines: u32, version: String) {
    // Not one timer tick a line: the timer's resolution is a millisecond.
    let mut tick = interval(Duration::from_millis(20).max(Duration::from_secs(1) / lines));
    let began = tokio::time::Instant::now();
    let mut printed = 0_u64;
    loop {
        tick.tick().await;
        let due = (began.elapsed().as_secs_f64() * f64::from(lines)) as u64;
        let mut out = io::stdout().lock();
        while printed < due {
            printed += 1;
            if writeln!(out, "{version} line {printed}").is_err() {
                return;
            }
        }
    }
}

/// Appends a line every 50 ms until `stop`.
pub(crate) async fn work(file: &Path, version: &str, stop: impl Future<Output = ()>) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    let mut tick = interval(WORK);
    tokio::pin!(stop);
    for n in 1_u64.. {
        tokio::select! {
            _ = tick.tick() => {}
            () = &mut stop => break,
        }
        // One write, so that the lines of two workers do not mix.
        file.write_all(format!("{version} {} {n}\n", std::process::id()).as_bytes())?;
    }
    Ok(())
}
