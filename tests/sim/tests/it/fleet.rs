use lakekey_sim::{Fleet, Settings};

fn settings() -> Settings {
    Settings { start: Some("2026-03-01T08:00:00Z".parse().expect("a timestamp")), ..Settings::default() }
}

#[tokio::test(start_paused = true)]
async fn a_seed_makes_one_fleet() {
    let shown = |seed| serde_json::to_string(&Fleet::medium(seed).build(settings()).truth()).expect("JSON");
    assert_eq!(shown(1), shown(1));
    assert_ne!(shown(1), shown(2));
}

#[tokio::test(start_paused = true)]
async fn fleets_have_the_targets_asked_for_all_of_them_live() {
    for (fleet, targets) in [(Fleet::small(1), 5), (Fleet::medium(2), 40), (Fleet::new(300, 3), 300)] {
        let sources = fleet.build(settings()).sources();
        let (targeted, decoys): (Vec<_>, Vec<_>) = sources.iter().partition(|source| source.target);
        assert_eq!(targeted.len(), targets);
        assert!(targeted.iter().all(|source| source.alive && source.connects && source.host.starts_with("adb-")));
        assert!(decoys.len() > 8);
    }
}

#[tokio::test(start_paused = true)]
async fn options_take_away_and_add() {
    let plain = Fleet { gateways: false, decoys: false, ..Fleet::medium(1) }.build(settings());
    assert!(plain.sources().iter().all(|source| source.target && source.connectivity.ends_with("Cloud")));
    let hard = Fleet { hard_cases: true, foreign_secrets: 3, ..Fleet::small(1) }.build(settings());
    assert_eq!(hard.sources().iter().filter(|source| source.target).count(), 7);
    let principal = &hard.cast().principal.application_id;
    assert_eq!(hard.secrets(principal).len(), 4);
    assert!(hard.person_mints(principal, std::time::Duration::from_secs(60)).is_some());
    assert!(hard.person_mints(principal, std::time::Duration::from_secs(60)).is_none(), "five are five");
}
