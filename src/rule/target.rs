//! What a rule sees of a request's target: its path and its query.

/// More parameters than this make Go ignore them all.
const MOST_PARAMETERS: usize = 10_000;

/// The path that rules are compared with: escapes of characters that have no meaning in a URL are
/// decoded, the others stay as they are written, if they are in upper case. `None` for escapes
/// that are none: such a request never reaches a route.
pub(super) fn routing_path(raw: &str) -> Option<Vec<u8>> {
    let escaped = escaped_path(raw)?;
    let mut path = Vec::with_capacity(escaped.len());
    each_byte(&escaped, |byte, written| match written {
        Some(escape) if is_kept(byte, escape) => path.extend_from_slice(escape),
        _ => path.push(byte),
    })?;
    Some(path)
}

/// A path with characters that should have been escaped loses how it was written: it is decoded
/// and encoded anew (Go's `URL.EscapedPath`).
fn escaped_path(raw: &str) -> Option<Vec<u8>> {
    let allowed = |byte: u8| is_plain(byte) || b"!'()*[]%".contains(&byte);
    let decoded = decode(raw.as_bytes())?;
    if raw.bytes().all(allowed) || raw == "*" {
        return Some(raw.as_bytes().to_vec());
    }
    let mut escaped = Vec::with_capacity(decoded.len());
    for byte in decoded {
        if is_plain(byte) {
            escaped.push(byte);
        } else {
            escaped.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    Some(escaped)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte)
}

/// The reserved characters of RFC 3986 §2.2, and the percent sign.
fn is_kept(byte: u8, escape: &[u8]) -> bool {
    b":/?#[]@!$&'()*+,;=%".contains(&byte) && !escape.iter().any(u8::is_ascii_lowercase)
}

/// Keys and values of a query, in order; broken pieces are left out.
pub(super) fn query(raw: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pieces = raw.split('&');
    if pieces.clone().count() > MOST_PARAMETERS {
        return Vec::new();
    }
    let whole = pieces.filter(|piece| !piece.is_empty() && !piece.contains(';'));
    let pair = |piece: &str| {
        let (key, value) = piece.split_once('=').unwrap_or((piece, ""));
        Some((parameter(key)?, parameter(value)?))
    };
    whole.filter_map(pair).collect()
}

fn parameter(text: &str) -> Option<Vec<u8>> {
    decode(text.replace('+', " ").as_bytes())
}

fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    each_byte(text, |byte, _| bytes.push(byte))?;
    Some(bytes)
}

/// Calls `take` with each byte, and with how it is written if that is an escape.
fn each_byte<'t>(text: &'t [u8], mut take: impl FnMut(u8, Option<&'t [u8]>)) -> Option<()> {
    let mut rest = text;
    while let Some((&first, behind)) = rest.split_first() {
        if first != b'%' {
            take(first, None);
            rest = behind;
            continue;
        }
        let (escape, after) = rest.split_at_checked(3)?;
        let digits = escape.get(1..)?;
        let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
        take(u8::try_from(digit(0)? * 16 + digit(1)?).ok()?, Some(escape));
        rest = after;
    }
    Some(())
}
