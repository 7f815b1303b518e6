use std::cell::Cell;
use std::collections::BTreeMap;

use super::*;
use crate::document::{Node, parse_yaml};
use crate::owners::{Autoscaler, ScaledObject};
use crate::ports::{Fault, Namespace, ObjectKind, Place, Scope, Seen};

const WORKER: &str = "
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: NAME, namespace: NAMESPACE, uid: u, resourceVersion: '1'}
spec:
  scaleTargetRef: {name: NAME}
  triggers:
  - type: aws-sqs-queue
    metadata: {queueURL: q, awsRegion: eu-west-1, identityOwner: operator}
";

fn object(namespace: &str, name: &str) -> Node {
    let text = WORKER.replace("NAMESPACE", namespace).replace("NAME", name);
    parse_yaml(text.as_bytes()).remove(0).root.unwrap()
}

/// What a list comes to.
#[derive(Debug, Clone)]
enum Answer {
    Objects(Vec<Node>),
    /// The same, after the time that a way to a server takes.
    Later(Vec<Node>),
    Fails,
    /// 404: the server does not know the kind.
    NoSuchKind,
    NeverComes,
}

/// Cluster, namespace, kind.
type Asked = (String, Option<String>, ObjectKind);

/// Clusters that answer as they are told, and know what they were asked for.
#[derive(Default)]
struct Servers {
    answers: RefCell<BTreeMap<Asked, Answer>>,
    /// Nobody may list the autoscalers.
    autoscalers_fail: Cell<bool>,
    asked: RefCell<Vec<String>>,
}

impl Servers {
    fn set(&self, cluster: &str, namespace: Option<&str>, kind: ObjectKind, answer: Answer) {
        let key = (cluster.to_owned(), namespace.map(str::to_owned), kind);
        self.answers.borrow_mut().insert(key, answer);
    }
}

impl Objects for Servers {
    async fn list(&self, kind: ObjectKind, scope: &Scope) -> Result<Vec<Node>, Fault> {
        let Scope { cluster, namespace } = scope.clone();
        let place = format!("{cluster}/{}", namespace.as_deref().unwrap_or("*"));
        self.asked
            .borrow_mut()
            .push(format!("{} {place}", kind.plural()));
        let answer = self
            .answers
            .borrow()
            .get(&(cluster, namespace, kind))
            .cloned();
        match answer {
            Some(Answer::Objects(nodes)) => Ok(nodes),
            Some(Answer::Later(nodes)) => {
                tokio::time::sleep_until(Instant::now() + Duration::from_millis(20)).await;
                Ok(nodes)
            }
            Some(Answer::NoSuchKind) => Err(Fault::failed("NotFound", format!("404 {place}"))),
            Some(Answer::Fails) => Err(Fault::failed("Forbidden", format!("403 {place}"))),
            Some(Answer::NeverComes) => std::future::pending().await,
            None => Ok(Vec::new()),
        }
    }
}

impl Workloads for Servers {
    async fn read(&self, _: &Place) -> Result<Seen, Fault> {
        Err(Fault::failed("NotFound", "nothing is read here"))
    }

    async fn autoscalers(&self, namespace: &Namespace) -> Result<Vec<Autoscaler>, Fault> {
        self.asked
            .borrow_mut()
            .push(format!("autoscalers {}", namespace.name));
        if self.autoscalers_fail.get() {
            return Err(Fault::failed("Forbidden", "403 autoscalers"));
        }
        Ok(Vec::new())
    }

    async fn scaled_objects(&self, _: &Namespace) -> Result<Vec<ScaledObject>, Fault> {
        Ok(Vec::new())
    }
}

fn settings(config: &str) -> Settings {
    let environment = [
        ("OUTRIGGER_CLUSTERS", "east,west"),
        ("AWS_REGION", "eu-west-1"),
        ("OUTRIGGER_CONFIG", config),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Settings::from_environment(&environment.into()).unwrap()
}

async fn load(
    loader: &Loader,
    config: &str,
    servers: &Servers,
) -> Result<(Vec<String>, Vec<String>), String> {
    let unread = |_: &Path| Err(io::Error::other("no file is asked for"));
    let settings = settings(config);
    let found = loader.load(&settings, unread, servers, None).await;
    let Loaded {
        configuration,
        stale,
        objects: _,
    } = found.map_err(|error| error.to_string())?;
    let targets = configuration.targets.iter();
    let targets =
        targets.map(|target| format!("{}:{}", target.cluster.as_deref().unwrap(), target.id));
    Ok((targets.collect(), stale))
}

const OBJECT: ObjectKind = ObjectKind::ScaledObject;

#[tokio::test(start_paused = true)]
async fn a_cluster_that_does_not_answer_holds_up_no_other_for_long() {
    let (loader, servers) = (Loader::default(), Servers::default());
    servers.set("east", Some("a"), OBJECT, Answer::NeverComes);
    servers.set(
        "west",
        Some("a"),
        OBJECT,
        Answer::Objects(vec![object("a", "worker")]),
    );
    let begun = Instant::now();
    let (targets, stale) = load(&loader, "cluster:a", &servers).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), clusters::LIST_SECONDS);
    assert_eq!(targets, ["west:a/worker"]);
    let [stale] = stale.as_slice() else {
        panic!("{stale:?}");
    };
    for part in [
        "scaledobjects",
        "namespace `a`",
        "cluster `east`",
        "no whole answer in time",
        "nothing is done there",
    ] {
        assert!(stale.contains(part), "{part} in {stale}");
    }
    // Of an invocation with little time left, half is kept for the passes.
    let limit = Instant::now() + Duration::from_secs(6);
    let unread = |_: &Path| Err(io::Error::other("no file is asked for"));
    let begun = Instant::now();
    let settings = settings("cluster:a");
    let loader = Loader::default();
    let found = loader.load(&settings, unread, &servers, Some(limit)).await;
    assert_eq!(found.unwrap().configuration.targets.len(), 1);
    assert_eq!(begun.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_was_late_is_waited_for_shortly_until_it_comes() {
    let (loader, servers) = (Loader::default(), Servers::default());
    let worker = |name: &str| Answer::Later(vec![object("a", name)]);
    servers.set("west", Some("a"), OBJECT, worker("worker"));
    servers.set("east", Some("a"), OBJECT, worker("first"));
    load(&loader, "cluster:a", &servers).await.unwrap();
    servers.set("east", Some("a"), OBJECT, Answer::NeverComes);
    let mut waited = Vec::new();
    for _ in 0..12 {
        let begun = Instant::now();
        let (targets, stale) = load(&loader, "cluster:a", &servers).await.unwrap();
        waited.push(begun.elapsed().as_secs());
        assert_eq!(targets, ["east:a/first", "west:a/worker"]);
        assert!(
            stale[0].contains("the last good list is in force"),
            "{stale:?}"
        );
    }
    assert_eq!(waited, [10, 10, 1, 1, 1, 10, 1, 1, 1, 1, 10, 1]);
    servers.set("east", Some("a"), OBJECT, worker("second"));
    let (targets, stale) = load(&loader, "cluster:a", &servers).await.unwrap();
    assert_eq!((targets[0].as_str(), stale.len()), ("east:a/second", 0));
    servers.set("east", Some("a"), OBJECT, Answer::NeverComes);
    let begun = Instant::now();
    load(&loader, "cluster:a", &servers).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), clusters::LIST_SECONDS);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_does_not_answer_takes_no_turn_of_another() {
    let (loader, servers) = (Loader::default(), Servers::default());
    let names: Vec<String> = (0..crate::pass::MAX_CALLS + 8)
        .map(|index| format!("n{index}"))
        .collect();
    for name in &names {
        servers.set("east", Some(name), OBJECT, Answer::NeverComes);
        let worker = Answer::Later(vec![object(name, "worker")]);
        servers.set("west", Some(name), OBJECT, worker);
    }
    let config = format!("cluster:{}", names.join(","));
    let (targets, stale) = load(&loader, &config, &servers).await.unwrap();
    assert_eq!((targets.len(), stale.len()), (names.len(), names.len()));
}

#[tokio::test]
async fn each_list_is_replaced_by_its_own_last_good_one() {
    let (loader, servers) = (Loader::default(), Servers::default());
    let one = |name: &str| Answer::Objects(vec![object("a", name)]);
    for cluster in ["east", "west"] {
        servers.set(cluster, Some("a"), OBJECT, Answer::Fails);
    }
    let unreadable = load(&loader, "cluster:a", &servers).await.unwrap_err();
    assert!(
        unreadable.contains("403 east/a") && unreadable.contains("403 west/a"),
        "{unreadable}"
    );
    servers.set("east", Some("a"), OBJECT, one("first"));
    let (targets, stale) = load(&loader, "cluster:a", &servers).await.unwrap();
    assert_eq!(
        (targets.as_slice(), stale.len()),
        (&["east:a/first".to_owned()][..], 1)
    );
    servers.set("west", Some("a"), OBJECT, one("second"));
    servers.set("east", Some("a"), OBJECT, Answer::Fails);
    let (targets, stale) = load(&loader, "cluster:a", &servers).await.unwrap();
    assert_eq!(targets, ["east:a/first", "west:a/second"]);
    assert_eq!(
        stale,
        ["403 east/a; the last good list is in force, and nothing is scaled in from it"]
    );
    // A cluster that does not know the kind has no object of it, and had none when that fails, too.
    for answer in [Answer::NoSuchKind, Answer::Fails] {
        servers.set("east", Some("a"), OBJECT, answer);
        let (targets, stale) = load(&loader, "cluster:a", &servers).await.unwrap();
        assert_eq!(targets, ["west:a/second"]);
        assert!(stale[0].ends_with("; nothing is done there"), "{stale:?}");
    }
    // Fresh again, with nothing in it: that is what is true.
    servers.set("east", Some("a"), OBJECT, Answer::Objects(Vec::new()));
    let (targets, stale) = load(&loader, "cluster:a", &servers).await.unwrap();
    assert_eq!(
        (targets, stale),
        (vec!["west:a/second".to_owned()], Vec::new())
    );
}

#[tokio::test]
async fn what_comes_from_an_old_list_is_known_to() {
    let (loader, servers) = (Loader::default(), Servers::default());
    let kind = ObjectKind::TriggerAuthentication;
    let text = WORKER.replace("NAMESPACE", "a").replace("NAME", "refers");
    let text = text.replace("  - type", "  - authenticationRef: {name: keys}\n    type");
    let refers = parse_yaml(text.as_bytes()).remove(0).root.unwrap();
    let keys = "{apiVersion: keda.sh/v1alpha1, kind: TriggerAuthentication, metadata: {name: keys, namespace: a}, \
        spec: {podIdentity: {provider: aws}}}";
    let keys = parse_yaml(keys.as_bytes()).remove(0).root.unwrap();
    let objects = Answer::Objects(vec![object("a", "worker"), refers]);
    let keys = Answer::Objects(vec![keys]);
    let settings = settings("cluster:a");
    for (objects, keys, wanted) in [
        (objects.clone(), keys.clone(), vec![]),
        (objects, Answer::Fails, vec!["refers"]),
        (Answer::Fails, keys, vec!["worker", "refers"]),
    ] {
        servers.set("east", Some("a"), OBJECT, objects);
        servers.set("east", Some("a"), kind, keys);
        let unread = |_: &Path| Err(io::Error::other("no file is asked for"));
        let found = loader
            .load(&settings, unread, &servers, None)
            .await
            .unwrap();
        let targets = &found.configuration.targets;
        assert_eq!(targets.len(), 2, "{:?}", found.configuration.findings);
        let stale = targets.iter().filter(|target| target.is_stale);
        let stale: Vec<&str> = stale.map(|target| target.id.name.as_str()).collect();
        assert_eq!(stale, wanted);
    }
}

/// KEDA's operator may be there, and the status is its own then. Nobody knows without the autoscalers.
#[tokio::test]
async fn where_the_autoscalers_cannot_be_listed_the_status_is_left_to_keda() {
    let (loader, servers) = (Loader::default(), Servers::default());
    let with_finalizer = |name: &str| {
        let text = WORKER.replace("NAMESPACE", "a").replace("NAME", name);
        let text = text.replace("uid: u", "uid: u, finalizers: [finalizer.keda.sh]");
        parse_yaml(text.as_bytes()).remove(0).root.unwrap()
    };
    let objects = vec![object("a", "ours"), with_finalizer("theirs")];
    servers.set("east", Some("a"), OBJECT, Answer::Objects(objects));
    let settings = settings("cluster:a");
    for (fails, written) in [(true, &["ours"][..]), (false, &["ours", "theirs"])] {
        servers.autoscalers_fail.set(fails);
        let unread = |_: &Path| Err(io::Error::other("no file is asked for"));
        let found = loader.load(&settings, unread, &servers, None).await;
        let Loaded {
            configuration,
            stale,
            objects,
        } = found.unwrap();
        let names: Vec<&str> = objects.iter().map(|(_, object)| &*object.id.name).collect();
        assert_eq!(names, written);
        // Both are run: before each write the pass looks itself.
        assert_eq!(configuration.targets.len(), 2);
        let is_told = |told: &String| told.ends_with("and their status is left alone");
        assert_eq!(stale.len(), usize::from(fails), "{stale:?}");
        assert!(stale.iter().all(is_told), "{stale:?}");
    }
}

#[tokio::test]
async fn nothing_is_asked_for_that_is_not_needed() {
    let (loader, servers) = (Loader::default(), Servers::default());
    servers.set(
        "east",
        None,
        OBJECT,
        Answer::Objects(vec![object("a", "worker"), object("b", "worker")]),
    );
    let (targets, _) = load(&loader, "cluster:", &servers).await.unwrap();
    assert_eq!(targets, ["east:a/worker", "east:b/worker"]);
    let mut asked = servers.asked.take();
    asked.sort();
    assert_eq!(asked, ["scaledobjects east/*", "scaledobjects west/*"]);
}

#[test]
fn a_file_that_cannot_be_read_any_more_is_known_to_be_old() {
    let (loader, settings, path) = (Loader::default(), settings("file:x"), Path::new("x"));
    let text = WORKER.replace("NAMESPACE", "a").replace("NAME", "worker");
    for (bytes, is_stale) in [
        (Ok(text.clone().into_bytes()), false),
        (Err(io::Error::other("gone")), true),
        (Ok(text.into_bytes()), false),
    ] {
        let found = loader.file(&settings, path, bytes).unwrap();
        assert_eq!(found.configuration.targets[0].is_stale, is_stale);
    }
}

#[test]
fn a_finding_is_told_until_it_is_put_right() {
    let loader = Loader::default();
    let settings = settings("file:x");
    let path = Path::new("x");
    let mut told = Vec::new();
    for text in ["kind: [", "kind: [", "", "kind: ["] {
        let found = loader.file(&settings, path, Ok(text.as_bytes().to_vec()));
        told.push(loader.untold(&found.unwrap().configuration).len());
    }
    assert_eq!(told, [1, 0, 0, 1]);
}
