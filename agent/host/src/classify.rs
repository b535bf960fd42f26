//! Turns wasmtime's errors into faults for people.

use wasmtime::{Trap, WasmBacktrace};

use crate::fault::{FaultClass, PluginFault};
use crate::interface::words;
use crate::store::{RunState, Stopped};

/// How far a run got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The instance was being made; start functions run here.
    Starting,
    /// The plugin was called.
    Called,
}

/// What went wrong in a run.
pub(crate) fn classify(error: &wasmtime::Error, stage: Stage, run: &RunState) -> PluginFault {
    if let Some(stopped) = error.downcast_ref::<Stopped>() {
        let class = match stopped {
            Stopped::HostCalls(_) => FaultClass::Refused,
            Stopped::Cpu(_) | Stopped::Wall(_) => FaultClass::Deadline,
        };
        return PluginFault::new(class, format!("the plugin {stopped} and was ended"));
    }
    if run.usage.was_refused {
        let limits = &run.limits;
        return PluginFault::new(
            FaultClass::OutOfMemory,
            format!(
                "the plugin wanted more than its {} MiB of memory or {} table entries, and gave up",
                limits.memory_bytes >> 20,
                limits.table_elements
            ),
        );
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return PluginFault::new(
            FaultClass::Trap,
            format!("the plugin crashed{}: {}", place(error), trap_words(*trap)),
        );
    }
    match stage {
        Stage::Starting => PluginFault::new(
            FaultClass::HostError,
            format!(
                "the agent could not start the plugin: {}",
                words(&format!("{error:#}"))
            ),
        ),
        // What is left when no code trapped is an answer or an argument that could not be read out of the plugin's memory.
        Stage::Called => PluginFault::new(
            FaultClass::BadOutput,
            format!(
                "what the plugin passed to the agent is too large or malformed: {}",
                words(&error.root_cause().to_string())
            ),
        ),
    }
}

/// In which function, when the plugin carries names.
fn place(error: &wasmtime::Error) -> String {
    let name = error
        .downcast_ref::<WasmBacktrace>()
        .and_then(|trace| trace.frames().iter().find_map(|frame| frame.func_name()));
    name.map_or_else(String::new, |name| format!(" in `{}`", words(name)))
}

fn trap_words(trap: Trap) -> String {
    if trap == Trap::StackOverflow {
        return "it called itself too deeply".to_owned();
    }
    if trap == Trap::UnreachableCodeReached {
        return "it panicked or aborted (unreachable code)".to_owned();
    }
    let words = trap.to_string();
    words.trim_start_matches("wasm trap: ").to_owned()
}
