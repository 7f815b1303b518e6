//! What other stacks need: the roles that the function assumes, and the access entries of clusters elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::base::{Fill, block, fill, replaced};
use super::function::is_entered_here;
use super::needs::{Needs, Place, Role, UsedCluster, account_of, role_name};
use super::text::{fitting, logical, statements};
use super::{RenderError, Request};
use crate::yaml::scalar;

const ACCOUNT: &str = include_str!("../../infra/account.yaml");

/// One stack beside that of the function.
#[derive(Debug, Default)]
struct Stack<'n> {
    /// The roles that it makes.
    roles: BTreeMap<&'n str, &'n Role>,
    /// The clusters that it lets somebody into.
    clusters: Vec<&'n UsedCluster>,
}

/// Where a stack is made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    /// `None`: the account of the function, which nothing tells.
    account: Option<String>,
    region: String,
}

impl Spot {
    /// The file of the stack. One stack of an account has its roles, which have no region; it is called after the account alone.
    fn path(&self, main_region: &str) -> String {
        let Self { account, region } = self;
        match account {
            Some(account) if region == main_region => format!("account-{account}.yaml"),
            Some(account) => format!("account-{account}-{region}.yaml"),
            None => format!("account-{region}.yaml"),
        }
    }

    fn note(&self, stack: &Stack<'_>) -> String {
        let Self { account, region } = self;
        let account = account.as_deref().unwrap_or("of the function");
        let after = if stack.needs_function() {
            ", after the stack with the function's role, whose output RoleArn is the parameter FunctionRoleArn here"
        } else {
            ""
        };
        format!("# For account {account}, region {region}{after}.\n")
    }
}

impl Stack<'_> {
    /// Whether the function's own role is named in it.
    fn needs_function(&self) -> bool {
        !self.roles.is_empty() || self.clusters.iter().any(|used| used.role.is_none())
    }
}

/// The files of the stacks.
pub(super) fn files(
    request: &Request<'_>,
    needs: &Needs,
) -> Result<BTreeMap<String, String>, RenderError> {
    let mut stacks: BTreeMap<Spot, Stack<'_>> = BTreeMap::new();
    for used in needs.clusters.values() {
        if !is_entered_here(request, needs, used) {
            let Place {
                region, account, ..
            } = used.place.clone();
            let spot = Spot { account, region };
            stacks.entry(spot).or_default().clusters.push(used);
        }
    }
    for (arn, role) in &needs.roles {
        let account = account_of(arn);
        let region = main_region(request, needs, account.as_deref(), stacks.keys());
        let spot = Spot { account, region };
        stacks.entry(spot).or_default().roles.insert(arn, role);
    }
    let spots: Vec<Spot> = stacks.keys().cloned().collect();
    let file = |(spot, stack): (&Spot, &Stack<'_>)| {
        let main = main_region(request, needs, spot.account.as_deref(), spots.iter());
        let text = spot.note(stack) + &template(stack)?;
        Ok((spot.path(&main), text))
    };
    stacks.iter().map(file).collect()
}

/// The region of the function where the account has a stack there, or none anywhere; else the first of its regions. In its own account the
/// function's stack is in that of the function.
fn main_region<'s>(
    request: &Request<'_>,
    needs: &Needs,
    account: Option<&str>,
    spots: impl Iterator<Item = &'s Spot>,
) -> String {
    if needs.is_own(account) {
        return request.region.to_owned();
    }
    let of_account = spots.filter(|spot| spot.account.as_deref() == account);
    let regions: BTreeSet<&str> = of_account.map(|spot| spot.region.as_str()).collect();
    let first = regions
        .first()
        .filter(|_| !regions.contains(request.region));
    first.map_or(request.region, |first| first).to_owned()
}

/// The template of a stack.
fn template(stack: &Stack<'_>) -> Result<String, RenderError> {
    let Stack { roles, clusters } = stack;
    let mut text = String::new();
    for (arn, role) in roles {
        text += &role_resource(arn, role)?;
        text.push('\n');
    }
    let mut entries = Vec::new();
    for used in clusters {
        let name = &used.place.name;
        let principal = match &used.role {
            None => "!Ref FunctionRoleArn".to_owned(),
            Some(arn) if roles.contains_key(arn.as_str()) => {
                format!("!GetAtt Role{}.Arn", logical(role_name(arn).1))
            }
            Some(arn) => scalar(arn),
        };
        entries.push(vec![
            ("  AccessEntry:", format!("  AccessEntry{}:", logical(name))),
            ("!Ref ClusterName", scalar(name)),
            ("!GetAtt Role.Arn", principal),
        ]);
    }
    let needs_function = stack.needs_function();
    let keep = |keep| {
        if keep {
            Fill::Keep
        } else {
            Fill::Text(String::new())
        }
    };
    let mut fills = vec![
        ("hub", keep(needs_function)),
        ("given", keep(false)),
        ("each role", Fill::Lines(text)),
        ("entries", keep(!entries.is_empty())),
    ];
    let conditions = if entries.is_empty() {
        ""
    } else {
        fills.push(("each entry", Fill::Each(entries)));
        "Conditions:\n  MakesAccessEntry: !Equals [!Ref CreateAccessEntry, 'true']"
    };
    fills.push(("conditions", Fill::Text(conditions.to_owned())));
    Ok(fill(ACCOUNT, &fills)?)
}

fn role_resource(arn: &str, role: &Role) -> Result<String, RenderError> {
    let (path, name) = role_name(arn);
    let path = match path {
        "/" => String::new(),
        path => format!("Path: {}", scalar(path)),
    };
    let mut policies = statements(&role.rights, std::iter::empty());
    fitting(&format!("the role {arn}"), &role.rights, &policies, 100)?;
    if !policies.is_empty() {
        let mut lines = "Policies:\n- PolicyName: outrigger\n  PolicyDocument:\n    Version: '2012-10-17'\n    Statement:\n".to_owned();
        for line in policies.lines() {
            let _infallible = writeln!(lines, "    {line}");
        }
        policies = lines;
    }
    let base = block(ACCOUNT, "each role")?;
    let filled = fill(
        &base,
        &[
            ("path", Fill::Text(path)),
            ("external id", Fill::Text(condition(&role.external_ids))),
            ("policies", Fill::Text(policies)),
        ],
    )?;
    let words = [
        ("  Role:", format!("  Role{}:", logical(name))),
        ("!Ref RoleName", scalar(name)),
    ];
    Ok(replaced("each role", &filled, &words)?)
}

/// The external ids that the function brings. One that it does not always bring cannot be asked for.
fn condition(external_ids: &BTreeSet<Option<String>>) -> String {
    let ids: Option<Vec<String>> = external_ids
        .iter()
        .map(|id| id.as_deref().map(scalar))
        .collect();
    match ids {
        Some(ids) if !ids.is_empty() => {
            format!(
                "Condition: {{StringEquals: {{'sts:ExternalId': [{}]}}}}",
                ids.join(", ")
            )
        }
        Some(_) | None => String::new(),
    }
}
