//! What the check says of URLs in every state we know of.

use iaso_plugin::Error;
use iaso_plugin::capability::{EnvUrl, Service};
use iaso_plugin::testing::{MockHost, check, lines};
use url_lint::UrlLint;

const APPS: &[(&str, &str)] = &[("namespaces", "apps")];
const OK: &str = "ok ok this node";

/// `LS_URL` of a pod of `apps`.
fn url(scheme: &str, host: &str, port: Option<u16>) -> EnvUrl {
    EnvUrl {
        namespace: "apps".into(),
        pod: "web-1".into(),
        container: "web".into(),
        variable: "LS_URL".into(),
        scheme: scheme.into(),
        host: host.into(),
        port,
        attributes: vec![("source".into(), "value".into())],
    }
}

fn service(cluster_ip: &str, ports: &[(u16, &str)]) -> Service {
    Service {
        cluster_ip: cluster_ip.into(),
        ports: ports
            .iter()
            .map(|(port, protocol)| (String::new(), *port, (*protocol).to_owned()))
            .collect(),
    }
}

/// Namespace `apps` has `label-studio`, on 8080.
fn node(urls: Vec<EnvUrl>) -> MockHost {
    MockHost::new()
        .on_env_urls("env-urls apps", [Ok(urls)])
        .on_service(
            "service *",
            [Err(Error::Unavailable(
                "service: the API server says 404 not found".into(),
            ))],
        )
        .on_service(
            "service apps label-studio",
            [Ok(service("10.43.0.7", &[(8080, "TCP")]))],
        )
}

fn expect(urls: Vec<EnvUrl>, expected: &[&str]) {
    assert_eq!(lines::<UrlLint>(&node(urls), APPS), expected);
}

#[test]
fn a_url_without_a_port_is_told_with_the_one_that_the_service_has() {
    let host = node(vec![url("http", "label-studio", None)]);
    let findings = check::<UrlLint>(&host, APPS).expect("a right configuration");
    assert_eq!(findings[0].code, "url-lint.port-missing");
    assert_eq!(findings[0].subject, "apps/web-1 LS_URL");
    assert_eq!(
        findings[0].summary,
        "it names no port, so that http means 80, and Service apps/label-studio has 8080 only: clients wait there in vain; write `http://label-studio:8080`"
    );
}

#[test]
fn every_way_to_write_the_name_of_a_service_is_known() {
    for host in [
        "label-studio",
        "label-studio.apps",
        "label-studio.apps.svc",
        "label-studio.apps.svc.cluster.local",
        "label-studio.apps.svc.cluster.local.",
    ] {
        expect(vec![url("http", host, Some(8080))], &[OK]);
        expect(
            vec![url("https", host, None)],
            &["port-missing warning apps/web-1 LS_URL"],
        );
        expect(
            vec![url("http", host, Some(80))],
            &["wrong-port warning apps/web-1 LS_URL"],
        );
    }
}

#[test]
fn names_of_others_are_left_alone() {
    for host in [
        "example.com",
        "api.example.com",
        "localhost",
        "10.0.0.7",
        "fd00::1",
        "label-studio.elsewhere",
        "a.b.c.d",
    ] {
        let node = node(vec![url("http", host, None)]);
        assert_eq!(lines::<UrlLint>(&node, APPS), [OK], "{host}");
        assert!(node.calls_to("service ").is_empty(), "{host}");
    }
}

#[test]
fn a_service_that_is_not_there_is_named_only_where_it_can_be_nothing_else() {
    expect(
        vec![url("http", "gone", None)],
        &["no-such-service warning apps/web-1 LS_URL"],
    );
    expect(
        vec![url("http", "gone.apps.svc", None)],
        &["no-such-service warning apps/web-1 LS_URL"],
    );
    expect(vec![url("http", "gone.apps", None)], &[OK]);
}

#[test]
fn a_service_without_ports_of_its_own_is_not_judged() {
    for service in [
        service("None", &[(9000, "TCP")]),
        service("", &[]),
        service("10.43.0.8", &[(53, "UDP")]),
    ] {
        let host =
            node(vec![url("http", "other", None)]).on_service("service apps other", [Ok(service)]);
        assert_eq!(lines::<UrlLint>(&host, APPS), [OK]);
    }
}

#[test]
fn a_scheme_has_its_port_and_an_unknown_one_has_none() {
    let host = |scheme: &str| {
        node(vec![url(scheme, "db", None)]).on_service(
            "service apps db",
            [Ok(service("10.43.0.8", &[(5432, "TCP")]))],
        )
    };
    assert_eq!(lines::<UrlLint>(&host("postgresql"), APPS), [OK]);
    assert_eq!(
        lines::<UrlLint>(&host("mysql"), APPS),
        ["port-missing warning apps/web-1 LS_URL"]
    );
    assert_eq!(lines::<UrlLint>(&host("custom"), APPS), [OK]);
}

#[test]
fn the_pods_of_one_workload_are_one_finding_and_a_service_is_read_once() {
    let mut second = url("http", "label-studio", None);
    second.pod = "web-2".into();
    let host = node(vec![url("http", "label-studio", None), second]);
    assert_eq!(
        lines::<UrlLint>(&host, APPS),
        ["port-missing warning apps/web-1 LS_URL"]
    );
    assert_eq!(host.calls_to("service ").len(), 1);
}

#[test]
fn a_variable_may_be_left_alone() {
    let host = node(vec![url("http", "label-studio", None)]);
    assert_eq!(
        lines::<UrlLint>(&host, &[("namespaces", "apps"), ("ignore", "LS_URL")]),
        [OK]
    );
}

#[test]
fn what_could_not_be_read_is_unknown() {
    let mut unread = url("", "", None);
    unread.attributes = vec![(
        "unread".into(),
        "ConfigMap web: the API server says 403".into(),
    )];
    expect(vec![unread], &["unknown unknown apps/web-1 LS_URL"]);
    for why in [
        Error::Denied("kube.services".into()),
        Error::Timeout,
        Error::Unavailable("the API server does not answer".into()),
    ] {
        let host = node(vec![url("http", "label-studio", None)])
            .on_service("service *", [Err(why.clone())]);
        assert_eq!(
            lines::<UrlLint>(&host, APPS),
            ["unknown unknown apps/web-1 LS_URL"]
        );
        let host = node(vec![]).on_env_urls("env-urls apps", [Err(why)]);
        assert_eq!(lines::<UrlLint>(&host, APPS), ["unknown unknown apps"]);
    }
}

#[test]
fn many_are_counted_and_never_more_than_the_host_takes() {
    let urls = (0..100)
        .map(|at| {
            let mut url = url("http", "label-studio", None);
            url.variable = format!("URL_{at}");
            url
        })
        .collect();
    assert_eq!(
        check::<UrlLint>(&node(urls), APPS).expect("right").len(),
        25
    );
}

#[test]
fn a_wrong_configuration_is_refused_in_words_that_help() {
    for (pairs, words) in [
        ([("namespace", "x")], "unknown configuration key"),
        ([("namespaces", ",")], "must name one at least"),
        ([("cluster_domain", ".")], "must not be empty"),
    ] {
        let text = lines::<UrlLint>(&node(vec![]), &pairs).join("");
        assert!(
            text.starts_with("error: ") && text.contains(words),
            "{text}"
        );
    }
}
