//! Any payload is understood the same way each time, or refused with a message.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger::wake::parse;
use outrigger_fuzz::assert_plain;

fuzz_target!(|data: &[u8]| {
    let wake = parse(data);
    assert_eq!(format!("{wake:?}"), format!("{:?}", parse(data)));
    if let Err(error) = wake {
        assert_plain(&error.to_string(), "a refusal");
    }
});
