//! What can be told of a component without running it, and whose components run.

#![allow(clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use iaso_components::{OK_EMPTY, PING, USE_PING, checker, component, module};
use iaso_grants::Grants;
use iaso_package::{
    Kind, Looked, Manifest, NotAPlugin, Refusal, SecretKey, Trust, TrustedKey, look, pack, sign,
};
use proptest::prelude::*;
use semver::Version;

fn looked(bytes: &[u8]) -> Looked {
    look(bytes).expect("a component")
}

fn manifest(name: &str, version: &str) -> Manifest {
    Manifest::from_toml(&format!("name = \"{name}\"\nversion = \"{version}\"")).expect("good")
}

fn packed(name: &str, version: &str) -> Vec<u8> {
    pack(&checker("", OK_EMPTY), &manifest(name, version)).expect("it packs")
}

fn grants(json: &str) -> Grants {
    serde_json::from_str(json).expect("good grants")
}

#[test]
fn imports_are_told_as_capabilities_with_the_functions_used_and_their_grants() {
    let looked = looked(&checker(PING, USE_PING));
    assert_eq!(looked.kind(), Kind::Check);
    assert_eq!(looked.problems(), Vec::<String>::new());
    let uses = looked.uses();
    assert_eq!(uses.len(), 1, "{uses:?}");
    assert_eq!(uses[0].import, "iaso:plugin/net@0.1.0");
    assert_eq!(uses[0].functions, ["ping"]);
    assert_eq!(uses[0].grants, ["net.icmp"]);
    assert_eq!(looked.missing(&Grants::default()), ["net.icmp"]);
    let right = grants(r#"{"check": {"net": {"icmp": ["*"]}, "host": true}}"#);
    assert!(looked.missing(&right).is_empty());
    assert_eq!(looked.unused(&right), ["host"]);
}

#[test]
fn a_manifest_is_packed_found_and_replaced() {
    let bare = checker("", OK_EMPTY);
    assert!(looked(&bare).manifest.is_none());
    let first = pack(&bare, &manifest("disk-hog", "0.1.0")).expect("it packs");
    let second = pack(&first, &manifest("disk-hog", "0.2.0")).expect("it packs again");
    let found = looked(&second);
    assert_eq!(
        found.good_manifest().map(|m| m.version.to_string()),
        Some("0.2.0".to_owned())
    );
    assert_ne!(looked(&first).digest, found.digest);
    assert_eq!(
        pack(&second, &manifest("disk-hog", "0.1.0")).expect("back"),
        first
    );
}

#[test]
fn two_manifests_are_none() {
    let one = packed("disk-hog", "0.1.0");
    let bare = checker("", OK_EMPTY);
    let section = &one[bare.len()..];
    let looked = looked(&[one.as_slice(), section].concat());
    assert!(looked.good_manifest().is_none());
    assert!(
        looked.problems()[0].contains("has 2 manifests"),
        "{:?}",
        looked.problems()
    );
}

#[test]
fn what_is_no_component_is_told_apart() {
    assert_eq!(look(b"#!/bin/sh").err(), Some(NotAPlugin::NotWasm));
    let core = wat::parse_str(module("", OK_EMPTY)).expect("good text");
    assert_eq!(look(&core).err(), Some(NotAPlugin::CoreModule));
    let whole = checker("", OK_EMPTY);
    assert!(matches!(
        look(&whole[..whole.len() / 2]),
        Err(NotAPlugin::Damaged(_))
    ));
    let empty = wat::parse_str("(component)").expect("good text");
    assert!(
        looked(&empty).problems()[0].starts_with("it does not export `iaso:plugin/check@0.1.0`")
    );
}

#[test]
fn wasi_is_named_with_its_cause_and_never_in_a_linkers_words() {
    let wasi = r#"(component (import "wasi:cli/exit@0.2.0" (instance)) (import "wasi:io/poll@0.2.0" (instance)))"#;
    let problems = looked(&wat::parse_str(wasi).expect("good text")).problems();
    let text = problems
        .iter()
        .find(|text| text.contains("WASI"))
        .expect("it is told");
    for words in [
        "`wasi:cli/exit@0.2.0`",
        "`wasi:io/poll@0.2.0`",
        "toolchain",
        "wasm32-unknown-unknown",
    ] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
}

#[test]
fn a_newer_interface_is_named_with_what_this_agent_has() {
    let newer = r#"(component (import "iaso:plugin/http@0.3.0" (instance)) (import "iaso:plugin/moon@0.1.0" (instance)))"#;
    let problems = looked(&wat::parse_str(newer).expect("good text")).problems();
    assert!(
        problems.iter().any(|text| text.starts_with("it needs `iaso:plugin/http@0.3.0`; this agent has 0.1.0")),
        "{problems:?}"
    );
    assert!(
        problems.iter().any(|text| text
            .contains("`iaso:plugin/moon@0.1.0`; this agent has 0.1.0 without that interface")),
        "{problems:?}"
    );
}

#[test]
fn a_fixer_is_told_from_a_checker() {
    let says = iaso_components::Says {
        code: "p.x",
        severity: "ok",
        remedy: "clean",
        applied: "fixed",
    };
    assert_eq!(looked(&says.fixer()).kind(), Kind::CheckAndFix);
    let _ = component; // The module's other maker has its own tests.
}

fn alice() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn trusting(plugins: Option<Vec<String>>) -> Trust {
    Trust {
        keys: vec![TrustedKey {
            who: "alice".to_owned(),
            key: alice().public(),
            plugins,
        }],
        ..Trust::default()
    }
}

fn judge(
    trust: &Trust,
    bytes: &[u8],
    key: Option<&SecretKey>,
    seen: &[(&str, &str)],
) -> Result<String, Refusal> {
    let seen: BTreeMap<String, Version> = seen
        .iter()
        .map(|(name, version)| {
            (
                (*name).to_owned(),
                Version::parse(version).expect("a version"),
            )
        })
        .collect();
    let signature = key.map(|key| sign(bytes, key));
    trust
        .judge(bytes, signature.as_ref(), "disk-hog", &seen)
        .map(|trusted| trusted.word)
}

#[test]
fn a_plugin_runs_when_a_trusted_key_signed_these_very_bytes() {
    let bytes = packed("disk-hog", "0.2.0");
    let word = judge(&trusting(None), &bytes, Some(&alice()), &[]).expect("trusted");
    assert!(word.starts_with("signed by alice ("), "{word}");
    assert!(matches!(
        judge(&trusting(None), &bytes, None, &[]),
        Err(Refusal::Unsigned(_))
    ));
    let mallory = SecretKey::from_seed(&[2; 32]);
    assert!(matches!(
        judge(&trusting(None), &bytes, Some(&mallory), &[]),
        Err(Refusal::UnknownKey { .. })
    ));
}

#[test]
fn an_old_signed_version_that_is_replayed_is_refused_by_name() {
    let old = packed("disk-hog", "0.1.0");
    let refusal = judge(
        &trusting(None),
        &old,
        Some(&alice()),
        &[("disk-hog", "0.2.0")],
    )
    .expect_err("refused");
    let text = refusal.to_string();
    assert!(
        text.starts_with("disk-hog 0.1.0 is older than 0.2.0, which ran here before"),
        "{text}"
    );
    assert!(
        text.contains("plugin_trust.minimum.disk-hog = \"0.1.0\""),
        "{text}"
    );
    // The operator says so: then it may.
    let mut trust = trusting(None);
    trust
        .minimum
        .insert("disk-hog".to_owned(), Version::new(0, 1, 0));
    assert!(judge(&trust, &old, Some(&alice()), &[("disk-hog", "0.2.0")]).is_ok());
    trust
        .minimum
        .insert("disk-hog".to_owned(), Version::new(0, 3, 0));
    assert!(matches!(
        judge(&trust, &old, Some(&alice()), &[]),
        Err(Refusal::BelowMinimum { .. })
    ));
}

#[test]
fn a_signature_of_another_version_does_not_carry_over() {
    let (old, new) = (packed("disk-hog", "0.1.0"), packed("disk-hog", "0.2.0"));
    let refusal = trusting(None)
        .judge(
            &new,
            Some(&sign(&old, &alice())),
            "disk-hog",
            &BTreeMap::new(),
        )
        .expect_err("refused");
    assert!(refusal.to_string().contains("exchanged"), "{refusal}");
}

#[test]
fn revocation_wins_over_trust() {
    let bytes = packed("disk-hog", "0.2.0");
    let mut trust = trusting(None);
    trust.revoked_keys.push(alice().public().id());
    assert!(matches!(
        judge(&trust, &bytes, Some(&alice()), &[]),
        Err(Refusal::RevokedKey(_))
    ));
    let mut trust = trusting(None);
    trust.digests.push(looked(&bytes).digest);
    trust
        .revoked_digests
        .push(looked(&bytes).digest.to_uppercase());
    assert_eq!(
        judge(&trust, &bytes, Some(&alice()), &[]),
        Err(Refusal::RevokedComponent)
    );
}

#[test]
fn a_key_signs_only_what_it_is_trusted_for_and_a_plugin_runs_only_under_its_name() {
    let bytes = packed("disk-hog", "0.2.0");
    let trust = trusting(Some(vec!["other".to_owned()]));
    let refusal = judge(&trust, &bytes, Some(&alice()), &[]).expect_err("refused");
    assert!(
        refusal
            .to_string()
            .contains("trusted for other and not for disk-hog"),
        "{refusal}"
    );
    let other = packed("other", "9.0.0");
    assert!(matches!(
        judge(&trusting(None), &other, Some(&alice()), &[]),
        Err(Refusal::OtherPlugin { .. })
    ));
}

#[test]
fn what_the_operator_built_runs_by_its_digest_without_a_manifest() {
    let bare = checker("", OK_EMPTY);
    assert!(matches!(
        judge(&trusting(None), &bare, Some(&alice()), &[]),
        Err(Refusal::NoManifest(_))
    ));
    let mut trust = trusting(None);
    trust.digests.push(looked(&bare).digest);
    assert_eq!(
        judge(&trust, &bare, None, &[]),
        Ok("its digest is trusted".to_owned())
    );
}

#[test]
fn a_digest_or_key_that_is_none_is_named_with_its_place() {
    let mut trust = trusting(None);
    assert_eq!(trust.problem(), None);
    trust.revoked_keys.push("alice".to_owned());
    assert!(
        trust
            .problem()
            .expect("wrong")
            .contains("plugin_trust.revoked_keys has \"alice\"")
    );
    trust.digests.push("beef".to_owned());
    assert!(
        trust
            .problem()
            .expect("wrong")
            .contains("plugin_trust.digests has \"beef\"")
    );
}

proptest! {
    /// Catches: an index or a length out of a file that is believed.
    #[test]
    fn a_component_with_any_byte_changed_is_looked_at_or_refused(at in any::<prop::sample::Index>(), by in 1u8.., cut in any::<prop::sample::Index>()) {
        let mut bytes = packed("disk-hog", "0.1.0");
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        if let Ok(seen) = look(&bytes) {
            let _ = (seen.problems(), seen.uses());
        }
        let _ = pack(&bytes, &manifest("disk-hog", "0.2.0"));
        bytes.truncate(cut.index(bytes.len()));
        let _ = pack(&bytes, &manifest("disk-hog", "0.2.0"));
    }
}
