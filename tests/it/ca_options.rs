//! What a resolver says about its CA, each tried at a CA that can tell.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::accounts::{at_the_ca, stored};
use crate::look::{self, LE};
use crate::parts::ca::Ca;
use crate::parts::client::Chain;
use crate::parts::faults::{Asked, Fault, Faults};
use crate::parts::stand::Stand;
use crate::parts::{keys, process};
use crate::stand;

/// Long enough for each of the three hashes.
const MAC_KEY: &str =
    "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0";

/// Waits until the condition of a route says `part`.
#[track_caller]
pub(crate) fn refused<'a>(
    stand: &'a Stand<'_>,
    route: &'a str,
    part: &'a str,
) -> impl Future<Output = String> + 'a {
    stand.eventually("the reason of a route", async move || {
        let object = stand.object("IngressRoute", route).await?;
        let condition = &object["status"]["conditions"][0];
        let message = condition["message"].as_str().unwrap_or_default();
        if message.contains(part) {
            Ok(message.to_owned())
        } else {
            Err(format!("{route}: {condition}, and not {part}"))
        }
    })
}

fn set(stand: &mut Stand<'_>, resolver: &'static str, key: &'static str, value: &str) {
    stand.settings.acme.push((resolver, key, value.to_owned()));
}

fn resolvers(stand: &mut Stand<'_>, names: &[&str]) {
    stand.settings.resolvers =
        names.iter().map(|name| ((*name).to_owned(), "EC256".to_owned())).collect();
}

/// A route of this name for `NAME.example.com` by the resolver `NAME`.
fn route(stand: &Stand<'_>, name: &str) {
    let tls = format!("{{certResolver: {name}}}");
    stand.route(name, &format!("Host(`{name}.example.com`)"), &tls);
}

fn list(files: &[&Path]) -> String {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    format!("[{}]", files.join(", "))
}

#[tokio::test]
async fn a_changed_mail_is_told_to_the_ca_and_is_no_second_account() {
    let mut stand = stand("mail").await;
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("first", "Host(`a.example.com`)", LE);
    stand.certificate("a.example.com").await;
    controller.process.terminate(Duration::from_secs(10));
    set(&mut stand, "", "email", "b@example.com");
    let _controller = stand.start_controller();
    stand.route("second", "Host(`b.example.com`)", LE);
    stand.certificate("b.example.com").await;
    assert_eq!(stand.ca.accounts(), 1);
    let secret = stored(&stand).await;
    let account = stand.eventually("the account", async || at_the_ca(&stand, &secret)).await;
    assert_eq!(account["contact"], json!(["mailto:b@example.com"]));
}

#[tokio::test]
async fn the_preferred_chain_is_taken_and_the_first_where_there_is_none_like_it() {
    let mut stand = stand("chains").await;
    let env = [("PEBBLE_ALTERNATE_ROOTS", "2")];
    stand.use_ca(Ca::start_with(stand.settings.web, &env, &Value::Null));
    let roots = ["/roots/0", "/roots/1", "/roots/2"].map(|path| stand.ca.manage(path).unwrap());
    let preferred = Chain::from_pem(&roots[2]).subject();
    resolvers(&mut stand, &["first", "third", "nobody"]);
    set(&mut stand, "third", "preferredChain", &format!("'{preferred}'"));
    set(&mut stand, "nobody", "preferredChain", "Nobody");
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    for (name, root) in [("first", &roots[0]), ("third", &roots[2]), ("nobody", &roots[0])] {
        route(&stand, name);
        let host = format!("{name}.example.com");
        stand.certificate(&host).await.chain.verify(root, &host).unwrap();
    }
}

fn bound() -> Value {
    json!({"externalAccountBindingRequired": true,
        "externalAccountMACKeys": {"kid-1": MAC_KEY}})
}

#[tokio::test]
async fn a_binding_is_sent_once_whatever_becomes_of_the_reply_and_its_lack_is_a_reason() {
    let mut stand = stand("binding").await;
    stand.use_ca(Ca::start_with(stand.settings.web, &[], &bound()));
    let faults = stand.use_faults();
    resolvers(&mut stand, &["bound", "bare"]);
    let eab = format!("{{kid: kid-1, hmacEncoded: {MAC_KEY}}}");
    set(&mut stand, "bound", "eab", &eab);
    faults.on(Asked::NewAccount, 1, Fault::DropReply);
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    route(&stand, "bound");
    stand.certificate("bound.example.com").await;
    route(&stand, "bare");
    refused(&stand, "bare", "set eab.kid and eab.hmacEncoded").await;
    let sent = faults.seen(Asked::NewAccount);
    let with = |one: &&_| -> bool {
        let one: &crate::parts::faults::Seen = one;
        one.payload.get("externalAccountBinding").is_some() && one.status == Some(201)
    };
    let found = sent.iter().filter(|one| one.payload["onlyReturnExisting"] == true);
    assert_eq!(sent.iter().filter(with).count(), 1, "{sent:#?}");
    assert!(found.clone().count() >= 1, "{sent:#?}");
    assert!(found.clone().all(|one| one.payload.get("externalAccountBinding").is_none()));
    assert_eq!(stand.ca.accounts(), 1);
    assert!(!controller.process.log().contains(MAC_KEY));
}

#[tokio::test]
async fn a_ca_that_wants_another_mac_gets_it() {
    let mut stand = stand("macs").await;
    stand.use_ca(Ca::start_with(stand.settings.web, &[], &bound()));
    let faults = stand.use_faults();
    let eab = format!("{{kid: kid-1, hmacEncoded: {MAC_KEY}}}");
    set(&mut stand, "", "eab", &eab);
    let body = json!({"type": "urn:ietf:params:acme:error:badSignatureAlgorithm",
        "algorithms": ["ES256", "HS512"]});
    let body = body.to_string();
    faults.on(Asked::NewAccount, 1, Fault::Answer { status: 400, headers: Vec::new(), body });
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    stand.certificate("a.example.com").await;
    let mac = |seen: &crate::parts::faults::Seen| {
        let protected = seen.payload["externalAccountBinding"]["protected"].as_str().unwrap();
        let bytes = data_encoding::BASE64URL_NOPAD.decode(protected.as_bytes()).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()["alg"].as_str().unwrap().to_owned()
    };
    let sent = faults.seen(Asked::NewAccount);
    assert_eq!(mac(&sent[0]), "HS256");
    assert_eq!(mac(sent.last().unwrap()), "HS512");
}

#[tokio::test]
async fn a_profile_is_asked_for_and_one_that_the_ca_has_not_is_a_reason() {
    let mut stand = stand("profiles").await;
    let profiles = json!({"profiles": {
        "default": {"description": "90 days", "validityPeriod": 7_776_000},
        "shortlived": {"description": "6 days", "validityPeriod": 576_000}}});
    stand.use_ca(Ca::start_with(stand.settings.web, &[], &profiles));
    let faults = stand.use_faults();
    resolvers(&mut stand, &["short", "wrong", "plain"]);
    set(&mut stand, "short", "profile", "shortlived");
    set(&mut stand, "wrong", "profile", "longlived");
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    route(&stand, "wrong");
    let why = refused(&stand, "wrong", "profile `longlived`").await;
    assert!(why.contains("default, shortlived"), "{why}");
    assert_eq!(stand.ca.orders(), 0);
    for name in ["short", "plain"] {
        route(&stand, name);
        stand.certificate(&format!("{name}.example.com")).await;
    }
    let orders = faults.seen(Asked::NewOrder);
    let of = |name: &str| {
        let identifier = json!([{"type": "dns", "value": format!("{name}.example.com")}]);
        orders.iter().find(|one| one.payload["identifiers"] == identifier).unwrap().payload.clone()
    };
    assert_eq!(of("short")["profile"], "shortlived");
    assert_eq!(of("plain").get("profile"), None);
}

#[tokio::test]
async fn signing_requests_have_the_addresses_and_lack_the_common_name_as_wished() {
    let mut stand = stand("csr").await;
    let faults = stand.use_faults();
    resolvers(&mut stand, &["extras", "plain"]);
    set(&mut stand, "extras", "emailAddresses", "[m@example.com]");
    set(&mut stand, "extras", "disableCommonName", "true");
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    for (name, subject, mail) in [("extras", "", true), ("plain", "CN=plain.example.com", false)] {
        route(&stand, name);
        // Pebble takes no addresses: what was asked for counts here
        let csr = stand.eventually("a signing request", async || {
            let host = format!("{name}.example.com");
            let all = faults.seen(Asked::Finalize);
            let csrs = all.iter().filter_map(|one| one.payload["csr"].as_str());
            let mut ders =
                csrs.map(|csr| data_encoding::BASE64URL_NOPAD.decode(csr.as_bytes()).unwrap());
            ders.find(|der| der.windows(host.len()).any(|part| part == host.as_bytes()))
                .ok_or_else(|| "none yet".to_owned())
        });
        let csr = csr.await;
        let (_, request) = X509CertificationRequest::from_der(&csr).unwrap();
        assert_eq!(request.certification_request_info.subject.to_string(), subject);
        let extensions =
            format!("{:?}", request.requested_extensions().unwrap().collect::<Vec<_>>());
        assert_eq!(extensions.contains("RFC822Name(\"m@example.com\")"), mail, "{extensions}");
    }
}

/// Files: one of an authority that nobody needs, and one of that and `authority`.
fn authorities(folder: &Path, authority: &Path) -> [std::path::PathBuf; 2] {
    let stranger = keys::server(&["stranger.example"]).authority;
    let both = stranger.clone() + &std::fs::read_to_string(authority).unwrap();
    [process::write(folder, "stranger.pem", &stranger), process::write(folder, "both.pem", &both)]
}

#[tokio::test]
async fn the_ca_is_trusted_by_its_files_the_systems_pool_and_its_name() {
    let mut stand = stand("trust").await;
    // its certificate is not for the host of its URL, and the system does not know its authority
    let named = Faults::start(&stand.ca, &["ca.internal"]);
    let [stranger, both] = authorities(&stand.folder, &named.trust);
    resolvers(&mut stand, &["files", "nameless", "pool", "poolless"]);
    for resolver in ["files", "nameless"] {
        set(&mut stand, resolver, "caServer", &named.directory());
        set(&mut stand, resolver, "caCertificates", &list(&[&stranger, &both]));
    }
    set(&mut stand, "files", "caServerName", "ca.internal");
    for resolver in ["pool", "poolless"] {
        set(&mut stand, resolver, "caCertificates", &list(&[&stranger]));
    }
    set(&mut stand, "pool", "caSystemCertPool", "true");
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    for name in ["files", "pool"] {
        route(&stand, name);
        stand.certificate(&format!("{name}.example.com")).await;
    }
    route(&stand, "nameless");
    refused(&stand, "nameless", "certificate not valid for name").await;
    route(&stand, "poolless");
    refused(&stand, "poolless", "invalid peer certificate").await;
}

#[tokio::test]
async fn the_variables_of_lego_stand_for_what_a_resolver_leaves_out() {
    let mut stand = stand("lego").await;
    let named = Faults::start(&stand.ca, &["ca.internal"]);
    let [stranger, both] = authorities(&stand.folder, &named.trust);
    resolvers(&mut stand, &["theirs", "own"]);
    set(&mut stand, "theirs", "caServer", &named.directory());
    set(&mut stand, "theirs", "caCertificates", "");
    let files = format!("{}:{}", stranger.display(), both.display());
    stand.settings.env =
        vec![("LEGO_CA_CERTIFICATES", files), ("LEGO_CA_SERVER_NAME", "ca.internal".to_owned())];
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    for name in ["theirs", "own"] {
        route(&stand, name);
        stand.certificate(&format!("{name}.example.com")).await;
    }
    controller.process.terminate(Duration::from_secs(10));
    // the system knows the authority of Pebble's own certificate
    stand.settings.acme.clear();
    set(&mut stand, "theirs", "caCertificates", "");
    stand.settings.env = vec![
        ("LEGO_CA_CERTIFICATES", stranger.display().to_string()),
        ("LEGO_CA_SYSTEM_CERT_POOL", "true".to_owned()),
    ];
    let _controller = stand.start_controller();
    stand.route("more", "Host(`more.example.com`)", "{certResolver: theirs}");
    stand.certificate("more.example.com").await;
}

#[tokio::test]
async fn a_ca_that_is_slow_to_begin_or_to_end_its_reply_is_left() {
    let mut stand = stand("slow").await;
    let begins = Faults::start(&stand.ca, &["127.0.0.1"]);
    begins.always(Asked::Directory, Fault::Delay(Duration::from_secs(40)));
    let ends = Faults::start(&stand.ca, &["127.0.0.1"]);
    ends.always(Asked::Directory, Fault::Drip(Duration::from_secs(1)));
    resolvers(&mut stand, &["begins", "ends"]);
    for (resolver, faults) in [("begins", &begins), ("ends", &ends)] {
        set(&mut stand, resolver, "caServer", &faults.directory());
        set(&mut stand, resolver, "caCertificates", &list(&[&faults.trust]));
        set(&mut stand, resolver, "clientResponseHeaderTimeout", "1s");
        set(&mut stand, resolver, "clientTimeout", "3s");
    }
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    for (name, why) in [("begins", "no answer within 1 s"), ("ends", "no answer within 3 s")] {
        route(&stand, name);
        refused(&stand, name, why).await;
    }
}

#[tokio::test]
async fn the_delay_lies_between_the_answer_and_the_ca_being_told() {
    let mut stand = stand("delay").await;
    let faults = stand.use_faults();
    set(&mut stand, "", "httpChallenge", "{entryPoint: web, delay: 3s}");
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    stand.certificate("a.example.com").await;
    let offered = faults.seen(Asked::Authorization)[0].at;
    let told = faults.seen(Asked::Challenge)[0].at;
    assert!(told.duration_since(offered) >= Duration::from_secs(3));
}

#[tokio::test]
async fn an_order_that_the_ca_works_on_is_waited_for_over_restarts_and_is_no_failure() {
    let mut stand = stand("processing").await;
    let faults = stand.use_faults();
    set(&mut stand, "", "certificateTimeout", "1s");
    faults.always(Asked::Finalize, Fault::edit(processing));
    faults.always(Asked::Order, Fault::edit(processing));
    faults.always(Asked::Order, Fault::Header("retry-after", Some("3".to_owned())));
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    look::logs(&stand, &controller, "the CA works on the order").await;
    let polled = || faults.seen(Asked::Order).iter().filter(|one| one.status == Some(200)).count();
    let before = polled();
    let more = async || {
        let more = polled() - before;
        if more >= 2 { Ok(()) } else { Err(format!("{more} more questions")) }
    };
    stand.eventually("the order to be asked for again", more).await;
    controller.process.kill();
    faults.mend();
    let _controller = stand.start_controller();
    stand.certificate("a.example.com").await;
    assert_eq!((stand.ca.orders(), stand.ca.issued()), (1, 1));
    assert_eq!(faults.seen(Asked::Finalize).iter().filter(|it| it.status == Some(200)).count(), 1);
    let good: Vec<_> =
        faults.seen(Asked::Order).into_iter().filter(|one| one.status == Some(200)).collect();
    // the first two belong to the proof and the finalize
    let asked_early = good
        .windows(2)
        .skip(2)
        .filter(|two| two[1].at.duration_since(two[0].at) < Duration::from_secs(2));
    // one of the new controller, which cannot know; one after the rules were taken away
    assert!(asked_early.count() <= 2, "{good:#?}");
    let failures = look::states(&stand).await.unwrap()["a.example.com"]["failures"].clone();
    assert_eq!(failures, Value::Null);
}

#[tokio::test]
async fn an_order_that_the_ca_works_on_past_its_end_is_given_up_and_placed_anew() {
    let mut stand = stand("overdue").await;
    let faults = stand.use_faults();
    set(&mut stand, "", "certificateTimeout", "1s");
    let overdue = |order: &mut Value| {
        processing(order);
        order["expires"] = "2026-01-01T00:00:00Z".into();
    };
    faults.always(Asked::Finalize, Fault::edit(overdue));
    faults.always(Asked::Order, Fault::edit(overdue));
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    refused(&stand, "blog", "did not finish the order before it ended").await;
    let state = look::states(&stand).await.unwrap()["a.example.com"].clone();
    assert_eq!((&state["pending"], stand.ca.orders()), (&Value::Null, 1));
}

fn processing(order: &mut Value) {
    if order["status"] == "valid" {
        order["status"] = "processing".into();
        order.as_object_mut().unwrap().remove("certificate");
    }
}

#[tokio::test]
async fn the_largest_key_is_made_and_served() {
    let mut stand = stand("rsa8192").await;
    stand.settings.resolvers = vec![("le".to_owned(), "RSA8192".to_owned())];
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    let made = async || {
        let all = stand.certificates().await?;
        all.get("a.example.com").cloned().ok_or_else(|| "no certificate yet".to_owned())
    };
    let within = Duration::from_mins(5);
    let issued =
        crate::parts::wait::eventually("the certificate", within, || stand.tails(), made).await;
    assert_eq!(issued.chain.key(), "RSA8192");
    let same = async || {
        let served = stand.served("a.example.com")?;
        if served == issued.chain { Ok(()) } else { Err("another chain".to_owned()) }
    };
    stand.eventually("it to be served", same).await;
}

#[tokio::test]
async fn each_resolver_has_its_own_ca_and_renews_by_its_own_duration() {
    let mut stand = stand("two-cas").await;
    let other = Ca::start(stand.settings.web);
    resolvers(&mut stand, &["here", "there"]);
    set(&mut stand, "there", "caServer", &other.directory());
    set(&mut stand, "there", "caCertificates", &list(&[&other.trust]));
    set(&mut stand, "there", "certificatesDuration", "168");
    // else this CA would say when
    stand.settings.own.push("ari: false".to_owned());
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    // both issue for 90 days: a month before the end; and no later than a twentieth of the life
    for (name, ca, days) in [("here", &stand.ca, 20..=30), ("there", &other, 4..=4)] {
        route(&stand, name);
        let host = format!("{name}.example.com");
        let issued = stand.certificate(&host).await;
        issued.chain.verify(&ca.root(), &host).unwrap();
        let shown = stand.eventually("its renewal", async || {
            let object = stand.object("AcmeCertificate", &issued.secret).await?;
            let time = |key: &str| {
                let text = object["status"][key].as_str().ok_or_else(|| object.to_string())?;
                text.parse::<jiff::Timestamp>().map_err(|error| error.to_string())
            };
            Ok(time("notAfter")?.duration_since(time("renewal")?).as_hours() / 24)
        });
        let before = shown.await;
        assert!(days.contains(&before), "{name}: {before} days before its end");
    }
    assert_eq!((stand.ca.issued(), other.issued()), (1, 1));
}
