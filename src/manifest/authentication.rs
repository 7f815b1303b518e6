//! Whose rights a trigger uses: `authenticationRef`, `TriggerAuthentication` and `identityOwner`.

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::document::{Node, Position, Value, quoted};
use crate::fields::{self, Fields, Problems, one_of, suggestion};
use crate::policy::Identity;

/// The TriggerAuthentications of a stream or a cluster. A cluster-wide one has no namespace.
#[derive(Debug, Default)]
pub struct Authentications {
    by_name: BTreeMap<(Option<String>, String), Kind>,
    /// Where they could not be listed. Empty for a stream, which is whole.
    unlisted: Vec<Unlisted>,
    /// Whether they are a cluster's.
    in_cluster: bool,
    /// What is wrong with those that have errors, by document. Told only when a trigger refers to one: the stream may
    /// hold those of other scalers, too.
    broken: Vec<Broken>,
}

/// Authentications of a cluster that are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlisted {
    /// Those that are in no namespace.
    pub cluster_wide: bool,
    /// The namespace; `None` for all.
    pub namespace: Option<String>,
    /// What was tried, what was wrong and what to do next.
    pub why: String,
}

impl Unlisted {
    fn is_about(&self, scope: Option<&String>) -> bool {
        self.cluster_wide == scope.is_none()
            && (self.namespace.is_none() || self.namespace.as_ref() == scope)
    }
}

#[derive(Debug)]
struct Broken {
    key: (Option<String>, String),
    document: usize,
    problems: Problems,
    used: Cell<bool>,
}

/// What an authentication object stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// `podIdentity.provider: aws`.
    Aws(Identity),
    /// Secrets, other providers: nothing that the function could or may read.
    Other,
    /// It has errors of its own, which are reported at the object.
    Broken,
}

/// Whether a reader can look up authentications.
#[derive(Debug, Clone, Copy)]
pub enum Resolution<'a> {
    /// In those of the stream.
    From(&'a Authentications),
    /// Not at all: a record carries none, and a decision does not depend on them.
    Skip,
}

impl Authentications {
    /// Those of a cluster, to be added, without those that could not be listed.
    pub(super) fn of_cluster(unlisted: &[Unlisted]) -> Self {
        Self {
            unlisted: unlisted.to_vec(),
            in_cluster: true,
            ..Self::default()
        }
    }

    /// Why one that is not here may be there all the same.
    fn unlisted(&self, scope: Option<&String>) -> Option<&str> {
        let mut unlisted = self.unlisted.iter();
        let found = unlisted.find(|unlisted| unlisted.is_about(scope))?;
        Some(&found.why)
    }

    /// Reads an object. What cannot be told without its name is returned, the rest kept for [`Authentications::used`].
    pub(super) fn add(
        &mut self,
        document: usize,
        node: &Node,
        cluster_wide: bool,
        default_namespace: &str,
    ) -> Problems {
        let mut problems = Problems::default();
        let Some(key) = names(node, cluster_wide, default_namespace, &mut problems) else {
            return problems;
        };
        let identity = node.get("spec").and_then(|spec| spec.get("podIdentity"));
        let kind = match identity.filter(|identity| identity.value != Value::Null) {
            None => Kind::Other,
            Some(identity) => pod_identity(identity, &mut problems).unwrap_or(Kind::Broken),
        };
        if self.by_name.insert(key.clone(), kind).is_some() {
            // Which of them is meant is not ours to guess: one may have rights that the other has not.
            self.by_name.insert(key.clone(), Kind::Broken);
            problems.error(
                node.position,
                "metadata.name",
                "a second authentication of this name, allowed: one",
            );
        }
        if problems.errors() > 0 {
            let used = Cell::new(false);
            self.broken.push(Broken {
                key,
                document,
                problems,
                used,
            });
        }
        Problems::default()
    }

    /// What is wrong with the authentications that some trigger refers to: document, kind and name, problems.
    pub(super) fn used(self) -> impl Iterator<Item = (usize, String, Problems)> {
        let used = self.broken.into_iter().filter(|broken| broken.used.get());
        used.map(|broken| {
            let (namespace, name) = broken.key;
            // With its kind: a ScaledObject may have the same name, and nothing be wrong with it.
            let object = match namespace {
                Some(namespace) => format!("TriggerAuthentication {namespace}/{name}"),
                None => format!("ClusterTriggerAuthentication {name}"),
            };
            (broken.document, object, broken.problems)
        })
    }

    fn mark_used(&self, key: &(Option<String>, String)) {
        let broken = self.broken.iter().filter(|broken| broken.key == *key);
        broken.for_each(|broken| broken.used.set(true));
    }
}

fn names(
    node: &Node,
    cluster_wide: bool,
    default_namespace: &str,
    problems: &mut Problems,
) -> Option<(Option<String>, String)> {
    let metadata = node.get("metadata");
    let Some(name) = metadata.and_then(|metadata| metadata.get("name")) else {
        problems.error(node.position, "metadata.name", "missing, allowed: a name");
        return None;
    };
    let name = fields::object_name(name, "metadata.name", problems)?;
    if cluster_wide {
        return Some((None, name));
    }
    let namespace = match metadata.and_then(|metadata| metadata.get("namespace")) {
        Some(namespace) => fields::namespace(namespace, "metadata.namespace", problems)?,
        None => default_namespace.to_owned(),
    };
    Some((Some(namespace), name))
}

fn pod_identity(node: &Node, problems: &mut Problems) -> Option<Kind> {
    let path = "spec.podIdentity";
    let before = problems.list.len();
    let mut fields = Fields::of(node, path, problems)?;
    let provider_node = fields.require("provider", "aws", problems)?;
    let provider = fields::text(provider_node, &fields.path("provider"), problems)?;
    match provider.as_str() {
        "aws" => {}
        "aws-eks" => {
            let message = "found `aws-eks`, allowed: `aws` with `roleArn`: the function cannot read the role of the pod's service account";
            problems.error(provider_node.position, &fields.path("provider"), message);
            return None;
        }
        _ => return Some(Kind::Other),
    }
    let arn = fields.read("roleArn", problems, role_arn);
    let external_id = fields.read("externalID", problems, fields::text);
    // Only meaningful to other providers; accepted as KEDA's CRD accepts it.
    let _unused = (
        fields.take("identityId"),
        fields.take("identityTenantId"),
        fields.take("identityAuthorityHost"),
    );
    if let Some(owner) = fields.take("identityOwner") {
        let owner_path = fields.path("identityOwner");
        match owner.as_text().map(str::trim) {
            Some("keda" | "") => {}
            Some("workload") => {
                let message = "found `workload`, allowed: `keda`: the function cannot read the role of the pod's service account; write its ARN into `roleArn`";
                problems.error(owner.position, &owner_path, message);
            }
            Some(_) | None => problems.found(owner, &owner_path, "keda"),
        }
    }
    if external_id.is_some() && arn.is_none() {
        problems.error(
            fields.position(),
            &fields.path("externalID"),
            "set without `roleArn`, allowed: both or none",
        );
    }
    fields.finish(problems);
    (problems.list.len() == before).then(|| {
        Kind::Aws(arn.map_or(Identity::Function, |arn| Identity::Role {
            arn,
            external_id,
        }))
    })
}

/// The ARN of an IAM role.
pub(crate) fn role_arn(node: &Node, path: &str, problems: &mut Problems) -> Option<String> {
    let found = node.as_text().map(str::trim).filter(|arn| is_role_arn(arn));
    if found.is_none() {
        problems.found(
            node,
            path,
            "the ARN of an IAM role, such as arn:aws:iam::123456789012:role/NAME",
        );
    }
    found.map(str::to_owned)
}

/// Whether this is the ARN of an IAM role, in any partition.
#[must_use]
pub(crate) fn is_role_arn(arn: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [prefix, partition, service, region, account, resource] = parts.as_slice() else {
        return false;
    };
    let name = resource.strip_prefix("role/").unwrap_or_default();
    *prefix == "arn"
        && (*partition == "aws" || partition.starts_with("aws-"))
        && *service == "iam"
        && region.is_empty()
        && is_account(account)
        && !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-/".contains(&byte))
}

/// Whether this is the number of an AWS account.
#[must_use]
pub(crate) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The identity of a trigger, by DESIGN section 3: an `aws` authentication, else `identityOwner`.
pub(super) fn identity(
    trigger: &mut Fields<'_>,
    metadata: &mut Fields<'_>,
    namespace: &str,
    resolution: Resolution<'_>,
    problems: &mut Problems,
) -> Identity {
    let owner_node = metadata.take("identityOwner");
    let owner_path = metadata.path("identityOwner");
    let operator = match owner_node.and_then(Node::as_text).map(str::trim) {
        None if owner_node.is_none() => false,
        Some("" | "pod") => false,
        Some("operator") => true,
        Some(found) => {
            let hint = suggestion(found, &["operator", "pod"]);
            problems.error(
                owner_node.and_then(|node| node.position),
                &owner_path,
                format!("found {}{hint}", quoted(found)),
            );
            return Identity::Function;
        }
        None => {
            let _reported =
                owner_node.map(|node| problems.found(node, &owner_path, "operator or pod"));
            return Identity::Function;
        }
    };
    let reference = reference(trigger, problems);
    let Resolution::From(authentications) = resolution else {
        return Identity::Function;
    };
    let Some(Reference {
        name,
        cluster_wide,
        position,
        path,
    }) = reference
    else {
        if !operator && trigger_has_no_reference(trigger) {
            let message = "not set, so the default `pod` applies, and there is no pod: the function's own role is used; write `identityOwner: operator`";
            problems.warning(metadata.position(), &owner_path, message);
        }
        return Identity::Function;
    };
    let scope = (!cluster_wide).then(|| namespace.to_owned());
    let key = (scope, name.clone());
    let what = match authentications.by_name.get(&key) {
        Some(Kind::Aws(identity)) => return identity.clone(),
        Some(Kind::Broken) => {
            authentications.mark_used(&key);
            problems.error(
                position,
                &path,
                format!("the authentication `{name}` has errors"),
            );
            return Identity::Function;
        }
        Some(Kind::Other) => "holds no `podIdentity.provider: aws`",
        None => {
            if let Some(why) = authentications.unlisted(key.0.as_ref()) {
                let message = format!("the authentication `{name}` is not known: {why}");
                problems.error(position, &path, message);
                return Identity::Function;
            }
            match (authentications.in_cluster, cluster_wide) {
                (false, _) => "is not in this stream",
                (true, false) => "is not in this namespace",
                (true, true) => "is not in this cluster",
            }
        }
    };
    if operator {
        let message = format!(
            "the authentication `{name}` {what}; `identityOwner: operator` uses the function's own role without it"
        );
        problems.warning(position, &path, message);
    } else {
        let message = format!(
            "the authentication `{name}` {what}, and the function may not read Secrets; \
             allowed: a TriggerAuthentication with `podIdentity.provider: aws`, or `identityOwner: operator`"
        );
        problems.error(position, &path, message);
    }
    Identity::Function
}

struct Reference {
    name: String,
    cluster_wide: bool,
    position: Option<Position>,
    path: String,
}

fn reference(trigger: &mut Fields<'_>, problems: &mut Problems) -> Option<Reference> {
    let node = trigger.take("authenticationRef")?;
    let path = trigger.path("authenticationRef");
    let mut fields = Fields::of(node, &path, problems)?;
    let name = fields.require("name", "the name of a TriggerAuthentication", problems);
    let name = name.and_then(|node| fields::object_name(node, &format!("{path}.name"), problems));
    let kinds = [
        ("TriggerAuthentication", false),
        ("ClusterTriggerAuthentication", true),
    ];
    let cluster_wide = fields.read("kind", problems, |node, path, problems| {
        one_of(node, path, &kinds, problems)
    });
    fields.finish(problems);
    Some(Reference {
        name: name?,
        cluster_wide: cluster_wide.unwrap_or_default(),
        position: node.position,
        path,
    })
}

fn trigger_has_no_reference(trigger: &mut Fields<'_>) -> bool {
    trigger.take("authenticationRef").is_none()
}
