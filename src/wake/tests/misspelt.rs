//! Direct events with a mistake in them.

use serde_json::json;

use super::parse_value;
use super::refused::{check, check_unsupported};
use crate::wake::{TargetNameError, WakeError};

#[test]
fn keys_that_are_misspelt() {
    let allowed = "allowed are `targets`, `dryRun`, `scheduledTime`, `executionId`, `scheduleArn`, `attemptNumber`";
    for (key, nearest) in [
        ("dryrun", "dryRun"),
        ("dry_run", "dryRun"),
        ("dry-run", "dryRun"),
        ("DryRun", "dryRun"),
        ("target", "targets"),
        ("Targets", "targets"),
        ("tragets", "targets"),
        ("scheduled-time", "scheduledTime"),
        ("scheduleTime", "scheduledTime"),
        ("executionID", "executionId"),
        ("schedule-arn", "scheduleArn"),
        ("attempt_number", "attemptNumber"),
    ] {
        let event = json!({key: true}).to_string();
        check(
            event,
            &format!("unknown key `{key}`, perhaps `{nearest}` is meant; {allowed}"),
        );
    }
    check(
        r#"{"dryRun":true,"loud":true}"#,
        &format!("unknown key `loud`; {allowed}"),
    );
    check_unsupported(&json!({"": 1}), "an object with the keys ``");
}

#[test]
fn values_of_the_wrong_type() {
    let list = "it takes a list of `namespace/name` strings";
    check(r#"{"targets":null}"#, &format!("`targets` is null, {list}"));
    check(
        r#"{"targets":"default/worker"}"#,
        &format!("`targets` is a string, {list}"),
    );
    check(
        r#"{"targets":{}}"#,
        &format!("`targets` is an object, {list}"),
    );
    check(
        r#"{"targets":["a/b",7]}"#,
        "`targets[1]` is a number, it takes a `namespace/name` string",
    );
    check(
        r#"{"dryRun":"true"}"#,
        "`dryRun` is a string, it takes `true` or `false`",
    );
    check(
        r#"{"dryRun":1}"#,
        "`dryRun` is a number, it takes `true` or `false`",
    );
    check(
        r#"{"dryRun":null}"#,
        "`dryRun` is null, it takes `true` or `false`",
    );
    check(
        r#"{"executionId":1}"#,
        "`executionId` is a number, it takes a string",
    );
    check(
        r#"{"scheduleArn":{}}"#,
        "`scheduleArn` is an object, it takes a string",
    );
    check(
        r#"{"attemptNumber":true}"#,
        "`attemptNumber` is a boolean, it takes a number, in quotes or not",
    );
    check(
        r#"{"scheduledTime":1}"#,
        "`scheduledTime` is a number, it takes an RFC 3339 time",
    );
    check(
        r#"{"scheduledTime":"<aws.scheduler.scheduled-time>"}"#,
        "`scheduledTime` is not an RFC 3339 time such as `2026-11-20T03:15:00Z`",
    );
}

#[test]
fn lists_of_targets_that_are_too_short_or_too_long() {
    check(
        r#"{"targets":[]}"#,
        "`targets` is an empty list, which could mean none or all: name a target, or leave the key out for all",
    );
    let event = json!({"targets": vec!["default/worker"; 1001]}).to_string();
    check(
        event,
        "`targets` has 1001 entries, at most 1000 are allowed",
    );
}

#[test]
fn names_that_are_no_names() {
    use TargetNameError::{InvalidName, InvalidNamespace, NotTwoParts};
    let (long_namespace, long_name) = (
        format!("{}/a", "n".repeat(64)),
        format!("a/{}", "d".repeat(254)),
    );
    for (name, expected) in [
        ("", NotTwoParts),
        ("worker", NotTwoParts),
        ("a/b/c", NotTwoParts),
        ("/", InvalidNamespace),
        ("/worker", InvalidNamespace),
        ("Default/worker", InvalidNamespace),
        ("a.b/worker", InvalidNamespace),
        ("-a/worker", InvalidNamespace),
        ("a-/worker", InvalidNamespace),
        ("a b/worker", InvalidNamespace),
        ("ä/worker", InvalidNamespace),
        (&long_namespace, InvalidNamespace),
        ("default/", InvalidName),
        ("default/Worker", InvalidName),
        ("default/.", InvalidName),
        ("default/a..b", InvalidName),
        ("default/a.-b", InvalidName),
        ("default/a_b", InvalidName),
        ("default/worker ", InvalidName),
        ("default/a\u{0}b", InvalidName),
        (&long_name, InvalidName),
    ] {
        let error = parse_value(&json!({"targets": ["ok/ok", name]})).unwrap_err();
        assert_eq!(
            error,
            WakeError::InvalidTarget {
                index: 1,
                source: expected
            },
            "{name:?}"
        );
    }
    check(
        r#"{"targets":["Default/worker"]}"#,
        "`targets[0]` is not a target name: its namespace is not a DNS label: 1 to 63 of `a-z`, `0-9` and `-`, \
         with a letter or digit at both ends",
    );
}
