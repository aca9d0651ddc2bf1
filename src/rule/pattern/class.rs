//! Sets of characters: those with a name, and those made of ranges.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind};

const LAST: u32 = 0x0010_ffff;

/// Code points, surrogates among them as in Go, where they take part in ranges and match nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Set(Vec<(u32, u32)>);

impl Set {
    pub(super) fn of(ranges: &[(u32, u32)]) -> Self {
        Self(ranges.to_vec())
    }

    /// `ends` are first and last characters in turn.
    fn spans(ends: &str) -> Self {
        let ends: Vec<u32> = ends.chars().map(u32::from).collect();
        Self(ends.as_chunks().0.iter().map(|&[low, high]| (low, high)).collect())
    }

    /// How much it counts against the bound on the whole expression.
    pub(super) fn size(&self) -> usize {
        self.0.len()
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// Sorted, without overlaps.
    fn tidy(&mut self) {
        self.0.sort_unstable();
        let mut tidy: Vec<(u32, u32)> = Vec::with_capacity(self.0.len());
        for (low, high) in self.0.drain(..) {
            match tidy.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => tidy.push((low, high)),
            }
        }
        self.0 = tidy;
    }

    pub(super) fn negate(mut self) -> Self {
        self.tidy();
        let mut rest = Vec::with_capacity(self.0.len() + 1);
        let mut next = 0;
        for (low, high) in self.0 {
            if low > next {
                rest.push((next, low - 1));
            }
            next = high + 1;
        }
        if next <= LAST {
            rest.push((next, LAST));
        }
        Self(rest)
    }

    /// With everything that differs only in case (simple folding, Unicode's `CaseFolding.txt`).
    pub(super) fn fold(mut self) -> Self {
        let mut class = self.class();
        class.case_fold_simple();
        self.add(&Self::from(&class));
        self.tidy();
        self
    }

    fn class(&self) -> ClassUnicode {
        let without_surrogates = self
            .0
            .iter()
            .flat_map(|&(low, high)| [(low, high.min(0xd7ff)), (low.max(0xe000), high)]);
        ClassUnicode::new(without_surrogates.filter_map(|(low, high)| {
            let (low, high) = (char::from_u32(low)?, char::from_u32(high)?);
            (low <= high).then(|| ClassUnicodeRange::new(low, high))
        }))
    }

    pub(super) fn tree(&self) -> Hir {
        Hir::class(Class::Unicode(self.class()))
    }
}

impl From<&ClassUnicode> for Set {
    fn from(class: &ClassUnicode) -> Self {
        Self(class.iter().map(|range| (range.start().into(), range.end().into())).collect())
    }
}

const DIGIT: &str = "09";
const WORD: &str = "09AZ__az";

/// `\d`, `\s`, `\w`: ASCII only, and `\s` is without the vertical tab that `[:space:]` has.
pub(super) fn letter(letter: char) -> Option<Set> {
    Some(Set::spans(match letter.to_ascii_lowercase() {
        'd' => DIGIT,
        's' => "\t\n\x0c\r  ",
        'w' => WORD,
        _ => return None,
    }))
}

/// The name inside `[:…:]`, without its `^`.
pub(super) fn posix(name: &str) -> Option<Set> {
    Some(Set::spans(match name {
        "alnum" => "09AZaz",
        "alpha" => "AZaz",
        "ascii" => "\0\x7f",
        "blank" => "\t\t  ",
        "cntrl" => "\0\x1f\x7f\x7f",
        "digit" => DIGIT,
        "graph" => "!~",
        "lower" => "az",
        "print" => " ~",
        "punct" => "!/:@[`{~",
        "space" => "\t\r  ",
        "upper" => "AZ",
        "word" => WORD,
        "xdigit" => "09AFaf",
        _ => return None,
    }))
}

/// A general category of Unicode by any of its names, or a script by its whole name, if Go knows
/// it; properties of other kinds it does not know.
pub(super) fn unicode(name: &str) -> Option<Set> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' ');
    if name.len() > 64 || !name.chars().all(plain) {
        return None;
    }
    let bare: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let bare = bare.to_ascii_lowercase();
    if matches!(bare.as_str(), "cs" | "surrogate") {
        return Some(Set::of(&[(0xd800, 0xdfff)]));
    }
    let kind = if SCRIPTS.split(' ').any(|script| script == bare) { "sc" } else { "gc" };
    let tree = regex_syntax::parse(&format!(r"\p{{{kind}={bare}}}")).ok()?;
    match tree.kind() {
        HirKind::Class(Class::Unicode(class)) => Some(Set::from(class)),
        // A set of one.
        HirKind::Literal(literal) => std::str::from_utf8(&literal.0)
            .ok()
            .map(|text| Set::of(&text.chars().map(|c| (c.into(), c.into())).collect::<Vec<_>>())),
        _ => None,
    }
}

/// Go loses those of two words: it strips the `_` from what it looks for, not from what it has.
const SCRIPTS: &str = "adlam ahom arabic armenian avestan balinese bamum batak bengali bhaiksuki bopomofo brahmi \
    braille buginese buhid carian chakma cham cherokee chorasmian common coptic cuneiform \
    cypriot cyrillic deseret devanagari dogra duployan elbasan elymaic ethiopic georgian \
    glagolitic gothic grantha greek gujarati gurmukhi han hangul hanunoo hatran hebrew \
    hiragana inherited javanese kaithi kannada katakana kawi kharoshthi khmer khojki khudawadi \
    lao latin lepcha limbu lisu lycian lydian mahajani makasar malayalam mandaic manichaean \
    marchen medefaidrin miao modi mongolian mro multani myanmar nabataean nandinagari newa nko \
    nushu ogham oriya osage osmanya palmyrene phoenician rejang runic samaritan saurashtra \
    sharada shavian siddham sinhala sogdian soyombo sundanese syriac tagalog tagbanwa takri \
    tamil tangsa tangut telugu thaana thai tibetan tifinagh tirhuta toto ugaritic vai vithkuqi \
    wancho yezidi yi";
