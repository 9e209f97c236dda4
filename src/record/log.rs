//! The writer of the log. It loses no entry and writes none twice, whatever stops it.
//!
//! ```text
//!  NewEntry ─► content/…/ID.json    salts are durable first, so a retry uses them again
//!           ─► staging/SIZE-ROOT    the whole batch in one file
//!           ─► swap of the head     the commit: of two writers, one loses
//!           ─► tile/…, keys/…       from the batch; equal if they exist
//!           ─► checkpoint           readers see the batch
//!           ─► staging is removed   then the partial tiles that a full tile replaced
//! ```
//!
//! A call that fails consumes the [`Log`]. To continue, the caller opens the log again, and [`Log::open`] finds out how
//! far the call came.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp, Unit};

use super::{
    checkpoint::{Checkpoint, Head, MAX_SIZE},
    disclosure::{Content, DisclosureDigest, InvalidDisclosure, Personal},
    edge::{Edge, TileFile},
    entry::{Entry, EntryId, NotAnEntry},
    fact::Fact,
    key::SigningKey,
    stage::{Batch, key_path, publish},
    storage::{HeadStore, Revision, Storage, StorageError, StorageProblem, SwapError},
};

/// The largest number of entries of one batch. Its file stays below the largest file of a log.
const MAX_BATCH: usize = 1024;

/// How far the clock may go back without a gap in the log. Time servers correct clocks by less.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// A fact that is not recorded yet.
#[derive(Clone, Debug)]
pub struct NewEntry {
    id: EntryId,
    fact: Fact,
    rests_on: Vec<EntryId>,
    personal: Personal,
}

impl NewEntry {
    /// A fact, the earlier facts on which it rests, and its personal data. Fails if the entry could be too long.
    pub fn new(
        id: EntryId,
        fact: Fact,
        rests_on: Vec<EntryId>,
        personal: Personal,
    ) -> Result<Self, NotAnEntry> {
        let longest = Entry {
            index: MAX_SIZE,
            recorded: Timestamp::MAX.round(Unit::Second).unwrap_or(Timestamp::MAX),
            id: id.clone(),
            fact: fact.clone(),
            rests_on: vec![MAX_SIZE; rests_on.len()],
            disclosures: vec![DisclosureDigest::default(); personal.len()],
        };
        longest.text()?;
        Ok(Self { id, fact, rests_on, personal })
    }
}

/// Why facts were not recorded.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// A file could not be read or written.
    #[error("{0}")]
    Storage(#[from] StorageError),
    /// The batch could not be packed.
    #[error("cannot pack the batch: {0}")]
    Pack(#[from] std::io::Error),
    /// The swap of the head failed.
    #[error("{0}")]
    Swap(#[from] SwapError),
    /// A fact rests on a fact that is not recorded.
    #[error("{id} rests on {on}, which is not recorded")]
    Unknown {
        /// The fact.
        id: EntryId,
        /// The missing fact.
        on: EntryId,
    },
    /// The disclosures of a fact could not be written or read.
    #[error("the disclosures of {id} cannot be used: {why}")]
    Disclosures {
        /// The fact.
        id: EntryId,
        /// The error.
        why: InvalidDisclosure,
    },
    /// An entry cannot be written.
    #[error("cannot write entry {id}: {why}")]
    Entry {
        /// The fact.
        id: EntryId,
        /// The error.
        why: NotAnEntry,
    },
    /// The clock was set back.
    #[error("{0}")]
    Clock(#[from] ClockSetBack),
}

/// The clock is earlier than the last entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the clock is at {now}, but the last entry was recorded at {last}: the clock was set back")]
pub struct ClockSetBack {
    /// The clock.
    pub now: Timestamp,
    /// The time of the last entry.
    pub last: Timestamp,
}

/// The log, opened by the writer that holds its newest head.
#[derive(Debug)]
pub struct Log<S, H> {
    pub(super) storage: S,
    pub(super) heads: H,
    pub(super) key: SigningKey,
    /// The revision that the next swap replaces. `None` if there is no head.
    pub(super) revision: Option<Revision>,
    pub(super) recorded: Recorded,
}

/// What is in the log.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    pub(super) edge: Edge,
    /// The index of each identity, by its short hash.
    pub(super) ids: HashMap<u128, u64>,
    /// The time of the last entry.
    pub(super) last: Option<Timestamp>,
}

impl<S: Storage, H: HeadStore> Log<S, H> {
    /// The number of entries.
    pub const fn size(&self) -> u64 {
        self.recorded.edge.frontier().size()
    }

    /// The index of a recorded fact.
    pub fn index_of(&self, id: &EntryId) -> Option<u64> {
        self.recorded.ids.get(&id.short_hash()).copied()
    }

    /// The files of the log.
    pub const fn storage(&self) -> &S {
        &self.storage
    }

    /// Records the facts that are not recorded yet, with one swap of the head for each 1024 facts.
    pub fn append(mut self, facts: &[NewEntry], now: Timestamp) -> Result<Self, AppendError> {
        let recorded = self.time(now)?;
        for facts in facts.chunks(MAX_BATCH) {
            self = self.append_batch(facts, recorded, None)?;
        }
        Ok(self)
    }

    /// Records the next key with the present key. The next key signs all later checkpoints.
    pub fn rotate(self, id: EntryId, next: SigningKey, now: Timestamp) -> Result<Self, AppendError> {
        let recorded = self.time(now)?;
        let fact = Fact::Key { key: next.verifier().clone() };
        let facts = [NewEntry { id, fact, rests_on: Vec::new(), personal: Personal::new() }];
        self.append_batch(&facts, recorded, Some(next))
    }

    /// The time for new entries: the clock, or the time of the last entry if the clock is a little earlier.
    pub(super) fn time(&self, now: Timestamp) -> Result<Timestamp, ClockSetBack> {
        let now = whole_second(now);
        match self.recorded.last {
            Some(last) if now < last => {
                if last.duration_since(now) > TOLERANCE {
                    Err(ClockSetBack { now, last })
                } else {
                    Ok(last)
                }
            }
            _ => Ok(now),
        }
    }

    pub(super) fn append_batch(
        mut self,
        facts: &[NewEntry],
        recorded: Timestamp,
        next: Option<SigningKey>,
    ) -> Result<Self, AppendError> {
        let size = self.size();
        let (mut full, mut last) = (Vec::new(), None);
        for fact in facts {
            if self.index_of(&fact.id).is_none() {
                let entry = self.entry(fact, recorded)?;
                let text = entry.text().map_err(|why| AppendError::Entry { id: entry.id.clone(), why })?;
                self.recorded.ids.insert(entry.id.short_hash(), entry.index);
                self.recorded.edge.push(&text, &mut full);
                last = Some(recorded);
            }
        }
        if last.is_none() {
            return Ok(self);
        }
        self.recorded.last = last;
        self.commit(size, full, next)
    }

    fn entry(&self, fact: &NewEntry, recorded: Timestamp) -> Result<Entry, AppendError> {
        let index = |on: &EntryId| {
            self.index_of(on).ok_or_else(|| AppendError::Unknown { id: fact.id.clone(), on: on.clone() })
        };
        Ok(Entry {
            index: self.size(),
            recorded,
            id: fact.id.clone(),
            fact: fact.fact.clone(),
            rests_on: fact.rests_on.iter().map(index).collect::<Result<_, _>>()?,
            disclosures: if fact.personal.is_empty() { Vec::new() } else { self.salted(fact)? },
        })
    }

    /// The digests of the disclosures. Uses the salts of an earlier attempt, because a lost salt makes a digest useless.
    fn salted(&self, fact: &NewEntry) -> Result<Vec<DisclosureDigest>, AppendError> {
        let failed = |why| AppendError::Disclosures { id: fact.id.clone(), why };
        let path = fact.id.content_path();
        if let Some(file) = self.storage.read(&path)? {
            return Ok(Content::parse(&file).map_err(failed)?.digests());
        }
        let content = Content::new(fact.id.clone(), &fact.personal).map_err(failed)?;
        match self.storage.create(&path, &content.file().map_err(failed)?) {
            // Another recorder was faster. Its salts are durable too.
            Err(StorageError { why: StorageProblem::Differs, .. }) => {
                let file = self.storage.read(&path)?.unwrap_or_default();
                Ok(Content::parse(&file).map_err(failed)?.digests())
            }
            created => created.map(|()| content.digests()).map_err(AppendError::from),
        }
    }

    /// Stages the new entries, swaps the head and publishes.
    fn commit(
        mut self,
        before: u64,
        full: Vec<TileFile>,
        next: Option<SigningKey>,
    ) -> Result<Self, AppendError> {
        let frontier = self.recorded.edge.frontier();
        let origin = self.key.verifier().name().clone();
        let head = Head { origin, size: frontier.size(), root: frontier.root() };
        let path = Batch::path(&head);
        let keys: Vec<_> = [Some(&self.key), next.as_ref()].into_iter().flatten().collect();
        let checkpoint = Checkpoint::sign(head, &keys);
        let mut batch = Batch::default();
        let replaced: Vec<_> = full.iter().map(|(tile, _)| tile.partial_directory()).collect();
        let tiles = full.into_iter().chain(self.recorded.edge.partial());
        batch.files.extend(tiles.map(|(tile, content)| (tile.path(), content)));
        if next.is_some() {
            batch.files.push((key_path(before), checkpoint.to_string().into_bytes()));
        }
        self.storage.replace(&path, &batch.pack()?)?;
        self.revision = Some(self.heads.swap(self.revision.as_ref(), &checkpoint.to_string())?);
        batch.apply(&self.storage)?;
        publish(&self.storage, &checkpoint)?;
        self.storage.remove(&path)?;
        for directory in replaced {
            remove_all(&self.storage, &directory)?;
        }
        if let Some(next) = next {
            self.key = next;
        }
        Ok(self)
    }
}

/// Removes all files below a directory.
pub(super) fn remove_all(storage: &impl Storage, directory: &str) -> Result<(), StorageError> {
    let mut paths = Vec::new();
    storage.walk(directory, &mut |path| paths.push(path.to_owned()))?;
    paths.iter().try_for_each(|path| storage.remove(path))
}

pub(super) fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
