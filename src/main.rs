//! The program: the process's own facts, then one subcommand.

use std::process::ExitCode;

use clap::Parser;
use jiff::Timestamp;
use routecert::cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything can use TLS; the first one installed is the one that counts.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    cli::run(cli::Cli::parse(), &host(), now)
}

#[expect(clippy::disallowed_methods, reason = "the one clock of the program")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// The Pod's name; elsewhere the machine's.
#[expect(clippy::disallowed_methods, reason = "the environment is read here and nowhere else")]
fn host() -> String {
    std::env::var("HOSTNAME")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"))
        .map_or_else(|_| "routecert".to_owned(), |name| name.trim().to_owned())
}
