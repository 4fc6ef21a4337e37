//! The small part of regular expressions that `members -status` is used with.

use anyhow::{Result, bail};

/// Alternatives, each a row of pieces that must follow each other.
#[derive(Debug)]
pub(super) struct Pattern(Vec<Branch>);

#[derive(Debug)]
struct Branch {
    starts: bool,
    ends: bool,
    pieces: Vec<Piece>,
}

#[derive(Debug)]
struct Piece {
    /// `None` stands for any letter.
    letter: Option<char>,
    least: usize,
    many: bool,
}

impl Pattern {
    /// Reads letters, `.`, `*`, `+`, `?`, `^`, `$`, `|` and one pair of brackets around it all.
    ///
    /// # Errors.
    ///
    /// Names what is missing or not supported.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let open = text.matches('(').count();
        let close = text.matches(')').count();
        if open != close {
            bail!("error parsing regexp: missing closing ): `{text}`");
        }
        let (head, rest) = text.strip_prefix('^').map_or(("", text), |rest| ("^", rest));
        let (rest, tail) = rest.strip_suffix('$').map_or((rest, ""), |rest| (rest, "$"));
        let inner = rest.strip_prefix("(?:").or_else(|| rest.strip_prefix('('));
        let branches = match inner.and_then(|inner| inner.strip_suffix(')')) {
            Some(inner) => inner.split('|').map(|one| format!("{head}{one}{tail}")).collect(),
            None => text.split('|').map(str::to_owned).collect::<Vec<_>>(),
        };
        Ok(Self(branches.iter().map(|one| Branch::parse(one)).collect::<Result<_>>()?))
    }

    /// True if some part of `text` fits.
    pub(super) fn fits(&self, text: &str) -> bool {
        let letters: Vec<char> = text.chars().collect();
        self.0.iter().any(|branch| branch.fits(&letters))
    }
}

impl Branch {
    fn parse(text: &str) -> Result<Self> {
        let body = text.strip_prefix('^').unwrap_or(text);
        let (starts, inner) = (body.len() < text.len(), body.strip_suffix('$').unwrap_or(body));
        let mut pieces: Vec<Piece> = Vec::new();
        for letter in inner.chars() {
            match (letter, pieces.last_mut()) {
                ('*', Some(last)) => (last.least, last.many) = (0, true),
                ('+', Some(last)) => last.many = true,
                ('?', Some(last)) => last.least = 0,
                ('*' | '+' | '?', None) => {
                    bail!("error parsing regexp: missing argument to repetition operator")
                }
                ('.', _) => pieces.push(Piece { letter: None, least: 1, many: false }),
                ('(' | ')' | '[' | ']' | '{' | '}' | '\\' | '^' | '$', _) => {
                    bail!("{letter:?} is not supported in a pattern")
                }
                (letter, _) => pieces.push(Piece { letter: Some(letter), least: 1, many: false }),
            }
        }
        Ok(Self { starts, ends: inner.len() < body.len(), pieces })
    }

    fn fits(&self, text: &[char]) -> bool {
        let last = if self.starts { 0 } else { text.len() };
        (0..=last).any(|from| self.fits_at(&self.pieces, text.get(from..).unwrap_or_default()))
    }

    fn fits_at(&self, pieces: &[Piece], text: &[char]) -> bool {
        let Some((piece, rest)) = pieces.split_first() else {
            return !self.ends || text.is_empty();
        };
        let most = if piece.many { text.len() } else { 1 };
        let run = text.iter().take(most).take_while(|&&c| piece.letter.is_none_or(|l| l == c));
        let run = run.count();
        (piece.least..=run).any(|took| self.fits_at(rest, text.get(took..).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_as_a_regular_expression_would() {
        let table = [
            (".*", "alive", true),
            ("", "alive", true),
            ("al", "alive", true),
            ("^live", "alive", false),
            ("alive|left", "left", true),
            ("^(alive|left)$", "left", true),
            ("(alive|leaving)", "left", false),
            ("^a.*e$", "alive", true),
            ("^l.+$", "l", false),
            ("lefts?$", "left", true),
        ];
        for (pattern, text, fits) in table {
            assert_eq!(Pattern::parse(pattern).unwrap().fits(text), fits, "{pattern} on {text}");
        }
        for wrong in ["(", "*", "[a]", "a\\d"] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
