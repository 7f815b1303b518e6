//! Numbers of the Kubernetes HPA controller, each as a record and the count that it must come to.
//! They are its published behaviour, from its own test tables and its arithmetic; the inputs are put in our contract.

use crate::record::Record;

#[test]
fn counts_are_those_of_the_kubernetes_controller() {
    let cases: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("../../tests/fixtures/hpa.json")).unwrap();
    assert!(cases.len() > 80, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let record = Record::parse(case["record"].to_string().as_bytes())
            .unwrap_or_else(|problems| panic!("{}: {problems:#?}", case["name"]));
        let decision = record.decide();
        if case["to"] != decision.to {
            wrong.push(format!(
                "{}: expected {}, got {}: {}",
                case["name"], case["to"], decision.to, decision.explanation
            ));
        }
    }
    assert_eq!(wrong, [""; 0]);
}
