//! Tests that every selector of a limited query has the matcher for the namespace.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn limited(query: &str) -> Result<String, Refused> {
    in_namespace(query, "namespace", "credit")
}

/// The number of selectors in a printed query, and the number of selectors with the matcher. Counts the braces in the
/// text, without the parser, because the parser could have a bug.
fn selectors_in_text(query: &str) -> (usize, usize) {
    let (mut open, mut with_matcher, mut quoted, mut escaped) = (0, 0, false, false);
    let mut selector = String::new();
    for char in query.chars() {
        if escaped {
            escaped = false;
        } else if quoted && char == '\\' {
            escaped = true;
        } else if char == '"' {
            quoted = !quoted;
        }
        match (char, quoted) {
            ('{', false) => {
                open += 1;
                selector.clear();
            }
            ('}', false) if selector.contains("namespace=\"credit\"") => with_matcher += 1,
            _ => selector.push(char),
        }
    }
    (open, with_matcher)
}

#[test]
fn every_selector_gets_the_matcher() {
    for (query, expected) in [
        ("up", r#"up{namespace="credit"}"#),
        ("max(abs(spd))", r#"max(abs(spd{namespace="credit"}))"#),
        ("rate(x[5m])", r#"rate(x{namespace="credit"}[5m])"#),
        (
            "a + on (pod) group_left (node) b",
            r#"a{namespace="credit"} + on (pod) group_left (node) b{namespace="credit"}"#,
        ),
        ("a or b", r#"a{namespace="credit"} or b{namespace="credit"}"#),
        ("-a", r#"-a{namespace="credit"}"#),
        ("absent(a)", r#"absent(a{namespace="credit"})"#),
        ("a @ end() offset 5m", r#"a{namespace="credit"} @ end() offset 5m"#),
        (
            "max_over_time((a - b)[1h:1m] offset 1d)",
            r#"max_over_time((a{namespace="credit"} - b{namespace="credit"})[1h:1m] offset 1d)"#,
        ),
        ("vector(1)", "vector(1)"),
        // The quoted name of a metric becomes a matcher, so its text adds no selector.
        (r#"{"secret or up"}"#, r#"{__name__="secret or up",namespace="credit"}"#),
        (r#"{__name__=~".+"}"#, r#"{__name__=~".+",namespace="credit"}"#),
        // The two matchers contradict each other, so the result is empty.
        (r#"secret{namespace="other"}"#, r#"secret{namespace="credit",namespace="other"}"#),
        (r#"secret{namespace!="credit"}"#, r#"secret{namespace!="credit",namespace="credit"}"#),
        (r#"secret{namespace=~".*"}"#, r#"secret{namespace="credit",namespace=~".*"}"#),
    ] {
        assert_eq!(limited(query).as_deref(), Ok(expected), "{query}");
    }
}

/// The visitors of the parser library skip the parameters of aggregations, such as the first argument of `topk`.
#[test]
fn selectors_in_parameters_of_aggregations_get_the_matcher() {
    for query in [
        r#"quantile(scalar(max(secret{namespace="other"})), up)"#,
        "topk(scalar(secret), up)",
        "bottomk by (pod) (scalar(secret), up)",
    ] {
        let limited = limited(query).expect(query);
        assert_eq!(limited.matches(r#"namespace="credit""#).count(), 2, "{limited}");
    }
}

#[test]
fn query_that_cannot_be_limited_is_refused() {
    for query in [
        "info(up)",
        "mad_over_time(up[5m])",
        "sort_by_label(up, \"x\")",
        r#"{a="b" or c="d"}"#,
        r#"up{"my.label"="x"}"#,
        r#"sum by ("a) (secret) or sum by (b") (up)"#,
        "up{",
        "",
        "SELECT 1",
        "up\u{0}",
        &"(".repeat(300),
        &format!("{}up{}", "(".repeat(300), ")".repeat(300)),
        &vec!["1"; 400].join("+"),
        &vec!["up"; 400].join(" or "),
        &"x".repeat(9000),
    ] {
        assert!(limited(query).is_err(), "{query:?}: {:?}", limited(query));
    }
}

#[test]
fn text_of_a_value_does_not_become_a_selector() {
    for value in [r#"x\"} or secret{a=\"y"#, r"x\\", "x\\n} or secret", "{secret}", "`", "}"] {
        let query = format!("up{{a=\"{value}\"}}");
        let limited = limited(&query).expect(&query);
        assert_eq!(selectors_in_text(&limited), (1, 1), "{limited}");
    }
}

/// Many steps keep Prometheus busy, and all namespaces share this Prometheus.
#[test]
fn subqueries_with_too_many_steps_are_refused() {
    for query in [
        "max_over_time(x[30d:1s])",
        "max_over_time(x[30d:1ms])",
        // A subquery without a step counts with 15 s.
        "max_over_time(x[2d:])",
        "max_over_time(x[2d:0s])",
        // The steps of the two subqueries add up to more than the limit.
        "max_over_time(x[1d:10s]) + max_over_time(y[1d:10s])",
        // The inner subquery runs for each step of the outer subquery.
        "max_over_time(max_over_time(x[1d:1m])[1d:1m])",
        "max_over_time((1 - avg_over_time((x - y)[1h:10s]))[1d:5m] offset 1d)",
        "quantile(scalar(max_over_time(x[30d:1s])), up)",
        "max_over_time(x[100y:1ms])",
    ] {
        let found = limited(query);
        assert!(matches!(&found, Err(Refused::Steps | Refused::Syntax(_))), "{query}: {found:?}");
    }
    assert_eq!(limited("max_over_time(x[30d:1s])"), Err(Refused::Steps));
    for query in [
        "max_over_time(x[7d:1m])",
        "max_over_time(x[1d:])",
        "max_over_time(avg_over_time(x[1h:1m])[1h:1m])",
        "max_over_time(x[30d])",
        // The steps of the two subqueries add up to less than the limit.
        "max_over_time(x[1h:1s]) + max_over_time(y[1h:1s])",
    ] {
        assert!(limited(query).is_ok(), "{query}: {:?}", limited(query));
    }
}

fn monitor(spec: &serde_json::Value) -> MonitorSpec {
    let mut monitor = json!({ "system": "scorer", "metric": "m", "breach": {}, "noData": { "after": "1h", "then": "Unknown" } });
    for (field, value) in spec.as_object().into_iter().flatten() {
        monitor[field] = value.clone();
    }
    serde_json::from_value(monitor).expect("a monitor")
}

#[test]
fn alert_and_samples_are_limited_too() {
    let spec = monitor(
        &json!({ "alert": { "name": "Drift\"} or secret{a=\"", "labels": { "severity": "critical" } },
        "samples": { "query": "sum(n)", "atLeast": "5" } }),
    );
    let queries = LimitedQueries::of(&spec, "namespace", "credit").expect("an alert");
    assert_eq!(
        queries.value,
        r#"count(ALERTS{alertname="Drift\"} or secret{a=\"",alertstate="firing",namespace="credit",severity="critical"}) or vector(0)"#
    );
    assert_eq!(queries.samples.as_deref(), Some(r#"sum(n{namespace="credit"})"#));
    let quoted = monitor(&json!({ "alert": { "name": "Drift", "labels": { "a=\"\"} or x{b": "c" } } }));
    assert!(LimitedQueries::of(&quoted, "namespace", "credit").is_err());
}

#[test]
fn another_label_can_name_the_namespace() {
    assert_eq!(
        in_namespace("up", "kubernetes_namespace", "credit").as_deref(),
        Ok(r#"up{kubernetes_namespace="credit"}"#)
    );
    assert!(namespace_label("a b").is_err() && namespace_label("tenant").is_ok());
}

fn expression() -> impl Strategy<Value = String> {
    let name = prop_oneof![Just("up"), Just("spd"), Just("http:errors"), Just("_x")];
    let value = prop_oneof![Just("a"), Just("other"), Just(r"a\\.b"), Just(r#"q\"} or z{"#), Just("ü")];
    let matcher = (
        prop_oneof![Just("pod"), Just("namespace"), Just("__name__")],
        prop_oneof![Just("="), Just("!=")],
        value,
    )
        .prop_map(|(label, op, value)| format!("{label}{op}\"{value}\""));
    let matchers = prop::collection::vec(matcher, 0..3).prop_map(|all| all.join(","));
    let time =
        prop_oneof![Just(""), Just(" offset 5m"), Just(" @ start()"), Just(" @ 1700000000 offset -1h")];
    let selector =
        (name, matchers, time).prop_map(|(name, matchers, time)| format!("{name}{{{matchers}}}{time}"));
    let range = selector.clone().prop_map(|selector| match selector.find('}') {
        Some(end) => format!("rate({}[5m]{})", &selector[..=end], &selector[end + 1..]),
        None => selector,
    });
    let leaf = prop_oneof![3 => selector, 1 => range.prop_filter("the text of a value can contain a brace", |r| !r.contains('\\'))];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            inner.clone().prop_map(|e| format!("sum by (pod) ({e})")),
            inner.clone().prop_map(|e| format!("abs(-({e}))")),
            inner.clone().prop_map(|e| format!("max_over_time(({e})[1h:1m])")),
            inner
                .clone()
                .prop_map(|e| format!("label_replace({e}, \"namespace\", \"credit\", \"pod\", \"(.*)\")")),
            two.clone().prop_map(|(a, b)| format!("({a}) or ({b})")),
            two.clone().prop_map(|(a, b)| format!("({a}) / on (pod) group_left (x) ({b})")),
            two.clone().prop_map(|(a, b)| format!("quantile(scalar({a}), {b})")),
            two.prop_map(|(a, b)| format!("({a}) > bool ignoring (pod) ({b})")),
        ]
    })
}

proptest! {
    #[test]
    fn limited_query_has_only_limited_selectors_and_is_stable(query in expression()) {
        let Ok(once) = limited(&query) else { return Ok(()) };
        let (selectors, with_matcher) = selectors_in_text(&once);
        prop_assert_eq!(selectors, with_matcher, "{}", &once);
        prop_assert!(selectors > 0, "{}", &once);
        // Limiting the query again only adds a second, equal matcher.
        let twice = limited(&once).expect("a limited query parses");
        let matcher = r#"namespace="credit""#;
        prop_assert_eq!(twice.replace(&format!("{matcher},{matcher}"), matcher), once);
    }

    #[test]
    fn no_text_makes_the_parser_panic(query in ".{0,200}") {
        if let Ok(limited) = limited(&query) {
            let (selectors, with_matcher) = selectors_in_text(&limited);
            prop_assert_eq!(selectors, with_matcher, "{}", limited);
        }
    }
}

/// Without a limit, the parser would need more memory for a large regular expression than the operator has.
#[test]
fn regular_expressions_that_need_much_memory_are_refused() {
    let large = r#"a=~"\\w{100}""#;
    for query in [
        format!("x{{{large}}}"),
        format!("x{{b=~\"c\",{large}}}"),
        format!("x{{b=~'it\\'s',{large}}}"),
        format!("# a comment with \" and '\nx{{{large}}}"),
        format!("x{{b=`\\`,{large}}}"),
        r"x{a=~`\w{100}`}".to_owned(),
        format!("x{{{}}}", vec![r#"a=~"b""#; 17].join(",")),
    ] {
        assert_eq!(limited(&query), Err(Refused::Regex), "{query}");
    }
    for query in [r#"x{a=~"\\w+"}"#, r#"x{a!~"prod-.*|test-.*"}"#, r#"x{a="\\w{100}"}"#] {
        assert!(limited(query).is_ok(), "{query}: {:?}", limited(query));
    }
}

/// The objects in a YAML file of `examples/monitors`.
fn examples(file: &str) -> Vec<serde_json::Value> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/monitors").join(file);
    let text = std::fs::read_to_string(path).expect("an example");
    let documents = text.split("\n---\n").filter(|document| document.contains("kind:"));
    documents.map(|document| serde_saphyr::from_str(document).expect("YAML")).collect()
}

#[test]
fn each_example_is_limited_and_the_example_level_accepts_one() {
    let mut monitors = Vec::new();
    for file in ["trustyai.yaml", "evidently.yaml", "vllm.yaml", "dcgm.yaml"] {
        for example in examples(file) {
            let monitor: crate::api::Monitor = serde_json::from_value(example).expect(file);
            let queries = LimitedQueries::of(&monitor.spec, NAMESPACE_LABEL, "lending");
            assert!(queries.is_ok(), "{file}: {queries:?}");
            monitors.push(monitor);
        }
    }
    assert_eq!(monitors.len(), 8);
    let level: crate::api::RiskLevel =
        serde_json::from_value(examples("risklevel.yaml").remove(0)).expect("a level");
    let digests: Vec<_> = monitors.iter().map(|monitor| monitor.spec.measured_digest()).collect();
    let recorded = monitors.iter().zip(&digests).map(|(monitor, digest)| crate::policy::RecordedMonitor {
        name: monitor.metadata.name.as_deref().unwrap_or_default(),
        spec: &monitor.spec,
        measured: Some(digest),
    });
    assert_eq!(crate::policy::missing_monitors(&level.spec, recorded), []);
}
