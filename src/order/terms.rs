//! What a certificate is issued with beside its names, and what its order was placed on.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cert::KeyType;
use crate::resolver::{Resolver, Setting};

/// CA, key type and profile: specification, not identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// Directory URL of the CA.
    pub ca: String,
    pub key_type: KeyType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Which of these somebody wrote down; the others are defaults of ours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub explicit: Vec<Setting>,
}

impl Spec {
    /// `key_type`: what a route asks for in place of the resolver's.
    pub fn of(resolver: &Resolver, key_type: Option<KeyType>) -> Self {
        let mut explicit = resolver.explicit.clone();
        if key_type.is_some() {
            explicit.insert(Setting::KeyType);
        }
        explicit.remove(&Setting::CertificatesDuration);
        Self {
            ca: resolver.ca_server.clone(),
            key_type: key_type.unwrap_or(resolver.key_type),
            profile: resolver.profile.clone(),
            explicit: explicit.into_iter().collect(),
        }
    }

    /// What is another than at the issuance, by somebody's will: a default of ours that changed
    /// is no reason for a new certificate.
    pub fn change_since(&self, issued: &Self) -> Option<Change> {
        let meant =
            |what: Setting| self.explicit.contains(&what) || issued.explicit.contains(&what);
        if self.key_type != issued.key_type && meant(Setting::KeyType) {
            return Some(Change::KeyType);
        }
        if self.ca != issued.ca && meant(Setting::CaServer) {
            return Some(Change::Ca);
        }
        (self.profile != issued.profile).then_some(Change::Profile)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    KeyType,
    Ca,
    Profile,
}

/// Why a certificate was got, as the loop breaker counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// Its renewal was due: as it should be.
    Due,
    /// A person insisted.
    Forced,
    #[default]
    Other,
}

/// Which limits of the CA an order does not count against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Exemption {
    #[default]
    None,
    /// The same names had a certificate lately: new orders and certificates per domain.
    SameNames,
    /// Inside the window that the CA suggested, and it says what it replaces: every limit.
    Window,
}

impl Exemption {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(super) fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// What an order was placed on; stored with it, so that whoever finishes it counts it rightly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    pub spec: Spec,
    #[serde(default)]
    pub cause: Cause,
    #[serde(default, skip_serializing_if = "Exemption::is_none")]
    pub exemption: Exemption,
    /// Name of the account's record.
    pub account: String,
    /// The resolver that was used in place of the certificate's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// The CA is only asked whether it would work: its certificate is not fetched.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rehearsal: bool,
}

/// An order as the CA's limits count it. Older records hold only the time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PlacedForm", rename_all = "camelCase")]
pub struct Placed {
    pub at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(skip_serializing_if = "Exemption::is_none")]
    pub exemption: Exemption,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PlacedForm {
    Bare(Timestamp),
    #[serde(rename_all = "camelCase")]
    Full {
        at: Timestamp,
        ca: Option<String>,
        account: Option<String>,
        #[serde(default)]
        exemption: Exemption,
    },
}

impl From<PlacedForm> for Placed {
    fn from(form: PlacedForm) -> Self {
        match form {
            PlacedForm::Bare(at) => {
                Self { at, ca: None, account: None, exemption: Exemption::None }
            }
            PlacedForm::Full { at, ca, account, exemption } => Self { at, ca, account, exemption },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LE: &str = "https://acme-v02.api.letsencrypt.org/directory";

    fn spec(ca: &str, key_type: KeyType, explicit: &[Setting]) -> Spec {
        Spec { ca: ca.to_owned(), key_type, profile: None, explicit: explicit.to_vec() }
    }

    #[test]
    fn only_what_somebody_changed_is_a_change() {
        use KeyType::{Ec256, Rsa4096};
        use Setting::{CaServer, KeyType as Key};
        let short = Spec { profile: Some("shortlived".to_owned()), ..spec(LE, Rsa4096, &[]) };
        for (issued, wanted, change) in [
            (spec(LE, Rsa4096, &[]), spec(LE, Rsa4096, &[Key, CaServer]), None),
            (spec(LE, Rsa4096, &[]), spec(LE, Ec256, &[]), None),
            (spec(LE, Rsa4096, &[]), spec("https://new.default", Rsa4096, &[]), None),
            (spec(LE, Rsa4096, &[]), spec(LE, Ec256, &[Key]), Some(Change::KeyType)),
            (spec(LE, Ec256, &[Key]), spec(LE, Rsa4096, &[]), Some(Change::KeyType)),
            (spec(LE, Ec256, &[]), spec("https://a", Ec256, &[CaServer]), Some(Change::Ca)),
            (spec(LE, Rsa4096, &[]), short.clone(), Some(Change::Profile)),
            (short, spec(LE, Rsa4096, &[]), Some(Change::Profile)),
        ] {
            assert_eq!(wanted.change_since(&issued), change, "{issued:?} {wanted:?}");
        }
    }

    #[test]
    fn an_order_of_an_older_record_is_only_a_time() {
        let read: Placed = serde_json::from_str(r#""2027-01-15T08:00:00Z""#).unwrap();
        assert_eq!((read.ca.as_deref(), read.exemption), (None, Exemption::None));
        let full = Placed {
            ca: Some(LE.to_owned()),
            account: Some("x".to_owned()),
            exemption: Exemption::Window,
            ..read
        };
        let text = serde_json::to_string(&full).unwrap();
        assert_eq!(serde_json::from_str::<Placed>(&text).unwrap(), full);
    }
}
