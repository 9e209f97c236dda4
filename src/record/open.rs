//! Opens a log: completes what a crash interrupted, and stops if the head and the files contradict each other.
//!
//! | head    | checkpoint file | staged batch | meaning                               | result               |
//! |---------|-----------------|--------------|---------------------------------------|----------------------|
//! | N       | N               |              | all is written                        | opens                |
//! | N       | N               | for M        | a crash before the swap               | removes it, opens    |
//! | N       | less            | for N        | a crash after the swap                | applies it, opens    |
//! | N       | less            |              | the volume is older than the head     | [`OpenError::StorageRestored`] |
//! | N       | more            |              | the head is older than the volume     | [`OpenError::HeadRestored`] |
//! | none    | any             |              | the head is gone                      | [`OpenError::NoHead`] |

use jiff::Timestamp;

use super::{
    checkpoint::{Checkpoint, Head},
    entry::Entry,
    finding::Finding,
    key::SigningKey,
    log::{AppendError, ClockSetBack, Log, Recorded, remove_all},
    scan::{Visitor, scan},
    stage::{Batch, CHECKPOINT, STAGING, publish},
    storage::{Files, HeadError, HeadStore, Storage, StorageError, SwapError},
    tree::{Frontier, Hash},
};

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file could not be read or written.
    #[error("{0}")]
    Storage(#[from] StorageError),
    /// The head could not be read.
    #[error("{0}")]
    Head(#[from] HeadError),
    /// The head could not be written.
    #[error("{0}")]
    Swap(#[from] SwapError),
    /// There is no head.
    #[error("the log has no head: it was never created, or the API server lost it")]
    NoHead,
    /// The log to create exists.
    #[error("the log exists already, with {size} entries")]
    Exists {
        /// The number of entries.
        size: u64,
    },
    /// The head is not of this log, or this key did not sign it.
    #[error("the head of the log is not a checkpoint of {origin} that the key of this recorder signed")]
    Foreign {
        /// The origin of the key.
        origin: String,
    },
    /// The head is older than the volume.
    #[error(
        "the head of the log has {head} entries, but the volume has {volume}: the API server returned to an earlier state"
    )]
    HeadRestored {
        /// The size of the head.
        head: u64,
        /// The size on the volume.
        volume: u64,
    },
    /// The volume is older than the head.
    #[error(
        "the head of the log has {head} entries, but the volume has {volume}: the volume returned to an earlier state, or is another volume"
    )]
    StorageRestored {
        /// The size of the head.
        head: u64,
        /// The size on the volume.
        volume: u64,
    },
    /// The head and the volume have different content of the same size.
    #[error(
        "the head and the volume have different entries up to entry {size}: two logs have this key and this origin"
    )]
    Forked {
        /// The number of entries.
        size: u64,
    },
    /// The volume is damaged.
    #[error("the volume is damaged: {0}")]
    Damaged(#[from] Box<Finding>),
    /// The clock was set back.
    #[error("{0}")]
    Clock(#[from] ClockSetBack),
    /// The first entry could not be written.
    #[error("{0}")]
    Append(#[from] Box<AppendError>),
    /// Nothing prevents the log from being opened, so there is nothing to adopt.
    #[error("the log has no gap: open it instead")]
    NoGap,
    /// A log with lost entries cannot continue under its name.
    #[error(
        "entries of {origin} are lost, so a new log needs a new origin: a log must not sign two histories"
    )]
    SameOrigin {
        /// The origin of both logs.
        origin: String,
    },
}

impl<S: Storage, H: HeadStore> Log<S, H> {
    /// Creates an empty log. Only a person knows whether a missing log is new or lost, so no other call creates one.
    pub fn create(storage: S, heads: H, key: SigningKey) -> Result<Self, OpenError> {
        if let Some(stored) = stored(&storage, &key)? {
            return Err(OpenError::Exists { size: stored.head().size });
        }
        if let Some((head, _)) = heads.read()? {
            let head = signed(&head, &key)?;
            if head.head().size > 0 {
                return Err(OpenError::Exists { size: head.head().size });
            }
            return Self::open_at_any_time(storage, heads, key);
        }
        let checkpoint = empty(&key);
        let revision = Some(heads.swap(None, &checkpoint.to_string())?);
        publish(&storage, &checkpoint)?;
        Ok(Self { storage, heads, key, revision, recorded: Recorded::default() })
    }

    /// Opens the log and completes an interrupted batch.
    pub fn open(storage: S, heads: H, key: SigningKey, now: Timestamp) -> Result<Self, OpenError> {
        let log = Self::open_at_any_time(storage, heads, key)?;
        log.time(now)?;
        Ok(log)
    }

    pub(super) fn open_at_any_time(storage: S, heads: H, key: SigningKey) -> Result<Self, OpenError> {
        let (head, revision) = heads.read()?.ok_or(OpenError::NoHead)?;
        let head = signed(&head, &key)?;
        let size = head.head().size;
        let stored = stored(&storage, &key)?;
        let volume = stored.as_ref().map_or(0, |stored| stored.head().size);
        if volume > size {
            return Err(OpenError::HeadRestored { head: size, volume });
        }
        let path = Batch::path(head.head());
        if let Some(file) = storage.read(&path)? {
            let damaged =
                |error: std::io::Error| Finding::Damaged { path: path.clone(), why: error.to_string() };
            Batch::unpack(&file).map_err(|error| Box::new(damaged(error)))?.apply(&storage)?;
        }
        let recorded = match load(&storage, head.head()) {
            Ok(recorded) => recorded,
            Err(_) if volume < size => return Err(OpenError::StorageRestored { head: size, volume }),
            Err(_) if stored.is_some_and(|stored| stored.head() != head.head()) => {
                return Err(OpenError::Forked { size });
            }
            Err(finding) => return Err(finding.into()),
        };
        publish(&storage, &head)?;
        remove_all(&storage, STAGING)?;
        Ok(Self { storage, heads, key, revision: Some(revision), recorded })
    }
}

/// A checkpoint of the log of this key.
pub(super) fn signed(text: &str, key: &SigningKey) -> Result<Checkpoint, OpenError> {
    let checkpoint = Checkpoint::parse(text.as_bytes()).ok();
    let foreign = || OpenError::Foreign { origin: key.verifier().name().to_string() };
    checkpoint.filter(|checkpoint| checkpoint.is_signed_by(key.verifier())).ok_or_else(foreign)
}

/// The checkpoint on the volume, if it is one of the log of this key. A crash during a change of the key leaves a
/// checkpoint that another key signed, so the signature is not verified.
pub(super) fn stored(files: &impl Files, key: &SigningKey) -> Result<Option<Checkpoint>, OpenError> {
    let checkpoint = files.read(CHECKPOINT)?.and_then(|file| Checkpoint::parse(&file).ok());
    Ok(checkpoint.filter(|checkpoint| checkpoint.head().origin == *key.verifier().name()))
}

/// The checkpoint of the log without entries.
fn empty(key: &SigningKey) -> Checkpoint {
    let origin = key.verifier().name().clone();
    Checkpoint::sign(Head { origin, size: 0, root: Hash::of_nothing() }, &[key])
}

/// Reads all entries, and checks that they and their tiles are those of the head.
pub(super) fn load(files: &impl Files, head: &Head) -> Result<Recorded, Box<Finding>> {
    let mut loader = Loader::default();
    let edge = scan(files, head.size, &mut loader);
    if let Some(finding) = loader.finding {
        return Err(Box::new(finding));
    }
    if edge.frontier().root() != head.root {
        return Err(Box::new(Finding::Root));
    }
    Ok(Recorded { edge, ..loader.recorded })
}

#[derive(Default)]
struct Loader {
    recorded: Recorded,
    finding: Option<Finding>,
}

impl Visitor for Loader {
    fn entry(&mut self, index: u64, entry: Entry, _: &Frontier) {
        self.recorded.last = Some(entry.recorded);
        if let Some(first) = self.recorded.ids.insert(entry.id.short_hash(), index) {
            self.finding(Finding::Repeated { index, id: entry.id.to_string(), first });
        }
    }

    fn finding(&mut self, finding: Finding) {
        self.finding.get_or_insert(finding);
    }
}
