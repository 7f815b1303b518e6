//! The README's way from a ScaledObject to a function, followed literally: its commands, in their order, by the tools that they
//! name, in an account of the emulator and on the real API server.
//!
//! Before each tool stands a script that adds where these are. What cannot be followed: `aws eks` changes the authentication of
//! a cluster, which the emulator does not have; `helm` has no chart, so its script prints the manifest; and `cargo lambda build`
//! would be a second release build, so its script puts down the package of the first (`tests/infra/package.py` tries it).

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value as Json, json};

use super::assets::{Assets, skip};
use super::lambda::{Deployed, from_environment, packed, program};
use super::ministack::REGION;
use super::stack::at_home;
use super::watch::of_cargo;
use super::world::{CLUSTER, OF_README, World, world};
use crate::infra::commands::commands;
use crate::support::function::Directory;

/// The function's name there, and here that of its queue as well.
const NAME: &str = "outrigger";

/// A clone of the repository in which somebody follows the README.
struct Follower<'d> {
    deployed: &'d Deployed,
    directory: Directory,
}

impl<'d> Follower<'d> {
    fn new(deployed: &'d Deployed, assets: &Assets, tools: &[PathBuf; 2]) -> Self {
        let follower = Self {
            deployed,
            directory: Directory::new(),
        };
        follower.clone_repository(deployed.lab.world);
        follower.write_scripts(assets, tools);
        follower
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join("clone").join(name)
    }

    /// Everything that is in the repository, and the templates as they must be here.
    fn clone_repository(&self, world: &World) {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in ["", "infra", "bin", "home", "target/lambda/outrigger-lambda"] {
            std::fs::create_dir_all(self.path(folder)).unwrap();
        }
        let link = |folder: &Path, into: &str, but: &[&str]| {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                if !but.contains(&name.as_str()) {
                    std::os::unix::fs::symlink(entry.path(), self.path(into).join(name)).unwrap();
                }
            }
        };
        link(
            repository,
            "",
            &["target", ".git", "infra", "outrigger.yaml"],
        );
        let templates = ["access.yaml", "wiring.yaml", "template.yaml"];
        link(&repository.join("infra"), "infra", &templates);
        for name in templates {
            let template = std::fs::read_to_string(repository.join("infra").join(name)).unwrap();
            let template = match name {
                "wiring.yaml" => template,
                _ => at_home(&template, world, OF_README),
            };
            // Of which the emulator knows nothing.
            let entry = "CreateAccessEntry:\n    Type: String\n    Default: ";
            let template = template.replace(&format!("{entry}'true'"), &format!("{entry}'false'"));
            std::fs::write(self.path("infra").join(name), template).unwrap();
        }
    }

    fn write_scripts(&self, assets: &Assets, [aws, sam]: &[PathBuf; 2]) {
        let Deployed { lab, .. } = self.deployed;
        let world = lab.world;
        let manifest = self.deployed.manifest();
        std::fs::write(self.path("package.zip"), packed(assets, &manifest)).unwrap();
        std::fs::write(self.path("manifest.yaml"), manifest).unwrap();
        std::fs::write(self.path("kubeconfig"), world.kubeconfig()).unwrap();
        let (endpoint, address) = (world.sts.endpoint(), world.address());
        let cargo_lambda = assets.path("python/bin/cargo-lambda");
        let (kubectl, cargo) = (assets.path("kubectl"), Path::new(env!("CARGO")));
        let [aws, sam, kubectl, cargo_lambda, cargo] =
            [aws, sam, &kubectl, &cargo_lambda, cargo].map(Path::display);
        let cargo = format!(
            r#"export HOME={home}
case "$1 $2" in
"run --") shift 2; exec {outrigger} "$@" ;;
"lambda build")
  cp package.zip target/lambda/outrigger-lambda/bootstrap.zip
  cp {program} target/lambda/outrigger-lambda/bootstrap ;;
"lambda deploy")
  shift 2; exec {cargo_lambda} lambda deploy --endpoint-url {endpoint} "$@" \
    --env-var AWS_ENDPOINT_URL={endpoint},OUTRIGGER_CLUSTER_ENDPOINT={api},OUTRIGGER_CLUSTER_CA={ca} ;;
"lambda invoke") shift 2; exec {cargo_lambda} lambda invoke --endpoint-url {endpoint} "$@" ;;
*) exec {cargo} "$@" ;;
esac"#,
            home = of_cargo()
                .into_iter()
                .find_map(|(name, value)| (name == "HOME").then_some(value))
                .unwrap_or_default(),
            outrigger = env!("CARGO_BIN_EXE_outrigger"),
            program = program().display(),
            api = address.endpoint,
            ca = address.certificate_authority,
        );
        for (name, script) in [
            ("helm", "exec cat manifest.yaml".to_owned()),
            (
                "aws",
                format!(r#"exec {aws} --endpoint-url {endpoint} "$@""#),
            ),
            (
                "sam",
                format!(r#"AWS_ENDPOINT_URL={endpoint} exec {sam} "$@""#),
            ),
            (
                "kubectl",
                format!(r#"exec {kubectl} --kubeconfig kubeconfig "$@""#),
            ),
            ("cargo", cargo),
        ] {
            use std::os::unix::fs::PermissionsExt as _;
            let path = self.path("bin").join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(path, mode).unwrap();
        }
    }

    /// Runs commands as one script, and gives what they print.
    fn follow(&self, commands: &[String]) -> String {
        let path = std::env::join_paths([self.path("bin"), "/usr/bin".into(), "/bin".into()]);
        let output = Command::new("bash")
            .args(["-euxo", "pipefail", "-c", &commands.join("\n")])
            .current_dir(self.path(""))
            .env_clear()
            .envs(of_cargo())
            .env("PATH", path.unwrap())
            .env("HOME", self.path("home"))
            .env("CARGO_TARGET_DIR", self.path("target"))
            .env("CARGO_NET_OFFLINE", "true")
            .env("RUSTUP_DIST_SERVER", "http://127.0.0.1:9")
            .env("SAM_CLI_TELEMETRY", "0")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", REGION)
            .env("AWS_DEFAULT_REGION", REGION)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let [text, told] = [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(output.status.success(), "{text}\n{told}");
        text
    }
}

impl Follower<'_> {
    /// What `outrigger render` has written for `--env-file`, with all that `--env-var` would drop or misread.
    fn variables_by_file(&self, section: &[String]) {
        let clusters = format!(
            "{CLUSTER},arn:aws:eks:{REGION}:222222222222:cluster/west=arn:aws:iam::222222222222:role/scaler"
        );
        let options = clusters.split(',').map(|name| format!(" --cluster {name}"));
        let options: String = options.collect();
        let role = section.iter().find(|command| command.starts_with("ROLE="));
        self.follow(&[
            role.unwrap().clone(),
            format!("cargo run -- render -f outrigger.yaml --region {REGION} -d deploy{options}"),
            "cargo lambda deploy --iam-role \"$ROLE\" --env-file deploy/function.env".to_owned(),
        ]);
        let path = format!("/2015-03-31/functions/{NAME}/configuration?Qualifier=live");
        let live: Json = self.deployed.lambda("GET", &path, &json!({}));
        let variables = &live["Environment"]["Variables"];
        assert_eq!(variables["OUTRIGGER_CLUSTERS"], *clusters);
        for (name, value) in [
            ("OUTRIGGER_CONFIG", "file:outrigger.yaml"),
            ("OUTRIGGER_ROLES", ""),
            ("OUTRIGGER_WINDOW", "60"),
        ] {
            assert_eq!(variables[name], value, "{name}");
        }
    }
}

/// What this section of the README says to run, with the names that things have here.
fn section(namespace: &str) -> Vec<String> {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let (_, rest) = readme
        .split_once("\n## From a ScaledObject to a function\n")
        .unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let here = |command: String| {
        command
            .replace("prod", CLUSTER)
            .replace("orders", NAME)
            .replace("-n default", &format!("-n {namespace}"))
            // The role has a name here, for the authenticator.
            .replace("CAPABILITY_IAM", "CAPABILITY_NAMED_IAM")
    };
    commands(section).into_iter().map(here).collect()
}

/// The commands from the first that begins so up to the last that does.
fn part<'c>(commands: &'c [String], first: &str, last: &str) -> &'c [String] {
    let find = |commands: &[String], text: &str| {
        let found = commands
            .iter()
            .position(|command| command.starts_with(text));
        found.unwrap_or_else(|| panic!("no {text} in {commands:?}"))
    };
    let commands = &commands[find(commands, first)..];
    &commands[..=find(commands, last)]
}

/// `aws` and `sam`, if this run has them, which it otherwise says.
fn tools() -> Option<[PathBuf; 2]> {
    let folders = from_environment("OUTRIGGER_DEPLOY_TOOLS").unwrap_or_default();
    let find = |name: &str| {
        let mut found = std::env::split_paths(&folders).map(|folder| folder.join(name));
        found.find(|program| program.is_file())
    };
    let (Some(aws), Some(sam)) = (find("aws"), find("sam")) else {
        skip("OUTRIGGER_DEPLOY_TOOLS names no folders with aws and sam");
        return None;
    };
    Some([aws, sam])
}

#[tokio::test]
async fn both_ways_are_followed_literally() {
    let Some(world) = world() else { return };
    let Some(tools) = tools() else { return };
    let deployed = Deployed::named(world, NAME).await;
    let lab = &deployed.lab;
    let follower = Follower::new(&deployed, world.assets(), &tools);
    let section = section(&lab.namespace);
    let followed = |first, last| follower.follow(part(&section, first, last));

    // KEDA is there, with the object that it is to let go.
    follower.follow(&["helm > outrigger.yaml".to_owned()]);
    let apply = format!("kubectl apply -n {} -f outrigger.yaml", lab.namespace);
    follower.follow(&[apply]);

    followed("helm template", "kubectl apply");
    follower.follow(part(
        &section,
        "aws cloudformation deploy",
        "cargo lambda deploy",
    ));
    let answer = followed("cargo lambda invoke", "cargo lambda invoke");
    assert!(answer.contains("dryRun"), "{answer}");
    assert_eq!(lab.replicas().await, Some(2));
    followed("kubectl annotate", "kubectl annotate");
    let wiring = section
        .iter()
        .position(|command| command.contains("infra/wiring.yaml"));
    follower.follow(std::slice::from_ref(&section[wiring.unwrap()]));
    deployed.wait_until_scaled_by("schedule").await;
    let path = format!("/2015-03-31/functions/{NAME}/configuration?Qualifier=live");
    let live: Json = deployed.lambda("GET", &path, &json!({}));
    // Of Cargo.toml, beside what the command says.
    assert_eq!(live["Environment"]["Variables"]["OUTRIGGER_WINDOW"], "60");
    assert_eq!(live["Timeout"], 75);

    follower.variables_by_file(&section);

    let versions = followed("aws lambda list-versions", "aws lambda update-alias");
    assert!(versions.contains("$LATEST"), "{versions}");
    followed("aws cloudformation delete-stack", "kubectl delete");
    assert_eq!(lab.replicas().await, Some(7));

    // The other way, from the start.
    lab.set_replicas(2).await;
    followed("kubectl apply -k", "kubectl apply -k");
    let sam = part(
        &section,
        "cargo lambda build --release --arm64 --output-format zip",
        "cargo lambda invoke",
    );
    let answer = follower.follow(sam);
    assert!(answer.contains("dryRun"), "{answer}");
    let live = sam
        .iter()
        .map(|command| command.replace("Mode=shadow", "Mode=live"));
    follower.follow(&live.collect::<Vec<_>>());
    deployed.wait_until_scaled_by("schedule").await;
    follower.follow(&[format!(
        "aws cloudformation delete-stack --stack-name {NAME}"
    )]);
    assert_eq!(lab.replicas().await, Some(7));
}
