//! Whole files for a handful of typical inputs, and what must hold for all.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::document::parse_yaml;
use crate::manifest::{Configuration, Context, read};

const WORKER: &str = r#"
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: worker, namespace: default}
spec:
  scaleTargetRef: {apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: worker}
  minReplicaCount: 2
  maxReplicaCount: 16
  triggers:
  - type: aws-sqs-queue
    metadata:
      queueURL: https://sqs.ap-northeast-1.amazonaws.com/123456789012/orders
      queueLength: "10"
      awsRegion: ap-northeast-1
      identityOwner: operator
"#;

/// What is rendered with these variables beside `OUTRIGGER_CLUSTERS=prod` in `ap-northeast-1`.
struct Case {
    yaml: String,
    variables: Vec<(&'static str, String)>,
    account: Option<&'static str>,
    region: &'static str,
    plurals: Plurals,
}

fn case(yaml: impl Into<String>) -> Case {
    Case {
        yaml: yaml.into(),
        variables: Vec::new(),
        account: None,
        region: "ap-northeast-1",
        plurals: Plurals::new(),
    }
}

impl Case {
    fn with(mut self, variable: &'static str, value: &str) -> Self {
        self.variables.push((variable, value.to_owned()));
        self
    }

    fn clusters(self, clusters: &str) -> Self {
        self.with("OUTRIGGER_CLUSTERS", clusters)
    }

    fn settings(&self) -> Settings {
        let own = [("OUTRIGGER_CLUSTERS", "prod"), ("AWS_REGION", self.region)];
        let own = own.map(|(name, value)| (name, value.to_owned()));
        let variables = own.into_iter().chain(self.variables.clone());
        let environment = variables.map(|(name, value)| (name.to_owned(), value));
        Settings::from_environment(&environment.collect()).unwrap()
    }

    fn configuration(&self, settings: &Settings) -> Configuration {
        let clusters = settings.clusters.iter();
        let clusters: Vec<String> = clusters.map(|cluster| cluster.name.clone()).collect();
        let context = Context {
            file: "test.yaml",
            namespace: &settings.namespace,
            clusters: &clusters,
        };
        let configuration = read(self.yaml.as_bytes(), context).with_default_mode(settings.mode);
        assert_eq!(configuration.errors().count(), 0, "{configuration:#?}");
        configuration
    }

    fn request<'a>(&'a self, settings: &'a Settings, targets: &'a [Target]) -> Request<'a> {
        Request {
            targets,
            settings,
            region: self.region,
            account: self.account,
            plurals: &self.plurals,
            package: "../package.zip",
            command: "outrigger render",
        }
    }

    fn render_targets(
        &self,
        settings: &Settings,
        targets: &[Target],
    ) -> Result<Rendered, Vec<RenderError>> {
        render(&self.request(settings, targets))
    }

    fn result(&self) -> Result<Rendered, Vec<RenderError>> {
        let settings = self.settings();
        let configuration = self.configuration(&settings);
        self.render_targets(&settings, &configuration.targets)
    }

    #[track_caller]
    fn rendered(&self) -> Rendered {
        self.result().unwrap()
    }

    #[track_caller]
    fn errors(&self) -> Vec<String> {
        let errors = self.result().unwrap_err();
        errors.iter().map(ToString::to_string).collect()
    }
}

/// A file without its header, as JSON. `!Ref X` is the text `X` then.
#[track_caller]
fn json_of(rendered: &Rendered, path: &str) -> Json {
    let text = rendered.files.get(path);
    let text = text.unwrap_or_else(|| panic!("no {path} in {:?}", rendered.files.keys()));
    json(text)
}

fn json(text: &str) -> Json {
    let documents = parse_yaml(text.as_bytes());
    documents[0].root.as_ref().unwrap().to_json()
}

/// What the function's own role may do because of its targets: statement by statement, as `Action Resource`.
#[track_caller]
fn rights(rendered: &Rendered) -> Vec<String> {
    let of = |path: &str| {
        let template = json_of(rendered, path);
        let policy = &template["Resources"]["Role"]["Properties"]["Policies"][0];
        statements_of(policy)
    };
    let (template, access) = (of("template.yaml"), of("access.yaml"));
    assert_eq!(template, access);
    access
}

/// Those with a list of resources: the shipped ones, about log and failure queue, have one each.
fn statements_of(policy: &Json) -> Vec<String> {
    let statements = policy["PolicyDocument"]["Statement"].as_array().unwrap();
    let mut rights = Vec::new();
    for statement in statements {
        for resource in statement["Resource"].as_array().into_iter().flatten() {
            let action = statement["Action"].as_str().unwrap();
            rights.push(format!("{action} {}", resource.as_str().unwrap()));
        }
    }
    rights
}

/// Queue and threshold of each alarm for a queue.
#[track_caller]
fn alarms(rendered: &Rendered) -> Vec<(String, u64)> {
    let of = |path: &str| {
        let template = json_of(rendered, path);
        let resources = template["Resources"].as_object().unwrap().clone();
        let queues = resources.into_iter().filter(|(name, resource)| {
            name.starts_with("QueueAlarm") && resource["Type"] == "AWS::CloudWatch::Alarm"
        });
        queues
            .map(|(name, resource)| {
                let permission = format!("{name}Permission");
                let source = &template["Resources"][&permission]["Properties"]["SourceArn"];
                assert_eq!(*source, format!("{name}.Arn"), "{permission}");
                let properties = &resource["Properties"];
                let queue = properties["Dimensions"][0]["Value"].as_str().unwrap();
                (queue.to_owned(), properties["Threshold"].as_u64().unwrap())
            })
            .collect::<Vec<_>>()
    };
    let (template, wiring) = (of("template.yaml"), of("wiring.yaml"));
    assert_eq!(template, wiring);
    wiring
}

const KUBERNETES: &str = "\
# Rendered by outrigger. Do not edit: change the ScaledObjects, and render again.
#   outrigger render
# The whole of what Outrigger may do in a namespace. Nothing here can change a pod template.
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: outrigger
  namespace: default
rules:
# Read the replica count and the state of the update.
- apiGroups: [argoproj.io]
  resources: [rollouts]
  resourceNames: [worker]
  verbs: [get]
# Write the replica count, and nothing else.
- apiGroups: [argoproj.io]
  resources: [rollouts/scale]
  resourceNames: [worker]
  verbs: [patch]
# Remember what a decision needs";

#[test]
fn the_manifest_of_the_readme() {
    let rendered = case(WORKER).rendered();
    let files: Vec<&str> = rendered.files.keys().map(String::as_str).collect();
    assert_eq!(
        files,
        [
            "access.yaml",
            "function.env",
            "kubernetes/prod/default.yaml",
            "template.yaml",
            "wiring.yaml"
        ]
    );
    assert_eq!(
        rights(&rendered),
        [
            "eks:DescribeCluster arn:aws:eks:ap-northeast-1:123456789012:cluster/prod",
            "sqs:GetQueueAttributes arn:aws:sqs:ap-northeast-1:123456789012:orders",
        ]
    );
    assert_eq!(alarms(&rendered), [("orders".to_owned(), 23)]);
    let wiring = json_of(&rendered, "wiring.yaml");
    assert_eq!(
        wiring["Resources"]["QueueAlarmOrders"]["Properties"]["AlarmDescription"],
        "Wakes Outrigger for the queue orders from 23 messages on: the 2 replicas that default/worker always has are not enough there"
    );
    let kubernetes = &rendered.files["kubernetes/prod/default.yaml"];
    assert!(kubernetes.starts_with(KUBERNETES), "{kubernetes}");
    // All else of the Role, the RoleBinding and the ConfigMap is as shipped, but for the namespace.
    let shipped = |name: &str| {
        let path = format!("{}/infra/kubernetes/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    };
    let rest = shipped("role.yaml");
    let (_, rest) = rest.split_once("# render: end\n").unwrap();
    let (binding, map) = (shipped("rolebinding.yaml"), shipped("configmap.yaml"));
    let namespaced = "  name: outrigger\n  namespace: default\n";
    let shipped = [&binding, &map].map(|text| text.replacen("  name: outrigger\n", namespaced, 1));
    let rest = rest.replace("# render: events\n", "");
    let rest = rest.replace("# render: end\n", "");
    let end = [rest.as_str(), &shipped[0], &shipped[1]].join("---\n");
    assert!(kubernetes.ends_with(&end), "{kubernetes}");
}

/// What is rendered differs from what ships in the marked blocks alone.
#[test]
fn everything_else_is_as_shipped() {
    let rendered = case(WORKER).rendered();
    for (path, shipped) in [
        ("template.yaml", include_str!("../../infra/template.yaml")),
        ("access.yaml", include_str!("../../infra/access.yaml")),
        ("wiring.yaml", include_str!("../../infra/wiring.yaml")),
    ] {
        let text = &rendered.files[path];
        // The blocks around a line, and whether each is replaced.
        let mut blocks: Vec<bool> = Vec::new();
        let mut kept = text.lines();
        for line in shipped.lines() {
            match line.trim_start() {
                "# render: end" => {
                    blocks.pop();
                }
                "# render: wake" | "# render: access entry" => blocks.push(false),
                mark if mark.starts_with("# render: ") => blocks.push(true),
                _ if blocks.contains(&true) || line.is_empty() || line.contains("!Ref Window") => {}
                _ => assert!(
                    kept.any(|found| found == line),
                    "{path}: no {line:?} in its place"
                ),
            }
        }
        assert!(!text.contains("# render:"), "{path}");
        for gone in [
            "QueueArns",
            "QueueDepth",
            "!Ref QueueName",
            "ClusterName}",
            "HasQueueAlarm",
            "Window}",
            "!Ref Window",
            "!Ref Mode",
        ] {
            assert!(!text.contains(gone), "{path}: {gone}");
        }
    }
    let template = json_of(&rendered, "template.yaml");
    let function = &template["Resources"]["Function"]["Properties"];
    assert_eq!(function["CodeUri"], "../package.zip");
    assert_eq!(
        function["Environment"]["Variables"]["OUTRIGGER_CLUSTERS"],
        "prod"
    );
}

/// CloudFormation keeps the value that a parameter has in a stack, whatever default a new template gives it.
#[test]
fn settings_become_literals_and_no_parameters() {
    let rendered = case(WORKER)
        .with("OUTRIGGER_WINDOW", "420")
        .with("OUTRIGGER_MODE", "shadow")
        .with("OUTRIGGER_METRICS", "totals")
        .with("OUTRIGGER_CLUSTER_ENDPOINT", "https://10.0.0.1")
        .with("OUTRIGGER_CLUSTER_CA", "Q0E=")
        .rendered();
    let template = json_of(&rendered, "template.yaml");
    let function = &template["Resources"]["Function"]["Properties"];
    let variables = json!({
        "OUTRIGGER_CLUSTERS": "prod",
        "OUTRIGGER_CONFIG": "file:outrigger.yaml",
        "OUTRIGGER_ROLES": "",
        "OUTRIGGER_NAMESPACE": "default",
        "OUTRIGGER_WINDOW": "420",
        "OUTRIGGER_MODE": "shadow",
        "OUTRIGGER_LOG": "changes",
        "OUTRIGGER_METRICS": "totals",
        "OUTRIGGER_CLUSTER_ENDPOINT": "https://10.0.0.1",
        "OUTRIGGER_CLUSTER_CA": "Q0E=",
    });
    assert_eq!(function["Environment"]["Variables"], variables);
    let files = ["template.yaml", "wiring.yaml"].map(|path| json_of(&rendered, path));
    for file in &files {
        let parameters = file["Parameters"].as_object().unwrap();
        for gone in [
            "Config",
            "Roles",
            "Queues",
            "Expressions",
            "MinPolling",
            "MaxMetricReads",
            "Namespace",
            "Mode",
            "Log",
            "Metrics",
            "Window",
        ] {
            assert!(!parameters.contains_key(gone), "{gone}");
        }
    }
    // With its address nobody asks where the cluster is; in shadow mode nobody writes a count.
    assert_eq!(
        rights(&rendered),
        ["sqs:GetQueueAttributes arn:aws:sqs:ap-northeast-1:123456789012:orders"]
    );
    let kubernetes = &rendered.files["kubernetes/prod/default.yaml"];
    assert!(kubernetes.contains("resources: [rollouts]") && !kubernetes.contains("rollouts/scale"));
    // Nor does it tell anything there.
    assert!(!kubernetes.contains("events"));
}

/// The variables of a rendered `function.env`, as `cargo lambda deploy --env-file` takes them.
fn environment_of(rendered: &Rendered) -> std::collections::BTreeMap<String, String> {
    let lines = rendered.files["function.env"].lines();
    let lines = lines.filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.split_once('=').unwrap();
            let value = value
                .strip_prefix('"')
                .and_then(|value| value.strip_suffix('"'));
            (name.to_owned(), value.unwrap().to_owned())
        })
        .collect()
}

#[test]
fn the_file_of_variables_says_what_the_template_says() {
    let clusters = "arn:aws:eks:eu-west-1:222222222222:cluster/west=arn:aws:iam::222222222222:role/scaler,prod";
    let with_address = case(WORKER)
        .with("OUTRIGGER_CLUSTER_ENDPOINT", "https://10.0.0.1/?a=b")
        .with("OUTRIGGER_CLUSTER_CA", "Q0E=");
    let in_cluster = case(WORKER)
        .with("OUTRIGGER_CONFIG", "cluster:default,shop")
        .with(
            "OUTRIGGER_ROLES",
            "arn:aws:iam::222222222222:role/a,arn:aws:iam::222222222222:role/b",
        );
    for case in [case(WORKER).clusters(clusters), with_address, in_cluster] {
        let rendered = case.rendered();
        let environment = environment_of(&rendered);
        let read = Settings::from_environment(&{
            let mut environment = environment.clone();
            environment.insert("AWS_REGION".to_owned(), "ap-northeast-1".to_owned());
            environment
        });
        let mut settings = case.settings();
        if let crate::settings::Source::File(path) = &mut settings.source {
            *path = "outrigger.yaml".into();
        }
        assert_eq!(read, Ok(settings));
        let template = json_of(&rendered, "template.yaml");
        let variables =
            &template["Resources"]["Function"]["Properties"]["Environment"]["Variables"];
        for (name, value) in &environment {
            assert_eq!(
                variables[name].as_str().unwrap_or_default(),
                value,
                "{name}"
            );
        }
    }
}

#[test]
fn every_window_is_one_of_the_templates() {
    let shipped = json(include_str!("../../infra/template.yaml"));
    let windows = shipped["Mappings"]["Windows"].as_object().unwrap();
    assert_eq!(windows.len(), 10);
    for (seconds, window) in windows {
        let rendered = case(WORKER).with("OUTRIGGER_WINDOW", seconds).rendered();
        let number: u64 = seconds.parse().unwrap();
        for path in ["template.yaml", "wiring.yaml"] {
            let template = json_of(&rendered, path);
            let of = |name: &str| &template["Resources"][name]["Properties"];
            assert_eq!(
                of("Schedule")["ScheduleExpression"],
                window["Rate"],
                "{path}"
            );
            assert_eq!(
                of("ScheduleRule")["ScheduleExpression"],
                window["Rate"],
                "{path}"
            );
            // The worker is polled every 30 s, and the shipped templates are for up to 300 s.
            let window_seconds = u32::try_from(number).unwrap();
            let failing = function::failing_period(window_seconds, 30);
            assert_eq!(of("Failing")["Period"], failing, "{path}");
            let shipped = function::failing_period(window_seconds, 300);
            assert_eq!(window["FailingPeriod"], shipped, "{path}");
            assert_eq!(of("Silent")["Period"], number, "{path}");
            if path == "template.yaml" {
                assert_eq!(of("Function")["Timeout"], window["Timeout"]);
            }
        }
    }
}

#[test]
fn more_variables_than_lambda_takes_are_an_error() {
    let clusters: Vec<String> = (10..55)
        .map(|number| {
            format!(
                "arn:aws:eks:ap-northeast-1:1234567890{number}:cluster/production-{number}=arn:aws:iam::1234567890{number}:role/scaler"
            )
        })
        .collect();
    let errors = case(WORKER).clusters(&clusters.join(",")).errors();
    assert!(
        errors[0].contains("45 clusters") && errors[0].contains("4,096"),
        "{errors:?}"
    );
}

fn scaled_object(name: &str, target: &str, bounds: &str, triggers: &str) -> String {
    format!(
        "---\napiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec:\n  scaleTargetRef: {target}\n  {bounds}\n  triggers:\n{triggers}"
    )
}

fn queue(url: &str, more: &str) -> String {
    format!(
        "  - type: aws-sqs-queue\n    metadata: {{queueURL: '{url}', awsRegion: ap-northeast-1, identityOwner: operator{more}}}\n"
    )
}

const CRON: &str = "  - type: cron\n    metadata: {timezone: UTC, start: 0 8 * * *, end: 0 9 * * *, desiredReplicas: '3'}\n";

#[test]
fn without_a_queue_there_is_no_alarm() {
    let rendered = case(scaled_object("c", "{name: c}", "maxReplicaCount: 3", CRON)).rendered();
    assert_eq!(alarms(&rendered), []);
    assert_eq!(
        rights(&rendered),
        ["eks:DescribeCluster arn:aws:eks:ap-northeast-1:${AWS::AccountId}:cluster/prod"]
    );
    for path in ["template.yaml", "wiring.yaml"] {
        let text = &rendered.files[path];
        for gone in ["WakeThrough:", "WakesDirectly", "WakeTopic", "WakeRule"] {
            assert!(!text.contains(gone), "{path}: {gone}");
        }
    }
}

#[test]
fn one_alarm_a_queue_at_its_lowest_depth() {
    let url = "https://sqs.ap-northeast-1.amazonaws.com/123456789012/orders";
    let yaml = [
        scaled_object(
            "a",
            "{name: a}",
            "minReplicaCount: 5",
            &queue(url, ", queueLength: '100'"),
        ),
        scaled_object(
            "b",
            "{name: b}",
            "minReplicaCount: 3",
            &queue("orders", ", queueLength: '7'"),
        ),
        scaled_object(
            "c",
            "{name: c}",
            "minReplicaCount: 1",
            &queue("mails.fifo", ""),
        ),
    ];
    let rendered = case(yaml.concat()).rendered();
    // 3 replicas of 7 and the tolerance of a tenth are 23.1; one of 5 is 5.5.
    let expected = [("mails.fifo".to_owned(), 6), ("orders".to_owned(), 24)];
    assert_eq!(alarms(&rendered), expected);
    assert_eq!(
        rights(&rendered),
        [
            "eks:DescribeCluster arn:aws:eks:ap-northeast-1:123456789012:cluster/prod",
            "sqs:GetQueueAttributes arn:aws:sqs:ap-northeast-1:123456789012:mails.fifo",
            "sqs:GetQueueAttributes arn:aws:sqs:ap-northeast-1:123456789012:orders",
            "sqs:GetQueueUrl arn:aws:sqs:ap-northeast-1:123456789012:mails.fifo",
            "sqs:GetQueueUrl arn:aws:sqs:ap-northeast-1:123456789012:orders",
        ]
    );
}

/// What no depth can raise is not worth an alarm, unless somebody else reads the queue.
#[test]
fn without_a_count_to_raise_there_is_no_alarm() {
    let object = |name: &str, bounds: &str, annotations: &str| {
        let bounds = bounds.replace(", ", "\n  ");
        let target = format!("{{name: {name}}}");
        scaled_object(name, &target, &bounds, &queue("orders", "")).replace(
            "namespace: shop",
            &format!("namespace: shop, annotations: {{{annotations}}}"),
        )
    };
    let range = "minReplicaCount: 1, maxReplicaCount: 5";
    for (bounds, annotations, alarmed) in [
        (range, "", true),
        (range, "autoscaling.keda.sh/paused: 'true'", false),
        (range, "autoscaling.keda.sh/paused-replicas: '3'", false),
        (range, "autoscaling.keda.sh/paused-scale-out: 'true'", false),
        (range, "autoscaling.keda.sh/paused-scale-in: 'true'", true),
        ("minReplicaCount: 5, maxReplicaCount: 5", "", false),
        (
            "minReplicaCount: 5, maxReplicaCount: 5, idleReplicaCount: 0",
            "",
            true,
        ),
    ] {
        let rendered = case(object("a", bounds, annotations)).rendered();
        let depths = alarms(&rendered);
        assert_eq!(depths.len(), usize::from(alarmed), "{bounds} {annotations}");
        let note = |note: &&String| note.starts_with("no alarm for the queue orders: ");
        let notes = rendered.notes.iter().filter(note).count();
        assert_eq!(notes, usize::from(!alarmed), "{:?}", rendered.notes);
        let both = object("a", bounds, annotations) + &object("b", range, "");
        assert_eq!(alarms(&case(both).rendered()).len(), 1);
    }
}

#[test]
fn one_message_is_one() {
    let wakes = |more: &str| {
        let yaml = scaled_object(
            "a",
            "{name: a}",
            "minReplicaCount: 0",
            &queue("orders", more),
        );
        let wiring = json_of(&case(yaml).rendered(), "wiring.yaml");
        let alarm = &wiring["Resources"]["QueueAlarmOrders"]["Properties"];
        alarm["AlarmDescription"].as_str().unwrap().to_owned()
    };
    assert!(wakes("").contains(" from 1 message on: "), "{}", wakes(""));
    assert!(wakes(", activationQueueLength: '1'").contains(" from 2 messages on: "));
}

#[test]
fn a_region_that_there_is_not_is_a_warning() {
    let warnings = |case: &Case| {
        let notes = case.rendered().notes.into_iter();
        notes
            .filter(|note| note.starts_with("warning: "))
            .collect::<Vec<_>>()
    };
    assert_eq!(warnings(&case(WORKER)), [""; 0]);
    let queue = WORKER.replace("ap-northeast-1", "ap-northeast-9");
    let found = warnings(&case(queue));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("`ap-northeast-9`") && found[0].contains("did you mean `ap-northeast-")
    );
    let cluster = "arn:aws:eks:eu-wset-1:123456789012:cluster/prod";
    let found = warnings(&case(WORKER).clusters(cluster));
    assert!(
        found.len() == 1 && found[0].contains("did you mean `eu-west-1`?"),
        "{found:?}"
    );
    let mut own = case(WORKER);
    own.region = "mars-north-1";
    let found = warnings(&own);
    assert!(
        found.len() == 1 && found[0].contains("`mars-north-1`"),
        "{found:?}"
    );
}

#[test]
fn more_resources_than_cloudformation_takes_are_told() {
    let objects = |each: usize| -> String {
        let roles = ["a", "b", "c"].map(|role| {
            let authentication = format!(
                "---\napiVersion: keda.sh/v1alpha1\nkind: TriggerAuthentication\nmetadata: {{name: {role}, namespace: shop}}\n\
                 spec: {{podIdentity: {{provider: aws, roleArn: 'arn:aws:iam::123456789012:role/{role}'}}}}\n"
            );
            let objects = (0..each).map(|number| {
                let name = format!("{role}{number}");
                let url = format!("https://sqs.ap-northeast-1.amazonaws.com/123456789012/{name}");
                let triggers = format!("{}    authenticationRef: {{name: {role}}}\n", queue(&url, ""));
                let triggers = triggers.replace(", identityOwner: operator", "");
                scaled_object(&name, &format!("{{name: {name}}}"), "minReplicaCount: 1", &triggers)
            });
            authentication + &objects.collect::<String>()
        });
        roles.concat()
    };
    let told = |each: usize| {
        let mut case = case(objects(each));
        case.account = Some("123456789012");
        let rendered = case.rendered();
        for path in ["template.yaml", "wiring.yaml"] {
            let template = json_of(&rendered, path);
            let resources = template["Resources"].as_object().unwrap().len();
            assert_eq!(resources > 500, each > 160, "{path}: {resources}");
        }
        let notes = rendered.notes.into_iter();
        notes
            .filter(|note| note.contains("cannot be deployed: it has "))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(150), [""; 0]);
    let found = told(170);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("template.yaml ") && found[1].starts_with("wiring.yaml "));
}

#[test]
fn more_targets_than_the_memory_is_for_are_told() {
    let url = "https://sqs.ap-northeast-1.amazonaws.com/123456789012/orders";
    let told = |count: usize| {
        let objects = (0..count).map(|number| {
            let name = format!("w{number}");
            let target = format!("{{name: {name}}}");
            scaled_object(&name, &target, "minReplicaCount: 1", &queue(url, ""))
        });
        let notes = case(objects.collect::<String>()).rendered().notes;
        let mut notes = notes.into_iter();
        notes.find(|note| note.contains("MemorySize=256"))
    };
    assert_eq!(told(300), None);
    let note = told(301).unwrap();
    assert!(
        note.starts_with("301 targets are more than the 300 for which 128 MB are enough: "),
        "{note}"
    );
}

#[test]
fn what_is_rendered_has_its_price() {
    let price = |case: &Case| {
        let notes = case.rendered().notes.into_iter();
        let notes: Vec<String> = notes
            .filter(|note| note.starts_with("costs about "))
            .collect();
        assert_eq!(notes.len(), 1, "{notes:?}");
        notes.into_iter().next().unwrap()
    };
    let minute = WORKER.replace("spec:\n", "spec:\n  pollingInterval: 60\n");
    let note = price(&case(minute.as_str()));
    assert!(
        note.starts_with("costs about $0.40 a month: alarms $0.30 (3), "),
        "{note}"
    );
    assert!(!note.contains("with pollingInterval"), "{note}");
    // The default of KEDA is 30 s.
    let note = price(&case(WORKER));
    assert!(
        note.contains("; with pollingInterval: 60 or more on every ScaledObject $0.40"),
        "{note}"
    );
    let note = price(&case(minute).with("OUTRIGGER_METRICS", "targets"));
    assert!(note.contains("metrics written $3.30 (11)"), "{note}");
}

/// The rule of an alarm on the function, as it is rendered.
struct Rule {
    period: u32,
    periods: usize,
    breaching: usize,
}

impl Rule {
    #[track_caller]
    fn of(rendered: &Rendered, name: &str) -> Self {
        let [template, wiring] = ["template.yaml", "wiring.yaml"].map(|path| {
            let found = &json_of(rendered, path)["Resources"][name];
            found["Properties"].clone()
        });
        assert_eq!(template, wiring);
        assert_eq!(
            (&wiring["Statistic"], &wiring["Threshold"]),
            (&json!("Sum"), &json!(1))
        );
        let number = |key: &str| wiring[key].as_u64().unwrap();
        Self {
            period: number("Period").try_into().unwrap(),
            periods: number("EvaluationPeriods").try_into().unwrap(),
            breaching: number("DatapointsToAlarm").try_into().unwrap(),
        }
    }

    /// The minutes at whose end it is in alarm, by the failed invocations of each minute. CloudWatch evaluates an alarm every minute,
    /// over the periods that end there.
    /// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html>
    fn in_alarm(&self, failures: &[u32]) -> Vec<usize> {
        let minutes = usize::try_from(self.period / 60).unwrap();
        let is_alarm = |end: &usize| {
            let breaching = (0..self.periods).filter(|back| {
                let end = end.saturating_sub(back * minutes);
                let begin = end.saturating_sub(minutes);
                failures[begin..end].iter().any(|count| *count > 0)
            });
            breaching.count() >= self.breaching
        };
        (1..=failures.len()).filter(is_alarm).collect()
    }
}

const MONTH_MINUTES: usize = 30 * 24 * 60;

/// A month of a function whose one target, at rest, fails whenever it is polled: the failed invocations of each minute, by when
/// they began. A schedule fires at any second of its minute.
fn failures(window: u32, interval: u32) -> Vec<u32> {
    use crate::ticks::{Ticks, Window};
    use std::num::NonZeroU32;
    let number = |value: u32| NonZeroU32::new(value).unwrap();
    let mut failures = vec![0; MONTH_MINUTES];
    let mut random: u32 = 1;
    for minute in (0..MONTH_MINUTES).step_by(usize::try_from(window / 60).unwrap()) {
        let second = i64::try_from(minute).unwrap() * 60;
        let window = Window {
            seconds: number(window),
            sync_seconds: number(window),
            event_time: jiff::Timestamp::from_second(1_790_000_000 / 600 * 600 + second).ok(),
            time_left: None,
        };
        let first = Ticks::over(window, &[number(interval)]).next_after(0);
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // The minute of the schedule began 30 s into that of the clock.
        let begun = (second + 30 + i64::from(random >> 16) % 60) / 60;
        let is_polled =
            first.is_some_and(|tick| tick.targets.iter().any(|poll| !poll.unless_at_rest));
        if let (true, Some(count)) = (is_polled, failures.get_mut(usize::try_from(begun).unwrap()))
        {
            *count += 1;
        }
    }
    failures
}

fn polled_every(interval: u32) -> String {
    let bounds = format!("minReplicaCount: 0\n  pollingInterval: {interval}");
    scaled_object("a", "{name: a}", &bounds, &queue("orders", ""))
}

#[expect(
    clippy::print_stderr,
    reason = "the figures, for `cargo test a_month -- --nocapture`"
)]
#[test]
fn in_a_month_of_failures_the_alarm_fires_and_stays() {
    // As it was: 3 of 5 windows.
    let before = Rule {
        period: 60,
        periods: 5,
        breaching: 3,
    };
    for window in [60, 120, 300, 600] {
        for interval in [10, 30, 60, 100, 180, 300, 600] {
            let rendered = case(polled_every(interval))
                .with("OUTRIGGER_WINDOW", &window.to_string())
                .rendered();
            let rule = Rule::of(&rendered, "Failing");
            let failures = failures(window, interval);
            let first = failures.iter().position(|count| *count > 0).unwrap();
            let alarm = rule.in_alarm(&failures);
            let failed: u32 = failures.iter().sum();
            eprintln!(
                "window {window} s, interval {interval} s: {failed} failed invocations; {} x {} s: in alarm after {} of {MONTH_MINUTES} min, for {}",
                rule.periods,
                rule.period,
                alarm[0] - first,
                alarm.len()
            );
            // It fires within its periods, and is never taken back.
            let periods = usize::try_from(rule.period / 60).unwrap() * rule.periods;
            assert!(
                alarm[0] - first <= periods,
                "{window} {interval}: {}",
                alarm[0]
            );
            assert_eq!(
                alarm.len(),
                MONTH_MINUTES + 1 - alarm[0],
                "{window} {interval}"
            );
            if window == 60 {
                let fired = !before.in_alarm(&failures).is_empty();
                assert_eq!(fired, interval < 180, "{interval}");
            }
        }
    }
}

/// One failure a day is no reason to wake anybody, and the shipped templates hold for up to 300 s.
#[test]
fn a_single_failure_does_not_fire_and_what_ships_holds_for_300_s() {
    let rendered = case(polled_every(300)).rendered();
    let rule = Rule::of(&rendered, "Failing");
    let mut failures_of_days = vec![0; MONTH_MINUTES];
    for day in 0..30 {
        failures_of_days[day * 1440 + 77] = 1;
    }
    assert_eq!(rule.in_alarm(&failures_of_days), [0; 0]);
    let shipped = json(include_str!("../../infra/wiring.yaml"));
    for (seconds, window) in shipped["Mappings"]["Windows"].as_object().unwrap() {
        let seconds: u32 = seconds.parse().unwrap();
        let period = window["FailingPeriod"]
            .as_u64()
            .unwrap()
            .try_into()
            .unwrap();
        let rule = Rule {
            period,
            ..Rule::of(&rendered, "Failing")
        };
        for interval in [10, 100, 300] {
            let alarm = rule.in_alarm(&failures(seconds, interval));
            assert_eq!(
                alarm.len(),
                MONTH_MINUTES + 1 - alarm[0],
                "{seconds} {interval}"
            );
        }
    }
}

#[test]
fn a_function_that_is_silent_is_told_and_alarms_are_two() {
    let rendered = case(WORKER).rendered();
    let wiring = json_of(&rendered, "wiring.yaml");
    let resources = wiring["Resources"].as_object().unwrap().iter();
    let own = resources.filter(|(_, resource)| {
        resource["Type"] == "AWS::CloudWatch::Alarm"
            && resource["Properties"]["Namespace"] == "AWS/Lambda"
    });
    let own: Vec<(&str, &Json)> = own
        .map(|(name, resource)| (name.as_str(), &resource["Properties"]))
        .collect();
    let names: Vec<&str> = own.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["Failing", "Silent"]);
    let silent = own[1].1;
    assert_eq!(silent["MetricName"], "Invocations");
    assert_eq!(silent["ComparisonOperator"], "LessThanThreshold");
    assert_eq!(silent["TreatMissingData"], "breaching");
}

#[test]
fn what_may_rest_is_woken_where_it_becomes_active() {
    for (bounds, more, expected) in [
        ("minReplicaCount: 0", "", 1),
        ("minReplicaCount: 0", ", activationQueueLength: '4'", 5),
        (
            "{minReplicaCount: 4, idleReplicaCount: 1}",
            ", activationQueueLength: '2'",
            3,
        ),
        ("minReplicaCount: 1", ", activationQueueLength: '50'", 6),
    ] {
        let bounds = bounds.trim_matches(['{', '}']).replace(", ", "\n  ");
        let yaml = scaled_object("a", "{name: a}", &bounds, &queue("orders", more));
        let expected = [("orders".to_owned(), expected)];
        assert_eq!(alarms(&case(yaml).rendered()), expected, "{bounds} {more}");
    }
}

#[test]
fn many_queues_share_a_permission() {
    let objects = |count: usize| -> String {
        let objects = (0..count).map(|number| {
            let queue = queue(&format!("q{number}"), "");
            scaled_object(
                &format!("s{number}"),
                &format!("{{name: w{number}}}"),
                "minReplicaCount: 1",
                &queue,
            )
        });
        objects.collect()
    };
    let most = function::MAX_PERMISSIONS;
    let rendered = case(objects(most)).rendered();
    assert_eq!(alarms(&rendered).len(), most);
    assert!(
        !rendered
            .notes
            .iter()
            .any(|note| note.contains("--s3-bucket"))
    );
    let rendered = case(objects(45)).rendered();
    let large =
        |note: &&String| note.starts_with("wiring.yaml has ") && note.contains("--s3-bucket");
    assert_eq!(rendered.notes.iter().filter(large).count(), 1);
    let rendered = case(objects(most + 1)).rendered();
    let wiring = json_of(&rendered, "wiring.yaml");
    let resources = wiring["Resources"].as_object().unwrap();
    let of_alarms = resources
        .iter()
        .filter(|(name, _)| name.starts_with("QueueAlarm"));
    let permissions: Vec<&Json> = of_alarms
        .filter(|(_, resource)| resource["Type"] == "AWS::Lambda::Permission")
        .map(|(_, resource)| &resource["Properties"]["SourceArn"])
        .collect();
    let pattern = "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:${AWS::StackName}-QueueAlarm*";
    assert_eq!(permissions, [pattern]);
    let errors = case(objects(200)).errors();
    assert!(
        errors[0].contains("200 queues") && errors[0].contains("10,240"),
        "{errors:?}"
    );
}

/// The policy of the function as Lambda keeps it, with names as long as they may be.
#[test]
fn the_permissions_fit_into_the_policy_of_the_function() {
    let place = "ap-southeast-1:123456789012";
    let (stack, queue) = ("s".repeat(128), "q".repeat(80));
    let (function, suffix) = ("f".repeat(55), "ABCDEFGHIJKL");
    let id = text::logical(&format!("{}-", &queue[1..]));
    // An alarm's name has up to 255 characters, a statement's id up to 100.
    let alarm = format!("{stack}-QueueAlarm{id}-{suffix}");
    let statement = |principal: &str, source: &str| {
        json!({
            "Sid": "s".repeat(100),
            "Effect": "Allow",
            "Principal": {"Service": principal},
            "Action": "lambda:InvokeFunction",
            "Resource": format!("arn:aws-us-gov:lambda:{place}:function:{function}:live"),
            "Condition": {
                "StringEquals": {"AWS:SourceAccount": "123456789012"},
                "ArnLike": {"AWS:SourceArn": source},
            },
        })
    };
    let of_alarm = statement(
        "lambda.alarms.cloudwatch.amazonaws.com",
        &format!("arn:aws-us-gov:cloudwatch:{place}:alarm:{alarm}"),
    );
    let of_rule = statement(
        "events.amazonaws.com",
        &format!("arn:aws-us-gov:events:{place}:rule/{}", "r".repeat(64)),
    );
    let mut statements = vec![of_alarm; function::MAX_PERMISSIONS];
    statements.push(of_rule);
    let policy = json!({"Version": "2012-10-17", "Id": "default", "Statement": statements});
    let length = policy.to_string().len();
    assert!(length <= 20_480, "{length}");
}

#[test]
fn the_role_of_another_account_has_a_limit_too() {
    let objects = (0..300).map(|number| {
        let queue = queue(
            &format!("https://sqs.ap-northeast-1.amazonaws.com/222222222222/q{number}"),
            "",
        );
        let queue = format!("{queue}    authenticationRef: {{name: team-b}}\n");
        scaled_object(
            &format!("s{number}"),
            &format!("{{name: w{number}}}"),
            "minReplicaCount: 1",
            &queue,
        )
    });
    let mut case = case(AUTHENTICATION.to_owned() + &objects.collect::<String>());
    case.account = Some("111111111111");
    let errors = case.errors();
    assert!(
        errors[0].starts_with(
            "the role arn:aws:iam::222222222222:role/queues/reader would name 300 queues"
        ),
        "{errors:?}"
    );
}

#[test]
fn nothing_reaches_into_another_partition() {
    let one = |case: Case| {
        let errors = case.errors();
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors.into_iter().next().unwrap()
    };
    let queue = WORKER
        .replace(
            "sqs.ap-northeast-1.amazonaws.com/",
            "sqs.cn-north-1.amazonaws.com.cn/",
        )
        .replace("awsRegion: ap-northeast-1", "awsRegion: cn-north-1");
    let message = one(case(queue));
    assert!(
        message.starts_with("the queue orders of cn-north-1 is of the partition aws-cn, and the function, in ap-northeast-1, of aws:"),
        "{message}"
    );
    let cluster = "arn:aws-us-gov:eks:us-gov-west-1:123456789012:cluster/prod";
    let message = one(case(WORKER).clusters(cluster));
    assert!(
        message.starts_with("the cluster prod of us-gov-west-1 is of the partition aws-us-gov"),
        "{message}"
    );
    let role = "prod=arn:aws-cn:iam::123456789012:role/scaler";
    let message = one(case(WORKER).clusters(role));
    assert!(
        message.starts_with(
            "the role arn:aws-cn:iam::123456789012:role/scaler is of the partition aws-cn"
        ),
        "{message}"
    );
}

#[test]
fn partitions_follow_the_region() {
    let yaml = WORKER
        .replace("ap-northeast-1", "cn-north-1")
        .replace("amazonaws.com/", "amazonaws.com.cn/");
    let mut case = case(yaml).clusters("arn:aws-cn:eks:cn-north-1:123456789012:cluster/prod");
    case.region = "cn-north-1";
    let rendered = case.rendered();
    assert_eq!(
        rights(&rendered),
        [
            "eks:DescribeCluster arn:aws-cn:eks:cn-north-1:123456789012:cluster/prod",
            "sqs:GetQueueAttributes arn:aws-cn:sqs:cn-north-1:123456789012:orders",
        ]
    );
}

#[test]
fn kinds_have_the_rights_that_they_need() {
    let queue = queue("orders", "");
    let kind = |version: &str, kind: &str, name: &str| {
        format!("{{apiVersion: {version}, kind: {kind}, name: {name}}}")
    };
    let yaml = [
        scaled_object("a", "{name: off}", "minReplicaCount: 1", &queue),
        scaled_object("b", "{name: '123'}", "minReplicaCount: 1", &queue).replace(
            "namespace: shop",
            "namespace: shop, annotations: {outrigger.dev/mode: shadow}",
        ),
        scaled_object(
            "c",
            &kind("v1", "ReplicationController", "rc"),
            "minReplicaCount: 1",
            &queue,
        ),
        scaled_object(
            "d",
            &kind("example.com/v1", "Proxy", "p"),
            "minReplicaCount: 1",
            &queue,
        ),
        scaled_object(
            "e",
            &kind("example.com/v1", "Ox", "o"),
            "minReplicaCount: 1",
            &queue,
        ),
        scaled_object(
            "f",
            &kind("example.com/v1", "Ox", "ox"),
            "minReplicaCount: 1",
            &queue,
        ),
    ];
    let mut oxen = case(yaml.concat());
    let ox = ("example.com".to_owned(), "Ox".to_owned());
    oxen.plurals = Plurals::from([(ox, "oxen".to_owned())]);
    let rendered = oxen.rendered();
    let role = json_of(&rendered, "kubernetes/prod/shop.yaml");
    let rules = role["rules"].as_array().unwrap().iter().map(|rule| {
        let names = &rule["resourceNames"];
        format!(
            "{} {} {names} {}",
            rule["apiGroups"][0], rule["resources"][0], rule["verbs"]
        )
    });
    let rules: Vec<String> = rules
        .take_while(|rule| !rule.contains("configmaps"))
        .collect();
    assert_eq!(
        rules,
        [
            r#""" "replicationcontrollers/scale" ["rc"] ["get","patch"]"#,
            r#""apps" "deployments/scale" ["123","off"] ["get"]"#,
            r#""apps" "deployments/scale" ["off"] ["patch"]"#,
            r#""example.com" "oxen/scale" ["o","ox"] ["get","patch"]"#,
            r#""example.com" "proxies/scale" ["p"] ["get","patch"]"#,
        ]
    );
    let guesses = rendered
        .notes
        .iter()
        .filter(|note| note.contains("kubectl api-resources"));
    let guesses: Vec<&String> = guesses.collect();
    assert_eq!(guesses.len(), 1, "{guesses:?}");
    assert!(guesses[0].contains("Proxy.example.com is taken to be `proxies`"));
}

const AUTHENTICATION: &str = "---
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata: {name: team-b, namespace: shop}
spec:
  podIdentity: {provider: aws, roleArn: 'arn:aws:iam::222222222222:role/queues/reader', externalID: \"it's:us\"}
";

const ACCOUNT: &str = r#"# Rendered by outrigger. Do not edit: change the ScaledObjects, and render again.
#   outrigger render
# For account 222222222222, region eu-west-1, after the stack with the function's role, whose output RoleArn is the parameter FunctionRoleArn here.
AWSTemplateFormatVersion: '2010-09-09'
Description: Beside the stack of the Outrigger function, for another account or region - a role that the function takes there, for queues and for an EKS cluster

Parameters:
  FunctionRoleArn:
    Type: String
    AllowedPattern: ^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$
    Description: The output RoleArn of the stack of the function. The role must exist already, or IAM refuses the trust. When it is made anew, under whatever name, update this stack.
  CreateAccessEntry:
    Type: String
    Default: 'true'
    AllowedValues: ['true', 'false']
    Description: false where somebody else makes the access entry of the role, with the Kubernetes group outrigger.

Conditions:
  MakesAccessEntry: !Equals [!Ref CreateAccessEntry, 'true']

Resources:
  RoleScalerXdcf625d9:
    Type: AWS::IAM::Role
    Metadata:
      checkov:
        skip:
        - id: CKV_AWS_60
          comment: One role of one account may take it, and with an external id only by that.
    Properties:
      RoleName: Scaler
      Description: What the Outrigger function may do with this role. What it may do in Kubernetes is said by RBAC.
      AssumeRolePolicyDocument:
        Version: '2012-10-17'
        Statement:
        - Effect: Allow
          Principal: {AWS: !Ref FunctionRoleArn}
          Action: sts:AssumeRole
      Policies:
      - PolicyName: outrigger
        PolicyDocument:
          Version: '2012-10-17'
          Statement:
          # Endpoint and CA of the clusters with workloads to scale.
          - Sid: DescribeClusters
            Effect: Allow
            Action: eks:DescribeCluster
            Resource:
            - "arn:aws:eks:eu-west-1:222222222222:cluster/west"

  RoleReader:
    Type: AWS::IAM::Role
    Metadata:
      checkov:
        skip:
        - id: CKV_AWS_60
          comment: One role of one account may take it, and with an external id only by that.
    Properties:
      RoleName: reader
      Path: "/queues/"
      Description: What the Outrigger function may do with this role. What it may do in Kubernetes is said by RBAC.
      AssumeRolePolicyDocument:
        Version: '2012-10-17'
        Statement:
        - Effect: Allow
          Principal: {AWS: !Ref FunctionRoleArn}
          Action: sts:AssumeRole
          Condition: {StringEquals: {'sts:ExternalId': ["it's:us"]}}
      Policies:
      - PolicyName: outrigger
        PolicyDocument:
          Version: '2012-10-17'
          Statement:
          # The depths of the queues. No right to receive a message.
          - Sid: ReadQueues
            Effect: Allow
            Action: sqs:GetQueueAttributes
            Resource:
            - "arn:aws:sqs:ap-northeast-1:222222222222:orders"
            - "arn:aws:sqs:ap-northeast-1:222222222222:parcels"
          # The URLs of the queues that the triggers name without one.
          - Sid: FindQueues
            Effect: Allow
            Action: sqs:GetQueueUrl
            Resource:
            - "arn:aws:sqs:ap-northeast-1:222222222222:parcels"

  # What the role may do in the cluster is said by the Role and RoleBinding in infra/kubernetes, for this group.
  # An entry belongs to one role for good: when the role is made anew, under whatever name, so must be the entry.
  AccessEntryWest:
    Type: AWS::EKS::AccessEntry
    Condition: MakesAccessEntry
    Properties:
      ClusterName: west
      PrincipalArn: !GetAtt RoleScalerXdcf625d9.Arn
      Type: STANDARD
      KubernetesGroups: [outrigger]
"#;

#[test]
fn another_account_is_a_stack_of_its_own() {
    let with_role = |url: &str| {
        let queue = queue(url, "");
        format!("{queue}    authenticationRef: {{name: team-b}}\n")
    };
    let yaml = [
        AUTHENTICATION.to_owned(),
        scaled_object(
            "a",
            "{name: a}",
            "minReplicaCount: 1",
            &with_role("https://sqs.ap-northeast-1.amazonaws.com/222222222222/orders"),
        ),
        scaled_object(
            "b",
            "{name: b}",
            "minReplicaCount: 1",
            &with_role("parcels"),
        ),
    ];
    let clusters = "arn:aws:eks:eu-west-1:222222222222:cluster/west=arn:aws:iam::222222222222:role/Scaler,arn:aws:eks:ap-northeast-1:111111111111:cluster/own";
    let rendered = case(yaml.concat()).clusters(clusters).rendered();
    assert_eq!(rendered.files["account-222222222222.yaml"], ACCOUNT);
    assert_eq!(
        rights(&rendered),
        [
            "sts:AssumeRole arn:aws:iam::222222222222:role/Scaler",
            "sts:AssumeRole arn:aws:iam::222222222222:role/queues/reader",
        ]
    );
    // Nothing of the function's account tells the external id, and no role of another account enters a cluster here.
    for path in ["template.yaml", "access.yaml", "wiring.yaml"] {
        let text = &rendered.files[path];
        assert!(
            !text.contains("it's") && !text.contains("AccessEntry"),
            "{path}"
        );
    }
    assert!(rendered.notes.iter().all(|note| !note.contains("it's")));
    assert_eq!(alarms(&rendered), []);
    let without: Vec<&String> = rendered
        .notes
        .iter()
        .filter(|note| note.starts_with("no alarm"))
        .collect();
    assert_eq!(without.len(), 2, "{without:?}");
    assert!(without[0].contains("orders of account 222222222222"));
}

#[test]
fn an_external_id_that_does_not_always_come_is_not_asked_for() {
    let own = "arn:aws:iam::222222222222:role/queues/reader";
    let yaml = [
        AUTHENTICATION.to_owned(),
        scaled_object(
            "a",
            "{name: a}",
            "minReplicaCount: 1",
            &format!(
                "{}    authenticationRef: {{name: team-b}}\n",
                queue("parcels", "")
            ),
        ),
    ];
    let cluster = "arn:aws:eks:ap-northeast-1:222222222222:cluster/west=arn:aws:iam::222222222222:role/queues/reader";
    let mut asked = case(yaml.concat()).clusters(cluster);
    asked.account = Some("111111111111");
    let rendered = asked.rendered();
    assert!(!rendered.files["account-222222222222.yaml"].contains("ExternalId"));
    let noted = |note: &&String| note.contains(own) && note.contains("external id");
    assert_eq!(
        rendered.notes.iter().filter(noted).count(),
        1,
        "{:?}",
        rendered.notes
    );
}

#[test]
fn clusters_of_other_regions_have_a_stack_there() {
    let cron = |name: &str, cluster: &str| {
        let object = scaled_object(
            name,
            &format!("{{name: {name}}}"),
            "maxReplicaCount: 3",
            CRON,
        );
        object.replace(
            "namespace: shop",
            &format!("namespace: shop, annotations: {{outrigger.dev/cluster: {cluster}}}"),
        )
    };
    let yaml = [
        cron("a", "here"),
        cron("b", "there"),
        cron("c", "far"),
        cron("d", "near"),
    ]
    .concat();
    let clusters = "arn:aws:eks:ap-northeast-1:111111111111:cluster/here,\
                    arn:aws:eks:us-east-1:111111111111:cluster/there,\
                    arn:aws:eks:us-east-1:222222222222:cluster/far=arn:aws:iam::222222222222:role/scaler,\
                    arn:aws:eks:ap-northeast-1:222222222222:cluster/near=arn:aws:iam::222222222222:role/scaler,\
                    unused";
    let rendered = case(yaml).clusters(clusters).rendered();
    let entry = |path: &str, name: &str| {
        let template = json_of(&rendered, path);
        let properties = &template["Resources"][name]["Properties"];
        (
            properties["ClusterName"].clone(),
            properties["PrincipalArn"].clone(),
        )
    };
    let pair = |cluster: &str, principal: &str| (json!(cluster), json!(principal));
    assert_eq!(
        entry("access.yaml", "AccessEntryHere"),
        pair("here", "Role.Arn")
    );
    assert_eq!(
        entry("account-111111111111-us-east-1.yaml", "AccessEntryThere"),
        pair("there", "FunctionRoleArn")
    );
    assert_eq!(
        entry("account-222222222222.yaml", "AccessEntryNear"),
        pair("near", "RoleScaler.Arn")
    );
    let role = "arn:aws:iam::222222222222:role/scaler";
    assert_eq!(
        entry("account-222222222222-us-east-1.yaml", "AccessEntryFar"),
        pair("far", role)
    );
    let far = json_of(&rendered, "account-222222222222-us-east-1.yaml");
    assert!(far["Parameters"]["FunctionRoleArn"].is_null());
    assert_eq!(far["Resources"].as_object().unwrap().len(), 1);
    let template = json_of(&rendered, "template.yaml");
    let variables = &template["Resources"]["Function"]["Properties"]["Environment"]["Variables"];
    assert_eq!(variables["OUTRIGGER_CLUSTERS"], clusters);
    assert!(
        rendered
            .notes
            .iter()
            .any(|note| note.contains("cluster unused"))
    );
    assert_eq!(
        rights(&rendered),
        [
            "eks:DescribeCluster arn:aws:eks:ap-northeast-1:111111111111:cluster/here",
            "eks:DescribeCluster arn:aws:eks:us-east-1:111111111111:cluster/there",
            "sts:AssumeRole arn:aws:iam::222222222222:role/scaler",
        ]
    );
}

#[test]
fn what_is_granted_is_rendered_as_it_was_given() {
    let queue = "arn:aws:sqs:eu-west-1:111111111111:shop-*";
    let granted = [
        (
            "OUTRIGGER_ROLES",
            "arn:aws:iam::222222222222:role/all,prod/shop=arn:aws:iam::222222222222:role/shop"
                .to_owned(),
        ),
        (
            "OUTRIGGER_QUEUES",
            format!("{queue},prod/default=arn:aws:sqs:eu-west-1:111111111111:x"),
        ),
        ("OUTRIGGER_EXPRESSIONS", "prod/shop,prod/shp".to_owned()),
        ("OUTRIGGER_MIN_POLLING", "15".to_owned()),
        ("OUTRIGGER_MAX_METRIC_READS", "0".to_owned()),
    ];
    let mut granting = case(WORKER).with("OUTRIGGER_CONFIG", "cluster:default,shop");
    for (name, value) in &granted {
        granting = granting.with(name, value);
    }
    let rendered = granting.rendered();
    let template = json_of(&rendered, "template.yaml");
    let variables = &template["Resources"]["Function"]["Properties"]["Environment"]["Variables"];
    for (name, value) in &granted {
        assert_eq!(variables[name], *value);
        let line = format!("{name}=\"{value}\"\n");
        assert!(rendered.files["function.env"].contains(&line), "{line}");
    }
    let told =
        { rendered.notes.iter() }.any(|note| note.starts_with("prod/shp is granted something"));
    assert!(told, "{:?}", rendered.notes);
    // A list that is closed stays so.
    let closed = case(WORKER)
        .with("OUTRIGGER_CONFIG", "cluster:default")
        .with("OUTRIGGER_QUEUES", "none")
        .rendered();
    assert!(closed.files["function.env"].contains("OUTRIGGER_QUEUES=\"none\"\n"));
}

#[test]
fn objects_in_the_cluster_need_their_own_rights() {
    let rendered = case(WORKER)
        .with("OUTRIGGER_CONFIG", "cluster:default,shop")
        .with("OUTRIGGER_ROLES", "arn:aws:iam::222222222222:role/reader")
        .rendered();
    let template = json_of(&rendered, "template.yaml");
    let variables = &template["Resources"]["Function"]["Properties"]["Environment"]["Variables"];
    assert_eq!(variables["OUTRIGGER_CONFIG"], "cluster:default,shop");
    assert_eq!(
        variables["OUTRIGGER_ROLES"],
        "arn:aws:iam::222222222222:role/reader"
    );
    // Also where there is no object yet.
    for namespace in ["default", "shop"] {
        let text = &rendered.files[&format!("kubernetes/prod/{namespace}.yaml")];
        let documents = parse_yaml(text.as_bytes());
        let kinds: Vec<Json> = documents
            .iter()
            .map(|document| document.root.as_ref().unwrap().to_json())
            .map(|object| {
                assert_eq!(object["metadata"]["namespace"], namespace);
                json!([object["kind"], object["metadata"]["name"]])
            })
            .collect();
        let expected = [
            json!(["Role", "outrigger"]),
            json!(["RoleBinding", "outrigger"]),
            json!(["ConfigMap", "outrigger"]),
            json!(["Role", "outrigger-cluster-mode"]),
            json!(["RoleBinding", "outrigger-cluster-mode"]),
        ];
        assert_eq!(kinds, expected);
        let is_read = text.contains("resources: [rollouts]");
        assert_eq!(is_read, namespace == "default");
    }
}

/// The role may be of the function's own account, and then its queue has an alarm, and no stack makes it.
#[test]
fn an_account_that_nothing_tells_is_asked_for() {
    let assumed = |url: &str| {
        format!(
            "{}    authenticationRef: {{name: team-b}}\n",
            queue(url, "")
        )
    };
    let object = |name: &str, triggers: &str| {
        scaled_object(
            name,
            &format!("{{name: {name}}}"),
            "minReplicaCount: 1",
            triggers,
        )
    };
    for url in [
        "parcels",
        "https://sqs.ap-northeast-1.amazonaws.com/222222222222/orders",
    ] {
        let yaml = AUTHENTICATION.to_owned() + &object("a", &assumed(url));
        let mut alone = case(yaml.clone());
        let errors = alone.errors();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].starts_with("nothing says which account the function runs in"),
            "{errors:?}"
        );
        assert!(
            errors[0].contains("role/queues/reader") && errors[0].contains("--account ID"),
            "{errors:?}"
        );
        alone.account = Some("222222222222");
        assert_eq!(alarms(&alone.rendered()).len(), 1);
        alone.account = Some("111111111111");
        assert_eq!(alarms(&alone.rendered()), []);
        // What the function's own role reads says it.
        let own = queue(
            "https://sqs.ap-northeast-1.amazonaws.com/111111111111/mine",
            "",
        );
        let both = case(yaml + &object("b", &own)).rendered();
        assert_eq!(alarms(&both).len(), 1);
        assert!(both.files.contains_key("account-222222222222.yaml"));
    }
}

#[test]
fn an_account_that_is_none_is_refused_and_an_emulator_is_left_out() {
    let object = |metadata: &str| {
        WORKER.replace(
            "https://sqs.ap-northeast-1.amazonaws.com/123456789012/orders",
            metadata,
        )
    };
    for account in ["ACCOUNT", "1234"] {
        let errors = case(object(&format!(
            "https://sqs.ap-northeast-1.amazonaws.com/{account}/orders"
        )))
        .errors();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].starts_with(&format!(
                "the queue `orders`: its URL names the account `{account}`, which is none"
            )),
            "{errors:?}"
        );
    }
    let emulated = object("http://localhost:4566/000000000000/orders").replace(
        "awsRegion: ap-northeast-1",
        "awsRegion: local\n      awsEndpoint: http://localhost:4566",
    );
    let rendered = case(emulated).rendered();
    assert_eq!(alarms(&rendered), []);
    assert!(
        rendered
            .notes
            .iter()
            .any(|note| note.starts_with("the queue orders is left out: ")),
        "{:?}",
        rendered.notes
    );
}

#[test]
fn what_is_not_clear_is_refused() {
    let url = |account: &str| {
        queue(
            &format!("https://sqs.ap-northeast-1.amazonaws.com/{account}/orders"),
            "",
        )
    };
    let two = [
        scaled_object("a", "{name: a}", "minReplicaCount: 1", &url("111111111111")),
        scaled_object("b", "{name: b}", "minReplicaCount: 1", &url("222222222222")),
    ];
    let mut two = case(two.concat());
    assert_eq!(
        two.errors(),
        [
            "the function's own role reads queues of the accounts 111111111111, 222222222222, so its own account is not clear: say which it is"
        ]
    );
    two.account = Some("222222222222");
    let rendered = two.rendered();
    assert_eq!(alarms(&rendered).len(), 1);
    assert!(
        rendered
            .notes
            .iter()
            .any(|note| note.contains("the queue's own policy must allow it"))
    );

    let errors = case(WORKER)
        .clusters(
            "arn:aws:eks:ap-northeast-1:222222222222:cluster/a=arn:aws:iam::333333333333:role/r",
        )
        .errors();
    assert!(
        errors[0].contains("`a` is in account 222222222222"),
        "{errors:?}"
    );
    let mut other = case(WORKER).clusters("arn:aws:eks:ap-northeast-1:222222222222:cluster/a");
    other.account = Some("333333333333");
    assert!(other.errors()[0].contains("cluster/a=ROLE_ARN"));

    let twice = [
        AUTHENTICATION.to_owned(),
        AUTHENTICATION
            .replace("team-b", "team-c")
            .replace("queues/", ""),
        scaled_object(
            "a",
            "{name: a}",
            "minReplicaCount: 1",
            &["team-b", "team-c"]
                .map(|name| {
                    format!(
                        "{}    authenticationRef: {{name: {name}}}\n",
                        queue("parcels", "")
                    )
                })
                .concat(),
        ),
    ];
    let errors = case(twice.concat()).errors();
    assert!(errors[0].contains("have one name"), "{errors:?}");
}

#[test]
fn the_order_of_the_objects_makes_no_difference() {
    let yaml: String = ["c", "a", "b"]
        .map(|name| {
            scaled_object(
                name,
                &format!("{{name: {name}}}"),
                "minReplicaCount: 1",
                &queue(name, ""),
            )
        })
        .concat();
    let case = case(yaml);
    let settings = case.settings();
    let mut targets = case.configuration(&settings).targets;
    let first = case.render_targets(&settings, &targets);
    targets.reverse();
    assert_eq!(first, case.render_targets(&settings, &targets));
    assert!(first.is_ok());
}

proptest! {
    /// The alarm is there where a decision would be another one: not a message earlier.
    #[test]
    fn an_alarm_is_where_the_wanted_count_rises(min in 1u32..200, per_replica in 1u32..500, tolerance in 0u32..30) {
        let behavior = format!("minReplicaCount: {min}\n  maxReplicaCount: 100000\n  advanced: {{horizontalPodAutoscalerConfig: {{behavior: {{scaleUp: {{tolerance: '0.{tolerance:02}'}}}}}}}}");
        let yaml = scaled_object("a", "{name: a}", &behavior, &queue("orders", &format!(", queueLength: '{per_replica}'")));
        let case = case(yaml);
        let settings = case.settings();
        let configuration = case.configuration(&settings);
        let policy = &configuration.targets[0].policy;
        let needs = Needs::of(&case.request(&settings, &configuration.targets)).unwrap();
        let depth = needs.queues.first_key_value().unwrap().1.as_ref().unwrap().depth;
        prop_assert!(wants(policy, depth) > min);
        prop_assert_eq!(wants(policy, depth - 1), min);
    }
}

/// The count that a workload at its minimum should have with so many messages.
fn wants(policy: &crate::policy::Policy, visible: u64) -> u32 {
    use crate::decide::{Observation, QueueDepth, Reading, Stop, Workload, decide};
    let depth = QueueDepth {
        visible,
        in_flight: 0,
        delayed: 0,
    };
    let observation = Observation {
        workload: Workload {
            replicas: policy.bounds.min(),
            rollout: None,
        },
        readings: vec![Reading::Queue(depth)],
        stop: Stop::default(),
        conflicts: Vec::new(),
        poll_seconds: None,
    };
    decide(policy, &observation, None, jiff::Timestamp::UNIX_EPOCH).to
}
