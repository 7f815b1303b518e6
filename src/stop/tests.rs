mod written;

use proptest::prelude::*;

use super::*;
use crate::document::{Value, parse_yaml};
use crate::manifest::{WorkloadKind, WorkloadRef};

fn keys(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn lines_name_targets() {
    let (stops, namespace) = (
        LastStops::default(),
        Namespace {
            cluster: "prod".into(),
            name: "shop".into(),
        },
    );
    let of = |pairs: &[(&str, &str)], target| {
        stop_of(&stops, &namespace, &keys(pairs), &workload(target))
    };
    let (all, scale_in) = (
        Stop {
            all: true,
            ..Stop::default()
        },
        Stop {
            scale_in: true,
            ..Stop::default()
        },
    );
    assert_eq!(of(&[], "rollout.worker"), Stop::default());
    assert_eq!(of(&[("pause", "*")], "rollout.worker"), all);
    assert_eq!(
        of(
            &[("pause", "rollout.a\n Rollout.Worker \r\n")],
            "rollout.worker"
        ),
        all
    );
    assert_eq!(
        of(&[("pause", "rollout.work")], "rollout.worker"),
        Stop::default()
    );
    assert_eq!(
        of(&[("pause-scale-in", "rollout.worker")], "rollout.worker"),
        scale_in
    );
    for text in [
        "true",
        "ALL",
        "\"*\"",
        "worker",
        "shop/worker",
        "rollout/worker",
        "rollouts.worker",
        "Rollout.*",
        "rollout.a, rollout.worker",
        "rollout.a rollout.worker",
        "rollouts.example.com/worker",
        "example.com/v1/rollout/worker",
    ] {
        assert_eq!(of(&[("pause", text)], "rollout.worker"), all, "{text}");
    }
    for text in [
        "",
        ",",
        "false",
        "other/worker",
        "deployment.worker",
        "rollout.worker.1",
        "deployment.*",
        "work",
    ] {
        assert_eq!(
            of(&[("pause", text)], "rollout.worker"),
            Stop::default(),
            "{text}"
        );
    }
    // A name may have dots.
    assert_eq!(of(&[("pause", "my.worker")], "rollout.my.worker"), all);
}

#[test]
fn what_cannot_be_read_lifts_no_stop() {
    let (stops, namespace) = (
        LastStops::default(),
        Namespace {
            cluster: "prod".into(),
            name: "shop".into(),
        },
    );
    let of = |keys: Result<&BTreeMap<String, String>, &Fault>| {
        stops.of(&namespace, keys, &workload("rollout.worker"), at(0))
    };
    let fault = Fault::failed("Timeout", "no answer");
    assert!(!of(Err(&fault)).all);
    assert!(of(Ok(&keys(&[("pause", "*")]))).all);
    assert!(of(Err(&fault)).all);
    // Nor does one that is gone.
    assert!(of(Err(&Fault::failed("NotFound", "no ConfigMap"))).all);
    assert_eq!(of(Ok(&keys(&[]))), Stop::default());
    assert_eq!(of(Err(&fault)), Stop::default());
}

#[test]
fn what_was_never_read_and_may_be_there_counts_as_a_stop_for_a_while() {
    let stops = LastStops::default();
    let of = |namespace: &str, code: &str, seconds| {
        let namespace = Namespace {
            cluster: "prod".into(),
            name: namespace.into(),
        };
        let fault = Fault::failed(code, "no");
        let stop = stops.of(
            &namespace,
            Err(&fault),
            &workload("rollout.worker"),
            at(seconds),
        );
        assert!(!stop.all && !stop.scale_in);
        stop.unread_until
    };
    // Where there is no ConfigMap there is no stop.
    assert_eq!(of("shop", "NotFound", 0), None);
    for code in ["Forbidden", "ServerError", "Timeout", "TooLarge"] {
        assert_eq!(of("shop", code, 100), Some(at(400)), "{code}");
    }
    assert_eq!(of("shop", "Forbidden", 399), Some(at(400)));
    assert_eq!(of("shop", "Forbidden", 400), None);
    assert_eq!(of("shop", "Forbidden", 9_000), None);
    // Each namespace has a time of its own.
    assert_eq!(of("billing", "Forbidden", 9_000), Some(at(9_300)));
    // A clock that is set back by hours holds no longer than that.
    assert_eq!(of("billing", "Forbidden", 1_000), Some(at(1_300)));
    assert_eq!(of("billing", "Forbidden", 1_300), None);
    // What was read once is known, whatever comes then.
    let _read = stop_of(&stops, &shop(), &keys(&[]), &workload("rollout.worker"));
    assert_eq!(of("shop", "Forbidden", 100), None);
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// The stop of a ConfigMap that can be read.
fn stop_of(
    stops: &LastStops,
    namespace: &Namespace,
    keys: &BTreeMap<String, String>,
    workload: &WorkloadRef,
) -> Stop {
    stops.of(namespace, Ok(keys), workload, at(0))
}

fn shop() -> Namespace {
    Namespace {
        cluster: "prod".into(),
        name: "shop".into(),
    }
}

/// The workloads of these state keys.
fn workloads(keys: &[&str]) -> Vec<WorkloadRef> {
    let parts = keys.iter().map(|key| key.split_once('.').unwrap());
    parts
        .map(|(kind, name)| {
            let capital = kind[..1].to_uppercase();
            WorkloadRef {
                kind: WorkloadKind::parse("example.com/v1", &format!("{capital}{}", &kind[1..]))
                    .unwrap(),
                name: name.to_owned(),
            }
        })
        .collect()
}

fn workload(key: &str) -> WorkloadRef {
    workloads(&[key]).remove(0)
}

/// The mistakes of these pairs.
fn found(pairs: &[(&str, &str)], known: &[&str]) -> Vec<Mistake> {
    mistakes(&keys(pairs), &Here::new("shop", &workloads(known), &[]))
}

/// The same in words.
fn told(pairs: &[(&str, &str)], known: &[&str]) -> Vec<String> {
    let found = found(pairs, known).into_iter();
    found.map(|mistake| mistake.text).collect()
}

fn one(pairs: &[(&str, &str)], known: &[&str]) -> String {
    let told = told(pairs, known);
    assert_eq!(told.len(), 1, "{pairs:?}: {told:#?}");
    told.into_iter().next().unwrap()
}

const WORKER: &[&str] = &["rollout.worker"];

#[test]
fn a_misspelt_key_comes_with_the_command_that_stops() {
    assert_eq!(
        one(&[("paused", "*")], WORKER),
        "the key `paused` of the ConfigMap `shop/outrigger` stops nothing, did you mean `pause`? This sets `pause` and removes \
         `paused`: kubectl patch cm outrigger -n shop --type merge -p '{\"data\":{\"pause\":\"*\",\"paused\":null}}'; \
         '{\"data\":{\"paused\":null}}' only removes it"
    );
    for (key, switch) in [
        ("Pause", PAUSE),
        ("PAUSE", PAUSE),
        ("puase", PAUSE),
        ("pause-all", PAUSE),
        ("pause.", PAUSE),
        ("stop", PAUSE),
        ("emergency-stop", PAUSE),
        ("freeze", PAUSE),
        ("pause_scale_in", PAUSE_SCALE_IN),
        ("pause-scalein", PAUSE_SCALE_IN),
        ("pauseScaleIn", PAUSE_SCALE_IN),
        ("Pause-Scale-In", PAUSE_SCALE_IN),
        ("paused-scale-in", PAUSE_SCALE_IN),
        ("puase-scale-in", PAUSE_SCALE_IN),
        ("pause-scale-on", PAUSE_SCALE_IN),
        ("stop-scale-in", PAUSE_SCALE_IN),
        ("scale-in", PAUSE_SCALE_IN),
        ("pause-scale-down", PAUSE_SCALE_IN),
    ] {
        let told = one(&[(key, "*")], WORKER);
        let meant = format!("stops nothing, did you mean `{switch}`?");
        assert!(told.contains(&meant), "{key}: {told}");
        let command = format!("-p '{{\"data\":{{\"{switch}\":\"*\",\"{key}\":null}}}}'");
        assert!(told.contains(&command), "{key}: {told}");
    }
}

#[test]
fn what_a_misspelt_key_names_goes_into_the_right_one() {
    let known = &["rollout.worker", "rollout.api", "deployment.web"];
    let set = |pairs: &[(&str, &str)]| {
        let told = told(pairs, known);
        let first = told.first().unwrap();
        let (_, after) = first.split_once("-p '").unwrap();
        after.split_once('\'').unwrap().0.to_owned()
    };
    for (typed, right) in [
        ("rollout.worker", "rollout.worker"),
        ("Rollout.Wroker, api", "rollout.worker api"),
        ("rollout.worker all", "*"),
        ("true", "*"),
        ("ture", "*"),
        ("1", "*"),
        ("gibberish", "*"),
        ("", "*"),
        ("'; rm -rf /", "*"),
        ("rollout.*", "rollout.*"),
        ("false rollout.worker", "rollout.worker"),
    ] {
        let expected = format!("{{\"data\":{{\"pause\":\"{right}\",\"Pause\":null}}}}");
        assert_eq!(set(&[("Pause", typed)]), expected, "{typed}");
    }
    // The command lifts no stop that is there, nor one that another function perhaps knows.
    assert_eq!(
        set(&[("Pause", "api"), ("pause", "rollout.worker, rollout.other")]),
        r#"{"data":{"pause":"rollout.worker rollout.other api","Pause":null}}"#
    );
    assert_eq!(
        set(&[("Pause", "api"), ("pause", "*")]),
        r#"{"data":{"pause":"*","Pause":null}}"#
    );
    // With many names it stops everything.
    assert_eq!(
        set(&[("Pause", "api"), ("pause", "a b c d e f g")]),
        r#"{"data":{"pause":"*","Pause":null}}"#
    );
}

#[test]
fn a_misspelt_key_that_asks_for_no_stop_is_only_removed() {
    assert_eq!(
        one(&[("paused", "false")], WORKER),
        "the key `paused` of the ConfigMap `shop/outrigger` stops nothing, and `false` asks for no stop. This removes it: \
         kubectl patch cm outrigger -n shop --type merge -p '{\"data\":{\"paused\":null}}'"
    );
    // Without scale-in it is a stop.
    let told = one(&[("scale-in", "off")], WORKER);
    assert!(told.contains("did you mean `pause-scale-in`?"), "{told}");
}

#[test]
fn no_key_stops_scale_out_alone() {
    for key in ["pause-scale-out", "paused-scale-out", "pause_scale_up"] {
        let told = one(&[(key, "*")], WORKER);
        assert!(
            told.contains(
                "stops nothing: no key stops scale-out alone, `pause` stops both directions."
            ),
            "{told}"
        );
    }
}

#[test]
fn a_name_as_a_key_belongs_into_a_text() {
    for key in [
        "rollout.wroker",
        "worker",
        "Rollout.worker",
        "deployment.worker",
    ] {
        let told = one(&[(key, "stop")], WORKER);
        assert!(
            told.contains("stops nothing: a workload is named in the text of `pause`."),
            "{told}"
        );
        assert!(told.contains(&format!("\"{key}\":null")), "{told}");
        assert!(told.contains("worker\","), "{told}");
    }
    assert_eq!(
        one(&[("notes", "call Ann")], WORKER),
        "the key `notes` of the ConfigMap `shop/outrigger` is neither state nor a switch and stops nothing; the switches are \
         `pause` and `pause-scale-in`. This removes it: kubectl patch cm outrigger -n shop --type merge -p '{\"data\":{\"notes\":null}}'"
    );
}

#[test]
fn state_and_switches_are_no_mistakes() {
    let state = r#"{"v":1,"firstSeen":"2026-11-23T00:00:00Z","active":false}"#;
    for (key, value) in [
        ("about", "anything"),
        ("rollout.worker", state),
        ("rollout.worker", "damaged"),
        ("shadow.rollout.worker", "damaged"),
        ("rollout.gone", state),
        ("shadow.rollout.gone", state),
        ("deployment.my.worker", r#"{"v":2}"#),
        ("pause", "*"),
        ("pause-scale-in", "rollout.worker\n"),
    ] {
        assert_eq!(told(&[(key, value)], WORKER), [""; 0], "{key}");
    }
    for (key, value) in [
        ("rollout.gone", "damaged"),
        ("rollout.gone", r#"{"firstSeen":1}"#),
        ("rollout.gone", "[1]"),
        ("Rollout.gone", state),
        ("gone", state),
        ("rollout.", state),
    ] {
        assert_eq!(
            told(&[(key, value)], &["rollout.a"]).len(),
            1,
            "{key} {value}"
        );
    }
}

#[test]
fn the_shipped_config_map_has_no_mistakes() {
    let shipped = include_str!("../../infra/kubernetes/configmap.yaml");
    let documents = parse_yaml(shipped.as_bytes());
    let data = documents[0].root.as_ref().unwrap().get("data").unwrap();
    let Value::Map(entries) = &data.value else {
        panic!("no mapping")
    };
    let pairs: Vec<(&str, &str)> = entries
        .iter()
        .map(|(key, node)| (key.as_str(), node.as_text().unwrap()))
        .collect();
    assert!(!pairs.is_empty());
    assert_eq!(told(&pairs, WORKER), [""; 0]);
}

#[test]
fn a_name_that_stops_nothing_comes_with_the_nearest() {
    let known = &["rollout.worker", "deployment.web", "statefulset.my.db"];
    assert_eq!(
        one(&[("pause", "rollout.wroker")], known),
        "`rollout.wroker` in the key `pause` of the ConfigMap `shop/outrigger` stops nothing, did you mean `rollout.worker`?"
    );
    for (typed, right) in [
        ("deployment.worker", "rollout.worker"),
        ("billing/worker", "rollout.worker"),
        ("rolout.worker", "rollout.worker"),
        ("Rollout.Workers", "rollout.worker"),
        ("rollout-worker", "rollout.worker"),
        ("rolloutworker", "rollout.worker"),
        ("wroker", "rollout.worker"),
        ("my.bd", "statefulset.my.db"),
        ("rolout.*", "rollout.*"),
        ("rollout", "rollout.*"),
        ("deployments", "deployment.*"),
        ("shpo/*", "shop.*"),
        ("ture", "*"),
        ("evrything", "*"),
        ("deploi/web", "deployment.web"),
        ("rollouts.argoproj.oi/worker", "rollout.worker"),
    ] {
        for switch in [PAUSE, PAUSE_SCALE_IN] {
            let told = one(&[(switch, typed)], known);
            let hint = format!("stops nothing, did you mean `{right}`?");
            assert!(told.contains(&hint), "{typed}: {told}");
            assert!(told.contains(&format!("in the key `{switch}`")), "{told}");
        }
    }
    // Of two workloads of one name the nearer kind.
    let both = &["deployment.worker", "rollout.worker"];
    assert!(one(&[("pause", "rolout.worker")], both).ends_with("`rollout.worker`?"));
    assert!(one(&[("pause", "deploymnt.worker")], both).ends_with("`deployment.worker`?"));
}

#[test]
fn without_a_near_name_the_names_are_listed() {
    assert!(
        one(&[("pause", "rollout.*")], &["job.web", "job.api"])
            .ends_with(" stops nothing; the names there are `job.api`, `job.web`")
    );
    let many: Vec<String> = (0..8)
        .map(|index| format!("job.long-name-{index}"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(one(&[("pause", "zzz")], &many).ends_with("`job.long-name-4` and 3 more"));
    assert!(one(&[("pause", "*")], &[]).ends_with("stops nothing: no target is in that namespace"));
    // A name of one letter is near to nothing.
    assert!(one(&[("pause", "b")], &["job.a"]).ends_with("the names there are `job.a`"));
}

#[test]
fn a_word_that_denies_a_stop_comes_with_how_one_ends() {
    for word in ["false", "no", "off", "none", "OFF"] {
        assert_eq!(
            one(&[("pause-scale-in", word)], WORKER),
            format!(
                "`{word}` in the key `pause-scale-in` of the ConfigMap `shop/outrigger` stops nothing; a stop ends when its key \
                 is deleted: kubectl patch cm outrigger -n shop --type merge -p '{{\"data\":{{\"pause-scale-in\":null}}}}'"
            )
        );
    }
    assert_eq!(told(&[("pause", "none")], &["rollout.none"]), [""; 0]);
    for empty in ["", " \n", ",", "\"\""] {
        assert_eq!(
            one(&[("pause", empty)], WORKER),
            "the key `pause` of the ConfigMap `shop/outrigger` is empty and stops nothing; `*` stops everything. This removes it: \
             kubectl patch cm outrigger -n shop --type merge -p '{\"data\":{\"pause\":null}}'"
        );
    }
}

#[test]
fn what_is_no_list_stops_everything_and_is_an_error() {
    let told = one(&[("pause", "{all: true}")], WORKER);
    assert_eq!(
        told,
        "the key `pause` of the ConfigMap `shop/outrigger` holds `{all: true}`, which is no list of names, and so stops everything in the \
         namespace; write `*` for that, or names such as `rollout.worker`, and notes behind a `#`. This sets `*`: \
         kubectl patch cm outrigger -n shop --type merge -p '{\"data\":{\"pause\":\"*\"}}'"
    );
    let told = one(&[("pause-scale-in", "rollout.worker: true")], WORKER);
    assert!(
        told.contains("and so stops all scale-in in the namespace"),
        "{told}"
    );
    // Also where nobody can say which names are right.
    let unreadable = [NotRun {
        namespace: None,
        workload: None,
    }];
    let here = &Here::new("shop", [], &unreadable);
    assert!(mistakes(&keys(&[("pause", "a=b")]), here)[0].is_error);
    // A command keeps it a stop of everything.
    let told = told_first(&[("paused", "worker"), ("pause", "{all: true}")]);
    assert!(
        told.contains(r#"{"data":{"pause":"*","paused":null}}"#),
        "{told}"
    );
}

fn told_first(pairs: &[(&str, &str)]) -> String {
    told(pairs, WORKER).remove(0)
}

#[test]
fn what_asks_for_a_stop_in_vain_is_an_error_and_what_does_not_is_a_warning() {
    let state = r#"{"v":1,"firstSeen":"2026-11-23T00:00:00Z","active":false}"#;
    for (pairs, expected) in [
        (&[("pause", "rollout.wroker")][..], true),
        (&[("pause", "worker wroker")], true),
        (&[("pause-scale-in", "deployment.worker")], true),
        (&[("Pause", "*")], true),
        (&[("stop", "rollout.worker")], true),
        (&[("paused", "a=b")], true),
        (&[("worker", "stop")], true),
        (&[("pause", "")], false),
        (&[("pause", "# incident 42: *")], false),
        (&[("pause", "false")], false),
        (&[("paused", "false")], false),
        (&[("pause-note", "incident 42")], false),
        (&[("notes", "call Ann")], false),
        (&[("worker", "runs at night")], false),
        // The state of a workload that another function scales, or that is gone.
        (
            &[("pause", "rollout.other"), ("rollout.other", state)],
            false,
        ),
        (
            &[("pause", "Rollouts/other"), ("rollout.other", state)],
            false,
        ),
        (
            &[("pause", "other"), ("shadow.rollout.other", state)],
            false,
        ),
        (
            &[("pause", "rollout.other"), ("rollout.another", state)],
            true,
        ),
        (
            &[("pause", "deployment.worker"), ("rollout.worker", state)],
            true,
        ),
    ] {
        let found = found(pairs, WORKER);
        assert_eq!(found.len(), 1, "{pairs:?} {found:#?}");
        assert_eq!(found[0].is_error, expected, "{pairs:?} {found:#?}");
    }
    let told = one(
        &[("pause", "rollout.other"), ("rollout.other", state)],
        WORKER,
    );
    assert_eq!(
        told,
        "`rollout.other` in the key `pause` of the ConfigMap `shop/outrigger` stops nothing of this function; `rollout.other` of the \
         ConfigMap `shop/outrigger` holds the state of such a workload, which another function scales, or which is gone"
    );
    // Of many it is an error when one of those that are not named is.
    let many: Vec<String> = (0..MAX_MISTAKES).map(|n| format!("note-{n}")).collect();
    let mut pairs: Vec<(&str, &str)> = many.iter().map(|key| (key.as_str(), "")).collect();
    assert!(!found(&pairs, WORKER).iter().any(|found| found.is_error));
    pairs.push(("zzz", ""));
    assert!(!found(&pairs, WORKER)[MAX_MISTAKES].is_error);
    pairs.push(("worker", "*"));
    assert!(found(&pairs, WORKER)[MAX_MISTAKES].is_error);
}

#[test]
fn what_is_not_run_may_be_named() {
    let not_run = |namespace: Option<&str>, key: Option<&str>| NotRun {
        namespace: namespace.map(str::to_owned),
        workload: key.map(workload),
    };
    let errors = |text: &str, not_run: &[NotRun]| -> Vec<bool> {
        let known = workloads(WORKER);
        let found = mistakes(&keys(&[(PAUSE, text)]), &Here::new("shop", &known, not_run));
        found.into_iter().map(|found| found.is_error).collect()
    };
    let refused = [not_run(Some("shop"), Some("rollout.broken"))];
    assert_eq!(errors("rollout.broken worker", &refused), [false; 0]);
    assert_eq!(errors("rollout.brokn worker", &refused), [true]);
    let elsewhere = [not_run(Some("billing"), Some("rollout.broken"))];
    assert_eq!(errors("rollout.broken", &elsewhere), [true]);
    // What cannot be read may be about any workload: then it is told, and fails nothing.
    for namespace in [None, Some("shop")] {
        assert_eq!(
            errors("rollout.broken", &[not_run(namespace, None)]),
            [false]
        );
    }
    assert_eq!(
        errors("rollout.broken", &[not_run(Some("billing"), None)]),
        [true]
    );
}

#[test]
fn a_word_is_named_once_a_key_in_a_stable_order() {
    let pairs = [
        ("aaa", "1"),
        ("pause", "zzz worker ZZZ \"zzz\" yyy"),
        ("pause-scale-in", "zzz"),
        ("stopp", "*"),
    ];
    let told = told(&pairs, WORKER);
    let starts = [
        "the key `stopp` ",
        "`zzz` in the key `pause` ",
        "`yyy` in the key `pause` ",
        "`zzz` in the key `pause-scale-in` ",
        "the key `aaa` ",
    ];
    assert_eq!(told.len(), starts.len(), "{told:#?}");
    for (told, start) in told.iter().zip(starts) {
        assert!(told.starts_with(start), "{told}");
    }
}

#[test]
fn many_mistakes_are_counted() {
    let words = |count: usize| -> Vec<String> {
        let text: Vec<String> = (0..count).map(|index| format!("zzz{index}")).collect();
        told(&[("pause", &text.join("\n"))], WORKER)
    };
    assert_eq!(words(10).len(), 10);
    assert_eq!(
        words(11).last().unwrap(),
        "1 more key or name in the ConfigMap `shop/outrigger` does not do what it says"
    );
    let many = words(50_000);
    assert_eq!(many.len(), MAX_MISTAKES + 1);
    assert_eq!(
        many.last().unwrap(),
        "49990 more keys or names in the ConfigMap `shop/outrigger` do not do what they say"
    );
}

#[test]
fn what_people_type_is_shortened_and_escaped() {
    let long = "x".repeat(5_000);
    for text in [
        "\u{1b}[2J",
        "a\u{202e}b\u{0}",
        long.as_str(),
        "`'$(reboot)'`",
    ] {
        let pairs = [("pause", text), ("paused", text), (text, text)];
        for told in told(&pairs, WORKER) {
            assert!(told.len() < 700, "{told}");
            assert!(!told.contains(['\u{1b}', '\u{202e}', '\u{0}']), "{told}");
            for command in told.split("kubectl").skip(1) {
                assert!(!command.contains('$'), "{told}");
            }
        }
    }
    assert!(
        one(&[("it's", "1")], WORKER)
            .ends_with("This removes it, in an editor: kubectl edit cm outrigger -n shop")
    );
}

/// Words of all kinds: right ones, nearly right ones, and anything.
fn any_word() -> impl Strategy<Value = String> {
    let before = prop_oneof![
        Just(""),
        Just("rollout"),
        Just("Rollouts"),
        Just("job"),
        Just("jobs"),
        Just("shop"),
        Just("SHOP"),
        Just("rolout"),
        Just("s"),
    ];
    let separator = prop_oneof![Just("."), Just("/"), Just(""), Just("-"), Just("..")];
    let after = prop_oneof![
        Just("worker"),
        Just("WORKER"),
        Just("wroker"),
        Just("my.db"),
        Just("*"),
        Just(""),
        Just("no"),
        Just("all"),
        Just("a"),
    ];
    let built = (before, separator, after)
        .prop_map(|(before, separator, after)| format!("{before}{separator}{after}"));
    let fixed = prop_oneof![
        Just("*"),
        Just("all"),
        Just("TRUE"),
        Just("on"),
        Just("\"*\""),
        Just("false"),
        Just("off"),
        Just("'worker'"),
        Just("#"),
    ];
    prop_oneof![
        4 => built,
        2 => fixed.prop_map(str::to_owned),
        1 => "[a-z.*/\"' ,]{0,6}",
        1 => any::<String>().prop_map(|text| text.chars().filter(|char| is_list(&char.to_string())).collect()),
    ]
}

fn any_known() -> impl Strategy<Value = Vec<&'static str>> {
    let all = [
        "rollout.worker",
        "rollout.my.db",
        "job.worker",
        "job.a",
        "job.no",
        "job.all",
    ];
    prop::sample::subsequence(all.to_vec(), 0..=all.len())
}

fn is_stopped(text: &str, target: &str) -> bool {
    let (stops, keys) = (LastStops::default(), keys(&[(PAUSE, text)]));
    stop_of(&stops, &shop(), &keys, &workload(target)).all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_word_is_a_mistake_exactly_when_it_stops_no_target(text in prop::collection::vec(any_word(), 1..5), known in any_known()) {
        let text = text.join(", ");
        let mut idle: Vec<String> = Vec::new();
        for word in words(&text) {
            let is_idle = !known.iter().any(|target| is_stopped(word, target));
            prop_assert_eq!(is_idle, !told(&[(PAUSE, word)], &known).is_empty(), "{}", word);
            prop_assert_eq!(is_idle, !told(&[(PAUSE_SCALE_IN, word)], &known).is_empty(), "{}", word);
            let word = normal(word);
            if is_idle && !idle.contains(&word) {
                idle.push(word);
            }
        }
        let told = told(&[(PAUSE, &text)], &known);
        let expected = if words(&text).next().is_none() { 1 } else { idle.len().min(MAX_MISTAKES + 1) };
        prop_assert_eq!(told.len(), expected);
        // Words that are no mistakes stop what the text stops.
        for target in known {
            let by_words = words(&text).any(|word| is_stopped(word, target));
            prop_assert_eq!(is_stopped(&text, target), by_words);
        }
    }

    #[test]
    fn what_is_suggested_stops_something(word in any_word(), key in any_word(), known in any_known()) {
        for told in told(&[(PAUSE, &word), (&key, &word)], &known) {
            if let Some((before, hint)) = told.split_once("did you mean `")
                && !before.starts_with("the key")
            {
                let hint = hint.split('`').next().unwrap();
                prop_assert!(known.iter().any(|target| is_stopped(hint, target)), "{}", told);
            }
            prop_assert!(!told.contains(char::is_control), "{:?}", told);
        }
    }

    #[test]
    fn a_command_lifts_no_stop(typed in any_word(), there in prop::collection::vec(any_word(), 0..8), known in any_known()) {
        let there = there.join("\n");
        let told = told(&[("paused", &typed), (PAUSE, &there)], &known);
        let first = told.first().unwrap();
        let data = first.split_once("-p '").unwrap().1.split_once('\'').unwrap().0;
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        if let Some(text) = data["data"][PAUSE].as_str() {
            for target in known {
                prop_assert!(is_stopped(text, target) || !is_stopped(&there, target), "{}", first);
                prop_assert!(is_stopped(text, target) || !is_stopped(&typed, target), "{}", first);
            }
        }
    }
}
