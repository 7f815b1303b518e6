//! `cron` and `aws-cloudwatch`, and what all triggers have in common.

use super::*;
use crate::policy::MetricQuery;

/// A manifest with one trigger of the given kind and metadata lines.
fn of_kind(kind: &str, metadata: &str) -> String {
    object("", metadata).replace("type: aws-sqs-queue", &format!("type: {kind}"))
}

const CRON: &str =
    "timezone: Europe/Berlin\nstart: 0 8 * * 1-5\nend: 0 18 * * 1-5\ndesiredReplicas: \"10\"";

const CLOUDWATCH: &str = "namespace: AWS/SQS\nmetricName: ApproximateAgeOfOldestMessage\ndimensionName: QueueName\ndimensionValue: orders\n\
    targetMetricValue: \"2.5\"\nminMetricValue: \"0\"\nignoreNullValues: \"false\"\nawsRegion: eu-west-1\nidentityOwner: operator";

/// One line of metadata replaced, or added when no line begins like it.
fn with(metadata: &str, key: &str, value: &str) -> String {
    let prefix = format!("{key}:");
    let mut lines: Vec<String> = metadata
        .lines()
        .filter(|line| !line.starts_with(&prefix))
        .map(str::to_owned)
        .collect();
    lines.push(format!("{key}: {value}"));
    lines.join("\n")
}

#[track_caller]
fn only_trigger(text: &str) -> (Trigger, Vec<String>) {
    let configuration = read_text(text);
    let [target] = configuration.targets.as_slice() else {
        panic!("{:#?}", configuration.findings)
    };
    let [trigger] = target.policy.triggers.as_slice() else {
        panic!("{:#?}", target.policy.triggers)
    };
    let findings = configuration
        .findings
        .iter()
        .map(|finding| finding.problem.to_string());
    (trigger.clone(), findings.collect())
}

#[test]
fn more_than_a_hundred_triggers_are_refused_unread() {
    let text = of_kind("cron", CRON);
    let (head, trigger) = text.split_at(text.find("  - type: cron").unwrap());
    let with = |count: usize| read_text(&format!("{head}{}", trigger.repeat(count)));
    assert_eq!(with(100).targets.len(), 1);
    let mistakes = with(101).findings;
    let mistakes: Vec<String> = mistakes.iter().map(|one| one.problem.to_string()).collect();
    assert_eq!(
        mistakes,
        ["spec.triggers: found 101 triggers, allowed: at most 100"]
    );
}

#[test]
fn cron_triggers() {
    let (Trigger::Cron(trigger), findings) = only_trigger(&of_kind("cron", CRON)) else {
        panic!("no cron trigger")
    };
    assert_eq!(
        trigger.to_string(),
        "cron `0 8 * * 1-5` to `0 18 * * 1-5` (Europe/Berlin)"
    );
    assert_eq!((trigger.replicas.get(), findings.len()), (10, 0));
    let reference = of_kind("cron", CRON).replace(
        "    metadata:",
        "    authenticationRef: {name: x}\n    useCachedMetrics: false\n    metadata:",
    );
    let (_, findings) = only_trigger(&reference);
    assert_eq!(
        findings,
        ["spec.triggers[0].authenticationRef: ignored: a cron trigger reads nothing"]
    );
}

#[test]
fn cron_triggers_that_are_refused() {
    for (key, value, expected) in [
        (
            "timezone",
            "Europe/Berlim",
            "timezone: no time zone `Europe/Berlim`, did you mean `Europe/Berlin`?",
        ),
        (
            "timezone",
            "\"\"",
            "timezone: missing, allowed: a name of the IANA",
        ),
        (
            "start",
            "'@daily'",
            "start: found `@daily`: descriptors are refused, as KEDA does; allowed: 5 fields",
        ),
        (
            "start",
            "0 8 * *",
            "start: found `0 8 * *`: has 4 fields, allowed: 5",
        ),
        (
            "start",
            "0 25 * * *",
            "start: found `0 25 * * *`: `25` is no hour, allowed: 0 to 23",
        ),
        ("end", "0 0 30 2 *", "end: found `0 0 30 2 *`: never comes"),
        ("end", "0 8 * * 1-5", "end: the same times as `start`"),
        ("end", "0 8 * * mon-fri", "end: the same times as `start`"),
        (
            "desiredReplicas",
            "'0'",
            "desiredReplicas: found `0`, allowed: a whole number from 1",
        ),
        ("desiredReplicas", "'-3'", "desiredReplicas: found `-3`"),
        ("desiredReplicas", "'2.5'", "desiredReplicas: found `2.5`"),
        ("desiredReplicas", "''", "desiredReplicas: missing"),
        (
            "timeZone",
            "UTC",
            "timeZone: unknown field, did you mean `timezone`?",
        ),
        (
            "awsRegion",
            "eu-west-1",
            "awsRegion: unknown field, allowed: timezone, start, end, desiredReplicas",
        ),
    ] {
        let error = error(&of_kind("cron", &with(CRON, key, value)));
        let expected = format!("spec.triggers[0].metadata.{expected}");
        assert!(error.contains(&expected), "{expected} in {error}");
    }
    let cached =
        of_kind("cron", CRON).replace("    metadata:", "    useCachedMetrics: true\n    metadata:");
    assert!(error(&cached).contains("useCachedMetrics: found `true`, allowed: false"));
    assert_eq!(errors(&of_kind("cron", "x: y")).len(), 5);
    let all = errors(&of_kind(
        "cron",
        "timezone: Nowhere\nstart: x\nend: y\ndesiredReplicas: z",
    ));
    assert_eq!(all.len(), 4, "{all:#?}");
}

#[test]
fn cloudwatch_triggers() {
    let (Trigger::CloudWatch(trigger), findings) =
        only_trigger(&of_kind("aws-cloudwatch", CLOUDWATCH))
    else {
        panic!("no cloudwatch trigger")
    };
    let metric = &trigger.metric;
    let MetricQuery::Statistic {
        namespace,
        name,
        dimensions,
        statistic,
        unit,
    } = &metric.query
    else {
        panic!("{metric:?}")
    };
    assert_eq!(
        (namespace.as_str(), name.as_str()),
        ("AWS/SQS", "ApproximateAgeOfOldestMessage")
    );
    assert_eq!(dimensions, &[("QueueName".to_owned(), "orders".to_owned())]);
    // Defaults of KEDA.
    assert_eq!((statistic.as_str(), unit), ("Average", &None));
    assert_eq!(
        (
            metric.period_seconds,
            metric.collection_seconds,
            metric.end_offset_seconds
        ),
        (300, 300, 0)
    );
    assert_eq!(
        (metric.region.as_str(), &metric.endpoint, &metric.identity),
        ("eu-west-1", &None, &Identity::Function)
    );
    assert_eq!(
        (
            trigger.target_milli.get(),
            trigger.activation_milli,
            trigger.no_data_milli
        ),
        (2500, 0, None)
    );
    assert_eq!(findings, [""; 0]);

    let full = "namespace: AWS/SQS\nmetricName: NumberOfMessagesSent\ndimensionName: QueueName; Stage\ndimensionValue: orders;prod\n\
        targetMetricValue: 1e3\nactivationTargetMetricValue: -0.5\nminMetricValue: 1.25\nignoreNullValues: 'true'\nmetricCollectionTime: 600\n\
        metricStat: p99.9\nmetricStatPeriod: '60'\nmetricUnit: Count\nmetricEndTimeOffset: 60\nawsRegion: eu-west-1\n\
        awsEndpoint: http://localhost:4566/\nidentityOwner: operator";
    let (Trigger::CloudWatch(trigger), findings) = only_trigger(&of_kind("aws-cloudwatch", full))
    else {
        panic!("no cloudwatch trigger")
    };
    let metric = &trigger.metric;
    assert_eq!(
        metric.to_string(),
        "`AWS/SQS NumberOfMessagesSent QueueName=orders,Stage=prod`"
    );
    assert_eq!(
        (
            metric.period_seconds,
            metric.collection_seconds,
            metric.end_offset_seconds
        ),
        (60, 600, 60)
    );
    assert_eq!(metric.endpoint.as_deref(), Some("http://localhost:4566"));
    assert_eq!(
        (
            trigger.target_milli.get(),
            trigger.activation_milli,
            trigger.no_data_milli
        ),
        (1_000_000, -500, Some(1250))
    );
    assert_eq!(findings, [""; 0]);
}

#[test]
fn what_is_odd_about_a_cloudwatch_trigger_is_told() {
    let warning = |metadata: &str| {
        let (_, findings) = only_trigger(&of_kind("aws-cloudwatch", metadata));
        assert_eq!(findings.len(), 1, "{findings:#?}");
        findings[0].clone()
    };
    let silent = with(CLOUDWATCH, "ignoreNullValues", "''");
    let found = warning(&with(&silent, "minMetricValue", "'1.5'"));
    let expected = "ignoreNullValues: not set, so no data counts as minMetricValue 1.5, and may scale in; write `\"false\"`";
    assert!(found.contains(expected), "{found}");
    let found = warning(&with(CLOUDWATCH, "targetMetricValue", "0.3333"));
    assert!(
        found.ends_with(
            "targetMetricValue: found `0.3333`, read as 0.333: Kubernetes knows thousandths"
        ),
        "{found}"
    );
    let expression = with(
        CLOUDWATCH,
        "expression",
        "SELECT MAX(ApproximateAgeOfOldestMessage) FROM SCHEMA(\"AWS/SQS\", QueueName)",
    );
    let (Trigger::CloudWatch(trigger), findings) =
        only_trigger(&of_kind("aws-cloudwatch", &expression))
    else {
        panic!("no cloudwatch trigger")
    };
    assert!(
        matches!(&trigger.metric.query, MetricQuery::Expression(text) if text.starts_with("SELECT MAX"))
    );
    assert_eq!(findings.len(), 4, "{findings:#?}");
    assert!(
        findings
            .iter()
            .all(|finding| finding.ends_with("ignored, since `expression` is set"))
    );
}

/// A key, what is written there, and what is said about it.
#[rustfmt::skip]
const REFUSED: &[[&str; 3]] = &[
    ["namespace", "''", "namespace: missing, allowed: such as AWS/SQS, or an `expression`"],
    ["dimensionName", "''", "dimensionName: missing, allowed: names separated by `;`"],
    ["dimensionName", "A;B", "dimensionValue: found `orders`, allowed: as many values"],
    ["dimensionValue", "orders;", "dimensionValue: found `orders;`, allowed: as many values"],
    ["targetMetricValue", "'0'", "targetMetricValue: found `0`, allowed: a number above 0"],
    ["targetMetricValue", "'-1'", "targetMetricValue: found `-1`, allowed: a number above 0"],
    ["targetMetricValue", "ten", "targetMetricValue: found `ten`, allowed: a number such as 12.5"],
    ["targetMetricValue", "NaN", "targetMetricValue: found `NaN`"],
    ["minMetricValue", "''", "minMetricValue: missing, allowed: a number, which no data counts as"],
    ["activationTargetMetricValue", "x", "activationTargetMetricValue: found `x`"],
    ["ignoreNullValues", "yes", "ignoreNullValues: found `yes`, allowed: true or false"],
    ["metricStat", "average", "metricStat: found `average`, did you mean `Average`?"],
    ["metricStat", "p101", "metricStat: found `p101`, allowed: SampleCount"],
    ["metricUnit", "Counts", "metricUnit: found `Counts`, did you mean `Count`?"],
    ["metricStatPeriod", "45", "metricStatPeriod: found `45`, allowed: 1, 5, 10, 30 or a multiple of 60 seconds"],
    ["metricStatPeriod", "0", "metricStatPeriod: found `0`"],
    ["metricStatPeriod", "600", "metricCollectionTime: found `300`, allowed: a multiple of `metricStatPeriod`, which is 600"],
    ["metricCollectionTime", "450", "metricCollectionTime: found `450`, allowed: a multiple"],
    ["metricCollectionTime", "0", "metricCollectionTime: found `0`"],
    ["metricEndTimeOffset", "-60", "metricEndTimeOffset: found `-60`"],
    ["awsRegion", "''", "awsRegion: missing"],
    ["awsRegion", "nowhere", "awsRegion: found `nowhere`"],
    ["awsEndpoint", "localhost", "awsEndpoint: found `localhost`"],
    ["awsAccessKeyID", "AKIA", "awsAccessKeyID: static keys are refused"],
    ["identityOwner", "workload", "identityOwner: found `workload`"],
    ["targetMetricvalue", "3", "targetMetricvalue: unknown field, did you mean `targetMetricValue`?"],
    ["queueURL", "orders", "queueURL: unknown field"],
];

#[test]
fn cloudwatch_triggers_that_are_refused() {
    for [key, value, expected] in REFUSED {
        let error = error(&of_kind("aws-cloudwatch", &with(CLOUDWATCH, key, value)));
        let expected = format!("spec.triggers[0].metadata.{expected}");
        assert!(error.contains(&expected), "{expected} in {error}");
    }
    for statistic in [
        "SampleCount",
        "IQM",
        "p50",
        "p99.99",
        "tm90",
        "TM(10%:90%)",
        "PR(:300)",
        "ts100",
    ] {
        let (_, findings) = only_trigger(&of_kind(
            "aws-cloudwatch",
            &with(CLOUDWATCH, "metricStat", statistic),
        ));
        assert_eq!(findings, [""; 0], "{statistic}");
    }
}

#[test]
fn a_cloudwatch_trigger_uses_rights_as_a_queue_does() {
    let trigger = of_kind("aws-cloudwatch", &with(CLOUDWATCH, "identityOwner", "''"));
    let (_, findings) = only_trigger(&trigger);
    assert!(
        findings[0].contains("identityOwner: not set, so the default `pod` applies"),
        "{findings:#?}"
    );
    let trigger = trigger.replace(
        "    metadata:",
        "    authenticationRef: {name: aws}\n    metadata:",
    );
    assert!(error(&trigger).contains("the authentication `aws` is not in this stream"));
    let text = format!(
        "{trigger}---\napiVersion: keda.sh/v1alpha1\nkind: TriggerAuthentication\nmetadata: {{name: aws}}\nspec:\n  podIdentity: \
         {{provider: aws, roleArn: 'arn:aws:iam::123456789012:role/reader', externalID: shop}}\n"
    );
    let (Trigger::CloudWatch(trigger), findings) = only_trigger(&text) else {
        panic!("no cloudwatch trigger")
    };
    let expected = Identity::Role {
        arn: "arn:aws:iam::123456789012:role/reader".into(),
        external_id: Some("shop".into()),
    };
    assert_eq!((trigger.metric.identity, findings.len()), (expected, 0));
}

#[test]
fn other_triggers_are_refused_by_name() {
    let allowed = "type: found `kafka`, allowed: aws-sqs-queue, cron, aws-cloudwatch";
    assert!(error(&of_kind("kafka", "")).contains(allowed));
    assert!(error(&of_kind("aws-cloudwach", "")).contains("did you mean `aws-cloudwatch`?"));
    let two = format!("{}  - type: cron\n    name: a\n    metadata: {{timezone: UTC, start: 0 8 * * *, end: 0 9 * * *, desiredReplicas: 1}}\n", object("", GOOD_METADATA))
        .replace("type: aws-sqs-queue", "type: aws-sqs-queue\n    name: a");
    assert!(error(&two).contains("a second trigger named `a`"));
    let value = of_kind("aws-cloudwatch", CLOUDWATCH)
        .replace("    metadata:", "    metricType: Value\n    metadata:");
    assert!(error(&value).contains("metricType: found `Value`, allowed: AverageValue"));
    // As in KEDA, an empty one is the default.
    for empty in ["metricType: ''", "metricType: AverageValue", "metricType:"] {
        let text = of_kind("aws-cloudwatch", CLOUDWATCH);
        let text = text.replace("    metadata:", &format!("    {empty}\n    metadata:"));
        assert_eq!(read_text(&text).targets.len(), 1, "{empty}");
    }
}
