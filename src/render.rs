//! From targets to the infrastructure for exactly them: templates for CloudFormation, rights in Kubernetes.
//!
//! The shipped files in `infra/` are the base, so that what ships and what is rendered cannot drift. The same targets and
//! settings give the same bytes: everything is sorted, and nothing depends on the time or the machine.

mod account;
mod base;
mod bill;
mod environment;
mod function;
mod needs;
mod notes;
mod rbac;
mod regions;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

pub use base::BaseError;
pub use bill::{Bill, Item, Polled, Usage, bill, dollars, polls, priced};
pub use rbac::Plurals;

use crate::manifest::Target;
use crate::settings::Settings;
use environment::Environment;
pub(crate) use environment::named;
use needs::Needs;

/// How every rendered file begins. Only a file that does is ever overwritten.
pub const HEADER: &str =
    "# Rendered by outrigger. Do not edit: change the ScaledObjects, and render again.\n";

/// The one file that is no YAML: variables for `cargo lambda deploy --env-file`.
pub const ENVIRONMENT: &str = "function.env";

/// What is rendered.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The targets, each with the name of its cluster.
    pub targets: &'a [Target],
    /// The settings of the function.
    pub settings: &'a Settings,
    /// The region of the function.
    pub region: &'a str,
    /// The account of the function, where it is known.
    pub account: Option<&'a str>,
    /// The plurals of kinds, where they are known.
    pub plurals: &'a Plurals,
    /// Where the function's package is, seen from the rendered template.
    pub package: &'a str,
    /// The command that renders the same again, for the headers.
    pub command: &'a str,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The files by path, relative to the folder that they are for, in the order of the paths.
    pub files: BTreeMap<String, String>,
    /// What a person should know: what was guessed or could not be done.
    pub notes: Vec<String>,
}

/// Why nothing can be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The function's account cannot be told.
    #[error(
        "the function's own role reads queues of the accounts {}, so its own account is not clear: say which it is",
        .0.join(", ")
    )]
    WhichAccount(Vec<String>),
    /// The function's account cannot be told, and something depends on it.
    #[error(
        "nothing says which account the function runs in, neither the ARN of its cluster nor the URL of a queue that its own role reads, \
         and whether `{0}` is a role of that account decides what is rendered: say it with --account ID, or with --cluster ARN"
    )]
    UnknownAccount(String),
    /// A queue of an account that is none.
    #[error(
        "the queue `{queue}`: its URL names the account `{account}`, which is none, since an account has 12 digits, so no right and no \
         alarm can be rendered for it: write the account into queueURL"
    )]
    NoAccount {
        /// The queue.
        queue: String,
        /// What stands for its account.
        account: String,
    },
    /// A cluster that the one who signs in cannot describe.
    #[error(
        "the cluster `{cluster}` is in account {account}, and who would sign in to it is in {asks}: \
         EKS describes a cluster to its own account alone, so name a role of {account}, as in `…:cluster/{cluster}=ROLE_ARN`"
    )]
    ClusterOfOther {
        /// The cluster.
        cluster: String,
        /// Its account.
        account: String,
        /// The account of the role that is assumed for it, or of the function.
        asks: String,
    },
    /// Two roles that IAM cannot tell apart.
    #[error(
        "the roles `{0}` and `{1}` have one name, and an account has one role of a name, whatever its path"
    )]
    RoleTwice(String, String),
    /// A target without a cluster.
    #[error("{0}: its cluster is not one of the function's")]
    NoCluster(String),
    /// What no role of the function reaches.
    #[error(
        "{what} is of the partition {found}, and the function, in {region}, of {own}: neither roles nor credentials reach from one \
         into the other, so give it a function of its own there"
    )]
    OtherPartition {
        /// The cluster, queue or role.
        what: String,
        /// Its partition.
        found: String,
        /// That of the function.
        own: &'static str,
        /// The region of the function.
        region: String,
    },
    /// More than IAM takes.
    #[error(
        "{role} would name {queues} queues in {length} characters, and IAM takes 10,240 for all inline policies of a role: \
         read some with another role, or render some namespaces apart, for a function of their own"
    )]
    PolicyTooLong {
        /// Whose policy it is.
        role: String,
        /// How many queues it would name.
        queues: usize,
        /// Characters of the statements.
        length: usize,
    },
    /// More than Lambda takes.
    #[error(
        "the function's variables would have {bytes} bytes, and Lambda takes 4,096: {clusters} clusters with {grants} roles and queues of \
         OUTRIGGER_ROLES and OUTRIGGER_QUEUES are too many for one function, so give some of them to another one"
    )]
    EnvironmentTooLong {
        /// Bytes of names and values.
        bytes: usize,
        /// Clusters in the list.
        clusters: usize,
        /// Roles and queues in their lists.
        grants: usize,
    },
    /// This program does not fit its own templates.
    #[error("a shipped template is not as expected: {0}")]
    Base(BaseError),
}

impl RenderError {
    /// Whether it is this program's mistake.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        matches!(self, Self::Base(_))
    }
}

/// Renders everything, or tells every reason why not.
pub fn render(request: &Request<'_>) -> Result<Rendered, Vec<RenderError>> {
    let needs = Needs::of(request)?;
    let files = files(request, &needs).map_err(|error| vec![error])?;
    let header = format!("{HEADER}#   {}\n", request.command);
    let files = files.into_iter();
    let files: BTreeMap<String, String> = files
        .map(|(path, text)| (path, format!("{header}{text}")))
        .collect();
    let mut notes = notes::of(request, &needs);
    notes.extend(notes::too_large(&files));
    notes.extend(notes::too_many(&files));
    notes.push(notes::price(request, &needs));
    Ok(Rendered { files, notes })
}

/// What every file has but for the line that names the command: two commands may say the same in other words.
#[must_use]
pub fn without_command(text: &str) -> Option<&str> {
    let (_, rest) = text.strip_prefix(HEADER)?.split_once('\n')?;
    Some(rest)
}

fn files(request: &Request<'_>, needs: &Needs) -> Result<BTreeMap<String, String>, RenderError> {
    let environment = Environment::of(request)?;
    let [template, access, wiring] = function::templates(request, needs, &environment)?;
    let mut files = BTreeMap::from([
        (ENVIRONMENT.to_owned(), environment.file()),
        ("template.yaml".to_owned(), template),
        ("access.yaml".to_owned(), access),
        ("wiring.yaml".to_owned(), wiring),
    ]);
    files.extend(account::files(request, needs)?);
    let source = &request.settings.source;
    for ((cluster, name), workloads) in &needs.namespaces {
        let path = format!("kubernetes/{cluster}/{name}.yaml");
        let text = rbac::namespace(name, workloads, request.plurals, source)?;
        files.insert(path, text);
    }
    Ok(files)
}
