#![allow(
    clippy::unwrap_used,
    reason = "a test that unwraps wrongly fails, as it should"
)]

use super::*;
use std::fs;

fn loaded(text: &str) -> Result<Loaded, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.toml");
    fs::write(&file, text).unwrap();
    load(&file).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_is_the_default_policy() {
    assert_eq!(loaded("").unwrap().policy, Policy::default());
    assert_eq!(loaded("# nothing yet\n").unwrap().policy, Policy::default());
}

#[test]
fn an_unknown_key_is_refused_with_its_line_wherever_it_stands() {
    let cases = [
        ("quorum = 2\nconfirm_sec = 7\n", "line 2", "confirm_secs"),
        (
            "[ladder]\nisolated = [{ rung = \"reboot\", attempt = 2 }]\n",
            "line 2",
            "attempts",
        ),
        (
            "[nodes.styx]\nrecreates_per_day = 2\n",
            "line 2",
            "recreates_per_day",
        ),
        (
            "data_dir = \"d\"\n\n[policy]\nconfirm_sec = 7\n",
            "line 4",
            "confirm_secs",
        ),
    ];
    for (text, line, key) in cases {
        let error = loaded(text).unwrap_err();
        assert!(error.contains(line), "{error}");
        assert!(error.contains(key), "{error}");
        assert!(error.contains("correct its spelling"), "{error}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused_as_the_controller_refuses_it() {
    let cases = [
        ("quorum = 0", "use 1 to 64"),
        (
            "[ladder]\nhung = [{ rung = \"recreate\" }]",
            "never the answer to hung",
        ),
        (
            "probe_fresh_secs = 5",
            "is not longer than probe_round_secs",
        ),
        (
            "data_dir = \"d\"\n[policy.nodes.stix]\nfix = \"observe\"\n[[nodes]]\nname = \"styx\"\nrole = \"worker\"",
            "no [[nodes]] declares",
        ),
    ];
    for (text, words) in cases {
        let error = loaded(text).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_configuration_yields_its_policy_its_nodes_and_what_its_policy_file_says() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let file = dir.path().join(name);
        fs::write(&file, text).unwrap();
        file
    };
    file("policy.toml", "quorum = 3\n");
    let whole = "policy_file = \"policy.toml\"\n[policy]\nconfirm_secs = 45\n[cluster]\nkubeconfig = \"k\"\n\
                 [[nodes]]\nname = \"styx\"\nrole = \"worker\"\nprovider = \"hostinger\"\nmachine = \"7\"\naddress = \"10.0.0.1\"\n";
    let loaded = load(&file("controller.toml", whole)).unwrap();
    assert_eq!((loaded.policy.quorum, loaded.policy.confirm_secs), (3, 45));
    let inventory = loaded.inventory.unwrap();
    assert!(inventory.has_cluster);
    assert!(inventory.nodes.values().all(|n| n.machine.is_some()));

    let twice = whole.replace("confirm_secs = 45", "quorum = 2");
    let error = load(&file("twice.toml", &twice)).unwrap_err().to_string();
    assert!(
        error.contains("quorum stands here and in [policy]"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let error = loaded(&"#".repeat(1 << 20).repeat(2)).unwrap_err();
    assert!(error.contains("2097152 bytes"), "{error}");
    assert!(
        load(Path::new("/nowhere/policy.toml"))
            .unwrap_err()
            .to_string()
            .contains("/nowhere/policy.toml")
    );
}
