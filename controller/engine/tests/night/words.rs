//! What providers, effects and checks say in scripted nights.

use iaso_engine::effect::Outcome;
use iaso_engine::fact::{Finding, MachineSeen, MachineState, Severity};
use iaso_engine::policy::step::StepKind;
use iaso_engine::policy::window::{TimeOfDay, UtcOffset, Window};

pub fn running() -> MachineSeen {
    in_state(MachineState::Running)
}

pub fn stopped() -> MachineSeen {
    in_state(MachineState::Stopped)
}

pub fn in_state(state: MachineState) -> MachineSeen {
    MachineSeen::Known {
        state,
        locked: false,
        pending: None,
    }
}

pub fn unknown(class: &str) -> MachineSeen {
    MachineSeen::Unknown {
        class: class.into(),
        message: "check the provider's settings".into(),
    }
}

pub fn failed(detail: &str) -> Outcome {
    Outcome::Failed {
        detail: detail.into(),
    }
}

pub fn not_started(class: &str) -> Outcome {
    Outcome::NotStarted {
        class: class.into(),
        detail: "look at the settings".into(),
    }
}

pub fn critical(code: &str, remedies: &[&str]) -> Finding {
    Finding {
        code: code.into(),
        severity: Severity::Critical,
        subject: "lab".into(),
        summary: "seen by the plugin".into(),
        remedies: remedies.iter().map(|r| (*r).to_owned()).collect(),
        attributes: Vec::new(),
    }
}

pub fn done() -> Outcome {
    Outcome::Done {
        detail: "ok".into(),
        yielded: iaso_engine::effect::Yield::Nothing,
    }
}

/// A window for reboots that no night comes to.
pub fn shut() -> Window {
    let time = |text: &str| TimeOfDay::try_from(text.to_owned()).expect("a time");
    Window {
        days: Vec::new(),
        // The nights begin at 23:45 UTC.
        from: time("12:00"),
        to: time("13:00"),
        utc_offset: UtcOffset::try_from("+00:00".to_owned()).expect("an offset"),
        rungs: vec![StepKind::Reboot],
    }
}
