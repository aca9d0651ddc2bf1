//! Counters and gauges of the process; no listener. Labels are words of ours and names of resolvers:
//! nothing that a tenant writes makes a series.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// Of what [`Metrics::text`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One for the whole process; clones are the same.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    leading: Gauge,
    resolvers: Family<Resolver, Gauge>,
    certificates: Family<State, Gauge>,
    refused: Family<Reason, Gauge>,
    orders: Family<Resolver, Counter>,
    failures: Family<Failure, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Resolver {
    resolver: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    ready: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    resolver: String,
    kind: &'static str,
}

/// Ready or not, and the reason.
pub type Standing = (bool, &'static str);

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Arc::default(),
            leading: Gauge::default(),
            resolvers: Family::default(),
            certificates: Family::default(),
            refused: Family::default(),
            orders: Family::default(),
            failures: Family::default(),
        };
        metrics.registry = Arc::new(metrics.register());
        metrics
    }
}

impl Metrics {
    fn register(&self) -> Registry {
        let mut all = Registry::with_prefix("routecert");
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        all.register("build", "The program", build);
        all.register(
            "leading",
            "Whether this process is the one that gets certificates",
            self.leading.clone(),
        );
        all.register("resolver_usable", "1: routes can use it", self.resolvers.clone());
        let certificates = "Certificates that are wanted or kept, in the process that leads";
        all.register("certificates", certificates, self.certificates.clone());
        let refused = "Routes with a refusal, by its reason, in the process that leads";
        all.register("routes_refused", refused, self.refused.clone());
        all.register("orders_placed", "Orders placed at the CA", self.orders.clone());
        all.register("order_failures", "Orders that failed", self.failures.clone());
        all
    }

    /// The text form of `OpenMetrics` 1.0.
    pub fn text(&self) -> String {
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing into a text does not fail.
            Err(_) => String::new(),
        }
    }

    /// A term as leader begins: what an earlier one knew counts no more.
    pub fn begin_term(&self) {
        self.end_term();
        self.leading.set(1);
    }

    pub fn end_term(&self) {
        self.leading.set(0);
        self.certificates.clear();
        self.refused.clear();
    }

    /// `None`: there is no such resolver any more.
    pub fn resolver(&self, name: &str, usable: Option<bool>) {
        let labels = Resolver { resolver: name.to_owned() };
        match usable {
            Some(usable) => drop(self.resolvers.get_or_create(&labels).set(i64::from(usable))),
            None => drop(self.resolvers.remove(&labels)),
        }
    }

    /// A certificate stands otherwise than before; `None`: it is not there.
    pub fn certificate(&self, before: Option<Standing>, now: Option<Standing>) {
        let gauge = |(ready, reason): Standing| {
            let ready = if ready { "true" } else { "false" };
            self.certificates.get_or_create_owned(&State { ready, reason })
        };
        change(before, now, gauge);
    }

    /// A route is refused for another reason than before; `None`: it is not refused.
    pub fn route(&self, before: Option<&'static str>, now: Option<&'static str>) {
        change(before, now, |reason| self.refused.get_or_create_owned(&Reason { reason }));
    }

    pub fn ordered(&self, resolver: &str, count: usize) {
        let labels = Resolver { resolver: resolver.to_owned() };
        self.orders.get_or_create(&labels).inc_by(u64::try_from(count).unwrap_or_default());
    }

    pub fn failed(&self, resolver: &str, kind: &'static str) {
        let labels = Failure { resolver: resolver.to_owned(), kind };
        self.failures.get_or_create(&labels).inc();
    }
}

fn change<T: PartialEq>(before: Option<T>, now: Option<T>, gauge: impl Fn(T) -> Gauge) {
    if before == now {
        return;
    }
    if let Some(before) = before {
        gauge(before).dec();
    }
    if let Some(now) = now {
        gauge(now).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_is_counted_where_it_is_now() {
        let metrics = Metrics::default();
        metrics.begin_term();
        metrics.certificate(None, Some((false, "Issuing")));
        metrics.certificate(Some((false, "Issuing")), Some((true, "Issued")));
        metrics.certificate(None, Some((true, "Issued")));
        metrics.route(None, Some("NoNames"));
        metrics.resolver("le", Some(true));
        metrics.resolver("bad\"\n", Some(false));
        metrics.ordered("le", 2);
        metrics.failed("le", "Refused");
        let text = metrics.text();
        for line in [
            concat!("routecert_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "routecert_leading 1",
            "routecert_certificates{ready=\"false\",reason=\"Issuing\"} 0",
            "routecert_certificates{ready=\"true\",reason=\"Issued\"} 2",
            "routecert_routes_refused{reason=\"NoNames\"} 1",
            "routecert_resolver_usable{resolver=\"le\"} 1",
            "routecert_resolver_usable{resolver=\"bad\\\"\\n\"} 0",
            "routecert_orders_placed_total{resolver=\"le\"} 2",
            "routecert_order_failures_total{resolver=\"le\",kind=\"Refused\"} 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|one| one == line), "no {line} in {text}");
        }
        metrics.end_term();
        metrics.resolver("le", None);
        let text = metrics.text();
        for gone in ["reason=", "resolver_usable{resolver=\"le\"}", "routecert_leading 1"] {
            assert!(!text.contains(gone), "{gone} in {text}");
        }
    }
}
