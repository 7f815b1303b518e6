//! Keeps the schema in step with the reader and the writer: every key that one of them knows is known to the other.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::{Record, SCHEMA, decision_json};
use crate::decide::{Limit, Reason};

/// A validator of no more than the keywords that the schema uses; any other is a mistake in the schema.
struct Schema {
    root: Json,
    /// The keys of `properties` that met an instance, by the instance's path: what may stand there.
    allowed: RefCell<BTreeMap<String, BTreeSet<String>>>,
    /// The pointers of properties that were there and valid.
    used: RefCell<BTreeSet<String>>,
}

type Problems = Vec<String>;

impl Schema {
    fn new() -> Self {
        Self {
            root: serde_json::from_str(SCHEMA).unwrap(),
            allowed: RefCell::default(),
            used: RefCell::default(),
        }
    }

    /// What is wrong with an instance of a definition.
    fn problems(&self, definition: &str, instance: &Json) -> Problems {
        self.check(&format!("/$defs/{definition}"), instance, "")
    }

    fn check(&self, pointer: &str, instance: &Json, path: &str) -> Problems {
        let schema = self.root.pointer(pointer).unwrap().as_object().unwrap();
        let mut problems = Problems::new();
        for (keyword, value) in schema {
            let wrong = match keyword.as_str() {
                "description" | "default" | "examples" | "title" => Problems::new(),
                "$ref" => {
                    let target = value.as_str().unwrap().strip_prefix('#').unwrap();
                    self.check(target, instance, path)
                }
                "anyOf" | "oneOf" => self.check_one(keyword, pointer, instance, path),
                "properties" => self.check_properties(pointer, instance, path),
                "additionalProperties" => self.check_additional(pointer, instance, path),
                "items" => {
                    let items = instance.as_array().into_iter().flatten().enumerate();
                    items
                        .flat_map(|(index, item)| {
                            self.check(
                                &format!("{pointer}/items"),
                                item,
                                &format!("{path}[{index}]"),
                            )
                        })
                        .collect()
                }
                _ => told(!simple(keyword, value, instance), path, keyword, instance),
            };
            problems.extend(wrong);
        }
        problems
    }

    fn check_one(&self, keyword: &str, pointer: &str, instance: &Json, path: &str) -> Problems {
        let count = self.root.pointer(&format!("{pointer}/{keyword}")).unwrap();
        let found: Vec<Problems> = (0..count.as_array().unwrap().len())
            .map(|index| self.check(&format!("{pointer}/{keyword}/{index}"), instance, path))
            .collect();
        let valid = found.iter().filter(|problems| problems.is_empty()).count();
        if valid == 1 || (valid > 1 && keyword == "anyOf") {
            return Problems::new();
        }
        let mut problems = told(true, path, keyword, &json!(valid));
        problems.extend(found.into_iter().flatten());
        problems
    }

    fn check_properties(&self, pointer: &str, instance: &Json, path: &str) -> Problems {
        let properties = self.root.pointer(&format!("{pointer}/properties")).unwrap();
        let properties = properties.as_object().unwrap();
        let Some(object) = instance.as_object() else {
            return Problems::new();
        };
        let mut allowed = self.allowed.borrow_mut();
        let here = allowed.entry(path.to_owned()).or_default();
        here.extend(properties.keys().cloned());
        drop(allowed);
        let mut problems = Problems::new();
        for (key, value) in object
            .iter()
            .filter(|(key, _)| properties.contains_key(*key))
        {
            let property = format!(
                "{pointer}/properties/{}",
                key.replace('~', "~0").replace('/', "~1")
            );
            let wrong = self.check(&property, value, &joined(path, key));
            if wrong.is_empty() {
                self.used.borrow_mut().insert(property);
            }
            problems.extend(wrong);
        }
        problems
    }

    fn check_additional(&self, pointer: &str, instance: &Json, path: &str) -> Problems {
        let here = self.root.pointer(pointer).unwrap();
        let is_known = |key: &str| here["properties"].get(key).is_some();
        let object = instance.as_object().into_iter().flatten();
        let others = object.filter(|(key, _)| !is_known(key));
        let additional = &here["additionalProperties"];
        others
            .flat_map(|(key, value)| match additional {
                Json::Bool(true) => Problems::new(),
                Json::Bool(false) => vec![format!("{}: unknown", joined(path, key))],
                _ => self.check(
                    &format!("{pointer}/additionalProperties"),
                    value,
                    &joined(path, key),
                ),
            })
            .collect()
    }

    /// The pointers of all properties below a definition, each once.
    fn properties(&self) -> BTreeSet<String> {
        fn collect(schema: &Json, pointer: &str, found: &mut BTreeSet<String>) {
            let children: Vec<(String, &Json)> = match schema {
                Json::Object(object) => object
                    .iter()
                    .map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value))
                    .collect(),
                Json::Array(list) => list
                    .iter()
                    .enumerate()
                    .map(|(index, value)| (index.to_string(), value))
                    .collect(),
                _ => return,
            };
            let are_properties = pointer.ends_with("/properties");
            for (key, child) in children {
                let pointer = format!("{pointer}/{key}");
                if are_properties {
                    found.insert(pointer.clone());
                }
                collect(child, &pointer, found);
            }
        }
        let mut found = BTreeSet::new();
        collect(&self.root["$defs"], "/$defs", &mut found);
        found
    }
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

fn told(is_wrong: bool, path: &str, keyword: &str, found: &Json) -> Problems {
    { is_wrong.then(|| format!("{path}: {keyword} of {found}")) }
        .into_iter()
        .collect()
}

/// A keyword that looks at one value alone.
fn simple(keyword: &str, value: &Json, instance: &Json) -> bool {
    let number = |json: &Json| json.as_i64().map(i128::from);
    let length = instance.as_array().map(Vec::len);
    let text = instance.as_str();
    match keyword {
        "type" => {
            let types = value
                .as_array()
                .cloned()
                .unwrap_or_else(|| vec![value.clone()]);
            types
                .iter()
                .any(|kind| is_of_type(kind.as_str().unwrap(), instance))
        }
        "const" => instance == value,
        "enum" => value.as_array().unwrap().contains(instance),
        "minimum" => number(instance).is_none_or(|found| found >= number(value).unwrap()),
        "maximum" => number(instance).is_none_or(|found| found <= number(value).unwrap()),
        "minItems" => length.is_none_or(|length| length as u64 >= value.as_u64().unwrap()),
        "minLength" => {
            text.is_none_or(|text| text.chars().count() as u64 >= value.as_u64().unwrap())
        }
        "format" => {
            assert_eq!(value, "date-time");
            text.is_none_or(|text| text.parse::<jiff::Timestamp>().is_ok())
        }
        "required" => instance.as_object().is_none_or(|object| {
            let mut keys = value.as_array().unwrap().iter();
            keys.all(|key| object.contains_key(key.as_str().unwrap()))
        }),
        other => panic!("the schema uses the keyword {other}"),
    }
}

fn is_of_type(kind: &str, instance: &Json) -> bool {
    match kind {
        "object" => instance.is_object(),
        "array" => instance.is_array(),
        "string" => instance.is_string(),
        "boolean" => instance.is_boolean(),
        "null" => instance.is_null(),
        "number" => instance.is_number(),
        "integer" => instance.is_i64(),
        other => panic!("the schema uses the type {other}"),
    }
}

fn fixture(text: &str) -> Vec<Json> {
    serde_json::from_str(text).unwrap()
}

/// Records that together have every key.
fn full_records() -> Vec<Json> {
    fixture(include_str!("../../tests/fixtures/records.json"))
}

fn all_records() -> Vec<Json> {
    let cases = [
        include_str!("../../tests/fixtures/hpa.json"),
        include_str!("../../tests/fixtures/keda.json"),
    ];
    let cases = cases.into_iter().flat_map(fixture);
    let differences = fixture(include_str!("../../tests/fixtures/differences.json"));
    let differences = differences
        .iter()
        .flat_map(|row| row["cases"].as_array().unwrap().clone());
    let records = cases
        .chain(differences)
        .filter_map(|case| case.get("record").cloned());
    records.chain(full_records()).collect()
}

fn read(record: &Json) -> Record {
    Record::parse(record.to_string().as_bytes())
        .unwrap_or_else(|problems| panic!("{record}: {problems:#?}"))
}

#[test]
fn every_record_and_every_decision_fits_the_schema() {
    let schema = Schema::new();
    let records = all_records();
    assert!(records.len() > 200, "{}", records.len());
    for record in records {
        assert_eq!(schema.problems("record", &record), [""; 0], "{record}");
        let decision = decision_json(&read(&record).decide());
        assert_eq!(
            schema.problems("decision", &decision),
            [""; 0],
            "{decision}"
        );
        let line = json!({"_aws": {}, "record": record, "decision": decision});
        assert_eq!(schema.problems("logLine", &line), [""; 0], "{line}");
    }
    // The reader refuses what the schema does not know, so it knows every key that these records have.
    let used = schema.used.borrow();
    let all = schema.properties();
    let unused: Vec<&String> = all.difference(&used).collect();
    assert_eq!(
        unused, [""; 0],
        "no record of tests/fixtures/records.json has these keys"
    );
}

/// Objects whose other keys are none of the reader's business, and one that must be empty.
const OPEN: [&str; 6] = [
    "scaledObject.metadata",
    "scaledObject.metadata.annotations",
    "scaledObject.status",
    "scaledObject.spec.advanced.scalingModifiers",
    // A cron trigger's, which it ignores.
    "scaledObject.spec.triggers[1].authenticationRef",
    "state.failures",
];

/// Keys that the reader knows only to refuse them with a better reason.
const REFUSED: [&str; 3] = [
    "awsAccessKeyID",
    "awsAccessKeyIDFromEnv",
    "awsSecretAccessKeyFromEnv",
];

#[test]
fn the_reader_knows_no_key_that_the_schema_does_not() {
    const STRANGE: &str = "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz";
    let mut objects = 0;
    for record in full_records() {
        let schema = Schema::new();
        assert_eq!(schema.problems("record", &record), [""; 0]);
        let allowed = schema.allowed.borrow();
        for path in allowed.keys().filter(|path| !OPEN.contains(&path.as_str())) {
            let mut strange = record.clone();
            at(&mut strange, path)[STRANGE] = json!(1);
            let problems = Record::parse(strange.to_string().as_bytes()).unwrap_err();
            // Mistakes of the ScaledObject are told as in a manifest.
            let told = joined(path, STRANGE);
            let told = told.strip_prefix("scaledObject.").unwrap_or(&told);
            let message = &problems
                .list
                .iter()
                .find(|problem| problem.path == told)
                .unwrap_or_else(|| panic!("`{path}` takes any key: {problems:#?}"))
                .message;
            let Some(names) = message.strip_prefix("unknown field, allowed: ") else {
                assert_eq!(message, "unknown field, nothing is allowed here", "{path}");
                continue;
            };
            objects += 1;
            let known: BTreeSet<String> = names.split(", ").map(str::to_owned).collect();
            let missing: Vec<&String> = known
                .difference(&allowed[path])
                .filter(|name| !REFUSED.contains(&name.as_str()))
                .collect();
            assert_eq!(missing, [""; 0], "the schema lacks these keys of `{path}`");
        }
    }
    assert!(objects > 40, "{objects}");
}

/// The value at a path such as `state.inWindow[0]`.
fn at<'j>(json: &'j mut Json, path: &str) -> &'j mut Json {
    let mut pointer = String::new();
    let mut rest = path;
    // Annotation keys have dots and slashes, but hold no objects.
    while !rest.is_empty() {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        if end > 0 {
            pointer += "/";
            pointer += &rest[..end];
        }
        rest = &rest[end..];
        if let Some(after) = rest.strip_prefix('[') {
            let (index, after) = after.split_once(']').unwrap();
            pointer += "/";
            pointer += index;
            rest = after;
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
    }
    json.pointer_mut(&pointer).unwrap()
}

#[test]
fn reasons_and_limits_are_all_listed() {
    let schema = Schema::new();
    let decision = &schema.root["$defs"]["decision"]["properties"];
    let reasons = { Reason::ALL.iter() }
        .map(|(reason, meaning)| json!({"description": meaning, "const": reason.name()}));
    assert_eq!(decision["reason"]["oneOf"], reasons.collect::<Json>());
    let limits = Limit::ALL.map(Limit::name);
    assert_eq!(decision["limitedBy"]["items"]["enum"], json!(limits));
}

#[test]
fn what_the_schema_forbids_the_reader_refuses() {
    let schema = Schema::new();
    let record = &full_records()[0];
    for (path, wrong) in [
        ("", json!({"v": 2})),
        ("", json!({"now": "yesterday"})),
        ("", json!({"readings": 3})),
        ("workload", json!({"replicas": -1})),
        ("workload", json!({"replicas": 2_147_483_648_u64})),
        ("workload.rollout", json!({"paused": "perhaps"})),
        ("readings[0]", json!({"visible": -1})),
        ("readings[2]", json!({"valueMilli": 1.5})),
        ("state", json!({"v": 2})),
        ("state", json!({"firstSeen": null})),
        ("state.events[0]", json!({"at": 5})),
        ("state.inWindow[0]", json!({"replicas": "many"})),
        ("scaledObject.spec.fallback", json!({"behavior": "highest"})),
        ("scaledObject.spec.triggers[0]", json!({"type": "kafka"})),
    ] {
        let mut broken = record.clone();
        for (key, value) in wrong.as_object().unwrap() {
            at(&mut broken, path)[key] = value.clone();
        }
        assert_ne!(
            schema.problems("record", &broken),
            [""; 0],
            "{path} {wrong}"
        );
        assert!(
            Record::parse(broken.to_string().as_bytes()).is_err(),
            "{path} {wrong}"
        );
    }
}
