//! Which objects a watch has told of: names only, since there may be a hundred thousand of them.

use std::collections::BTreeMap;

/// One set serves both what was known before and what the present list has shown: each name bears
/// the number of the list in which it was seen last.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// `namespace/name`, the namespace empty for an object of the cluster.
    names: BTreeMap<Box<str>, u32>,
    list: u32,
    /// Used again for every look-up.
    name: String,
}

impl Known {
    /// A list begins.
    pub(super) fn begin(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    /// Told, by the list or after it.
    pub(super) fn put(&mut self, namespace: &str, name: &str) {
        self.spell(namespace, name);
        match self.names.get_mut(self.name.as_str()) {
            Some(seen) => *seen = self.list,
            None => {
                self.names.insert(self.name.as_str().into(), self.list);
            }
        }
    }

    pub(super) fn remove(&mut self, namespace: &str, name: &str) {
        self.spell(namespace, name);
        self.names.remove(self.name.as_str());
    }

    /// The list is complete: what it has not shown is forgotten, and returned.
    pub(super) fn finish(&mut self) -> Vec<(String, String)> {
        let mut gone = Vec::new();
        let list = self.list;
        self.names.retain(|name, seen| {
            if *seen != list
                && let Some((namespace, name)) = name.split_once('/')
            {
                gone.push((namespace.to_owned(), name.to_owned()));
            }
            *seen == list
        });
        gone
    }

    fn spell(&mut self, namespace: &str, name: &str) {
        self.name.clear();
        self.name.push_str(namespace);
        self.name.push('/');
        self.name.push_str(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(namespace: &str, name: &str) -> (String, String) {
        (namespace.to_owned(), name.to_owned())
    }

    #[test]
    fn what_a_complete_list_does_not_show_is_gone_once() {
        let mut known = Known::default();
        known.begin();
        known.put("a", "one");
        known.put("a", "two");
        assert_eq!(known.finish(), []);
        known.put("b", "one");
        known.begin();
        known.put("a", "two");
        assert_eq!(known.finish(), [pair("a", "one"), pair("b", "one")]);
        known.begin();
        known.put("a", "two");
        assert_eq!(known.finish(), []);
    }

    #[test]
    fn a_list_that_broke_off_shows_nothing_and_hides_nothing() {
        let mut known = Known::default();
        known.begin();
        known.put("", "old");
        assert_eq!(known.finish(), []);
        known.begin();
        known.put("", "old");
        known.put("", "new");
        known.begin();
        known.put("", "last");
        assert_eq!(known.finish(), [pair("", "new"), pair("", "old")]);
    }

    #[test]
    fn what_was_deleted_is_not_gone_again() {
        let mut known = Known::default();
        known.begin();
        known.put("a", "one");
        known.finish();
        known.remove("a", "one");
        known.begin();
        assert_eq!(known.finish(), []);
    }
}
