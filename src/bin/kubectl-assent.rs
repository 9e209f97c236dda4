//! The plugin `kubectl assent`. People approve AI systems with it, and see why a system does not run.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use assent::cli::{Cli, run};
use clap::Parser;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Box::pin(run(Cli::parse())).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprint!("{}", error.report());
            ExitCode::from(error.exit_code())
        }
    }
}
