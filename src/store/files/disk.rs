//! One `acme.json` on disk, with its `.lock` and its `.state`: opened, read and written so that
//! whatever happens meanwhile, the content before or the content after is there.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::str;
use std::sync::Arc;

use crate::store::files::document::Fault;
use crate::store::files::in_place::{self, Content, Step};
use crate::store::files::mounts;

/// Three times the largest that was heard of.
const MAX_FILE: u64 = 1024 * 1024 * 1024;
/// Nobody but the owner.
const MODE: u32 = 0o600;

/// Why a file cannot be the store.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error(
        "{}: permissions {mode:o} are too open: others can read the keys in it. Run \
         `chmod 600 {}`", .path.display(), .path.display()
    )]
    TooOpen { path: PathBuf, mode: u32 },
    #[error("{}: cannot be {what}: {cause}.{hint}", .path.display())]
    NotAllowed { path: PathBuf, what: &'static str, cause: io::Error, hint: String },
    #[error(
        "{}: is a directory. Docker makes one where the file to be mounted does not exist: remove \
         it, make an empty file (`install -m 600 /dev/null FILE`) or mount the folder", .0.display()
    )]
    Directory(PathBuf),
    #[error(
        "{}: another process has it: a store is of one process at a time. Stop the other one, or \
         give this one a `storage` of its own", .0.display()
    )]
    Taken(PathBuf),
    #[error(
        "{}: {Flat}. It is left as it is. `routecert import {} --resolver NAME` takes its \
         certificates over for the resolver NAME", .0.display(), .0.display(), Flat = Fault::Flat
    )]
    Flat(PathBuf),
    #[error(
        "{}: cannot be read as acme.json: {cause}. It is left as it is: mend it, or move it away to \
         begin with an empty store", .path.display()
    )]
    Broken { path: PathBuf, cause: String },
    #[error(
        "{}: written by a newer version of this program. It is left as it is", .0.display()
    )]
    TooNew(PathBuf),
}

impl Unusable {
    pub(super) fn of(path: &Path, fault: Fault) -> Self {
        match fault {
            Fault::Flat => Self::Flat(path.to_owned()),
            Fault::Broken(cause) => Self::Broken { path: path.to_owned(), cause },
        }
    }

    pub(super) fn not_allowed(path: &Path, what: &'static str, cause: io::Error) -> Self {
        let hint = match cause.kind() {
            ErrorKind::PermissionDenied => whose(path),
            ErrorKind::NotFound => " Make its folder first".to_owned(),
            _ => String::new(),
        };
        Self::NotAllowed { path: path.to_owned(), what, cause, hint }
    }

    /// What stands beside the file needs a folder that can be written.
    fn beside(path: &Path, what: &'static str, cause: io::Error) -> Self {
        let hint = format!(
            "{}. A lock, and what acme.json has no field for, are kept beside it: where only the \
             file is mounted, mount its folder instead",
            if cause.kind() == ErrorKind::PermissionDenied { whose(path) } else { String::new() }
        );
        Self::NotAllowed { path: path.to_owned(), what, cause, hint }
    }
}

/// Whoever mounts files into a container rarely knows as whom it runs.
fn whose(path: &Path) -> String {
    let existing = path.ancestors().find_map(|path| path.metadata().ok().map(|it| (path, it)));
    let Some((place, metadata)) = existing else { return String::new() };
    let (uid, gid) = (metadata.uid(), metadata.gid());
    let me = Path::new("/proc/self")
        .metadata()
        .map_or_else(|_| String::new(), |it| it.uid().to_string());
    let owner = place.display();
    format!(
        " {owner} belongs to user {uid}, and this process runs as user {me}: run it as that user (in \
         Docker `--user {uid}:{gid}`), or give {owner} to user {me}"
    )
}

/// Tells whether somebody else wrote a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

#[derive(Debug)]
pub(super) struct Disk {
    /// Where links lead to.
    pub(super) path: PathBuf,
    lock: Arc<Lock>,
    /// It is mounted by itself and cannot be renamed over.
    in_place: bool,
    stamp: Option<Stamp>,
    state: File,
}

/// Held as long as the process lives.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    fn take(path: &Path) -> Result<Self, Unusable> {
        let lock = beside(path, "lock");
        let file = private(&lock).map_err(|it| Unusable::beside(&lock, "made", it))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path: lock, file }),
            Err(TryLockError::WouldBlock) => Err(Unusable::Taken(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(Unusable::not_allowed(&lock, "locked", error)),
        }
    }

    /// Whether what everybody else would lock is what we have.
    pub(super) fn holds(&self) -> bool {
        let (there, ours) = (self.path.metadata(), self.file.metadata());
        there.is_ok_and(|there| ours.is_ok_and(|ours| ours.ino() == there.ino()))
    }
}

impl Disk {
    /// Takes it for this process; nothing is read yet but whether it may be.
    pub(super) fn open(path: &Path) -> Result<Self, Unusable> {
        let path = real(path).map_err(|it| Unusable::not_allowed(path, "found", it))?;
        let lock = Arc::new(Lock::take(&path)?);
        let state = beside(&path, "state");
        let state = private(&state).map_err(|it| Unusable::beside(&state, "opened", it))?;
        let is_new = path.metadata().map_or(true, |it| it.len() == 0);
        if is_new && let Some(kind) = mounts::passing(&path) {
            tracing::warn!(
                "{}: is on {kind}, which goes with the container or the machine's restart: \
                 certificates will be got anew at each start, until the CA refuses. Mount a volume \
                 for its folder",
                path.display()
            );
        }
        Ok(Self { path, lock, in_place: false, stamp: None, state })
    }

    pub(super) fn lock(&self) -> Arc<Lock> {
        Arc::clone(&self.lock)
    }

    /// The text of the file; what a crash left half written is written again first.
    pub(super) fn read(&mut self) -> Result<String, Unusable> {
        let Some(bytes) = read(&self.path)? else { return Ok(String::new()) };
        let broken = |cause: String| Unusable::Broken { path: self.path.clone(), cause };
        let text = match in_place::content(&bytes) {
            Content::Is(all) => str::from_utf8(all).map_err(|error| broken(error.to_string()))?,
            Content::Recovered(part) => {
                let text = str::from_utf8(part).map_err(|error| broken(error.to_string()))?;
                tracing::warn!(
                    "{}: was being written when the process ended: recovered",
                    self.path.display()
                );
                self.write_in_place(text)
                    .map_err(|it| Unusable::not_allowed(&self.path, "written", it))?;
                text
            }
        };
        self.stamp = stamp(&self.path);
        Ok(text.to_owned())
    }

    /// Whether somebody else wrote it since it was read or written.
    pub(super) fn is_changed(&self) -> bool {
        stamp(&self.path) != self.stamp
    }

    pub(super) fn write(&mut self, text: &str) -> io::Result<()> {
        if !self.in_place {
            match replace(&self.path, text) {
                Err(error) if error.kind() == ErrorKind::ResourceBusy => {
                    tracing::warn!(
                        "{}: is mounted by itself, so it is written in place. Better mount the folder \
                         that it is in, with what is kept beside it ({})",
                        self.path.display(),
                        beside(&self.path, "state").display()
                    );
                    self.in_place = true;
                }
                written => {
                    written?;
                    self.stamp = stamp(&self.path);
                    return Ok(());
                }
            }
        }
        self.write_in_place(text)?;
        self.stamp = stamp(&self.path);
        Ok(())
    }

    fn write_in_place(&self, text: &str) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(&self.path)?;
        let old = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        for step in in_place::steps(old, text.as_bytes()) {
            match step {
                Step::WriteAt(at, bytes) => {
                    let written = file.write_all_at(&bytes, at as u64);
                    if written.is_err() && at > 0 {
                        // No room for the copy: the old content is as it was.
                        file.set_len(old as u64)?;
                    }
                    written?;
                }
                Step::CutTo(length) => file.set_len(length as u64)?,
            }
            file.sync_all()?;
        }
        Ok(())
    }

    /// All of `.state`.
    pub(super) fn read_state(&mut self) -> Result<Vec<u8>, Unusable> {
        let path = beside(&self.path, "state");
        Ok(read(&path)?.unwrap_or_default())
    }

    /// Adds to `.state`. What cannot be added whole is taken away again.
    pub(super) fn append_state(&mut self, text: &str) -> io::Result<()> {
        let length = self.state.seek(SeekFrom::End(0))?;
        let added = self.state.write_all(text.as_bytes()).and_then(|()| self.state.sync_data());
        if added.is_err() {
            self.state.set_len(length)?;
        }
        added
    }

    pub(super) fn replace_state(&mut self, text: &str) -> io::Result<()> {
        let path = beside(&self.path, "state");
        replace(&path, text)?;
        self.state = private(&path)?;
        Ok(())
    }
}

/// `None`: it is not there. Of our own, nobody else may read it.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Unusable> {
    let mode = path.metadata().map_or(0, |it| it.permissions().mode() & 0o777);
    if mode & 0o077 != 0 && !path.is_dir() {
        return Err(Unusable::TooOpen { path: path.to_owned(), mode });
    }
    read_any(path)
}

/// All of it, as it is; of one that is not there, nothing.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, Unusable> {
    Ok(read(path)?.unwrap_or_default())
}

/// The text of an `acme.json` that another process may be writing.
pub(super) fn text(path: &Path) -> Result<String, Unusable> {
    let bytes = bytes(path)?;
    let (Content::Is(content) | Content::Recovered(content)) = in_place::content(&bytes);
    let broken = |error: str::Utf8Error| error.to_string();
    let text = str::from_utf8(content).map_err(broken);
    text.map(str::to_owned).map_err(|cause| Unusable::Broken { path: path.to_owned(), cause })
}

/// The same, whoever else may read it.
pub(super) fn read_any(path: &Path) -> Result<Option<Vec<u8>>, Unusable> {
    let not_allowed = |error| Unusable::not_allowed(path, "read", error);
    let mut file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(not_allowed)?,
    };
    let metadata = file.metadata().map_err(not_allowed)?;
    if metadata.is_dir() {
        return Err(Unusable::Directory(path.to_owned()));
    }
    let mut bytes = Vec::new();
    let read = Read::by_ref(&mut file).take(MAX_FILE + 1).read_to_end(&mut bytes);
    read.map_err(not_allowed)?;
    if bytes.len() as u64 > MAX_FILE {
        let cause = "it is larger than 1 GiB".to_owned();
        return Err(Unusable::Broken { path: path.to_owned(), cause });
    }
    Ok(Some(bytes))
}

/// A file that was not there.
pub(super) fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// A new file in its place, in one step, with the old one's owner.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = beside(path, "new");
    let written = write_new(&new, path, text).and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        // Of no use, and in nobody's way.
        drop(std::fs::remove_file(&new));
    }
    written?;
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

fn write_new(new: &Path, old: &Path, text: &str) -> io::Result<()> {
    let mut file = private(new)?;
    file.set_len(0)?;
    file.set_permissions(std::fs::Permissions::from_mode(MODE))?;
    if let Ok(earlier) = old.metadata() {
        // Only root writes what belongs to others; for the rest it is theirs already.
        drop(fchown(&file, Some(earlier.uid()), Some(earlier.gid())));
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

pub(super) fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(MODE).open(path)
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = path.metadata().ok()?;
    Some(Stamp {
        inode: metadata.ino(),
        length: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    })
}

/// Of a file that need not be there yet.
pub(super) fn real(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        found => return found,
    }
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new(".")).canonicalize()?;
    path.file_name().map(|name| folder.join(name)).ok_or_else(|| ErrorKind::InvalidInput.into())
}

pub(super) fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(what);
    name.into()
}
