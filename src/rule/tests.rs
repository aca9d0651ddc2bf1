//! Facts about the rule language, one line each.

use crate::rule::{Protocol, Rule, Syntax};

/// The names of an HTTP rule joined by spaces, or the error.
fn http(rule: &str) -> String {
    outcome(rule, Protocol::Http)
}

fn outcome(rule: &str, protocol: Protocol) -> String {
    match Rule::parse(rule, protocol, Syntax::V3) {
        Ok(rule) => rule.hosts().join(" "),
        Err(error) => format!("error {error}"),
    }
}

#[track_caller]
fn check(rule: &str, expected: &str) {
    assert_eq!(http(rule), expected, "{rule}");
}

#[track_caller]
fn check_tcp(rule: &str, expected: &str) {
    assert_eq!(outcome(rule, Protocol::Tcp), expected, "{rule}");
}

/// The error is at `place` and has `part` in its message.
#[track_caller]
fn refuses(rule: &str, place: &str, part: &str) {
    refuses_in(Protocol::Http, rule, place, part);
}

#[track_caller]
fn refuses_in(protocol: Protocol, rule: &str, place: &str, part: &str) {
    let found = outcome(rule, protocol);
    let start = format!("error {place}: ");
    assert!(found.starts_with(&start) && found.contains(part), "{rule}\n{found}");
}

#[test]
fn hosts_are_the_positive_ones_in_order() {
    check("Host(`A.com`) && Path(`/x`)", "a.com");
    check("Host(`a.com`) || Host(`b.com`) && Path(`/`)", "a.com b.com");
    check(
        "(Host(`example.com`) && Path(`/blog`)) || Host(`blog.example.org`)",
        "example.com blog.example.org",
    );
    check("Host(`a.com`) && Host(`a.com`)", "a.com a.com");
    check("Host(`*.a.com`)", "*.a.com");
    check("Host(`a.com.`) || Host(` b.com `) || Host(`1.2.3.4:80`)", "a.com.  b.com  1.2.3.4:80");
    check("HostRegexp(`^a$`) && PathPrefix(`/`)", "");
    check_tcp("HostSNI(`A.com`) || HostSNI(`*`) && ClientIP(`::1`)", "a.com *");
}

#[test]
fn negation_is_pushed_to_the_leaves() {
    check("!Host(`a.com`)", "");
    check("!(Host(`a`) || Host(`b`))", "");
    check("Host(`a.com`) && !Host(`b.com`)", "a.com");
    check("!!Host(`a.com`)", "a.com");
    check("!(!Host(`a.com`) && Path(`/x`))", "a.com");
    check_tcp("!(HostSNI(`a`) || !HostSNI(`b`))", "b");
    let swapped = Rule::parse("!(Host(`a`) && !Path(`/`))", Protocol::Http, Syntax::V3).unwrap();
    let plain = Rule::parse("!Host(`a`) || Path(`/`)", Protocol::Http, Syntax::V3).unwrap();
    assert_eq!(swapped, plain);
}

#[test]
fn and_binds_tighter_than_or_and_parentheses_change_it() {
    let parse = |rule| Rule::parse(rule, Protocol::Http, Syntax::V3).unwrap();
    let plain = parse("Host(`a`) || Host(`b`) && Host(`c`)");
    assert_eq!(plain, parse("Host(`a`) || (Host(`b`) && Host(`c`))"));
    assert_ne!(plain, parse("(Host(`a`) || Host(`b`)) && Host(`c`)"));
}

#[test]
fn strings_comments_and_commas_are_those_of_go() {
    check(r#"Host("a.\x63\157\u006d")"#, "a.com");
    check("Host(`a\r.com`)", "a.com");
    check("Host(`a.com`,)", "a.com");
    check("Host(`a.com`...)", "a.com");
    check("Host(`a.com`...,)", "a.com");
    check("Host /* x */ (`a.com`) // the end", "a.com");
    check("/* first */ Host(`a.com`)", "a.com");
    check("\u{feff}Host(`a.com`)", "a.com");
    check(r#"Host("a") && Path("/\u00e9\U0001F600\"")"#, "a");
    refuses(r#"Host("a.\q")"#, "1:9", "unknown escape");
    refuses(r#"Host("\ud800")"#, "1:7", "unknown escape");
    refuses(r#"Host("\400")"#, "1:7", "unknown escape");
    refuses(r#"Path("/\xff")"#, "1:6", "UTF-8");
    refuses("Host(\"a\nb\")", "1:6", "no end");
    refuses("Host(`a", "1:6", "no end");
    refuses("Host(`a\0`)", "1:8", "NUL");
    refuses("Host(`a`) /* x", "1:11", "no end");
    refuses("Host(`a`, ...)", "1:11", "`...`");
}

#[test]
fn a_line_break_is_allowed_only_where_go_adds_no_semicolon() {
    check("Host(\n`a`) &&\nHost(`b`) ||\n!\n(\nHost(`c`))\n\n", "a b");
    check("Query(`a`,\n`b`,\n)", "");
    check("Host(`a`) /* one\ntwo */", "a");
    check("Host(`a`) // said\n/* more */\n", "a");
    refuses("Host(`a`)\n&& Host(`b`)", "1:10", "end the line with the operator");
    refuses("Host(`a`) /* one\ntwo */ && Host(`b`)", "1:11", "line break");
    refuses("Host(`a`\n)", "1:9", "keep `)` on the line of its operand");
    refuses("(Host(`a`)\n)", "1:11", "expected `&&`, `||` or `)`");
    refuses("Host\n(`a`)", "1:5", "line break");
    let folded =
        "PathPrefix(`/api`) && (\n  Host(`a1.r01.example`)\n  || Host(`a2.r01.example`)\n)";
    refuses(folded, "2:25", "end the line with the operator");
    let last =
        "PathPrefix(`/api`) && (\n  Host(`d1.r01.example`) ||\n  Host(`d2.r01.example`)\n)\n";
    refuses(last, "3:25", "keep `)`");
}

#[test]
fn what_is_no_rule_is_refused_with_its_place() {
    refuses("", "1:1", "empty");
    refuses(" \n", "1:1", "empty");
    refuses("Host((`a`))", "1:6", "string");
    refuses("Host('a')", "1:6", "backquotes");
    refuses("Host(1)", "1:6", "unexpected `1`");
    refuses("Host(`a`) & Host(`b`)", "1:11", "`&&`");
    refuses("Host(`a`) == Host(`b`)", "1:11", "unexpected `=`");
    refuses("Host(`a`) != Host(`b`)", "1:11", "unexpected `!`");
    refuses("Host(`a`) and Host(`b`)", "1:11", "the operator is `&&`");
    refuses("Host(`a`) Host(`b`)", "1:11", "found `Host`");
    refuses("Host(`a`);", "1:10", "one expression");
    refuses("`a`", "1:1", "expected a matcher");
    refuses("Foo.Bar(`a`)", "1:4", "unexpected `.`");
    refuses("Host", "1:5", "`(`");
    refuses("Host(`a`) &&", "1:13", "the end of the rule");
    refuses("()", "1:2", "expected a matcher");
    refuses("(Host(`a`)", "1:11", "the end of the rule");
    refuses("Host(`a`))", "1:10", "found `)`");
    refuses("Host(`é`, 1)", "1:11", "unexpected `1`");
}

#[test]
fn matcher_names_have_four_spellings() {
    check("Host(`a`) || host(`b`) || HOST(`c`)", "a b c");
    check("PathPrefix(`/`) || pathprefix(`/`) || PATHPREFIX(`/`) || Pathprefix(`/`)", "");
    check_tcp("Hostsni(`a`) || hostsni(`b`)", "a b");
    refuses("hOST(`a`)", "1:1", "`Host`, `host`, `HOST`");
    refuses_in(Protocol::Tcp, "hostSNI(`a`)", "1:1", "`HostSNI`, `hostsni`, `HOSTSNI`, `Hostsni`");
    refuses("Path(`/`) && Hots(`a`)", "1:14", "unknown matcher `Hots`");
    refuses("HostSNI(`a`)", "1:1", "is for TCP routes");
    refuses_in(Protocol::Tcp, "Host(`a`)", "1:1", "is for HTTP routes");
    refuses("HostHeader(`a`)", "1:1", "old rule syntax");
}

#[test]
fn each_matcher_takes_its_number_of_values() {
    check("Query(`a`) && Query(`a`, `b`) && QueryRegexp(`a`, `b`) && Header(`a`, `b`)", "");
    refuses("Host()", "1:1", "exactly one value, not 0");
    refuses("Host(`a`, `b`)", "1:1", "join several with `||`");
    refuses("Header(`a`)", "1:1", "exactly 2 values, not 1");
    refuses("Query(`a`, `b`, `c`)", "1:1", "1 to 2 values, not 3");
    refuses("Host(``)", "1:1", "empty value");
    refuses("Query(`a`, ``)", "1:1", "empty value");
}

#[test]
fn values_must_fit_their_matcher() {
    check("ClientIP(`192.0.2.0/24`) || ClientIP(`::1`) || ClientIP(`2001:db8::/32`)", "");
    refuses("Host(`bücher.de`)", "1:1", "punycode");
    refuses("HostRegexp(`ü`)", "1:1", "non-ASCII");
    refuses("Path(`a`)", "1:1", "must begin with `/`");
    refuses("PathPrefix(`a`)", "1:1", "must begin with `/`");
    refuses("ClientIP(`10.0.0.0/33`)", "1:1", "no IP address");
    refuses("ClientIP(`a`)", "1:1", "no IP address");
    check_tcp("HostSNI(`*.a.com`) || HostSNI(`a_b.com.`)", "*.a.com a_b.com.");
    refuses_in(Protocol::Tcp, "HostSNI(`a.*`)", "1:1", "no server name");
    refuses_in(Protocol::Tcp, "HostSNI(`*.`)", "1:1", "no server name");
    refuses_in(Protocol::Tcp, "ALPN(`acme-tls/1`)", "1:1", "reserved");
}

#[test]
fn size_and_nesting_are_bounded() {
    let deep = |levels: usize| format!("{}Host(`a`){}", "(".repeat(levels), ")".repeat(levels));
    check(&deep(100), "a");
    refuses(&deep(101), "1:101", "100 levels");
    refuses(&deep(30_000), "1:101", "100 levels");
    refuses(&format!("{}Host(`a`)", "!".repeat(60_000)), "1:101", "100 levels");
    refuses(&format!("Host(`{}`)", "a".repeat(64 * 1024)), "1:1", "64 KiB");
    let many = vec!["Host(`a`)"; 5000].join("||");
    assert_eq!(Rule::parse(&many, Protocol::Http, Syntax::V3).unwrap().hosts().len(), 5000);
}

#[test]
fn no_prefix_of_a_rule_panics() {
    let rule = "!(Host(`ä`) && Query(\"\\u00e9\\x41\", `b`...)) /* ü\n */ || // x\nPath(`/`,)\n";
    for (at, _) in rule.char_indices() {
        for protocol in [Protocol::Http, Protocol::Tcp] {
            let parsed =
                Rule::parse(rule.get(..at).unwrap(), protocol, Syntax::V3).map(|rule| rule.hosts());
            assert!(parsed.is_ok() || parsed.is_err_and(|e| e.line > 0 && e.column > 0));
        }
    }
}
