//! Programs under test, as processes in a namespace.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::Ledger;
use crate::ledger::start_time;

/// How long a process may take to be gone after it was killed: on a starved machine the kernel takes seconds to end one.
const GONE: Duration = Duration::from_secs(30);

/// A running program with its log. It outlives this value, and can be found again by its pid and start time.
#[derive(Debug, Serialize, Deserialize)]
pub struct Process {
    name: String,
    netns: String,
    words: Vec<String>,
    log: PathBuf,
    pid: i32,
    start_time: u64,
    /// While we are its parent.
    #[serde(skip)]
    child: Option<Child>,
}

impl Process {
    /// Starts a program inside a namespace; its output is appended to `log`.
    ///
    /// # Errors
    ///
    /// When it cannot be started or noted.
    pub fn start(ledger: &mut Ledger, name: &str, netns: &str, log: &Path, words: &[String]) -> Result<Self> {
        if let Some(folder) = log.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = File::options().create(true).append(true).open(log);
        let file = file.with_context(|| format!("open {}", log.display()))?;
        let mut command = inside(netns);
        command.args(words).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        // A child inherits what its parent's thread blocks, and one that blocks SIGTERM cannot be asked to end.
        let child = std::thread::spawn(move || {
            SigSet::from(Signal::SIGTERM).thread_unblock().map_err(std::io::Error::from)?;
            command.spawn()
        });
        let child = child.join().map_err(|_| anyhow!("the thread that starts {name} died"))?;
        let child = child.with_context(|| format!("start {name}"))?;
        let pid = i32::try_from(child.id()).context("a pid fits")?;
        let start_time = ledger.process(pid).with_context(|| format!("start {name}; its log is {}", log.display()))?;
        let (name, netns, words, log) = (name.to_owned(), netns.to_owned(), words.to_vec(), log.to_owned());
        Ok(Self { name, netns, words, log, pid, start_time, child: Some(child) })
    }

    /// Starts the same program again, in the place of one that has ended.
    ///
    /// # Errors
    ///
    /// When it still runs, or cannot be started.
    pub fn restart(&mut self, ledger: &mut Ledger) -> Result<()> {
        let words = self.words.clone();
        self.restart_as(ledger, words)
    }

    /// Starts another command line in its place.
    ///
    /// # Errors
    ///
    /// When it still runs, or cannot be started.
    pub fn restart_as(&mut self, ledger: &mut Ledger, words: Vec<String>) -> Result<()> {
        if self.is_alive() {
            bail!("{} still runs", self.name);
        }
        *self = Self::start(ledger, &self.name, &self.netns, &self.log, &words)?;
        Ok(())
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// CPU time that it has used, in the kernel's ticks.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn cpu_ticks(&self) -> Result<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).context("read a process's times")?;
        let fields = stat.rsplit_once(") ").context("a stat line names its command")?.1.split(' ');
        // Fields 14 and 15 of the line: in user space, and in the kernel.
        Ok(fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum())
    }

    /// Its command line.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            // A pid that another process has got by now started at another time. A killed process is a zombie while its
            // last threads end, and still has its files.
            None => {
                start_time(self.pid) == Some(self.start_time) || state(self.pid) == Some('Z') && threads(self.pid) > 1
            }
        }
    }

    /// Fails with the end of its log when it has ended.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn check(&mut self) -> Result<()> {
        if self.is_alive() {
            return Ok(());
        }
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(15).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        bail!("{} has ended; the end of {}:\n{}", self.name, self.log.display(), tail.join("\n"));
    }

    /// Kills it, as a crash would, and waits.
    ///
    /// # Errors
    ///
    /// When it is still there.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.wait_gone(GONE)
    }

    /// Asks it to end and waits.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub fn stop(&mut self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        if self.wait_gone(GONE).is_err() {
            self.kill()?;
            bail!("{} did not end within {} s of SIGTERM", self.name, GONE.as_secs());
        }
        Ok(())
    }

    /// Holds it still: it keeps its memory and sockets, and does nothing.
    ///
    /// # Errors
    ///
    /// When it does not stand still.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(Signal::SIGSTOP)?;
        wait_until(&format!("{} stands still", self.name), GONE, || match state(self.pid) {
            Some('T') => Ok(()),
            other => bail!("its state is {other:?}"),
        })
    }

    /// Lets it go on.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        kill(Pid::from_raw(self.pid), signal).with_context(|| format!("send {signal} to {}", self.name))
    }

    fn wait_gone(&mut self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        while self.is_alive() {
            if Instant::now() > deadline {
                bail!("{} is still there", self.name);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// How many threads a process has; 1 for a zombie that is all gone, 0 when there is no such process.
fn threads(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// The letter that the kernel gives a process's state.
fn state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// A command that will run inside a namespace. Not `ip netns exec`: that one hides bpffs.
pub(crate) fn inside(netns: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}/{netns}", netlink::NETNS_DIR)).arg("--");
    command
}

/// Runs a command inside a namespace to its end; its standard output.
///
/// # Errors
///
/// When it fails, with what it printed.
pub fn run(netns: &str, words: &[&str]) -> Result<String> {
    let output = inside(netns).args(words).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("start {}", words.join(" ")))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if !output.status.success() {
        bail!("{}: {}\n{}{}", words.join(" "), output.status, text(&output.stdout), text(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Waits until a condition holds.
///
/// # Errors
///
/// When it does not hold in time, with what it said last.
pub fn wait_until<T>(what: &str, within: Duration, mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| format!("{what}: not within {} s", within.as_secs_f64()));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
