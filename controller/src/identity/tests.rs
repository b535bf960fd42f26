use super::*;
use iaso_identity::NodeKey;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const HOUR: Duration = Duration::from_hours(1);

fn identities(dir: &Path) -> Identities {
    let path = dir.join("c.toml");
    std::fs::write(&path, "data_dir = \".\"\n").unwrap();
    Identities::open(&Config::load(&path, false).unwrap()).unwrap()
}

fn node(name: &str) -> NodeName {
    NodeName::new(name.to_owned()).unwrap()
}

/// The presented part of a new join token.
fn join(identities: &Identities, name: &str, ttl: Duration, by: &str) -> String {
    let made = identities.join_token(&node(name), ttl, by).unwrap();
    Token::parse(TokenKind::Join, made.secret.expose())
        .unwrap()
        .presented()
}

fn request() -> Vec<u8> {
    NodeKey::generate().unwrap().request().unwrap()
}

fn certificate(certified: &Certified, node: &str) -> NodeCertificate {
    NodeCertificate {
        node: node.into(),
        serial: certified.issued.serial.clone(),
        not_after: certified.issued.not_after,
    }
}

#[test]
fn a_join_token_admits_its_node_once_and_a_second_key_is_a_replay() {
    let dir = tempfile::tempdir().unwrap();
    let identities = identities(dir.path());
    let (token, mine) = (join(&identities, "styx", HOUR, "nora"), request());
    let other = identities.enrol("calypso", &token, &mine).unwrap_err();
    assert_eq!(other.kind(), "join-token-other-node");
    let first = identities.enrol("styx", &token, &mine).unwrap();
    identities.admit_node(&certificate(&first, "styx")).unwrap();

    let replayed = identities.enrol("styx", &token, &request()).unwrap_err();
    assert_eq!(replayed, Denied::JoinTokenUsed);
    assert!(
        replayed.to_string().contains("iaso revoke NODE"),
        "{replayed}"
    );
    let id = token.split('.').next().unwrap();
    assert!(identities.is_first_replay(id) && !identities.is_first_replay(id));
    // The thief changed nothing.
    identities.admit_node(&certificate(&first, "styx")).unwrap();

    // An answer that was lost: the same key asks again, over a restart of the controller.
    drop(identities);
    let identities = self::identities(dir.path());
    let again = identities.enrol("styx", &token, &mine).unwrap();
    identities.admit_node(&certificate(&again, "styx")).unwrap();
}

#[test]
fn a_token_that_ended_was_taken_back_or_is_nobodys_admits_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let identities = identities(dir.path());
    let kind = |token: &str| {
        identities
            .enrol("styx", token, &request())
            .unwrap_err()
            .kind()
    };
    let ended = identities
        .join_token(&node("styx"), Duration::ZERO, "nora")
        .unwrap();
    let ended = Token::parse(TokenKind::Join, ended.secret.expose())
        .unwrap()
        .presented();
    while unix_now()
        <= identities
            .store()
            .join_expiry(ended.split('.').next().unwrap())
    {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(kind(&ended), "join-token-expired");

    let (own, rejoin) = (
        join(&identities, "styx", HOUR, "nora"),
        join(&identities, "styx", HOUR, "rejoin"),
    );
    assert_eq!(
        identities
            .void_join_tokens(&node("styx"), Some("rejoin"))
            .unwrap(),
        1
    );
    assert_eq!(kind(&rejoin), "join-token-void");
    let wrong: String = own.chars().rev().collect();
    assert_eq!(kind(&wrong), "join-token-wrong");
    assert_eq!(kind(""), "join-token-wrong");
    let damaged = identities.enrol("styx", &own, b"no request").unwrap_err();
    assert_eq!(damaged.kind(), "bad-request");
    identities.enrol("styx", &own, &request()).unwrap();
}

#[test]
fn an_enrolment_takes_the_certificates_of_the_machine_before_back_and_a_renewal_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let identities = identities(dir.path());
    let enrol = || {
        let token = join(&identities, "styx", HOUR, "nora");
        identities.enrol("styx", &token, &request()).unwrap()
    };
    let old = enrol();
    let renewed = identities
        .renew(&certificate(&old, "styx"), &request())
        .unwrap();
    for certified in [&old, &renewed] {
        identities
            .admit_node(&certificate(certified, "styx"))
            .unwrap();
    }
    let new = enrol();
    assert_eq!(new.superseded, 2);
    for certified in [&old, &renewed] {
        assert_eq!(
            identities.admit_node(&certificate(certified, "styx")),
            Err(Denied::Revoked)
        );
    }
    // However often it renews, only so many count.
    let mut first = new.clone();
    for _ in 0..CERTIFICATES_MAX {
        first = identities
            .renew(&certificate(&first, "styx"), &request())
            .unwrap();
    }
    assert_eq!(
        identities.admit_node(&certificate(&new, "styx")),
        Err(Denied::Revoked)
    );
    identities.admit_node(&certificate(&first, "styx")).unwrap();
}

#[test]
fn a_revoked_node_is_out_with_its_unused_tokens_and_only_it() {
    let dir = tempfile::tempdir().unwrap();
    let identities = identities(dir.path());
    let enrolled = |name: &str| {
        let token = join(&identities, name, HOUR, "nora");
        certificate(&identities.enrol(name, &token, &request()).unwrap(), name)
    };
    let (token, mine) = (join(&identities, "styx", HOUR, "nora"), request());
    let styx = certificate(&identities.enrol("styx", &token, &mine).unwrap(), "styx");
    let calypso = enrolled("calypso");
    let unused = join(&identities, "styx", HOUR, "nora");
    assert_eq!(identities.revoke(&node("styx")).unwrap(), (1, 1));
    assert_eq!(identities.admit_node(&styx), Err(Denied::Revoked));
    // Nor by the token and the very key that it was enrolled with.
    let again = identities.enrol("styx", &token, &mine).unwrap_err();
    assert_eq!(again, Denied::JoinTokenVoid);
    assert_eq!(
        identities.enrol("styx", &unused, &request()).unwrap_err(),
        Denied::JoinTokenVoid
    );
    identities.admit_node(&calypso).unwrap();

    let ended = NodeCertificate {
        not_after: unix_now() - 10,
        ..calypso.clone()
    };
    assert_eq!(
        identities.admit_node(&ended).unwrap_err().kind(),
        "certificate-expired"
    );
    let forged = NodeCertificate {
        serial: "00".into(),
        ..calypso
    };
    assert_eq!(identities.admit_node(&forged), Err(Denied::Unknown));
}

#[test]
fn an_operators_token_admits_until_it_ends_is_replaced_or_removed_and_is_in_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let identities = identities(dir.path());
    let presented = |secret: &Secret| {
        Token::parse(TokenKind::Operator, secret.expose())
            .unwrap()
            .presented()
    };
    let add = |ttl| {
        presented(
            &identities
                .add_operator("nora", Role::Operator, ttl)
                .unwrap(),
        )
    };
    let first = add(None);
    let nora = identities.admit_operator(&first).unwrap();
    assert_eq!(nora.to_string(), "nora (operator)");
    let second = add(Some(HOUR));
    assert_eq!(identities.admit_operator(&first), Err(Denied::TokenWrong));
    identities.admit_operator(&second).unwrap();
    assert_eq!(identities.admit_operator(""), Err(Denied::NoToken));
    let join = join(&identities, "styx", HOUR, "nora");
    assert_eq!(identities.admit_operator(&join), Err(Denied::TokenWrong));

    let secrets: Vec<&str> = [&first, &second, &join]
        .iter()
        .map(|token| token.split('.').nth(1).unwrap())
        .collect();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            secrets.iter().all(|secret| !text.contains(secret)),
            "{}",
            path.display()
        );
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        let is_private = ["identity.sqlite", "ca.key"]
            .iter()
            .any(|name| path.ends_with(name));
        assert!(
            !is_private || mode.trailing_zeros() >= 6,
            "{}: {mode:o}",
            path.display()
        );
    }
    assert!(
        identities.remove_operator("nora").unwrap() && !identities.remove_operator("nora").unwrap()
    );
    assert_eq!(identities.admit_operator(&second), Err(Denied::TokenWrong));
    for bad in ["", "no ra", "nora(admin)", &"n".repeat(101)] {
        assert!(
            identities.add_operator(bad, Role::Viewer, None).is_err(),
            "{bad:?}"
        );
    }
}

#[test]
fn a_record_of_a_newer_version_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    drop(identities(dir.path()));
    let connection = rusqlite::Connection::open(dir.path().join("identity.sqlite")).unwrap();
    connection.pragma_update(None, "user_version", 9).unwrap();
    let config = Config::load(&dir.path().join("c.toml"), false).unwrap();
    let error = Identities::open(&config).unwrap_err().to_string();
    assert!(
        error.contains("schema 9") && error.contains("newer version"),
        "{error}"
    );
}
