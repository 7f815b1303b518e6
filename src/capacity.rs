//! How much state one ConfigMap holds, when that is nearly all, and what a person does about it.

use std::collections::BTreeMap;

/// Bytes that a ConfigMap may hold: the API server refuses more.
/// <https://kubernetes.io/docs/concepts/configuration/configmap/#motivation>
pub const MAX_BYTES: usize = 1 << 20;

/// The share of it, in percent, from which on there is a warning. At the usual 400 bytes a target, 500 more targets fit then.
pub const WARN_PERCENT: usize = 80;

/// The bytes of all keys and values. The server counts the values alone, so that this errs on the side of warning early.
#[must_use]
pub fn bytes(keys: &BTreeMap<String, String>) -> usize {
    keys.iter()
        .map(|(key, value)| key.len() + value.len())
        .sum()
}

/// The warning about the ConfigMap of a namespace, when it is nearly full. It names the size in whole percent: the text is then
/// the same from pass to pass, and a log has it once.
#[must_use]
pub fn warning(namespace: &str, keys: &BTreeMap<String, String>) -> Option<String> {
    let bytes = bytes(keys);
    if bytes * 100 < MAX_BYTES * WARN_PERCENT {
        return None;
    }
    Some(format!(
        "the ConfigMap `{namespace}/outrigger` holds {} % of the {MAX_BYTES} bytes that a ConfigMap may have, in {} keys; when it is \
         full, the state of new targets is not kept, and they never scale in: {}",
        bytes * 100 / MAX_BYTES,
        keys.len(),
        cure(namespace),
    ))
}

/// What a person does about a ConfigMap that is full, with the commands.
#[must_use]
pub fn cure(namespace: &str) -> String {
    format!(
        "list its keys by size (kubectl get configmap outrigger -n {namespace} -o go-template='{{{{range $key, $value := .data}}}}{{{{len \
         $value}}}} {{{{$key}}}}{{{{\"\\n\"}}}}{{{{end}}}}' | sort -rn), delete those of workloads that are gone (kubectl patch configmap \
         outrigger -n {namespace} --type json -p '[{{\"op\":\"remove\",\"path\":\"/data/KEY\"}}]'), or divide the workloads among \
         several namespaces"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(count: usize, bytes: usize) -> BTreeMap<String, String> {
        (0..count)
            .map(|index| (format!("rollout.w{index:04}"), "x".repeat(bytes - 13)))
            .collect()
    }

    #[test]
    fn a_warning_begins_at_four_fifths() {
        assert_eq!(warning("shop", &BTreeMap::new()), None);
        let below = keys(819, 1024);
        assert_eq!(bytes(&below), 819 * 1024);
        assert_eq!(warning("shop", &below), None);
        let text = warning("shop", &keys(820, 1024)).unwrap();
        for part in [
            "`shop/outrigger` holds 80 % of the 1048576 bytes that a ConfigMap may have, in 820 keys",
            "kubectl get configmap outrigger -n shop -o go-template='{{range $key, $value := .data}}{{len $value}} {{$key}}{{\"\\n\"}}{{end}}'",
            r#"-p '[{"op":"remove","path":"/data/KEY"}]'"#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        // A few large keys are as many bytes as many small ones.
        assert!(warning("shop", &keys(1, 900_000)).is_some());
    }
}
