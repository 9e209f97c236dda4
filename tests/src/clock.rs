//! An operator whose clock is wrong, without a knob in the operator: a library that is loaded before the
//! C library answers for it when the time is asked.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// The library that tells a program the wrong time.
pub struct Clock(PathBuf);

impl Clock {
    /// Compiles it into `directory`.
    pub fn build(directory: &Path) -> Result<Self> {
        let (source, library) = (directory.join("clock.c"), directory.join("clock.so"));
        std::fs::write(&source, include_str!("clock.c"))?;
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let mut compile = Command::new(&compiler);
        compile.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(&source);
        let status = compile.status().with_context(|| format!("{} cannot be run", compiler.display()))?;
        ensure!(status.success(), "clock.c does not compile");
        let clock = Self(library);
        clock.shifts()?;
        Ok(clock)
    }

    /// What a program's environment must have for its clock to differ by `seconds`.
    pub fn off_by(&self, seconds: i64) -> [(&'static str, OsString); 2] {
        [("LD_PRELOAD", self.0.clone().into()), ("CHAOS_CLOCK_OFFSET", seconds.to_string().into())]
    }

    /// A program that asks the C library, as those of Rust do, is told another time.
    fn shifts(&self) -> Result<()> {
        let now = jiff::Timestamp::now().as_second();
        let told = Command::new("date").arg("+%s").envs(self.off_by(-3600)).output()?;
        let told: i64 = String::from_utf8_lossy(&told.stdout).trim().parse().context("the shifted clock")?;
        ensure!((told + 3600 - now).abs() < 60, "the clock is not shifted: it is {now}, and {told} was told");
        Ok(())
    }
}
