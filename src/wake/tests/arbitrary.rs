//! Whatever arrives, the answer is a wake or an error.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use super::{notification, parse_value, samples};
use crate::wake::{Scope, Wake, WakeError, parse};

fn sample_files() -> Vec<String> {
    let mut paths: Vec<_> = std::fs::read_dir(samples::folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

fn any_sample() -> impl Strategy<Value = String> {
    prop::sample::select(sample_files())
}

/// A value of any type, the ones that events are made of included.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "AWS/SQS",
        "QueueName",
        "orders",
        "a/b",
        "aws:sns",
        "aws:sqs",
        "{}",
        "2026-11-20T03:15:00Z",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        word.prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "targets",
        "dryRun",
        "dryrun",
        "Records",
        "EventSource",
        "Sns",
        "Message",
        "alarmArn",
        "alarmData",
        "source",
        "detail-type",
        "AlarmName",
        "NewStateValue",
        "Trigger",
        "Metrics",
        "metrics",
        "dimensions",
        "name",
        "value",
        "x",
    ]);
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(|fields| fields
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    })
}

/// Every value of the event, the event itself included.
fn pointers(value: &Value, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, &format!("{path}/{index}"), found);
            }
        }
        Value::Object(fields) => {
            for (key, item) in fields {
                pointers(item, &format!("{path}/{key}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Puts a value in the place of one that is somewhere in the event, of the message within a notification too.
fn replace_one(event: &mut Value, place: Index, value: Value) {
    if let Some(message) = event.pointer_mut("/Records/0/Sns/Message")
        && place.index(2) == 0
        && let Some(Ok(mut inner)) = message.as_str().map(serde_json::from_str::<Value>)
    {
        replace_one(&mut inner, place, value);
        *message = Value::String(inner.to_string());
        return;
    }
    let mut found = Vec::new();
    pointers(event, "", &mut found);
    if let Some(slot) = event.pointer_mut(place.get::<String>(&found)) {
        *slot = value;
    }
}

/// What the types promise beyond their fields, and that the error can be told.
fn check_promises(result: Result<Wake, WakeError>) {
    match result {
        Ok(wake) => match wake.scope {
            Scope::All => {}
            Scope::Queues(queues) => {
                assert!(!queues.is_empty());
                assert!(
                    queues
                        .iter()
                        .all(|queue| !queue.name.is_empty() && !queue.region.is_empty())
                );
                assert_eq!(
                    queues
                        .iter()
                        .collect::<std::collections::BTreeSet<_>>()
                        .len(),
                    queues.len()
                );
            }
            Scope::Targets(targets) => {
                assert!(!targets.is_empty());
                assert!(
                    targets
                        .iter()
                        .all(|target| target.to_string().parse().as_ref() == Ok(target))
                );
                assert_eq!(
                    targets
                        .iter()
                        .collect::<std::collections::BTreeSet<_>>()
                        .len(),
                    targets.len()
                );
            }
        },
        Err(error) => assert!(error.to_string().chars().all(|c| !c.is_control())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes(payload in prop::collection::vec(any::<u8>(), 0..512)) {
        check_promises(parse(&payload));
    }

    #[test]
    fn arbitrary_json(event in any_json()) {
        check_promises(parse_value(&event));
        check_promises(parse_value(&notification(&[&event.to_string()])));
    }

    #[test]
    fn samples_with_bytes_changed(
        sample in any_sample(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..8),
        end in any::<Index>(),
        cut in any::<bool>(),
    ) {
        let mut payload = sample.into_bytes();
        for (place, byte) in changes {
            let place = place.index(payload.len());
            payload[place] = byte;
        }
        if cut {
            payload.truncate(end.index(payload.len()));
        }
        check_promises(parse(&payload));
    }

    #[test]
    fn samples_with_values_changed(
        sample in any_sample(),
        changes in prop::collection::vec((any::<Index>(), any_json()), 1..4),
    ) {
        let mut event = serde_json::from_str(&sample).unwrap();
        for (place, value) in changes {
            replace_one(&mut event, place, value);
        }
        check_promises(parse_value(&event));
    }

    /// What the samples are told apart by is all that matters for being accepted.
    #[test]
    fn alarms_wake_whatever_their_details_are(details in any_json(), arn in any_json(), time in any_json()) {
        let action = serde_json::json!({"alarmArn": arn, "alarmData": {"configuration": details, "state": details}, "time": time});
        prop_assert!(parse_value(&action).is_ok());
        let event = serde_json::json!({
            "source": "aws.cloudwatch", "detail-type": "CloudWatch Alarm State Change", "resources": arn, "detail": details,
        });
        prop_assert!(parse_value(&event).is_ok());
        let message = serde_json::json!({"AlarmName": details, "NewStateValue": details, "AlarmArn": arn, "Trigger": details});
        prop_assert!(parse_value(&notification(&[&message.to_string()])).is_ok());
    }
}
