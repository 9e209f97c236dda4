//! Tests that the parser in [`parse`] gives the same nodes as the default parser of the library.

use cel::parser::Parser;

use super::{
    super::{check, parse},
    environment,
    random::well_typed,
    rules::EXPRESSIONS,
};

#[test]
fn both_parsers_of_the_library_give_the_same_nodes() {
    let mut random = fastrand::Rng::with_seed(1);
    let generated = (0..500).map(|_| well_typed(&mut random));
    let environment = environment();
    let mut compared = 0;
    for text in EXPRESSIONS.iter().map(|(text, _)| (*text).to_owned()).chain(generated) {
        let Ok(parsed) = parse::parse(&text) else { continue };
        let root = Parser::new().parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let default = parse::Parsed { root, leaves: parsed.leaves.clone() };
        let nodes = [&parsed, &default].map(|parsed| {
            let checked = check::check(parsed, &environment);
            format!("{:?}", checked.map_err(|error| error.to_string()))
        });
        assert_eq!(nodes[0], nodes[1], "{text}");
        compared += 1;
    }
    assert!(compared > 400, "{compared} expressions are within the limits");
}
