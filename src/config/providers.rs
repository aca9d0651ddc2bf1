//! `providers`: where routes are read from.

use std::path::PathBuf;

use crate::config::typed::Typed;
use crate::config::walk::Walk;
use crate::config::{FileProvider, KubernetesCrd, KubernetesIngress, Problem, Token};

pub(super) fn kubernetes_crd(typed: &Typed) -> KubernetesCrd {
    let yes = |key: &str| typed.boolean(key).unwrap_or_default();
    KubernetesCrd {
        namespaces: typed.texts("namespaces"),
        label_selector: typed.filled("labelSelector"),
        ingress_class: typed.filled("ingressClass"),
        allow_cross_namespace: yes("allowCrossNamespace"),
        allow_external_name_services: yes("allowExternalNameServices"),
        allow_empty_services: yes("allowEmptyServices"),
        disable_cluster_scope_resources: yes("disableClusterScopeResources"),
        endpoint: typed.filled("endpoint"),
        token: typed.filled("token").map(Token),
        cert_auth_file_path: typed.filled("certAuthFilePath").map(PathBuf::from),
    }
}

pub(super) fn kubernetes_ingress(typed: &Typed) -> KubernetesIngress {
    let yes = |key: &str| typed.boolean(key).unwrap_or_default();
    KubernetesIngress {
        namespaces: typed.texts("namespaces"),
        label_selector: typed.filled("labelSelector"),
        ingress_class: typed.filled("ingressClass"),
        disable_ingress_class_lookup: yes("disableIngressClassLookup"),
        disable_cluster_scope_resources: yes("disableClusterScopeResources"),
        endpoint: typed.filled("endpoint"),
        token: typed.filled("token").map(Token),
        cert_auth_file_path: typed.filled("certAuthFilePath").map(PathBuf::from),
    }
}

/// Traefik starts without the provider if neither path is given, and reads the directory only if
/// both are.
pub(super) fn file(typed: &Typed, walk: &mut Walk) -> Option<FileProvider> {
    if typed.is_broken() {
        return None;
    }
    let path = |key: &str| typed.filled(key).map(PathBuf::from);
    let (filename, directory) = (path("filename"), path("directory"));
    let broken = |key: &str| typed.at(key).is_some_and(Typed::is_broken);
    match (&filename, &directory) {
        (None, None) if broken("filename") || broken("directory") => return None,
        (None, None) => {
            let message = "has neither filename nor directory; give one of them";
            walk.errors.push(Problem::at(&typed.place, &typed.key, message));
            return None;
        }
        (Some(_), Some(_)) => {
            let field = typed.at("filename").unwrap_or(typed);
            let message = "stands beside directory, so it is not read; remove one of them";
            walk.warnings.push(Problem::at(&field.place, &field.key, message));
        }
        _ => {}
    }
    Some(FileProvider { filename, directory, watch: typed.boolean("watch").unwrap_or(true) })
}
