//! `handover lock`, `unlock`: keeping other operators from changing a service for a time.

use super::{connection::Connection, error::CliError, exit, json, target::Sent, time};
use handover_model::language::seconds;
use handover_proto::v1::{Lock, LockRequest, LockResponse, UnlockRequest};

/// Keep other operators from changing a service.
///
/// While it is locked, others are refused to deploy, roll back, abort, pause, resume and retry (exit code 6), unless
/// they take the lock over, with a reason. A lock ends by itself.
#[derive(Debug, clap::Args)]
pub(super) struct LockArgs {
    #[command(flatten)]
    what: What,
    /// When it ends by itself; at most 7d.
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = seconds)]
    lease: u64,
    #[command(flatten)]
    sent: Sent,
}

/// Take a lock away.
#[derive(Debug, clap::Args)]
pub(super) struct UnlockArgs {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    sent: Sent,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// The service.
    service: Option<String>,
    /// The whole fleet: every service.
    #[arg(long)]
    fleet: bool,
}

pub(super) async fn lock(args: LockArgs, mut to: Connection, as_json: bool) -> Result<exit::Exit, CliError> {
    let request = LockRequest {
        service: args.what.service.unwrap_or_default(),
        reason: args.sent.why(),
        lease_seconds: args.lease,
        take_over: args.sent.take_over,
        request_id: args.sent.id(),
    };
    say(&to.client.lock(request).await?.into_inner(), as_json);
    Ok(exit::DONE)
}

pub(super) async fn unlock(
    args: UnlockArgs,
    mut to: Connection,
    as_json: bool,
) -> Result<exit::Exit, CliError> {
    let request = UnlockRequest {
        service: args.what.service.unwrap_or_default(),
        take_over: args.sent.take_over,
        reason: args.sent.why(),
        request_id: args.sent.id(),
    };
    say(&to.client.unlock(request).await?.into_inner(), as_json);
    Ok(exit::DONE)
}

fn say(answer: &LockResponse, as_json: bool) {
    if as_json {
        println!("{}", json::lock_answer(answer));
        return;
    }
    match &answer.lock {
        Some(lock) => println!("{}: {}", answer.answer, line(lock, time::now())),
        None => println!("{}", answer.answer),
    }
}

/// A lock in a line.
pub(super) fn line(lock: &Lock, now: u64) -> String {
    let left = time::span(lock.until_unix_millis.saturating_sub(now));
    let taken = match lock.taken_from.as_str() {
        "" => String::new(),
        from => format!(", taken over from {from} ({})", lock.taken_reason),
    };
    format!("locked by {} for {left} more: {}{taken}", lock.owner, lock.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_says_whose_it_is_until_when_why_and_whose_it_was() {
        let mut lock = Lock {
            owner: "ada".into(),
            reason: "schema work".into(),
            until_unix_millis: 3_600_000,
            ..Lock::default()
        };
        assert_eq!(line(&lock, 0), "locked by ada for 1h00m more: schema work");
        (lock.taken_from, lock.taken_reason) = ("bob".into(), "lunch".into());
        assert_eq!(line(&lock, 0), "locked by ada for 1h00m more: schema work, taken over from bob (lunch)");
    }
}
