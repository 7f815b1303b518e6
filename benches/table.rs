//! The rows that every measurement prints, so that `benches/run` shows one table, and the programs that are measured.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The figures that are held to a bar: whether all keep it.
#[derive(Default)]
pub(crate) struct Table {
    missed: usize,
}

impl Table {
    /// A figure that must keep its bar.
    pub(crate) fn hold(&mut self, figure: &str, measured: impl Display, bar: &str, is_kept: bool) {
        self.missed += usize::from(!is_kept);
        row(
            figure,
            &measured.to_string(),
            bar,
            if is_kept { "kept" } else { "MISSED" },
        );
    }

    /// A failure when a bar was missed.
    pub(crate) fn finish(self) -> ExitCode {
        match self.missed {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}

/// A figure that depends on the machine. It is shown beside its bar, and nothing fails on it.
pub(crate) fn quote(figure: &str, measured: impl Display, bar: &str) {
    row(figure, &measured.to_string(), bar, "");
}

fn row(figure: &str, measured: &str, bar: &str, verdict: &str) {
    let line = format!("{figure:<58} {measured:>22}  {bar:<12} {verdict}");
    println!("{}", line.trim_end());
}

/// A share of sorted values: 0.5 is the median. Zero of none.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a short list"
    )]
    let index = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}

/// The median.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile(&values, 0.5)
}

/// The program that a variable names, or the one of the last release build in the same target folder.
#[expect(
    clippy::disallowed_methods,
    reason = "this program's own settings, read at its start"
)]
pub(crate) fn program(variable: &str, name: &str) -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    let benchmark = std::env::current_exe()?;
    // target/release/deps/function-…
    let folder = benchmark.ancestors().nth(2).unwrap_or(Path::new("."));
    Ok(folder.join(name))
}
