//! The CloudFormation templates against the code, against each other and against the README. What CloudFormation itself would
//! say of them is asked by `tests/infra/run`, and what becomes of them by `servers::stack`.

pub(crate) mod commands;
mod rights;

use std::collections::{BTreeMap, BTreeSet};

use outrigger::report::METRICS;
use outrigger::settings::{Settings, VARIABLES};
use serde_json::Value as Json;

const ACCESS: &str = include_str!("../../infra/access.yaml");
const ACCOUNT: &str = include_str!("../../infra/account.yaml");
const WIRING: &str = include_str!("../../infra/wiring.yaml");
pub(crate) const TEMPLATE: &str = include_str!("../../infra/template.yaml");
const CARGO: &str = include_str!("../../Cargo.toml");

/// What is invoked, as `wiring.yaml` names it and as `template.yaml` does.
const ALIAS: &str =
    "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${FunctionName}:live";
const OWN_ALIAS: &str = "!Ref Function.Alias";

/// A template as a tree, in which `!Ref X` is no more than `X`.
pub(crate) fn tree(template: &str) -> Json {
    let documents = outrigger::document::parse_yaml(template.as_bytes());
    documents[0].root.as_ref().unwrap().to_json()
}

/// The entries of a section by name, as they are written, comments included.
fn entries<'t>(template: &'t str, section: &str) -> BTreeMap<&'t str, String> {
    let (_, rest) = template.split_once(&format!("\n{section}:\n")).unwrap();
    let end = rest.find("\n\n\n").unwrap_or(rest.len());
    let lines = rest[..end].lines();
    let lines = lines.take_while(|line| line.is_empty() || line.starts_with(' '));
    let mut entries: BTreeMap<&str, String> = BTreeMap::new();
    let mut name = "";
    for line in lines {
        let indented = line.strip_prefix("  ").unwrap_or_default();
        if indented.is_empty() || indented.starts_with('#') {
            continue;
        }
        if !indented.starts_with(' ') {
            name = indented.split(':').next().unwrap();
        }
        let entry = entries.entry(name).or_default();
        entry.push_str(line);
        entry.push('\n');
    }
    entries
}

/// Without what may be told in other words.
fn rules(parameter: &str) -> Vec<&str> {
    let lines = parameter.lines();
    lines
        .filter(|line| !line.trim_start().starts_with("Description:"))
        .collect()
}

#[test]
fn the_stack_is_its_two_halves_and_the_function() {
    let stack = entries(TEMPLATE, "Resources");
    let mut halves = entries(ACCESS, "Resources");
    halves.extend(entries(WIRING, "Resources"));
    // SAM has it as a property of the function.
    halves.remove("Invocation").unwrap();
    for (name, half) in &halves {
        let half = half.replace(&format!("!Sub '{ALIAS}'"), OWN_ALIAS);
        let half = half.replace(&format!("!Sub {ALIAS}"), OWN_ALIAS);
        assert_eq!(stack.get(name), Some(&half), "{name}");
    }
    let others: Vec<_> = stack
        .keys()
        .filter(|name| !halves.contains_key(*name))
        .collect();
    assert_eq!(others, [&"Function"]);

    let own = &tree(TEMPLATE)["Resources"]["Function"]["Properties"]["EventInvokeConfig"];
    let half = &tree(WIRING)["Resources"]["Invocation"]["Properties"];
    for property in ["MaximumRetryAttempts", "MaximumEventAgeInSeconds"] {
        assert_eq!(own[property], half[property]);
    }
    let queue =
        "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:${FunctionName}-failures";
    assert_eq!(half["DestinationConfig"]["OnFailure"]["Destination"], queue);
    let name = &tree(ACCESS)["Resources"]["FailureQueue"]["Properties"]["QueueName"];
    assert_eq!(name, "${FunctionName}-failures");
    let destination = &own["DestinationConfig"]["OnFailure"]["Destination"];
    assert_eq!(destination, "FailureQueue.Arn");
}

#[test]
fn a_parameter_and_a_condition_mean_the_same_everywhere() {
    for (half, elsewhere) in [(ACCESS, "RunsInVpc"), (WIRING, "")] {
        let stack = entries(TEMPLATE, "Parameters");
        for (name, parameter) in entries(half, "Parameters") {
            if name != elsewhere {
                assert_eq!(rules(&stack[name]), rules(&parameter), "{name}");
            }
        }
        let stack = entries(TEMPLATE, "Conditions");
        for (name, condition) in entries(half, "Conditions") {
            // Of the function the subnets themselves are known.
            if name != "InVpc" {
                assert_eq!(stack[name], condition);
            }
        }
    }
}

#[test]
fn window_schedule_and_timeout_belong_together() {
    let template = tree(TEMPLATE);
    let default = |variable: &str| {
        let found = VARIABLES.iter().find(|(name, ..)| *name == variable);
        found.unwrap().1
    };
    let parameter = &template["Parameters"]["Window"];
    assert_eq!(
        parameter["Default"].to_string(),
        default("OUTRIGGER_WINDOW")
    );
    let timeout = default("OUTRIGGER_WINDOW").parse::<u32>().unwrap() + 15;
    let of_cargo = format!("timeout = {timeout}");
    assert!(CARGO.lines().any(|line| line == of_cargo));

    let windows = template["Mappings"]["Windows"].as_object().unwrap();
    let of_wiring = tree(WIRING)["Mappings"]["Windows"].clone();
    let allowed = parameter["AllowedValues"].as_array().unwrap();
    assert_eq!(windows.len(), allowed.len());
    for seconds in allowed {
        let settings = settings(&[("OUTRIGGER_WINDOW", &seconds.to_string())]);
        let seconds = settings.unwrap().window_seconds.get();
        let unit = if seconds == 60 { "minute" } else { "minutes" };
        let window = &windows[&seconds.to_string()];
        assert_eq!(window["Rate"], format!("rate({} {unit})", seconds / 60));
        assert_eq!(window["Timeout"], seconds + 15);
        let failing = 300_u32.div_ceil(seconds) * seconds + 60;
        assert_eq!(window["FailingPeriod"], failing);
        let mut half = window.clone();
        half.as_object_mut().unwrap().remove("Timeout");
        assert_eq!(of_wiring[&seconds.to_string()], half);
    }
}

fn settings(variables: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    let needed = [("OUTRIGGER_CLUSTERS", "prod"), ("AWS_REGION", "eu-west-1")];
    let environment = needed.iter().chain(variables);
    let environment = environment.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let settings = Settings::from_environment(&environment.collect());
    settings.map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

/// By address is a cluster reached that cannot be described, for which a template is changed by hand.
const BY_HAND: [&str; 2] = ["OUTRIGGER_CLUSTER_ENDPOINT", "OUTRIGGER_CLUSTER_CA"];

#[test]
fn every_variable_has_a_parameter_with_the_same_default_and_values() {
    let template = tree(TEMPLATE);
    let variables = &template["Resources"]["Function"]["Properties"]["Environment"]["Variables"];
    let variables = variables.as_object().unwrap();
    let set: BTreeSet<&str> = variables.keys().map(String::as_str).collect();
    let known = VARIABLES.iter().map(|(name, ..)| *name);
    let known: BTreeSet<&str> = known.filter(|name| !BY_HAND.contains(name)).collect();
    assert_eq!(set, known);
    for (variable, default, _) in VARIABLES {
        let Some(parameter) = variables.get(variable).and_then(Json::as_str) else {
            continue;
        };
        let parameter = &template["Parameters"][parameter];
        let text = |value: &Json| value.as_str().map_or(value.to_string(), str::to_owned);
        assert_eq!(text(&parameter["Default"]), default, "{variable}");
        for value in parameter["AllowedValues"].as_array().into_iter().flatten() {
            let read = settings(&[(variable, &text(value))]);
            assert!(read.is_ok(), "{variable}={value}: {read:?}");
        }
    }
}

#[test]
fn cargo_lambda_and_the_stack_deploy_the_same_function() {
    let template = tree(TEMPLATE);
    let function = &template["Resources"]["Function"]["Properties"];
    let has = |line: &str| assert!(CARGO.lines().any(|found| found == line), "{line}");
    let text = |value: &Json| value.as_str().unwrap().to_owned();
    has(&format!("runtime = \"{}\"", text(&function["Runtime"])));
    has(&format!(
        "alias = \"{}\"",
        text(&function["AutoPublishAlias"])
    ));
    let parameters = &template["Parameters"];
    has(&format!("memory = {}", parameters["MemorySize"]["Default"]));
    let name = text(&parameters["FunctionName"]["Default"]);
    has(&format!("name = \"{name}\""));
    has(&format!(
        "OUTRIGGER_WINDOW = \"{}\"",
        parameters["Window"]["Default"]
    ));
    let binary = text(&function["CodeUri"]);
    let binary = binary.split('/').nth_back(1).unwrap();
    has(&format!("binary_name = \"{binary}\""));
    assert_eq!(parameters["Architecture"]["Default"], "arm64");
}

/// It costs no custom metric: it reads the log, and what AWS counts anyhow.
#[test]
fn the_dashboard_reads_what_is_logged() {
    let template = tree(WIRING);
    assert_eq!(template["Parameters"]["MakeDashboard"]["Default"], "false");
    let dashboard = &template["Resources"]["Dashboard"]["Properties"]["DashboardBody"];
    let body = dashboard["Fn::Sub"][0].as_str().unwrap();
    assert!(!body.contains("\"Outrigger\""), "{body}");
    let queries = body.split("\"query\": \"").skip(1);
    let queries: Vec<&str> = queries
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(queries.len(), 4);
    let known: BTreeSet<&str> = METRICS.iter().map(|(name, _)| *name).collect();
    let mut shown = BTreeSet::new();
    for query in queries {
        assert!(
            query.starts_with("SOURCE '/aws/lambda/${FunctionName}' | "),
            "{query}"
        );
        let fields = query
            .split(['(', ')'])
            .filter(|part| part.starts_with(char::is_uppercase));
        let fields: BTreeSet<&str> = fields.filter(|field| !field.contains(' ')).collect();
        assert!(fields.is_subset(&known), "{fields:?} in {query}");
        shown.extend(fields);
    }
    for asked_for in ["Messages", "ScaledOut", "ScaledIn", "Failed"] {
        assert!(shown.contains(asked_for), "{asked_for}");
    }
}
