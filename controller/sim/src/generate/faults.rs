//! Faults over time: a theme for each scenario, and what goes wrong beside it.

use crate::rng::Stream;
use crate::scenario::{Fault, Heal, Ix, Ms, NodeSetup, SECOND, Strike, Trouble};

/// The controller has seen every node by then.
const FIRST: Ms = 70 * SECOND;

struct Maker<'a> {
    stream: &'a mut Stream,
    nodes: &'a [NodeSetup],
    strikes: Vec<Strike>,
    causes: u32,
}

pub(super) fn strikes(stream: &mut Stream, nodes: &[NodeSetup]) -> Vec<Strike> {
    let mut maker = Maker {
        stream,
        nodes,
        strikes: Vec::new(),
        causes: 0,
    };
    let at = maker.stream.between(0, 240) * 250 + FIRST;
    maker.theme(at);
    maker.beside(at);
    maker.strikes.sort_by_key(|strike| strike.at);
    maker.strikes
}

impl Maker<'_> {
    fn any(&mut self) -> Ix {
        // A worker that joined, if one can be found: there most is done.
        for _ in 0..6 {
            let ix = usize::try_from(self.stream.below(self.nodes.len() as u64)).unwrap_or(0);
            let fit = self
                .nodes
                .get(ix)
                .is_some_and(|n| n.joined && n.role == iaso_engine::fact::Role::Worker);
            if fit || self.stream.percent(25) {
                return Ix(ix);
            }
        }
        Ix(0)
    }

    fn some(&mut self, count: u64) -> Vec<Ix> {
        let mut all: Vec<Ix> = (0..count).map(|_| self.any()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn add(&mut self, span: (Ms, Option<Ms>), fault: Fault, nodes: Vec<Ix>, heal: Heal) {
        let (at, until) = span;
        self.causes += 1;
        let remedies: &[&str] = if fault == Fault::K3sDown {
            &["restart", "killall"]
        } else if fault == Fault::Check && heal.fix.is_some() {
            &["delete-pod"]
        } else {
            &[]
        };
        let remedies = remedies.iter().map(|r| (*r).to_owned()).collect();
        // Some findings know that a restart cannot help.
        let remedies = if heal == Heal::default() && self.stream.percent(50) {
            Vec::new()
        } else {
            remedies
        };
        self.strikes.push(Strike {
            at: at / 250 * 250,
            until: until.map(|u| u / 250 * 250),
            fault,
            nodes,
            heal,
            remedies,
            cause: self.causes,
        });
    }

    fn span(&mut self, low: u64, high: u64) -> Ms {
        self.stream.between(low, high) * SECOND
    }

    /// Ends by itself, in some.
    fn passes(&mut self, at: Ms, percent: u64, low: u64, high: u64) -> Option<Ms> {
        let span = self.span(low, high);
        self.stream.percent(percent).then_some(at + span)
    }

    fn theme(&mut self, at: Ms) {
        match self.stream.below(100) {
            0..30 => {
                let node = self.any();
                self.machine(at, node);
            }
            30..40 => {
                for _ in 0..self.stream.between(2, 3) {
                    let (node, later) = (self.any(), self.span(0, 900));
                    self.machine(at + later, node);
                }
            }
            40..55 => {
                let node = self.any();
                self.soft(at, node);
            }
            55..65 => self.partition(at),
            65..72 => self.zone(at),
            72..76 => self.rollout(at),
            76..82 => self.api(at),
            82..87 => self.controller_cut(at),
            87..95 => {
                let node = self.any();
                self.machine(at, node);
                let (before, span) = (self.span(0, 60), self.span(30, 1_500));
                self.provider_trouble(at.saturating_sub(before), span);
            }
            _ => self.flapping(at),
        }
    }

    fn heal(&mut self) -> Heal {
        let reboot = self.stream.percent(55);
        Heal {
            fix: None,
            start: false,
            reboot,
            recreate: true,
        }
    }

    /// The machine itself.
    fn machine(&mut self, at: Ms, node: Ix) {
        let heal = self.heal();
        match self.stream.below(100) {
            0..45 => {
                let until = self.passes(at, 30, 5, 1_500);
                self.add((at, until), Fault::Cut, vec![node], heal);
            }
            45..75 => {
                let until = self.passes(at, 10, 20, 900);
                self.add((at, until), Fault::Hang, vec![node], heal);
            }
            75..92 => {
                let until = self.passes(at, 15, 20, 900);
                let heal = Heal {
                    start: true,
                    ..heal
                };
                self.add((at, until), Fault::PowerOff, vec![node], heal);
            }
            _ => {
                // Isolated from outside, and no act on the machine mends it.
                let until = self.passes(at, 60, 60, 3_000);
                self.add((at, until), Fault::Cut, vec![node], Heal::default());
            }
        }
    }

    /// Something on a machine that answers.
    fn soft(&mut self, at: Ms, node: Ix) {
        let until = self.passes(at, 40, 10, 1_200);
        let reboot = Heal {
            reboot: true,
            recreate: true,
            ..Heal::default()
        };
        let fix = |name: &str| Heal {
            fix: Some(name.into()),
            ..reboot.clone()
        };
        let k3s = self.stream.weighted(
            &[(50, Some("restart")), (25, Some("killall")), (25, None)],
            None,
        );
        let (fault, heal) = match self.stream.below(100) {
            0..40 => (Fault::K3sDown, k3s.map_or(Heal::default(), fix)),
            40..50 => (Fault::KubeletSilent, reboot),
            50..70 => {
                let helps = self.stream.percent(50);
                let heal = if helps {
                    fix("delete-pod")
                } else {
                    Heal::default()
                };
                (Fault::Check, heal)
            }
            70..77 => (Fault::AgentDead, reboot),
            77..82 => (Fault::Stalled, reboot),
            82..88 => (Fault::PluginBroken, Heal::default()),
            88..94 => {
                let percent = u8::try_from(self.stream.between(20, 70)).unwrap_or(50);
                (Fault::Sluggish(percent), Heal::default())
            }
            94..97 => (Fault::LeaseFrozen, Heal::default()),
            _ => (Fault::ReadyLatched, Heal::default()),
        };
        self.add((at, until), fault, vec![node], heal);
    }

    fn partition(&mut self, at: Ms) {
        let count = self.stream.weighted(&[(80, 1), (20, 2)], 1);
        let nodes = self.some(count);
        let until = self.passes(at, 70, 20, 2_400);
        let controller = self.stream.percent(75);
        let percent = self
            .stream
            .weighted(&[(30, 0), (20, 30), (20, 60), (20, 90), (10, 100)], 0);
        let session = controller && self.stream.percent(75);
        let api = self.stream.percent(50);
        let fault = Fault::Path {
            controller,
            peers_percent: percent,
            session,
            api,
        };
        self.add((at, until), fault, nodes, Heal::default());
    }

    /// All nodes of a failure domain that is declared, if there is one.
    fn declared_zone(&mut self) -> Option<Vec<Ix>> {
        let first = self.any();
        let zone = self.nodes.get(first.0)?.zone?;
        let all = self.nodes.iter().enumerate();
        let members = all.filter(|(_, n)| n.zone == Some(zone));
        Some(members.map(|(i, _)| Ix(i)).collect())
    }

    /// One failure domain: power, uplink or switch of several machines.
    fn zone(&mut self, at: Ms) {
        let share = self.stream.between(1, 60);
        let count = (self.nodes.len() as u64 * share / 100).max(2);
        let nodes = self.declared_zone().unwrap_or_else(|| self.some(count));
        let until = Some(at + self.span(60, 3_000));
        let heal = Heal::default();
        match self.stream.below(3) {
            0 => self.add((at, until), Fault::Cut, nodes, heal),
            1 => self.add((at, until), Fault::ZoneSplit, nodes, heal),
            _ => {
                let heal = Heal {
                    start: self.stream.percent(50),
                    ..heal
                };
                self.add((at, until), Fault::PowerOff, nodes, heal);
            }
        }
    }

    /// A bad image or configuration reaches one node after the other.
    fn rollout(&mut self, at: Ms) {
        let count = (self.nodes.len() as u64 * 2 / 3).clamp(2, 12);
        let nodes = self.some(count);
        let (gap, hang) = (
            self.stream.between(0, 120) * SECOND,
            self.stream.percent(60),
        );
        let heal = Heal {
            reboot: self.stream.percent(30),
            recreate: true,
            ..Heal::default()
        };
        let first = self.causes + 1;
        for (nth, node) in (0_u64..).zip(nodes) {
            let fault = if hang { Fault::Hang } else { Fault::K3sDown };
            self.add((at + gap * nth, None), fault, vec![node], heal.clone());
            if let Some(strike) = self.strikes.last_mut() {
                strike.cause = first;
            }
        }
    }

    fn api(&mut self, at: Ms) {
        let until = Some(at + self.span(20, 1_800));
        let fault = self.stream.weighted(
            &[(50, Fault::ApiOverload), (50, Fault::ApiDown)],
            Fault::ApiDown,
        );
        self.add((at, until), fault, Vec::new(), Heal::default());
        if self.stream.percent(40) {
            let (node, later) = (self.any(), self.span(0, 300));
            self.machine(at + later, node);
        }
    }

    fn controller_cut(&mut self, at: Ms) {
        let provider = self.stream.percent(60);
        let until = Some(at + self.span(20, 1_800));
        self.add(
            (at, until),
            Fault::ControllerCut { provider },
            Vec::new(),
            Heal::default(),
        );
        if self.stream.percent(30) {
            let (node, later) = (self.any(), self.span(0, 300));
            self.machine(at + later, node);
        }
    }

    fn provider_trouble(&mut self, at: Ms, span: Ms) {
        let trouble = self.stream.weighted(
            &[
                (20, Trouble::Unauthorized),
                (10, Trouble::Forbidden),
                (20, Trouble::NotFound),
                (15, Trouble::RateLimited),
                (20, Trouble::Server),
                (15, Trouble::Silence),
            ],
            Trouble::Server,
        );
        let until = self.stream.percent(75).then_some(at + span);
        self.add(
            (at, until),
            Fault::ProviderTrouble(trouble),
            Vec::new(),
            Heal::default(),
        );
    }

    fn flapping(&mut self, at: Ms) {
        let node = self.any();
        let fault = self.stream.weighted(
            &[
                (50, Fault::Cut),
                (30, Fault::AgentDead),
                (20, Fault::K3sDown),
            ],
            Fault::Cut,
        );
        let mut begins = at;
        for _ in 0..self.stream.between(3, 8) {
            let (down, up) = (self.span(10, 200), self.span(5, 150));
            self.add(
                (begins, Some(begins + down)),
                fault,
                vec![node],
                Heal::default(),
            );
            begins += down + up;
        }
    }

    /// What goes wrong at the same time.
    fn beside(&mut self, at: Ms) {
        if self.stream.percent(18) {
            let (later, down) = (
                self.span(0, 900),
                self.stream.weighted(&[(60, 4), (30, 40), (10, 400)], 4),
            );
            let clock_ms = self
                .stream
                .weighted(&[(85, 0), (5, 3_600_000), (5, -3_600_000), (5, 30_000)], 0);
            let begins = at + later;
            self.add(
                (begins, Some(begins + down * SECOND)),
                Fault::Crash { clock_ms },
                Vec::new(),
                Heal::default(),
            );
        }
        if self.stream.percent(10) {
            let (later, span) = (self.span(0, 600), self.span(20, 600));
            self.provider_trouble(at + later, span);
        }
        if self.stream.percent(8) {
            let count = self.stream.between(1, 2);
            let nodes = self.some(count);
            let fit = self.stream.percent(70);
            let until = self.passes(at, 50, 60, 1_800);
            self.add(
                (at.saturating_sub(5 * SECOND), until),
                Fault::Blind { fit },
                nodes,
                Heal::default(),
            );
        }
        self.beside_stores(at);
    }

    /// What goes wrong with stores, people and the provider's word.
    fn beside_stores(&mut self, at: Ms) {
        if self.stream.percent(6) {
            let (later, span) = (self.span(0, 400), self.span(10, 900));
            let fault = self.stream.weighted(
                &[(50, Fault::SecretStore), (50, Fault::Journal)],
                Fault::Journal,
            );
            self.add(
                (at + later, Some(at + later + span)),
                fault,
                Vec::new(),
                Heal::default(),
            );
        }
        if self.stream.percent(3) {
            let span = self.span(60, 900);
            self.add(
                (at, Some(at + span)),
                Fault::Paused,
                Vec::new(),
                Heal::default(),
            );
        }
        if self.stream.percent(7) {
            let node = self.any();
            let until = self.passes(at, 50, 60, 1_500);
            let fault = self.stream.weighted(
                &[
                    (25, Fault::SaysRunning),
                    (25, Fault::SaysStopped),
                    (25, Fault::Locked),
                    (25, Fault::Suspended),
                ],
                Fault::Locked,
            );
            self.add((at, until), fault, vec![node], Heal::default());
        }
        if self.stream.percent(8) {
            let (node, later) = (self.any(), self.span(0, 600));
            self.soft(at + later, node);
        }
    }
}
