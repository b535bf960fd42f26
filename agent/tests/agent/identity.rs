//! The agent's certificate: had for a token, kept, renewed, and had anew when it does not count any more.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Agent, Controller, SOON};

/// The text of every file below the agent's directories.
fn files(agent: &Agent) -> Vec<(String, u32, String)> {
    let directories = [agent.state(), agent.state().join("plugins")];
    let mut found = Vec::new();
    for directory in directories.iter().filter(|directory| directory.is_dir()) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
                let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
                found.push((path.display().to_string(), mode, text));
            }
        }
    }
    found
}

/// Waits until so many sessions were opened, and answers their certificates' serials.
async fn serials(controller: &Controller, count: u32) -> Vec<String> {
    controller.until_session(count).await;
    controller.certificates().0
}

#[tokio::test]
async fn a_join_token_serves_once_and_the_identity_outlives_the_process() {
    let controller = Controller::start();
    let mut agent = Agent::start(&controller);
    let first = serials(&controller, 1).await;
    assert!(!agent.join_token().exists(), "the token has served");
    let secret: Vec<_> = files(&agent)
        .into_iter()
        .filter(|(.., text)| text.contains("PRIVATE KEY"))
        .collect();
    assert_eq!(secret.len(), 1, "{secret:?}");
    assert_eq!(secret[0].1, 0o600);

    agent.kill().await;
    agent.run();
    let second = serials(&controller, 2).await;
    assert_eq!(second, [first[0].clone(), first[0].clone()]);
    assert_eq!(controller.certificates().1, 1, "enrolled once");
}

#[tokio::test]
async fn a_certificate_is_renewed_in_time_and_the_session_goes_on_with_the_new_one() {
    let controller = Controller::start();
    controller.renew_after(0);
    let agent = Agent::start(&controller);
    let serials = serials(&controller, 2).await;
    assert_ne!(serials[0], serials[1]);
    assert_eq!(controller.certificates().1, 1, "renewed, not enrolled anew");
    assert_eq!(agent.says("no session"), 0, "a renewal is no trouble");
}

#[tokio::test]
async fn a_revoked_agent_says_what_to_do_and_goes_on_with_a_fresh_token_without_a_restart() {
    let controller = Controller::start();
    let mut agent = Agent::start(&controller);
    let before = serials(&controller, 1).await;
    controller.revoke();
    agent.until_says("the certificate was revoked", 1).await;
    // A token that was used is no way in.
    std::fs::write(agent.join_token(), "iaso-join1.cut").unwrap();
    agent.until_says("copy all of it", 1).await;
    std::fs::write(agent.join_token(), controller.join_token()).unwrap();
    let after = serials(&controller, 2).await;
    assert_ne!(before[0], after[1]);
    assert!(agent.is_alive());
}

#[tokio::test]
async fn nothing_is_sent_to_another_controller_than_the_tokens() {
    let (controller, other) = (Controller::start(), Controller::start());
    let mut agent = Agent::start(&controller);
    serials(&controller, 1).await;
    agent.kill().await;
    std::fs::remove_dir_all(agent.state()).unwrap();
    // Made by the one, and carried to the other.
    std::fs::write(agent.join_token(), other.join_token()).unwrap();
    agent.run();
    agent.until_says("another controller", 1).await;
    assert_eq!(controller.certificates().1, 1);
    assert!(agent.join_token().exists());
}

#[tokio::test]
async fn an_agent_with_nothing_to_show_says_where_a_token_belongs() {
    let controller = Controller::start();
    let mut agent = Agent::start(&controller);
    serials(&controller, 1).await;
    agent.kill().await;
    std::fs::remove_dir_all(agent.state()).unwrap();
    agent.run();
    agent.until_says("iaso join-token styx", 1).await;
    std::fs::write(agent.join_token(), controller.join_token()).unwrap();
    let seen = tokio::time::timeout(SOON, controller.until_session(2)).await;
    assert!(seen.is_ok(), "the token was not taken up");
}
