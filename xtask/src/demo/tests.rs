use super::{DemoArgs, Output, tell};

#[tokio::test]
async fn the_story_comes_to_its_end_with_every_claim_checked() {
    let args = DemoArgs { targets: 3, latency: 0, faults: None, output: Output::Json, keep: false };
    let mut told = Vec::new();
    let facts = tell(&args, &mut told, false).await.unwrap();
    let told = String::from_utf8(told).unwrap();
    let facts = serde_json::to_value(facts).unwrap();

    assert_eq!((facts["targets"].as_u64(), facts["outages"].as_u64()), (Some(3), Some(0)), "{told}");
    let generations: Vec<_> = facts["rotations"].as_array().unwrap().iter().map(|one| one["generation"].clone()).collect();
    assert_eq!(generations, [1, 2]);
    assert_eq!(facts["retired"][0], facts["rotations"][0]["secret_id"]);
    assert!(facts["refresh"].as_array().unwrap().iter().all(|one| one["status"] == "Completed"), "{facts:#}");
    assert!(facts["samples"].as_u64().unwrap() > 50, "{facts:#}");

    let config = told.lines().find_map(|line| line.trim().strip_prefix("config ")).unwrap().trim();
    assert!(!std::path::Path::new(config).exists(), "the folder is removed at the end");
}
