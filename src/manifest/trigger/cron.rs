//! `cron`.

use std::num::NonZeroU32;

use jiff::tz::TimeZone;

use super::needed;
use crate::cron::{Schedule, time_zone};
use crate::document::Node;
use crate::fields::{self, Fields, Problems};
use crate::policy::CronTrigger;

pub(super) fn read(
    fields: &mut Fields<'_>,
    metadata: &mut Fields<'_>,
    problems: &mut Problems,
) -> Option<CronTrigger> {
    if let Some(node) = fields.take("authenticationRef") {
        let message = "ignored: a cron trigger reads nothing";
        problems.warning(node.position, &fields.path("authenticationRef"), message);
    }
    let allowed = "a name of the IANA time zone database, such as Europe/Berlin";
    let timezone = needed(metadata, "timezone", allowed, problems);
    let zone = timezone.and_then(|node| {
        let name = fields::text(node, &metadata.path("timezone"), problems)?;
        let zone = time_zone(&name);
        let zone = zone.map_err(|error| {
            problems.error(node.position, &metadata.path("timezone"), error.to_string());
        });
        Some((zone.ok()?, name))
    });
    // Without a zone the mistakes of the schedules are told all the same.
    let used = zone
        .as_ref()
        .map_or(TimeZone::UTC, |(zone, _)| zone.clone());
    let start = read_schedule(metadata, "start", &used, problems);
    let end = read_schedule(metadata, "end", &used, problems);
    let replicas = needed(
        metadata,
        "desiredReplicas",
        "a whole number above 0",
        problems,
    );
    let replicas = replicas.and_then(|node| {
        let path = metadata.path("desiredReplicas");
        let found = fields::integer(node, &path, 1..=i64::from(i32::MAX), problems)?;
        NonZeroU32::new(u32::try_from(found).ok()?)
    });
    let ((start, _), (end, end_node)) = (start?, end?);
    if start.is_same(&end) {
        let message = "the same times as `start`, allowed: others: a window that closes as it opens is never told apart";
        problems.error(end_node.position, &metadata.path("end"), message);
        return None;
    }
    let (_, timezone) = zone?;
    Some(CronTrigger {
        start,
        end,
        timezone,
        replicas: replicas?,
    })
}

fn read_schedule<'a>(
    metadata: &mut Fields<'a>,
    key: &'static str,
    zone: &TimeZone,
    problems: &mut Problems,
) -> Option<(Schedule, &'a Node)> {
    let allowed = "a cron expression such as `0 8 * * 1-5`";
    let node = needed(metadata, key, allowed, problems)?;
    let path = metadata.path(key);
    let Some(text) = node.as_text() else {
        problems.found(node, &path, allowed);
        return None;
    };
    match Schedule::parse(text, zone) {
        Ok(schedule) => Some((schedule, node)),
        Err(error) => {
            let found = node.describe();
            problems.error(node.position, &path, format!("found {found}: {error}"));
            None
        }
    }
}
