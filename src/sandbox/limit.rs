//! The share of a core and the memory that Lambda gives a function, by control groups of Linux.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Megabytes at which a function has a whole core; below, it has a share in proportion.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>
pub const WHOLE_CORE_MB: u32 = 1_769;

/// The period of the quota. Lambda's is of this order: a process that has used its share stands still until the next one.
const PERIOD_MICROSECONDS: u32 = 20_000;

/// Control groups with the limits of a function. Dropping it removes them; what still runs in them goes on without limits.
#[derive(Debug)]
pub struct Limit(Vec<PathBuf>);

impl Limit {
    /// Makes groups with the share of a core of a function of so many megabytes, which comes before whatever else the machine does.
    /// `name` is to be unique.
    ///
    /// Root is needed. Of the two kinds of control groups the first is taken where both are there.
    pub fn share(name: &str, memory_mb: u32) -> io::Result<Self> {
        let quota = quota_microseconds(memory_mb);
        let mut limit = Self(Vec::new());
        if is_first("cpu") {
            let period = PERIOD_MICROSECONDS.to_string();
            let files = [
                ("cpu.cfs_period_us", period),
                ("cpu.cfs_quota_us", quota.to_string()),
                ("cpu.shares", "262144".to_owned()),
            ];
            limit.make(&first("cpu").join(name), &files)?;
        } else {
            let files = [
                ("cpu.max", format!("{quota} {PERIOD_MICROSECONDS}")),
                ("cpu.weight", "10000".to_owned()),
            ];
            limit.make(&second().join(name), &files)?;
        }
        Ok(limit)
    }

    /// The same with no more memory than that: who takes more is killed, as in Lambda.
    pub fn share_and_memory(name: &str, memory_mb: u32) -> io::Result<Self> {
        let mut limit = Self::share(name, memory_mb)?;
        let bytes = (u64::from(memory_mb) << 20).to_string();
        if is_first("memory") {
            let files = [("memory.limit_in_bytes", bytes)];
            limit.make(&first("memory").join(name), &files)?;
        } else {
            write(&second().join(name).join("memory.max"), &bytes)?;
        }
        Ok(limit)
    }

    /// Puts a process that runs into the groups, with all that it will start.
    pub fn take(&self, process: u32) -> io::Result<()> {
        self.members()
            .iter()
            .try_for_each(|members| write(members, &process.to_string()))
    }

    /// A command that goes into the groups before it becomes the program.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        const ENTER: &str = r#"program="$1"; shift; for group; do echo $$ >"$group" || exit; done; exec "$program""#;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", ENTER, "limited"]).arg(program);
        command.args(self.members());
        command
    }

    /// The files that processes are written to.
    fn members(&self) -> Vec<PathBuf> {
        let groups = self.0.iter();
        groups.map(|group| group.join("cgroup.procs")).collect()
    }

    fn make(&mut self, folder: &Path, files: &[(&str, String)]) -> io::Result<()> {
        fs::create_dir(folder).map_err(|error| told(folder, &error))?;
        self.0.push(folder.to_owned());
        files
            .iter()
            .try_for_each(|(file, text)| write(&folder.join(file), text))
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        for group in &self.0 {
            // A group with a process in it stays; the process first goes where it came from.
            let parent = group.parent().unwrap_or(group).join("cgroup.procs");
            let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            for process in members.lines() {
                fs::write(&parent, process).ok();
            }
            fs::remove_dir(group).ok();
        }
    }
}

/// Microseconds of each period, rounded down: 1,447 of 20,000 at 128 MB.
fn quota_microseconds(memory_mb: u32) -> u64 {
    u64::from(PERIOD_MICROSECONDS) * u64::from(memory_mb) / u64::from(WHOLE_CORE_MB)
}

fn is_first(controller: &str) -> bool {
    first(controller).join("tasks").exists()
}

fn first(controller: &str) -> PathBuf {
    second().join(controller)
}

fn second() -> PathBuf {
    PathBuf::from("/sys/fs/cgroup")
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    fs::write(file, text).map_err(|error| told(file, &error))
}

fn told(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_in_proportion_to_the_memory() {
        for (memory_mb, expected) in [(128, 1_447), (256, 2_894), (512, 5_788), (1_769, 20_000)] {
            assert_eq!(quota_microseconds(memory_mb), expected);
        }
    }
}
