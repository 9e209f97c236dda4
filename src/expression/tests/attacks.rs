//! Tests expressions that an attacker writes to be slow, with large inputs.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    super::BUDGET, Environment, Expression, Failure, Inputs, Type, compile, environment, evaluate, inputs,
    inputs_of, rules::EXPRESSIONS, values,
};

const KILO: usize = 1000;

fn attacked() -> (Environment, Inputs) {
    let environment: Environment = ["text", "other", "random", "lines", "numbers", "map", "objects"]
        .into_iter()
        .map(|name| (name, Type::Dyn))
        .collect();
    let text = json!("ab".repeat(150 * KILO));
    let other = json!("ab".repeat(150 * KILO - 1) + "aa");
    let mut random = fastrand::Rng::with_seed(5);
    // For a periodic text, a regular expression would need only few states, and its search would be fast.
    let random = json!((0..20 * KILO).map(|_| if random.bool() { 'a' } else { 'b' }).collect::<String>());
    let lines = json!(vec!["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"; 4500]);
    let numbers = json!((0..100 * KILO).collect::<Vec<_>>());
    let map: serde_json::Map<_, _> = (0..20 * KILO).map(|n| (format!("{n:a>60}"), json!(n))).collect();
    let map = map.into();
    let objects = json!(values(64, 60));
    let values = [
        ("text", &text),
        ("other", &other),
        ("random", &random),
        ("lines", &lines),
        ("numbers", &numbers),
        ("map", &map),
        ("objects", &objects),
    ];
    let inputs = Inputs::new(&environment, values);
    (environment, inputs)
}

/// Nests `depth` loops around `body`. Each loop has ten elements.
fn loops(depth: usize, body: &str) -> String {
    // All loops use the variable `v`. Each loop hides the variable of the outer loop.
    format!("{}{body}{}", "[0,1,2,3,4,5,6,7,8,9].all(v, ".repeat(depth), ")".repeat(depth))
}

fn attacks() -> Vec<(&'static str, String)> {
    vec![
        ("empty loops", loops(9, "true")),
        ("absorbed failures", loops(9, "1 / 0 == 1 || true")),
        ("loop in a condition", format!("{} || true", loops(9, "false || true"))),
        ("large loop", "numbers.all(x, numbers.exists(y, x == -1))".to_owned()),
        ("map of maps", "numbers.map(x, numbers.map(y, y)).size() > 0".to_owned()),
        ("map of the inputs", loops(9, "size(numbers.map(x, objects)) > 0")),
        ("equal lists", loops(9, "numbers == numbers")),
        ("in a list", loops(9, "!(-1 in numbers)")),
        (
            "in a list of texts",
            loops(9, "!('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac' in lines)"),
        ),
        ("equal texts", loops(9, "text != other")),
        ("order of texts", loops(9, "text > other")),
        ("equal objects", loops(9, "objects == objects")),
        ("contains", loops(9, "!text.contains('bb')")),
        ("contains, periodic", loops(9, &format!("!text.contains('{}aa')", "ab".repeat(1000)))),
        ("contains, dynamic", loops(9, "!text.contains(other)")),
        ("starts with", loops(9, "!text.startsWith(other)")),
        ("size of a text", loops(9, "text.size() > 0")),
        ("int of a text", loops(9, "int(text) == 0")),
        ("double of a text", loops(9, "double(text) == 0.0")),
        ("timestamp of a text", loops(9, "timestamp(text) == timestamp(text)")),
        ("duration of a text", loops(9, "duration(text) == duration(text)")),
        ("string of an int", loops(9, "string(numbers[0] + 1) != string(numbers[1] + 1)")),
        ("keys of a map", loops(9, "map.all(k, k in map)")),
        ("index of a map", loops(9, "map.all(k, map[k] >= 0)")),
        ("list literals", loops(9, &format!("size([{}]) > 0", "1,".repeat(300)))),
        ("pattern, backtracking", loops(9, "!text.matches('^(a|b|ab)*c$')")),
        ("pattern, many states", loops(9, "!random.matches('(a|b)*a(a|b){12}c')")),
        ("pattern, few states, no cache", loops(9, "!random.matches('[ab]*a[ab]{14}c')")),
        ("pattern, large", loops(9, "!random.matches('(a|b)*a(a|b){150}c')")),
        ("pattern, largest", loops(9, "!random.matches('(a|b)*a(a|b){250}c')")),
        ("pattern, alternatives", loops(9, "!random.matches('(a|b|ab)*a(a|b|ba|ab){10}c')")),
        ("pattern, short texts", "lines.all(l, lines.all(m, !l.matches('(a|b)*a(a|b){12}c')))".to_owned()),
        ("pattern, unicode", loops(9, r"!text.matches(r'[ab]{9}\pN')")),
        (
            "filter chain",
            "numbers.filter(x, true).filter(x, true).filter(x, true).filter(x, true).size() > 0".to_owned(),
        ),
    ]
}

#[test]
fn no_attack_takes_long() {
    let (environment, inputs) = attacked();
    for (name, text) in attacks() {
        let expression = match Expression::compile(&text, &environment) {
            Ok(expression) => expression,
            Err(error) => panic!("{name}: {error}"),
        };
        let start = Instant::now();
        let result = expression.evaluate_alone(&inputs);
        let elapsed = start.elapsed();
        assert_eq!(result, Err(Failure::TooExpensive), "{name}");
        // This maximum time is long enough for a debug build on a slow and busy machine.
        assert!(elapsed < Duration::from_secs(5), "{name} takes {elapsed:?}");
    }
}

#[test]
fn budget_that_is_used_up_ends_the_evaluation_even_if_a_failure_is_absorbed() {
    let expensive = "[1,2,3].all(a, [1,2,3].all(b, [1,2,3].all(c, true)))";
    for text in [
        format!("{expensive} || true"),
        format!("true && !({expensive} && false)"),
        format!("[1].exists(x, {expensive}) || [1].all(x, true)"),
    ] {
        let expression = Expression::compile(&text, &environment()).expect("valid");
        assert_eq!(expression.evaluate_within(&inputs(), 30), Err(Failure::TooExpensive), "{text}");
        assert!(expression.evaluate_alone(&inputs()).is_ok(), "{text}");
    }
}

#[test]
fn realistic_expressions_need_a_small_part_of_the_budget() {
    let inputs = inputs();
    for (text, _) in EXPRESSIONS {
        assert!(compile(text).evaluate_within(&inputs, BUDGET / 20).is_ok(), "{text}");
    }
}

/// Prints how long each compilation and evaluation takes. Run with `cargo test --release -- --ignored --nocapture
/// measure`.
#[test]
#[ignore = "a measurement"]
fn measure() {
    let environment = environment();
    let values = values(5, 40);
    let time = |name: &str, runs: u32, mut work: Box<dyn FnMut() + '_>| {
        let start = Instant::now();
        (0..runs).for_each(|_| work());
        println!("{:>10.1?}  {name}", start.elapsed() / runs);
    };
    time("convert the inputs", 200, Box::new(|| drop(black_box(inputs_of(&values)))));
    let inputs = inputs_of(&values);
    for (text, _) in EXPRESSIONS {
        let expression = compile(text);
        time(
            &format!("compile {text}"),
            200,
            Box::new(|| drop(black_box(Expression::compile(text, &environment)))),
        );
        time("evaluate", 200, Box::new(|| drop(black_box(expression.evaluate_alone(&inputs)))));
        let steps =
            (0..20).map(|n| 1_u64 << n).find(|steps| expression.evaluate_within(&inputs, *steps).is_ok());
        println!("            fewer than {} steps", steps.unwrap_or_default());
    }
    let (environment, inputs) = attacked();
    for (name, text) in attacks() {
        time(
            &format!("compile {name}"),
            1,
            Box::new(|| drop(black_box(Expression::compile(&text, &environment)))),
        );
        let expression = Expression::compile(&text, &environment).expect("valid");
        time(name, 3, Box::new(|| drop(black_box(expression.evaluate_alone(&inputs)))));
    }
    let long = |unit: &str, end: &str| unit.repeat((4090 - end.len()) / unit.len()) + end;
    for (name, text) in [
        ("sums", long("1+", "1")),
        ("calls", long("a.f().", "a")),
        ("conditions", long("true||", "true")),
        ("patterns", "text.matches('(\\\\pL|\\\\pN){9}') || ".repeat(16) + "true"),
        ("unknown name", long("a", "")),
        ("errors", long("] ", "")),
        ("negations", long("!-", "1")),
    ] {
        time(
            &format!("compile {name}"),
            3,
            Box::new(|| drop(black_box(Expression::compile(&text, &environment)))),
        );
    }
    drop(evaluate("true"));
}
