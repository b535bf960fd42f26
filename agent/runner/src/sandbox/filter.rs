//! The system calls that running compiled plugins takes; everything else is `EPERM`.
//!
//! | why | calls |
//! | --- | --- |
//! | the one socket | `read`, `write`, `sendto`, `sendmsg`, `recvfrom`, `recvmsg`, `close`, the epoll that exists |
//! | a plugin's bytes | `pread64` from the file that came with the message |
//! | memory | `mmap` without execute, `munmap`, `mremap`, `madvise`, `brk`, images of plugins' data (`memfd_create`, `fcntl` for seals) |
//! | code | `mprotect`, never writable and executable at once: wasmtime writes the compiled code, then makes it read-and-execute |
//! | traps | signal handlers of this process, `tgkill` to this process |
//! | the clock of the plugins | one thread: `clone` with the flags of a thread, until [`second`] |
//! | pages that a plugin wrote to | `ioctl(PAGEMAP_SCAN)` on the file that was opened before |
//!
//! There is no compiler in the runner, so no code is made here: executable pages hold what was loaded from bytes whose digest the agent
//! checked. Refusing execute altogether would need code mapped from files; until then who takes the runner over can write code and make it
//! executable, and finds that the kernel answers it nothing.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter, apply_filter_all_threads,
};

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// It is wrong in itself.
    #[error("the filter cannot be built: {0}")]
    Build(#[from] seccompiler::BackendError),
    /// The kernel does not take it.
    #[error("{0}")]
    Apply(#[from] seccompiler::Error),
}

/// `_IOWR('f', 16, struct pm_scan_arg)`
const PAGEMAP_SCAN: u64 = 0xc060_6610;

#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;

/// Allowed whatever their arguments.
const PLAIN: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_pread64,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_ctl,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_memfd_create,
    libc::SYS_membarrier,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_restart_syscall,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Denied once all threads are there.
const LAST: &[libc::c_long] = &[libc::SYS_clone, libc::SYS_clone3, libc::SYS_seccomp];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn condition(argument: u8, op: Op, value: u64) -> Result<SeccompCondition, FilterError> {
    // All arguments looked at here are 32 bits wide in the kernel too, `clone`'s flags included as far as they are looked at.
    Ok(SeccompCondition::new(argument, Len::Dword, op, value)?)
}

/// A rule for each of these values of one argument.
fn one_of(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, FilterError> {
    values
        .iter()
        .map(|value| {
            Ok(SeccompRule::new(vec![condition(
                argument,
                Op::Eq,
                *value,
            )?])?)
        })
        .collect()
}

/// These bits of an argument are clear.
fn without(argument: u8, bits: i32) -> Result<SeccompRule, FilterError> {
    let mask = u64::from(bits.unsigned_abs());
    Ok(SeccompRule::new(vec![condition(
        argument,
        Op::MaskedEq(mask),
        0,
    )?])?)
}

fn bits(value: i32) -> u64 {
    u64::from(value.unsigned_abs())
}

fn allowed() -> Result<Rules, FilterError> {
    let mut rules: Rules = PLAIN.iter().map(|call| (*call, Vec::new())).collect();
    let thread = bits(libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD);
    let fcntl = [
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_DUPFD_CLOEXEC,
        libc::F_ADD_SEALS,
        libc::F_GET_SEALS,
    ];
    let prctl = [libc::PR_SET_NAME, libc::PR_SET_NO_NEW_PRIVS];
    rules.insert(libc::SYS_mmap, vec![without(2, libc::PROT_EXEC)?]);
    rules.insert(
        libc::SYS_mprotect,
        vec![without(2, libc::PROT_EXEC)?, without(2, libc::PROT_WRITE)?],
    );
    rules.insert(libc::SYS_fcntl, one_of(1, &fcntl.map(bits))?);
    rules.insert(libc::SYS_ioctl, one_of(1, &[PAGEMAP_SCAN])?);
    rules.insert(libc::SYS_prctl, one_of(0, &prctl.map(bits))?);
    rules.insert(
        libc::SYS_tgkill,
        one_of(0, &[u64::from(std::process::id())])?,
    );
    rules.insert(
        libc::SYS_clone,
        vec![SeccompRule::new(vec![condition(
            0,
            Op::MaskedEq(thread),
            thread,
        )?])?],
    );
    // Answered by the filter below this one: its flags lie in memory, where a filter cannot look.
    rules.insert(libc::SYS_clone3, Vec::new());
    rules.insert(libc::SYS_seccomp, Vec::new());
    Ok(rules)
}

fn program(
    rules: Rules,
    otherwise: SeccompAction,
    when: SeccompAction,
) -> Result<BpfProgram, FilterError> {
    Ok(SeccompFilter::new(rules, otherwise, when, ARCH)?.try_into()?)
}

fn errno(code: i32) -> SeccompAction {
    SeccompAction::Errno(code.unsigned_abs())
}

/// Puts on the filter, for this thread and those that it begins.
pub fn first() -> Result<(), FilterError> {
    // "No such call" makes the C library fall back to `clone`, whose flags can be seen.
    let clone3: Rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let clone3 = program(clone3, SeccompAction::Allow, errno(libc::ENOSYS))?;
    let all = program(allowed()?, errno(libc::EPERM), SeccompAction::Allow)?;
    apply_filter(&clone3)?;
    apply_filter(&all)?;
    Ok(())
}

/// On all threads: none begins after this.
pub fn second() -> Result<(), FilterError> {
    let last: Rules = LAST.iter().map(|call| (*call, Vec::new())).collect();
    let last = program(last, SeccompAction::Allow, errno(libc::EPERM))?;
    apply_filter_all_threads(&last)?;
    Ok(())
}
