//! Every key that is known, the shape of its value, and what this version does with it: data only.

use Shape::{Anything, Bool, Duration, Integer, List, Named, Section, Switch, Text, Texts};

/// What stands at a key.
pub(super) enum Shape {
    /// Not looked at.
    Anything,
    Bool,
    Duration,
    Integer,
    List(&'static Self),
    /// A map whose keys are names that the user chose.
    Named(&'static Self),
    Section(&'static [Field]),
    /// A section that is on as soon as it is there, even empty or as `true`.
    Switch(&'static [Field]),
    Text,
    /// A list of texts, or one text with commas.
    Texts,
}

pub(super) struct Field {
    pub(super) key: &'static str,
    pub(super) shape: Shape,
    pub(super) meaning: Meaning,
}

/// What this version does with a key.
pub(super) enum Meaning {
    /// Traefik's, for duties that this program does not have.
    Foreign,
    Honoured,
    NotYet,
    /// Leaving it out of account would do harm, so it is an error: why, and what to do.
    Refused(&'static str),
}

const fn on(key: &'static str, shape: Shape) -> Field {
    Field { key, shape, meaning: Meaning::Honoured }
}

const fn later(key: &'static str, shape: Shape) -> Field {
    Field { key, shape, meaning: Meaning::NotYet }
}

const fn foreign(key: &'static str) -> Field {
    Field { key, shape: Anything, meaning: Meaning::Foreign }
}

const fn refused(key: &'static str, why: &'static str) -> Field {
    Field { key, shape: Anything, meaning: Meaning::Refused(why) }
}

pub(super) const ROOT: &[Field] = &[
    on("certificatesResolvers", Named(&Section(RESOLVER))),
    on("entryPoints", Named(&Section(ENTRY_POINT))),
    on("log", Section(LOG)),
    on("providers", Section(PROVIDERS)),
    on("routecert", Section(OWN)),
    foreign("accessLog"),
    foreign("api"),
    foreign("core"),
    foreign("experimental"),
    foreign("global"),
    foreign("hostResolver"),
    foreign("metrics"),
    foreign("ocsp"),
    foreign("ping"),
    foreign("serversTransport"),
    foreign("spiffe"),
    foreign("tcpServersTransport"),
    foreign("tracing"),
    refused("pilot", "Traefik 3 has no Pilot any more; remove the section"),
];

const RESOLVER: &[Field] = &[on("acme", Section(ACME)), later("tailscale", Anything)];

const ACME: &[Field] = &[
    on("caCertificates", Texts),
    on("caServer", Text),
    on("caServerName", Text),
    on("caSystemCertPool", Bool),
    later("certificateTimeout", Duration),
    on("certificatesDuration", Integer),
    later("clientResponseHeaderTimeout", Duration),
    on("clientTimeout", Duration),
    later("disableCommonName", Bool),
    on("dnsChallenge", Switch(DNS_CHALLENGE)),
    on("eab", Section(EAB)),
    on("email", Text),
    later("emailAddresses", Texts),
    on("httpChallenge", Switch(HTTP_CHALLENGE)),
    on("keyType", Text),
    later("preferredChain", Text),
    later("profile", Text),
    on("storage", Text),
    on("tlsChallenge", Switch(TLS_CHALLENGE)),
];

const EAB: &[Field] = &[on("hmacEncoded", Text), on("kid", Text)];

const HTTP_CHALLENGE: &[Field] = &[on("delay", Duration), on("entryPoint", Text)];

const TLS_CHALLENGE: &[Field] = &[on("delay", Duration)];

const DNS_CHALLENGE: &[Field] = &[
    on("delayBeforeCheck", Duration),
    on("disablePropagationCheck", Bool),
    on("propagation", Section(PROPAGATION)),
    on("provider", Text),
    on("resolvers", Texts),
];

const PROPAGATION: &[Field] = &[
    on("delayBeforeChecks", Duration),
    on("disableANSChecks", Bool),
    on("disableChecks", Bool),
    on("requireAllRNS", Bool),
];

const ENTRY_POINT: &[Field] = &[
    on("address", Text),
    later("allowACMEByPass", Bool),
    later("asDefault", Bool),
    later("forwardedHeaders", Section(FORWARDED_HEADERS)),
    on("http", Section(HTTP)),
    later("http2", Section(HTTP2)),
    later("http3", Switch(HTTP3)),
    later("observability", Section(OBSERVABILITY)),
    later("proxyProtocol", Switch(PROXY_PROTOCOL)),
    later("reusePort", Bool),
    later("transport", Section(TRANSPORT)),
    later("udp", Section(UDP)),
];

const HTTP: &[Field] = &[
    later("aliasHeadersStrategy", Text),
    later("encodeQuerySemicolons", Bool),
    later("encodedCharacters", Section(ENCODED_CHARACTERS)),
    later("maxHeaderBytes", Integer),
    refused(
        "middlewares",
        "this version cannot apply middlewares, and to serve without them would weaken what they protect; \
         remove the key, or leave this entry point to Traefik",
    ),
    on("redirections", Section(REDIRECTIONS)),
    later("sanitizePath", Bool),
    on("tls", Switch(TLS)),
    later("underscoreHeadersStrategy", Text),
];

const REDIRECTIONS: &[Field] = &[on("entryPoint", Section(REDIRECTION))];

const REDIRECTION: &[Field] =
    &[on("permanent", Bool), later("priority", Integer), on("scheme", Text), on("to", Text)];

const TLS: &[Field] =
    &[on("certResolver", Text), on("domains", List(&Section(DOMAIN))), later("options", Text)];

const DOMAIN: &[Field] = &[on("main", Text), on("sans", Texts)];

const ENCODED_CHARACTERS: &[Field] = &[
    on("allowEncodedBackSlash", Bool),
    on("allowEncodedHash", Bool),
    on("allowEncodedNullCharacter", Bool),
    on("allowEncodedPercent", Bool),
    on("allowEncodedQuestionMark", Bool),
    on("allowEncodedSemicolon", Bool),
    on("allowEncodedSlash", Bool),
];

const HTTP2: &[Field] = &[
    on("maxConcurrentStreams", Integer),
    on("maxDecoderHeaderTableSize", Integer),
    on("maxEncoderHeaderTableSize", Integer),
];

const HTTP3: &[Field] = &[on("advertisedPort", Integer)];

const OBSERVABILITY: &[Field] =
    &[on("accessLogs", Bool), on("metrics", Bool), on("traceVerbosity", Text), on("tracing", Bool)];

const FORWARDED_HEADERS: &[Field] = &[
    on("connection", Texts),
    on("insecure", Bool),
    on("notAppendXForwardedFor", Bool),
    on("trustedIPs", Texts),
];

const PROXY_PROTOCOL: &[Field] = &[on("insecure", Bool), on("trustedIPs", Texts)];

const TRANSPORT: &[Field] = &[
    on("keepAliveMaxRequests", Integer),
    on("keepAliveMaxTime", Duration),
    on("lifeCycle", Section(LIFE_CYCLE)),
    on("respondingTimeouts", Section(RESPONDING_TIMEOUTS)),
];

const LIFE_CYCLE: &[Field] =
    &[on("graceTimeOut", Duration), on("requestAcceptGraceTimeout", Duration)];

const RESPONDING_TIMEOUTS: &[Field] =
    &[on("idleTimeout", Duration), on("readTimeout", Duration), on("writeTimeout", Duration)];

const UDP: &[Field] = &[on("timeout", Duration)];

const LOG: &[Field] = &[
    later("compress", Bool),
    later("filePath", Text),
    on("format", Text),
    on("level", Text),
    later("maxAge", Integer),
    later("maxBackups", Integer),
    later("maxSize", Integer),
    later("noColor", Bool),
    later("otlp", Anything),
];

const PROVIDERS: &[Field] = &[
    foreign("consul"),
    foreign("consulCatalog"),
    foreign("docker"),
    foreign("ecs"),
    foreign("etcd"),
    foreign("file"),
    foreign("http"),
    foreign("knative"),
    on("kubernetesCRD", Switch(KUBERNETES_CRD)),
    foreign("kubernetesGateway"),
    foreign("kubernetesIngress"),
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
    later("allowCrossNamespace", Bool),
    later("allowEmptyServices", Bool),
    later("allowExternalNameServices", Bool),
    on("certAuthFilePath", Text),
    later("crossProviderNamespaces", Texts),
    later("defaultTLSResourcesNamespace", Text),
    later("disableClusterScopeResources", Bool),
    on("endpoint", Text),
    on("ingressClass", Text),
    on("labelSelector", Text),
    on("namespaces", Texts),
    later("nativeLBByDefault", Bool),
    later("safeNaming", Bool),
    later("throttleDuration", Duration),
    on("token", Text),
];

const OWN: &[Field] = &[
    on("adminAddress", Text),
    later("allowCrossNamespaceHosts", Bool),
    later("ari", Bool),
    on("certificatesNamespace", Text),
    on("controllerNamespace", Text),
    later("defaultTLSResourcesNamespace", Text),
    later("grants", List(&Section(GRANT))),
    later("hostHold", Duration),
    later("keepKeys", Bool),
    later("providedBeforeExpired", Bool),
    on("removeAfter", Duration),
    later("resolvers", Named(&Section(OWN_RESOLVER))),
    later("selfCheck", Section(SELF_CHECK)),
    later("store", Text),
];

const GRANT: &[Field] = &[on("domains", Texts), on("namespaces", Texts)];

const OWN_RESOLVER: &[Field] =
    &[on("ari", Bool), on("fallbackResolver", Text), on("rehearsalCaServer", Text)];

const SELF_CHECK: &[Field] = &[
    on("enabled", Bool),
    on("httpPort", Integer),
    on("resolvers", Texts),
    on("timeout", Duration),
    on("tlsPort", Integer),
];
