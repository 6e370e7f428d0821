//! `handover preflight`: the five points that are looked at before a release is deployed.

use super::{connection::Connection, error::CliError, exit, json};
use handover_proto::v1::{GetPreflightRequest, Preflight, PreflightPoint};

/// Look at the five points of a release before it is deployed: readiness, compatibility, schema, draining, rollback.
///
/// Each is pass, warn or fail, with what was seen and what to do. Nothing is changed. The exit code is 6 where one fails or
/// refuses a deployment. `handover deploy` looks at the same; the manifest's [preflight] says what refuses it.
#[derive(Debug, clap::Args)]
pub(super) struct PreflightArgs {
    /// The service.
    service: String,
    /// The release; the newest where it is left out.
    #[arg(long, visible_alias = "version", value_name = "VERSION")]
    release: Option<String>,
}

pub(super) async fn run(
    args: PreflightArgs,
    mut to: Connection,
    as_json: bool,
) -> Result<exit::Exit, CliError> {
    let request = GetPreflightRequest { service: args.service, version: args.release.unwrap_or_default() };
    let preflight = to.client.get_preflight(request).await?.into_inner();
    if as_json {
        println!("{}", json::preflight(&preflight));
    } else {
        lines(&preflight).iter().for_each(|line| println!("{line}"));
    }
    let bad = preflight.points.iter().any(|point| point.grade == "fail" || point.stops);
    Ok(if bad { exit::REFUSED } else { exit::DONE })
}

/// All of it.
fn lines(preflight: &Preflight) -> Vec<String> {
    let Preflight { service, version, current_version, points } = preflight;
    let now = match current_version.as_str() {
        "" => "the first release of the service".to_owned(),
        current if current == version => "the current release".to_owned(),
        current => format!("the current release is {current}"),
    };
    let mut lines = vec![format!("preflight of {service} {version}: {now}")];
    for point in points {
        let stops = if point.stops { ", and refuses a deployment" } else { "" };
        lines.push(format!("{} {}: {}{stops}", point.number, point.name, point.grade));
        lines.extend(point.evidence.iter().map(|line| format!("    {line}")));
        lines.extend(point.advice.iter().map(|line| format!("    to do: {line}")));
    }
    lines
}

/// A few lines before a plan: what passes in one of them.
pub(super) fn brief(preflight: &Preflight) -> Vec<String> {
    let name = |point: &PreflightPoint| format!("{} {}", point.number, point.name);
    let (good, bad): (Vec<_>, Vec<_>) = preflight.points.iter().partition(|point| point.grade == "pass");
    let good: Vec<String> = good.into_iter().map(name).collect();
    let mut lines = vec![match good.is_empty() {
        true => "preflight: nothing passes".to_owned(),
        false => format!("preflight: pass: {}", good.join(", ")),
    }];
    for point in &bad {
        let stops = if point.stops { " (refuses the deployment)" } else { "" };
        let line = point.evidence.first().map(String::as_str).unwrap_or_default();
        lines.push(format!("  {}{stops}: {}: {line}", point.grade, name(point)));
    }
    if !bad.is_empty() {
        let Preflight { service, version, .. } = preflight;
        lines.push(format!("  `handover preflight {service} --release {version}` tells what to do"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(number: u32, name: &str, grade: &str, advice: &[&str]) -> PreflightPoint {
        PreflightPoint {
            number,
            name: name.into(),
            grade: grade.into(),
            evidence: vec![format!("{name} was seen"), "and more".into()],
            advice: advice.iter().map(|line| (*line).into()).collect(),
            stops: grade == "fail",
        }
    }

    fn preflight() -> Preflight {
        Preflight {
            service: "web".into(),
            version: "2".into(),
            current_version: "1".into(),
            points: vec![
                point(1, "readiness", "pass", &[]),
                point(2, "compatibility", "fail", &["deploy another"]),
                point(3, "schema", "pass", &[]),
                point(5, "rollback", "warn", &["rehearse it"]),
            ],
        }
    }

    #[test]
    fn each_point_tells_how_it_stands_what_was_seen_and_what_to_do() {
        let shown = lines(&preflight());
        assert_eq!(
            shown[..7],
            [
                "preflight of web 2: the current release is 1",
                "1 readiness: pass",
                "    readiness was seen",
                "    and more",
                "2 compatibility: fail, and refuses a deployment",
                "    compatibility was seen",
                "    and more",
            ]
        );
        assert_eq!(shown[7], "    to do: deploy another");
        let current =
            |version: &str| lines(&Preflight { current_version: version.into(), ..preflight() })[0].clone();
        assert_eq!(current(""), "preflight of web 2: the first release of the service");
        assert_eq!(current("2"), "preflight of web 2: the current release");
    }

    #[test]
    fn before_a_plan_what_passes_takes_one_line() {
        assert_eq!(
            brief(&preflight()),
            [
                "preflight: pass: 1 readiness, 3 schema",
                "  fail (refuses the deployment): 2 compatibility: compatibility was seen",
                "  warn: 5 rollback: rollback was seen",
                "  `handover preflight web --release 2` tells what to do",
            ]
        );
        let all = Preflight { points: vec![point(1, "readiness", "pass", &[])], ..preflight() };
        assert_eq!(brief(&all), ["preflight: pass: 1 readiness"]);
    }
}
