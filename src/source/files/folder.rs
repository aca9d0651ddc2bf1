//! Which files a provider has: one, or those of a directory and its sub-directories.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::FileProvider;
use crate::source::files::shown;

/// Files and directories.
const MAX_ENTRIES: usize = 10_000;
const MAX_DEPTH: usize = 32;
const ENDINGS: [&str; 3] = ["toml", "yaml", "yml"];

#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) files: BTreeSet<PathBuf>,
    pub(super) spots: Spots,
    /// What could not be listed: what is below is not known.
    pub(super) hidden: Vec<PathBuf>,
    pub(super) troubles: Vec<String>,
}

/// Where a change would show; all paths without links.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Spots {
    pub(super) folders: BTreeSet<PathBuf>,
    pub(super) files: BTreeSet<PathBuf>,
}

/// The directory goes before the single file, as in Traefik.
pub(super) fn list(provider: &FileProvider) -> Listing {
    let mut listing = Listing::default();
    match (&provider.directory, &provider.filename) {
        (Some(directory), _) => {
            listing.watch_parent(directory);
            if listing.walk(directory, 0).is_err() {
                let message = "has more than 10,000 files and directories, or directories more \
                               than 32 deep; move what is no configuration elsewhere";
                listing.hide(directory, message);
                listing.files.clear();
            }
        }
        (None, Some(file)) => listing.file(file),
        (None, None) => {}
    }
    listing
}

/// There is more than is read.
struct TooMany;

impl Listing {
    fn file(&mut self, path: &Path) {
        self.watch_parent(path);
        if is_supported(path) {
            self.add(path);
        } else {
            self.hide(path, "has no name that ends in .yml, .yaml or .toml; rename it");
        }
    }

    fn walk(&mut self, directory: &Path, depth: usize) -> Result<(), TooMany> {
        self.watch(directory);
        let entries = fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                self.hide(directory, &format!("cannot be read: {error}"));
                return Ok(());
            }
        };
        for entry in entries {
            let path = entry.path();
            // A link to a directory is not followed, as in Traefik.
            if entry.file_type().is_ok_and(|it| it.is_dir()) {
                // A mounted ConfigMap keeps its versions in such.
                if entry.file_name().as_encoded_bytes().starts_with(b"..") {
                    continue;
                }
                if depth == MAX_DEPTH {
                    return Err(TooMany);
                }
                self.walk(&path, depth + 1)?;
            } else if is_supported(&path) {
                self.add(&path);
            }
            if self.files.len() + self.spots.folders.len() > MAX_ENTRIES {
                return Err(TooMany);
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Path) {
        // To open a pipe would wait for whoever writes into it.
        if fs::metadata(path).is_ok_and(|it| !it.is_file()) {
            self.hide(path, "is no file; remove it");
            return;
        }
        if let Ok(target) = fs::canonicalize(path) {
            self.watch_parent(&target);
            self.spots.files.insert(target);
        }
        self.files.insert(path.to_path_buf());
    }

    fn hide(&mut self, path: &Path, message: &str) {
        self.hidden.push(path.to_path_buf());
        self.troubles.push(format!("{}: {message}", shown(path)));
    }

    fn watch_parent(&mut self, path: &Path) {
        match path.parent() {
            Some(parent) if parent == Path::new("") => self.watch(Path::new(".")),
            Some(parent) => self.watch(parent),
            None => {}
        }
    }

    fn watch(&mut self, directory: &Path) {
        self.spots.folders.extend(fs::canonicalize(directory));
    }
}

fn is_supported(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default();
    ENDINGS.iter().any(|one| ending.eq_ignore_ascii_case(one))
}
