//! Tokens → tree, by recursive descent with a bounded depth.

use crate::rule::matcher::{Language, Matcher};
use crate::rule::pattern::Budget;
use crate::rule::scan::{Scanner, Token};
use crate::rule::{Fault, Node};

/// Far above what people write, far below what would hurt.
const MAX_BYTES: usize = 64 * 1024;
/// Parentheses and negations inside one another.
const MAX_DEPTH: usize = 100;

/// Whether an even or an odd number of negations stands around.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Minus,
    Plus,
}

impl Sign {
    fn flip(self) -> Self {
        match self {
            Self::Minus => Self::Plus,
            Self::Plus => Self::Minus,
        }
    }
}

pub(super) fn rule(text: &str, language: Language) -> Result<Node, Fault> {
    if text.len() > MAX_BYTES {
        return Err(Fault::new(0, "the rule is longer than 64 KiB"));
    }
    let mut scanner = Scanner::new(text);
    let first = scanner.next()?;
    if first.1 == Token::End {
        return Err(Fault::new(0, "the rule is empty; expected for example Host(`example.com`)"));
    }
    let mut parser = Parser { scanner, ahead: first, language, budget: Budget::new(), depth: 0 };
    let root = parser.or(Sign::Plus)?;
    parser.end()?;
    Ok(root)
}

struct Parser<'t> {
    scanner: Scanner<'t>,
    ahead: (usize, Token),
    language: Language,
    budget: Budget,
    depth: usize,
}

impl Parser<'_> {
    fn advance(&mut self) -> Result<(usize, Token), Fault> {
        let next = self.scanner.next()?;
        Ok(std::mem::replace(&mut self.ahead, next))
    }

    fn at(&self, token: &Token) -> bool {
        self.ahead.1 == *token
    }

    fn fault(&self, expected: &str) -> Fault {
        let (at, found) = &self.ahead;
        let advice = match found {
            Token::LineEnd => {
                "; end the line with the operator, keep `)` on the line of its operand"
            }
            Token::Name(word) if word.eq_ignore_ascii_case("and") => "; the operator is `&&`",
            Token::Name(word) if word.eq_ignore_ascii_case("or") => "; the operator is `||`",
            Token::Name(word) if word.eq_ignore_ascii_case("not") => "; the operator is `!`",
            _ => "",
        };
        Fault::new(*at, format!("expected {expected} but found {}{advice}", found.describe()))
    }

    /// One line break may end the rule, and only blanks and comments may follow it.
    fn end(&mut self) -> Result<(), Fault> {
        if self.at(&Token::End) {
            return Ok(());
        }
        let broken = self.fault("`&&`, `||` or the end of the rule");
        if !self.at(&Token::LineEnd) {
            return Err(broken);
        }
        self.advance()?;
        if self.at(&Token::End) { Ok(()) } else { Err(broken) }
    }

    fn or(&mut self, sign: Sign) -> Result<Node, Fault> {
        let mut parts = vec![self.and(sign)?];
        while self.at(&Token::Or) {
            self.advance()?;
            parts.push(self.and(sign)?);
        }
        Ok(join(parts, if sign == Sign::Plus { Node::Any } else { Node::All }))
    }

    fn and(&mut self, sign: Sign) -> Result<Node, Fault> {
        let mut parts = vec![self.unary(sign)?];
        while self.at(&Token::And) {
            self.advance()?;
            parts.push(self.unary(sign)?);
        }
        Ok(join(parts, if sign == Sign::Plus { Node::All } else { Node::Any }))
    }

    fn unary(&mut self, sign: Sign) -> Result<Node, Fault> {
        match self.ahead.1 {
            Token::Not => self.nested(|parser| {
                parser.advance()?;
                parser.unary(sign.flip())
            }),
            Token::Open => self.nested(|parser| {
                parser.advance()?;
                let inside = parser.or(sign)?;
                parser.close("`&&`, `||` or `)`")?;
                Ok(inside)
            }),
            Token::Name(_) => self.call(sign),
            _ => Err(self.fault("a matcher, `!` or `(`")),
        }
    }

    fn nested(
        &mut self,
        inside: impl FnOnce(&mut Self) -> Result<Node, Fault>,
    ) -> Result<Node, Fault> {
        if self.depth == MAX_DEPTH {
            return Err(Fault::new(self.ahead.0, "nested deeper than 100 levels"));
        }
        self.depth += 1;
        let node = inside(self)?;
        self.depth -= 1;
        Ok(node)
    }

    fn close(&mut self, expected: &str) -> Result<(), Fault> {
        if !self.at(&Token::Close) {
            return Err(self.fault(expected));
        }
        self.advance().map(drop)
    }

    fn call(&mut self, sign: Sign) -> Result<Node, Fault> {
        let (at, token) = self.advance()?;
        let Token::Name(name) = token else { return Err(self.fault("a matcher")) };
        if !self.at(&Token::Open) {
            return Err(self.fault("`(` behind the name of the matcher"));
        }
        self.advance()?;
        let values = self.arguments()?;
        let matcher = Matcher::new(self.language, &name, values, &mut self.budget)
            .map_err(|message| Fault::new(at, message))?;
        Ok(Node::Leaf { matcher, negated: sign == Sign::Minus })
    }

    /// What stands between the parentheses, as Go reads it: a last comma and `...` are no error.
    fn arguments(&mut self) -> Result<Vec<String>, Fault> {
        let mut values = Vec::new();
        while !self.at(&Token::Close) {
            if !matches!(self.ahead.1, Token::Text(_)) {
                return Err(self.fault("a string such as `example.com`, or `)`"));
            }
            if let (_, Token::Text(value)) = self.advance()? {
                values.push(value);
            }
            let last = self.at(&Token::Ellipsis);
            if last {
                self.advance()?;
            }
            let comma = self.at(&Token::Comma);
            if comma {
                self.advance()?;
            }
            if last || !comma {
                break;
            }
        }
        self.close("`,` or `)`")?;
        Ok(values)
    }
}

fn join(mut parts: Vec<Node>, many: fn(Vec<Node>) -> Node) -> Node {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            many(parts)
        }
        None => many(parts),
    }
}
