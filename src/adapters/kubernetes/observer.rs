//! The way to the clusters of shadow targets.

use super::Clusters;
use crate::manifest::WorkloadRef;
use crate::ports::{Fault, Namespace, ShadowMemories, StateWrite};

/// Writes the memory of shadow targets: their keys of one ConfigMap in each namespace. It names the keys itself, so that no other
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
    async fn store_shadow(
        &self,
        namespace: &Namespace,
        writes: &[StateWrite],
    ) -> Vec<Result<(), Fault>> {
        let clusters = self.clusters;
        clusters
            .write_keys(namespace, writes, WorkloadRef::shadow_key)
            .await
    }
}
