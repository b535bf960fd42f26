#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Mutex,
};

use async_trait::async_trait;
use iaso_host::types::Unit;

use super::*;

const PATIENCE: Patience = Patience {
    ready_within: Duration::from_mins(1),
    steady_for: Duration::from_secs(15),
};

/// A systemd whose service does what the installed program says in words.
struct Host {
    root: tempfile::TempDir,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    no_bus: bool,
    running: Option<String>,
    /// A hung process that does not hear SIGTERM.
    deaf: bool,
    process: u32,
    starts: u32,
}

impl Host {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc/systemd/system")).unwrap();
        Self {
            root,
            seen: Mutex::default(),
        }
    }

    fn layout(&self) -> Layout {
        Layout::new(self.root.path().to_owned())
    }

    fn program(&self) -> Option<String> {
        let unit = self.root.path().join("etc/systemd/system").join(UNIT);
        let current = self.root.path().join("opt/iaso/current/iaso-agent");
        unit.exists().then(|| fs::read_to_string(current).unwrap())
    }

    fn running(&self) -> Option<String> {
        self.seen.lock().unwrap().running.clone()
    }

    fn starts(&self) -> u32 {
        self.seen.lock().unwrap().starts
    }

    async fn carry(&self, program: &str) -> Result<Outcome, CarrierError> {
        carry(&self.layout(), &payload(program), self, PATIENCE).await
    }

    /// All files and links, by their path, with what is in them.
    fn files(&self) -> BTreeMap<PathBuf, String> {
        let mut all = BTreeMap::new();
        walk(self.root.path(), &mut all);
        all
    }
}

fn walk(path: &Path, all: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), all);
        } else {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            all.insert(entry.path(), text);
        }
    }
}

fn payload(program: &str) -> Payload {
    let from = tempfile::tempdir().unwrap();
    let program = format!("#!{program}");
    for (name, text) in [
        ("iaso-agent", program.as_str()),
        (UNIT, "[Service]\n"),
        ("agent.toml", "node = \"styx\"\n"),
    ] {
        fs::write(from.path().join(name), text).unwrap();
    }
    Payload::read(&[from.path().to_owned()]).unwrap()
}

#[async_trait]
impl Units for Host {
    async fn reload(&self) -> Result<(), CapError> {
        if self.seen.lock().unwrap().no_bus {
            return Err(CapError::Unavailable("no bus".into()));
        }
        Ok(())
    }

    async fn restart(&self, _: &str, _: Duration) -> Result<String, CapError> {
        let program = self.program().unwrap();
        let mut seen = self.seen.lock().unwrap();
        seen.starts += 1;
        seen.process += 1;
        if seen.deaf {
            return Ok("timeout".into());
        }
        seen.deaf = program == "#!hangs";
        let result = match program.as_str() {
            "#!exits" => "failed",
            "#!hangs" => "timeout",
            _ => "done",
        };
        seen.running = (result == "done").then_some(program);
        Ok(result.into())
    }

    async fn stop(&self, _: &str, _: Duration) -> Result<String, CapError> {
        self.seen.lock().unwrap().running = None;
        Ok("done".into())
    }

    async fn kill(&self, _: &str) -> Result<(), CapError> {
        self.seen.lock().unwrap().deaf = false;
        Err(CapError::Other("no process".into()))
    }

    async fn look(&self, unit: &str) -> Result<Unit, CapError> {
        let mut seen = self.seen.lock().unwrap();
        if seen.running.as_deref() == Some("#!flaps") {
            seen.process += 1;
        }
        let state = if seen.running.is_some() {
            "active"
        } else {
            "failed"
        };
        Ok(Unit {
            name: unit.into(),
            load_state: "loaded".into(),
            active_state: state.into(),
            sub_state: String::new(),
            last_result: "exit-code".into(),
            restarts: 0,
            in_state_ms: None,
            main_pid: seen.process,
            exit_status: 1,
            attributes: Vec::new(),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_version_is_installed_whole_and_starts_at_boot() {
    let host = Host::new();
    let outcome = host.carry("one").await.unwrap();
    assert_eq!(
        outcome,
        Outcome::Installed(payload("one").version().clone())
    );
    assert_eq!(host.running().as_deref(), Some("#!one"));
    let root = host.root.path();
    let wanted = root
        .join("etc/systemd/system/multi-user.target.wants")
        .join(UNIT);
    let unit = fs::read_to_string(wanted).unwrap();
    assert!(unit.starts_with("# Installed by Iaso") && unit.ends_with("[Service]\n"));
    let mode = |name: &str| {
        let file = root.join("opt/iaso/current").join(name);
        fs::metadata(file).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode("iaso-agent"), mode("agent.toml")), (0o755, 0o600));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_there_is_left_alone_and_started_only_if_it_does_not_run() {
    let host = Host::new();
    host.carry("one").await.unwrap();
    let unchanged = Outcome::Unchanged(payload("one").version().clone());
    assert_eq!(host.carry("one").await.unwrap(), unchanged);
    assert_eq!(host.starts(), 1);
    host.seen.lock().unwrap().running = None;
    assert_eq!(host.carry("one").await.unwrap(), unchanged);
    assert_eq!(host.running().as_deref(), Some("#!one"));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_exits_hangs_or_ends_after_it_was_ready_is_taken_back_and_not_tried_again() {
    for (broken, because) in [
        ("exits", "`failed`"),
        ("hangs", "not ready within 60 s"),
        ("flaps", "started again"),
    ] {
        let host = Host::new();
        host.carry("one").await.unwrap();
        let Outcome::TakenBack { failed, why, runs } = host.carry(broken).await.unwrap() else {
            panic!("{broken} was not taken back");
        };
        assert!(why.contains(because), "{why}");
        assert_eq!(&failed, payload(broken).version());
        assert_eq!(runs.as_ref(), Some(payload("one").version()));
        assert_eq!(host.running().as_deref(), Some("#!one"));
        let starts = host.starts();
        let again = host.carry(broken).await.unwrap();
        assert_eq!(
            again,
            Outcome::Refused {
                version: failed,
                why
            }
        );
        assert_eq!(host.starts(), starts, "{broken} was tried again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_version_that_fails_leaves_no_unit_and_the_next_one_gets_its_chance() {
    let host = Host::new();
    let outcome = host.carry("exits").await.unwrap();
    assert!(matches!(outcome, Outcome::TakenBack { runs: None, .. }));
    assert_eq!(host.program(), None);
    host.carry("two").await.unwrap();
    assert_eq!(host.running().as_deref(), Some("#!two"));
}

#[tokio::test(start_paused = true)]
async fn a_systemd_that_cannot_be_asked_says_nothing_of_the_version() {
    let host = Host::new();
    host.carry("one").await.unwrap();
    host.seen.lock().unwrap().no_bus = true;
    let error = host.carry("two").await.unwrap_err();
    assert!(matches!(error, CarrierError::Systemd { .. }), "{error}");
    host.seen.lock().unwrap().no_bus = false;
    let installed = Outcome::Installed(payload("two").version().clone());
    assert_eq!(host.carry("two").await.unwrap(), installed);
}

#[tokio::test(start_paused = true)]
async fn a_carrier_that_ended_in_a_trial_finishes_it_before_anything_else() {
    let host = Host::new();
    host.carry("one").await.unwrap();
    let (layout, broken) = (host.layout(), payload("exits"));
    let one = payload("one").version().clone();
    layout.store(&broken).unwrap();
    layout.set_pending(broken.version()).unwrap();
    layout.switch(broken.version(), Some(&one)).unwrap();
    // The carrier ends here; the next one brings the old version, which must not hide what was begun.
    assert_eq!(host.carry("one").await.unwrap(), Outcome::Unchanged(one));
    assert_eq!(host.running().as_deref(), Some("#!one"));
    assert!(layout.refused(broken.version()).unwrap().is_some());
    assert_eq!(layout.pending().unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_carrier_that_ended_while_it_took_back_goes_on_without_a_second_trial() {
    let host = Host::new();
    host.carry("one").await.unwrap();
    let (layout, two) = (host.layout(), payload("two"));
    layout.store(&two).unwrap();
    layout.set_pending(two.version()).unwrap();
    layout
        .switch(two.version(), Some(payload("one").version()))
        .unwrap();
    layout.refuse(two.version(), "it ended").unwrap();
    let starts = host.starts();
    let outcome = host.carry("two").await.unwrap();
    assert!(matches!(outcome, Outcome::TakenBack { .. }), "{outcome:?}");
    assert_eq!(host.running().as_deref(), Some("#!one"));
    assert_eq!(host.starts(), starts + 1);
}

#[tokio::test(start_paused = true)]
async fn a_byte_that_changed_on_the_host_is_put_right() {
    let host = Host::new();
    host.carry("one").await.unwrap();
    let program = host.root.path().join("opt/iaso/current/iaso-agent");
    fs::write(&program, "#!0ne").unwrap();
    let outcome = host.carry("one").await.unwrap();
    assert!(matches!(outcome, Outcome::Installed(_)), "{outcome:?}");
    assert_eq!(fs::read_to_string(&program).unwrap(), "#!one");
}

#[tokio::test(start_paused = true)]
async fn two_versions_are_kept_and_no_more() {
    let host = Host::new();
    for program in ["one", "two", "three", "four"] {
        host.carry(program).await.unwrap();
    }
    let kept = fs::read_dir(host.root.path().join("opt/iaso/versions"));
    assert_eq!(kept.unwrap().count(), 2);
}

#[tokio::test(start_paused = true)]
async fn removal_leaves_nothing() {
    let host = Host::new();
    host.carry("one").await.unwrap();
    host.carry("exits").await.unwrap();
    let state = host.root.path().join("var/lib/iaso");
    fs::create_dir_all(&state).unwrap();
    fs::write(state.join("outbox"), "kept").unwrap();
    remove(&host.layout(), &host, PATIENCE).await.unwrap();
    assert_eq!(host.running(), None);
    assert_eq!(host.files(), BTreeMap::new());
    remove(&host.layout(), &host, PATIENCE)
        .await
        .expect("what is gone can be removed again");
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_unit_is_neither_replaced_nor_removed() {
    let host = Host::new();
    let units = host.root.path().join("etc/systemd/system");
    fs::write(units.join(UNIT), "[Unit]\n").unwrap();
    let before = host.files();
    let carried = host.carry("one").await.unwrap_err();
    assert!(
        carried.to_string().contains("leave this host out"),
        "{carried}"
    );
    assert!(remove(&host.layout(), &host, PATIENCE).await.is_err());
    assert_eq!((host.files(), host.starts()), (before, 0));
}

#[test]
fn what_is_no_payload_is_refused_in_words() {
    let from = tempfile::tempdir().unwrap();
    let read = |n: usize| Payload::read(&vec![from.path().to_owned(); n]);
    assert!(read(1).unwrap_err().to_string().contains("is missing"));
    fs::write(from.path().join("iaso-agent"), "x").unwrap();
    assert!(read(2).unwrap_err().to_string().contains("twice"));
    for n in 0..17 {
        fs::write(from.path().join(n.to_string()), "x").unwrap();
    }
    assert!(read(1).unwrap_err().to_string().contains("more than 16"));
}

#[test]
fn the_carried_unit_is_the_hosts_own_but_for_where_it_lies() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let lines = |path: &str| -> Vec<String> {
        let text = fs::read_to_string(deploy.join(path)).unwrap();
        let kept = text.lines().filter(|line| !line.starts_with('#'));
        kept.map(ToOwned::to_owned).collect()
    };
    let own = lines("systemd/iaso-agent.service").join("\n").replace(
        "/usr/local/bin/iaso-agent run --config /etc/iaso/agent.toml",
        "/opt/iaso/current/iaso-agent run --config /opt/iaso/current/agent.toml",
    );
    assert_eq!(lines("carrier/iaso-agent.service").join("\n"), own);
}
