mod accepted;
mod arbitrary;
mod misspelt;
mod refused;
mod samples;

use serde_json::Value;

use crate::wake::{Cause, QueueId, Scope, TargetName, Wake, WakeError, parse};

const ACCOUNT: &str = "123456789012";
const REGION: &str = "ap-northeast-1";

fn parse_value(event: &Value) -> Result<Wake, WakeError> {
    parse(event.to_string().as_bytes())
}

/// An SNS notification with one record for each message.
fn notification(messages: &[&str]) -> Value {
    let record =
        |message| serde_json::json!({"EventSource": "aws:sns", "Sns": {"Message": message}});
    serde_json::json!({"Records": messages.iter().map(record).collect::<Vec<_>>()})
}

fn queues(names: &[&str]) -> Scope {
    let queue = |name: &&str| QueueId {
        name: (*name).to_owned(),
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
    };
    Scope::Queues(names.iter().map(queue).collect())
}

fn targets(names: &[(&str, &str)]) -> Scope {
    let target = |(namespace, name): &(&str, &str)| TargetName {
        namespace: (*namespace).to_owned(),
        name: (*name).to_owned(),
    };
    Scope::Targets(names.iter().map(target).collect())
}

fn alarm(name: &str, state: &str) -> Cause {
    Cause::Alarm {
        name: name.to_owned(),
        state: state.to_owned(),
    }
}
