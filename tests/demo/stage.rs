//! What the demos share: how they tell what goes on, and how they fail.

#![expect(clippy::print_stderr, reason = "it is for a person at a terminal")]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Runs a demo to its end. What fails has said why in words; a place in the source is of no use to
/// who reads it.
pub fn play(demo: impl Future<Output = ()>) -> ExitCode {
    std::panic::set_hook(Box::new(|failure| {
        let text = failure.payload_as_str().unwrap_or("unknown failure");
        eprintln!("\n  FAILED  {text}");
    }));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let demo = std::panic::AssertUnwindSafe(|| runtime.block_on(demo));
    let result = std::panic::catch_unwind(demo);
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What to do when all is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Leave,
    Stay,
}

impl End {
    /// As the command line says.
    pub fn asked() -> Self {
        if std::env::args().any(|arg| arg == "--keep") { Self::Stay } else { Self::Leave }
    }
}

/// The program, built beside this one.
pub fn binary() -> PathBuf {
    let demo = std::env::current_exe().unwrap();
    let binary = demo.ancestors().nth(2).unwrap().join("routecert");
    assert!(binary.exists(), "{} is missing: run `make`", binary.display());
    binary
}

/// Tells what is going on, and how long it took.
#[derive(Debug)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }

    pub fn step<T>(&self, what: &str, work: impl FnOnce() -> T) -> T {
        self.begin(what);
        let result = work();
        self.end();
        result
    }

    pub async fn step_async<T>(&self, what: &str, work: impl AsyncFnOnce() -> T) -> T {
        self.begin(what);
        let result = work().await;
        self.end();
        result
    }

    #[expect(clippy::unused_self, reason = "the pair of `end`")]
    fn begin(&self, what: &str) {
        print!("  {what:<62}");
        std::io::stdout().flush().unwrap();
    }

    fn end(&self) {
        println!("{:>6.1} s", self.seconds());
    }
}
