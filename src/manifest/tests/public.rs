//! Manifests as people have them: what is accepted with a warning, and what a refusal says.

use super::*;
use crate::document::parse_yaml;
use crate::settings::grants::Tenants;

/// A stream of one ScaledObject `shop/worker` with a reference, and of what follows it.
fn stream(reference: &str, owner: &str, rest: &str) -> String {
    format!(
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {{name: worker, namespace: shop}}\nspec:\n  scaleTargetRef: {{name: worker}}\n  \
         triggers:\n  - type: aws-sqs-queue\n    authenticationRef: {reference}\n    metadata: {{queueURL: orders, awsRegion: eu-west-1{owner}}}\n{rest}"
    )
}

fn authentication(kind: &str, metadata: &str, identity: &str) -> String {
    format!(
        "---\napiVersion: keda.sh/v1alpha1\nkind: {kind}\nmetadata: {{{metadata}}}\nspec: {{podIdentity: {{{identity}}}}}\n"
    )
}

/// The warnings of a stream that is accepted, without their places.
#[track_caller]
fn warnings(text: &str) -> Vec<String> {
    let configuration = read_text(text);
    assert_eq!(
        configuration.targets.len(),
        1,
        "{:#?}",
        configuration.findings
    );
    let findings = configuration.findings.iter();
    findings
        .map(|finding| finding.problem.to_string())
        .collect()
}

#[test]
fn the_operator_never_looks_at_the_provider() {
    for provider in ["aws-eks", "azure-workload", "gcp", "aws-kiam", "Aws"] {
        let pods = authentication(
            "TriggerAuthentication",
            "name: pods, namespace: shop",
            &format!("provider: {provider}"),
        );
        let operator = stream("{name: pods}", ", identityOwner: operator", &pods);
        let found = warnings(&operator);
        let expected = format!(
            "spec.triggers[0].authenticationRef: the authentication `pods` has the provider `{provider}`; `identityOwner: operator` uses \
             the function's own role without it"
        );
        assert_eq!(found, [expected]);
        assert_eq!(
            trigger_of(&read_text(&operator)).queue.identity,
            Identity::Function
        );
        for owner in ["", ", identityOwner: pod"] {
            let found = errors(&stream("{name: pods}", owner, &pods));
            let [found] = found.as_slice() else {
                panic!("{found:#?}");
            };
            let at = "document 2, line 14, column 32 (shop/worker): TriggerAuthentication shop/pods: spec.podIdentity.provider: found";
            assert!(found.contains(at), "{found}");
            assert!(
                found.contains("allowed: ") || found.contains("did you mean `aws`?"),
                "{found}"
            );
        }
    }
}

#[test]
fn an_external_id_without_a_role_is_ignored_with_a_warning() {
    let shared = authentication(
        "TriggerAuthentication",
        "name: shared, namespace: shop",
        "provider: aws, externalID: tenant-7",
    );
    let one = stream("{name: shared}", "", &shared);
    assert_eq!(
        warnings(&one),
        [
            "spec.podIdentity.externalID: ignored, since `roleArn` is not set: the function's own role is used, and no role is assumed with it"
        ]
    );
    assert_eq!(
        trigger_of(&read_text(&one)).queue.identity,
        Identity::Function
    );
    // Once, however many refer to it.
    let other = stream("{name: shared}", "", "").replace("name: worker", "name: other");
    let both = read_text(&format!("{one}---\n{other}"));
    assert_eq!((both.targets.len(), both.findings.len()), (2, 1));
}

#[test]
fn one_wrong_value_leaves_no_field_unknown() {
    let aws = authentication(
        "TriggerAuthentication",
        "name: aws, namespace: shop",
        "provider: aws",
    );
    for (owner, expected) in [
        ("Operator", "found `Operator`, did you mean `operator`?"),
        ("{}", "found a mapping, allowed: operator, pod"),
    ] {
        for rest in [&aws, ""] {
            let text = stream("{name: aws}", &format!(", identityOwner: {owner}"), rest);
            let found = errors(&text);
            assert_eq!(found.len(), 1, "{found:#?}");
            assert!(found[0].contains(expected), "{found:#?}");
        }
    }
    let metric = stream("{name: aws}", ", identityOwner: Pod", &aws)
        .replace("aws-sqs-queue", "aws-cloudwatch")
        .replace(
            "queueURL: orders",
            "expression: SELECT 1, targetMetricValue: 1, minMetricValue: 0, ignoreNullValues: true",
        );
    assert_eq!(errors(&metric).len(), 1, "{:#?}", errors(&metric));
}

#[test]
fn an_authentication_that_is_elsewhere_is_told_where() {
    let own = "name: creds, namespace: shop";
    for (reference, kind, metadata, expected) in [
        (
            "{name: creds}",
            "ClusterTriggerAuthentication",
            "name: creds",
            "`creds` is a ClusterTriggerAuthentication, and the reference lacks its kind; add `kind: ClusterTriggerAuthentication`",
        ),
        (
            "{name: creds, kind: ClusterTriggerAuthentication}",
            "TriggerAuthentication",
            own,
            "`creds` is a TriggerAuthentication of the namespace `shop`, and the reference has `kind: ClusterTriggerAuthentication`; leave that out",
        ),
        (
            "{name: creds}",
            "TriggerAuthentication",
            "name: creds",
            "`creds` is in the namespace `default` and must be in `shop`, that of the ScaledObject",
        ),
        (
            "{name: cred}",
            "TriggerAuthentication",
            own,
            "`cred` is not in this stream, did you mean `creds`?; allowed: ",
        ),
        (
            "{name: elsewhere}",
            "TriggerAuthentication",
            own,
            "`elsewhere` is not in this stream: if it is in another file, add that with another `-f`; allowed: ",
        ),
        // An empty kind is the default, as in KEDA.
        (
            "{name: elsewhere, kind: ''}",
            "ClusterTriggerAuthentication",
            "name: x",
            "`elsewhere` is not in this stream: if",
        ),
    ] {
        let there = authentication(kind, metadata, "provider: aws");
        let found = error(&stream(reference, "", &there));
        assert!(found.contains(expected), "{found}");
        let operator = warnings(&stream(reference, ", identityOwner: operator", &there));
        assert_eq!(operator.len(), 1, "{operator:#?}");
    }
    // What cannot be read may be what is referred to, and is told as it is.
    for unread in [
        "---\napiVersion: keda.sh/v1alpha1\nkind: triggerAuthentication\nmetadata: {name: creds, namespace: shop}\n",
        "---\nkind: [\n",
        "---\napiVersion: keda.sh/v1alpha1\nkind: TriggerAuthentication\nmetadata: {name: Creds_1}\n",
    ] {
        let configuration = read_text(&stream("{name: creds}", "", unread));
        assert_eq!(
            (configuration.targets.len(), configuration.findings.len()),
            (0, 1),
            "{:#?}",
            configuration.findings
        );
    }
}

/// Who may create an object in one namespace learns nothing there of the others.
#[test]
fn in_a_cluster_other_namespaces_are_not_told() {
    let parsed = |text: &str| parse_yaml(text.as_bytes()).remove(0).root.unwrap();
    let object = parsed(&stream("{name: creds}", "", ""));
    let everywhere = stream("{name: cred, kind: ClusterTriggerAuthentication}", "", "");
    let everywhere = parsed(&everywhere.replace("name: worker", "name: other"));
    let identity = "provider: aws";
    let other = parsed(&authentication(
        "TriggerAuthentication",
        "name: creds, namespace: private",
        identity,
    ));
    let wide = parsed(&authentication(
        "ClusterTriggerAuthentication",
        "name: creds2",
        identity,
    ));
    let objects = ClusterObjects {
        scaled_objects: vec![&object, &everywhere],
        authentications: vec![&other],
        cluster_authentications: vec![&wide],
        unlisted: Vec::new(),
    };
    let context = ClusterContext {
        cluster: "prod",
        tenants: &Tenants::default(),
        own_account: None,
        min_polling_seconds: None,
    };
    let configuration = read_cluster(&objects, context);
    let found: Vec<String> = configuration.errors().map(ToString::to_string).collect();
    assert!(
        found[0].contains("`creds` is not in this namespace; allowed"),
        "{found:#?}"
    );
    assert!(
        found[1].contains("`cred` is not in this cluster; allowed"),
        "{found:#?}"
    );
}

#[test]
fn empty_values_of_a_chart_are_none() {
    let own = authentication(
        "TriggerAuthentication",
        "name: own, namespace: ''",
        "provider: aws",
    );
    let text = stream("{name: own}", "", &own)
        .replace("namespace: shop", "namespace: \"\"")
        .replace(
            "{name: worker}\n  tr",
            "{name: worker, apiVersion: '', kind: ''}\n  tr",
        )
        .replace("- type:", "- name: ''\n    type:");
    let configuration = read_text(&text);
    assert_eq!(configuration.findings, []);
    let target = &configuration.targets[0];
    assert_eq!(target.id.to_string(), "default/worker");
    assert_eq!(target.workload.kind, WorkloadKind::DEPLOYMENT);
}

#[test]
fn the_region_of_a_url_is_that_of_the_trigger() {
    for (host, region, in_url) in [
        ("us-west-2.queue.amazonaws.com", "eu-west-1", "us-west-2"),
        ("queue.amazonaws.com", "eu-west-1", "us-east-1"),
        (
            "vpce-0a-1b.sqs.us-west-2.vpce.amazonaws.com",
            "eu-west-1",
            "us-west-2",
        ),
        ("sqs.us-west-2.api.aws", "eu-west-1", "us-west-2"),
        (
            "sqs.cn-north-1.amazonaws.com.cn",
            "cn-northwest-1",
            "cn-north-1",
        ),
    ] {
        let with = |region: &str| {
            let metadata = format!(
                "queueURL: https://{host}/123456789012/q\nawsRegion: {region}\nidentityOwner: operator"
            );
            object("", &metadata)
        };
        let found = error(&with(region));
        let expected = format!(
            "line 10, column 18 (default/worker): spec.triggers[0].metadata.awsRegion: found `{region}`, but the queue's URL is of \
             `{in_url}`, allowed: the same region in both"
        );
        assert_eq!(found, expected);
        assert_eq!(warnings(&with(in_url)), [""; 0]);
    }
    for host in [
        "sqs.eu-west-1.example.com",
        "sqs.cn-north-1.amazonaws.com",
        "evil",
    ] {
        let metadata = format!(
            "queueURL: http://{host}/123456789012/q\nawsRegion: eu-west-1\nidentityOwner: operator"
        );
        let found = error(&object("", &metadata));
        assert!(
            found.contains("whose host is none of SQS, allowed: https://sqs.REGION."),
            "{found}"
        );
        let private = format!("{metadata}\nawsEndpoint: https://{host}");
        assert_eq!(warnings(&object("", &private)), [""; 0]);
    }
}

#[test]
fn accounts_that_are_none_and_emulators_are_warned_of() {
    let with = |url: &str, more: &str| {
        object(
            "",
            &format!("queueURL: {url}\nawsRegion: eu-west-1\nidentityOwner: operator{more}"),
        )
    };
    for account in [
        "ACCOUNT",
        "xxxxxx",
        "123",
        "account_id",
        "YOUR-ACCOUNT",
        "1234567890123",
    ] {
        let url = format!("https://sqs.eu-west-1.amazonaws.com/{account}/q");
        let found = warnings(&with(&url, ""));
        let expected = format!(
            "spec.triggers[0].metadata.queueURL: the account `{account}` in the URL is none, since an account has 12 digits: "
        );
        assert!(
            found.len() == 1 && found[0].starts_with(&expected),
            "{found:#?}"
        );
    }
    for host in [
        "localhost:4566",
        "127.0.0.1:9324",
        "localstack.dev.svc:4566",
        "elasticmq:9324",
    ] {
        let url = format!("http://{host}/000000000000/q");
        let found = warnings(&with(&url, ""));
        let expected = format!(
            "is of an emulator, and without `awsEndpoint` SQS itself is asked, which has no such queue; write `awsEndpoint: http://{host}`"
        );
        assert!(
            found.len() == 1 && found[0].ends_with(&expected),
            "{found:#?}"
        );
        let endpoint = format!("\nawsEndpoint: http://{host}");
        assert_eq!(warnings(&with(&url, &endpoint)), [""; 0]);
    }
    // What an emulator takes for a region is any word.
    for region in ["elasticmq", "local", "us-east"] {
        let text = with(
            "http://elasticmq:9324/queue/q",
            "\nawsEndpoint: http://elasticmq:9324",
        )
        .replace("eu-west-1", region);
        assert_eq!(trigger_of(&read_text(&text)).queue.region, region);
        assert!(
            error(&with("q", "").replace("eu-west-1", region))
                .contains("allowed: a region such as")
        );
    }
}

#[test]
fn other_kinds_are_named_with_what_to_do() {
    let object = stream(
        "{name: a}",
        ", identityOwner: operator",
        &authentication(
            "TriggerAuthentication",
            "name: a, namespace: shop",
            "provider: aws",
        ),
    );
    let job = "---\napiVersion: keda.sh/v1alpha1\nkind: ScaledJob\nmetadata: {name: nightly, namespace: shop}\nspec: {jobTargetRef: {}}\n";
    let hpa = "---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec: {scaleTargetRef: {kind: Deployment, name: web}}\n";
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: x}\n";
    let text = format!("{object}{job}{hpa}{service}");
    let configuration = read_text(&text);
    assert_eq!(configuration.skipped, 3);
    let kinds: Vec<&str> = configuration
        .other_kinds
        .iter()
        .map(String::as_str)
        .collect();
    assert_eq!(kinds, ["HorizontalPodAutoscaler", "ScaledJob", "Service"]);
    let found = warnings(&text);
    assert!(
        found[0].starts_with("the ScaledJob `nightly` stays with KEDA"),
        "{found:#?}"
    );
    assert!(
        found[1].starts_with("the HorizontalPodAutoscaler `web` is not read: ")
            && found[1].contains("Deployment `web` is left to it"),
        "{found:#?}"
    );
    for (kind, meant) in [
        ("scaledobject", "ScaledObject"),
        ("ScaledObjects", "ScaledObject"),
        ("Scaledobject", "ScaledObject"),
        ("TriggerAuthentications", "TriggerAuthentication"),
        (
            "clusterTriggerAuthentication",
            "ClusterTriggerAuthentication",
        ),
    ] {
        let found = error(&format!(
            "apiVersion: keda.sh/v1alpha1\nkind: {kind}\nmetadata: {{name: x}}\n"
        ));
        assert_eq!(
            found,
            format!("line 2, column 7: kind: found `{kind}`, did you mean `{meant}`?")
        );
    }
    for (version, expected) in [
        (
            "keda.k8s.io/v1alpha1",
            "which is KEDA 1 and no longer served, allowed: keda.sh/v1alpha1",
        ),
        (
            "keda.sh/v1beta1",
            "found `keda.sh/v1beta1`, allowed: keda.sh/v1alpha1",
        ),
        (
            "kada.sh/v1alpha1",
            "found `kada.sh/v1alpha1`, allowed: keda.sh/v1alpha1",
        ),
        (
            "keda/v1alpha1",
            "found `keda/v1alpha1`, allowed: keda.sh/v1alpha1",
        ),
    ] {
        let found = error(&WORKER.replace("keda.sh/v1alpha1", version));
        assert!(found.contains(expected), "{found}");
    }
    let others = read_text(
        "apiVersion: example.com/v1\nkind: ScaledObject\n---\napiVersion: eventing.keda.sh/v1alpha1\nkind: CloudEventSource\n",
    );
    assert_eq!((others.skipped, others.findings.len()), (2, 0));
}

#[test]
fn a_template_in_a_value_is_named() {
    for (spec, metadata) in [
        (
            "",
            GOOD_METADATA.replace("orders", "{{ .Values.queueUrl }}"),
        ),
        (
            "",
            GOOD_METADATA.replace("orders", "\"{{ .Values.queueUrl }}\""),
        ),
        (
            "maxReplicaCount: '{{ .Values.max }}'",
            GOOD_METADATA.to_owned(),
        ),
        (
            "",
            GOOD_METADATA.replace("operator", "'{{ .Values.owner }}'"),
        ),
    ] {
        let found = error(&object(spec, &metadata));
        assert!(
            found.contains("a template that is not rendered")
                && found.contains("helm template CHART | outrigger check -f -"),
            "{found}"
        );
    }
}

#[test]
fn no_field_is_listed_twice() {
    let metric = "expression: x\ntargetMetricValue: 1\nminMetricValue: 0\nignoreNullValues: true\nawsRegion: eu-west-1\nidentityOwner: operator";
    let text = object("", &format!("{metric}\nqqqqqqqqqqqq: 1"))
        .replace("aws-sqs-queue", "aws-cloudwatch");
    let found = error(&text);
    let (_, list) = found.split_once("allowed: ").unwrap();
    let mut names: Vec<&str> = list.split(", ").collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "{found}");
    for (wrong, right) in [
        ("metricStatType: Sum", "metricStat"),
        ("targetValue: 3", "targetMetricValue"),
    ] {
        let text =
            object("", &format!("{metric}\n{wrong}")).replace("aws-sqs-queue", "aws-cloudwatch");
        assert!(
            error(&text).ends_with(&format!("unknown field, did you mean `{right}`?")),
            "{}",
            error(&text)
        );
    }
    let kinds = object("", GOOD_METADATA);
    let near = error(&kinds.replace("aws-sqs-queue", "aws-sqs"));
    assert!(
        near.ends_with("found `aws-sqs`, did you mean `aws-sqs-queue`?"),
        "{near}"
    );
    let far = error(&kinds.replace("aws-sqs-queue", "rabbitmq"));
    assert!(
        far.ends_with("; an object with another trigger stays with KEDA"),
        "{far}"
    );
}

#[test]
fn a_field_in_the_wrong_place_is_told_where_it_belongs() {
    let inside = object(
        "",
        &format!("{GOOD_METADATA}\nauthenticationRef: {{name: x}}"),
    );
    assert!(error(&inside).ends_with("metadata.authenticationRef: a field of the trigger, allowed: beside `metadata`, one level up"));
    for (field, expected) in [
        (
            "maxReplicaCount: 3",
            "maxReplicaCount: a field of `spec`, allowed: beside `scaleTargetRef`, one level up",
        ),
        (
            "namespace: shop",
            "namespace: not a field here, allowed: none: the workload is in the namespace of the ScaledObject",
        ),
    ] {
        let text = object("", GOOD_METADATA).replace(
            "scaleTargetRef: {name: worker}",
            &format!("scaleTargetRef: {{name: worker, {field}}}"),
        );
        assert!(
            error(&text).ends_with(&format!("spec.scaleTargetRef.{expected}")),
            "{}",
            error(&text)
        );
    }
}
