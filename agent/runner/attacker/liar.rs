//! A runner that was taken over: it speaks the protocol, and does with it what it likes.
//!
//! For every run that it is given it does what its name says; see [`Liar::run`].

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use iaso_host::types::Finding;
use iaso_host::{LogLevel, LogLine, Request, RunReport};
use iaso_runner::frame::{self, Frames};
use iaso_runner::message::{FromRunner, PROTOCOL, Ready, Report, ToRunner};
use iaso_runner::{Layer, Layers};

struct Liar<'a> {
    how: &'a str,
    socket: UnixStream,
    /// Names of plugins, which the real runner has no use for.
    names: HashMap<u64, String>,
}

pub(crate) fn main(how: &str) -> ExitCode {
    let Ok(fd) = std::io::stdin().as_fd().try_clone_to_owned() else {
        return ExitCode::from(2);
    };
    let mut liar = Liar {
        how,
        socket: UnixStream::from(fd),
        names: HashMap::new(),
    };
    let mut frames = Frames::default();
    loop {
        while let Ok(Some(message)) = frames.take::<ToRunner>() {
            liar.handle(message);
        }
        match liar.socket.read(frames.room()) {
            Ok(bytes) if bytes > 0 => frames.filled(bytes),
            Ok(_) | Err(_) => return ExitCode::SUCCESS,
        }
    }
}

impl Liar<'_> {
    fn say(&mut self, message: &FromRunner) {
        let frame = frame::encode(message).expect("it fits");
        // The agent may have enough of it already.
        let _ = self.socket.write_all(&frame);
    }

    fn handle(&mut self, message: ToRunner) {
        match message {
            ToRunner::Hello(_) => self.say(&FromRunner::Ready(Ready {
                protocol: PROTOCOL,
                layers: all_on(),
                is_pooled: true,
            })),
            ToRunner::Load { plugin, name, .. } => {
                self.names.insert(plugin, name);
                self.say(&FromRunner::Loaded {
                    plugin,
                    result: Ok(Vec::new()),
                });
            }
            ToRunner::Run { run, plugin, .. } => self.run(run, plugin),
            // What it was answered becomes its finding, so that the test can read it.
            ToRunner::Answer { run, answer } => self.found(run, format!("{answer:?}")),
            ToRunner::Unload { .. } | ToRunner::Cancel { .. } => {}
        }
    }

    fn found(&mut self, run: u64, summary: String) {
        let finding = Finding {
            code: "liar.said".to_owned(),
            severity: "ok".to_owned(),
            subject: String::new(),
            summary,
            remedies: Vec::new(),
            attributes: Vec::new(),
        };
        let mut report = RunReport::unrun(Ok(vec![finding]));
        report.log = vec![LogLine {
            level: LogLevel::Error,
            message: "\u{1b}[2J".to_owned(),
        }];
        report.duration = std::time::Duration::from_hours(1);
        self.say(&FromRunner::Done {
            run,
            report: Report::Findings(report),
        });
    }

    fn ask(&mut self, run: u64) {
        let (host, port, timeout_ms) = ("10.0.0.1".to_owned(), 22, 100);
        self.say(&FromRunner::Ask {
            run,
            request: Request::TcpConnect {
                host,
                port,
                timeout_ms,
            },
        });
    }

    fn run(&mut self, run: u64, plugin: u64) {
        let is_killer = self.names.get(&plugin).is_some_and(|name| name == "killer");
        match self.how {
            "asks" => self.ask(run),
            "asks-twice" => {
                self.ask(run);
                self.ask(run);
            }
            "asks-for-another-run" => self.ask(run + 1),
            "ends-another-run" => self.found(run + 1, String::new()),
            "answers-another-task" => self.say(&FromRunner::Done {
                run,
                report: Report::Fixes(RunReport::unrun(Ok(Vec::new()))),
            }),
            "says-too-much" => self.found(run, "x".repeat(3 << 20)),
            "announces-too-much" => {
                let _ = self.socket.write_all(&u32::MAX.to_le_bytes());
            }
            "talks-nonsense" => {
                let _ = self.socket.write_all(&[3, 0, 0, 0, 0xff, 0xff, 0xff]);
            }
            "loads-unasked" => self.say(&FromRunner::Loaded {
                plugin: plugin + 1,
                result: Ok(Vec::new()),
            }),
            "never-ends" => {}
            "dies-of-killer" if is_killer => std::process::abort(),
            _ => self.found(run, "well".to_owned()),
        }
    }
}

fn all_on() -> Layers {
    Layers {
        own_user: Layer::On,
        no_capabilities: Layer::On,
        no_new_privs: Layer::On,
        network: Layer::On,
        limits: Layer::On,
        landlock: Layer::On,
        seccomp: Layer::On,
    }
}
