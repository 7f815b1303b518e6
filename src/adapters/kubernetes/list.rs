//! Lists in pages: all objects of a kind, or a fault.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::{Call, Clusters};
use crate::ports::Fault;

/// Objects asked for at once. A page that is too large to be read is asked for again with fewer.
const PAGE_SIZE: usize = 100;
/// More objects than anybody has.
const MAX_OBJECTS: usize = 5_000;
/// Ends a list that a server would continue for ever.
const MAX_PAGES: usize = 500;

/// A kind that is listed.
pub(super) struct Listed {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) plural: &'static str,
    /// 404 means that the cluster does not know the kind, so that there is none.
    pub(super) may_be_unknown: bool,
}

/// A list to ask for.
pub(super) struct Question<'a> {
    pub(super) cluster: &'a str,
    /// `None` for all of them, and for a kind that is in none.
    pub(super) namespace: Option<&'a str>,
    pub(super) listed: &'a Listed,
    /// What for, for messages: `to see who else scales there`.
    pub(super) why: &'a str,
}

/// All objects, or a fault: whoever does not see all of them must not believe that there are no others. `read` gives `None`
/// for an object that no API server would name so.
pub(super) async fn list<W: DeserializeOwned, T>(
    clusters: &Clusters,
    question: &Question<'_>,
    read: impl Fn(W) -> Option<T>,
) -> Result<Vec<T>, Fault> {
    let listed = question.listed;
    let described = question.described();
    let mut found = Vec::new();
    let (mut next, mut size) = (String::new(), PAGE_SIZE);
    for _ in 0..MAX_PAGES {
        let call = question.call(size, &next);
        let page: Page<W> = match clusters.send(&call).await {
            Ok(page) => page,
            // Without the kind the first page already is not there.
            Err(failure)
                if listed.may_be_unknown && failure.status == Some(404) && next.is_empty() =>
            {
                return Ok(Vec::new());
            }
            Err(failure) if failure.is_too_large() && size > 1 => {
                size = (size / 10).max(1);
                continue;
            }
            Err(failure) => return Err(failure.fault),
        };
        size = (size * 2).min(PAGE_SIZE);
        for item in page.items {
            let item = read(item).ok_or_else(|| {
                let message = format!(
                    "could not {} in cluster `{}`: the answer names an object as no API server does",
                    call.what, call.cluster
                );
                Fault::failed("BadResponse", message)
            });
            found.push(item?);
        }
        match page.metadata.next {
            Some(token) if !token.is_empty() && found.len() < MAX_OBJECTS => {
                next = format!("&continue={}", percent_encoded(&token));
            }
            Some(token) if !token.is_empty() => break,
            Some(_) | None => return Ok(found),
        }
    }
    let message = format!(
        "there are more than {MAX_OBJECTS} {described} of cluster `{}`, too many to look through",
        question.cluster
    );
    Err(Fault::failed("TooMany", message))
}

impl<'a> Question<'a> {
    fn described(&self) -> String {
        let plural = self.listed.plural;
        match self.namespace {
            Some(name) => format!("{plural} in namespace `{name}`"),
            None => plural.to_owned(),
        }
    }

    /// A page of so many, `next` being the part of the query that continues a list.
    fn call(&self, size: usize, next: &str) -> Call<'a> {
        let Listed {
            group,
            version,
            plural,
            ..
        } = self.listed;
        let place = self.namespace.map(|name| format!("namespaces/{name}/"));
        let place = place.unwrap_or_default();
        Call {
            cluster: self.cluster,
            method: "GET",
            path: format!("/apis/{group}/{version}/{place}{plural}?limit={size}{next}"),
            body: Vec::new(),
            what: format!("list {}, {},", self.described(), self.why),
        }
    }
}

/// A `continue` token is for the server to understand. It only has to arrive as it came.
fn percent_encoded(token: &str) -> String {
    let encode = |byte: u8| match byte {
        b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    token.bytes().map(encode).collect()
}

#[derive(Deserialize)]
#[serde(bound = "W: Deserialize<'de>")]
struct Page<W> {
    #[serde(default)]
    metadata: PageMetadata,
    // Missing is no list at all; `null` is how Go may write an empty one.
    #[serde(deserialize_with = "null_is_empty")]
    items: Vec<W>,
}

fn null_is_empty<'de, D: Deserializer<'de>, W: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<W>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Deserialize, Default)]
struct PageMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
}
