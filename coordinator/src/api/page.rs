//! Page tokens: where the next page starts, bound to the call and the filter that the token came from.

use std::hash::{DefaultHasher, Hash, Hasher};

use kindred_proto::failure::{Failure, Reason};

/// Hexadecimal digits of the check that a token starts with.
const CHECK_LEN: usize = 16;

/// The pages of one listing.
pub struct Pages {
    /// Hash of the call and its filter.
    listing: u64,
    /// Most entries of a page.
    pub limit: usize,
}

impl Pages {
    /// The pages of this call with this filter; a `page_size` of 0 takes the default, a large one the most.
    pub fn new(call: &str, filter: impl Hash, page_size: u32, bounds: Bounds) -> Self {
        let limit = match page_size as usize {
            0 => bounds.default,
            wanted => wanted.min(bounds.most),
        };
        Self { listing: digest((call, filter)), limit }
    }

    /// The token of the page after this cursor; empty when there is none.
    pub fn token(&self, cursor: Option<&str>) -> String {
        cursor.map(|cursor| format!("{:016x}{cursor}", digest((self.listing, cursor)))).unwrap_or_default()
    }

    /// The cursor in a token; none in the empty one.
    ///
    /// # Errors
    /// `PAGE_TOKEN_INVALID` when the token did not come from the same call with the same filter.
    pub fn cursor<'a>(&self, token: &'a str) -> Result<Option<&'a str>, Failure> {
        if token.is_empty() {
            return Ok(None);
        }
        let (_, cursor) = token.split_at_checked(CHECK_LEN).ok_or_else(invalid)?;
        if self.token(Some(cursor)) != token {
            return Err(invalid());
        }
        Ok(Some(cursor))
    }

    /// One page of a listing that is at hand as a whole, and the token of the next.
    ///
    /// # Errors
    /// `PAGE_TOKEN_INVALID` also when the entry that the token names is gone.
    pub fn cut<T>(
        &self,
        mut all: Vec<T>,
        token: &str,
        id: impl Fn(&T) -> &str,
    ) -> Result<(Vec<T>, String), Failure> {
        if let Some(cursor) = self.cursor(token)? {
            let last = all.iter().position(|entry| id(entry) == cursor).ok_or_else(invalid)?;
            all.drain(..=last);
        }
        Ok(self.first(all, id))
    }

    /// As [`Pages::cut`], of a listing in the order of its ids: a page goes on after the one that the token names, there or not.
    ///
    /// # Errors
    /// `PAGE_TOKEN_INVALID`.
    pub fn cut_sorted<T>(
        &self,
        mut all: Vec<T>,
        token: &str,
        id: impl Fn(&T) -> &str,
    ) -> Result<(Vec<T>, String), Failure> {
        if let Some(cursor) = self.cursor(token)? {
            all.retain(|entry| id(entry) > cursor);
        }
        Ok(self.first(all, id))
    }

    /// One page of what is left, and the token of the next.
    fn first<T>(&self, mut all: Vec<T>, id: impl Fn(&T) -> &str) -> (Vec<T>, String) {
        let has_more = all.len() > self.limit;
        all.truncate(self.limit);
        let next = self.token(all.last().filter(|_| has_more).map(id));
        (all, next)
    }
}

/// Sizes of the pages of one call.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// Taken when the caller names none.
    pub default: usize,
    /// Never more than this.
    pub most: usize,
}

/// The failure for a token that this listing never gave.
pub fn invalid() -> Failure {
    let message = "page_token: not a token of this call with this filter, or its entry is gone; start with the first page";
    Failure::new(Reason::PageTokenInvalid, message).about("page_token")
}

/// The same number for the same value, in every process.
pub fn digest(value: impl Hash) -> u64 {
    // Keyed alike in every process, so that tokens outlive a restart.
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { default: 2, most: 3 };

    fn letters() -> Vec<&'static str> {
        vec!["a", "b", "c", "d", "e"]
    }

    #[test]
    fn pages_cover_the_listing_once() {
        let pages = Pages::new("letters", (), 0, BOUNDS);
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let (page, next) = pages.cut(letters(), &token, |letter| letter).expect("our own token");
            assert!(page.len() <= 2);
            seen.extend(page);
            if next.is_empty() {
                break;
            }
            token = next;
        }
        assert_eq!(seen, letters());
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(Pages::new("letters", (), 1_000_000, BOUNDS).limit, 3);
        let (page, next) =
            Pages::new("letters", (), 3, BOUNDS).cut(vec!["a", "b", "c"], "", |id| id).expect("first");
        assert_eq!((page.len(), next.as_str()), (3, ""), "a full last page has no successor");
    }

    #[test]
    fn a_token_of_another_filter_is_refused() {
        let token = Pages::new("letters", "vowels", 0, BOUNDS).token(Some("a"));
        let pages = Pages::new("letters", "consonants", 0, BOUNDS);
        for bad in [token.as_str(), "x", "0123456789abcdef", "ääääääääää"] {
            let failure = pages.cursor(bad).expect_err(bad);
            assert_eq!(failure.reason, Reason::PageTokenInvalid);
        }
    }
}
