//! Whatever is typed after `kubectl assent`, an argument a line, is a command or an error that can be printed:
//! systems, targets, digests, instants and durations among them.

#![no_main]

use assent::cli::Cli;
use clap::Parser;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|typed: &str| {
    let arguments = std::iter::once("kubectl-assent").chain(typed.lines());
    match Cli::try_parse_from(arguments) {
        Ok(command) => drop(format!("{command:?}")),
        Err(error) => drop(error.render().ansi().to_string()),
    }
});
