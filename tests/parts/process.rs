//! Children: their output goes to a file, they end with their parent, and can be held and let go.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, mpsc};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

const POLL: Duration = Duration::from_millis(20);

/// What to start. The environment is empty but for `PATH`, `HOME` and what is given here, so that
/// no proxy or kubeconfig of the machine is picked up.
#[derive(Debug, Clone)]
pub struct Program {
    /// As shown to a person; also the name of the log file.
    pub name: String,
    pub path: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(&'static str, String)>,
    /// Of the log file, and the working folder.
    pub folder: PathBuf,
}

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    pub program: Program,
    child: Mutex<Child>,
}

impl Process {
    /// Starts `program`; its log is appended to, so that it tells of all starts.
    pub fn start(program: Program) -> Self {
        let log = File::options().create(true).append(true).open(log_of(&program)).unwrap();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&program.path)
            .args(&program.args)
            .current_dir(&program.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        clean_environment(&mut command, &program.folder);
        command.envs(program.env.iter().map(|(key, value)| (key, value)));
        let child = spawn(command).unwrap_or_else(|e| {
            panic!("{}: setpriv (util-linux) does not start: {e}", program.name)
        });
        Self { program, child: Mutex::new(child) }
    }

    /// Waits until `ready` holds; panics with the last log lines if the child ends before that.
    pub fn await_ready(&self, within: Duration, mut ready: impl FnMut() -> bool) {
        let start = Instant::now();
        while !ready() {
            if let Some(status) = self.exited() {
                panic!(
                    "{} ended before it was ready: {status}\n{}",
                    self.program.name,
                    self.tail()
                );
            }
            assert!(
                start.elapsed() < within,
                "{} is not ready after {within:?}\n{}",
                self.program.name,
                self.tail()
            );
            std::thread::sleep(POLL);
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// How it ended, if it did.
    pub fn exited(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }

    /// Ends it at once, as a crash or the kernel would.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        drop(child.kill());
        child.wait().unwrap();
    }

    /// SIGTERM, then waits for the end: how it ended and how long that took.
    pub fn terminate(&self, within: Duration) -> (ExitStatus, Duration) {
        let start = Instant::now();
        self.signal("TERM");
        self.wait(within, start)
    }

    /// Waits for a child that ends by itself.
    pub fn finish(&self, within: Duration) -> ExitStatus {
        self.wait(within, Instant::now()).0
    }

    fn wait(&self, within: Duration, start: Instant) -> (ExitStatus, Duration) {
        loop {
            if let Some(status) = self.exited() {
                return (status, start.elapsed());
            }
            if start.elapsed() > within {
                self.kill();
                panic!("{} did not end within {within:?}\n{}", self.program.name, self.tail());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Freezes it: it keeps its connections and leases, and does nothing.
    pub fn hold(&self) {
        self.signal("STOP");
    }

    /// Lets a held one go on.
    pub fn release(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let status = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", name, &self.pid().to_string()])
            .status()
            .unwrap();
        assert!(status.success(), "{} takes no SIG{name}: {status}", self.program.name);
    }

    /// Everything that it wrote, over all its starts.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(log_of(&self.program)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines of the log under a heading, for the message of a failure.
    pub fn tail(&self) -> String {
        last_lines(&log_of(&self.program))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The end of one log file under its name.
pub fn last_lines(log: &Path) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(30)..).unwrap_or_default();
    format!("--- last lines of {}\n{}\n", log.display(), last.join("\n"))
}

fn log_of(program: &Program) -> PathBuf {
    program.folder.join(format!("{}.log", program.name))
}

/// Runs a program to its end. `stdin` is given to it whole.
pub fn run(mut command: Command, stdin: &str) -> Output {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{name} does not start: {e}; is it installed?"));
    // a program that reads none of it closes the pipe: no failure
    drop(child.stdin.take().unwrap().write_all(stdin.as_bytes()));
    child.wait_with_output().unwrap()
}

/// Only `PATH`, and `folder` as home.
pub fn clean_environment(command: &mut Command, folder: &Path) {
    command.env_clear().env("HOME", folder);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
}

/// A command whose process ends with its parent: the kernel binds that to the thread that forked,
/// so one thread that lives as long as this process starts them all.
fn spawn(mut command: Command) -> std::io::Result<Child> {
    type Request = (Command, mpsc::Sender<std::io::Result<Child>>);
    static SPAWNER: LazyLock<mpsc::Sender<Request>> = LazyLock::new(|| {
        let (requests, received) = mpsc::channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, answer) in received {
                drop(answer.send(command.spawn()));
            }
        });
        requests
    });
    // a Ctrl-C at the terminal is for the parent; the children follow it
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let (answer, answered) = mpsc::channel();
    SPAWNER.send((command, answer)).unwrap();
    answered.recv().unwrap()
}

/// Free loopback ports, kept for this process until it ends: a bound socket that does not listen
/// leaves the port to a listener with `SO_REUSEADDR` (Go and tokio set it), and to nobody else.
pub fn free_ports<const N: usize>() -> [u16; N] {
    static KEPT: Mutex<Vec<Socket>> = Mutex::new(Vec::new());
    std::array::from_fn(|_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SockAddr::from(std::net::SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        socket.set_reuse_address(true).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        KEPT.lock().unwrap().push(socket);
        port
    })
}

/// A new empty folder. All of them go when this process has ended, whichever way it ended;
/// with `ROUTECERT_KEEP_FOLDERS` in the environment they stay.
pub fn new_folder(name: &str) -> PathBuf {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(root_folder);
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let folder = ROOT.join(format!("{}-{name}", COUNT.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir(&folder).unwrap();
    folder
}

fn root_folder() -> PathBuf {
    static PIPE: Mutex<Option<Child>> = Mutex::new(None);
    let root = std::env::temp_dir().join(format!(
        "routecert-{}-{:08x}",
        std::process::id(),
        rand::random::<u32>()
    ));
    std::fs::create_dir(&root).unwrap();
    let mut janitor = Command::new("sh");
    janitor
        .args([
            "-c",
            "cat; test -n \"$ROUTECERT_KEEP_FOLDERS\" || until rm -rf \"$0\"; do sleep 0.1; done",
        ])
        .arg(&root)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // its standard input ends when this process does
    std::os::unix::process::CommandExt::process_group(&mut janitor, 0);
    *PIPE.lock().unwrap() = Some(janitor.spawn().unwrap());
    root
}

/// Writes `text` to `folder/name`.
pub fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(&path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    path
}
