//! Runs one phase, tells what happens, a line for each thing, and can kill itself at any of them. For tests, which cannot kill a
//! part of themselves.
//!
//! `migrate-once ADDRESS FOLDER PHASE [KEY=VALUE]...`: `kill-at=N` is SIGKILL at the Nth thing that is told, `lease-ms`, `batch-ms`,
//! `share`, `wait-ms` (for the lock), `reconnect-ms`, `by`, `password-file`.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use handover_schema::{Address, Control, Job, Limits, PasswordSource, SchemaPhase, Scripts, Target, run};

fn main() -> ExitCode {
    // Whatever anybody logs, when a test wants to see it.
    if std::env::var_os("RUST_LOG").is_some() {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
        tracing::trace!("everything is logged");
    }
    match migrate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn migrate() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, folder, phase, rest @ ..] = arguments.as_slice() else {
        return Err("ADDRESS FOLDER PHASE".to_owned());
    };
    let options: BTreeMap<&str, &str> = rest.iter().filter_map(|pair| pair.split_once('=')).collect();
    let number = |key: &str| {
        options
            .get(key)
            .map(|value| value.parse::<u64>().map_err(|error| format!("{key}: {error}")))
            .transpose()
    };
    let address: Address = address.parse().map_err(|error| format!("{error}"))?;
    let scripts = Scripts::read(address.kind(), folder.as_ref()).map_err(|error| error.to_string())?;
    let phase = SchemaPhase::named(phase).ok_or("no phase")?;
    let mut limits = Limits { pause: Duration::from_millis(50), ..Limits::default() };
    for (key, place) in [
        ("lease-ms", &mut limits.lease),
        ("wait-ms", &mut limits.wait_for_lock),
        ("reconnect-ms", &mut limits.reconnect),
        ("batch-ms", &mut limits.throttle.batch),
    ] {
        if let Some(ms) = number(key)? {
            *place = Duration::from_millis(ms);
        }
    }
    if let Some(share) = number("share")? {
        limits.throttle.share = u8::try_from(share).map_err(|error| error.to_string())?;
    }
    let password =
        options.get("password-file").map_or(PasswordSource::None, |path| PasswordSource::File(path.into()));
    let target = Target { address, password, credentials: None, schema: None };
    let by = options.get("by").copied().unwrap_or("test");
    let job = Job {
        target: &target,
        service: "shop",
        by,
        deployment: "7",
        phase,
        scripts: &scripts,
        readers: &[],
        limits: &limits,
        programs: None,
    };
    let kill_at = number("kill-at")?;
    let mut told = 0;
    let mut listener = |progress: handover_schema::Progress| {
        told += 1;
        println!("{told} {progress}");
        let _ = std::io::stdout().flush();
        if Some(told) == kill_at {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let outcome =
        runtime.block_on(run(&job, &Control::new(), &mut listener)).map_err(|error| error.chain())?;
    println!("done: version {}", outcome.to);
    Ok(())
}
