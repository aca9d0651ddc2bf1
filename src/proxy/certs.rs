//! The certificates that are served: a change swaps one entry, a handshake picks one by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use crate::cert;
use crate::cert::{Certificate, Id};
use crate::cluster::Trouble;
use crate::name::{Name, Names};
use crate::proxy::hello;
use crate::proxy::hello::Client;
use crate::store::{Change, Entry};

/// A certificate ready for handshakes: its key is parsed.
#[derive(Debug)]
struct Candidate {
    id: Id,
    names: Names,
    fingerprint: String,
    not_before: Timestamp,
    not_after: Timestamp,
    /// What the key can sign with; asking the key itself would allocate.
    schemes: Vec<SignatureScheme>,
    key: Arc<CertifiedKey>,
}

/// How good a candidate is: usable by the client, valid, exact, elliptic, its end, its begin. The
/// first difference decides, true before false, later before earlier.
type Rank = (bool, bool, bool, bool, Timestamp, Timestamp);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    Exact,
    Wildcard,
}

impl Candidate {
    fn new(id: Id, certificate: &Certificate) -> Result<Self, cert::Error> {
        let key = certified(certificate)?;
        let facts = certificate.facts();
        Ok(Self {
            id,
            names: facts.names.clone(),
            fingerprint: facts.fingerprint.clone(),
            not_before: facts.not_before,
            not_after: facts.not_after,
            schemes: schemes_of(&key),
            key: Arc::new(key),
        })
    }

    /// `None` before its time: a certificate not yet valid is never picked.
    fn rank(&self, found: Match, client: Client<'_>, now: Timestamp) -> Option<Rank> {
        let algorithm = self.key.key.algorithm();
        let usable = client.can_use(algorithm, &self.schemes);
        let valid = now < self.not_after;
        let exact = found == Match::Exact;
        let elliptic = algorithm != SignatureAlgorithm::RSA;
        (self.not_before <= now).then_some((
            usable,
            valid,
            exact,
            elliptic,
            self.not_after,
            self.not_before,
        ))
    }
}

/// What a TLS server needs of `certificate`; parsing the key is the slow part.
pub(super) fn certified(certificate: &Certificate) -> Result<CertifiedKey, cert::Error> {
    let key = any_supported_type(&certificate.key().der()?)
        .map_err(|error| cert::Error::BadKey(error.to_string()))?;
    Ok(CertifiedKey::new(certificate.ders()?, key))
}

fn schemes_of(key: &CertifiedKey) -> Vec<SignatureScheme> {
    [
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::ECDSA_NISTP384_SHA384,
        SignatureScheme::ECDSA_NISTP521_SHA512,
        SignatureScheme::ED25519,
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RSA_PSS_SHA384,
        SignatureScheme::RSA_PSS_SHA512,
        SignatureScheme::RSA_PKCS1_SHA256,
        SignatureScheme::RSA_PKCS1_SHA384,
        SignatureScheme::RSA_PKCS1_SHA512,
    ]
    .into_iter()
    .filter(|scheme| key.key.choose_scheme(&[*scheme]).is_some())
    .collect()
}

type ByName = papaya::HashMap<Name, Vec<Arc<Candidate>>>;

/// Name → candidates. Readers take no lock and allocate nothing.
#[derive(Debug)]
pub(super) struct Table {
    exact: ByName,
    /// By the name without its `*.`, so that a look-up needs only a part of the asked name.
    wildcard: ByName,
    default: Arc<CertifiedKey>,
}

impl Table {
    pub(super) fn new(default: CertifiedKey) -> Self {
        let (exact, wildcard) = (ByName::new(), ByName::new());
        Self { exact, wildcard, default: Arc::new(default) }
    }

    /// The certificate to serve for `sni` at `now`; the default one if none covers it.
    pub(super) fn pick(
        &self,
        sni: Option<&str>,
        client: Client<'_>,
        now: Timestamp,
    ) -> Arc<CertifiedKey> {
        sni.and_then(|name| self.find(hello::without_dot(name), client, now))
            .unwrap_or_else(|| Arc::clone(&self.default))
    }

    fn find(&self, name: &str, client: Client<'_>, now: Timestamp) -> Option<Arc<CertifiedKey>> {
        let (exact, wildcard) = (self.exact.pin(), self.wildcard.pin());
        let parent = name.split_once('.').map(|(_, parent)| parent);
        let exact = exact.get(name).into_iter().flatten().map(|one| (Match::Exact, one));
        let wildcard = parent.and_then(|parent| wildcard.get(parent)).into_iter().flatten();
        exact
            .chain(wildcard.map(|one| (Match::Wildcard, one)))
            .filter_map(|(found, one)| Some((one.rank(found, client, now)?, one)))
            .max_by(|(left, _), (right, _)| left.cmp(right))
            .map(|(_, best)| Arc::clone(&best.key))
    }

    fn map_for(&self, name: &Name) -> &ByName {
        if name.is_wildcard() { &self.wildcard } else { &self.exact }
    }

    /// Puts `candidate` where its id was or beside the others.
    fn insert(&self, name: &Name, candidate: &Arc<Candidate>) {
        self.replace(name, &candidate.id, Some(candidate));
    }

    fn remove(&self, name: &Name, id: &Id) {
        self.replace(name, id, None);
    }

    fn replace(&self, name: &Name, id: &Id, candidate: Option<&Arc<Candidate>>) {
        let map = self.map_for(name).pin();
        let key = name.without_wildcard();
        let others = map.get(&key).into_iter().flatten().filter(|other| other.id != *id);
        let list: Vec<_> = others.chain(candidate).cloned().collect();
        if list.is_empty() {
            map.remove(&key);
        } else {
            map.insert(key, list);
        }
    }
}

/// What a change came to.
#[derive(Debug)]
pub(super) enum Applied {
    Served(Id),
    /// The same certificate again.
    Same,
    /// It cannot be served; what was served under this id still is.
    LeftOut(Id, cert::Error),
    Removed(Id),
    Synced,
    Trouble(Trouble),
}

/// The only one who changes a [`Table`].
#[derive(Debug)]
pub(super) struct Writer {
    table: Arc<Table>,
    served: BTreeMap<Id, Arc<Candidate>>,
    /// Versions already complained about.
    bad: BTreeMap<Id, String>,
}

impl Writer {
    pub(super) fn new(table: Arc<Table>) -> Self {
        Self { table, served: BTreeMap::new(), bad: BTreeMap::new() }
    }

    /// How many certificates are served, without the default one.
    pub(super) fn len(&self) -> usize {
        self.served.len()
    }

    /// Parses a key: not for a thread that does handshakes.
    pub(super) fn apply(&mut self, change: Change) -> Applied {
        match change {
            Change::Put(entry) => self.put(*entry),
            Change::Gone(id) => self.gone(id),
            Change::Synced => Applied::Synced,
            Change::Trouble(trouble) => Applied::Trouble(trouble),
        }
    }

    fn put(&mut self, entry: Entry) -> Applied {
        let Entry { id, content, version, .. } = entry;
        match content.and_then(|certificate| self.serve(&id, &certificate)) {
            Ok(applied) => {
                self.bad.remove(&id);
                applied
            }
            Err(_) if self.bad.get(&id) == Some(&version) => Applied::Same,
            Err(error) => {
                self.bad.insert(id.clone(), version);
                Applied::LeftOut(id, error)
            }
        }
    }

    fn serve(&mut self, id: &Id, certificate: &Certificate) -> Result<Applied, cert::Error> {
        let earlier = self.served.get(id);
        if earlier.is_some_and(|one| one.fingerprint == certificate.facts().fingerprint) {
            return Ok(Applied::Same);
        }
        let candidate = Arc::new(Candidate::new(id.clone(), certificate)?);
        for name in candidate.names.iter() {
            self.table.insert(name, &candidate);
        }
        if let Some(earlier) = self.served.insert(id.clone(), Arc::clone(&candidate)) {
            let kept = |name: &&Name| !candidate.names.iter().any(|new| new == *name);
            for name in earlier.names.iter().filter(kept) {
                self.table.remove(name, id);
            }
        }
        Ok(Applied::Served(id.clone()))
    }

    fn gone(&mut self, id: Id) -> Applied {
        self.bad.remove(&id);
        let Some(earlier) = self.served.remove(&id) else { return Applied::Same };
        for name in earlier.names.iter() {
            self.table.remove(name, &id);
        }
        Applied::Removed(id)
    }
}

#[cfg(test)]
mod tests;
