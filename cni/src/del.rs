//! DEL.

use std::fs;
use std::path::{Path, PathBuf};

use crate::agent::Agent;
use crate::call::Call;
use crate::error::Error;
use crate::interface;

/// Disconnects the sandbox. What is not there any more is disconnected already; with no agent a note is left in the
/// queue that it reads when it starts.
pub(crate) fn run(call: &Call) -> Result<(), Error> {
    let agent = Agent::new(&call.conf.socket_path);
    match agent.delete(&call.attachment()) {
        Ok(()) => {
            // An ADD that died before its endpoint left addresses behind.
            for ip in call.previous_ips() {
                agent.release(ip).ok();
            }
        }
        Err(Error::NoAgent { .. }) => enqueue(&queue(&call.conf.socket_path), call)?,
        Err(error) => return Err(error),
    }
    interface::remove(&interface::host_ifname(&call.container_id, &call.ifname))
}

/// The queue lies beside the agent's socket: that is what both know without talking.
fn queue(socket: &Path) -> PathBuf {
    socket.with_file_name("deleteQueue")
}

/// One file a delete, named like the pod's interface, so that a repeated DEL adds none.
fn enqueue(queue: &Path, call: &Call) -> Result<(), Error> {
    let name = interface::host_ifname(&call.container_id, &call.ifname);
    let temporary = queue.join(format!(".{name}"));
    let write = || {
        fs::create_dir_all(queue)?;
        fs::write(&temporary, call.attachment())?;
        fs::rename(&temporary, queue.join(&name))
    };
    write().map_err(|source| Error::Io { what: "note the delete for the agent's next start", source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delete_without_agent_is_queued_once() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("causeway.sock");
        let env = [("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", "abc"), ("CNI_IFNAME", "eth0")];
        let conf = format!(r#"{{"cniVersion":"1.0.0","name":"n","socket-path":{:?}}}"#, socket.display().to_string());
        let look = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let call = Call::parse(look, conf.as_bytes()).unwrap();
        for _ in 0..2 {
            enqueue(&queue(&socket), &call).unwrap();
        }
        let files: Vec<_> = fs::read_dir(queue(&socket)).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(files.len(), 1);
        assert_eq!(fs::read_to_string(&files[0]).unwrap(), "cni-attachment-id:abc:eth0");
    }
}
