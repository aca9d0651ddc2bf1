//! What every provider keeps to, whoever is behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::dns::tests::fakes::{Behaviour, Records, Shared, fake_acme_dns, hook};
use crate::dns::tests::server::Server;
use crate::dns::tests::{Folder, built, data, of_object, pairs, task};
use crate::dns::{Error, PROVIDERS, Provider, Task};

/// Shown against a real name server, by `tests/it`.
const ELSEWHERE: [&str; 1] = ["dnsupdate"];

type Values = Box<dyn Fn(&str) -> BTreeSet<String>>;

/// What stands behind a provider.
struct Backend {
    variables: BTreeMap<String, String>,
    fqdn: &'static str,
    /// The values at a name.
    values: Values,
    /// Whether it can take a value away.
    forgets: bool,
    /// None of it is to be seen in a message.
    credentials: Vec<&'static str>,
    /// Of one that is asked over HTTP.
    records: Option<Shared>,
    _server: Option<Server>,
    folder: Folder,
}

impl Backend {
    /// Of every mode of the provider one. `None`: it has none here.
    async fn all_of(code: &str) -> Vec<Self> {
        match code {
            "acmedns" => vec![acme_dns().await],
            "exec" => vec![program(""), program("RAW")],
            "httpreq" => vec![requests("").await, requests("RAW").await],
            "manual" => Vec::new(),
            _ if ELSEWHERE.contains(&code) => Vec::new(),
            _ => panic!("{code}: say in this file what stands behind it"),
        }
    }

    fn made(&self, code: &str) -> Box<dyn Provider> {
        built(code, &self.variables).unwrap()
    }

    /// The tasks of `example.com` and `*.example.com`.
    fn tasks(&self) -> [Task; 2] {
        ["root", "wildcard"].map(|token| task("example.com", self.fqdn, token))
    }

    /// The same variables, each in a file that ends with a newline.
    fn in_files(&self) -> BTreeMap<String, String> {
        let file = |(name, value): (&String, &String)| {
            (format!("{name}_FILE"), self.folder.file(name, &format!("{value}\n")))
        };
        self.variables.iter().map(file).collect()
    }

    fn behaves(&self, behaviour: Behaviour) -> bool {
        let Some(records) = &self.records else { return false };
        records.lock().unwrap().behaviour = behaviour;
        true
    }
}

async fn requests(mode: &str) -> Backend {
    let records = Records { password: "a-long-password".to_owned(), ..Records::default() };
    let records: Shared = Arc::new(Mutex::new(records));
    let server = hook(&records).await;
    let endpoint = format!("{}/hook?key=in-the-address", server.url());
    let shared = Arc::clone(&records);
    Backend {
        variables: pairs([
            ("HTTPREQ_ENDPOINT", endpoint.as_str()),
            ("HTTPREQ_MODE", mode),
            ("HTTPREQ_USERNAME", "user"),
            ("HTTPREQ_PASSWORD", "a-long-password"),
        ]),
        fqdn: "_acme-challenge.example.com",
        values: Box::new(move |name| shared.lock().unwrap().of(name)),
        forgets: true,
        credentials: vec!["a-long-password", "dXNlcjphLWxvbmctcGFzc3dvcmQ=", "in-the-address"],
        records: Some(records),
        _server: Some(server),
        folder: Folder::new(),
    }
}

async fn acme_dns() -> Backend {
    let records = Shared::default();
    records.lock().unwrap().accounts.insert("user-1".to_owned(), "password-1".to_owned());
    let server = fake_acme_dns(&records).await;
    let folder = Folder::new();
    let accounts = r#"{"example.com": {"fulldomain": "sub-1.acme-dns.example.net", "subdomain": "sub-1", "username": "user-1", "password": "password-1"}}"#;
    let path = folder.file("accounts.json", accounts);
    let shared = Arc::clone(&records);
    Backend {
        variables: pairs([
            ("ACME_DNS_API_BASE", server.url().as_str()),
            ("ACME_DNS_STORAGE_PATH", &path),
        ]),
        fqdn: "sub-1.acme-dns.example.net",
        values: Box::new(move |name| shared.lock().unwrap().of(name)),
        forgets: false,
        credentials: vec!["password-1", "user-1"],
        records: Some(records),
        _server: Some(server),
        folder,
    }
}

fn program(mode: &str) -> Backend {
    let folder = Folder::new();
    let program = folder.0.join("hook");
    std::os::unix::fs::symlink(data("records.sh"), &program).unwrap();
    let records = folder.0.join("records");
    let raw = mode == "RAW";
    let values = move |name: &str| {
        let files = std::fs::read_dir(records.join(format!("{name}.")));
        let files = files.into_iter().flatten().map(|entry| entry.unwrap().file_name());
        let names = files.map(|name| name.into_string().unwrap());
        // in RAW mode the hook is given what the value is made of
        let value = |kept: String| if raw { super::value_of(&kept) } else { kept };
        names.map(value).collect()
    };
    Backend {
        variables: pairs([
            ("EXEC_PATH", program.to_str().unwrap()),
            ("EXEC_MODE", mode),
            ("EXEC_SEQUENCE_INTERVAL", "0"),
        ]),
        fqdn: "_acme-challenge.example.com",
        values: Box::new(values),
        forgets: true,
        credentials: Vec::new(),
        records: None,
        _server: None,
        folder,
    }
}

fn codes() -> impl Iterator<Item = &'static str> {
    PROVIDERS.iter().map(|entry| entry.codes[0])
}

async fn backends() -> Vec<(&'static str, Backend)> {
    let mut all = Vec::new();
    for code in codes() {
        all.extend(Backend::all_of(code).await.into_iter().map(|backend| (code, backend)));
    }
    all
}

#[track_caller]
fn has(backend: &Backend, code: &str, tasks: &[&Task]) {
    if backend.forgets {
        let wanted: BTreeSet<String> = tasks.iter().map(|task| task.value.clone()).collect();
        assert_eq!((backend.values)(backend.fqdn), wanted, "{code}");
    } else {
        let values = (backend.values)(backend.fqdn);
        assert!(tasks.iter().all(|task| values.contains(&task.value)), "{code}: {values:?}");
    }
}

#[tokio::test]
async fn root_and_wildcard_have_a_value_each_at_one_name_and_each_goes_alone() {
    for (code, backend) in backends().await {
        let [root, wildcard] = &backend.tasks();
        let first = backend.made(code).set(root).await.unwrap();
        let second = backend.made(code).set(wildcard).await.unwrap();
        has(&backend, code, &[root, wildcard]);
        // once more, as after a crash
        backend.made(code).set(root).await.unwrap();
        has(&backend, code, &[root, wildcard]);
        backend.made(code).unset(root, Some(&first)).await.unwrap();
        has(&backend, code, &[wildcard]);
        backend.made(code).unset(root, Some(&first)).await.unwrap();
        backend.made(code).unset(root, None).await.unwrap();
        has(&backend, code, &[wildcard]);
        backend.made(code).unset(wildcard, Some(&second)).await.unwrap();
        has(&backend, code, &[]);
    }
}

#[tokio::test]
async fn a_record_is_found_again_by_name_and_value_alone() {
    for (code, backend) in backends().await {
        let [root, wildcard] = &backend.tasks();
        for task in [root, wildcard] {
            drop(backend.made(code).set(task).await.unwrap());
        }
        backend.made(code).unset(wildcard, None).await.unwrap();
        has(&backend, code, &[root]);
        backend.made(code).unset(root, None).await.unwrap();
        has(&backend, code, &[]);
    }
}

#[tokio::test]
async fn every_variable_may_stand_in_a_file() {
    for (code, backend) in backends().await {
        let files = backend.in_files();
        let [root, _] = &backend.tasks();
        built(code, &files).unwrap().set(root).await.unwrap();
        has(&backend, code, &[root]);
        assert!(of_object(code, &files).is_err(), "{code}: an object may name no file");
    }
}

#[tokio::test]
async fn a_rotated_credential_counts_from_the_next_use() {
    let backend = requests("").await;
    let files = backend.in_files();
    let [root, wildcard] = &backend.tasks();
    built("httpreq", &files).unwrap().set(root).await.unwrap();
    backend.records.as_ref().unwrap().lock().unwrap().password = "another".to_owned();
    built("httpreq", &files).unwrap().set(wildcard).await.unwrap_err();
    backend.folder.file("HTTPREQ_PASSWORD", "another\n");
    built("httpreq", &files).unwrap().set(wildcard).await.unwrap();
    has(&backend, "httpreq", &[root, wildcard]);
}

#[tokio::test]
async fn a_refusal_says_who_and_at_which_step_and_no_credential() {
    for (code, backend) in backends().await {
        for status in [403, 429, 500] {
            if !backend.behaves(Behaviour::Refuses(status)) {
                continue;
            }
            let [root, _] = &backend.tasks();
            let error = backend.made(code).set(root).await.unwrap_err();
            let (text, debug) = (error.to_string(), format!("{error:?}"));
            assert!(text.starts_with(&format!("{code}: set the record: ")), "{text}");
            assert!(text.contains(&status.to_string()), "{text}");
            assert!(text.contains("no : /") && text.len() < 800, "{text}");
            assert_eq!(matches!(error, Error::Busy { .. }), status == 429, "{text}");
            for credential in &backend.credentials {
                assert!(!debug.contains(credential), "{credential}: {debug}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_holds_up_nothing_for_ever() {
    for (code, backend) in backends().await {
        if !backend.behaves(Behaviour::Silent) {
            continue;
        }
        let [root, _] = &backend.tasks();
        let made = backend.made(code);
        let asked = tokio::time::timeout(Duration::from_mins(2), made.set(root));
        let error = asked.await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    }
}

#[test]
fn what_is_missing_is_named() {
    for code in codes() {
        let known = crate::provider::find(code).unwrap();
        let Err(error) = built(code, &BTreeMap::new()) else {
            assert!(known.needed().is_empty(), "{code}");
            continue;
        };
        let text = error.to_string();
        let names = known.needed().concat().concat();
        assert!(names.iter().any(|name| text.contains(name)), "{text}");
        assert!(text.starts_with(code), "{text}");
    }
}

#[test]
fn every_time_can_be_set() {
    for code in codes() {
        for (name, _) in crate::provider::find(code).unwrap().optional() {
            let Some(prefix) = name.strip_suffix("_PROPAGATION_TIMEOUT") else { continue };
            let mut variables = pairs([
                (name, "77"),
                (&format!("{prefix}_POLLING_INTERVAL"), "7"),
                (&format!("{prefix}_SEQUENCE_INTERVAL"), "5"),
            ]);
            for set in crate::provider::find(code).unwrap().needed().concat() {
                variables.insert(set[0].to_owned(), "https://127.0.0.1:1".to_owned());
            }
            let timing = built(code, &variables).unwrap().timing();
            assert_eq!(timing.propagation_timeout, Duration::from_secs(77), "{name}");
            assert_eq!(timing.polling_interval, Duration::from_secs(7), "{name}");
            assert!(timing.sequence.is_none_or(|it| it == Duration::from_secs(5)), "{name}");
        }
    }
}

#[test]
fn what_uses_the_machine_is_not_for_objects() {
    for (code, variables) in [("exec", pairs([("EXEC_PATH", "/bin/true")])), ("manual", pairs([]))]
    {
        assert!(built(code, &variables).is_ok(), "{code}");
        let text = of_object(code, &variables).err().unwrap().to_string();
        assert!(text.contains("static configuration only"), "{text}");
    }
}
