//! What the fixes do, and when they refuse.

mod common;

use std::time::Duration;

use common::{MINUTE, UNIT, config, journal, response, well};
use iaso_plugin::__private::{apply_fix, plan_fix};
use iaso_plugin::Error;
use iaso_plugin::capability::ScriptOutcome;
use iaso_plugin::testing::{MockHost, unit};
use k3s_agent::K3sAgent;

fn down() -> MockHost {
    well()
        .on_status(
            format!("status {UNIT}"),
            [Ok(unit(UNIT, "failed", "failed"))],
        )
        .on_http("GET*", [Err(Error::Unavailable("refused".into()))])
}

/// Failed at every look before the job, active after it.
fn healing() -> MockHost {
    let (failed, active) = (
        unit(UNIT, "failed", "failed"),
        unit(UNIT, "active", "running"),
    );
    down()
        .on_status(
            format!("status {UNIT}"),
            [Ok(failed.clone()), Ok(failed), Ok(active)],
        )
        .on_http(
            "GET*",
            [
                Err(Error::Timeout),
                Err(Error::Timeout),
                Ok(response(200, "ok")),
            ],
        )
        .on_job("restart *", [Ok("done".into())])
        .on_job("start *", [Ok("done".into())])
        .on_script(
            "script k3s-killall",
            [Ok(ScriptOutcome {
                exit_code: 0,
                output: "ok".into(),
                elapsed_us: 5,
            })],
        )
}

fn plan(host: &MockHost, fix: &str, verdict: &str, reason: &str) {
    let plan = plan_fix::<K3sAgent, _>(host, fix, vec![]).expect("a plan");
    assert_eq!(plan.verdict, verdict, "{}", plan.reason);
    assert!(
        plan.reason.contains(reason),
        "`{}` should say `{reason}`",
        plan.reason
    );
    assert!(
        host.calls_to("restart").is_empty() && host.calls_to("script").is_empty(),
        "a plan touches nothing"
    );
}

fn with_log(host: MockHost, line: &str) -> MockHost {
    host.on_journal(format!("journal {UNIT}"), [Ok(journal(&[line]))])
}

fn activating(in_state_ms: u64) -> MockHost {
    let mut unit = unit(UNIT, "activating", "start");
    unit.in_state_ms = Some(in_state_ms);
    down().on_status(format!("status {UNIT}"), [Ok(unit)])
}

#[test]
fn a_fix_refuses_with_a_reason_where_it_cannot_help() {
    for fix in ["restart", "killall"] {
        plan(&down(), fix, "apply", "failed");
        plan(&well(), fix, "nothing", "answer");
        plan(
            &with_log(down(), "Node password rejected"),
            fix,
            "refuse",
            "styx.node-password.k3s",
        );
        plan(
            &with_log(activating(20 * MINUTE), "server is not ready: readyz 500"),
            fix,
            "refuse",
            "look at the server",
        );
        plan(
            &with_log(down(), "failed to get CA certs: EOF"),
            fix,
            "refuse",
            "probe the server",
        );
        plan(
            &with_log(down(), "write: no space left on device"),
            fix,
            "refuse",
            "free space",
        );
        plan(&activating(MINUTE), fix, "refuse", "wait");
        plan(&activating(20 * MINUTE), fix, "apply", "starting");
        plan(
            &well().on_status("status *", [Err(Error::Denied("services.read".into()))]),
            fix,
            "refuse",
            "not granted",
        );
        let mut gone = unit(UNIT, "inactive", "dead");
        gone.load_state = "not-found".into();
        plan(
            &well().on_status("status *", [Ok(gone)]),
            fix,
            "refuse",
            "no unit",
        );
        plan(
            &well().on_http("GET*", [Ok(response(500, ""))]),
            fix,
            "apply",
            "500",
        );
        plan(
            &well().on_http("GET*", [Err(Error::Denied("http".into()))]),
            fix,
            "refuse",
            "could not be looked at",
        );
    }
}

#[test]
fn a_crash_loop_is_not_restarted_once_more() {
    let mut looping = unit(UNIT, "failed", "failed");
    looping.last_result = "start-limit-hit".into();
    let host = || down().on_status("status *", [Ok(looping.clone())]);
    plan(&host(), "restart", "refuse", "killall");
    plan(&host(), "killall", "apply", "given up");
}

#[test]
fn a_node_that_waits_for_its_server_is_restarted_once_per_cooldown() {
    let host = activating(20 * MINUTE);
    let remembered = (host.now_unix_ms() - 60_000).to_string();
    let host = host.with_state("restarted-at", remembered.as_bytes());
    plan(&host, "restart", "refuse", "look at the server");
    plan(&host, "killall", "apply", "starting");
    host.advance(Duration::from_mins(10));
    plan(&host, "restart", "apply", "starting");
}

#[test]
fn restart_is_fixed_only_when_kubelet_is_well() {
    let host = healing();
    let outcome = apply_fix::<K3sAgent, _>(&host, "restart", vec![]).expect("an outcome");
    assert_eq!(outcome.outcome, "fixed", "{}", outcome.reason);
    assert_eq!(host.calls_to("restart"), [format!("restart {UNIT}")]);
    assert!(host.state("restarted-at").is_some());

    let host = healing().on_http("GET*", [Err(Error::Timeout)]);
    let outcome = apply_fix::<K3sAgent, _>(&host, "restart", config(&[("health_timeout", "5s")]))
        .expect("an outcome");
    assert_eq!(outcome.outcome, "failed");
    assert!(
        outcome.reason.contains("kubelet does not answer"),
        "{}",
        outcome.reason
    );
    assert!(host.calls_to("pause").len() <= 6, "the wait is bounded");
}

#[test]
fn a_restart_job_that_outlives_its_deadline_is_followed_by_kubelets_word() {
    let host = healing().on_job("restart *", [Ok("timeout".into())]);
    assert_eq!(
        apply_fix::<K3sAgent, _>(&host, "restart", vec![])
            .expect("an outcome")
            .outcome,
        "fixed"
    );
}

#[test]
fn a_job_that_fails_or_is_not_granted_is_a_failure_in_words() {
    let check = |answer: Result<String, Error>, reason: &str| {
        let outcome =
            apply_fix::<K3sAgent, _>(&healing().on_job("restart *", [answer]), "restart", vec![])
                .expect("an outcome");
        assert_eq!(outcome.outcome, "failed");
        assert!(outcome.reason.contains(reason), "{}", outcome.reason);
    };
    check(Ok("failed".into()), "ended as failed");
    check(Ok("dependency".into()), "ended as dependency");
    check(
        Err(Error::Denied("services.control".into())),
        "services.control",
    );
}

#[test]
fn killall_runs_the_script_and_then_starts_even_if_the_script_fails() {
    for exit_code in [0, 1] {
        let host = healing().on_script(
            "script *",
            [Ok(ScriptOutcome {
                exit_code,
                output: "x".into(),
                elapsed_us: 5,
            })],
        );
        let outcome = apply_fix::<K3sAgent, _>(&host, "killall", vec![]).expect("an outcome");
        assert_eq!(outcome.outcome, "fixed", "{}", outcome.reason);
        let acts: Vec<String> = host
            .calls()
            .into_iter()
            .filter(|call| call.starts_with("script") || call.starts_with("start "))
            .collect();
        assert_eq!(
            acts,
            ["script k3s-killall".to_owned(), format!("start {UNIT}")]
        );
    }
    let host = healing().on_script("script *", [Err(Error::Denied("scripts".into()))]);
    let outcome = apply_fix::<K3sAgent, _>(&host, "killall", vec![]).expect("an outcome");
    assert_eq!(outcome.outcome, "failed");
    assert!(
        host.calls_to("start ").is_empty(),
        "nothing was stopped, so nothing is started"
    );
}

#[test]
fn apply_refuses_where_its_plan_does_and_an_unknown_fix_is_named() {
    let host = with_log(down(), "Node password rejected");
    assert_eq!(
        apply_fix::<K3sAgent, _>(&host, "restart", vec![])
            .expect("an outcome")
            .outcome,
        "refused"
    );
    assert!(host.calls_to("restart").is_empty());
    assert_eq!(
        apply_fix::<K3sAgent, _>(&well(), "restart", vec![])
            .expect("an outcome")
            .outcome,
        "unchanged"
    );
    let error = plan_fix::<K3sAgent, _>(&host, "reboot", vec![]).expect_err("no such fix");
    assert_eq!(
        error,
        "there is no fix `reboot`; this plugin has: restart, killall"
    );
}
