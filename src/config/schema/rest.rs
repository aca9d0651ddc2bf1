//! The keys under `core`, `log`, `metrics`, `providers` and `routecert`.

use crate::config::schema::Shape::{
    Anything, Bool, Duration, Integer, List, Named, Secret, Section, Switch, Text, Texts,
};
use crate::config::schema::{Field, foreign, later, on};

pub(super) const LOG: &[Field] = &[
    later("compress", Bool, "Compress old files."),
    later("filePath", Text, "A file in place of standard error."),
    on("format", Text, "`common` or `json`.").or("common"),
    on("level", Text, "TRACE, DEBUG, INFO, WARN, ERROR, FATAL or PANIC.").or("INFO"),
    later("maxAge", Integer, "Days that old files are kept."),
    later("maxBackups", Integer, "How many old files are kept."),
    later("maxSize", Integer, "Megabytes of one file."),
    later("noColor", Bool, "No colours; there never are any."),
    later("otlp", Anything, "OpenTelemetry."),
];

pub(super) const PROVIDERS: &[Field] = &[
    foreign("consul"),
    foreign("consulCatalog"),
    foreign("docker"),
    foreign("ecs"),
    foreign("etcd"),
    on("file", Section(FILE), "Routes from files."),
    foreign("http"),
    foreign("knative"),
    on("kubernetesCRD", Switch(KUBERNETES_CRD), "IngressRoutes and what belongs to them."),
    foreign("kubernetesGateway"),
    on("kubernetesIngress", Switch(KUBERNETES_INGRESS), "Ingresses."),
    foreign("kubernetesIngressNGINX"),
    foreign("nomad"),
    foreign("plugin"),
    foreign("precedence"),
    foreign("providersThrottleDuration"),
    foreign("redis"),
    foreign("rest"),
    foreign("swarm"),
    foreign("zooKeeper"),
];

const KUBERNETES_CRD: &[Field] = &[
    on("allowCrossNamespace", Bool, "References to other namespaces."),
    later("allowEmptyServices", Bool, "Routes to Services without endpoints."),
    later("allowExternalNameServices", Bool, "Routes to ExternalName Services."),
    on("certAuthFilePath", Text, "CA of the API server, a PEM file."),
    later("crossProviderNamespaces", Texts, "Namespaces that may use other providers' objects."),
    on("defaultTLSResourcesNamespace", Text, "Where the TLSStore `default` counts."),
    on("disableClusterScopeResources", Bool, "Read nothing outside namespaces."),
    on("endpoint", Text, "URL of the API server."),
    on("ingressClass", Text, "Only routes of this class."),
    on("labelSelector", Text, "Only routes with these labels."),
    on("namespaces", Texts, "Only these namespaces."),
    later("nativeLBByDefault", Bool, "Use Services' own addresses."),
    later("safeNaming", Bool, "Names of routers that cannot clash."),
    later("throttleDuration", Duration, "Between two readings.").or("0"),
    on("token", Secret, "Bearer token, or the file that holds it."),
];

const KUBERNETES_INGRESS: &[Field] = &[
    later("allowEmptyServices", Bool, "Routes to Services without endpoints."),
    later("allowExternalNameServices", Bool, "Routes to ExternalName Services."),
    on("certAuthFilePath", Text, "CA of the API server, a PEM file."),
    later("crossProviderNamespaces", Texts, "Namespaces that may use other providers' objects."),
    on("disableClusterScopeResources", Bool, "Read nothing outside namespaces."),
    on("disableIngressClassLookup", Bool, "Read no IngressClasses."),
    on("endpoint", Text, "URL of the API server."),
    on("ingressClass", Text, "Only Ingresses of this class."),
    later(
        "ingressEndpoint",
        Section(INGRESS_ENDPOINT),
        "What is written to the Ingresses' status.",
    ),
    on("labelSelector", Text, "Only Ingresses with these labels."),
    on("namespaces", Texts, "Only these namespaces."),
    later("nativeLBByDefault", Bool, "Use Services' own addresses."),
    later("strictPrefixMatching", Bool, "Prefixes end at a `/`."),
    later("throttleDuration", Duration, "Between two readings.").or("0"),
    on("token", Secret, "Bearer token, or the file that holds it."),
];

const INGRESS_ENDPOINT: &[Field] = &[
    on("hostname", Text, "A name."),
    on("ip", Text, "An address."),
    on("publishedService", Text, "Service whose address is copied, `namespace/name`."),
];

const FILE: &[Field] = &[
    later("debugLogGeneratedTemplate", Bool, "Log what a template comes to."),
    on("directory", Text, "All files of a directory."),
    on("filename", Text, "One file."),
    on("watch", Bool, "Read again on change.").or("true"),
];

pub(super) const CORE: &[Field] = &[
    on("defaultRuleSyntax", Text, "`v3` or `v2`; deprecated.").or("v3"),
    on("strictTLSOptions", Bool, "Routes of one host with different TLS options are refused."),
];

pub(super) const METRICS: &[Field] = &[
    on("addInternals", Bool, "Count what the program serves itself."),
    foreign("datadog"),
    foreign("influxDB2"),
    foreign("otlp"),
    on("prometheus", Switch(PROMETHEUS), "Metrics in Prometheus's form."),
    foreign("statsD"),
];

const PROMETHEUS: &[Field] = &[
    on("addEntryPointsLabels", Bool, "By entry point.").or("true"),
    on("addRoutersLabels", Bool, "By route."),
    on("addServicesLabels", Bool, "By Service.").or("true"),
    on("buckets", Texts, "Bounds of the histograms, in seconds."),
    on("entryPoint", Text, "Where they are served.").or("traefik"),
    on("headerLabels", Named(&Text), "Labels from headers."),
    on("manualRouting", Bool, "A route of the user's serves them."),
];

pub(super) const OWN: &[Field] = &[
    on("adminAddress", Text, "`/livez`, `/readyz` and `/metrics`.").or(":9402"),
    on("allowCrossNamespaceHosts", Bool, "A host may be used by several namespaces."),
    on("ari", Bool, "Ask the CA when to renew (RFC 9773).").or("true"),
    on("certificatesNamespace", Text, "Where certificates are kept.").or("routecert-certs"),
    on("controllerNamespace", Text, "Where accounts and state are kept; by default the Pod's own."),
    on(
        "defaultTLSResourcesNamespace",
        Text,
        "Where a TLSStore or TLSOption `default` counts; else as in `providers.kubernetesCRD`, or the controller's namespace.",
    ),
    on("grants", List(&Section(GRANT)), "Who may have which names, before holding and age."),
    on("hostHold", Duration, "How long a host stays its last owner's.").or("168h"),
    on("keepKeys", Bool, "Renew with the same key."),
    later("providedBeforeExpired", Bool, "Prefer provided certificates to expired ones."),
    on("removeAfter", Duration, "How long a certificate outlives its last route.").or("24h"),
    on("resolvers", Named(&Section(OWN_RESOLVER)), "More about resolvers, by name."),
    on(
        "selfCheck",
        Section(SELF_CHECK),
        "A look at each name before the CA is asked; it only advises.",
    ),
    on(
        "store",
        Text,
        "`secrets` or `file`: where `run` keeps certificates; by default `secrets` with a provider of Kubernetes, else `file`.",
    ),
];

const GRANT: &[Field] = &[
    on("domains", Texts, "`a.example` alone, `*.a.example` for all names below it, or `*`."),
    on("namespaces", Texts, "The only namespaces that may have them."),
];

const OWN_RESOLVER: &[Field] = &[
    on("ari", Bool, "Ask the CA when to renew (RFC 9773).").or("true"),
    on("fallbackResolver", Text, "Used when this one fails."),
    on("rehearsalCaServer", Text, "CA to try orders on."),
];

const SELF_CHECK: &[Field] = &[
    on("enabled", Bool, "On or off.").or("true"),
    on("httpPort", Integer, "Where HTTP-01 is looked for.").or("80"),
    on("resolvers", Texts, "DNS servers to ask; by default the system's."),
    on("timeout", Duration, "How long the look at one name may take.").or("10s"),
    on("tlsPort", Integer, "Where TLS-ALPN-01 is looked for.").or("443"),
];
