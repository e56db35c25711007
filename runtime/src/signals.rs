//! Signals that end a process.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGTERM or SIGINT; its name.
///
/// # Errors
///
/// When the process may not install a handler.
pub async fn terminated() -> std::io::Result<&'static str> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    })
}
