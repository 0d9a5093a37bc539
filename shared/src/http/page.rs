//! Reading lists that come in pages, bounded: a service that repeats a page token or never ends is an error, not a hang.

use std::collections::BTreeSet;

use super::HttpError;

/// Pages of one list.
pub const PAGES_MAX: u32 = 1000;

/// Follows the page tokens of one list.
#[derive(Debug, Default)]
pub struct Pages {
    seen: BTreeSet<String>,
    read: u32,
}

/// Why a list cannot be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// The service named a page it had named before.
    #[error("the service repeats a page of the list")]
    Loop,
    /// More pages than lakekey reads.
    #[error("the list has more than {PAGES_MAX} pages")]
    TooMany,
}

impl Pages {
    /// Before the first page.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the token that the page just read names as its next; an absent or empty one ends the list.
    pub fn next(&mut self, token: Option<String>) -> Result<Option<String>, PageError> {
        self.read += 1;
        let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
        if self.read >= PAGES_MAX {
            return Err(PageError::TooMany);
        }
        if !self.seen.insert(token.clone()) {
            return Err(PageError::Loop);
        }
        Ok(Some(token))
    }
}

/// Reads every page: `fetch` gets the token of the page to read, none for the first, and gives its items and the next token.
/// `what` and `target` name the list in the error about its paging.
pub async fn collect<T, F>(
    what: &'static str,
    target: &str,
    mut fetch: impl FnMut(Option<String>) -> F,
) -> Result<Vec<T>, HttpError>
where
    F: Future<Output = Result<(Vec<T>, Option<String>), HttpError>>,
{
    let (mut pages, mut items, mut token) = (Pages::new(), Vec::new(), None);
    loop {
        let (page, next) = fetch(token).await?;
        items.extend(page);
        token = pages.next(next).map_err(|error| HttpError::unusable(what, target, error))?;
        if token.is_none() {
            return Ok(items);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_or_empty_token_ends_the_list() {
        assert_eq!(Pages::new().next(None), Ok(None));
        assert_eq!(Pages::new().next(Some(String::new())), Ok(None));
    }

    #[test]
    fn a_repeated_token_is_an_error() {
        let mut pages = Pages::new();
        assert_eq!(pages.next(Some("a".to_owned())), Ok(Some("a".to_owned())));
        assert_eq!(pages.next(Some("b".to_owned())), Ok(Some("b".to_owned())));
        assert_eq!(pages.next(Some("a".to_owned())), Err(PageError::Loop));
    }

    #[test]
    fn a_list_without_end_is_an_error() {
        let mut pages = Pages::new();
        let outcome = (0..=PAGES_MAX).find_map(|page| pages.next(Some(page.to_string())).err());
        assert_eq!(outcome, Some(PageError::TooMany));
    }
}
