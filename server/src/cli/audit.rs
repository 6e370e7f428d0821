//! `handover audit`: who did what, and whether nobody changed what is written there.

use super::{connection::Connection, error::CliError, exit, json, table::Table, time};
use handover_model::language::seconds;
use handover_proto::v1::{AuditEntry, AuditHead, ListAuditRequest, VerifyAuditRequest};
use serde_json::json;

/// Who did what, the newest last.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    command: Option<Command>,
    /// Only what is not older than this: 30s, 10m, 2h, 7d.
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    since: Option<u64>,
    /// Only of this operator, host or user.
    #[arg(long, value_name = "NAME", default_value = "")]
    who: String,
    /// Only about this service.
    #[arg(long, value_name = "SERVICE", default_value = "")]
    service: String,
    /// The newest so many, 1 to 1000.
    #[arg(long, short = 'n', default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Walk the whole chain and name the first entry that was changed, removed or put elsewhere.
    Verify {
        /// An entry that you noted earlier, HASH@NUMBER: it must still be there. Only this finds an audit that was cut at
        /// its end or written anew as a whole.
        #[arg(long, value_name = "HASH@NUMBER", value_parser = noted)]
        head: Option<AuditHead>,
    },
}

fn noted(text: &str) -> Result<AuditHead, String> {
    let problem = || format!("{text:?} is no HASH@NUMBER as `handover audit` prints it");
    let (hash, number) = text.split_once('@').ok_or_else(problem)?;
    let sequence = number.parse().map_err(|_| problem())?;
    if sequence == 0 || hash.len() != 64 || !hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(problem());
    }
    Ok(AuditHead { sequence, hash: hash.to_owned() })
}

pub(super) async fn run(args: AuditArgs, to: Connection, as_json: bool) -> Result<exit::Exit, CliError> {
    match args.command {
        Some(Command::Verify { head }) => verify(head, to, as_json).await,
        None => list(args, to, as_json).await,
    }
}

async fn list(args: AuditArgs, mut to: Connection, as_json: bool) -> Result<exit::Exit, CliError> {
    let since = args.since.map_or(0, |seconds| time::now().saturating_sub(seconds.saturating_mul(1000)));
    let request = ListAuditRequest {
        since_unix_millis: since,
        who: args.who,
        service: args.service,
        limit: args.limit,
    };
    let listed = to.client.list_audit(request).await?.into_inner();
    if as_json {
        listed.entries.iter().for_each(|entry| println!("{}", json::audit_entry(entry)));
    } else {
        table(&listed.entries).print();
    }
    if listed.searched_from > 0 {
        eprintln!("entries before number {} were not searched", listed.searched_from);
    }
    if let (Some(head), false) = (listed.head, as_json) {
        println!("head {}", show(&head));
    }
    Ok(exit::DONE)
}

/// A head as `--head` takes it.
fn show(head: &AuditHead) -> String {
    format!("{}@{}", head.hash, head.sequence)
}

fn table(entries: &[AuditEntry]) -> Table {
    let mut table =
        Table::new(&["number", "when", "who", "role", "from", "what", "to", "outcome", "detail", "reason"]);
    for entry in entries {
        let count = if entry.count > 1 { format!(" ({} times)", entry.count) } else { String::new() };
        table.row([
            entry.sequence.to_string(),
            time::moment(entry.at_unix_millis),
            entry.who.clone(),
            entry.role.clone(),
            entry.from.clone(),
            entry.method.clone(),
            entry.resource.clone(),
            format!("{}{count}", entry.outcome),
            entry.detail.clone(),
            entry.reason.clone(),
        ]);
    }
    table
}

async fn verify(noted: Option<AuditHead>, mut to: Connection, as_json: bool) -> Result<exit::Exit, CliError> {
    let mut stream = to.client.verify_audit(VerifyAuditRequest { noted: noted.clone() }).await?.into_inner();
    let mut last = None;
    while let Some(progress) = stream.message().await? {
        last = Some(progress);
    }
    let Some(end) = last.filter(|progress| progress.done) else {
        return Err(CliError::Failed("the server ended before the audit was checked: try again".to_owned()));
    };
    let head = end.head.unwrap_or_default();
    if as_json {
        let broken =
            end.broken.as_ref().map(|broken| json!({"sequence": broken.sequence, "what": broken.what}));
        println!(
            "{}",
            json!({"checked": end.checked, "whole": broken.is_none(), "broken": broken,
                   "head": {"sequence": head.sequence, "hash": head.hash}})
        );
    }
    match end.broken {
        Some(broken) => {
            if !as_json {
                println!("broken at entry {}: {}", broken.sequence, broken.what);
                println!("{} entries before it are whole", end.checked);
            }
            Ok(exit::FAILED)
        }
        None => {
            if !as_json {
                println!("whole: {} entries", end.checked);
                if let Some(noted) = noted {
                    println!("the noted entry {} is among them", noted.sequence);
                }
                println!("head {}", show(&head));
            }
            Ok(exit::DONE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noted_head_is_a_hash_and_a_number() {
        let hash = "ab".repeat(32);
        let head = noted(&format!("{hash}@12")).unwrap();
        assert_eq!((head.sequence, head.hash.as_str()), (12, hash.as_str()));
        assert_eq!(show(&head), format!("{hash}@12"));
        for bad in
            ["", "@", "12@ab", &format!("{hash}@0"), &format!("{hash}@x"), &format!("{}@1", &hash[1..])]
        {
            assert!(noted(bad).is_err(), "{bad:?} was taken");
        }
    }
}
