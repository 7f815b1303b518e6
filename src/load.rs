//! What there is to scale: read from a file, or listed in the clusters, at the beginning of each invocation.
//!
//! What cannot be read is replaced by what was read last while the environment is warm, and the invocation fails naming it.
//! Nothing is decided here: `manifest` reads the objects.

mod clusters;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::manifest::{self, Configuration, Context, ListedObject};
use crate::ports::{Objects, Workloads};
use crate::settings::{Settings, Source};
use clusters::{Kept, LIST_SECONDS, Late, Lists};

/// The configuration of one invocation.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The targets, and what is wrong with the others.
    pub configuration: Arc<Configuration>,
    /// Why it is an old one or only a part of it; empty when it is whole and new.
    pub stale: Vec<String>,
    /// The ScaledObjects whose status is ours to write, by cluster.
    pub objects: Vec<(String, ListedObject)>,
}

/// There is nothing to act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

/// What a warm environment keeps.
#[derive(Debug, Default)]
pub struct Loader {
    last: RefCell<Option<(Vec<u8>, Arc<Configuration>)>>,
    lists: RefCell<Kept>,
    late: RefCell<Late>,
    told: RefCell<BTreeSet<String>>,
}

impl Loader {
    /// Loads the configuration anew. `read` reads a file; nothing is listed beyond `deadline`.
    pub async fn load<O: Objects + Workloads>(
        &self,
        settings: &Settings,
        read: impl FnOnce(&Path) -> io::Result<Vec<u8>>,
        objects: &O,
        deadline: Option<Instant>,
    ) -> Result<Loaded, Unreadable> {
        match &settings.source {
            Source::File(path) => self.file(settings, path, read(path)),
            Source::Clusters(namespaces) => {
                let (now, longest) = (Instant::now(), Duration::from_secs(LIST_SECONDS));
                // However slow the lists are, half of a short time is left for the passes.
                let left = deadline.map(|deadline| deadline.saturating_duration_since(now) / 2);
                let limit = now + left.map_or(longest, |left| left.min(longest));
                let lists = Lists {
                    kept: &self.lists,
                    late: &self.late,
                    objects,
                    limit,
                    calls: clusters::turns(settings),
                };
                lists.load(settings, namespaces).await
            }
        }
    }

    /// The findings that were not told yet, as lines. One that was put right and comes back is told again.
    pub fn untold(&self, configuration: &Configuration) -> Vec<String> {
        let lines = configuration.findings.iter().map(ToString::to_string);
        let now: BTreeSet<String> = lines.clone().collect();
        let before = self.told.replace(now);
        let mut untold: Vec<String> = lines.filter(|line| !before.contains(line)).collect();
        untold.dedup();
        untold
    }

    /// The configuration of a file, parsed when its bytes are new.
    fn file(
        &self,
        settings: &Settings,
        path: &Path,
        bytes: io::Result<Vec<u8>>,
    ) -> Result<Loaded, Unreadable> {
        let mut kept = self.last.borrow_mut();
        let bytes = match (bytes, &*kept) {
            (Ok(bytes), _) => bytes,
            (Err(error), last) => {
                let message = format!(
                    "could not read the configuration `{}` (OUTRIGGER_CONFIG): {error}; ship it with the function, beside the binary",
                    path.display()
                );
                let Some((_, configuration)) = last else {
                    return Err(Unreadable(message));
                };
                let mut configuration = Configuration::clone(configuration);
                for target in &mut configuration.targets {
                    target.is_stale = true;
                }
                return Ok(Loaded {
                    configuration: Arc::new(configuration),
                    stale: vec![format!(
                        "{message}; the last good one is in force, and nothing is scaled in from it"
                    )],
                    objects: Vec::new(),
                });
            }
        };
        let configuration = match &*kept {
            Some((last, configuration)) if *last == bytes => Arc::clone(configuration),
            Some(_) | None => {
                let clusters = settings.clusters.iter();
                let clusters: Vec<String> = clusters.map(|cluster| cluster.name.clone()).collect();
                let context = Context {
                    file: &path.to_string_lossy(),
                    namespace: &settings.namespace,
                    clusters: &clusters,
                };
                let configuration =
                    manifest::read_polled(&bytes, context, settings.min_polling_seconds);
                let configuration = Arc::new(configuration.with_default_mode(settings.mode));
                *kept = Some((bytes, Arc::clone(&configuration)));
                configuration
            }
        };
        Ok(Loaded {
            configuration,
            ..Loaded::default()
        })
    }
}

#[cfg(test)]
mod tests;
