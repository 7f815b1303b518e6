//! Known answers: `tests/fixtures/eks-token.json` holds what `aws eks get-token` 1.45 prints for invented credentials when its clock
//! stands still.

use std::collections::BTreeMap;
use std::error::Error as _;

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Vector {
    name: String,
    time: Timestamp,
    region: String,
    cluster: String,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    host: String,
    expires: String,
    signature: String,
    token: String,
}

impl Vector {
    fn credentials(&self) -> Credentials {
        let mut builder = Credentials::builder()
            .access_key_id(&self.access_key_id)
            .secret_access_key(&self.secret_access_key)
            .provider_name("fixture");
        builder.set_session_token(self.session_token.clone());
        builder.build()
    }

    fn mint(&self) -> Token {
        mint(&self.credentials(), &self.region, &self.cluster, self.time).unwrap()
    }
}

fn vectors() -> Vec<Vector> {
    let text = include_str!("../../../tests/fixtures/eks-token.json");
    let vectors: Vec<Vector> = serde_json::from_str(text).unwrap();
    assert_eq!(vectors.len(), 24);
    vectors
}

fn vector(name: &str) -> Vector {
    vectors()
        .into_iter()
        .find(|vector| vector.name == name)
        .unwrap()
}

fn url(token: &Token) -> String {
    let encoded = token.expose().strip_prefix("k8s-aws-v1.").unwrap();
    String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).unwrap()).unwrap()
}

/// What stands before the query, and the decoded parameters; a repeated name fails.
fn split(url: &str) -> (&str, BTreeMap<&str, String>) {
    let (base, query) = url.split_once('?').unwrap();
    let mut parameters = BTreeMap::new();
    for (name, value) in query.split('&').map(|pair| pair.split_once('=').unwrap()) {
        assert!(
            parameters.insert(name, percent_decoded(value)).is_none(),
            "{name} is there twice"
        );
    }
    (base, parameters)
}

fn percent_decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        let (hex, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(hex, 16).unwrap());
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn tokens_equal_those_of_the_aws_cli() {
    for vector in vectors() {
        let token = vector.mint();
        let minted_url = url(&token);
        let (base, mut parameters) = split(&minted_url);
        let name = &vector.name;

        // From the most telling difference to the least.
        assert_eq!(base, format!("https://{}/", vector.host), "{name}");
        assert_eq!(
            parameters.remove("X-Amz-Signature").as_ref(),
            Some(&vector.signature),
            "{name}"
        );
        let stamp = vector.time.strftime("%Y%m%dT%H%M%SZ").to_string();
        let scope = format!("{}/{}/sts/aws4_request", &stamp[..8], vector.region);
        let mut expected = BTreeMap::from([
            ("Action", "GetCallerIdentity".to_owned()),
            ("Version", "2011-06-15".to_owned()),
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
            (
                "X-Amz-Credential",
                format!("{}/{scope}", vector.access_key_id),
            ),
            ("X-Amz-Date", stamp),
            ("X-Amz-Expires", "60".to_owned()),
            ("X-Amz-SignedHeaders", "host;x-k8s-aws-id".to_owned()),
        ]);
        expected.extend(
            vector
                .session_token
                .clone()
                .map(|token| ("X-Amz-Security-Token", token)),
        );
        assert_eq!(parameters, expected, "{name}");
        assert_eq!(token.expose(), vector.token, "{name}");
        assert_eq!(token.expires_at().to_string(), vector.expires, "{name}");
        assert_eq!(
            token.is_oversized(),
            name.starts_with("4097 bytes"),
            "{name}"
        );
    }
}

#[test]
fn the_size_limit_is_between_the_two_reachable_sizes_next_to_it() {
    // Unpadded base64 is never 4096 characters here: the prefix has 11, and 4085 = 4 × 1021 + 1.
    let fits = vector("4095 bytes, the longest that still fits").mint();
    assert_eq!((fits.expose().len(), fits.is_oversized()), (4095, false));
    let exceeds = vector("4097 bytes, the shortest that does not fit").mint();
    assert_eq!(
        (exceeds.expose().len(), exceeds.is_oversized()),
        (4097, true)
    );
}

#[test]
fn parts_of_a_second_change_nothing() {
    let mut vector = vector("1 KB session token, last second of a day");
    vector.time = vector
        .time
        .checked_add(SignedDuration::from_nanos(999_999_999))
        .unwrap();
    let token = vector.mint();
    assert_eq!(token.expose(), vector.token);
    assert_eq!(token.expires_at().to_string(), vector.expires);
}

#[test]
fn the_ends_of_time_are_no_panic() {
    let mut vector = vector("long-lived key");
    vector.time = Timestamp::MIN;
    vector.mint();
    let error = mint(
        &vector.credentials(),
        &vector.region,
        &vector.cluster,
        Timestamp::MAX,
    )
    .unwrap_err();
    assert!(
        matches!(error, TokenError::Expiry { now, .. } if now == Timestamp::MAX),
        "{error:?}"
    );
    assert!(error.source().is_some());
}

#[test]
fn every_partition_has_its_host() {
    for (region, host) in [
        ("us-east-1", "sts.us-east-1.amazonaws.com"),
        ("eu-central-2", "sts.eu-central-2.amazonaws.com"),
        ("ap-southeast-7", "sts.ap-southeast-7.amazonaws.com"),
        ("sa-east-1", "sts.sa-east-1.amazonaws.com"),
        ("ca-west-1", "sts.ca-west-1.amazonaws.com"),
        ("me-central-1", "sts.me-central-1.amazonaws.com"),
        ("af-south-1", "sts.af-south-1.amazonaws.com"),
        ("il-central-1", "sts.il-central-1.amazonaws.com"),
        ("mx-central-1", "sts.mx-central-1.amazonaws.com"),
        ("us-gov-east-1", "sts.us-gov-east-1.amazonaws.com"),
        ("cn-north-1", "sts.cn-north-1.amazonaws.com.cn"),
        ("us-iso-west-1", "sts.us-iso-west-1.c2s.ic.gov"),
        ("us-isob-east-1", "sts.us-isob-east-1.sc2s.sgov.gov"),
        ("eu-isoe-west-1", "sts.eu-isoe-west-1.cloud.adc-e.uk"),
        ("us-isof-south-1", "sts.us-isof-south-1.csp.hci.ic.gov"),
        ("eusc-de-east-1", "sts.eusc-de-east-1.amazonaws.eu"),
        // No list of regions to fall behind: one that does not exist yet has its host too.
        ("eu-northeast-12", "sts.eu-northeast-12.amazonaws.com"),
    ] {
        assert_eq!(sts_host(region).unwrap(), host);
    }
}

#[test]
fn other_regions_are_refused() {
    let vector = vector("long-lived key");
    for region in [
        "",
        "-",
        "us",
        "us-",
        "us-west",
        "us-west-",
        "us--2",
        "-west-2",
        "us-2",
        "us-west-2a",
        "us-west-2-lax-1a",
        "us-west-2-",
        "us-west--2",
        "us-west-٢",
        "us-wést-2",
        "us-west_north-2",
        "US-WEST-2",
        "us-West-2",
        " us-west-2",
        "us-west-2 ",
        "us-west-2\n",
        "us-west\n-2",
        "us-west-2\0",
        "us-west-2.evil.com",
        "us-west-2.",
        "us-west-2/",
        "us-west-2/evil",
        "us/west-2",
        "us-west-2#",
        "us-west#-2",
        "us-west-2?x=y",
        "us-west-2:443",
        "us-west-2@evil.com",
        "us-evil.com/west-2",
        "us-west-2%2e",
        "us-west-2\\",
        "aws-global",
        "us-gov-1",
        "us-iso-1",
        "us-gov-west",
        "us-isox-east-1",
        "eusc-fr-east-1",
        "eusc-east-1",
        "eusc-de-1",
        "cn-1",
        "xx-west-2",
        "usa-west-2",
    ] {
        let error = sts_host(region).unwrap_err();
        assert!(
            matches!(&error, TokenError::Region { found } if found == region),
            "{region:?}: {error:?}"
        );
        let text = error.to_string();
        assert!(
            text.contains(&format!("{region:?}")) && !text.contains('\n'),
            "{text}"
        );

        let error = mint(&vector.credentials(), region, &vector.cluster, vector.time).unwrap_err();
        assert!(
            matches!(error, TokenError::Region { .. }),
            "{region:?}: {error:?}"
        );
    }
}

#[test]
fn a_refused_region_is_answered_with_what_is_allowed() {
    assert_eq!(
        sts_host("US-WEST-2").unwrap_err().to_string(),
        "AWS region \"US-WEST-2\" is not known: allowed are lower-case names `PREFIX-PLACE-NUMBER`, such as `us-west-2`, with PREFIX \
         one of `us-gov`, `us-iso`, `us-isob`, `us-isof`, `eu-isoe`, `eusc-de`, `cn`, `us`, `eu`, `ap`, `sa`, `ca`, `me`, `af`, `il`, \
         `mx`"
    );
}

#[test]
fn other_cluster_names_are_refused() {
    let vector = vector("long-lived key");
    let too_long = "a".repeat(101);
    for cluster in [
        "",
        "-orders",
        "_orders",
        "orders prod",
        " orders",
        "orders ",
        "orders\n",
        "orders\r\nx-evil: 1",
        "orders.prod",
        "orders/prod",
        "orders:prod",
        "orders\0",
        "örders",
        "ordérs",
        "orders٢",
        "arn:aws:eks:us-west-2:111122223333:cluster/orders",
        &too_long,
    ] {
        let error = mint(&vector.credentials(), &vector.region, cluster, vector.time).unwrap_err();
        assert!(
            matches!(&error, TokenError::ClusterName { found } if found == cluster),
            "{cluster:?}: {error:?}"
        );
        let text = error.to_string();
        assert!(
            text.contains(&format!("{cluster:?}"))
                && text.contains("1 to 100")
                && !text.contains('\n'),
            "{text}"
        );
    }
}

#[test]
fn debug_output_holds_no_secret() {
    let vector = vector("session token with / + =");
    let token = vector.mint();
    let compact = format!("{token:?}");
    assert_eq!(
        compact,
        "Token { bearer: <629 bytes>, expires_at: 2026-01-02T03:18:05Z }"
    );

    let wrong_region = mint(
        &vector.credentials(),
        "nowhere",
        &vector.cluster,
        vector.time,
    )
    .unwrap_err();
    let too_late = mint(
        &vector.credentials(),
        &vector.region,
        &vector.cluster,
        Timestamp::MAX,
    )
    .unwrap_err();
    let session_token = vector.session_token.as_deref().unwrap();
    for text in [
        compact,
        format!("{token:#?}"),
        format!("{wrong_region:?} {wrong_region}"),
        format!("{too_late:?} {too_late}"),
    ] {
        for secret in [
            vector.token.as_str(),
            "k8s-aws-v1",
            &vector.signature,
            &vector.secret_access_key,
            session_token,
        ] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn parameters_escape_all_but_unreserved_characters() {
    let mut text = String::new();
    push_percent_encoded(&mut text, "AZaz09-_.~ /:;+=,&%?#\"\u{7f}é\n");
    assert_eq!(
        text,
        "AZaz09-_.~%20%2F%3A%3B%2B%3D%2C%26%25%3F%23%22%7F%C3%A9%0A"
    );
}

#[test]
fn exec_credentials_read_like_those_of_the_aws_cli() {
    let vector = vector("long-lived key");
    let expected = format!(
        "{{\n    \"kind\": \"ExecCredential\",\n    \"apiVersion\": \"client.authentication.k8s.io/v1beta1\",\n    \"spec\": {{}},\n    \
         \"status\": {{\n        \"expirationTimestamp\": \"2026-01-02T03:18:05Z\",\n        \"token\": \"{}\"\n    }}\n}}",
        vector.token
    );
    assert_eq!(exec_credential(&vector.mint(), None), expected);
}

#[test]
fn exec_credentials_come_in_the_version_asked_for() {
    let token = vector("session token with / + =").mint();
    for (exec_info, version) in [
        (None, "v1beta1"),
        (
            Some(
                r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":true}}"#,
            ),
            "v1",
        ),
        (
            Some(r#"{"apiVersion":"client.authentication.k8s.io/v1beta1"}"#),
            "v1beta1",
        ),
        (
            Some(r#"{"apiVersion":"client.authentication.k8s.io/v1alpha1"}"#),
            "v1alpha1",
        ),
        (
            Some(r#"{"apiVersion":"client.authentication.k8s.io/v2"}"#),
            "v1beta1",
        ),
        (Some(r#"{"apiVersion":"v1"}"#), "v1beta1"),
        (Some(r#"{"apiVersion":1}"#), "v1beta1"),
        (Some("{}"), "v1beta1"),
        (Some(r#"["client.authentication.k8s.io/v1"]"#), "v1beta1"),
        (Some("null"), "v1beta1"),
        (Some("{"), "v1beta1"),
        (Some(""), "v1beta1"),
    ] {
        let credential: serde_json::Value =
            serde_json::from_str(&exec_credential(&token, exec_info)).unwrap();
        let expected = serde_json::json!({
            "kind": "ExecCredential",
            "apiVersion": format!("client.authentication.k8s.io/{version}"),
            "spec": {},
            "status": { "expirationTimestamp": "2026-01-02T03:18:05Z", "token": token.expose() },
        });
        assert_eq!(credential, expected, "{exec_info:?}");
    }
}
