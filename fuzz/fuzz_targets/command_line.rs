//! Property: any arguments of `kubectl assent` give a command or an error, and the program can print both. The input has
//! one argument per line.

#![no_main]

use assent::cli::Cli;
use clap::Parser;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|lines: &str| {
    let arguments = std::iter::once("kubectl-assent").chain(lines.lines());
    match Cli::try_parse_from(arguments) {
        Ok(command) => drop(format!("{command:?}")),
        Err(error) => drop(error.render().ansi().to_string()),
    }
});
