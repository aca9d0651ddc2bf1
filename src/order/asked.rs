//! What a person asks for by hand.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// `{"what": "renew", "at": …, "force": …}` or `{"what": "revoke", "at": …, "reason": …}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "camelCase")]
pub enum Asked {
    /// A new certificate now. `force`: past the back-off and the loop breaker, never past what the
    /// CA said.
    Renew {
        at: Timestamp,
        #[serde(default)]
        force: bool,
    },
    /// Revoked at the CA; replaced if a route wants it, else removed.
    Revoke {
        at: Timestamp,
        /// RFC 5280 §5.3.1, as RFC 8555 §7.6 takes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<u8>,
    },
}
