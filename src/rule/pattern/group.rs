//! What stands between parentheses, and what repeats.

use regex_syntax::hir::{Hir, Repetition};

use crate::rule::Fault;
use crate::rule::pattern::parse::Parser;

/// How often counted repetitions inside one another may repeat what is innermost (Go's own bound).
const MOST_REPEATS: u32 = 1000;
/// Groups and repetitions inside one another; Go allows 1000 on a stack that grows.
const MAX_DEPTH: usize = 200;

pub(super) const FOLD: u8 = 1;
pub(super) const LINES: u8 = 2;
pub(super) const DOT_ALL: u8 = 4;

/// A piece of the expression that a repetition can apply to.
#[derive(Debug)]
pub(super) struct Item {
    tree: Hir,
    /// The largest product of counted repetitions inside one another.
    repeats: u32,
    depth: usize,
}

impl Item {
    pub(super) fn new(tree: Hir) -> Self {
        Self { tree, repeats: 1, depth: 0 }
    }
}

/// An open group: the branches before the last `|`, and the pieces behind it.
#[derive(Debug, Default)]
pub(super) struct Group {
    branches: Vec<Item>,
    items: Vec<Item>,
    /// The flags in front of it, which hold again behind it.
    flags: u8,
}

impl Group {
    pub(super) fn new(flags: u8) -> Self {
        Self { flags, ..Self::default() }
    }

    pub(super) fn push(&mut self, item: Item) {
        self.items.push(item);
    }

    pub(super) fn branch(&mut self) {
        let items = std::mem::take(&mut self.items);
        self.branches.push(join(items, Hir::concat));
    }

    pub(super) fn flags(&self) -> u8 {
        self.flags
    }

    /// The whole group as one piece.
    pub(super) fn close(mut self) -> Item {
        self.branch();
        let mut item = join(self.branches, Hir::alternation);
        item.depth += 1;
        item
    }

    pub(super) fn into_tree(self) -> Hir {
        self.close().tree
    }

    /// Repeats the last piece.
    fn repeat(&mut self, times: (u32, Option<u32>), at: usize) -> Result<(), Fault> {
        let Some(item) = self.items.pop() else {
            return Err(Fault::new(at, "nothing stands in front of the repetition"));
        };
        let (min, max) = times;
        let counted = max.unwrap_or(min).max(1);
        let repeats = if max == Some(0) { 1 } else { item.repeats.saturating_mul(counted) };
        if repeats > MOST_REPEATS {
            return Err(Fault::new(at, "repeats more than 1000 times in all"));
        }
        let depth = nested(item.depth + 1, at)?;
        let sub = Box::new(item.tree);
        let tree = Hir::repetition(Repetition { min, max, greedy: true, sub });
        self.items.push(Item { tree, repeats, depth });
        Ok(())
    }
}

pub(super) fn nested(depth: usize, at: usize) -> Result<usize, Fault> {
    if depth > MAX_DEPTH {
        return Err(Fault::new(at, "nested deeper than 200 levels"));
    }
    Ok(depth)
}

fn join(items: Vec<Item>, how: fn(Vec<Hir>) -> Hir) -> Item {
    let repeats = items.iter().map(|item| item.repeats).max().unwrap_or(1);
    let depth = items.iter().map(|item| item.depth).max().unwrap_or(0);
    Item { tree: how(items.into_iter().map(|item| item.tree).collect()), repeats, depth }
}

impl Parser<'_> {
    /// At `*`, `+` or `?`.
    pub(super) fn repeat_by_sign(&mut self, sign: char) -> Result<(), Fault> {
        let at = self.at();
        self.skip(1);
        self.repeat(
            at,
            match sign {
                '*' => (0, None),
                '+' => (1, None),
                _ => (0, Some(1)),
            },
        )
    }

    /// At `{`. `false` if it is no repetition: then it stands for itself.
    pub(super) fn repeat_by_count(&mut self) -> Result<bool, Fault> {
        let at = self.at();
        let inside = self.rest().get(1..).unwrap_or_default();
        let length = inside.find(|c: char| c != ',' && !c.is_ascii_digit());
        let Some(text) = length.and_then(|length| inside.get(..length)) else { return Ok(false) };
        if !inside.get(text.len()..).is_some_and(|rest| rest.starts_with('}')) {
            return Ok(false);
        }
        let (low, high) = text
            .split_once(',')
            .map_or((text, Some(text)), |(low, high)| (low, (!high.is_empty()).then_some(high)));
        let (Some(low), Some(high)) = (count(low), high.map_or(Some(None), |h| count(h).map(Some)))
        else {
            return Ok(false);
        };
        if low > MOST_REPEATS || high.is_some_and(|high| high > MOST_REPEATS || high < low) {
            return Err(Fault::new(at, "no right repetition: {least,most}, at most 1000"));
        }
        self.skip(text.len() + 2);
        self.repeat(at, (low, high))?;
        Ok(true)
    }

    fn repeat(&mut self, at: usize, times: (u32, Option<u32>)) -> Result<(), Fault> {
        if self.rest().starts_with('?') {
            // Which of several matches is found first makes no difference here.
            self.skip(1);
        }
        if self.is_behind_repetition() {
            return Err(Fault::new(at, "a repetition directly behind a repetition"));
        }
        self.group().repeat(times, at)
    }

    /// At `(?`.
    pub(super) fn special_group(&mut self) -> Result<(), Fault> {
        let at = self.at();
        self.skip(2);
        let rest = self.rest();
        if let Some(named) = rest.strip_prefix("P<") {
            return self.named_group(at, named, 2);
        }
        if let Some(named) = rest.strip_prefix('<') {
            return self.named_group(at, named, 1);
        }
        self.flags_or_group(at)
    }

    fn named_group(&mut self, at: usize, named: &str, skipped: usize) -> Result<(), Fault> {
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let name = named.split_once('>').map(|(name, _)| name);
        let Some(name) = name.filter(|name| !name.is_empty() && name.chars().all(letter)) else {
            return Err(Fault::new(at, "a group with no right name"));
        };
        self.skip(skipped + name.len() + 1);
        self.open(at)
    }

    /// `(?flags)` or `(?flags:`, where the flags behind a `-` are taken away.
    fn flags_or_group(&mut self, at: usize) -> Result<(), Fault> {
        let wrong = || Fault::new(at, "unknown kind of group; look-around is not supported");
        let mut flags = self.flags();
        let mut away = false;
        let mut seen = false;
        loop {
            let flag = match self.next().ok_or_else(wrong)? {
                'i' => FOLD,
                'm' => LINES,
                's' => DOT_ALL,
                'U' => 0,
                '-' if !away => {
                    (away, seen) = (true, false);
                    continue;
                }
                end @ (':' | ')') if !away || seen => {
                    if end == ':' {
                        self.open(at)?;
                    }
                    self.set_flags(flags);
                    return Ok(());
                }
                _ => return Err(wrong()),
            };
            seen = true;
            flags = if away { flags & !flag } else { flags | flag };
        }
    }
}

/// Digits without a leading zero, as a number; one that is too large is larger than any bound.
fn count(digits: &str) -> Option<u32> {
    let right = !digits.is_empty()
        && digits.chars().all(|c| c.is_ascii_digit())
        && (digits.len() == 1 || !digits.starts_with('0'));
    right.then(|| digits.parse().unwrap_or(u32::MAX))
}
