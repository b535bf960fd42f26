//! `iaso plugin`: what an operator sees before a plugin runs, and whose plugins are believed.

use crate::iaso::{Home, Ran};
use iaso_components::{OK_EMPTY, PING, USE_PING, checker};
use iaso_package::{Manifest, pack};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// A directory with a packed plugin in it.
struct Desk(Home);

impl Desk {
    fn new() -> Self {
        let desk = Self(Home::new());
        desk.put("0.1.0");
        desk
    }

    fn put(&self, version: &str) {
        let manifest = format!(
            "name = \"knock\"\nversion = \"{version}\"\ndescription = \"Knocks\"\n[grants.check]\nhost = true\nnet.icmp = [\"*\"]"
        );
        let manifest = Manifest::from_toml(&manifest).expect("good");
        let bytes = pack(&checker(PING, USE_PING), &manifest).expect("it packs");
        std::fs::write(self.path("knock.wasm"), bytes).expect("written");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    async fn run(&self, args: &[&str]) -> Ran {
        let mut command = self.0.command("http://127.0.0.1:1", &[]);
        command.arg("plugin").args(args).current_dir(self.0.path());
        crate::iaso::finish(command).await
    }
}

#[tokio::test]
async fn an_operator_sees_what_a_plugin_may_do_asks_for_and_is_signed_by() {
    let desk = Desk::new();
    let ran = desk.run(&["inspect", "knock.wasm"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let shown = ran.out;
    let ran = desk
        .run(&["inspect", "knock.wasm", "--output", "json"])
        .await;
    let json: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(json["name"], "knock");
    assert_eq!(json["uses"][0]["import"], "iaso:plugin/net@0.1.0");
    assert_eq!(json["signature"]["state"], "none");
    assert_eq!(json["unused"], serde_json::json!(["host"]));
    // What depends on the encoder's version is not what this test is about.
    let shown = shown
        .replace(json["digest"].as_str().expect("text"), "[digest]")
        .replace(&format!("{} bytes", json["bytes"]), "[n] bytes");
    insta::assert_snapshot!("inspect", shown);
}

#[tokio::test]
async fn a_signature_is_believed_by_the_key_and_for_the_bytes_it_was_made_for() {
    let desk = Desk::new();
    for name in ["alice", "mallory"] {
        assert_eq!(desk.run(&["keygen", name]).await.code, 0);
    }
    let mode = |name| {
        std::fs::metadata(desk.path(name))
            .expect("there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode("alice.key"), mode("alice.pub")), (0o600, 0o644));
    let ran = desk
        .run(&["verify", "knock.wasm", "--key", "alice.pub"])
        .await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("NOT trusted: it is not signed"), "{ran:?}");

    assert_eq!(
        desk.run(&["sign", "knock.wasm", "--key", "alice.key"])
            .await
            .code,
        0
    );
    let ran = desk
        .run(&["verify", "knock.wasm", "--key", "alice.pub"])
        .await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.out
            .starts_with("knock 0.1.0 is trusted: signed by alice ("),
        "{ran:?}"
    );
    let ran = desk
        .run(&["inspect", "knock.wasm", "--key", "alice.pub"])
        .await;
    assert!(ran.out.contains("good, by alice (key "), "{ran:?}");
    let ran = desk
        .run(&["verify", "knock.wasm", "--key", "mallory.pub"])
        .await;
    assert!(
        ran.code == 1 && ran.out.contains("which is not trusted"),
        "{ran:?}"
    );
    let ran = desk
        .run(&[
            "verify",
            "knock.wasm",
            "--key",
            "alice.pub",
            "--minimum",
            "0.2.0",
        ])
        .await;
    assert!(
        ran.code == 1 && ran.out.contains("knock 0.1.0 is older than 0.2.0"),
        "{ran:?}"
    );

    // Another version under the old one's signature.
    desk.put("0.2.0");
    let ran = desk
        .run(&["verify", "knock.wasm", "--key", "alice.pub"])
        .await;
    assert!(ran.code == 1 && ran.out.contains("exchanged"), "{ran:?}");
    let ran = desk.run(&["inspect", "knock.wasm"]).await;
    assert!(ran.code == 1 && ran.out.contains("BAD: "), "{ran:?}");
}

#[tokio::test]
async fn a_secret_key_that_others_can_read_does_not_sign_and_none_is_overwritten() {
    let desk = Desk::new();
    assert_eq!(desk.run(&["keygen", "alice"]).await.code, 0);
    let before = std::fs::read(desk.path("alice.key")).expect("there");
    let ran = desk.run(&["keygen", "alice"]).await;
    assert_eq!(ran.code, 1);
    ran.assert_says(&["nothing is overwritten"]);
    assert_eq!(
        std::fs::read(desk.path("alice.key")).expect("there"),
        before
    );
    std::fs::set_permissions(
        desk.path("alice.key"),
        std::fs::Permissions::from_mode(0o640),
    )
    .expect("set");
    let ran = desk
        .run(&["sign", "knock.wasm", "--key", "alice.key"])
        .await;
    assert_eq!(ran.code, 1);
    ran.assert_says(&["chmod 600"]);
    let ran = desk
        .run(&["sign", "knock.wasm", "--key", "alice.pub"])
        .await;
    ran.assert_says(&["others on this machine can read"]);
}

#[tokio::test]
async fn what_is_no_plugin_is_refused_in_words_for_people() {
    let desk = Desk::new();
    std::fs::write(desk.path("no.wasm"), "#!/bin/sh").expect("written");
    let ran = desk.run(&["inspect", "no.wasm"]).await;
    assert_eq!(ran.code, 1);
    ran.assert_says(&["no.wasm: this is not WebAssembly"]);
    std::fs::write(desk.path("bare.wasm"), checker("", OK_EMPTY)).expect("written");
    assert_eq!(desk.run(&["keygen", "alice"]).await.code, 0);
    let ran = desk.run(&["sign", "bare.wasm", "--key", "alice.key"]).await;
    assert_eq!(ran.code, 1);
    ran.assert_says(&["has no manifest", "iaso plugin pack"]);
    let ran = desk.run(&["inspect", "gone.wasm"]).await;
    ran.assert_says(&["cannot read gone.wasm"]);
}

#[tokio::test]
async fn a_new_project_is_whole_and_overwrites_nothing() {
    let desk = Desk::new();
    let ran = desk.run(&["new", "low-memory"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.out.contains("cd low-memory && iaso plugin build"),
        "{ran:?}"
    );
    for file in [
        "plugin.toml",
        "src/lib.rs",
        "fixtures/short.toml",
        "vendor/iaso-plugin/src/lib.rs",
        "vendor/wit/plugin.wit",
    ] {
        assert!(desk.path("low-memory").join(file).is_file(), "{file}");
    }
    let ran = desk.run(&["new", "low-memory"]).await;
    assert_eq!(ran.code, 1);
    ran.assert_says(&["nothing is overwritten"]);
    let ran = desk.run(&["new", "Low Memory"]).await;
    assert_eq!(ran.code, 2);
    ran.assert_says(&["1 to 63 of a-z"]);
}

#[tokio::test]
async fn outside_of_a_plugins_directory_every_command_says_where_it_belongs() {
    let desk = Desk::new();
    for command in ["build", "test", "bench"] {
        let ran = desk.run(&[command]).await;
        assert_eq!(ran.code, 1, "{command}");
        ran.assert_says(&["plugin.toml is not there", "iaso plugin new NAME"]);
    }
    std::fs::write(
        desk.path("plugin.toml"),
        "name = \"x\"\nversion = \"0.1.0\"",
    )
    .expect("written");
    let ran = desk.run(&["build"]).await;
    assert_eq!(ran.code, 1);
    ran.assert_says(&["no Cargo.toml", "iaso plugin pack FILE.wasm"]);
    let ran = desk.run(&["test"]).await;
    ran.assert_says(&["build/x.wasm is not there", "iaso plugin build"]);
}

#[tokio::test]
async fn fixtures_and_the_budget_decide_the_exit_code() {
    let desk = Desk::new();
    let manifest = |budget: u32| {
        let text = format!("name = \"x\"\nversion = \"0.1.0\"\n[budget]\nmemory_kib = {budget}");
        std::fs::write(desk.path("plugin.toml"), text).expect("written");
    };
    std::fs::write(desk.path("bare.wasm"), checker("", OK_EMPTY)).expect("written");
    let compiler = iaso_components::compiler();
    let compiler = compiler.to_str().expect("plain");
    let pack = ["pack", "bare.wasm", "--out", "build/x.wasm"];
    manifest(256);
    let ran = desk.run(&pack).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = desk.run(&["test", "--compiler", compiler]).await;
    assert_eq!(ran.code, 1);
    ran.assert_says(&["no fixture in", "--record"]);

    std::fs::create_dir(desk.path("fixtures")).expect("made");
    std::fs::write(desk.path("fixtures/a.toml"), "about = \"nothing\"").expect("written");
    let ran = desk.run(&["test", "--compiler", compiler]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("ok    a: nothing"), "{ran:?}");
    let ran = desk
        .run(&["bench", "--runs", "10", "--compiler", compiler])
        .await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("128 of 256"), "{ran:?}");

    std::fs::write(desk.path("fixtures/b.toml"), "[[expect]]\ncode = \"x.ok\"").expect("written");
    let ran = desk.run(&["test", "--compiler", compiler]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("there is no finding x.ok"), "{ran:?}");
    manifest(64);
    let ran = desk
        .run(&["bench", "a", "--runs", "10", "--compiler", compiler])
        .await;
    assert_eq!(ran.code, 0, "the component's own budget counts: {ran:?}");
    ran.assert_says(&["build it again"]);
    assert_eq!(desk.run(&pack).await.code, 0);
    let ran = desk
        .run(&["bench", "a", "--runs", "10", "--compiler", compiler])
        .await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("128 of 64: OVER"), "{ran:?}");
}
