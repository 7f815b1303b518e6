//! Texts that have to be short.

/// The least that is left of a cause, as parts of the whole.
const CAUSE: (usize, usize) = (2, 5);

/// The length from which on a word with a digit is taken for a time or the id of a request.
const LONG_WORD: usize = 15;

/// A text that fits where the API wants it short.
pub(super) fn shortened(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let mut end = max.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", text.get(..end).unwrap_or_default())
}

/// A text on one line of at most so many bytes. Of a cause and the cure behind its semicolon both are there, each cut at its end.
pub(super) fn brief(text: &str, max: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    let Some((cause, cure)) = line.split_once("; ").filter(|_| line.len() > max) else {
        return shortened(&line, max);
    };
    let least = cause.len().min(max * CAUSE.0 / CAUSE.1);
    let cure = shortened(cure, (max - least).saturating_sub(2));
    let cause = shortened(cause, max.saturating_sub(cure.len() + 2));
    format!("{cause}; {cure}")
}

/// Whether two texts say the same: services put times and the ids of requests into some of their errors, and those are new in
/// each pass.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    let moves = |word: &&str| {
        let has_digit = word.contains(|char: char| char.is_ascii_digit());
        has_digit && word.len() >= LONG_WORD && !word.contains(['/', ':', '`', '.', '['])
    };
    let words = |text| str::split_whitespace(text).filter(|word| !moves(word));
    words(one).eq(words(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        for max in 3..12 {
            let short = shortened("2 → 7 → 9", max);
            assert!(short.len() <= max, "{max} {short}");
        }
        assert_eq!(shortened("2 → 7", 7), "2 → 7");
        assert_eq!(shortened("2 → 7", 6), "2 …");
    }

    #[test]
    fn cause_and_cure_are_both_there() {
        assert_eq!(brief("a\n  b; c", 20), "a b; c");
        let cure = "add the rule; then wait";
        let text = format!("could not {}; {cure}", "x".repeat(300));
        let short = brief(&text, 250);
        assert_eq!(short.len(), 250);
        assert!(short.starts_with("could not x"), "{short}");
        assert!(short.ends_with(&format!("…; {cure}")), "{short}");
        let text = format!("gone; add {}", "x".repeat(300));
        let short = brief(&text, 250);
        assert!(short.starts_with("gone; add x"), "{short}");
        assert_eq!(short.len(), 250);
        for max in 40..400 {
            let text = format!("{}; {}", "→".repeat(90), "→".repeat(90));
            assert!(brief(&text, max).len() <= max, "{max}");
        }
    }

    #[test]
    fn times_and_ids_make_no_other_text() {
        let text = |id: &str| format!("InternalError: try again (RequestId {id}) in a while");
        let one = text("0e2f7a51-9d4c-5b1e-8f0a-3c2b1a0d9e8f");
        assert!(is_same(&one, &text("9a8b7c6d-1111-5222-8333-444455556666")));
        assert!(is_same(
            "20261128T120000Z is past",
            "20261128T120100Z is past"
        ));
        assert!(!is_same("the queue orders-1", "the queue orders-2"));
        assert!(!is_same(
            "`a-very-long-queue-name-1`",
            "`a-very-long-queue-name-2`"
        ));
    }
}
