//! A CA that refuses, breaks off, lies, or wants to be left alone: at most one certificate more
//! than needed, never one less, and the reason is told.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::{Value, json};

use crate::accounts::{stored, tell_the_ca};
use crate::ca_options::refused;
use crate::look::{self, LE};
use crate::parts::ca::Ca;
use crate::parts::faults::{Asked, Fault, Seen};
use crate::parts::stand::Stand;
use crate::stand;

/// Those that the CA took.
fn taken(seen: &[Seen]) -> usize {
    seen.iter().filter(|one| one.status.is_some_and(|status| status < 300)).count()
}

async fn failures(stand: &Stand<'_>, names: &str) -> Value {
    look::states(stand).await.unwrap()[names]["failures"].clone()
}

#[tokio::test]
async fn nothing_is_sent_before_the_time_that_the_ca_names() {
    let mut stand = stand("retry-after").await;
    let faults = stand.use_faults();
    let limited = Fault::problem(429, "rateLimited", "too many today").with("retry-after", "5");
    faults.on(Asked::NewOrder, 1, limited);
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("seconds", "Host(`a.example.com`)", LE);
    refused(&stand, "seconds", "too many today (rateLimited)").await;
    stand.certificate("a.example.com").await;
    let orders = faults.seen(Asked::NewOrder);
    assert!(orders[1].at.duration_since(orders[0].at) >= Duration::from_secs(5));

    let directory = stand.ca.ask_directory().unwrap();
    let now = jiff::fmt::rfc2822::parse(directory.header("date").unwrap()).unwrap().timestamp();
    let later = now + jiff::SignedDuration::from_secs(7);
    let later = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&later);
    let busy = Fault::Answer { status: 503, headers: Vec::new(), body: "busy".to_owned() };
    faults.on(Asked::NewOrder, 1, busy.with("retry-after", &later.unwrap()));
    stand.route("date", "Host(`b.example.com`)", LE);
    refused(&stand, "date", "HTTP 503").await;
    stand.certificate("b.example.com").await;
    let all = faults.everything();
    let busy = all.iter().rposition(|one| one.asked == Asked::NewOrder && one.status.is_none());
    let (busy, next) = (&all[busy.unwrap()], &all[busy.unwrap() + 1]);
    assert!(next.at.duration_since(busy.at) >= Duration::from_secs(5), "{busy:?} {next:?}");
    assert_eq!((stand.ca.orders(), stand.ca.issued()), (2, 2));
}

#[tokio::test]
async fn a_ca_that_refuses_half_of_all_nonces_costs_no_failure() {
    let mut stand = stand("nonces").await;
    let env = [("PEBBLE_WFE_NONCEREJECT", "50"), ("PEBBLE_AUTHZREUSE", "100")];
    stand.use_ca(Ca::start_with(stand.settings.web, &env, &Value::Null));
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    for number in 0..6 {
        stand.route(&format!("r{number}"), &format!("Host(`n{number}.example.com`)"), LE);
    }
    for number in 0..6 {
        let names = format!("n{number}.example.com");
        stand.certificate(&names).await;
        assert_eq!(failures(&stand, &names).await, Value::Null);
    }
    assert_eq!((stand.ca.orders(), stand.ca.issued(), stand.ca.accounts()), (6, 6, 1));
}

#[tokio::test]
async fn lost_replies_cost_no_second_account_and_no_second_certificate() {
    lose("lost", &[Asked::Directory, Asked::NewAccount, Asked::Order]).await;
    lose("lost-late", &[Asked::Challenge, Asked::Finalize, Asked::Certificate]).await;
}

async fn lose(prefix: &str, replies: &[Asked]) {
    let mut stand = stand(prefix).await;
    let faults = stand.use_faults();
    for asked in replies {
        faults.on(*asked, 1, Fault::DropReply);
    }
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    let made = async || {
        let all = stand.certificates().await?;
        all.get("a.example.com").cloned().ok_or_else(|| "no certificate yet".to_owned())
    };
    // each loss is a pause, the next one longer
    let within = Duration::from_mins(2);
    crate::parts::wait::eventually("the certificate", within, || stand.tails(), made).await;
    assert_eq!((stand.ca.accounts(), stand.ca.orders(), stand.ca.issued()), (1, 1, 1));
    assert_eq!(taken(&faults.seen(Asked::Finalize)), 1);
}

#[tokio::test]
async fn a_lost_new_order_costs_one_order_and_no_certificate() {
    let mut stand = stand("lost-order").await;
    let faults = stand.use_faults();
    faults.on(Asked::NewOrder, 1, Fault::DropReply);
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    stand.certificate("a.example.com").await;
    assert_eq!((stand.ca.orders(), stand.ca.issued()), (2, 1));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_fetched_again_and_one_without_end_is_left() {
    let mut stand = stand("bodies").await;
    let faults = stand.use_faults();
    faults.on(Asked::Certificate, 1, Fault::BreakOff(700));
    faults.on(
        Asked::Certificate,
        1,
        Fault::Rewrite(Box::new(|text| text.chars().take(700).collect())),
    );
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("breaks", "Host(`a.example.com`)", LE);
    stand.certificate("a.example.com").await;
    assert_eq!((stand.ca.orders(), stand.ca.issued()), (1, 1));

    faults.mend();
    faults.always(Asked::Order, Fault::Swell(100_000_000));
    stand.route("endless", "Host(`b.example.com`)", LE);
    refused(&stand, "endless", "larger than 1048576 bytes").await;
    faults.mend();
    stand.certificate("b.example.com").await;
    assert_eq!(stand.ca.orders(), 2);
    let asked = faults.seen(Asked::Order).len();
    // beside the megabyte there is what the sockets hold
    assert!(faults.swollen() < asked * 12_000_000, "{} bytes", faults.swollen());
}

#[tokio::test]
async fn addresses_without_https_and_tokens_that_are_paths_are_not_followed() {
    let mut stand = stand("lies").await;
    let faults = stand.use_faults();
    let plain = |key: &'static str| {
        Fault::edit(move |json: &mut Value| {
            if let Some(url) = json[key].as_str() {
                json[key] = url.replace("https:", "http:").into();
            }
        })
    };
    faults.always(Asked::Order, plain("finalize"));
    faults.always(Asked::NewOrder, plain("finalize"));
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("finalize", "Host(`a.example.com`)", LE);
    refused(&stand, "finalize", "not https://: http://127.0.0.1").await;
    assert_eq!((faults.seen(Asked::Finalize).len(), stand.ca.issued()), (0, 0));

    faults.mend();
    let token = |authorization: &mut Value| {
        for challenge in authorization["challenges"].as_array_mut().unwrap() {
            challenge["token"] = "../../../etc/passwd".into();
        }
    };
    faults.always(Asked::Authorization, Fault::edit(token));
    let told = faults.seen(Asked::Challenge).len();
    stand.route("token", "Host(`b.example.com`)", LE);
    refused(&stand, "token", "token").await;
    assert_eq!(faults.seen(Asked::Challenge).len(), told);
    look::no_answers(&stand).await;
}

#[tokio::test]
async fn a_chain_with_anything_else_in_it_is_refused_whole() {
    let mut stand = stand("chain").await;
    let faults = stand.use_faults();
    let key = crate::parts::keys::signing().0;
    faults.always(Asked::Certificate, Fault::Rewrite(Box::new(move |text| text + &key)));
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    refused(&stand, "blog", "there is something in it that is no certificate").await;
    assert_eq!(stand.certificates().await.unwrap().len(), 0);
    assert_eq!(stand.ca.orders(), 1);
}

#[tokio::test]
async fn a_reply_is_read_for_what_the_step_needs() {
    let mut stand = stand("bare").await;
    let faults = stand.use_faults();
    let bare = |order: &mut Value| {
        if order["status"] == "valid" {
            let certificate = order["certificate"].clone();
            *order = json!({"status": "valid", "certificate": certificate, "error": {}});
        }
    };
    faults.always(Asked::Order, Fault::edit(bare));
    faults.always(Asked::Finalize, Fault::edit(|order: &mut Value| *order = json!({})));
    faults.always(Asked::Finalize, Fault::Header("location", None));
    let typed = Some("application/pem-certificate-chain; charset=utf-8".to_owned());
    faults.always(Asked::Certificate, Fault::Header("content-type", typed));
    faults.always(Asked::Challenge, Fault::Header("location", None));
    let odd = |authorization: &mut Value| {
        let challenges = authorization["challenges"].as_array_mut().unwrap();
        let url = |number: u8| format!("https://ca.example/c/{number}");
        challenges.insert(
            0,
            json!({"type": "dns-persist-01", "url": url(1), "status": "pending",
                "issuer-domain-names": ["ca.example"]}),
        );
        challenges.insert(
            0,
            json!({"type": "device-attest-01", "url": url(2), "status": "pending",
                "token": "has space"}),
        );
        challenges.push(json!({"type": 3}));
        for challenge in challenges {
            challenge["error"] = json!({});
        }
    };
    faults.always(Asked::Authorization, Fault::edit(odd));
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    stand.certificate("a.example.com").await;
    assert_eq!((stand.ca.orders(), stand.ca.issued()), (1, 1));
    assert_eq!(failures(&stand, "a.example.com").await, Value::Null);
}

#[tokio::test]
async fn errors_with_nothing_in_them_are_told_as_such_and_counted_once() {
    let mut stand = stand("empty-error").await;
    let faults = stand.use_faults();
    let empty = |authorization: &mut Value| {
        if authorization["status"] == "invalid" {
            for challenge in authorization["challenges"].as_array_mut().unwrap() {
                challenge["error"] = json!({});
            }
        }
    };
    faults.always(Asked::Authorization, Fault::edit(empty));
    stand.ca.break_name("bad.example.com");
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("bad", "Host(`bad.example.com`)", LE);
    let why = refused(&stand, "bad", "bad.example.com: the CA gave no reason (HTTP ").await;
    assert!(!why.contains("missing field"), "{why}");
    assert_eq!(failures(&stand, "bad.example.com").await.as_array().unwrap().len(), 1);

    let body = json!({"detail": "no"}).to_string();
    let headers = vec![("content-type", "application/json".to_owned())];
    faults.on(Asked::NewOrder, 1, Fault::Answer { status: 400, headers, body });
    stand.route("none", "Host(`none.example.com`)", LE);
    refused(&stand, "none", "no (HTTP 400)").await;
    assert_eq!(failures(&stand, "none.example.com").await.as_array().unwrap().len(), 1);

    let error = |order: &mut Value| order["error"] = json!({});
    faults.always(Asked::Order, Fault::edit(error));
    stand.route("good", "Host(`good.example.com`)", LE);
    stand.certificate("good.example.com").await;
    let log = controller.process.log();
    assert!(!log.contains("panicked") && !log.contains("missing field"));
}

#[tokio::test]
async fn an_order_that_is_not_ready_yet_is_waited_for_with_the_same_request() {
    let mut stand = stand("not-ready").await;
    let faults = stand.use_faults();
    let pending = |order: &mut Value| {
        if order["status"] == "ready" {
            order["status"] = "pending".into();
        }
    };
    faults.on(Asked::Order, 4, Fault::edit(pending));
    for _ in 0..2 {
        faults.on(Asked::Finalize, 1, Fault::problem(403, "orderNotReady", "pending"));
    }
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route(
        "blog",
        "Host(`a.example.com`) || Host(`b.example.com`) || Host(`c.example.com`)",
        LE,
    );
    let names = "a.example.com,b.example.com,c.example.com";
    stand.certificate(names).await;
    assert_eq!((stand.ca.orders(), stand.ca.issued()), (1, 1));
    let sent = faults.seen(Asked::Finalize);
    assert_eq!((taken(&sent), failures(&stand, names).await), (1, Value::Null));
    assert!(sent.len() >= 2 && sent.iter().all(|one| one.payload["csr"] == sent[0].payload["csr"]));
}

#[tokio::test]
async fn a_name_that_fails_is_named_among_several() {
    let stand = stand("which").await;
    stand.ca.break_name("bad.example.com");
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`) || Host(`bad.example.com`)", LE);
    let why = refused(&stand, "blog", " (connection)").await;
    assert!(why.contains(": bad.example.com: ") && !why.contains(" a.example.com: "), "{why}");
}

#[tokio::test]
async fn an_account_that_was_deactivated_is_followed_by_one_with_a_new_key() {
    let stand = stand("deactivated").await;
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("first", "Host(`a.example.com`)", LE);
    let kept = stand.certificate("a.example.com").await;
    let before = stored(&stand).await.data.unwrap();
    let gone = r#"{"status": "deactivated"}"#;
    let secret = stored(&stand).await;
    stand.eventually("the end of the account", async || tell_the_ca(&stand, &secret, gone)).await;
    stand.route("second", "Host(`b.example.com`)", LE);
    stand.certificate("b.example.com").await;
    let after = stored(&stand).await.data.unwrap();
    assert_ne!(after["key.pem"], before["key.pem"]);
    assert_eq!((stand.ca.accounts(), stand.ca.issued()), (2, 2));
    assert_eq!(stand.certificate("a.example.com").await, kept);
    assert_eq!(look::lines(&controller, "another account is registered"), 1);
}

#[tokio::test]
async fn renewal_information_is_read_replaced_certificates_are_named_and_revoked() {
    use routecert::acme::{self, Account};
    use routecert::cert::{Certificate, Key};

    let stand = stand("protocol").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    let issued = stand.certificate("a.example.com").await;
    let namespace = &stand.settings.certificates_namespace;
    let secrets: Api<Secret> = Api::namespaced(stand.client.clone(), namespace);
    let data = secrets.get(&issued.secret).await.unwrap().data.unwrap();
    let text = |key: &str| String::from_utf8(data[key].0.clone()).unwrap();
    let certificate = Certificate::parse(&text("tls.crt"), &text("tls.key")).unwrap();

    let trust = routecert::resolver::CaTrust {
        certificates: vec![stand.ca.trust.clone()],
        ..Default::default()
    };
    let client = routecert::http::Client::new(&trust, Duration::from_secs(20)).unwrap();
    let ari_id = ari_id(&issued);
    let directory = stand.ca.directory();
    let window = acme::renewal_info(&client, &directory, &ari_id).await.unwrap().unwrap();
    assert!(window.start < window.end && window.retry_after.is_some(), "{window:?}");

    let account = stored(&stand).await.data.unwrap();
    let field = |key: &str| String::from_utf8(account[key].0.clone()).unwrap();
    let key = Key::from_pem(&field("key.pem")).unwrap();
    let ca = std::sync::Arc::new(acme::Ca::new(client, &directory));
    let account = Account::open(ca, &key, &field("url")).unwrap();
    let names = certificate.facts().names.clone();
    let first = account.place(&names, None, Some(&ari_id)).await.unwrap();
    // nothing that the CA knows: it is asked again without
    let second = account.place(&names, None, Some("AAAA.AAAA")).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(account.look(&second).await.unwrap().failed, []);

    account.revoke(&certificate, Some(acme::RevocationReason::Superseded)).await.unwrap();
    account.revoke(&certificate, None).await.unwrap();
    let serial = issued.chain.serial().replace(':', "");
    let status = stand.ca.manage(&format!("/cert-status-by-serial/{serial}")).unwrap();
    assert!(status.contains("Revoked"), "{status}");
}

/// RFC 9773 §4.1.
fn ari_id(issued: &crate::parts::stand::Issued) -> String {
    use x509_parser::extensions::ParsedExtension;
    let (_, leaf) = x509_parser::parse_x509_certificate(&issued.chain.certificates[0]).unwrap();
    let authority = leaf.extensions().iter().find_map(|one| match one.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.clone(),
        _ => None,
    });
    let encode = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
    format!("{}.{}", encode(authority.unwrap().0), encode(leaf.raw_serial()))
}
