//! One copy in memory of each text that many things name: ten thousand data sources are named in the lists that a service gives, in
//! two plans and in the state, and lie in few workspaces, on few hosts, with few owners.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use arcstr::ArcStr;

/// Texts of one kind.
#[derive(Default)]
pub(super) struct Texts(Mutex<Table>);

#[derive(Default)]
struct Table {
    /// Every text in use, and some that were.
    known: HashSet<ArcStr>,
    /// When it is this large, what nobody uses any more is taken out.
    swept_at: usize,
}

impl Texts {
    /// The one copy of `text`.
    pub(super) fn shared(&self, text: &str) -> ArcStr {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = table.known.get(text) {
            return ArcStr::clone(known);
        }
        if table.known.len() >= table.swept_at.max(SWEPT_AT_MIN) {
            table.known.retain(|known| ArcStr::strong_count(known).is_none_or(|count| count > 1));
            table.swept_at = 2 * table.known.len();
        }
        let text = ArcStr::from(text);
        table.known.insert(ArcStr::clone(&text));
        text
    }
}

const SWEPT_AT_MIN: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_for_as_long_as_anybody_uses_them() {
        let texts = Texts::default();
        let kept = texts.shared("kept");
        for number in 0..3 * SWEPT_AT_MIN {
            assert_eq!(&*texts.shared(&format!("passing {number}")), format!("passing {number}"));
        }
        assert!(ArcStr::ptr_eq(&kept, &texts.shared("kept")) && !ArcStr::ptr_eq(&kept, &texts.shared("other")));
    }
}
