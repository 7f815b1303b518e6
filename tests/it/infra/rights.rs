//! The rights of the function's role are the calls that are made, no more and no less.

use std::collections::{BTreeMap, BTreeSet};

use outrigger::sandbox::{Sandbox, SandboxOptions, Service};
use serde_json::Value as Json;

use super::{ACCESS, tree};
use crate::support::function::Function;
use crate::support::{WORKER, actions, bare, furnish};

const READER: &str = "arn:aws:iam::123456789012:role/reader";

/// What Lambda itself does with the role, by statement; the code is denied the last of these.
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html>
const LAMBDAS: [(&str, &[&str]); 4] = [
    ("WriteLog", &["logs:CreateLogStream", "logs:PutLogEvents"]),
    ("TellFailures", &["sqs:SendMessage"]),
    ("UseKey", &["kms:Decrypt", "kms:GenerateDataKey"]),
    (
        "AttachToVpc",
        &[
            "ec2:AssignPrivateIpAddresses",
            "ec2:CreateNetworkInterface",
            "ec2:DeleteNetworkInterface",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSubnets",
            "ec2:UnassignPrivateIpAddresses",
        ],
    ),
];

/// A statement of the role, and the condition that it stands under.
struct Statement {
    sid: String,
    condition: Option<String>,
    effect: String,
    actions: BTreeSet<String>,
    resource: Json,
}

fn statements() -> Vec<Statement> {
    let role = &tree(ACCESS)["Resources"]["Role"]["Properties"];
    let policies = role["Policies"].as_array().unwrap();
    let [policy] = policies.as_slice() else {
        panic!("{policies:?}");
    };
    let statements = policy["PolicyDocument"]["Statement"].as_array().unwrap();
    let statements = statements.iter().map(|statement| {
        let (condition, statement) = match statement.get("Fn::If") {
            Some(choice) => {
                assert_eq!(choice[2], "AWS::NoValue");
                (choice[0].as_str().map(str::to_owned), &choice[1])
            }
            None => (None, statement),
        };
        let actions = match &statement["Action"] {
            Json::String(action) => vec![action.clone()],
            several => serde_json::from_value(several.clone()).unwrap(),
        };
        let text = |key: &str| statement[key].as_str().unwrap().to_owned();
        Statement {
            sid: text("Sid"),
            condition,
            effect: text("Effect"),
            actions: actions.into_iter().collect(),
            resource: statement["Resource"].clone(),
        }
    });
    statements.collect()
}

/// What the code may do with every condition met: action to condition.
fn of_the_code() -> BTreeMap<String, Option<String>> {
    let lambdas = |sid: &str| LAMBDAS.iter().any(|(known, _)| *known == sid);
    let allowed = statements().into_iter();
    let allowed = allowed.filter(|found| found.effect == "Allow" && !lambdas(&found.sid));
    allowed
        .flat_map(|found| {
            let condition = found.condition;
            let actions = found.actions.into_iter();
            actions.map(move |action| (action, condition.clone()))
        })
        .collect()
}

/// What was asked of AWS, as IAM names it. `GetCallerIdentity` needs no right.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>
fn made(sandbox: &Sandbox) -> BTreeSet<String> {
    let services = [
        (Service::Sqs, "sqs"),
        (Service::CloudWatch, "cloudwatch"),
        (Service::Sts, "sts"),
        (Service::Eks, "eks"),
    ];
    let asked = services.into_iter().flat_map(|(service, prefix)| {
        let names = actions(sandbox, service).into_iter();
        names.map(move |action| format!("{prefix}:{}", action.split(' ').next().unwrap()))
    });
    asked
        .filter(|action| action != "sts:GetCallerIdentity")
        .collect()
}

/// A pass that scales out and one that has nothing to do.
async fn calls(manifest: &str, environment: &[(&str, &str)]) -> BTreeSet<String> {
    let sandbox = bare(SandboxOptions::default()).await;
    furnish(&sandbox);
    sandbox.sts().allow_role(READER, None);
    let function = Function::start(&sandbox, manifest, environment).await;
    function.answer("{}").await;
    function.answer("{}").await;
    made(&sandbox)
}

/// The rights of a role made with some conditions met.
fn rights(conditions: &[&str]) -> BTreeSet<String> {
    let given = of_the_code().into_iter();
    let given = given.filter(|(_, condition)| {
        let condition = condition.as_deref();
        condition.is_none_or(|condition| conditions.contains(&condition))
    });
    given.map(|(action, _)| action).collect()
}

const METRIC: &str = r#"
  - type: aws-cloudwatch
    metadata:
      expression: SELECT MAX(Age) FROM Shop
      targetMetricValue: "30"
      minMetricValue: "0"
      awsRegion: ap-northeast-1
      identityOwner: operator
"#;

const AUTHENTICATION: &str = "
---
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata: {name: keda-aws-credentials, namespace: default}
spec: {podIdentity: {provider: aws, roleArn: ROLE}}
";

#[tokio::test]
async fn each_condition_gives_what_its_triggers_need() {
    let by_name = WORKER.replace("https://sqs.ap-northeast-1.amazonaws.com/123456789012/", "");
    let with_metric = format!("{WORKER}{METRIC}");
    let with_role = format!("{WORKER}{}", AUTHENTICATION.replace("ROLE", READER));
    for (manifest, conditions) in [
        (WORKER, vec!["ReadsQueues"]),
        (&by_name, vec!["ReadsQueues", "FindsQueues"]),
        (&with_metric, vec!["ReadsQueues", "ReadsMetrics"]),
        // Its own queue is read by the role that it takes.
        (&with_role, vec!["ReadsQueues", "TakesRoles"]),
    ] {
        assert_eq!(
            calls(manifest, &[]).await,
            rights(&conditions),
            "{manifest}"
        );
    }
    let all = ["ReadsQueues", "FindsQueues", "ReadsMetrics", "TakesRoles"];
    let every: BTreeSet<String> = of_the_code().into_keys().collect();
    assert_eq!(rights(&all), every);
}

#[test]
fn the_rest_is_for_lambda_itself() {
    let statements = statements();
    for (sid, actions) in LAMBDAS {
        let found = statements.iter().find(|found| found.sid == sid).unwrap();
        let actions: BTreeSet<String> = actions.iter().map(|action| (*action).to_owned()).collect();
        assert_eq!(found.actions, actions, "{sid}");
        let conditional = matches!(sid, "UseKey" | "AttachToVpc");
        assert_eq!(found.condition.is_some(), conditional, "{sid}");
    }
    let denied = statements.iter().filter(|found| found.effect == "Deny");
    let denied: Vec<_> = denied
        .map(|found| (found.sid.as_str(), &found.actions, &found.condition))
        .collect();
    let in_vpc = Some("InVpc".to_owned());
    assert_eq!(
        denied,
        [("NotFromTheCode", &["ec2:*".to_owned()].into(), &in_vpc)]
    );
    // Only where AWS knows no narrower resource.
    let boundless = statements.iter().filter(|found| found.resource == "*");
    let boundless: Vec<&str> = boundless.map(|found| found.sid.as_str()).collect();
    assert_eq!(boundless, ["ReadMetrics", "AttachToVpc", "NotFromTheCode"]);
}

#[test]
fn the_readme_has_every_right_and_no_other() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let table = crate::docs::rows(&readme, "| right | for |").join("\n");
    let named: BTreeSet<&str> = table
        .split('`')
        .filter(|part| part.contains(':') && !part.contains([' ', '=']))
        .collect();
    let allowed = statements();
    let allowed = allowed.iter().filter(|found| found.effect == "Allow");
    let allowed: BTreeSet<&str> = allowed
        .flat_map(|found| found.actions.iter().map(String::as_str))
        .collect();
    assert_eq!(named, allowed);
}
