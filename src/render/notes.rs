//! What a person should know of what is rendered: what was guessed, what could not be done, what others must do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::bill::{Polled, Usage, bill, priced};
use super::needs::{Needs, Place, account_of};
use super::{Request, function, rbac, regions};
use crate::budget;
use crate::manifest::Target;
use crate::policy::Trigger;
use crate::settings::Source;

/// Memory of the function, as in the template unless a parameter says otherwise.
const MEMORY_MB: u32 = 128;

/// Targets for which that is enough: of more a pass takes longer than 5 s where all are new, by `benches/run memory`.
const HELD: usize = 300;

/// One sentence each.
pub(super) fn of(request: &Request<'_>, needs: &Needs) -> Vec<String> {
    let clusters = request.settings.clusters.iter();
    let clusters = clusters.map(|cluster| cluster.region.as_str());
    let queues = needs.queues.keys().map(|place| place.region.as_str());
    let mut notes = regions::unknown([request.region].into_iter().chain(clusters).chain(queues));
    if let (None, Some(account)) = (request.account, &needs.own_account) {
        notes.push(format!(
            "the function is taken to run in account {account}, by its cluster or its queues; --account says otherwise"
        ));
    }
    notes.extend(without_alarm(request, needs));
    notes.extend(by_their_own_policy(needs));
    notes.extend(without_external_id(needs));
    for name in &needs.foreign_queues {
        notes.push(format!(
            "the queue {name} is left out: it is an emulator's, and AWS has nothing of it"
        ));
    }
    notes.extend(by_cluster_role(request));
    let clusters = request.settings.clusters.iter();
    for unused in clusters.filter(|cluster| !needs.clusters.contains_key(&cluster.name)) {
        notes.push(format!(
            "no right on the cluster {}: no ScaledObject is for it",
            unused.name
        ));
    }
    notes.extend(guessed(request, needs));
    notes.extend(request.settings.unused_grants());
    notes.extend(budget::exceeded(request.settings, request.targets));
    notes.extend(too_little_memory(request.targets.len()));
    notes
}

/// The share of a core goes with the memory, and handshakes and signatures take it.
fn too_little_memory(targets: usize) -> Option<String> {
    (targets > HELD).then(|| {
        format!(
            "{targets} targets are more than the {HELD} for which {MEMORY_MB} MB are enough: MemorySize=256 (with cargo-lambda --memory 256) \
             makes a pass about twice as fast"
        )
    })
}

/// Templates that CloudFormation does not take from a command. SAM brings its own by way of a bucket at any rate.
pub(super) fn too_large(files: &BTreeMap<String, String>) -> Vec<String> {
    // https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
    const MAX_TEMPLATE: usize = 51_200;
    let by_command = files.iter().filter(|(path, text)| {
        let is_ours =
            *path == "wiring.yaml" || *path == "access.yaml" || path.starts_with("account-");
        is_ours && text.len() > MAX_TEMPLATE
    });
    let note = |(path, text): (&String, &String)| {
        format!(
            "{path} has {} bytes: aws cloudformation deploy takes more than {MAX_TEMPLATE} only with --s3-bucket BUCKET",
            text.len()
        )
    };
    by_command.map(note).collect()
}

/// Templates that CloudFormation does not take at all.
pub(super) fn too_many(files: &BTreeMap<String, String>) -> Vec<String> {
    // https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
    const MAX_RESOURCES: usize = 500;
    /// SAM makes a version, an alias and the settings of asynchronous events of the function.
    const OF_SAM: usize = 3;
    let counted = files.iter().map(|(path, text)| {
        let types = text
            .lines()
            .filter(|line| line.starts_with("    Type: AWS::"));
        let of_sam = if path == "template.yaml" { OF_SAM } else { 0 };
        (path, types.count() + of_sam)
    });
    let large = counted.filter(|(_, count)| *count > MAX_RESOURCES);
    let note = |(path, count): (&String, usize)| {
        format!(
            "{path} cannot be deployed: it has {count} resources, and CloudFormation takes {MAX_RESOURCES} in a stack; \
             render some namespaces apart, for a function of their own"
        )
    };
    large.map(note).collect()
}

/// What all of it costs.
pub(super) fn price(request: &Request<'_>, needs: &Needs) -> String {
    let usage = usage(request, needs);
    let window = usage.window_seconds;
    let costs = bill(&usage);
    let (date, region) = priced();
    let mut note = format!("costs about {costs}; in {region} on {date}, before free tiers");
    // One target below the window keeps the function up for all.
    let mut slower = usage.clone();
    for target in &mut slower.targets {
        target.interval_seconds = target.interval_seconds.max(window);
    }
    let slower = bill(&slower).total();
    // Half a dollar is what the defaults are meant to cost.
    if costs.total() > slower.saturating_add(500_000_000_000) {
        let less = super::bill::dollars(slower);
        let _infallible = write!(
            note,
            "; with pollingInterval: {window} or more on every ScaledObject {less}"
        );
    }
    note
}

/// What is paid for, as rendered. Memory and dashboard are parameters, and here as they are by default.
fn usage(request: &Request<'_>, needs: &Needs) -> Usage {
    let settings = request.settings;
    let polled = |target: &Target| {
        let triggers = &target.policy.triggers;
        let count = |is: fn(&Trigger) -> bool| {
            let found = triggers.iter().filter(|trigger| is(trigger)).count();
            u64::try_from(found).unwrap_or(u64::MAX)
        };
        Polled {
            interval_seconds: target.policy.polling_seconds.get(),
            queues: count(|trigger| matches!(trigger, Trigger::SqsQueue(_))),
            metrics: count(|trigger| matches!(trigger, Trigger::CloudWatch(_))),
        }
    };
    let alarms = function::alarmed(request, needs).count();
    Usage {
        window_seconds: settings.window_seconds.get(),
        sync_seconds: settings.poll_seconds().get(),
        memory_mb: MEMORY_MB,
        targets: request.targets.iter().map(polled).collect(),
        queue_alarms: u64::try_from(alarms).unwrap_or(u64::MAX),
        metrics: settings.metrics,
        log: settings.log,
        dashboard: false,
    }
}

/// Queues that the schedule alone looks at.
fn without_alarm(request: &Request<'_>, needs: &Needs) -> Vec<String> {
    let window = request.settings.window_seconds;
    let otherwise =
        format!("the schedule looks at it every {window} s or as its pollingInterval says");
    let note = |(place, alarm): (&Place, &Option<_>)| {
        let Place {
            region,
            account,
            name,
        } = place;
        if alarm.is_none() {
            return Some(format!(
                "no alarm for the queue {name}: whoever reads it is paused, or has one count only"
            ));
        }
        match account {
            Some(account) if !needs.is_own(Some(account)) => Some(format!(
                "no alarm for the queue {name} of account {account}: its metrics are there; {otherwise}"
            )),
            Some(_) | None if region != request.region => Some(format!(
                "no alarm for the queue {name} of {region}: an alarm acts in its own region alone; {otherwise}"
            )),
            Some(_) | None => None,
        }
    };
    needs.queues.iter().filter_map(note).collect()
}

/// Queues that are read from another account: two policies have to allow it.
fn by_their_own_policy(needs: &Needs) -> Vec<String> {
    let note = |who: &str, place: &Place| {
        format!(
            "{who} reads the queue {} of another account: the queue's own policy must allow it sqs:GetQueueAttributes",
            place.name
        )
    };
    let own = needs.own.depths.iter();
    let own = own.filter(|place| !needs.is_own(place.account.as_deref()));
    let own = own.map(|place| note("the function's own role", place));
    let roles = needs.roles.iter().flat_map(|(arn, role)| {
        let account = account_of(arn);
        let places = role.rights.depths.iter();
        let elsewhere = places.filter(move |place| place.account != account);
        elsewhere.map(move |place| note(&format!("the role {arn}"), place))
    });
    own.chain(roles).collect()
}

/// What is of no namespace, and read in clusters only.
fn by_cluster_role(request: &Request<'_>) -> Option<String> {
    match request.settings.source {
        Source::File(_) => return None,
        Source::Clusters(_) => {}
    }
    let refers = |target: &Target| {
        let triggers = target.manifest.pointer("/spec/triggers");
        let triggers = triggers.and_then(|triggers| triggers.as_array());
        triggers.into_iter().flatten().any(|trigger| {
            let kind = trigger.pointer("/authenticationRef/kind");
            kind.is_some_and(|kind| kind == "ClusterTriggerAuthentication")
        })
    };
    let target = request.targets.iter().find(|target| refers(target))?;
    Some(format!(
        "{} refers to a ClusterTriggerAuthentication, and to list those takes a ClusterRole, which is not rendered: \
         kubectl create clusterrole outrigger-authentications --verb=list --resource=clustertriggerauthentications.keda.sh, \
         and kubectl create clusterrolebinding outrigger-authentications --clusterrole=outrigger-authentications --group=outrigger",
        target.id
    ))
}

fn without_external_id(needs: &Needs) -> Vec<String> {
    let roles = needs.roles.iter();
    let both =
        roles.filter(|(_, role)| role.external_ids.len() > 1 && role.external_ids.contains(&None));
    let note = |arn: &String| {
        format!(
            "the role {arn} is assumed with an external id and also without one, as for a cluster, so its trust policy cannot ask for it"
        )
    };
    both.map(|(arn, _)| note(arn)).collect()
}

/// Resources that were derived from their kinds.
fn guessed(request: &Request<'_>, needs: &Needs) -> BTreeSet<String> {
    let workloads = needs.namespaces.values().flat_map(|kinds| kinds.values());
    let note = |kind: &crate::manifest::WorkloadKind| {
        let (plural, is_derived) = rbac::plural(kind, request.plurals);
        let name = format!("{}.{}", kind.kind(), kind.group());
        is_derived.then(|| {
            format!(
                "the resource of {name} is taken to be `{plural}`; kubectl api-resources tells, and --resource {name}=NAME says otherwise"
            )
        })
    };
    workloads.filter_map(|named| note(&named.kind)).collect()
}
