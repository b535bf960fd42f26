//! Whose plugins go out, over restarts of the controller.

use super::*;
use iaso_components::{OK_EMPTY, checker};
use iaso_package::{Manifest, SecretKey, pack, sign};

/// A controller's directory with one plugin in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn component(&self) -> PathBuf {
        self.0.path().join("disk-hog.wasm")
    }

    fn put(&self, version: &str, key: Option<&SecretKey>) {
        let manifest =
            Manifest::from_toml(&format!("name = \"disk-hog\"\nversion = \"{version}\"")).unwrap();
        let bytes = pack(&checker("", OK_EMPTY), &manifest).unwrap();
        std::fs::write(self.component(), &bytes).unwrap();
        let signature = self.component().with_extension("wasm.sig");
        match key {
            Some(key) => std::fs::write(signature, sign(&bytes, key).to_text()).unwrap(),
            None => std::fs::remove_file(signature).unwrap_or_default(),
        }
    }

    /// A start of the controller.
    fn start(&self, trust: Option<&str>) -> Plugins {
        let config: PluginConfig = toml::from_str(&format!(
            "name = \"disk-hog\"\npath = {:?}\ninterval_secs = 60\ntimeout_ms = 1000",
            self.component()
        ))
        .unwrap();
        let trust: Option<Trust> = trust.map(|text| toml::from_str(text).unwrap());
        Plugins::read(
            &[config],
            trust.as_ref(),
            self.0.path(),
            "iaso-compile".into(),
        )
        .unwrap()
    }

    /// Why the plugin does not go out; empty when it does.
    fn refusal(&self, trust: Option<&str>) -> String {
        let plugins = self.start(trust);
        let untrusted = plugins.untrusted();
        let shown = plugins.refused(Role::Worker);
        assert_eq!(untrusted, shown, "what is refused is shown");
        untrusted.into_iter().map(|(_, why)| why).collect()
    }
}

fn alice() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn trusting_alice() -> String {
    format!(
        "keys = [{{ who = \"alice\", key = \"{}\" }}]",
        alice().public()
    )
}

#[test]
fn without_plugin_trust_a_file_that_is_named_goes_out() {
    let place = Place::new();
    place.put("0.1.0", None);
    assert_eq!(place.refusal(None), "");
}

#[test]
fn with_plugin_trust_an_unsigned_plugin_stays() {
    let place = Place::new();
    place.put("0.1.0", None);
    assert!(
        place
            .refusal(Some(&trusting_alice()))
            .starts_with("it is not signed")
    );
    place.put("0.1.0", Some(&SecretKey::from_seed(&[2; 32])));
    assert!(
        place
            .refusal(Some(&trusting_alice()))
            .contains("which is not trusted")
    );
    place.put("0.1.0", Some(&alice()));
    assert_eq!(place.refusal(Some(&trusting_alice())), "");
}

#[test]
fn an_old_signed_version_is_refused_by_name_after_a_restart_too() {
    let place = Place::new();
    let trust = trusting_alice();
    place.put("0.2.0", Some(&alice()));
    assert_eq!(place.refusal(Some(&trust)), "");
    place.put("0.1.0", Some(&alice()));
    for _ in 0..2 {
        let why = place.refusal(Some(&trust));
        assert!(
            why.starts_with("disk-hog 0.1.0 is older than 0.2.0"),
            "{why}"
        );
    }
    let allowed = format!("{trust}\nminimum = {{ disk-hog = \"0.1.0\" }}");
    assert_eq!(place.refusal(Some(&allowed)), "");
    place.put("0.3.0", Some(&alice()));
    assert_eq!(place.refusal(Some(&trust)), "");
}

#[test]
fn a_damaged_memory_of_versions_refuses_and_does_not_stop_the_controller() {
    let place = Place::new();
    place.put("0.2.0", Some(&alice()));
    std::fs::write(place.0.path().join("plugin-versions.json"), "{").unwrap();
    let why = place.refusal(Some(&trusting_alice()));
    assert!(why.contains("plugin-versions.json is damaged"), "{why}");
}

#[tokio::test]
async fn what_is_refused_is_not_even_compiled() {
    let place = Place::new();
    place.put("0.1.0", None);
    let plugins = Arc::new(place.start(Some(&trusting_alice())));
    let engine = Engine {
        hash: "a".into(),
        target: "b".into(),
    };
    assert!(plugins.ensure(&engine).await.is_empty());
    assert!(plugins.ready(Role::Worker, &engine).is_empty());
    assert!(!place.0.path().join("plugins").exists());
}

/// A compiler that fails for the machine's sake `times` times, then compiles for the engine `a`.
fn moody_compiler(place: &Path, times: u32) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let program = place.join("compiler");
    let script = format!(
        r#"#!/bin/sh
echo x >> {tries}
if [ "$(wc -l < {tries})" -le {times} ]; then echo "out of memory" >&2; exit 1; fi
printf compiled > "$4"
hash() {{ sha256sum "$1" | cut -c1-64; }}
echo "{{\"engine_hash\":\"a\",\"digest\":\"$(hash "$5")\",\"compiled_digest\":\"$(hash "$4")\"}}"
"#,
        tries = place.join("tries").display()
    );
    std::fs::write(&program, script).unwrap();
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    program
}

#[tokio::test]
async fn a_compilation_that_failed_for_the_machines_sake_is_tried_again_and_told_once() {
    let place = Place::new();
    place.put("0.1.0", None);
    let mut plugins = place.start(None);
    plugins.workshop.compiler = moody_compiler(place.0.path(), 2);
    let plugins = Arc::new(plugins);
    let engine = Engine {
        hash: "a".into(),
        target: "b".into(),
    };
    let news = plugins.ensure(&engine).await;
    assert_eq!(news.len(), 1);
    assert!(
        news[0]
            .1
            .starts_with("out of memory (tried 1 times, and again in"),
        "{news:?}"
    );
    assert_eq!(plugins.ensure(&engine).await, [], "not before its time");
    assert_eq!(plugins.refused(Role::Worker).len(), 1);
    assert_eq!(
        plugins.retry().await,
        (Vec::new(), false),
        "the same trouble is no news"
    );
    assert!(plugins.ready(Role::Worker, &engine).is_empty());
    assert_eq!(plugins.retry().await, (Vec::new(), true));
    assert_eq!(plugins.ready(Role::Worker, &engine).len(), 1);
    assert_eq!(plugins.refused(Role::Worker), []);
}
