//! What one run costs: processor time, wall clock, memory and host calls, over many runs of a fixture.
//!
//! Instructions are not counted: the agent's engine stops plugins by a clock, and counting would need differently compiled code.
//! Processor time is this thread's: the run, the host's part of it, and the scripted answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use iaso_host::{Broker, PluginFault};
use nix::time::{ClockId, clock_gettime};

use crate::fixture::Fixture;
use crate::play::Subject;
use crate::stage::Stage;

/// Runs before those that count: the first ones touch cold memory.
const WARM_UP: usize = 5;
/// Most runs.
const RUNS_MAX: usize = 100_000;

/// Median and the value that 99 of 100 runs do not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Half of the runs took no longer.
    pub p50: Duration,
    /// Nearly all took no longer.
    pub p99: Duration,
}

/// One fixture, measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bench {
    /// Runs that counted.
    pub runs: usize,
    /// Processor time of a run.
    pub cpu: Measured,
    /// Wall clock of a run.
    pub wall: Measured,
    /// The most memory that a run held.
    pub memory_peak_bytes: usize,
    /// The most host calls of a run, `log` included.
    pub host_calls: u32,
}

/// Runs a fixture many times. A plugin that breaks is not measured.
pub async fn bench(
    subject: &Subject,
    fixture: &Fixture,
    runs: usize,
) -> Result<Bench, PluginFault> {
    let (name, grants) = (subject.name(), subject.grants());
    let runs = runs.clamp(1, RUNS_MAX);
    let (mut cpu, mut wall) = (Vec::with_capacity(runs), Vec::with_capacity(runs));
    let (mut memory_peak_bytes, mut host_calls) = (0, 0);
    for number in 0..runs + WARM_UP {
        let stage: Arc<dyn Broker> = Arc::new(Stage::new(name, &grants, fixture).await);
        let (started, used) = (Instant::now(), thread_time());
        let report = subject.run(stage, fixture).await;
        let (took, used) = (started.elapsed(), thread_time().saturating_sub(used));
        report.outcome?;
        if number >= WARM_UP {
            cpu.push(used);
            wall.push(took);
        }
        memory_peak_bytes = memory_peak_bytes.max(report.memory_peak_bytes);
        host_calls = host_calls.max(report.host_calls);
    }
    Ok(Bench {
        runs,
        cpu: measured(cpu),
        wall: measured(wall),
        memory_peak_bytes,
        host_calls,
    })
}

fn measured(mut samples: Vec<Duration>) -> Measured {
    samples.sort_unstable();
    let at = |hundredth: usize| {
        let index = (samples.len().saturating_sub(1) * hundredth).div_ceil(100);
        samples.get(index).copied().unwrap_or_default()
    };
    Measured {
        p50: at(50),
        p99: at(99),
    }
}

/// Zero where the clock is missing: then processor time is shown as 0.
fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
