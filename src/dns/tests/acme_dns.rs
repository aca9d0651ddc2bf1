//! `acmedns`: registration, the CNAME that it asks for, and the accounts that it keeps.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::dns::tests::fakes::{Shared, fake_acme_dns};
use crate::dns::tests::replay::{Recorded, Replay};
use crate::dns::tests::server::Server;
use crate::dns::tests::{Folder, built, context, data, of_object, pairs, task};
use crate::dns::{Error, Provider, Variables, provider};

const FQDN: &str = "_acme-challenge.example.com";
const HOST: &str = "sub-1.acme-dns.example.net";

async fn stand() -> (Shared, Server, Folder) {
    let records = Shared::default();
    let server = fake_acme_dns(&records).await;
    (records, server, Folder::new())
}

fn made(server: &Server, path: &str) -> Box<dyn Provider> {
    let url = server.url();
    let variables = [
        ("ACME_DNS_API_BASE", url.as_str()),
        ("ACME_DNS_STORAGE_PATH", path),
        ("ACME_DNS_ALLOWLIST", "192.0.2.0/24, 2001:db8::/32"),
    ];
    built("acme-dns", &pairs(variables)).unwrap()
}

#[tokio::test]
async fn a_domain_is_registered_once_and_the_person_is_told_the_cname() {
    let (records, server, folder) = stand().await;
    let path = folder.0.join("accounts.json").display().to_string();
    let (root, wildcard) = (task("example.com", FQDN, "a"), task("example.com", FQDN, "b"));
    let (one, other) = (made(&server, &path), made(&server, &path));
    let (first, second) = tokio::join!(one.set(&root), other.set(&wildcard));
    for error in [first.unwrap_err(), second.unwrap_err()] {
        let text = error.to_string();
        assert!(text.contains(&format!("`{FQDN}. IN CNAME {HOST}.`")), "{text}");
    }
    assert_eq!(records.lock().unwrap().accounts.len(), 1);
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let account = json!({
        "fulldomain": HOST, "subdomain": "sub-1", "username": "user-1", "password": "password-1",
        "server_url": server.url(),
    });
    assert_eq!(kept, json!({"example.com": account}));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // the CNAME is there: both values are set, and nothing is registered again
    for it in [task("example.com", HOST, "a"), task("example.com", HOST, "b")] {
        made(&server, &path).set(&it).await.unwrap();
        assert!(records.lock().unwrap().of(HOST).contains(&it.value));
    }
    assert_eq!(records.lock().unwrap().accounts.len(), 1);
}

#[tokio::test]
async fn accounts_that_another_program_made_are_read_and_kept() {
    let (records, server, folder) = stand().await;
    records.lock().unwrap().accounts.insert("user-1".to_owned(), "password-1".to_owned());
    // as it is written by older programs: no server_url, something that we do not know
    let old = format!(
        r#"{{"example.com":{{"fulldomain":"{HOST}","subdomain":"sub-1","username":"user-1","password":"password-1","note":"x"}}}}"#
    );
    let path = folder.file("accounts.json", &old);
    made(&server, &path).set(&task("example.com", HOST, "a")).await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), old, "nothing changed: nothing written");
    made(&server, &path).set(&task("b.example.com", "x", "a")).await.unwrap_err();
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(kept["example.com"]["note"], "x");
    assert_eq!(kept["b.example.com"]["username"], "user-2");
}

#[tokio::test]
async fn a_storage_that_cannot_be_used_is_told_before_anything_is_registered() {
    let (records, server, folder) = stand().await;
    let cut = folder.file("cut.json", "{\"example.com\": {");
    let nowhere = folder.0.join("no/such/folder.json").display().to_string();
    for (path, why) in [(&cut, "is no JSON of accounts"), (&nowhere, "No such file")] {
        let error = made(&server, path).set(&task("example.com", FQDN, "a")).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Settings { .. }) && text.contains(why), "{text}");
        assert!(text.contains("ACME_DNS_STORAGE_PATH"), "{text}");
    }
    assert_eq!(std::fs::read_to_string(&cut).unwrap(), "{\"example.com\": {");
    assert_eq!(records.lock().unwrap().accounts.len(), 0);
}

#[tokio::test]
async fn exactly_one_storage_is_needed_and_an_object_may_not_name_a_path() {
    let base = ("ACME_DNS_API_BASE", "https://acme-dns.example.net");
    let path = ("ACME_DNS_STORAGE_PATH", "accounts.json");
    let url = ("ACME_DNS_STORAGE_BASE_URL", "https://accounts.example.net");
    assert!(built("acmedns", &pairs([base])).is_err());
    assert!(built("acmedns", &pairs([base, path, url])).is_err());
    assert!(built("acmedns", &pairs([base, path])).is_ok());
    let text = of_object("acmedns", &pairs([base, path])).err().unwrap().to_string();
    assert!(text.contains("static configuration only"), "{text}");
    assert!(of_object("acmedns", &pairs([base, url])).is_ok());
}

#[tokio::test]
async fn accounts_at_a_server_of_the_user_are_asked_for_as_recorded() {
    let text = std::fs::read_to_string(data("acmedns-unit.jsonl")).unwrap();
    for (case, with_cname) in
        [("the_CNAME_is_not_handled_by_the_storage", false), ("the_CNAME_is_handled_by", true)]
    {
        let lines = text.lines().filter(|line| line.contains(case));
        let mut exchanges: Vec<Recorded> = lines
            .map(|line| {
                let value: Value = serde_json::from_str(line).unwrap();
                let url =
                    format!("https://accounts.example.net{}", value["path"].as_str().unwrap());
                Recorded { url, ..serde_json::from_value(value).unwrap() }
            })
            .collect();
        assert_eq!(exchanges.len(), 2);
        let account = account_of(&mut exchanges[1]);
        // Looked up once more when it is its turn: meanwhile another name may have registered.
        exchanges.insert(1, exchanges[0].clone());
        exchanges.insert(2, acme_dns("/register", "", 201, &account));
        if with_cname {
            let body = json!({"subdomain": account["subdomain"], "txt": task("example.com", "x", "a").value});
            exchanges.push(acme_dns("/update", &body.to_string(), 200, &json!({})));
        }
        let replay = Replay::start(exchanges).await;
        let variables = Variables::given(pairs([
            ("ACME_DNS_API_BASE", "https://acme-dns.example.net"),
            ("ACME_DNS_STORAGE_BASE_URL", "https://accounts.example.net"),
        ]));
        let made = provider("acmedns", &context(variables, replay.exchange())).unwrap();
        let set = made.set(&task("example.com", "acme-dns.example.com", "a")).await;
        assert_eq!(replay.left(""), 0, "{case}");
        assert_eq!(set.is_ok(), with_cname, "{case}: {set:?}");
    }
}

/// The account of a recorded request, which has no server in it.
fn account_of(exchange: &mut Recorded) -> Value {
    let mut account: Value = serde_json::from_str(&exchange.body).unwrap();
    let answer = account.clone();
    account["server_url"] = json!("https://acme-dns.example.net");
    exchange.body = account.to_string();
    answer
}

fn acme_dns(path: &str, body: &str, status: u16, answer: &Value) -> Recorded {
    Recorded {
        method: "POST".to_owned(),
        url: format!("https://acme-dns.example.net{path}"),
        body: body.to_owned(),
        status,
        resp_body: answer.to_string(),
        ..Recorded::default()
    }
}

#[tokio::test]
async fn the_allow_list_goes_with_the_registration() {
    let body = json!({"allowfrom": ["192.0.2.0/24", "2001:db8::/32"]}).to_string();
    let account = json!({"fulldomain": "f", "subdomain": "s", "username": "u", "password": "p"});
    let replay = Replay::start([acme_dns("/register", &body, 201, &account)]).await;
    let folder = Folder::new();
    let path = folder.0.join("accounts.json").display().to_string();
    let variables = pairs([
        ("ACME_DNS_API_BASE", "https://acme-dns.example.net/"),
        ("ACME_DNS_STORAGE_PATH", path.as_str()),
        ("ACME_DNS_ALLOWLIST", "192.0.2.0/24, 2001:db8::/32"),
    ]);
    let variables = Variables::of_process(Arc::new(variables));
    let made = provider("acmedns", &context(variables, replay.exchange())).unwrap();
    made.set(&task("example.com", FQDN, "a")).await.unwrap_err();
    assert_eq!(replay.left(""), 0);
}
