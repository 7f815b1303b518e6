//! The switches of `.ci/run`, tried with a `cargo` that only writes down how it is called, and the variables that are no settings.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use outrigger::settings::{NOT_SETTINGS, VARIABLES};

use crate::cli::{WORKER, result_in};
use crate::support::function::Directory;

/// A repository with nothing in it but `.ci/run`, and the tools that it calls.
struct Gate(Directory);

impl Gate {
    fn new() -> Self {
        let directory = Directory::new();
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in ["bin", "repository/.ci", "repository/tests/infra", "home"] {
            std::fs::create_dir_all(directory.join(folder)).unwrap();
        }
        for file in [".ci/run", "Cargo.lock"] {
            let copy = directory.join("repository").join(file);
            std::fs::copy(repository.join(file), copy).unwrap();
        }
        let gate = Self(directory);
        gate.program("bin/rustc", "echo rustc 1.0");
        gate.program("bin/cargo", "echo \"cargo $*\" >>\"$HOME/called\"");
        gate.program("bin/nothing", ":");
        gate
    }

    fn program(&self, path: &str, lines: &str) {
        let path = self.0.join(path);
        std::fs::write(&path, format!("#!/usr/bin/env bash\nset -eu\n{lines}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Whether it succeeds, and what it says.
    fn run(&self, stages: &[&str], variables: &[(&str, &str)]) -> (bool, String) {
        // The shell knows where the other tools are.
        let script = "PATH=\"$BIN:$PATH\" exec bash .ci/run \"$@\"";
        let output = Command::new("bash")
            .args(["-c", script, "gate"])
            .args(stages)
            .current_dir(self.0.join("repository"))
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("OUTRIGGER_CACHE")
            .env_remove("XDG_CACHE_HOME")
            .env("BIN", self.0.join("bin"))
            .env("HOME", self.0.join("home"))
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    }

    /// Where `target` points to.
    fn target(&self) -> PathBuf {
        std::fs::read_link(self.0.join("repository/target")).unwrap()
    }

    fn called(&self) -> String {
        std::fs::read_to_string(self.0.join("home/called")).unwrap_or_default()
    }
}

#[test]
fn builds_are_kept_where_the_variable_says() {
    let gate = Gate::new();
    let (cache, xdg) = (gate.0.join("kept/here"), gate.0.join("xdg"));
    let (cache, xdg) = (cache.to_str().unwrap(), xdg.to_str().unwrap());
    let target = gate.0.join("repository/target");
    let home = gate.0.join("home/.cache/outrigger");
    for (variables, expected) in [
        (
            vec![("OUTRIGGER_CACHE", cache), ("XDG_CACHE_HOME", xdg)],
            cache.into(),
        ),
        (
            vec![("XDG_CACHE_HOME", xdg)],
            Path::new(xdg).join("outrigger"),
        ),
        (vec![], home),
    ] {
        let (good, said) = gate.run(&["format"], &variables);
        assert!(good, "{said}");
        let kept = gate.target();
        assert_eq!(kept.parent(), Some(expected.as_path()), "{said}");
        assert!(kept.is_dir(), "{}", kept.display());
        std::fs::remove_file(&target).unwrap();
    }
    // What is there already, or elsewhere, stays.
    let own = [
        ("CARGO_TARGET_DIR", "elsewhere"),
        ("OUTRIGGER_CACHE", cache),
    ];
    assert!(gate.run(&["format"], &own).0);
    assert!(!target.exists());
    std::fs::create_dir(&target).unwrap();
    assert!(gate.run(&["format"], &[("OUTRIGGER_CACHE", cache)]).0);
    assert!(!target.is_symlink());
}

#[test]
fn stages_that_are_named_are_all_that_run() {
    let gate = Gate::new();
    let (good, said) = gate.run(&["demo", "clippy, core", "format"], &[]);
    assert!(good, "{said}");
    let called = gate.called();
    let called: Vec<&str> = called.lines().collect();
    assert_eq!(
        called,
        [
            "cargo fmt --check",
            "cargo fmt --check --manifest-path tests/fuzz/Cargo.toml",
            "cargo clippy --locked --all-targets --no-default-features -- -D warnings",
            "cargo run --locked --quiet -- demo",
        ]
    );
    let (good, said) = gate.run(&["formats"], &[]);
    assert!(
        !good && said.contains("no stage is called 'formats'") && said.contains("'format'"),
        "{said}"
    );
    assert_eq!(gate.called().lines().count(), 4);
    // Every stage that there is can be named, in the order in which they run.
    let script = std::fs::read_to_string(gate.0.join("repository/.ci/run")).unwrap();
    let first_word = |rest: &str| match rest.strip_prefix(['"', '\'']) {
        Some(rest) => rest.split(['"', '\'']).next().unwrap().to_owned(),
        None => rest.split(' ').next().unwrap().to_owned(),
    };
    let run = script
        .lines()
        .filter_map(|line| line.strip_prefix("stage "));
    let run: Vec<String> = run.map(first_word).collect();
    let (_, listed) = script.split_once("readonly stages=(").unwrap();
    let mut listed = listed.split(')').next().unwrap();
    let mut names = Vec::new();
    while !listed.is_empty() {
        let name = first_word(listed);
        listed =
            listed[name.len()..].trim_start_matches(|char| char != ' ' && listed.starts_with('\''));
        listed = listed.trim_start();
        names.push(name);
    }
    assert_eq!(names, run);
}

/// The stage in which `outrigger render` runs: it took the variable for a misspelt setting.
#[test]
fn the_templates_are_rendered_with_the_variable_set() {
    let gate = Gate::new();
    let outrigger = env!("CARGO_BIN_EXE_outrigger");
    std::fs::write(gate.0.join("worker.yaml"), WORKER).unwrap();
    let render =
        format!("'{outrigger}' render -f ../worker.yaml --cluster prod --region eu-west-1 -d out");
    gate.program("repository/tests/infra/run", "echo linted");
    gate.program("repository/tests/infra/rendered", &render);
    gate.program(
        "repository/tests/python",
        "mkdir -p tools/bin; ln -sf \"$(command -v nothing)\" tools/bin/python; echo tools",
    );
    let cache = gate.0.join("kept");
    let (good, said) = gate.run(&["infra"], &[("OUTRIGGER_CACHE", cache.to_str().unwrap())]);
    assert!(good, "{said}");
    assert!(
        said.contains("linted") && said.contains("out: 5 files"),
        "{said}"
    );
}

#[test]
fn variables_of_the_tests_are_no_misspelt_settings_and_others_are() {
    let directory = Directory::new();
    let arguments = [
        "render",
        "-f",
        "-",
        "--cluster",
        "prod",
        "--region",
        "eu-west-1",
    ];
    let set = |name: &str| BTreeMap::from([(name.to_owned(), "/tmp/x".to_owned())]);
    for arguments in [&arguments[..], &["check", "-f", "-"]] {
        for (name, _) in NOT_SETTINGS {
            let (code, _, errors) = result_in(&directory.join(""), arguments, WORKER, &set(name));
            assert_eq!(code, 0, "{name}: {errors}");
        }
        for (wrong, meant) in [
            ("OUTRIGGER_METRIC", "METRICS"),
            ("OUTRIGGER_CACHES", "CACHE"),
        ] {
            let (code, _, errors) = result_in(&directory.join(""), arguments, WORKER, &set(wrong));
            assert_eq!(code, 1, "{errors}");
            let cure = format!("{wrong}: unknown, did you mean `OUTRIGGER_{meant}`?");
            assert!(errors.contains(&cure), "{errors}");
        }
    }
}

/// Whatever a script, a test or a benchmark reads is a setting or is listed, and nothing is listed that none reads.
#[test]
fn every_variable_that_is_read_is_known() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> = [".ci", "benches", "tests"]
        .map(|name| repository.join(name))
        .into();
    let mut read = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let is_rust = path.extension().is_some_and(|ending| ending == "rs");
            // How a shell and how Rust name what they read.
            let marks: &[&str] = if is_rust {
                &["from_environment(\"", "program(\"", "var(\"", "var_os(\""]
            } else {
                &["$", "${"]
            };
            for mark in marks {
                for rest in text.split(&format!("{mark}OUTRIGGER_")).skip(1) {
                    let is_name = |char: char| {
                        char.is_ascii_uppercase() || char.is_ascii_digit() || char == '_'
                    };
                    let end = rest.find(|char| !is_name(char));
                    read.insert(format!("OUTRIGGER_{}", &rest[..end.unwrap_or(rest.len())]));
                }
            }
        }
    }
    let settings: BTreeSet<String> = VARIABLES
        .iter()
        .map(|(name, ..)| (*name).to_owned())
        .collect();
    let read: BTreeSet<&String> = read.difference(&settings).collect();
    let listed: Vec<String> = NOT_SETTINGS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(read, listed.iter().collect());
}
