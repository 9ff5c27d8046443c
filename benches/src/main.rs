//! Compares our calls over TCP and UDP with the raw loops that mark the limit, and with other
//! frameworks; see README.md.

mod awake;
mod chart;
mod cli;
mod compare;
mod conditions;
mod contender;
mod cpu;
mod driver;
mod files;
mod harness;
mod latency;
mod many;
mod markdown;
mod once;
mod ours;
#[cfg(feature = "peers")]
mod peers;
mod plots;
mod process;
mod publish;
mod raw_echo;
mod raw_gso;
mod raw_mux;
mod raw_pp;
mod raw_udp;
mod report;
mod roles;
mod sample;
mod scale;
mod scenario;
mod summary;
mod svg;
mod tcp;
mod text;
mod turns;
mod usage;

use std::error::Error;
use std::process::ExitCode;

use cli::Command;
use driver::Machine;

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
        Command::Run { plan, awake } => {
            let machine = Machine::prepare(awake);
            report::print_head(&plan, &machine);
            let measurements = machine.run(&plan);
            report::print_tables(&measurements);
            plan.check_complete(&measurements)?;
        }
        Command::Compare { plan, awake, destination } => compare::run(&plan, awake, &destination)?,
        Command::Scale { plan, awake } => compare::run_scale(&plan, awake)?,
        Command::Turns { time, awake } => turns::run(time, awake)?,
        Command::Spin { core } => match awake::spin(core)? {},
        Command::Serve { contender, addr, core } => roles::serve(contender, addr, core)?,
        Command::Load { contender, load, core } => roles::load(contender, load, core)?,
    }
    Ok(())
}
