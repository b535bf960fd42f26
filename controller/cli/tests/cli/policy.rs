//! `iaso policy check`: no controller is running in these tests.

use crate::iaso::{Home, Ran};

async fn check(text: &str, more: &[&str]) -> Ran {
    let home = Home::new();
    let file = home.path().join("policy.toml");
    std::fs::write(&file, text).expect("written");
    let mut args = vec!["policy", "check", file.to_str().expect("plain")];
    args.extend(more);
    home.run("https://127.0.0.1:1", &args).await
}

const DANGEROUS: &str = "reboot = \"auto\"\nrecreate = \"auto\"\nlocal_data_expendable = true\n";

#[tokio::test]
async fn an_empty_file_is_safe_and_the_command_says_so() {
    let ran = check("", &["--deny-warnings"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let words = ran.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("an empty policy is safe"), "{ran:?}");
    let home = Home::new();
    let ran = home.run("https://127.0.0.1:1", &["policy", "check"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.starts_with("the default policy"), "{ran:?}");
}

#[tokio::test]
async fn a_danger_is_told_and_denied_only_when_that_was_asked_for() {
    let ran = check(DANGEROUS, &[]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("local data is"), "{ran:?}");
    let ran = check(DANGEROUS, &["--deny-warnings", "--output", "json"]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    let json: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(json["dangers"].as_array().map(Vec::len), Some(2));
    assert_eq!(json["is_default"], false);
    assert_eq!(json["ladders"][4]["diagnosis"], "isolated");
    assert_eq!(json["ladders"][4]["rungs"][1]["rung"], "recreate");
    assert_eq!(json["ladders"][4]["rungs"][1]["mode"], "auto");
}

#[tokio::test]
async fn what_the_controller_would_refuse_exits_2_with_the_line_or_the_key() {
    let ran = check("quorum = 2\nconfirm_sec = 7\n", &[]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    ran.assert_says(&["line 2", "confirm_secs", "correct its spelling"]);
    let ran = check("[ladder]\nhung = [{ rung = \"recreate\" }]\n", &[]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    ran.assert_says(&["ladder.hung[0]", "never the answer to hung"]);
    let home = Home::new();
    let ran = home
        .run("https://127.0.0.1:1", &["policy", "check", "/nowhere.toml"])
        .await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.assert_says(&["cannot read /nowhere.toml"]);
}
