//! What a person reads: help, mistakes of usage and configuration, `kubectl get`.

use std::process::Command;

use crate::look::{self, LE};
use crate::parts::process;
use crate::{binary, stand};

const CONFIGURATION: &str = "
entryPoints: {web: {address: '127.0.0.1:0'}}
certificatesResolvers: {le: {acme: {email: a@example.com, httpChallenge: {entryPoint: web}}}}
";

/// Runs the program to its end: exit code, standard output, standard error.
#[track_caller]
fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(binary());
    process::clean_environment(&mut command, &std::env::temp_dir());
    command.args(args);
    let output = process::run(command, "");
    let [out, err] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    for internal in ["panicked", "Some(", "stack backtrace", "Err(", "RUST_BACKTRACE"] {
        assert!(!out.contains(internal) && !err.contains(internal), "{args:?}: {out}{err}");
    }
    (output.status.code(), out, err)
}

/// It is refused as usage or configuration, and says all of `parts`.
#[track_caller]
fn refuses(args: &[&str], parts: &[&str]) {
    let (code, _, err) = run(args);
    assert_eq!(code, Some(2), "{args:?}: {err}");
    for part in parts {
        assert!(err.contains(part), "{args:?}: {part} is not in: {err}");
    }
}

#[test]
fn every_subcommand_explains_itself() {
    let front = ["--configfile", "--kubeconfig", "--upstream ", "--upstream-ca", "h2c://", "unix:"];
    let cases: [(&[&str], &[&str]); 5] = [
        (&["--help"], &["controller", "proxy", "run", "crd"]),
        (&["controller", "--help"], &front[..2]),
        (&["proxy", "--help"], &front),
        (&["run", "--help"], &front),
        (&["crd", "--help"], &["kubectl apply -f -"]),
    ];
    for (args, parts) in cases {
        let (code, out, err) = run(args);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{args:?}");
        for part in parts {
            assert!(out.contains(part), "{args:?}: {part} is not in: {out}");
        }
    }
    assert_eq!(run(&["--version"]).0, Some(0));
}

#[test]
fn mistakes_of_usage_are_exit_code_two() {
    let folder = process::new_folder("usage");
    let good = process::write(&folder, "good.yaml", CONFIGURATION).display().to_string();
    let missing = folder.join("missing.yaml").display().to_string();
    refuses(&[], &["Usage: routecert <COMMAND>"]);
    refuses(&["nonsense"], &["nonsense", "Usage"]);
    refuses(&["controller"], &["--configfile"]);
    refuses(&["proxy", "--configfile", &good], &["--upstream"]);
    for subcommand in [&["controller"][..], &["run", "--upstream", "http://127.0.0.1:1"]] {
        let file = ["--configfile", missing.as_str()];
        refuses(&[subcommand, &file].concat(), &[&missing, "cannot be read"]);
    }
    let kubeconfig = ["controller", "--configfile", &good, "--kubeconfig", &missing];
    refuses(&kubeconfig, &["kubeconfig", &missing]);
    let upstreams = ["nonsense", "ftp://a:1", "http://", "http://a:99999", "unix:", "http://a:1/x"];
    for upstream in upstreams {
        let args = ["proxy", "--configfile", &good, "--upstream", upstream];
        refuses(&args, &["--upstream", &format!("`{upstream}`")]);
    }
    let authority = ["--upstream", "https://a:1", "--upstream-ca", &missing];
    refuses(&[&["proxy", "--configfile", &good][..], &authority].concat(), &[&missing]);
}

#[test]
fn all_problems_of_a_configuration_are_told_at_once_with_their_places() {
    let yaml = "entryPoints:
  web: {address: nonsense}
  websecure: {adress: ':443'}
certificatesResolvers:
  le: {acme: {emial: a@example.com}}
rutecert: {}
routecert: {removeAfter: soon}
";
    let folder = process::new_folder("problems");
    let file = process::write(&folder, "five.yaml", yaml).display().to_string();
    let lines = [
        "five.yaml:2:18: entryPoints.web.address: `nonsense`",
        "five.yaml:3:15: entryPoints.websecure.adress: unknown key; did you mean `address`?",
        "five.yaml:5:15: certificatesResolvers.le.acme.emial: unknown key; did you mean `email`?",
        "five.yaml:6:1: rutecert: unknown key; did you mean `routecert`?",
        "five.yaml:7:26: routecert.removeAfter: `soon`",
    ];
    for subcommand in [&["controller"][..], &["proxy", "--upstream", "http://127.0.0.1:1"]] {
        refuses(&[subcommand, &["--configfile", &file]].concat(), &lines);
    }
}

#[tokio::test]
async fn kubectl_get_shows_names_states_and_absolute_times() {
    let stand = stand("columns").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`) || Host(`b.example.com`)", LE);
    stand.route("refused", "Host(`a.example.com`)", "{certResolver: nobody}");
    look::told(&stand, "blog", "Issued").await;
    look::told(&stand, "refused", "UnknownResolver").await;
    let issued = stand.certificate("a.example.com,b.example.com").await;
    let shown = async || {
        let object = stand.object("AcmeCertificate", &issued.secret).await?;
        let status = object["status"].clone();
        if status["reason"] == "Issued" { Ok(status) } else { Err(object.to_string()) }
    };
    let status = stand.eventually("the AcmeCertificate", shown).await;
    let [expires, renewal] = ["notAfter", "renewal"].map(|time| status[time].as_str().unwrap());
    let table = |kind: &str| {
        let text = stand.cluster.kubectl(&["get", kind, "-n", &stand.routes], "");
        let cells = |line: &str| {
            let cells = line.split("  ").map(|cell| cell.trim().to_owned());
            cells.filter(|cell| !cell.is_empty()).collect::<Vec<_>>()
        };
        text.lines().map(cells).collect::<Vec<_>>()
    };
    let certificates = table("acmecert");
    let columns = ["NAME", "NAMES", "RESOLVER", "READY", "REASON", "EXPIRES", "RENEWAL", "AGE"];
    assert_eq!(certificates[0], columns);
    let names = "a.example.com,b.example.com";
    let row = [&issued.secret, names, "le", "True", "Issued", expires, renewal];
    assert_eq!(certificates[1][..7], row);
    let routes = table("rcir");
    assert_eq!(routes[0], ["NAME", "RESOLVER", "READY", "REASON", "AGE"]);
    assert_eq!(routes[1][..4], ["blog", "le", "True", "Issued"]);
    assert_eq!(routes[2][..4], ["refused", "nobody", "False", "UnknownResolver"]);
}
