//! Decimal numbers as whole thousandths, the precision that Kubernetes gives them. Pure.
//!
//! Two things are rounded, and both here: a value that was measured ([`measured`]), and a number in a manifest with more
//! than three decimals ([`written`]).

/// How far from a thousandth a binary fraction may be and still mean it: 10.000000000000002 is 10.
const NOISE: f64 = 1e-9;

/// A measured value, rounded up to the next thousandth: `ceil(ceil(x) / n)` is `ceil(x / n)`, so that the count it asks for and
/// whether it is above a threshold are those of the exact value. Beyond what fits it is the highest or lowest that does.
/// `None` for what is no number.
#[must_use]
pub fn measured(value: f64) -> Option<i64> {
    if !value.is_finite() {
        return None;
    }
    let scaled = value * 1000.0;
    let nearest = scaled.round();
    let is_noise = (scaled - nearest).abs() <= nearest.abs() * NOISE;
    let whole = if is_noise { nearest } else { scaled.ceil() };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a whole number already, and the cast saturates"
    )]
    let thousandths = whole as i64;
    Some(thousandths)
}

/// A number in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Its thousandths, what is finer cut off, as KEDA does.
    pub thousandths: i64,
    /// Whether nothing was cut off.
    pub is_exact: bool,
}

/// Reads `12`, `-0.5`, `.25` or `1e6`; `None` for anything else, also for what has no room in 64 bits.
#[must_use]
pub fn written(text: &str) -> Option<Written> {
    let (thousandths, is_exact) = scaled(text, 3)?;
    Some(Written {
        thousandths,
        is_exact,
    })
}

/// The same number with its point moved to the right by some places, what is behind it cut off, and whether nothing was.
pub(crate) fn scaled(text: &str, places: u32) -> Option<(i64, bool)> {
    let (number, exponent) = match text.split_once(['e', 'E']) {
        None => (text, 0),
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
    };
    let (negative, number) = match number.strip_prefix('-') {
        Some(number) => (true, number),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let mut digits = whole.bytes().chain(fraction.bytes());
    // How many of the digits stand before the point; a shorter number goes on with zeros.
    let length = i64::try_from(whole.len()).ok()? + i64::from(exponent) + i64::from(places);
    let mut scaled: i64 = 0;
    for _ in 0..length.clamp(0, MAX_DIGITS) {
        let digit = i64::from(digits.next().unwrap_or(b'0') - b'0');
        scaled = scaled.checked_mul(10)?.checked_add(digit)?;
    }
    let is_cut = digits.any(|digit| digit != b'0');
    if length > MAX_DIGITS && (is_cut || scaled != 0) {
        return None;
    }
    Some((if negative { -scaled } else { scaled }, !is_cut))
}

/// More digits than this never fit, but for leading zeros, of which nobody writes so many.
const MAX_DIGITS: i64 = 100;

/// `12`, `0.5`, `-3.125`.
#[must_use]
pub fn shown(thousandths: i64) -> String {
    let sign = if thousandths < 0 { "-" } else { "" };
    let (whole, rest) = (
        thousandths.unsigned_abs() / 1000,
        thousandths.unsigned_abs() % 1000,
    );
    let fraction = format!("{rest:03}");
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_measured_is_rounded_up() {
        for (value, expected) in [
            (0.0, 0),
            (-0.0, 0),
            (63.0, 63_000),
            (0.5, 500),
            (0.1 + 0.2, 300),
            (10.000_000_000_000_002, 10_000),
            (9.999_999_999_999_998, 10_000),
            (10.0001, 10_001),
            (0.000_2, 1),
            (1e-300, 1),
            (-3.5, -3500),
            (-0.000_2, 0),
            (1e15, 1_000_000_000_000_000_000),
            (1e300, i64::MAX),
            (-1e300, i64::MIN),
        ] {
            assert_eq!(measured(value), Some(expected), "{value}");
        }
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(measured(value), None, "{value}");
        }
    }

    #[test]
    fn what_is_written_is_read_exactly() {
        for (text, thousandths, is_exact) in [
            ("0", 0, true),
            ("12", 12_000, true),
            ("2.5", 2500, true),
            ("0.1", 100, true),
            (".25", 250, true),
            ("5.", 5000, true),
            ("-0.5", -500, true),
            ("+7", 7000, true),
            ("007", 7000, true),
            ("1e3", 1_000_000, true),
            ("1E6", 1_000_000_000, true),
            ("25e-2", 250, true),
            ("1.5e1", 15_000, true),
            ("0.3333", 333, false),
            ("-0.3339", -333, false),
            ("0.0001", 0, false),
            ("1e-9", 0, false),
            ("1e-400", 0, false),
            ("0e400", 0, true),
            ("0.5000", 500, true),
            ("9223372036854775.807", i64::MAX, true),
        ] {
            let expected = Written {
                thousandths,
                is_exact,
            };
            assert_eq!(written(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "-",
            ".",
            "e3",
            "1e",
            "1e1.5",
            "abc",
            "1,5",
            "1_000",
            "0x10",
            "inf",
            "NaN",
            "1 2",
            "9223372036854775.808",
            "1e400",
            "1e99999999999",
            "--1",
        ] {
            assert_eq!(written(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_the_same(thousandths in -i64::MAX..) {
            let read = written(&shown(thousandths)).unwrap();
            assert_eq!(read, Written { thousandths, is_exact: true });
        }

        #[test]
        fn a_larger_value_is_never_read_as_a_smaller(one in any::<f64>(), other in any::<f64>()) {
            if let (Some(low), Some(high)) = (measured(one.min(other)), measured(one.max(other))) {
                assert!(low <= high);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+.eE0-9]{0,30}") {
            let _read = written(&text);
        }
    }
}
