//! The real client against the emulator: the whole recreate, and every fault.

use iaso_providers::{
    MachineId, MachineState, Operation, OperationState, Provider, ProviderError, RebootProof,
    RecreateSpec, Secret, draw_password,
    hostinger::{Hostinger, HostingerConfig},
    reboot_proof,
};
use tempfile::TempDir;

use super::*;

const STYX: u64 = 712_695;

/// One machine, styx, behind an emulator whose clock stands still, and the real client.
struct Lab {
    emulator: Emulator,
    machines: FakeMachines,
    clock: Clock,
    provider: Hostinger,
    dir: TempDir,
}

impl Lab {
    async fn start() -> Self {
        let start: Timestamp = "2026-11-23T23:45:00Z".parse().expect("a time");
        let clock = Clock::manual(start);
        let spec = MachineSpec {
            id: STYX,
            hostname: "styx".to_owned(),
            addresses: vec![
                "127.0.77.11".parse().expect("an address"),
                "2001:db8::11".parse().expect("an address"),
            ],
        };
        let machines = FakeMachines::running_for_a_day(vec![spec], clock.clone());
        let options = Options {
            created_for: Duration::ZERO,
            sent_for: Duration::ZERO,
            sample_every: None,
            per_page: 2,
            clock: clock.clone(),
            ..Options::default()
        };
        let any = "127.0.0.1:0".parse().expect("an address");
        let emulator = Emulator::start_with(any, Box::new(machines.clone()), options)
            .await
            .expect("started");
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("token"), emulator.token()).expect("written");
        let provider = client(&emulator, &dir, Duration::from_secs(20));
        Self {
            emulator,
            machines,
            clock,
            provider,
            dir,
        }
    }

    async fn faulty(faults: Faults) -> Self {
        let lab = Self::start().await;
        lab.emulator.set_faults(faults);
        lab
    }

    fn count(&self, kind: CallKind) -> (u64, u64) {
        let calls = self.emulator.calls();
        (calls.received(kind), calls.taken(kind))
    }

    /// Lets a running action end, and a few seconds go by.
    async fn later(&self) {
        self.emulator.settled().await;
        self.clock.advance_secs(5);
    }

    /// Orders a reboot, which is taken.
    async fn reboot(&self) -> Operation {
        self.provider.power_cycle(&styx()).await.expect("taken")
    }

    /// Orders a recreate, which is taken.
    async fn recreate(&self, spec: &RecreateSpec) -> Operation {
        let taken = self.provider.recreate(&styx(), spec).await;
        taken.expect("taken").operation
    }

    /// Orders a recreate, which is refused.
    async fn refused(&self, spec: &RecreateSpec) -> ProviderError {
        let refused = self.provider.recreate(&styx(), spec).await;
        refused.expect_err("refused")
    }

    /// The machine's actions from this time on.
    async fn actions(&self, since: Timestamp) -> Vec<Operation> {
        let listed = self.provider.actions(&styx(), since).await;
        listed.expect("listed")
    }

    /// Bytes that came in within the last second.
    async fn incoming(&self) -> Vec<f64> {
        self.clock.advance_secs(1);
        let now = self.emulator.now();
        let metrics = self.provider.metrics(&styx(), now, now).await;
        let samples = metrics.expect("there are metrics").incoming_bytes;
        samples.iter().map(|sample| sample.value).collect()
    }

    async fn machine(&self) -> iaso_providers::Machine {
        let machine = self.provider.get(&styx()).await;
        machine.expect("the machine is known")
    }

    async fn state(&self) -> MachineState {
        self.machine().await.state
    }

    async fn poll(&self, operation: &Operation) -> OperationState {
        self.provider
            .poll(&styx(), &operation.id)
            .await
            .expect("the action is known")
            .state
    }

    async fn proof(&self, operation: &Operation) -> RebootProof {
        let from = Timestamp::from_second(operation.created_at.as_second() - 3600).expect("a time");
        let metrics = self
            .provider
            .metrics(&styx(), from, self.emulator.now())
            .await
            .expect("there are metrics");
        reboot_proof(&metrics.uptime_ms, operation.created_at)
    }
}

fn client(emulator: &Emulator, dir: &TempDir, timeout: Duration) -> Hostinger {
    let config = HostingerConfig {
        base_url: emulator.base_url(),
        min_interval: Duration::from_millis(1),
        timeout,
        ..HostingerConfig::new(dir.path().join("token"))
    };
    Hostinger::new(config).expect("a valid configuration")
}

fn styx() -> MachineId {
    MachineId::from(STYX)
}

fn spec(script_id: Option<iaso_providers::ScriptId>) -> RecreateSpec {
    RecreateSpec {
        template_id: 1013,
        password: draw_password().expect("randomness"),
        script_id,
    }
}

#[tokio::test]
async fn a_whole_recreate_installs_the_script_and_the_password_once_and_leaves_no_script() {
    let lab = Lab::start().await;
    let content = Secret::new("#!/bin/sh\necho joined\n".to_owned());
    let script = lab
        .provider
        .put_script("iaso-styx", &content)
        .await
        .expect("stored");
    let again = lab
        .provider
        .put_script("iaso-styx", &content)
        .await
        .expect("replaced");
    assert_eq!(script, again, "the same name is the same script");
    let spec = spec(Some(script.clone()));

    lab.machines.hold();
    lab.clock.advance_secs(5);
    let taken = lab.recreate(&spec).await;
    assert_eq!(taken.state, OperationState::Pending);
    let machine = lab.machine().await;
    assert_eq!(
        (machine.state, machine.locked),
        (MachineState::Recreating, true)
    );
    assert_eq!(lab.poll(&taken).await, OperationState::Pending);
    let busy = lab.provider.power_cycle(&styx()).await.expect_err("locked");
    assert_eq!(busy.class(), "conflict");

    lab.machines.release();
    lab.later().await;
    assert_eq!(lab.poll(&taken).await, OperationState::Done);
    let machine = lab.machine().await;
    assert_eq!(
        (machine.state, machine.locked),
        (MachineState::Running, false)
    );
    assert_eq!(machine.template.as_deref(), Some("Debian 12"));
    assert_eq!(machine.addresses.len(), 2);
    let expected = FakeRecreate {
        template: 1013,
        password: Some(spec.password.expose().to_owned()),
        script: Some(content.expose().to_owned()),
    };
    assert_eq!(lab.machines.recreates(STYX), [expected]);
    assert_eq!(lab.count(CallKind::Recreate), (1, 1));
    assert_eq!(lab.count(CallKind::Restart), (1, 0));

    lab.provider.delete_script(&script).await.expect("deleted");
    assert!(
        lab.provider
            .list_scripts()
            .await
            .expect("listed")
            .is_empty()
    );
    assert!(lab.emulator.scripts().is_empty());
    assert_eq!(
        lab.provider
            .delete_script(&script)
            .await
            .expect_err("gone")
            .class(),
        "not_found"
    );
}

#[tokio::test]
async fn a_recreate_whose_answer_is_lost_is_in_doubt_and_its_action_is_found_among_many() {
    let lab = Lab::start().await;
    for _ in 0..5 {
        lab.reboot().await;
        lab.later().await;
    }
    let since = lab.emulator.now();
    lab.emulator.set_faults(Faults {
        drop_after_accept: true,
        limit: Some(1),
        ..Faults::default()
    });
    let lost = lab
        .provider
        .recreate(&styx(), &spec(None))
        .await
        .expect_err("the connection was closed");
    assert!(lost.may_have_acted(), "{lost}");
    assert!(
        lost.to_string().contains("look at the machine's actions"),
        "{lost}"
    );
    lab.later().await;
    let found = lab.actions(since).await;
    let names: Vec<_> = found
        .iter()
        .map(|found| (found.name.as_str(), found.state))
        .collect();
    assert_eq!(names, [("recreate", OperationState::Done)]);
    assert_eq!(lab.count(CallKind::Recreate), (1, 1));
    let all = lab.actions(Timestamp::UNIX_EPOCH).await;
    assert_eq!(all.len(), 6, "all pages are read");
    assert!(
        all.is_sorted_by_key(|operation| operation.created_at),
        "oldest first"
    );
}

#[tokio::test]
async fn an_order_that_hangs_is_in_doubt_and_was_not_taken() {
    let lab = Lab::faulty(Faults {
        hang: true,
        ..Faults::default()
    })
    .await;
    let impatient = client(&lab.emulator, &lab.dir, Duration::from_millis(200));
    let lost = impatient.power_cycle(&styx()).await.expect_err("no answer");
    assert!(lost.may_have_acted(), "{lost}");
    lab.emulator.set_faults(Faults::default());
    let found = lab.actions(Timestamp::UNIX_EPOCH).await;
    assert!(found.is_empty(), "the actions tell that nothing happened");
    assert_eq!(lab.count(CallKind::Restart), (1, 0));
}

#[tokio::test]
async fn a_question_that_hangs_once_is_asked_again() {
    let lab = Lab::faulty(Faults {
        hang: true,
        limit: Some(1),
        ..Faults::default()
    })
    .await;
    let impatient = client(&lab.emulator, &lab.dir, Duration::from_millis(200));
    assert_eq!(
        impatient.get(&styx()).await.expect("the second try").state,
        MachineState::Running
    );
    assert_eq!(lab.count(CallKind::GetMachine), (2, 1));
}

#[tokio::test]
async fn a_reboot_is_proven_by_the_uptime() {
    let lab = Lab::start().await;
    lab.provider
        .metrics(&styx(), Timestamp::UNIX_EPOCH, lab.emulator.now())
        .await
        .expect("a sample before");
    lab.clock.advance_secs(60);
    let operation = lab.reboot().await;
    lab.later().await;
    assert_eq!(lab.poll(&operation).await, OperationState::Done);
    let RebootProof::Proven { before, after } = lab.proof(&operation).await else {
        unreachable!("the uptime fell from a day to seconds")
    };
    assert!(
        before.value >= 86_400_000.0 && after.value < 10_000.0,
        "{before:?} {after:?}"
    );
    assert_eq!(lab.machines.boots(STYX), 2);
}

#[tokio::test]
async fn a_reboot_that_does_nothing_reports_success_and_is_not_proven() {
    let lab = Lab::faulty(Faults {
        reboot_does_nothing: true,
        ..Faults::default()
    })
    .await;
    lab.clock.advance_secs(60);
    let operation = lab.reboot().await;
    lab.later().await;
    assert_eq!(lab.poll(&operation).await, OperationState::Done);
    assert_eq!(lab.proof(&operation).await, RebootProof::NotYet);
    assert_eq!(lab.machines.boots(STYX), 1);
}

#[tokio::test]
async fn a_reboot_that_fails_is_the_only_thing_that_says_failed() {
    let lab = Lab::faulty(Faults {
        reboot_fails: true,
        ..Faults::default()
    })
    .await;
    let operation = lab.reboot().await;
    lab.later().await;
    assert_eq!(lab.poll(&operation).await, OperationState::Failed);
    assert_eq!(
        (lab.state().await, lab.machines.boots(STYX)),
        (MachineState::Running, 1)
    );
}

#[tokio::test]
async fn a_machine_that_is_off_is_said_to_run_only_by_the_fault() {
    let lab = Lab::start().await;
    lab.machines.power_off(STYX);
    assert_eq!(lab.state().await, MachineState::Stopped);
    lab.emulator.set_faults(Faults {
        says_running: true,
        ..Faults::default()
    });
    assert_eq!(lab.state().await, MachineState::Running);
    lab.emulator.set_faults(Faults::default());
    lab.provider.start(&styx()).await.expect("taken");
    lab.later().await;
    assert_eq!(lab.state().await, MachineState::Running);
}

#[tokio::test]
async fn a_recreate_half_done_leaves_an_empty_disk_and_an_error_or_an_open_action() {
    for (half, action, state, locked) in [
        (
            HalfDone::EndsInError,
            OperationState::Failed,
            MachineState::Error,
            false,
        ),
        (
            HalfDone::StaysPending,
            OperationState::Pending,
            MachineState::Recreating,
            true,
        ),
    ] {
        let lab = Lab::faulty(Faults {
            recreate_half_done: Some(half),
            ..Faults::default()
        })
        .await;
        let operation = lab.recreate(&spec(None)).await;
        lab.later().await;
        assert_eq!(lab.poll(&operation).await, action);
        let machine = lab.machine().await;
        assert_eq!((machine.state, machine.locked), (state, locked));
        assert!(lab.machines.wiped(STYX) && lab.machines.recreates(STYX).is_empty());
    }
}

#[tokio::test]
async fn answers_that_say_nothing_about_the_machine_have_their_class_and_reboot_nothing() {
    let limited = RateLimit {
        retry_after_secs: Some(3600),
    };
    for (faults, question, order) in [
        (
            Faults {
                not_found_everywhere: true,
                ..Faults::default()
            },
            "not_found",
            "not_found",
        ),
        (
            Faults {
                unauthorized: true,
                ..Faults::default()
            },
            "unauthorized",
            "unauthorized",
        ),
        (
            Faults {
                server_error: Some(503),
                ..Faults::default()
            },
            "server",
            "ambiguous",
        ),
        (
            Faults {
                rate_limited: Some(limited),
                ..Faults::default()
            },
            "rate_limited",
            "rate_limited",
        ),
    ] {
        let lab = Lab::faulty(faults.clone()).await;
        let error = lab
            .provider
            .power_cycle(&styx())
            .await
            .expect_err("refused");
        assert_eq!(error.class(), order, "{error}");
        assert!(
            error
                .correlation_id()
                .is_some_and(|id| id.starts_with("lab-")),
            "{error}"
        );
        let asked = lab.provider.get(&styx()).await.expect_err("refused");
        assert_eq!(asked.class(), question, "{asked}");
        assert!(error.means_unknown() && asked.means_unknown());
        assert_eq!(lab.count(CallKind::Restart), (1, 0), "{faults:?}");
        assert_eq!(lab.machines.boots(STYX), 1);
    }
}

#[tokio::test]
async fn a_rate_limit_with_a_long_wait_stops_further_calls_before_they_are_sent() {
    let limited = RateLimit {
        retry_after_secs: Some(600),
    };
    let lab = Lab::faulty(Faults {
        rate_limited: Some(limited),
        limit: Some(1),
        ..Faults::default()
    })
    .await;
    let error = lab
        .provider
        .power_cycle(&styx())
        .await
        .expect_err("refused");
    assert_eq!(error.retry_after(), Some(Duration::from_mins(10)));
    let held = lab
        .provider
        .get(&styx())
        .await
        .expect_err("held back by the limiter");
    assert!(
        held.retry_after()
            .is_some_and(|wait| wait > Duration::from_secs(590)),
        "{held}"
    );
    assert_eq!(lab.count(CallKind::GetMachine), (0, 0));
}

#[tokio::test]
async fn a_rotated_token_is_read_from_its_file_without_a_restart() {
    let lab = Lab::start().await;
    assert_eq!(lab.state().await, MachineState::Running);
    let token = lab.emulator.rotate_token().expect("drawn");
    let refused = lab
        .provider
        .get(&styx())
        .await
        .expect_err("the file still has the old one");
    assert!(
        matches!(refused, ProviderError::Unauthorized { .. }),
        "{refused}"
    );
    std::fs::write(lab.dir.path().join("token"), token).expect("written");
    assert_eq!(lab.state().await, MachineState::Running);
}

#[tokio::test]
async fn a_leaked_password_is_refused_by_name_and_another_one_is_taken() {
    let lab = Lab::start().await;
    let leaked = RecreateSpec {
        password: Secret::new("Password1234".to_owned()),
        ..spec(None)
    };
    let refused = lab.refused(&leaked).await;
    assert!(refused.refuses("password"), "{refused}");
    assert!(!refused.to_string().contains("Password1234"), "{refused}");
    lab.recreate(&spec(None)).await;
    lab.later().await;
    assert_eq!(lab.count(CallKind::Recreate), (2, 1));
}

#[tokio::test]
async fn an_unknown_image_script_or_machine_is_refused_and_nothing_is_wiped() {
    let lab = Lab::start().await;
    let no_image = RecreateSpec {
        template_id: 5,
        ..spec(None)
    };
    assert!(lab.refused(&no_image).await.refuses("template_id"));
    let no_script = spec(Some(iaso_providers::ScriptId::from(99)));
    let refused = lab.refused(&no_script).await;
    assert!(refused.refuses("post_install_script_id"), "{refused}");
    let unknown = lab
        .provider
        .recreate(&MachineId::from(1), &spec(None))
        .await
        .expect_err("refused");
    assert_eq!(unknown.class(), "not_found");
    assert!(!lab.machines.wiped(STYX));
    assert_eq!(lab.count(CallKind::Recreate), (3, 0));
}

#[tokio::test]
async fn recovery_mode_and_the_root_password_go_there_and_back() {
    let lab = Lab::start().await;
    let password = draw_password().expect("randomness");
    lab.provider
        .recovery_start(&styx(), &password)
        .await
        .expect("taken");
    lab.later().await;
    assert_eq!(lab.state().await, MachineState::Recovery);
    lab.provider.recovery_stop(&styx()).await.expect("taken");
    lab.later().await;
    assert_eq!(lab.state().await, MachineState::Running);
    lab.provider
        .set_root_password(&styx(), &password)
        .await
        .expect("taken");
    lab.later().await;
    assert_eq!(
        lab.machines.password(STYX).as_deref(),
        Some(password.expose())
    );
}

#[tokio::test]
async fn incoming_traffic_tells_a_cut_machine_from_a_quiet_one() {
    let lab = Lab::start().await;
    lab.machines.receive(STYX, 7000);
    assert_eq!(lab.incoming().await, [7000.0]);
    assert_eq!(lab.incoming().await, [0.0]);
}

#[tokio::test]
async fn faults_and_calls_are_reached_over_http_and_mistakes_are_explained() {
    let lab = Lab::start().await;
    let http = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let url = |path: &str| format!("{}{path}", lab.emulator.base_url());
    let post = |body: &'static str| {
        let sent = http.post(url("/lab/faults")).body(body).send();
        async move {
            let response = sent.await.expect("answered");
            (
                response.status().as_u16(),
                response.text().await.expect("a text"),
            )
        }
    };
    let (status, _) =
        post(r#"{"says_running":true,"server_error":502,"only":["restart"],"limit":3}"#).await;
    assert_eq!(status, 200);
    let expected = Faults {
        says_running: true,
        server_error: Some(502),
        only: vec![CallKind::Restart],
        limit: Some(3),
        ..Faults::default()
    };
    assert_eq!(lab.emulator.faults(), expected);
    for (body, says) in [
        (r#"{"says_runing":true}"#, "unknown field"),
        (r#"{"server_error":200}"#, "500 to 599"),
        ("x", "these are no faults"),
    ] {
        let (status, text) = post(body).await;
        assert!(
            status == 400 && text.contains(says),
            "{body}: {status} {text}"
        );
    }
    assert!(lab.provider.power_cycle(&styx()).await.is_err());
    let calls = http
        .get(url("/lab/calls"))
        .send()
        .await
        .expect("answered")
        .text()
        .await
        .expect("a text");
    assert_eq!(calls, r#"{"received":{"restart":1},"taken":{}}"#);
}

#[tokio::test]
async fn the_port_is_free_again_after_a_stop_even_when_a_call_hangs() {
    let lab = Lab::faulty(Faults {
        hang: true,
        only: vec![CallKind::Restart],
        ..Faults::default()
    })
    .await;
    let address = lab.emulator.address;
    let Lab {
        emulator,
        provider,
        dir,
        ..
    } = lab;
    let world = Arc::clone(&emulator.world);
    let hanging = tokio::spawn(async move { provider.power_cycle(&styx()).await });
    while world.state().calls.received(CallKind::Restart) == 0 {
        tokio::task::yield_now().await;
    }
    emulator.stop().await;
    assert!(
        hanging
            .await
            .expect("the task ends")
            .expect_err("cut off")
            .may_have_acted()
    );
    tokio::net::TcpListener::bind(address)
        .await
        .expect("the port is free");
    drop(dir);
}

#[tokio::test]
async fn a_taken_port_is_said_with_its_address() {
    let lab = Lab::start().await;
    let again = Emulator::start(lab.emulator.address, Box::new(lab.machines.clone())).await;
    let message = again.expect_err("the port is taken").to_string();
    assert!(
        message.contains(&lab.emulator.address.to_string()),
        "{message}"
    );
}
