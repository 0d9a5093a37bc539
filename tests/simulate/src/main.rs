//! `cargo simulate`.

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    let mut args = std::env::args().skip(1);
    let from: u64 = args.next().unwrap_or_default().parse()?;
    let to: u64 = args.next().unwrap_or_default().parse()?;
    for seed in from..to {
        let plan = lakekey_simulate::plan::Plan::of(seed);
        let went = lakekey_simulate::course::run(&plan, None, from + 1 == to)?;
        for line in went.trace {
            println!("{line}");
        }
        if from + 1 == to {
            println!("{}", plan.describe());
        }
        println!(
            "{seed} {:?} {:?}",
            went.violation.map(|v| v.to_string()),
            (went.counts.rotations, went.counts.virtual_s / 3600, went.counts.runs, went.counts.effects)
        );
    }
    Ok(ExitCode::SUCCESS)
}
