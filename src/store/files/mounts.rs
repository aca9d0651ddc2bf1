//! On what a file is, by the kernel's list of mounts.

use std::fs;
use std::path::{Path, PathBuf};

/// What does not outlive the container or the machine, if the file is on such.
pub(super) fn passing(path: &Path) -> Option<&'static str> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    match kind_at(&mounts, path)? {
        "tmpfs" | "ramfs" => Some("a file system in memory"),
        "overlay" | "aufs" => Some("the container's own layer"),
        _ => None,
    }
}

/// The file system type of the innermost mount, the latest of several at one point
/// (`proc_pid_mountinfo(5)`).
fn kind_at<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let of = |line: &'a str| {
        let (before, after) = line.split_once(" - ")?;
        let point = unescaped(before.split(' ').nth(4)?);
        let depth = path.starts_with(&point).then(|| point.components().count())?;
        Some((depth, after.split(' ').next()?))
    };
    mounts.lines().filter_map(of).max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind)
}

/// Blanks, line breaks and backslashes stand as `\040` and the like.
fn unescaped(text: &str) -> PathBuf {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
1 0 0:1 / / rw,relatime - overlay overlay rw
2 1 0:2 / /dev rw - tmpfs tmpfs rw
3 1 8:1 /my/acme /etc/acme rw - ext4 /dev/sda rw
4 1 8:1 /my/acme.json /acme.json rw shared:1 - ext4 /dev/sda rw
5 1 0:9 / /with\\040blank rw - ramfs none rw
6 1 0:9 / /etc/acme rw - xfs /dev/sdb rw
";

    #[test]
    fn the_innermost_and_latest_mount_counts() {
        for (path, kind) in [
            ("/x/acme.json", "overlay"),
            ("/dev/acme.json", "tmpfs"),
            ("/etc/acme/acme.json", "xfs"),
            ("/etc/acme2/acme.json", "overlay"),
            ("/acme.json", "ext4"),
            ("/with blank/acme.json", "ramfs"),
        ] {
            assert_eq!(kind_at(MOUNTS, Path::new(path)), Some(kind), "{path}");
        }
    }
}
