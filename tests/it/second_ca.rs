//! The main scenarios at another CA than Pebble: nothing depends on one implementation's ways.

use std::fs;

use crate::parts::process;
use crate::parts::stand::Stand;
use crate::parts::step_ca::StepCa;
use crate::stand;

const LE: &str = "{certResolver: le}";

/// A stand whose resolver is at step-ca; Pebble's DNS server goes on answering for every name.
async fn at_step_ca(prefix: &str, hours: u32) -> (Stand<'static>, StepCa) {
    let mut stand = stand(prefix).await;
    let [tls] = process::free_ports();
    let ca =
        StepCa::start((stand.settings.web, tls), &format!("127.0.0.1:{}", stand.ca.dns), hours);
    stand.settings.ca_server = ca.directory();
    stand.settings.trust = ca.root_file();
    (stand, ca)
}

fn root(ca: &StepCa) -> String {
    fs::read_to_string(ca.root_file()).unwrap()
}

#[tokio::test]
async fn another_ca_issues_by_http01_and_a_restart_orders_nothing() {
    let (stand, ca) = at_step_ca("step-http01", 2160).await;
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`) || Host(`b.example.com`)", LE);
    let issued = stand.certificate("a.example.com,b.example.com").await;
    issued.chain.verify(&root(&ca), "b.example.com").unwrap();
    assert_eq!((ca.orders(), ca.accounts()), (1, 1), "{}", ca.tail());
    drop(controller);
    let _controller = stand.start_controller();
    stand.route("more", "Host(`c.example.com`)", LE);
    stand.certificate("c.example.com").await;
    assert_eq!(ca.orders(), 2, "{}", ca.tail());
    assert_eq!(stand.certificate("a.example.com,b.example.com").await.version, issued.version);
}
