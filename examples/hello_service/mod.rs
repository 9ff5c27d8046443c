//! The contract that `hello_server` and `hello_client` share. Usually a crate of its own.

use std::{error::Error, process::ExitCode};

/// Greets people.
#[rpc_core::service]
pub trait Greeter {
    /// Greets one person.
    async fn hello(&self, name: &str) -> String;
}

/// What the command line says.
pub struct Args {
    /// After `--addr`.
    pub addr: String,
    /// Whether `--transport udp` is there.
    pub udp: bool,
    /// Everything else.
    pub rest: Vec<String>,
}

/// Reads the command line.
pub fn parse_args(usage: &str) -> Result<Args, String> {
    let mut parsed = Args { addr: "127.0.0.1:7000".to_owned(), udp: false, rest: Vec::new() };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--addr" => parsed.addr = args.next().ok_or_else(|| format!("usage: {usage}"))?,
            "--transport" => {
                parsed.udp = match args.next().as_deref() {
                    Some("tcp") => false,
                    Some("udp") => true,
                    _ => return Err(format!("usage: {usage}")),
                }
            }
            flag if flag.starts_with('-') => return Err(format!("usage: {usage}")),
            _ => parsed.rest.push(arg),
        }
    }
    Ok(parsed)
}

/// Prints an error and what caused it, a line each.
pub fn exit_code(result: Result<(), Box<dyn Error>>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("because: {error}");
        cause = error.source();
    }
    ExitCode::FAILURE
}
