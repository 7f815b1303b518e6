//! What a person should know of what is rendered: what was guessed, what could not be done, what others must do.

use std::collections::{BTreeMap, BTreeSet};

use super::needs::{Needs, Place, account_of};
use super::{Request, rbac};
use crate::manifest::Target;
use crate::settings::Source;

/// One sentence each.
pub(super) fn of(request: &Request<'_>, needs: &Needs) -> Vec<String> {
    let mut notes = Vec::new();
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
    notes
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

/// Queues that the schedule alone looks at.
fn without_alarm(request: &Request<'_>, needs: &Needs) -> Vec<String> {
    let window = request.settings.window_seconds;
    let otherwise =
        format!("the schedule looks at it every {window} s or as its pollingInterval says");
    let note = |place: &Place| {
        let Place {
            region,
            account,
            name,
        } = place;
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
    needs.queues.keys().filter_map(note).collect()
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
