//! Point 5: going to the release and back was rehearsed, or done, and how long it took.

use super::{
    super::{
        records::{Ending, Purpose},
        refusal::{moment, seconds},
        rehearsals::{FlipRecord, RehearsalRecord},
    },
    Grade::{Fail, Warn},
    LessonRecord, Point, Subject,
    facts::Facts,
};
use handover_model::{DeploymentId, Version};

pub(super) fn point(facts: &Facts<'_>) -> Point {
    let point = Point::new(Subject::Rollback);
    let (service, version) = (&facts.release.service, &facts.release.version);
    let Some(current) = facts.current else {
        return point.tell("there is no release yet that could be gone back to");
    };
    if current == version {
        return point.tell(format!("{version} is the current release"));
    }
    let rehearse = format!("rehearse it: `handover rehearse {service} --release {version}`");
    let newest = facts.rehearsals.first();
    let good = facts.rehearsals.iter().find(|(_, record)| record.succeeded());
    let went = facts.lessons.iter().find(|(_, lesson)| went_back(lesson, current, version));
    let point = match (&facts.not_rehearsed, good) {
        (Some(why), _) => {
            let line =
                format!("the manifest asks for a rehearsal from {current} to {version} and back: {why}");
            point.find(Fail, line, rehearse)
        }
        (None, Some((id, record))) => match newest {
            Some((later, failed)) if later != id && failed.not_well => point.find(
                Fail,
                format!(
                    "the last rehearsal, {later}, failed: {}; before it, {}",
                    failed.reason,
                    told(*id, record, facts)
                ),
                rehearse,
            ),
            _ => point.tell(told(*id, record, facts)),
        },
        (None, None) => match (newest, went) {
            (Some((id, failed)), _) => {
                let grade = if failed.not_well { Fail } else { Warn };
                point.find(grade, format!("the last rehearsal, {id}, failed: {}", failed.reason), rehearse)
            }
            (None, Some(_)) => point,
            (None, None) => {
                let line =
                    format!("going from {current} to {version} and back was neither rehearsed nor done");
                point.find(Warn, line, rehearse)
            }
        },
    };
    match went {
        Some((id, lesson)) => point.tell(done(*id, lesson)),
        None => point,
    }
}

/// When it was rehearsed and what it took.
fn told(id: DeploymentId, record: &RehearsalRecord, facts: &Facts<'_>) -> String {
    let ended = record.ended.unwrap_or(record.began);
    format!(
        "rehearsed in {id} on {}, from {} to {} and back, {} ago ({}): flip {}, flip back {}",
        record.host,
        record.from,
        record.to,
        seconds(facts.now.since(ended)),
        moment(ended),
        took(record.forward.as_ref()),
        took(record.back.as_ref())
    )
}

/// How long a flip took.
fn took(flip: Option<&FlipRecord>) -> String {
    let Some(FlipRecord { ordered, reported, nanos }) = flip else { return "not seen".to_owned() };
    let reported = match reported {
        Some(reported) => format!("reported after {} ms", reported.since(*ordered).as_millis()),
        None => "not reported".to_owned(),
    };
    match nanos {
        Some(nanos) => format!("{} \u{b5}s on the host, {reported}", nanos.div_ceil(1000)),
        None => reported,
    }
}

/// Whether a deployment went back from the release to the current one with clients on it.
fn went_back(lesson: &LessonRecord, current: &Version, release: &Version) -> bool {
    let ended = lesson.ended.map(|(_, ending)| ending);
    match lesson.purpose {
        Purpose::Release | Purpose::NamedHosts => {
            lesson.version == *release
                && lesson.from.as_ref() == Some(current)
                && lesson.served
                && ended == Some(Ending::RolledBack)
        }
        Purpose::Rollback => {
            lesson.version == *current
                && lesson.from.as_ref() == Some(release)
                && ended == Some(Ending::Succeeded)
        }
        Purpose::CatchUp | Purpose::Rehearsal | Purpose::Migration => false,
    }
}

/// A way back that was gone, and how long that took.
fn done(id: DeploymentId, lesson: &LessonRecord) -> String {
    let ended = lesson.ended.map_or(lesson.began, |(at, _)| at);
    let from = lesson.from.as_ref().map(ToString::to_string).unwrap_or_default();
    let (what, began) = match lesson.purpose {
        Purpose::Rollback => (format!("{id} rolled {from} back to {}", lesson.version), lesson.began),
        Purpose::Release
        | Purpose::NamedHosts
        | Purpose::CatchUp
        | Purpose::Rehearsal
        | Purpose::Migration => {
            let what = format!("{id} went to {} and back to {from}", lesson.version);
            (what, lesson.back_began.unwrap_or(lesson.began))
        }
    };
    format!(
        "{what} at {}: it took {} ms from the order to go back until every host had",
        moment(ended),
        ended.since(began).as_millis()
    )
}
