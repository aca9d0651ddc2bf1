//! `import` and `export`: what Traefik wrote is taken over without an order, and what is given back
//! is read by Traefik's own store.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::look::{self, LE};
use crate::parts::alone::Alone;
use crate::parts::client::Chain;
use crate::parts::stand::Stand;
use crate::parts::{keys, process, tools};
use crate::{binary, stand};

const SOON: Duration = Duration::from_secs(30);

/// The bytes that `openssl` makes of `input`.
fn openssl(args: &[&str], input: &str) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(args);
    let output = process::run(command, input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn pem(args: &[&str], input: &str) -> String {
    String::from_utf8(openssl(args, input)).unwrap()
}

/// A certificate that another program got, its key in the given form.
fn got(names: &[&str], form: &str) -> (Chain, Value) {
    let made = keys::server(names);
    let (chain, key) = match form {
        "RSA" => {
            let key = pem(&["genrsa", "-traditional", "2048"], "");
            assert!(key.contains("BEGIN RSA PRIVATE KEY"), "{key}");
            let file = process::write(&process::new_folder("rsa"), "key.pem", &key);
            let (file, san) =
                (file.display().to_string(), format!("subjectAltName=DNS:{}", names[0]));
            let chain =
                pem(&["req", "-x509", "-key", &file, "-subj", "/CN=x", "-addext", &san], "");
            (chain, key)
        }
        "EC" => (made.chain, pem(&["ec"], &made.key)),
        _ => (made.chain, made.key),
    };
    let form = [form, "PRIVATE KEY"].join(" ");
    assert!(key.contains(&format!("BEGIN {}", form.trim())), "{key}");
    let entry = json!({
        "domain": {"main": names[0], "sans": names[1..]},
        "certificate": BASE64.encode(chain.as_bytes()),
        "key": BASE64.encode(key.as_bytes()),
        "Store": "default",
    });
    (Chain::from_pem(&chain), entry)
}

fn account() -> Value {
    let key = pem(&["genrsa", "-traditional", "2048"], "");
    let der = openssl(&["rsa", "-traditional", "-outform", "DER"], &key);
    json!({
        "Email": "ops@example.com",
        "Registration": {"body": {"status": "valid"}, "uri": "https://ca.example/acct/1"},
        "PrivateKey": BASE64.encode(&der),
    })
}

fn write(folder: &Path, name: &str, value: &Value) -> String {
    process::write(folder, name, &value.to_string()).display().to_string()
}

/// What Traefik's own store finds for resolver `le`.
fn read_by_traefik(file: &Path) -> Value {
    let mut command = Command::new(tools::folder("traefik-store").join("traefik-store"));
    command.arg(file).arg("le");
    let output = process::run(command, "");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn routecert(args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(binary());
    command.args(args);
    let output = process::run(command, "");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn an_acme_json_is_taken_over_served_and_given_back_to_traefik() {
    let alone = Alone::new(binary(), "import-file");
    let [(one, a), (two, b), (three, c)] =
        [("a.example.com", ""), ("b.example.com", "EC"), ("c.example.com", "RSA")]
            .map(|(name, form)| got(&[name], form));
    let empty = json!({"domain": {"main": "d.example.com"}, "certificate": "", "key": ""});
    let old =
        json!({"old": {"Account": account(), "Certificates": [a, b, c, empty]}, "more": null});
    let old = write(&alone.folder, "old.json", &old);
    let configuration = alone.configuration().display().to_string();
    let (code, said) = routecert(&["import", &old, "--configfile", &configuration]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--resolver-map old=NAME") && !alone.storage.exists(), "{said}");
    let args = ["import", &old, "--resolver-map", "old=le", "--configfile", &configuration];
    let (code, said) = routecert(&args);
    assert_eq!(code, Some(1), "{said}");
    for part in
        ["3 imported", "not usable  le  d.example.com", "RSA key", "b.example.com  valid until"]
    {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    let (_, again) = routecert(&args);
    assert!(again.contains("0 imported, 3 there already"), "{again}");

    let names = ["a.example.com", "b.example.com", "c.example.com"];
    alone.route(&names[..2]);
    let run = alone.start();
    alone.logs(&run, "everything is known").await;
    for (name, chain) in names.iter().zip([&one, &two, &three]) {
        alone.serves(name, chain).await;
    }
    alone.route(&names);
    alone.logs(&run, "names=c.example.com").await;
    assert_eq!((alone.ca.orders(), alone.ca.accounts()), (0, 0));

    // given back while it runs, in Traefik's form
    let out = alone.folder.join("out.json");
    let args = ["export", &out.display().to_string(), "--configfile", &configuration];
    let (code, said) = routecert(&args);
    assert_eq!(code, Some(0), "{said}");
    for file in [&out, &alone.storage] {
        let read = read_by_traefik(file);
        assert_eq!(read["certificates"].as_array().unwrap().len(), 3, "{read}");
        assert_eq!((&read["email"], &read["hasKey"]), (&json!("ops@example.com"), &json!(true)));
        assert_eq!(read["uri"], "https://ca.example/acct/1");
    }
    assert_eq!(routecert(&args).0, Some(1), "an existing file is not overwritten");
}

#[tokio::test]
async fn what_we_got_is_read_by_traefik_and_its_account_stays() {
    let alone = Alone::new(binary(), "import-beside");
    let (_, a) = got(&["a.example.com", "www.a.example.com"], "EC");
    let old = json!({"le": {"Account": account(), "Certificates": [a]}});
    alone.store(&serde_json::to_string_pretty(&old).unwrap(), 0o600);
    alone.route(&["a.example.com", "b.example.com"]);
    let _run = alone.start();
    alone.certificate("b.example.com").await;
    alone.certificate("a.example.com").await;
    let read = read_by_traefik(&alone.storage);
    let names =
        json!([["a.example.com", "www.a.example.com"], ["b.example.com"], ["a.example.com"]]);
    let mut found = read["certificates"].as_array().unwrap().clone();
    found.sort_by_key(ToString::to_string);
    let mut expected = names.as_array().unwrap().clone();
    expected.sort_by_key(ToString::to_string);
    assert_eq!(found, expected);
    assert_eq!((&read["email"], &read["hasKey"]), (&json!("ops@example.com"), &json!(true)));
    assert_eq!((alone.ca.orders(), alone.ca.accounts()), (2, 1));
}

#[test]
fn the_flat_file_of_traefik_1_asks_for_a_resolver() {
    let folder = process::new_folder("flat");
    let (_, entry) = got(&["a.example.com"], "EC");
    let old = json!({
        "Account": account(),
        "Certificates": [{
            "Domain": {"Main": "a.example.com", "SANs": null},
            "Certificate": entry["certificate"],
            "Key": entry["key"],
        }],
        "HTTPChallenges": null,
        "TLSChallenges": {},
    });
    let file = write(&folder, "acme.json", &old);
    let (code, said) = routecert(&["import", &file]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("Traefik 1") && said.contains("--resolver"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), old.to_string());
    let storage = folder.join("new.json");
    let yaml = format!(
        "certificatesResolvers: {{le: {{acme: {{storage: {}, httpChallenge: {{entryPoint: http}}}}}}}}\n\
         providers: {{file: {{filename: {}}}}}\n",
        storage.display(),
        folder.join("routes.yml").display()
    );
    let configuration = process::write(&folder, "static.yml", &yaml).display().to_string();
    let (code, said) =
        routecert(&["import", &file, "--resolver", "le", "--configfile", &configuration]);
    assert_eq!(code, Some(0), "{said}");
    let stored: Value = serde_json::from_str(&fs::read_to_string(&storage).unwrap()).unwrap();
    let names: Vec<&String> = stored.as_object().unwrap().keys().collect();
    assert_eq!(names, ["le"]);
    assert_eq!(stored["le"]["Account"]["Email"], "ops@example.com");
    assert_eq!(read_by_traefik(&storage)["certificates"], json!([["a.example.com"]]));
}

/// Runs it to its end, as the controller's own ServiceAccount.
fn in_cluster(stand: &Stand<'_>, subcommand: &str, more: &[&str]) -> String {
    let done = stand.launch_with(subcommand, more);
    let status = done.process.finish(SOON);
    let log = done.process.log();
    assert!(status.success(), "{log}");
    log
}

#[tokio::test]
async fn certificates_are_taken_over_into_the_cluster_whether_routes_come_before_or_after() {
    let mut stand = stand("import").await;
    "1s".clone_into(&mut stand.settings.remove_after);
    let (before, a) = got(&["a.example.com"], "EC");
    let (after, b) = got(&["b.example.com", "www.b.example.com"], "");
    let old = json!({"le": {"Account": account(), "Certificates": [a, b]}});
    let old = write(&stand.folder, "old.json", &old);
    stand.route("before", "Host(`a.example.com`)", LE);
    let said = in_cluster(&stand, "import", &[&old]);
    assert!(said.contains("2 imported"), "{said}");

    process::write(&stand.folder, "acme.json", "{}");
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    look::logs(&stand, &controller, "`routecert import acme.json`").await;
    look::told(&stand, "before", "Issued").await;
    assert_eq!(stand.certificate("a.example.com").await.chain, before);
    look::logs(&stand, &controller, "everything is known").await;
    look::fence(&stand, "fence").await;
    // nobody has wanted it yet: it stays
    let waiting = "b.example.com,www.b.example.com";
    assert_eq!(stand.certificate(waiting).await.chain, after);
    stand.route("after", "Host(`b.example.com`) || Host(`www.b.example.com`)", LE);
    look::told(&stand, "after", "Issued").await;
    let adopted = async || {
        let states = look::states(&stand).await?;
        let owner = &states[waiting]["owner"];
        if *owner == stand.routes { Ok(()) } else { Err(format!("{owner} has it")) }
    };
    stand.eventually("it to be the routes' own", adopted).await;
    assert_eq!(stand.served("www.b.example.com").unwrap(), after);
    assert_eq!((stand.ca.orders(), stand.ca.accounts()), (0, 0));

    let out: PathBuf = stand.folder.join("out.json");
    in_cluster(&stand, "export", &[&out.display().to_string()]);
    let read = read_by_traefik(&out);
    assert_eq!(read["certificates"].as_array().unwrap().len(), 2, "{read}");
    assert_eq!((&read["email"], &read["hasKey"]), (&json!("ops@example.com"), &json!(true)));
}
