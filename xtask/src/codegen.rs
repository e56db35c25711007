//! `cargo xtask codegen`.
pub(crate) fn write() -> anyhow::Result<()> {
    Ok(())
}
