//! The documents say what the code does.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use outrigger::decide::Reason;
use outrigger::render::{self, Bill, Polled, Usage, dollars, priced};
use outrigger::report::METRICS;
use outrigger::settings::{Log, Metrics, VARIABLES};
use outrigger::wake::ACCEPTED;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    std::fs::read_to_string(repository().join("README.md")).unwrap()
}

#[track_caller]
fn has_row(text: &str, row: &str) {
    assert!(
        text.lines().any(|line| line == row),
        "the README lacks the row\n{row}"
    );
}

/// The rows of the table below a header line.
pub(crate) fn rows<'t>(text: &'t str, header: &str) -> Vec<&'t str> {
    let below = text
        .split_once(header)
        .unwrap_or_else(|| panic!("no table `{header}`"))
        .1;
    below
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect()
}

#[test]
fn every_variable_is_in_the_table_and_no_other() {
    let text = readme();
    for (name, default, meaning) in VARIABLES {
        let default = if default.is_empty() {
            String::new()
        } else {
            format!("`{default}`")
        };
        has_row(&text, &format!("| `{name}` | {default} | {meaning} |"));
    }
    assert_eq!(
        rows(&text, "| environment variable | default | meaning |").len(),
        VARIABLES.len()
    );
}

/// What one function costs with everything as it ships, but for a change.
fn bill(change: impl FnOnce(&mut Usage)) -> Bill {
    let mut usage = Usage {
        window_seconds: 60,
        sync_seconds: 60,
        memory_mb: 128,
        targets: vec![Polled {
            interval_seconds: 60,
            queues: 1,
            metrics: 0,
        }],
        queue_alarms: 1,
        metrics: Metrics::Off,
        log: Log::Changes,
        dashboard: false,
    };
    change(&mut usage);
    render::bill(&usage)
}

#[test]
fn the_defaults_cost_less_than_half_a_dollar() {
    let template = std::fs::read_to_string(repository().join("infra/template.yaml")).unwrap();
    let template = crate::infra::tree(&template);
    let default = |name: &str| &template["Parameters"][name]["Default"];
    let defaults = ["Metrics", "MakeDashboard", "Log"].map(default);
    assert_eq!(defaults, ["off", "false", "changes"]);
    assert_eq!(
        (default("MemorySize"), default("Window")),
        (&128.into(), &60.into())
    );
    let all = |interval: u32| bill(|usage| usage.targets[0].interval_seconds = interval);
    let half_a_dollar = 500_000_000_000;
    for (interval, expected) in [(10, "$4.09"), (30, "$2.58"), (60, "$0.40"), (100, "$0.40")] {
        let bill = all(interval);
        assert_eq!(dollars(bill.total()), expected, "{interval}: {bill}");
        assert_eq!(bill.total() < half_a_dollar, interval >= 60, "{bill}");
    }
    // What it was with a dashboard, the totals and four alarms on the function.
    let before = bill(|usage| {
        usage.dashboard = true;
        usage.metrics = Metrics::Totals;
        usage.queue_alarms += 2;
    });
    assert_eq!(dollars(before.total()), "$6.01", "{before}");
}

fn grouped(number: u64) -> String {
    match number / 1_000 {
        0 => number.to_string(),
        thousands => format!("{},{:03}", grouped(thousands), number % 1_000),
    }
}

#[test]
fn the_prices_are_those_of_the_price_file() {
    let text = readme();
    let (date, region) = priced();
    assert!(text.contains(&format!("{region} on {date}, before free tiers")));
    let columns = ["alarms", "Scheduler", "Lambda", "log"];
    let mut count = 0;
    for (name, interval, sync) in [
        ("60 and more", 60, 60),
        ("30, the default", 30, 60),
        ("10", 10, 60),
        ("any, with `OUTRIGGER_SYNC=15`, above zero and idle", 60, 15),
    ] {
        let bill = bill(|usage| {
            usage.targets[0].interval_seconds = interval;
            usage.sync_seconds = sync;
        });
        let (polls, seconds) = render::polls(60, interval.min(sync));
        let up = match seconds {
            0 => "about 0.2 s".to_owned(),
            seconds => format!("about {seconds} s"),
        };
        let prices = columns.map(|column| dollars(bill.item(column))).join(" | ");
        let (sqs, all) = (dollars(bill.item("SQS")), dollars(bill.total()));
        let requests = grouped(polls * 43_200);
        has_row(
            &text,
            &format!("| {name} | {up} | {prices} | {sqs} ({requests} requests) | **{all}** |"),
        );
        // Every item is in the row, or costs nothing.
        let told: u128 = columns
            .iter()
            .chain(&["SQS"])
            .map(|column| bill.item(column))
            .sum();
        assert_eq!(told, bill.total());
        count += 1;
    }
    assert_eq!(
        rows(&text, "| shortest `pollingInterval` | up in each minute |").len(),
        count
    );

    let least = bill(|_| ()).total();
    let more = |change: fn(&mut Usage)| dollars(bill(change).total() - least);
    let metric = |interval: u32| {
        let bill = bill(|usage| {
            usage.targets[0].interval_seconds = interval;
            usage.targets[0].metrics = 1;
        });
        dollars(bill.item("metrics read"))
    };
    let queue = more(|usage| {
        usage.targets.push(usage.targets[0]);
        usage.queue_alarms += 1;
    });
    let targets = |count: usize| {
        let bill = bill(|usage| {
            usage.targets = vec![usage.targets[0]; count];
            usage.metrics = Metrics::Targets;
        });
        bill.total() - bill.item("SQS")
    };
    let one = more(|usage| usage.metrics = Metrics::Targets);
    let dashboard = more(|usage| usage.dashboard = true);
    for row in [
        format!("| another queue with an alarm, at 60 s | {queue} |"),
        format!(
            "| a dashboard, `MakeDashboard=true` | {dashboard}; Logs Insights, which it asks, $0.005 for each GB that it reads |"
        ),
        format!(
            "| `OUTRIGGER_METRICS=totals` | {} |",
            more(|usage| usage.metrics = Metrics::Totals)
        ),
        format!(
            "| `OUTRIGGER_METRICS=targets` with one target, and for each other one | {one}, {} |",
            dollars(targets(2) - targets(1))
        ),
        format!(
            "| `OUTRIGGER_LOG=all` with one target at 60 s | {} |",
            more(|usage| usage.log = Log::All)
        ),
        format!(
            "| a metric of an `aws-cloudwatch` trigger at 60 s, 30 s, 10 s | {}, {}, {}, never free |",
            metric(60),
            metric(30),
            metric(10)
        ),
    ] {
        has_row(&text, &row);
    }
}

#[test]
fn what_removing_deletes_stands_beside_the_command() {
    let text = readme();
    let (_, remove) = text.split_once("*Remove*:").unwrap();
    let (told, _) = remove.split_once("delete-stack").unwrap();
    assert!(told.contains("**the log**"), "{told}");
    // The templates keep nothing either.
    let access = std::fs::read_to_string(repository().join("infra/access.yaml")).unwrap();
    let access = crate::infra::tree(&access);
    for name in ["Logs", "FailureQueue"] {
        assert_eq!(
            access["Resources"][name]["DeletionPolicy"], "Delete",
            "{name}"
        );
    }
}

#[test]
fn what_differs_on_purpose_is_in_the_table_and_nothing_else() {
    let text = readme();
    let differences = include_str!("../fixtures/differences.json");
    let differences: Vec<serde_json::Value> = serde_json::from_str(differences).unwrap();
    let cell = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap().to_owned();
    for row in &differences {
        let (what, theirs, here) = (cell(row, "what"), cell(row, "theirs"), cell(row, "here"));
        has_row(&text, &format!("| {what} | {theirs} | {here} |"));
    }
    assert_eq!(
        rows(&text, "| what | KEDA or the HPA | here |").len(),
        differences.len()
    );
}

#[test]
fn every_reason_is_explained_and_no_other() {
    let text = readme();
    for (reason, meaning) in Reason::ALL {
        has_row(&text, &format!("| `{}` | {meaning} |", reason.name()));
    }
    assert_eq!(rows(&text, "| reason | meaning |").len(), Reason::ALL.len());
}

#[test]
fn every_event_is_in_the_table_and_no_other() {
    let text = readme();
    for (shape, recognised_by) in ACCEPTED {
        has_row(&text, &format!("| {shape} | {recognised_by} |"));
    }
    assert_eq!(
        rows(&text, "| event | recognised by |").len(),
        ACCEPTED.len()
    );
}

#[test]
fn every_metric_is_named() {
    let text = readme();
    for (metric, _) in METRICS {
        assert!(text.contains(&format!("`{metric}`")), "{metric}");
    }
}

#[test]
fn the_code_map_names_every_module() {
    let text = readme();
    let map = rows(&text, "| file | what it holds |").join("\n");
    for entry in std::fs::read_dir(repository().join("src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if Path::new(&name)
            .extension()
            .is_some_and(|extension| extension == "rs")
        {
            assert!(
                map.contains(&format!("`src/{name}`")),
                "the code map lacks src/{name}"
            );
        }
    }
    for path in map.split('`').filter(|part| part.contains('/')) {
        assert!(
            repository().join(path).exists(),
            "the code map names {path}"
        );
    }
}

#[test]
fn help_names_the_commands_that_the_readme_names() {
    let output = Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let commands: BTreeSet<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    let text = readme();
    let (_, listed) = text.split_once("lists the commands: ").unwrap();
    let listed: BTreeSet<&str> = listed
        .split('.')
        .next()
        .unwrap()
        .split('`')
        .filter(|part| !part.is_empty() && part.chars().all(char::is_alphabetic))
        .collect();
    assert_eq!(commands, listed);
}

#[test]
fn the_shipped_role_asks_for_what_the_readme_says() {
    let role = std::fs::read_to_string(repository().join("infra/kubernetes/role.yaml")).unwrap();
    let documents = outrigger::document::parse_yaml(role.as_bytes());
    let role = documents[0].root.as_ref().unwrap().to_json();
    let rules: Vec<String> = role["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| format!("{} {}", rule["resources"], rule["verbs"]))
        .collect();
    assert_eq!(
        rules,
        [
            r#"["rollouts"] ["get"]"#,
            r#"["rollouts/scale"] ["patch"]"#,
            r#"["configmaps"] ["get","patch"]"#,
            r#"["horizontalpodautoscalers"] ["list"]"#,
            r#"["scaledobjects"] ["list"]"#,
            r#"["events"] ["create"]"#
        ]
    );
}

/// The texts of the sources below a folder.
fn sources(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.push(std::fs::read_to_string(&path).unwrap());
        }
    }
    texts
}

/// The names of all tests: of functions below an attribute that makes them one.
fn tests() -> BTreeSet<String> {
    let folders = ["src", "tests/it", "tests/simulation"];
    let texts = folders.map(|folder| sources(&repository().join(folder)));
    let mut names = BTreeSet::new();
    for text in texts.iter().flatten() {
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            let signature = line.strip_prefix("async ").unwrap_or(line);
            if let Some(signature) = signature.strip_prefix("fn ") {
                let name = signature.split(['(', '<']).next().unwrap();
                if std::mem::take(&mut is_test) {
                    names.insert(name.to_owned());
                }
            } else {
                is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            }
        }
    }
    names
}

#[test]
fn every_kind_of_fault_names_tests_that_there_are() {
    assert!(readme().contains("](docs/faults.md)"));
    let text = std::fs::read_to_string(repository().join("docs/faults.md")).unwrap();
    let (tables, others) = text.split_once("## What others promise and test").unwrap();
    let tests = tests();
    assert!(
        !tests.contains("sources") && tests.len() > 1_000,
        "{}",
        tests.len()
    );
    let header = "| kind of fault | what is promised | what was tried | what happens |";
    let mut kinds = 0;
    for table in tables.split("\n## ").filter(|part| part.contains(header)) {
        for row in rows(table, header) {
            let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
            assert_eq!(cells.len(), 4, "{row}");
            let tried: Vec<&str> = cells[2].split('`').skip(1).step_by(2).collect();
            assert!(!tried.is_empty(), "nothing was tried: {row}");
            for name in tried {
                assert!(tests.contains(name), "no test `{name}`, named in: {row}");
            }
            kinds += 1;
        }
    }
    assert!(kinds >= 18, "{kinds}");
    for row in rows(others, "| who | what they promise or test | here |") {
        assert!(row.contains("](https://"), "no source: {row}");
    }
}
