//! How a file that cannot be renamed over is written so that a crash at any byte loses nothing.
//! Pure.
//!
//! A file that is mounted by itself into a container keeps its inode: it can only be written in
//! place. The new content is first appended, behind the end of both the old and the new one and
//! with its digest at the very end; only then is it written over the front, and the file cut to
//! its length. Until the digest is there the front is the old content; from then on the end is the
//! new one. What is needed to recover is in the file itself: a container's own folder beside the
//! mount goes with the container.

use aws_lc_rs::digest::{SHA256, digest};

const BEGIN: &str = "\n#routecert: new content\n";
const END: &str = "\n#routecert: end ";
/// Length of the content in 20 digits, a blank, its digest in 64, a line break.
const TRAILER: usize = END.len() + 20 + 1 + 64 + 1;

/// One step; the file is synced after each.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    WriteAt(usize, Vec<u8>),
    CutTo(usize),
}

/// To put `new` into a file that has `old` bytes.
pub(super) fn steps(old: usize, new: &[u8]) -> [Step; 3] {
    let end = format!("{END}{:020} {}\n", new.len(), hash(new));
    let block = [BEGIN.as_bytes(), new, end.as_bytes()].concat();
    [
        Step::WriteAt(old.max(new.len()), block),
        Step::WriteAt(0, new.to_vec()),
        Step::CutTo(new.len()),
    ]
}

/// What a file holds, whatever was cut off while it was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// All of it, or as much as was there before.
    Is(&'a [u8]),
    /// To be written again.
    Recovered(&'a [u8]),
}

pub(super) fn content(file: &[u8]) -> Content<'_> {
    if let Some(new) = appended(file) {
        return Content::Recovered(new);
    }
    match end_of_front(file) {
        Some(end) if end < file.len() => Content::Recovered(file.get(..end).unwrap_or(file)),
        _ => Content::Is(file),
    }
}

fn appended(file: &[u8]) -> Option<&[u8]> {
    let (rest, trailer) = file.split_at_checked(file.len().checked_sub(TRAILER)?)?;
    let trailer = str::from_utf8(trailer).ok()?.strip_prefix(END)?.strip_suffix('\n')?;
    let (length, expected) = trailer.split_once(' ')?;
    let from = rest.len().checked_sub(length.parse().ok()?)?;
    let new = rest.get(from..)?;
    (hash(new) == expected).then_some(new)
}

/// The old content ends where zeros (a gap) or the appended block begin. JSON has no zeros, and
/// no line that begins with `#`.
fn end_of_front(file: &[u8]) -> Option<usize> {
    let gap = file.iter().position(|byte| *byte == 0);
    let mark = BEGIN.as_bytes();
    let found = file.windows(mark.len()).position(|window| window == mark);
    // Cut off within the mark itself.
    let part = (2..mark.len()).rev().find_map(|length| {
        let part = mark.get(..length)?;
        file.ends_with(part).then(|| file.len() - length)
    });
    [gap, found, part].into_iter().flatten().min()
}

fn hash(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of a write that was cut off after `bytes` bytes.
    fn cut_off(old: &[u8], new: &[u8], mut bytes: usize) -> (Vec<u8>, bool) {
        let mut file = old.to_vec();
        let mut is_new = false;
        for step in steps(old.len(), new) {
            match step {
                Step::WriteAt(at, data) => {
                    let part = &data[..bytes.min(data.len())];
                    if !part.is_empty() {
                        file.resize(file.len().max(at + part.len()), 0);
                        file[at..at + part.len()].copy_from_slice(part);
                    }
                    if part.len() < data.len() {
                        return (file, is_new);
                    }
                    bytes -= part.len();
                    is_new = true;
                }
                Step::CutTo(length) => {
                    if bytes == 0 {
                        return (file, true);
                    }
                    file.truncate(length);
                }
            }
        }
        (file, true)
    }

    #[test]
    fn cut_off_at_any_byte_the_old_or_the_new_content_is_there() {
        let contents: [&[u8]; 4] = [b"", b"{}", b"{\"le\": [1,\n2]}", &[b'x'; 300]];
        for (old, new) in contents.iter().flat_map(|old| contents.map(|new| (*old, new))) {
            let all: usize = steps(old.len(), new)
                .iter()
                .map(|step| if let Step::WriteAt(_, data) = step { data.len() } else { 1 })
                .sum();
            for bytes in 0..=all {
                let (file, is_new) = cut_off(old, new, bytes);
                let expected = if is_new { new } else { old };
                let (Content::Is(found) | Content::Recovered(found)) = content(&file);
                let whole = |text: &[u8]| text.trim_ascii_end().to_vec();
                assert_eq!(
                    whole(found),
                    whole(expected),
                    "{bytes} of {old:?} -> {new:?}: {file:?}"
                );
            }
            let (file, _) = cut_off(old, new, all);
            assert_eq!(content(&file), Content::Is(new));
        }
    }

    #[test]
    fn a_file_of_anybody_else_is_as_it_is() {
        for file in [&b"{\n  \"le\": null\n}\n"[..], b"{\"le\": {\"Acc", b"\n\n", b"#routecert"] {
            assert_eq!(content(file), Content::Is(file));
        }
    }
}
