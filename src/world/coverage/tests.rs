//! The laws: whatever the order of coming and going, the result is that of the definition.

use proptest::prelude::*;

use super::*;

fn names(texts: &[&str]) -> Names {
    Names::new(texts.iter().map(|text| Name::parse(text).unwrap())).unwrap()
}

fn scope() -> Scope {
    ("shop".to_owned(), "le".to_owned())
}

fn id(names: &Names) -> Id {
    Id::of("shop", "le", names)
}

/// What the definition at the head of the module says, without any memory.
fn by_definition(all: &BTreeSet<Vec<&'static str>>) -> BTreeMap<Id, Id> {
    let sets: Vec<Names> = all.iter().map(|texts| names(texts)).collect();
    let rank = |one: &Names| (one.len(), one.sorted().into_iter().cloned().collect::<Vec<_>>());
    let dominates = |one: &Names, other: &Names| {
        !one.same_as(other)
            && covers(one, other)
            && (!covers(other, one) || rank(one) < rank(other))
    };
    let is_had = |one: &&Names| !sets.iter().any(|other| dominates(other, one));
    let mut found = BTreeMap::new();
    for one in sets.iter().filter(|one| !is_had(one)) {
        let those = sets.iter().filter(is_had).filter(|other| dominates(other, one));
        let first = those.min_by_key(|other| rank(other)).unwrap();
        found.insert(id(one), id(first));
    }
    found
}

const POOL: [&str; 9] =
    ["*.a.x", "*.b.x", "*.x", "a.x", "b.x", "one.a.x", "two.a.x", "one.b.x", "local"];

fn set() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(POOL.to_vec(), 1..4)
}

proptest! {
    #[test]
    fn any_history_gives_what_the_definition_says(
        steps in proptest::collection::vec((any::<bool>(), set()), 1..40),
    ) {
        let mut coverage = Coverage::default();
        let mut present = BTreeSet::new();
        for (comes, texts) in steps {
            let before = coverage.cover.clone();
            let set = names(&texts);
            let changed = if comes {
                if !present.insert(texts) {
                    continue;
                }
                coverage.add(&id(&set), scope(), &set)
            } else {
                present.remove(&texts);
                coverage.remove(&id(&set))
            };
            prop_assert_eq!(&coverage.cover, &by_definition(&present));
            for one in coverage.members.keys() {
                let differs = coverage.cover(one) != before.get(one);
                prop_assert!(!differs || changed.contains(one), "a change that was not told");
            }
        }
        for texts in present {
            coverage.remove(&id(&names(&texts)));
        }
        prop_assert!(coverage.wild.is_empty() && coverage.under.is_empty());
        prop_assert!(coverage.covered.is_empty() && coverage.members.is_empty());
    }
}

#[test]
fn other_scopes_have_nothing_to_do_with_it() {
    let mut coverage = Coverage::default();
    let (host, wild) = (names(&["one.a.x"]), names(&["*.a.x"]));
    coverage.add(&id(&host), scope(), &host);
    let elsewhere = ("other".to_owned(), "le".to_owned());
    assert!(coverage.add(&Id::of("other", "le", &wild), elsewhere, &wild).is_empty());
    assert_eq!(coverage.cover(&id(&host)), None);
}
