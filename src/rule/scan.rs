//! Text → tokens by the lexical rules of Go (Go specification, "Lexical elements").

use crate::rule::Fault;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    And,
    Close,
    Comma,
    Ellipsis,
    End,
    /// A line break where Go inserts a semicolon: behind an operand.
    LineEnd,
    Name(String),
    Not,
    Open,
    Or,
    Text(String),
}

impl Token {
    /// For "found …".
    pub(super) fn describe(&self) -> String {
        match self {
            Self::And => "`&&`".to_owned(),
            Self::Close => "`)`".to_owned(),
            Self::Comma => "`,`".to_owned(),
            Self::Ellipsis => "`...`".to_owned(),
            Self::End => "the end of the rule".to_owned(),
            Self::LineEnd => "a line break".to_owned(),
            Self::Name(name) => format!("`{}`", shorten(name)),
            Self::Not => "`!`".to_owned(),
            Self::Open => "`(`".to_owned(),
            Self::Or => "`||`".to_owned(),
            Self::Text(text) => format!("the string \"{}\"", shorten(text)),
        }
    }
}

/// A piece of the rule short and clean enough for an error message.
pub(super) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(60).filter(|c| !c.is_control()).collect();
    if text.chars().nth(60).is_some() {
        short.push('…');
    }
    short
}

#[derive(Debug)]
pub(super) struct Scanner<'t> {
    text: &'t str,
    at: usize,
    /// The last token ends an operand, so a line break now ends the expression.
    ends_operand: bool,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { text, at, ends_operand: false }
    }

    /// The next token and the byte offset where it begins.
    pub(super) fn next(&mut self) -> Result<(usize, Token), Fault> {
        if let Some(at) = self.skip_blank()? {
            self.ends_operand = false;
            return Ok((at, Token::LineEnd));
        }
        let start = self.at;
        let token = self.token(start)?;
        self.ends_operand = matches!(token, Token::Close | Token::Name(_) | Token::Text(_));
        Ok((start, token))
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, prefix: &str) -> bool {
        let found = self.rest().starts_with(prefix);
        if found {
            self.at += prefix.len();
        }
        found
    }

    /// Skips blanks and comments. `Some`: a line break on the way ended the operand before it.
    fn skip_blank(&mut self) -> Result<Option<usize>, Fault> {
        loop {
            let start = self.at;
            match self.rest().chars().next() {
                Some('\n') if self.ends_operand => {
                    self.at += 1;
                    return Ok(Some(start));
                }
                Some(' ' | '\t' | '\r' | '\n') => self.at += 1,
                Some('/') => {
                    if self.comment()? && self.ends_operand {
                        return Ok(Some(start));
                    }
                }
                _ => return Ok(None),
            }
        }
    }

    /// Skips one comment and says whether it held a line break (those count like bare ones).
    fn comment(&mut self) -> Result<bool, Fault> {
        let (start, rest) = (self.at, self.rest());
        if rest.starts_with("//") {
            self.at += rest.find('\n').unwrap_or(rest.len());
            return self.clean(start).map(|()| false);
        }
        let Some(body) = rest.strip_prefix("/*") else {
            return Err(Fault::new(start, "unexpected `/`; put a path into backquotes: `/path`"));
        };
        let length = body
            .find("*/")
            .ok_or_else(|| Fault::new(start, "the comment has no end; close it with `*/`"))?;
        self.at += length + "/**/".len();
        self.clean(start)?;
        Ok(body.get(..length).is_some_and(|inside| inside.contains('\n')))
    }

    /// Go's source text has no NUL, and a byte order mark only at its start.
    fn clean(&self, start: usize) -> Result<(), Fault> {
        let passed = self.text.get(start..self.at).unwrap_or_default();
        match passed.find(['\0', '\u{feff}']) {
            Some(at) => Err(illegal(start + at)),
            None => Ok(()),
        }
    }

    fn token(&mut self, start: usize) -> Result<Token, Fault> {
        let fixed = [
            ("&&", Token::And),
            ("||", Token::Or),
            ("...", Token::Ellipsis),
            ("(", Token::Open),
            (")", Token::Close),
            (",", Token::Comma),
        ];
        for (text, token) in fixed {
            if self.take(text) {
                return Ok(token);
            }
        }
        match self.rest().chars().next() {
            None => Ok(Token::End),
            Some('!') if !self.rest().starts_with("!=") => {
                self.at += 1;
                Ok(Token::Not)
            }
            Some('`') => self.raw(start),
            Some('"') => self.interpreted(start),
            Some(c) if c.is_alphabetic() || c == '_' => Ok(self.name()),
            Some(other) => Err(unexpected(start, other)),
        }
    }

    fn name(&mut self) -> Token {
        let rest = self.rest();
        let part = |c: char| c.is_alphanumeric() || c == '_';
        let length = rest.find(|c| !part(c)).unwrap_or(rest.len());
        self.at += length;
        Token::Name(rest.get(..length).unwrap_or_default().to_owned())
    }

    fn raw(&mut self, start: usize) -> Result<Token, Fault> {
        self.at += 1;
        let rest = self.rest();
        let length = rest
            .find('`')
            .ok_or_else(|| Fault::new(start, "the string has no end; close it with a backquote"))?;
        self.at += length + 1;
        self.clean(start)?;
        Ok(Token::Text(rest.get(..length).unwrap_or_default().replace('\r', "")))
    }

    fn interpreted(&mut self, start: usize) -> Result<Token, Fault> {
        self.at += 1;
        let mut bytes = Vec::new();
        let open = || Fault::new(start, "the string has no end on its line; close it with `\"`");
        loop {
            let c = self.rest().chars().next().ok_or_else(open)?;
            match c {
                '\n' => return Err(open()),
                '\0' | '\u{feff}' => return Err(illegal(self.at)),
                '\\' => self.escape(&mut bytes)?,
                _ => {
                    self.at += c.len_utf8();
                    if c == '"' {
                        break;
                    }
                    bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
                }
            }
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Token::Text(text)),
            Err(_) => Err(Fault::new(start, "the escapes in the string do not make valid UTF-8")),
        }
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), Fault> {
        let start = self.at;
        self.at += 1;
        let wrong = || {
            Fault::new(start, "unknown escape in the string; double the `\\`, or use backquotes")
        };
        let letter = self.rest().chars().next().ok_or_else(wrong)?;
        self.at += if letter.is_digit(8) { 0 } else { letter.len_utf8() };
        let plain = match letter {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' => b'\\',
            '"' => b'"',
            'x' => self.byte(2, 16).ok_or_else(wrong)?,
            '0'..='7' => self.byte(3, 8).ok_or_else(wrong)?,
            'u' | 'U' => {
                let count = if letter == 'u' { 4 } else { 8 };
                let code = self.digits(count, 16).ok_or_else(wrong)?;
                let c = char::from_u32(code).ok_or_else(wrong)?;
                bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
                return Ok(());
            }
            _ => return Err(wrong()),
        };
        bytes.push(plain);
        Ok(())
    }

    fn byte(&mut self, count: usize, radix: u32) -> Option<u8> {
        u8::try_from(self.digits(count, radix)?).ok()
    }

    fn digits(&mut self, count: usize, radix: u32) -> Option<u32> {
        let digits = self.rest().get(..count)?;
        if !digits.chars().all(|c| c.is_digit(radix)) {
            return None;
        }
        self.at += count;
        u32::from_str_radix(digits, radix).ok()
    }
}

fn illegal(at: usize) -> Fault {
    Fault::new(at, "a NUL or a byte order mark inside the rule; remove it")
}

fn unexpected(at: usize, found: char) -> Fault {
    let advice = match found {
        '\'' => "; strings stand in backquotes: `example.com`",
        '&' => "; the operator is `&&`",
        '|' => "; the operator is `||`",
        ';' => "; a rule is one expression",
        '‘' | '’' | '“' | '”' => "; use the plain backquote or `\"` around strings",
        _ => "",
    };
    Fault::new(at, format!("unexpected `{}`{advice}", found.escape_debug()))
}
