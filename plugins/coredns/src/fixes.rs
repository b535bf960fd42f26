//! `delete-pod`: this node's CoreDNS pod, when its endpoint is the dead one.

use std::time::Duration;

use iaso_plugin::{Dns, FixInfo, Host, Kube, Outcome, OutcomeKind, Plan, PodControl, State};

use crate::ask::ask;
use crate::judge::DELETE_POD;
use crate::look::{self, TRANSPORTS};
use crate::settings::Settings;

const KEY: &str = "deleted-at";
const PAUSE: Duration = Duration::from_secs(1);

pub(crate) const FIXES: &[FixInfo] = &[FixInfo {
    name: DELETE_POD,
    summary: "Deletes this node's CoreDNS pod, if its endpoint is dead, so that its Deployment makes a new one",
    disruptive: true,
}];

pub(crate) fn plan<H: Dns + Kube + Host + State>(host: &H, settings: &Settings) -> Plan {
    let sight = look::look(host, settings);
    if !sight
        .servers
        .iter()
        .any(|server| !server.is_service && server.is_dead())
    {
        return match sight.unseen.first() {
            Some(why) if sight.servers.iter().all(|server| server.is_service) => {
                Plan::refuse(format!("no endpoint is known: {why}"))
            }
            Some(_) | None => Plan::nothing(
                "no endpoint is dead; deleting a pod heals neither the upstream nor the service path",
            ),
        };
    }
    let Some((server, pod)) = sight.dead_pod() else {
        let why = sight.unseen.first().map_or_else(
            || "the dead endpoint's pod does not run here: fix it on its own node".to_owned(),
            Clone::clone,
        );
        return Plan::refuse(why);
    };
    if pod.terminating {
        return Plan::refuse(format!(
            "{} is being deleted already: wait for its successor",
            pod.name
        ));
    }
    match since_last(host) {
        Err(why) => {
            return Plan::refuse(format!(
                "cannot tell when a pod was last deleted ({why}), and it may be done once per cooldown only"
            ));
        }
        Ok(Some(ms)) if u128::from(ms) < settings.cooldown.as_millis() => {
            let (ago, cooldown) = (ms / 1000, settings.cooldown.as_secs());
            return Plan::refuse(format!(
                "a pod was deleted {ago} s ago, and may be again after {cooldown} s: look at why CoreDNS does not recover"
            ));
        }
        Ok(_) => {}
    }
    Plan::apply(format!(
        "the endpoint {} is dead, and its pod {} runs here",
        server.name(),
        pod.name
    ))
    .step(format!(
        "delete pod {}/{} with uid {}",
        pod.namespace, pod.name, pod.uid
    ))
    .step(format!(
        "wait up to {} s until DNS answers",
        settings.verify.as_secs()
    ))
    .attribute("namespace", pod.namespace.clone())
    .attribute("pod", pod.name.clone())
    .attribute("uid", pod.uid.clone())
}

pub(crate) fn apply<H: Dns + Kube + Host + PodControl + State>(
    host: &H,
    settings: &Settings,
    plan: &Plan,
) -> Outcome {
    let (Some(namespace), Some(pod), Some(uid)) =
        (plan.get("namespace"), plan.get("pod"), plan.get("uid"))
    else {
        return Outcome::new(OutcomeKind::Failed, "the plan names no pod");
    };
    // Remembered before it is done: if the run ends in between, the pod is spared for one cooldown, and not deleted twice.
    let remembered = match host.info() {
        Ok(facts) => host.set(KEY, facts.now_unix_ms.to_string().as_bytes()),
        Err(why) => Err(why),
    };
    if let Err(why) = remembered {
        return Outcome::new(
            OutcomeKind::Refused,
            format!("cannot remember the deletion ({why}), so it is not done"),
        );
    }
    if let Err(why) = host.delete_pod(namespace, pod, uid) {
        return Outcome::new(
            OutcomeKind::Failed,
            format!("cannot delete pod {namespace}/{pod}: {why}"),
        );
    }
    let steps = vec![format!("deleted pod {namespace}/{pod} with uid {uid}")];
    let begun = host.monotonic();
    for _ in 0..=settings.verify.as_secs() {
        host.pause(PAUSE);
        if answers(host, settings, uid) {
            return Outcome::new(
                OutcomeKind::Fixed,
                "the pod is gone and the cluster's DNS answers",
            )
            .steps(steps);
        }
        if host.monotonic().saturating_sub(begun) >= settings.verify {
            break;
        }
    }
    let why = format!(
        "the pod was deleted, and no DNS answered within {} s: look at the Deployment of CoreDNS",
        settings.verify.as_secs()
    );
    Outcome::new(OutcomeKind::Unchanged, why).steps(steps)
}

/// True when the pod is gone and each ready endpoint answers, or the service where no endpoint can be listed.
fn answers<H: Dns + Kube + Host>(host: &H, settings: &Settings, uid: &str) -> bool {
    let gone = host
        .pods_here(&settings.namespace, &settings.selector)
        .is_ok_and(|pods| pods.iter().all(|pod| pod.uid != uid || pod.terminating));
    if !gone {
        return false;
    }
    let name = format!("kubernetes.default.svc.{}", settings.cluster_domain);
    let well = |server: &(String, u16)| {
        TRANSPORTS
            .iter()
            .any(|by| ask(host, server, by, &name, settings.timeout).is_answer())
    };
    match host.endpoints(&settings.namespace, &settings.service) {
        Ok(endpoints) => {
            let ready: Vec<_> = endpoints
                .into_iter()
                .filter(|endpoint| endpoint.ready && endpoint.protocol == "UDP")
                .collect();
            !ready.is_empty()
                && ready
                    .into_iter()
                    .all(|endpoint| well(&(endpoint.address, endpoint.port)))
        }
        Err(_) => settings.service_ip.as_ref().is_some_and(well),
    }
}

/// Milliseconds since this plugin last deleted a pod; none when it never did.
fn since_last<H: Host + State>(host: &H) -> Result<Option<u64>, String> {
    let Some(bytes) = host.get(KEY).map_err(|why| why.to_string())? else {
        return Ok(None);
    };
    let now = host.info().map_err(|why| why.to_string())?.now_unix_ms;
    let at = std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or("the memory cannot be read")?;
    // A clock that was set back makes the time unknown; the safe reading is `just now`, until it catches up.
    Ok(Some(now.saturating_sub(at)))
}
