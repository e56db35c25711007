//! `causeway bugtool`: one archive of what this node can tell about itself.
//!
//! It runs the same commands that a person would, and copies the agent's configuration. Whatever goes in passes
//! [`redact::Redactor`] first.

mod redact;
mod sources;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use self::redact::Redactor;
use crate::client::Socket;
use crate::output::print;

/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Of a single file no more than this goes in, its end.
const LARGEST: usize = 16 << 20;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    socket: Socket,
    /// Where the maps are pinned
    #[arg(long, env = "CAUSEWAY_BPF_ROOT", default_value = "/sys/fs/bpf/causeway")]
    bpf_root: PathBuf,
    /// Form of the archive
    #[arg(long, short, value_enum, default_value = "gz")]
    output: Archive,
    /// Begin of the archive's name
    #[arg(long, default_value = "causeway-bugtool")]
    archive_prefix: String,
    /// Directory for the archive
    #[arg(long, default_value = "/tmp")]
    tmp: PathBuf,
    /// A further file, such as a log; may be given several times
    #[arg(long, value_name = "FILE")]
    include: Vec<PathBuf>,
    /// Say what would be gathered, and gather nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Archive {
    Tar,
    Gz,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let commands = sources::commands(&args.socket.socket_path, &args.bpf_root);
    if args.dry_run {
        let lines: String = commands.iter().map(|command| format!("{}: {}\n", command.file, command.shown())).collect();
        let files: String = args.include.iter().map(|path| format!("files: {}\n", path.display())).collect();
        print(&format!("{lines}{files}agent: its arguments, environment and configuration files, without secrets\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut gathered = sources::agent(&args.socket.socket_path).await;
    for path in &args.include {
        gathered.push(sources::file(path));
    }
    for command in commands {
        let output = tokio::time::timeout(PATIENCE, command.run()).await;
        let output = output.unwrap_or_else(|_| format!("no end within {PATIENCE:?}\n").into_bytes());
        gathered.push((command.file, output));
    }
    let mut redactor = Redactor::default();
    for (_, content) in &gathered {
        redactor.learn(&String::from_utf8_lossy(tail(content)));
    }
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let name = format!("{}-{seconds}", args.archive_prefix);
    let path = args.tmp.join(format!("{name}.{}", if args.output == Archive::Gz { "tar.gz" } else { "tar" }));
    let writing = || format!("write {}: --tmp chooses another directory", path.display());
    let file = private(&path).with_context(writing)?;
    if args.output == Archive::Gz {
        let gz = flate2::write::GzEncoder::new(file, flate2::Compression::default());
        pack(gz, &name, seconds, &gathered, &redactor).and_then(|gz| Ok(gz.finish()?)).with_context(writing)?;
    } else {
        pack(file, &name, seconds, &gathered, &redactor).with_context(writing)?;
    }
    print(&format!("{}\n", path.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// A file that its owner alone may read.
fn private(path: &std::path::Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn tail(content: &[u8]) -> &[u8] {
    &content[content.len().saturating_sub(LARGEST)..]
}

fn pack<W: Write>(to: W, name: &str, seconds: u64, gathered: &[(String, Vec<u8>)], redactor: &Redactor) -> Result<W> {
    let mut archive = tar::Builder::new(to);
    for (file, content) in gathered {
        let text = redactor.redact(&String::from_utf8_lossy(tail(content)));
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(seconds);
        header.set_cksum();
        archive.append_data(&mut header, format!("{name}/{file}"), text.as_bytes())?;
    }
    Ok(archive.into_inner()?)
}
