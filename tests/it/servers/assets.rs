//! Where the servers are.

use std::io::Write as _;
use std::path::PathBuf;

/// The folder with the binaries of the servers.
#[derive(Debug)]
pub(super) struct Assets(PathBuf);

const HOW: &str = "set KUBEBUILDER_ASSETS to a folder with kube-apiserver and etcd: `export KUBEBUILDER_ASSETS=$(tests/servers/build)` \
    builds everything from source; setup-envtest gives these two alone";

impl Assets {
    /// The folder, if this run has one. Says on the terminal which test is skipped and how to get it where it lacks something.
    pub(super) fn find(needed: &[&str]) -> Option<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "where the servers are is known to the environment alone"
        )]
        let folder = std::env::var_os("KUBEBUILDER_ASSETS").filter(|folder| !folder.is_empty());
        let Some(folder) = folder else {
            skip(HOW);
            return None;
        };
        let assets = Self(PathBuf::from(folder));
        let missing: Vec<&str> = needed
            .iter()
            .copied()
            .filter(|name| !assets.path(name).exists())
            .collect();
        if missing.is_empty() {
            return Some(assets);
        }
        skip(&format!(
            "{} has no {}; {HOW}",
            assets.0.display(),
            missing.join(", ")
        ));
        None
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The manifests of the `CustomResourceDefinitions`, by path.
    pub(super) fn definitions(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path("crds")).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }
}

/// A skipped test passes, so that it must be said.
pub(super) fn skip(why: &str) {
    tell("skipped", why);
}

/// Says something past the capture of the test runner, which would hide it.
pub(crate) fn tell(what: &str, more: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let line = format!("{what}: {test}: {more}\n");
    std::io::stderr().write_all(line.as_bytes()).ok();
}
