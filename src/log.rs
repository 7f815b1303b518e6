//! The only writer of log lines: one JSON object a line, which Lambda sends to CloudWatch Logs.
//!
//! No other library's log goes anywhere, at any level: some of them would print tokens, signed URLs or event bodies.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

/// Whether standard output has another use.
static TO_STANDARD_ERROR: AtomicBool = AtomicBool::new(false);

/// From now on lines go to standard error: this process prints something else to standard output.
pub fn to_standard_error() {
    TO_STANDARD_ERROR.store(true, Ordering::Relaxed);
}

/// Writes lines to standard output, in one piece.
pub fn lines(lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let mut text = lines.join("\n");
    text.push('\n');
    if TO_STANDARD_ERROR.load(Ordering::Relaxed) {
        write(std::io::stderr().lock(), &text);
    } else {
        write(std::io::stdout().lock(), &text);
    }
}

fn write(mut output: impl Write, text: &str) {
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
