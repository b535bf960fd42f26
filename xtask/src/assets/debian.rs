//! Kubernetes 1.20 from Debian's source package: for where there is a package archive and no other net.
//!
//! Debian ships the client only, so the server is built here, with Debian's own compiler and by the steps that its build leaves out:
//! the API's description is generated first.

use crate::process::{has_program, output, step};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Directory in the cache. The number goes up with the recipe.
pub(super) const NAME: &str = "kube-1.20-debian-1";
/// Where packages come from. Debian 12 is the last with this Kubernetes; its archive outlives it.
const ARCHIVE: &str = "http://deb.debian.org/debian";
const RELEASE: &str = "bookworm";
const PACKAGES: [&str; 4] = [
    "golang-1.19-go",
    "golang-1.19-src",
    "etcd-server",
    "kubernetes-client",
];
/// What the API's description is generated from.
const DESCRIBED: [&str; 6] = [
    "api",
    "apimachinery",
    "apiserver",
    "kube-aggregator",
    "apiextensions-apiserver",
    "client-go",
];
/// Without it a server calls itself v0.0.0, and clients distrust it.
const VERSION: [(&str, &str); 3] = [
    ("gitVersion", "v1.20.2"),
    ("gitMajor", "1"),
    ("gitMinor", "20"),
];
/// Where the version lies, seen from the tree's own packages.
const VERSION_PACKAGE: &str = "k8s.io/kubernetes/vendor/k8s.io/component-base/version";
/// How often progress is said.
const PROGRESS_EVERY: Duration = Duration::from_secs(20);

/// Builds everything in `work` and leaves the programs in `out`.
pub(super) fn build(work: &Path, out: &Path) -> Result<()> {
    for (program, package) in [
        ("apt-get", "apt"),
        ("dpkg-deb", "dpkg"),
        ("dpkg-source", "dpkg-dev"),
    ] {
        if !has_program(program) {
            bail!("{program} is not here to build Kubernetes with: install {package}");
        }
    }
    eprintln!(
        "==> building a real Kubernetes for the tests: once for this machine, two to eight minutes on two cores"
    );
    let apt = Apt::new(work)?;
    apt.fetch()?;
    let root = work.join("root");
    for package in packages_in(&apt.debs)? {
        output(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&root))?;
    }
    for program in ["etcd", "kubectl"] {
        std::fs::copy(root.join("usr/bin").join(program), out.join(program))
            .with_context(|| format!("Debian's package has no {program}"))?;
    }
    let go = Go::new(work, &root);
    std::fs::create_dir_all(go.tree.parent().unwrap_or(work))?;
    step(
        "unpacking the sources",
        Command::new("dpkg-source")
            .args(["--no-check", "-q", "-x"])
            .arg(apt.source()?)
            .arg(&go.tree),
    )?;
    go.describe(work)?;
    go.compile(out)
}

/// Downloads with lists of its own: the system's sources stay as they are, and no root is needed.
struct Apt {
    options: Vec<String>,
    debs: PathBuf,
}

impl Apt {
    fn new(work: &Path) -> Result<Self> {
        let (lists, debs) = (work.join("lists"), work.join("debs"));
        std::fs::create_dir_all(lists.join("partial"))?;
        std::fs::create_dir_all(&debs)?;
        let sources = work.join("sources.list");
        std::fs::write(
            &sources,
            format!("deb {ARCHIVE} {RELEASE} main\ndeb-src {ARCHIVE} {RELEASE} main\n"),
        )?;
        let options = [
            format!("Dir::Etc::SourceList={}", sources.display()),
            "Dir::Etc::SourceParts=/dev/null".into(),
            format!("Dir::State::Lists={}", lists.display()),
            format!("Dir::Cache={}", work.display()),
            format!("APT::Sandbox::User={}", whoami()),
            "APT::Architectures::=amd64".into(),
        ];
        Ok(Self {
            options: options.to_vec(),
            debs,
        })
    }

    fn call(&self) -> Command {
        let mut command = Command::new("apt-get");
        for option in &self.options {
            command.args(["-o", option]);
        }
        command.arg("-qq").current_dir(&self.debs);
        command
    }

    fn fetch(&self) -> Result<()> {
        step("reading Debian's package lists", self.call().arg("update"))?;
        step(
            "fetching etcd and a compiler",
            self.call().arg("download").args(PACKAGES),
        )?;
        step(
            "fetching Kubernetes' sources",
            self.call()
                .args(["source", "--download-only", "kubernetes"]),
        )
    }

    fn source(&self) -> Result<PathBuf> {
        let files = files_in(&self.debs, "dsc")?;
        files
            .into_iter()
            .next()
            .context("no source package of Kubernetes was fetched")
    }
}

fn whoami() -> &'static str {
    if crate::setup::is_root() { "root" } else { "" }
}

fn packages_in(directory: &Path) -> Result<Vec<PathBuf>> {
    files_in(directory, "deb")
}

fn files_in(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    Ok(files)
}

/// The compiler, and the tree where it wants to find it.
struct Go {
    root: PathBuf,
    path: PathBuf,
    cache: PathBuf,
    tree: PathBuf,
}

impl Go {
    fn new(work: &Path, root: &Path) -> Self {
        let path = work.join("go");
        Self {
            root: root.join("usr/lib/go-1.19"),
            tree: path.join("src/k8s.io/kubernetes"),
            cache: work.join("objects"),
            path,
        }
    }

    fn build(&self) -> Command {
        let mut command = Command::new(self.root.join("bin/go"));
        command
            .env("GOROOT", &self.root)
            .env("GOPATH", &self.path)
            .env("GOCACHE", &self.cache)
            .env("GO111MODULE", "off")
            .env("CGO_ENABLED", "0")
            .env_remove("GOFLAGS")
            .current_dir(&self.tree)
            .arg("build");
        command
    }

    /// Writes the package that describes the API, which the sources come without.
    fn describe(&self, work: &Path) -> Result<()> {
        let generator = work.join("openapi-gen");
        step(
            "compiling the generator of the API's description",
            self.build()
                .arg("-o")
                .arg(&generator)
                .arg("./vendor/k8s.io/kube-openapi/cmd/openapi-gen"),
        )?;
        let mut packages = Vec::new();
        for module in DESCRIBED {
            described(
                &self.tree,
                &Path::new("staging/src/k8s.io").join(module),
                &mut packages,
            )?;
        }
        packages.sort();
        step(
            "generating the API's description",
            Command::new(&generator)
                .env("GOROOT", &self.root)
                .env("GOPATH", &self.path)
                .env("GO111MODULE", "off")
                .env("PATH", with_first(&self.root.join("bin")))
                .current_dir(&self.tree)
                .args(["-O", "zz_generated.openapi"])
                .args(["-p", "k8s.io/kubernetes/pkg/generated/openapi"])
                .args(["-h", "hack/boilerplate/boilerplate.generatego.txt"])
                .args(["-r", "/dev/null"])
                .arg("-i")
                .arg(packages.join(",")),
        )
    }

    /// Compiles the two programs, without the clouds' client libraries, and says how far it is.
    fn compile(&self, out: &Path) -> Result<()> {
        eprintln!("==> compiling kube-apiserver and kube-controller-manager");
        let started = Instant::now();
        let mut child = self
            .build()
            .args(["-v", "-tags", "providerless", "-ldflags", &version_flags()])
            .arg("-o")
            .arg(out.join(""))
            .args(["./cmd/kube-apiserver", "./cmd/kube-controller-manager"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start the compiler")?;
        let words = child.stderr.take().context("the compiler says nothing")?;
        let (mut packages, mut said, mut last) = (0_usize, Instant::now(), Vec::new());
        for line in BufReader::new(words).lines() {
            let line = line?;
            packages += 1;
            if said.elapsed() > PROGRESS_EVERY {
                said = Instant::now();
                eprintln!(
                    "    {packages} packages after {} s",
                    started.elapsed().as_secs()
                );
            }
            last.push(line);
            if last.len() > 20 {
                last.remove(0);
            }
        }
        let status = child.wait()?;
        if !status.success() {
            bail!(
                "Kubernetes does not compile ({status}):\n{}",
                last.join("\n")
            );
        }
        eprintln!(
            "    {packages} packages: {:.1} s",
            started.elapsed().as_secs_f64()
        );
        Ok(())
    }
}

/// Packages of one module whose files ask to be described, by their import path.
fn described(tree: &Path, at: &Path, packages: &mut Vec<String>) -> Result<()> {
    let mut here = false;
    for entry in std::fs::read_dir(tree.join(at))? {
        let entry = entry?;
        let below = at.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            described(tree, &below, packages)?;
        } else if below.extension().is_some_and(|found| found == "go") && !here {
            here = std::fs::read_to_string(tree.join(&below))?.contains("+k8s:openapi-gen=true");
        }
    }
    if here {
        let import = at.strip_prefix("staging/src").unwrap_or(at);
        packages.push(format!("k8s.io/kubernetes/vendor/{}", import.display()));
    }
    Ok(())
}

fn version_flags() -> String {
    let set = |(name, value): &(&str, &str)| format!(" -X {VERSION_PACKAGE}.{name}={value}");
    let all: String = VERSION.iter().map(set).collect();
    format!("-s -w{all}")
}

fn with_first(directory: &Path) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(directory.to_path_buf()).chain(std::env::split_paths(&path));
    std::env::join_paths(all).unwrap_or(path)
}
