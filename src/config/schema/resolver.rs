//! The keys under `certificatesResolvers.<name>`, and of `CertificateResolver` objects.

use crate::config::schema::Shape::{
    Anything, Bool, Delay, Integer, List, Named, Secret, Section, Switch, Text, Texts,
};
use crate::config::schema::{Field, later, on, refused, with};

pub(super) const RESOLVER: &[Field] = &[
    on("acme", Section(ACME), "A CA that speaks ACME (RFC 8555)."),
    later("tailscale", Anything, "Certificates of Tailscale; such a resolver is left out."),
];

const ACME: &[Field] = &with::<19>(SHARED, STATIC);

/// `spec.acme` of a `CertificateResolver`: no paths, and credentials only from Secrets.
pub(in crate::config) const ACME_OF_OBJECT: &[Field] = &with::<19>(SHARED, OF_OBJECT);

/// What stands in a file and in an object alike.
const SHARED: &[Field] = &[
    on("caServer", Text, "URL of the CA's directory.")
        .or("https://acme-v02.api.letsencrypt.org/directory"),
    on("caServerName", Text, "Name expected in the CA's certificate, in place of the URL's host."),
    on("caSystemCertPool", Bool, "Trust the system's roots beside `caCertificates`."),
    on("certificateTimeout", Delay, "How long to wait for the CA to issue.").or("30s"),
    on(
        "certificatesDuration",
        Integer,
        "Lifetime that the CA gives, in hours; decides when to renew.",
    )
    .or("2160"),
    on(
        "clientResponseHeaderTimeout",
        Delay,
        "How long to wait for the head of an answer of the CA.",
    )
    .or("30s"),
    on("clientTimeout", Delay, "How long one exchange with the CA may take.").or("2m"),
    on("disableCommonName", Bool, "Certificates without a common name."),
    on("email", Text, "Contact of the account."),
    on("emailAddresses", Texts, "Mail addresses to put into certificates."),
    on("httpChallenge", Switch(HTTP_CHALLENGE), "Prove names over HTTP on port 80 (HTTP-01)."),
    on("keyType", Text, "EC256, EC384, RSA2048, RSA4096 or RSA8192; EC256 is advised.")
        .or("RSA4096"),
    on("preferredChain", Text, "Issuer of the chain to prefer, if the CA offers several."),
    on("profile", Text, "Profile to ask the CA for."),
    on("tlsChallenge", Switch(TLS_CHALLENGE), "Prove names in the TLS handshake (TLS-ALPN-01)."),
];

const STATIC: &[Field] = &[
    on(
        "caCertificates",
        Texts,
        "PEM files that the CA's own HTTPS certificate is checked against.",
    ),
    on("dnsChallenge", Switch(DNS_CHALLENGE), "Prove names by a TXT record (DNS-01)."),
    on("eab", Section(EAB), "External account binding (RFC 8555 §7.3.4)."),
    on(
        "storage",
        Text,
        "File of certificates, for `routecert.store: file`; else they are in the cluster.",
    )
    .or("acme.json"),
];

const OF_OBJECT: &[Field] = &[
    refused(
        "caCertificates",
        "an object may name no files; a CA with roots of its own needs a resolver of the static \
         configuration",
    ),
    on("dnsChallenge", Switch(DNS_CHALLENGE_OF_OBJECT), "Prove names by a TXT record (DNS-01)."),
    on("eab", Section(EAB_OF_OBJECT), "External account binding (RFC 8555 §7.3.4)."),
    refused("storage", "certificates are kept in the cluster; remove the key"),
];

const EAB: &[Field] = &[
    on("hmacEncoded", Secret, "Key from the CA, in base64url."),
    on("kid", Text, "Name of that key."),
];

const EAB_OF_OBJECT: &[Field] = &[
    refused(
        "hmacEncoded",
        "a key does not belong into an object that others may read; put it into a Secret of the \
         controller's namespace and name that in hmacSecretRef",
    ),
    on("hmacSecretRef", Section(SECRET_KEY), "Secret with the key from the CA, in base64url."),
    on("kid", Text, "Name of that key."),
];

const SECRET_KEY: &[Field] = &[
    on("key", Text, "Key inside the Secret."),
    on("name", Text, "Secret in the controller's namespace."),
];

const HTTP_CHALLENGE: &[Field] = &[
    on("delay", Delay, "Wait between publishing the answer and telling the CA.").or("0"),
    on("entryPoint", Text, "The entry point that the CA reaches on port 80."),
];

const TLS_CHALLENGE: &[Field] =
    &[on("delay", Delay, "Wait between publishing the answer and telling the CA.").or("0")];

const DNS_CHALLENGE: &[Field] = &[
    on("delayBeforeCheck", Delay, "Deprecated: `propagation.delayBeforeChecks`.").or("0"),
    on("disablePropagationCheck", Bool, "Deprecated: `propagation.disableChecks`."),
    on("propagation", Section(PROPAGATION), "How to see that the record is there.").or("{}"),
    on("provider", Text, "Code of the DNS provider; its credentials are variables."),
    on("resolvers", Texts, "DNS servers to ask, `host:port`."),
];

const DNS_CHALLENGE_OF_OBJECT: &[Field] = &with::<6>(
    DNS_CHALLENGE,
    &[on("solvers", List(&Section(SOLVER)), "Providers with credentials, each for its zones.")],
);

const SOLVER: &[Field] = &[
    on("ambient", Bool, "What the machine itself may do counts too, such as an instance's role."),
    on("env", Named(&Section(ENV)), "The provider's variables."),
    on("provider", Text, "Code of the DNS provider."),
    on("zones", Texts, "Domains for whose names it is; empty: all."),
];

const ENV: &[Field] = &[on("secretRef", Section(SECRET_KEY), "Where the value is.")];

const PROPAGATION: &[Field] = &[
    on("delayBeforeChecks", Delay, "Wait before the first look.").or("0"),
    on("disableANSChecks", Bool, "Do not ask the zone's own servers."),
    on("disableChecks", Bool, "Do not look at all."),
    on("requireAllRNS", Bool, "All of `resolvers` must have the record."),
];
