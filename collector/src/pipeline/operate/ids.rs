//! Ids as people write them: whole, or the beginning of one as far as it is the only one that begins so.

use crate::handoff::AskError;

/// Names listed when an id is the beginning of several.
const LISTED: usize = 5;

/// The whole id that `given` is or begins; `given` itself where none does, so that whoever looks for it says so.
///
/// # Errors
/// It is the beginning of several; some of them are named.
pub(super) fn whole<'a>(given: &str, ids: impl IntoIterator<Item = &'a str>) -> Result<String, AskError> {
    let mut found: Vec<&str> = Vec::new();
    for id in ids.into_iter().filter(|id| !given.is_empty() && id.starts_with(given)) {
        if id == given {
            return Ok(given.to_owned());
        }
        found.push(id);
    }
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [] => Ok(given.to_owned()),
        [one] => Ok((*one).to_owned()),
        several => {
            let more = several.len().saturating_sub(LISTED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let named = several[..several.len().min(LISTED)].join(", ");
            Err(AskError::Refused(format!(
                "{given} is the beginning of several ids ({named}{more}); write more of the one you mean"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_may_be_shortened_as_far_as_it_is_the_only_one() {
        let ids = ["3f0c", "3f0d", "s1", "s12"];
        assert_eq!(whole("3f0c", ids), Ok("3f0c".to_owned()));
        assert_eq!(whole("s1", ids), Ok("s1".to_owned()), "whole, though another begins so");
        assert_eq!(whole("3f0d", ids), Ok("3f0d".to_owned()));
        assert_eq!(whole("9", ids), Ok("9".to_owned()));
        assert_eq!(whole("", ids), Ok(String::new()));
        let Err(AskError::Refused(words)) = whole("3f", ids) else { panic!("two begin so") };
        assert!(words.contains("(3f0c, 3f0d)"), "{words}");
        let many: Vec<String> = (0..9).map(|at| format!("a{at}")).collect();
        let Err(error) = whole("a", many.iter().map(String::as_str)) else { panic!("nine begin so") };
        assert!(error.to_string().contains("a4 and 4 more"), "{error}");
    }
}
