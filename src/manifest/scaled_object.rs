//! A `ScaledObject` document into a [`Target`].

use std::num::NonZeroU32;

use serde_json::{Map, Value as Json};

use super::authentication::Resolution;
use super::behavior::Behavior;
use super::trigger::read_triggers;
use super::workload::{WorkloadRef, read_workload};
use super::{NotRun, Target, TargetId};
use crate::document::{Node, Value, quoted};
use crate::fields::{self, Fields, Problems, count, go_bool, suggestion};
use crate::policy::{Fallback, FallbackBehavior, Mode, Pause, Policy, ReplicaBounds, Trigger};

/// Seconds between polls unless `pollingInterval` is set: KEDA's default.
const DEFAULT_POLLING_SECONDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(29);
/// Seconds without activity before zero unless `cooldownPeriod` is set: KEDA's default.
const DEFAULT_COOLDOWN_SECONDS: u32 = 300;
/// `maxReplicaCount` unless set: KEDA's default.
const DEFAULT_MAX: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);
/// The shortest window. A longer `pollingInterval` counts at zero and idle only, as under KEDA every one does.
const SLOW_POLLING_SECONDS: u32 = 60;

/// The annotation keys that mean something here, ours and KEDA's.
const ANNOTATIONS: [&str; 7] = [
    "autoscaling.keda.sh/paused",
    "autoscaling.keda.sh/paused-replicas",
    "autoscaling.keda.sh/paused-scale-in",
    "autoscaling.keda.sh/paused-scale-out",
    "autoscaling.keda.sh/force-activation",
    CLUSTER,
    Mode::ANNOTATION,
];
/// Picks a cluster of `OUTRIGGER_CLUSTERS`.
pub(super) const CLUSTER: &str = "outrigger.dev/cluster";

/// Reads a ScaledObject. The id is known as soon as it has a name; the target only without errors.
pub fn read_scaled_object(
    node: &Node,
    default_namespace: &str,
    resolution: Resolution<'_>,
    problems: &mut Problems,
) -> (Option<TargetId>, Option<Target>) {
    let errors_before = problems.errors();
    let Some(mut fields) = Fields::of(node, "", problems) else {
        return (None, None);
    };
    for key in ["apiVersion", "kind", "status"] {
        fields.take(key);
    }
    let metadata = read_metadata(
        fields.take("metadata"),
        &fields,
        default_namespace,
        problems,
    );
    let spec_node = fields.require("spec", "a mapping", problems);
    fields.finish(problems);
    // Read also without a name to report it under: all mistakes of an object are told at once.
    let namespace = match &metadata {
        Some(metadata) => Some(metadata.id.namespace.as_str()),
        None => namespace_of(node, default_namespace),
    };
    // In which namespace an authentication is looked for is not known then, and what comes of it would be wrong.
    let resolution = namespace.map_or(Resolution::Skip, |_| resolution);
    let namespace = namespace.unwrap_or(default_namespace);
    let spec = spec_node.and_then(|spec| read_spec(spec, namespace, resolution, problems));
    let Some(Metadata {
        id,
        cluster,
        mode,
        created,
        pause,
        force_activation,
        json,
    }) = metadata
    else {
        return (None, None);
    };
    let manifest = manifest_json(node, json, spec_node);
    let target = spec
        .filter(|_| problems.errors() == errors_before)
        .map(|spec| {
            let Spec {
                workload,
                polling_seconds,
                bounds,
                cooldown_seconds,
                initial_cooldown_seconds,
                fallback,
                behavior:
                    Behavior {
                        scale_out,
                        scale_in,
                    },
                triggers,
            } = spec;
            let policy = Policy {
                workload: workload.name.clone(),
                mode,
                namespace: id.namespace.clone(),
                bounds,
                polling_seconds,
                cooldown_seconds,
                initial_cooldown_seconds,
                created,
                scale_out,
                scale_in,
                fallback,
                pause,
                force_activation,
                triggers,
            };
            Target {
                id: id.clone(),
                cluster,
                workload,
                policy,
                asked_polling_seconds: None,
                is_stale: false,
                manifest,
            }
        });
    (Some(id), target)
}

/// What there is to read of a ScaledObject that is not run.
pub(super) fn not_run(node: &Node, default_namespace: &str) -> NotRun {
    let workload = node.get("spec").and_then(|spec| spec.get("scaleTargetRef"));
    let mut told_before = Problems::default();
    NotRun {
        namespace: namespace_of(node, default_namespace).map(str::to_owned),
        workload: workload.and_then(|node| read_workload(node, &mut told_before)),
    }
}

/// The namespace of an object whose metadata have an error, as far as it can be read.
fn namespace_of<'a>(node: &'a Node, default: &'a str) -> Option<&'a str> {
    let metadata = node.get("metadata")?;
    if !matches!(metadata.value, Value::Map(_)) {
        return None;
    }
    let namespace = metadata
        .get("namespace")
        .filter(|node| node.value != Value::Null);
    match namespace.filter(|namespace| !namespace.is_blank()) {
        Some(namespace) => namespace
            .as_text()
            .filter(|name| fields::is_dns_label(name)),
        None => Some(default),
    }
}

struct Metadata {
    id: TargetId,
    cluster: Option<String>,
    mode: Mode,
    created: Option<jiff::Timestamp>,
    pause: Pause,
    force_activation: bool,
    json: Map<String, Json>,
}

fn read_metadata(
    node: Option<&Node>,
    object: &Fields<'_>,
    default_namespace: &str,
    problems: &mut Problems,
) -> Option<Metadata> {
    let Some(node) = node else {
        problems.error(
            object.position(),
            "metadata",
            "missing, allowed: a mapping with a name",
        );
        return None;
    };
    let mut fields = Fields::of(node, "metadata", problems)?;
    let name = fields.require("name", "a name", problems);
    let name = name.and_then(|name| fields::object_name(name, "metadata.name", problems));
    // A chart with an empty value renders an empty one, which is none to kubectl.
    let namespace = fields.take("namespace");
    let namespace = match namespace.filter(|namespace| !namespace.is_blank()) {
        Some(namespace) => fields::namespace(namespace, "metadata.namespace", problems),
        None => Some(default_namespace.to_owned()),
    };
    let generation = fields.take("generation").map(Node::to_json);
    let created = fields.read("creationTimestamp", problems, fields::timestamp);
    let annotations = fields.take("annotations");
    if let Some(node) = annotations.filter(|node| !matches!(node.value, Value::Map(_))) {
        problems.found(node, "metadata.annotations", "a mapping of names to text");
    }
    let mut pause = Pause::default();
    let mut force_activation = false;
    let mut cluster = None;
    let mut mode = Mode::default();
    let mut kept = Map::new();
    for key in ANNOTATIONS {
        let Some(value) = annotations.and_then(|annotations| annotations.get(key)) else {
            continue;
        };
        let path = format!("metadata.annotations[{key}]");
        if matches!(value.value, Value::List(_) | Value::Map(_)) {
            problems.found(value, &path, "text");
            continue;
        }
        kept.insert(
            key.to_owned(),
            Json::String(value.as_text().unwrap_or_default().to_owned()),
        );
        match key {
            "autoscaling.keda.sh/paused" => pause.all = is_set(value),
            "autoscaling.keda.sh/paused-replicas" => pause.replicas = count(value, &path, problems),
            "autoscaling.keda.sh/paused-scale-in" => pause.scale_in = is_set(value),
            "autoscaling.keda.sh/paused-scale-out" => pause.scale_out = is_set(value),
            "autoscaling.keda.sh/force-activation" => force_activation = is_set(value),
            Mode::ANNOTATION => {
                mode = fields::one_of(value, &path, &Mode::NAMES, problems).unwrap_or_default();
            }
            _ => cluster = fields::text(value, &path, problems),
        }
    }
    refuse_unknown_annotations(annotations, problems);
    let id = TargetId {
        namespace: namespace?,
        name: name?,
    };
    let mut json = Map::new();
    json.insert("name".into(), id.name.clone().into());
    json.insert("namespace".into(), id.namespace.clone().into());
    json.extend(generation.map(|generation| ("generation".to_owned(), generation)));
    json.extend(
        created.map(|created| ("creationTimestamp".to_owned(), created.to_string().into())),
    );
    if !kept.is_empty() {
        json.insert("annotations".into(), Json::Object(kept));
    }
    Some(Metadata {
        id,
        cluster,
        mode,
        created,
        pause,
        force_activation,
        json,
    })
}

/// A switch of ours that is not read would be a switch that silently does not apply; KEDA's prefix is not ours to refuse.
fn refuse_unknown_annotations(annotations: Option<&Node>, problems: &mut Problems) {
    let Some(Value::Map(entries)) = annotations.map(|node| &node.value) else {
        return;
    };
    for (key, node) in entries {
        if ANNOTATIONS.contains(&key.as_str()) {
            continue;
        }
        let path = format!("metadata.annotations[{}]", quoted(key).replace('`', ""));
        if key.starts_with("outrigger.dev/") {
            let message = format!(
                "not supported by this version{}",
                suggestion(key, &[CLUSTER, Mode::ANNOTATION])
            );
            problems.error(node.position, &path, message);
        } else if key.starts_with("autoscaling.keda.sh/") {
            let message = format!("not known, and ignored{}", suggestion(key, &ANNOTATIONS));
            problems.warning(node.position, &path, message);
        }
    }
}

/// KEDA: any text that is not a spelling of false sets the annotation, and spaces are no part of one.
fn is_set(node: &Node) -> bool {
    go_bool(node.as_text().unwrap_or_default()) != Some(false)
}

/// The object as a record carries it.
fn manifest_json(node: &Node, metadata: Map<String, Json>, spec: Option<&Node>) -> Json {
    let mut object = Map::new();
    for key in ["apiVersion", "kind"] {
        object.extend(node.get(key).map(|value| (key.to_owned(), value.to_json())));
    }
    object.insert("metadata".into(), Json::Object(metadata));
    object.extend(spec.map(|spec| ("spec".to_owned(), spec.to_json())));
    Json::Object(object)
}

struct Spec {
    workload: WorkloadRef,
    polling_seconds: NonZeroU32,
    bounds: ReplicaBounds,
    cooldown_seconds: u32,
    initial_cooldown_seconds: u32,
    fallback: Option<Fallback>,
    behavior: Behavior,
    triggers: Vec<Trigger>,
}

fn read_spec(
    node: &Node,
    namespace: &str,
    resolution: Resolution<'_>,
    problems: &mut Problems,
) -> Option<Spec> {
    let mut fields = Fields::of(node, "spec", problems)?;
    let workload = fields.require(
        "scaleTargetRef",
        "a mapping with the name of the workload",
        problems,
    );
    let workload = workload.and_then(|node| read_workload(node, problems));
    let bounds = read_bounds(&mut fields, problems);
    let polling_seconds = match fields.take("pollingInterval") {
        Some(node) => read_polling(node, bounds, problems),
        None => Some(DEFAULT_POLLING_SECONDS),
    };
    let cooldown = fields
        .take("cooldownPeriod")
        .map(|node| count(node, "spec.cooldownPeriod", problems));
    let initial = fields
        .take("initialCooldownPeriod")
        .map(|node| count(node, "spec.initialCooldownPeriod", problems));
    let fallback = fields
        .take("fallback")
        .map(|node| read_fallback(node, problems));
    let behavior = match fields.take("advanced") {
        Some(advanced) => read_advanced(advanced, problems),
        None => Some(Behavior::NONE),
    };
    let triggers = fields.require("triggers", "a list of triggers", problems);
    let triggers = triggers
        .and_then(|node| read_triggers(node, "spec.triggers", namespace, resolution, problems));
    fields.finish(problems);
    Some(Spec {
        workload: workload?,
        polling_seconds: polling_seconds?,
        bounds: bounds?,
        cooldown_seconds: cooldown.unwrap_or(Some(DEFAULT_COOLDOWN_SECONDS))?,
        initial_cooldown_seconds: initial.unwrap_or(Some(0))?,
        fallback: match fallback {
            Some(fallback) => Some(fallback?),
            None => None,
        },
        behavior: behavior?,
        triggers: triggers?,
    })
}

fn read_polling(
    node: &Node,
    bounds: Option<ReplicaBounds>,
    problems: &mut Problems,
) -> Option<NonZeroU32> {
    let path = "spec.pollingInterval";
    let seconds = fields::integer(node, path, 1..=i64::from(i32::MAX), problems)?;
    let never_rests = bounds.is_some_and(|bounds| bounds.rest().is_none());
    if never_rests && seconds > i64::from(SLOW_POLLING_SECONDS) {
        let message = format!(
            "{seconds} s counts at zero and idle only, where this workload never is; as under KEDA, where the HPA reads every 15 s, \
             it is polled more often: once in each OUTRIGGER_WINDOW, or every OUTRIGGER_SYNC seconds"
        );
        problems.warning(node.position, path, message);
    }
    u32::try_from(seconds).ok().and_then(NonZeroU32::new)
}

fn read_bounds(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<ReplicaBounds> {
    let min_node = fields.take("minReplicaCount");
    let min = min_node.map(|node| count(node, "spec.minReplicaCount", problems));
    let max_node = fields.take("maxReplicaCount");
    let max = max_node.map(|node| {
        let found = fields::integer(
            node,
            "spec.maxReplicaCount",
            1..=i64::from(i32::MAX),
            problems,
        );
        found
            .and_then(|found| u32::try_from(found).ok())
            .and_then(NonZeroU32::new)
    });
    let idle_node = fields.take("idleReplicaCount");
    let idle = idle_node.map(|node| count(node, "spec.idleReplicaCount", problems));
    let max = max.unwrap_or(Some(DEFAULT_MAX))?;
    let idle = match idle {
        Some(idle) => Some(idle?),
        None => None,
    };
    let (min, min_is_set) = (min.unwrap_or(Some(0))?, min_node.is_some());
    if fields.is_misspelt("minReplicaCount") || fields.is_misspelt("maxReplicaCount") {
        return None;
    }
    let mut fits = true;
    if min > max.get() {
        let position = min_node.or(max_node).and_then(|node| node.position);
        problems.error(
            position,
            "spec.minReplicaCount",
            format!("found `{min}`, allowed: at most maxReplicaCount, which is {max}"),
        );
        fits = false;
    }
    // As KEDA: an explicit 0 with `minReplicaCount: 0` says the same twice; with no minReplicaCount it contradicts itself.
    if let Some(idle) = idle.filter(|idle| *idle >= min && !(*idle == 0 && min_is_set)) {
        let position = idle_node.and_then(|node| node.position);
        let message =
            format!("found `{idle}`, allowed: any number below minReplicaCount, which is {min}");
        problems.error(position, "spec.idleReplicaCount", message);
        fits = false;
    }
    fits.then(|| ReplicaBounds::new(min, max, idle)).flatten()
}

fn read_fallback(node: &Node, problems: &mut Problems) -> Option<Fallback> {
    let path = "spec.fallback";
    let mut fields = Fields::of(node, path, problems)?;
    let threshold = fields.require("failureThreshold", "a whole number", problems);
    let threshold =
        threshold.and_then(|node| count(node, "spec.fallback.failureThreshold", problems));
    let replicas = fields.require("replicas", "a whole number", problems);
    let replicas = replicas.and_then(|node| count(node, "spec.fallback.replicas", problems));
    let choices = [
        ("static", FallbackBehavior::Static),
        ("currentReplicas", FallbackBehavior::CurrentReplicas),
        (
            "currentReplicasIfHigher",
            FallbackBehavior::CurrentReplicasIfHigher,
        ),
        (
            "currentReplicasIfLower",
            FallbackBehavior::CurrentReplicasIfLower,
        ),
    ];
    let behavior = match fields.take("behavior") {
        Some(node) => fields::one_of(node, "spec.fallback.behavior", &choices, problems),
        None => Some(FallbackBehavior::Static),
    };
    fields.finish(problems);
    Some(Fallback {
        failure_threshold: threshold?,
        replicas: replicas?,
        behavior: behavior?,
    })
}

fn read_advanced(node: &Node, problems: &mut Problems) -> Option<Behavior> {
    let mut fields = Fields::of(node, "spec.advanced", problems)?;
    if let Some(node) = fields.take("restoreToOriginalReplicaCount")
        && fields::boolean(
            node,
            "spec.advanced.restoreToOriginalReplicaCount",
            problems,
        ) == Some(true)
    {
        let message = "found `true`, allowed: false: nothing runs when a ScaledObject is deleted, so the last count stays";
        problems.warning(
            node.position,
            "spec.advanced.restoreToOriginalReplicaCount",
            message,
        );
    }
    if let Some(node) = fields
        .take("scalingModifiers")
        .filter(|node| node.value != Value::Map(Vec::new()))
    {
        problems.error(
            node.position,
            "spec.advanced.scalingModifiers",
            "not supported, allowed: several triggers, of which the highest wins",
        );
    }
    let mut behavior = Some(Behavior::NONE);
    if let Some(node) = fields.take("horizontalPodAutoscalerConfig") {
        let path = "spec.advanced.horizontalPodAutoscalerConfig";
        let mut config = Fields::of(node, path, problems)?;
        // There is no HPA to name.
        config.take("name");
        if let Some(node) = config.take("behavior") {
            behavior = Behavior::read(node, &config.path("behavior"), problems);
        }
        config.finish(problems);
    }
    fields.finish(problems);
    behavior
}
