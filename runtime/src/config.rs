//! Options from a directory with a file per key, as a mounted ConfigMap has them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Kubernetes takes no ConfigMap of more.
const MAX_VALUE: u64 = 1 << 20;

/// Why a configuration directory could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigDirError {
    /// A file of more bytes is no option's value.
    #[error("configuration {} has {size} bytes, and a value at most {MAX_VALUE}: is it the right directory?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
    /// The directory, or a file in it, could not be read.
    #[error("read configuration {}: --config-dir is a directory with a file per option", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The options of a directory: file name to trimmed content. Hidden entries (a ConfigMap's `..data`) are left out.
///
/// # Errors
///
/// [`ConfigDirError::Read`].
pub fn read_config_dir(dir: &Path) -> Result<BTreeMap<String, String>, ConfigDirError> {
    let error = |path: &Path| {
        let path = path.to_path_buf();
        move |source| ConfigDirError::Read { path, source }
    };
    let mut options = BTreeMap::new();
    for entry in fs::read_dir(dir).map_err(error(dir))? {
        let path = entry.map_err(error(dir))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name.starts_with('.') || path.is_dir() {
            continue;
        }
        let size = fs::metadata(&path).map_err(error(&path))?.len();
        if size > MAX_VALUE {
            return Err(ConfigDirError::TooLarge { path, size });
        }
        let text = fs::read_to_string(&path).map_err(error(&path))?;
        options.insert(name.to_owned(), text.trim().to_owned());
    }
    Ok(options)
}
