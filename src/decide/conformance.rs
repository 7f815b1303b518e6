//! Numbers of the Kubernetes HPA controller and of KEDA, each as a record and the count that it must come to, or as manifests
//! and what must be read from them. They are published behaviour, from their own test tables, their documentation and their
//! arithmetic; the inputs are put in our contract. Where this differs on purpose the README says so, and no case asks for more.

use serde_json::Value as Json;

use crate::manifest::{Context, read};
use crate::policy::{Identity, SqsTrigger, Trigger};
use crate::record::Record;

fn cases(text: &str) -> Vec<Json> {
    serde_json::from_str(text).unwrap()
}

/// What is wrong with a decision, if anything.
fn decided(case: &Json) -> Option<String> {
    let name = &case["name"];
    let record = Record::parse(case["record"].to_string().as_bytes())
        .unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
    let decision = record.decide();
    let failures = case["failures"].as_u64();
    let counted = decision.state.failures.get(&0).copied().unwrap_or_default();
    let is_right =
        case["to"] == decision.to && failures.is_none_or(|wanted| wanted == u64::from(counted));
    (!is_right).then(|| {
        format!(
            "{name}: expected {} {failures:?}, got {} {counted}: {}",
            case["to"], decision.to, decision.explanation
        )
    })
}

/// What is wrong with what was read of some objects, if anything.
fn parsed(case: &Json) -> Option<String> {
    let name = &case["name"];
    let objects: Vec<String> = case["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    let context = Context {
        file: "case",
        namespace: "default",
        clusters: &[],
    };
    let configuration = read(objects.join("\n---\n").as_bytes(), context);
    let errors: Vec<String> = configuration.errors().map(ToString::to_string).collect();
    let accepted = configuration.targets.len() == 1 && errors.is_empty();
    if case["accepted"] != accepted {
        return Some(format!("{name}: expected {}: {errors:?}", case["accepted"]));
    }
    let wanted = case["trigger"].as_object()?;
    let Trigger::SqsQueue(trigger) = &configuration.targets[0].policy.triggers[0] else {
        return Some(format!("{name}: not a queue"));
    };
    let SqsTrigger {
        queue,
        messages_per_replica,
        activation_messages,
        count_in_flight,
        count_in_flight_for_scale_out: _,
        count_delayed,
    } = trigger;
    let role = match &queue.identity {
        Identity::Function => Json::Null,
        Identity::Role { arn, .. } => arn.clone().into(),
    };
    let found = serde_json::json!({
        "messagesPerReplica": messages_per_replica.get(),
        "activationMessages": activation_messages,
        "countInFlight": count_in_flight,
        "countDelayed": count_delayed,
        "role": role,
    });
    let differs = wanted.iter().find(|(key, value)| found[*key] != **value);
    differs.map(|(key, value)| format!("{name}: {key} expected {value}, got {}", found[key]))
}

fn wrong(cases: &[Json]) -> Vec<String> {
    let check = |case: &Json| match case.get("record") {
        Some(_) => decided(case),
        None => parsed(case),
    };
    cases.iter().filter_map(check).collect()
}

#[test]
fn counts_are_those_of_the_kubernetes_controller() {
    let cases = cases(include_str!("../../tests/fixtures/hpa.json"));
    assert!(cases.len() > 80, "{}", cases.len());
    assert_eq!(wrong(&cases), [""; 0]);
}

#[test]
fn keda_objects_are_read_and_decided_on_as_by_keda() {
    let cases = cases(include_str!("../../tests/fixtures/keda.json"));
    assert!(cases.len() > 150, "{}", cases.len());
    assert_eq!(wrong(&cases), [""; 0]);
}

/// The README prints these as a table.
#[test]
fn what_differs_on_purpose_differs_as_it_says() {
    let rows = cases(include_str!("../../tests/fixtures/differences.json"));
    for row in rows {
        let cases = row["cases"].as_array().unwrap();
        assert_eq!(wrong(cases), [""; 0], "{}", row["what"]);
        for case in cases {
            let refused = case["accepted"] == false;
            assert!(refused || case["to"] != case["theirs"], "{}", case["name"]);
        }
    }
}
