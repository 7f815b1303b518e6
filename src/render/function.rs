//! The templates of the account that the function runs in.

use super::base::{BaseError, Fill, Words, fill, replaced};
use super::environment::Environment;
use super::needs::{Alarm, Needs, Place, UsedCluster};
use super::text::{fitting, logical, statements};
use super::{RenderError, Request};
use crate::yaml::scalar;

const TEMPLATE: &str = include_str!("../../infra/template.yaml");
const ACCESS: &str = include_str!("../../infra/access.yaml");
const WIRING: &str = include_str!("../../infra/wiring.yaml");

/// Permissions of single alarms up to which the function's policy of 20 KB takes them, at up to 800 bytes each with the longest names
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>). More share one, by their names.
pub(super) const MAX_PERMISSIONS: usize = 23;

/// How the ARNs of the queues' alarms begin: CloudFormation calls an alarm after its stack and its logical id.
const ALARMS: &str = "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:${AWS::StackName}-QueueAlarm";

/// The templates `template.yaml`, `access.yaml` and `wiring.yaml`, in this order.
pub(super) fn templates(
    request: &Request<'_>,
    needs: &Needs,
    environment: &Environment,
) -> Result<[String; 3], RenderError> {
    let rights = statements(&needs.own, needs.roles.keys());
    // The other statements of the function's own role have up to 2,500.
    let who = "the function's own role";
    fitting(who, &needs.own, &rights, 2_500)?;
    let entries = entries(request, needs);
    let mut access = vec![
        ("given", nothing()),
        ("rights", Fill::Text(rights)),
        ("access entry", kept(!entries.is_empty())),
    ];
    if !entries.is_empty() {
        access.push(("each entry", Fill::Each(entries)));
    }
    let wiring = wiring(request, needs);
    let template: Vec<_> = function(request, environment)
        .into_iter()
        .chain(access.iter().cloned())
        .chain(wiring.iter().filter(|(name, _)| *name != "given").cloned())
        .collect();
    let seconds = request.settings.window_seconds.get();
    let intervals = request.targets.iter();
    let intervals = intervals.map(|target| target.policy.polling_seconds.get());
    let failing = failing_period(seconds, intervals.max().unwrap_or_default());
    Ok([
        windowed(
            "template.yaml",
            &fill(TEMPLATE, &template)?,
            seconds,
            failing,
        )?,
        fill(ACCESS, &access)?,
        windowed("wiring.yaml", &fill(WIRING, &wiring)?, seconds, failing)?,
    ])
}

/// The period of the alarm on failures, in seconds. Whatever fails does so in each period, so that 2 of 2 fire, and one failure alone
/// is in one of them.
///
/// A target that rests is polled in the windows in which another interval begins, so every `window · ⌈interval / window⌉` seconds at
/// the latest. A schedule fires at any moment of its minute, so that two such polls may be a minute further apart. With a window of
/// 60 s and an interval of 300 s the period is 360 s. CloudWatch takes whole minutes.
pub(super) fn failing_period(window: u32, interval: u32) -> u32 {
    /// Long enough that what passes by itself tells nobody.
    const SHORTEST: u32 = 300;
    /// An alarm looks back a week, so two periods are a week at most; targets that are polled more seldom have no alarm to rely on.
    /// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html>
    const LONGEST: u32 = 302_400;
    let between = interval
        .div_ceil(window.max(1))
        .max(1)
        .saturating_mul(window);
    between.saturating_add(60).clamp(SHORTEST, LONGEST)
}

/// The queues whose alarms can wake the function: an alarm sees the metrics of its own account and acts in its own region.
pub(super) fn alarmed<'n>(
    request: &Request<'_>,
    needs: &'n Needs,
) -> impl Iterator<Item = (&'n Place, &'n Alarm)> {
    let region = request.region.to_owned();
    let queues = needs.queues.iter();
    let queues = queues.filter_map(|(place, alarm)| Some((place, alarm.as_ref()?)));
    let near = move |(place, _): &(&Place, &Alarm)| {
        place.region == region && needs.is_own(place.account.as_deref())
    };
    queues.filter(near)
}

/// Whether the entry of a cluster belongs into the function's own stack.
pub(super) fn is_entered_here(request: &Request<'_>, needs: &Needs, used: &UsedCluster) -> bool {
    let UsedCluster { place, role } = used;
    role.is_none() && place.region == request.region && needs.is_own(place.account.as_deref())
}

fn nothing() -> Fill {
    Fill::Text(String::new())
}

fn kept(keep: bool) -> Fill {
    if keep { Fill::Keep } else { nothing() }
}

/// An access entry for each cluster of this account and region that the function's own role signs in to.
fn entries(request: &Request<'_>, needs: &Needs) -> Vec<Words> {
    let clusters = needs.clusters.values();
    let here = clusters.filter(|used| is_entered_here(request, needs, used));
    here.map(|used| {
        let name = &used.place.name;
        vec![
            ("  AccessEntry:", format!("  AccessEntry{}:", logical(name))),
            ("!Ref ClusterName", scalar(name)),
        ]
    })
    .collect()
}

/// The function itself. Its settings are literals: a parameter would keep, in a stack that is there, the value of the first deployment.
fn function(request: &Request<'_>, environment: &Environment) -> Vec<(&'static str, Fill)> {
    let revision = "Description: Anything that was not there before, such as a commit, publishes a version. Needed where SubnetIds, \
                    SecurityGroupIds or KmsKeyArn change and nothing else does; all other changes publish one by themselves.";
    let version =
        "VersionDescription: !Sub revision ${Revision}, ${Architecture}, ${MemorySize} MB";
    vec![
        (
            "package",
            Fill::Text(format!("CodeUri: {}", scalar(request.package))),
        ),
        ("revision", Fill::Text(revision.to_owned())),
        ("version", Fill::Text(version.to_owned())),
        ("environment", Fill::Text(environment.yaml())),
    ]
}

/// The window in place of the parameter that has gone, and what the mapping says of it.
fn windowed(
    name: &'static str,
    text: &str,
    seconds: u32,
    failing: u32,
) -> Result<String, BaseError> {
    let rate = match seconds / 60 {
        1 => "rate(1 minute)".to_owned(),
        minutes => format!("rate({minutes} minutes)"),
    };
    let mut words = vec![
        ("!FindInMap [Windows, !Ref Window, Rate]", rate),
        (
            "!FindInMap [Windows, !Ref Window, FailingPeriod]",
            failing.to_string(),
        ),
        ("!Ref Window", seconds.to_string()),
    ];
    if name == "template.yaml" {
        let timeout = (seconds + 15).to_string();
        words.insert(0, ("!FindInMap [Windows, !Ref Window, Timeout]", timeout));
    }
    replaced(name, text, &words)
}

/// The schedule, and an alarm for each queue.
fn wiring(request: &Request<'_>, needs: &Needs) -> Vec<(&'static str, Fill)> {
    let alarmed: Vec<(&Place, &Alarm)> = alarmed(request, needs).collect();
    let mut fills = vec![
        ("given", nothing()),
        ("wake", kept(!alarmed.is_empty())),
        ("dashboard", Fill::Text(dashboard(&alarmed))),
    ];
    if alarmed.is_empty() {
        fills.push(("wake conditions", nothing()));
        return fills;
    }
    let conditions = vec![
        ("!And [!Condition HasQueueAlarm, ", String::new()),
        ("]]", "]".to_owned()),
    ];
    let alarms = alarmed
        .iter()
        .map(|(place, alarm)| alarm_words(place, alarm));
    // An event pattern has room for a few ARNs only.
    let pattern = format!("resources: [{{prefix: !Sub '{ALARMS}'}}]");
    fills.extend([
        ("wake conditions", Fill::Each(vec![conditions])),
        ("alarms", Fill::Text(pattern)),
        ("each alarm", Fill::Each(alarms.collect())),
        ("each alarm permission", Fill::Each(permissions(&alarmed))),
    ]);
    fills
}

fn alarm_words(place: &Place, alarm: &Alarm) -> Words {
    let (id, name) = (logical(&place.name), &place.name);
    let Alarm { depth, why } = alarm;
    let messages = if *depth == 1 { "message" } else { "messages" };
    let description =
        format!("Wakes Outrigger for the queue {name} from {depth} {messages} on: {why}");
    vec![
        ("  QueueAlarm:", format!("  QueueAlarm{id}:")),
        ("    Condition: HasQueueAlarm", String::new()),
        (
            "!Sub Wakes Outrigger for the queue ${QueueName}",
            scalar(&description),
        ),
        ("!Ref QueueName", scalar(name)),
        ("!Ref QueueDepth", depth.to_string()),
    ]
}

fn permissions(alarmed: &[(&Place, &Alarm)]) -> Vec<Words> {
    if alarmed.len() > MAX_PERMISSIONS {
        return vec![vec![("!GetAtt QueueAlarm.Arn", format!("!Sub {ALARMS}*"))]];
    }
    let permission = |(place, _): &(&Place, &Alarm)| {
        let id = logical(&place.name);
        vec![
            (
                "  QueueAlarmPermission:",
                format!("  QueueAlarm{id}Permission:"),
            ),
            ("QueueAlarm.Arn", format!("QueueAlarm{id}.Arn")),
        ]
    };
    alarmed.iter().map(permission).collect()
}

/// The depths of the queues in the dashboard, before the metric that comes last. A graph takes 500 metrics, an eye fewer.
fn dashboard(alarmed: &[(&Place, &Alarm)]) -> String {
    let lines = alarmed.iter().take(50).map(|(place, _)| {
        format!(
            "[\"AWS/SQS\", \"ApproximateNumberOfMessagesVisible\", \"QueueName\", \"{}\"],",
            place.name
        )
    });
    let lines: Vec<String> = lines.collect();
    format!("- OfQueue: '{}'", lines.join(" "))
}

impl From<BaseError> for RenderError {
    fn from(error: BaseError) -> Self {
        Self::Base(error)
    }
}
