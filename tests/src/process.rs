//! Child processes that end with the test, even if the test is killed and runs no destructor.
//!
//! Each process runs under the script `tests/controlplane/supervise`, whose stdin is a pipe from the test. If the test
//! closes the pipe or dies, the script ends the process.
//!
//! ```text
//! Process ── stdin: "STOP", "CONT", … ─────────────> supervise ── signal ──> program ──> log/<name>.log
//!         <─ stdout: "pid 123", then each sent signal
//!         <─ exit status of the program
//! ```

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::binaries::controlplane;
use crate::wait::until;

/// A program that ends when this value is dropped or the test process ends.
pub struct Process {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    log: PathBuf,
    run: Mutex<Run>,
}

/// One run of the program. A restart replaces this value.
struct Run {
    supervisor: Child,
    orders: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
    pid: u32,
    /// Whether a method of [`Process`] asked the process to end.
    is_ending: bool,
}

impl Process {
    /// Runs `program` with the environment of this process plus `envs`. The output goes to the new file
    /// `<log_dir>/<name>.log`. An earlier process of this name must have ended.
    pub fn spawn<Arg, Key, Value>(
        name: &str,
        program: impl AsRef<Path>,
        args: impl IntoIterator<Item = Arg>,
        envs: impl IntoIterator<Item = (Key, Value)>,
        log_dir: &Path,
    ) -> Result<Self>
    where
        Arg: Into<OsString>,
        Key: Into<OsString>,
        Value: Into<OsString>,
    {
        let program = program.as_ref().to_owned();
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let envs: Vec<_> = envs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        let log = log_dir.join(format!("{name}.log"));
        match fs::remove_file(&log) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", log.display()));
            }
            _ => {}
        }
        let run = Mutex::new(Run::start(&program, &args, &envs, &log)?);
        Ok(Self { name: name.to_owned(), program, args, envs, log, run })
    }

    /// The name from the call of [`Process::spawn`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends SIGKILL, and returns when the process is gone. The process may have ended before.
    pub fn kill(&self) {
        self.run().end();
    }

    /// Sends SIGTERM and waits for the process to end. After `patience`, kills the process and fails.
    pub async fn terminate(&self, patience: Duration) -> Result<ExitStatus> {
        self.run().is_ending = true;
        self.signal("TERM")?;
        let ended = async || Ok(self.exit_status());
        match until(patience, &format!("{} to end after SIGTERM", self.name), ended).await {
            Ok(status) => Ok(status),
            Err(late) => {
                self.kill();
                Err(late)
            }
        }
    }

    /// Sends SIGSTOP: the process hangs and keeps its connections open.
    pub fn pause(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Sends SIGCONT: the paused process continues.
    pub fn resume(&self) -> Result<()> {
        self.signal("CONT")
    }

    /// Runs the same command again. Sends SIGKILL first if the process still runs. The log keeps its old content.
    pub fn restart(&self) -> Result<()> {
        let mut run = self.run();
        run.end();
        *run = Run::start(&self.program, &self.args, &self.envs, &self.log)?;
        Ok(())
    }

    /// Whether the process has not ended. A paused process is running.
    pub fn is_running(&self) -> bool {
        self.exit_status().is_none()
    }

    /// Whether the process has ended, and neither [`Process::kill`] nor [`Process::terminate`] ended it.
    pub fn ended_by_itself(&self) -> bool {
        !self.is_running() && !self.run().is_ending
    }

    /// The exit status, or `None` if the process runs. After a signal, the code is 128 plus the number of the signal.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.run().supervisor.try_wait().ok().flatten()
    }

    /// The id of the process itself, not of its supervisor. After the process has ended, the id stays the same until a
    /// restart.
    pub fn pid(&self) -> u32 {
        self.run().pid
    }

    /// The file with the output of the process.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last `lines` lines of the output.
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }

    fn signal(&self, signal: &str) -> Result<()> {
        self.run().order(signal).with_context(|| format!("sending SIG{signal} to {}", self.name))
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Run {
    fn start(program: &Path, args: &[OsString], envs: &[(OsString, OsString)], log: &Path) -> Result<Self> {
        let mut supervisor = Command::new(controlplane("supervise"))
            .args([log.as_os_str(), program.as_os_str()])
            .args(args)
            .envs(envs.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C does not reach the supervisor. The supervisor ends when the test process ends.
            .process_group(0)
            .spawn()
            .context("starting tests/controlplane/supervise")?;
        let orders = supervisor.stdin.take();
        let mut replies = BufReader::new(supervisor.stdout.take().context("no stdout")?);
        let reply = reply(&mut replies)?;
        let pid = reply.strip_prefix("pid ").and_then(|pid| pid.parse().ok());
        let pid = pid.ok_or_else(|| anyhow!("{} did not start: {reply:?}", program.display()))?;
        Ok(Self { supervisor, orders, replies, pid, is_ending: false })
    }

    fn order(&mut self, signal: &str) -> Result<()> {
        let orders = self.orders.as_mut().context("the process has been killed")?;
        writeln!(orders, "{signal}").context("the process has ended")?;
        reply(&mut self.replies).map(drop)
    }

    fn end(&mut self) {
        self.is_ending = true;
        self.orders = None;
        let _ = self.supervisor.wait();
    }
}

fn reply(replies: &mut BufReader<ChildStdout>) -> Result<String> {
    let mut line = String::new();
    replies.read_line(&mut line).context("reading from supervise")?;
    Ok(line.trim_end().to_owned())
}

/// The last `lines` lines of `file`. Empty if the file cannot be read.
pub fn tail(file: &Path, lines: usize) -> String {
    let content = fs::read(file).unwrap_or_default();
    let content = String::from_utf8_lossy(&content);
    let all: Vec<_> = content.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
