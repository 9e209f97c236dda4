//! Stores in memory that stop after a number of operations, as a process that is killed.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    rc::Rc,
};

use crate::record::{
    Files, HeadError, HeadStore, Revision, Storage, StorageError, StorageProblem, SwapError,
};

/// Counts the changes that a process may still make. Its clones count together.
#[derive(Clone, Debug)]
pub(super) struct Life {
    left: Rc<Cell<usize>>,
}

impl Default for Life {
    fn default() -> Self {
        Self::of(usize::MAX)
    }
}

impl Life {
    pub(super) fn of(changes: usize) -> Self {
        Self { left: Rc::new(Cell::new(changes)) }
    }

    /// `false` if the process is dead.
    fn change(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }
}

/// Files in memory. Its clones share the files, but each process has its own life.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    pub(super) files: Rc<RefCell<BTreeMap<String, Vec<u8>>>>,
    pub(super) life: Life,
}

impl Memory {
    /// The same files for another process.
    pub(super) fn with(&self, life: Life) -> Self {
        Self { files: Rc::clone(&self.files), life }
    }

    /// A copy of the files, as a snapshot of the volume.
    pub(super) fn snapshot(&self) -> Self {
        Self { files: Rc::new(RefCell::new(self.files.borrow().clone())), life: Life::default() }
    }

    fn check(&self, operation: &'static str, path: &str) -> Result<(), StorageError> {
        let killed = || StorageProblem::Io(io::Error::other("killed"));
        if self.life.change() {
            Ok(())
        } else {
            Err(StorageError { operation, path: path.to_owned(), why: killed() })
        }
    }
}

impl Files for Memory {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.files.borrow().get(path).cloned())
    }

    fn walk(&self, directory: &str, visit: &mut dyn FnMut(&str)) -> Result<(), StorageError> {
        let below = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        self.files.borrow().keys().filter(|path| path.starts_with(&below)).for_each(|path| visit(path));
        Ok(())
    }
}

impl Storage for Memory {
    fn create(&self, path: &str, content: &[u8]) -> Result<(), StorageError> {
        self.check("create", path)?;
        let mut files = self.files.borrow_mut();
        let stored = files.entry(path.to_owned()).or_insert_with(|| content.to_vec());
        let differs =
            StorageError { operation: "create", path: path.to_owned(), why: StorageProblem::Differs };
        if *stored == content { Ok(()) } else { Err(differs) }
    }

    fn replace(&self, path: &str, content: &[u8]) -> Result<(), StorageError> {
        self.check("replace", path)?;
        self.files.borrow_mut().insert(path.to_owned(), content.to_vec());
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<(), StorageError> {
        self.check("remove", path)?;
        self.files.borrow_mut().remove(path);
        Ok(())
    }
}

/// A head in memory. The revision is the number of swaps.
#[derive(Clone, Debug, Default)]
pub(super) struct Heads {
    pub(super) head: Rc<RefCell<Option<(String, u64)>>>,
    pub(super) life: Life,
    pub(super) swaps: Rc<Cell<usize>>,
}

impl Heads {
    /// The same head for another process.
    pub(super) fn with(&self, life: Life) -> Self {
        Self { head: Rc::clone(&self.head), life, swaps: Rc::clone(&self.swaps) }
    }
}

impl HeadStore for Heads {
    fn read(&self) -> Result<Option<(String, Revision)>, HeadError> {
        Ok(self.head.borrow().as_ref().map(|(head, revision)| (head.clone(), Revision(revision.to_string()))))
    }

    fn swap(&self, expected: Option<&Revision>, checkpoint: &str) -> Result<Revision, SwapError> {
        if !self.life.change() {
            return Err(SwapError::Unknown("killed".to_owned()));
        }
        let mut head = self.head.borrow_mut();
        let stored = head.as_ref().map(|(_, revision)| Revision(revision.to_string()));
        if stored.as_ref() != expected {
            return Err(SwapError::Lost);
        }
        self.swaps.set(self.swaps.get() + 1);
        let next = head.as_ref().map_or(1, |(_, revision)| revision + 1);
        *head = Some((checkpoint.to_owned(), next));
        Ok(Revision(next.to_string()))
    }
}
