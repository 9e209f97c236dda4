//! Where the files of a log are, and where its head is.
//!
//! ```text
//!  Files     read, walk        an export, or the volume of the recorder
//!  Storage   Files + create, replace, remove
//!  HeadStore read, swap        the only place that decides which of two writers wins
//! ```

use std::io;

/// The maximum size of a file that Assent reads, in bytes. Staged batches are the largest files of a log, and stay below
/// this limit.
pub const MAX_FILE: u64 = 16 << 20;

/// An operation on a file failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path}: {why}")]
pub struct StorageError {
    /// The operation, such as `read`.
    pub operation: &'static str,
    /// The path within the log.
    pub path: String,
    /// The reason.
    pub why: StorageProblem,
}

/// Why an operation on a file failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageProblem {
    /// The system returned an error.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The file exists with other content.
    #[error("it exists with other content, so another process wrote it or the volume is damaged")]
    Differs,
    /// The file is too large, or is not a regular file.
    #[error("it is larger than {MAX_FILE} bytes, or is not a regular file")]
    NotAFile,
}

impl StorageError {
    pub(super) fn new(operation: &'static str, path: &str, why: impl Into<StorageProblem>) -> Self {
        Self { operation, path: path.to_owned(), why: why.into() }
    }
}

/// The files of a log, by their path with `/` between its parts.
pub trait Files {
    /// The content of a file. `None` if there is no such file.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError>;

    /// Calls `visit` with the path of every file below a directory, which need not exist.
    fn walk(&self, directory: &str, visit: &mut dyn FnMut(&str)) -> Result<(), StorageError>;
}

/// Files that can be written. A call returns after the change is durable.
pub trait Storage: Files {
    /// Writes a file that never changes. Succeeds if the file exists with the same content, else returns
    /// [`StorageProblem::Differs`].
    fn create(&self, path: &str, content: &[u8]) -> Result<(), StorageError>;

    /// Writes a file, or replaces its whole content.
    fn replace(&self, path: &str, content: &[u8]) -> Result<(), StorageError>;

    /// Removes a file. Succeeds if there is no such file.
    fn remove(&self, path: &str) -> Result<(), StorageError>;
}

/// The state of a head store, which changes with every swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision(pub String);

/// A swap of the head failed.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// Another writer swapped the head first.
    #[error("another recorder has changed the head of the log")]
    Lost,
    /// It is not known whether the head changed.
    #[error("it is not known whether the head of the log changed: {0}")]
    Unknown(String),
}

/// The head store did not answer.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the head of the log: {0}")]
pub struct HeadError(pub String);

/// The current checkpoint, with compare-and-swap.
pub trait HeadStore {
    /// The current checkpoint. `None` if there is none.
    fn read(&self) -> Result<Option<(String, Revision)>, HeadError>;

    /// Replaces the checkpoint if the store still has the expected revision. `None` expects no checkpoint.
    fn swap(&self, expected: Option<&Revision>, checkpoint: &str) -> Result<Revision, SwapError>;
}
