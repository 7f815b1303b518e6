//! Every form that people write, with what they put around it, and the table of the README.

use proptest::prelude::*;

use super::super::*;
use super::{keys, shop, stop_of};

/// The forms of a row of the README's table, by how its second column begins.
fn rows() -> Vec<(Vec<String>, String)> {
    let readme = include_str!("../../../README.md");
    let (_, table) = readme
        .split_once("| in the text | stops |\n|---|---|\n")
        .unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let rows = rows.map(|line| {
        let (forms, meaning) = line.trim_matches(['|', ' ']).split_once(" | ").unwrap();
        let forms = forms.split('`').skip(1).step_by(2).map(str::to_owned);
        (forms.collect(), meaning.to_owned())
    });
    rows.collect()
}

#[test]
fn the_table_of_the_readme_is_true() {
    let known = [
        WorkloadRef {
            kind: WorkloadKind::ROLLOUT,
            name: "worker".to_owned(),
        },
        WorkloadRef {
            kind: WorkloadKind::DEPLOYMENT,
            name: "web".to_owned(),
        },
    ];
    let mut forms = 0;
    for (of_row, meaning) in rows() {
        for form in of_row {
            forms += 1;
            let stops = LastStops::default();
            let keys = keys(&[(PAUSE, &form)]);
            let of = |workload| stop_of(&stops, &shop(), &keys, workload).all;
            let (worker, web) = (of(&known[0]), of(&known[1]));
            assert_eq!(worker, !meaning.starts_with("nothing"), "{form}");
            assert_eq!(web, meaning.starts_with("everything"), "{form}");
            let told = mistakes(&keys, &Here::new("shop", &known, &[]));
            let told: Vec<bool> = told.into_iter().map(|told| told.is_error).collect();
            let expected: &[bool] = match &meaning {
                error if error.contains("an error") => &[true],
                warning if warning.contains("a warning") => &[false],
                _ => &[],
            };
            assert_eq!(told, expected, "{form}");
        }
    }
    assert!(forms > 40, "{forms}");
    // What is read and what is written there are the same.
    for word in EVERYTHING {
        assert!(rows()[0].0.iter().any(|form| form == word), "{word}");
    }
}

/// What is in the namespace of [`any_written`].
fn real_workloads() -> Vec<WorkloadRef> {
    let of = |(version, kind, name): (&str, &str, &str)| WorkloadRef {
        kind: WorkloadKind::parse(version, kind).unwrap(),
        name: name.to_owned(),
    };
    let all = [
        ("argoproj.io/v1alpha1", "Rollout", "worker"),
        ("argoproj.io/v1alpha1", "Rollout", "my.db"),
        ("apps/v1", "Deployment", "worker"),
        ("apps/v1", "StatefulSet", "db-0"),
        ("v1", "ReplicationController", "old"),
        ("example.com/v2", "Consumer", "x"),
    ];
    all.into_iter().map(of).collect()
}

/// What a piece of text means.
#[derive(Debug, Clone, PartialEq)]
enum Meant {
    Everything,
    Name(String),
    Kind(String),
    Group(String),
    OfGroup(String, String),
    One(String, String),
    /// A name that is no target's.
    Wrong,
    /// `false` and the like.
    Denied,
    NoList,
}

impl Meant {
    fn is(&self, workload: &WorkloadRef) -> bool {
        let WorkloadRef { kind, name } = workload;
        match self {
            Self::Everything | Self::NoList => true,
            Self::Name(wanted) => wanted == name,
            Self::Kind(wanted) => wanted == kind.kind(),
            Self::Group(wanted) => wanted == kind.group(),
            Self::OfGroup(group, wanted) => group == kind.group() && wanted == name,
            Self::One(wanted, of_kind) => {
                (wanted.as_str(), of_kind.as_str()) == (kind.kind(), name)
            }
            Self::Wrong | Self::Denied => false,
        }
    }
}

/// A piece of text, and what it means.
#[derive(Debug, Clone)]
struct Written {
    text: String,
    meant: Meant,
}

/// Every form, with what people put around it.
fn any_written() -> impl Strategy<Value = Written> {
    let form = (0..real_workloads().len(), 0..32_usize).prop_map(|(index, form)| {
        let WorkloadRef { kind, name } = real_workloads().remove(index);
        let (kind, group, version) = (kind.kind(), kind.group(), kind.version());
        let (lower, plural) = (kind.to_lowercase(), format!("{}s", kind.to_lowercase()));
        let one = |text: String| (text, Meant::One(kind.to_owned(), name.clone()));
        let of_kind = |text: String| (text, Meant::Kind(kind.to_owned()));
        let fixed = |text: &str, meant: Meant| (text.to_owned(), meant);
        match form {
            1 => fixed(&format!("shop/{name}"), Meant::Name(name.clone())),
            2 => fixed(&format!("*/{name}"), Meant::Name(name.clone())),
            3 => one(format!("{lower}.{name}")),
            4 => one(format!("{lower}/{name}")),
            5 => one(format!("{plural}/{name}")),
            6 => one(format!("{kind}.{name}")),
            7 => one(format!("shop/{plural}/{name}")),
            8 => one(format!("{version}/{kind}/{name}")),
            9 if !group.is_empty() => one(format!("{plural}.{group}/{name}")),
            10 if !group.is_empty() => one(format!("{lower}.{group}/{name}")),
            11 if !group.is_empty() => one(format!("{plural}.{version}.{group}/{name}")),
            12 if !group.is_empty() => one(format!("{group}/{version}/{kind}/{name}")),
            13 if !group.is_empty() => (
                format!("{group}/{name}"),
                Meant::OfGroup(group.to_owned(), name),
            ),
            14 => of_kind(format!("{lower}.*")),
            15 => of_kind(format!("{plural}/*")),
            16 if !group.is_empty() => of_kind(format!("{plural}.{group}/*")),
            17 if !group.is_empty() => fixed(&format!("{group}/*"), Meant::Group(group.to_owned())),
            18 => fixed("shop", Meant::Everything),
            19 => fixed("shop/*", Meant::Everything),
            20 => fixed(["*", "**", "*.*", "*/*"][index % 4], Meant::Everything),
            21 => fixed(
                ["all", "true", "1", "t", "y", "on"][index],
                Meant::Everything,
            ),
            22 => fixed(
                ["false", "0", "off", "no", "none", "f"][index],
                Meant::Denied,
            ),
            23 => fixed(&format!("{name}x"), Meant::Wrong),
            24 => fixed(&format!("{lower}.{name}.1"), Meant::Wrong),
            25 => fixed(&lower, Meant::Wrong),
            26 => fixed(&format!("billing/{name}"), Meant::Wrong),
            27 => fixed(&format!("job.{name}"), Meant::Wrong),
            28 => fixed(&format!("{name}*"), Meant::Wrong),
            29 => fixed(&format!("{{{name}: true}}"), Meant::NoList),
            30 => fixed(&format!("{name}=1"), Meant::NoList),
            31 => fixed(
                ["!worker", "worker: off", "$WORKER", "<all>", "a|b", "^w"][index],
                Meant::NoList,
            ),
            _ => fixed(&name, Meant::Name(name.clone())),
        }
    });
    let around = prop::sample::select(vec![
        ("", "\n"),
        ("", ","),
        ("", "; "),
        ("  ", "\r\n"),
        ("\"", "\","),
        ("'", "' "),
        ("[", "]"),
        ("(", "), "),
        ("[\"", "\"]"),
        ("- ", "\n"),
        ("-", "\n"),
        ("\u{201c}", "\u{201d}\n"),
        ("\u{2022} ", "\n"),
        ("\u{feff}", "\u{200b},"),
        ("`", "`."),
        ("\n", " # incident 42: *\n"),
        ("", "\\n "),
    ]);
    let written = (form, around, any::<bool>());
    written.prop_map(|((text, meant), (before, after), upper)| {
        let text = if upper { text.to_uppercase() } else { text };
        // What follows a `\\n` is told of as a name that begins with its `n`.
        let after = if after == "\\n " { "\\" } else { after };
        let text = format!("{before}{text}{after}");
        Written { text, meant }
    })
}

/// The shipped ConfigMap says the same in its own key.
#[test]
fn the_forms_of_the_config_map_are_those_of_the_readme() {
    let shipped = include_str!("../../../infra/kubernetes/configmap.yaml");
    let rows = rows();
    let mut forms = 0;
    for line in shipped.lines() {
        let mut columns: Vec<&str> = line.split("  ").map(str::trim).collect();
        columns.retain(|column| !column.is_empty());
        let Some((meaning, columns)) = columns.split_last() else {
            continue;
        };
        let all = columns.iter().flat_map(|column| column.split(", "));
        for form in all {
            let of_readme = rows
                .iter()
                .find(|(forms, _)| forms.iter().any(|one| one == form));
            let Some((_, of_readme)) = of_readme else {
                continue;
            };
            forms += 1;
            let first = |text: &str| text.split([' ', ',']).next().map(str::to_owned);
            let is_one = *meaning == "one workload" && of_readme == "that workload";
            assert!(
                is_one || first(meaning) == first(of_readme),
                "{form}: {meaning}"
            );
        }
    }
    assert!(forms > 20, "{forms}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_written_stops_what_it_means(
        written in prop::collection::vec(any_written(), 0..6),
        comment in prop::option::of(any_written()),
        switch in prop::sample::select(vec![PAUSE, PAUSE_SCALE_IN]),
    ) {
        let mut text: String = written.iter().map(|written| written.text.as_str()).collect();
        // Behind a `#` the same stops nothing.
        if let Some(comment) = comment {
            let line = comment.text.replace(['\n', '\r'], " ");
            text.extend(["\n# ", &line, "\n\t#", &line, " # ", &line]);
        }
        let stops = LastStops::default();
        for workload in real_workloads() {
            let stop = stop_of(&stops, &shop(), &keys(&[(switch, &text)]), &workload);
            let expected = written.iter().any(|written| written.meant.is(&workload));
            let expected = Stop { all: expected && switch == PAUSE, scale_in: expected && switch == PAUSE_SCALE_IN, ..Stop::default() };
            prop_assert_eq!(stop, expected, "{:?} {:?}", &text, &workload);
        }
        // It is told of exactly when some of it stops nothing, or when all of it is no list.
        let known = real_workloads();
        let told = mistakes(&keys(&[(switch, &text)]), &Here::new("shop", &known, &[]));
        let is_wrong = |written: &Written| matches!(written.meant, Meant::Wrong | Meant::NoList);
        let expected = written.iter().any(is_wrong);
        prop_assert_eq!(told.iter().any(|told| told.is_error), expected, "{:?} {:?}", &text, &told);
        let is_idle = |written: &Written| is_wrong(written) || written.meant == Meant::Denied;
        let expected = written.is_empty() || written.iter().any(is_idle);
        prop_assert_eq!(!told.is_empty(), expected, "{:?} {:?}", &text, &told);
    }
}
