//! A batch that is complete before the head of the log names it. It can be applied any number of times.
//!
//! ```text
//!  new tiles, checkpoint ──► tar file  staging/SIZE-ROOT ── after the swap of the head ──► tiles, then checkpoint
//! ```

use std::io::{self, Read as _};

use super::{
    checkpoint::{Checkpoint, Head},
    storage::{MAX_FILE, Storage, StorageError},
    tile::Tile,
};

/// The file in which readers find the checkpoint.
pub(super) const CHECKPOINT: &str = "checkpoint";

/// The directory of batches.
pub(super) const STAGING: &str = "staging";

/// The directory of checkpoints at which the key of the log changed.
pub(super) const KEYS: &str = "keys";

/// New files of the log, in the order in which they are written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) files: Vec<(String, Vec<u8>)>,
}

impl Batch {
    /// The path of the batch that leads to a head. Two batches of the same size have different roots.
    pub(super) fn path(head: &Head) -> String {
        format!("{STAGING}/{}-{}", head.size, head.root.hex())
    }

    /// Writes the tar file.
    pub(super) fn pack(&self) -> io::Result<Vec<u8>> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in &self.files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            tar.append_data(&mut header, path, &content[..])?;
        }
        tar.into_inner()
    }

    /// Reads a tar file. Refuses paths that are not files of a log.
    pub(super) fn unpack(file: &[u8]) -> io::Result<Self> {
        let mut batch = Self::default();
        for entry in tar::Archive::new(file).entries()? {
            let mut entry = entry?;
            let path = entry.path()?.to_string_lossy().into_owned();
            if Tile::parse(&path).is_none() && key_index(&path).is_none() {
                return Err(io::Error::other(format!("{path} is not a file of a batch")));
            }
            let mut content = Vec::new();
            entry.by_ref().take(MAX_FILE).read_to_end(&mut content)?;
            batch.files.push((path, content));
        }
        Ok(batch)
    }

    /// Writes the files of the batch. Fails if a file already exists with other content.
    pub(super) fn apply(&self, storage: &impl Storage) -> Result<(), StorageError> {
        self.files.iter().try_for_each(|(path, content)| storage.create(path, content))
    }
}

/// The path of the checkpoint at which the key changed.
pub(super) fn key_path(index: u64) -> String {
    format!("{KEYS}/{index}")
}

/// The index of the entry that changed the key, from the path of its checkpoint.
pub(super) fn key_index(path: &str) -> Option<u64> {
    let index = path.strip_prefix(KEYS)?.strip_prefix('/')?.parse().ok()?;
    (key_path(index) == path).then_some(index)
}

/// Publishes a checkpoint. A writer that was paused does not replace the checkpoint of a later writer, and no writer
/// removes cosignatures of the same checkpoint.
pub(super) fn publish(storage: &impl Storage, checkpoint: &Checkpoint) -> Result<(), StorageError> {
    let stored = storage.read(CHECKPOINT)?.and_then(|file| Checkpoint::parse(&file).ok());
    let is_published = stored.is_some_and(|stored| {
        let has_signatures =
            || checkpoint.note().signatures().iter().all(|own| stored.note().signatures().contains(own));
        stored.head().size > checkpoint.head().size
            || (stored.head() == checkpoint.head() && has_signatures())
    });
    if is_published { Ok(()) } else { storage.replace(CHECKPOINT, checkpoint.to_string().as_bytes()) }
}
