//! The keys under `entryPoints.<name>`.

use crate::config::schema::Shape::{Bool, Duration, Integer, List, Section, Switch, Text, Texts};
use crate::config::schema::{Field, later, on, refused};

pub(super) const ENTRY_POINT: &[Field] = &[
    on("address", Text, "`:80` (IPv4 and IPv6), `127.0.0.1:80` or `[::1]:80`; `/tcp` may follow."),
    later(
        "allowACMEByPass",
        Bool,
        "Leave `/.well-known/acme-challenge/` to routes if no challenge waits.",
    ),
    on("asDefault", Bool, "Routes that name no entry point get this one."),
    later("forwardedHeaders", Section(FORWARDED_HEADERS), "Whose `X-Forwarded-…` to believe.")
        .or("{}"),
    on("http", Section(HTTP), "What holds for HTTP here.").or("{}"),
    later("http2", Section(HTTP2), "Bounds of HTTP/2."),
    later("http3", Switch(HTTP3), "HTTP/3."),
    later("observability", Section(OBSERVABILITY), "What is logged and measured."),
    later("proxyProtocol", Switch(PROXY_PROTOCOL), "The PROXY protocol, and from whom."),
    later("reusePort", Bool, "Listen with SO_REUSEPORT."),
    later("transport", Section(TRANSPORT), "Time-outs of connections."),
    later("udp", Section(UDP), "UDP."),
];

const HTTP: &[Field] = &[
    later("aliasHeadersStrategy", Text, "Headers whose names differ only in `_` and `-`."),
    later("encodeQuerySemicolons", Bool, "Encode `;` in queries."),
    later("encodedCharacters", Section(ENCODED_CHARACTERS), "Encoded characters in paths."),
    later("maxHeaderBytes", Integer, "The longest head of a request.").or("1048576"),
    refused(
        "middlewares",
        "this version cannot apply middlewares, and to serve without them would weaken what they protect; \
         remove the key, or leave this entry point to Traefik",
    ),
    on("redirections", Section(REDIRECTIONS), "Where plain requests are sent."),
    later("sanitizePath", Bool, "Clean the path of requests.").or("true"),
    on("tls", Switch(TLS), "For routes without a `tls` of their own."),
    later("underscoreHeadersStrategy", Text, "Deprecated: `aliasHeadersStrategy`."),
];

const REDIRECTIONS: &[Field] =
    &[on("entryPoint", Section(REDIRECTION), "All plain requests go to another entry point.")];

const REDIRECTION: &[Field] = &[
    on("permanent", Bool, "301 and 308, not 302 and 307.").or("true"),
    later("priority", Integer, "Against routes.").or("9223372036854775806"),
    on("scheme", Text, "`http` or `https`.").or("https"),
    on("to", Text, "Name of an entry point, or a port such as `:443`."),
];

const TLS: &[Field] = &[
    on("certResolver", Text, "Name of a certificates resolver."),
    on("domains", List(&Section(DOMAIN)), "Names, one certificate an entry."),
    later("options", Text, "Name of TLS options."),
];

const DOMAIN: &[Field] =
    &[on("main", Text, "The first name."), on("sans", Texts, "Further names.")];

const ENCODED_CHARACTERS: &[Field] = &[
    on("allowEncodedBackSlash", Bool, "`%5C`").or("true"),
    on("allowEncodedHash", Bool, "`%23`").or("true"),
    on("allowEncodedNullCharacter", Bool, "`%00`").or("true"),
    on("allowEncodedPercent", Bool, "`%25`").or("true"),
    on("allowEncodedQuestionMark", Bool, "`%3F`").or("true"),
    on("allowEncodedSemicolon", Bool, "`%3B`").or("true"),
    on("allowEncodedSlash", Bool, "`%2F`").or("true"),
];

const HTTP2: &[Field] = &[
    on("maxConcurrentStreams", Integer, "Streams of one connection.").or("250"),
    on("maxDecoderHeaderTableSize", Integer, "Bytes.").or("4096"),
    on("maxEncoderHeaderTableSize", Integer, "Bytes.").or("4096"),
];

const HTTP3: &[Field] = &[on("advertisedPort", Integer, "Port in `Alt-Svc`.")];

const OBSERVABILITY: &[Field] = &[
    on("accessLogs", Bool, "Log requests.").or("true"),
    on("metrics", Bool, "Count requests.").or("true"),
    on("traceVerbosity", Text, "How much is traced.").or("minimal"),
    on("tracing", Bool, "Trace requests.").or("true"),
];

const FORWARDED_HEADERS: &[Field] = &[
    on("connection", Texts, "Headers that `Connection` may name."),
    on("insecure", Bool, "Believe everybody."),
    on("notAppendXForwardedFor", Bool, "Leave `X-Forwarded-For` as it came."),
    on("trustedIPs", Texts, "Addresses and networks that are believed."),
];

const PROXY_PROTOCOL: &[Field] = &[
    on("insecure", Bool, "Believe everybody."),
    on("trustedIPs", Texts, "Addresses and networks that are believed."),
];

const TRANSPORT: &[Field] = &[
    on("keepAliveMaxRequests", Integer, "Requests of one connection."),
    on("keepAliveMaxTime", Duration, "Age of one connection.").or("0"),
    on("lifeCycle", Section(LIFE_CYCLE), "How the entry point stops."),
    on("respondingTimeouts", Section(RESPONDING_TIMEOUTS), "How long clients may take."),
];

const LIFE_CYCLE: &[Field] = &[
    on("graceTimeOut", Duration, "For requests under way.").or("10s"),
    on("requestAcceptGraceTimeout", Duration, "Still accepting, but no longer ready.").or("0"),
];

const RESPONDING_TIMEOUTS: &[Field] = &[
    on("idleTimeout", Duration, "Between requests.").or("180s"),
    on("readTimeout", Duration, "For a whole request.").or("60s"),
    on("writeTimeout", Duration, "For a whole answer.").or("0"),
];

const UDP: &[Field] = &[on("timeout", Duration, "Of an idle session.").or("3s")];
