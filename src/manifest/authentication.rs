//! Whose rights a trigger uses: `authenticationRef`, `TriggerAuthentication` and `identityOwner`.

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::document::{Node, Position, quoted};
use crate::fields::{self, Fields, Problems, nearest, one_of, suggestion};
use crate::policy::Identity;

/// The TriggerAuthentications of a stream or a cluster. A cluster-wide one has no namespace.
#[derive(Debug, Default)]
pub struct Authentications {
    by_name: BTreeMap<Key, Kind>,
    /// Where they could not be listed. Empty for a stream, which is whole.
    unlisted: Vec<Unlisted>,
    /// Whether they are a cluster's.
    in_cluster: bool,
    /// Whether some document may be an authentication that nothing can refer to, because its name cannot be read.
    has_nameless: bool,
    /// What is wrong with some of them, by document. Told only when a trigger refers to one: the stream may hold those of
    /// other scalers, too.
    noted: Vec<Noted>,
}

/// Namespace and name. A cluster-wide one has no namespace.
type Key = (Option<String>, String);

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
struct Noted {
    key: Key,
    document: usize,
    problems: Problems,
    /// By the object that is being read.
    used: Cell<bool>,
    /// Whether its warnings were told: once is enough, however many objects refer to it.
    told: Cell<bool>,
}

/// What an authentication object stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// `podIdentity.provider: aws`.
    Aws(Identity),
    /// Secrets: nothing that the function may read.
    Other,
    /// Another provider, which `identityOwner: operator` never looks at. What is wrong with it is noted.
    OtherProvider(String),
    /// It has errors of its own, which are noted.
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
        let kind = read_spec(node.get("spec"), &mut problems);
        if self.by_name.insert(key.clone(), kind).is_some() {
            // Which of them is meant is not ours to guess: one may have rights that the other has not.
            self.by_name.insert(key.clone(), Kind::Broken);
            problems.error(
                node.position,
                "metadata.name",
                "a second authentication of this name, allowed: one",
            );
        }
        if !problems.list.is_empty() {
            self.noted.push(Noted {
                key,
                document,
                problems,
                used: Cell::new(false),
                told: Cell::new(false),
            });
        }
        Problems::default()
    }

    /// Notes a document that may be an authentication, whatever its name is. What refers to one that is not found is refused,
    /// and not told besides what is wrong with that document.
    pub(super) fn add_nameless(&mut self) {
        self.has_nameless = true;
    }

    /// What is wrong with the authentications that the object just read refers to: document, kind and name, problems. Its errors
    /// refuse the object, each warning is told once.
    pub(super) fn used(&self) -> Vec<(usize, String, Problems)> {
        let used = self.noted.iter().filter(|noted| noted.used.take());
        let used = used.filter(|noted| noted.problems.errors() > 0 || !noted.told.replace(true));
        let used = used.map(|noted| {
            let (namespace, name) = &noted.key;
            let object = match namespace {
                Some(namespace) => format!("TriggerAuthentication {namespace}/{name}"),
                None => format!("ClusterTriggerAuthentication {name}"),
            };
            (noted.document, object, noted.problems.clone())
        });
        used.collect()
    }

    fn mark_used(&self, key: &Key) {
        let noted = self.noted.iter().filter(|noted| noted.key == *key);
        noted.for_each(|noted| noted.used.set(true));
    }

    /// Why none is found by this key, and what to do.
    fn missing(&self, (scope, name): &Key) -> String {
        let here = if self.in_cluster { "cluster" } else { "stream" };
        if scope.is_some() && self.by_name.contains_key(&(None, name.clone())) {
            return "is a ClusterTriggerAuthentication, and the reference lacks its kind; add `kind: ClusterTriggerAuthentication`".to_owned();
        }
        // In a cluster an object is not told what other namespaces have.
        let same_name = self.by_name.keys();
        let same_name = same_name.filter(|(_, other)| other == name && !self.in_cluster);
        let namespaces: Vec<&str> = same_name
            .filter_map(|(scope, _)| scope.as_deref())
            .collect();
        let listed = namespaces.join("`, `");
        match scope {
            None if !namespaces.is_empty() => {
                return format!(
                    "is a TriggerAuthentication of the namespace `{listed}`, and the reference has `kind: ClusterTriggerAuthentication`; leave that out"
                );
            }
            Some(namespace) if !namespaces.is_empty() => {
                return format!(
                    "is in the namespace `{listed}` and must be in `{namespace}`, that of the ScaledObject"
                );
            }
            Some(_) | None => {}
        }
        let same_scope = self.by_name.keys();
        let same_scope =
            same_scope.filter(|(other, _)| other == scope && (scope.is_some() || !self.in_cluster));
        let names: Vec<&str> = same_scope.map(|(_, name)| name.as_str()).collect();
        let near = nearest(name, &names).map(|near| format!(", did you mean `{near}`?"));
        match (near, self.in_cluster, scope) {
            (Some(near), ..) => format!("is not in this {here}{near}"),
            (None, false, _) => {
                "is not in this stream: if it is in another file, add that with another `-f`"
                    .to_owned()
            }
            (None, true, Some(_)) => "is not in this namespace".to_owned(),
            (None, true, None) => "is not in this cluster".to_owned(),
        }
    }
}

fn names(
    node: &Node,
    cluster_wide: bool,
    default_namespace: &str,
    problems: &mut Problems,
) -> Option<(Option<String>, String)> {
    let metadata = node.get("metadata");
    let fields = metadata.map(|metadata| Fields::of(metadata, "metadata", problems));
    let mut fields = match fields {
        Some(fields) => fields?,
        None => Fields::of(node, "", problems)?,
    };
    let Some(name) = metadata.and_then(|_| fields.take("name")) else {
        problems.error(
            fields.position(),
            "metadata.name",
            "missing, allowed: a name",
        );
        return None;
    };
    let name = fields::object_name(name, "metadata.name", problems)?;
    if cluster_wide {
        return Some((None, name));
    }
    let namespace = metadata.and_then(|metadata| metadata.get("namespace"));
    let namespace = match namespace.filter(|namespace| !namespace.is_blank()) {
        Some(namespace) => fields::namespace(namespace, "metadata.namespace", problems)?,
        None => default_namespace.to_owned(),
    };
    Some((Some(namespace), name))
}

/// What else KEDA knows in the `spec` of an authentication. None of it is for the function.
const SPEC: [&str; 9] = [
    "secretTargetRef",
    "configMapTargetRef",
    "env",
    "filePath",
    "hashiCorpVault",
    "azureKeyVault",
    "gcpSecretManager",
    "awsSecretManager",
    "boundServiceAccountToken",
];

fn read_spec(node: Option<&Node>, problems: &mut Problems) -> Kind {
    let Some(node) = node else {
        return Kind::Other;
    };
    let Some(mut fields) = Fields::of(node, "spec", problems) else {
        return Kind::Broken;
    };
    if let Some(identity) = fields.take("podIdentity") {
        return pod_identity(identity, problems).unwrap_or(Kind::Broken);
    }
    if !fields.is_misspelt("podIdentity") {
        return Kind::Other;
    }
    for key in SPEC {
        fields.take(key);
    }
    fields.finish(problems);
    Kind::Broken
}

/// Providers of KEDA that have nothing to do with AWS.
const PROVIDERS: [&str; 6] = [
    "none",
    "azure",
    "azure-workload",
    "gcp",
    "aws-kiam",
    "aws-eks",
];

/// Its fields beside the provider.
const POD_IDENTITY: [&str; 6] = [
    "roleArn",
    "externalID",
    "identityId",
    "identityTenantId",
    "identityAuthorityHost",
    "identityOwner",
];

fn pod_identity(node: &Node, problems: &mut Problems) -> Option<Kind> {
    let path = "spec.podIdentity";
    let mut fields = Fields::of(node, path, problems)?;
    let Some(provider_node) = fields.require("provider", "aws", problems) else {
        for key in POD_IDENTITY {
            fields.take(key);
        }
        fields.finish(problems);
        return None;
    };
    let provider_path = fields.path("provider");
    let provider = fields::text(provider_node, &provider_path, problems)?;
    if provider == "none" {
        return Some(Kind::Other);
    }
    if provider != "aws" {
        let message = match provider.as_str() {
            "aws-eks" => "found `aws-eks`, allowed: `aws` with `roleArn`: the function cannot read the role of the pod's service account".to_owned(),
            known if PROVIDERS.contains(&known) => format!("found `{known}`, allowed: aws, or `identityOwner: operator` in the trigger"),
            other => format!("found {}{}", quoted(other), suggestion(other, &["aws"])),
        };
        problems.error(provider_node.position, &provider_path, message);
        return Some(Kind::OtherProvider(provider));
    }
    let errors = problems.errors();
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
    if fields.take("roleArn").is_none()
        && let Some(node) = fields.take("externalID")
    {
        let message = "ignored, since `roleArn` is not set: the function's own role is used, and no role is assumed with it";
        problems.warning(node.position, &fields.path("externalID"), message);
    }
    fields.finish(problems);
    (problems.errors() == errors).then(|| {
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
    // All fields first: one that is left because another is wrong would be told as unknown.
    let operator = owner(metadata, problems);
    let reference = reference(trigger, problems);
    let has_reference = trigger.take("authenticationRef").is_some();
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
        if operator == Some(false) && !has_reference {
            let message = "not set, so the default `pod` applies, and there is no pod: the function's own role is used; write `identityOwner: operator`";
            problems.warning(
                metadata.position(),
                &metadata.path("identityOwner"),
                message,
            );
        }
        return Identity::Function;
    };
    let scope = (!cluster_wide).then(|| namespace.to_owned());
    let key = (scope, name.clone());
    let (what, cure) = match authentications.by_name.get(&key) {
        Some(Kind::Aws(identity)) => {
            authentications.mark_used(&key);
            return identity.clone();
        }
        Some(Kind::Broken) => {
            authentications.mark_used(&key);
            problems.error_elsewhere();
            return Identity::Function;
        }
        Some(Kind::OtherProvider(provider)) if operator == Some(true) => {
            (format!("has the provider {}", quoted(provider)), "")
        }
        Some(Kind::OtherProvider(_)) => {
            // Without an owner that can be read, its provider may be right.
            if operator.is_some() {
                authentications.mark_used(&key);
            }
            problems.error_elsewhere();
            return Identity::Function;
        }
        Some(Kind::Other) => (
            "holds no `podIdentity.provider: aws`".to_owned(),
            ", and the function may not read Secrets; \
             allowed: a TriggerAuthentication with `podIdentity.provider: aws`, or `identityOwner: operator`",
        ),
        None => {
            if let Some(why) = authentications.unlisted(key.0.as_ref()) {
                let message = format!("the authentication `{name}` is not known: {why}");
                problems.error(position, &path, message);
                return Identity::Function;
            }
            if authentications.has_nameless && operator != Some(true) {
                problems.error_elsewhere();
                return Identity::Function;
            }
            let what = authentications.missing(&key);
            // One that is elsewhere only has to be put right.
            let cure = if what.starts_with("is not ") {
                "; allowed: a TriggerAuthentication with `podIdentity.provider: aws`, or `identityOwner: operator`"
            } else {
                ""
            };
            (what, cure)
        }
    };
    match operator {
        Some(true) => {
            let message = format!(
                "the authentication `{name}` {what}; `identityOwner: operator` uses the function's own role without it"
            );
            problems.warning(position, &path, message);
        }
        Some(false) => {
            let message = format!("the authentication `{name}` {what}{cure}");
            problems.error(position, &path, message);
        }
        // What is wrong with the owner was told, and with the right one this may be right.
        None => {}
    }
    Identity::Function
}

/// Whether `identityOwner` is `operator`; `None` where it is neither that nor `pod`, which was told.
fn owner(metadata: &mut Fields<'_>, problems: &mut Problems) -> Option<bool> {
    let Some(node) = metadata
        .take("identityOwner")
        .filter(|node| !node.is_blank())
    else {
        // What follows from a misspelt one is not told besides.
        return (!metadata.is_misspelt("identityOwner")).then_some(false);
    };
    let owners = [("operator", true), ("pod", false)];
    one_of(node, &metadata.path("identityOwner"), &owners, problems)
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
    // KEDA takes an empty one for the default.
    let kind = fields.take("kind").filter(|node| !node.is_blank());
    let cluster_wide = match kind {
        Some(node) => one_of(node, &fields.path("kind"), &kinds, problems),
        None => (!fields.is_misspelt("kind")).then_some(false),
    };
    fields.finish(problems);
    Some(Reference {
        name: name?,
        cluster_wide: cluster_wide?,
        position: node.position,
        path,
    })
}
