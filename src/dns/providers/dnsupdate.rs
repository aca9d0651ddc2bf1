//! `dnsupdate`, `rfc2136`: DNS UPDATE (RFC 2136) to a server of one's own, signed with TSIG.

use std::path::Path;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};
use jiff::Timestamp;

use crate::dns::answer::{has_soa, parse, text};
use crate::dns::servers;
use crate::dns::tsig::{Algorithm, Fault, Key};
use crate::dns::wire::{self, Wire};
use crate::dns::{
    Context, Done, Entry, Error, Handle, Provider, Task, Timing, Transport, Variables,
};
use crate::http;
use crate::name;

pub(super) const ENTRY: Entry = Entry { codes: &["dnsupdate", "rfc2136"], build };

const CODE: &str = "dnsupdate";
/// A key file has one or a few keys.
const MAX_KEY_FILE: usize = 64 * 1024;

struct DnsUpdate {
    server: String,
    key: Option<Key>,
    /// Zones that need not be looked for; the longest that fits counts.
    zones: Vec<String>,
    ttl: u32,
    timing: Timing,
    timeout: Duration,
    transport: Transport,
    now: Timestamp,
}

fn build(context: &Context) -> Result<Box<dyn Provider>, Error> {
    let variables = &context.variables;
    let zones = variables.text(&names("ZONES"))?.unwrap_or_default();
    let ttl = variables.number(&names("TTL"), 120)?;
    let mut timing = variables.timing("DNSUPDATE|RFC2136", Timing::default())?;
    // One value does not disturb another: an interval is kept only if somebody asks for it.
    if variables.text(&names("SEQUENCE_INTERVAL"))?.is_some() {
        timing.sequence = Some(variables.seconds(&names("SEQUENCE_INTERVAL"), 60)?);
    }
    Ok(Box::new(DnsUpdate {
        server: variables.need(&names("NAMESERVER"))?,
        key: key(variables)?,
        zones: zones.split([',', ' ']).map(normal).filter(|zone| !zone.is_empty()).collect(),
        ttl: u32::try_from(ttl).unwrap_or(120),
        timing,
        timeout: variables.seconds(&names("DNS_TIMEOUT"), 10)?.max(Duration::from_secs(1)),
        transport: context.zones.0.transport(),
        now: context.now,
    }))
}

fn names(end: &str) -> String {
    format!("DNSUPDATE_{end}|RFC2136_{end}")
}

fn normal(name: &str) -> String {
    name.trim().trim_matches('.').to_ascii_lowercase()
}

impl Provider for DnsUpdate {
    fn set<'a>(&'a self, task: &'a Task) -> Done<'a, Handle> {
        Box::pin(async move {
            let data = RData::TXT(TXT::new(vec![task.value.clone()]));
            let record = Record::from_rdata(parse(&task.fqdn)?, self.ttl, data);
            self.update("add the record", &task.fqdn, record).await?;
            Ok(Handle::default())
        })
    }

    /// RFC 2136 §2.5.4: exactly this value, whatever else is there.
    fn unset<'a>(&'a self, task: &'a Task, _handle: Option<&'a Handle>) -> Done<'a, ()> {
        Box::pin(async move {
            let data = RData::TXT(TXT::new(vec![task.value.clone()]));
            let mut record = Record::from_rdata(parse(&task.fqdn)?, 0, data);
            record.dns_class = DNSClass::NONE;
            self.update("delete the record", &task.fqdn, record).await
        })
    }

    fn timing(&self) -> Timing {
        self.timing
    }
}

impl DnsUpdate {
    async fn update(&self, step: &'static str, fqdn: &str, record: Record) -> Result<(), Error> {
        let zone = self.zone(fqdn).await?;
        let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Update);
        message.add_query(Query::query(parse(&zone)?, RecordType::SOA));
        message.add_authority(record);
        let answer = self.ask(step, &message).await?;
        match answer.metadata.response_code {
            ResponseCode::NoError => Ok(()),
            _ => Err(self.refused(step, &format!("the update of zone `{zone}`"), &answer)),
        }
    }

    /// The zone as the server has it: it may be one that nobody else sees.
    async fn zone(&self, fqdn: &str) -> Result<String, Error> {
        const STEP: &str = "find the zone";
        let given = self.zones.iter().filter(|zone| {
            fqdn.strip_suffix(zone.as_str()).is_some_and(|it| it.is_empty() || it.ends_with('.'))
        });
        if let Some(zone) = given.max_by_key(|zone| zone.len()) {
            return Ok(zone.clone());
        }
        let mut candidate = parse(fqdn)?;
        while !candidate.is_root() && !name::is_registry_suffix(&text(&candidate)) {
            let mut message = Message::query();
            message.add_query(Query::query(candidate.clone(), RecordType::SOA));
            let answer = self.ask(STEP, &message).await?;
            match answer.metadata.response_code {
                ResponseCode::NoError if has_soa(&answer, &candidate) => {
                    return Ok(text(&candidate));
                }
                ResponseCode::NoError | ResponseCode::NXDomain => {}
                _ => {
                    let what = format!("the question for SOA of `{}`", text(&candidate));
                    return Err(self.refused(STEP, &what, &answer));
                }
            }
            candidate = candidate.base_name();
        }
        let cause = format!("{} has no zone for `{}`", self.server, http::shown(fqdn));
        Err(Error::Refused { provider: CODE, step: STEP, cause })
    }

    /// One signed exchange, with the first of the server's addresses that answers.
    async fn ask(&self, step: &'static str, message: &Message) -> Result<Message, Error> {
        let fault = |cause: String| {
            let cause = http::shown(&format!("{}: {cause}", self.server));
            Error::Refused { provider: CODE, step, cause }
        };
        let bytes = message.to_vec().map_err(|error| fault(error.to_string()))?;
        let signed = self.key.as_ref().map(|key| key.sign(&bytes, self.now)).transpose();
        let signed = signed.map_err(fault)?;
        let answer = self.send(step, signed.as_ref().map_or(&bytes, |it| &it.bytes)).await?;
        let read = Message::from_vec(&answer);
        let read = read.map_err(|error| fault(format!("answers with no DNS message: {error}")))?;
        if let (Some(key), Some(signed)) = (&self.key, &signed) {
            match key.verify(&answer, &signed.mac) {
                Ok(()) => {}
                // A server may leave its refusal unsigned; nothing is believed but that it is one.
                Err(Fault::Unsigned) if read.metadata.response_code != ResponseCode::NoError => {}
                Err(error) => return Err(fault(format!("{}: {error}", wire::code(&read)))),
            }
        }
        Ok(read)
    }

    async fn send(&self, step: &'static str, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let unreachable = |cause: String| {
            let cause = format!("{}: {cause}", self.server);
            Error::Unreachable { provider: CODE, step, cause }
        };
        let wire = Wire { transport: self.transport, timeout: self.timeout };
        let mut failed = unreachable("it has no address".to_owned());
        for server in servers::of(&self.server).await.map_err(unreachable)? {
            match wire.send(server.address, bytes).await {
                Ok(answer) => return Ok(answer),
                Err(silence) => failed = unreachable(format!("{} {silence}", server.address)),
            }
        }
        Err(failed)
    }

    fn refused(&self, step: &'static str, what: &str, answer: &Message) -> Error {
        let advice = match answer.metadata.response_code {
            ResponseCode::Refused if self.key.is_none() => {
                "; it does not allow this without a TSIG key"
            }
            ResponseCode::Refused => "; it does not allow this to the key",
            ResponseCode::NotAuth => "; it is no primary server of the zone, or wants a TSIG key",
            ResponseCode::NotZone => "; the name is not in this zone",
            _ => "",
        };
        let code = wire::code(answer);
        let cause = format!("{} answers {code} to {what}{advice}", self.server);
        Error::Refused { provider: CODE, step, cause }
    }
}

/// The key of `TSIG_FILE`, or of `TSIG_KEY`, `TSIG_SECRET` and `TSIG_ALGORITHM`.
fn key(variables: &Variables) -> Result<Option<Key>, Error> {
    let fault = |message: String| variables.fault(message);
    if let Some(path) = variables.path(&names("TSIG_FILE"))? {
        let (name, algorithm, secret) = read_key_file(&path)
            .map_err(|cause| fault(format!("TSIG_FILE: {}: {cause}", path.display())))?;
        return made(variables, &name, &algorithm, &secret).map(Some);
    }
    let name = variables.text(&names("TSIG_KEY"))?;
    let secret = variables.text(&names("TSIG_SECRET"))?;
    let algorithm = variables.text_or(&names("TSIG_ALGORITHM"), "hmac-sha1")?;
    match (name, secret) {
        (Some(name), Some(secret)) => made(variables, &name, &algorithm, &secret).map(Some),
        (None, None) => Ok(None),
        // As in lego, where half a key is none.
        (Some(_), None) | (None, Some(_)) => {
            tracing::warn!(
                "dnsupdate: TSIG_KEY and TSIG_SECRET are needed both; nothing is signed"
            );
            Ok(None)
        }
    }
}

fn made(variables: &Variables, name: &str, algorithm: &str, secret: &str) -> Result<Key, Error> {
    let algorithm = Algorithm::parse(algorithm).ok_or_else(|| {
        variables.fault(format!(
            "TSIG_ALGORITHM: `{}` is none of hmac-sha1, hmac-sha224, hmac-sha256, hmac-sha384 and \
             hmac-sha512",
            http::shown(algorithm)
        ))
    })?;
    Key::new(name, algorithm, secret).map_err(|cause| variables.fault(cause))
}

/// The first key of a file as `tsig-keygen` writes it: name, algorithm, secret.
fn read_key_file(path: &Path) -> Result<(String, String, String), String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    if text.len() > MAX_KEY_FILE {
        return Err("is larger than 64 KiB".to_owned());
    }
    parse_key_file(&text).ok_or_else(|| {
        "has no key; expected: key \"name\" { algorithm hmac-sha256; secret \"…\"; };".to_owned()
    })
}

fn parse_key_file(text: &str) -> Option<(String, String, String)> {
    let lines = text.lines().map(|line| {
        let end = ["//", "#"].iter().filter_map(|mark| line.find(mark)).min();
        // A secret is base64 and may have `//` in it.
        end.filter(|_| !line.contains("secret")).and_then(|end| line.get(..end)).unwrap_or(line)
    });
    let text = lines.collect::<Vec<_>>().join(" ").replace(['{', '}', ';'], " ");
    let words: Vec<&str> = text.split_whitespace().map(|word| word.trim_matches('"')).collect();
    let after = |word: &str| {
        let at = words.iter().position(|it| *it == word)?;
        words.get(at + 1).map(|it| (*it).to_owned())
    };
    Some((after("key")?, after("algorithm")?, after("secret")?))
}

#[cfg(test)]
mod tests {
    use super::parse_key_file;

    #[test]
    fn a_key_file_is_read_as_tsig_keygen_writes_it() {
        let text = "# made by hand\nkey \"a.key\" {\n\talgorithm hmac-sha256; // strong\n\tsecret \"ab//cd==\";\n};\n";
        let (name, algorithm, secret) = parse_key_file(text).unwrap();
        assert_eq!((name.as_str(), algorithm.as_str()), ("a.key", "hmac-sha256"));
        assert_eq!(secret, "ab//cd==");
        assert!(parse_key_file("options {};").is_none());
    }
}
