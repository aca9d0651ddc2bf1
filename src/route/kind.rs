//! The kinds of objects that lead to certificates, and which object one is.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::networking::v1::Ingress;
use kube::api::ApiResource;

use crate::api;
use crate::api::{IngressRoute, IngressRouteTCP, TLSStore};

/// Every kind, of both groups and of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    OwnHttp,
    OwnTcp,
    OwnStore,
    TraefikHttp,
    TraefikTcp,
    TraefikStore,
    Ingress,
    FileHttp,
    FileTcp,
    FileStore,
}

impl Kind {
    /// Those of `providers.kubernetesCRD`.
    pub const CUSTOM: [Self; 6] = [
        Self::OwnHttp,
        Self::OwnTcp,
        Self::OwnStore,
        Self::TraefikHttp,
        Self::TraefikTcp,
        Self::TraefikStore,
    ];

    /// Those of `providers.file`.
    pub const OF_FILES: [Self; 3] = [Self::FileHttp, Self::FileTcp, Self::FileStore];

    /// `None`: the kind stands in files.
    pub fn resource(self) -> Option<ApiResource> {
        match self {
            Self::OwnHttp => Some(ApiResource::erase::<IngressRoute>(&())),
            Self::OwnTcp => Some(ApiResource::erase::<IngressRouteTCP>(&())),
            Self::OwnStore => Some(ApiResource::erase::<TLSStore>(&())),
            Self::TraefikHttp => Some(traefik("IngressRoute", "ingressroutes")),
            Self::TraefikTcp => Some(traefik("IngressRouteTCP", "ingressroutetcps")),
            Self::TraefikStore => Some(traefik("TLSStore", "tlsstores")),
            Self::Ingress => Some(ApiResource::erase::<Ingress>(&())),
            Self::FileHttp | Self::FileTcp | Self::FileStore => None,
        }
    }

    /// The kind of an object as a manifest names it.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        let cluster = Self::CUSTOM.into_iter().chain([Self::Ingress]);
        cluster.into_iter().find(|one| {
            let resource = one.resource();
            resource.is_some_and(|it| it.api_version == api_version && it.kind == kind)
        })
    }

    /// Only our own routes have a status; for the others, Events say what a status would.
    pub fn has_status(self) -> bool {
        matches!(self, Self::OwnHttp | Self::OwnTcp)
    }

    /// With its group, as records name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OwnHttp => "IngressRoute.routecert.dev",
            Self::OwnTcp => "IngressRouteTCP.routecert.dev",
            Self::OwnStore => "TLSStore.routecert.dev",
            Self::TraefikHttp => "IngressRoute.traefik.io",
            Self::TraefikTcp => "IngressRouteTCP.traefik.io",
            Self::TraefikStore => "TLSStore.traefik.io",
            Self::Ingress => "Ingress.networking.k8s.io",
            Self::FileHttp => "HTTPRouter.file",
            Self::FileTcp => "TCPRouter.file",
            Self::FileStore => "TLSStore.file",
        }
    }

    /// Without its group, as people name it.
    pub fn word(self) -> &'static str {
        let whole = self.as_str();
        whole.split_once('.').map_or(whole, |(word, _)| word)
    }
}

/// Whether an object can have this name (RFC 1123, as Kubernetes reads it).
pub fn is_object_name(text: &str) -> bool {
    let inner = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let is_label = |label: &str| {
        let letters = label.as_bytes();
        let ends = [letters.first(), letters.last()].into_iter().flatten();
        !label.is_empty()
            && ends.copied().all(inner)
            && letters.iter().all(|one| inner(*one) || *one == b'-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

fn traefik(kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: api::TRAEFIK_GROUP.to_owned(),
        version: api::VERSION.to_owned(),
        api_version: format!("{}/{}", api::TRAEFIK_GROUP, api::VERSION),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

/// Which object a route is, ordered by namespace first. One of a file is in the namespace of whoever
/// reads the file, and has a name like `web@file`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub kind: Kind,
}

impl Key {
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into(), kind }
    }

    /// For people: `IngressRoute shop/web`, `HTTPRouter web@file`.
    pub fn shown(&self) -> String {
        self.after(self.kind.word())
    }

    fn after(&self, kind: &str) -> String {
        let Self { namespace, name, .. } = self;
        if self.kind.resource().is_none() {
            format!("{kind} {name}")
        } else {
            format!("{kind} {namespace}/{name}")
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.after(self.kind.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_objects_are_no_paths() {
        for good in ["a", "a-b.c9", "0"] {
            assert!(is_object_name(good), "{good}");
        }
        let long = "a".repeat(254);
        for bad in ["", ".", "..", "a..b", "-a", "a-", "A", "a/b", "a_b", "ä", "a?x", "a%2f", &long]
        {
            assert!(!is_object_name(bad), "{bad}");
        }
    }
}
