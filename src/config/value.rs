//! Single values: text → what it means, or the form that was expected.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

pub(crate) fn boolean(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        _ => Err("expected true or false"),
    }
}

/// Decimal digits with an optional sign; `2_160` is a number in YAML.
pub(super) fn integer(text: &str) -> Result<i64, &'static str> {
    let digits = text.replace('_', "");
    digits.parse().ok().ok_or("expected a whole number")
}

const DURATION: &str = "expected a duration such as 30s, 1h30m, or a number of seconds";

/// In nanoseconds, as in Go: seconds, or numbers (with fractions) each followed by its unit.
pub(super) fn duration(text: &str) -> Result<i64, &'static str> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if unsigned.is_empty() {
        return Err(DURATION);
    }
    if unsigned.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
        let seconds: i64 = unsigned.replace('_', "").parse().ok().ok_or(DURATION)?;
        return limited(i128::from(seconds) * NANOS).map(|nanos| sign * nanos);
    }
    let (mut rest, mut total) = (unsigned, 0_i128);
    while !rest.is_empty() {
        let (part, behind) = duration_part(rest).ok_or(DURATION)?;
        total += part;
        limited(total)?;
        rest = behind;
    }
    limited(total).map(|nanos| sign * nanos)
}

pub(super) const NEGATIVE: &str = "must not be negative";

const NANOS: i128 = 1_000_000_000;

/// Go's durations end at 2⁶³ nanoseconds.
fn limited(nanos: i128) -> Result<i64, &'static str> {
    i64::try_from(nanos).ok().ok_or("is too long")
}

/// Seconds, as JSON has them: whole ones without a fraction.
pub(super) fn seconds(nanos: i64) -> serde_json::Number {
    if nanos % 1_000_000_000 == 0 {
        return (nanos / 1_000_000_000).into();
    }
    let fraction = Duration::from_nanos(nanos.unsigned_abs()).as_secs_f64();
    let signed = if nanos < 0 { -fraction } else { fraction };
    serde_json::Number::from_f64(signed).unwrap_or_else(|| 0.into())
}

/// An address, or a network with its number of bits.
pub(super) fn network(text: &str) -> Result<(), &'static str> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
    let address: IpAddr = address.parse().ok().ok_or(NETWORK)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let fits = bits.is_none_or(|bits| bits.parse().is_ok_and(|bits: u8| bits <= most));
    if fits { Ok(()) } else { Err(NETWORK) }
}

const NETWORK: &str = "expected an address or a network such as 10.0.0.0/8";

/// A DNS server, `host` or `host:port`.
pub(super) fn server(text: &str) -> Result<(), &'static str> {
    let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
    let named =
        host.contains(|c: char| c.is_ascii_alphabetic()) && !matches!(text, "true" | "false");
    let address =
        text.parse::<IpAddr>().is_ok() || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    if named || address { Ok(()) } else { Err("is neither an address nor a host's name") }
}

/// One number with its unit in nanoseconds, and what stands behind.
fn duration_part(text: &str) -> Option<(i128, &str)> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at_checked(number_end)?;
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, behind) = rest.split_at_checked(unit_end)?;
    let unit: i128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => NANOS,
        "m" => 60 * NANOS,
        "h" => 3600 * NANOS,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || whole.len() > 18 || fraction.contains('.') {
        return None;
    }
    let fraction = fraction.get(..fraction.len().min(15))?;
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    Some((whole * unit + part * unit / scale, behind))
}

/// Where to listen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// `None`: all addresses.
    pub(super) host: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) udp: bool,
}

const ADDRESS: &str = "expected `:80`, `127.0.0.1:80` or `[::1]:80`";

pub(super) fn address(text: &str) -> Result<Address, &'static str> {
    let (socket, udp) = match text.rsplit_once('/') {
        None => (text, false),
        Some((socket, protocol)) if protocol.eq_ignore_ascii_case("tcp") => (socket, false),
        Some((socket, protocol)) if protocol.eq_ignore_ascii_case("udp") => (socket, true),
        Some(_) => return Err("expected `/tcp`, `/udp` or nothing behind the port"),
    };
    let (host, port) = socket.rsplit_once(':').ok_or(ADDRESS)?;
    if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ADDRESS);
    }
    let port = port.parse().ok().ok_or("the port must be at most 65535")?;
    Ok(Address { host: self::host(host)?, port, udp })
}

fn host(text: &str) -> Result<Option<IpAddr>, &'static str> {
    let address = match text.strip_prefix('[') {
        Some(rest) => {
            let inside = rest.strip_suffix(']').ok_or(ADDRESS)?;
            inside.parse().map(IpAddr::V6).ok().ok_or(ADDRESS)?
        }
        None if text.is_empty() => return Ok(None),
        None if text == "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        None => text.parse().map(IpAddr::V4).ok().ok_or(ADDRESS)?,
    };
    Ok(Some(address))
}

/// A Kubernetes namespace: an RFC 1123 label.
pub(super) fn namespace(text: &str) -> Result<(), &'static str> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let edges = text.starts_with('-') || text.ends_with('-');
    if text.is_empty() || text.len() > 63 || edges || !text.bytes().all(inner) {
        return Err("expected a namespace: lower-case letters, digits and `-`");
    }
    Ok(())
}
