//! `handover freeze`, `unfreeze`: times in which nothing new is deployed.

use super::{connection::Connection, error::CliError, exit, json, target::Sent, time};
use handover_model::language::seconds;
use handover_proto::v1::{Freeze, FreezeRequest, ListFreezesRequest, UnfreezeRequest};

/// Let nothing new be deployed to a service, or to the fleet, for a time; without one, list the freezes.
///
/// Deployments are refused meanwhile (exit code 6), unless they are begun with --override-freeze and a reason, which goes
/// into the audit. A rollback always goes, and so does what was begun before.
#[derive(Debug, clap::Args)]
pub(super) struct FreezeArgs {
    /// The service.
    #[arg(conflicts_with = "fleet", requires = "reason")]
    service: Option<String>,
    /// The whole fleet: every service.
    #[arg(long, requires = "reason")]
    fleet: bool,
    /// When it begins, such as "2026-12-24 18:00" (local time) or 2026-12-24T17:00:00Z; now where it is left out.
    #[arg(long, value_name = "TIME", value_parser = time::parse_moment)]
    from: Option<u64>,
    /// When it ends; when somebody ends it, where neither this nor --for is given.
    #[arg(long, value_name = "TIME", value_parser = time::parse_moment, conflicts_with = "lasts")]
    until: Option<u64>,
    /// How long it lasts, such as 3d.
    #[arg(id = "lasts", long = "for", value_name = "TIME", value_parser = seconds)]
    lasts: Option<u64>,
    /// Why; whoever is refused sees it.
    #[arg(long, value_name = "WHY")]
    reason: Option<String>,
    /// Name the request: sent twice under one name it is done once, and answered as the first time.
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

/// End a freeze.
#[derive(Debug, clap::Args)]
pub(super) struct UnfreezeArgs {
    /// Its number, such as f3; `handover freeze` lists all.
    #[arg(value_parser = number)]
    freeze: u64,
}

pub(super) async fn freeze(
    args: FreezeArgs,
    mut to: Connection,
    as_json: bool,
) -> Result<exit::Exit, CliError> {
    if args.service.is_none() && !args.fleet {
        return list(&mut to, as_json).await;
    }
    let begins = args.from.unwrap_or_else(time::now);
    let until = args.until.or_else(|| Some(begins.saturating_add(args.lasts?.saturating_mul(1000))));
    let sent = Sent { request_id: args.request_id, take_over: false, reason: args.reason };
    let request = FreezeRequest {
        service: args.service.unwrap_or_default(),
        reason: sent.why(),
        from_unix_millis: args.from.unwrap_or_default(),
        until_unix_millis: until.unwrap_or_default(),
        request_id: sent.id(),
    };
    say(&to.client.freeze(request).await?.into_inner().answer, as_json);
    Ok(exit::DONE)
}

pub(super) async fn unfreeze(
    args: UnfreezeArgs,
    mut to: Connection,
    as_json: bool,
) -> Result<exit::Exit, CliError> {
    let request = UnfreezeRequest { number: args.freeze };
    say(&to.client.unfreeze(request).await?.into_inner().answer, as_json);
    Ok(exit::DONE)
}

async fn list(to: &mut Connection, as_json: bool) -> Result<exit::Exit, CliError> {
    let freezes = to.client.list_freezes(ListFreezesRequest {}).await?.into_inner().freezes;
    for freeze in &freezes {
        match as_json {
            true => println!("{}", json::freeze(freeze)),
            false => println!("{}", line(freeze, time::now())),
        }
    }
    if freezes.is_empty() && !as_json {
        println!("nothing is frozen");
    }
    Ok(exit::DONE)
}

fn say(answer: &str, as_json: bool) {
    match as_json {
        true => println!("{}", serde_json::json!({ "answer": answer })),
        false => println!("{answer}"),
    }
}

/// A freeze in a line.
pub(super) fn line(freeze: &Freeze, now: u64) -> String {
    let what = match freeze.service.as_str() {
        "" => "the fleet".to_owned(),
        service => format!("service {service}"),
    };
    let begins = match freeze.from_unix_millis {
        from if from > now => format!("will be frozen from {}", time::moment(from)),
        _ => "is frozen".to_owned(),
    };
    let ends = match freeze.until_unix_millis {
        0 => String::new(),
        until => format!(" until {}", time::moment(until)),
    };
    format!("f{}: {what} {begins}{ends} by {}: {}", freeze.number, freeze.by, freeze.reason)
}

/// `f3`, or `3`.
fn number(text: &str) -> Result<u64, String> {
    let number = text.strip_prefix('f').unwrap_or(text).parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "expected the number of a freeze, such as f3".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freeze_says_what_when_by_whom_and_why() {
        let mut freeze = Freeze {
            number: 3,
            by: "ada".to_owned(),
            reason: "the sales".to_owned(),
            from_unix_millis: 1,
            ..Freeze::default()
        };
        assert_eq!(line(&freeze, 5), "f3: the fleet is frozen by ada: the sales");
        freeze.service = "shop".to_owned();
        assert!(line(&freeze, 0).starts_with("f3: service shop will be frozen from 1970-01-01"));
        assert_eq!((number("f3"), number("3")), (Ok(3), Ok(3)));
        assert!(number("f0").is_err() && number("x").is_err());
    }
}
