use proptest::prelude::*;

use super::*;

fn yaml(text: &str) -> Vec<Document> {
    parse_yaml(text.as_bytes())
}

#[track_caller]
fn only(text: &str) -> Node {
    let mut documents = yaml(text);
    assert_eq!(documents.len(), 1, "{documents:?}");
    documents.remove(0).root.unwrap()
}

#[track_caller]
fn refused(bytes: &[u8]) -> SyntaxError {
    parse_yaml(bytes)
        .into_iter()
        .find_map(|document| document.root.err())
        .expect("a refused document")
}

#[test]
fn positions_count_from_one_across_documents() {
    let documents = yaml("# head\n---\na: 1\n---\nb:\n  - x: 'y'\n");
    assert_eq!(
        documents
            .iter()
            .map(|document| document.number)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    let second = documents[1].root.as_ref().unwrap();
    let Value::List(items) = &second.get("b").unwrap().value else {
        panic!("{second:?}")
    };
    assert_eq!(
        items[0].get("x").unwrap().position,
        Some(Position { line: 6, column: 8 })
    );
}

#[test]
fn a_syntax_error_spoils_its_own_document_only() {
    let documents = yaml("a: 1\n---\nb: [1, 2\n---\nc: 3\n");
    assert!(documents[0].root.is_ok() && documents[2].root.is_ok());
    let error = documents[1].root.as_ref().unwrap_err();
    assert!(error.message.starts_with("not valid YAML: "), "{error}");
    assert!(
        matches!(error.position, Some(Position { line: 3..=4, .. })),
        "{error:?}"
    );
}

#[test]
fn markers_inside_other_text_do_not_cut() {
    assert_eq!(yaml("a: |\n  ---\n  text\nb: ---x\n").len(), 1);
    assert_eq!(yaml("---\r\na: 1\r\n---\r\nb: 2\r\n").len(), 2);
    assert_eq!(yaml("%YAML 1.2\n---\na: 1\n").len(), 1);
    assert_eq!(yaml("\u{feff}a: 1\n").len(), 1);
    assert_eq!(yaml("").len(), 0);
}

#[test]
fn scalars_keep_how_they_were_written() {
    let node = only("a: 5\nb: '5'\nc: ~\nd: null\ne:\nf: 'null'\n");
    assert_eq!(
        node.get("a").unwrap().value,
        Value::Scalar {
            text: "5".into(),
            plain: true
        }
    );
    assert_eq!(
        node.get("b").unwrap().value,
        Value::Scalar {
            text: "5".into(),
            plain: false
        }
    );
    for key in ["c", "d", "e"] {
        assert_eq!(node.get(key).unwrap().value, Value::Null);
    }
    assert_eq!(node.get("f").unwrap().as_text(), Some("null"));
}

#[test]
fn json_round_trips_through_the_tree() {
    let text = r#"{"a":[1,-2,true,null,"x","5",1.5],"b":{"c":18446744073709551615}}"#;
    let node = parse_json(text.as_bytes()).unwrap();
    assert_eq!(
        node.to_json()["a"].to_string(),
        r#"[1,-2,true,null,"x","5",1.5]"#
    );
    assert_eq!(
        node.get("b").unwrap().get("c").unwrap().as_text(),
        Some("18446744073709551615")
    );
    let same =
        only("a: [1, -2, true, null, x, '5', 1.5]\nb: {c: 1.2.3, d: 0x10, e: .inf, f: 1e3}\n")
            .to_json();
    assert_eq!(same["a"], node.to_json()["a"]);
    assert_eq!(
        same["b"].to_string(),
        r#"{"c":"1.2.3","d":"0x10","e":".inf","f":1000.0}"#
    );
}

#[test]
fn merge_keys_and_aliases_expand() {
    let node = only("base: &b {x: 1, y: 2}\nown: {<<: *b, y: 3}\nlist: [*b, *b]\n");
    assert_eq!(node.to_json()["own"].to_string(), r#"{"y":3,"x":1}"#);
    assert_eq!(
        node.to_json()["list"].to_string(),
        r#"[{"x":1,"y":2},{"x":1,"y":2}]"#
    );
}

#[test]
fn expansion_without_end_is_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        let items = vec![below; 10].join(", ");
        bomb = format!("{bomb}a{level}: &a{level} [{items}]\n");
    }
    assert!(
        refused(bomb.as_bytes())
            .message
            .contains("after aliases are expanded")
    );
    assert!(
        refused(b"a: &a [*a]\n")
            .message
            .contains("inside the value")
    );
    refused(b"a: *unknown\n");
}

#[test]
fn broken_text_is_refused_with_its_place() {
    let error = refused(b"a: 1\nb: \xff\n");
    assert_eq!(
        (error.position, error.message.contains("0xff")),
        (Some(Position { line: 2, column: 4 }), true)
    );
    let error = refused(b"a: 1\nb: 2\na: 3\n");
    assert_eq!(error.position, Some(Position { line: 3, column: 1 }));
    assert!(error.message.contains("`a` stands twice"), "{error}");
    assert!(refused(b"? [a]\n: b\n").message.contains("as a key"));
    assert!(
        refused(&vec![b'a'; MAX_STREAM_BYTES + 1])
            .message
            .contains("bytes")
    );
    assert!(
        refused(&vec![b'a'; MAX_DOCUMENT_BYTES + 1])
            .message
            .contains("bytes")
    );
    for deep in [
        vec![b'['; 1 << 20],
        b"- ".repeat(1 << 19),
        b"{a: ".repeat(10_000),
    ] {
        refused(&deep);
    }
}

#[test]
fn broken_json_is_refused() {
    for text in ["", "{", "{}x", r#"{"a":1,"a":2}"#, "[1,]", "nul"] {
        assert!(parse_json(text.as_bytes()).is_err(), "{text}");
    }
    assert!(parse_json("[".repeat(100_000).as_bytes()).is_err());
    assert!(parse_json(b"\"\xff\"").is_err());
}

#[test]
fn found_values_are_shown_short_and_on_one_line() {
    assert_eq!(quoted("a\nb\"c"), "`a\\nb\"c`");
    assert_eq!(quoted(&"x".repeat(100)), format!("`{}…`", "x".repeat(80)));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        drop(parse_yaml(&bytes));
        drop(parse_json(&bytes));
    }

    #[test]
    fn any_yaml_like_text_is_read_or_refused(text in "[-a-c:{}\\[\\]&*<!|>'\"#%~ \n\t,?.0-9]{0,200}") {
        drop(parse_yaml(text.as_bytes()));
    }
}

#[test]
fn aliases_do_not_nest_deeper_than_a_document_may() {
    let (open, close) = ("[".repeat(90), "]".repeat(90));
    let mut lines = vec![format!("k0: &a0 {open}x{close}")];
    for level in 1..40 {
        let inner = level - 1;
        lines.push(format!("k{level}: &a{level} {open}*a{inner} {close}"));
    }
    let text = lines.join("\n");
    let error = refused(text.as_bytes());
    assert_eq!(error.message, "nested deeper than 100 levels");
    assert_eq!(error.position.map(|position| position.line), Some(2));
    assert!(yaml("a: &a [[x]]\nb: {c: *a }\n")[0].root.is_ok());
}

#[test]
fn a_document_after_the_end_of_another_is_not_lost() {
    let error = refused(b"a: 1\n...\nb: 2\n");
    assert_eq!(error.position, Some(Position { line: 3, column: 1 }));
    assert!(error.message.starts_with("a second document"), "{error}");
    assert_eq!(yaml("a: 1\n...\n---\nb: 2\n...\n").len(), 2);
    assert!(yaml("a: 1\n...\n")[0].root.is_ok());
}

#[test]
fn a_collection_below_its_key_stands_where_the_key_does() {
    let node = only("a:\n  b:\n  - c: 1\nd: [x]\n");
    let at = |node: &Node| {
        node.position
            .map(|position| (position.line, position.column))
    };
    let a = node.get("a").unwrap();
    assert_eq!(at(a), Some((1, 1)));
    assert_eq!(at(a.get("b").unwrap()), Some((2, 3)));
    assert_eq!(at(node.get("d").unwrap()), Some((4, 4)));
}

/// The error of the one document that has one.
#[track_caller]
fn syntax_error(text: &str) -> (Position, String) {
    let errors = parse_yaml(text.as_bytes()).into_iter();
    let mut errors = errors.filter_map(|document| document.root.err());
    let error = errors.next().expect(text);
    assert_eq!(errors.next(), None);
    (error.position.unwrap(), error.message)
}

#[test]
fn a_template_is_told_where_it_stands() {
    for (text, line, column) in [
        ("a: 1\nb: {{ .Values.b }}\n", 2, 4),
        ("a: 1\n---\nname: {{ .Release.Name }}-worker\n", 3, 7),
        ("{{- if .Values.on }}\na: 1\n{{- end }}\n", 1, 1),
        ("a:\n  {{- toYaml .Values.a | nindent 2 }}\n", 2, 3),
        ("a:\n- {{ .Values.a }}\n", 2, 3),
        ("# {{ no }}\na: '{{ no }}'\nb: {{ .Values.b }}\n", 3, 4),
    ] {
        let (position, message) = syntax_error(text);
        assert_eq!((position.line, position.column), (line, column), "{text}");
        assert!(message.contains("helm template CHART |"), "{message}");
    }
    let quoted = "a: \"{{ $labels.queue }}\"\nb: [\n";
    assert!(syntax_error(quoted).1.starts_with("not valid YAML: "));
    assert!(parse_yaml(b"a: {b: {c: 1}}\n")[0].root.is_ok());
}

#[test]
fn a_tab_is_told_where_it_stands() {
    for (text, line, column) in [
        ("a:\n  b: 1\n\tc: 2\n", 3, 1),
        ("a:\n\tb: 1\n", 2, 1),
        ("a:\n  b: 1\n  \tc: 2\n", 3, 3),
        ("---\na: 1\n---\nx:\n- y: 1\n\tz: 2\n", 6, 1),
        (
            "metadata:\n  annotations:\n    a: b\n    c: d e f\n\t\te: f\n",
            5,
            1,
        ),
        ("a: x\n\n\tb: 1\n", 3, 1),
    ] {
        let (position, message) = syntax_error(text);
        assert_eq!(
            (position.line, position.column),
            (line, column),
            "{text:?} {message}"
        );
        assert_eq!(
            message,
            "not valid YAML: a tab in the indentation, allowed: spaces"
        );
    }
}
