//! Nothing is left behind: namespaces, links, mounts, pins, processes and loaded programs are those of before, whatever
//! the end of a run.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::{Binaries, wait_until};

#[test]
fn nothing_is_left_behind_after_any_end_of_a_run() {
    let Some(_machine) = crate::machine("leftovers") else { return };
    let before = Machine::look().unwrap();
    for (name, end) in [
        ("a whole run", whole as fn(&Path) -> Result<()>),
        ("a panic", panic),
        ("Ctrl-C", interrupted),
        ("kill -9, then --down", killed),
    ] {
        let folder = tempfile::tempdir().unwrap();
        end(folder.path()).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        // The kernel frees programs and namespaces a moment after their last user.
        wait_until(&format!("after {name} the machine is as before"), Duration::from_secs(10), || before.compare())
            .unwrap_or_else(|error| panic!("{error:#}"));
    }
}

/// What a run may not leave behind.
#[derive(Debug, PartialEq, Eq)]
struct Machine(BTreeSet<String>);

impl Machine {
    fn look() -> Result<Self> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(netlink::NETNS_DIR).into_iter().flatten().flatten() {
            found.insert(format!("namespace {}", entry.file_name().display()));
        }
        for link in netlink::Netlink::open()?.links()? {
            found.insert(format!("link {}", link.name));
        }
        let mounts = fs::read_to_string("/proc/mounts").context("list mounts")?;
        found.extend(mounts.lines().filter_map(|line| Some(format!("mount {}", line.split(' ').nth(1)?))));
        for entry in fs::read_dir("/sys/fs/bpf").into_iter().flatten().flatten() {
            found.insert(format!("pin {}", entry.file_name().display()));
        }
        for process in fs::read_dir("/proc").context("list processes")?.flatten() {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            let name = name.trim();
            // Other tests of this binary run beside this one, and start stores themselves: a mesh's processes have other
            // parents.
            let status = fs::read_to_string(process.path().join("status")).unwrap_or_default();
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok());
            if ["causeway", "etcd", "testbed"].contains(&name) && parent != Some(std::process::id()) {
                found.insert(format!("process {} {name}", process.file_name().display()));
            }
        }
        found.extend(programs()?.into_iter().map(|line| format!("program {line}")));
        Ok(Self(found))
    }

    fn compare(&self) -> Result<()> {
        let now = Self::look()?;
        let left: Vec<_> = now.0.difference(&self.0).collect();
        ensure!(left.is_empty(), "left behind: {left:?}");
        let gone: Vec<_> = self.0.difference(&now.0).filter(|what| !what.starts_with("process")).collect();
        ensure!(gone.is_empty(), "taken away although they were there before: {gone:?}");
        Ok(())
    }
}

/// The kernel's own list of loaded programs.
fn programs() -> Result<Vec<String>> {
    let name = |program: Result<aya::programs::ProgramInfo, _>| {
        let program = program.context("list loaded programs")?;
        Ok(format!("{} {}", program.id(), program.name_as_str().unwrap_or_default()))
    };
    aya::programs::loaded_programs().map(name).collect()
}

fn demo(folder: &Path, flags: &[&str]) -> Result<Command> {
    let binaries = Binaries::beside_us()?;
    let mut command = Command::new(binaries.causeway.with_file_name("testbed"));
    command.arg("demo").arg("--dir").arg(folder).args(flags).stdin(Stdio::null());
    Ok(command)
}

fn whole(folder: &Path) -> Result<()> {
    let output = demo(folder, &["--only", "1"])?.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

fn panic(folder: &Path) -> Result<()> {
    let output = demo(folder, &["--panic"])?.output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && text.contains("asked to fail"), "{text}");
    Ok(())
}

/// A demo that is in the middle of its work.
fn in_the_middle(folder: &Path) -> Result<Child> {
    let mut child = demo(folder, &[])?.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let output = child.stdout.take().context("the demo has no output")?;
    let mut lines = BufReader::new(output).lines();
    let joined = lines.by_ref().map_while(Result::ok).find(|line| line.contains("pods joined"));
    joined.context("the demo ended before its pods joined")?;
    // Whoever stops reading would stop the demo: go on.
    std::thread::spawn(move || lines.count());
    Ok(child)
}

fn interrupted(folder: &Path) -> Result<()> {
    let mut child = in_the_middle(folder)?;
    kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGINT)?;
    let status = child.wait()?;
    ensure!(status.code() == Some(130), "{status}");
    Ok(())
}

fn killed(folder: &Path) -> Result<()> {
    let mut child = in_the_middle(folder)?;
    child.kill()?;
    child.wait()?;
    let output = demo(folder, &["--down"])?.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && text.contains("removed run"), "{text}");
    Ok(())
}
