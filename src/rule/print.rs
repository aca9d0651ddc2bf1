//! Tree → text that parses to the same tree.

use std::fmt;
use std::fmt::Write;

use crate::rule::{Matcher, Node, Rule};

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, operator, closer) = match self {
            Self::Leaf { matcher, negated } => {
                return write!(f, "{}{matcher}", if *negated { "!" } else { "" });
            }
            Self::All(parts) => (parts, " && ", false),
            Self::Any(parts) => (parts, " || ", true),
        };
        for (position, part) in parts.iter().enumerate() {
            if position > 0 {
                f.write_str(operator)?;
            }
            let bare =
                matches!(part, Self::Leaf { .. }) || (closer && matches!(part, Self::All(_)));
            if bare { part.fmt(f)? } else { write!(f, "({part})")? }
        }
        Ok(())
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name())?;
        for (position, value) in self.values().iter().enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            text(value, f)?;
        }
        f.write_char(')')
    }
}

/// In backquotes if that is possible.
fn text(value: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let raw = |c: char| (c == '\t' || !c.is_control()) && !matches!(c, '`' | '\u{feff}');
    if value.chars().all(raw) {
        return write!(f, "`{value}`");
    }
    f.write_char('"')?;
    for c in value.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            _ if c.is_control() || c == '\u{feff}' => write!(f, "\\u{:04x}", u32::from(c))?,
            _ => f.write_char(c)?,
        }
    }
    f.write_char('"')
}
