//! The program: the process's own facts, then one subcommand.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Parser;
use jiff::Timestamp;
use routecert::cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything can use TLS; the first one installed is the one that counts.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let environment = environment();
    let arguments = cli::arguments(std::env::args_os());
    cli::run(&cli::Cli::parse_from(arguments), &host(&environment), now, &environment)
}

#[expect(clippy::disallowed_methods, reason = "the one clock of the program")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// Read once, here, and passed down. What is no text can be no setting.
fn environment() -> BTreeMap<String, String> {
    let texts = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(texts).collect()
}

/// The Pod's name; elsewhere the machine's.
fn host(environment: &BTreeMap<String, String>) -> String {
    let given = environment.get("HOSTNAME").cloned();
    given
        .or_else(|| std::fs::read_to_string("/etc/hostname").ok())
        .map_or_else(|| "routecert".to_owned(), |name| name.trim().to_owned())
}
