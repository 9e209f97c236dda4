//! Tests the errors of names and types.

use super::{Environment, Expression, Type, compile, environment, invalid};

#[test]
fn unknown_name_is_an_error_with_the_nearest_name() {
    for (text, expected) in [
        ("versoin.system == 'a'", "1:1: there is no variable versoin, did you mean version?"),
        (
            "xyz",
            "1:1: there is no variable xyz, the variables are: any, assessments, namespaceObject, now, system, version",
        ),
        (
            "version.runtime.contaners.size() > 0",
            "1:17: version.runtime has no field contaners, did you mean containers?",
        ),
        (
            "true &&\n  system.documentation.all(d,\n d.xyz == 'a')",
            "3:4: d has no field xyz, its fields are: digest, owner, review, type, uri, version",
        ),
        ("version.system.startWith('a')", "1:16: there is no function startWith, did you mean startsWith?"),
        ("has(version.runtime.hostPid)", "1:21: version.runtime has no field hostPid, did you mean hostPID?"),
    ] {
        assert_eq!(invalid(text), expected);
    }
}

#[test]
fn operand_of_the_wrong_type_is_an_error() {
    for (text, expected) in [
        ("version.system", "1:1: the result of the expression must be bool, and it is string"),
        (
            "version.system == 1",
            "1:1: == does not take string and int, convert the text with int() or double()",
        ),
        ("version.system + 'a' == 'b'", "1:1: + does not take string and string, texts cannot be joined"),
        ("[1] + [2] == [3]", "1:2: + does not take list of int and list of int"),
        ("1 + 1.5 > 2.0", "1:1: + does not take int and double, convert the int with double()"),
        (
            "now > '2027-01-01T00:00:00Z'",
            "1:1: > does not take timestamp and string, write timestamp(\"2027-03-31T00:00:00Z\")",
        ),
        (
            "version.provenance.sbom != null",
            "1:1: != does not take object and null, test whether a field is set with has()",
        ),
        ("version.system && true", "1:1: an operand of && must be bool, and it is string"),
        ("1 in version.system", "1:1: in does not take int and string"),
        ("'a' in [1]", "1:1: in does not take string and list of int"),
        ("-version.system == 'a'", "1:2: - needs a number, and this is string"),
        ("size(1) > 0", "1:1: size does not take int, write size(value)"),
        (
            "version.runtime.containers.name == 'a'",
            "1:28: version.runtime.containers is list of object and has no field name, test its elements with all() or exists()",
        ),
        (
            "version['system'] == 'a'",
            "1:9: version is object and has no index of string, write a field as .name",
        ),
        ("version.all(f, true)", "1:9: this loop needs a list, and version is object"),
        (
            "namespaceObject.metadata.labels.map(k, k).size() > 0",
            "1:33: this loop needs a list, and namespaceObject.metadata.labels is map of string",
        ),
        ("[1, 2].all(x, x)", "1:15: the condition of a loop must be bool, and it is int"),
        ("true ? 1 : 'a'", "1:8: the results of ? : have different types, int and string"),
        ("[1].all(x)", "1:5: all is not used correctly, write list.all(x, condition)"),
        ("version.system.matches(version.system)", "1:16: the pattern of matches must be a text in quotes"),
    ] {
        assert_eq!(invalid(text), expected, "{text}");
    }
}

#[test]
fn unsupported_syntax_is_an_error() {
    for (text, expected) in [
        ("{'a': 1}['a'] == 1", "1:2: a map in braces is not supported"),
        ("version.?system == 'a'", "1:8: unsupported syntax '.?'"),
        ("1u == 1u", "1:1: an unsigned number is not supported, write the number without u"),
        ("b'a' == b'a'", "1:1: a byte string is not supported, write the text without b"),
        (
            "system.documentation.exists(d d.type == 'a')",
            "1:31: Syntax error: mismatched input 'd' expecting ')'",
        ),
        ("version.", "1:9: expected identifier after '.'"),
        (".version.system == 'a'", "1:2: there is no variable .version, did you mean version?"),
        ("", "1:1: Syntax error: mismatched input '<EOF>' expecting expression"),
        ("'a\nb' == é", "2:7: unexpected character"),
    ] {
        assert_eq!(invalid(text), expected, "{text}");
    }
}

#[test]
fn invalid_constant_is_an_error_of_the_expression() {
    for text in [
        "double('NaN') > 0.0",
        "double('three') > 0.0",
        "int('9223372036854775808') > 0",
        "int(1e300) > 0",
        "timestamp('2027-02-30T00:00:00Z') > now",
        "timestamp('99999-01-01T00:00:00Z') > now",
        "now + duration('1 potato') > now",
        "9223372036854775808 > 0",
        "1e999 > 0.0",
    ] {
        assert!(invalid(text).starts_with("1:"), "{}", invalid(text));
    }
}

#[test]
fn error_is_one_short_line() {
    let fields = (0..1000).map(|n| (format!("field{n}"), Type::Int));
    let environment: Environment = [("object", Type::object(fields))].into_iter().collect();
    let long = "x".repeat(4000);
    for text in [format!("object.{long}"), format!("'''a\n\u{7}{long}''' b"), "object.x".to_owned()] {
        let error = Expression::compile(&text, &environment).expect_err("not valid").to_string();
        assert!(error.len() < 600 && !error.contains(char::is_control), "{error:?}");
    }
}

#[test]
fn positions_are_correct_after_each_loop() {
    for text in [
        "[1].all(x, x > 0)",
        "[1].exists(x, x > 0)",
        "[1].exists_one(x, x > 0)",
        "[1].map(x, x).size() > 0",
        "[1].map(x, x > 0, x).size() > 0",
        "[1].map(x, x > 0, x * 2).size() > 0",
        "[1].filter(x, x > 0).size() > 0",
        "has(version.system)",
        "-1 < 2 && !(-1.5 > 2.0) && --3 == 3",
        "[1, 2][0] == 1 || null == null",
        "version.system.matches(r'''a''') ? true : \"a\" in ['b']",
    ] {
        assert_eq!(
            invalid(&format!("{text} && wrong")).split(' ').next(),
            Some(&*format!("1:{}:", text.len() + 5)),
            "{text}"
        );
    }
}

#[test]
fn loop_variable_hides_a_variable_with_the_same_name() {
    compile("[1].all(version, version == 1 && ['a'].all(version, version == 'a') && version == 1)");
    assert!(Expression::compile("[1].all(version, version.system == 'a')", &environment()).is_err());
}
