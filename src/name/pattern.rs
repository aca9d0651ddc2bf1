//! Which names somebody may have: one, all below one, or all.

use std::fmt;

use crate::name::{Name, NameError};

/// `example.com` is that name alone; `*.example.com` is every name below it at any depth, and the
/// wildcards below it; `*` is everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainPattern {
    All,
    Below(Name),
    One(Name),
}

impl DomainPattern {
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let trimmed = text.trim();
        if trimmed == "*" {
            return Ok(Self::All);
        }
        let name = Name::parse(trimmed)?;
        Ok(if name.is_wildcard() { Self::Below(name.without_wildcard()) } else { Self::One(name) })
    }

    pub fn allows(&self, name: &Name) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => name == one,
            Self::Below(base) => {
                let host = name.without_wildcard();
                let above = host.as_str().strip_suffix(base.as_str());
                above.is_some_and(|above| {
                    above.ends_with('.') || (above.is_empty() && name.is_wildcard())
                })
            }
        }
    }
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Below(name) => write!(f, "*.{name}"),
            Self::One(name) => write!(f, "{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::name::{DomainPattern, Name};

    #[track_caller]
    fn check(pattern: &str, allowed: &[&str], refused: &[&str]) {
        let parsed = DomainPattern::parse(pattern).unwrap();
        let allows = |text: &&str| parsed.allows(&Name::parse(text).unwrap());
        assert!(allowed.iter().all(allows) && !refused.iter().any(allows), "{pattern}");
    }

    #[test]
    fn a_pattern_is_one_name_all_below_one_or_all() {
        check("Example.com", &["example.com"], &["a.example.com", "*.example.com", "xexample.com"]);
        check(
            "*.example.com",
            &["a.example.com", "a.b.example.com", "*.example.com", "*.b.example.com"],
            &["example.com", "xexample.com", "*.com", "example.com.evil"],
        );
        check("*", &["a", "*.b", "a.b.c"], &[]);
        assert!(DomainPattern::parse("a.*.b").is_err() && DomainPattern::parse("").is_err());
        assert_eq!(DomainPattern::parse("*.B.example").unwrap().to_string(), "*.b.example");
    }
}
