//! Which hosts and entities a rule is about: patterns over names.

/// A pattern: `*` stands for any text, `?` for one character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    Exact(String),
    Glob(Vec<char>),
}

impl Pattern {
    /// A text with `*` or `?` is a glob, any other is taken as it is.
    pub(crate) fn new(text: &str) -> Self {
        if text.contains(['*', '?']) {
            let mut chars: Vec<char> = text.chars().collect();
            // Several stars are one; it keeps matching fast.
            chars.dedup_by(|a, b| *a == '*' && *b == '*');
            Self::Glob(chars)
        } else {
            Self::Exact(text.to_owned())
        }
    }

    /// Whether the text fits.
    pub(crate) fn fits(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == text,
            Self::Glob(pattern) => glob(pattern, text),
        }
    }
}

/// Matches with one point to come back to, so that the cost is at most the product of the lengths.
fn glob(pattern: &[char], text: &str) -> bool {
    let (mut at, mut rest) = (0, text.chars());
    let mut star: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        let here = rest.clone();
        match (pattern.get(at), rest.next()) {
            (Some('*'), _) => {
                star = Some((at, here.clone()));
                rest = here;
                at += 1;
            }
            (None, None) => return true,
            (Some('?'), Some(_)) => at += 1,
            (Some(want), Some(got)) if *want == got => at += 1,
            _ => {
                let Some((star_at, mut from)) = star.take() else { return false };
                if from.next().is_none() {
                    return false;
                }
                rest = from.clone();
                star = Some((star_at, from));
                at = star_at + 1;
            }
        }
    }
}

/// What is let through: any of these, none of those.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Matcher {
    /// One of them must fit, unless there are none.
    pub(crate) any: Vec<Pattern>,
    /// None of them may fit.
    pub(crate) none: Vec<Pattern>,
}

impl Matcher {
    /// Whether the text is let through.
    pub(crate) fn admits(&self, text: &str) -> bool {
        (self.any.is_empty() || self.any.iter().any(|pattern| pattern.fits(text)))
            && !self.none.iter().any(|pattern| pattern.fits(text))
    }

    /// Whether everything is let through.
    pub(crate) fn is_open(&self) -> bool {
        self.any.is_empty() && self.none.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn globs_and_names() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("sd*", "sda1", true),
            ("sd?", "sda1", false),
            ("*-db-*", "eu-db-7", true),
            ("*-db-*", "eu-dbx-7", false),
            ("/var/**", "/var/log", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("ä?", "äö", true),
            ("web", "web-1", false),
        ] {
            assert_eq!(Pattern::new(pattern).fits(text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn none_wins_over_any() {
        let matcher = Matcher { any: vec![Pattern::new("web-*")], none: vec![Pattern::new("*-test")] };
        assert!(matcher.admits("web-1") && !matcher.admits("web-test") && !matcher.admits("db-1"));
        assert!(Matcher::default().admits("anything"));
    }

    proptest! {
        #[test]
        fn a_glob_agrees_with_the_plain_definition(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            fn plain(p: &[char], t: &[char]) -> bool {
                match (p.first(), t.first()) {
                    (None, None) => true,
                    (Some('*'), _) => plain(&p[1..], t) || (!t.is_empty() && plain(p, &t[1..])),
                    (Some('?'), Some(_)) => plain(&p[1..], &t[1..]),
                    (Some(a), Some(b)) if a == b => plain(&p[1..], &t[1..]),
                    _ => false,
                }
            }
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(Pattern::new(&pattern).fits(&text), plain(&p, &t));
        }
    }
}
