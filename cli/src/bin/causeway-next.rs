//! `causeway-next`: the same commands over another layout of conntrack, by a clock that can be scaled.

fn main() -> std::process::ExitCode {
    cli::main()
}
