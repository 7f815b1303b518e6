//! `infra/template.yaml` as a stack of its own: made with the package, fired by its schedule, updated, rolled back, removed.
//!
//! Three things are put into the template that an account has no need of: the name of the role, for which the authenticator has
//! the access entry, and in the environment where the emulator and the real API server are.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::lambda::{Deployed, packed};
use super::ministack::{ACCOUNT, REGION, element, form_encode};
use super::world::{CLUSTER, OF_RENDERED, OF_STACK, World, world};
use crate::infra::TEMPLATE;
use crate::render::rendered_files;
use crate::support::assert_names;

/// How long a stack may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// A template that finds its way in the tests.
pub(super) fn at_home(template: &str, world: &World, role: &str) -> String {
    let address = world.address();
    let variables = [
        ("AWS_ENDPOINT_URL", world.sts.endpoint()),
        ("OUTRIGGER_CLUSTER_ENDPOINT", address.endpoint.clone()),
        (
            "OUTRIGGER_CLUSTER_CA",
            address.certificate_authority.clone(),
        ),
    ];
    let variables = variables.map(|(name, value)| format!("          {name}: {value}\n"));
    let before_variables = "        Variables:\n";
    let before_role = "      Description: What the Outrigger function may do";
    assert!(template.contains(before_role));
    template
        .replace(
            before_role,
            &format!("      RoleName: {role}\n{before_role}"),
        )
        .replace(
            before_variables,
            &format!("{before_variables}{}", variables.concat()),
        )
}

struct Stack<'d> {
    deployed: &'d Deployed,
    template: String,
    parameters: Vec<(&'static str, String)>,
}

impl<'d> Stack<'d> {
    /// The shipped template.
    fn shipped(deployed: &'d Deployed) -> Self {
        let local = "CodeUri: ../target/lambda/outrigger-lambda/bootstrap.zip";
        let queue = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{}", deployed.name);
        let parameters = vec![
            ("ClusterName", CLUSTER.to_owned()),
            ("QueueArns", queue),
            ("QueueName", deployed.name.clone()),
        ];
        let template = at_home(TEMPLATE, deployed.lab.world, OF_STACK);
        Self::of(deployed, &template, local, parameters)
    }

    /// What is rendered for the manifest of the function.
    fn rendered(deployed: &'d Deployed) -> Self {
        let files = rendered_files(&deployed.manifest(), CLUSTER);
        let local = "CodeUri: \"../target/lambda/outrigger-lambda/bootstrap.zip\"";
        let template = at_home(&files["template.yaml"], deployed.lab.world, OF_RENDERED);
        Self::of(deployed, &template, local, Vec::new())
    }

    fn of(
        deployed: &'d Deployed,
        template: &str,
        local: &str,
        mut parameters: Vec<(&'static str, String)>,
    ) -> Self {
        let world = deployed.lab.world;
        // As `sam package` leaves the package, and the template.
        let bucket = format!("/{}", deployed.name);
        let zip = packed(world.assets(), &deployed.manifest());
        let region = format!(
            "<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
        );
        for (path, body) in [
            (bucket.clone(), region.into_bytes()),
            (format!("{bucket}/package.zip"), zip),
        ] {
            let (status, answer) = world.sts.as_root("PUT", &path, "s3", &[], body);
            assert_eq!(status, 200, "{path}: {answer}");
        }
        assert!(template.contains(local));
        let template = template.replace(local, &format!("CodeUri: s3:/{bucket}/package.zip"));
        parameters.extend([
            ("FunctionName", deployed.name.clone()),
            ("Architecture", "x86_64".to_owned()),
            ("CreateAccessEntry", "false".to_owned()),
        ]);
        Self {
            deployed,
            template,
            parameters,
        }
    }

    fn ask(&self, action: &str, form: &str) -> (u16, String) {
        let name = &self.deployed.name;
        let form = format!("Action={action}&Version=2010-05-15&StackName={name}{form}");
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let sts = &self.deployed.lab.world.sts;
        sts.as_root("POST", "/", "cloudformation", &headers, form)
    }

    /// Creates or updates it, and waits until that is done.
    async fn make(&self, action: &str, done: &str) {
        let mut form = format!(
            "&TemplateBody={}&Capabilities.member.1=CAPABILITY_IAM&Capabilities.member.2=CAPABILITY_NAMED_IAM\
             &Capabilities.member.3=CAPABILITY_AUTO_EXPAND",
            form_encode(&self.template)
        );
        for (number, (name, value)) in self.parameters.iter().enumerate() {
            let member = format!("&Parameters.member.{}", number + 1);
            let value = form_encode(value);
            write!(
                form,
                "{member}.ParameterKey={name}{member}.ParameterValue={value}"
            )
            .unwrap();
        }
        let (status, answer) = self.ask(action, &form);
        assert_eq!(status, 200, "{answer}");
        self.wait_until(Some(done)).await;
    }

    /// Waits for a status; for none, until the stack is gone.
    async fn wait_until(&self, status: Option<&str>) {
        let mut last = String::new();
        let wait = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            loop {
                ticks.tick().await;
                let (_, answer) = self.ask("DescribeStacks", "");
                let found = element(&answer, "StackStatus");
                if found.as_deref() == status {
                    return;
                }
                last = answer;
                assert!(!found.unwrap_or_default().contains("ROLLBACK"), "{last}");
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        waited.unwrap_or_else(|_| panic!("never {status:?}: {last}"));
    }

    fn function(&self, what: &str) -> Json {
        let path = format!("/2015-03-31/functions/{}/{what}", self.deployed.name);
        self.deployed.lambda("GET", &path, &json!({}))
    }

    /// The version that the alias is on.
    fn version(&self) -> String {
        let alias = self.function("aliases/live");
        alias["FunctionVersion"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn the_template_is_made_fired_updated_rolled_back_and_removed() {
    let Some(world) = world() else { return };
    let deployed = Deployed::without_function(world).await;
    let mut stack = Stack::shipped(&deployed);
    stack.make("CreateStack", "CREATE_COMPLETE").await;
    assert_eq!(stack.version(), "1");
    assert_eq!(stack.function("configuration")["Timeout"], 75);
    // With the rights of the role that it made, which the emulator checks.
    deployed.wait_until_scaled_by("schedule").await;

    // The alarm may invoke the alias, and nobody else.
    let policy = stack.function("policy?Qualifier=live")["Policy"].clone();
    let policy: Json = serde_json::from_str(policy.as_str().unwrap()).unwrap();
    let [statement] = policy["Statement"].as_array().unwrap().as_slice() else {
        panic!("{policy}");
    };
    let principal = &statement["Principal"]["Service"];
    assert_eq!(principal, "lambda.alarms.cloudwatch.amazonaws.com");
    let conditions = statement["Condition"].to_string();
    assert_names(&conditions, &["QueueAlarm", ACCOUNT]);

    // What fails is told to the queue that it made: the emulator knows, but tells only what is invoked without the alias.
    let name = &deployed.name;
    let path = format!("/2019-09-25/functions/{name}/event-invoke-config?Qualifier=live");
    let told = deployed.lambda("GET", &path, &json!({}));
    assert_eq!(told["MaximumRetryAttempts"], 0, "{told}");
    assert_eq!(told["MaximumEventAgeInSeconds"], 60, "{told}");
    let queue = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}-failures");
    assert_eq!(told["DestinationConfig"]["OnFailure"]["Destination"], queue);
    deployed.queue_url(&format!("{name}-failures")).await;

    // A parameter alone makes a version, and the alias moves to it with the schedule.
    stack.parameters.push(("Window", "120".to_owned()));
    stack.make("UpdateStack", "UPDATE_COMPLETE").await;
    assert_eq!(stack.version(), "2");
    let live = stack.function("configuration?Qualifier=live");
    assert_eq!(live["Timeout"], 135, "{live}");
    let variables = &live["Environment"]["Variables"];
    assert_eq!(variables["OUTRIGGER_WINDOW"], "120");

    // The version before is still there, as it was.
    let back = json!({"FunctionVersion": "1"});
    let path = format!("/2015-03-31/functions/{name}/aliases/live");
    deployed.lambda("PUT", &path, &back);
    let live = stack.function("configuration?Qualifier=live");
    assert_eq!(live["Timeout"], 75, "{live}");
    let (error, answer) = deployed.invoke_qualified("live", &json!({}));
    assert_eq!(error, None, "{answer}");
    assert_eq!(answer["targets"][0]["effect"], "held", "{answer}");

    // Nothing is left of it but the count.
    let (status, answer) = stack.ask("DeleteStack", "");
    assert_eq!(status, 200, "{answer}");
    stack.wait_until(None).await;
    let path = format!("/2015-03-31/functions/{name}");
    let (status, answer) = world.sts.as_root("GET", &path, "lambda", &[], "");
    assert_eq!(status, 404, "{answer}");
    assert_eq!(deployed.lab.replicas().await, Some(7));
}

/// The rendered one needs no more than a name, and its narrower rights are enough.
#[tokio::test]
async fn what_is_rendered_is_made_and_fired() {
    let Some(world) = world() else { return };
    let deployed = Deployed::without_function(world).await;
    let stack = Stack::rendered(&deployed);
    stack.make("CreateStack", "CREATE_COMPLETE").await;
    deployed.wait_until_scaled_by("schedule").await;
    let (status, answer) = stack.ask("DeleteStack", "");
    assert_eq!(status, 200, "{answer}");
    stack.wait_until(None).await;
}
