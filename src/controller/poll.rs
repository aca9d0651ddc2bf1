//! Asks the CAs when to renew (RFC 9773), certificate by certificate, each at its own time.

use jiff::Timestamp;

use crate::cert::Id;
use crate::controller::leader::Leader;
use crate::world::Want;

pub(super) fn plan(_leader: &mut Leader, _id: &Id, _want: Option<&Want>, _now: Timestamp) {}

pub(super) fn start(_leader: &mut Leader, _now: Timestamp) {}
