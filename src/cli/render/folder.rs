//! The folder of rendered files: what is written, replaced, removed, or only compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::hinted;
use crate::render::{HEADER, without_command};

/// Lines of a difference that are shown on each side: enough to see what it is about.
const SHOWN: usize = 8;

/// A folder and the files that belong into it.
pub(super) struct Folder<'a> {
    pub(super) path: &'a Path,
    pub(super) files: &'a BTreeMap<String, String>,
}

impl Folder<'_> {
    /// Compares. What is wrong, and whether nothing is.
    pub(super) fn check(&self) -> anyhow::Result<(String, bool)> {
        let mut text = String::new();
        let mut wrong = 0;
        for (name, wanted) in self.files {
            let found = read(&self.path.join(name))?;
            let told = match &found {
                None => format!("missing: {name}\n"),
                Some(found) if is_same(found, wanted) => continue,
                Some(found) if !found.starts_with(HEADER.as_bytes()) => {
                    format!("stale: {name} is there, and was not rendered\n")
                }
                Some(found) => {
                    let found = String::from_utf8_lossy(found);
                    format!("stale: {name}\n{}", difference(&found, wanted))
                }
            };
            text += &told;
            wrong += 1;
        }
        for name in self.extra()? {
            let _infallible = writeln!(text, "extra: {name}: no ScaledObject asks for it");
            wrong += 1;
        }
        let (folder, count) = (self.path.display(), self.files.len());
        let _infallible = if wrong == 0 {
            writeln!(text, "{folder}: {count} files, all up to date")
        } else {
            writeln!(
                text,
                "{folder}: {wrong} files differ from what would be rendered; render them again without --check"
            )
        };
        Ok((text, wrong == 0))
    }

    /// Writes what differs, each file at once or not at all, and removes what was rendered before and is not any more.
    pub(super) fn write(&self, force: bool) -> anyhow::Result<String> {
        let mut changes = Vec::new();
        let mut not_ours = Vec::new();
        for (name, wanted) in self.files {
            let found = read(&self.path.join(name))?;
            match &found {
                Some(found) if is_same(found, wanted) => continue,
                Some(found) if !force && !found.starts_with(HEADER.as_bytes()) => {
                    not_ours.push(name.as_str());
                }
                Some(_) | None => {}
            }
            changes.push((name, wanted));
        }
        if !not_ours.is_empty() {
            let (folder, names) = (self.path.display(), not_ours.join(", "));
            let message =
                format!("in `{folder}` these were not rendered, so nothing is written: {names}");
            return Err(hinted(
                message,
                "give another folder, or overwrite them with --force",
            ));
        }
        let extra = self.extra()?;
        let mut text = String::new();
        for (name, wanted) in &changes {
            write(&self.path.join(name), wanted)?;
            let _infallible = writeln!(text, "wrote {name}");
        }
        for name in &extra {
            let path = self.path.join(name);
            std::fs::remove_file(&path)
                .with_context(|| format!("could not remove `{}`", path.display()))?;
            let _infallible = writeln!(
                text,
                "removed {name}, which no ScaledObject asks for any more"
            );
        }
        let (folder, count) = (self.path.display(), self.files.len());
        let unchanged = count - changes.len();
        let _infallible = writeln!(
            text,
            "{folder}: {count} files, {unchanged} of them as they were"
        );
        Ok(text)
    }

    /// Files that were rendered once and do not belong here now.
    fn extra(&self) -> anyhow::Result<BTreeSet<String>> {
        let mut extra = BTreeSet::new();
        // Where rendered files can lie: DIR, and DIR/kubernetes/CLUSTER.
        let mut folders = vec![PathBuf::new()];
        let kubernetes = PathBuf::from("kubernetes");
        for (name, is_folder) in entries(&self.path.join(&kubernetes))? {
            if is_folder {
                folders.push(kubernetes.join(name));
            }
        }
        for folder in folders {
            for (name, is_folder) in entries(&self.path.join(&folder))? {
                let relative = folder.join(&name);
                let is_rendered = relative
                    .extension()
                    .is_some_and(|ending| ending == "yaml" || ending == "env");
                let shown = relative.to_string_lossy().into_owned();
                if is_folder || !is_rendered || self.files.contains_key(&shown) {
                    continue;
                }
                let found = read(&self.path.join(&relative))?;
                if found.is_some_and(|found| found.starts_with(HEADER.as_bytes())) {
                    extra.insert(shown);
                }
            }
        }
        Ok(extra)
    }
}

/// The same but for the command in the header.
fn is_same(found: &[u8], wanted: &str) -> bool {
    let found = std::str::from_utf8(found).ok().and_then(without_command);
    found.is_some() && found == without_command(wanted)
}

/// Names in a folder, and whether each is a folder. One that is not there has none.
fn entries(folder: &Path) -> anyhow::Result<Vec<(String, bool)>> {
    let listed = match std::fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let what = format!("could not list `{}`", folder.display());
            return Err(anyhow::Error::new(error).context(what));
        }
    };
    let mut names = Vec::new();
    for entry in listed {
        let entry = entry.with_context(|| format!("could not list `{}`", folder.display()))?;
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        // A name that is no text is none of ours.
        if let Ok(name) = entry.file_name().into_string() {
            names.push((name, is_folder));
        }
    }
    Ok(names)
}

fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        // Git may have checked it out with other line ends.
        Ok(bytes) => Ok(Some(match String::from_utf8(bytes) {
            Ok(text) => text.replace("\r\n", "\n").into_bytes(),
            Err(error) => error.into_bytes(),
        })),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let what = format!("could not read `{}`", path.display());
            Err(anyhow::Error::new(error).context(what))
        }
    }
}

/// Under another name first, then in place: nobody ever reads half a file.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let what = || format!("could not write `{}`", path.display());
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(what)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = folder.join(format!(".{name}.{}.new", std::process::id()));
    let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        // What is half written is in nobody's way, but for a person who lists the folder.
        let _left_behind = std::fs::remove_file(&new).is_err();
    }
    written.with_context(what)
}

/// The lines between what both have at the beginning and at the end.
fn difference(found: &str, wanted: &str) -> String {
    let (found, wanted): (Vec<&str>, Vec<&str>) = (
        without_command(found).unwrap_or(found).lines().collect(),
        without_command(wanted).unwrap_or(wanted).lines().collect(),
    );
    let same = |(one, other): &(&&str, &&str)| one == other;
    let head = found.iter().zip(&wanted).take_while(same).count();
    let shorter = found.len().min(wanted.len()) - head;
    let tails = found.iter().rev().zip(wanted.iter().rev());
    let tail = tails.take(shorter).take_while(same).count();
    // The header has two lines.
    let mut text = format!("@@ line {} @@\n", head + 3);
    for (sign, lines) in [('-', &found), ('+', &wanted)] {
        let changed = lines.get(head..lines.len() - tail).unwrap_or_default();
        for line in changed.iter().take(SHOWN) {
            let _infallible = writeln!(text, "{sign}{}", shown(line));
        }
        if let Some(more) = changed.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            let _infallible = writeln!(text, "{sign}… {more} more lines");
        }
    }
    text
}

/// An external id is not for the log of a pipeline.
fn shown(line: &str) -> String {
    match line.split_once("sts:ExternalId") {
        Some((head, _)) => format!("{head}sts:ExternalId…"),
        None => line
            .chars()
            .map(|char| if char.is_control() { '?' } else { char })
            .collect(),
    }
}
