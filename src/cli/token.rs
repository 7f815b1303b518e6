//! `outrigger token`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::{Failure, hinted, print};
use crate::adapters::aws::{Aws, chain};
use crate::adapters::eks_token;
use crate::clock::wall_now;
use crate::lambda::install_crypto;
use crate::manifest::is_role_arn;
use crate::policy::Identity;
use crate::settings::cluster_by_name_or_arn;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The cluster's name or ARN.
    #[arg(long, alias = "cluster-name", value_name = "NAME|ARN")]
    cluster: String,
    /// The region of a cluster given by name; else that of the environment or profile.
    #[arg(long)]
    region: Option<String>,
    /// A role to assume first.
    #[arg(long, value_name = "ARN")]
    role_arn: Option<String>,
}

pub(crate) async fn run(
    arguments: Arguments,
    environment: &BTreeMap<String, String>,
) -> Result<ExitCode, Failure> {
    install_crypto();
    let Arguments {
        cluster,
        region,
        role_arn,
    } = arguments;
    let identity = match role_arn {
        None => Identity::Function,
        Some(arn) if is_role_arn(&arn) => Identity::Role {
            arn,
            external_id: None,
        },
        Some(arn) => {
            let message = format!("`{arn}` is not the ARN of an IAM role");
            return Err(hinted(
                message,
                "such as --role-arn arn:aws:iam::123456789012:role/NAME",
            )
            .into());
        }
    };
    let aws = Aws::from_environment().await;
    let (cluster, region) = if cluster.starts_with("arn:") {
        let found = cluster_by_name_or_arn(&cluster, "").map_err(|message| {
            let hint = "such as --cluster arn:aws:eks:eu-west-1:123456789012:cluster/prod";
            hinted(format!("--cluster: {message}"), hint)
        })?;
        if let Some(region) = region.filter(|region| *region != found.region) {
            let message = format!(
                "--region: found `{region}`, and the cluster's ARN is of `{}`",
                found.region
            );
            return Err(hinted(message, "leave out --region").into());
        }
        (found.name, found.region)
    } else {
        let Some(region) = region.or_else(|| aws.region()) else {
            return Err(hinted(
                "no region for the cluster",
                "give --region, or --cluster with its ARN, or set AWS_REGION",
            )
            .into());
        };
        (cluster, region)
    };
    let credentials = aws
        .credentials(&identity, &region)
        .await
        .map_err(anyhow::Error::new)?;
    let token = eks_token::mint(&credentials, &region, &cluster, wall_now()).map_err(|error| {
        anyhow::anyhow!(
            "could not make a token for the cluster `{cluster}`: {}",
            chain(&error)
        )
    })?;
    let exec_info = environment.get("KUBERNETES_EXEC_INFO").map(String::as_str);
    print(&format!(
        "{}\n",
        eks_token::exec_credential(&token, exec_info)
    ))?;
    Ok(ExitCode::SUCCESS)
}
