//! Every checker can fail: each deliberate defect is noticed, and the plan that shows it is clean without it.

use lakekey_simulate::broken::Variant;
use lakekey_simulate::broken::shown::{table, verdicts};

const DOCUMENT: &str = include_str!("../../../docs/guarantees.md");

#[test]
fn every_deliberate_defect_is_noticed_and_nothing_without_one() {
    let mut noticing = std::collections::BTreeSet::new();
    for variant in Variant::ALL {
        let (with, without) = verdicts(variant).unwrap();
        assert!(without.is_none(), "{}: without the defect: {}", variant.name(), without.unwrap());
        let Some(violation) = with else { panic!("nothing notices {}", variant.name()) };
        noticing.insert(violation.guarantee);
    }
    assert_eq!(noticing.into_iter().collect::<Vec<_>>(), ["G1", "G2", "G3", "G4", "G5", "G6", "G7", "G8"]);
}

#[test]
fn the_guarantees_list_every_deliberate_defect_with_what_notices_it() {
    let table = table().unwrap();
    assert!(DOCUMENT.contains(&table), "put this into docs/guarantees.md (`cargo simulate -- --table` prints it):\n{table}");
}
