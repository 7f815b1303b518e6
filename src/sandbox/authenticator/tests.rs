use super::super::signature::testing::NOW;
use super::*;

const REGION: &str = "us-west-2";
const QUERY: &str = "Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256\
    &X-Amz-Credential=AKIDEXAMPLE%2F20261123%2Fus-west-2%2Fsts%2Faws4_request\
    &X-Amz-Date=20261123T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id\
    &X-Amz-Security-Token=a%2Fb%2Bc%3D&X-Amz-Signature=00";

fn token(url: &str) -> String {
    format!("{PREFIX}{}", BASE64.encode(url))
}

fn check_url(url: &str) -> Result<PresignedUrl, Refusal> {
    check(&token(url), REGION, NOW)
}

#[track_caller]
fn accepted(url: &str, region: &str) {
    let checked = check(&token(url), region, NOW);
    assert!(checked.is_ok(), "{url}: {checked:?}");
}

#[track_caller]
fn refused(url: &str, refusal: Refusal) {
    assert_eq!(check_url(url), Err(refusal), "{url}");
}

fn with_host(host: &str) -> String {
    format!("https://{host}/?{QUERY}")
}

/// The good URL with one piece of the query replaced.
fn with(piece: &str, replacement: &str) -> String {
    assert!(QUERY.contains(piece), "{piece}");
    format!(
        "https://sts.us-west-2.amazonaws.com/?{}",
        QUERY.replace(piece, replacement)
    )
}

#[test]
fn a_good_token_gives_the_request_to_send() {
    let url = with_host("sts.us-west-2.amazonaws.com");
    let expected = PresignedUrl {
        host: "sts.us-west-2.amazonaws.com".to_owned(),
        target: format!("/?{QUERY}"),
    };
    assert_eq!(check_url(&url), Ok(expected));
    accepted(&url.replace("https", "HTTPS"), REGION);
    accepted(&with("X-Amz-Date", "x-amz-date"), REGION);
}

#[test]
fn the_size_is_checked_before_anything_else() {
    assert_eq!(
        check(&"x".repeat(4097), REGION, NOW),
        Err(Refusal::TooLarge(4097))
    );
    assert_eq!(check(&"x".repeat(4096), REGION, NOW), Err(Refusal::Prefix));
    let padding = |length: usize| {
        let base = with("X-Amz-Security-Token=a%2Fb%2Bc%3D", "X-Amz-Security-Token=");
        base.clone() + &"&".repeat(length - base.len())
    };
    assert_eq!(token(&padding(3063)).len(), 4095);
    accepted(&padding(3063), REGION);
    refused(&padding(3064), Refusal::TooLarge(4097));
}

#[test]
fn the_envelope_is_exact() {
    let good = token(&with_host("sts.us-west-2.amazonaws.com"));
    let bad = |token: &str| check(token, REGION, NOW).unwrap_err();
    assert_eq!(bad(&good.replace("v1", "v2")), Refusal::Prefix);
    assert_eq!(bad(&good.replace("k8s", "K8S")), Refusal::Prefix);
    assert_eq!(bad(&format!("{good}=")), Refusal::Base64);
    assert_eq!(bad("k8s-aws-v1.ab+/"), Refusal::Base64);
    assert_eq!(bad("k8s-aws-v1.abcde"), Refusal::Base64);
    assert_eq!(bad("k8s-aws-v1."), Refusal::Url);
    assert_eq!(bad(&token("nothing")), Refusal::Url);
    assert_eq!(
        bad(&token(
            &with_host("sts.us-west-2.amazonaws.com").replace("https", "http")
        )),
        Refusal::Scheme("http".to_owned())
    );
}

#[test]
fn only_public_sts_hosts_of_the_partition_are_asked() {
    for host in [
        "sts.us-west-2.amazonaws.com",
        "sts.eu-west-1.amazonaws.com",
        "sts-fips.us-west-2.amazonaws.com",
        "sts.us-west-2.api.aws",
        "sts-fips.us-west-2.api.aws",
        "sts.amazonaws.com",
        "sts.not-a-region.amazonaws.com",
        "user@sts.us-west-2.amazonaws.com",
    ] {
        accepted(&with_host(host), REGION);
    }
    for host in [
        "",
        "sts.com",
        "sts.us-west-2.amazonaws.com:443",
        "STS.us-west-2.amazonaws.com",
        "website.amazonaws.com",
        "sts.us-west-2.amazonaws.com.cn",
        "sts.us-west-2.amazonaws.com.evil.example",
        "sts.cn-north-1.amazonaws.com.cn",
        "sts.-west.amazonaws.com",
        "sts.us_west_2.amazonaws.com",
        "vpce-0123.sts.us-west-2.vpce.amazonaws.com",
        "127.0.0.1",
    ] {
        refused(&with_host(host), Refusal::Host(host.to_owned()));
    }
    accepted(&with_host("sts.cn-north-1.amazonaws.com.cn"), "cn-north-1");
    for host in [
        "sts.amazonaws.com",
        "sts.us-west-2.amazonaws.com",
        "sts.us-west-2.amazonaws.com.cn",
    ] {
        let checked = check(&token(&with_host(host)), "cn-north-1", NOW);
        assert_eq!(checked, Err(Refusal::Host(host.to_owned())));
    }
}

#[test]
fn the_path_is_a_slash() {
    for path in ["", "/abc", "//"] {
        let url = format!("https://sts.us-west-2.amazonaws.com{path}?{QUERY}");
        refused(&url, Refusal::Path(path.to_owned()));
    }
}

#[test]
fn queries_that_cannot_be_read_are_refused() {
    refused(
        &with("host%3Bx-k8s-aws-id", "host;x-k8s-aws-id"),
        Refusal::Query,
    );
    refused(&with("a%2Fb", "%gh"), Refusal::Query);
    refused(
        &with("X-Amz-Signature=00", "X-Amz-Signature=0%"),
        Refusal::Query,
    );
}

#[test]
fn each_parameter_is_allowed_once() {
    let action = "Action=GetCallerIdentity";
    refused(
        &with(action, &format!("{action}&{action}")),
        Refusal::Duplicate("Action".to_owned()),
    );
    refused(
        &with(
            "X-Amz-Signature=00",
            "X-Amz-Signature=00&x-amz-credential=other",
        ),
        Refusal::Duplicate("x-amz-credential".to_owned()),
    );
    refused(
        &with("Version", "Foo=bar&Version"),
        Refusal::Parameter("foo".to_owned()),
    );
}

#[test]
fn the_action_is_compared_in_its_case() {
    let bad = |action: &str| Refusal::Action(action.to_owned());
    refused(
        &with("GetCallerIdentity", "getcalleridentity"),
        bad("getcalleridentity"),
    );
    refused(&with("Action=GetCallerIdentity&", ""), bad(""));
    accepted(&with("Action", "action"), REGION);
}

#[test]
fn the_cluster_header_must_be_signed() {
    refused(&with("host%3Bx-k8s-aws-id", "host"), Refusal::SignedHeaders);
    accepted(&with("host%3Bx-k8s-aws-id", "host%3BX-K8s-Aws-Id"), REGION);
}

#[test]
fn the_life_is_bounded() {
    for bad in ["901", "-1", "abc", ""] {
        refused(
            &with("X-Amz-Expires=60", &format!("X-Amz-Expires={bad}")),
            Refusal::Expires(bad.to_owned()),
        );
    }
    refused(
        &with("&X-Amz-Expires=60", ""),
        Refusal::Expires(String::new()),
    );
    for good in ["0", "900"] {
        accepted(
            &with("X-Amz-Expires=60", &format!("X-Amz-Expires={good}")),
            REGION,
        );
    }
}

#[test]
fn the_date_is_read_and_compared() {
    let date = "20261123T000000Z";
    for bad in ["2026-11-23T00:00:00Z", ""] {
        refused(&with(date, bad), Refusal::Date(bad.to_owned()));
    }
    refused(
        &with("&X-Amz-Date=20261123T000000Z", ""),
        Refusal::Date(String::new()),
    );
    let url = token(&with_host("sts.us-west-2.amazonaws.com"));
    let after = |seconds: u64| check(&url, REGION, NOW + Duration::from_secs(seconds));
    assert!(after(900).is_ok());
    assert_eq!(after(901), Err(Refusal::Expired(date.to_owned())));
    // A date in the future is for STS to refuse.
    accepted(&with(date, "20261123T010000Z"), REGION);
}

#[test]
fn the_answer_of_sts_names_the_role_without_its_session() {
    let body = |arn: &str, user_id: &str| {
        serde_json::json!({"GetCallerIdentityResponse": {"GetCallerIdentityResult": {
            "Account": "123456789012", "Arn": arn, "UserId": user_id,
        }}})
        .to_string()
    };
    let arn = "arn:aws:sts::123456789012:assumed-role/outrigger/session";
    let expected = Caller {
        arn: arn.to_owned(),
        canonical_arn: "arn:aws:iam::123456789012:role/outrigger".to_owned(),
    };
    assert_eq!(caller(200, &body(arn, "AROA:session")), Ok(expected));
    assert_eq!(
        caller(200, &body(arn, "AROA")),
        Err(Refusal::Identity("AROA".to_owned()))
    );
    let moon = arn.replace("aws:", "aws-moon:");
    assert_eq!(
        caller(200, &body(&moon, "AROA:s")),
        Err(Refusal::Identity(moon))
    );
    let user = "arn:aws:iam::123456789012:user/someone";
    assert_eq!(
        caller(200, &body(user, "AIDA")).unwrap().canonical_arn,
        user
    );
    assert!(matches!(
        caller(403, "no"),
        Err(Refusal::Sts { status: 403, .. })
    ));
    assert!(matches!(caller(200, "<xml/>"), Err(Refusal::Identity(_))));
}
