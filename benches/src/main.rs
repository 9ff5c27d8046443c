//! Compares our calls over TCP and UDP with the raw loops that mark the limit; see README.md.

mod awake;
mod cli;
mod contender;
mod cpu;
mod driver;
mod harness;
mod ours;
mod process;
mod raw_mux;
mod raw_pp;
mod raw_udp;
mod report;
mod roles;
mod sample;
mod scenario;
mod tcp;

use std::error::Error;
use std::process::ExitCode;

use cli::Command;

fn main() -> ExitCode {
    match execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn execute() -> Result<(), Box<dyn Error>> {
    match cli::parse()? {
        Command::Help => println!("{}", cli::help()),
        Command::Run(plan) => driver::run(&plan)?,
        Command::Spin { core } => match awake::spin(core)? {},
        Command::Serve { contender, addr, core } => roles::serve(contender, addr, core)?,
        Command::Load { contender, load, core } => roles::load(contender, load, core)?,
    }
    Ok(())
}
