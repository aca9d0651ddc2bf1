//! Where the built real parts are; they are built once per version, outside the clone.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the clone.
pub fn clone_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of a module's programs (`cluster`, `pebble`) or files (`traefik`).
/// Builds them when they are not there yet, which takes minutes and shows its progress.
pub fn folder(module: &str) -> PathBuf {
    let script = clone_root().join("tests/tools/build.sh");
    let output = Command::new(&script)
        .arg(module)
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}", script.display()));
    assert!(output.status.success(), "{} {module} failed: see above", script.display());
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}
