//! Continues a log after a person decided how: with a gap entry that every reader sees.
//!
//! ```text
//!  head older than the volume, or gone ──► adopt:   the head returns to the volume,  gap HeadRestored
//!  clock set back                      ──► adopt:   the time starts again,           gap ClockSetBack
//!  entries on the volume are lost      ──► succeed: a new log with a new origin,     gap StorageRestored
//! ```

use jiff::Timestamp;

use super::{
    checkpoint::{Checkpoint, Head},
    disclosure::Personal,
    entry::{Entry, EntryId},
    fact::{Before, Fact, GapCause},
    finding::Finding,
    key::SigningKey,
    log::{AppendError, Log, NewEntry, Recorded, whole_second},
    open::{OpenError, load, signed, stored},
    scan::{Visitor, scan},
    storage::{Files, HeadStore, Storage},
    tree::{Frontier, Hash},
};

impl<S: Storage, H: HeadStore> Log<S, H> {
    /// Continues a log whose head is older than its volume, or whose clock was set back. No entry is lost.
    pub fn adopt(
        storage: S,
        heads: H,
        key: SigningKey,
        id: EntryId,
        now: Timestamp,
    ) -> Result<Self, OpenError> {
        let (head, revision) = heads.read()?.unzip();
        let head = head.map(|text| signed(&text, &key)).transpose()?;
        let Some(volume) = stored(&storage, &key)? else { return Err(OpenError::NoHead) };
        let size = head.as_ref().map_or(0, |head| head.head().size);
        if head.is_some() && size >= volume.head().size {
            let log = Self::open_at_any_time(storage, heads, key)?;
            if log.time(now).is_ok() {
                return Err(OpenError::NoGap);
            }
            return log.with_gap(id, GapCause::ClockSetBack, None, now);
        }
        let volume = signed(&volume.to_string(), &key)?;
        if let Some(head) = &head
            && root_at(&storage, volume.head(), size)? != head.head().root
        {
            return Err(OpenError::Forked { size });
        }
        let recorded = load(&storage, volume.head())?;
        let log = Self { storage, heads, key, revision, recorded };
        log.with_gap(id, GapCause::HeadRestored, head.as_ref(), now)
    }

    /// Begins a new log, because entries of the log before are lost. A log must not sign two histories (C2SP
    /// tlog-checkpoint, "Signatures"), so the key must have another origin. `storage` is for the new log only.
    pub fn succeed(
        storage: S,
        heads: H,
        key: SigningKey,
        id: EntryId,
        now: Timestamp,
    ) -> Result<Self, OpenError> {
        let (text, revision) = heads.read()?.ok_or(OpenError::NoHead)?;
        let foreign = |_| OpenError::Foreign { origin: key.verifier().name().to_string() };
        let before = Checkpoint::parse(text.as_bytes()).map_err(foreign)?;
        if before.head().origin == *key.verifier().name() {
            return Err(OpenError::SameOrigin { origin: before.head().origin.to_string() });
        }
        if let Some(stored) = stored(&storage, &key)? {
            return Err(OpenError::Exists { size: stored.head().size });
        }
        let log = Self { storage, heads, key, revision: Some(revision), recorded: Recorded::default() };
        log.with_gap(id, GapCause::StorageRestored, Some(&before), now)
    }

    /// Records the gap. The same swap that ends the gap also records it, so no crash hides it.
    fn with_gap(
        self,
        id: EntryId,
        cause: GapCause,
        before: Option<&Checkpoint>,
        now: Timestamp,
    ) -> Result<Self, OpenError> {
        let before = before.map(|checkpoint| {
            let Head { origin, size, root } = checkpoint.head();
            Before { origin: origin.to_string(), size: *size, root: *root }
        });
        let now = whole_second(now);
        let fact = Fact::Gap { cause, from: self.recorded.last, to: now, before };
        let fact = NewEntry::new(id.clone(), fact, Vec::new(), Personal::new());
        let fact = fact.map_err(|why| Box::new(AppendError::Entry { id, why }))?;
        // Only the gap after a clock that was set back may have an earlier time than the entry before it.
        let recorded = match (cause, self.recorded.last) {
            (GapCause::ClockSetBack, _) | (_, None) => now,
            (_, Some(last)) => now.max(last),
        };
        self.append_batch(&[fact], recorded, None).map_err(|error| Box::new(error).into())
    }
}

/// The root of the first `size` entries of a log.
fn root_at(files: &impl Files, head: &Head, size: u64) -> Result<Hash, OpenError> {
    let mut roots = RootAt { size, root: (size == 0).then(Hash::of_nothing) };
    scan(files, head.size, &mut roots);
    roots.root.ok_or(OpenError::Forked { size })
}

struct RootAt {
    size: u64,
    root: Option<Hash>,
}

impl Visitor for RootAt {
    fn entry(&mut self, _: u64, _: Entry, tree: &Frontier) {
        if tree.size() == self.size {
            self.root = Some(tree.root());
        }
    }

    fn finding(&mut self, _: Finding) {}
}
