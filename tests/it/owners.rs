//! Hosts belong to namespaces: whoever gets a certificate gets its key.

use crate::look::{self, LE};
use crate::stand;

const STRANGER: &str = "
apiVersion: routecert.dev/v1alpha1
kind: IngressRoute
metadata: {name: thief, namespace: owners-stranger}
spec:
  entryPoints: [websecure]
  routes: [{match: Host(`a.example.com`), kind: Rule}]
  tls: {certResolver: le, secretName: stolen}
";

#[tokio::test]
async fn a_stranger_gets_neither_certificate_nor_key_of_a_host_that_another_namespace_holds() {
    let mut stand = stand("owners").await;
    stand.settings.namespaces.push("owners-stranger".to_owned());
    let namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: owners-stranger}}";
    stand.cluster.apply(namespace);
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    let issued = stand.certificate("a.example.com").await;
    look::told(&stand, "blog", "Issued").await;
    // While its owner's route is away, and older than the one that its owner makes anew.
    stand.delete_route("blog");
    stand.cluster.apply(STRANGER);
    let path = "jsonpath={.status.conditions[0].reason}";
    let args = ["get", "rcir", "thief", "-n", "owners-stranger", "-o", path];
    let refused = async || match stand.cluster.kubectl(&args, "").as_str() {
        "HostOwnedElsewhere" => Ok(()),
        other => Err(other.to_owned()),
    };
    stand.eventually("HostOwnedElsewhere", refused).await;
    stand.route("blog", "Host(`a.example.com`)", LE);
    look::told(&stand, "blog", "Issued").await;
    let stolen =
        stand.cluster.kubectl(&["get", "secrets", "-n", "owners-stranger", "-o", "name"], "");
    assert_eq!(stolen, "");
    assert_eq!(stand.certificate("a.example.com").await, issued);
    assert_eq!(stand.ca.orders(), 1);
}
