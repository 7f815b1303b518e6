use super::*;

const RECORD: &str = r#"{"v":1,"now":"2026-11-23T00:00:00Z","scaledObject":{"apiVersion":"keda.sh/v1alpha1","kind":"ScaledObject",
    "metadata":{"name":"worker","namespace":"default"},"spec":{"scaleTargetRef":{"name":"worker","apiVersion":"argoproj.io/v1alpha1",
    "kind":"Rollout"},"minReplicaCount":2,"maxReplicaCount":16,"triggers":[
    {"type":"aws-sqs-queue","authenticationRef":{"name":"x"},"metadata":{"queueURL":"orders","queueLength":"10","awsRegion":"eu-west-1"}},
    {"type":"aws-sqs-queue","metadata":{"queueURL":"other","queueLength":"10","awsRegion":"eu-west-1"}}]}},
    "workload":{"replicas":4,"rollout":{"paused":false,"aborted":false,"updating":false,"pauseStep":false}},
    "readings":[{"visible":120,"inFlight":4,"delayed":0},{"error":"AccessDenied"}],"conflicts":[],"state":null}"#;

#[test]
fn the_example_of_the_contract() {
    let record = Record::parse(RECORD.as_bytes()).unwrap();
    let decision = decision_json(&record.decide());
    let text = decision.to_string();
    assert!(text.starts_with(r#"{"v":1,"action":"scale","from":4,"to":13,"reason":"QueueDepth","limitedBy":[],"explanation":"worker 4 → 13: "#), "{text}");
    assert_eq!(
        decision["state"]["pending"].to_string(),
        r#"{"at":"2026-11-23T00:00:00Z","from":4,"to":13}"#
    );
}

#[test]
fn a_record_replays_to_the_same_bytes() {
    let record = Record::parse(RECORD.as_bytes()).unwrap();
    let manifest = serde_json::from_str::<Json>(RECORD).unwrap()["scaledObject"].clone();
    let first = record.decide();
    for (state, seconds) in [(None, 0), (Some(&first.state), 60)] {
        let now = record.now + jiff::SignedDuration::from_secs(seconds);
        let decision = decide(&record.policy, &record.observation, state, now);
        let written = record_json(&manifest, &record.observation, state, now);
        let line = json!({"_aws": {}, "Targets": 1, "record": written, "decision": decision_json(&decision)}).to_string();
        let again = Record::parse(line.as_bytes()).unwrap().decide();
        assert_eq!(
            decision_json(&again).to_string(),
            decision_json(&decision).to_string()
        );
    }
}

/// A queue, a cron window, and a metric with and without `ignoreNullValues`.
fn all_kinds(readings: &str) -> String {
    let metric = |ignore: &str| {
        format!(
            r#"{{"type":"aws-cloudwatch","metadata":{{"namespace":"AWS/SQS","metricName":"ApproximateAgeOfOldestMessage","dimensionName":"QueueName",
            "dimensionValue":"orders","targetMetricValue":"2.5","minMetricValue":0,"ignoreNullValues":"{ignore}","awsRegion":"eu-west-1"}}}}"#
        )
    };
    format!(
        r#"{{"v":1,"now":"2026-11-23T09:00:00Z","scaledObject":{{"apiVersion":"keda.sh/v1alpha1","kind":"ScaledObject","metadata":{{"name":"worker"}},
        "spec":{{"scaleTargetRef":{{"name":"worker"}},"triggers":[
        {{"type":"aws-sqs-queue","metadata":{{"queueURL":"orders","awsRegion":"eu-west-1"}}}},
        {{"type":"cron","metadata":{{"timezone":"Europe/Berlin","start":"0 8 * * *","end":"0 18 * * *","desiredReplicas":"6"}}}},{},{}]}}}},
        "workload":{{"replicas":4}},"readings":{readings}}}"#,
        metric("true"),
        metric("false"),
    )
}

#[test]
fn readings_belong_to_their_triggers() {
    for readings in [
        r#"[{"visible":120,"inFlight":4,"delayed":0},{},{"valueMilli":90500},{"valueMilli":-1}]"#,
        r#"[{"error":"AccessDenied"},{},{"noData":true},{"error":"NoData"}]"#,
        r#"[{"visible":0,"inFlight":0,"delayed":0},{},{"error":"Throttling"},{"noData":true}]"#,
    ] {
        let text = all_kinds(readings);
        let record = Record::parse(text.as_bytes()).unwrap();
        let manifest = serde_json::from_str::<Json>(&text).unwrap()["scaledObject"].clone();
        let written = record_json(&manifest, &record.observation, None, record.now);
        assert_eq!(written["readings"].to_string(), readings);
        let decision = decision_json(&record.decide()).to_string();
        let again = Record::parse(written.to_string().as_bytes()).unwrap();
        assert_eq!(decision_json(&again.decide()).to_string(), decision);
    }
    let record = Record::parse(
        all_kinds(
            r#"[{"error":"AccessDenied"},{},{"noData":false,"valueMilli":1},{"noData":true}]"#,
        )
        .as_bytes(),
    );
    // The window is open, whatever the others say.
    assert_eq!(record.unwrap().decide().to, 6);
}

#[test]
fn a_value_of_null_is_no_data() {
    let decide = |last: &str| {
        let readings = format!(r#"[{{"error":"x"}},{{}},{last},{last}]"#);
        Record::parse(all_kinds(&readings).as_bytes()).unwrap()
    };
    let null = decide(r#"{"valueMilli":null}"#);
    assert_eq!(null, decide(r#"{"noData":true}"#));
    assert_eq!(null, decide(r#"{"valueMilli":null,"noData":true}"#));
    assert_eq!(null.observation.readings[2], Reading::Metric(None));
}

#[test]
fn only_a_scaled_object_is_decided_on() {
    for (found, other, message) in [
        (
            r#""kind":"ScaledObject""#,
            r#""kind":"ScaledJob""#,
            "kind: found `ScaledJob`, allowed: ScaledObject",
        ),
        (
            "keda.sh/v1alpha1",
            "keda.sh/v2",
            "apiVersion: found `keda.sh/v2`, allowed: keda.sh/v1alpha1",
        ),
    ] {
        let problems = Record::parse(RECORD.replace(found, other).as_bytes()).unwrap_err();
        assert_eq!(problems.list[0].to_string(), message);
    }
    let unsaid = RECORD.replace(
        r#""apiVersion":"keda.sh/v1alpha1","kind":"ScaledObject","#,
        "",
    );
    assert_ne!(unsaid, RECORD);
    assert_eq!(
        Record::parse(unsaid.as_bytes()).unwrap().decide(),
        Record::parse(RECORD.as_bytes()).unwrap().decide()
    );
}

#[test]
fn an_error_without_a_code_is_one_mistake() {
    let readings = r#"[{"error":""},{},{"valueMilli":1},{"error":7}]"#;
    let problems = Record::parse(all_kinds(readings).as_bytes()).unwrap_err();
    let found: Vec<String> = problems.list.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        ["readings[0].error: found ``, allowed: text that is not empty"]
    );
}

#[test]
fn a_reading_of_another_kind_is_a_mistake() {
    for (readings, wanted) in [
        (
            r#"[{},{},{"valueMilli":1},{"valueMilli":1}]"#,
            "readings[0].visible: missing",
        ),
        (
            r#"[{"error":"x"},{"visible":3},{"valueMilli":1},{"valueMilli":1}]"#,
            "readings[1].visible: unknown field",
        ),
        (
            r#"[{"error":"x"},{"error":"x"},{"valueMilli":1},{"valueMilli":1}]"#,
            "readings[1].error: unknown field",
        ),
        (
            r#"[{"error":"x"},{},{},{"valueMilli":1}]"#,
            "readings[2].valueMilli: missing, allowed: a whole number of thousandths",
        ),
        (
            r#"[{"error":"x"},{},{"noData":false},{"valueMilli":1}]"#,
            "readings[2].valueMilli: missing",
        ),
        (
            r#"[{"error":"x"},{},{"valueMilli":1.5},{"valueMilli":1}]"#,
            "readings[2].valueMilli: found `1.5`, allowed: a whole number",
        ),
        (
            r#"[{"error":"x"},{},{"valueMilli":1,"noData":true},{"valueMilli":1}]"#,
            "readings[2].valueMilli: found `1`, allowed: a value or",
        ),
        (
            r#"[{"error":"x"},{},{"valueMilli":1},{"visible":1}]"#,
            "readings[3].visible: unknown field",
        ),
        (
            r#"[{"error":"x"},{},{"valueMilli":1},null]"#,
            "readings[3].valueMilli: missing",
        ),
        (
            r#"[{"error":"x"},{},{"valueMilli":1},{"valueMilli":null,"noData":false}]"#,
            "readings[3].valueMilli: missing",
        ),
    ] {
        let problems = Record::parse(all_kinds(readings).as_bytes()).unwrap_err();
        let found: Vec<String> = problems.list.iter().map(ToString::to_string).collect();
        assert!(
            found.iter().any(|line| line.starts_with(wanted)),
            "{wanted} in {found:#?}"
        );
    }
}

#[test]
fn every_mistake_is_reported() {
    let broken = RECORD
        .replace(
            r#""v":1,"now":"2026-11-23T00:00:00Z""#,
            r#""v":2,"now":"yesterday","extra":1"#,
        )
        .replace(r#""replicas":4"#, r#""replicas":-4"#)
        .replace(r#""visible":120,"inFlight":4,"#, r#""visible":-1,"#)
        .replace(r#""conflicts":[]"#, r#""conflicts":[{}]"#)
        .replace(
            r#""state":null"#,
            r#""state":{"v":1,"firstSeen":"2026-11-23T00:00:00Z","active":"maybe"}"#,
        );
    let problems = Record::parse(broken.as_bytes()).unwrap_err();
    let found: Vec<String> = problems.list.iter().map(ToString::to_string).collect();
    for wanted in [
        "v: found `2`",
        "now: found",
        "extra: unknown",
        "workload.replicas",
        "readings[0].visible",
        "readings[0].inFlight: missing",
        "conflicts[0].kind: missing",
        "state.active: found `maybe`",
    ] {
        assert!(
            found.iter().any(|line| line.starts_with(wanted)),
            "{wanted} in {found:#?}"
        );
    }
    let short = RECORD.replace(r#",{"error":"AccessDenied"}"#, "");
    assert!(
        Record::parse(short.as_bytes()).unwrap_err().list[0]
            .message
            .contains("found 1 readings, allowed: 2")
    );
    for junk in ["", "[]", "{}", "null", r#"{"record":3}"#] {
        assert!(Record::parse(junk.as_bytes()).is_err(), "{junk}");
    }
}
