//! The files of a log in a directory. Every write survives a crash of the machine.
//!
//! ```text
//!  content ─► tmp/N, fsync ─┬─ create:  link to the path, which fails if the path exists ─┬─► fsync of the directory
//!                           └─ replace: rename to the path ───────────────────────────────┘
//! ```
//!
//! The directory must be on a POSIX file system. Object stores that look like one, and NFS, do not keep these promises.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::storage::{Files, MAX_FILE, Storage, StorageError, StorageProblem};

/// The directory of files that are not complete yet.
const TEMPORARY: &str = "tmp";

/// A directory that is only read.
#[derive(Clone, Debug)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// The files of this directory.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The file or directory itself. A symbolic link could lead out of the log.
    fn is_regular(path: &Path) -> io::Result<Option<bool>> {
        match fs::symlink_metadata(path) {
            Ok(found) => Ok(Some(found.is_file() && found.len() <= MAX_FILE)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn read_file(path: &Path) -> Result<Option<Vec<u8>>, StorageProblem> {
        match Self::is_regular(path)? {
            None => Ok(None),
            Some(false) => Err(StorageProblem::NotAFile),
            Some(true) => {
                let mut content = Vec::new();
                File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut content)?;
                Ok(Some(content))
            }
        }
    }

    fn walk_below(&self, directory: &Path, visit: &mut dyn FnMut(&str)) -> io::Result<()> {
        for found in fs::read_dir(directory)? {
            let found = found?;
            if found.file_type()?.is_dir() {
                self.walk_below(&found.path(), visit)?;
            } else {
                let path = found.path();
                let relative = path.strip_prefix(&self.root).unwrap_or(&path);
                let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
                visit(&parts.join("/"));
            }
        }
        Ok(())
    }
}

impl Files for Directory {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Self::read_file(&self.root.join(path)).map_err(|why| StorageError::new("read", path, why))
    }

    fn walk(&self, directory: &str, visit: &mut dyn FnMut(&str)) -> Result<(), StorageError> {
        match self.walk_below(&self.root.join(directory), visit) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StorageError::new("list", directory, error))
            }
            _ => Ok(()),
        }
    }
}

/// A directory that one recorder or export writes.
#[derive(Debug)]
pub struct DurableDirectory {
    files: Directory,
    written: AtomicU64,
}

impl DurableDirectory {
    /// Opens the directory, which must exist, and removes files that a crash left incomplete.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let files = Directory::new(root);
        let temporary = files.root.join(TEMPORARY);
        let cleared = match fs::remove_dir_all(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::create_dir(&temporary).and_then(|()| sync(&files.root)),
        };
        cleared.map_err(|error| StorageError::new("prepare", TEMPORARY, error))?;
        Ok(Self { files, written: AtomicU64::new(0) })
    }

    /// Removes the directory of incomplete files. An export has none.
    pub fn close(self) -> Result<(), StorageError> {
        let temporary = self.files.root.join(TEMPORARY);
        fs::remove_dir(temporary).map_err(|error| StorageError::new("remove", TEMPORARY, error))
    }

    /// Writes the content to a new file with a name that no other process uses.
    fn write_aside(&self, content: &[u8]) -> io::Result<PathBuf> {
        let name = format!("{}-{}", process::id(), self.written.fetch_add(1, Relaxed));
        let path = self.files.root.join(TEMPORARY).join(name);
        let mut file = File::create_new(&path)?;
        file.write_all(content)?;
        file.sync_all()?;
        Ok(path)
    }

    /// Creates the missing directories above a file, and makes each of them durable. Returns the last one.
    fn directory_of(&self, path: &str) -> io::Result<PathBuf> {
        let mut directory = self.files.root.clone();
        let (parents, _) = path.rsplit_once('/').unwrap_or_default();
        for part in parents.split('/').filter(|part| !part.is_empty()) {
            let above = directory.clone();
            directory.push(part);
            match fs::create_dir(&directory) {
                Ok(()) => sync(&above)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(directory)
    }

    fn create_file(&self, path: &str, content: &[u8]) -> Result<(), StorageProblem> {
        let directory = self.directory_of(path)?;
        let (aside, target) = (self.write_aside(content)?, self.files.root.join(path));
        let linked = fs::hard_link(&aside, &target);
        fs::remove_file(&aside)?;
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if Directory::read_file(&target)?.as_deref() != Some(content) {
                    return Err(StorageProblem::Differs);
                }
            }
            linked => linked?,
        }
        // The process that wrote an existing file may have crashed before its directory was durable.
        Ok(sync(&directory)?)
    }

    fn replace_file(&self, path: &str, content: &[u8]) -> io::Result<()> {
        let directory = self.directory_of(path)?;
        fs::rename(self.write_aside(content)?, self.files.root.join(path))?;
        sync(&directory)
    }

    fn remove_file(&self, path: &str) -> io::Result<()> {
        let target = self.files.root.join(path);
        match fs::remove_file(&target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| target.parent().map_or(Ok(()), sync)),
        }
    }
}

impl Files for DurableDirectory {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.files.read(path)
    }

    fn walk(&self, directory: &str, visit: &mut dyn FnMut(&str)) -> Result<(), StorageError> {
        self.files.walk(directory, visit)
    }
}

impl Storage for DurableDirectory {
    fn create(&self, path: &str, content: &[u8]) -> Result<(), StorageError> {
        self.create_file(path, content).map_err(|why| StorageError::new("create", path, why))
    }

    fn replace(&self, path: &str, content: &[u8]) -> Result<(), StorageError> {
        self.replace_file(path, content).map_err(|error| StorageError::new("replace", path, error))
    }

    fn remove(&self, path: &str) -> Result<(), StorageError> {
        self.remove_file(path).map_err(|error| StorageError::new("remove", path, error))
    }
}

/// Makes the names in a directory durable.
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
