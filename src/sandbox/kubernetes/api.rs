//! One request to the API server: let in, allowed, answered.

use bytes::Bytes;
use http::{Method, Request};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::encoding::query_pairs;
use super::super::lock;
use super::super::server::{self, Reply, Response};
use super::failure::Failure;
use super::login::{self, User};
use super::page::Page;
use super::rbac::{self, Wish};
use super::resource::{self, Resource, Target};
use super::selector::Selector;
use super::store::{Change, Part, Place, Writer};
use super::{KubernetesFault, Shared};

const ACCESS_REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// The group that the shipped `RoleBinding` names.
const GROUP: &str = "outrigger";

/// Answers a request, or fails as told.
pub(in crate::sandbox) async fn handle(
    shared: &Shared,
    request: &Request<Bytes>,
    now: Timestamp,
) -> Reply {
    let fault = shared.next_fault(request.method(), request.uri().path());
    match fault {
        Some(KubernetesFault::Status(code)) => Response::from(Failure::of_status(code)).into(),
        Some(KubernetesFault::Hang) => Reply::Hang,
        Some(KubernetesFault::Reset) => Reply::Reset,
        Some(KubernetesFault::Garbage) => server::garbage().into(),
        Some(KubernetesFault::Slow(pause)) => {
            Reply::from(answer(shared, request, now).await).later(pause)
        }
        Some(KubernetesFault::ApplyThenReset) => {
            answer(shared, request, now).await;
            Reply::Reset
        }
        Some(KubernetesFault::ApplyThenStatus(code)) => {
            answer(shared, request, now).await;
            Response::from(Failure::of_status(code)).into()
        }
        None => answer(shared, request, now).await.into(),
    }
}

async fn answer(shared: &Shared, request: &Request<Bytes>, now: Timestamp) -> Response {
    match login::authenticate(shared, request.headers(), now).await {
        Ok(user) => answer_to(shared, &user, request, now).unwrap_or_else(Response::from),
        Err(refusal) => {
            *lock(&shared.last_refusal) = Some(refusal);
            Failure::unauthorized().into()
        }
    }
}

/// Answers somebody who was let in.
pub(super) fn answer_to(
    shared: &Shared,
    user: &User,
    request: &Request<Bytes>,
    now: Timestamp,
) -> Result<Response, Failure> {
    let path = request.uri().path();
    let keda = shared.keda();
    if request.method() == Method::GET
        && let Some(document) = resource::discovery(path, keda)
    {
        return Ok(server::json(200, &document));
    }
    if path == ACCESS_REVIEWS && request.method() == Method::POST {
        return access_review(shared, user, request);
    }
    let Some(target) = Target::parse(path) else {
        if path.starts_with("/api/") {
            return Err(Failure::of_status(404));
        }
        return Ok(no_such_page());
    };
    let verb = verb(request.method(), target.name.is_some());
    let wish = Wish {
        verb,
        group: &target.group,
        resource: &target.rbac_resource(),
        name: target.name.as_deref(),
    };
    if !may(shared, user, target.namespace.as_deref(), wish) {
        let message = forbidden(user, target.namespace.as_deref(), wish);
        let name = target.name.as_deref().unwrap_or_default();
        return Err(Failure::forbidden(
            message,
            &target.group,
            &target.plural,
            name,
        ));
    }
    let Some(resource) = target.resource(keda) else {
        // The groups that the server itself serves say it in JSON; for one that nobody serves there is no page.
        if resource::is_built_in(&target.group) {
            return Err(Failure::of_status(404));
        }
        return Ok(no_such_page());
    };
    let (status, body) = route(shared, &target, resource, request, now)?;
    Ok(server::json(status, &body))
}

fn route(
    shared: &Shared,
    target: &Target,
    resource: &'static Resource,
    request: &Request<Bytes>,
    now: Timestamp,
) -> Result<(u16, Value), Failure> {
    let options = Options::read(request);
    let body = request.body().as_ref();
    let mut store = lock(&shared.store);
    let method_not_allowed = || {
        let message = "the server does not allow this method on the requested resource";
        Failure::new(405, "MethodNotAllowed", message)
    };
    let Some(name) = target.name.as_deref() else {
        return match (request.method(), target.namespace.as_deref()) {
            (&Method::GET, _) if options.watch => Err(method_not_allowed()),
            (&Method::GET, namespace) => {
                let page = Page::read(options.limit.as_deref(), options.token.as_deref())?;
                let selector = Selector::read(resource, options.selector.as_deref())?;
                Ok((200, store.list(resource, namespace, &page, &selector)))
            }
            (&Method::POST, namespace) if namespace.is_some() == resource.namespaced => {
                let namespace = namespace.unwrap_or_default();
                let manifest = manifest(request)?;
                let name = created_name(&manifest);
                let place = Place {
                    resource,
                    namespace,
                    name: &name,
                };
                Ok((201, store.create(place, manifest, now)?))
            }
            _ => Err(method_not_allowed()),
        };
    };
    let place = Place {
        resource,
        namespace: target.namespace.as_deref().unwrap_or_default(),
        name,
    };
    let writer = Writer {
        manager: &options.manager,
        dry_run: options.dry_run,
        counted: true,
        now,
    };
    let change = match *request.method() {
        Method::PATCH => Some(patch(request, resource)?),
        Method::PUT => Some(Change::Replace(body)),
        _ => None,
    };
    // Without a part it is the scale.
    let part = match target.subresource.as_deref() {
        None => Some(Part::Object),
        Some("status") if resource.has_status() => Some(Part::Status),
        Some("scale") if resource.scales => None,
        // A custom kind answers as if the object were not there.
        Some(_) if resource.custom => return Err(Failure::not_found(resource, name)),
        Some(_) => return Err(Failure::of_status(404)),
    };
    let answer = match (request.method(), change, part) {
        (&Method::GET, _, None) => store.scale(place)?,
        (&Method::GET, _, Some(_)) => store.get(place)?.clone(),
        (_, Some(change), None) => store.change_scale(place, change, writer)?,
        (_, Some(change), Some(part)) => store.change(place, part, change, writer)?,
        (&Method::DELETE, None, Some(Part::Object)) => deleted(place, &store.delete(place)?),
        _ => return Err(method_not_allowed()),
    };
    Ok((200, answer))
}

/// What the server says about an object that is gone: which one it was.
fn deleted(place: Place<'_>, object: &Value) -> Value {
    let Place { resource, name, .. } = place;
    let mut details = json!({"name": name, "kind": resource.plural});
    if let Some(fields) = details.as_object_mut() {
        if !resource.group.is_empty() {
            fields.insert("group".to_owned(), json!(resource.group));
        }
        let uid = object.pointer("/metadata/uid").cloned();
        fields.insert("uid".to_owned(), uid.unwrap_or_default());
    }
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    })
}

/// What the query says about a write.
struct Options {
    manager: String,
    dry_run: bool,
    watch: bool,
    limit: Option<String>,
    /// `continue`.
    token: Option<String>,
    /// `fieldSelector`.
    selector: Option<String>,
}

impl Options {
    fn read(request: &Request<Bytes>) -> Self {
        let query = query_pairs(request.uri().query().unwrap_or_default()).unwrap_or_default();
        let option = |wanted: &str| {
            let found = query.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.clone())
        };
        let agent = request.headers().get(http::header::USER_AGENT);
        let agent = agent
            .and_then(|agent| agent.to_str().ok())
            .unwrap_or("unknown");
        // Without a name given, the first part of the user agent is the manager.
        let default = agent.split('/').next().unwrap_or_default();
        Self {
            manager: option("fieldManager").unwrap_or_else(|| default.to_owned()),
            dry_run: option("dryRun").is_some_and(|dry_run| dry_run == "All"),
            watch: option("watch").is_some_and(|watch| watch == "1" || watch == "true"),
            limit: option("limit"),
            token: option("continue"),
            selector: option("fieldSelector"),
        }
    }
}

fn patch<'r>(request: &'r Request<Bytes>, resource: &Resource) -> Result<Change<'r>, Failure> {
    let kind = request.headers().get(http::header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let body = request.body().as_ref();
    match kind.split(';').next().unwrap_or_default().trim() {
        "application/json-patch+json" => Ok(Change::JsonPatch(body)),
        "application/merge-patch+json" => Ok(Change::MergePatch(body)),
        "application/strategic-merge-patch+json" => Ok(Change::StrategicMergePatch(body)),
        _ => Err(Failure::patch_type(resource)),
    }
}

fn manifest(request: &Request<Bytes>) -> Result<Value, Failure> {
    let kind = request.headers().get(http::header::CONTENT_TYPE);
    // What kubectl creates built-in kinds with.
    if kind.is_some_and(|kind| kind == "application/vnd.kubernetes.protobuf") {
        return Err(Failure::media_type("application/json"));
    }
    let manifest: Option<Value> = serde_json::from_slice(request.body()).ok();
    let manifest = manifest.filter(Value::is_object);
    manifest.ok_or_else(|| Failure::bad_request("the body is not a JSON object"))
}

fn created_name(manifest: &Value) -> String {
    let metadata = |field: &str| manifest.pointer(field).and_then(Value::as_str);
    match (
        metadata("/metadata/name"),
        metadata("/metadata/generateName"),
    ) {
        (Some(name), _) => name.to_owned(),
        (None, prefix) => format!(
            "{}{}",
            prefix.unwrap_or_default(),
            super::super::random_id()
        ),
    }
}

fn verb(method: &Method, named: bool) -> &'static str {
    match *method {
        Method::GET if named => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if named => "delete",
        Method::DELETE => "deletecollection",
        _ => "unknown",
    }
}

fn may(shared: &Shared, user: &User, namespace: Option<&str>, wish: Wish<'_>) -> bool {
    let bound = namespace.is_some_and(|wanted| shared.namespaces.iter().any(|ns| ns == wanted));
    let in_group = user.groups.iter().any(|group| group == GROUP);
    user.is_master() || (in_group && rbac::allowed(&shared.rules, bound, wish))
}

fn forbidden(user: &User, namespace: Option<&str>, wish: Wish<'_>) -> String {
    let plural = wish.resource.split('/').next().unwrap_or_default();
    let qualified = if wish.group.is_empty() {
        plural.to_owned()
    } else {
        format!("{plural}.{}", wish.group)
    };
    let subject = match wish.name {
        Some(name) => format!("{qualified} \"{name}\""),
        None => qualified,
    };
    let place = match namespace {
        Some(namespace) => format!("in the namespace \"{namespace}\""),
        None => "at the cluster scope".to_owned(),
    };
    format!(
        "{subject} is forbidden: User \"{}\" cannot {} resource \"{}\" in API group \"{}\" {place}",
        user.name, wish.verb, wish.resource, wish.group
    )
}

/// `kubectl auth can-i`.
fn access_review(
    shared: &Shared,
    user: &User,
    request: &Request<Bytes>,
) -> Result<Response, Failure> {
    let mut review = manifest(request)?;
    let attributes = review
        .pointer("/spec/resourceAttributes")
        .cloned()
        .unwrap_or_default();
    let text = |field: &str| {
        let value = attributes.get(field).and_then(Value::as_str);
        value.filter(|value| !value.is_empty())
    };
    let resource = match (text("resource").unwrap_or_default(), text("subresource")) {
        (resource, Some(subresource)) => format!("{resource}/{subresource}"),
        (resource, None) => resource.to_owned(),
    };
    let wish = Wish {
        verb: text("verb").unwrap_or_default(),
        group: text("group").unwrap_or_default(),
        resource: &resource,
        name: text("name"),
    };
    let allowed = may(shared, user, text("namespace"), wish);
    if let Some(fields) = review.as_object_mut() {
        fields.insert("status".to_owned(), json!({"allowed": allowed}));
    }
    Ok(server::json(201, &review))
}

fn no_such_page() -> Response {
    server::answer(404, "text/plain; charset=utf-8", "404 page not found\n")
}

#[cfg(test)]
mod tests;
