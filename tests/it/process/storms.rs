//! A cluster or a role that refuses is asked a few times, however many targets it has.

use outrigger::sandbox::{Sandbox, Service};

use crate::support::function::Function;
use crate::support::{WORKER, actions, assert_names, count, sandbox};

const HUB: &str = "arn:aws:iam::123456789012:role/hub";
const TARGETS: usize = 300;
/// Calls that may be under way to an API server when the first of them is refused.
const UNDER_WAY: usize = outrigger::pass::MAX_CALLS;

/// The function with 300 targets of one queue, in a cluster that it reaches through a role.
async fn through_hub(sandbox: &Sandbox) -> Function {
    let objects = (0..TARGETS).map(|index| {
        let name = format!("name: w{index:03}");
        WORKER.replace("name: worker", &name)
    });
    let configuration = objects.collect::<Vec<_>>().join("---");
    let clusters = format!("arn:aws:eks:ap-northeast-1:123456789012:cluster/demo={HUB}");
    let environment = [("OUTRIGGER_CLUSTERS", clusters.as_str())];
    Function::start(sandbox, &configuration, &environment).await
}

#[tokio::test]
async fn a_cluster_that_refuses_tokens_costs_one_more_token_an_invocation() {
    let sandbox = sandbox().await;
    sandbox.sts().allow_role(HUB, None);
    let function = through_hub(&sandbox).await;
    // In a cold environment one for the EKS client and one for the first token too.
    for (most_assumed, most_described) in [(3, 1), (1, 0)] {
        sandbox.clear_requests();
        let (_, message) = function.error("{}").await;
        assert_names(&message, &["300 failed", "401", "access entry"]);
        let (assumed, described) = (
            count(&sandbox, "AssumeRole"),
            count(&sandbox, "DescribeCluster"),
        );
        let requests = actions(&sandbox, Service::Kubernetes).len();
        let counts = format!(
            "{assumed} of AssumeRole, {described} of DescribeCluster, {requests} to the API server"
        );
        assert!(assumed <= most_assumed, "{counts}");
        assert!(described <= most_described, "{counts}");
        assert!(requests <= UNDER_WAY + 1, "{counts}");
        // Each target is told the whole of it, asked for or not.
        for line in super::decisions(&function.new_lines()) {
            let error = &line["errors"][0];
            assert_eq!(error["code"], "Unauthorized", "{error}");
        }
    }
    // A new invocation finds it let in.
    sandbox.kubernetes().map_role(HUB, &["outrigger"]);
    for index in 0..TARGETS {
        let name = format!("w{index:03}");
        sandbox
            .kubernetes()
            .create_rollout("default", &name, Some(2));
    }
    function.answer("{}").await;
}
