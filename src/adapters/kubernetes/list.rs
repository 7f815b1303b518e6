//! Lists in pages: all objects of a kind, or a fault.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::{Call, Clusters};
use crate::ports::Fault;

/// Objects asked for at once. One may be 10 KB with all its metadata, and many namespaces are listed at the same time.
const PAGE_SIZE: usize = 100;
/// More pages than anybody has. Ends a list that a server would continue for ever.
const MAX_PAGES: usize = 50;

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
    let Question {
        cluster,
        namespace,
        listed:
            Listed {
                group,
                version,
                plural,
                may_be_unknown,
            },
        why,
    } = question;
    let (place, described) = match namespace {
        Some(name) => (
            format!("namespaces/{name}/"),
            format!("{plural} in namespace `{name}`"),
        ),
        None => (String::new(), (*plural).to_owned()),
    };
    let mut found = Vec::new();
    let mut next = String::new();
    for _ in 0..MAX_PAGES {
        let call = Call {
            cluster,
            method: "GET",
            path: format!("/apis/{group}/{version}/{place}{plural}?limit={PAGE_SIZE}{next}"),
            body: Vec::new(),
            what: format!("list {described}, {why},"),
        };
        let page: Page<W> = match clusters.send(&call).await {
            Ok(page) => page,
            // Without the kind the first page already is not there.
            Err(failure) if *may_be_unknown && failure.status == Some(404) && next.is_empty() => {
                return Ok(Vec::new());
            }
            Err(failure) => return Err(failure.fault),
        };
        for item in page.items {
            let Some(item) = read(item) else {
                let message = format!(
                    "could not {} in cluster `{cluster}`: the answer names an object as no API server does",
                    call.what
                );
                return Err(Fault::failed("BadResponse", message));
            };
            found.push(item);
        }
        match page.metadata.next {
            Some(token) if !token.is_empty() => {
                next = format!("&continue={}", percent_encoded(&token));
            }
            Some(_) | None => return Ok(found),
        }
    }
    let message = format!(
        "there are more than {} {described} of cluster `{cluster}`, too many to look through",
        PAGE_SIZE * MAX_PAGES
    );
    Err(Fault::failed("TooMany", message))
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
