//! Whatever is rendered of any manifest can be read as YAML, and is the same each time; where nothing is, a message says why.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger::document::parse_yaml;
use outrigger::manifest::{Context, read};
use outrigger::render::{Plurals, Request, render};
use outrigger::settings::Settings;
use outrigger_fuzz::assert_plain;

fuzz_target!(|data: &[u8]| {
    let environment = [("OUTRIGGER_CLUSTERS", "prod"), ("AWS_REGION", "eu-west-1")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = Settings::from_environment(&environment.into()).unwrap();
    let clusters = ["prod".to_owned()];
    let context = Context {
        file: "outrigger.yaml",
        namespace: "default",
        clusters: &clusters,
    };
    let mut targets = read(data, context).targets;
    for target in &mut targets {
        target.cluster.get_or_insert_with(|| "prod".to_owned());
    }
    let plurals = Plurals::new();
    let request = Request {
        targets: &targets,
        settings: &settings,
        region: "eu-west-1",
        account: Some("123456789012"),
        plurals: &plurals,
        package: "bootstrap.zip",
        command: "outrigger render",
    };
    let rendered = render(&request);
    match &rendered {
        Ok(rendered) => {
            for (path, text) in &rendered.files {
                if path.ends_with(".yaml") {
                    let wrong = parse_yaml(text.as_bytes())
                        .into_iter()
                        .find(|document| document.root.is_err());
                    assert!(wrong.is_none(), "{path}: {wrong:?}");
                }
            }
            for note in &rendered.notes {
                assert_plain(note, "a note");
            }
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                assert_plain(&error.to_string(), "an error");
            }
        }
    }
    assert_eq!(rendered, render(&request));
});
