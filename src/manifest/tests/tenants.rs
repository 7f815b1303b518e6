//! What the objects of a cluster may use of the function's rights.

use super::*;
use crate::document::parse_yaml;
use crate::settings::Settings;

const QUEUES: &str = "arn:aws:sqs:eu-west-1:111111111111:";
const ROLE: &str = "arn:aws:iam::222222222222:role/reader";
const CLUSTERS: &str = "arn:aws:eks:eu-west-1:111111111111:cluster/prod,east";

fn settings(more: &[(&str, &str)]) -> Settings {
    let own = [
        ("AWS_REGION", "eu-west-1"),
        ("OUTRIGGER_CLUSTERS", CLUSTERS),
        ("OUTRIGGER_CONFIG", "cluster:"),
    ];
    let variables = own.iter().chain(more);
    let environment = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::from_environment(&environment.collect()).unwrap()
}

fn object(namespace: &str, trigger: &str) -> String {
    format!(
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {{name: worker, namespace: {namespace}}}\nspec:\n  scaleTargetRef: \
         {{name: worker}}\n  triggers:\n  - {trigger}\n"
    )
}

fn sqs(url: &str, region: &str) -> String {
    format!(
        "{{type: aws-sqs-queue, metadata: {{queueURL: '{url}', awsRegion: {region}, identityOwner: operator}}}}"
    )
}

fn authenticated(kind: &str) -> String {
    format!(
        "{{type: aws-sqs-queue, metadata: {{queueURL: orders, awsRegion: eu-west-1}}, authenticationRef: {{name: aws, kind: {kind}}}}}"
    )
}

/// What is wrong with an object of a cluster; nothing where it is a target.
fn refused(settings: &Settings, cluster: &str, yaml: &str, wide: &[&str]) -> Vec<String> {
    let parsed = |text: &str| parse_yaml(text.as_bytes()).remove(0).root.unwrap();
    let authentication = |kind: &str, place: &str| {
        parsed(&format!(
            "apiVersion: keda.sh/v1alpha1\nkind: {kind}\nmetadata: {{name: aws{place}}}\nspec: {{podIdentity: {{provider: aws, roleArn: {ROLE}}}}}\n"
        ))
    };
    let own = ["shop", "shop-2", "billing"].map(|namespace| {
        let place = format!(", namespace: {namespace}");
        authentication("TriggerAuthentication", &place)
    });
    let of_cluster: Vec<_> = { wide.iter() }
        .map(|_| authentication("ClusterTriggerAuthentication", ""))
        .collect();
    let object = parsed(yaml);
    let objects = ClusterObjects {
        scaled_objects: vec![&object],
        authentications: own.iter().collect(),
        cluster_authentications: of_cluster.iter().collect(),
        unlisted: Vec::new(),
    };
    let configuration = read_cluster(&objects, ClusterContext::of(cluster, settings));
    let errors = configuration.errors();
    let errors: Vec<String> = errors.map(|finding| finding.problem.to_string()).collect();
    assert_eq!(errors.is_empty(), configuration.targets.len() == 1);
    errors
}

#[test]
fn a_role_of_one_namespace_is_of_no_other() {
    let bound = settings(&[("OUTRIGGER_ROLES", &format!("prod/shop={ROLE}"))]);
    let trigger = authenticated("TriggerAuthentication");
    let refused = |settings, cluster, namespace: &str| {
        refused(settings, cluster, &object(namespace, &trigger), &[])
    };
    assert_eq!(refused(&bound, "prod", "shop"), [""; 0]);
    for (cluster, namespace) in [
        ("prod", "billing"),
        ("prod", "shop-2"),
        // Of another cluster with a namespace of the same name.
        ("east", "shop"),
    ] {
        let message = format!(
            "spec.triggers[0].authenticationRef: the authentication names the role `{ROLE}`, allowed: a role that OUTRIGGER_ROLES of the \
             function lists for {cluster}/{namespace}; ask its owner to add {cluster}/{namespace}={ROLE}"
        );
        assert_eq!(refused(&bound, cluster, namespace), [message]);
    }
    let everybody = settings(&[("OUTRIGGER_ROLES", ROLE)]);
    assert_eq!(refused(&everybody, "east", "billing"), [""; 0]);
}

#[test]
fn a_cluster_wide_authentication_lends_its_role_to_nobody() {
    let bound = settings(&[("OUTRIGGER_ROLES", &format!("prod/shop={ROLE}"))]);
    let trigger = authenticated("ClusterTriggerAuthentication");
    let refused = |namespace| refused(&bound, "prod", &object(namespace, &trigger), &["aws"]);
    assert_eq!(refused("shop"), [""; 0]);
    let errors = refused("billing");
    assert_eq!(errors.len(), 1);
    // Who may refer to it need not be allowed to read it.
    assert!(!errors[0].contains(ROLE), "{errors:?}");
    let wanted = "a role that is not allowed, allowed: a role that OUTRIGGER_ROLES of the function lists for prod/billing; ask its owner to add it";
    assert!(errors[0].contains(wanted), "{errors:?}");
}

#[test]
fn a_queue_of_one_namespace_is_of_no_other() {
    let list = format!("{QUEUES}public,prod/shop={QUEUES}shop-*");
    let bound = settings(&[("OUTRIGGER_QUEUES", &list)]);
    let refused = |cluster, namespace, url: &str, region: &str| {
        refused(&bound, cluster, &object(namespace, &sqs(url, region)), &[])
    };
    let url =
        |account: &str, name: &str| format!("https://sqs.eu-west-1.amazonaws.com/{account}/{name}");
    let own = url("111111111111", "shop-orders");
    for (cluster, namespace, url) in [
        ("prod", "shop", own.as_str()),
        ("prod", "shop", &own.replace("https", "http")),
        ("prod", "shop", &own.replace(".com", ".com:443")),
        (
            "prod",
            "shop",
            "https://eu-west-1.queue.amazonaws.com/111111111111/shop-orders.fifo",
        ),
        (
            "prod",
            "shop",
            "https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com/111111111111/shop-orders",
        ),
        // By its name it is of the function's account.
        ("prod", "shop", "shop-orders"),
        ("east", "billing", &url("111111111111", "public")),
    ] {
        assert_eq!(
            refused(cluster, namespace, url, "eu-west-1"),
            [""; 0],
            "{url}"
        );
    }
    // Another namespace, one whose name begins so, and one of the same name in another cluster.
    for (cluster, namespace) in [("prod", "billing"), ("prod", "shop-2"), ("east", "shop")] {
        let item = format!("{cluster}/{namespace}={QUEUES}shop-orders");
        let message = format!(
            "spec.triggers[0].metadata.queueURL: the queue is not granted to {cluster}/{namespace} and is not read; ask the function's owner \
             to add {item} to OUTRIGGER_QUEUES"
        );
        for address in [own.as_str(), "shop-orders"] {
            let found = refused(cluster, namespace, address, "eu-west-1");
            assert_eq!(found, std::slice::from_ref(&message));
            assert!(found[0].len() <= 250, "{}", found[0].len());
        }
    }
    // Other queues, in whatever way their URL looks like that of the own one.
    for (address, region) in [
        (url("111111111111", "shop").as_str(), "eu-west-1"),
        (&url("111111111111", "Shop-orders"), "eu-west-1"),
        (&url("111111111111", "billing"), "eu-west-1"),
        (&url("111111111112", "shop-orders"), "eu-west-1"),
        (&url("1111111111110", "shop-orders"), "eu-west-1"),
        (&url("shop", "shop-orders"), "eu-west-1"),
        (&own.replace("eu-west-1", "eu-west-2"), "eu-west-2"),
        (&own, "eu-west-2"),
        (&own.replace("sqs", "SQS"), "eu-west-1"),
        (&own.replace("amazonaws.com", "example.com"), "eu-west-1"),
        (&own.replace("sqs.", "user@sqs."), "eu-west-1"),
        (&own.replace(".com", ".com:x"), "eu-west-1"),
        (&format!("{own}/"), "eu-west-1"),
        (&format!("{own}/../billing"), "eu-west-1"),
        (&format!("{own}?x=y"), "eu-west-1"),
        (&format!("{own}#x"), "eu-west-1"),
        (&own.replace("shop-", "shop%2D"), "eu-west-1"),
        (&own.replace("/shop-", "//shop-"), "eu-west-1"),
        (&own.replace("/shop-", "/./shop-"), "eu-west-1"),
        ("shop", "eu-west-1"),
        ("shop-orders", "eu-west-2"),
        // What is an emulator's is asked of SQS itself here.
        ("http://localhost:4566/111111111111/billing", "eu-west-1"),
    ] {
        assert_eq!(
            refused("prod", "shop", address, region).len(),
            1,
            "{address} {region}"
        );
    }
    assert_eq!(
        refused(
            "prod",
            "shop",
            "http://localhost:4566/111111111111/shop-orders",
            "eu-west-1"
        ),
        [""; 0]
    );
}

#[test]
fn queues_that_nobody_was_granted_are_read_by_nobody() {
    let shop = |queues| {
        let settings = settings(&[("OUTRIGGER_QUEUES", queues)]);
        refused(
            &settings,
            "prod",
            &object("shop", &sqs("orders", "eu-west-1")),
            &[],
        )
        .len()
    };
    assert_eq!(shop(""), 0);
    assert_eq!(shop("none"), 1);
    assert_eq!(shop(&format!("{QUEUES}*")), 0);
    // What another role reads is not the function's to grant, but its owner's who lists the role.
    let by_role = settings(&[("OUTRIGGER_QUEUES", "none"), ("OUTRIGGER_ROLES", ROLE)]);
    let trigger = authenticated("TriggerAuthentication");
    assert_eq!(
        refused(&by_role, "prod", &object("shop", &trigger), &[]),
        [""; 0]
    );
}

#[test]
fn a_bare_name_is_of_no_account_where_none_is_known() {
    let list = format!("prod/shop={QUEUES}shop-*");
    let nameless = settings(&[("OUTRIGGER_CLUSTERS", "prod"), ("OUTRIGGER_QUEUES", &list)]);
    let found = refused(
        &nameless,
        "prod",
        &object("shop", &sqs("shop-orders", "eu-west-1")),
        &[],
    );
    assert_eq!(found.len(), 1);
    assert!(
        found[0].contains("which a bare name does not tell; write the queue's URL"),
        "{found:?}"
    );
    let url = "https://sqs.eu-west-1.amazonaws.com/111111111111/shop-orders";
    assert_eq!(
        refused(
            &nameless,
            "prod",
            &object("shop", &sqs(url, "eu-west-1")),
            &[]
        ),
        [""; 0]
    );
}

#[test]
fn a_metric_of_a_queue_is_of_no_account_either() {
    let list = format!("prod/shop={QUEUES}shop-*");
    let nameless = settings(&[("OUTRIGGER_CLUSTERS", "prod"), ("OUTRIGGER_QUEUES", &list)]);
    let metric =
        "namespace: AWS/SQS, metricName: X, dimensionName: QueueName, dimensionValue: shop-orders";
    let found = refused(&nameless, "prod", &object("shop", &cloudwatch(metric)), &[]);
    let cure = "which a metric does not tell; read the queue itself by its URL, or ask";
    assert!(found.len() == 1 && found[0].contains(cure), "{found:?}");
    assert!(found[0].len() <= 300, "{found:?}");
}

fn cloudwatch(metric: &str) -> String {
    format!(
        "{{type: aws-cloudwatch, metadata: {{{metric}, targetMetricValue: '1', minMetricValue: '0', awsRegion: eu-west-1, identityOwner: operator}}}}"
    )
}

/// A depth that SQS does not tell is not had from CloudWatch either.
#[test]
fn the_metrics_of_a_queue_go_with_it() {
    let list = format!("prod/shop={QUEUES}shop-*");
    let bound = settings(&[("OUTRIGGER_QUEUES", &list)]);
    let refused = |settings, metric: &str| {
        refused(settings, "prod", &object("shop", &cloudwatch(metric)), &[])
    };
    let metric = |queue: &str| {
        format!(
            "namespace: AWS/SQS, metricName: ApproximateNumberOfMessagesVisible, dimensionName: QueueName, dimensionValue: {queue}"
        )
    };
    assert_eq!(refused(&bound, &metric("shop-orders")), [""; 0]);
    let found = refused(&bound, &metric("billing"));
    assert_eq!(found.len(), 1);
    let wanted = format!(
        "spec.triggers[0].metadata.dimensionValue: the queue is not granted to prod/shop and is not read; ask the function's owner to add prod/shop={QUEUES}billing"
    );
    assert!(found[0].contains(&wanted), "{found:?}");
    // Other metrics are nobody's queue.
    let lambda = "namespace: AWS/Lambda, metricName: Errors, dimensionName: FunctionName, dimensionValue: billing";
    assert_eq!(refused(&bound, lambda), [""; 0]);
    assert_eq!(refused(&settings(&[]), &metric("billing")), [""; 0]);
}

#[test]
fn an_expression_is_the_owners_to_allow() {
    // Whoever reads it.
    let by_role = cloudwatch("expression: SELECT MAX(X) FROM Y").replace(
        ", identityOwner: operator}}",
        "}, authenticationRef: {name: aws}}",
    );
    let roles = settings(&[("OUTRIGGER_ROLES", ROLE)]);
    let found = refused(&roles, "prod", &object("shop", &by_role), &[]);
    assert!(
        found.len() == 1 && found[0].contains("OUTRIGGER_EXPRESSIONS"),
        "{found:?}"
    );
    let refused = |cluster, namespace, list: &str| {
        let settings = settings(&[("OUTRIGGER_EXPRESSIONS", list)]);
        let yaml = object(
            namespace,
            &cloudwatch("expression: SELECT MAX(X) FROM \"AWS/SQS\""),
        );
        refused(&settings, cluster, &yaml, &[])
    };
    assert_eq!(refused("prod", "shop", "prod/shop"), [""; 0]);
    assert_eq!(refused("east", "billing", "everybody"), [""; 0]);
    for (cluster, namespace, list) in [
        ("prod", "shop", ""),
        ("prod", "shop-2", "prod/shop"),
        ("east", "shop", "prod/shop"),
    ] {
        let found = refused(cluster, namespace, list);
        let cure = format!(
            "ask the function's owner to add {cluster}/{namespace} to OUTRIGGER_EXPRESSIONS"
        );
        assert!(found.len() == 1 && found[0].contains(&cure), "{found:?}");
        assert!(found[0].starts_with("spec.triggers[0].metadata.expression: not allowed here"));
        assert!(found[0].len() <= 250, "{}", found[0].len());
    }
}

#[test]
fn a_polling_interval_below_the_floor_is_raised_and_said() {
    let seconds = |seconds| NonZeroU32::new(seconds);
    let read = |spec: &str, floor| {
        let yaml = object("shop", &sqs("orders", "eu-west-1"));
        let yaml = yaml.replace("spec:\n", &format!("spec:\n{spec}"));
        let context = Context {
            file: "test.yaml",
            namespace: "default",
            clusters: &[],
        };
        let configuration = read_polled(yaml.as_bytes(), context, seconds(floor));
        let findings: Vec<String> = configuration
            .findings
            .iter()
            .map(ToString::to_string)
            .collect();
        let target = configuration.targets[0].clone();
        let asked = target.asked_polling_seconds.map(NonZeroU32::get);
        // The record says what counted.
        let in_record = target.manifest["spec"]["pollingInterval"].as_u64();
        (
            target.policy.polling_seconds.get(),
            asked,
            in_record,
            findings,
        )
    };
    assert_eq!(
        read("  pollingInterval: 1\n", 0),
        (1, None, Some(1), vec![])
    );
    assert_eq!(
        read("  pollingInterval: 30\n", 30),
        (30, None, Some(30), vec![])
    );
    assert_eq!(
        read("  pollingInterval: 31\n", 30),
        (31, None, Some(31), vec![])
    );
    assert_eq!(read("", 30), (30, None, None, vec![]));
    let (polled, asked, in_record, findings) = read("  pollingInterval: 1\n", 30);
    assert_eq!((polled, asked, in_record), (30, Some(1), Some(30)));
    assert_eq!(
        findings,
        [
            "test.yaml: document 1, line 5, column 20 (shop/worker): warning: spec.pollingInterval: 1 s is less than the function's owner lets count, \
          and is raised to 30 s (OUTRIGGER_MIN_POLLING); write 30 or more"
        ]
    );
    let (polled, asked, in_record, findings) = read("", 60);
    assert_eq!((polled, asked, in_record), (60, Some(30), Some(60)));
    assert!(
        findings[0].contains("30 s, the default, is less than"),
        "{findings:?}"
    );
    // In a cluster, too.
    let floor = settings(&[("OUTRIGGER_MIN_POLLING", "45")]);
    let yaml = object("shop", &sqs("orders", "eu-west-1"));
    let node = parse_yaml(yaml.as_bytes()).remove(0).root.unwrap();
    let objects = ClusterObjects {
        scaled_objects: vec![&node],
        ..ClusterObjects::default()
    };
    let configuration = read_cluster(&objects, ClusterContext::of("prod", &floor));
    let target = &configuration.targets[0];
    assert_eq!(target.policy.polling_seconds.get(), 45);
    assert_eq!(target.asked_polling_seconds, seconds(30));
    assert_eq!(configuration.findings.len(), 1);
}
