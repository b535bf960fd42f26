//! Questions to the [`Ledger`]: nothing here changes it.

use crate::effect::{Action, Outcome};
use crate::id::{EffectId, IncidentId, NodeName};
use crate::ledger::{EffectState, Incident, Ledger, RungState, Standing};
use crate::policy::Policy;
use crate::policy::step::StepKind;
use crate::record::{Rung, RungResult};
use crate::time::Tick;
use std::time::Duration;

/// Budgets count over this span.
const DAY: Duration = Duration::from_hours(24);

impl Ledger {
    /// The incident of a node that has not ended.
    #[must_use]
    pub fn open_incident(&self, node: &NodeName) -> Option<&Incident> {
        self.incidents
            .values()
            .find(|i| &i.node == node && !matches!(i.standing, Standing::Closed(..)))
    }

    /// An effect by its id.
    #[must_use]
    pub fn effect(&self, id: &EffectId) -> Option<&EffectState> {
        self.effects().find(|e| &e.effect.id == id)
    }

    /// Every effect of every incident.
    pub fn effects(&self) -> impl Iterator<Item = &EffectState> {
        self.incidents.values().flat_map(|i| i.effects.iter())
    }

    /// Effects without a settled outcome: a controller that starts must ask what became of each.
    pub fn unsettled(&self) -> impl Iterator<Item = &EffectState> {
        self.effects().filter(|e| !e.is_settled())
    }

    /// Disruptive effects that may be happening now, in the whole cluster.
    pub fn disruptive_in_flight<'a>(
        &'a self,
        policy: &'a Policy,
        now: Tick,
    ) -> impl Iterator<Item = &'a EffectState> {
        self.effects()
            .filter(move |e| e.effect.action.is_disruptive() && e.is_in_flight(policy, now))
    }

    /// Recreates in the whole cluster in the last 24 hours, those that provably never began left out.
    #[must_use]
    pub fn recreates_today(&self, now: Tick) -> usize {
        self.effects()
            .filter(|e| matches!(e.effect.action, Action::Recreate { .. }) && e.counts(now))
            .count()
    }

    /// Reboots, power-ons and rescues in the last 24 hours, of one node or (`None`) of all, those that provably never began left out.
    #[must_use]
    pub fn reboots_today(&self, node: Option<&NodeName>, now: Tick) -> usize {
        self.effects()
            .filter(|e| node.is_none_or(|n| &e.effect.node == n))
            .filter(|e| e.effect.action.is_switch() && e.counts(now))
            .count()
    }

    /// Fixes on one node in the last 24 hours, those that provably never began left out.
    #[must_use]
    pub fn fixes_today(&self, node: &NodeName, now: Tick) -> usize {
        self.effects()
            .filter(|e| &e.effect.node == node)
            .filter(|e| matches!(e.effect.action, Action::ApplyFix { .. }) && e.counts(now))
            .count()
    }

    /// When an act of this kind last began, or may have begun, on a node before a moment, over all incidents.
    #[must_use]
    pub fn last_of_kind(&self, node: &NodeName, kind: StepKind, before: Tick) -> Option<Tick> {
        self.effects()
            .filter(|e| &e.effect.node == node && !e.never_began())
            .filter(|e| e.effect.action.kind() == Some(kind))
            .map(|e| e.intended)
            .filter(|at| *at < before)
            .max()
    }

    /// How often a node looked well and was not within the last `window`: verifications that failed, and incidents that ended.
    #[must_use]
    pub fn flaps(&self, node: &NodeName, now: Tick, window: Duration) -> u32 {
        let lately = |at: Tick| now.since(at) < window;
        let one = |i: &Incident| {
            let failed = match i.verify_failed {
                Some(at) if lately(at) => i.verify_failures,
                Some(_) | None => 0,
            };
            let ended = matches!(i.standing, Standing::Closed(at, _) if lately(at));
            failed.saturating_add(u32::from(ended))
        };
        let own = self.incidents.values().filter(|i| &i.node == node);
        own.map(one).fold(0, u32::saturating_add)
    }

    /// Why disruptive effects on a node are held by a person, if they are.
    #[must_use]
    pub fn pause_reason(&self, node: &NodeName) -> Option<&str> {
        self.paused
            .get(&Some(node.clone()))
            .or_else(|| self.paused.get(&None))
            .map(String::as_str)
    }

    /// The id of the next incident of a node.
    #[must_use]
    pub fn next_incident(&self, node: &NodeName) -> IncidentId {
        IncidentId(format!("{node}-{}", self.sequence.saturating_add(1)))
    }
}

impl EffectState {
    /// It provably never happened.
    #[must_use]
    pub fn never_began(&self) -> bool {
        matches!(self.latest, Some((_, Outcome::NotStarted { .. })))
    }

    /// It was done, and when.
    #[must_use]
    pub fn done(&self) -> Option<Tick> {
        match &self.latest {
            Some((at, Outcome::Done { .. })) => Some(*at),
            None
            | Some((
                _,
                Outcome::Failed { .. }
                | Outcome::NotStarted { .. }
                | Outcome::InDoubt { .. }
                | Outcome::Started { .. },
            )) => None,
        }
    }

    /// Whether it may be happening now. The provider's effects stay in flight until their outcome is known. A fix does not: its agent
    /// may have died with the machine, and nobody else could ever tell; the agent's own deadline is long over by then.
    #[must_use]
    pub fn is_in_flight(&self, policy: &Policy, now: Tick) -> bool {
        if self.is_settled() {
            return false;
        }
        let lapse = policy.fix_wait_secs.saturating_add(policy.doubt_secs);
        let is_fix = matches!(self.effect.action, Action::ApplyFix { .. });
        !is_fix || now.since(self.intended) < Duration::from_secs(lapse)
    }

    fn counts(&self, now: Tick) -> bool {
        !self.never_began() && now.since(self.intended) < DAY
    }
}

impl Incident {
    /// The id of its next effect.
    #[must_use]
    pub fn next_effect(&self) -> EffectId {
        EffectId(format!(
            "{}/{}",
            self.id,
            self.effects.len().saturating_add(1)
        ))
    }

    /// The rung that is being taken.
    #[must_use]
    pub fn running(&self) -> Option<&RungState> {
        self.rungs.iter().rev().find(|r| r.ended.is_none())
    }

    /// The effects of a rung that is or was the latest one.
    #[must_use]
    pub fn effects_of(&self, rung: &RungState) -> impl DoubleEndedIterator<Item = &EffectState> {
        self.effects.iter().skip(rung.effects_before)
    }

    /// How often a rung was begun.
    #[must_use]
    pub fn attempts(&self, rung: &Rung) -> u32 {
        let count = self.rungs.iter().filter(|r| &r.rung == rung).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// How often a rung was taken to its end without helping. Of power only what this controller saw counts: the machine may have come back,
    /// and gone away again for another reason, while nobody watched.
    #[must_use]
    pub fn tried(&self, rung: &Rung) -> u32 {
        let power = matches!(rung, Rung::Start | Rung::Reboot);
        let seen = |at: Tick| !power || self.unwatched.is_none_or(|then| at >= then);
        let spent = |r: &&RungState| {
            &r.rung == rung
                && r.ended.is_some_and(|(at, result)| {
                    let spends = match result {
                        RungResult::NoHelp | RungResult::Failed | RungResult::Recovered => true,
                        RungResult::Moot => false,
                    };
                    spends && seen(at)
                })
        };
        let count = self.rungs.iter().filter(spent).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The latest word of a person about a rung: `Some(true)` is yes.
    #[must_use]
    pub fn decision(&self, rung: &Rung) -> Option<bool> {
        self.decisions
            .iter()
            .rev()
            .find(|(_, r, _)| r == rung)
            .map(|(_, _, yes)| *yes)
    }

    /// The rung that a person said no to last, and has not said yes to since.
    #[must_use]
    pub fn denied(&self) -> Option<&Rung> {
        let mut words = self.decisions.iter().rev().map(|(_, rung, _)| rung);
        words.find(|rung| self.decision(rung) == Some(false))
    }

    /// A person said yes to a rung after this moment, and did not take it back.
    #[must_use]
    pub fn approved_after(&self, rung: &Rung, after: Tick) -> bool {
        let last = self.decisions.iter().rev().find(|(_, r, _)| r == rung);
        last.is_some_and(|(at, _, yes)| *yes && *at > after)
    }

    /// A power-on or a reboot of this incident brought the node back for a while: it was found well, or it lived at any time since the
    /// call was decided on. When a call whose outcome was long in doubt was in truth carried out, nobody knows.
    #[must_use]
    pub fn helped_for_a_while(&self) -> Option<&RungState> {
        self.rungs
            .iter()
            .rev()
            .filter(|r| matches!(r.rung, Rung::Start | Rung::Reboot))
            .find(|r| {
                let recovered = matches!(r.ended, Some((_, RungResult::Recovered)));
                recovered || self.effects_of(r).any(|e| self.lived_since(e))
            })
    }

    /// Nobody may have watched at some time after this moment.
    #[must_use]
    pub fn unwatched_since(&self, then: Tick) -> bool {
        self.unwatched.is_some_and(|at| at > then)
    }

    /// The machine answered after a power call was decided on that began, or may have.
    #[must_use]
    pub fn lived_since(&self, effect: &EffectState) -> bool {
        let is_power = matches!(effect.effect.action, Action::Start | Action::Reboot);
        is_power && !effect.never_began() && self.answered.is_some_and(|at| at > effect.intended)
    }

    /// The latest rescue that happened or may have happened.
    #[must_use]
    pub fn rescue(&self) -> Option<&EffectState> {
        self.effects.iter().rev().find(|e| {
            let failed = matches!(e.latest, Some((_, Outcome::Failed { .. })));
            matches!(e.effect.action, Action::Rescue { .. }) && !e.never_began() && !failed
        })
    }

    /// When the machine was given its own disk again after the latest rescue, if it was.
    #[must_use]
    pub fn left_rescue(&self) -> Option<Tick> {
        let rescue = self.rescue()?;
        let left = self.last_done("leave-rescue")?;
        left.done().filter(|_| left.intended >= rescue.intended)
    }

    /// Whether the rescue image answered, where a rescue was taken to its end: then the fault is in the machine's own system. It is left
    /// at once where it did not answer, and only later where it did.
    #[must_use]
    pub fn rescue_answered(&self) -> Option<bool> {
        let rung = self.rungs.iter().rev().find(|r| r.rung == Rung::Rescue)?;
        let (ended, result) = rung.ended?;
        let left = self.last_done("leave-rescue").map(|e| e.intended);
        (result == RungResult::NoHelp).then(|| left.is_none_or(|at| at >= ended))
    }

    /// What answered at a moment was the rescue image of this incident, or may have been.
    #[must_use]
    pub fn was_rescue(&self, at: Tick, fade: Duration) -> bool {
        let began = self.rescue().map(|e| e.intended);
        let left = self.left_rescue();
        began.is_some_and(|from| at >= from) && left.is_none_or(|left| at < left.after(fade))
    }

    /// What answers, or does not, is the provider's rescue image, or may be: its words count for `fade` after it was left.
    #[must_use]
    pub fn is_rescued(&self, now: Tick, fade: Duration) -> bool {
        self.rescue().is_some() && self.left_rescue().is_none_or(|at| now.since(at) < fade)
    }

    /// The recreate that happened or may have happened; at most one.
    #[must_use]
    pub fn recreate(&self) -> Option<&EffectState> {
        self.effects
            .iter()
            .find(|e| matches!(e.effect.action, Action::Recreate { .. }) && !e.never_began())
    }

    /// Something disruptive was done, or may have been.
    #[must_use]
    pub fn was_touched(&self) -> bool {
        self.effects
            .iter()
            .any(|e| e.effect.action.is_disruptive() && !e.never_began())
    }

    /// The latest effect whose action has this name and that was done.
    #[must_use]
    pub fn last_done(&self, name: &str) -> Option<&EffectState> {
        self.effects
            .iter()
            .rev()
            .find(|e| e.effect.action.name() == name && e.done().is_some())
    }
}
