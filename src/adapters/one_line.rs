//! What others say, as a part of a sentence of ours.

/// Characters of one reason. What a server says has a few hundred; the page of a proxy has more than anybody reads.
const MAX_CHARACTERS: usize = 1_000;

/// A text from outside in one line, without control characters, and not longer than anybody reads: it becomes a line of a log, an
/// Event and a condition, where a newline would begin another one and an escape sequence would reach somebody's terminal.
pub(super) fn one_line(text: &str) -> String {
    let parts = text.split(|char: char| char.is_whitespace() || char.is_control());
    let mut line = String::new();
    for part in parts.filter(|part| !part.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(part);
    }
    let end = line.char_indices().nth(MAX_CHARACTERS).map(|(end, _)| end);
    if let Some(end) = end {
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_outside_is_one_line() {
        for (text, expected) in [
            ("not found", "not found"),
            (" <html>\r\n\t<p>502</p>\n", "<html> <p>502</p>"),
            ("\u{1b}[31mred\u{7f}\0 \u{85}end", "[31mred end"),
            ("\u{1b}", ""),
        ] {
            assert_eq!(one_line(text), expected);
        }
        let long = one_line(&"é".repeat(5_000));
        assert_eq!(long.chars().count(), MAX_CHARACTERS + 1);
        assert!(long.ends_with("é…"));
    }
}
