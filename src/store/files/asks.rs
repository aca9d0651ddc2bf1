//! `.ask` beside an `acme.json`: what people ask for of the process that has the file, a line of
//! JSON each. Who writes or empties it locks it meanwhile.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use futures::StreamExt;
use futures::channel::mpsc::unbounded;
use futures::stream;
use futures::stream::BoxStream;
use jiff::Timestamp;
use notify::{RecursiveMode, Watcher};
use serde::{Deserialize, Serialize};

use crate::order::Asked;
use crate::store::files::disk;

/// Nobody asks for so much.
const MAX_FILE: u64 = 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(in crate::store) enum Wish {
    /// `certificate`: its id.
    Certificate { certificate: String, asked: Asked },
    /// What became unused until then may be deleted.
    #[serde(rename_all = "camelCase")]
    LetGo { let_go: Timestamp },
}

/// Wishes that nobody else can take or add to until this is dropped.
pub(in crate::store) struct Taken {
    pub(in crate::store) wishes: Vec<Wish>,
    /// Lines that say nothing.
    pub(in crate::store) spoilt: usize,
    file: File,
}

impl Taken {
    /// They are in the records now.
    pub(in crate::store) fn empty(self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.sync_all()
    }
}

/// Adds a wish. `storage`: the `acme.json`.
pub(super) fn add(storage: &Path, wish: &Wish) -> io::Result<()> {
    let mut file = disk::private(&disk::beside(storage, "ask"))?;
    file.lock()?;
    check(&file)?;
    if let Ok(owner) = storage.metadata() {
        // Whoever asks may be another user than whoever is to read it.
        drop(fchown(&file, Some(owner.uid()), Some(owner.gid())));
    }
    let mut line = read(&mut file)?;
    if !line.is_empty() && !line.ends_with('\n') {
        file.write_all(b"\n")?;
    }
    line = serde_json::to_string(wish)? + "\n";
    file.write_all(line.as_bytes())?;
    file.sync_all()?;
    // Before it is closed: that is when it is read.
    file.unlock()
}

/// What is asked for and not taken yet.
pub(super) fn pending(storage: &Path) -> io::Result<Vec<Wish>> {
    match File::open(disk::beside(storage, "ask")) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        file => Ok(parse(&read(&mut file?)?).0),
    }
}

/// `None`: nothing is asked for, or somebody is just asking and closes the file soon.
pub(in crate::store) fn take(storage: &Path) -> io::Result<Option<Taken>> {
    let path = disk::beside(storage, "ask");
    let mut file = match File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    if file.metadata()?.len() == 0 || file.try_lock().is_err() {
        return Ok(None);
    }
    check(&file)?;
    let (wishes, spoilt) = parse(&read(&mut file)?);
    Ok(Some(Taken { wishes, spoilt, file }))
}

/// What others can write is nobody's word: the six bits of group and others.
fn check(file: &File) -> io::Result<()> {
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode.trailing_zeros() >= 6 {
        return Ok(());
    }
    Err(io::Error::other(format!("permissions {mode:o} are too open: `chmod 600` it")))
}

fn read(file: &mut File) -> io::Result<String> {
    let mut text = String::new();
    Read::by_ref(file).take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}

fn parse(text: &str) -> (Vec<Wish>, usize) {
    let lines = text.lines().filter(|line| !line.is_empty());
    let read: Vec<Option<Wish>> = lines.map(|line| serde_json::from_str(line).ok()).collect();
    let all = read.len();
    let wishes: Vec<Wish> = read.into_iter().flatten().collect();
    let spoilt = all - wishes.len();
    (wishes, spoilt)
}

/// Once at once, then whenever a file beside one of these changes, for ever.
pub(in crate::store) fn changes(storages: &[PathBuf], what: &str) -> BoxStream<'static, ()> {
    let files: BTreeSet<PathBuf> =
        storages.iter().map(|storage| disk::beside(storage, what)).collect();
    let folders: BTreeSet<PathBuf> =
        files.iter().filter_map(|file| Some(file.parent()?.to_owned())).collect();
    let (rings, rung) = unbounded();
    let watched = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let is_one = |event: notify::Event| event.paths.iter().any(|path| files.contains(path));
        if event.map_or(true, is_one) {
            // The other end may be gone.
            drop(rings.unbounded_send(()));
        }
    });
    let watched = watched.and_then(|mut watcher| {
        folders.iter().try_for_each(|it| watcher.watch(it, RecursiveMode::NonRecursive))?;
        Ok(watcher)
    });
    if let Err(error) = &watched {
        tracing::warn!("files beside acme.json cannot be watched: {error}");
    }
    let first = stream::iter([()]);
    // It watches as long as it lives.
    let later = stream::unfold((rung, watched.ok()), |(mut rung, watcher)| async {
        rung.next().await.map(|()| ((), (rung, watcher)))
    });
    first.chain(later).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_lines_and_one_that_is_cut_off_costs_only_itself() {
        let at = Timestamp::from_second(60).unwrap();
        let asked = Asked::Renew { at, force: true };
        let wishes =
            [Wish::Certificate { certificate: "x".to_owned(), asked }, Wish::LetGo { let_go: at }];
        let lines: Vec<String> =
            wishes.iter().map(|wish| serde_json::to_string(wish).unwrap()).collect();
        assert_eq!(lines[1], r#"{"letGo":"1970-01-01T00:01:00Z"}"#);
        let text = format!("{}\n{}\n{{\"let", lines[0], lines[1]);
        assert_eq!(parse(&text), (wishes.to_vec(), 1));
    }
}
