//! A program for the tests: a runner, or one that was taken over and now tries what it can.
//!
//! `iaso-attacker liar HOW` is a runner that speaks the protocol and does not keep to it, see [`liar`].
//!
//! `iaso-attacker runner` is the runner as the agent starts it. `iaso-attacker attack LOCK VICTIM PORT` locks itself in as a runner does (`LOCK`: `all`,
//! `all-but-seccomp` or `none`), attacks the process `VICTIM` and what listens at `PORT`, and prints one line for each attempt: its name, and `open` or the error number that it got.

#![allow(
    unsafe_code,
    reason = "an attacker asks nobody, and executable memory is one of its attempts"
)]

mod liar;

use std::fs;
use std::io::{self, Error};
use std::net::{TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use iaso_runner::sandbox::{self, Limits};
use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["runner"] => iaso_runner::child::main(),
        ["liar", how] => liar::main(how),
        ["attack", lock, victim, port] => attack(lock, victim, port),
        _ => ExitCode::from(2),
    }
}

/// What each attempt is called, and the attempt.
type Attempt<'a> = (&'a str, Box<dyn FnOnce() -> Result<(), Error> + 'a>);

fn attempt<'a, E: Into<Error>>(
    name: &'a str,
    attempt: impl FnOnce() -> Result<(), E> + 'a,
) -> Attempt<'a> {
    (name, Box::new(move || attempt().map_err(Into::into)))
}

fn attack(lock: &str, victim: &str, port: &str) -> ExitCode {
    let limits = Limits {
        uid: 61_000,
        gid: 61_000,
        memory_bytes: 256 << 20,
    };
    let (Ok(pid), Ok(port)) = (victim.parse().map(Pid::from_raw), port.parse::<u16>()) else {
        return ExitCode::from(2);
    };
    let layers = match lock {
        "all" => {
            let mut layers = sandbox::lock(&limits);
            sandbox::no_more_threads(&mut layers);
            Some(layers)
        }
        "all-but-seccomp" => Some(sandbox::lock_without_seccomp(&limits)),
        _ => None,
    };
    if let Some(layers) = layers {
        println!("locked {}", layers.words());
    }
    for (name, attempt) in files()
        .into_iter()
        .chain(sockets(port))
        .chain(processes(pid))
        .chain(rights())
    {
        said(name, attempt());
    }
    // Last: where it works, it is the end of this program. What it prints is then the sign that it worked.
    said(
        "exec",
        Err(Command::new("/bin/echo").arg("exec open").exec()),
    );
    ExitCode::SUCCESS
}

fn said(name: &str, result: Result<(), Error>) {
    match result {
        Ok(()) => println!("{name} open"),
        Err(error) => println!("{name} {}", error.raw_os_error().unwrap_or(-1)),
    }
}

fn files<'a>() -> Vec<Attempt<'a>> {
    vec![
        attempt("read-file", || fs::read("/etc/passwd").map(drop)),
        attempt("write-file", || {
            let path = format!("/tmp/iaso-attacker-{}", std::process::id());
            fs::write(&path, "x").and_then(|()| fs::remove_file(&path))
        }),
        attempt("list-directory", || fs::read_dir("/").map(drop)),
        attempt("look-at-file", || fs::metadata("/etc/passwd").map(drop)),
        attempt("change-directory", || std::env::set_current_dir("/tmp")),
    ]
}

fn sockets<'a>(port: u16) -> Vec<Attempt<'a>> {
    vec![
        attempt("tcp", move || {
            TcpStream::connect(("127.0.0.1", port)).map(drop)
        }),
        attempt("tcp6-socket", || {
            rustix::net::socket(
                rustix::net::AddressFamily::INET6,
                rustix::net::SocketType::STREAM,
                None,
            )
            .map(drop)
        }),
        attempt("udp", move || {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.send_to(b"x", ("127.0.0.1", port)).map(drop)
        }),
        attempt("unix", || UnixStream::pair().map(drop)),
        attempt("abstract-unix", move || {
            let name = format!("iaso-attacked-{port}");
            let address = SocketAddr::from_abstract_name(name)?;
            UnixStream::connect_addr(&address).map(drop)
        }),
        attempt("unix-listener", || {
            let path = format!("/tmp/iaso-attacker-{}.sock", std::process::id());
            UnixListener::bind(&path).and_then(|_| fs::remove_file(&path))
        }),
    ]
}

fn processes<'a>(victim: Pid) -> Vec<Attempt<'a>> {
    vec![
        attempt("ptrace", move || {
            // SAFETY: it stops nobody, and its two addresses mean none.
            let got =
                unsafe { libc::ptrace(libc::PTRACE_SEIZE, victim.as_raw(), 0_usize, 0_usize) };
            Errno::result(got).map(drop)
        }),
        attempt("kill", move || kill(victim, Signal::SIGCONT)),
        attempt("fork", || {
            let child = Command::new("/bin/true").spawn();
            child.and_then(|mut child| child.wait()).map(drop)
        }),
        attempt("thread", || {
            let thread = std::thread::Builder::new().spawn(|| {});
            thread.map(|thread| {
                let _ = thread.join();
            })
        }),
    ]
}

fn rights<'a>() -> Vec<Attempt<'a>> {
    vec![
        attempt("become-root", || nix::unistd::setuid(Uid::from_raw(0))),
        attempt("user-namespace", || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER)
        }),
        attempt("raise-limit", || {
            setrlimit(Resource::RLIMIT_CORE, 4096, 4096)
        }),
        attempt("writable-code", || {
            let all = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: new memory that nobody else has.
            let got = unsafe { libc::mmap(std::ptr::null_mut(), 4096, all, flags, -1, 0) };
            if got == libc::MAP_FAILED {
                return Err(Error::last_os_error());
            }
            Ok(())
        }),
        attempt("no-such-call", || {
            // Whatever is not on the list: this one would make a queue for the kernel to do other calls from.
            // SAFETY: its arguments are refused before they are looked at, or make a queue that goes with this process.
            let got = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1_u32, IO_URING) };
            Errno::result(got).map(drop).map_err(io::Error::from)
        }),
    ]
}

/// Zeros, as the call wants its parameters.
const IO_URING: *const [u8; 256] = &[0; 256];
