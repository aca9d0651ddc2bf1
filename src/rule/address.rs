//! IP addresses and networks of clients, as Go's `net` package compares them.

use std::net::IpAddr;

/// One address is the network of its whole length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    base: IpAddr,
    bits: u32,
}

impl Network {
    /// `192.0.2.1`, `192.0.2.0/24`, `2001:db8::/32`; bits behind the prefix do not count.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let Some((address, bits)) = text.split_once('/') else {
            let base = text.parse::<IpAddr>().ok()?.to_canonical();
            return Some(Self { base, bits: width(base) });
        };
        let address = address.parse::<IpAddr>().ok()?;
        let digits = !bits.is_empty() && bits.chars().all(|c| c.is_ascii_digit());
        let bits = bits.parse().ok().filter(|bits| digits && *bits <= width(address))?;
        Some(Self::masked(address, bits))
    }

    fn masked(address: IpAddr, bits: u32) -> Self {
        let base = mask(address, bits);
        match (base, base.to_canonical()) {
            // `::ffff:192.0.2.0/120` is a network of IPv4 in other words.
            (IpAddr::V6(_), short @ IpAddr::V4(_)) => Self { base: short, bits: bits - 96 },
            _ => Self { base, bits },
        }
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.base.is_ipv4() == address.is_ipv4() && mask(address, self.bits) == self.base
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// `bits` is at most the width.
fn mask(address: IpAddr, bits: u32) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let kept = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & kept).into())
        }
        IpAddr::V6(v6) => {
            let kept = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & kept).into())
        }
    }
}
