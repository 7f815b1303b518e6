//! Shipped files as the base of rendered ones: marked blocks are replaced, everything else stays as it ships.
//!
//! A block lies between the comments `# render: NAME` and `# render: end`; blocks may lie in blocks. What is rendered thus keeps
//! the shipped shape and its explaining comments, and cannot drift from it.

use std::fmt::Write as _;

const MARK: &str = "# render: ";
const END: &str = "end";

/// What becomes of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fill {
    /// It stays, with the blocks in it filled.
    Keep,
    /// These lines take its place, each as far to the right as the mark stands; nothing for an empty text.
    Text(String),
    /// The same, but these lines have their indent already.
    Lines(String),
    /// It is repeated, each time with other words in place of its own.
    Each(Vec<Words>),
}

/// Words of a block and what stands there instead. A line that becomes empty goes away.
pub(super) type Words = Vec<(&'static str, String)>;

/// A base that does not fit what is filled into it: a mistake of this program, never of its input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BaseError {
    /// A block that nothing is known to fill.
    #[error("line {line} of the base: nothing fills the block `{name}`")]
    Unfilled {
        /// Its line, from 1.
        line: usize,
        /// Its name.
        name: String,
    },
    /// Something to fill in, and no such block.
    #[error("the base has no block `{0}`")]
    NoBlock(&'static str),
    /// Words to replace that a block does not have.
    #[error("the block `{block}` has no `{words}`")]
    NoWords {
        /// The block.
        block: &'static str,
        /// The words.
        words: &'static str,
    },
    /// A block without an end, or an end without a block.
    #[error("line {0} of the base: a block that does not end, or an end of none")]
    Unpaired(usize),
}

/// The base with its blocks filled. Blocks of one name are filled alike.
pub(super) fn fill(base: &str, fills: &[(&'static str, Fill)]) -> Result<String, BaseError> {
    let mut text = String::new();
    let mut used = vec![false; fills.len()];
    fill_into(&mut text, base, fills, &mut used)?;
    match fills.iter().zip(used).find(|(_, used)| !used) {
        Some(((name, _), _)) => Err(BaseError::NoBlock(name)),
        None => Ok(without_double_gaps(&text)),
    }
}

fn fill_into(
    text: &mut String,
    base: &str,
    fills: &[(&'static str, Fill)],
    used: &mut [bool],
) -> Result<(), BaseError> {
    let mut lines = base.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let Some((indent, name)) = mark(line) else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        let block = rest_of_block(&mut lines).filter(|_| name != END);
        let block = block.ok_or(BaseError::Unpaired(index + 1))?;
        let mut found = fills.iter().zip(&mut *used);
        let Some(((name, fill), used_one)) = found.find(|((known, _), _)| *known == name) else {
            let (line, name) = (index + 1, name.to_owned());
            return Err(BaseError::Unfilled { line, name });
        };
        *used_one = true;
        match fill {
            Fill::Keep => fill_into(text, &block, fills, used)?,
            Fill::Text(lines) => push_indented(lines, indent, text),
            Fill::Lines(lines) => push_indented(lines, 0, text),
            Fill::Each(all) => {
                for words in all {
                    *text += &replaced(name, &block, words)?;
                }
            }
        }
    }
    Ok(())
}

/// The lines up to the end of the block that has just begun, without that one.
fn rest_of_block<'b>(lines: &mut impl Iterator<Item = (usize, &'b str)>) -> Option<String> {
    let mut block = String::new();
    let mut depth = 1;
    for (_, line) in lines {
        match mark(line) {
            Some((_, END)) => depth -= 1,
            Some(_) => depth += 1,
            None => {}
        }
        if depth == 0 {
            return Some(block);
        }
        block += line;
        block.push('\n');
    }
    None
}

/// The lines of a block of the base, as they stand there.
pub(super) fn block(base: &str, name: &'static str) -> Result<String, BaseError> {
    let mut lines = base.lines().enumerate();
    let mut begins = lines.by_ref().map(|(_, line)| mark(line));
    if !begins.any(|mark| mark.is_some_and(|(_, found)| found == name)) {
        return Err(BaseError::NoBlock(name));
    }
    rest_of_block(&mut lines).ok_or(BaseError::NoBlock(name))
}

/// Indent and name of a mark.
fn mark(line: &str) -> Option<(usize, &str)> {
    let trimmed = line.trim_start();
    let name = trimmed.strip_prefix(MARK)?;
    Some((line.len() - trimmed.len(), name.trim_end()))
}

fn push_indented(lines: &str, indent: usize, text: &mut String) {
    for line in lines.lines() {
        let indent = if line.is_empty() { 0 } else { indent };
        let _infallible = writeln!(text, "{:indent$}{line}", "");
    }
}

/// A block with other words in place of its own.
pub(super) fn replaced(
    name: &'static str,
    block: &str,
    words: &[(&'static str, String)],
) -> Result<String, BaseError> {
    let mut text = String::new();
    let mut used = vec![false; words.len()];
    for line in block.lines() {
        let mut new = line.to_owned();
        for ((from, to), used) in words.iter().zip(&mut used) {
            if new.contains(from) {
                *used = true;
                new = new.replace(from, to);
            }
        }
        // A line that was emptied, and not one that ships empty.
        if new.trim().is_empty() && !line.trim().is_empty() {
            continue;
        }
        text += &new;
        text.push('\n');
    }
    match words.iter().zip(used).find(|(_, used)| !used) {
        Some(((words, _), _)) => Err(BaseError::NoWords { block: name, words }),
        None => Ok(text),
    }
}

/// A block that went away leaves the empty lines around it behind; one is enough.
fn without_double_gaps(text: &str) -> String {
    let mut out = String::new();
    let mut was_empty = true;
    for line in text.lines() {
        let is_empty = line.is_empty();
        if !(is_empty && was_empty) {
            out += line;
            out.push('\n');
        }
        was_empty = is_empty;
    }
    while out.ends_with("\n\n") {
        out.pop();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "\
a: 1

# render: gone
b: 2
# render: end

# render: kept
k: 0
# render: gone
b: 2
# render: end
# render: end
c:
  # render: text
  d: 3
  # render: end
  # render: each
  # Why.
  Name: {Ref: Name}
  If: x
  # render: inner
  e: 4
  # render: end
  # render: end
";

    fn text(text: &str) -> Fill {
        Fill::Text(text.to_owned())
    }

    #[test]
    fn blocks_are_replaced_dropped_and_repeated() {
        let each = block(BASE, "each").unwrap();
        let each = fill(&each, &[("inner", text("f: 5\n"))]).unwrap();
        assert_eq!(each, "  # Why.\n  Name: {Ref: Name}\n  If: x\n  f: 5\n");
        let words = |name: &str| vec![("{Ref: Name}", name.to_owned()), ("If: x", String::new())];
        let filled = fill(
            &BASE.replace("  # render: inner\n  e: 4\n  # render: end\n", ""),
            &[
                ("gone", text("")),
                ("kept", Fill::Keep),
                ("text", text("g:\n- 1\n")),
                ("each", Fill::Each(vec![words("one"), words("two")])),
            ],
        );
        let expected = "\
a: 1

k: 0
c:
  g:
  - 1
  # Why.
  Name: one
  # Why.
  Name: two
";
        assert_eq!(filled.as_deref(), Ok(expected));
    }

    #[test]
    fn a_base_that_does_not_fit_is_told() {
        let unfilled = fill(BASE, &[("gone", text("")), ("kept", text(""))]);
        let name = "text".to_owned();
        assert_eq!(unfilled, Err(BaseError::Unfilled { line: 14, name }));
        let no_block = fill("a: 1\n", &[("gone", text(""))]);
        assert_eq!(no_block, Err(BaseError::NoBlock("gone")));
        assert_eq!(block("a: 1\n", "gone"), Err(BaseError::NoBlock("gone")));
        for unpaired in ["# render: end\n", "# render: gone\nb: 2\n"] {
            let found = fill(unpaired, &[("gone", text(""))]);
            assert_eq!(found, Err(BaseError::Unpaired(1)));
        }
        let words = vec![("nowhere", String::new())];
        let base = "# render: gone\nb: 2\n# render: end\n";
        let found = fill(base, &[("gone", Fill::Each(vec![words]))]);
        let (block, words) = ("gone", "nowhere");
        assert_eq!(found, Err(BaseError::NoWords { block, words }));
    }
}
