use super::super::super::signature::testing::{self, NOW};
use super::super::{Kubernetes, Setup, rbac};
use super::*;

const ROLE: &str = include_str!("../../../../infra/kubernetes/role.yaml");

fn cluster(role: &str) -> Kubernetes {
    Kubernetes::new(Setup {
        cluster: "demo".to_owned(),
        region: testing::REGION.to_owned(),
        sts: ([127, 0, 0, 1], 1).into(),
        namespaces: vec!["default".to_owned()],
        rules: rbac::rules(role).unwrap(),
        admin_token: "admin".to_owned(),
    })
}

fn user(group: &str) -> User {
    User {
        name: "somebody".to_owned(),
        groups: vec![group.to_owned()],
    }
}

fn ask(cluster: &Kubernetes, group: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json-patch+json")
        .header("user-agent", "kubectl/v1")
        .body(Bytes::from(body.to_owned()))
        .unwrap();
    let answer = answer_to(cluster.shared(), &user(group), &request, NOW);
    let response = answer.unwrap_or_else(Response::from);
    let status = response.status().as_u16();
    let text = testing::body_text(response);
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

const DEFAULT: &str = "/apis/argoproj.io/v1alpha1/namespaces/default/rollouts";

#[test]
fn the_role_decides_and_says_what_was_missing() {
    let cluster = cluster(ROLE);
    cluster.create_rollout("default", "worker", Some(1));
    let worker = format!("{DEFAULT}/worker");
    assert_eq!(ask(&cluster, "outrigger", "GET", &worker, "").0, 200);
    let (status, body) = ask(&cluster, "outrigger", "GET", DEFAULT, "");
    assert_eq!(status, 403);
    assert_eq!(
        body["message"],
        "rollouts.argoproj.io is forbidden: User \"somebody\" cannot list resource \"rollouts\" in API group \"argoproj.io\" in the namespace \"default\""
    );
    assert_eq!(body["reason"], "Forbidden");
    let (_, body) = ask(&cluster, "outrigger", "GET", "/api/v1/configmaps", "");
    assert_eq!(
        body["message"],
        "configmaps is forbidden: User \"somebody\" cannot list resource \"configmaps\" in API group \"\" at the cluster scope"
    );
    let elsewhere = worker.replace("default", "elsewhere");
    assert_eq!(ask(&cluster, "outrigger", "GET", &elsewhere, "").0, 403);
    assert_eq!(ask(&cluster, "others", "GET", &worker, "").0, 403);
    assert_eq!(ask(&cluster, "system:masters", "GET", DEFAULT, "").0, 200);
}

#[test]
fn one_rule_less_is_one_right_less() {
    let role =
        "kind: Role\nrules:\n- apiGroups: [argoproj.io]\n  resources: [rollouts]\n  verbs: [get]\n";
    let cluster = cluster(role);
    cluster.create_rollout("default", "worker", Some(1));
    let worker = format!("{DEFAULT}/worker");
    assert_eq!(ask(&cluster, "outrigger", "GET", &worker, "").0, 200);
    let (status, body) = ask(
        &cluster,
        "outrigger",
        "PATCH",
        &format!("{worker}/scale"),
        "[]",
    );
    assert_eq!(status, 403);
    let message = body["message"].as_str().unwrap();
    assert!(
        message.contains("cannot patch resource \"rollouts/scale\""),
        "{message}"
    );
}

#[test]
fn what_is_not_served_is_not_found_only_to_those_who_may_look() {
    let cluster = cluster(ROLE);
    let keda = "/apis/keda.sh/v1alpha1/namespaces/default/scaledobjects";
    assert_eq!(ask(&cluster, "others", "GET", keda, "").0, 403);
    assert_eq!(ask(&cluster, "outrigger", "GET", keda, "").0, 404);
    cluster.set_keda_installed(true);
    assert_eq!(ask(&cluster, "outrigger", "GET", keda, "").0, 200);
    assert_eq!(ask(&cluster, "outrigger", "GET", "/apis", "").0, 200);
    assert_eq!(ask(&cluster, "outrigger", "GET", "/openapi/v2", "").0, 404);
    let status = format!("{DEFAULT}/worker/status");
    assert_eq!(ask(&cluster, "system:masters", "GET", &status, "").0, 404);
    let watch = format!("{DEFAULT}?watch=1");
    assert_eq!(ask(&cluster, "system:masters", "GET", &watch, "").0, 405);
}

#[test]
fn a_list_comes_in_pages() {
    let cluster = cluster(ROLE);
    for name in ["a", "b", "c", "d", "e"] {
        cluster.create_rollout("default", name, Some(1));
        cluster.create_rollout("other", name, Some(1));
    }
    let page = |query: &str| {
        let path = format!("{DEFAULT}?{query}");
        let (status, body) = ask(&cluster, "system:masters", "GET", &path, "");
        assert_eq!(status, 200, "{body}");
        let items = body["items"].as_array().unwrap().iter();
        let names: Vec<Value> = items.map(|item| item["metadata"]["name"].clone()).collect();
        let next = body["metadata"]["continue"].as_str().map(str::to_owned);
        (names, next)
    };
    let (names, next) = page("limit=2");
    assert_eq!(names, ["a", "b"]);
    let (names, next) = page(&format!("limit=2&continue={}", next.unwrap()));
    assert_eq!(names, ["c", "d"]);
    let (names, next) = page(&format!("limit=2&continue={}", next.unwrap()));
    assert_eq!((names, next), (vec![json!("e")], None));
    assert_eq!(page("limit=5").1, None);
    assert_eq!(page("limit=0").0.len(), 5);
    for wrong in ["limit=two", "continue=%21"] {
        let path = format!("{DEFAULT}?{wrong}");
        assert_eq!(ask(&cluster, "system:masters", "GET", &path, "").0, 400);
    }
}

#[test]
fn the_field_manager_is_the_one_given_or_the_user_agent() {
    let cluster = cluster(ROLE);
    cluster.create_rollout("default", "worker", Some(1));
    let managers = || {
        let worker = cluster.get("rollouts", "default", "worker").unwrap();
        let entries = worker["metadata"]["managedFields"]
            .as_array()
            .unwrap()
            .clone();
        entries
            .iter()
            .map(|entry| entry["manager"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let write = |query: &str, replicas: u32| {
        let scale = format!("{DEFAULT}/worker/scale{query}");
        let patch = json!([{"op": "add", "path": "/spec/replicas", "value": replicas}]);
        ask(&cluster, "outrigger", "PATCH", &scale, &patch.to_string()).0
    };
    assert_eq!(write("?fieldManager=outrigger", 2), 200);
    assert_eq!(managers(), ["outrigger"]);
    assert_eq!(write("", 3), 200);
    assert_eq!(managers(), ["kubectl"]);
    assert_eq!(write("?dryRun=All", 4), 200);
    assert_eq!(cluster.replicas("default", "worker"), Some(3));
    cluster.set_replicas("default", "worker", 9);
    assert_eq!(managers(), ["somebody-else"]);
    assert_eq!(cluster.scale_writes("default", "worker"), [(1, 2), (2, 3)]);
}

#[test]
fn rights_can_be_asked_about() {
    let cluster = cluster(ROLE);
    let review = |verb: &str, subresource: &str| {
        let body = json!({"spec": {"resourceAttributes": {
            "namespace": "default", "verb": verb, "group": "argoproj.io",
            "resource": "rollouts", "subresource": subresource, "name": "worker",
        }}});
        let (status, body) = ask(
            &cluster,
            "outrigger",
            "POST",
            ACCESS_REVIEWS,
            &body.to_string(),
        );
        assert_eq!(status, 201);
        body["status"]["allowed"].as_bool()
    };
    assert_eq!(review("patch", "scale"), Some(true));
    assert_eq!(review("patch", ""), Some(false));
}

#[test]
fn objects_come_and_go() {
    let cluster = cluster(ROLE);
    let maps = "/api/v1/namespaces/default/configmaps";
    let body = r#"{"metadata":{"name":"outrigger"},"data":{"about":"text"}}"#;
    assert_eq!(ask(&cluster, "system:masters", "POST", maps, body).0, 201);
    assert_eq!(
        cluster.configmap("default", "outrigger").unwrap()["about"],
        "text"
    );
    let named = format!("{maps}/outrigger");
    assert_eq!(ask(&cluster, "outrigger", "DELETE", &named, "").0, 403);
    assert_eq!(ask(&cluster, "system:masters", "DELETE", &named, "").0, 200);
    assert_eq!(ask(&cluster, "outrigger", "GET", &named, "").0, 404);
    let manifest = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "worker"}, "spec": {"maxReplicas": 3},
    });
    cluster.create(manifest.clone()).unwrap();
    assert!(cluster.create(manifest).is_err());
    cluster.delete("horizontalpodautoscalers", "default", "worker");
    assert_eq!(
        cluster.get("horizontalpodautoscalers", "default", "worker"),
        None
    );
}
