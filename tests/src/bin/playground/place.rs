//! The directory of the playground: its lock, and the files for the shells of the user.
//!
//! ```text
//! ~/.local/state/assent/playground/
//! ├── lock         locked while the server runs; contains its process id
//! ├── kubeconfig   a context for each person
//! ├── env          exports PATH and KUBECONFIG; written last
//! └── log          the output of the server
//! ```

use std::env;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

pub struct Place(PathBuf);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Free,
    Running { pid: u32 },
}

impl Place {
    /// The directory in `ASSENT_PLAYGROUND`. Without this variable, `assent/playground` in `XDG_STATE_HOME` or
    /// `~/.local/state`.
    pub fn find() -> Result<Self> {
        let chosen = env::var_os("ASSENT_PLAYGROUND").map(PathBuf::from);
        let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from);
        let state = state.or_else(|| env::home_dir().map(|home| home.join(".local/state")));
        let default = || Some(state?.join("assent/playground"));
        let path = chosen.or_else(default).context("no home directory: set ASSENT_PLAYGROUND")?;
        fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self(path))
    }

    pub fn state(&self) -> Result<State> {
        let mut lock = self.open_lock()?;
        match lock.try_lock() {
            Ok(()) => Ok(State::Free),
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                lock.read_to_string(&mut pid)?;
                let pid = pid.trim().parse().context("the lock file has no process id: try again")?;
                Ok(State::Running { pid })
            }
            Err(TryLockError::Error(error)) => Err(error).context("locking the playground"),
        }
    }

    /// Locks the directory for this process. The lock ends when the returned file is dropped.
    pub fn lock(&self) -> Result<File> {
        let mut lock = self.open_lock()?;
        if lock.try_lock().is_err() {
            bail!("another playground runs in {}", self.0.display());
        }
        lock.set_len(0)?;
        writeln!(lock, "{}", std::process::id())?;
        Ok(lock)
    }

    fn open_lock(&self) -> Result<File> {
        let path = self.0.join("lock");
        let lock = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        lock.with_context(|| format!("opening {}", path.display()))
    }

    /// Removes the files of a server that has ended, except the lock file.
    pub fn clear(&self) -> Result<()> {
        for file in [self.env(), self.kubeconfig(), self.log()] {
            match fs::remove_file(&file) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        format!("{}\n{}", self.log().display(), lines[lines.len().saturating_sub(10)..].join("\n"))
    }

    fn env(&self) -> PathBuf {
        self.0.join("env")
    }

    pub fn is_ready(&self) -> bool {
        self.env().exists()
    }

    /// Writes the file that a shell sources to use the cluster. The rename makes the complete file appear at once.
    pub fn set_ready(&self, programs: &[&Path]) -> Result<()> {
        let programs: Vec<_> = programs.iter().map(|path| path.display().to_string()).collect();
        let env = format!(
            "export PATH='{}':\"$PATH\"\nexport KUBECONFIG='{}'\n",
            programs.join(":"),
            self.kubeconfig().display()
        );
        let new = self.0.join("env.new");
        fs::write(&new, env)?;
        Ok(fs::rename(new, self.env())?)
    }

    pub fn welcome(&self) -> Result<String> {
        let env = self.env().canonicalize().context("the playground is not ready yet: try again")?;
        Ok(include_str!("welcome.txt").replace("{env}", &env.display().to_string()))
    }
}
