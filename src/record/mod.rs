//! The transparency log: an ordered record that an outsider can verify.
//!
//! ```text
//!  facts ─► Log: content ─► staging ─► swap of the head ─► tiles ─► checkpoint ─► export ─► verify, proof
//!            │ fact, entry, disclosure      │                │          │
//!            │                          HeadStore        tile, tree   note, key, trust
//!            └─ Storage
//! ```
//!
//! The formats are those of C2SP, so other people's tools read them: tlog-tiles, tlog-checkpoint, signed-note,
//! tlog-cosignature, tlog-policy and tlog-proof. The tree is that of RFC 6962. This module has no client and no clock.

mod adopt;
mod checkpoint;
mod directory;
mod disclosure;
mod edge;
mod entry;
mod export;
mod fact;
mod finding;
mod key;
mod log;
mod note;
mod open;
mod proof;
mod replay;
mod scan;
mod stage;
mod storage;
#[cfg(test)]
mod tests;
mod tile;
mod tree;
mod trust;
mod verify;

pub use checkpoint::{Checkpoint, Head, NotACheckpoint};
pub use directory::{Directory, DurableDirectory};
pub use disclosure::{Content, Disclosure, DisclosureDigest, InvalidDisclosure, Personal};
pub use entry::{Entry, EntryId, InvalidId, MAX_ENTRY, NotAnEntry};
pub use export::{POLICY, export};
pub use fact::{Action, Before, Change, Declared, Fact, GapCause, Version};
pub use finding::{Finding, entry as entry_text};
pub use key::{InvalidKey, KeyName, Purpose, SigningKey, VerifierKey};
pub use log::{AppendError, ClockSetBack, Log, NewEntry};
pub use note::{NotANote, Note};
pub use open::OpenError;
pub use proof::Proof;
pub use storage::{Files, HeadError, HeadStore, Revision, Storage, StorageError, StorageProblem, SwapError};
pub use tile::{Tile, read_entries};
pub use tree::{Frontier, Hash, InvalidHash, is_included};
pub use trust::{Cosignature, InvalidLine, InvalidPolicy, TrustPolicy};
pub use verify::{Verified, verify};
