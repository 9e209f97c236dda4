//! Tests random texts and random expressions with correct types. No text may cause a panic, and each evaluation must
//! end soon.

use std::time::{Duration, Instant};

use fastrand::Rng;

use super::{Expression, environment, inputs};

/// The maximum time for one text. A debug build on a slow and busy machine needs less. A longer time means that a limit
/// of compilations or evaluations is missing.
const MAX_TIME: Duration = Duration::from_secs(5);

#[rustfmt::skip]
const PIECES: &[&str] = &[
    "any", "version", "system", "now", "x", "y", "all", "exists", "exists_one", "has", "map", "filter", "size", "matches",
    "(", ")", "[", "]", "{", "}", ".", ",", ":", "?", "!", "-", "+", "*", "/", "%", "==", "!=", "<", "<=", "in", "&&",
    "||", "1", "0x1f", "1u", "1.5", "1e9", "'s'", "\"t\"", "b'q'", "r'\\d'", "'''m'''", "true", "null", ".?", "[?", "`x`",
    "//c\n", "\n", "\\", "é", "'\\x'", "\"\\u00\"", "as", "@", "=", "&", "|", "version.runtime.containers",
    "has(any.a)", "any.list.all(x, x == 1)", "any.list.map(x, [x])", "size(any)", "[1,2]", "{'a':1}",
    "9223372036854775807", "99999999999999999999", "'open", ".a", "a{b:1}", "-9223372036854775808", "any.list",
    "timestamp('2026-01-01T00:00:00Z')", "duration('9223372036854775807s')", "string(1.0)", "int('1')",
    ".matches('(a|b)*c')", ".matches('[')", ".all(x,", ".exists(y,", "any.text", "any.list[0]", " ", " ",
];

#[test]
fn random_texts_do_not_panic() {
    let (environment, inputs) = (environment(), inputs());
    let mut random = Rng::with_seed(7);
    let mut valid = 0;
    for _ in 0..20_000 {
        let pieces = if random.u8(..10) == 0 { 300 } else { 20 };
        let text: String =
            (0..random.usize(1..pieces)).map(|_| PIECES[random.usize(..PIECES.len())]).collect();
        let start = Instant::now();
        if let Ok(expression) = Expression::compile(&text, &environment) {
            valid += 1;
            let _ = expression.evaluate_alone(&inputs);
        }
        assert!(start.elapsed() < MAX_TIME, "{text}");
    }
    assert!(valid > 20, "{valid} texts are valid");
}

#[test]
fn random_bytes_do_not_panic() {
    let environment = environment();
    let mut random = Rng::with_seed(9);
    for _ in 0..20_000 {
        let text: String = (0..random.usize(..40)).map(|_| random.char('\0'..='\u{ff}')).collect();
        let _ = Expression::compile(&text, &environment);
    }
}

#[test]
fn random_well_typed_expressions_compile_and_are_deterministic() {
    let (environment, inputs) = (environment(), inputs());
    let mut random = Rng::with_seed(3);
    let (mut results, mut failures) = (0, 0);
    for _ in 0..2_000 {
        let text = well_typed(&mut random);
        if text.len() > super::super::parse::TEXT_BYTES {
            continue;
        }
        let expression = match Expression::compile(&text, &environment) {
            Ok(expression) => expression,
            Err(error) => {
                assert!(error.to_string().contains("more than"), "{error}: {text}");
                continue;
            }
        };
        let start = Instant::now();
        let result = expression.evaluate_alone(&inputs);
        assert!(start.elapsed() < MAX_TIME, "{text}");
        assert_eq!(
            result,
            Expression::compile(&text, &environment).expect("valid").evaluate_alone(&inputs),
            "{text}"
        );
        match result {
            Ok(_) => results += 1,
            Err(_) => failures += 1,
        }
    }
    assert!(results > 100 && failures > 100, "{results} {failures}");
}

pub(super) fn well_typed(random: &mut Rng) -> String {
    let mut generator = Generator { random, ints: Vec::new(), variables: 0 };
    generator.bool(6)
}

struct Generator<'a> {
    random: &'a mut Rng,
    ints: Vec<String>,
    variables: usize,
}

impl Generator<'_> {
    fn bool(&mut self, depth: usize) -> String {
        if depth == 0 {
            return ["true", "false", "version.runtime.hostNetwork", "any.text"][self.random.usize(..4)]
                .to_owned();
        }
        let next = depth - 1;
        match self.random.u8(..11) {
            0 => format!("({} && {})", self.bool(next), self.bool(next)),
            1 => format!("({} || {})", self.bool(next), self.bool(next)),
            2 => format!("!({})", self.bool(next)),
            3 => format!("({} ? {} : {})", self.bool(next), self.bool(next), self.bool(next)),
            4 => format!(
                "{} {} {}",
                self.int(next),
                ["==", "<", ">=", "!="][self.random.usize(..4)],
                self.int(next)
            ),
            5 => format!("{} in {}", self.int(next), self.list(next)),
            6 => format!("{} == {}", self.list(next), self.list(next)),
            7 => format!(
                "{}.{}({})",
                self.text(),
                ["contains", "startsWith"][self.random.usize(..2)],
                self.text()
            ),
            8 => format!("{}.matches('^[a-z]+(-[0-9]+)?$')", self.text()),
            _ => {
                let kind = ["all", "exists", "exists_one"][self.random.usize(..3)];
                let list = self.list(next);
                self.within_loop(|inner, variable| format!("{list}.{kind}({variable}, {})", inner.bool(next)))
            }
        }
    }

    fn int(&mut self, depth: usize) -> String {
        if depth == 0 || self.random.u8(..4) == 0 {
            return match self.random.choice(self.ints.iter()) {
                Some(variable) => variable.clone(),
                None => {
                    ["0", "1", "-1", "9223372036854775807", "any.list[0]"][self.random.usize(..5)].to_owned()
                }
            };
        }
        let next = depth - 1;
        match self.random.u8(..4) {
            0 => format!(
                "({} {} {})",
                self.int(next),
                ["+", "-", "*", "/", "%"][self.random.usize(..5)],
                self.int(next)
            ),
            1 => format!("{}.size()", self.list(next)),
            2 => format!("int(string({}))", self.int(next)),
            _ => format!("{}[{}]", self.list(next), self.int(next)),
        }
    }

    fn list(&mut self, depth: usize) -> String {
        if depth == 0 || self.random.u8(..3) == 0 {
            let elements =
                ["1, 2, 3", "0", "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20"];
            return format!("[{}]", elements[self.random.usize(..3)]);
        }
        let next = depth - 1;
        let list = self.list(next);
        if self.random.bool() {
            self.within_loop(|inner, variable| format!("{list}.filter({variable}, {})", inner.bool(next)))
        } else {
            self.within_loop(|inner, variable| format!("{list}.map({variable}, {})", inner.int(next)))
        }
    }

    fn text(&mut self) -> &'static str {
        ["version.system", "any.text", "'credit-1'", "any.missing", "string(1.5)"][self.random.usize(..5)]
    }

    fn within_loop(&mut self, body: impl FnOnce(&mut Self, &str) -> String) -> String {
        self.variables += 1;
        let variable = format!("v{}", self.variables);
        self.ints.push(variable.clone());
        let text = body(self, &variable);
        self.ints.pop();
        text
    }
}
