//! The limits that CAs publish.

use jiff::SignedDuration;

use crate::budget::bucket::{Key, Rate};

/// Another certificate for the same names within 120 days, less a day for clocks and reckoning.
pub(super) const SAME_NAMES: SignedDuration = SignedDuration::from_hours(119 * 24);

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// Of one CA.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    host: &'static str,
    orders: Rate,
    domain: Rate,
    exact: Rate,
    failures: Rate,
}

/// <https://letsencrypt.org/docs/rate-limits/> and <https://letsencrypt.org/docs/staging-environment/>.
/// Of the large ones a fiftieth is left: an order whose answer is lost is counted by the CA only.
const KNOWN: [Limits; 2] = [
    Limits {
        host: "acme-v02.api.letsencrypt.org",
        orders: Rate::of(300, 294, SignedDuration::from_hours(3)),
        domain: Rate::of(50, 49, SignedDuration::from_hours(7 * 24)),
        exact: Rate::of(5, 5, SignedDuration::from_hours(7 * 24)),
        failures: Rate::of(5, 5, HOUR),
    },
    Limits {
        host: "acme-staging-v02.api.letsencrypt.org",
        orders: Rate::of(1500, 1470, SignedDuration::from_hours(3)),
        domain: Rate::of(30_000, 29_400, SignedDuration::from_hours(7 * 24)),
        exact: Rate::of(30_000, 29_400, SignedDuration::from_hours(7 * 24)),
        failures: Rate::of(200, 196, HOUR),
    },
];

impl Limits {
    /// By the host of the directory; `None`: nothing is known, and what is, is learnt from refusals.
    pub(super) fn of(ca: &str) -> Option<&'static Self> {
        let host = ca.strip_prefix("https://")?.split(['/', ':']).next()?;
        KNOWN.iter().find(|limits| limits.host.eq_ignore_ascii_case(host))
    }

    pub(super) fn rate(&self, key: &Key) -> Rate {
        match key {
            Key::Orders(..) => self.orders,
            Key::Domain(..) => self.domain,
            Key::Exact(..) => self.exact,
            Key::Failures(..) => self.failures,
        }
    }
}
