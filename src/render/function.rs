//! The templates of the account that the function runs in.

use std::fmt::Write as _;

use super::base::{BaseError, Fill, Words, fill};
use super::needs::{Alarm, Needs, Place, UsedCluster};
use super::text::{logical, partition, statements};
use super::{RenderError, Request};
use crate::policy::Mode;
use crate::settings::{Cluster, ClusterAddress, Log, Metrics, Settings, Source};
use crate::yaml::scalar;

const TEMPLATE: &str = include_str!("../../infra/template.yaml");
const ACCESS: &str = include_str!("../../infra/access.yaml");
const WIRING: &str = include_str!("../../infra/wiring.yaml");

/// Characters of a role's inline policies that IAM takes, without white space
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>), less what the other statements have.
const MAX_POLICY: usize = 10_240 - 2_500;

/// Permissions of single alarms up to which the function's policy of 20 KB takes them, at about 400 bytes each
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>). More share one, by their names.
const MAX_PERMISSIONS: usize = 40;

/// How the ARNs of the queues' alarms begin: CloudFormation calls an alarm after its stack and its logical id.
const ALARMS: &str = "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:${AWS::StackName}-QueueAlarm";

/// The templates `template.yaml`, `access.yaml` and `wiring.yaml`, in this order.
pub(super) fn templates(request: &Request<'_>, needs: &Needs) -> Result<[String; 3], RenderError> {
    let rights = statements(&needs.own, needs.roles.keys());
    let length = rights.split_whitespace().map(str::len).sum();
    if length > MAX_POLICY {
        return Err(RenderError::PolicyTooLong {
            queues: needs.own.depths.len(),
            length,
        });
    }
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
    let template: Vec<_> = function(request)
        .into_iter()
        .chain(access.iter().cloned())
        .chain(wiring.iter().filter(|(name, _)| *name != "given").cloned())
        .collect();
    Ok([
        fill(TEMPLATE, &template)?,
        fill(ACCESS, &access)?,
        fill(WIRING, &wiring)?,
    ])
}

/// The queues whose alarms can wake the function: an alarm sees the metrics of its own account and acts in its own region.
pub(super) fn alarmed<'n>(
    request: &Request<'_>,
    needs: &'n Needs,
) -> impl Iterator<Item = (&'n Place, &'n Alarm)> {
    let region = request.region.to_owned();
    let queues = needs.queues.iter();
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

/// What the function is told.
fn function(request: &Request<'_>) -> Vec<(&'static str, Fill)> {
    let Settings {
        source,
        roles,
        clusters,
        namespace,
        window_seconds: _,
        mode,
        log,
        metrics,
    } = request.settings;
    let default = |value: &str| Fill::Text(format!("Default: {}", scalar(value)));
    let mode = match mode {
        Mode::Live => "live",
        Mode::Shadow => "shadow",
    };
    let log = match log {
        Log::Changes => "changes",
        Log::All => "all",
    };
    let metrics = match metrics {
        Metrics::Totals => "totals",
        Metrics::Targets => "targets",
        Metrics::Off => "off",
    };
    let list: Vec<String> = clusters.iter().map(named).collect();
    let mut lines = format!("OUTRIGGER_CLUSTERS: {}\n", scalar(&list.join(",")));
    let config = match source {
        // What is packed with the function has this name, wherever it was read from.
        Source::File(_) => "file:outrigger.yaml".to_owned(),
        Source::Clusters(_) => source.to_string(),
    };
    let address = clusters.first().and_then(|first| first.address.as_ref());
    if let Some(ClusterAddress {
        endpoint,
        certificate_authority,
    }) = address
    {
        let (endpoint, authority) = (scalar(endpoint), scalar(certificate_authority));
        let _infallible = writeln!(
            lines,
            "OUTRIGGER_CLUSTER_ENDPOINT: {endpoint}\nOUTRIGGER_CLUSTER_CA: {authority}"
        );
    }
    vec![
        ("default Config", default(&config)),
        ("default Roles", default(&roles.join(","))),
        ("default Namespace", default(namespace)),
        ("default Mode", default(mode)),
        ("default Log", default(log)),
        ("default Metrics", default(metrics)),
        (
            "package",
            Fill::Text(format!("CodeUri: {}", scalar(request.package))),
        ),
        ("clusters", Fill::Text(lines)),
    ]
}

/// A cluster as `OUTRIGGER_CLUSTERS` has it.
pub(crate) fn named(cluster: &Cluster) -> String {
    let Cluster {
        name,
        region,
        account,
        role_arn,
        address: _,
    } = cluster;
    let mut text = match account {
        Some(account) => {
            let partition = partition(region);
            format!("arn:{partition}:eks:{region}:{account}:cluster/{name}")
        }
        None => name.clone(),
    };
    if let Some(role) = role_arn {
        let _infallible = write!(text, "={role}");
    }
    text
}

/// The schedule, and an alarm for each queue.
fn wiring(request: &Request<'_>, needs: &Needs) -> Vec<(&'static str, Fill)> {
    let window = request.settings.window_seconds;
    let alarmed: Vec<(&Place, &Alarm)> = alarmed(request, needs).collect();
    let mut fills = vec![
        ("default Window", Fill::Text(format!("Default: {window}"))),
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
    let description =
        format!("Wakes Outrigger for the queue {name} from {depth} messages on: {why}");
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
