use super::super::signature::testing::{self, NOW, REGION, Signed};
use super::*;

const IDENTITY: &str = "Action=GetCallerIdentity&Version=2011-06-15";

fn answer(sts: &Sts, credentials: &Credentials, request: &Request<Bytes>) -> (u16, String) {
    let (_, reply) = handle(sts, credentials, REGION, request, NOW);
    let status = reply.status();
    match reply {
        Reply::Answer(response, _) => (status, testing::body_text(response)),
        Reply::Hang | Reply::Reset => (0, String::new()),
    }
}

fn ask(request: &Request<Bytes>) -> (u16, String) {
    answer(&Sts::default(), &testing::credentials(), request)
}

fn presigned(host: &str) -> Signed {
    let mut signed = Signed::get("sts", &format!("/?{IDENTITY}"));
    signed.headers = vec![("host", host.to_owned())];
    signed.header("x-k8s-aws-id", "demo")
}

#[test]
fn a_presigned_request_is_recomputed_with_its_public_host() {
    let signed = presigned("sts.ap-northeast-1.amazonaws.com");
    let mut request = signed.unsigned(&signed.presigned_target());
    request
        .headers_mut()
        .insert("accept", "application/json".parse().unwrap());
    let (status, body) = ask(&request);
    assert_eq!(status, 200, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    let result = &body["GetCallerIdentityResponse"]["GetCallerIdentityResult"];
    assert_eq!(result["Arn"], testing::credential().identity.arn);
    assert_eq!(result["Account"], "123456789012");

    request
        .headers_mut()
        .insert("host", "sts.us-east-1.amazonaws.com".parse().unwrap());
    assert!(ask(&request).1.contains("SignatureDoesNotMatch"));
    request
        .headers_mut()
        .insert("host", "127.0.0.1:1".parse().unwrap());
    assert!(ask(&request).1.contains("SignatureDoesNotMatch"));
}

#[test]
fn answers_and_errors_are_xml_by_default() {
    let (status, body) = ask(&Signed::post("sts", IDENTITY).request());
    assert_eq!(status, 200);
    assert!(
        body.contains("<Arn>arn:aws:sts::123456789012:assumed-role/outrigger/outrigger</Arn>"),
        "{body}"
    );

    let mut unknown = Signed::post("sts", IDENTITY);
    unknown.credential.access_key = "ASIAOTHER".to_owned();
    let (status, body) = ask(&unknown.request());
    assert_eq!(status, 403);
    assert!(body.starts_with("<ErrorResponse "), "{body}");
    assert!(body.contains("<Code>InvalidClientTokenId</Code>"), "{body}");
    assert!(
        ask(&Signed::post("sts", "Action=GetCallerIdentity").request())
            .1
            .contains("InvalidAction")
    );
}

#[test]
fn assumed_credentials_are_good_at_once() {
    let (sts, credentials) = (Sts::default(), testing::credentials());
    let role = "arn:aws:iam::123456789012:role/path/reader";
    let form = format!("Action=AssumeRole&Version=2011-06-15&RoleArn={role}&RoleSessionName=me");
    let request = Signed::post("sts", form.as_str())
        .header("accept", "application/json")
        .request();
    assert_eq!(answer(&sts, &credentials, &request).0, 403);

    sts.allow_role(role, Some("shared"));
    assert_eq!(answer(&sts, &credentials, &request).0, 403);
    let form = format!("{form}&ExternalId=shared");
    let request = Signed::post("sts", form.as_str())
        .header("accept", "application/json")
        .request();
    let (status, body) = answer(&sts, &credentials, &request);
    assert_eq!(status, 200, "{body}");

    let body: Value = serde_json::from_str(&body).unwrap();
    let given = &body["AssumeRoleResponse"]["AssumeRoleResult"]["Credentials"];
    let text = |name: &str| given[name].as_str().unwrap().to_owned();
    let mut next = Signed::post("sts", IDENTITY);
    next.credential.access_key = text("AccessKeyId");
    next.credential.secret = text("SecretAccessKey");
    next.credential.token = text("SessionToken");
    let (status, body) = answer(&sts, &credentials, &next.request());
    assert_eq!(status, 200);
    assert!(body.contains("assumed-role/reader/me</Arn>"), "{body}");
}

#[test]
fn faults_strike_before_the_signature_is_looked_at() {
    let sts = Sts::default();
    sts.fail_times(Fault::Throttled, 1);
    let request = Signed::post("sts", IDENTITY).request();
    let (status, body) = answer(&sts, &testing::credentials(), &request);
    assert_eq!(status, 400);
    assert!(body.contains("<Code>Throttling</Code>"), "{body}");
    assert_eq!(answer(&sts, &testing::credentials(), &request).0, 200);
}
