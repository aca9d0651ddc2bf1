//! On which terms an order is placed: at which CA, with which key.

use crate::cert::Key;
use crate::issue::{Driver, Stop, account_name};
use crate::order::{Exemption, FailureKind, Spec, Terms, needs_rehearsal};
use crate::resolver::Resolver;

impl<'a> Driver<'a> {
    /// What the next order is placed on.
    pub(super) fn terms(&self) -> Terms {
        let terms = self.job.terms.clone();
        let Some(resolver) = self.job.rehearsal.as_ref().filter(|_| needs_rehearsal(&self.state))
        else {
            return terms;
        };
        Terms {
            spec: Spec { ca: resolver.ca_server.clone(), ..terms.spec },
            exemption: Exemption::None,
            account: account_name(resolver),
            rehearsal: true,
            ..terms
        }
    }

    /// At whose CA the order in flight is, or the next one will be.
    pub(super) fn resolver(&self) -> &'a Resolver {
        let job = self.job;
        let is_rehearsal = match &self.state.pending {
            Some(pending) => pending.ca != job.resolver.ca_server,
            None => needs_rehearsal(&self.state),
        };
        job.rehearsal.as_ref().filter(|_| is_rehearsal).unwrap_or(&job.resolver)
    }

    pub(super) async fn new_key(&self) -> Result<Key, Stop> {
        let key_type = self.job.resolver.key_type;
        let is_rehearsal = self.resolver().ca_server != self.job.resolver.ca_server;
        if let Some(key) = self.held_key.as_ref().filter(|_| self.job.keeps_key && !is_rehearsal) {
            return Ok(key.clone());
        }
        let failed = |message: String| Stop::give_up(FailureKind::Unreachable, message);
        tokio::task::spawn_blocking(move || Key::generate(key_type))
            .await
            .map_err(|error| failed(error.to_string()))?
            .map_err(|error| failed(error.to_string()))
    }
}
