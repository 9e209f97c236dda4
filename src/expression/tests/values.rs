//! Tests the results and failures of operators and functions.

use serde_json::json;

use super::{Environment, Expression, Failure, Inputs, Type, compile, evaluate, inputs};

#[test]
fn true_expressions_are_true() {
    for text in [
        "1 + 2 * 3 == 7 && 7 / 2 == 3 && -7 % 3 == -1 && 7 - 10 == -3",
        "1.5 + 1.0 == 2.5 && 1.0 / 0.0 > 1e300 && 0.0 / 0.0 != 0.0 / 0.0 && !(0.0 / 0.0 < 1.0)",
        "1 == 1.0 && 1 < 1.5 && 1.5 > 1 && 9007199254740993 > 9007199254740992.0 && -1 > -1.5",
        "9223372036854775807 < 9223372036854775808.0 && -9223372036854775808 == -9223372036854775808.0",
        "'a' < 'b' && 'a' != 'b' && size('äöü') == 3 && 'äöü'.size() == 3",
        "[1, 2] == [1, 2] && [1] != [2] && [1, 2].size() == 2 && 2 in [1, 2] && !(3 in [1, 2]) && [] == []",
        "[[1], [2]][1][0] == 2 && [1, 2, 3].map(x, x * 2) == [2, 4, 6] && [1, 2, 3].filter(x, x > 1) == [2, 3]",
        "[1, 2, 3].map(x, x > 1, x * 2) == [4, 6] && [1, 2].exists_one(x, x == 1) && ![1, 1].exists_one(x, x == 1)",
        "[].all(x, false) && ![].exists(x, true) && [1, 2].map(x, [3, 4].map(y, x * y)) == [[3, 4], [6, 8]]",
        "'abc'.contains('b') && 'abc'.startsWith('ab') && 'abc'.endsWith('bc') && 'abc'.matches('^a.c$')",
        r"'a1'.matches(r'^\w\d$') && !'ä'.matches(r'^\w$') && !'٣'.matches(r'\d') && 'a b'.matches(r'[\s]\bb')",
        "int('12') == 12 && int(1.9) == 1 && int(-1.9) == -1 && double('0.03') == 0.03 && double(2) == 2.0",
        "string(1) == '1' && string(1.5) == '1.5' && string(true) == 'true' && string(any.text) == 'a'",
        "timestamp('2026-11-28T12:00:00Z') == now && string(now) == '2026-11-28T12:00:00Z' && int(now) > 0",
        "now + duration('1h') > now && now - duration('1h') < now && duration('90m') == duration('1h30m')",
        "now - timestamp('2026-11-28T11:00:00Z') == duration('1h') && duration('1h') + duration('1h') > duration('1h')",
        "(1 > 0 ? 'a' : 'b') == 'a' && !false && (true || false) && !(true && false)",
        "namespaceObject.metadata.labels.region == 'eu' && 'tier' in namespaceObject.metadata.labels",
        "has(namespaceObject.metadata.labels.tier) && !has(namespaceObject.metadata.labels.other)",
        "namespaceObject.metadata.labels.all(k, size(k) < 10) && namespaceObject.metadata.labels.exists(k, k == 'tier')",
        "any.list[0] == 1 && any.list[1] == 2.5 && any.list[3] == null && any['text'] == 'a' && 'text' in any",
        "any.list[0] + 1 == 2 && any.list.size() == 4 && -any.list[0] == -1",
        "'''a\nb''' == 'a\\nb' && r'\\n' == '\\\\n' && \"\\u00e4\" == 'ä' // a comment",
    ] {
        assert_eq!(evaluate(text), Ok(true), "{text}");
    }
}

#[test]
fn calculation_out_of_range_is_a_failure() {
    for text in [
        "9223372036854775807 + 1 > 0",
        "-9223372036854775807 - 2 < 0",
        "9223372036854775807 * 2 > 0",
        "-(-9223372036854775808) > 0",
        "-9223372036854775808 / -1 > 0",
        "-9223372036854775808 % -1 == 0",
        "1 / 0 == 1",
        "1 % 0 == 1",
        "now + duration('9223372036854775807s') > now",
        "now - duration('9223372036854775807s') < now",
        "timestamp('9999-12-30T00:00:00Z') + duration('48h') > now",
        "duration('9223372036854775807s') + duration('9223372036854775807s') > duration('1s')",
        "duration('-9223372036854775807s') - duration('9223372036854775807s') < duration('1s')",
        "[1][1] == 1",
        "[1][-1] == 1",
        "int(any.text) == 1",
        "double(any.text) == 1.0",
        "timestamp(any.text) > now",
        "duration(any.text) > duration('1s')",
        "any.text + any.text == 'aa'",
        "any.list + any.list == []",
        "any.text < 1",
        "any.text",
        "any.text && true",
        "any.list.all(x, x)",
        "any.text.matches('a') && any.list[0].matches('a')",
        "1 in any.text",
        "any[0] == 1",
        "size(any.list[0]) == 1",
        "any.text.exists(x, true)",
    ] {
        assert!(matches!(evaluate(text), Err(Failure::Other(_))), "{text}: {:?}", evaluate(text));
    }
}

#[test]
fn unset_field_and_key_are_failures_with_their_names() {
    for (text, expected) in [
        ("version.provenance.architecture == 'a'", Failure::NoSuchField("architecture".to_owned())),
        ("version.provenance.baseModel.uri == 'null is unset'", Failure::NoSuchField("uri".to_owned())),
        ("namespaceObject.metadata.labels.a == 'a'", Failure::NoSuchKey(Some("a".to_owned()))),
        ("namespaceObject.metadata.labels['a'] == 'a'", Failure::NoSuchKey(Some("a".to_owned()))),
        // The key is a value of an input and can be secret, so the failure does not quote it.
        ("namespaceObject.metadata.labels[any.secret] == 'a'", Failure::NoSuchKey(None)),
    ] {
        assert_eq!(evaluate(text), Err(expected), "{text}");
    }
    let unset = compile("now > now").evaluate_alone(&Inputs::default());
    assert_eq!(unset, Err(Failure::NoSuchField("now".to_owned())));
}

#[test]
fn operand_that_decides_hides_a_failure() {
    for (text, expected) in [
        ("1 / 0 == 1 || true", true),
        ("true || 1 / 0 == 1", true),
        ("1 / 0 == 1 && false", false),
        ("[0, 1].exists(x, 1 / x == 1)", true),
        ("[0, 1].all(x, 1 / x == 2)", false),
    ] {
        assert_eq!(evaluate(text), Ok(expected), "{text}");
    }
    for text in [
        "1 / 0 == 1 || false",
        "true && 1 / 0 == 1",
        "[0, 1].all(x, 1 / x == 1)",
        "[0, 1].exists_one(x, 1 / x == 1)",
    ] {
        assert!(evaluate(text).is_err(), "{text}");
    }
}

#[test]
fn failure_is_one_short_line_without_values() {
    let long = "x".repeat(4000);
    for text in [
        format!("namespaceObject.metadata.labels['{long}'] == 'a'"),
        format!("namespaceObject.metadata.labels.{long} == 'a'"),
        "int(any.secret) == 1".to_owned(),
        "any.secret + 1 == 1".to_owned(),
        "namespaceObject.metadata.labels[any.secret] == ''".to_owned(),
        "namespaceObject.metadata.labels['a\\n\\u0007\\u2028'] == 'a'".to_owned(),
    ] {
        let failure = evaluate(&text).expect_err("a failure").to_string();
        let is_line = !failure.contains(|char: char| char.is_control() || char == '\u{2028}');
        assert!(failure.len() <= 256 && is_line && !failure.contains("hunter2"), "{failure:?}");
    }
}

#[test]
fn first_failure_in_the_order_of_the_keys_counts() {
    let keys = ["zz", "b", "a", "c", "m"];
    let text = "labels.all(k, {}[k] == '')".replace("{}", "others");
    let environment: Environment =
        [("labels", Type::map(Type::String)), ("others", Type::map(Type::String))].into_iter().collect();
    let expression = Expression::compile(
        &text.replace("others[k]", "(k == 'b' ? string(1 / 0) : others.x)"),
        &environment,
    );
    let expression = expression.expect("valid");
    for rotation in 0..keys.len() {
        let rotated = keys.iter().cycle().skip(rotation).take(keys.len());
        let labels: serde_json::Map<_, _> = rotated.map(|key| ((*key).to_owned(), json!(""))).collect();
        let (labels, others) = (labels.into(), json!({}));
        let inputs = Inputs::new(&environment, [("labels", &labels), ("others", &others)]);
        assert_eq!(expression.evaluate_alone(&inputs), Err(Failure::NoSuchKey(Some("x".to_owned()))));
    }
}

#[test]
fn value_of_another_type_than_its_schema_is_a_failure() {
    let environment: Environment =
        [("at", Type::Timestamp), ("count", Type::Int), ("ratio", Type::Double)].into_iter().collect();
    let (at, count, ratio) = (json!("not a time"), json!(u64::MAX), json!(1));
    let inputs =
        Inputs::new(&environment, [("at", &at), ("count", &count), ("ratio", &ratio), ("other", &ratio)]);
    let evaluate =
        |text: &str| Expression::compile(text, &environment).expect("valid").evaluate_alone(&inputs);
    assert!(evaluate("at > timestamp('2026-01-01T00:00:00Z')").is_err());
    assert!(evaluate("count + 1 > 0").is_err());
    assert_eq!(evaluate("count > 9223372036854775807 && ratio / 2.0 == 0.5"), Ok(true));
}

#[test]
fn expressions_and_inputs_can_be_shared_between_threads() {
    fn is_shared<T: Send + Sync + 'static>(_: &T) {}
    is_shared(&compile("true"));
    is_shared(&inputs());
}
