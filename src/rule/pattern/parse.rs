//! Text → tree by the rules of Go's `regexp/syntax` with its Perl flags.

use regex_syntax::hir::{Hir, Look};

use crate::rule::Fault;
use crate::rule::pattern::class;
use crate::rule::pattern::class::Set;
use crate::rule::pattern::group::{DOT_ALL, FOLD, Group, Item, LINES, nested};

/// Ranges of all character sets together; `\pL` alone has hundreds.
const MAX_RANGES: usize = 100_000;

pub(super) fn tree(text: &str) -> Result<Hir, Fault> {
    let mut parser = Parser {
        text,
        at: 0,
        flags: 0,
        outer: Vec::new(),
        group: Group::default(),
        behind_repetition: false,
        ranges: 0,
        last_named: text.rfind(":]"),
    };
    while let Some(c) = parser.rest().chars().next() {
        parser.behind_repetition = parser.step(c)?;
    }
    if !parser.outer.is_empty() {
        return Err(Fault::new(text.len(), "a group has no `)`"));
    }
    Ok(parser.group.into_tree())
}

#[derive(Debug)]
pub(super) struct Parser<'t> {
    text: &'t str,
    at: usize,
    flags: u8,
    /// The groups around the present one.
    outer: Vec<Group>,
    group: Group,
    /// What was read last is a repetition.
    behind_repetition: bool,
    ranges: usize,
    /// Where the last `:]` is: without one ahead, `[:` needs no search to the end.
    last_named: Option<usize>,
}

impl<'t> Parser<'t> {
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    pub(super) fn flags(&self) -> u8 {
        self.flags
    }

    pub(super) fn set_flags(&mut self, flags: u8) {
        self.flags = flags;
    }

    pub(super) fn folds(&self) -> bool {
        self.flags & FOLD != 0
    }

    pub(super) fn group(&mut self) -> &mut Group {
        &mut self.group
    }

    pub(super) fn is_behind_repetition(&self) -> bool {
        self.behind_repetition
    }

    pub(super) fn open(&mut self, at: usize) -> Result<(), Fault> {
        nested(self.outer.len() + 1, at)?;
        let group = Group::new(self.flags);
        self.outer.push(std::mem::replace(&mut self.group, group));
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        let Some(outer) = self.outer.pop() else {
            return Err(Fault::new(self.at, "a `)` without its `(`"));
        };
        self.skip(1);
        let closed = std::mem::replace(&mut self.group, outer);
        self.flags = closed.flags();
        self.group.push(closed.close());
        Ok(())
    }

    /// Reads one piece that begins with `c`, and says whether it was a repetition.
    fn step(&mut self, c: char) -> Result<bool, Fault> {
        match c {
            '*' | '+' | '?' => return self.repeat_by_sign(c).map(|()| true),
            '{' if self.repeat_by_count()? => return Ok(true),
            '(' if self.rest().starts_with("(?") => self.special_group()?,
            '(' => {
                let at = self.at;
                self.skip(1);
                self.open(at)?;
            }
            ')' => self.close()?,
            '|' => {
                self.skip(1);
                self.group.branch();
            }
            '^' if self.flags & LINES == 0 => self.look(1, Look::Start),
            '^' => self.look(1, Look::StartLF),
            '$' if self.flags & LINES == 0 => self.look(1, Look::End),
            '$' => self.look(1, Look::EndLF),
            '.' => self.dot()?,
            '[' => self.bracket()?,
            '\\' => self.escape()?,
            _ => {
                self.skip(c.len_utf8());
                self.literal(c.into())?;
            }
        }
        Ok(false)
    }

    fn look(&mut self, length: usize, look: Look) {
        self.skip(length);
        self.group.push(Item::new(Hir::look(look)));
    }

    fn dot(&mut self) -> Result<(), Fault> {
        self.skip(1);
        let newline: &[_] = if self.flags & DOT_ALL == 0 { &[(10, 10)] } else { &[] };
        self.set(&Set::of(newline).negate())
    }

    fn set(&mut self, set: &Set) -> Result<(), Fault> {
        self.count(set.size())?;
        self.group.push(Item::new(set.tree()));
        Ok(())
    }

    fn count(&mut self, ranges: usize) -> Result<(), Fault> {
        self.ranges += ranges;
        if self.ranges > MAX_RANGES {
            return Err(Fault::new(self.at, "the character sets are too large"));
        }
        Ok(())
    }

    fn literal(&mut self, point: u32) -> Result<(), Fault> {
        if let Some(c) = char::from_u32(point).filter(|_| !self.folds()) {
            let bytes = c.encode_utf8(&mut [0; 4]).as_bytes().to_vec();
            self.group.push(Item::new(Hir::literal(bytes)));
            return Ok(());
        }
        let set = self.folded(Set::of(&[(point, point)]));
        self.set(&set)
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let rest = self.rest();
        match rest.chars().nth(1) {
            Some('A') => self.look(2, Look::Start),
            Some('z') => self.look(2, Look::End),
            Some('b') => self.look(2, Look::WordAscii),
            Some('B') => self.look(2, Look::WordAsciiNegate),
            Some('Q') => return self.quoted(),
            _ => {
                if let Some(set) = self.escaped_set()? {
                    return self.set(&set);
                }
                let point = self.escaped_point()?;
                return self.literal(point);
            }
        }
        Ok(())
    }

    /// `\Q…\E`: everything between stands for itself.
    fn quoted(&mut self) -> Result<(), Fault> {
        self.skip(2);
        let rest = self.rest();
        let (text, ended) = rest.split_once("\\E").map_or((rest, 0), |(text, _)| (text, 2));
        for c in text.chars() {
            self.skip(c.len_utf8());
            self.literal(c.into())?;
        }
        self.skip(ended);
        Ok(())
    }

    /// `[…]`
    fn bracket(&mut self) -> Result<(), Fault> {
        let start = self.at;
        self.skip(1);
        let negated = self.rest().starts_with('^');
        self.skip(usize::from(negated));
        let mut whole = Set::default();
        let mut first = true;
        while first || !self.rest().starts_with(']') {
            first = false;
            let part = self.bracket_part(start)?;
            self.count(part.size())?;
            whole.add(&part);
        }
        self.skip(1);
        self.set(&if negated { whole.negate() } else { whole })
    }

    fn bracket_part(&mut self, start: usize) -> Result<Set, Fault> {
        if let Some(set) = self.named_set()? {
            return Ok(set);
        }
        if let Some(set) = self.escaped_set()? {
            return Ok(set);
        }
        let at = self.at;
        let low = self.bracket_point(start)?;
        let mut high = low;
        // A `-` in front of the `]` stands for itself.
        if self
            .rest()
            .strip_prefix('-')
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(']'))
        {
            self.skip(1);
            high = self.bracket_point(start)?;
        }
        if high < low {
            return Err(Fault::new(at, "the range ends before it begins"));
        }
        Ok(self.folded(Set::of(&[(low, high)])))
    }

    fn bracket_point(&mut self, start: usize) -> Result<u32, Fault> {
        if self.rest().starts_with('\\') {
            return self.escaped_point();
        }
        self.next().map(u32::from).ok_or_else(|| Fault::new(start, "a `[` without its `]`"))
    }

    /// `[:alpha:]` and `[:^alpha:]`, if one stands here.
    fn named_set(&mut self) -> Result<Option<Set>, Fault> {
        if self.last_named < Some(self.at) {
            return Ok(None);
        }
        let Some((name, _)) = self.rest().strip_prefix("[:").and_then(|rest| rest.split_once(":]"))
        else {
            return Ok(None);
        };
        let set = class::posix(name.strip_prefix('^').unwrap_or(name))
            .ok_or_else(|| Fault::new(self.at, "no set of characters has this name"))?;
        self.skip(name.len() + 4);
        let set = self.folded(set);
        Ok(Some(if name.starts_with('^') { set.negate() } else { set }))
    }
}
