//! A program that is started for one file and must refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use netlink::{Namespace, Netlink};
use testbed::Binaries;

use super::case::{Action, Case};
use super::certificates;
use super::live::Live;

/// How long a refusal may take.
const LIMIT: Duration = Duration::from_secs(2);

/// A program that has not ended by then does not refuse.
const KILL: Duration = Duration::from_secs(8);

/// On a machine with other work a slow answer is asked for again.
const TRIES: usize = 3;

/// Where programs are started.
pub(crate) struct Program {
    /// What `$NAME` stands for in files.
    pub(crate) variables: BTreeMap<&'static str, String>,
    binaries: Binaries,
    folder: PathBuf,
    /// The namespace they are started in; without root it is ours.
    netns: Option<String>,
    sandbox: Option<String>,
    bpf_root: PathBuf,
}

// === impl Program ===

impl Program {
    /// A place below `folder`; with a live mesh in a namespace that reaches its store and has no agent.
    pub(crate) fn new(folder: &Path, live: Option<&Live>) -> Result<Self> {
        let folder = folder.join("case");
        std::fs::create_dir_all(&folder)?;
        let run_id = live.map_or("none", |live| live.run_id());
        let bpf_root = PathBuf::from(format!("/sys/fs/bpf/cw{run_id}/bad"));
        let certs = folder.with_file_name("certs");
        if !certs.exists() {
            certificates::make(&certs).context("make certificates")?;
        }
        let store = live.map_or("http://127.0.0.1:1".to_owned(), Live::endpoint);
        let at = folder.display();
        let common = format!("--cluster-name=east --cluster-id=1 --kvstore-opt=etcd.address={store}");
        let node_ip = live.map_or("127.0.0.1".to_owned(), |live| live.spare_ip().to_string());
        let agent = format!(
            "{common} --node-name=bad-node --ipv4-node={node_ip} --ipv4-range=10.99.0.0/24 \
             --socket-path={at}/run/causeway.sock --state-dir={at}/state --lib-dir={at}/lib --bpf-root={}",
            bpf_root.display()
        );
        let mut variables = BTreeMap::from([
            ("CASE", at.to_string()),
            ("CERTS", certs.display().to_string()),
            ("STORE", store),
            ("NODE_IP", node_ip),
            ("BPF_ROOT", bpf_root.display().to_string()),
            ("agent", agent),
            ("operator", common),
        ]);
        if let Some(live) = live {
            variables.extend(live.variables());
        }
        Ok(Self {
            variables,
            binaries: Binaries::beside_us()?,
            folder,
            netns: live.map(|live| live.spare_netns().to_owned()),
            sandbox: live.map(|live| live.sandbox().to_owned()),
            bpf_root,
        })
    }

    /// Runs a file's program and compares.
    pub(crate) fn check(&self, case: &Case) -> Result<()> {
        let mut took = Duration::ZERO;
        for _ in 0..TRIES {
            took = self.once(case)?;
            if took <= LIMIT {
                return Ok(());
            }
        }
        bail!("it took {:.1} s, more than {} s", took.as_secs_f64(), LIMIT.as_secs());
    }

    /// What was refused has left nothing in the store.
    pub(crate) fn check_nothing_published(&self, live: &Live) -> Result<()> {
        let keys = live.all_keys()?;
        for mark in ["bad-node", "10.99.0."] {
            let found = keys.lines().find(|line| line.contains(mark));
            ensure!(found.is_none(), "an agent that was refused has published {found:?}");
        }
        Ok(())
    }

    fn once(&self, case: &Case) -> Result<Duration> {
        std::fs::remove_dir_all(&self.folder).ok();
        std::fs::create_dir_all(&self.folder)?;
        for (name, bytes) in case.files.iter().filter(|(name, _)| *name != "stdin") {
            let path = self.folder.join(name);
            std::fs::create_dir_all(path.parent().context("below the folder")?)?;
            std::fs::write(&path, bytes)?;
        }
        let _held = case.holds.as_ref().map(|at| self.hold(at)).transpose()?;
        let background = case.background.as_ref().map(|words| self.background(words)).transpose()?;
        let before = self.traces()?;
        let started = Instant::now();
        let (code, text) = self.run(case)?;
        let took = started.elapsed();
        let result = check_text(case, code, &text);
        let after = self.traces();
        if let Some(background) = background {
            drop(background);
            self.clean_up()?;
        }
        result?;
        let new: Vec<String> = after?.difference(&before).cloned().collect();
        ensure!(new.is_empty(), "it left {new:?}");
        Ok(took)
    }

    /// Files, links and pins: what a refused program must not add to.
    fn traces(&self) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        list(&self.folder, &mut found);
        if self.bpf_root.exists() {
            found.insert(format!("pins at {}", self.bpf_root.display()));
        }
        for netns in self.netns.iter().chain(&self.sandbox) {
            let links = Namespace::open(netns)?.enter(|| Netlink::open()?.links())??;
            found.extend(links.into_iter().map(|link| format!("link {} in {netns}", link.name)));
        }
        Ok(found)
    }

    fn hold(&self, at: &str) -> Result<UdpSocket> {
        let netns = self.netns.as_deref().context("holding a port needs root")?;
        let held = Namespace::open(netns)?.enter(|| UdpSocket::bind(at))?;
        held.with_context(|| format!("hold {at}"))
    }

    fn command(&self, binary: &Path, host: &[String]) -> Command {
        let enter = self.netns.as_ref().map(|netns| format!("nsenter --net={}/{netns} --", netlink::NETNS_DIR));
        let enter = enter.unwrap_or_else(|| "env".to_owned());
        let mut words: Vec<String> = Vec::new();
        if host.is_empty() {
            words.extend(enter.split(' ').map(str::to_owned));
        } else {
            // What a line puts into BEFORE stands between the namespace and the program: setpriv, for one.
            let script = format!("{}\nexec {enter} $BEFORE \"$@\"", host.join("\n"));
            words
                .extend(["unshare", "--mount", "--propagation=private", "sh", "-ec", &script, "sh"].map(str::to_owned));
        }
        words.push(binary.display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }

    fn background(&self, words: &[String]) -> Result<Background> {
        let mut command = self.command(&self.binaries.causeway, &[]);
        let log = std::fs::File::create(self.folder.join("background.log"))?;
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = Background(command.spawn().context("start the agent in the background")?);
        let socket = self.folder.join("run/causeway.sock");
        testbed::wait_until("the agent in the background answers", Duration::from_secs(10), || {
            std::os::unix::net::UnixStream::connect(&socket)
                .map(drop)
                .with_context(|| std::fs::read_to_string(self.folder.join("background.log")).unwrap_or_default())
        })?;
        Ok(child)
    }

    /// What an agent that ran leaves behind on purpose.
    fn clean_up(&self) -> Result<()> {
        let mut command = self.command(&self.binaries.causeway, &[]);
        command.args(["post-uninstall-cleanup", "--force", "--bpf-root"]).arg(&self.bpf_root);
        let output = command.output().context("start the clean-up")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn run(&self, case: &Case) -> Result<(Option<i32>, String)> {
        let mut command = match &case.action {
            Action::Causeway(words) => {
                let mut command = self.command(&self.binaries.causeway, &case.host);
                command.args(words);
                command
            }
            Action::Cni(verb) => {
                let mut command = self.command(&self.binaries.cni, &case.host);
                command.env("CNI_COMMAND", verb);
                command
            }
            _ => bail!("no program is run"),
        };
        for name in ["CAUSEWAY_SOCK", "CAUSEWAY_BPF_ROOT", "K8S_NODE_NAME", "NO_COLOR"] {
            command.env_remove(name);
        }
        for (key, value) in &case.env {
            // A variable without value is one that is not set.
            match value.as_str() {
                "" => command.env_remove(key),
                value => command.env(key, value),
            };
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Background(command.spawn().context("start the program")?);
        if case.closed {
            drop(child.0.stdout.take());
        }
        if let Some(mut stdin) = child.0.stdin.take() {
            // One that refuses at once does not read.
            stdin.write_all(case.files.get("stdin").map(Vec::as_slice).unwrap_or_default()).ok();
        }
        let (out, err) = (reader(child.0.stdout.take()), reader(child.0.stderr.take()));
        let deadline = Instant::now() + KILL;
        let code = loop {
            if let Some(status) = child.0.try_wait()? {
                break status.code();
            }
            if Instant::now() > deadline {
                drop(child);
                let text = String::from_utf8_lossy(
                    &[out.join().ok(), err.join().ok()].map(Option::unwrap_or_default).concat(),
                )
                .into_owned();
                bail!("it does not refuse: it still runs after {} s\n{text}", KILL.as_secs());
            }
            std::thread::sleep(Duration::from_millis(3));
        };
        let bytes = [out.join().ok(), err.join().ok()].map(Option::unwrap_or_default).concat();
        Ok((code, String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// A process that ends with its owner.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn reader(pipe: Option<impl std::io::Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).ok();
        }
        bytes
    })
}

/// Exit code and text of a program against what its file expects.
pub(crate) fn check_text(case: &Case, code: Option<i32>, text: &str) -> Result<()> {
    ensure!(!text.contains("panicked") && !text.contains("RUST_BACKTRACE"), "a panic:\n{text}");
    let shown = |code: Option<i32>| code.map_or("none: a signal".to_owned(), |code| code.to_string());
    ensure!(code == case.exit, "exit code {}, not {}:\n{text}", shown(code), shown(case.exit));
    let Some(wanted) = case.code else {
        ensure!(case.is_said(text), "no line says {:?}:\n{text}", case.says);
        return Ok(());
    };
    let answer: serde_json::Value = serde_json::from_str(text).with_context(|| format!("no CNI error: {text}"))?;
    ensure!(answer["code"] == wanted, "CNI code {}, not {wanted}: {text}", answer["code"]);
    let part = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    ensure!(!part("msg").contains('\n'), "more than one line: {text}");
    ensure!(case.is_said(&format!("{}: {}", part("msg"), part("details"))), "no line says {:?}: {text}", case.says);
    Ok(())
}

fn list(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        found.insert(path.display().to_string());
        if path.is_dir() && !path.is_symlink() {
            list(&path, found);
        }
    }
}
