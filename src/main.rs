//! The program: everything is in the library.

fn main() -> std::process::ExitCode {
    nextrun::cli::run(std::env::args_os())
}
