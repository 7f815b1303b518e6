//! The only writer of log lines: one JSON object a line, which Lambda sends to CloudWatch Logs.
//!
//! No other library's log goes anywhere, at any level: some of them would print tokens, signed URLs or event bodies.

use std::io::Write as _;

use serde_json::json;

/// Writes lines to standard output, in one piece.
pub fn lines(lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let mut text = lines.join("\n");
    text.push('\n');
    let mut output = std::io::stdout().lock();
    // There is nobody to tell when the log itself cannot be written.
    let _unwritable = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
        .is_err();
}

/// Says what does not belong to any one target.
pub fn warn(message: &str) {
    lines(&[json!({"warning": message}).to_string()]);
}
