//! Which certificates need not be had, since another one's wildcards cover all their names.
//!
//! Of the certificates of one namespace and resolver, one *dominates* another if each name of that
//! other is covered by one of its wildcards; of two that dominate each other, the one with fewer
//! names does, then the first by name. Who is not dominated is had. Who is, is covered by the
//! first of those that dominate it and are had. So the result depends on the set of certificates
//! alone, never on the order in which they came.

use std::collections::{BTreeMap, BTreeSet};

use crate::cert::Id;
use crate::name::{Name, Names};

/// Owner and resolver: certificates of different scopes have nothing to do with each other.
type Scope = (String, String);
/// The fewest names first.
type Rank = (usize, Vec<Name>);

#[derive(Debug)]
struct Member {
    scope: Scope,
    names: Names,
    rank: Rank,
}

#[derive(Debug, Default)]
pub(super) struct Coverage {
    members: BTreeMap<Id, Member>,
    /// By wildcard, who has it.
    wild: BTreeMap<Scope, BTreeMap<Name, BTreeSet<(Rank, Id)>>>,
    /// By wildcard, who has a name that it covers.
    under: BTreeMap<Scope, BTreeMap<Name, BTreeSet<Id>>>,
    cover: BTreeMap<Id, Id>,
    covered: BTreeMap<Id, BTreeSet<Id>>,
}

impl Coverage {
    /// The certificate that makes `id` needless.
    pub(super) fn cover(&self, id: &Id) -> Option<&Id> {
        self.cover.get(id)
    }

    /// Those that `id` makes needless.
    pub(super) fn covered_by(&self, id: &Id) -> impl Iterator<Item = &Id> {
        self.covered.get(id).into_iter().flatten()
    }

    /// Returns whose cover is another than before, with the covers of before and now.
    pub(super) fn add(&mut self, id: &Id, scope: Scope, names: &Names) -> BTreeSet<Id> {
        let mut changed = BTreeSet::new();
        let rank = (names.len(), names.sorted().into_iter().cloned().collect());
        for key in keys(names) {
            let under = self.under.entry(scope.clone()).or_default();
            under.entry(key).or_default().insert(id.clone());
        }
        for wildcard in names.iter().filter(|name| name.is_wildcard()) {
            let wild = self.wild.entry(scope.clone()).or_default();
            wild.entry(wildcard.clone()).or_default().insert((rank.clone(), id.clone()));
        }
        self.members.insert(id.clone(), Member { scope, names: names.clone(), rank });
        self.evaluate(id, &mut changed);
        if !self.cover.contains_key(id) {
            self.spread(id, &mut changed);
        }
        changed
    }

    /// Returns whose cover is another than before, with the covers of before and now.
    pub(super) fn remove(&mut self, id: &Id) -> BTreeSet<Id> {
        let mut changed = BTreeSet::new();
        let Some(member) = self.members.remove(id) else { return changed };
        for key in keys(&member.names) {
            drop_from(&mut self.under, &member.scope, &key, id);
        }
        for wildcard in member.names.iter().filter(|name| name.is_wildcard()) {
            drop_from(&mut self.wild, &member.scope, wildcard, &(member.rank.clone(), id.clone()));
        }
        self.set_cover(id, None, &mut changed);
        changed.remove(id);
        let orphans = self.covered.remove(id).unwrap_or_default();
        let mut orphans: Vec<(Rank, Id)> = orphans
            .into_iter()
            .filter_map(|orphan| Some((self.members.get(&orphan)?.rank.clone(), orphan)))
            .collect();
        orphans.sort();
        for (_, orphan) in &orphans {
            self.cover.remove(orphan);
            changed.insert(orphan.clone());
        }
        for (_, orphan) in orphans {
            self.evaluate(&orphan, &mut changed);
            if !self.cover.contains_key(&orphan) {
                self.spread(&orphan, &mut changed);
            }
        }
        changed
    }

    /// Finds the cover of one anew.
    fn evaluate(&mut self, id: &Id, changed: &mut BTreeSet<Id>) {
        let best = self.best_for(id);
        self.put_under(id, best, changed);
    }

    /// Whoever is covered covers nobody.
    fn put_under(&mut self, id: &Id, cover: Option<Id>, changed: &mut BTreeSet<Id>) {
        let is_had = cover.is_none();
        self.set_cover(id, cover, changed);
        if !is_had {
            for orphan in self.covered.get(id).cloned().unwrap_or_default() {
                self.evaluate(&orphan, changed);
            }
        }
    }

    fn best_for(&self, id: &Id) -> Option<Id> {
        let member = self.members.get(id)?;
        let wild = self.wild.get(&member.scope)?;
        // Whoever dominates has every key: the rarest one is enough to look through.
        let candidates: Option<Vec<_>> = keys(&member.names).map(|key| wild.get(&key)).collect();
        let candidates = candidates?.into_iter().min_by_key(|those| those.len())?;
        let had = candidates.iter().filter(|(_, one)| !self.cover.contains_key(one));
        had.map(|(_, one)| one).find(|one| self.dominates(one, id)).cloned()
    }

    /// `id` is had: it may be a better cover for those below it.
    fn spread(&mut self, id: &Id, changed: &mut BTreeSet<Id>) {
        for other in self.below(id) {
            if !self.dominates(id, &other) {
                continue;
            }
            let better = match self.cover.get(&other) {
                None => true,
                // Its cover went under, to `id` or to one that `id` went before.
                Some(now) if self.cover.contains_key(now) => {
                    self.evaluate(&other, changed);
                    continue;
                }
                Some(now) => self.rank(id) < self.rank(now),
            };
            if better {
                self.put_under(&other, Some(id.clone()), changed);
            }
        }
    }

    fn below(&self, id: &Id) -> BTreeSet<Id> {
        let Some(member) = self.members.get(id) else { return BTreeSet::new() };
        let Some(under) = self.under.get(&member.scope) else { return BTreeSet::new() };
        let wildcards = member.names.iter().filter(|name| name.is_wildcard());
        let those = wildcards.filter_map(|wildcard| under.get(wildcard)).flatten();
        those.filter(|other| *other != id).cloned().collect()
    }

    fn dominates(&self, one: &Id, other: &Id) -> bool {
        let (Some(a), Some(b)) = (self.members.get(one), self.members.get(other)) else {
            return false;
        };
        one != other
            && covers(&a.names, &b.names)
            && (!covers(&b.names, &a.names) || a.rank < b.rank)
    }

    fn rank(&self, id: &Id) -> Option<&Rank> {
        self.members.get(id).map(|member| &member.rank)
    }

    fn set_cover(&mut self, id: &Id, cover: Option<Id>, changed: &mut BTreeSet<Id>) {
        let before = self.cover.get(id).cloned();
        if before == cover {
            return;
        }
        if let Some(before) = before {
            if let Some(covered) = self.covered.get_mut(&before) {
                covered.remove(id);
                if covered.is_empty() {
                    self.covered.remove(&before);
                }
            }
            changed.insert(before);
        }
        changed.extend(cover.clone());
        match cover {
            Some(cover) => {
                self.covered.entry(cover.clone()).or_default().insert(id.clone());
                self.cover.insert(id.clone(), cover);
            }
            None => drop(self.cover.remove(id)),
        }
        changed.insert(id.clone());
    }
}

/// The wildcards that a certificate must have to cover each of `names`; a name without a dot has
/// none, and stands for itself.
fn keys(names: &Names) -> impl Iterator<Item = Name> {
    names.iter().map(key)
}

fn key(name: &Name) -> Name {
    name.wildcard_above().and_then(|text| Name::parse(&text).ok()).unwrap_or_else(|| name.clone())
}

/// Whether the wildcards of `these` cover each of `those`.
fn covers(these: &Names, others: &Names) -> bool {
    let wildcards: Vec<&Name> = these.iter().filter(|name| name.is_wildcard()).collect();
    others.iter().all(|name| wildcards.iter().any(|wildcard| wildcard.covers(name)))
}

fn drop_from<T: Ord>(
    all: &mut BTreeMap<Scope, BTreeMap<Name, BTreeSet<T>>>,
    scope: &Scope,
    key: &Name,
    item: &T,
) {
    let Some(map) = all.get_mut(scope) else { return };
    if let Some(set) = map.get_mut(key) {
        set.remove(item);
        if set.is_empty() {
            map.remove(key);
        }
    }
    if map.is_empty() {
        all.remove(scope);
    }
}

#[cfg(test)]
mod tests;
