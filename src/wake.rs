//! What woke the function: a Lambda payload in, a scope of targets out.
