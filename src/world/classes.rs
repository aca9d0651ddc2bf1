//! For which routes this controller is.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::route::{Class, Kind, Route};

/// Of an IngressClass whose Ingresses are ours.
const CONTROLLERS: [&str; 2] =
    ["traefik.io/ingress-controller", "routecert.dev/ingress-controller"];
/// Traefik's own class, which counts while no other one is configured.
const TRAEFIK: &str = "traefik";

#[derive(Debug, Default)]
pub(super) struct Classes {
    /// `ingressClass` of the two providers.
    routes: String,
    ingresses: String,
    /// IngressClasses of [`CONTROLLERS`]; `None`: they are not looked up, names are believed.
    known: Option<BTreeSet<String>>,
}

impl Classes {
    pub(super) fn new(config: &Config) -> Self {
        let routes = config.kubernetes_crd.as_ref().and_then(|crd| crd.ingress_class.clone());
        let ingress = config.kubernetes_ingress.as_ref();
        let ingresses = ingress.and_then(|ingress| ingress.ingress_class.clone());
        let looked_up = ingress.is_some_and(crate::config::KubernetesIngress::looks_up_classes);
        Self {
            routes: routes.unwrap_or_default(),
            ingresses: ingresses.unwrap_or_default(),
            known: looked_up.then(BTreeSet::new),
        }
    }

    /// From now on names of classes are believed, for want of the right to look them up.
    pub(super) fn believe(&mut self) {
        self.known = None;
    }

    /// Whether something may be different now.
    pub(super) fn set(&mut self, name: &str, controller: Option<&str>) -> bool {
        let ours = controller.is_some_and(|one| CONTROLLERS.contains(&one));
        match &mut self.known {
            None => false,
            Some(known) if ours => known.insert(name.to_owned()),
            Some(known) => known.remove(name),
        }
    }

    pub(super) fn is_ours(&self, route: &Route) -> bool {
        match (&route.class, route.key.kind) {
            (Class::Anyone, _) => true,
            (Class::Spec(name), Kind::Ingress) => self.is_our_class(name),
            (class, Kind::Ingress) => is_named(class, &self.ingresses),
            (class, _) => is_named(class, &self.routes),
        }
    }

    /// With a configured class only that one; then any class of ours.
    fn is_our_class(&self, name: &str) -> bool {
        match &self.known {
            Some(known) if self.ingresses.is_empty() => known.contains(name),
            Some(known) => name == self.ingresses && known.contains(name),
            None if self.ingresses.is_empty() => name == TRAEFIK,
            None => name == self.ingresses,
        }
    }
}

/// Whether a class that comes may make the route ours.
pub(super) fn may_change(route: &Route) -> bool {
    route.key.kind == Kind::Ingress && matches!(route.class, Class::Spec(_))
}

/// Traefik's filter: the configured class; without one, no class or `traefik`.
fn is_named(class: &Class, wanted: &str) -> bool {
    let class = match class {
        Class::Unnamed | Class::Anyone => "",
        Class::Annotation(name) | Class::Spec(name) => name,
    };
    class == wanted || (wanted.is_empty() && class == TRAEFIK)
}
