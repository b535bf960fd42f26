//! What an answer means.

use std::time::Duration;

use iaso_plugin::Finding;
use iaso_plugin::capability::Response;

use crate::body::{self, Complaint};
use crate::look::{self, Answer, Failure};
use crate::settings::Settings;
use crate::url::Url;

pub(crate) fn judge(settings: &Settings, target: &Url, answer: &Answer) -> Finding {
    let subject = target.shown();
    let finding = match answer {
        Answer::Response {
            response,
            from,
            hops,
        } => of_response(settings, &subject, response, from)
            .attribute("status", response.status.to_string())
            .attribute("latency-us", response.elapsed_us.to_string())
            .attribute("redirects", hops.to_string()),
        Answer::Loop { at, hops } => {
            let summary = format!(
                "its redirects lead to no answer: {hops} hops, then {} again or one too many; look at the proxy that ends TLS, and at the \
                 application's own URL",
                at.shown()
            );
            Finding::critical("service-http.redirect-loop", &subject, summary)
        }
        Answer::Failed { at, how } => of_failure(&subject, at, how),
        Answer::Unseen { at, why } => Finding::unknown(
            "service-http.unknown",
            &subject,
            format!("not asked: {why}"),
        )
        .attribute("at", at.shown()),
    };
    if target.names_port() {
        finding
    } else {
        finding.attribute("port", format!("none named, {} asked", target.port()))
    }
}

fn of_failure(subject: &str, at: &Url, how: &Failure) -> Finding {
    let (code, what) = match how {
        Failure::Unresolved if is_cluster_name(at.host()) => (
            "unresolved",
            "its name has no address here: a host does not ask the cluster's DNS; give the Service's cluster IP".to_owned(),
        ),
        Failure::Unresolved => (
            "unresolved",
            "its name has no address: look at the name, and at this host's name servers".to_owned(),
        ),
        Failure::Refused => (
            "refused",
            format!("port {} is closed: nothing listens there, or a firewall refuses", at.port()),
        ),
        Failure::Unreachable(how) => (
            "unreachable",
            format!("no connection to port {} ({how})", at.port()),
        ),
        Failure::Silent => (
            "silent",
            "its port takes connections, and no answer comes in time: it hangs, or waits for something that does".to_owned(),
        ),
        Failure::Timeout => (
            "timeout",
            "nothing came in time; grant net.tcp to tell a closed door from a silent one".to_owned(),
        ),
        Failure::Broken(words) if at.is_secure() => (
            "tls",
            format!("its port takes connections, and TLS or HTTP fails: {words}"),
        ),
        Failure::Broken(words) => (
            "not-http",
            format!("its port takes connections, and does not speak HTTP: {words}"),
        ),
    };
    let silent_default = matches!(
        how,
        Failure::Refused | Failure::Unreachable(_) | Failure::Timeout | Failure::Broken(_)
    );
    if silent_default && !at.names_port() {
        let summary = format!(
            "the URL names no port, so its clients go to {}, and there {what}; name the port that the service has",
            at.port()
        );
        return Finding::critical("service-http.port-missing", subject, summary)
            .attribute("because", code);
    }
    Finding::critical(format!("service-http.{code}"), subject, what).attribute("at", at.shown())
}

fn is_cluster_name(host: &str) -> bool {
    host.trim_end_matches('.')
        .split('.')
        .any(|label| label == "svc")
}

fn of_response(settings: &Settings, subject: &str, response: &Response, from: &Url) -> Finding {
    let status = response.status;
    if !settings.is_expected(status) {
        return of_status(subject, response, from);
    }
    match body::complaint(settings, &response.body, response.truncated) {
        Some(Complaint::Lies(how)) => {
            let summary =
                format!("it answers {status}, and {how}: it is not well, whatever the status says");
            return Finding::critical("service-http.lies", subject, summary);
        }
        Some(Complaint::Unmet(how)) => {
            let summary = format!("it answers {status}, and {how}");
            return Finding::critical("service-http.body", subject, summary);
        }
        Some(Complaint::Cut(how)) => {
            return Finding::unknown("service-http.unknown", subject, how);
        }
        None => {}
    }
    let latency = Duration::from_micros(response.elapsed_us);
    if latency >= settings.latency_warn {
        let summary = format!("it answers {status}, after {} ms", latency.as_millis());
        return Finding::warning("service-http.slow", subject, summary);
    }
    let body = if settings.reads_body() {
        ", and its body is as it should be"
    } else {
        ""
    };
    let summary = format!(
        "it answers {status} within {} ms{body}",
        latency.as_millis().max(1)
    );
    Finding::ok("service-http.ok", subject, summary)
}

fn of_status(subject: &str, response: &Response, from: &Url) -> Finding {
    let status = response.status;
    if let Some(location) = look::location(response) {
        let to = from
            .join(&location)
            .map_or_else(|| "no web address".to_owned(), |url| url.shown());
        let summary = format!(
            "it answers {status} and points to {to}: expect that with `expect_status`, or follow it with `follow_redirects`"
        );
        return Finding::warning("service-http.redirected", subject, summary);
    }
    let port = if from.names_port() {
        String::new()
    } else {
        format!(
            "; the URL names no port, and what listens on {} may be another service",
            from.port()
        )
    };
    let hint = match status {
        401 | 403 => "it wants other credentials than none",
        404 => "the path is not there, or a proxy knows no such host",
        429 => "it is asked too often",
        502..=504 => "a proxy answers, the service behind it does not",
        500..=599 => "it fails by itself",
        _ => "that is not among `expect_status`",
    };
    let summary = format!("it answers {status}: {hint}{port}");
    Finding::critical("service-http.status", subject, summary)
}
