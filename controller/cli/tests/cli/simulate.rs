//! `iaso simulate`: the scenarios of the documentation, each with what it expects. No controller is running in these tests.

use crate::iaso::{Home, Ran};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

async fn simulate(scenario: &Path, more: &[&str]) -> Ran {
    let home = Home::new();
    let mut args = vec!["simulate", scenario.to_str().expect("plain")];
    args.extend(more);
    home.run("http://127.0.0.1:1", &args).await
}

async fn story(name: &str) -> Value {
    let file = docs().join("scenarios").join(name);
    let ran = simulate(&file, &["--output", "json"]).await;
    assert_eq!(ran.code, 0, "{name}: {ran:?}");
    serde_json::from_str(&ran.out).expect("JSON")
}

/// The names of all gates that something waited for.
fn gates(story: &Value) -> Vec<&str> {
    let holds = story["holds"].as_array().expect("a list");
    holds.iter().filter_map(|h| h["name"].as_str()).collect()
}

#[tokio::test]
async fn every_shipped_scenario_says_what_it_expects_and_comes_out_so() {
    let mut seen = 0;
    for entry in std::fs::read_dir(docs().join("scenarios")).expect("the folder") {
        let file = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&file).expect("text");
        assert!(text.contains("\n[expect]\n"), "{file:?} expects nothing");
        let ran = simulate(&file, &[]).await;
        assert_eq!(ran.code, 0, "{file:?}: {}{}", ran.out, ran.err);
        seen += 1;
    }
    assert!(seen >= 7, "{seen} scenarios");
}

#[tokio::test]
async fn styx_is_recreated_after_one_reboot_within_six_minutes_of_silence() {
    let story = story("styx.toml").await;
    let styx = &story["incidents"][0];
    assert_eq!(styx["outcome"], "recovered");
    let decided = styx["recreate_decided_s"].as_u64().expect("a number");
    assert!((120..=360).contains(&decided), "{decided} s");
    assert_eq!(
        styx["phases"]["recreate_s"].as_u64().map(|s| s > 60),
        Some(true)
    );
    assert_eq!(story["acts"]["reboots"], 1);
}

#[tokio::test]
async fn an_unknown_word_of_the_provider_holds_until_it_answers() {
    let story = story("provider-404.toml").await;
    assert!(gates(&story).contains(&"provider-unknown"));
    let reboot = story["incidents"][0]["milestones"]
        .as_array()
        .expect("a list");
    let at = reboot.iter().find(|m| m["what"] == "reboot decided");
    let at = at
        .and_then(|m| m["at_ms"].as_u64())
        .expect("it was decided");
    assert!(
        at >= 1_860_000,
        "the provider answers again at 31 minutes: {at}"
    );
}

#[tokio::test]
async fn two_of_three_down_and_a_controller_that_lost_everybody_hold_everything() {
    for name in ["bad-rollout.toml", "controller-cut-off.toml"] {
        let story = story(name).await;
        assert_eq!(story["acts"]["reboots"], 0, "{name}");
        assert_eq!(story["acts"]["recreates"], 0, "{name}");
        assert!(gates(&story).contains(&"am-i-cut-off"), "{name}");
        assert!(gates(&story).contains(&"storm"), "{name}");
    }
}

#[tokio::test]
async fn after_a_storm_only_the_one_that_stayed_away_is_repaired() {
    let story = story("storm.toml").await;
    let rebooted: Vec<_> = story["incidents"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|i| i["phases"]["reboot_s"].as_u64() > Some(0))
        .map(|i| i["node"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(rebooted, ["w6"]);
}

#[tokio::test]
async fn flapping_pages_once_and_a_single_node_is_left_to_a_person() {
    let flapping = story("flapping.toml").await;
    assert_eq!(flapping["acts"]["pages"], 1);
    let text = flapping["incidents"].to_string();
    assert!(
        text.contains("now flapping") || text.contains("opened: flapping"),
        "{text}"
    );
    let alone = story("single-node.toml").await;
    assert_eq!(alone["incidents"][0]["outcome"], "open");
    assert_eq!(alone["judge"]["clean"], true);
}

#[tokio::test]
async fn another_policy_changes_the_night_and_what_is_expected_is_missed() {
    let home = Home::new();
    let careful = home.path().join("careful.toml");
    std::fs::write(&careful, "reboot = \"auto\"\nrecreate = \"approve\"\n").expect("written");
    let styx = docs().join("scenarios/styx.toml");
    let policy = careful.to_str().expect("plain");
    let ran = simulate(&styx, &["--policy", policy]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let words = ran.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("recreates: 0, expected 1"), "{words}");
    assert!(words.contains("a person's yes to recreate"), "{words}");
}

#[tokio::test]
async fn the_picture_in_the_documentation_is_what_the_command_draws() {
    let home = Home::new();
    let drawn = home.path().join("styx.svg");
    let styx = docs().join("scenarios/styx.toml");
    let ran = simulate(&styx, &["--svg", drawn.to_str().expect("plain")]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let drawn = std::fs::read_to_string(drawn).expect("drawn");
    let kept = std::fs::read_to_string(docs().join("images/styx-timeline.svg")).expect("kept");
    assert!(
        drawn == kept,
        "look at the new picture, and keep it: iaso simulate docs/scenarios/styx.toml --svg docs/images/styx-timeline.svg"
    );
    for part in [
        "role=\"img\"",
        "<title id=\"title\">styx",
        "<desc id=\"desc\">",
        "fill=\"white\"",
    ] {
        assert!(drawn.contains(part), "{part}");
    }
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_with_the_line_or_the_key() {
    let node = "name = \"x\"\n[[nodes]]\nname = \"styx\"\nrole = \"worker\"\n";
    let fault = |rest: &str| format!("{node}[[faults]]\nat_secs = 5\nfault = {rest}\n");
    let cases = [
        (format!("{node}zon = \"a\"\n"), "line 5"),
        ("name = \"x\"\nnodes = []\n".to_owned(), "1 to 200"),
        (fault("\"fire\""), "line 7"),
        (fault("\"cut\""), "faults[0].nodes is missing"),
        (
            fault("\"cut\"\nnodes = [\"stix\"]"),
            "no [[nodes]] declares",
        ),
        (
            fault("\"cut\"\nnodes = [\"styx\"]\npercent = 5"),
            "a key of sluggish only",
        ),
        (fault("\"api-down\"\nnodes = [\"styx\"]"), "of no node"),
        (fault("\"crash\""), "for_secs is missing"),
        (
            fault(
                "\"cut\"\nnodes = [\"styx\"]\nfor_secs = 9\nrepeat = { times = 2, every_secs = 5 }",
            ),
            "must end before the next",
        ),
        (
            format!("{node}[[crashes]]\naction = \"explode\"\ndown_secs = 5\n"),
            "is no step",
        ),
        (
            format!("{node}[policy]\nquorum = 0\n"),
            "policy: quorum = 0",
        ),
        (format!("{node}[policy]\nquorun = 2\n"), "line 6"),
        (
            format!("{node}[policy.nodes.stix]\nfix = \"observe\"\n"),
            "no [[nodes]] declares",
        ),
        (
            format!("{node}[provider]\nlatency_ms = [9, 3]\n"),
            "out of range",
        ),
        (format!("ends_after_secs = 5\n{node}"), "use 60 to 172800"),
    ];
    let home = Home::new();
    for (text, words) in cases {
        let file = home.path().join("scenario.toml");
        std::fs::write(&file, &text).expect("written");
        let ran = simulate(&file, &[]).await;
        assert_eq!(ran.code, 2, "{text}: {ran:?}");
        ran.assert_says(&[words]);
    }
}
