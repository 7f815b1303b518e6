//! `kubectl` of the API server's own version, and the commands of the README run with it as they stand there.

use std::collections::VecDeque;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::world::World;
use crate::support::PATIENCE;
use crate::support::function::Directory;

/// The namespace that the README speaks of.
const NAMESPACE: &str = "-n shop";

/// A shell in a folder of its own that has the repository's `infra`. Its `kubectl` may do everything.
#[derive(Debug)]
pub(super) struct Shell {
    pub(super) directory: Directory,
    namespace: String,
    path: String,
}

impl Shell {
    pub(super) fn new(world: &World, namespace: &str) -> Self {
        let directory = Directory::new();
        std::fs::write(directory.join("kubeconfig"), world.kubeconfig()).unwrap();
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        symlink(repository.join("infra"), directory.join("infra")).unwrap();
        let kubectl: PathBuf = world.assets().path("kubectl");
        let folder = kubectl.parent().unwrap().display();
        Self {
            directory,
            namespace: namespace.to_owned(),
            path: format!("{folder}:/usr/local/bin:/usr/bin:/bin"),
        }
    }

    /// What commands that must succeed print. The namespace of the README is this test's.
    pub(super) async fn run(&self, commands: &str) -> String {
        let answer = self.attempt(commands).await;
        answer.unwrap_or_else(|output| panic!("{commands}: {output}"))
    }

    /// The same, with everything that was printed as the error where one of them fails.
    pub(super) async fn attempt(&self, commands: &str) -> Result<String, String> {
        let commands = commands.replace(NAMESPACE, &format!("-n {}", self.namespace));
        let running = Command::new("/bin/bash")
            .args(["-euo", "pipefail", "-c", &commands])
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.directory.join(""))
            .env("KUBECONFIG", self.directory.join("kubeconfig"))
            .current_dir(self.directory.join(""))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, running).await;
        let output = output.unwrap_or_else(|_| panic!("{commands}: not within {PATIENCE:?}"));
        let output = output.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let printed = text(output.stdout);
        if output.status.success() {
            return Ok(printed);
        }
        Err(printed + &text(output.stderr))
    }
}

/// One section of the README, block by block in its order, so that none of its commands is left untried.
#[derive(Debug)]
pub(super) struct Guide {
    pub(super) shell: Shell,
    blocks: VecDeque<String>,
}

impl Guide {
    /// The blocks below a heading and above the next one.
    pub(super) fn new(world: &World, heading: &str, namespace: &str) -> Self {
        let readme = include_str!("../../../README.md");
        let (_, section) = readme
            .split_once(&format!("\n### {heading}\n"))
            .unwrap_or_else(|| panic!("the README has no section `{heading}`"));
        let lines = section.lines();
        let lines = lines.take_while(|line| !line.starts_with("## ") && !line.starts_with("### "));
        Self {
            shell: Shell::new(world, namespace),
            blocks: fenced(lines),
        }
    }

    /// The next block, which must have this in it.
    pub(super) fn text(&mut self, part: &str) -> String {
        let block = self.blocks.pop_front();
        let block = block.unwrap_or_else(|| panic!("no block with `{part}` is left"));
        assert!(
            block.contains(part),
            "no `{part}` in the next block: {block}"
        );
        block
    }

    /// The first block with this in it, wherever one is: to do a step again.
    pub(super) fn block(mut self, part: &str) -> String {
        self.blocks.retain(|block| block.contains(part));
        self.text(part)
    }

    /// Runs the next block, which must have this in it. What it prints.
    pub(super) async fn run(&mut self, part: &str) -> String {
        let commands = self.text(part);
        self.shell.run(&commands).await
    }

    /// Passes by the next block, whose programs are not here.
    pub(super) fn pass(&mut self, part: &str) {
        let block = self.text(part);
        assert!(!block.contains("kubectl"), "{block}");
    }

    /// There must be no more.
    pub(super) fn end(self) {
        assert!(self.blocks.is_empty(), "not tried: {:?}", self.blocks);
    }
}

/// The text of each fenced block, without the indentation that a list gives it.
fn fenced<'l>(lines: impl Iterator<Item = &'l str>) -> VecDeque<String> {
    let mut blocks = VecDeque::new();
    let mut open: Option<(usize, String)> = None;
    for line in lines {
        let fence = line.trim_start().starts_with("```");
        open = match open {
            None if fence => Some((line.len() - line.trim_start().len(), String::new())),
            Some((_, block)) if fence => {
                blocks.push_back(block);
                None
            }
            Some((indentation, mut block)) => {
                block += line.get(indentation..).unwrap_or_default();
                block.push('\n');
                Some((indentation, block))
            }
            None => None,
        };
    }
    blocks
}
