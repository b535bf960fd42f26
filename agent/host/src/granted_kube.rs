//! Kubernetes between a plugin's request and the right: namespaces are granted, and names cannot leave their place in a URL.

use crate::broker::{CapError, Request, Response};
use crate::capabilities::{Capabilities, CustomResource, Resolver};
use crate::granted::{Call, bounded, misrouted};

impl<C: Capabilities, R: Resolver> Call<'_, C, R> {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "`answer` routes only the arms above to here"
    )]
    pub(crate) async fn kube(&self, request: Request) -> Result<Response, CapError> {
        let rights = &self.broker.capabilities;
        match request {
            Request::KubePodsHere {
                namespace,
                selector,
            } => {
                self.grants
                    .kube_pods(&namespace)
                    .map_err(|d| self.denied(&d))?;
                bounded(&selector, "selector")?;
                rights
                    .kube_pods_here(self.cx, &namespace, &selector)
                    .await
                    .map(Response::Pods)
            }
            Request::KubeDeletePod {
                namespace,
                name,
                uid,
            } => {
                self.only_in_fix("kube.delete-pod")?;
                self.grants
                    .kube_delete_pods(&namespace)
                    .map_err(|d| self.denied(&d))?;
                object_name(&name)?;
                object_name(&uid)?;
                rights
                    .kube_delete_pod(self.cx, &namespace, &name, &uid)
                    .await
                    .map(|()| Response::Done)
            }
            Request::KubeGetService { namespace, name } => {
                self.grants
                    .kube_services(&namespace)
                    .map_err(|d| self.denied(&d))?;
                object_name(&name)?;
                rights
                    .kube_get_service(self.cx, &namespace, &name)
                    .await
                    .map(Response::Service)
            }
            Request::KubeGetEndpoints { namespace, name } => {
                self.grants
                    .kube_services(&namespace)
                    .map_err(|d| self.denied(&d))?;
                object_name(&name)?;
                rights
                    .kube_get_endpoints(self.cx, &namespace, &name)
                    .await
                    .map(Response::Endpoints)
            }
            other => Err(misrouted(&other)),
        }
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "`answer` routes only the arms above to here"
    )]
    pub(crate) async fn workloads(&self, request: Request) -> Result<Response, CapError> {
        let rights = &self.broker.capabilities;
        match request {
            Request::KubePodStatesHere { namespace } => {
                self.grants
                    .kube_pod_states(&namespace)
                    .map_err(|d| self.denied(&d))?;
                rights
                    .kube_pod_states_here(self.cx, &namespace)
                    .await
                    .map(Response::PodStates)
            }
            Request::KubeWorkloadsHere { namespace } => {
                self.grants
                    .kube_workloads(&namespace)
                    .map_err(|d| self.denied(&d))?;
                rights
                    .kube_workloads_here(self.cx, &namespace)
                    .await
                    .map(Response::Workloads)
            }
            Request::KubeEnvUrlsHere { namespace } => {
                self.grants
                    .kube_env_urls(&namespace)
                    .map_err(|d| self.denied(&d))?;
                rights
                    .kube_env_urls_here(self.cx, &namespace)
                    .await
                    .map(Response::EnvUrls)
            }
            Request::KubeConditions {
                group,
                version,
                resource,
                namespace,
            } => {
                self.grants
                    .kube_conditions(&group, &resource, &namespace)
                    .map_err(|d| self.denied(&d))?;
                object_name(&version)?;
                let of = CustomResource {
                    group,
                    version,
                    resource,
                };
                rights
                    .kube_conditions(self.cx, &of, &namespace)
                    .await
                    .map(Response::StatusObjects)
            }
            other => Err(misrouted(&other)),
        }
    }
}

/// Names become parts of a URL path: nothing that could leave its segment.
fn object_name(name: &str) -> Result<(), CapError> {
    let is_good = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if name.is_empty() || name.len() > 253 || name.starts_with('.') || !name.bytes().all(is_good) {
        return Err(CapError::Other(
            "a Kubernetes name has 1 to 253 letters, digits, `-` and `.`".to_owned(),
        ));
    }
    Ok(())
}
