//! What the check says of pods in every state we know of.

use iaso_plugin::Error;
use iaso_plugin::capability::{ContainerState, PodState};
use iaso_plugin::testing::{MockHost, START_UNIX_MS, check, lines};
use stuck_pods::StuckPods;

const ONE: &[(&str, &str)] = &[("namespaces", "apps")];
const OK: &str = "ok ok this node";
const MIN_MS: u64 = 60_000;

fn container(state: &str, reason: &str) -> ContainerState {
    ContainerState {
        name: "web".into(),
        kind: "container".into(),
        image: "ghcr.io/x/web:f44c2a2".into(),
        image_id: String::new(),
        state: state.into(),
        reason: reason.into(),
        message: String::new(),
        ready: state == "running",
        restarts: 0,
        last_reason: String::new(),
        last_exit_code: None,
        attributes: Vec::new(),
    }
}

/// A pod of an hour's age.
fn pod(container: ContainerState) -> PodState {
    PodState {
        namespace: "apps".into(),
        name: "web-1".into(),
        uid: "u1".into(),
        phase: "Running".into(),
        reason: String::new(),
        created_unix_ms: START_UNIX_MS - 60 * MIN_MS,
        delete_by_unix_ms: None,
        finalizers: Vec::new(),
        owner: "ReplicaSet/web-7d9".into(),
        containers: vec![container],
        attributes: Vec::new(),
    }
}

fn node(pods: Vec<PodState>) -> MockHost {
    MockHost::new().on_pod_states("pod-states apps", [Ok(pods)])
}

fn expect(pod: PodState, expected: &str) {
    assert_eq!(lines::<StuckPods>(&node(vec![pod]), ONE), [expected]);
}

fn summary(pod: PodState) -> String {
    check::<StuckPods>(&node(vec![pod]), ONE)
        .expect("a right configuration")
        .remove(0)
        .summary
}

#[test]
fn pods_that_run_or_have_ended_are_well() {
    expect(pod(container("running", "")), OK);
    let mut ended = pod(container("terminated", "Completed"));
    ended.phase = "Succeeded".into();
    expect(ended, OK);
    assert_eq!(lines::<StuckPods>(&node(vec![]), ONE), [OK]);
}

#[test]
fn a_pod_that_ends_counts_only_beyond_its_grace() {
    let due = |minutes: u64, state: &str| {
        let mut pod = pod(container(state, ""));
        pod.delete_by_unix_ms = Some(START_UNIX_MS - minutes * MIN_MS);
        pod
    };
    expect(due(4, "running"), OK);
    expect(due(6, "running"), "terminating warning apps/web-1");
    let mut ahead = due(0, "running");
    ahead.delete_by_unix_ms = Some(START_UNIX_MS + MIN_MS);
    expect(ahead, OK);
    assert!(
        summary(due(150, "running")).contains("gone 2 h ago")
            && summary(due(150, "running")).contains("web still runs")
    );
    assert!(summary(due(9, "terminated")).contains("its volumes or its network"));
    let mut held = due(9, "running");
    held.finalizers = vec!["example.com/keep".into()];
    assert!(summary(held).contains("it waits for example.com/keep"));
}

#[test]
fn an_image_that_does_not_come_is_named_with_the_cause() {
    let mut missing = container("waiting", "ImagePullBackOff");
    missing.message = "ghcr.io/x/web:f44c2a2: not found".into();
    expect(pod(missing.clone()), "image-pull warning apps/web-1");
    let text = summary(pod(missing));
    assert!(
        text.contains("ghcr.io/x/web:f44c2a2: there is no such image or tag"),
        "{text}"
    );
}

#[test]
fn a_crash_loop_has_its_last_exit() {
    let looping = |reason: &str, code| {
        let mut container = container("waiting", "CrashLoopBackOff");
        container.restarts = 7;
        container.last_reason = reason.into();
        container.last_exit_code = Some(code);
        pod(container)
    };
    expect(looping("Error", 1), "crash-loop warning apps/web-1");
    for (reason, code, expected) in [
        ("OOMKilled", 137, "more memory than its limit"),
        ("Error", 137, "liveness probe"),
        ("Error", 1, "ended with 1 (Error)"),
        ("Completed", 0, "must not end"),
        ("Error", 127, "not in the image"),
    ] {
        let text = summary(looping(reason, code));
        assert!(
            text.contains(expected) && text.contains("7 times"),
            "{text}"
        );
    }
    // Between two starts the state says nothing of a loop.
    let mut between = container("running", "");
    between.ready = false;
    between.restarts = 3;
    between.last_exit_code = Some(1);
    expect(pod(between.clone()), "crash-loop warning apps/web-1");
    between.restarts = 2;
    expect(pod(between.clone()), OK);
    between.restarts = 9;
    between.ready = true;
    expect(pod(between), OK);
}

#[test]
fn what_only_takes_its_time_is_well_until_it_takes_too_long() {
    let mut young = pod(container("waiting", "ContainerCreating"));
    expect(young.clone(), "not-starting warning apps/web-1");
    young.created_unix_ms = START_UNIX_MS - 9 * MIN_MS;
    expect(young.clone(), OK);
    young.containers = vec![container("waiting", "CreateContainerConfigError")];
    expect(young, "config-error warning apps/web-1");
}

#[test]
fn evicted_pods_are_told_of_and_hide_nothing() {
    let mut evicted = pod(container("", ""));
    (evicted.phase, evicted.reason) = ("Failed".into(), "Evicted".into());
    let host = node(vec![evicted, pod(container("waiting", "ImagePullBackOff"))]);
    assert_eq!(
        lines::<StuckPods>(&host, ONE),
        ["image-pull warning apps/web-1", "evicted info this node"]
    );
}

#[test]
fn many_are_counted_and_never_more_than_the_host_takes() {
    let pods = vec![pod(container("waiting", "ImagePullBackOff")); 100];
    let findings = check::<StuckPods>(&node(pods), ONE).expect("right");
    assert_eq!(findings.len(), 25);
    assert!(findings[24].summary.starts_with("76 pods more"));
}

#[test]
fn a_namespace_that_cannot_be_looked_at_is_unknown() {
    let host = node(vec![]).on_pod_states(
        "pod-states db",
        [Err(Error::Denied("kube.pod_states".into()))],
    );
    assert_eq!(
        lines::<StuckPods>(&host, &[("namespaces", "apps,db")]),
        ["unknown unknown db"]
    );
    let timeless = node(vec![]).on_info("info", [Err(Error::Timeout)]);
    assert_eq!(
        lines::<StuckPods>(&timeless, ONE),
        ["unknown unknown this node"]
    );
}

#[test]
fn a_wrong_configuration_is_refused_in_words_that_help() {
    for (pairs, words) in [
        ([("namespace", "x")], "unknown configuration key"),
        ([("namespaces", "")], "must name one at least"),
        ([("terminating_max", "5")], "a time with its unit"),
    ] {
        let text = lines::<StuckPods>(&node(vec![]), &pairs).join("");
        assert!(
            text.starts_with("error: ") && text.contains(words),
            "{text}"
        );
    }
}
