use super::testing::{self, NOW, REGION, Signed};
use super::*;

const SCOPE: Scope<'_> = Scope {
    region: REGION,
    service: "sqs",
};

fn verify(request: &Request<Bytes>) -> Result<Identity, SignatureError> {
    verify_header(request, SCOPE, &testing::credentials(), NOW)
}

fn known() -> Identity {
    testing::credential().identity
}

fn signed() -> Signed {
    Signed::post("sqs", "{}").header("x-amz-target", "AmazonSQS.ListQueues")
}

/// The worked example of the AWS documentation.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html> uses S3's rules; this one is IAM's.
#[test]
fn the_published_example_has_the_published_signature() {
    let request = Request::get("https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08")
        .header("host", "iam.amazonaws.com")
        .header(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )
        .header("x-amz-date", "20150830T123600Z")
        .body(Bytes::new())
        .unwrap();
    let claim = Claim::new(
        "AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request",
        "content-type;host;x-amz-date",
        String::new(),
        "20150830T123600Z".to_owned(),
    )
    .unwrap();
    let payload = hex(&Sha256::digest(b""));
    let canonical = canonical_request(&request, &claim.signed_headers, &payload).unwrap();
    assert_eq!(
        hex(&Sha256::digest(canonical.as_bytes())),
        "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59"
    );
    assert_eq!(
        claim.sign(&canonical, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    );
}

#[test]
fn a_good_signature_names_its_signer() {
    assert_eq!(verify(&signed().request()), Ok(known()));
}

#[test]
fn anything_changed_after_signing_is_refused() {
    let mut body = signed().request();
    *body.body_mut() = Bytes::from_static(b"{ }");
    assert_eq!(verify(&body), Err(SignatureError::Mismatch));

    let mut path = signed().request();
    *path.uri_mut() = "/other".parse().unwrap();
    assert_eq!(verify(&path), Err(SignatureError::Mismatch));

    let mut target = signed().request();
    target
        .headers_mut()
        .insert("x-amz-target", "AmazonSQS.PurgeQueue".parse().unwrap());
    assert_eq!(verify(&target), Err(SignatureError::Mismatch));

    let mut claimed = signed().header("x-amz-content-sha256", "00").request();
    assert_eq!(verify(&claimed), Err(SignatureError::Mismatch));
    claimed.headers_mut().remove("authorization");
    assert_eq!(verify(&claimed), Err(SignatureError::Missing));
}

#[test]
fn headers_added_after_signing_must_not_be_amazons() {
    let mut request = signed().request();
    request
        .headers_mut()
        .insert("x-extra", "1".parse().unwrap());
    assert_eq!(verify(&request), Ok(known()));
    request
        .headers_mut()
        .insert("x-amz-extra", "1".parse().unwrap());
    assert!(matches!(
        verify(&request),
        Err(SignatureError::Incomplete(_))
    ));
}

#[test]
fn the_clock_and_the_scope_count() {
    let at = |seconds: i64| {
        let mut late = signed();
        late.at = NOW + jiff::SignedDuration::from_secs(seconds);
        verify(&late.request())
    };
    assert_eq!(at(-300), Ok(known()));
    assert!(matches!(at(-301), Err(SignatureError::Stale(_))));
    assert!(matches!(at(301), Err(SignatureError::Early(_))));

    let mut elsewhere = signed();
    elsewhere.region = "us-east-1".to_owned();
    assert!(matches!(
        verify(&elsewhere.request()),
        Err(SignatureError::Scope(_))
    ));
    let mut service = signed();
    service.service = "eks".to_owned();
    assert!(matches!(
        verify(&service.request()),
        Err(SignatureError::Scope(_))
    ));
}

#[test]
fn credentials_must_be_known_whole_and_current() {
    let mut unknown = signed();
    unknown.credential.access_key = "ASIAOTHER".to_owned();
    assert_eq!(
        verify(&unknown.request()),
        Err(SignatureError::UnknownCredential)
    );

    let mut token = signed();
    token.credential.token = "other".to_owned();
    assert_eq!(
        verify(&token.request()),
        Err(SignatureError::UnknownCredential)
    );

    let mut secret = signed();
    secret.credential.secret = "other".to_owned();
    assert_eq!(verify(&secret.request()), Err(SignatureError::Mismatch));

    let credentials = testing::credentials();
    credentials.expire_all(NOW);
    let refused = verify_header(&signed().request(), SCOPE, &credentials, NOW);
    assert_eq!(refused, Err(SignatureError::ExpiredCredential));
}

#[test]
fn paths_are_normalised_and_encoded_twice() {
    assert_eq!(canonical_path("/clusters/a%20b"), "/clusters/a%2520b");
    assert_eq!(canonical_path("/a/./b/../c//d/"), "/a/c/d/");
    assert_eq!(canonical_path("/"), "/");
    assert_eq!(canonical_path(""), "/");
}

#[test]
fn queries_are_sorted_and_encoded_strictly() {
    assert_eq!(
        canonical_query("b=2&a=x/y+z&X-Amz-Signature=0&a=%2b&c").as_deref(),
        Some("a=%2B&a=x%2Fy%20z&b=2&c=")
    );
    assert_eq!(canonical_query("a=%gh"), None);
}

#[test]
fn a_presigned_query_lives_fifteen_minutes() {
    let signed = Signed::get("sts", "/?Action=GetCallerIdentity&Version=2011-06-15")
        .header("x-k8s-aws-id", "demo");
    let request = signed.unsigned(&signed.presigned_target());
    let scope = Scope {
        region: REGION,
        service: "sts",
    };
    let verify = |request: &Request<Bytes>, seconds: i64| {
        let now = NOW + jiff::SignedDuration::from_secs(seconds);
        verify_query(request, scope, &testing::credentials(), now)
    };
    assert_eq!(verify(&request, 0), Ok(known()));
    assert_eq!(verify(&request, 900), Ok(known()));
    assert!(matches!(
        verify(&request, 901),
        Err(SignatureError::Stale(_))
    ));
    assert!(matches!(
        verify(&request, -301),
        Err(SignatureError::Early(_))
    ));

    let mut other_cluster = request;
    other_cluster
        .headers_mut()
        .insert("x-k8s-aws-id", "other".parse().unwrap());
    assert_eq!(verify(&other_cluster, 0), Err(SignatureError::Mismatch));
}

/// A token as `aws eks get-token` makes it, with a session token full of characters that need encoding.
#[test]
fn a_query_presigned_by_the_aws_cli_is_verified() {
    let target = "/?Action=GetCallerIdentity\
        &Version=2011-06-15\
        &X-Amz-Algorithm=AWS4-HMAC-SHA256\
        &X-Amz-Credential=ASIDEXAMPLE%2F20260102%2Feu-west-1%2Fsts%2Faws4_request\
        &X-Amz-Date=20260102T030405Z\
        &X-Amz-Expires=60\
        &X-Amz-SignedHeaders=host%3Bx-k8s-aws-id\
        &X-Amz-Security-Token=FwoGZXIvYXdzEXAMPLE%2F%2F%2F%2F%2F%2F%2F%2F%2F%2FwEaDGZha2UrdG9rZW4%2Fbm90%2BcmVhbA%3D%3D\
        &X-Amz-Signature=c4d63397ef4978e3a6b5047c01064e5391e03d64e39156d9c2b0e6ebf15b4379";
    let request = Request::get(target)
        .header("host", "sts.eu-west-1.amazonaws.com")
        .header("x-k8s-aws-id", "orders-prod")
        .body(Bytes::new())
        .unwrap();
    let credentials = Credentials::default();
    credentials.add(Credential {
        access_key: "ASIDEXAMPLE".to_owned(),
        secret: "Zm9v/bmFy+ZXhhbXBsZS1ub3QtYS1yZWFsLWtleQ".to_owned(),
        token: "FwoGZXIvYXdzEXAMPLE//////////wEaDGZha2UrdG9rZW4/bm90+cmVhbA==".to_owned(),
        ..testing::credential()
    });
    let scope = Scope {
        region: "eu-west-1",
        service: "sts",
    };
    let now = "2026-01-02T03:04:05Z".parse().unwrap();
    assert_eq!(
        verify_query(&request, scope, &credentials, now),
        Ok(known())
    );
}
