//! Any bearer token is refused, or asks a public host of STS who signed it.

#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use outrigger::sandbox::authenticator::check;
use outrigger_fuzz::assert_plain;

const PREFIX: &str = "k8s-aws-v1.";

fuzz_target!(|data: &[u8]| {
    let now = Timestamp::from_second(1_795_000_000).unwrap();
    let text = String::from_utf8_lossy(data);
    // As it is, and as what it would be a token for.
    let encoded = {
        use base64::Engine as _;
        base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(data)
    };
    for token in [text.into_owned(), format!("{PREFIX}{encoded}")] {
        for region in ["eu-west-1", "cn-north-1"] {
            match check(&token, region, now) {
                Ok(url) => {
                    let is_sts = url.host.starts_with("sts") && url.host.contains(".amazonaws.com");
                    assert!(is_sts && url.target.starts_with('/'), "{url:?}");
                }
                Err(refusal) => assert_plain(&format!("{refusal:?}"), "a refusal"),
            }
        }
    }
});
