//! What stands behind a backslash.

use crate::rule::Fault;
use crate::rule::pattern::class;
use crate::rule::pattern::class::Set;
use crate::rule::pattern::parse::Parser;

impl Parser<'_> {
    /// `\d`, `\pL`, `\p{Greek}` and their opposites, if one stands here.
    pub(super) fn escaped_set(&mut self) -> Result<Option<Set>, Fault> {
        let start = self.at();
        let mut rest = self.rest().chars();
        let (Some('\\'), Some(letter)) = (rest.next(), rest.next()) else { return Ok(None) };
        let (set, opposite) = if let Some(set) = class::letter(letter) {
            self.skip(2);
            (set, letter.is_ascii_uppercase())
        } else if matches!(letter, 'p' | 'P') {
            self.skip(2);
            let name = self.property_name(start)?;
            let bare = name.strip_prefix('^').unwrap_or(name);
            let set = class::unicode(bare).ok_or_else(|| {
                Fault::new(start, "no general category and no script of Unicode has this name")
            })?;
            (set, (letter == 'P') != name.starts_with('^'))
        } else {
            return Ok(None);
        };
        let set = self.folded(set);
        Ok(Some(if opposite { set.negate() } else { set }))
    }

    fn property_name(&mut self, start: usize) -> Result<&str, Fault> {
        let rest = self.rest();
        if let Some(inside) = rest.strip_prefix('{') {
            let end = inside.find('}').ok_or_else(|| Fault::new(start, "`\\p{` has no `}`"))?;
            self.skip(end + 2);
            return Ok(inside.get(..end).unwrap_or_default());
        }
        let length = rest.chars().next().map_or(0, char::len_utf8);
        self.skip(length);
        Ok(rest.get(..length).unwrap_or_default())
    }

    /// With both cases, if they make no difference here; any opposite is taken behind that.
    pub(super) fn folded(&self, set: Set) -> Set {
        if self.folds() { set.fold() } else { set }
    }

    /// One code point behind a backslash.
    pub(super) fn escaped_point(&mut self) -> Result<u32, Fault> {
        let start = self.at();
        self.skip(1);
        let wrong = || Fault::new(start, "no such escape; a backslash escapes only punctuation");
        let Some(c) = self.next() else {
            return Err(Fault::new(start, "a backslash ends the expression"));
        };
        match c {
            '1'..='7' if !self.rest().starts_with(|c: char| c.is_digit(8)) => Err(Fault::new(
                start,
                "back references are not possible in linear time, so not supported",
            )),
            '0'..='7' => Ok(self.octal(c)),
            'x' => self.hexadecimal().ok_or_else(wrong),
            'a' => Ok(7),
            'f' => Ok(12),
            'n' => Ok(10),
            'r' => Ok(13),
            't' => Ok(9),
            'v' => Ok(11),
            _ if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(c.into()),
            _ => Err(wrong()),
        }
    }

    /// Up to three digits, `first` among them.
    fn octal(&mut self, first: char) -> u32 {
        let mut value = first.to_digit(8).unwrap_or_default();
        for _ in 1..3 {
            let Some(digit) = self.rest().chars().next().and_then(|c| c.to_digit(8)) else { break };
            self.skip(1);
            value = value * 8 + digit;
        }
        value
    }

    fn hexadecimal(&mut self) -> Option<u32> {
        let first = self.next()?;
        if first != '{' {
            let second = self.next()?;
            return Some(first.to_digit(16)? * 16 + second.to_digit(16)?);
        }
        let mut value = None;
        loop {
            match self.next()? {
                '}' => return value,
                c => {
                    let longer = value.unwrap_or(0) * 16 + c.to_digit(16)?;
                    if longer > u32::from(char::MAX) {
                        return None;
                    }
                    value = Some(longer);
                }
            }
        }
    }
}
