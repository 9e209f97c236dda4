//! Runs a program with a wrong clock. A preloaded library replaces the time functions of the C library. So the operator
//! needs no option for a wrong clock.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// The path of the compiled library.
pub struct Clock(PathBuf);

impl Clock {
    /// Compiles the library into `directory` and checks that it works.
    pub fn build(directory: &Path) -> Result<Self> {
        let (source, library) = (directory.join("clock.c"), directory.join("clock.so"));
        std::fs::write(&source, include_str!("clock.c"))?;
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let mut compile = Command::new(&compiler);
        compile.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(&source);
        let status = compile.status().with_context(|| format!("{} cannot be run", compiler.display()))?;
        ensure!(status.success(), "clock.c does not compile");
        let clock = Self(library);
        clock.check()?;
        Ok(clock)
    }

    /// The environment variables that shift the clock of a program by `seconds`.
    pub fn off_by(&self, seconds: i64) -> [(&'static str, OsString); 2] {
        [("LD_PRELOAD", self.0.clone().into()), ("CHAOS_CLOCK_OFFSET", seconds.to_string().into())]
    }

    /// Checks the library with `date`. Like Rust programs, `date` gets the time from the C library.
    fn check(&self) -> Result<()> {
        let now = jiff::Timestamp::now().as_second();
        let output = Command::new("date").arg("+%s").envs(self.off_by(-3600)).output()?;
        let shifted: i64 =
            String::from_utf8_lossy(&output.stdout).trim().parse().context("the shifted clock")?;
        ensure!(
            (shifted + 3600 - now).abs() < 60,
            "the clock is not shifted by an hour: it is {now}, and date printed {shifted}"
        );
        Ok(())
    }
}
