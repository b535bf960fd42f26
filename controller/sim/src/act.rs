//! What effects do to the truth: at the provider, on the machine, in Kubernetes and in the secret store.

use crate::cloud::{Kind, Operation, State};
use crate::judge::Page;
use crate::pursue::{done, kind, not_started};
use crate::queue::{Event, Reply};
use crate::rng::hash;
use crate::scenario::{Fault, Ix, Ms, RebootManner, RecreateManner, SECOND, Trouble};
use crate::sim::Sim;
use crate::truth::Order;
use iaso_engine::effect::{Action, Effect, Outcome, Remembered, Yield};
use iaso_engine::fact::Observation;
use iaso_engine::id::EffectId;
use std::collections::BTreeMap;

/// From a system's start until its agent runs.
const AGENT_START: Ms = 5 * SECOND;

impl Sim<'_> {
    pub(crate) fn call_arrives(
        &mut self,
        life: u32,
        effect: &Effect,
        answer_lost: bool,
        timeout: Ms,
    ) {
        let (Some(node), Some(kind)) = (self.ix(effect), kind(&effect.action)) else {
            return;
        };
        let reply = self.provider_takes(node, kind, effect);
        let id = effect.id.clone();
        let said = |reply| Event::CallAnswered {
            life,
            effect: id.clone(),
            reply,
        };
        if answer_lost {
            return;
        }
        match reply {
            Reply::Lost => {
                let after = timeout.saturating_sub(self.now);
                self.later(after.max(250), said(Reply::Lost));
            }
            reply @ (Reply::Taken(_) | Reply::Refused(_)) => self.later(250, said(reply)),
        }
    }

    fn provider_takes(&mut self, node: Ix, kind: Kind, effect: &Effect) -> Reply {
        let mut lost = false;
        if let Some(class) = self.truth.provider_trouble() {
            // 5xx and silence say nothing: half of such calls are taken.
            let vague = class == Trouble::Server.class() || class == Trouble::Silence.class();
            if !vague || !self.streams.provider.percent(50) {
                return if vague {
                    Reply::Lost
                } else {
                    Reply::Refused(class)
                };
            }
            lost = true;
        }
        if !self.truth.setup(node).machine {
            return Reply::Refused("unsupported");
        }
        self.judge_call(node, kind, effect);
        let manner = &self.scenario.provider;
        let blocked = self
            .truth
            .has(node, |f| matches!(f, Fault::Suspended | Fault::Locked));
        if blocked || self.cloud.pending(node).is_some() {
            return Reply::Refused("conflict");
        }
        if self.streams.provider.permille(manner.refused) {
            return Reply::Refused("rate-limited");
        }
        if kind == Kind::Recreate
            && manner.recreate == RecreateManner::RefusesPassword
            && self.cloud.refused_passwords == 0
        {
            self.cloud.refused_passwords = 1;
            return Reply::Refused("invalid");
        }
        let number = self.begin_operation(node, kind, effect);
        if lost {
            Reply::Lost
        } else {
            Reply::Taken(number)
        }
    }

    fn begin_operation(&mut self, node: Ix, kind: Kind, effect: &Effect) -> u64 {
        let manner = &self.scenario.provider;
        let span = if kind == Kind::Recreate {
            manner.reinstall
        } else {
            manner.power
        };
        let takes = self.streams.provider.between(span.0, span.1) / 250 * 250;
        let ends = self.now.saturating_add(takes.max(SECOND));
        let acted = match kind {
            Kind::Start => true,
            Kind::Reboot => manner.reboot == RebootManner::Works,
            Kind::Recreate => manner.recreate != RecreateManner::FailsBefore,
        };
        let number = self.cloud.take(Operation {
            node,
            kind,
            created: self.now,
            ends,
            state: State::Pending,
            effect: effect.id.clone(),
            acted,
        });
        self.judge_taken(node, kind, effect);
        self.tell(|| format!("the provider takes {} of {}", kind.name(), effect.node));
        self.queue.push(ends, Event::OperationEnds(number));
        if acted && kind != Kind::Start {
            self.change(&[node], |truth| {
                let active = std::mem::take(&mut truth.hosts[node].active);
                let kept = active.into_iter().filter(|index| {
                    let heal = &truth.strike(*index).heal;
                    !(match kind {
                        Kind::Recreate => heal.recreate,
                        Kind::Reboot => heal.reboot,
                        Kind::Start => heal.start,
                    })
                });
                let kept = kept.collect();
                let host = &mut truth.hosts[node];
                host.active = kept;
                host.booted = false;
                host.boots = host.boots.saturating_add(1);
                if kind == Kind::Recreate {
                    host.installed = false;
                    host.data = false;
                    host.orders.clear();
                }
            });
        }
        number
    }

    pub(crate) fn operation_ends(&mut self, number: u64) {
        let manner = &self.scenario.provider;
        let Some(operation) = self.cloud.operation_mut(number) else {
            return;
        };
        let (node, kind, acted) = (operation.node, operation.kind, operation.acted);
        let failed = match kind {
            Kind::Start => false,
            Kind::Reboot => manner.reboot == RebootManner::Fails,
            Kind::Recreate => matches!(
                manner.recreate,
                RecreateManner::FailsBefore | RecreateManner::HalfDone
            ),
        };
        operation.state = if failed { State::Failed } else { State::Done };
        let outcome = if failed { "fails" } else { "is done" };
        self.tell(|| format!("the provider's {} {outcome}", kind.name()));
        self.stirred = self.now;
        if !acted || (failed && kind == Kind::Recreate) {
            return;
        }
        let installs = kind == Kind::Recreate && manner.recreate != RecreateManner::ComesUpBare;
        self.change(&[node], |truth| {
            let active = std::mem::take(&mut truth.hosts[node].active);
            // Powering on heals what is only a lack of power, whoever asked for it.
            let kept = active.into_iter().filter(|i| {
                !(truth.strike(*i).fault == Fault::PowerOff && truth.strike(*i).heal.start)
            });
            let kept = kept.collect();
            let host = &mut truth.hosts[node];
            host.active = kept;
            host.installed |= installs;
            host.object |= installs;
        });
        self.power_on(node);
    }

    /// The machine gets power; its system answers after its boot.
    pub(crate) fn power_on(&mut self, node: Ix) {
        if self.truth.has(node, |f| f == Fault::PowerOff) {
            return;
        }
        let host = &mut self.truth.hosts[node];
        if host.power && host.booted {
            return;
        }
        host.power = true;
        host.boots = host.boots.saturating_add(1);
        let boot = host.boots;
        let after = self.truth.setup(node).boot;
        self.later(after, Event::Boots(node, boot));
    }

    pub(crate) fn boots(&mut self, node: Ix, boot: u32) {
        let host = &self.truth.hosts[node];
        if host.boots != boot || !host.power {
            return;
        }
        let ready = self.truth.setup(node).ready;
        let now = self.now;
        self.tell(|| "a machine has booted".into());
        self.change(&[node], |truth| {
            let host = &mut truth.hosts[node];
            host.booted = true;
            host.agent_from = now.saturating_add(AGENT_START);
            host.kubelet_from = now.saturating_add(ready);
        });
        self.later(AGENT_START, Event::Settles(node));
        self.later(ready, Event::Settles(node));
    }

    pub(crate) fn fix_arrives(&mut self, node: Ix, effect: &Effect) {
        let host = &self.truth.hosts[node];
        if !host.shape.session {
            return;
        }
        if host.orders.iter().any(|o| o.effect == effect.id) {
            return self.hand_over(node);
        }
        self.judge_fix(node, effect);
        let takes = self.streams.agents.between(4, 40) * SECOND / 2;
        let agent = self.truth.hosts[node].agents;
        let host = &mut self.truth.hosts[node];
        host.touched = true;
        host.orders.push(Order {
            effect: effect.id.clone(),
            agent,
            result: None,
            until: self.now.saturating_add(takes),
        });
        let effect = effect.id.clone();
        self.later(
            takes,
            Event::FixEnds {
                node,
                effect,
                agent,
            },
        );
    }

    pub(crate) fn fix_ends(&mut self, node: Ix, effect: &EffectId, agent: u32) {
        let host = &self.truth.hosts[node];
        if host.agents != agent || !host.shape.agent {
            return;
        }
        let Some(fix) = self.fix_name(effect) else {
            return;
        };
        let heals = |index: &usize| self.truth.strike(*index).heal.fix.as_deref() == Some(&*fix);
        let healed: Vec<usize> = host.active.iter().copied().filter(heals).collect();
        let drawn = hash(self.scenario.seed, [self.now, node.0 as u64, 8]);
        let result = match (healed.is_empty(), drawn % 4) {
            (false, _) => "fixed",
            (true, 0) => "refused",
            (true, _) => "unchanged",
        };
        self.tell(|| format!("the agent's {fix}: {result}"));
        let host = &mut self.truth.hosts[node];
        if let Some(order) = host.orders.iter_mut().find(|o| &o.effect == effect) {
            order.result = Some(result);
        }
        if !healed.is_empty() {
            self.change(&[node], |truth| {
                truth.hosts[node].active.retain(|i| !healed.contains(i));
            });
        }
        self.hand_over(node);
    }

    fn fix_name(&self, effect: &EffectId) -> Option<String> {
        // The journal's copy may be cut off with the controller: the agent remembers its order by itself.
        if let Action::ApplyFix { fix, .. } = &self.driver.ledger.effect(effect)?.effect.action {
            Some(fix.clone())
        } else {
            None
        }
    }

    /// The agent tells what its orders came to, if anybody listens; again to each new session.
    pub(crate) fn hand_over(&mut self, node: Ix) {
        let host = &self.truth.hosts[node];
        if host.session.is_none() || !host.shape.session {
            return;
        }
        let said: Vec<(EffectId, &'static str)> = host
            .orders
            .iter()
            .filter_map(|o| Some((o.effect.clone(), o.result?)))
            .collect();
        for (effect, result) in said {
            let life = self.driver.life;
            let outcome = Box::new(done(Yield::Fix {
                result: result.into(),
            }));
            self.later(
                250,
                Event::Told {
                    life,
                    effect,
                    outcome,
                },
            );
        }
    }

    /// Effects that take a moment.
    pub(crate) fn short(&mut self, life: u32, effect: &Effect) {
        if life != self.driver.life || !self.driver.up {
            return;
        }
        let Some(node) = self.ix(effect) else {
            return;
        };
        let outcome = match &effect.action {
            Action::Remember
            | Action::Cordon
            | Action::Release
            | Action::Restore { .. }
            | Action::Uncordon => self.kube(node, effect),
            Action::StorePassword => self.store_password(effect),
            Action::PromotePassword { .. } | Action::DiscardPassword { .. } => {
                if self.secrets_answer() {
                    done(Yield::Nothing)
                } else {
                    not_started("unavailable")
                }
            }
            // The modelled provider has none: the next rung may do.
            Action::Rescue { .. } => Outcome::Failed {
                detail: "this provider has no rescue image".into(),
            },
            Action::LeaveRescue => done(Yield::Nothing),
            Action::PrepareScript => match self.helpers_answer() {
                Some(class) => not_started(class),
                None => done(Yield::Script {
                    script: format!("script-{}", effect.id),
                    token: format!("token-{}", effect.id),
                }),
            },
            Action::Cleanup { .. } => match self.helpers_answer() {
                Some(class) => not_started(class),
                None => done(Yield::Nothing),
            },
            Action::Page { message } => {
                self.judge.paged(Page {
                    at: self.now,
                    node,
                    incident: effect.incident.clone(),
                    text: message.clone(),
                });
                done(Yield::Nothing)
            }
            Action::ApplyFix { .. } | Action::Reboot | Action::Start | Action::Recreate { .. } => {
                return;
            }
        };
        self.driver.pursuits.remove(&effect.id);
        self.tell_outcome(&effect.id, outcome);
    }

    fn secrets_answer(&self) -> bool {
        self.truth.global(|f| f == Fault::SecretStore).is_none()
    }

    /// Provider and Kubernetes, both of which a script needs.
    fn helpers_answer(&self) -> Option<&'static str> {
        let kube = self.scenario.has_cluster && !self.truth.api_answers();
        self.truth
            .provider_trouble()
            .or(kube.then_some("transport"))
    }

    fn store_password(&mut self, effect: &Effect) -> Outcome {
        let well = self.secrets_answer();
        let trouble = (!well).then(|| "it does not answer".to_owned());
        self.observe(Observation::SecretStore { trouble });
        if well {
            done(Yield::Password {
                key: format!("{}.root-password/{}", effect.node, effect.id),
            })
        } else {
            not_started("unavailable")
        }
    }

    fn kube(&mut self, node: Ix, effect: &Effect) -> Outcome {
        if !self.scenario.has_cluster {
            return done(if effect.action == Action::Remember {
                Yield::Remembered {
                    remembered: Remembered::default(),
                }
            } else {
                Yield::Nothing
            });
        }
        if !self.truth.api_answers() {
            return not_started("transport");
        }
        if effect.action == Action::Release {
            self.judge_release(node, effect);
        }
        self.sense();
        let host = &mut self.truth.hosts[node];
        let mut yielded = Yield::Nothing;
        match &effect.action {
            Action::Cordon => {
                self.judge.cordoned(node, &effect.incident, !host.cordoned);
                host.cordoned = true;
            }
            Action::Uncordon => {
                self.judge.uncordoned(node);
                host.cordoned = false;
            }
            Action::Remember => {
                yielded = Yield::Remembered {
                    remembered: Remembered {
                        labels: BTreeMap::from([("disk".into(), "ssd".into())]),
                        was_cordoned: host.cordoned && !self.judge.is_cordoned_by_us(node),
                        ..Remembered::default()
                    },
                }
            }
            Action::Release
            | Action::Restore { .. }
            | Action::ApplyFix { .. }
            | Action::Reboot
            | Action::Start
            | Action::Rescue { .. }
            | Action::LeaveRescue
            | Action::StorePassword
            | Action::PrepareScript
            | Action::Recreate { .. }
            | Action::PromotePassword { .. }
            | Action::DiscardPassword { .. }
            | Action::Cleanup { .. }
            | Action::Page { .. } => {}
        }
        self.stirred = self.now;
        if self.streams.kube.permille(self.scenario.net.loss) {
            // It was done, and the answer was lost: it is done again, with the same end.
            return not_started("transport");
        }
        done(yielded)
    }
}
