//! Tests texts that are too large or too deep.

use std::thread;

use super::{
    super::parse::{BRACKETS, CONDITIONALS, DEPTH, TEXT_BYTES, TOKENS},
    Expression, compile, environment, inputs, invalid,
};

/// The default stack size of a thread in Rust.
const STACK_BYTES: usize = 2 << 20;

#[test]
fn text_has_a_maximum_size() {
    let filler = |bytes: usize| format!("'{}' == 'a'", "b".repeat(bytes - 9));
    compile(&filler(TEXT_BYTES));
    assert_eq!(invalid(&filler(TEXT_BYTES + 1)), "the expression has 4097 bytes, and 4096 are allowed");
}

#[test]
fn tokens_have_a_maximum_number() {
    // Each list element adds two tokens.
    let list = |elements: usize| format!("1 in [{}]", "1,".repeat(elements));
    compile(&list((TOKENS - 4) / 2));
    let error = invalid(&list((TOKENS - 4) / 2 + 1));
    assert!(error.ends_with("the expression has more than 1000 names, literals and operators"), "{error}");
}

#[test]
fn brackets_have_a_maximum_nesting() {
    let nested = |levels: usize| format!("{}true{}", "(".repeat(levels), ")".repeat(levels));
    compile(&nested(BRACKETS));
    assert_eq!(invalid(&nested(BRACKETS + 1)), "1:33: the expression has more than 32 nested brackets");
}

#[test]
fn conditional_operators_have_a_maximum_number() {
    let chain = |length: usize| format!("{}true", "false ? true : ".repeat(length));
    compile(&chain(CONDITIONALS));
    let error = invalid(&chain(CONDITIONALS + 1));
    assert!(error.ends_with("the expression has more than 32 conditional operators"), "{error}");
}

#[test]
fn syntax_tree_has_a_maximum_depth() {
    let sum = |operands: usize| format!("{}1 > 0", "1 + ".repeat(operands));
    compile(&sum(DEPTH - 2));
    let error = invalid(&sum(DEPTH - 1));
    assert!(error.ends_with("the expression is nested more than 96 levels deep"), "{error}");
}

#[test]
fn no_text_needs_a_large_stack() {
    let texts = [
        "(",
        "!",
        "-",
        "[",
        "{",
        "a?b:",
        "a.",
        "f(",
        "1+",
        "a[",
        "!-",
        "[].all(x,",
        "any.",
        "any.a(",
        "{'a':",
        "a{b:",
        "x.?",
        "has(",
        "true||",
        "true?true:",
        "any[any[",
        "not in",
        "//",
        "'''",
        "\\",
        "é",
    ];
    let compile_and_evaluate = move || {
        for unit in texts {
            let text: String = unit.repeat(TEXT_BYTES / unit.len());
            for length in [TEXT_BYTES, 1000, 300, 100, 64, 33] {
                let text = &text[..text.floor_char_boundary(length.min(text.len()))];
                let closed = format!(
                    "{text}1{}",
                    if unit.contains('(') { ")" } else { "]" }.repeat(text.len() / unit.len())
                );
                for text in [text, &closed] {
                    if let Ok(expression) = Expression::compile(text, &environment()) {
                        let _ = expression.evaluate_alone(&inputs());
                    }
                }
            }
        }
    };
    let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(compile_and_evaluate);
    thread.expect("a thread").join().expect("no panic");
}

#[test]
fn deepest_expressions_need_a_small_stack() {
    let sum = format!("{}1 > 0", "1 + ".repeat(DEPTH - 2));
    let loops = BRACKETS - 1;
    let nested = format!("{}x == 1{}", "[1].all(x, ".repeat(loops), ")".repeat(loops));
    let chain = format!("any{} == 1", ".a".repeat(DEPTH - 2));
    let select = "false ? true : ".repeat(CONDITIONALS) + "true";
    let evaluate = move || {
        for text in [sum, nested, chain, select] {
            let _ = compile(&text).evaluate_alone(&inputs());
        }
    };
    // A debug build needs more stack: about 12 KB for each level of the syntax tree.
    let bytes = if cfg!(debug_assertions) { STACK_BYTES } else { STACK_BYTES / 8 };
    let thread = thread::Builder::new().stack_size(bytes).spawn(evaluate);
    thread.expect("a thread").join().expect("no panic");
}

#[test]
fn patterns_have_a_maximum_size_and_number() {
    for pattern in ["(a{100}){100}", "((((a{10}){10}){10}){10}){10}", r"(\\p{L}{100})*", "a{1000}{1000}"] {
        let error = invalid(&format!("version.system.matches('{pattern}')"));
        assert!(error.ends_with("the pattern is not valid: the pattern is too large"), "{error}");
    }
    for pattern in [
        "(".to_owned() + &")".repeat(2),
        "(".repeat(900) + &")".repeat(900),
        "[".repeat(1000),
        "a{1,0}".to_owned(),
    ] {
        assert!(
            invalid(&format!("version.system.matches('{pattern}')")).contains("the pattern is not valid: ")
        );
    }
    let many = |count: usize| "version.system.matches('a') || ".repeat(count) + "true";
    compile(&many(16));
    assert!(invalid(&many(17)).ends_with("the expression has more than 16 patterns"));
}
