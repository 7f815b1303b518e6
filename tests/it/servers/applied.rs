//! The shipped Kubernetes objects as people apply them, and what the API server then allows and refuses.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::client::MERGE_PATCH;
use super::lab::{Lab, eventually, new_namespace, settled};
use super::rights::granted;
use super::shell::{Guide, Shell};
use super::world::{World, world};
use crate::contract::Right;
use crate::manifests::rights_of;

const BASE: &str = "infra/kubernetes";
const COMPONENTS: [&str; 4] = [
    "components/cluster-mode",
    "components/custom-kind",
    "components/deployments",
    "components/statefulsets",
];
const EVERYWHERE: &str = "components/cluster-mode-all-namespaces";

/// A kustomization of the base and these components, in a folder `overlay`.
fn overlay(shell: &Shell, components: &[&str], more: &str) {
    let folder = shell.directory.join("overlay");
    std::fs::create_dir_all(&folder).unwrap();
    let components = components
        .iter()
        .map(|component| format!("- ../{BASE}/{component}\n"));
    let components: String = components.collect();
    let kustomization = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\ncomponents:\n{components}{more}"
    );
    std::fs::write(folder.join("kustomization.yaml"), kustomization).unwrap();
}

/// What somebody of a group may do in a namespace, as `kubectl` lists it: resource, name, verb.
async fn listed(shell: &Shell, group: &str, place: &str) -> BTreeSet<(String, String, String)> {
    let command = format!("kubectl auth can-i --list {place} --as=somebody --as-group={group}");
    let table = shell.run(&command).await;
    let mut listed = BTreeSet::new();
    for row in table.lines().skip(1) {
        let mut cells = row.split('[').map(|cell| cell.trim().trim_end_matches(']'));
        let [Some(resource), Some(urls), Some(names), Some(verbs), None] =
            std::array::from_fn(|_| cells.next())
        else {
            panic!("{row}");
        };
        // A row of paths has no resource.
        let what = if resource.is_empty() { urls } else { resource };
        for verb in verbs.split(' ') {
            listed.insert((what.to_owned(), names.to_owned(), verb.to_owned()));
        }
    }
    assert!(!listed.is_empty(), "{table}");
    listed
}

/// A right as `kubectl` lists it, such as `rollouts.argoproj.io/scale`.
fn row(right: Right) -> (String, String, String) {
    let Right {
        group,
        resource,
        verb,
        name,
    } = right;
    let (plural, subresource) = match resource.split_once('/') {
        Some((plural, subresource)) => (plural, format!("/{subresource}")),
        None => (resource.as_str(), String::new()),
    };
    let dot = if group.is_empty() { "" } else { "." };
    let what = format!("{plural}{dot}{group}{subresource}");
    (what, name.unwrap_or_default(), verb)
}

/// Waits until a group may do exactly this beyond what everybody may.
async fn allows(shell: &Shell, group: &str, place: &str, folders: &[&str]) {
    let rights = folders.iter().flat_map(|folder| rights_of(folder));
    let expected: BTreeSet<_> = rights.map(row).collect();
    let everybody = listed(shell, "nobody-in-particular", place).await;
    // The server learns of a new Role a moment after it is made.
    settled("the rights are in force", async || {
        let of_the_group = listed(shell, group, place).await;
        let found: BTreeSet<_> = of_the_group.difference(&everybody).cloned().collect();
        if found == expected {
            return Ok(());
        }
        let missing = expected.difference(&found);
        let too_many = found.difference(&expected);
        let both = (missing.collect::<Vec<_>>(), too_many.collect::<Vec<_>>());
        Err(format!("missing and too many in {place}: {both:?}"))
    })
    .await;
}

/// Every object of the folder, with its version.
async fn versions(shell: &Shell) -> String {
    let template =
        r"{range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{'\n'}{end}";
    let kinds = "role,rolebinding,configmap";
    shell
        .run(&format!(
            "kubectl get {kinds} -n shop -o jsonpath=\"{template}\""
        ))
        .await
}

#[tokio::test]
async fn each_combination_allows_exactly_its_rights_and_is_applied_again_without_a_change() {
    let Some(world) = world() else { return };
    let elsewhere = new_namespace(&world.admin()).await;
    for components in [
        vec![],
        vec!["components/deployments"],
        vec!["components/statefulsets"],
        vec!["components/custom-kind"],
        vec!["components/cluster-mode"],
        COMPONENTS.to_vec(),
    ] {
        let namespace = new_namespace(&world.admin()).await;
        let shell = Shell::new(world, &namespace);
        let base = format!("namespace: {namespace}\nresources: [../{BASE}]\n");
        overlay(&shell, &components, &base);
        let apply = "kubectl apply --server-side -k overlay";
        shell.run(apply).await;
        let all = [vec![""], components.clone()].concat();
        allows(&shell, "outrigger", "-n shop", &all).await;
        let before = versions(&shell).await;
        assert_eq!(before.lines().count(), 3 + 2 * components.len(), "{before}");
        shell.run(apply).await;
        // One folder after the other is the same.
        for folder in &all {
            let command = format!("kubectl apply --server-side -k {BASE}/{folder} -n shop");
            shell.run(&command).await;
        }
        assert_eq!(versions(&shell).await, before);
        // A component goes away with what it made, and takes nothing along.
        for component in &components {
            let command = format!("kubectl delete -k {BASE}/{component} -n shop");
            shell.run(&command).await;
        }
        allows(&shell, "outrigger", "-n shop", &[""]).await;
    }
    let shell = Shell::new(world, &elsewhere);
    allows(&shell, "outrigger", "-n shop", &[]).await;
}

/// A right in all namespaces would be one in those of the other tests, so this is given to another group.
#[tokio::test]
async fn the_cluster_role_allows_the_same_in_every_namespace() {
    let Some(world) = world() else { return };
    let namespace = new_namespace(&world.admin()).await;
    let shell = Shell::new(world, &namespace);
    let more = "nameSuffix: -everywhere\npatches:\n- target: {kind: ClusterRoleBinding}\n  patch: |-\n    \
        [{\"op\": \"replace\", \"path\": \"/subjects/0/name\", \"value\": \"everywhere\"}]\n";
    overlay(&shell, &[EVERYWHERE], more);
    let apply = "kubectl apply --server-side -k overlay";
    shell.run(apply).await;
    allows(&shell, "everywhere", "-n shop", &[EVERYWHERE]).await;
    // Also in one that is made later, and over all namespaces at once.
    let later = new_namespace(&world.admin()).await;
    allows(&shell, "everywhere", &format!("-n {later}"), &[EVERYWHERE]).await;
    for (group, verb, resource) in [
        ("keda.sh", "list", "scaledobjects"),
        ("keda.sh", "list", "clustertriggerauthentications"),
    ] {
        let attributes = json!({"group": group, "verb": verb, "resource": resource});
        assert!(world.admin().may("everywhere", "", &attributes).await);
        assert!(!world.admin().may("outrigger", "", &attributes).await);
    }
    let roles = "kubectl get clusterrole,clusterrolebinding -o name | { grep everywhere || true; }";
    let made = shell.run(roles).await;
    assert_eq!(made.lines().count(), 2, "{made}");
    shell.run("kubectl delete -k overlay").await;
    allows(&shell, "everywhere", "-n shop", &[]).await;
}

/// What would let it reach further than the count, however the Roles are put together: group, resource, verbs. In the
/// namespace, for an object `worker`.
const REFUSED: &str = "
    argoproj.io rollouts list watch create update patch delete deletecollection
    argoproj.io rollouts/scale update
    argoproj.io rollouts/status get update patch
    apps deployments get list create update patch delete
    apps statefulsets get list create update patch delete
    apps replicasets get update patch delete
    core pods get list create update patch delete
    core pods/exec get create
    core secrets get list watch create update patch
    core configmaps get list watch create update patch delete
    core events get list update patch delete
    core serviceaccounts/token create
    core serviceaccounts impersonate
    core users impersonate
    core groups impersonate
    autoscaling horizontalpodautoscalers get create update patch delete
    keda.sh scaledobjects get create update patch delete
    keda.sh scaledobjects/status get update
    keda.sh triggerauthentications get create update patch delete
    rbac.authorization.k8s.io roles create update patch escalate bind
    rbac.authorization.k8s.io rolebindings create update patch
";

/// The same in the whole cluster.
const REFUSED_EVERYWHERE: &str = "
    argoproj.io rollouts get list
    argoproj.io rollouts/scale patch
    core configmaps get patch
    core users impersonate
    core groups impersonate
    core namespaces list create
    core nodes get list
    autoscaling horizontalpodautoscalers list
    keda.sh scaledobjects list
    keda.sh triggerauthentications list
    keda.sh clustertriggerauthentications get list
    rbac.authorization.k8s.io clusterroles create patch escalate bind
    rbac.authorization.k8s.io clusterrolebindings create patch
    apiextensions.k8s.io customresourcedefinitions get patch
";

/// A list as above, for an object of this name.
fn asked(list: &str, name: &str) -> Vec<Right> {
    let lines = list.lines().filter(|line| !line.is_empty());
    let rights = lines.flat_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [group, resource, verbs @ ..] = words.as_slice() else {
            panic!("{line}");
        };
        let group = if *group == "core" { "" } else { group };
        let right = |verb: &&str| Right {
            group: group.to_owned(),
            resource: (*resource).to_owned(),
            verb: (*verb).to_owned(),
            name: Some(name.to_owned()),
        };
        verbs.iter().map(right).collect::<Vec<_>>()
    });
    rights.collect()
}

#[tokio::test]
async fn nothing_else_is_allowed_with_all_of_it_applied() {
    let Some(world) = world() else { return };
    let namespace = new_namespace(&world.admin()).await;
    let shell = Shell::new(world, &namespace);
    let base = format!("namespace: {namespace}\nresources: [../{BASE}]\n");
    overlay(&shell, &COMPONENTS, &base);
    shell.run("kubectl apply --server-side -k overlay").await;
    let all = [&[""], &COMPONENTS[..]].concat();
    allows(&shell, "outrigger", "-n shop", &all).await;
    let admin = world.admin();
    let memory = "core configmaps list watch create update delete deletecollection";
    for right in [asked(REFUSED, "worker"), asked(memory, "outrigger")].concat() {
        assert!(!granted(&admin, &namespace, &right).await, "{right:?}");
    }
    for right in asked(REFUSED_EVERYWHERE, "outrigger") {
        assert!(!granted(&admin, "", &right).await, "{right:?}");
    }
    // What it may here it may nowhere else.
    let elsewhere = new_namespace(&admin).await;
    for right in all.iter().flat_map(|folder| rights_of(folder)) {
        assert!(granted(&admin, &namespace, &right).await, "{right:?}");
        for place in [elsewhere.as_str(), "kube-system"] {
            assert!(
                !granted(&admin, place, &right).await,
                "{right:?} in {place}"
            );
        }
    }
}

/// Each resource that a rule names is there under this very name, and knows the verb.
#[tokio::test]
async fn the_server_knows_what_the_rules_name() {
    let Some(world) = world() else { return };
    let admin = world.admin();
    for folder in [
        "",
        EVERYWHERE,
        "components/deployments",
        "components/statefulsets",
    ] {
        for Right {
            group,
            resource,
            verb,
            ..
        } in rights_of(folder)
        {
            let versions = match group.as_str() {
                "" => vec!["/api/v1".to_owned()],
                group => {
                    let group = admin.get(&format!("/apis/{group}")).await.good();
                    let versions = group["versions"].as_array().unwrap().iter();
                    versions
                        .map(|version| {
                            format!("/apis/{}", version["groupVersion"].as_str().unwrap())
                        })
                        .collect()
                }
            };
            let mut served = Vec::new();
            for version in versions {
                let list = admin.get(&version).await.good();
                served.extend(list["resources"].as_array().unwrap().clone());
            }
            let knows = served.iter().any(|kind| {
                let verbs = kind["verbs"].as_array().unwrap();
                kind["name"] == resource.as_str() && verbs.contains(&json!(verb))
            });
            assert!(knows, "{group} {resource} {verb}");
        }
    }
}

async fn data(lab: &Lab) -> Json {
    lab.admin.get(&lab.memory_path()).await.good()["data"].clone()
}

#[tokio::test]
async fn applying_again_takes_nothing_away_that_was_written_since() {
    let Some(world) = world() else { return };
    let lab = Lab::new(world).await;
    lab.settle().await;
    let function = lab.function().await;
    function.answer("{}").await;
    let stop = json!({"data": {"pause-scale-in": "rollout.worker"}});
    let memory = lab.memory_path();
    let patched = lab.admin.patch(&memory, MERGE_PATCH, &stop);
    patched.await.good();
    let shell = Shell::new(world, &lab.namespace);
    let base = format!("namespace: {}\nresources: [../{BASE}]\n", lab.namespace);
    let next_release = base.clone()
        + "patches:\n- target: {kind: ConfigMap}\n  patch: |-\n    \
           [{\"op\": \"replace\", \"path\": \"/data/about\", \"value\": \"as of the next release\"}]\n";
    let written = data(&lab).await;
    assert!(written["rollout.worker"].is_string(), "{written}");
    for (release, about) in [
        (&base, "Outrigger keeps"),
        (&next_release, "as of the next"),
    ] {
        overlay(&shell, &[], release);
        for apply in [
            "kubectl apply --server-side -k overlay",
            "kubectl apply -k overlay",
            // From one to the other and back, as people do who have heard of the other.
            "kubectl apply --server-side -k overlay",
            "kubectl apply -k overlay",
            // As Argo CD does, with server-side apply and without.
            "kubectl apply --server-side --force-conflicts --field-manager=argocd-controller -k overlay",
            "kubectl apply --field-manager=argocd-controller -k overlay",
        ] {
            shell.run(apply).await;
            let now = data(&lab).await;
            assert!(
                now["about"].as_str().unwrap().starts_with(about),
                "{apply}: {now}"
            );
            for key in ["rollout.worker", "pause-scale-in"] {
                assert_eq!(now[key], written[key], "{apply}: {key}");
            }
        }
    }
    // The one way that does: told in the README. The function begins anew.
    shell
        .run("kubectl kustomize overlay | kubectl replace -f -")
        .await;
    assert!(data(&lab).await["rollout.worker"].is_null());
    assert!(data(&lab).await["pause-scale-in"].is_null());
    lab.set_replicas(9).await;
    let answer = function.answer("{}").await;
    assert_eq!(answer["targets"][0]["reason"], "ScaleInWindow", "{answer}");
    assert_eq!(lab.replicas().await, Some(9));
}

/// The commands of the README as they stand there.
#[tokio::test]
async fn the_readme_lets_the_function_in() {
    let Some(world) = world() else { return };
    let namespace = new_namespace(&world.admin()).await;
    let mut guide = Guide::new(world, "In the cluster", &namespace);
    guide
        .run("-k infra/kubernetes/components/deployments")
        .await;
    allows(
        &guide.shell,
        "outrigger",
        "-n shop",
        &["", "components/deployments"],
    )
    .await;

    let kustomization = guide.text("kind: Kustomization");
    let kustomization =
        kustomization.replace("namespace: shop", &format!("namespace: {namespace}"));
    let file = guide.shell.directory.join("kustomization.yaml");
    std::fs::write(file, kustomization).unwrap();
    guide.shell.run("kubectl apply --server-side -k .").await;
    let all = ["", "components/deployments", "components/cluster-mode"];
    allows(&guide.shell, "outrigger", "-n shop", &all).await;

    let answers = guide.run("auth can-i").await;
    assert!(answers.starts_with("yes\nno\n"), "{answers}");
    assert!(
        answers.contains("triggerauthentications.keda.sh"),
        "{answers}"
    );

    // What is of the whole cluster would reach into the other tests: the server is asked, and writes nothing.
    let commands = guide.text("cluster-mode-all-namespaces");
    let commands = commands.replace("--server-side", "--server-side --dry-run=server");
    let applied = guide.shell.run(&commands).await;
    assert_eq!(applied.lines().count(), 3, "{applied}");

    authentications(world, &mut guide).await;
    guide.end();
}

/// The list of the authentications of the whole cluster, for a group of this test alone.
async fn authentications(world: &'static World, guide: &mut Guide) {
    let commands = guide.text("kubectl create clusterrole ");
    let commands = commands
        .replace("--group=outrigger", "--group=reads-authentications")
        .replace("outrigger-authentications", "reads-authentications");
    let attributes =
        json!({"group": "keda.sh", "verb": "list", "resource": "clustertriggerauthentications"});
    let path = "/apis/keda.sh/v1alpha1/clustertriggerauthentications";
    if world.admin().get(path).await.status == 404 {
        // `kubectl` looks the kind up: without KEDA's definition there is nothing to allow.
        let refused = guide.shell.attempt(&commands).await.unwrap_err();
        assert!(
            refused.contains("clustertriggerauthentications"),
            "{refused}"
        );
        return;
    }
    guide.shell.run(&commands).await;
    eventually("the right is in force", || async {
        world
            .admin()
            .may("reads-authentications", "", &attributes)
            .await
    })
    .await;
    assert!(!world.admin().may("reads-authentications", "", &json!({"group": "keda.sh", "verb": "get", "resource": "clustertriggerauthentications"})).await);
}
