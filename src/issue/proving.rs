//! Names proven: the answers put where the CA looks, looked at before it, and taken away.

use std::slice;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;

use crate::acme::Account;
use crate::challenge;
use crate::challenge::Answer;
use crate::issue::{Driver, Stop};
use crate::order;
use crate::order::{Event, OrderView, Pending, Proof, Record};
use crate::resolver::ChallengeKind;

/// How long one poll may last before the worker gives its place to others.
const POLL_LIMIT: Duration = Duration::from_mins(1);
/// Names of one certificate that are proven at once.
const PROVEN_AT_ONCE: usize = 32;
/// How long an answer stays valid in the challenge table if nobody takes it away.
pub(super) const ANSWER_LIVES: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

impl Driver<'_> {
    pub(super) async fn present(&mut self, proofs: Vec<Proof>) -> Result<Event, Stop> {
        // The table last: from there on nothing fails that would leave answers in it.
        self.await_records(&proofs).await?;
        let expires = (self.clock)() + ANSWER_LIVES;
        let answers = proofs.iter().filter_map(|proof| {
            let (name, answer) = (proof.name.clone(), proof.key_authorization.clone());
            Some((table_key(proof)?, Answer { name, answer, expires }))
        });
        let answers: Vec<(String, Answer)> = answers.collect();
        if !answers.is_empty() {
            self.show(answers).await?;
        }
        self.expected = None;
        tokio::time::sleep(self.delay(&proofs)).await;
        self.check(&proofs).await;
        Ok(Event::Presented(proofs))
    }

    async fn show(&self, answers: Vec<(String, Answer)>) -> Result<(), Stop> {
        let keys = answers.iter().map(|(key, _)| key.clone()).collect();
        let shown = self.engine.table.present(answers).await;
        if shown.is_err()
            && let Err(error) = self.engine.table.withdraw(keys).await
        {
            tracing::debug!("answers that are not needed: {error}");
        }
        Ok(shown?)
    }

    /// Whatever it finds, the CA is asked.
    async fn check(&mut self, proofs: &[Proof]) {
        let Some(self_check) = self.engine.self_check.clone() else { return };
        let looks = proofs.iter().map(|proof| self_check.look(proof));
        let found = futures::future::join_all(looks).await;
        let named = proofs.iter().zip(found);
        self.found = named.filter_map(|(it, found)| Some((it.name.clone(), found?))).collect();
        if let Some(found) = self.found.values().next() {
            tracing::warn!("self-check: {found}");
            self.tell(found);
        }
    }

    /// Says beside the CA's error what the self-check found of the same names.
    pub(super) fn add_found(&self, view: &mut OrderView) {
        let found = view.failed.iter().filter_map(|name| self.found.get(name));
        let found: Vec<&str> = found.map(String::as_str).collect();
        if let (Some(problem), false) = (&mut view.problem, found.is_empty()) {
            *problem = format!("{problem}; self-check: {}", found.join("; "));
        }
    }

    /// The longest that is set for one of the challenges.
    fn delay(&self, proofs: &[Proof]) -> Duration {
        let challenges = &self.job.resolver.challenges;
        let of = |proof: &Proof| match proof.kind {
            ChallengeKind::Http01 => challenges.http.as_ref().map(|http| http.delay),
            ChallengeKind::TlsAlpn01 => challenges.tls.as_ref().map(|tls| tls.delay),
            ChallengeKind::Dns01 => None,
        };
        proofs.iter().filter_map(of).max().unwrap_or_default()
    }

    /// Whatever becomes of it, each answer is taken away, and none later than it is settled.
    pub(super) async fn prove(&mut self, proofs: &[Proof]) -> Result<Event, Stop> {
        let Some(pending) = self.state.pending.clone() else { return Ok(Event::Begin) };
        let account = self.account().await?;
        let each = proofs.iter().map(|proof| self.prove_one(&account, &pending, proof));
        let each: Vec<_> = each.collect();
        let all: Vec<Result<Option<Record>, Stop>> =
            stream::iter(each).buffer_unordered(PROVEN_AT_ONCE).collect().await;
        self.turn = None;
        let gone = all.into_iter().collect::<Result<Vec<Option<Record>>, Stop>>()?;
        Ok(Event::Settled(gone.into_iter().flatten().collect()))
    }

    /// The record that is gone with it.
    async fn prove_one(
        &self,
        account: &Account,
        pending: &Pending,
        proof: &Proof,
    ) -> Result<Option<Record>, Stop> {
        let chosen = slice::from_ref(&proof.chosen);
        let proved = account.prove(&pending.url, chosen, POLL_LIMIT).await;
        let gone = self.unset_of(proof).await;
        if let Some(key) = table_key(proof) {
            self.engine.table.withdraw(vec![key]).await?;
        }
        proved?;
        Ok(gone)
    }

    /// Shown until the order is over.
    pub(super) fn tell(&self, text: &str) {
        // The leader ends before its workers only when it leads no more.
        drop(self.engine.told.send((self.job.id.clone(), order::shown(text))));
    }
}

/// The entry of the challenge table that answers it, if it is one of the table's.
pub(super) fn table_key(proof: &Proof) -> Option<String> {
    match proof.kind {
        ChallengeKind::Http01 => Some(proof.token.clone()),
        ChallengeKind::TlsAlpn01 => Some(challenge::alpn_key(proof.name.as_str())),
        ChallengeKind::Dns01 => None,
    }
}
