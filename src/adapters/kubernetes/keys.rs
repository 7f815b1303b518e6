//! Writes of state: many keys of one ConfigMap in one JSON Patch, each key under its own condition.

use std::collections::{BTreeMap, HashSet};

use serde::de::IgnoredAny;
use serde_json::json;

use super::fault::Failure;
use super::objects::{CONFIG_MAP, config_map_path};
use super::{Call, Clusters, FIELD_MANAGER};
use crate::capacity;
use crate::manifest::WorkloadRef;
use crate::ports::{Fault, LiveMemories, Memories as _, Namespace, StateWrite};

/// Bytes of one patch. The state of a whole ConfigMap has as many, and the API server decodes a larger JSON Patch twice, as a
/// check against abuse; beyond 3 MiB it refuses any body. A single write that is larger is a patch by itself.
/// <https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apiserver/pkg/endpoints/handlers/patch.go>
const MAX_PATCH_BYTES: usize = 1 << 20;

/// Operations of one patch: the API server answers 413 to more (`maxJSONPatchOperations`, in the same file). A key takes two.
const MAX_PATCH_OPERATIONS: usize = 10_000;

/// Patches for the same keys, at most. Each one after the first means that another copy of the function wrote some of the keys
/// in the milliseconds between the read and the patch. A copy writes a key once or twice in a pass, so three more patches outlast
/// one other copy, and the function does not race for ever against two.
const MAX_ROUNDS: usize = 4;

/// One key to write.
struct KeyWrite<'w> {
    key: String,
    old: Option<&'w str>,
    new: &'w str,
    /// The `test` and the `add`, as JSON without brackets.
    operations: String,
}

impl LiveMemories for Clusters {
    async fn store(&self, namespace: &Namespace, writes: &[StateWrite]) -> Vec<Result<(), Fault>> {
        self.write_keys(namespace, writes, WorkloadRef::key).await
    }
}

impl Clusters {
    /// Writes state under the keys that `key_of` gives. Chunks are sent one after another: they change one object.
    pub(super) async fn write_keys(
        &self,
        namespace: &Namespace,
        writes: &[StateWrite],
        key_of: impl Fn(&WorkloadRef) -> String,
    ) -> Vec<Result<(), Fault>> {
        let writes = writes
            .iter()
            .map(|write| KeyWrite::new(key_of(&write.workload), write.old.as_deref(), &write.new));
        let mut results = Vec::new();
        for chunk in chunks(writes.collect()) {
            results.extend(self.write_chunk(namespace, &chunk).await);
        }
        results
    }

    async fn write_chunk(
        &self,
        namespace: &Namespace,
        chunk: &[KeyWrite<'_>],
    ) -> Vec<Result<(), Fault>> {
        let mut results: BTreeMap<usize, Result<(), Fault>> = BTreeMap::new();
        let mut left: Vec<usize> = (0..chunk.len()).collect();
        let mut maybe_done = false;
        for _ in 0..MAX_ROUNDS {
            if left.is_empty() {
                break;
            }
            let failure = match self.patch_keys(namespace, chunk, &left).await {
                Ok(()) => {
                    results.extend(left.drain(..).map(|index| (index, Ok(()))));
                    break;
                }
                Err(failure) => failure,
            };
            maybe_done |= failure.maybe_done;
            let count = left.len();
            let mut settle = |index: usize, result: Result<(), Fault>| {
                results.insert(index, result);
                false
            };
            if failure.is_full() {
                left.retain(|index| !chunk[*index].grows() || settle(*index, Err(full(namespace))));
            } else if failure.is_stale() {
                let now = match self.load(namespace).await {
                    Ok(now) => now,
                    Err(fault) => {
                        left.retain(|index| settle(*index, Err(fault.clone())));
                        break;
                    }
                };
                left.retain(|index| {
                    let write = &chunk[*index];
                    match now.get(&write.key).map(String::as_str) {
                        // An attempt before was carried out although its answer was lost.
                        Some(now) if maybe_done && now == write.new => settle(*index, Ok(())),
                        now if now == write.old => true,
                        _ => settle(*index, Err(lost_race(&write.key))),
                    }
                });
            } else {
                let refused =
                    |write: &KeyWrite<'_>| failure.refuses(&format!("data[{}]", write.key));
                left.retain(|index| {
                    !refused(&chunk[*index]) || settle(*index, Err(failure.fault.clone()))
                });
            }
            if left.len() == count {
                // No key explains the failure: the server refuses something else, such as a ConfigMap without data.
                let fault = if failure.is_full() {
                    full(namespace)
                } else {
                    failure.fault
                };
                left.retain(|index| settle(*index, Err(fault.clone())));
            }
        }
        let lost = left.into_iter().map(|index| {
            let fault = lost_race(&chunk[index].key);
            (index, Err(fault))
        });
        results.extend(lost);
        results.into_values().collect()
    }

    /// A compare-and-swap of each key: all are written or none.
    async fn patch_keys(
        &self,
        namespace: &Namespace,
        chunk: &[KeyWrite<'_>],
        indices: &[usize],
    ) -> Result<(), Failure> {
        let operations: Vec<&str> = indices
            .iter()
            .map(|index| chunk[*index].operations.as_str())
            .collect();
        let keys = match indices {
            [index] => format!("key `{}`", chunk[*index].key),
            indices => format!("{} keys", indices.len()),
        };
        let call = Call {
            cluster: &namespace.cluster,
            method: "PATCH",
            path: format!(
                "{}?fieldManager={FIELD_MANAGER}",
                config_map_path(namespace)
            ),
            body: format!("[{}]", operations.join(",")).into_bytes(),
            what: format!(
                "write {keys} of the ConfigMap `{}/{CONFIG_MAP}`",
                namespace.name
            ),
        };
        self.send::<IgnoredAny>(&call).await.map(drop)
    }
}

impl<'w> KeyWrite<'w> {
    /// `test` against `null` passes when the key is absent. A key has nothing to escape: it is made of DNS names.
    fn new(key: String, old: Option<&'w str>, new: &'w str) -> Self {
        let path = format!("/data/{key}");
        let test = json!({"op": "test", "path": path, "value": old});
        let add = json!({"op": "add", "path": path, "value": new});
        Self {
            key,
            old,
            new,
            operations: format!("{test},{add}"),
        }
    }

    /// Whether the ConfigMap becomes larger by it.
    fn grows(&self) -> bool {
        self.old.is_none_or(|old| self.new.len() > old.len())
    }
}

/// Divides writes into patches that the API server takes. A key is in each of them once: the second `test` of a key fails after
/// the first `add`, and would take all others with it.
fn chunks(writes: Vec<KeyWrite<'_>>) -> Vec<Vec<KeyWrite<'_>>> {
    let mut chunks = Vec::new();
    let mut chunk: Vec<KeyWrite<'_>> = Vec::new();
    let mut keys: HashSet<String> = HashSet::new();
    // The brackets; each write brings a comma.
    let mut bytes = 2;
    for write in writes {
        let more = write.operations.len() + 1;
        let is_full =
            bytes + more > MAX_PATCH_BYTES || 2 * (chunk.len() + 1) > MAX_PATCH_OPERATIONS;
        if !chunk.is_empty() && (is_full || keys.contains(&write.key)) {
            chunks.push(std::mem::take(&mut chunk));
            keys.clear();
            bytes = 2;
        }
        bytes += more;
        keys.insert(write.key.clone());
        chunk.push(write);
    }
    chunks.push(chunk);
    chunks
}

fn lost_race(key: &str) -> Fault {
    Fault::lost_race(format!("another copy wrote key `{key}` first"))
}

fn full(namespace: &Namespace) -> Fault {
    let name = &namespace.name;
    let message = format!(
        "could not write state: the ConfigMap `{name}/{CONFIG_MAP}` in cluster `{}` is full; what it holds is kept: {}",
        namespace.cluster,
        capacity::cure(name)
    );
    Fault::failed("ConfigMapFull", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(writes: Vec<KeyWrite<'_>>) -> Vec<usize> {
        let chunks = chunks(writes);
        for chunk in &chunks {
            let operations: Vec<&str> = chunk
                .iter()
                .map(|write| write.operations.as_str())
                .collect();
            let body = format!("[{}]", operations.join(","));
            let parsed: Vec<serde_json::Value> = serde_json::from_str(&body).unwrap();
            assert_eq!(parsed.len(), 2 * chunk.len());
            assert!(parsed.len() <= 10_000);
            assert!(
                body.len() <= 1_048_576 || chunk.len() == 1,
                "{}",
                body.len()
            );
        }
        chunks.iter().map(Vec::len).collect()
    }

    fn write<'w>(index: usize, old: Option<&'w str>, new: &'w str) -> KeyWrite<'w> {
        KeyWrite::new(format!("rollout.w{index:05}"), old, new)
    }

    #[test]
    fn patches_stay_below_the_limits() {
        assert_eq!(sizes(vec![write(0, None, "{}")]), [1]);
        let small = (0..10_001).map(|index| write(index, None, ""));
        assert_eq!(sizes(small.collect()), [5_000, 5_000, 1]);
        // Quotes take two bytes in JSON: what is sent counts, not what is kept.
        let text = "\"".repeat(2_048);
        let large = (0..200).map(|index| write(index, Some(&text), &text));
        assert_eq!(sizes(large.collect()), [126, 74]);
        let huge = "x".repeat(2 << 20);
        let writes = vec![
            write(0, None, "{}"),
            write(1, Some(&huge), "{}"),
            write(2, None, "{}"),
        ];
        assert_eq!(sizes(writes), [1, 1, 1]);
    }

    #[test]
    fn a_patch_has_a_key_once() {
        let writes = vec![
            write(0, None, "a"),
            write(1, None, "a"),
            write(0, None, "b"),
        ];
        assert_eq!(sizes(writes), [2, 1]);
    }
}
