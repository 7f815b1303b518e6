//! Any stream of documents is read: every target is within its bounds, every finding says something, and it is read the same way again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger::manifest::{Context, read};
use outrigger_fuzz::assert_plain;

fuzz_target!(|data: &[u8]| {
    let clusters = ["prod".to_owned(), "edge".to_owned()];
    let context = Context {
        file: "outrigger.yaml",
        namespace: "default",
        clusters: &clusters,
    };
    let configuration = read(data, context);
    for finding in &configuration.findings {
        assert_plain(&finding.to_string(), "a finding");
    }
    for target in &configuration.targets {
        let bounds = target.policy.bounds;
        assert!(bounds.min() <= bounds.max(), "{:?}", target.policy);
        assert!(
            bounds.rest().is_none_or(|rest| rest < bounds.min().max(1)),
            "{:?}",
            target.policy
        );
        assert!(!target.policy.triggers.is_empty());
    }
    let again = read(data, context);
    assert_eq!(format!("{configuration:?}"), format!("{again:?}"));
});
