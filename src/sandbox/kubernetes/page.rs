//! Lists in pages: `limit` and the opaque `continue`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::failure::Failure;

/// Which part of a list is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// `None` for all there is.
    limit: Option<usize>,
    /// Namespace and name of the last object of the page before.
    after: Option<(String, String)>,
}

impl Page {
    /// From the query of a request.
    pub(super) fn read(limit: Option<&str>, token: Option<&str>) -> Result<Self, Failure> {
        let number = |text: &str| {
            let message = format!("strconv.ParseInt: parsing {text:?}: invalid syntax");
            text.parse::<i64>()
                .map_err(|_| Failure::bad_request(message))
        };
        let limit = limit.map(number).transpose()?;
        let token = token.filter(|token| !token.is_empty());
        let after = token.map(|token| {
            let message =
                "invalid continue token: continue key is not valid: it is not one of ours";
            last_of(token).ok_or_else(|| Failure::bad_request(message))
        });
        Ok(Self {
            // As for the API server, none, zero and less are the same.
            limit: limit
                .filter(|limit| *limit > 0)
                .and_then(|limit| usize::try_from(limit).ok()),
            after: after.transpose()?,
        })
    }

    /// Whether an object comes after the page before.
    pub(super) fn is_after(&self, namespace: &str, name: &str) -> bool {
        let after = self.after.as_ref();
        after.is_none_or(|(last_namespace, last_name)| {
            (namespace, name) > (last_namespace.as_str(), last_name.as_str())
        })
    }

    /// How many of so many objects this page has.
    pub(super) fn size(&self, rest: usize) -> usize {
        self.limit.unwrap_or(rest).min(rest)
    }

    /// The token of the page after this object.
    pub(super) fn token(namespace: &str, name: &str) -> String {
        URL_SAFE_NO_PAD.encode(json!({"namespace": namespace, "name": name}).to_string())
    }
}

fn last_of(token: &str) -> Option<(String, String)> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let last: Value = serde_json::from_slice(&bytes).ok()?;
    let text = |field: &str| last.get(field)?.as_str().map(str::to_owned);
    Some((text("namespace")?, text("name")?))
}
