//! A manifest directory as bytes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A manifest larger than this is refused: Kubernetes takes no object above 1.5 MiB, and a file may hold a few.
const MAX_FILE: u64 = 16 << 20;

/// Why a directory could not be read; nothing of what it held before changes.
#[derive(Debug, thiserror::Error)]
#[error("read manifest directory {}", path.display())]
pub struct DirectoryError {
    /// The directory.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// The directory's files by name: text, or why there is none. Only `*.yaml`, `*.yml` and `*.json`, no hidden files.
///
/// # Errors
///
/// [`DirectoryError`].
pub fn read_directory(path: &Path) -> Result<BTreeMap<Arc<str>, Result<String, String>>, DirectoryError> {
    let error = |source| DirectoryError { path: path.to_path_buf(), source };
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(path).map_err(error)? {
        let file = entry.map_err(error)?.path();
        let Some(name) = file.file_name().and_then(|name| name.to_str()) else { continue };
        let known =
            file.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known));
        if name.starts_with('.') || !known {
            continue;
        }
        files.insert(name.into(), read_file(&file).map_err(|why| format!("{name}: {why}")));
    }
    Ok(files)
}

fn read_file(path: &Path) -> Result<String, String> {
    let meta = fs::metadata(path).map_err(|error| error.to_string())?;
    if !meta.is_file() {
        return Err("not a regular file".to_owned());
    }
    if meta.len() > MAX_FILE {
        return Err(format!("{} bytes, more than {MAX_FILE}: split the file", meta.len()));
    }
    fs::read_to_string(path).map_err(|error| error.to_string())
}
