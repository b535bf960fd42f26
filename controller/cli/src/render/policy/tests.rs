use super::*;
use iaso_policy_file::load;
use jiff::Timestamp;
use std::fs;

/// A Sunday, 11:00 UTC.
fn style() -> Style {
    Style {
        width: Some(150),
        color: false,
        now: "2026-11-22T11:00:00Z".parse::<Timestamp>().unwrap(),
    }
}

fn shown(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.toml");
    fs::write(&file, text).unwrap();
    let (loaded, style) = (load(&file).unwrap(), style());
    let name = std::path::Path::new("policy.toml");
    policy(&style, &model(Some(name), &loaded, style.now))
}

#[test]
fn an_empty_policy_is_said_to_be_safe_and_shown_rung_by_rung() {
    insta::assert_snapshot!(shown(""));
}

#[test]
fn what_a_policy_changes_for_whom_and_when_its_windows_open_is_shown() {
    insta::assert_snapshot!(shown(include_str!("sample.toml")));
}

#[test]
fn a_configuration_shows_which_nodes_never_get_which_rung() {
    let text = shown(include_str!(
        "../../../../../deploy/examples/controller.toml"
    ));
    assert!(
        text.contains("recreate: a server node is never recreated"),
        "{text}"
    );
    assert!(text.contains("start: this node has no provider"), "{text}");
}

#[test]
fn an_open_window_is_open_now() {
    let text = shown("[[windows]]\ndays = [\"sun\"]\nfrom = \"10:00\"\nto = \"12:00\"");
    assert!(text.contains("open now"), "{text}");
}
