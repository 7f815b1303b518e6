//! Percent encoding, hexadecimal and the time format of AWS signatures.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Encodes everything but unreserved characters, and those in `keep`.
pub(super) fn percent_encode(bytes: &[u8], keep: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || keep.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            write!(encoded, "%{byte:02X}").ok();
        }
    }
    encoded
}

/// Decodes `%XX`, and `+` as a space where `plus_is_space`. `None` for a bad escape.
pub(super) fn percent_decode(text: &str, plus_is_space: bool) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex_digit(bytes.next()?)? << 4 | hex_digit(bytes.next()?)?,
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    Some(decoded)
}

/// Like [`percent_decode`] with `+` as a space, for text.
pub(super) fn query_text(text: &str) -> Option<String> {
    String::from_utf8(percent_decode(text, true)?).ok()
}

/// The pairs of a form or a query, in order. `None` for a bad escape.
pub(super) fn query_pairs(query: &str) -> Option<Vec<(String, String)>> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((query_text(name)?, query_text(value)?))
        })
        .collect()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}

/// Reads `YYYYMMDDTHHMMSSZ`.
pub(super) fn parse_basic_time(text: &str) -> Option<Timestamp> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let digits =
        |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(date, 8) || !digits(time, 6) {
        return None;
    }
    let moment = DateTime::new(
        date.get(..4)?.parse().ok()?,
        date.get(4..6)?.parse().ok()?,
        date.get(6..)?.parse().ok()?,
        time.get(..2)?.parse().ok()?,
        time.get(2..4)?.parse().ok()?,
        time.get(4..)?.parse().ok()?,
        0,
    );
    Some(moment.ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// Writes `YYYYMMDDTHHMMSSZ`.
#[cfg(test)]
pub(super) fn basic_time(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// RFC 3339 in whole seconds, as Kubernetes and STS write times.
pub(super) fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_keeps_only_unreserved_characters() {
        assert_eq!(percent_encode(b"a/B-_.~ +;=", b""), "a%2FB-_.~%20%2B%3B%3D");
        assert_eq!(percent_encode(b"/a%20b", b"/"), "/a%2520b");
    }

    #[test]
    fn bad_escapes_are_refused() {
        assert_eq!(percent_decode("%gh", true), None);
        assert_eq!(percent_decode("%4", true), None);
        assert_eq!(percent_decode("a+%2B", true), Some(b"a +".to_vec()));
        assert_eq!(query_pairs("a=%zz"), None);
    }

    #[test]
    fn times_are_read_strictly_and_written_back() {
        let text = "20240229T235959Z";
        assert_eq!(
            parse_basic_time(text).map(basic_time).as_deref(),
            Some(text)
        );
        for bad in [
            "20240230T000000Z",
            "2024-02-29T00:00:00Z",
            "20240229T000000",
            "+0240229T000000Z",
            "",
        ] {
            assert_eq!(parse_basic_time(bad), None, "{bad}");
        }
    }
}
