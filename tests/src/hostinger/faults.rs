//! What can be made to go wrong, as data: set through the handle or as JSON through `POST /lab/faults`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::CallKind;

/// How a recreate stops half-way, after the disk is wiped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HalfDone {
    /// The action stays `sent` for ever.
    StaysPending,
    /// The action ends in `error`.
    EndsInError,
}

/// A 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// What `Retry-After` says; without it there is no such header.
    pub retry_after_secs: Option<u64>,
}

/// All faults. The default is none.
///
/// The lies and failures hold until they are switched off. The answer faults (`not_found_everywhere` to
/// `delay_ms`) can be narrowed to some calls (`only`) and to the next few (`limit`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent switches; any set of them can be on"
)]
pub struct Faults {
    /// The state of every machine is `running`, whatever it does.
    pub says_running: bool,
    /// A restart ends in `error`, and the machine is not touched.
    pub reboot_fails: bool,
    /// A restart ends in `success`, and the machine is not touched.
    pub reboot_does_nothing: bool,
    /// A recreate wipes the machine and stops there.
    pub recreate_half_done: Option<HalfDone>,
    /// 404 to everything, as a wrong URL would.
    pub not_found_everywhere: bool,
    /// 401 to everything, as an expired token would.
    pub unauthorized: bool,
    /// 429 to everything.
    pub rate_limited: Option<RateLimit>,
    /// This status (500 to 599) to everything.
    pub server_error: Option<u16>,
    /// Takes the request and never answers; an order is not taken.
    pub hang: bool,
    /// Takes the call, acts, and closes the connection without an answer.
    pub drop_after_accept: bool,
    /// Waits before each answer.
    pub delay_ms: u64,
    /// The calls that the answer faults are for. Empty: all.
    pub only: Vec<CallKind>,
    /// For how many more calls the answer faults hold. Absent: until switched off.
    pub limit: Option<u32>,
}

/// What an answer fault does to one call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) delay: Duration,
    pub(super) effect: Option<Effect>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    NotFound,
    Unauthorized,
    RateLimited(RateLimit),
    ServerError(u16),
    Hang,
    DropAfterAccept,
}

impl Faults {
    /// What is wrong with the faults themselves.
    pub(super) fn mistake(&self) -> Option<&'static str> {
        match self.server_error {
            Some(status) if !(500..=599).contains(&status) => {
                Some("server_error must be 500 to 599")
            }
            Some(_) | None if self.reboot_fails && self.reboot_does_nothing => {
                Some("reboot_fails and reboot_does_nothing cannot both be on")
            }
            Some(_) | None => None,
        }
    }

    /// Uses up one of `limit` when it hits.
    pub(super) fn hit(&mut self, kind: CallKind) -> Hit {
        let effect = self.effect();
        let idle = effect.is_none() && self.delay_ms == 0;
        if idle || self.limit == Some(0) || !(self.only.is_empty() || self.only.contains(&kind)) {
            return Hit::default();
        }
        self.limit = self.limit.map(|left| left.saturating_sub(1));
        Hit {
            delay: Duration::from_millis(self.delay_ms),
            effect,
        }
    }

    /// The hardest one first.
    fn effect(&self) -> Option<Effect> {
        let first = |on: bool, effect| on.then_some(effect);
        first(self.hang, Effect::Hang)
            .or(self.server_error.map(Effect::ServerError))
            .or(first(self.not_found_everywhere, Effect::NotFound))
            .or(first(self.unauthorized, Effect::Unauthorized))
            .or(self.rate_limited.map(Effect::RateLimited))
            .or(first(self.drop_after_accept, Effect::DropAfterAccept))
    }
}
