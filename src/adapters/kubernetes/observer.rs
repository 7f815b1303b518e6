//! The way to the clusters of shadow targets.

use super::Clusters;
use crate::ports::{Fault, LiveMemories as _, Place, ShadowMemories};

/// Writes the memory of shadow targets: one key of one ConfigMap in each namespace. It names the key itself, so that no other
/// can be written through it, and it has no way to write a count:
///
/// ```compile_fail,E0277
/// # use outrigger::adapters::kubernetes::Observer;
/// fn scale(_: impl outrigger::ports::Scaler) {}
///
/// fn shadow(observer: Observer<'_>) {
///     scale(observer);
/// }
/// ```
///
/// ```no_run
/// # use outrigger::adapters::kubernetes::Observer;
/// fn remember(_: impl outrigger::ports::ShadowMemories) {}
///
/// fn shadow(observer: Observer<'_>) {
///     remember(observer);
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Observer<'c> {
    clusters: &'c Clusters,
}

impl Clusters {
    /// The way for shadow targets.
    #[must_use]
    pub fn observer(&self) -> Observer<'_> {
        Observer { clusters: self }
    }
}

impl ShadowMemories for Observer<'_> {
    async fn store_shadow(&self, place: &Place, old: Option<&str>, new: &str) -> Result<(), Fault> {
        let key = place.workload.shadow_key();
        self.clusters.store(&place.namespace, &key, old, new).await
    }
}
