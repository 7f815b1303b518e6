use proptest::prelude::*;

use super::*;
use crate::policy::{Identity, Mode, Queue, QueueAddress, SqsTrigger, Trigger};

mod broken;
mod public;
mod tenants;
mod triggers;

/// The manifest that a KEDA user has today.
const WORKER: &str = "\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: worker, namespace: default}
spec:
  scaleTargetRef: {apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: worker}
  minReplicaCount: 2
  maxReplicaCount: 16
  pollingInterval: 100
  cooldownPeriod: 300
  triggers:
  - type: aws-sqs-queue
    authenticationRef: {name: keda-aws-credentials}
    metadata:
      queueURL: https://sqs.ap-northeast-1.amazonaws.com/123456789012/orders
      queueLength: \"10\"
      awsRegion: ap-northeast-1
      identityOwner: operator
";

fn read_text(text: &str) -> Configuration {
    let context = Context {
        file: "outrigger.yaml",
        namespace: "default",
        clusters: &[],
    };
    read(text.as_bytes(), context)
}

/// One ScaledObject with the given spec lines and the given trigger metadata lines.
fn object(spec: &str, metadata: &str) -> String {
    let indent = |text: &str, by: &str| {
        let lines: Vec<String> = text
            .lines()
            .map(|line| {
                format!(
                    "{by}{line}
"
                )
            })
            .collect();
        lines.concat()
    };
    format!(
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {{name: worker}}\nspec:\n  scaleTargetRef: {{name: worker}}\n{}  \
         triggers:\n  - type: aws-sqs-queue\n    metadata:\n{}",
        indent(spec, "  "),
        indent(metadata, "      ")
    )
}

const GOOD_METADATA: &str = "queueURL: orders\nawsRegion: eu-west-1\nidentityOwner: operator";

#[track_caller]
fn trigger_of(configuration: &Configuration) -> &SqsTrigger {
    let [target] = configuration.targets.as_slice() else {
        panic!("{:#?}", configuration.findings)
    };
    let Trigger::SqsQueue(trigger) = &target.policy.triggers[0] else {
        panic!("{:#?}", target.policy.triggers)
    };
    trigger
}

#[track_caller]
fn errors(text: &str) -> Vec<String> {
    let configuration = read_text(text);
    assert!(configuration.targets.is_empty(), "accepted: {text}");
    configuration.errors().map(ToString::to_string).collect()
}

/// The one error of a document, without file and document.
#[track_caller]
fn error(text: &str) -> String {
    let errors = errors(text);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    errors[0]
        .strip_prefix("outrigger.yaml: document 1, ")
        .unwrap_or(&errors[0])
        .to_owned()
}

#[test]
fn a_keda_manifest_works_unchanged() {
    let configuration = read_text(WORKER);
    let trigger = trigger_of(&configuration);
    let url = "https://sqs.ap-northeast-1.amazonaws.com/123456789012/orders";
    let expected = SqsTrigger {
        queue: Queue {
            address: QueueAddress::Url {
                url: url.into(),
                account: "123456789012".into(),
                name: "orders".into(),
            },
            region: "ap-northeast-1".into(),
            endpoint: None,
            identity: Identity::Function,
        },
        messages_per_replica: 10.try_into().unwrap(),
        activation_messages: 0,
        count_in_flight: true,
        count_in_flight_for_scale_out: true,
        count_delayed: false,
    };
    assert_eq!(trigger, &expected);
    let target = &configuration.targets[0];
    assert_eq!(
        (
            target.policy.bounds.min(),
            target.policy.bounds.max(),
            target.policy.bounds.rest()
        ),
        (2, 16, None)
    );
    assert_eq!(target.policy.polling_seconds.get(), 100);
    assert_eq!(target.state_key(), "rollout.worker");
    assert_eq!(target.manifest["spec"]["maxReplicaCount"], 16);
    let findings: Vec<String> = configuration
        .findings
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        findings,
        [
            "outrigger.yaml: document 1, line 8, column 20 (default/worker): warning: spec.pollingInterval: 100 s counts at \
             zero and idle only, where this workload never is; as under KEDA, where the HPA reads every 15 s, it is polled more often: once \
             in each OUTRIGGER_WINDOW, or every OUTRIGGER_SYNC seconds",
            "outrigger.yaml: document 1, line 12, column 24 (default/worker): warning: spec.triggers[0].authenticationRef: the \
             authentication `keda-aws-credentials` is not in this stream: if it is in another file, add that with another `-f`; `identityOwner: operator` uses the function's own role without it",
        ]
    );
}

#[test]
fn a_stream_as_helm_renders_it() {
    let text = format!(
        "---\n# Source: app/templates/service.yaml\napiVersion: v1\nkind: Service\nmetadata: {{name: web}}\n---\n# Source: empty\n---\n{}",
        "# Source: app/templates/scaledobject.yaml\napiVersion: \"keda.sh/v1alpha1\"\nkind: ScaledObject\nmetadata:\n  name: \"worker\"\n  \
         namespace: shop\n  labels:\n    helm.sh/chart: app-1.2.3\n    app.kubernetes.io/managed-by: Helm\n  annotations:\n    \
         meta.helm.sh/release-name: app\nspec:\n  scaleTargetRef:\n    apiVersion: argoproj.io/v1alpha1\n    kind: Rollout\n    \
         name: worker\n  minReplicaCount: \"1\"\n  maxReplicaCount: \"5\"\n  triggers:\n    - type: aws-sqs-queue\n      metadata:\n        \
         queueURL: \"orders\"\n        queueLength: 7\n        awsRegion: \"eu-west-1\"\n        scaleOnInFlight: false\n        \
         scaleOnDelayed: \"true\"\n        activationQueueLength: 3\n        awsEndpoint: http://localhost:4566\n        \
         identityOwner: operator\nstatus: {}\n"
    );
    let configuration = read_text(&text);
    let trigger = trigger_of(&configuration);
    assert_eq!(trigger.queue.address, QueueAddress::Name("orders".into()));
    assert_eq!(
        trigger.queue.endpoint.as_deref(),
        Some("http://localhost:4566")
    );
    assert_eq!(
        (
            trigger.messages_per_replica.get(),
            trigger.activation_messages
        ),
        (7, 3)
    );
    assert!(!trigger.count_in_flight && trigger.count_delayed);
    assert_eq!(configuration.targets[0].id.to_string(), "shop/worker");
    assert_eq!(
        (configuration.skipped, configuration.findings.len()),
        (1, 0)
    );
}

#[test]
fn defaults_are_those_of_keda() {
    let configuration = read_text(&object("", GOOD_METADATA));
    let trigger = trigger_of(&configuration);
    assert_eq!(
        (
            trigger.messages_per_replica.get(),
            trigger.activation_messages
        ),
        (5, 0)
    );
    assert!(trigger.count_in_flight && !trigger.count_delayed);
    let target = &configuration.targets[0];
    let policy = &target.policy;
    assert_eq!(
        (
            policy.bounds.min(),
            policy.bounds.max(),
            policy.bounds.rest()
        ),
        (0, 100, Some(0))
    );
    assert_eq!(
        (policy.cooldown_seconds, policy.initial_cooldown_seconds),
        (300, 0)
    );
    assert_eq!(
        (&target.workload.kind, target.id.to_string().as_str()),
        (&WorkloadKind::DEPLOYMENT, "default/worker")
    );
}

#[test]
fn every_mistake_of_a_file_is_reported_at_once() {
    let text = "\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: worker}
spec:
  scaleTargetRef: {name: Worker_1, kind: Rolout, apiVersion: argoproj.io/v1alpha1}
  minReplicaCount: -1
  maxReplicaCount: zero
  coolDownPeriod: 5
  triggers:
  - type: aws-sqs-queue
    metadata: {queueURL: 'https://example.com/1/q', queueLength: '2.5', awsRegion: nowhere, queueLenght: '7', scaleOnInFlight: yes}
  - type: kafka
    metadata: {}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: other}
spec: [
---
apiVersion: keda.sh/v1
kind: ScaledObject
";
    let good = object("", GOOD_METADATA);
    let configuration = read_text(&format!(
        "{text}---\n{}",
        good.replace("{name: worker}", "{name: good}")
    ));
    assert_eq!(configuration.targets.len(), 1);
    let found: Vec<String> = configuration.errors().map(ToString::to_string).collect();
    let expected = [
        "document 1, line 5, column 26 (default/worker): spec.scaleTargetRef.name: found `Worker_1`, allowed: a name of",
        "document 1, line 5, column 42 (default/worker): spec.scaleTargetRef.kind: found `Rolout`, did you mean `Rollout`?",
        "document 1, line 7, column 20 (default/worker): spec.maxReplicaCount: found `zero`, allowed: a whole number from 1 to 2147483647",
        "document 1, line 6, column 20 (default/worker): spec.minReplicaCount: found `-1`, allowed: a whole number from 0 to 2147483647",
        "document 1, line 8, column 19 (default/worker): spec.coolDownPeriod: unknown field, did you mean `cooldownPeriod`?",
        "document 1, line 11, column 26 (default/worker): spec.triggers[0].metadata.queueURL: found `https://example.com/1/q`, whose host is none of SQS, allowed: https",
        "document 1, line 11, column 66 (default/worker): spec.triggers[0].metadata.queueLength: found `2.5`, allowed: a whole number from 1",
        "document 1, line 11, column 84 (default/worker): spec.triggers[0].metadata.awsRegion: found `nowhere`, allowed: a region such",
        "document 1, line 11, column 106 (default/worker): spec.triggers[0].metadata.queueLenght: unknown field, did you mean `queueLength`?",
        "document 1, line 11, column 128 (default/worker): spec.triggers[0].metadata.scaleOnInFlight: found `yes`, allowed: true or false",
        "document 1, line 12, column 11 (default/worker): spec.triggers[1].type: found `kafka`, allowed: aws-sqs-queue",
        "document 2, line 18, column 7: not valid YAML: ",
        "document 3, line 20, column 13: apiVersion: found `keda.sh/v1`, allowed: keda.sh/v1alpha1",
    ];
    for wanted in expected {
        assert!(
            found
                .iter()
                .any(|line| line.starts_with(&format!("outrigger.yaml: {wanted}"))),
            "{wanted}\n{found:#?}"
        );
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    let refused = configuration.refused().into_iter();
    let refused: Vec<String> = refused.map(|refused| refused.name).collect();
    assert_eq!(
        refused,
        [
            "default/worker",
            "document 2 of outrigger.yaml",
            "document 3 of outrigger.yaml"
        ]
    );
}

#[test]
fn a_bad_name_hides_no_other_mistake() {
    let text = object("maxReplicaCount: 0", GOOD_METADATA);
    for metadata in ["metadata: {name: Worker}", "metadata: {}", "metadata: []"] {
        let found = errors(&text.replacen("metadata: {name: worker}", metadata, 1));
        assert_eq!(found.len(), 2, "{found:#?}");
        assert!(found[0].contains("metadata"), "{found:#?}");
        assert!(
            found[1].contains("spec.maxReplicaCount: found `0`"),
            "{found:#?}"
        );
    }
}

#[test]
fn the_file_is_read_in_its_order() {
    let configuration = read_text(&format!(
        "{}---\n{}",
        object("minReplicaCount: x", GOOD_METADATA),
        WORKER
    ));
    let documents: Vec<usize> = configuration
        .findings
        .iter()
        .map(|finding| finding.document)
        .collect();
    assert!(documents.is_sorted(), "{documents:?}");
}

#[test]
fn limits_of_the_replica_counts() {
    for (spec, expected) in [
        (
            "minReplicaCount: 5\nmaxReplicaCount: 4",
            "line 6, column 20 (default/worker): spec.minReplicaCount: found `5`, allowed: at most maxReplicaCount, which is 4",
        ),
        (
            "minReplicaCount: 101",
            "line 6, column 20 (default/worker): spec.minReplicaCount: found `101`, allowed: at most maxReplicaCount, which is 100",
        ),
        (
            "maxReplicaCount: 0",
            "line 6, column 20 (default/worker): spec.maxReplicaCount: found `0`, allowed: a whole number from 1 to 2147483647",
        ),
        (
            "idleReplicaCount: 0",
            "line 6, column 21 (default/worker): spec.idleReplicaCount: found `0`, allowed: any number below minReplicaCount, which is 0",
        ),
        (
            "idleReplicaCount: 2\nminReplicaCount: 2",
            "line 6, column 21 (default/worker): spec.idleReplicaCount: found `2`, allowed: any number below minReplicaCount, which is 2",
        ),
        (
            "maxReplicaCount: 2147483648",
            "line 6, column 20 (default/worker): spec.maxReplicaCount: found `2147483648`, allowed: a whole number from 1 to 2147483647",
        ),
        (
            "cooldownPeriod: -1",
            "line 6, column 19 (default/worker): spec.cooldownPeriod: found `-1`, allowed: a whole number from 0 to 2147483647",
        ),
        (
            "pollingInterval: 0",
            "line 6, column 20 (default/worker): spec.pollingInterval: found `0`, allowed: a whole number from 1 to 2147483647",
        ),
    ] {
        assert_eq!(error(&object(spec, GOOD_METADATA)), expected);
    }
    for spec in [
        "minReplicaCount: 5\nmaxReplicaCount: 5",
        "idleReplicaCount: 4\nminReplicaCount: 5",
        "idleReplicaCount: 0\nminReplicaCount: 0",
    ] {
        assert_eq!(
            read_text(&object(spec, GOOD_METADATA)).targets.len(),
            1,
            "{spec}"
        );
    }
}

#[test]
fn queue_addresses() {
    for good in [
        "my-queue",
        "my-queue.fifo",
        "https://sqs.eu-west-1.amazonaws.com/account_id/DeleteArtifactQ",
        "http://localhost:4566/000000000000/q",
        "http://127.0.0.1:4566/000000000000/q",
        "https://eu-west-1.queue.amazonaws.com/123456789012/q",
        "https://vpce-1-2.sqs.eu-west-1.vpce.amazonaws.com/123456789012/q",
    ] {
        let metadata = format!("queueURL: {good}\nawsRegion: eu-west-1\nidentityOwner: operator");
        assert_eq!(read_text(&object("", &metadata)).targets.len(), 1, "{good}");
    }
    for bad in [
        "https://sqs.eu-west-1.amazonaws.com/123",
        "https://sqs.eu-west-1.amazonaws.com/123/q/",
        "http://localhost:4566/queue/us-east-1/000000000000/q",
        "https://sqs.eu-west-1.amazonaws.com",
        "arn:aws:sqs:eu-west-1:123456789012:q",
        "https://example.com/123456789012/q",
        "ftp://sqs.eu-west-1.amazonaws.com/1/q",
        "https://user:secret@sqs.eu-west-1.amazonaws.com/1/q",
        "https://sqs.eu-west-1.amazonaws.com/1/q?x=1",
        "my queue",
        "'q.fifo.fifo'",
    ] {
        let metadata = format!("queueURL: {bad}\nawsRegion: eu-west-1\nidentityOwner: operator");
        let message = error(&object("", &metadata));
        assert!(
            message.contains("metadata.queueURL: found"),
            "{bad}: {message}"
        );
    }
    let private = "queueURL: https://queues.example.com/1/q\nawsEndpoint: https://queues.example.com/\nawsRegion: eu-west-1\nidentityOwner: operator";
    assert_eq!(
        trigger_of(&read_text(&object("", private)))
            .queue
            .endpoint
            .as_deref(),
        Some("https://queues.example.com")
    );
    let other = "queueURL: https://sqs.eu-west-1.amazonaws.com/1/q\nawsRegion: us-east-1\nidentityOwner: operator";
    assert!(error(&object("", other)).contains("the queue's URL is of `eu-west-1`"));
    let from_env = "queueURLFromEnv: QUEUE_URL\nawsRegion: eu-west-1\nidentityOwner: operator";
    assert_eq!(errors(&object("", from_env)).len(), 1);
    assert!(error(&object("", from_env)).contains("write the URL into `queueURL`"));
}

/// Something is wrong with the authentication that another object uses, and nothing with the object of the same name.
#[test]
fn an_authentication_is_no_scaled_object_of_the_same_name() {
    let other = WORKER
        .replace("name: worker", "name: other")
        .replace("name: keda-aws-credentials", "name: worker");
    let authentication = "apiVersion: keda.sh/v1alpha1\nkind: TriggerAuthentication\nmetadata: {name: worker}\nspec: {podIdentity: {provider: aws-eks}}\n";
    let other = other.replace("      identityOwner: operator\n", "");
    let configuration = read_text(&format!("{WORKER}---\n{other}---\n{authentication}"));
    let targets = configuration.targets.iter();
    let targets: Vec<String> = targets.map(|target| target.id.to_string()).collect();
    assert_eq!(targets, ["default/worker"]);
    let refused = configuration.refused().into_iter();
    let refused: Vec<String> = refused.map(|refused| refused.name).collect();
    assert_eq!(refused, ["default/other"]);
    let errors: Vec<String> = configuration.errors().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "outrigger.yaml: document 3, line 39, column 32 (default/other): TriggerAuthentication default/worker: \
          spec.podIdentity.provider: found `aws-eks`, allowed: `aws` with `roleArn`: the function cannot read the role of the pod's \
          service account"
        ]
    );
}

#[test]
fn identities() {
    let authentication = |spec: &str| {
        format!(
            "apiVersion: keda.sh/v1alpha1\nkind: TriggerAuthentication\nmetadata: {{name: auth}}\nspec: {spec}\n---\n"
        )
    };
    let trigger = |owner: &str, reference: &str| {
        let metadata = format!("queueURL: orders\nawsRegion: eu-west-1\n{owner}");
        object("", &metadata).replace("    metadata:\n", &format!("{reference}    metadata:\n"))
    };
    let reference = "    authenticationRef: {name: auth}\n";
    let role = "{podIdentity: {provider: aws, roleArn: 'arn:aws:iam::123456789012:role/reader', externalID: x}}";
    let assumed = Identity::Role {
        arn: "arn:aws:iam::123456789012:role/reader".into(),
        external_id: Some("x".into()),
    };
    // Also when the authentication comes later in the stream, and whatever identityOwner says.
    for text in [
        authentication(role) + &trigger("identityOwner: operator", reference),
        format!("{}---\n{}", trigger("", reference), authentication(role)),
    ] {
        let configuration = read_text(&text);
        assert_eq!(trigger_of(&configuration).queue.identity, assumed);
        assert_eq!(configuration.findings, []);
    }
    let own = authentication("{podIdentity: {provider: aws}}") + &trigger("", reference);
    assert_eq!(
        trigger_of(&read_text(&own)).queue.identity,
        Identity::Function
    );
    let secret = authentication("{secretTargetRef: [{parameter: a, name: b, key: c}]}");
    let configuration =
        read_text(&(secret.clone() + &trigger("identityOwner: operator", reference)));
    assert_eq!(
        (configuration.targets.len(), configuration.findings.len()),
        (1, 1)
    );
    assert!(
        errors(&(secret + &trigger("identityOwner: pod", reference)))[0]
            .contains("may not read Secrets")
    );
    assert!(error(&trigger("", reference)).contains("is not in this stream"));
    let configuration = read_text(&trigger("", ""));
    assert_eq!(
        (
            configuration.targets.len(),
            configuration.findings[0].problem.severity
        ),
        (1, Severity::Warning)
    );
    assert!(
        error(&trigger("identityOwner: workload", ""))
            .contains("found `workload`, allowed: operator, pod")
    );
    for spec in [
        "{podIdentity: {provider: aws-eks}}",
        "{podIdentity: {provider: aws, identityOwner: workload}}",
        "{podIdentity: {provider: aws, roleArn: none}}",
    ] {
        let found = errors(&(authentication(spec) + &trigger("", reference)));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(
            found[0].starts_with("outrigger.yaml: document 1, line 4")
                && found[0].contains(
                    "(default/worker): TriggerAuthentication default/auth: spec.podIdentity."
                ),
            "{found:#?}"
        );
    }
    let keys = "queueURL: orders\nawsRegion: eu-west-1\nawsAccessKeyIDFromEnv: KEY\nidentityOwner: operator";
    assert!(error(&object("", keys)).contains("static keys are refused"));
}

#[test]
fn duplicates_are_refused_together() {
    let one = object("", GOOD_METADATA);
    let other = one.replacen("{name: worker}", "{name: other}", 1);
    let found = errors(&format!("{one}---\n{other}"));
    assert_eq!(found.len(), 2);
    assert!(
        found[0].contains(
            "(default/worker): 2 ScaledObjects want to scale Deployment `worker`, allowed: one"
        ),
        "{found:#?}"
    );
    assert!(found[1].contains("(default/other)"), "{found:#?}");
    let elsewhere = one.replace(
        "scaleTargetRef: {name: worker}",
        "scaleTargetRef: {name: else}",
    );
    assert!(
        errors(&format!("{one}---\n{elsewhere}"))[1].contains("have the name `default/worker`")
    );
    let far = other.replace(
        "{name: other}",
        "{name: other, annotations: {outrigger.dev/cluster: far}}",
    );
    assert_eq!(read_text(&format!("{one}---\n{far}")).targets.len(), 2);
}

#[test]
fn unknown_annotations_are_told() {
    let with = |annotation: &str| {
        object("", GOOD_METADATA).replacen(
            "{name: worker}",
            &format!("{{name: worker, annotations: {{{annotation}}}}}"),
            1,
        )
    };
    for (annotation, expected) in [
        (
            "outrigger.dev/mod: shadow",
            "[outrigger.dev/mod]: not supported by this version, did you mean `outrigger.dev/mode`?",
        ),
        (
            "outrigger.dev/interval: '5'",
            "[outrigger.dev/interval]: not supported by this version, allowed: outrigger.dev/cluster, outrigger.dev/mode",
        ),
        (
            "outrigger.dev/mode: shadows",
            "[outrigger.dev/mode]: found `shadows`, did you mean `shadow`?",
        ),
        (
            "outrigger.dev/mode: off",
            "[outrigger.dev/mode]: found `off`, allowed: live, shadow",
        ),
        (
            "outrigger.dev/mode: ''",
            "[outrigger.dev/mode]: found ``, allowed: live, shadow",
        ),
        (
            "outrigger.dev/mode: [x]",
            "[outrigger.dev/mode]: found a list",
        ),
    ] {
        let found = error(&with(annotation));
        assert!(found.contains(expected), "{annotation}: {found}");
    }
    let configuration = read_text(&with("autoscaling.keda.sh/pause: 'true'"));
    assert_eq!(configuration.targets.len(), 1);
    assert!(
        configuration.findings[0]
            .to_string()
            .contains("not known, and ignored, did you mean `autoscaling.keda.sh/paused`?"),
        "{:?}",
        configuration.findings
    );
    assert_eq!(
        read_text(&with("meta.helm.sh/release-name: x")).findings,
        []
    );
}

#[test]
fn the_mode_is_the_annotations_or_else_the_environments() {
    let with = |annotation: &str| {
        let text = object("", GOOD_METADATA);
        match annotation {
            "" => text,
            mode => text.replacen(
                "{name: worker}",
                &format!("{{name: worker, annotations: {{outrigger.dev/mode: {mode}}}}}"),
                1,
            ),
        }
    };
    for (annotation, default, expected) in [
        ("", Mode::Live, Mode::Live),
        ("", Mode::Shadow, Mode::Shadow),
        ("live", Mode::Live, Mode::Live),
        ("live", Mode::Shadow, Mode::Live),
        ("shadow", Mode::Live, Mode::Shadow),
        ("shadow", Mode::Shadow, Mode::Shadow),
    ] {
        let configuration = read_text(&with(annotation)).with_default_mode(default);
        let target = &configuration.targets[0];
        assert_eq!(target.policy.mode, expected, "{annotation} {default:?}");
        let key = match expected {
            Mode::Live => "deployment.worker",
            Mode::Shadow => "shadow.deployment.worker",
        };
        assert_eq!(target.state_key(), key);
        // The manifest of a record says it alone.
        let again = read_text(&target.manifest.to_string());
        assert_eq!(again.targets[0].policy, target.policy);
        let annotations = &target.manifest["metadata"]["annotations"];
        assert_eq!(
            annotations.is_null(),
            annotation.is_empty() && default == Mode::Live
        );
    }
    // Beside its live twin a shadow target would still be a second one for one workload.
    let twin = with("shadow").replacen("{name: worker,", "{name: twin,", 1);
    assert_eq!(
        read_text(&format!("{}---\n{twin}", with("live"))).targets,
        []
    );
}

#[test]
fn two_authentications_of_one_name_are_neither_used() {
    let authentication = |role: &str| {
        format!(
            "---\napiVersion: keda.sh/v1alpha1\nkind: TriggerAuthentication\nmetadata: {{name: auth}}\nspec: {{podIdentity: {{provider: aws, roleArn: 'arn:aws:iam::123456789012:role/{role}'}}}}\n"
        )
    };
    let one = object("", GOOD_METADATA).replace(
        "    metadata:\n",
        "    authenticationRef: {name: auth}\n    metadata:\n",
    );
    let found = errors(&format!(
        "{one}{}{}",
        authentication("a"),
        authentication("b")
    ));
    assert!(
        found.iter().any(|error| error.contains(
            "TriggerAuthentication default/auth: metadata.name: a second authentication"
        )),
        "{found:#?}"
    );
    let none = "---\napiVersion: keda.sh/v1alpha1\nkind: TriggerAuthentication\nmetadata: {name: x}\nspec: {podIdentity: }\n";
    let configuration = read_text(&format!("{}{none}", object("", GOOD_METADATA)));
    assert_eq!(configuration.findings, []);
}

#[test]
fn a_list_stands_for_its_items() {
    let item = object("", GOOD_METADATA);
    let indented = format!("  {}\n", item.trim_end().replace('\n', "\n  "));
    let item = |name: &str| {
        let item = indented.replacen("  apiVersion", "- apiVersion", 1);
        item.replace("{name: worker}", &format!("{{name: {name}}}"))
    };
    let service = "- {apiVersion: v1, kind: Service}\n";
    for head in [
        "apiVersion: v1\nkind: List\nmetadata: {resourceVersion: ''}\n",
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObjectList\n",
    ] {
        let text = format!("{head}items:\n{}{service}{}", item("one"), item("two"));
        let configuration = read_text(&text);
        assert_eq!(
            (
                configuration.targets.len(),
                configuration.skipped,
                configuration.findings.len()
            ),
            (2, 1, 0),
            "{:?}",
            configuration.findings
        );
        let broken = text.replacen("awsRegion: eu-west-1", "awsRegion: here", 1);
        let configuration = read_text(&broken);
        assert_eq!(configuration.targets.len(), 1);
        assert!(
            configuration.findings[0]
                .to_string()
                .contains("(default/one): spec.triggers[0].metadata.awsRegion: found `here`"),
            "{:?}",
            configuration.findings
        );
    }
    for empty in ["", "items: []\n", "items:\n"] {
        let configuration = read_text(&format!("apiVersion: v1\nkind: List\n{empty}"));
        assert_eq!(configuration, Configuration::default());
    }
    assert!(error("apiVersion: v1\nkind: List\nitems: x\n").contains("items: found `x`"));
}

#[test]
fn one_name_in_two_clusters_is_two_targets() {
    let near = object("", GOOD_METADATA).replacen(
        "{name: worker}",
        "{name: worker, annotations: {outrigger.dev/cluster: near}}",
        1,
    );
    let far = near.replace("near", "far");
    assert_eq!(read_text(&format!("{near}---\n{far}")).targets.len(), 2);
}

#[test]
fn annotations_of_keda() {
    let with = |annotations: &str| {
        object("", GOOD_METADATA).replacen(
            "{name: worker}",
            &format!("{{name: worker, annotations: {{{annotations}}}}}"),
            1,
        )
    };
    let pause = |annotations: &str| read_text(&with(annotations)).targets[0].policy.pause;
    assert!(
        pause("autoscaling.keda.sh/paused: 'true'").all
            && pause("autoscaling.keda.sh/paused: yes").all
            && pause("autoscaling.keda.sh/paused: ' false'").all
            && pause("autoscaling.keda.sh/paused: ''").all
    );
    assert!(
        !pause("autoscaling.keda.sh/paused: 'false'").all
            && !pause("autoscaling.keda.sh/paused: F").all
    );
    assert_eq!(
        pause("autoscaling.keda.sh/paused-replicas: '4'").replicas,
        Some(4)
    );
    assert!(
        pause("autoscaling.keda.sh/paused-scale-in: 'true'").scale_in
            && pause("autoscaling.keda.sh/paused-scale-out: 'true'").scale_out
    );
    assert!(
        read_text(&with("autoscaling.keda.sh/force-activation: 'true'")).targets[0]
            .policy
            .force_activation
    );
    assert!(error(&with("autoscaling.keda.sh/paused-replicas: many")).contains("found `many`"));
    let manifest =
        &read_text(&with("autoscaling.keda.sh/paused: 'true', other: x")).targets[0].manifest;
    assert_eq!(
        manifest["metadata"].to_string(),
        r#"{"name":"worker","namespace":"default","annotations":{"autoscaling.keda.sh/paused":"true"}}"#
    );
}

#[test]
fn what_this_version_does_not_do_is_said() {
    for (spec, expected) in [
        (
            "fallback: {failureThreshold: 3, replicas: 6, behavior: scalingModifiers}",
            "spec.fallback.behavior: found `scalingModifiers`",
        ),
        (
            "fallback: {failureThreshold: -3, replicas: 10}",
            "spec.fallback.failureThreshold: found `-3`",
        ),
        (
            "advanced: {scalingModifiers: {formula: a}}",
            "spec.advanced.scalingModifiers: not supported",
        ),
        (
            "advanced: {horizontalPodAutoscalerConfig: {behavior: {scaleDown: {policies: []}}}}",
            "behavior.scaleDown.policies: found an empty list",
        ),
    ] {
        assert!(
            error(&object(spec, GOOD_METADATA)).contains(expected),
            "{spec}"
        );
    }
    let harmless = "advanced: {restoreToOriginalReplicaCount: false, horizontalPodAutoscalerConfig: {name: x}}";
    assert_eq!(read_text(&object(harmless, GOOD_METADATA)).targets.len(), 1);
    let job = WORKER.replace("kind: Rollout", "kind: CronTab");
    assert!(error(&job).contains("found `CronTab`, allowed: Rollout, Deployment, StatefulSet"));
    let group = WORKER.replace("argoproj.io/v1alpha1", "apps/v1");
    assert!(error(&group).contains("found `apps/v1`, allowed: argoproj.io/v1alpha1 for a Rollout"));
}

#[test]
fn any_kind_has_a_key_of_its_own_or_is_refused() {
    let crew = |object: &str, version: &str| {
        WORKER
            .replace("{name: worker,", &format!("{{name: {object},"))
            .replace("argoproj.io/v1alpha1", version)
            .replace("kind: Rollout", "kind: Crew")
    };
    let one = read_text(&crew("one", "example.com/v1"));
    assert_eq!(one.targets[0].state_key(), "crew.worker");
    for (version, expected) in [
        (
            "example.com/v2",
            "2 ScaledObjects want to scale Crew `worker`, allowed: one",
        ),
        (
            "other.com/v1",
            "2 ScaledObjects want to scale a Crew `worker`, of example.com/v1 and other.com/v1, and the key `crew.worker` of",
        ),
    ] {
        let both = format!(
            "{}---\n{}",
            crew("one", "example.com/v1"),
            crew("two", version)
        );
        assert_eq!(read_text(&both).targets, []);
        let errors = errors(&both);
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(
            errors.iter().all(|error| error.contains(expected)),
            "{errors:?}"
        );
    }
    // The key holds `shadow.`, the kind and the name.
    for (length, fits) in [(238, true), (239, false), (253, false)] {
        let name = "n".repeat(length);
        let text = WORKER.replace("Rollout, name: worker", &format!("Rollout, name: {name}"));
        assert_eq!(
            read_text(&text).targets.len(),
            usize::from(fits),
            "{length}"
        );
        if !fits {
            let expected = format!(
                "spec.scaleTargetRef.name: found a name of {length} characters, allowed: 238"
            );
            assert!(error(&text).contains(&expected), "{}", error(&text));
        }
    }
}

#[test]
fn wrong_shapes_are_refused_without_a_panic() {
    for text in [
        "[]",
        "text",
        "{}",
        "kind: ScaledObject",
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject",
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: []\nspec: 3",
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: a}\nspec: {}",
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: a}\nspec: {triggers: [], scaleTargetRef: []}",
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: a}\nspec: {triggers: [{type: aws-sqs-queue}], scaleTargetRef: {name: a}}",
        "apiVersion: [x]\nkind: {y: z}",
        "apiVersion: keda.sh/v1alpha1\nkind: TriggerAuthentication",
    ] {
        assert!(!errors(text).is_empty(), "{text}");
    }
    assert_eq!(read_text(""), Configuration::default());
}

#[test]
fn clusters_are_those_that_are_listed() {
    let clusters = ["near".to_owned(), "far".to_owned()];
    let context = Context {
        file: "outrigger.yaml",
        namespace: "default",
        clusters: &clusters,
    };
    let with = |cluster: &str| {
        WORKER.replace(
            "namespace: default}",
            &format!("namespace: default, annotations: {{outrigger.dev/cluster: {cluster}}}}}"),
        )
    };
    assert_eq!(
        read(WORKER.as_bytes(), context).targets[0]
            .cluster
            .as_deref(),
        Some("near")
    );
    assert_eq!(
        read(with("far").as_bytes(), context).targets[0]
            .cluster
            .as_deref(),
        Some("far")
    );
    let refused = read(with("gone").as_bytes(), context);
    assert!(refused.errors().next().unwrap().to_string().contains("line 3, column 83 (default/worker): metadata.annotations[outrigger.dev/cluster]: found `gone`, allowed: near, far"), "{:?}", refused.findings);
    let both = format!(
        "{WORKER}---\n{}",
        with("near").replacen("{name: worker", "{name: twin", 1)
    );
    assert_eq!(read(both.as_bytes(), context).targets.len(), 0);
}

proptest! {
    #[test]
    fn a_mutated_manifest_is_read_or_refused(start in 0usize..500, length in 0usize..40, junk in "[ -~\n]{0,12}") {
        let mut text = WORKER.to_owned();
        let start = start.min(text.len());
        let end = (start + length).min(text.len());
        text.replace_range(start..end, &junk);
        let configuration = read_text(&text);
        for finding in &configuration.findings {
            assert!(!finding.to_string().contains('\n'));
        }
    }
}

#[test]
fn the_workloads_of_what_is_not_run_are_known_as_far_as_they_can_be_read() {
    let object = |name: &str, reference: &str, rest: &str| {
        format!(
            "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  scaleTargetRef: {reference}\n  {rest}\n  \
             triggers:\n  - type: aws-sqs-queue\n    metadata: {{queueURL: q, awsRegion: eu-west-1, identityOwner: operator}}\n"
        )
    };
    let stream = [
        object("good", "{name: good}", ""),
        object("broken", "{name: broken}", "maxReplicaCount: many"),
        object("nameless", "{nme: x}", ""),
        object("one", "{name: twice}", ""),
        object("two", "{name: twice}", ""),
        "a: [".to_owned(),
    ];
    let context = Context {
        file: "test.yaml",
        namespace: "default",
        clusters: &[],
    };
    let configuration = read(stream.join("---\n").as_bytes(), context);
    let names = { configuration.not_run.iter() }.map(|not_run| {
        let workload = not_run.workload.as_ref().map(WorkloadRef::key);
        (not_run.namespace.as_deref(), workload)
    });
    let mut names: Vec<_> = names.collect();
    names.sort();
    let shop = |key: Option<&str>| (Some("shop"), key.map(str::to_owned));
    assert_eq!(
        names,
        [
            (None, None),
            shop(None),
            shop(Some("deployment.broken")),
            shop(Some("deployment.twice")),
            shop(Some("deployment.twice")),
        ]
    );
}
