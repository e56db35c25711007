//! `causeway-next`: the same commands over another layout of conntrack.

fn main() -> std::process::ExitCode {
    cli::main()
}
