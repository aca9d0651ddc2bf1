//! From a route to a served certificate.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::DeleteParams;

use crate::parts::client::Chain;
use crate::parts::stand::Stand;
use crate::stand;

const LE: &str = "{certResolver: le}";

/// The chain in a Secret of the routes' namespace.
async fn copy(stand: &Stand<'_>, name: &str) -> Result<Chain, String> {
    let secrets: Api<Secret> = Api::namespaced(stand.client.clone(), &stand.routes);
    let secret = secrets.get(name).await.map_err(|e| e.to_string())?;
    let pem = secret.data.unwrap_or_default().remove("tls.crt").unwrap_or_default();
    Ok(Chain::from_pem(&String::from_utf8_lossy(&pem.0)))
}

#[tokio::test]
async fn issues_a_certificate_for_the_host_in_a_rule() {
    let stand = stand("one-host").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`) && Path(`/blog`)", LE);
    let issued = stand.certificate("a.example.com").await;
    issued.chain.verify(&stand.ca.root(), "a.example.com").unwrap();
    let url = "https://a.example.com/blog?x=1";
    let reply = stand.eventually(url, async || stand.get(url)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["target"], "/blog?x=1");
    assert_eq!(stand.served("a.example.com").unwrap(), issued.chain);
    assert_eq!((stand.ca.accounts(), stand.ca.orders(), stand.ca.issued()), (1, 1, 1));
}

#[tokio::test]
async fn issues_one_certificate_for_all_hosts_of_a_rule_and_one_for_given_domains() {
    let stand = stand("more-hosts").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    let either = "(Host(`b.example.com`) && Path(`/blog`)) || Host(`blog.b.example.org`)";
    stand.route("either", either, LE);
    let domains = "{certResolver: le, domains: [{main: c.example.com, sans: [www.c.example.org]}]}";
    stand.route("given", "Host(`c.example.com`) && Path(`/blog`)", domains);
    for names in ["b.example.com,blog.b.example.org", "c.example.com,www.c.example.org"] {
        let issued = stand.certificate(names).await;
        assert_eq!(issued.chain.names().join(","), names);
        for name in names.split(',') {
            issued.chain.verify(&stand.ca.root(), name).unwrap();
        }
    }
    assert_eq!(stand.ca.orders(), 2);
}

#[tokio::test]
async fn issues_for_a_route_of_traefiks_own_group() {
    let stand = stand("traefik-group").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.traefik_route("blog", "Host(`a.example.com`)", LE);
    stand.certificate("a.example.com").await;
}

#[tokio::test]
async fn run_does_both_in_one_process() {
    let stand = stand("run").await;
    let both = stand.launch("run");
    both.await_ready();
    stand.route("blog", "Host(`a.example.com`)", LE);
    let url = "https://a.example.com/";
    let reply = stand.eventually(url, async || stand.get(url)).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn a_route_that_cannot_have_a_certificate_says_why_and_orders_nothing() {
    let stand = stand("refusals").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("silent", "Host(`silent.example.com`)", "{}");
    stand.route("unknown", "Host(`a.example.com`)", "{certResolver: nobody}");
    stand.route("broken", "Host(`a.example.com`", LE);
    stand.route("nameless", "PathPrefix(`/`)", LE);
    let wild = "{certResolver: le, domains: [{main: '*.example.com'}]}";
    stand.route("wild", "Host(`a.example.com`)", wild);
    let expected = [
        ("unknown", "UnknownResolver"),
        ("broken", "InvalidRule"),
        ("nameless", "NoNames"),
        ("wild", "WildcardNeedsDns01"),
    ];
    for (route, reason) in expected {
        let told = stand.eventually(route, async || stand.reason(route).await).await;
        assert_eq!(told, reason, "{route}");
    }
    assert!(stand.reason("silent").await.is_err());
    assert_eq!(stand.ca.orders(), 0);
}

#[tokio::test]
async fn the_secret_that_a_route_names_is_filled_and_kept_equal() {
    let stand = stand("copies").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    let tls = "{certResolver: le, secretName: blog-tls}";
    stand.route("blog", "Host(`a.example.com`)", tls);
    let issued = stand.certificate("a.example.com").await;
    let equal = async || {
        let copied = copy(&stand, "blog-tls").await?;
        if copied == issued.chain { Ok(()) } else { Err("another chain".to_owned()) }
    };
    stand.eventually("the copy", equal).await;
    let secrets: Api<Secret> = Api::namespaced(stand.client.clone(), &stand.routes);
    secrets.delete("blog-tls", &DeleteParams::default()).await.unwrap();
    stand.eventually("the copy, made again", equal).await;
    assert_eq!(stand.ca.orders(), 1);
}

#[tokio::test]
async fn a_secret_that_is_not_ours_is_left_alone_and_the_certificate_is_served() {
    let stand = stand("foreign").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    let theirs = ["create", "secret", "generic", "theirs", "--from-literal=tls.crt=theirs", "-n"];
    stand.cluster.kubectl(&[&theirs[..], &[&stand.routes]].concat(), "");
    let tls = "{certResolver: le, secretName: theirs}";
    stand.route("blog", "Host(`a.example.com`)", tls);
    let url = "https://a.example.com/";
    stand.eventually(url, async || stand.get(url)).await;
    let refused = async || {
        let reason = stand.reason("blog").await?;
        if reason == "SecretNotOurs" { Ok(()) } else { Err(reason) }
    };
    stand.eventually("the reason SecretNotOurs", refused).await;
    let secrets: Api<Secret> = Api::namespaced(stand.client.clone(), &stand.routes);
    let kept = secrets.get("theirs").await.unwrap().data.unwrap();
    assert_eq!(kept["tls.crt"].0, b"theirs");
}

#[tokio::test]
async fn an_acmecertificate_shows_the_state_and_comes_back_when_deleted() {
    let stand = stand("acmecert").await;
    let _proxy = stand.start_proxy();
    let _controller = stand.start_controller();
    stand.route("blog", "Host(`a.example.com`)", LE);
    let issued = stand.certificate("a.example.com").await;
    let ready = async || {
        let object = stand.object("AcmeCertificate", &issued.secret).await?;
        if object["status"]["secret"].is_string() { Ok(object) } else { Err(object.to_string()) }
    };
    let object = stand.eventually("an AcmeCertificate", ready).await;
    assert_eq!(object["spec"]["resolver"], "le");
    assert_eq!(object["spec"]["names"][0], "a.example.com");
    stand.cluster.kubectl(&["delete", "acmecert", &issued.secret, "-n", &stand.routes], "");
    stand.eventually("the AcmeCertificate, put back", ready).await;
    assert_eq!(stand.certificate("a.example.com").await, issued);
}

#[tokio::test]
async fn plain_http_is_redirected_and_an_unknown_name_gets_the_default_certificate() {
    let stand = stand("redirect").await;
    let _proxy = stand.start_proxy();
    let reply = stand.get("http://a.example.com/blog?x=1").unwrap();
    assert!([301, 308].contains(&reply.status), "{reply:?}");
    let port = stand.settings.websecure;
    let expected = format!("https://a.example.com:{port}/blog?x=1");
    assert_eq!(reply.header("location"), Some(expected.as_str()));
    let token = stand.get("http://a.example.com/.well-known/acme-challenge/unknown").unwrap();
    assert_eq!(token.status, 404);
    let shown = stand.served("nobody.example.com").unwrap();
    assert!(shown.verify(&stand.ca.root(), "nobody.example.com").is_err());
}
