//! What the check says of Flux objects in every state we know of.

use flux::Flux;
use iaso_plugin::Error;
use iaso_plugin::capability::{Condition, StatusObject};
use iaso_plugin::testing::{MockHost, START_UNIX_MS, check, lines};

const KUSTOMIZATIONS: &str = "conditions kustomize.toolkit.fluxcd.io/v1 kustomizations flux-system";
const ONE: &[(&str, &str)] = &[("kinds", "Kustomization")];
const OK: &str = "ok ok flux";
const MIN_MS: u64 = 60_000;

/// A condition that has lasted for so many minutes.
fn condition(name: &str, status: &str, minutes: u64) -> Condition {
    Condition {
        name: name.into(),
        status: status.into(),
        reason: "ReconciliationFailed".into(),
        message: String::new(),
        changed_unix_ms: START_UNIX_MS - minutes * MIN_MS,
    }
}

fn apps(conditions: Vec<Condition>) -> StatusObject {
    StatusObject {
        namespace: "flux-system".into(),
        name: "apps".into(),
        created_unix_ms: START_UNIX_MS - 60 * MIN_MS,
        generation: 3,
        observed_generation: 3,
        suspended: false,
        conditions,
        attributes: Vec::new(),
    }
}

fn cluster(objects: Vec<StatusObject>) -> MockHost {
    MockHost::new().on_conditions(KUSTOMIZATIONS, [Ok(objects)])
}

fn expect(object: StatusObject, expected: &str) {
    let host = cluster(vec![object]);
    assert_eq!(lines::<Flux>(&host, ONE), [expected]);
}

const SUBJECT: &str = "Kustomization/flux-system/apps";

#[test]
fn what_is_ready_is_well() {
    expect(apps(vec![condition("Ready", "True", 600)]), OK);
}

#[test]
fn what_fails_counts_only_when_it_lasts() {
    expect(apps(vec![condition("Ready", "False", 4)]), OK);
    expect(
        apps(vec![condition("Ready", "False", 6)]),
        &format!("not-ready warning {SUBJECT}"),
    );
}

#[test]
fn what_is_at_work_counts_only_when_it_does_not_end() {
    expect(apps(vec![condition("Ready", "Unknown", 29)]), OK);
    expect(
        apps(vec![condition("Ready", "Unknown", 31)]),
        &format!("stuck warning {SUBJECT}"),
    );
    expect(apps(vec![]), &format!("stuck warning {SUBJECT}"));
    let mut young = apps(vec![]);
    young.created_unix_ms = START_UNIX_MS;
    expect(young, OK);
}

#[test]
fn conditions_of_an_older_generation_are_not_believed() {
    let behind = |status, minutes| {
        let mut object = apps(vec![condition("Ready", status, minutes)]);
        object.generation = 4;
        object
    };
    expect(behind("False", 20), OK);
    expect(behind("True", 20), OK);
    expect(behind("True", 40), &format!("stuck warning {SUBJECT}"));
}

#[test]
fn a_field_that_two_set_is_told_at_once_with_both_names() {
    let mut ready = condition("Ready", "False", 0);
    ready.message = "Deployment/apps/web dry-run failed: Apply failed with 1 conflict: conflict with \"pulumi-kubernetes\" using apps/v1: .spec.replicas".into();
    let host = cluster(vec![apps(vec![ready])]);
    let findings = check::<Flux>(&host, ONE).expect("a right configuration");
    assert_eq!(findings[0].code, "flux.field-conflict");
    assert_eq!(
        findings[0].attributes,
        [("managers".to_owned(), "pulumi-kubernetes".to_owned())]
    );
}

#[test]
fn what_has_given_up_is_told_at_once() {
    let mut stalled = condition("Stalled", "True", 0);
    stalled.message = "install retries exhausted".into();
    let host = cluster(vec![apps(vec![condition("Ready", "False", 0), stalled])]);
    let findings = check::<Flux>(&host, ONE).expect("right");
    assert_eq!(findings[0].code, "flux.stalled");
    assert!(
        findings[0].summary.contains("--reset"),
        "{}",
        findings[0].summary
    );
    expect(
        apps(vec![
            condition("Ready", "True", 9),
            condition("Stalled", "False", 9),
        ]),
        OK,
    );
}

#[test]
fn what_is_suspended_is_so_on_purpose_and_told() {
    let mut object = apps(vec![condition("Ready", "False", 600)]);
    object.suspended = true;
    let host = cluster(vec![object]);
    assert_eq!(lines::<Flux>(&host, ONE), [OK, "suspended info flux"]);
}

#[test]
fn what_cannot_be_looked_at_is_unknown_and_nothing_is_not_well() {
    assert_eq!(
        lines::<Flux>(&cluster(vec![]), ONE),
        ["unknown unknown flux"]
    );
    let host = cluster(vec![apps(vec![condition("Ready", "True", 9)])]).on_conditions(
        "conditions helm.toolkit.fluxcd.io/v2 helmreleases flux-system",
        [Err(Error::Denied("kube.conditions".into()))],
    );
    assert_eq!(
        lines::<Flux>(&host, &[("kinds", "Kustomization,HelmRelease")]),
        ["unknown unknown helmreleases in flux-system"]
    );
    let timeless = cluster(vec![]).on_info("info", [Err(Error::Timeout)]);
    assert_eq!(lines::<Flux>(&timeless, ONE), ["unknown unknown flux"]);
}

#[test]
fn many_are_counted_and_never_more_than_the_host_takes() {
    let objects = vec![apps(vec![condition("Ready", "False", 60)]); 100];
    let findings = check::<Flux>(&cluster(objects), ONE).expect("right");
    assert_eq!(findings.len(), 25);
    assert!(findings[24].summary.starts_with("76 objects more"));
}

#[test]
fn a_wrong_configuration_is_refused_in_words_that_help() {
    for (pairs, words) in [
        ([("kind", "x")], "unknown configuration key"),
        (
            [("kinds", "kustomizations")],
            "must be of Kustomization, HelmRelease",
        ),
        ([("namespaces", "")], "must name one at least"),
    ] {
        let text = lines::<Flux>(&cluster(vec![]), &pairs).join("");
        assert!(
            text.starts_with("error: ") && text.contains(words),
            "{text}"
        );
    }
}
