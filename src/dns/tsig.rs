//! Signed DNS messages (TSIG, RFC 8945), with SHA-1 too: many servers are set up with it.

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::BinEncodable;
use jiff::Timestamp;

/// Seconds that clocks may differ, as RFC 8945 §10 recommends.
const FUDGE: u16 = 300;
const TSIG: u16 = 250;
const ANY: u16 = 255;

/// A shared secret under a name. Its `Debug` shows no secret.
#[derive(Clone)]
pub(super) struct Key {
    name: Name,
    algorithm: Algorithm,
    secret: hmac::Key,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// What is wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// The server's own word about our signature (RFC 8945 §5.3.2).
    #[error("{0}")]
    Refused(Refusal),
    #[error("the answer is not signed with the key; is the server behind something else?")]
    Unsigned,
    #[error("the signature of the answer is wrong; is the TSIG secret the server's?")]
    Signature,
    #[error("the answer is cut off")]
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("BADSIG: the TSIG secret is not the server's")]
    Secret,
    #[error("BADKEY: the server has no TSIG key of this name and algorithm")]
    Key,
    #[error("BADTIME: the clocks of this machine and the server differ by more than 5 minutes")]
    Time,
    #[error("TSIG error {0}")]
    Other(u16),
}

impl Algorithm {
    /// `hmac-sha256`, with a dot at the end or without, in any case.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim_end_matches('.').to_ascii_lowercase();
        let all = [Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];
        all.into_iter().find(|one| one.name() == text)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "hmac-sha1",
            Self::Sha224 => "hmac-sha224",
            Self::Sha256 => "hmac-sha256",
            Self::Sha384 => "hmac-sha384",
            Self::Sha512 => "hmac-sha512",
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha224 => hmac::HMAC_SHA224,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

impl Key {
    /// `secret` is base64. The error shows nothing of it.
    pub(super) fn new(name: &str, algorithm: Algorithm, secret: &str) -> Result<Self, String> {
        let dotted = format!("{}.", name.trim_end_matches('.'));
        let name = Name::from_ascii(&dotted)
            .map_err(|error| format!("the TSIG key's name is no DNS name: {error}"))?;
        let secret: String = secret.split_whitespace().collect();
        let secret = BASE64
            .decode(secret.as_bytes())
            .map_err(|_invalid| "the TSIG secret is not base64".to_owned())?;
        let secret = hmac::Key::new(algorithm.hmac(), &secret);
        Ok(Self { name: name.to_lowercase(), algorithm, secret })
    }

    /// The message with a signature at its end, and the MAC that the answer's is made over.
    pub(super) fn sign(&self, message: &[u8], now: Timestamp) -> Result<Signed, String> {
        self.signed(&[], message, now)
    }

    /// `before` is what an answer's MAC is made over first.
    fn signed(&self, before: &[u8], message: &[u8], now: Timestamp) -> Result<Signed, String> {
        let id: [u8; 2] = field(message, 0).ok_or("the message has no header")?;
        let time = u64::try_from(now.as_second()).map_err(|error| error.to_string())?;
        let variables = self.variables(time, FUDGE, 0, &[])?;
        let mac =
            hmac::sign(&self.secret, &[before, message, &variables].concat()).as_ref().to_vec();
        let data = [
            wire(&self.algorithm_name()?)?.as_slice(),
            &seconds(time),
            &FUDGE.to_be_bytes(),
            &length(&mac)?,
            &mac,
            &id,
            &[0; 4],
        ]
        .concat();
        let record = [
            wire(&self.name)?.as_slice(),
            &TSIG.to_be_bytes(),
            &ANY.to_be_bytes(),
            &[0; 4],
            &length(&data)?,
            &data,
        ]
        .concat();
        let mut bytes = [message, &record].concat();
        let count = u16::from_be_bytes(field(&bytes, 10).ok_or("no header")?) + 1;
        replace(&mut bytes, 10, count.to_be_bytes());
        Ok(Signed { bytes, mac })
    }

    /// Whether `answer` is signed with the key, and belongs to the message with this MAC.
    pub(super) fn verify(&self, answer: &[u8], request_mac: &[u8]) -> Result<(), Fault> {
        let Some(found) = find(answer)? else { return Err(Fault::Unsigned) };
        match found.error {
            0 => {}
            16 => return Err(Fault::Refused(Refusal::Secret)),
            17 => return Err(Fault::Refused(Refusal::Key)),
            18 => return Err(Fault::Refused(Refusal::Time)),
            other => return Err(Fault::Refused(Refusal::Other(other))),
        }
        let mut message = answer.get(..found.start).ok_or(Fault::Broken)?.to_vec();
        let count = u16::from_be_bytes(field(&message, 10).ok_or(Fault::Broken)?).saturating_sub(1);
        replace(&mut message, 10, count.to_be_bytes());
        replace(&mut message, 0, found.id);
        let variables = self.variables(found.time, found.fudge, found.error, &found.other);
        let broken = |_long: String| Fault::Broken;
        let before = length(request_mac).map_err(broken)?;
        let signed =
            [before.as_slice(), request_mac, &message, &variables.map_err(broken)?].concat();
        hmac::verify(&self.secret, &signed, &found.mac).map_err(|_wrong| Fault::Signature)
    }

    /// RFC 8945 §4.3.3.
    fn variables(
        &self,
        time: u64,
        fudge: u16,
        error: u16,
        other: &[u8],
    ) -> Result<Vec<u8>, String> {
        Ok([
            wire(&self.name)?.as_slice(),
            &ANY.to_be_bytes(),
            &[0; 4],
            &wire(&self.algorithm_name()?)?,
            &seconds(time),
            &fudge.to_be_bytes(),
            &error.to_be_bytes(),
            &length(other)?,
            other,
        ]
        .concat())
    }

    fn algorithm_name(&self) -> Result<Name, String> {
        let dotted = format!("{}.", self.algorithm.name());
        Name::from_ascii(&dotted).map_err(|error| error.to_string())
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.name.to_ascii();
        let mut shown = f.debug_struct("Key");
        shown.field("name", &name).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// A signed message.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) bytes: Vec<u8>,
    pub(super) mac: Vec<u8>,
}

/// The TSIG record at the end of a message.
struct Found {
    start: usize,
    time: u64,
    fudge: u16,
    mac: Vec<u8>,
    id: [u8; 2],
    error: u16,
    other: Vec<u8>,
}

/// The last record, if it is a TSIG.
fn find(message: &[u8]) -> Result<Option<Found>, Fault> {
    let mut reader = Reader { bytes: message, at: 4 };
    let mut counts = [0_u16; 4];
    for count in &mut counts {
        *count = reader.number()?;
    }
    let [questions, answers, authorities, additionals] = counts.map(usize::from);
    for _ in 0..questions {
        reader.name()?;
        reader.take(4)?;
    }
    let mut last = None;
    for _ in 0..answers + authorities + additionals {
        let start = reader.at;
        reader.name()?;
        let kind = reader.number()?;
        reader.take(6)?;
        let length = usize::from(reader.number()?);
        last = Some((start, kind, reader.at));
        reader.take(length)?;
    }
    let Some((start, TSIG, data)) = last else { return Ok(None) };
    let mut reader = Reader { bytes: message, at: data };
    reader.name()?;
    let [high, low] = [reader.number()?, reader.number()?];
    let time = (u64::from(high) << 32) | (u64::from(low) << 16) | u64::from(reader.number()?);
    let fudge = reader.number()?;
    let mac = reader.counted()?;
    let id = reader.number()?.to_be_bytes();
    let error = reader.number()?;
    Ok(Some(Found { start, time, fudge, mac, id, error, other: reader.counted()? }))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(length).ok_or(Fault::Broken)?;
        let taken = self.bytes.get(self.at..end).ok_or(Fault::Broken)?;
        self.at = end;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u16, Fault> {
        let bytes = self.take(2)?.try_into().map_err(|_short| Fault::Broken)?;
        Ok(u16::from_be_bytes(bytes))
    }

    fn counted(&mut self) -> Result<Vec<u8>, Fault> {
        let length = usize::from(self.number()?);
        Ok(self.take(length)?.to_vec())
    }

    /// Passes over a name (RFC 1035 §4.1.4): labels, ended by an empty one or by a pointer.
    fn name(&mut self) -> Result<(), Fault> {
        loop {
            let length = self.take(1)?.first().copied().unwrap_or_default();
            match length {
                0 => return Ok(()),
                1..=63 => self.take(usize::from(length)).map(drop)?,
                0xC0.. => return self.take(1).map(drop),
                _ => return Err(Fault::Broken),
            }
        }
    }
}

fn wire(name: &Name) -> Result<Vec<u8>, String> {
    name.to_bytes().map_err(|error| error.to_string())
}

fn length(bytes: &[u8]) -> Result<[u8; 2], String> {
    u16::try_from(bytes.len()).map(u16::to_be_bytes).map_err(|error| error.to_string())
}

/// 48 bits.
fn seconds(time: u64) -> [u8; 6] {
    let [_, _, rest @ ..] = time.to_be_bytes();
    rest
}

fn field(bytes: &[u8], at: usize) -> Option<[u8; 2]> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok()
}

fn replace(bytes: &mut [u8], at: usize, value: [u8; 2]) {
    if let Some(place) = bytes.get_mut(at..at.saturating_add(2)) {
        place.copy_from_slice(&value);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{Algorithm, Fault, Key, find, replace};

    fn key(secret: &str) -> Key {
        Key::new("a.key", Algorithm::Sha256, secret).unwrap()
    }

    /// An answer to a message without a MAC.
    fn signed(key: &Key) -> Vec<u8> {
        let header = [0, 1, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        key.signed(&[0, 0], &header, now).unwrap().bytes
    }

    #[test]
    fn an_answer_that_was_changed_or_cut_is_not_believed() {
        let whole = signed(&key("c2VjcmV0"));
        assert_eq!(find(&whole).unwrap().unwrap().start, 12);
        for end in 0..whole.len() {
            assert!(key("c2VjcmV0").verify(&whole[..end], &[]).is_err(), "{end}");
        }
        // What is signed, but for the id, which servers on the way may change; and the MAC's end.
        for at in (2..12).chain([whole.len() - 7]) {
            let mut changed = whole.clone();
            changed[at] ^= 0x01;
            assert!(key("c2VjcmV0").verify(&changed, &[]).is_err(), "{at}");
        }
        assert_eq!(key("c2VjcmV0").verify(&whole, &[]), Ok(()));
        assert_eq!(key("b3RoZXI=").verify(&whole, &[]), Err(Fault::Signature));
        assert_eq!(key("c2VjcmV0").verify(&whole, &[1]), Err(Fault::Signature));
        let unsigned = key("c2VjcmV0").verify(&[0, 1, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[]);
        assert_eq!(unsigned, Err(Fault::Unsigned));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_of_a_server_are_a_signature_by_chance(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
            counts in proptest::array::uniform4(0_u8..3),
        ) {
            let mut bytes = bytes;
            for (place, count) in counts.into_iter().enumerate() {
                replace(&mut bytes, 4 + 2 * place, [0, count]);
            }
            proptest::prop_assert!(key("c2VjcmV0").verify(&bytes, &[]).is_err());
        }
    }

    #[test]
    fn names_of_algorithms_are_read_as_servers_write_them() {
        assert_eq!(Algorithm::parse("HMAC-SHA512."), Some(Algorithm::Sha512));
        assert_eq!(Algorithm::parse("hmac-md5.sig-alg.reg.int."), None);
        assert!(!format!("{:?}", key("c2VjcmV0")).contains("c2Vj"));
    }
}
