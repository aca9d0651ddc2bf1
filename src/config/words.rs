//! Flags and variables → tree: one path and one text at a time.

use std::collections::BTreeMap;

use crate::config::Problem;
use crate::config::near::{fold, nearest};
use crate::config::schema;
use crate::config::schema::{Shape, Step};
use crate::config::tree::{Entry, Node, Place, Value, shorten};
use crate::config::value::boolean;
use crate::config::walk::Walk;

/// More than any key has; the tree is walked by recursion.
const MAX_STEPS: usize = 32;

/// What was set, before it is known which of it is a map.
#[derive(Default)]
pub(super) struct Words {
    root: Branch,
}

#[derive(Default)]
struct Branch {
    text: Option<(Place, String)>,
    /// By folded name; as written.
    keys: BTreeMap<String, (String, Self)>,
    items: BTreeMap<usize, Self>,
}

impl Words {
    /// Sets what stands at `steps`. A list grows, anything else is replaced.
    pub(super) fn set(&mut self, steps: &[Step], text: &str, place: Place) -> Result<(), String> {
        let mut branch = &mut self.root;
        for (depth, step) in steps.iter().enumerate() {
            branch = match step {
                Step::Key(name) => {
                    let (spelling, inner) = branch.key(name);
                    let outer = schema::shape(steps.get(..depth).unwrap_or_default());
                    if spelling != name && matches!(outer, Some(Shape::Named(_))) {
                        let (name, other) = (shorten(name), shorten(spelling));
                        return Err(format!("`{name}` differs only in case from `{other}`"));
                    }
                    inner
                }
                Step::Index(n) => branch.items.entry(*n).or_default(),
            };
        }
        let grows = matches!(schema::shape(steps), Some(Shape::Texts));
        match &mut branch.text {
            Some((_, before)) if grows => {
                before.push(',');
                before.push_str(text);
            }
            _ => branch.text = Some((place, text.to_owned())),
        }
        Ok(())
    }

    /// `None`: nothing was set.
    pub(super) fn tree(self, source: &str, walk: &mut Walk) -> Option<Node> {
        if self.root.keys.is_empty() {
            return None;
        }
        Some(self.root.node(&mut Vec::new(), &Place::whole(source), walk))
    }
}

/// Puts a path together, or says what is wrong with it.
pub(super) fn checked(steps: Vec<Step>, shown: &str) -> Result<Vec<Step>, String> {
    if steps.len() > MAX_STEPS {
        return Err("is too deep".to_owned());
    }
    let Some(Step::Key(first)) = steps.first() else { return Err("names no key".to_owned()) };
    if schema::shape(steps.get(..1).unwrap_or_default()).is_some() {
        return Ok(steps);
    }
    let near = nearest(first, schema::ROOT.iter().map(|field| field.key));
    let advice = near.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default();
    Err(format!("`{}` in {shown} is no key of Traefik or routecert{advice}", shorten(first)))
}

impl Branch {
    /// The first spelling of a name is the one that counts.
    fn key(&mut self, name: &str) -> (&str, &mut Self) {
        let known = self.keys.entry(fold(name));
        let (spelling, branch) = known.or_insert_with(|| (name.to_owned(), Self::default()));
        (spelling, branch)
    }

    fn first_place(&self) -> Option<&Place> {
        let own = self.text.as_ref().map(|(place, _)| place);
        own.or_else(|| self.keys.values().find_map(|(_, branch)| branch.first_place()))
            .or_else(|| self.items.values().find_map(Self::first_place))
    }

    fn node(self, path: &mut Vec<Step>, whole: &Place, walk: &mut Walk) -> Node {
        let place = self.first_place().unwrap_or(whole).clone();
        if self.keys.is_empty() && self.items.is_empty() {
            let value = self.text.map_or(Value::Null, |(_, text)| Value::Scalar(text));
            return Node { place, value };
        }
        if let Some((place, text)) = self.text {
            if boolean(&text) == Ok(false) {
                // As in Traefik: off, whatever stands below.
                return Node { place, value: Value::Scalar(text) };
            }
            if !matches!(schema::shape(path), Some(Shape::Anything | Shape::Switch(_))) {
                let message = "says nothing beside the settings below it; remove it";
                walk.warnings.push(Problem::at(&place, "", message));
            }
        }
        if self.keys.is_empty() {
            return Node { value: items(self.items, path, &place, walk), place };
        }
        let mut entries = Vec::new();
        for (key, branch) in self.keys.into_values() {
            path.push(Step::Key(key.clone()));
            let node = branch.node(path, whole, walk);
            path.pop();
            entries.push(Entry { key, place: node.place.clone(), node, merged: false });
        }
        Node { place, value: Value::Map(entries) }
    }
}

fn items(
    items: BTreeMap<usize, Branch>,
    path: &mut Vec<Step>,
    place: &Place,
    walk: &mut Walk,
) -> Value {
    if matches!(schema::shape(path), Some(Shape::Texts)) {
        let message = "Traefik takes no index here and leaves the list empty; \
                       write the values with commas between them";
        walk.warnings.push(Problem::at(place, "", message));
    } else if items.keys().enumerate().any(|(nth, index)| nth != *index) {
        let message = "the indexes of this list are not 0, 1, 2, …; it is taken in their order";
        walk.warnings.push(Problem::at(place, "", message));
    }
    let mut nodes = Vec::new();
    for (index, branch) in items {
        path.push(Step::Index(index));
        nodes.push(branch.node(path, place, walk));
        path.pop();
    }
    Value::List(nodes)
}
