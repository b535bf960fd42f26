//! What the check says of images in every state we know of.

use std::time::Duration;

use iaso_plugin::Error;
use iaso_plugin::capability::{ContainerState, PodState, Workload};
use iaso_plugin::testing::{MockHost, START_UNIX_MS, check, lines};
use image_drift::ImageDrift;

const APPS: &[(&str, &str)] = &[("namespaces", "apps")];
const OK: &str = "ok ok this node";
const OLD: &str = "ghcr.io/x/web:a031772";
const NEW: &str = "ghcr.io/x/web:f44c2a2";

fn pod(name: &str, image: &str, image_id: &str) -> PodState {
    PodState {
        namespace: "apps".into(),
        name: name.into(),
        uid: "u".into(),
        phase: "Running".into(),
        reason: String::new(),
        created_unix_ms: START_UNIX_MS,
        delete_by_unix_ms: None,
        finalizers: Vec::new(),
        owner: "ReplicaSet/web-7d9".into(),
        containers: vec![ContainerState {
            name: "web".into(),
            kind: "container".into(),
            image: image.into(),
            image_id: image_id.into(),
            state: "running".into(),
            reason: String::new(),
            message: String::new(),
            ready: true,
            restarts: 0,
            last_reason: String::new(),
            last_exit_code: None,
            attributes: Vec::new(),
        }],
        attributes: Vec::new(),
    }
}

fn web(image: &str) -> Workload {
    Workload {
        namespace: "apps".into(),
        kind: "Deployment".into(),
        name: "web".into(),
        settled: true,
        images: vec![("web".into(), image.into())],
        pods: vec!["web-1".into(), "web-2".into()],
        attributes: Vec::new(),
    }
}

fn node(pods: Vec<PodState>, workload: Workload) -> MockHost {
    MockHost::new()
        .on_pod_states("pod-states apps", [Ok(pods)])
        .on_workloads("workloads apps", [Ok(vec![workload])])
}

/// The first look, and the one a quarter of an hour later.
fn expect(host: &MockHost, first: &[&str], later: &[&str]) {
    assert_eq!(lines::<ImageDrift>(host, APPS), first);
    host.advance(Duration::from_mins(15));
    assert_eq!(lines::<ImageDrift>(host, APPS), later);
}

#[test]
fn pods_that_run_what_is_asked_for_are_well() {
    let host = node(vec![pod("web-1", NEW, "")], web(NEW));
    expect(&host, &[OK], &[OK]);
}

#[test]
fn a_pod_that_is_behind_counts_once_the_roll_out_has_had_its_time() {
    let host = node(vec![pod("web-1", OLD, ""), pod("web-2", NEW, "")], web(NEW));
    expect(&host, &[OK], &["stale warning apps/web"]);
    let summary = &check::<ImageDrift>(&host, APPS).expect("right")[0].summary;
    assert!(
        summary.starts_with("web-1 still run ghcr.io/x/web:a031772 after 15 minutes, and ghcr.io/x/web:f44c2a2 is asked for"),
        "{summary}"
    );
}

#[test]
fn a_difference_that_goes_away_begins_anew() {
    let behind = || vec![pod("web-1", OLD, "")];
    let host = node(vec![], web(NEW)).on_pod_states(
        "pod-states apps",
        [Ok(behind()), Ok(vec![pod("web-1", NEW, "")]), Ok(behind())],
    );
    expect(&host, &[OK], &[OK]);
    expect(&host, &[OK], &["stale warning apps/web"]);
}

#[test]
fn a_workload_that_is_not_settled_is_behind_on_purpose() {
    let mut paused = web(NEW);
    paused.settled = false;
    expect(&node(vec![pod("web-1", OLD, "")], paused), &[OK], &[OK]);
    // Of another workload, going, or ended: nothing to be behind.
    let mut going = pod("web-1", OLD, "");
    going.delete_by_unix_ms = Some(START_UNIX_MS);
    let mut ended = pod("web-2", OLD, "");
    ended.phase = "Failed".into();
    let host = node(vec![going, ended, pod("other-1", OLD, "")], web(NEW));
    expect(&host, &[OK], &[OK]);
}

#[test]
fn what_the_operator_expects_is_compared_with_what_is_asked_for() {
    let host = node(vec![pod("web-1", OLD, "")], web(OLD));
    for (image, expected) in [
        ("a031772", OK),
        (OLD, OK),
        ("f44c2a2", "not-expected warning apps/web"),
        ("31772", "not-expected warning apps/web"),
    ] {
        let expect = format!("apps/web={image}");
        let pairs = [("namespaces", "apps"), ("expect", expect.as_str())];
        let _ = lines::<ImageDrift>(&host, &pairs);
        host.advance(Duration::from_mins(15));
        assert_eq!(lines::<ImageDrift>(&host, &pairs), [expected], "{image}");
    }
}

#[test]
fn one_tag_with_two_digests_was_moved() {
    let tag = "ghcr.io/x/web:latest";
    let of = |name: &str, digest: &str| pod(name, tag, &format!("ghcr.io/x/web@sha256:{digest}"));
    let same = node(vec![of("web-1", "aa"), of("web-2", "aa")], web(tag));
    expect(&same, &[OK], &[OK]);
    let moved = node(vec![of("web-1", "aa"), of("web-2", "bb")], web(tag));
    expect(&moved, &[OK], &["tag-moved warning apps/web-1"]);
    // An id without a repository is no digest that could be compared.
    let ids = node(
        vec![
            pod("web-1", tag, "sha256:aa"),
            pod("web-2", tag, "sha256:bb"),
        ],
        web(tag),
    );
    expect(&ids, &[OK], &[OK]);
}

#[test]
fn a_digest_that_is_asked_for_must_be_the_one_that_runs() {
    let asked = "ghcr.io/x/web:v1@sha256:aa";
    let right = node(
        vec![pod("web-1", asked, "ghcr.io/x/web@sha256:aa")],
        web(asked),
    );
    expect(&right, &[OK], &[OK]);
    let wrong = node(
        vec![pod("web-1", asked, "ghcr.io/x/web@sha256:bb")],
        web(asked),
    );
    expect(&wrong, &[OK], &["digest-differs warning apps/web-1"]);
}

#[test]
fn what_cannot_be_looked_at_or_remembered_is_unknown() {
    let behind = || node(vec![pod("web-1", OLD, "")], web(NEW));
    let denied = || [Err(Error::Denied("kube.workloads".into()))];
    let host = behind().on_workloads("workloads apps", denied());
    expect(&host, &["unknown unknown apps"], &["unknown unknown apps"]);
    let forgetful = behind().with_broken_state();
    let unknown = "unknown unknown this node";
    expect(&forgetful, &[unknown], &[unknown]);
    let timeless = behind().on_info("info", [Err(Error::Timeout)]);
    expect(&timeless, &[unknown], &[unknown]);
    let garbled = behind().with_state("since", b"\xff\tx\nnonsense");
    expect(&garbled, &[OK], &["stale warning apps/web"]);
}

#[test]
fn a_wrong_configuration_is_refused_in_words_that_help() {
    for (pairs, words) in [
        ([("namespace", "x")], "unknown configuration key"),
        ([("namespaces", "")], "must name one at least"),
        ([("expect", "web=f44c2a2")], "such as `apps/web=f44c2a2`"),
        ([("expect", "other/web=f44c2a2")], "not among `namespaces`"),
    ] {
        let text = lines::<ImageDrift>(&node(vec![], web(NEW)), &pairs).join("");
        assert!(
            text.starts_with("error: ") && text.contains(words),
            "{text}"
        );
    }
}
