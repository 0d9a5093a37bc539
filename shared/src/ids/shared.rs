//! One copy in memory of each text that many things name: ten thousand data sources are named in the lists that a service gives, in
//! two plans and in the state, and lie in few workspaces, on few hosts, with few owners.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use arcstr::ArcStr;

/// Every text in use, and some that were.
struct Texts {
    known: HashSet<ArcStr>,
    /// When it is this large, what nobody uses any more is taken out.
    swept_at: usize,
}

/// The one copy of `text`.
pub(super) fn shared(text: &str) -> ArcStr {
    static TEXTS: LazyLock<Mutex<Texts>> = LazyLock::new(|| Mutex::new(Texts { known: HashSet::new(), swept_at: SWEPT_AT_MIN }));
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = texts.known.get(text) {
        return ArcStr::clone(known);
    }
    if texts.known.len() >= texts.swept_at {
        texts.known.retain(|known| ArcStr::strong_count(known).is_none_or(|count| count > 1));
        texts.swept_at = SWEPT_AT_MIN.max(2 * texts.known.len());
    }
    let text = ArcStr::from(text);
    texts.known.insert(ArcStr::clone(&text));
    text
}

const SWEPT_AT_MIN: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_for_as_long_as_anybody_uses_them() {
        let kept = shared("kept");
        for number in 0..3 * SWEPT_AT_MIN {
            assert_eq!(&*shared(&format!("passing {number}")), format!("passing {number}"));
        }
        assert!(ArcStr::ptr_eq(&kept, &shared("kept")) && !ArcStr::ptr_eq(&kept, &shared("other")));
    }
}
