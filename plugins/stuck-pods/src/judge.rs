//! Which pods do not come or go, and why.

use std::time::Duration;

use iaso_plugin::capability::{ContainerState, PodState};
use iaso_plugin::{Error, Finding};

use crate::cause::{of_exit, of_pull};
use crate::settings::Settings;

/// Findings for single pods; more are counted.
const PODS_MAX: usize = 24;
/// Of what the runtime says.
const MESSAGE_CHARS_MAX: usize = 240;

pub(crate) fn judge(
    settings: &Settings,
    pods: &[PodState],
    unseen: &[(&str, Error)],
    now_ms: u64,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = pods
        .iter()
        .filter_map(|pod| of_pod(settings, pod, now_ms))
        .collect();
    let more = findings.len().saturating_sub(PODS_MAX);
    findings.truncate(PODS_MAX);
    if more > 0 {
        let summary = format!("{more} pods more are stuck than are named here");
        findings.push(Finding::warning("stuck-pods.more", "this node", summary));
    }
    findings.extend(evicted(pods));
    for (namespace, why) in unseen {
        let summary = format!("its pods could not be looked at: {why}");
        findings.push(Finding::unknown("stuck-pods.unknown", *namespace, summary));
    }
    if findings
        .iter()
        .all(|finding| finding.code == "stuck-pods.evicted")
    {
        let summary = format!(
            "{} pods on this node, and none of them is stuck",
            pods.len()
        );
        findings.insert(0, Finding::ok("stuck-pods.ok", "this node", summary));
    }
    findings
}

fn of_pod(settings: &Settings, pod: &PodState, now_ms: u64) -> Option<Finding> {
    if let Some(due_ms) = pod.delete_by_unix_ms {
        return terminating(settings, pod, due_ms, now_ms);
    }
    // What has ended stays for its log.
    if matches!(pod.phase.as_str(), "Succeeded" | "Failed") {
        return None;
    }
    let age = Duration::from_millis(now_ms.saturating_sub(pod.created_unix_ms));
    pod.containers
        .iter()
        .find_map(|container| of_container(settings, pod, container, age))
}

fn subject(pod: &PodState) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

fn told(code: &str, pod: &PodState, summary: String) -> Finding {
    Finding::warning(format!("stuck-pods.{code}"), subject(pod), summary)
        .attribute("uid", pod.uid.clone())
        .attribute("owner", pod.owner.clone())
}

fn terminating(settings: &Settings, pod: &PodState, due_ms: u64, now_ms: u64) -> Option<Finding> {
    let over = Duration::from_millis(now_ms.checked_sub(due_ms)?);
    if over <= settings.terminating_max {
        return None;
    }
    let running: Vec<&str> = pod
        .containers
        .iter()
        .filter(|container| container.state == "running")
        .map(|container| container.name.as_str())
        .collect();
    let why = if !pod.finalizers.is_empty() {
        format!(
            "it waits for {}: whoever set that must take it away",
            pod.finalizers.join(", ")
        )
    } else if !running.is_empty() {
        format!(
            "{} still runs, so the runtime does not get it to end: a process that hangs in the kernel (storage, network file systems) needs a reboot",
            running.join(", ")
        )
    } else {
        "its containers have ended, so it waits for its volumes or its network to be taken down: see the kubelet's log".to_owned()
    };
    let summary = format!(
        "it should have been gone {} ago, its grace included: {why}",
        span(over)
    );
    Some(told("terminating", pod, summary))
}

fn of_container(
    settings: &Settings,
    pod: &PodState,
    container: &ContainerState,
    age: Duration,
) -> Option<Finding> {
    let name = &container.name;
    let message: String = container.message.chars().take(MESSAGE_CHARS_MAX).collect();
    let quoted = if message.is_empty() {
        String::new()
    } else {
        format!(" (`{message}`)")
    };
    let finding = match (container.state.as_str(), container.reason.as_str()) {
        (
            "waiting",
            reason @ ("ErrImagePull" | "ImagePullBackOff" | "InvalidImageName"
            | "ErrImageNeverPull"),
        ) => {
            let summary = format!(
                "{name} does not get its image {}: {}{quoted}",
                container.image,
                of_pull(reason, &container.message)
            );
            told("image-pull", pod, summary).attribute("image", container.image.clone())
        }
        (
            "waiting",
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError",
        ) => {
            let summary = format!(
                "{name} cannot be made: a Secret, ConfigMap, key or mount that it names is not there, or its command is not{quoted}"
            );
            told("config-error", pod, summary)
        }
        ("waiting", "CrashLoopBackOff") => crash_loop(pod, container),
        (_, _) if !container.ready && is_loop(settings, container) => crash_loop(pod, container),
        ("waiting", reason) if age > settings.starting_max => {
            let summary = format!(
                "{name} waits ({reason}) {} after the pod was made: a volume, the network of pods, or an init container{quoted}",
                span(age)
            );
            told("not-starting", pod, summary)
        }
        (_, _) => return None,
    };
    Some(finding.attribute("container", name.clone()))
}

/// A container that ended well is no loop, however often; nor is a main one that waits for its turn.
fn is_loop(settings: &Settings, container: &ContainerState) -> bool {
    u64::from(container.restarts) >= settings.crash_restarts
        && container.kind == "container"
        && container.last_exit_code.is_some_and(|code| code != 0)
}

fn crash_loop(pod: &PodState, container: &ContainerState) -> Finding {
    let summary = format!(
        "{} was started {} times anew and does not stay: the last time {}",
        container.name,
        container.restarts,
        of_exit(&container.last_reason, container.last_exit_code)
    );
    let mut finding =
        told("crash-loop", pod, summary).attribute("last_reason", container.last_reason.clone());
    if let Some(code) = container.last_exit_code {
        finding = finding.attribute("last_exit_code", code.to_string());
    }
    finding
}

fn evicted(pods: &[PodState]) -> Option<Finding> {
    let names: Vec<String> = pods
        .iter()
        .filter(|pod| pod.phase == "Failed" && pod.reason == "Evicted")
        .map(subject)
        .collect();
    let first = names.first()?;
    let summary = format!(
        "{} pods were evicted from this node, {first} among them: it was short of disk or memory then",
        names.len()
    );
    Some(Finding::info("stuck-pods.evicted", "this node", summary))
}

fn span(time: Duration) -> String {
    match time.as_secs() {
        secs @ 0..120 => format!("{secs} s"),
        secs @ 120..7_200 => format!("{} min", secs / 60),
        secs @ 7_200..172_800 => format!("{} h", secs / 3_600),
        secs => format!("{} days", secs / 86_400),
    }
}
