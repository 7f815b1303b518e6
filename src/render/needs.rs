//! What a function needs of AWS and Kubernetes for its targets, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::{RenderError, Request};
use crate::manifest::{Target, WorkloadKind, is_account, is_of_emulator, partition};
use crate::policy::{Identity, Mode, Pause, Queue, QueueAddress, SqsTrigger, Trigger};
use crate::settings::{Cluster, Source};

/// Everything that is needed, sorted, each thing once.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// The account of the function, where something tells it.
    pub(super) own_account: Option<String>,
    /// The queues and where each is worth an alarm; `None` where nothing follows from its depth.
    pub(super) queues: BTreeMap<Place, Option<Alarm>>,
    /// Queues that are not of AWS, by name.
    pub(super) foreign_queues: BTreeSet<String>,
    /// What the function's own role may.
    pub(super) own: Rights,
    /// The roles that it assumes, by ARN.
    pub(super) roles: BTreeMap<String, Role>,
    /// The clusters with targets, in the order of their names.
    pub(super) clusters: BTreeMap<String, UsedCluster>,
    /// The namespaces with workloads, by cluster and name.
    pub(super) namespaces: BTreeMap<(String, String), Workloads>,
}

/// Where a queue is worth an alarm. Of several the lowest counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Alarm {
    /// Visible messages.
    pub(super) depth: u64,
    /// For whom and why.
    pub(super) why: String,
}

/// A queue or a cluster by where it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) region: String,
    /// `None`: the account of the function, which nothing tells.
    pub(super) account: Option<String>,
    pub(super) name: String,
}

/// What one identity may.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rights {
    /// Queues whose depth it reads.
    pub(super) depths: BTreeSet<Place>,
    /// Those whose URL it looks up.
    pub(super) lookups: BTreeSet<Place>,
    /// Whether it reads metrics of CloudWatch.
    pub(super) metrics: bool,
    /// Clusters that it describes.
    pub(super) described: BTreeSet<Place>,
}

/// A role that is assumed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) rights: Rights,
    /// The external ids that it is assumed with; `None` is without one.
    pub(super) external_ids: BTreeSet<Option<String>>,
}

/// A cluster with targets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UsedCluster {
    pub(super) place: Place,
    /// The role that signs in to it; `None`: the function's own.
    pub(super) role: Option<String>,
}

/// The workloads of a namespace, by API group and kind.
pub(super) type Workloads = BTreeMap<(String, String), Named>;

/// The workloads of one kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) kind: WorkloadKind,
    /// All of them: each is read.
    pub(super) all: BTreeSet<String>,
    /// Those whose count is written; the others are in shadow mode.
    pub(super) live: BTreeSet<String>,
}

impl Needs {
    /// Sums up what the targets need.
    pub(super) fn of(request: &Request<'_>) -> Result<Self, Vec<RenderError>> {
        let mut needs = Self {
            own_account: own_account(request).map_err(|error| vec![error])?,
            ..Self::default()
        };
        let mut errors = Vec::new();
        for target in request.targets {
            for trigger in &target.policy.triggers {
                errors.extend(needs.add_trigger(trigger, target).err());
            }
            let cluster = request.settings.cluster(target.cluster.as_deref());
            let Some(cluster) = cluster else {
                errors.push(RenderError::NoCluster(target.id.to_string()));
                continue;
            };
            needs.add_workload(target, &cluster.name);
            errors.extend(needs.add_cluster(cluster).err());
        }
        match &request.settings.source {
            Source::File(_) => {}
            // There the objects are looked for, whether there are any or not.
            Source::Clusters(namespaces) => {
                for cluster in &request.settings.clusters {
                    errors.extend(needs.add_cluster(cluster).err());
                    for namespace in namespaces {
                        let key = (cluster.name.clone(), namespace.clone());
                        needs.namespaces.entry(key).or_default();
                    }
                }
            }
        }
        errors.dedup();
        errors.extend(needs.roles_of_one_name());
        errors.extend(needs.other_partitions(request));
        // Whether a role is of the function's account decides on its alarms, and on which stack makes it.
        if needs.own_account.is_none()
            && let Some(arn) = needs.roles.keys().next()
        {
            errors.push(RenderError::UnknownAccount(arn.clone()));
        }
        if errors.is_empty() {
            Ok(needs)
        } else {
            Err(errors)
        }
    }

    /// IAM has one role of a name in an account, whatever its path.
    fn roles_of_one_name(&self) -> Option<RenderError> {
        let mut names: BTreeMap<(Option<String>, &str), &str> = BTreeMap::new();
        self.roles.keys().find_map(|arn| {
            let key = (account_of(arn), role_name(arn).1);
            let other = (*names.insert(key, arn)?).to_owned();
            Some(RenderError::RoleTwice(other, arn.clone()))
        })
    }

    /// What is in another partition than the function.
    fn other_partitions(&self, request: &Request<'_>) -> Vec<RenderError> {
        let own = partition(request.region);
        let in_region = |what: &str, place: &Place| {
            let Place { region, name, .. } = place;
            (
                format!("{what} {name} of {region}"),
                partition(region).to_owned(),
            )
        };
        let clusters = self.clusters.values();
        let clusters = clusters.map(|used| in_region("the cluster", &used.place));
        let queues = self.queues.keys();
        let queues = queues.map(|place| in_region("the queue", place));
        let roles = self.roles.keys().map(|arn| {
            let partition = arn.split(':').nth(1).unwrap_or_default();
            (format!("the role {arn}"), partition.to_owned())
        });
        let metrics = request.targets.iter().flat_map(|target| {
            let triggers = target.policy.triggers.iter();
            triggers.filter_map(move |trigger| match trigger {
                Trigger::CloudWatch(trigger) => {
                    let region = &trigger.metric.region;
                    let what = format!("the metric of {} in {region}", target.id);
                    Some((what, partition(region).to_owned()))
                }
                Trigger::Cron(_) | Trigger::SqsQueue(_) => None,
            })
        });
        let all = clusters.chain(queues).chain(roles).chain(metrics);
        let others = all.filter(|(_, found)| found != own);
        others
            .map(|(what, found)| RenderError::OtherPartition {
                what,
                found,
                own,
                region: request.region.to_owned(),
            })
            .collect()
    }

    /// Whether this is the account that the function runs in.
    pub(super) fn is_own(&self, account: Option<&str>) -> bool {
        account.is_none() || account == self.own_account.as_deref()
    }

    fn rights(&mut self, identity: &Identity) -> &mut Rights {
        match identity {
            Identity::Function => &mut self.own,
            Identity::Role { arn, external_id } => {
                let role = self.roles.entry(arn.clone()).or_default();
                role.external_ids.insert(external_id.clone());
                &mut role.rights
            }
        }
    }

    fn add_trigger(&mut self, trigger: &Trigger, target: &Target) -> Result<(), RenderError> {
        match trigger {
            Trigger::Cron(_) => {}
            Trigger::CloudWatch(trigger) => self.rights(&trigger.metric.identity).metrics = true,
            Trigger::SqsQueue(trigger) => {
                let name = trigger.queue.address.name().to_owned();
                let Some(place) = self.place(&trigger.queue) else {
                    self.foreign_queues.insert(name);
                    return Ok(());
                };
                if let Some(account) = place
                    .account
                    .as_ref()
                    .filter(|account| !is_account(account))
                {
                    if trigger.queue.endpoint.is_some() {
                        self.foreign_queues.insert(name);
                        return Ok(());
                    }
                    let account = account.clone();
                    return Err(RenderError::NoAccount {
                        queue: name,
                        account,
                    });
                }
                let known = self.queues.entry(place.clone()).or_default();
                let alarms = [known.take(), alarm(trigger, target)];
                *known = alarms.into_iter().flatten().min();
                let rights = self.rights(&trigger.queue.identity);
                if matches!(trigger.queue.address, QueueAddress::Name(_)) {
                    rights.lookups.insert(place.clone());
                }
                rights.depths.insert(place);
            }
        }
        Ok(())
    }

    /// Where a queue is; `None` for those of emulators.
    fn place(&self, queue: &Queue) -> Option<Place> {
        if is_of_emulator(queue) {
            return None;
        }
        let account = match (&queue.address, &queue.identity) {
            (QueueAddress::Url { account, .. }, _) => Some(account.clone()),
            (QueueAddress::Name(_), Identity::Role { arn, .. }) => account_of(arn),
            (QueueAddress::Name(_), Identity::Function) => self.own_account.clone(),
        };
        Some(Place {
            region: queue.region.clone(),
            account,
            name: queue.address.name().to_owned(),
        })
    }

    fn add_workload(&mut self, target: &Target, cluster: &str) {
        let key = (cluster.to_owned(), target.id.namespace.clone());
        let kind = &target.workload.kind;
        let workloads = self.namespaces.entry(key).or_default();
        let named = workloads
            .entry((kind.group().to_owned(), kind.kind().to_owned()))
            .or_insert_with(|| Named {
                kind: kind.clone(),
                all: BTreeSet::new(),
                live: BTreeSet::new(),
            });
        named.all.insert(target.workload.name.clone());
        match target.policy.mode {
            Mode::Live => {
                named.live.insert(target.workload.name.clone());
            }
            Mode::Shadow => {}
        }
    }

    /// Notes who signs in to a cluster and who describes it.
    fn add_cluster(&mut self, cluster: &Cluster) -> Result<(), RenderError> {
        let Cluster {
            name,
            region,
            account,
            role_arn,
            address,
        } = cluster;
        let of_role = role_arn.as_deref().and_then(account_of);
        // A cluster is described in the account of the one who asks.
        let asks = of_role.clone().or_else(|| self.own_account.clone());
        if let (Some(account), Some(asks)) = (account, &asks)
            && account != asks
        {
            return Err(RenderError::ClusterOfOther {
                cluster: name.clone(),
                account: account.clone(),
                asks: asks.clone(),
            });
        }
        let place = Place {
            region: region.clone(),
            account: account.clone().or(asks),
            name: name.clone(),
        };
        let identity = match role_arn {
            None => Identity::Function,
            Some(arn) => Identity::Role {
                arn: arn.clone(),
                external_id: None,
            },
        };
        let rights = self.rights(&identity);
        if address.is_none() {
            rights.described.insert(place.clone());
        }
        let role = role_arn.clone();
        self.clusters
            .insert(name.clone(), UsedCluster { place, role });
        Ok(())
    }
}

/// The account in the ARN of a role.
pub(super) fn account_of(arn: &str) -> Option<String> {
    arn.split(':').nth(4).map(str::to_owned)
}

/// Path and name of a role.
pub(super) fn role_name(arn: &str) -> (&str, &str) {
    let resource = arn
        .split_once(":role")
        .map_or(arn, |(_, resource)| resource);
    let slash = resource.rfind('/').map_or(0, |slash| slash + 1);
    resource.split_at(slash)
}

/// The account of the function: as given, else that of its default cluster, else the only one in the URLs that its own role reads.
fn own_account(request: &Request<'_>) -> Result<Option<String>, RenderError> {
    if let Some(account) = request.account {
        return Ok(Some(account.to_owned()));
    }
    let own_clusters = request.settings.clusters.iter();
    let mut own_clusters = own_clusters.filter(|cluster| cluster.role_arn.is_none());
    if let Some(account) = own_clusters.find_map(|cluster| cluster.account.clone()) {
        return Ok(Some(account));
    }
    let triggers = request
        .targets
        .iter()
        .flat_map(|target| &target.policy.triggers);
    let mut accounts = BTreeSet::new();
    for trigger in triggers {
        if let Trigger::SqsQueue(SqsTrigger { queue, .. }) = trigger
            && queue.identity == Identity::Function
            && let QueueAddress::Url { account, .. } = &queue.address
            && is_account(account)
        {
            accounts.insert(account.clone());
        }
    }
    if accounts.len() > 1 {
        return Err(RenderError::WhichAccount(accounts.into_iter().collect()));
    }
    Ok(accounts.pop_first())
}

/// The number of visible messages at which a queue calls for more than the lowest count, so that an alarm is worth a look.
///
/// - A workload that may rest at zero or idle: where it becomes active, `activationQueueLength + 1`.
/// - One that always has its minimum: where that is no longer enough by more than the tolerance. With `queueLength: 10`,
///   `minReplicaCount: 2` and the tolerance of 10 % these are 23 messages: 22 are within it.
///
/// What is in flight is left out: the metric of the alarm has only what is visible, and a smaller number would keep it in alarm.
/// `None` where no depth would raise the count: of a target that is paused, or that has one count only.
fn alarm(trigger: &SqsTrigger, target: &Target) -> Option<Alarm> {
    const BILLION: u128 = 1_000_000_000;
    let (id, policy) = (&target.id, &target.policy);
    let Pause {
        all,
        replicas,
        scale_in: _,
        scale_out,
    } = policy.pause;
    if all || replicas.is_some() || scale_out {
        return None;
    }
    if policy.bounds.rest().is_some() {
        return Some(Alarm {
            depth: trigger.activation_messages.saturating_add(1),
            why: format!("{id} becomes active there"),
        });
    }
    if policy.bounds.min() == policy.bounds.max() {
        return None;
    }
    let min = policy.bounds.min();
    let capacity = u128::from(min) * u128::from(trigger.messages_per_replica.get());
    let tolerance = u128::from(policy.scale_out.tolerance_billionths);
    let enough = capacity.saturating_mul(BILLION.saturating_add(tolerance)) / BILLION;
    Some(Alarm {
        depth: u64::try_from(enough).unwrap_or(u64::MAX).saturating_add(1),
        why: format!("the {min} replicas that {id} always has are not enough there"),
    })
}
